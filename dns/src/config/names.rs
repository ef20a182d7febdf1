//! Domain names as the config writes them.

use serde::{Deserialize, Deserializer, de};
use toml::Spanned;

use crate::name::Name;

/// A domain name; the final dot may be left out.
pub(super) struct DomainName(pub(super) Name);

impl<'de> Deserialize<'de> for DomainName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if let Some(below) = text.strip_prefix("*.") {
            let message =
                format_args!("`{text}` is a wildcard; write {below}, which covers all names below it, too");
            return Err(de::Error::custom(message));
        }
        let pattern = "a name covers itself and everything below it, so write the name alone";
        domain_name(&text, &text, pattern).map(Self).map_err(de::Error::custom)
    }
}

/// Reads the name of a pool: a wildcard owns records as any other name does, so it may be one.
pub(super) fn pool_name<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Spanned<DomainName>>, D::Error> {
    let written = Option::<Spanned<String>>::deserialize(deserializer)?;
    let name = |written: Spanned<String>| -> Result<_, String> {
        let text = written.get_ref();
        let pattern = "write the name of the records, whose first label alone may be `*`";
        let plain = domain_name(text.strip_prefix("*.").unwrap_or(text), text, pattern)?;
        let name = match text.starts_with("*.") {
            true => plain.wildcard().ok_or_else(|| format!("`{text}` is no domain name: it is too long"))?,
            false => plain,
        };
        Ok(Spanned::new(written.span(), DomainName(name)))
    };
    written.map(name).transpose().map_err(de::Error::custom)
}

/// Reads a name without a wildcard. `written` is all that the author wrote; `pattern` says what to write for a pattern.
fn domain_name(text: &str, written: &str, pattern: &str) -> Result<Name, String> {
    let fault = if text.chars().any(char::is_whitespace) {
        format!("`{written}` has white space in it; a domain name has none")
    } else if !text.is_ascii() {
        format!(
            "`{written}` is not ASCII, and no zone file has such a name; write its A-label, as in xn--mller-kva.example \
             (RFC 5890)"
        )
    } else if text.contains(['*', '?', '[', ']', '{', '}']) {
        format!("`{written}` is a pattern; {pattern}")
    } else {
        return Name::parse_absolute(text)
            .map_err(|error| format!("`{written}` is not a domain name: {error}"));
    };
    Err(fault)
}
