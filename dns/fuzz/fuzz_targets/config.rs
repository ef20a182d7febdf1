//! Whatever a configuration holds: no panic, and what is wrong has a place in the text.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use verge_dns::config::{ConfigError, Place, parse};

fuzz_target!(|text: &str| match parse(text, Path::new("/nowhere"), Path::new("dns.toml")) {
    Ok(config) => {
        for warning in &config.warnings {
            inspect(text, &warning.place, &warning.to_string());
        }
    }
    Err(error) => {
        let shown = error.to_string();
        match error {
            ConfigError::Invalid { place, .. } => inspect(text, &place, &shown),
            error => panic!("nothing is read here: {error}"),
        }
    }
});

fn inspect(text: &str, place: &Place, shown: &str) {
    let lines = text.split('\n').count();
    assert!((1..=lines).contains(&place.line), "line {} of {lines}", place.line);
    let line = text.split('\n').nth(place.line - 1).unwrap_or_default();
    assert!((1..=line.chars().count() + 1).contains(&place.column), "{shown}");
    assert!(shown.starts_with(&format!("dns.toml:{}:{}: ", place.line, place.column)), "{shown}");
}
