use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::site::{Patience, Rules, Site};
use crate::store::Eviction;

mod chosen;
mod origins;
mod streams;

/// The smallest config there is to write.
const SMALLEST: &str = r#"
listen = ["127.0.0.1:8080"]
[cache]
memory = "512MiB"
eviction = "lfu"
[[site]]
hosts = ["*"]
origins = ["http://127.0.0.1:8000"]
[admin]
listen = "127.0.0.1:9301"
"#;

fn read(text: &str) -> Result<Config, ConfigError> {
    parse(text, Path::new("/etc/verge"), Path::new("edge.toml"))
}

#[test]
fn the_smallest_config_is_enough() {
    let config = read(SMALLEST).unwrap();
    assert_eq!(config.listen, ["127.0.0.1:8080".parse().unwrap()]);
    assert_eq!((config.cache.bounds.memory_bytes, config.cache.bounds.eviction), (512 << 20, Eviction::Lfu));
    let site = &config.sites.all()[config.sites.find("any.test").unwrap()];
    assert_eq!(site.origins[0].authority, "127.0.0.1:8000");
    assert_eq!(site.rules.default_ttl_secs, 0);
    let admin = config.admin.unwrap();
    assert_eq!(admin.listen.to_string(), "127.0.0.1:9301");
    assert_eq!(admin.token_file, Path::new("/etc/verge/verge-edge.token"));
}

#[test]
fn a_site_is_found_by_its_exact_name_then_its_longest_wildcard_then_the_star() {
    let site = |host: &str| format!("[[site]]\nhosts = [\"{host}\"]\norigins = [\"http://o\"]\n");
    let hosts = ["*", "*.example.com", "*.a.example.com", "www.example.com", "EXAMPLE.org."];
    let text = format!("listen = [\"127.0.0.1:0\"]\n{}", hosts.map(site).concat());
    let config = read(&text).unwrap();
    let check = |host, expected: &str| {
        let site = &config.sites.all()[config.sites.find(host).unwrap()];
        assert_eq!(site.name.as_str(), expected, "{host}");
    };
    check("www.example.com", "www.example.com");
    check("WWW.Example.COM.", "www.example.com");
    check("b.example.com", "*.example.com");
    check("b.c.example.com", "*.example.com");
    check("b.a.example.com", "*.a.example.com");
    check("a.example.com", "*.example.com");
    check("example.com", "*");
    check(".example.com", "*");
    check("b..example.com", "*");
    check("example.org", "example.org");
    check("xexample.com", "*");
    check("192.0.2.1", "*");
    check("[::1]", "*");
}

#[test]
fn without_a_star_other_hosts_have_no_site() {
    let config = read(&SMALLEST.replace("\"*\"", "\"a.test\"")).unwrap();
    assert_eq!(config.sites.find("b.test"), None);
}

#[test]
fn units_are_read_and_defaults_fill_the_rest() {
    let text = SMALLEST.replace(
        "[admin]",
        "default_ttl = \"2m\"\nfirst_byte_timeout = \"1500ms\"\n[limits]\ndrain = \"5s\"\n[admin]",
    );
    let config = read(&text).unwrap();
    let site = &config.sites.all()[0];
    assert_eq!(site.rules.default_ttl_secs, 120);
    assert_eq!(site.patience.first_byte, Duration::from_millis(1500));
    assert_eq!(config.limits.drain, Duration::from_secs(5));
    assert_eq!(config.cache.max_object_bytes, 64 << 20);
}

#[test]
fn what_is_wrong_is_shown_with_its_place_and_what_to_do() {
    let check = |from: &str, to: &str, place: &str, message: &str| {
        assert!(SMALLEST.contains(from), "{from}");
        let error = read(&SMALLEST.replace(from, to)).unwrap_err().to_string();
        assert!(error.starts_with(&format!("edge.toml:{place}: ")), "{error}");
        assert!(error.contains(message), "{error}");
        let is_caret = |line: &str| line.trim_start_matches([' ', '|']).bytes().all(|b| b == b'^');
        assert!(error.lines().nth(2).is_some_and(is_caret), "{error}");
    };
    check("listen = [\"127", "lisen = [\"127", "2:1", "did you mean `listen`?");
    check("memory = ", "memroy = ", "4:1", "did you mean `memory`?");
    check("8080\"]", "8080\"]\ntrusted_proxies = [\"10/8\"]", "3:20", "write \"10.0.0.0/8\"");
    check("\"lfu\"", "\"lur\"", "5:12", "did you mean `lru`?");
    check("\"512MiB\"", "\"512\"", "4:10", "such as \"512MiB\"");
    check("\"512MiB\"", "512", "4:10", "such as \"512MiB\"");
    check("\"512MiB\"", "\"5KiB\"", "4:10", "at least 1MiB");
    check("\"512MiB\"", "\"8MiB\"\nmax_object = \"4MiB\"", "5:14", "a quarter of `memory`");
    check("[\"*\"]", "[]", "7:9", "at least one host");
    check("[\"*\"]", "[\"a\", \"A.\"]", "7:15", "claimed twice");
    check("[\"*\"]", "[\"a:80\"]", "7:10", "without a port");
    check("[\"*\"]", "[\"a..b\"]", "7:10", "not a host name");
    check("\"http://127.0.0.1:8000\"", "\"ftp://a\"", "8:12", "no way to reach an origin");
    check("\"http://127.0.0.1:8000\"", "\"unix:\"", "8:12", "unix:/run/app.sock");
    check("\"http://127.0.0.1:8000\"", "\"http://a/b\"", "8:12", "has no path");
    check("\"http://127.0.0.1:8000\"", "\"a\"", "8:12", "http://host:port");
    check("[\"http://127.0.0.1:8000\"]", "[]", "8:11", "at least one origin");
    let table = |more: &str| format!("[{{ url = \"http://a\", {more} }}]");
    check("[\"http://127.0.0.1:8000\"]", &table("weight = 0"), "8:41", "from 1 to 1000");
    check("[\"http://127.0.0.1:8000\"]", &table("backup = true"), "8:11", "all origins are backups");
    check("[\"http://127.0.0.1:8000\"]", &table("sni = \"b\""), "8:38", "over https");
    check("[admin]", "origin_key = \"a.key\"\n[admin]", "9:14", "go together");
    check("[admin]", "origin_roots = \"/dev/null\"\n[admin]", "9:16", "no file of certificates");
    check("[admin]", "origin_roots = \"none.pem\"\n[admin]", "9:16", "cannot read /etc/verge/none.pem");
    check("[admin]", "[site.health]\npath = \"healthz\"\n[admin]", "10:8", "\"/healthz\"");
    check(
        "[admin]",
        "[site.health]\npath = \"/\"\ninterval = \"1ms\"\n[admin]",
        "11:12",
        "at least \"100ms\"",
    );
    check("[admin]", "[site.health]\nerrors = \"half\"\n[admin]", "10:10", "such as \"50%\"");
    check("[admin]", "balance = \"least-load\"\n[admin]", "9:11", "did you mean `least-loaded`?");
    check("\"127.0.0.1:9301\"", "\"localhost\"", "10:10", "an address and a port, not a name");
    check("[\"127.0.0.1:8080\"]", "[]", "2:10", "at least one address");
    check("[admin]", "[admin]\npurges_per_minute = 0", "10:21", "nonzero");
    check("[admin]", "default_ttl = 5\n[admin]", "9:15", "such as \"4s\"");
    check("listen = [\"127", "name = \"1 x\"\nlisten = [\"127", "2:8", "a name is a letter");
}

#[test]
fn a_head_has_bounds_that_origins_and_this_program_can_take() {
    for (from, to, place, message) in [
        ("[admin]", "[limits]\nfields = 0\n[admin]", "10:10", "from 1 to 1000 fields"),
        ("[admin]", "[limits]\nbytes_in_flight = \"1KiB\"\n[admin]", "10:19", "at least \"1MiB\""),
        ("[admin]", "origin_fields = 1001\n[admin]", "9:17", "from 1 to 1000 fields"),
        ("[admin]", "origin_head_size = \"1KB\"\n[admin]", "9:20", "at least 1KiB"),
        ("[admin]", "[limits]\ntarget_size = \"16KiB\"\n[admin]", "10:15", "a bigger `head_size`"),
        ("[admin]", "[limits]\ntarget_size = \"61KiB\"\n[admin]", "10:15", "60KiB at most"),
        ("[admin]", "origin_names = [\"http://a\"]\n[admin]", "9:17", "write \"app.internal\""),
    ] {
        let error = read(&SMALLEST.replace(from, to)).unwrap_err().to_string();
        assert!(error.starts_with(&format!("edge.toml:{place}: error: ")), "{error}");
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn what_the_reader_says_comes_with_help() {
    let site = "[[site]]\nhosts = [\"a\"]\norigins = [\"http://o\"]\n";
    let check = |text: &str, place: &str, message: &str, help: &str| {
        let error = read(text).unwrap_err().to_string();
        assert!(error.starts_with(&format!("edge.toml:{place}: error: {message}")), "{error}");
        assert!(error.lines().any(|line| line.trim_start() == format!("= help: {help}")), "{error}");
    };
    let top = |line: &str| format!("{line}\nlisten = [\"127.0.0.1:0\"]\n{site}");
    let below = |lines: &str| format!("listen = [\"127.0.0.1:0\"]\n{site}{lines}");
    let listen = |value: &str| format!("listen = {value}\n{site}");
    // Lists, texts, numbers.
    check(&listen("\"127.0.0.1:80\""), "1:10", "invalid type: string", "write a list: [\"127.0.0.1:80\"]");
    check(&listen("80"), "1:10", "invalid type: integer `80`", "write a list: [80]");
    check(&below("compress = \"br\""), "5:12", "invalid type: string \"br\"", "write a list: [\"br\"]");
    check(&below("[site.key]\nheaders = \"x-a\""), "6:11", "invalid type", "write a list: [\"x-a\"]");
    check(&top("name = 5"), "1:8", "invalid type: integer `5`", "write it in quotes: \"5\"");
    check(&top("name = [\"a\"]"), "1:8", "invalid type: sequence", "write one value, without brackets");
    check(&below("forward_tags = \"yes\""), "5:16", "invalid type", "write true or false, without quotes");
    let number = "write a whole number, without quotes";
    check(&below("[limits]\nconnections = \"5\""), "6:15", "invalid type", number);
    check(&below("[admin]\npurges_per_minute = \"5\""), "6:21", "invalid type", number);
    // Addresses.
    let example =
        "write an address and a port, not a name: \"192.0.2.1:80\", \"[::]:80\", \"127.0.0.1:8080\"";
    check(&listen("[\"localhost:80\"]"), "1:11", "invalid socket address syntax", example);
    check(&listen("[\"127.0.0.1\"]"), "1:11", "invalid socket", "the port is missing: \"127.0.0.1:80\"");
    check(&listen("[\"::1\"]"), "1:11", "invalid socket", "the port is missing: \"[::1]:80\"");
    // Sections.
    let section = "this is a section: write its name in brackets on a line of its own, and its keys below";
    check(&top("cache = 5"), "1:9", "invalid type: integer `5`", section);
    let two = "write the section with two brackets, such as [[site]]: there may be more of them";
    check("listen = [\"127.0.0.1:0\"]\n[site]\nhosts = [\"a\"]", "2:1", "invalid type: map", two);
    let home = "`default_ttl` belongs to [[site]]: write it below that line, above the next [section]";
    let nested = "[[site.ttl]]\nttl = \"1s\"\ndefault_ttl = \"1s\"";
    check(&below(nested), "7:1", "unknown key `default_ttl`", home);
    let home = "`trusted_proxies` belongs to no section: write it above the first [section]";
    check(&below("trusted_proxies = []"), "5:1", "unknown key `trusted_proxies`", home);
    check(&below("defualt_ttl = \"1s\""), "5:1", "unknown key `defualt_ttl`", "did you mean `default_ttl`?");
    check(&below("[amdin]"), "5:2", "unknown key `amdin`", "did you mean `admin`?");
    check(&below("set_cookie = \"nevr\""), "5:14", "unknown value `nevr`", "did you mean `never`?");
    check(&below("client_control = \"x\""), "5:18", "unknown value `x`", "write one of: limited, full");
    check(site, "1:1", "`listen` is missing", "write it, such as: listen = [\"0.0.0.0:80\"]");
    // No TOML.
    let quotes = "write texts in quotes: name = \"edge-1\", memory = \"512MiB\", ttl = \"5m\"";
    check(&below("default_ttl = 5m"), "5:15", "", quotes);
    check(&top("name = edge"), "1:8", "", quotes);
    let once = "write it once; a list of sections has two brackets, such as [[site]]";
    check(&top("name = \"a\"\nname = \"b\""), "2:1", "duplicate key", once);
    check(&below("[site.key]\n[site.key]"), "6:7", "duplicate key", once);
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let site = |lines: &str| {
        format!(
            "listen = [\"127.0.0.1:0\"]\n[[site]]\nhosts = [\"a.test\", \"b.test\"]\norigins = [\"http://o\"]\n{lines}"
        )
    };
    let proxies = |networks: &str, refused: Option<&str>| {
        let read = read(&format!("trusted_proxies = [{networks}]\n{}", site("")));
        match (read, refused) {
            (Ok(_), None) => {}
            (Err(error), Some(place)) => {
                let error = error.to_string();
                assert!(error.starts_with(&format!("edge.toml:{place}: error: ")), "{error}");
                assert!(error.contains("strangers") && error.contains("= help: "), "{error}");
            }
            (read, refused) => panic!("{networks}: {read:?}, {refused:?}"),
        }
    };
    proxies("\"0.0.0.0/0\"", Some("1:20"));
    proxies("\"10.0.0.0/8\", \"::/0\"", Some("1:34"));
    proxies("\"128.0.0.0/1\"", Some("1:20"));
    proxies("\"2000::/3\"", Some("1:20"));
    proxies("\"::ffff:0:0/96\"", Some("1:20"));
    proxies("\"::ffff:10.0.0.0/104\", \"fc00::/7\", \"10.0.0.0/8\", \"::1\", \"192.0.2.7\"", None);
    let redirect = |from: &str, to: &str, circle: Option<&str>| {
        let lines = format!("[[site.redirect]]\nfrom = \"{from}\"\nto = \"{to}\"");
        match (read(&site(&lines)), circle) {
            (Ok(_), None) => {}
            (Err(error), Some(circle)) => {
                let error = error.to_string();
                assert!(error.starts_with("edge.toml:7:6: error: this redirect leads back"), "{error}");
                assert!(error.contains(circle), "{error}");
            }
            (read, circle) => panic!("{from} {to}: {read:?}, {circle:?}"),
        }
    };
    redirect("/*", "/*", Some("a.test/x → a.test/x"));
    redirect("/a", "/a", Some("a.test/a → a.test/a"));
    redirect("/a/*", "/a/b/*", Some("a.test/a/x → a.test/a/b/x → a.test/a/b/b/x"));
    redirect("/*", "http://B.test/*", Some("a.test/x → b.test/x → b.test/x"));
    redirect("/*", "http://c.test/*", None);
    redirect("/a/*", "/b/*", None);
    redirect("/", "/home", None);
    let https = "[[site.redirect]]\nfrom = \"/*\"\nto = \"https://a.test/*\"";
    let warnings = read(&site(https)).unwrap().warnings;
    assert!(warnings[0].to_string().starts_with("edge.toml:7:6: warning: this redirect"), "{warnings:?}");
    let two = "[[site.redirect]]\nfrom = \"/a\"\nto = \"/b\"\n[[site.redirect]]\nfrom = \"/b\"\nto = \"/a\"";
    assert!(read(&site(two)).unwrap_err().to_string().contains("a.test/a → a.test/b → a.test/a"));
}

#[test]
fn memory_that_the_machine_does_not_have_is_told() {
    let warnings = |machine_bytes| {
        let config = checked(SMALLEST, Path::new(""), Path::new("edge.toml"), machine_bytes).unwrap();
        config.warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(warnings(Some(512 << 20)), [""; 0]);
    assert_eq!(warnings(None), [""; 0]);
    let told = warnings(Some(511 << 20));
    assert!(told[0].starts_with("edge.toml:4:10: warning: more memory than this machine has"), "{told:?}");
}

#[test]
fn a_file_that_is_being_edited_still_says_where_the_edge_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("edge.toml");
    let check = |from: &str, to: &str| {
        assert!(SMALLEST.contains(from), "{from}");
        std::fs::write(&path, SMALLEST.replace(from, to)).unwrap();
        let admin = load_admin(&path).unwrap().unwrap();
        assert_eq!(admin.listen.to_string(), "127.0.0.1:9301", "{to}");
        assert_eq!(admin.token_file, folder.path().join("verge-edge.token"));
        assert_eq!(load_listen(&path).unwrap().plain, ["127.0.0.1:8080".parse().unwrap()], "{to}");
    };
    check("hosts = ", "hsots = ");
    check("hosts = [\"*\"]", "hosts = [");
    check("eviction = \"lfu\"", "eviction = ");
    std::fs::write(&path, SMALLEST.replace("127.0.0.1:9301", "x")).unwrap();
    assert!(load_admin(&path).unwrap_err().to_string().contains("edge.toml:10:10: error: "));
    std::fs::write(&path, SMALLEST.replace("[admin]", "[admin")).unwrap();
    assert!(load_admin(&path).unwrap_err().to_string().contains("edge.toml:9:"));
}

#[test]
fn the_caret_stands_under_what_is_wrong_also_behind_wide_characters() {
    let error = read(
        "listen = [\"127.0.0.1:0\"]\n[[site]]\nhosts = [\"é.test\", \"b b\"]\norigins = [\"http://o\"]\n",
    );
    let text = error.unwrap_err().to_string();
    assert!(text.starts_with("edge.toml:3:10: "), "{text}");
    assert!(text.ends_with("3 | hosts = [\"é.test\", \"b b\"]\n  |          ^^^^^^^^"), "{text}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = load(Path::new("/nonexistent/edge.toml")).unwrap_err().to_string();
    assert!(error.starts_with("/nonexistent/edge.toml: error: cannot read the config: "), "{error}");
}

#[test]
fn a_sites_rules_are_read_or_pointed_at() {
    let check = |lines: &str, place: &str, message: &str| {
        let error = read(&SMALLEST.replace("[admin]", &format!("{lines}\n[admin]"))).unwrap_err().to_string();
        assert!(error.starts_with(&format!("edge.toml:{place}: ")) && error.contains(message), "{error}");
    };
    check("bypass = [\"admin\"]", "9:11", "begins with `/`");
    check("origin_networks = [\"::1\", \"10/8\"]", "9:27", "write \"10.0.0.0/8\"");
    check("set_cookie = \"strips\"", "9:14", "did you mean `strip`?");
    check("max_object = \"400MiB\"", "9:14", "a quarter of `memory`");
    check("[[site.ttl]]\npath = \"/\"\nstatus = [99]\nttl = \"1s\"", "11:11", "from 200");
    check("[[site.ttl]]\npath = \"/\"", "9:1", "`ttl` is missing");
    check("[site.key]\nquery = \"none\"\nquery_only = [\"a\"]", "11:14", "is enough");
    check("[site.key]\nheaders = [\"X-Forwarded-Host\"]", "10:12", "not the client's to say");
    check("[site.key]\nheaders = [\"a b\"]", "10:12", "not a header's name");
    check("[site.response]\nset = { x = \"a\\r\\nset-cookie: b\" }", "10:13", "visible ASCII");
    check("[site.response]\nset = { Content-Length = \"1\" }", "10:9", "only the edge itself");
    check("[site.request]\nremove = [\"cdn-loop\"]", "10:11", "only the edge itself");
    for ours in
        ["X-Forwarded-For", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-prefix", "x-forwarded-*"]
    {
        check(&format!("allow_fields = [\"x-forwarded-port\", \"{ours}\"]"), "9:37", "only the edge itself");
    }
    let redirect = |to: &str, place: &str, message: &str| {
        check(&format!("[[site.redirect]]\nfrom = \"/a/*\"\n{to}"), place, message);
    };
    redirect("to = \"b\"", "11:6", "a path or a URL");
    redirect("to = \"//b\"", "11:6", "a path or a URL");
    redirect("to = \"https://b*\"", "11:6", "a host without `*`");
    redirect("to = \"/*/*\"", "11:6", "there may be one");
    redirect("to = \"/\\r\\nx\"", "11:6", "not a URL");
    redirect("to = \"/b\"\nstatus = 200", "12:10", "301, 302");
    let route =
        |lines: &str, place: &str, message: &str| check(&format!("[[site.route]]\n{lines}"), place, message);
    check("allow = [\"10/8\"]", "9:10", "write \"10.0.0.0/8\"");
    check("rate_limit = \"20\"", "9:14", "a second, minute or hour");
    check("basic_auth = \"nosuch\"", "9:14", "cannot read the users in /etc/verge/nosuch");
    check("max_request_body = \"5\"", "9:20", "such as \"512MiB\"");
    check("[[site.error_page]]\nstatus = [200]\nfile = \"a\"", "10:11", "from 400 to 599");
    check("[[site.error_page]]\nstatus = []\nfile = \"a\"", "10:10", "at least");
    check("[[site.error_page]]\nstatus = [\"5xx\"]\nfile = \"nosuch\"", "11:8", "cannot read the page");
    route("origin_path = \"/*\"", "9:1", "`paths` is missing");
    route("paths = []", "10:9", "at least one path");
    route("paths = [\"/a\", \"b\"]", "10:16", "begins with `/`");
    route("paths = [\"/a/*\"]\norigin_path = \"/*/*\"", "11:15", "one `*` at most");
    route("paths = [\"/a/*\", \"/b*\"]\norigin_path = \"/*\"", "10:18", "end it with `/*`");
    route("paths = [\"/a\"]\norigins = []", "11:11", "at least one origin");
    route("paths = [\"/a\"]\nhosts = [\"a\"]", "11:1", "unknown key `hosts`");
    route("paths = [\"/a\"]\nset_cookie = \"nevr\"", "11:14", "did you mean `never`?");
    let shadowed =
        "[[site.route]]\npaths = [\"/a/*\"]\n[[site.route]]\npaths = [\"/b\", \"/a/b/*\"]\n[admin]";
    let warnings = read(&SMALLEST.replace("[admin]", shadowed)).unwrap().warnings;
    assert_eq!(warnings.len(), 1);
    let told = "edge.toml:12:16: warning: no request reaches this path: an earlier route has \"/a/*\"";
    assert!(warnings[0].to_string().starts_with(told), "{warnings:?}");
}

/// The sections of a file, and whether each is below a site.
const SECTIONS: &[(bool, &str)] = &[
    (false, ""),
    (false, "[cache]"),
    (false, "[limits]"),
    (false, "[tls]"),
    (false, "[log]"),
    (false, "[log.access]"),
    (false, "[admin]"),
    (false, "[admin.tls]"),
    (false, "[[site]]"),
    (false, "[[stream]]"),
    (false, "[stream.health]"),
    (true, "[site.key]"),
    (true, "[site.request]"),
    (true, "[site.response]"),
    (true, "[site.health]"),
    (true, "[site.canary]"),
    (false, "[guard]"),
    (true, "[[site.ttl]]"),
    (true, "[[site.redirect]]"),
    (true, "[[site.route]]"),
];

#[test]
fn the_reference_names_every_key_and_its_default() {
    let reference = include_str!("../../reference.toml");
    let config = read(reference).unwrap_or_else(|error| panic!("{error}"));
    let site = |config: &Config| Arc::clone(&config.sites.all()[0]);
    let (found, default) = (site(&config), site(&read(SMALLEST).unwrap()));
    let numbers = |site: &Site| {
        let Rules { negative_ttl_secs, max_ttl_secs, stale_on_disconnect_secs, set_cookie, .. } = site.rules;
        let windows = (site.rules.stale_while_revalidate_secs, site.rules.stale_if_error_secs);
        let Patience { connect, first_byte, between_bytes, idle, whole } = site.patience;
        let times = (connect, first_byte, between_bytes, idle, whole, site.upgrade_idle);
        let control = site.rules.client_control;
        let rest = (site.ends_here.clone(), site.rules.default_ttl_secs, site.rules.s_maxage);
        (negative_ttl_secs, max_ttl_secs, stale_on_disconnect_secs, set_cookie, windows, times, control, rest)
    };
    assert_eq!(numbers(&found), numbers(&default));
    let of = |config: &Config| {
        let (cache, limits) = (&config.cache, &config.limits);
        let times = (limits.head_timeout, limits.idle_timeout, limits.pace, limits.drain);
        (
            cache.bounds.memory_bytes,
            cache.max_object_bytes,
            limits.head,
            (limits.connections, limits.connections_per_network, limits.upgrades),
            (limits.handshakes, limits.handshakes_per_network),
            times,
        )
    };
    assert_eq!(config.admin.as_ref().unwrap().purges_per_minute.get(), 6_000);
    assert_eq!(of(&config), of(&read(&SMALLEST.replace("memory = \"512MiB\"\n", "")).unwrap()));
    // serde lists the keys that it knows; each must be in the reference.
    let site = "[[site]]\nhosts = [\"a\"]\norigins = [\"http://o\"]\n";
    for (is_below, section) in SECTIONS {
        let stream = "[[stream]]\nlisten = [\"127.0.0.1:1\"]\norigins = [\"tcp://o:1\"]\n";
        let above = match section.starts_with("[stream.") {
            true => stream,
            false if *is_below => site,
            false => "",
        };
        let text = format!("{above}{section}\nzzzzzzzzzzzz = 1\n");
        let error = read(&text).unwrap_err().to_string();
        let keys = error.split("keys known here: ").nth(1).unwrap_or_else(|| panic!("{error}"));
        let keys: Vec<&str> = keys.split(", ").collect();
        assert!(!keys.is_empty(), "{error}");
        let (_, part) = reference.split_once(&format!("\n{section}")).unwrap_or_else(|| panic!("{section}"));
        for key in keys {
            let is_there = |line: &str| {
                let line = line.trim_start_matches("# ");
                let opens = |open: &str| line.starts_with(&format!("{open}{key}]"));
                line.starts_with(&format!("{key} = "))
                    || ["[", "[[", "[admin.", "[log.", "[site.", "[[site.", "[stream.", "[tls.", "[[tls."]
                        .into_iter()
                        .any(opens)
            };
            // A route has the keys of a site.
            let part = if *section == "[[site.route]]" { reference } else { part };
            assert!(part.lines().any(is_there), "{section} {key}");
        }
    }
}

#[test]
fn passwords_in_clear_text_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("users");
    std::fs::write(&users, "ann:$2y$05$TJysGwJAo977pCPOoUKRheG03MWAjcBnjbxO64BYgah6sEbRLiROq").unwrap();
    let check = |listen: &str, more: &str, file: &str, told: bool| {
        let text = SMALLEST.replace("127.0.0.1:8080\"]", &format!("{listen}\"]\n{more}"));
        let site =
            format!("basic_auth = \"{file}\"\n[[site.route]]\npaths = [\"/a\"]\nbasic_auth = {users:?}");
        let warnings = read(&text.replace("[admin]", &format!("{site}\n[admin]"))).unwrap().warnings;
        let texts: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts.iter().any(|text| text.contains("in clear text")),
            told,
            "{listen} {more}: {texts:?}"
        );
    };
    check("0.0.0.0:80", "", "off", true);
    check("0.0.0.0:80", "trusted_proxies = [\"10.0.0.1\"]", "off", false);
    check("127.0.0.1:80", "", "off", false);
}

#[test]
fn the_access_log_is_as_it_is_written() {
    use crate::log::access::{Field, Format, Place, Shape};
    let access =
        |text: &str| read(&format!("{SMALLEST}[log.access]\n{text}")).map(|config| config.log.access);
    let found = access("").unwrap().unwrap();
    assert_eq!((found.sample.get(), found.format, found.to), (1, Format::plain(), Place::Stdout));
    assert_eq!(access("lines = \"off\"").unwrap(), None);
    let chosen =
        access("lines = \"sampled\"\nformat = \"json\"\nfields = [\"url\", \"bytes\"]\nto = \"/l/a.log\"");
    let found = chosen.unwrap().unwrap();
    assert_eq!((found.sample.get(), found.to), (100, Place::File("/l/a.log".into())));
    assert_eq!(found.format, Format::Of(Shape::Json, [Field::Url, Field::Bytes].to_vec()));
    let check = |text: &str, place: &str, message: &str| {
        let error = access(text).unwrap_err().to_string();
        assert!(error.starts_with(&format!("edge.toml:{place}: error: ")), "{error}");
        assert!(error.contains(message), "{error}");
    };
    let line = SMALLEST.lines().count() + 2;
    check("sample = 5", &format!("{line}:10"), "counts with lines = \"sampled\" only");
    check("lines = \"sampled\"\nsample = 0", &format!("{}:10", line + 1), "nonzero");
    check("fields = [\"url\", \"ulr\"]", &format!("{line}:18"), "no field `ulr`");
    check("fields = [\"url\", \"url\"]", &format!("{line}:18"), "stands here twice");
    check("fields = []", &format!("{line}:10"), "at least one field");
    check("format = \"combined\"\nfields = [\"url\"]", &format!("{}:10", line + 1), "fields of its own");
    check("to = \"stdot\"", &format!("{line}:6"), "lines cannot go to `stdot`");
    check("format = \"xml\"", &format!("{line}:10"), "plain, combined, json");
}
