//! Three classes of devices, for sites that serve them differently under one URL.

use http::{HeaderMap, HeaderName, header};

/// Whether the device class takes part in the key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Device {
    /// It does not.
    #[default]
    Ignored,
    /// It does.
    Keyed,
}

/// The kind of device that a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A phone.
    Mobile,
    /// A tablet.
    Tablet,
    /// All else.
    Desktop,
}

const MOBILE_HINT: HeaderName = HeaderName::from_static("sec-ch-ua-mobile");

impl Class {
    /// By `Sec-CH-UA-Mobile` (a phone, if it says so), else by the words that browsers agree on in `User-Agent`.
    pub fn of(headers: &HeaderMap) -> Self {
        let agent = headers.get(header::USER_AGENT).map(|value| value.as_bytes()).unwrap_or_default();
        let says = |word: &[u8]| agent.windows(word.len()).any(|part| part == word);
        let hinted = headers.get(MOBILE_HINT).is_some_and(|value| value.as_bytes() == b"?1");
        if hinted {
            Self::Mobile
        } else if says(b"iPad") || says(b"Tablet") || says(b"Android") && !says(b"Mobile") {
            Self::Tablet
        } else if says(b"Mobi") {
            Self::Mobile
        } else {
            Self::Desktop
        }
    }

    /// Its name in the key.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mobile => "mobile",
            Self::Tablet => "tablet",
            Self::Desktop => "desktop",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::fields;

    #[test]
    fn classes() {
        for (name, value, expected) in [
            (
                "user-agent",
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0) Version/18.0 Mobile/15E148 Safari/604.1",
                Class::Mobile,
            ),
            (
                "user-agent",
                "Mozilla/5.0 (Linux; Android 15; Pixel 9) Chrome/130.0.0.0 Mobile Safari/537.36",
                Class::Mobile,
            ),
            (
                "user-agent",
                "Mozilla/5.0 (Linux; Android 15; SM-X910) Chrome/130.0.0.0 Safari/537.36",
                Class::Tablet,
            ),
            (
                "user-agent",
                "Mozilla/5.0 (iPad; CPU OS 12_5) Version/12.1 Mobile/15E148 Safari/604.1",
                Class::Tablet,
            ),
            ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) Chrome/130.0.0.0 Safari/537.36", Class::Desktop),
            ("sec-ch-ua-mobile", "?1", Class::Mobile),
            ("sec-ch-ua-mobile", "?0", Class::Desktop),
            ("accept", "*/*", Class::Desktop),
        ] {
            assert_eq!(Class::of(&fields(&[(name, value)])), expected, "{value}");
        }
    }
}
