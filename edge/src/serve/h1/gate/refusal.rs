//! Why a request does not get through, and what its client is told.

use http::StatusCode;

/// A fault in a request. The connection closes after the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Not `method SP target SP version`.
    BadRequestLine,
    /// A method longer than any there is.
    LongMethod,
    /// A character that no target holds, a fragment, user information, or a form the method does not take.
    BadTarget,
    /// Over the limit.
    LongTarget,
    /// Not `HTTP/1.0` or `HTTP/1.1`.
    OtherVersion,
    /// CR or LF alone.
    BareLineEnd,
    /// Not a token followed by a colon, or a folded line.
    BadFieldName,
    /// A control character.
    BadFieldValue,
    /// Over the limit.
    ManyFields,
    /// The head is over the limit.
    LongHead,
    /// The head did not come in time.
    SlowHead,
    /// HTTP/1.1 without `Host`.
    NoHost,
    /// More than one `Host`.
    ManyHosts,
    /// Not `host[:port]`.
    BadHost,
    /// `Host` says something else than the target.
    HostDiffers,
    /// Not a plain decimal number.
    BadLength,
    /// More than one `Content-Length`, equal or not.
    ManyLengths,
    /// `Content-Length` beside `Transfer-Encoding`.
    LengthAndCoding,
    /// `Transfer-Encoding` in HTTP/1.0.
    CodingInOldVersion,
    /// More than one `Transfer-Encoding`.
    ManyCodings,
    /// `Transfer-Encoding` that does not end in one `chunked`.
    BadCoding,
    /// A transfer coding beside `chunked`.
    OtherCoding,
    /// A name that some servers read as one that frames the body.
    LookAlike,
    /// An expectation other than `100-continue`.
    OtherExpectation,
    /// CONNECT with a body.
    BodyBeforeTunnel,
    /// A chunk's size is not a hexadecimal number, or too big.
    BadChunkSize,
    /// A chunk's extension holds a control character or does not start with a semicolon.
    BadChunkExtension,
    /// More than [`super::chunked::MAX_CHUNK_LINE_BYTES`].
    LongChunkLine,
    /// A chunk's data are not followed by CRLF.
    BadChunkEnd,
    /// A trailer field that frames or routes the message.
    ForbiddenTrailer,
    /// More than [`super::chunked::MAX_TRAILER_BYTES`].
    LongTrailers,
    /// The server saw a request that the gate did not: never, or the connection is unsafe.
    Unseen,
}

impl Refusal {
    /// The status of the answer.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::LongTarget => StatusCode::URI_TOO_LONG,
            Self::OtherExpectation => StatusCode::EXPECTATION_FAILED,
            Self::ManyFields | Self::LongHead | Self::LongTrailers => {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            Self::SlowHead => StatusCode::REQUEST_TIMEOUT,
            Self::LongMethod | Self::OtherCoding => StatusCode::NOT_IMPLEMENTED,
            Self::OtherVersion => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// A label for metrics, and the text of the answer.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadRequestLine => "bad request line",
            Self::LongMethod => "method too long",
            Self::BadTarget => "bad request target",
            Self::LongTarget => "request target too long",
            Self::OtherVersion => "HTTP version not supported",
            Self::BareLineEnd => "line not ended by CRLF",
            Self::BadFieldName => "bad field name",
            Self::BadFieldValue => "bad field value",
            Self::ManyFields => "too many fields",
            Self::LongHead => "head too long",
            Self::SlowHead => "the head did not come in time",
            Self::NoHost => "no Host",
            Self::ManyHosts => "more than one Host",
            Self::BadHost => "bad host",
            Self::HostDiffers => "Host differs from the request target",
            Self::BadLength => "bad Content-Length",
            Self::ManyLengths => "more than one Content-Length",
            Self::LengthAndCoding => "Content-Length beside Transfer-Encoding",
            Self::CodingInOldVersion => "Transfer-Encoding in HTTP/1.0",
            Self::ManyCodings => "more than one Transfer-Encoding",
            Self::BadCoding => "bad Transfer-Encoding",
            Self::OtherCoding => "unknown transfer coding",
            Self::LookAlike => "field name that looks like a framing field",
            Self::OtherExpectation => "unknown expectation",
            Self::BodyBeforeTunnel => "CONNECT with a body",
            Self::BadChunkSize => "bad chunk size",
            Self::BadChunkExtension => "bad chunk extension",
            Self::LongChunkLine => "chunk line too long",
            Self::BadChunkEnd => "chunk not ended by CRLF",
            Self::ForbiddenTrailer => "framing or routing field in the trailer",
            Self::LongTrailers => "trailer section too long",
            Self::Unseen => "request that was not checked",
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for Refusal {}
