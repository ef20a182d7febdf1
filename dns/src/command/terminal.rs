//! How lines look on a terminal, and how they look elsewhere.

use std::io::IsTerminal;

/// Whether lines are coloured: on a terminal that no NO_COLOR speaks for.
pub(super) fn is_coloured() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A text's colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colour {
    /// Nothing is wrong.
    Plain,
    /// A heading.
    Bold,
    /// Something is not as it should be.
    Yellow,
    /// Something is wrong.
    Red,
}

/// A text in its colour, or as it is.
pub(super) fn painted(text: &str, colour: Colour, is_coloured: bool) -> String {
    let code = match colour {
        Colour::Plain => return text.to_owned(),
        _ if !is_coloured => return text.to_owned(),
        Colour::Bold => 1,
        Colour::Yellow => 33,
        Colour::Red => 31,
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

/// A name in so many columns at most, without letters that would steer a terminal.
pub(super) fn fitted(name: &str, columns: usize) -> String {
    let name: String =
        name.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect();
    match name.chars().count() {
        count if count <= columns => format!("{name:columns$}"),
        _ => name.chars().take(columns.saturating_sub(1)).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_steers_no_terminal_and_fits() {
        assert_eq!(fitted("a\x1b[2J", 8), "a\u{fffd}[2J   ");
        assert_eq!(fitted("www.example.com", 8), "www.exa…");
        assert_eq!(painted("x", Colour::Red, false), "x");
        assert_eq!(painted("x", Colour::Red, true), "\x1b[31mx\x1b[0m");
    }
}
