//! The files of a config, to see whether they have changed.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::config::Config;

/// The config file, and the files that it names.
#[derive(Debug)]
pub(super) struct Files {
    paths: Vec<PathBuf>,
    /// How they were when they were last read, or last found to be at fault.
    read: Vec<Stamp>,
    /// How they were at the last look.
    seen: Vec<Stamp>,
}

/// Inode, length and time of change; none if there is no such file.
type Stamp = Option<(u64, u64, i64, i64)>;

impl Files {
    /// The files of a config that wants them to be followed. Those that changed since it began to be read may have been read
    /// before or after that, so they count as changed.
    pub(super) fn of(config: &Config) -> Option<Self> {
        let file = config.file.as_ref().filter(|_| config.follow_files)?;
        let mut paths = vec![file.clone()];
        paths.extend(config.named_files.iter().cloned());
        let seen = stamps(&paths);
        let is_sure = |changed: SystemTime| config.read_since.is_none_or(|since| changed + TICK < since);
        let read = |stamp: &Stamp| stamp.filter(|(_, _, secs, nanos)| is_sure(at(*secs, *nanos)));
        let read = seen.iter().map(read).collect();
        Some(Self { seen, read, paths })
    }

    /// Whether one of them is another than when they were read, and as it was at the last look: an editor may be in the
    /// middle of writing it. Each change is told once.
    pub(super) fn have_changed(&mut self) -> bool {
        let now = stamps(&self.paths);
        let is_settled = now == self.seen;
        self.seen.clone_from(&now);
        let has_changed = is_settled && now != self.read;
        if has_changed {
            self.read = now;
        }
        has_changed
    }
}

/// Times of files come from a clock that stands for as long between its steps, at most.
const TICK: Duration = Duration::from_millis(20);

fn at(secs: i64, nanos: i64) -> SystemTime {
    let [secs, nanos] = [secs, nanos].map(|it| u64::try_from(it).unwrap_or_default());
    SystemTime::UNIX_EPOCH + Duration::from_secs(secs) + Duration::from_nanos(nanos)
}

/// Links are followed: a renewal often moves a link.
fn stamps(paths: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |it: Metadata| (it.ino(), it.len(), it.ctime(), it.ctime_nsec());
    paths.iter().map(|path| fs::metadata(path).ok().map(stamp)).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_change_is_told_once_and_when_the_file_is_no_longer_being_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let text = "follow_files = true\nlisten = [\"127.0.0.1:0\"]\n[[site]]\nhosts = [\"a.test\"]\n\
                    origins = [\"http://127.0.0.1:1\"]\nbasic_auth = \"users\"\n";
        fs::write(path("users"), "ann:$2y$05$abcdefghijklmnopqrstuuW1d4bGtcHkUCzOMqsmQ6q8sPDVa3Nxa\n")
            .unwrap();
        fs::write(path("edge.toml"), text).unwrap();
        let load = |file: &Path| crate::config::load(file).unwrap();
        let check = |files: &mut Files, expected: [bool; 3]| {
            assert_eq!([(); 3].map(|()| files.have_changed()), expected);
        };
        let mut config = load(&path("edge.toml"));
        // They were written just now, before or after they were read.
        check(&mut Files::of(&config).unwrap(), [true, false, false]);
        config.read_since = config.read_since.map(|since| since + 10 * TICK);
        let mut files = Files::of(&config).unwrap();
        check(&mut files, [false; 3]);
        fs::write(path("edge.toml"), format!("{text}default_ttl = \"5s\"\n")).unwrap();
        check(&mut files, [false, true, false]);
        fs::remove_file(path("users")).unwrap();
        check(&mut files, [false, true, false]);
        fs::write(path("edge.toml"), text.replace("true", "false")).unwrap();
        fs::write(path("users"), "").unwrap();
        check(&mut files, [false, true, false]);
        fs::write(path("edge.toml"), text.replace("true", "false").replace("basic_auth = \"users\"", ""))
            .unwrap();
        assert!(Files::of(&load(&path("edge.toml"))).is_none());
    }
}
