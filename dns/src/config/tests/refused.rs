//! An error says where it is, why the text is not taken and what to do.

use super::*;

/// The text, line and column of its fault, and parts of the message and of the help.
type Fault = (&'static str, usize, usize, &'static str, &'static str);

fn all_refused(faults: &[Fault]) {
    for (text, line, column, message, help) in faults {
        refused(text, (*line, *column), message, help);
    }
}

#[test]
fn a_key_of_another_name_or_form_is_pointed_at() {
    all_refused(&[
        ("zones = \"z\"\nlistne = []", 2, 1, "unknown key `listne`", "did you mean `listen`?"),
        ("zones = \"z\"\n[internal]\nclient = []", 3, 1, "unknown key `client`", "did you mean `clients`?"),
        (
            "zones = \"z\"\n[internal]\nfoo = 1",
            3,
            1,
            "unknown key `foo`",
            "keys known here: listen, listen_tls, listen_https, listen_quic, clients, zones",
        ),
        ("listen = [\"127.0.0.1:1\"]", 1, 1, "missing field `zones`", "name the folder"),
        (
            "zones = \"z\"\nlisten = [\"127.0.0.1\"]",
            2,
            11,
            "invalid socket address syntax",
            "an address and a port",
        ),
        (
            "zones = \"z\"\nlisten = \"127.0.0.1:1\"",
            2,
            10,
            "invalid type: string",
            "write a list in brackets",
        ),
        (
            "zones = \"z\"\n[admin]\nlisten = [\"127.0.0.1:1\"]",
            3,
            10,
            "invalid type: sequence",
            "write one address, without brackets",
        ),
        (
            "zones = \"z\"\n[log]\ninternal_names = []",
            3,
            1,
            "unknown key `internal_names`",
            "`internal_names` belongs to no [table]: write it above the first one",
        ),
    ]);
}

#[test]
fn a_key_that_proves_nothing_or_too_much_is_pointed_at() {
    all_refused(&[
        (
            "zones = \"z\"\nlisten = [\"127.0.0.1:1\"]\n[keys.k]\nsecret_file = \"k\"\nalgorithm = \"hmac-md5\"",
            5,
            13,
            "`hmac-md5` is not an algorithm",
            "\"hmac-sha256\", \"hmac-sha384\"",
        ),
        (
            "zones = \"z\"\nlisten = [\"127.0.0.1:1\"]\n[keys.k]\nsecret_file = \"k\"\n[keys.K]\nsecret_file = \"k\"",
            5,
            1,
            "is there twice",
            "remove one",
        ),
        (
            "zones = \"z\"\nlisten = [\"127.0.0.1:1\"]\n[keys.\"a..b\"]\nsecret_file = \"k\"",
            3,
            1,
            "is not a key's name",
            "[keys.mirror]",
        ),
        (
            "zones = \"z\"\nlisten = [\"127.0.0.1:1\"]\n[keys]\na = { secret_file = \"a\" }\nb = { secret_file = \"b\", view = \"inside\" }\n\
             [[transfer]]\nkeys = [\"a\", \"b\"]\nnotify = [\"192.0.2.1:53\"]",
            8,
            11,
            "would hear of both sides",
            "one with those of the inside",
        ),
        (
            "zones = \"z\"\nlisten = [\"127.0.0.1:1\"]\n[[transfer]]\nzones = [\"a.example\"]",
            3,
            1,
            "nobody may take a zone",
            "add keys",
        ),
        (
            "zones = \"z\"\nlisten = [\"127.0.0.1:1\"]\n[keys.mirror]\nsecret_file = \"k\"\n[[transfer]]\nkeys = [\"miror\"]",
            6,
            9,
            "there is no key `miror`",
            "did you mean \"mirror\"?",
        ),
    ]);
}

#[test]
fn a_listener_that_cannot_serve_is_pointed_at() {
    all_refused(&[
        ("zones = \"z\"", 1, 1, "there is no address to listen on", "add listen"),
        (
            "zones = \"z\"\nlisten = [\"127.0.0.1:1\", \"127.0.0.1:1\"]",
            2,
            26,
            "listened on twice",
            "each listener",
        ),
        (
            "zones = \"z\"\nlisten = [\"127.0.0.1:1\"]\n[internal]\nlisten = [\"127.0.0.1:1\"]",
            4,
            11,
            "listened on twice",
            "one address can serve both sides: name it under [internal] alone",
        ),
        (
            "zones = \"z\"\nlisten = [\"127.0.0.1:1\"]\nlisten_https = [\"127.0.0.1:1\"]",
            3,
            17,
            "listened on twice",
            "carries one protocol",
        ),
        (
            "zones = \"z\"\nlisten_quic = [\"127.0.0.1:1\"]\n[internal]\nlisten = [\"127.0.0.1:1\"]",
            2,
            16,
            "listened on twice",
            "one address can serve both sides",
        ),
        (
            "zones = \"z\"\nlisten_tls = [\"127.0.0.1:1\"]",
            2,
            15,
            "no certificate for this listener",
            "add a section [tls]",
        ),
        (
            "zones = \"z\"\nlisten = [\"127.0.0.1:1\"]\n[tls]\ncertificate = \"c\"\nkey = \"k\"",
            3,
            1,
            "no listener shows this certificate",
            "add listen_tls",
        ),
    ]);
}

#[test]
fn a_number_out_of_range_is_pointed_at() {
    all_refused(&[
        (
            "zones = \"z\"\nlisten = [\"127.0.0.1:1\"]\n[https]\npath = \"dns query\"",
            4,
            8,
            "out of range",
            "a path such as",
        ),
        (
            "zones = \"z\"\nlisten = [\"127.0.0.1:1\"]\n[tcp]\nidle_timeout = \"0s\"",
            4,
            16,
            "out of range",
            "1ms to 1d",
        ),
        (
            "zones = \"z\"\nlisten = [\"127.0.0.1:1\"]\n[udp]\nmax_payload = \"100B\"",
            4,
            15,
            "out of range",
            "at least 512B",
        ),
    ]);
}

#[test]
fn a_side_that_nobody_or_everybody_is_on_is_pointed_at() {
    all_refused(&[
        (
            "zones = \"z\"\nlisten = [\"127.0.0.1:1\"]\n[internal]\nclients = [\"10.0.0.0/8\"]",
            4,
            12,
            "only on internal listeners",
            "add listen",
        ),
        (
            "zones = \"z\"\n[internal]\nlisten = [\"127.0.0.1:1\"]",
            3,
            11,
            "nobody would be inside",
            "add clients",
        ),
        (
            "zones = \"z\"\n[internal]\nlisten = [\"127.0.0.1:1\"]\nclients = [\"0.0.0.0/0\"]",
            4,
            12,
            "would make everybody internal",
            "exact prefixes",
        ),
        (
            "zones = \"z\"\n[internal]\nlisten = [\"127.0.0.1:1\"]\nclients = [\"0.0.0.0/1\", \"128.0.0.0/1\"]",
            4,
            25,
            "together, these clients would make everybody internal",
            "exact prefixes",
        ),
        (
            "zones = \"z\"\nlisten = [\"127.0.0.1:1\"]\ninternal_names = [\"lab.example\"]\n[public]\nzones = [\"lab.example\"]",
            5,
            10,
            "lab.example. is in `[public] zones` and in `internal_names`",
            "remove it from one of them",
        ),
    ]);
}

#[test]
fn round_trip_times_that_nothing_measures_are_pointed_at() {
    all_refused(&[
        (
            "zones = \"z\"\nlisten = [\"127.0.0.1:1\"]\n[steer]\nnearest = \"rtt\"",
            4,
            11,
            "nothing measures round-trip times",
            "add a check",
        ),
        (
            "zones = \"z\"\nlisten = [\"127.0.0.1:1\"]\n[steer]\ncheck = \"file:///run/{address}\"\nnearest = \"rtt\"",
            5,
            11,
            "nothing measures round-trip times",
            "add a check",
        ),
    ]);
}

#[test]
fn a_member_that_is_named_twice_is_pointed_at() {
    let text = "zones = \"z\"\nlisten = [\"127.0.0.1:1\"]\n[[steer.pool]]\nname = \"www.example.com\"\n\
                members = [{ address = \"192.0.2.1\" }, { address = \"192.0.2.1\", weight = 2 }]";
    refused(text, (5, 39), "the member 192.0.2.1 is in `members` twice", "write one");
}

#[test]
fn a_pool_may_be_a_wildcard_and_a_pattern_of_another_form_is_pointed_at() {
    let with =
        |name: &str| format!("zones = \"z\"\nlisten = [\"127.0.0.1:1\"]\n[[steer.pool]]\nname = \"{name}\"");
    let config = read(&with("*.Wild.example.com")).unwrap();
    let name = Name::parse_absolute("*.wild.example.com").unwrap();
    assert!(config.steer.named(&name).is_some());
    assert_eq!(config.named.iter().map(|named| &named.name).collect::<Vec<_>>(), [&name]);
    for (text, message) in [
        ("*.*.example.com", "`*.*.example.com` is a pattern; write the name of the records"),
        ("www*.example.com", "`www*.example.com` is a pattern; write the name of the records"),
        ("*. example.com", "`*. example.com` has white space in it"),
        ("*.a..b", "`*.a..b` is not a domain name"),
    ] {
        refused(&with(text), (4, 8), message, "");
    }
}
