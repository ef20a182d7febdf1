mod catalogs;
mod listeners;
mod refused;
mod secondaries;
mod steered;
mod updates;

use super::*;

const SMALLEST: &str = r#"# dns.toml
zones = "zones"                      # every *.zone file in it
listen = ["127.0.0.1:5300"]          # UDP and TCP; clients here are outside
[internal]
listen = ["127.0.0.1:5301"]          # a client here is inside …
clients = ["127.0.0.0/8"]            # … if its real address is in here; others get the outside view
[admin]
listen = "127.0.0.1:9300"
"#;

fn read(text: &str) -> Result<Config, ConfigError> {
    parse(text, Path::new("/etc/verge"), Path::new("dns.toml"))
}

#[test]
fn the_smallest_config_works_and_paths_start_at_its_folder() {
    let config = read(SMALLEST).unwrap();
    assert_eq!(config.zones, Path::new("/etc/verge/zones"));
    assert_eq!(config.listen, ["127.0.0.1:5300".parse().unwrap()]);
    assert_eq!(config.internal.listen, ["127.0.0.1:5301".parse().unwrap()]);
    assert_eq!(config.internal.clients, ["127.0.0.0/8".parse().unwrap()]);
    let admin = config.admin.unwrap();
    assert_eq!(admin.token_file, Path::new("/etc/verge/verge-dns.token"));
    assert_eq!(config.udp.max_payload_bytes, 1232);
    assert_eq!(config.warnings, []);
}

/// Each key with a value that is not its default.
const EVERY_KEY: &str = r#"
        zones = "/srv/zones"
        listen = ["[::]:53", "192.0.2.1:53"]
        nsid = "ns1.ams"
        state = "/var/lib/verge"
        listen_tls = ["192.0.2.1:853"]
        listen_https = ["192.0.2.1:443", "[::]:443"]
        listen_quic = ["192.0.2.1:853"]
        private = ["198.51.100.64/27", "2001:db8::5"]
        internal_names = ["Corp.Example.com", "db.example.com."]
        [internal]
        zones = ["lab.example"]
        [admin]
        listen = "[::1]:9300"
        token_file = "secret/token"
        [log]
        format = "json"
        level = "debug"
        queries = { sample = 100, private_names = true }
        [udp]
        workers = 3
        max_payload = "4096B"
        receive_buffer = "4MiB"
        [tcp]
        max_connections = 10
        max_connections_per_client = 2
        max_buffered = "1MiB"
        idle_timeout = "1m"
        message_timeout = "1500ms"
        write_timeout = "2s"
        [tls]
        certificate = "tls/chain.pem"
        key = "/run/key.pem"
        handshake_timeout = "3s"
        [https]
        path = "/q"
        [reload]
        watch = false
        debounce = "50ms"
        poll = "5s"
        grace = "20s"
        unhide = "ask"
        [cookies]
        secret_file = "cookie.secret"
        [keys.mirror]
        secret_file = "mirror.key"
        [keys."Ns2.example.com"]
        algorithm = "hmac-sha512"
        secret_file = "/run/ns2.key"
        view = "inside"
        [[transfer]]
        zones = ["Example.com"]
        keys = ["NS2.example.com"]
        clients = ["192.0.2.2"]
        notify = ["192.0.2.2:53"]
        [rate_limit]
        answers_per_second = 200
        slip = 3
        "#;

#[test]
fn every_key_of_zones_and_sides_is_read() {
    let config = read(EVERY_KEY).unwrap();
    assert_eq!(config.zones, Path::new("/srv/zones"));
    assert_eq!(config.private[1].to_string(), "2001:db8::5/128");
    assert_eq!(config.internal_names[0].to_string(), "corp.example.com.");
    assert_eq!(config.internal.zones[0].to_string(), "lab.example.");
    assert_eq!(config.admin.unwrap().token_file, Path::new("/etc/verge/secret/token"));
    assert_eq!(config.state, Path::new("/var/lib/verge"));
}

#[test]
fn every_key_of_logs_and_limits_is_read() {
    let config = read(EVERY_KEY).unwrap();
    let queries = Some(Queries { sample: 100.try_into().unwrap(), private_names: true });
    assert_eq!(config.log, Log { format: LogFormat::Json, level: Level::parse("debug").unwrap(), queries });
    let udp = Udp { workers: 3, max_payload_bytes: 4096, receive_buffer_bytes: Some(4 << 20) };
    assert_eq!(config.udp, udp);
    let tcp = Tcp {
        max_connections: 10,
        max_connections_per_client: 2,
        max_buffered_bytes: 1 << 20,
        idle_timeout: Duration::from_secs(60),
        message_timeout: Duration::from_millis(1500),
        write_timeout: Duration::from_secs(2),
    };
    assert_eq!(config.tcp, tcp);
    assert_eq!(config.rate_limit, Some(Rates { per_second: 200, burst: 200, slip: 3 }));
}

#[test]
fn every_key_of_encrypted_listeners_is_read() {
    let config = read(EVERY_KEY).unwrap();
    let tls = Tls {
        certificate: "/etc/verge/tls/chain.pem".into(),
        key: "/run/key.pem".into(),
        handshake_timeout: Duration::from_secs(3),
    };
    assert_eq!(config.tls, Some(tls));
    assert_eq!(config.https.path, "/q");
    assert_eq!(config.encrypted.tls, ["192.0.2.1:853".parse().unwrap()]);
    assert_eq!(config.encrypted.https.len(), 2);
    assert_eq!(config.encrypted.quic, config.encrypted.tls);
}

#[test]
fn every_key_of_reloads_and_cookies_is_read() {
    let config = read(EVERY_KEY).unwrap();
    let reload = Reload {
        watch: false,
        debounce: Duration::from_millis(50),
        poll: Duration::from_secs(5),
        grace: Duration::from_secs(20),
        unhide: Unhide::Ask,
    };
    assert_eq!(config.reload, reload);
    assert_eq!(config.cookies, Cookies::File("/etc/verge/cookie.secret".into()));
    assert_eq!(config.nsid.as_deref(), Some("ns1.ams"));
}

#[test]
fn every_key_of_keys_and_transfers_is_read() {
    let config = read(EVERY_KEY).unwrap();
    let keys: Vec<_> =
        config.keys.iter().map(|key| (key.name.to_string(), key.algorithm, key.view)).collect();
    assert_eq!(
        keys,
        [
            ("mirror.".to_owned(), Algorithm::HmacSha256, Which::Public),
            ("ns2.example.com.".to_owned(), Algorithm::HmacSha512, Which::Internal)
        ]
    );
    let rule = Rule {
        zones: vec![Name::parse_absolute("example.com").unwrap()],
        keys: vec![Name::parse_absolute("ns2.example.com").unwrap()],
        clients: vec!["192.0.2.2/32".parse().unwrap()],
        certificate: None,
        notify: vec!["192.0.2.2:53".parse().unwrap()],
    };
    assert_eq!(config.transfers, [rule]);
    assert_eq!(config.keys[0].secret_file, Path::new("/etc/verge/mirror.key"));
}

#[test]
fn answers_are_limited_unless_the_config_says_otherwise() {
    for (text, expected) in [
        ("", Some(Rates { per_second: 200, burst: 200, slip: 2 })),
        ("rate_limit = {}", Some(Rates { per_second: 200, burst: 200, slip: 2 })),
        ("rate_limit.answers_per_second = 50", Some(Rates { per_second: 50, burst: 50, slip: 2 })),
        ("rate_limit.burst = 1000", Some(Rates { per_second: 200, burst: 1000, slip: 2 })),
        ("rate_limit.enabled = false", None),
    ] {
        let config = read(&format!("zones = \"zones\"\nlisten = [\"192.0.2.53:53\"]\n{text}\n")).unwrap();
        assert_eq!(config.rate_limit, expected, "{text}");
    }
}

#[test]
fn the_reference_names_every_key_and_its_default() {
    let reference = include_str!("../../reference.toml");
    let config = read(reference).unwrap_or_else(|error| panic!("{error}"));
    let defaults = read(SMALLEST).unwrap();
    let Udp { workers, receive_buffer_bytes, .. } = defaults.udp;
    assert_eq!(Udp { workers, receive_buffer_bytes, ..config.udp }, defaults.udp);
    assert_eq!((config.tcp, config.reload), (defaults.tcp, defaults.reload));
    assert_eq!(Log { queries: None, ..config.log }, defaults.log);
    // serde lists the keys that it knows; each must be in the reference.
    for section in [
        "",
        "[internal]\n",
        "[public]\n",
        "[admin]\n",
        "[admin.tls]\n",
        "[log]\n",
        "[log.queries]\n",
        "[udp]\n",
        "[tcp]\n",
        "[tls]\n",
        "[https]\n",
        "[reload]\n",
        "[cookies]\n",
        "[keys.mirror]\n",
        "[[transfer]]\n",
        "[[secondary]]\nzone = \"a\"\nprimaries = []\n",
        "[[catalog]]\nzone = \"a\"\n",
        "[[update]]\nkeys = []\nnames = []\ntypes = []\n",
        "[rate_limit]\n",
        "[steer]\n",
        "[[steer.pool]]\nname = \"a\"\n",
        "[[steer.place]]\nname = \"a\"\n",
        "[steer.quorum]\nlisten = \"127.0.0.1:1\"\nnodes = []\ncertificate = \"a\"\nkey = \"a\"\nca = \"a\"\n",
    ] {
        let Err(ConfigError::Invalid { help, .. }) = read(&format!("{section}zzzzzzzzzzzz = 1\n")) else {
            panic!("accepted");
        };
        let help = help.unwrap();
        let keys = help.strip_prefix("keys known here: ").unwrap();
        for key in keys.split(", ") {
            let is_there = |line: &str| {
                let table = line.trim_start_matches('[').split(']').next().unwrap_or_default();
                line.starts_with(&format!("{key} = "))
                    || line.starts_with('[') && table.split('.').any(|part| part == key)
            };
            assert!(reference.lines().any(is_there), "{section}{key}");
        }
    }
}

/// The text is not taken, and the error says where, why and what to do.
fn refused(text: &str, at: (usize, usize), message: &str, help: &str) {
    let Err(ConfigError::Invalid { place, message: said, help: helped }) = read(text) else {
        panic!("accepted: {text}");
    };
    assert_eq!((place.line, place.column), at, "{text}\n{said}");
    assert!(said.contains(message), "{text}: {said}");
    assert!(helped.as_deref().unwrap_or_default().contains(help), "{text}: {helped:?}");
}

#[test]
fn a_bad_value_is_refused_in_words() {
    for (line, message) in [
        ("private = [\"10.0.0.5/8\"]", "write 10.0.0.0/8"),
        ("private = [\"ten\"]", "`ten` is not a network"),
        ("private = [\"::ffff:198.51.100.0/120\"]", "write 198.51.100.0/24"),
        ("internal_names = [\"a..b\"]", "a label is empty"),
        ("internal_names = [\"*.lab.example.com\"]", "write lab.example.com, which covers"),
        ("internal_names = [\"corp.example.com \"]", "white space"),
        ("internal_names = [\"müller.example.com\"]", "write its A-label, as in xn--mller-kva.example"),
        ("internal_names = [\"sp*.example.com\"]", "a name covers itself and everything below it"),
        ("tcp.idle_timeout = \"10\"", "a duration is a number and a unit"),
        ("tcp.idle_timeout = 10", "invalid type: integer"),
        ("udp.max_payload = \"1k\"", "a size is a number and a unit"),
        ("log.format = \"xml\"", "unknown variant `xml`"),
        ("reload = 5", "invalid type"),
        ("nsid = 5", "invalid type"),
        ("listen = [", "unclosed"),
    ] {
        let text = format!("zones = \"z\"\n{line}\n");
        let Err(ConfigError::Invalid { place, message: said, .. }) = read(&text) else {
            panic!("accepted: {line}");
        };
        assert_eq!(place.line, 2, "{line}: {said}");
        assert!(said.contains(message), "{line}: {said}");
    }
}

#[test]
fn an_error_is_shown_with_its_line_and_a_caret() {
    let error = read("zones = \"z\"\n\tlistne = []\n").unwrap_err().to_string();
    let expected = "dns.toml:2:2: error: unknown key `listne`\n   |\n 2 | \tlistne = []\n   | \t^^^^^^\n   = help: did you mean `listen`?";
    assert_eq!(error, expected);
}

#[test]
fn prefixes_that_hold_a_bridge_gateway_are_warned_of() {
    let text = SMALLEST.replace("127.0.0.0/8", "172.16.0.0/12");
    let warnings = read(&text).unwrap().warnings;
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].message.contains("172.17.0.1"), "{:?}", warnings[0]);
    let text = SMALLEST.replace("127.0.0.1:9300", "0.0.0.0:9300");
    assert!(read(&text).unwrap().warnings[0].message.contains("reachable from other machines"));
}

#[test]
fn transfers_without_a_key_to_the_inside_are_warned_of() {
    let warned = |clients: &str| {
        let text = format!("{SMALLEST}\n[[transfer]]\nclients = [{clients}]\n");
        read(&text).unwrap().warnings.into_iter().map(|warning| warning.message).collect::<Vec<_>>()
    };
    assert_eq!(warned("\"192.0.2.2\""), [""; 0]);
    for inside in ["\"127.0.0.9\"", "\"192.0.2.2\", \"127.0.0.0/16\"", "\"126.0.0.0/7\""] {
        let warned = warned(inside);
        assert!(
            warned.len() == 1 && warned[0].contains("a transfer without a key is of the outside"),
            "{warned:?}"
        );
    }
}

#[test]
fn any_text_is_refused_without_a_panic() {
    for text in [
        "\u{feff}",
        "é",
        "zones=\"é\"\nlisten=[\"é\"]",
        "\0",
        "[internal",
        "a=\"\"\"\n\n",
        "zones = \"z\" listen",
    ] {
        let error = read(text).unwrap_err();
        assert!(error.to_string().starts_with("dns.toml:"), "{text}: {error}");
    }
}
