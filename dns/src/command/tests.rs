//! Each command of verge-dns in the README and in docs/ is one that this program takes.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser as _;

use super::Cli;

#[test]
fn each_command_of_the_pages_is_one_that_is_taken() {
    let mut seen = 0;
    for file in pages() {
        let text = fs::read_to_string(&file).unwrap();
        for command in blocks(&text).chain(spans(&text)).flat_map(|line| commands(&line)) {
            let parsed = Cli::try_parse_from(&command);
            let is_help = |kind| {
                matches!(kind, clap::error::ErrorKind::DisplayHelp | clap::error::ErrorKind::DisplayVersion)
            };
            let error = parsed.err().filter(|error| !is_help(error.kind()));
            assert!(error.is_none(), "{}: {command:?}: {}", file.display(), error.unwrap());
            seen += 1;
        }
    }
    assert!(seen >= 20, "{seen}");
}

fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let pages = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = pages.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    pages.chain([root.join("README.md")]).collect()
}

/// The lines of a page's shell blocks; one that goes on behind a backslash is one line.
fn blocks(text: &str) -> impl Iterator<Item = String> {
    let blocks = text.split("```sh\n").skip(1).filter_map(|rest| rest.split_once("```"));
    blocks.flat_map(|(block, _)| block.replace("\\\n", " ").lines().map(str::to_owned).collect::<Vec<_>>())
}

/// Commands with arguments, which have three words at least, that stand within a sentence or a table.
fn spans(text: &str) -> impl Iterator<Item = String> {
    let outside = text.split("```").step_by(2);
    let spans = outside.flat_map(|part| part.split('`').skip(1).step_by(2));
    spans.filter(|span| !span.contains('…') && span.split_whitespace().nth(2).is_some()).map(str::to_owned)
}

/// The commands of this program in a line of a shell, word by word.
fn commands(line: &str) -> Vec<Vec<String>> {
    let mut found = vec![Vec::new()];
    let (mut word, mut quote) = (String::new(), None);
    for letter in line.chars().chain([' ']) {
        match (letter, quote) {
            (letter, Some(open)) if letter == open => quote = None,
            (letter, Some(_)) => word.push(letter),
            ('\'' | '"', None) => quote = Some(letter),
            ('#', None) if word.is_empty() => break,
            (' ' | '\n' | '|' | '&' | ';' | '(' | ')' | '>', None) => {
                let ended = std::mem::take(&mut word);
                // In `2>file` the number belongs to the shell.
                let is_number_of_a_file = letter == '>' && ended.bytes().all(|byte| byte.is_ascii_digit());
                let is_word = !ended.is_empty() && !is_number_of_a_file;
                found.last_mut().unwrap().extend(is_word.then_some(ended));
                if !letter.is_whitespace() {
                    found.push(Vec::new());
                }
            }
            (letter, None) => word.push(letter),
        }
    }
    let name = "verge-dns";
    let own = |words: &Vec<String>| {
        words.first().is_some_and(|first| first.trim_start_matches("target/release/") == name)
    };
    found.into_iter().filter(own).collect()
}

#[test]
fn json_is_short_for_the_format_wherever_there_is_one() {
    #[derive(clap::Parser)]
    struct Alone {
        #[command(flatten)]
        shape: super::Shape,
    }
    for (arguments, expected) in [
        (&["x"][..], super::Format::Human),
        (&["x", "--json"], super::Format::Json),
        (&["x", "--format", "json"], super::Format::Json),
        (&["x", "--format", "human"], super::Format::Human),
    ] {
        assert_eq!(Alone::try_parse_from(arguments).unwrap().shape.format(), expected, "{arguments:?}");
    }
    assert!(Alone::try_parse_from(["x", "--format", "human", "--json"]).is_err());
    for command in ["check", "diff", "explain a.example A --from 192.0.2.1", "pools", "status", "tail"] {
        let words = format!("verge-dns {command} --json");
        let parsed = Cli::try_parse_from(words.split(' '));
        assert!(parsed.is_ok(), "{words}: {}", parsed.err().unwrap());
    }
}
