//! The system's hosts file (hosts(5)). A name that stands there has the addresses of there and no others, as the system's own
//! lookups have it. DNS is not asked for the other family: an origin that is pinned to an address would be asked elsewhere.

use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::SystemTime;

use tokio::fs::File;
use tokio::io::AsyncReadExt as _;

/// Where systems have it.
pub(super) const FILE: &str = "/etc/hosts";
/// Files that block the hosts of advertisements have some MiB.
const MOST_BYTES: u64 = 32 << 20;
/// Real names have a few.
const MOST_ADDRESSES: usize = 64;

/// The state of a file: another one means other content. None of one that is not there.
pub(super) type Stamp = Option<(u64, u64, SystemTime)>;

/// Its inode, its length, and when it was written.
pub(super) async fn stamp(file: &Path) -> Stamp {
    let about = tokio::fs::metadata(file).await.ok()?;
    Some((about.ino(), about.len(), about.modified().ok()?))
}

/// The addresses of a host in this file, in its order. A file that cannot be read has none.
pub(super) async fn addresses(file: &Path, host: &str) -> Vec<IpAddr> {
    let mut bytes = Vec::new();
    let read = async { File::open(file).await?.take(MOST_BYTES).read_to_end(&mut bytes).await };
    match read.await {
        Ok(_) => found(&String::from_utf8_lossy(&bytes), host),
        Err(_) => Vec::new(),
    }
}

fn found(text: &str, host: &str) -> Vec<IpAddr> {
    let bare = |name: &str| name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let host = bare(host);
    let mut all = Vec::new();
    for line in text.trim_start_matches('\u{feff}').lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(address) = words.next().and_then(|word| word.parse::<IpAddr>().ok()) else { continue };
        if words.any(|name| bare(name) == host) && !all.contains(&address) && all.len() < MOST_ADDRESSES {
            all.push(address);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_that_is_written_or_replaced_has_another_stamp() {
        let folder = tempfile::tempdir().unwrap();
        let (file, next) = (folder.path().join("hosts"), folder.path().join("next"));
        assert_eq!(stamp(&file).await, None);
        std::fs::write(&file, "10.0.0.5 app.test").unwrap();
        let first = stamp(&file).await;
        assert!(first.is_some() && stamp(&file).await == first);
        std::fs::write(&file, "10.0.0.5 app.test www.test").unwrap();
        let second = stamp(&file).await;
        assert_ne!(second, first);
        std::fs::write(&next, "10.0.0.6 app.test www.test").unwrap();
        std::fs::rename(&next, &file).unwrap();
        assert_ne!(stamp(&file).await, second);
    }

    #[test]
    fn a_host_has_all_addresses_that_its_lines_give() {
        let text = "127.0.0.1 localhost\n# 10.0.0.9 app.test\n10.0.0.5\tWWW.Example.com app.test # app2.test\n\
                    \nnonsense app.test\n2001:db8::5 app.test.\n10.0.0.5 app.test\n10.0.0.6\n";
        let check = |host: &str, expected: &[&str]| {
            let told: Vec<String> = found(text, host).iter().map(ToString::to_string).collect();
            assert_eq!(told, expected, "{host}");
        };
        check("app.test", &["10.0.0.5", "2001:db8::5"]);
        check("App.Test.", &["10.0.0.5", "2001:db8::5"]);
        check("www.example.com", &["10.0.0.5"]);
        check("app2.test", &[]);
        check("test", &[]);
    }
}
