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
