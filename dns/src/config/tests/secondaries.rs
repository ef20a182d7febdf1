//! `[[secondary]]`: zones that are taken from others.

use super::*;

const HEAD: &str = "zones = \"z\"\nlisten = [\"127.0.0.1:1\"]\n";

#[test]
fn a_secondary_has_primaries_and_the_side_of_its_key() {
    let keys = "[keys.\"ns2.example.com\"]\nsecret_file = \"k\"\nview = \"inside\"\n";
    let text = r#"
[[secondary]]
zone = "Example.net"
primaries = ["192.0.2.9", "tls://[2001:db8::9]#ns1.example.net"]
key = "ns2.example.com"
ca = "ca.pem"
"#;
    let config = read(&format!("{HEAD}{keys}{text}")).unwrap();
    let secondary = Secondary {
        zone: Name::parse_absolute("example.net").unwrap(),
        primaries: vec![
            Primary::Tcp("192.0.2.9:53".parse().unwrap()),
            Primary::Tls("[2001:db8::9]:853".parse().unwrap(), Some("ns1.example.net".to_owned())),
        ],
        key: Some(Name::parse_absolute("ns2.example.com").unwrap()),
        view: Which::Internal,
        ca: Some("/etc/verge/ca.pem".into()),
        identity: None,
        catalog: None,
        member_of: None,
        entry: None,
    };
    assert_eq!(config.secondaries, [secondary]);
}

#[test]
fn a_secondary_that_cannot_work_is_refused() {
    for (text, (line, column), message, help) in [
        (
            "[[secondary]]\nzone = \"a.example\"\nprimaries = []",
            (1, 1),
            "nobody is named from whom to take a.example.",
            "primaries = [\"192.0.2.9:53\"]",
        ),
        (
            "[[secondary]]\nzone = \"a.example\"\nprimaries = [\"ns1.example\"]",
            (3, 14),
            "`ns1.example` is no primary",
            "tls://192.0.2.9:853",
        ),
        (
            "[[secondary]]\nzone = \"a.example\"\nprimaries = [\"192.0.2.1\"]\n\
             [[secondary]]\nzone = \"A.example\"\nprimaries = [\"192.0.2.1\"]",
            (5, 8),
            "the zone a.example. is in two [[secondary]]",
            "with all primaries",
        ),
        (
            "[[secondary]]\nzone = \"a.example\"\nprimaries = [\"192.0.2.1\"]\nkey = \"k\"",
            (4, 7),
            "there is no key `k`",
            "verge-dns key new k",
        ),
        (
            "[[secondary]]\nzone = \"a.example\"\nprimaries = [\"tls://192.0.2.1\"]\ncertificate = \"me.pem\"",
            (4, 15),
            "one of them is missing",
            "certificate_key",
        ),
        (
            "[[secondary]]\nzone = \"a.example\"\nprimaries = [\"tls://192.0.2.1#a.b\"]",
            (1, 1),
            "nobody says which roots",
            "add ca",
        ),
    ] {
        refused(&format!("{HEAD}{text}"), (line + 2, column), message, help);
    }
}

#[test]
fn a_weak_key_needs_a_switch() {
    let key = "[keys.old]\nsecret_file = \"k\"\nalgorithm = \"hmac-sha1\"\n";
    refused(&format!("{HEAD}{key}"), (5, 13), "`hmac-sha1` is weak", "allow_weak = true");
    let config = read(&format!("{HEAD}{key}allow_weak = true\n")).unwrap();
    assert_eq!(config.keys[0].algorithm, Algorithm::HmacSha1);
}

#[test]
fn a_transfer_may_demand_a_certificate() {
    let head = "zones = \"z\"\nlisten = [\"127.0.0.1:1\"]\n";
    let tls = "listen_tls = [\"127.0.0.1:853\"]\n[tls]\ncertificate = \"c\"\nkey = \"k\"\n";
    let rule = "[[transfer]]\nclient_ca = \"ca.pem\"\nclient_names = [\"ns2.example\"]\n";
    let config = read(&format!("{head}{tls}{rule}")).unwrap();
    let demand = crate::client::Demand { roots: "ca.pem".into(), names: vec!["ns2.example".to_owned()] };
    let found = config.transfers[0].certificate.clone().unwrap();
    assert!(found.roots.ends_with("ca.pem") && found.names == demand.names, "{found:?}");
    for (text, expected) in [
        (format!("{head}{rule}"), "no listener over TLS or QUIC"),
        (format!("{head}{tls}{}", rule.replace("client_ca = \"ca.pem\"\n", "")), "which roots"),
        (
            format!("{head}{tls}{}", rule.replace("ns2.example", "not a name")),
            "no name that a certificate can be for",
        ),
        (format!("{head}{tls}[[transfer]]\n"), "nobody may take a zone"),
    ] {
        let error = read(&text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
