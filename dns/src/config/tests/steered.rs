//! The roots of checks over HTTPS.

use super::*;
use crate::name::Name;
use crate::steer::rules::{Check, Http};

const HTTPS: &str = "check = \"https://a.example/up\"\n";
const HTTP: &str = "check = \"http://{address}/up\"\n";

/// The roots of a check: `-` without TLS, `any` if no certificate is judged.
fn roots(check: Option<&Check>) -> String {
    match check {
        Some(Check::Http(Http { tls: Some(Some(path)), .. })) => {
            path.file_name().unwrap().to_string_lossy().into_owned()
        }
        Some(Check::Http(Http { tls: Some(None), .. })) => "any".to_owned(),
        _ => "-".to_owned(),
    }
}

/// The keys of `[steer]` and of a pool, the check of a member, and the roots of marked pools, of the pool and of the member.
#[test]
fn a_check_over_https_has_the_roots_that_are_written_nearest_to_it() {
    let ca = |name: &str| format!("ca = \"{name}\"\n");
    let none = String::new;
    for (steer, pool, member, expected, warned) in [
        (HTTPS.to_owned() + &ca("s"), none(), "", ["s", "s", "-"], 0),
        (HTTPS.to_owned() + &ca("s"), HTTPS.to_owned(), HTTPS, ["s", "s", "s"], 0),
        (HTTPS.to_owned() + &ca("s"), ca("p"), HTTPS, ["s", "p", "p"], 0),
        (HTTPS.to_owned() + &ca("s"), HTTPS.to_owned() + &ca("p"), HTTPS, ["s", "p", "p"], 0),
        (HTTP.to_owned() + &ca("s"), HTTPS.to_owned(), HTTPS, ["-", "s", "s"], 0),
        (ca("s"), none(), HTTPS, ["-", "-", "s"], 0),
        (HTTP.to_owned(), ca("p"), HTTPS, ["-", "-", "p"], 0),
        (HTTPS.to_owned(), ca("p"), HTTPS, ["any", "p", "p"], 1),
        (HTTPS.to_owned(), none(), HTTPS, ["any", "any", "any"], 2),
        (none(), HTTPS.to_owned(), HTTPS, ["-", "any", "any"], 2),
        (HTTP.to_owned(), HTTP.to_owned(), "", ["-", "-", "-"], 0),
    ] {
        let written = if member.is_empty() { none() } else { format!(", {}", member.trim()) };
        let text = format!(
            "{SMALLEST}[steer]\n{steer}[[steer.pool]]\nname = \"www.example.com\"\n{pool}\
             members = [{{ address = \"192.0.2.1\"{written} }}]\n"
        );
        let config = read(&text).unwrap();
        let named = config.steer.named(&Name::parse_absolute("www.example.com").unwrap()).unwrap();
        let found =
            [config.steer.defaults.check.as_ref(), named.check.as_ref(), named.members[0].check.as_ref()];
        assert_eq!(found.map(roots), expected, "{text}");
        let told = config.warnings.iter().filter(|it| it.message.contains("any certificate is believed"));
        assert_eq!(told.count(), warned, "{text}");
    }
}
