//! When two spellings of a field mean the same.

use http::{HeaderMap, HeaderName, header};

use super::list;

/// A field's value over all its lines, without what means nothing: space round commas, and for lists of weighted names
/// case, order, empty elements and a weight of 1 (RFC 9111 §4.1, RFC 9110 §12.4). In other fields an empty element
/// may mean something: what was made for `a,` must not answer `a`. None if the field is absent.
pub fn normal(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<u8>> {
    if !headers.contains_key(name) {
        return None;
    }
    if !is_weighted(name) {
        let lines = headers.get_all(name).into_iter().flat_map(|line| list::split_all(line.as_bytes()));
        return Some(lines.collect::<Vec<_>>().join(&b','));
    }
    let mut elements: Vec<Vec<u8>> =
        list::elements(headers, name).map(|element| unweighted(weighted(element))).collect();
    elements.sort_unstable();
    Some(elements.join(&b','))
}

fn is_weighted(name: &HeaderName) -> bool {
    [header::ACCEPT_LANGUAGE, header::ACCEPT_ENCODING, header::ACCEPT_CHARSET].contains(name)
}

/// A name in lower case and its weight in thousandths.
pub(crate) fn weighted(element: &[u8]) -> (Vec<u8>, u16) {
    let mut parts = element.splitn(2, |&byte| byte == b';').map(<[u8]>::trim_ascii);
    let name = parts.next().unwrap_or_default().to_ascii_lowercase();
    match parts.next() {
        None => (name, 1000),
        Some(parameter) => match weight(parameter) {
            Some(weight) => (name, weight),
            // Not a weight: keep it, so that it is compared.
            None => ([name.as_slice(), parameter].join(&b';'), 0),
        },
    }
}

fn unweighted((mut name, weight): (Vec<u8>, u16)) -> Vec<u8> {
    if weight < 1000 {
        name.extend_from_slice(format!(";q={weight}").as_bytes());
    }
    name
}

/// `q=0.5` → 500 (RFC 9110 §12.4.2).
fn weight(parameter: &[u8]) -> Option<u16> {
    let value = parameter.strip_prefix(b"q=").or_else(|| parameter.strip_prefix(b"Q="))?;
    let (whole, fraction) = match value {
        [whole @ (b'0' | b'1')] => (whole, &[][..]),
        [whole @ (b'0' | b'1'), b'.', fraction @ ..] if fraction.len() <= 3 => (whole, fraction),
        _ => return None,
    };
    let mut thousandths = u16::from(whole - b'0');
    for place in 0..3 {
        let digit = fraction.get(place).copied().unwrap_or(b'0');
        thousandths = thousandths * 10 + u16::from(digit.is_ascii_digit().then(|| digit - b'0')?);
    }
    (thousandths <= 1000).then_some(thousandths)
}
