//! V5: whether outsiders ask on the listeners of the inside, too.

use super::*;

#[test]
fn the_inside_is_shared_where_outsiders_ask_or_can() {
    for (outside, inside, expected) in [
        ("\"192.0.2.1:53\"", "\"10.0.0.1:53\"", false),
        ("\"192.0.2.1:53\"", "\"127.0.0.1:53\", \"[fd00::1]:53\"", false),
        // They have no other.
        ("", "\"10.0.0.1:53\"", true),
        // All addresses, and one that the internet reaches.
        ("\"192.0.2.1:53\"", "\"0.0.0.0:5353\"", true),
        ("\"192.0.2.1:53\"", "\"[::]:5353\"", true),
        ("\"192.0.2.1:53\"", "\"10.0.0.1:53\", \"192.0.2.2:53\"", true),
    ] {
        let text = format!(
            "zones = \"z\"\nlisten = [{outside}]\n[internal]\nlisten = [{inside}]\nclients = [\"10.0.0.0/8\"]\n"
        );
        let config = read(&text).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(config.terms().access.is_shared, expected, "{outside} {inside}");
    }
    let alone = read("zones = \"z\"\nlisten = [\"192.0.2.1:53\"]\n").unwrap();
    assert!(!alone.terms().access.is_shared, "nobody is inside");
}
