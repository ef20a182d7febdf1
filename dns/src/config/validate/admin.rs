//! `[admin]`: the operator's listener.

use std::path::Path;
use std::time::Duration;

use toml::Spanned;

use super::{At, invalid};
use crate::config::{Admin, AdminAddress, ConfigError, Tls, Warning, file};

/// The kernel has 108 bytes for a socket's path and the zero behind it (unix(7)).
const MOST_PATH_BYTES: usize = 107;
/// An operator whose handshake takes longer asks again.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Relative paths start at `base`.
pub(super) fn admin(written: file::Admin, base: &Path, at: At<'_>) -> Result<Admin, ConfigError> {
    let listen = placed(written.listen, base, at)?;
    let tls = match (written.tls, &listen) {
        (Some(tls), AdminAddress::Unix(_)) => {
            let header = tls.span().start..tls.span().start + "[admin.tls]".len();
            let help = "nobody reads along there: remove [admin.tls]";
            return Err(invalid(at(header), "a Unix socket has no need of TLS", help));
        }
        (Some(tls), AdminAddress::Tcp(_)) => {
            let file::AdminTls { certificate, key } = tls.into_inner();
            let (certificate, key) = (base.join(certificate), base.join(key));
            Some(Tls { certificate, key, handshake_timeout: HANDSHAKE_TIMEOUT })
        }
        (None, _) => None,
    };
    Ok(Admin {
        listen,
        tls,
        token_file: base.join(written.token_file.unwrap_or_else(|| "verge-dns.token".into())),
        hosts: written.hosts,
    })
}

/// With the whole path of a socket, which must fit in an address.
fn placed(listen: Spanned<AdminAddress>, base: &Path, at: At<'_>) -> Result<AdminAddress, ConfigError> {
    let span = listen.span();
    let path = match listen.into_inner() {
        AdminAddress::Unix(path) => base.join(path),
        tcp @ AdminAddress::Tcp(_) => return Ok(tcp),
    };
    let path = std::path::absolute(&path).unwrap_or(path);
    match path.as_os_str().len() {
        0..=MOST_PATH_BYTES => Ok(AdminAddress::Unix(path)),
        bytes => {
            let path = path.display();
            let message = format!("{path} has {bytes} bytes, and a socket's path {MOST_PATH_BYTES} at most");
            Err(invalid(at(span), message, "name a shorter path, such as \"unix:/run/verge-dns/admin.sock\""))
        }
    }
}

/// The word about a listener that other machines reach.
pub(super) fn exposed(written: &file::Admin, at: At<'_>) -> Option<Warning> {
    let listen = Some(&written.listen).filter(|listen| listen.get_ref().is_exposed())?;
    let (message, help) = match written.tls {
        None => (
            "the admin listener is reachable from other machines, in clear: tokens can be read on the way",
            "use a loopback address or \"unix:/run/verge-dns/admin.sock\" if you can, or add [admin.tls] with `certificate` and `key`",
        ),
        Some(_) => (
            "the admin listener is reachable from other machines",
            "who reaches it reads /healthz and /readyz without a token, and all else needs one; use a loopback address if you can",
        ),
    };
    Some(Warning { place: at(listen.span()), message: message.to_owned(), help: help.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, parse};

    fn read(admin: &str) -> Result<Config, String> {
        let text = format!("zones = \"z\"\nlisten = [\"127.0.0.1:1\"]\n[admin]\n{admin}\n");
        parse(&text, Path::new("/etc/verge"), Path::new("dns.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn the_operators_listener_is_an_address_or_a_path() {
        for (listen, expected) in [
            ("127.0.0.1:9300", "127.0.0.1:9300"),
            ("unix:/run/verge-dns/admin.sock", "unix:/run/verge-dns/admin.sock"),
            ("unix:admin.sock", "unix:/etc/verge/admin.sock"),
        ] {
            let admin = read(&format!("listen = \"{listen}\"")).unwrap().admin.unwrap();
            assert_eq!(admin.listen.to_string(), expected);
        }
        let long = format!("unix:/run/{}", "a".repeat(103));
        for (listen, expected) in [
            ("x", "\"x\" is no address to listen on; write an address and a port"),
            ("unix:", "\"unix:\" is no address"),
            (&long, "has 108 bytes, and a socket's path 107 at most"),
        ] {
            let error = read(&format!("listen = \"{listen}\"")).unwrap_err();
            assert!(error.starts_with("dns.toml:4:10: error: ") && error.contains(expected), "{error}");
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
        assert!(error.starts_with("dns.toml:5:1: error: a Unix socket has no need of TLS"), "{error}");
        let told = |text: &str| {
            let warnings = read(text).unwrap().warnings;
            warnings.into_iter().map(|warning| warning.message).collect::<String>()
        };
        assert!(told("listen = \"192.0.2.1:9300\"").contains("tokens can be read on the way"));
        let over_tls = told(&format!("listen = \"192.0.2.1:9300\"\n{TLS}"));
        assert!(over_tls.ends_with("reachable from other machines"), "{over_tls}");
        assert_eq!(told("listen = \"unix:/run/a.sock\""), "");
    }
}
