//! `[tls]`: certificates by their files, and the secret of session tickets.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::place::Fault;
use crate::tls::Files;

/// How clients are served over TLS.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Where they are: HTTP/1.1 and HTTP/2, by what the client asks for.
    pub listen: Vec<SocketAddr>,
    /// The first answers clients that ask for a name which none is for.
    pub certificates: Vec<Files>,
    /// The file whose secret tickets are sealed with; none: a secret of this process.
    pub ticket_secret: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TlsTable {
    certificate: String,
    key: String,
    ticket_secret: Option<String>,
    #[serde(default)]
    also: Vec<Pair>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pair {
    certificate: String,
    key: String,
}

/// What `listen_tls` and `[tls]` say together. Relative paths start at `base`.
pub(super) fn tls(
    listen: Option<Spanned<Vec<SocketAddr>>>,
    table: Option<Spanned<TlsTable>>,
    base: &Path,
) -> Result<Option<Tls>, Fault> {
    let (listen, table) = match (listen, table) {
        (None, None) => return Ok(None),
        (Some(listen), None) => {
            let fault = Fault::new(listen.span(), "`listen_tls` needs a certificate");
            return Err(fault.help("add [tls] with `certificate` and `key`, the paths of two PEM files"));
        }
        (None, Some(table)) => {
            let fault = Fault::new(first_line(&table.span()), "[tls] is for no listener");
            return Err(fault.help("add listen_tls = [\"0.0.0.0:443\"] above the first section"));
        }
        (Some(listen), Some(table)) => (listen.into_inner(), table.into_inner()),
    };
    let files =
        |certificate: String, key: String| Files { certificate: base.join(certificate), key: base.join(key) };
    let mut certificates = vec![files(table.certificate, table.key)];
    certificates.extend(table.also.into_iter().map(|pair| files(pair.certificate, pair.key)));
    Ok(Some(Tls { listen, certificates, ticket_secret: table.ticket_secret.map(|path| base.join(path)) }))
}

/// A table's span is all of it; its header is enough to point at.
fn first_line(span: &Range<usize>) -> Range<usize> {
    span.start..span.start + "[tls]".len()
}
