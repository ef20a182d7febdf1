//! The OPT record of an answer (RFC 6891 §6.1) and the error TSIG: what comes behind the RRsets.

use std::time::Duration;

use super::query::Edns;
use super::subnet::{Subnet, Told};
use crate::client::Client;
use crate::cookie::Full;
use crate::rcode::Rcode;

/// The content of an answer's OPT record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opt<'a> {
    pub(super) udp_bytes: u16,
    pub(super) dnssec_ok: bool,
    pub(super) nsid: Option<&'a [u8]>,
    pub(super) cookie: Option<Full>,
    /// How long the connection may be idle, in units of 100 milliseconds (RFC 7828 §3.1).
    pub(super) keepalive: Option<u16>,
    /// For how long a zone is good still, in seconds (RFC 7314 §2).
    pub(super) expire: Option<u32>,
    pub(super) error: Option<ExtendedError>,
    /// The network that a believed resolver asks for, with the bits of it that mattered.
    pub(super) subnet: Option<(Subnet, u8)>,
}

/// Extended errors (RFC 8914) that say nothing of what is inside: each follows from the question and the list of
/// public zones alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum ExtendedError {
    /// Not Ready: the zone has not been loaded.
    Unready = 14,
    /// Not Authoritative: no zone of ours.
    Elsewhere = 20,
    /// Not Supported: a class or operation that is not offered.
    Unsupported = 21,
}

/// Bytes of a record without options.
const BARE_BYTES: usize = 11;

const OPTION_NSID: u16 = 3;
const OPTION_SUBNET: u16 = 8;
const OPTION_EXPIRE: u16 = 9;
const OPTION_COOKIE: u16 = 10;
const OPTION_KEEPALIVE: u16 = 11;
const OPTION_EXTENDED_ERROR: u16 = 15;

impl Opt<'_> {
    /// Without options.
    #[inline]
    pub(super) fn bare(udp_bytes: u16, dnssec_ok: bool) -> Self {
        Self {
            udp_bytes,
            dnssec_ok,
            nsid: None,
            cookie: None,
            keepalive: None,
            expire: None,
            error: None,
            subnet: None,
        }
    }

    /// Notes how many bits of the client's network mattered; the options stay as long as they are.
    #[inline]
    pub(super) fn set_scope(&mut self, scope: u8) {
        if let Some((_, told)) = &mut self.subnet {
            *told = scope;
        }
    }

    /// Bytes that [`Opt::write`] will take.
    #[inline]
    pub(super) fn bytes(&self) -> usize {
        BARE_BYTES + if self.has_options() { self.option_bytes() } else { 0 }
    }

    fn option_bytes(&self) -> usize {
        self.options().map(|(_, data)| 4 + data.len()).sum()
    }

    /// Appends the record. Flags and options that we do not know are not echoed (RFC 6891 §6.1.4, §6.1.2).
    #[inline]
    pub(super) fn write(&self, rcode: Rcode, out: &mut Vec<u8>) {
        let [u1, u2] = self.udp_bytes.to_be_bytes();
        let flags = u8::from(self.dnssec_ok) << 7;
        let bare: [u8; BARE_BYTES] = [0, 0, 41, u1, u2, rcode.high(), 0, flags, 0, 0, 0];
        out.extend_from_slice(&bare);
        if self.has_options() {
            self.write_options(out);
        }
    }

    fn write_options(&self, out: &mut Vec<u8>) {
        let bytes = u16::try_from(self.option_bytes()).expect("our options are short");
        let length_at = out.len() - 2;
        out[length_at..].copy_from_slice(&bytes.to_be_bytes());
        for (code, data) in self.options() {
            out.extend_from_slice(&code.to_be_bytes());
            out.extend_from_slice(&u16::try_from(data.len()).expect("our options are short").to_be_bytes());
            out.extend_from_slice(data.as_slice());
        }
    }

    #[inline]
    fn has_options(&self) -> bool {
        let is_short = self.cookie.is_some() || self.keepalive.is_some() || self.error.is_some();
        is_short || self.nsid.is_some() || self.subnet.is_some() || self.expire.is_some()
    }

    fn options(&self) -> impl Iterator<Item = (u16, Data<'_>)> {
        [
            self.nsid.map(|nsid| (OPTION_NSID, Data::Borrowed(&nsid[..nsid.len().min(MAX_NSID_BYTES)]))),
            self.subnet.map(|(subnet, scope)| (OPTION_SUBNET, Data::Subnet(subnet.told(scope)))),
            self.cookie.map(|cookie| (OPTION_COOKIE, Data::Cookie(cookie))),
            self.keepalive.map(|timeout| (OPTION_KEEPALIVE, Data::Code(timeout.to_be_bytes()))),
            self.expire.map(|seconds| (OPTION_EXPIRE, Data::Seconds(seconds.to_be_bytes()))),
            self.error.map(|error| (OPTION_EXTENDED_ERROR, Data::Code((error as u16).to_be_bytes()))),
        ]
        .into_iter()
        .flatten()
    }
}

/// A name for a server, not a document: it must never push records out of an answer of 512 bytes.
const MAX_NSID_BYTES: usize = 128;

enum Data<'a> {
    Borrowed(&'a [u8]),
    Subnet(Told),
    Cookie(Full),
    Code([u8; 2]),
    Seconds([u8; 4]),
}

impl Data<'_> {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Borrowed(data) => data,
            Self::Subnet(told) => told.as_slice(),
            Self::Cookie(cookie) => cookie,
            Self::Code(code) => code,
            Self::Seconds(seconds) => seconds,
        }
    }

    fn len(&self) -> usize {
        self.as_slice().len()
    }
}

/// How long a connection may be idle, in units of 100 milliseconds (RFC 7828 §3.3.2). Clients that ask are told, where a connection can
/// be kept; those that are to close it are told 0, whether they ask or not. UDP has no such option (§3.2.1), and in QUIC it is an
/// error (RFC 9250 §5.5.2).
pub(super) fn keepalive(edns: &Edns<'_>, client: &Client, idle_timeout: Duration) -> Option<u16> {
    let close = close(edns, client)?;
    if client.is_to_close {
        return Some(close);
    }
    edns.keepalive.then(|| u16::try_from(idle_timeout.as_millis() / 100).unwrap_or(u16::MAX))
}

/// The timeout that tells a client to close its connection, where [`keepalive`] may tell one.
pub(super) fn close(edns: &Edns<'_>, client: &Client) -> Option<u16> {
    (edns.version == 0 && client.transport.is_stream()).then_some(0)
}

/// Whether a COOKIE option has a length that one can have (RFC 7873 §5.2.2).
pub(super) fn is_cookie_length(edns: &Edns<'_>) -> bool {
    edns.cookie.is_none_or(|cookie| matches!(cookie.len(), 8 | 16..=40))
}
