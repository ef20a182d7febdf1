//! Origins as they are written.

use super::*;
use crate::site::OriginAddress;
use crate::site::origin::{Roots, Way};
use crate::site::reach::Reach;

#[test]
fn origins_are_strings_or_tables() {
    let origins = r#"origins = ["http://a", { url = "http://b:81", host = "c.test", weight = 2 },
        { url = "http://[::1]:82/", backup = true }]
        origin_networks = ["10.0.0.0/8"]"#;
    let config = read(&SMALLEST.replace("origins = [\"http://127.0.0.1:8000\"]", origins)).unwrap();
    let origin = |authority: &str, host: Option<&str>| OriginAddress {
        title_case: false,
        socket: None,
        way: Way::Plain,
        weight: if host.is_some() { 2 } else { 1 },
        backup: authority.starts_with('['),
        drain: false,
        resolvers: Arc::default(),
        authority: authority.to_owned(),
        host: host.map(str::to_owned),
        reach: Reach::of(authority.rsplit_once(':').unwrap().0, &["10.0.0.0/8".parse().unwrap()]),
    };
    let expected = [origin("a:80", None), origin("b:81", Some("c.test")), origin("[::1]:82", None)];
    assert_eq!(config.sites.all()[0].origins, expected);
}

#[test]
fn the_name_in_an_origins_certificate_is_its_sni_or_its_host_or_what_is_dialled() {
    let check = |origin: &str, authority: &str, name: &str| {
        let config = read(&SMALLEST.replace("\"http://127.0.0.1:8000\"", origin)).unwrap();
        let found = &config.sites.all()[0].origins[0];
        assert_eq!(found.authority, authority);
        let Way::Tls(secure) = &found.way else { panic!("{found:?}") };
        assert_eq!((secure.name.as_str(), &secure.roots, secure.http2), (name, &Roots::System, true));
    };
    check("\"https://app.test\"", "app.test:443", "app.test");
    check("\"https://10.0.0.1:8443\"", "10.0.0.1:8443", "10.0.0.1");
    check("\"https://[::1]\"", "[::1]:443", "::1");
    check("{ url = \"https://10.0.0.1\", host = \"app.test:8443\" }", "10.0.0.1:443", "app.test");
    check("{ url = \"https://a.test\", host = \"b.test\", sni = \"c.test\" }", "a.test:443", "c.test");
    let config = read(&SMALLEST.replace("http://127.0.0.1:8000", "unix:run/app.sock")).unwrap();
    let found = &config.sites.all()[0].origins[0];
    assert_eq!(found.socket.as_deref(), Some(Path::new("/etc/verge/run/app.sock")));
    assert_eq!(found.authority, "unix:/etc/verge/run/app.sock");
    let config = read(&SMALLEST.replace("http://127.0.0.1:8000", "h2c://a.test:81")).unwrap();
    assert_eq!(config.sites.all()[0].origins[0].shown(), "h2c://a.test:81");
}

#[test]
fn a_service_is_a_name_without_a_port_and_its_certificate_is_the_domains() {
    let config = read(&SMALLEST.replace("http://127.0.0.1:8000", "https://_app._tcp.a.test")).unwrap();
    let found = &config.sites.all()[0].origins[0];
    assert_eq!((found.authority.as_str(), found.own_host()), ("_app._tcp.a.test", "a.test"));
    let Way::Tls(secure) = &found.way else { panic!("{found:?}") };
    assert_eq!(secure.name, "a.test");
}

#[test]
fn what_is_wrong_about_parents_resolvers_and_cookies_is_told_at_its_place() {
    let check = |line: &str, place: &str, message: &str| {
        let error = read(&SMALLEST.replace("[admin]", &format!("{line}\n[admin]"))).unwrap_err().to_string();
        assert!(error.starts_with(&format!("edge.toml:{place}: error: ")), "{error}");
        assert!(error.contains(message), "{error}");
    };
    check("parents = [{ url = \"http://a\", host = \"b\" }]", "9:12", "leave `host` out");
    check("parents = [\"ftp://a\"]", "9:12", "no way to reach an origin");
    check("origin_resolvers = [\"tls://9.9.9.9\"]", "9:21", "no name server");
    check("origin_resolvers = [\"9.9.9.9#dns.quad9.net\"]", "9:21", "no name server");
    check("origin_resolvers = [\"dns.quad9.net\"]", "9:21", "no name server");
    check("sticky = \"a b\"", "9:10", "a cookie's name");
    check("[guard]\nwindow = \"10ms\"", "10:10", "at least \"1s\"");
    check("[site.canary]\norigins = []", "10:11", "at least one origin");
    let service = SMALLEST.replace("http://127.0.0.1:8000", "http://_app._tcp.a.test:80");
    assert!(read(&service).unwrap_err().to_string().contains("leave the port out"));
    let parents = "parents = [\"http://10.0.0.1\"]\norigin_resolvers = [\"10.0.0.53:5353\", \"tls://9.9.9.9#d.test\"]\n";
    let config = read(&SMALLEST.replace("[admin]", &format!("{parents}[admin]"))).unwrap();
    assert_eq!(config.sites.all()[0].parents[0].authority, "10.0.0.1:80");
    let servers: Vec<(String, Option<&str>)> = config.sites.all()[0].origins[0]
        .resolvers
        .iter()
        .map(|server| (server.at.to_string(), server.tls.as_deref()))
        .collect();
    assert_eq!(servers, [("10.0.0.53:5353".to_owned(), None), ("9.9.9.9:853".to_owned(), Some("d.test"))]);
    assert!(config.warnings.iter().any(|warning| warning.to_string().contains("has no `name`")));
}
