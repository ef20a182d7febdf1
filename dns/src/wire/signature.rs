//! The signature of a question (TSIG, RFC 8945), and what it makes of the answer.

use super::Moment;
use super::query::Message;
use crate::client::Client;
use crate::rcode::Rcode;
use crate::tsig::{self, Keys, Refused, SignedError, Signer, Tsig};
use crate::view::{self, Access, Which};

/// The time that a TSIG tells whose clock is not ours (RFC 8945 §5.2.3).
const TSIG_TIME_BYTES: usize = 6;

/// The signature of a question, as far as it was proved.
pub(super) enum Signature {
    /// There is none.
    None,
    /// It is a key's of ours, and so are those of the answer.
    Good(Signer),
    /// It proves nothing.
    Refused(Refused),
}

impl Signature {
    pub(super) fn of(message: &Message<'_>, keys: &Keys, now: Moment) -> Self {
        match &message.tsig {
            None => Self::None,
            Some(tsig) => match tsig::judge(keys, tsig, now.unix_seconds) {
                Ok(signer) => Self::Good(signer),
                Err(refused) => Self::Refused(refused),
            },
        }
    }

    /// A client that proves a key gets the key's view, wherever it asks; all others get the view of their address and listener.
    pub(super) fn view(&self, access: &Access, client: &Client) -> Which {
        match self {
            Self::Good(signer) => signer.key().view,
            Self::None | Self::Refused(_) => view::choose(access, client),
        }
    }

    /// The rcode of an answer that is nothing but the refusal.
    pub(super) fn refusal(&self) -> Option<Rcode> {
        match self {
            Self::None | Self::Good(_) => None,
            Self::Refused(Refused::Malformed) => Some(Rcode::FormErr),
            Self::Refused(_) => Some(Rcode::NotAuth),
        }
    }

    /// Bytes that it adds to the answer.
    pub(super) fn bytes(&self, tsig: Option<&Tsig<'_>>) -> usize {
        match self {
            Self::None | Self::Refused(Refused::Malformed) => 0,
            Self::Refused(Refused::BadKey) => tsig.map_or(0, tsig::badkey_bytes),
            Self::Good(signer) | Self::Refused(Refused::BadTrunc(signer)) => signer.bytes(),
            Self::Refused(Refused::BadTime(signer)) => signer.bytes() + TSIG_TIME_BYTES,
        }
    }

    /// Adds the TSIG record to an answer that is complete but for it.
    pub(super) fn sign(&self, tsig: Option<&Tsig<'_>>, unix_seconds: u64, out: &mut Vec<u8>) {
        let (signer, error) = match (self, tsig) {
            (Self::None | Self::Refused(Refused::Malformed), _) | (_, None) => return,
            (Self::Refused(Refused::BadKey), Some(tsig)) => return tsig::write_badkey(tsig, out),
            (Self::Good(signer), _) => (signer, SignedError::None),
            (Self::Refused(Refused::BadTime(signer)), Some(tsig)) => {
                (signer, SignedError::BadTime(tsig.time))
            }
            (Self::Refused(Refused::BadTrunc(signer)), _) => (signer, SignedError::BadTrunc),
        };
        signer.clone().sign(out, error, unix_seconds);
    }
}
