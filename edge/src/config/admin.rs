//! `[admin]`: the operator's listener, and where it is.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};
use toml::Spanned;

use super::place::Fault;
use crate::tls::Files;

/// The operator's listener.
#[derive(Debug, Clone)]
pub struct Admin {
    /// Loopback unless the operator says otherwise.
    pub listen: AdminAddress,
    /// The certificate that it shows; none: it speaks in clear.
    pub tls: Option<Files>,
    /// Holds the token that purge asks for; made with mode 0600 if absent.
    pub token_file: PathBuf,
    /// As many purges at once, and then as many a minute.
    pub purges_per_minute: NonZeroU32,
    /// Names by which it may be asked without the token, beside IP addresses and `localhost`.
    pub hosts: Vec<String>,
}

/// Where the operator's listener is: `127.0.0.1:9301`, or `unix:/run/verge-edge/admin.sock`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminAddress {
    /// Over TCP.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

const DEFAULT_ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9301);
const DEFAULT_TOKEN_FILE: &str = "verge-edge.token";
/// A hundred a second: a whole section of a site at once, and more than editors write.
const DEFAULT_PURGES_PER_MINUTE: NonZeroU32 = NonZeroU32::new(6_000).expect("it is not zero");
/// The kernel has 108 bytes for a socket's path and the zero behind it (unix(7)).
const MOST_PATH_BYTES: usize = 107;
const FORMS: &str = "write an address and a port, not a name: \"127.0.0.1:9301\", or a path: \"unix:/run/verge-edge/admin.sock\"";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AdminTable {
    listen: Option<Spanned<AdminAddress>>,
    tls: Option<Spanned<AdminTlsTable>>,
    token_file: Option<String>,
    purges_per_minute: Option<NonZeroU32>,
    #[serde(default)]
    hosts: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AdminTlsTable {
    certificate: String,
    key: String,
}

impl AdminTable {
    /// Relative paths start at `base`.
    pub(super) fn admin(self, base: &Path) -> Result<Admin, Fault> {
        let listen = self.listen.map(|listen| placed(listen, base)).transpose()?;
        let listen = listen.unwrap_or(AdminAddress::Tcp(DEFAULT_ADMIN));
        let tls = match (self.tls, &listen) {
            (Some(tls), AdminAddress::Unix(_)) => {
                let header = tls.span().start..tls.span().start + "[admin.tls]".len();
                let fault = Fault::new(header, "a Unix socket has no need of TLS");
                return Err(fault.help("nobody reads along there: remove [admin.tls]"));
            }
            (Some(tls), AdminAddress::Tcp(_)) => {
                let AdminTlsTable { certificate, key } = tls.into_inner();
                Some(Files { certificate: base.join(certificate), key: base.join(key) })
            }
            (None, _) => None,
        };
        Ok(Admin {
            listen,
            tls,
            token_file: base.join(self.token_file.as_deref().unwrap_or(DEFAULT_TOKEN_FILE)),
            purges_per_minute: self.purges_per_minute.unwrap_or(DEFAULT_PURGES_PER_MINUTE),
            hosts: self.hosts,
        })
    }

    pub(super) fn open_to_others(&self) -> Option<Fault> {
        let listen = self.listen.as_ref().filter(|listen| listen.get_ref().is_exposed())?;
        let (message, help) = match self.tls {
            None => (
                "the admin listener is reachable from other machines, in clear: tokens can be read on the way",
                "use a loopback address or \"unix:/run/verge-edge/admin.sock\" if you can, or add [admin.tls] with `certificate` and `key`",
            ),
            Some(_) => (
                "the admin listener is reachable from other machines",
                "who reaches it reads /healthz and /readyz without a token, and all else needs one; use a loopback address if you can",
            ),
        };
        Some(Fault::new(listen.span(), message).help(help))
    }
}

/// With the whole path of a socket, which must fit in an address.
fn placed(listen: Spanned<AdminAddress>, base: &Path) -> Result<AdminAddress, Fault> {
    let span = listen.span();
    let path = match listen.into_inner() {
        AdminAddress::Unix(path) => base.join(path),
        tcp @ AdminAddress::Tcp(_) => return Ok(tcp),
    };
    // A process that takes over finds the socket by its path, wherever it was started.
    let path = std::path::absolute(&path).unwrap_or(path);
    match path.as_os_str().len() {
        0..=MOST_PATH_BYTES => Ok(AdminAddress::Unix(path)),
        bytes => {
            let message = format!(
                "{} has {bytes} bytes, and a socket's path {MOST_PATH_BYTES} at most",
                path.display()
            );
            Err(Fault::new(span, message)
                .help("name a shorter path, such as \"unix:/run/verge-edge/admin.sock\""))
        }
    }
}

impl AdminAddress {
    /// Whether other machines may reach it.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        match self {
            Self::Tcp(address) => !address.ip().is_loopback(),
            Self::Unix(_) => false,
        }
    }
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for AdminAddress {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("unix:") {
            Some(path) if !path.is_empty() && !path.contains('\0') => Ok(Self::Unix(path.into())),
            Some(_) => Err(FORMS),
            None => text.parse().map(Self::Tcp).map_err(|_| FORMS),
        }
    }
}

impl<'de> Deserialize<'de> for AdminAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse()
            .map_err(|forms| de::Error::custom(format!("{text:?} is no address to listen on; {forms}")))
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn read(admin: &str) -> Result<super::super::Config, String> {
        let text = format!(
            "listen = [\"127.0.0.1:0\"]\n[[site]]\nhosts = [\"*\"]\norigins = [\"http://127.0.0.1:1\"]\n[admin]\n{admin}\n"
        );
        parse(&text, Path::new("/etc/verge"), Path::new("edge.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn the_operators_listener_is_an_address_or_a_path() {
        for (listen, expected) in [
            ("127.0.0.1:9301", "127.0.0.1:9301"),
            ("[::1]:9301", "[::1]:9301"),
            ("unix:/run/verge-edge/admin.sock", "unix:/run/verge-edge/admin.sock"),
            ("unix:admin.sock", "unix:/etc/verge/admin.sock"),
        ] {
            let admin = read(&format!("listen = \"{listen}\"")).unwrap().admin.unwrap();
            assert_eq!(admin.listen.to_string(), expected);
        }
        let long = format!("unix:/run/{}", "a".repeat(103));
        for (listen, expected) in [
            ("x", "edge.toml:6:10: error: \"x\" is no address to listen on; write an address and a port"),
            ("unix:", "\"unix:\" is no address"),
            (&long, "has 108 bytes, and a socket's path 107 at most"),
        ] {
            let error = read(&format!("listen = \"{listen}\"")).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn tls_is_for_a_listener_over_tcp_and_what_is_in_clear_for_others_is_told() {
        const TLS: &str = "[admin.tls]\ncertificate = \"a.pem\"\nkey = \"a.key\"";
        let config = read(&format!("listen = \"127.0.0.1:0\"\n{TLS}")).unwrap();
        let tls = config.admin.unwrap().tls.unwrap();
        assert_eq!((tls.certificate, tls.key), ("/etc/verge/a.pem".into(), "/etc/verge/a.key".into()));
        assert_eq!(config.warnings.len(), 0);
        let error = read(&format!("listen = \"unix:/run/a.sock\"\n{TLS}")).unwrap_err();
        assert!(error.starts_with("edge.toml:7:1: error: a Unix socket has no need of TLS"), "{error}");
        let told =
            |text: &str| read(text).unwrap().warnings.iter().map(ToString::to_string).collect::<String>();
        assert!(told("listen = \"192.0.2.1:9301\"").contains("tokens can be read on the way"));
        let over_tls = told(&format!("listen = \"192.0.2.1:9301\"\n{TLS}"));
        assert!(over_tls.contains("reachable from other machines\n"), "{over_tls}");
        assert!(over_tls.contains("without a token, and all else needs one"), "{over_tls}");
        assert_eq!(told("listen = \"unix:/run/a.sock\""), "");
    }
}
