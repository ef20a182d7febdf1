//! Response codes (IANA "DNS RCODEs").

use std::fmt;

/// A response code; those above 15 need an OPT record for their upper bits (RFC 6891 §6.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Rcode {
    /// The question was answered; perhaps there is no such data.
    NoError = 0,
    /// The message was malformed.
    FormErr = 1,
    /// We cannot answer now.
    ServFail = 2,
    /// No such name.
    NxDomain = 3,
    /// No such operation here.
    NotImp = 4,
    /// We will not answer this.
    Refused = 5,
    /// A substitution made the name too long (RFC 6672 §2.2).
    YxDomain = 6,
    /// A set of records is there that should not be (RFC 2136 §2.2).
    YxRrset = 7,
    /// A set of records is not there that should be (RFC 2136 §2.2).
    NxRrset = 8,
    /// The signature is by a key that we do not have (RFC 8945 §5.2).
    NotAuth = 9,
    /// A name is not in the zone that is to be updated (RFC 2136 §2.2).
    NotZone = 10,
    /// An EDNS version that we do not speak (RFC 6891 §6.1.3).
    BadVers = 16,
}

impl Rcode {
    /// The mnemonic, also the label of logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoError => "NOERROR",
            Self::FormErr => "FORMERR",
            Self::ServFail => "SERVFAIL",
            Self::NxDomain => "NXDOMAIN",
            Self::NotImp => "NOTIMP",
            Self::Refused => "REFUSED",
            Self::YxDomain => "YXDOMAIN",
            Self::YxRrset => "YXRRSET",
            Self::NxRrset => "NXRRSET",
            Self::NotAuth => "NOTAUTH",
            Self::NotZone => "NOTZONE",
            Self::BadVers => "BADVERS",
        }
    }

    /// The four bits of the header.
    pub fn low(self) -> u8 {
        self as u8 & 0x0f
    }

    /// The eight bits of the OPT record.
    pub fn high(self) -> u8 {
        self as u8 >> 4
    }
}

impl fmt::Display for Rcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
