//! Log levels: one for everything, and levels for single modules.

use tracing::level_filters::LevelFilter;

/// Log levels, as `[log] level` and the variable RUST_LOG write them: `info`, or `warn,verge_edge=debug`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level {
    /// The level of everything that `modules` does not name; none if it was not said.
    pub everything: Option<LevelFilter>,
    /// A module's path, and the level of what it and those below it log.
    pub modules: Vec<(String, LevelFilter)>,
}

/// Advice on how to write a level.
pub const LEVEL_HELP: &str =
    "write error, warn, info, debug, trace or off; for one module \"verge_edge=debug\"";

impl Default for Level {
    fn default() -> Self {
        Self { everything: Some(LevelFilter::INFO), modules: Vec::new() }
    }
}

impl Level {
    /// Reads a comma-separated list; the error says what in it is no level.
    ///
    /// # Errors
    /// When a word in it is no level.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut level = Self { everything: None, modules: Vec::new() };
        for part in text.split(',').map(str::trim) {
            match part.split_once('=') {
                None => level.everything = Some(one(part)?),
                Some((module, depth)) if is_module(module) => {
                    level.modules.push((module.to_owned(), one(depth)?));
                }
                Some((module, _)) => return Err(format!("\"{module}\" is not the name of a module")),
            }
        }
        Ok(level)
    }
}

fn one(word: &str) -> Result<LevelFilter, String> {
    let levels = [
        ("error", LevelFilter::ERROR),
        ("warn", LevelFilter::WARN),
        ("info", LevelFilter::INFO),
        ("debug", LevelFilter::DEBUG),
        ("trace", LevelFilter::TRACE),
        ("off", LevelFilter::OFF),
    ];
    let found = levels.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
    found.map(|(_, level)| *level).ok_or_else(|| format!("\"{word}\" is not a level"))
}

fn is_module(path: &str) -> bool {
    !path.is_empty() && path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_:".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_level_is_an_error() {
        let module = |path: &str, level| vec![(path.to_owned(), level)];
        for (text, everything, modules) in [
            ("warn", Some(LevelFilter::WARN), Vec::new()),
            ("OFF", Some(LevelFilter::OFF), Vec::new()),
            ("verge_edge::flight=debug", None, module("verge_edge::flight", LevelFilter::DEBUG)),
            ("info, hyper=off", Some(LevelFilter::INFO), module("hyper", LevelFilter::OFF)),
        ] {
            assert_eq!(Level::parse(text), Ok(Level { everything, modules }), "{text}");
        }
        for (text, expected) in [
            ("warning", "\"warning\" is not a level"),
            ("verbose", "\"verbose\" is not a level"),
            ("verge_edge", "\"verge_edge\" is not a level"),
            ("", "\"\" is not a level"),
            ("info,", "\"\" is not a level"),
            ("verge_edge=loud", "\"loud\" is not a level"),
            ("=debug", "\"\" is not the name of a module"),
            ("verge edge=debug", "\"verge edge\" is not the name of a module"),
            ("verge_edge[span]=debug", "\"verge_edge[span]\" is not the name of a module"),
        ] {
            assert_eq!(Level::parse(text), Err(expected.to_owned()), "{text}");
        }
    }
}
