//! `[tls]`: certificates by their files, and the secret of session tickets.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::chosen::chosen;
use super::place::Fault;
use crate::serve::Chosen;
use crate::tls::Files;
use crate::tls::clients::Asked;

/// How clients are served over TLS.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Where they are: HTTP/1.1 and HTTP/2, by what the client asks for.
    pub listen: Vec<SocketAddr>,
    /// Where HTTP/3 is, by UDP.
    pub quic: Vec<SocketAddr>,
    /// The first answers clients that ask for a name which none is for.
    pub certificates: Vec<Files>,
    /// Which certificates clients may show; none: they are asked for none.
    pub clients: Option<Asked>,
    /// The listeners that ask for them.
    pub clients_at: Chosen,
    /// The file whose secret tickets are sealed with; none: a secret of this process.
    pub ticket_secret: Option<PathBuf>,
    /// Whether a GET may come with the first flight of a session that resumes (RFC 8470).
    pub early_data: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TlsTable {
    certificate: String,
    key: String,
    ticket_secret: Option<String>,
    early_data: Option<Spanned<EarlyData>>,
    clients: Option<ClientsTable>,
    #[serde(default)]
    also: Vec<Pair>,
}

/// The requests that may be early.
#[derive(Deserialize, Clone, Copy, PartialEq)]
#[serde(rename_all = "lowercase")]
enum EarlyData {
    Off,
    Get,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pair {
    certificate: String,
    key: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClientsTable {
    ca: String,
    required: Option<bool>,
    listen: Option<Spanned<Vec<Spanned<SocketAddr>>>>,
}

/// Reads `listen_tls`, `listen_quic` and `[tls]` together. Relative paths start at `base`.
pub(super) fn tls(
    listen: Option<Spanned<Vec<SocketAddr>>>,
    quic: Option<Spanned<Vec<SocketAddr>>>,
    table: Option<Spanned<TlsTable>>,
    base: &Path,
) -> Result<Option<Tls>, Fault> {
    let Some(table) = table else {
        let written = listen.map(|it| ("listen_tls", it)).or_else(|| quic.map(|it| ("listen_quic", it)));
        let Some((key, written)) = written else { return Ok(None) };
        let fault = Fault::new(written.span(), format!("`{key}` needs a certificate"));
        return Err(fault.help("add [tls] with `certificate` and `key`, the paths of two PEM files"));
    };
    if listen.is_none() && quic.is_none() {
        let fault = Fault::new(first_line(&table.span()), "[tls] is for no listener");
        return Err(fault.help("add listen_tls = [\"0.0.0.0:443\"] above the first section"));
    }
    let addresses =
        |written: Option<Spanned<Vec<SocketAddr>>>| written.map(Spanned::into_inner).unwrap_or_default();
    let (listen, quic, table) = (addresses(listen), addresses(quic), table.into_inner());
    let files =
        |certificate: String, key: String| Files { certificate: base.join(certificate), key: base.join(key) };
    let early_data = early_data(&table)?;
    let mut certificates = vec![files(table.certificate, table.key)];
    certificates.extend(table.also.into_iter().map(|pair| files(pair.certificate, pair.key)));
    let clients_at = table.clients.as_ref().and_then(|clients| clients.listen.as_ref());
    let clients_at = chosen(clients_at, &[("listen_tls", &listen), ("listen_quic", &quic)])?;
    let asked = |clients: ClientsTable| Asked {
        ca: base.join(clients.ca),
        required: clients.required.unwrap_or(true),
    };
    Ok(Some(Tls {
        listen,
        quic,
        certificates,
        clients: table.clients.map(asked),
        clients_at,
        ticket_secret: table.ticket_secret.map(|path| base.join(path)),
        early_data,
    }))
}

/// A session that is to be used once must be known where it was made, so it is in no ticket that others can read.
fn early_data(table: &TlsTable) -> Result<bool, Fault> {
    let Some(written) = table.early_data.as_ref().filter(|written| *written.get_ref() == EarlyData::Get)
    else {
        return Ok(false);
    };
    let fault = |sentence: &str| Fault::new(written.span(), sentence);
    if table.ticket_secret.is_some() {
        let fault = fault("`early_data` and `ticket_secret` exclude each other");
        return Err(fault.help(
            "a session with early data is used once, at the process that has it: with a ticket that every edge reads, \
             each could be made to take the same request again (RFC 8446 §8). Leave one of the two out",
        ));
    }
    if table.clients.is_some() {
        let fault = fault("no request is early where clients show certificates");
        return Err(fault.help("leave `early_data` or [tls.clients] out"));
    }
    Ok(true)
}

/// A table's span is all of it; its header is enough to point at.
fn first_line(span: &Range<usize>) -> Range<usize> {
    span.start..span.start + "[tls]".len()
}
