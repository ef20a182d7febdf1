//! `$GENERATE start-stop[/step] owner [TTL] [class] type RDATA`, with the syntax of BIND: `$` is the number of the
//! step, `${offset,width,base}` forms it, `$$` and `\$` are a dollar sign.

use std::ops::RangeInclusive;

use super::reader::{Reader, Scope, whole};
use super::record;
use crate::rdata::{self, Field};
use crate::zone::Marks;
use crate::zone::text::fields::Word;
use crate::zone::text::lexer::{Entry, Lexer, Token};
use crate::zone::text::{Fault, mnemonic, number};

/// Most records that the directives of one zone make: more than the addresses of a /10.
const MAX_GENERATED: u64 = 1 << 22;
/// Most characters of one formed number; a label holds no more.
const MAX_WIDTH: usize = 255;

/// Makes the records, or reports why not. The first step that goes wrong ends the directive.
pub(super) fn run(reader: &mut Reader, entry: &Entry<'_>, marks: Marks, scope: &mut Scope<'_>) {
    if let Err(fault) = steps(reader, entry, marks, scope) {
        reader.fault(fault, entry, scope);
    }
}

fn steps(reader: &mut Reader, entry: &Entry<'_>, marks: Marks, scope: &mut Scope<'_>) -> Result<(), Fault> {
    let (range, step) = range(entry)?;
    let count = (range.end() - range.start()) / step + 1;
    if reader.generated + count > MAX_GENERATED {
        return Err(Fault::new(
            "generates-too-much",
            format!("a zone generates at most {MAX_GENERATED} records"),
        ));
    }
    reader.generated += count;
    let template = template(entry, scope)?;
    let at = scope.position(whole(entry));
    let errors = reader.report.errors();
    let mut line = Vec::new();
    let owner = scope.owner.take();
    for number in range.step_by(usize::try_from(step).unwrap_or(usize::MAX)) {
        line.clear();
        substitute(&template, number, &mut line).map_err(|why| Fault::new("bad-generate", why))?;
        let origin = scope.origin.clone();
        let mut inner = Scope { file: scope.file, text: &line, origin, owner: None, fixed: Some(at) };
        one(reader, &line, marks, &mut inner);
        if reader.report.errors() > errors {
            break;
        }
        scope.owner = inner.owner;
    }
    scope.owner = scope.owner.take().or(owner);
    Ok(())
}

fn one(reader: &mut Reader, line: &[u8], marks: Marks, scope: &mut Scope<'_>) {
    let mut made = Entry::default();
    let mut lexer = Lexer::new(line);
    if lexer.entry(&mut made) && made.flaws.is_empty() && !made.tokens.is_empty() {
        record::add(reader, &made, marks, scope);
    } else {
        let message = "what this generates is not a record".to_owned();
        reader.report.error(scope.fixed, "bad-generate", message, None);
    }
}

fn range(entry: &Entry<'_>) -> Result<(RangeInclusive<u64>, u64), Fault> {
    const SYNTAX: &str = "write `$GENERATE 1-100 host-$ A 192.0.2.$`";
    let token = entry.tokens.get(1).ok_or_else(|| {
        Fault::new("bad-generate", "$GENERATE needs a range, a name, a type and data").help(SYNTAX)
    })?;
    let word = Word { text: token.text, quoted: token.quoted, index: 1 };
    let parsed = std::str::from_utf8(token.text).ok().and_then(parse_range);
    parsed.ok_or_else(|| Fault::not_a(&word, "a range such as 1-100 or 0-255/16").help(SYNTAX))
}

fn parse_range(text: &str) -> Option<(RangeInclusive<u64>, u64)> {
    let most = u64::from(u32::MAX >> 1);
    let number = |text: &str| number::decimal(text.as_bytes(), most);
    let (range, step) = text.split_once('/').unwrap_or((text, "1"));
    let (start, stop) = range.split_once('-')?;
    let (start, stop, step) = (number(start)?, number(stop)?, number(step)?);
    (start <= stop && step > 0).then_some((start..=stop, step))
}

/// The record as it is written after the range. Where the RDATA is one quoted string but no text (`MX "0 mail$"`),
/// the quotes go.
fn template(entry: &Entry<'_>, scope: &Scope<'_>) -> Result<Vec<u8>, Fault> {
    let (Some(owner), Some(last)) = (entry.tokens.get(2), entry.tokens.last()) else {
        return Err(Fault::new("bad-generate", "$GENERATE needs a name, a type and data after the range"));
    };
    if owner.spot.line != last.spot.line || entry.tokens[1].spot.line != owner.spot.line {
        return Err(Fault::new("bad-generate", "a $GENERATE stands on one line"));
    }
    let before = |token: &Token<'_>| &scope.text[owner.spot.start..token.spot.start];
    let rtype = entry.tokens.iter().rev().nth(1).and_then(|token| mnemonic::rtype(token.text));
    let shape = rtype.and_then(rdata::shape).and_then(|shape| shape.first());
    let mut line = before(last).to_vec();
    if last.quoted && shape.is_some_and(|first| !matches!(first, Field::Text | Field::Texts)) {
        line.extend_from_slice(last.text);
    } else {
        line.extend_from_slice(&scope.text[last.spot.start..last.spot.start + last.spot.len]);
    }
    Ok(line)
}

/// Appends the template with the number in the place of each `$`.
fn substitute(template: &[u8], number: u64, line: &mut Vec<u8>) -> Result<(), String> {
    let mut rest = template;
    while let Some((byte, after)) = rest.split_first() {
        rest = match (byte, after) {
            (b'\\', [next, after @ ..]) => {
                line.extend_from_slice(&[b'\\', *next]);
                after
            }
            (b'$', [b'$', after @ ..]) => {
                line.extend_from_slice(b"\\$");
                after
            }
            (b'$', [b'{', after @ ..]) => {
                let end = after.iter().position(|byte| *byte == b'}').ok_or("`${` is not closed with `}`")?;
                formed(&after[..end], number, line)?;
                &after[end + 1..]
            }
            (b'$', after) => {
                line.extend_from_slice(number.to_string().as_bytes());
                after
            }
            (byte, after) => {
                line.push(*byte);
                after
            }
        };
    }
    Ok(())
}

/// `offset[,width[,base]]`.
fn formed(modifier: &[u8], number: u64, line: &mut Vec<u8>) -> Result<(), String> {
    let shown = String::from_utf8_lossy(modifier);
    let bad = || format!("`${{{shown}}}` is not `${{offset,width,base}}` with a base of d, o, x, X, n or N");
    let mut parts = shown.split(',');
    let offset: i64 = parts.next().unwrap_or_default().trim().parse().map_err(|_| bad())?;
    let width: usize = parts.next().map_or(Ok(0), |width| width.trim().parse()).map_err(|_| bad())?;
    let base = parts.next().unwrap_or("d");
    if parts.next().is_some() || width > MAX_WIDTH {
        return Err(bad());
    }
    let value = i64::try_from(number).ok().and_then(|number| number.checked_add(offset)).ok_or_else(bad)?;
    let value = u64::try_from(value).map_err(|_| format!("`${{{shown}}}` becomes negative at {number}"))?;
    let text = match base {
        "d" => format!("{value:0width$}"),
        "o" => format!("{value:0width$o}"),
        "x" => format!("{value:0width$x}"),
        "X" => format!("{value:0width$X}"),
        "n" => nibbles(value, width),
        "N" => nibbles(value, width).to_ascii_uppercase(),
        _ => return Err(bad()),
    };
    line.extend_from_slice(text.as_bytes());
    Ok(())
}

/// Hexadecimal digits from the lowest on with dots between them, as under ip6.arpa; dots count for the width.
fn nibbles(mut value: u64, width: usize) -> String {
    let mut text = String::new();
    loop {
        text.push(char::from_digit((value & 0xf) as u32, 16).expect("below 16"));
        value >>= 4;
        if value == 0 && text.len() >= width {
            return text;
        }
        text.push('.');
        if value == 0 && text.len() >= width {
            return text;
        }
    }
}
