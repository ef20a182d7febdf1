//! `key`: makes the secrets that two servers share (TSIG, RFC 8945).

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::{Failure, say};
use crate::name::Name;
use crate::tsig::Algorithm;
use crate::zone::text::encoding::write_base64;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a key: its secret goes into a file that only you can read, the lines for both servers are printed
    New(New),
}

#[derive(Debug, clap::Args)]
struct New {
    /// The key's name, the same on both servers
    #[arg(value_parser = name)]
    name: Name,
    /// How it signs
    #[arg(long, default_value = "hmac-sha256", value_parser = algorithm)]
    algorithm: Algorithm,
    /// Where its secret goes [default: NAME.key]
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The side that it is for: who proves it gets this view
    #[arg(long, default_value = "outside", value_parser = ["outside", "inside"])]
    view: String,
}

fn name(text: &str) -> Result<Name, String> {
    let name = Name::parse_absolute(text).map_err(|error| error.to_string())?;
    match name.is_root() {
        true => Err("a key has a name".to_owned()),
        false => Ok(name),
    }
}

fn algorithm(text: &str) -> Result<Algorithm, String> {
    let known = || Algorithm::ALL.map(Algorithm::as_str).join(", ");
    // A new key is not to be weak.
    Algorithm::ALL.into_iter().find(|it| it.as_str() == text).ok_or_else(|| format!("known are {}", known()))
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let Command::New(new) = &args.command;
    let plain = new.name.to_string().trim_end_matches('.').to_owned();
    let file = new.file.clone().unwrap_or_else(|| format!("{}.key", plain.replace('/', "_")).into());
    let secret = secret(new.algorithm);
    store(&file, &secret).map_err(|error| Failure::Unwritable(file.clone(), error))?;
    say(&lines(&plain, new.algorithm, &new.view, &secret, &file));
    Ok(())
}

/// As many bytes from the system's generator as a signature has, in base64.
fn secret(algorithm: Algorithm) -> String {
    let bytes: [u8; 64] = rand::random();
    let mut text = String::new();
    write_base64(&bytes[..algorithm.bytes()], &mut text).expect("a String takes any text");
    text
}

/// A file that is there keeps its secret: servers use it.
fn store(path: &Path, secret: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{secret}")?;
    file.sync_all()
}

fn lines(name: &str, algorithm: Algorithm, view: &str, secret: &str, file: &Path) -> String {
    let algorithm = algorithm.as_str();
    let (quoted, file) = (quoted(name), file.display());
    format!(
        "# {file} holds the secret; only you can read it. Move it to where dns.toml is.\n\
         # dns.toml of verge-dns:\n\
         [keys.{quoted}]\n\
         algorithm = \"{algorithm}\"\n\
         secret_file = \"{file}\"\n\
         view = \"{view}\"\n\
         \n\
         # Each of the following lines holds the secret itself: keep it as safe as the file.\n\
         # BIND, named.conf:\n\
         key \"{name}\" {{ algorithm {algorithm}; secret \"{secret}\"; }};\n\
         \n\
         # Knot DNS, knot.conf:\n\
         key:\n  - id: {name}\n    algorithm: {algorithm}\n    secret: {secret}\n\
         \n\
         # NSD, nsd.conf:\n\
         key:\n    name: \"{name}\"\n    algorithm: {algorithm}\n    secret: \"{secret}\"\n\
         \n\
         # PowerDNS:\n\
         pdnsutil import-tsig-key {name} {algorithm} '{secret}'\n\
         \n\
         # dig, kdig, nsupdate:\n\
         -y {algorithm}:{name}:{secret}\n"
    )
}

/// A key of TOML: dots would make tables of it.
fn quoted(name: &str) -> String {
    let is_bare = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if is_bare { name.to_owned() } else { format!("{name:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_secret_is_as_long_as_its_signatures_and_never_the_same() {
        for algorithm in Algorithm::ALL {
            let (one, other) = (secret(algorithm), secret(algorithm));
            assert_eq!(one.len(), algorithm.bytes().div_ceil(3) * 4, "{one}");
            assert_ne!(one, other);
        }
    }

    #[test]
    fn a_key_file_is_its_owners_and_is_not_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mirror.key");
        store(&path, "c2VjcmV0").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(store(&path, "b3RoZXI=").is_err_and(|error| error.kind() == io::ErrorKind::AlreadyExists));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "c2VjcmV0\n");
    }

    #[test]
    fn the_printed_table_is_one_that_the_config_takes() {
        for (name, table) in [("mirror", "[keys.mirror]"), ("ns1.example.com", "[keys.\"ns1.example.com\"]")]
        {
            let text = lines(name, Algorithm::HmacSha256, "inside", "c2VjcmV0", Path::new("x.key"));
            let (_, ours) = text.split_once("# dns.toml of verge-dns:\n").unwrap();
            let (ours, _) = ours.split_once("\n\n").unwrap();
            assert!(ours.starts_with(table), "{ours}");
            let config = format!("zones = \"z\"\nlisten = [\"127.0.0.1:1\"]\n{ours}\n");
            let config = crate::config::parse(&config, Path::new("/etc"), Path::new("dns.toml"));
            assert_eq!(config.unwrap_or_else(|error| panic!("{error}")).keys.len(), 1);
        }
    }
}
