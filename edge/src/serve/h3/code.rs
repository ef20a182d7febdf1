//! Why a stream or a connection ends (RFC 9114 §8.1, RFC 9204 §6). Pure.

/// An error code, or the lack of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The end was due.
    NoError,
    /// Something else that a client must not do.
    GeneralProtocolError,
    /// The edge failed.
    InternalError,
    /// A stream of a kind that there may be once, or not at all.
    StreamCreationError,
    /// A stream ended that must not.
    ClosedCriticalStream,
    /// A frame where it may not be.
    FrameUnexpected,
    /// A frame that is none.
    FrameError,
    /// More work than use.
    ExcessiveLoad,
    /// An identifier that cannot be.
    IdError,
    /// Settings that cannot be.
    SettingsError,
    /// Another frame before SETTINGS.
    MissingSettings,
    /// The request was not looked at, and may be sent again.
    RequestRejected,
    /// The answer is not wanted, or not given any more.
    RequestCancelled,
    /// The request ended too early.
    RequestIncomplete,
    /// The message is malformed.
    MessageError,
    /// A field section that is none.
    DecompressionFailed,
    /// An instruction to a table that there is not.
    EncoderStreamError,
    /// An answer about a table that there is not.
    DecoderStreamError,
}

impl Code {
    /// As it goes over the wire.
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            Self::NoError => 0x100,
            Self::GeneralProtocolError => 0x101,
            Self::InternalError => 0x102,
            Self::StreamCreationError => 0x103,
            Self::ClosedCriticalStream => 0x104,
            Self::FrameUnexpected => 0x105,
            Self::FrameError => 0x106,
            Self::ExcessiveLoad => 0x107,
            Self::IdError => 0x108,
            Self::SettingsError => 0x109,
            Self::MissingSettings => 0x10a,
            Self::RequestRejected => 0x10b,
            Self::RequestCancelled => 0x10c,
            Self::RequestIncomplete => 0x10d,
            Self::MessageError => 0x10e,
            Self::DecompressionFailed => 0x200,
            Self::EncoderStreamError => 0x201,
            Self::DecoderStreamError => 0x202,
        }
    }
}
