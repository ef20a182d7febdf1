//! Two whole servers: one names its zones in a catalog, the other takes all that it names.

use super::secondaries::{KEYS, REFUSED, keys, site, until};
use super::*;

const OPEN: &str = "[[transfer]]\nkeys = [\"outer\"]\n[[transfer]]\nkeys = [\"inner\"]\n[[catalog]]\nzone = \"cat.invalid\"\n";

/// A server without zone files that takes what the catalog names.
fn taker(primary: SocketAddr, key: &str, more: &str) -> (Site, String) {
    let from = format!(
        "[[secondary]]\nzone = \"cat.invalid\"\nprimaries = [\"{primary}\"]\nkey = \"{key}\"\ncatalog = true\n{more}"
    );
    let (site, config) = site(&keys(&from));
    fs::remove_file(site.path("zones/example.com.zone")).unwrap();
    (site, config)
}

fn zone(address: &str) -> String {
    format!("$TTL 60\n@ SOA ns hostmaster 1 2h 30m 2w 5m\n@ NS ns\nns A 203.0.113.53\nwww A {address}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_catalog_names_is_taken_and_let_go() {
    let (first, config) = site(&keys(OPEN));
    first.write("zones/b.example.zone", &zone("203.0.113.2"));
    let primary = first.start(&config).await;
    let from = primary.listening().outside[0];
    let (second, settings) = taker(from, "outer", "");
    let running = second.start(&settings).await;
    let server = running.listening().outside[0];
    until(&running, server, "www.example.com", address("203.0.113.1")).await;
    until(&running, server, "www.b.example", address("203.0.113.2")).await;
    // A catalog answers nobody who has no key, on either server.
    for at in [from, server, running.listening().inside[0]] {
        assert_eq!(ask_udp(at, "version.cat.invalid"), REFUSED, "{at}");
    }

    let told = keys(&OPEN.replace("\"outer\"]\n", &format!("\"outer\"]\nnotify = [\"{server}\"]\n")));
    first.write("dns.toml", &format!("{KEYS}{CONFIG}{told}"));
    first.write("zones/c.example.zone", &zone("203.0.113.3"));
    fs::remove_file(first.path("zones/b.example.zone")).unwrap();
    primary.reload();
    until(&running, server, "www.c.example", address("203.0.113.3")).await;
    until(&running, server, "www.b.example", REFUSED).await;
    assert!(!second.path("state/secondaries/b.example.zone").exists());

    // Both are gone; what was taken is not.
    primary.drain().await;
    running.drain().await;
    let running = second.start(&settings).await;
    let server = running.listening().outside[0];
    assert_eq!(ask_udp(server, "www.c.example"), address("203.0.113.3"));
    assert_eq!(ask_udp(server, "www.example.com"), address("203.0.113.1"));
    running.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catalog_of_the_inside_has_its_zones_and_those_of_the_outside_do_not() {
    let (first, config) = site(&format!("{}[public]\n", keys(OPEN)));
    first.write("zones/lab.internal.zone", &zone("203.0.113.9").replace("ns A 203", "ns A 10"));
    let primary = first.start(&config).await;
    let from = primary.listening().outside[0];
    let (inside, settings) = taker(from, "inner", "");
    let running = inside.start(&settings).await;
    let Listening { outside, inside: insiders, .. } = running.listening().clone();
    until(&running, insiders[0], "www.lab.internal", address("203.0.113.9")).await;
    until(&running, insiders[0], "db.example.com", address("10.0.0.5")).await;
    for name in ["www.lab.internal", "db.example.com", "www.example.com"] {
        assert_eq!(ask_udp(outside[0], name), REFUSED, "{name}");
    }
    let (second, settings) = taker(from, "outer", "");
    let other = second.start(&settings).await;
    let server = other.listening().outside[0];
    until(&other, server, "www.example.com", address("203.0.113.1")).await;
    let members = fs::read_to_string(second.path("state/secondaries/members")).unwrap();
    assert!(members.contains("example.com.") && !members.contains("lab.internal"), "{members}");
    for running in [primary, running, other] {
        running.drain().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catalog_takes_no_zone_of_this_servers_own_and_removes_no_more_than_it_may() {
    let (first, config) = site(&keys(OPEN));
    for zone_of in ["b", "c"] {
        first.write(&format!("zones/{zone_of}.example.zone"), &zone("203.0.113.2"));
    }
    let primary = first.start(&config).await;
    let (second, settings) = taker(primary.listening().outside[0], "outer", "most_removed = 1\n");
    // Nor does it take names out of one.
    first.write("zones/sub.example.com.zone", &zone("203.0.113.66"));
    second.write("zones/example.com.zone", &ZONE.replace("203.0.113.1", "203.0.113.77"));
    let running = second.start(&settings).await;
    let server = running.listening().outside[0];
    until(&running, server, "www.b.example", address("203.0.113.2")).await;
    until(&running, server, "www.c.example", address("203.0.113.2")).await;
    assert_eq!(ask_udp(server, "www.example.com"), address("203.0.113.77"));
    assert_eq!(ask_udp(server, "www.sub.example.com"), NXDOMAIN);

    let told = keys(&OPEN.replace("\"outer\"]\n", &format!("\"outer\"]\nnotify = [\"{server}\"]\n")));
    first.write("dns.toml", &format!("{KEYS}{CONFIG}{told}"));
    for zone_of in ["b", "c"] {
        fs::remove_file(first.path(&format!("zones/{zone_of}.example.zone"))).unwrap();
    }
    first.write("zones/d.example.zone", &zone("203.0.113.4"));
    primary.reload();
    until(&running, server, "www.d.example", address("203.0.113.4")).await;
    assert_eq!(ask_udp(server, "www.b.example"), address("203.0.113.2"), "two at once are too many");
    running.reload();
    until(&running, server, "www.b.example", REFUSED).await;
    assert_eq!(ask_udp(server, "www.c.example"), REFUSED);
    primary.drain().await;
    running.drain().await;
}

/// RFC 9432 §5.6.
#[tokio::test(flavor = "multi_thread")]
async fn a_zone_under_another_label_is_taken_anew() {
    let (first, config) = site(&keys(OPEN.split("[[catalog]]").next().unwrap()));
    let catalog = |serial: u32, label: &str| {
        let text = format!(
            "$TTL 0\n@ SOA invalid. invalid. {serial} 1h 10m 2w 0\n@ NS invalid.\nversion TXT \"2\"\n{label}.zones PTR example.com.\n"
        );
        first.write("zones/cat.invalid.zone", &text);
    };
    catalog(1, "a");
    let primary = first.start(&config).await;
    let (second, settings) = taker(primary.listening().outside[0], "outer", "");
    let running = second.start(&settings).await;
    let server = running.listening().outside[0];
    until(&running, server, "www.example.com", address("203.0.113.1")).await;
    let told = keys(
        &OPEN
            .split("[[catalog]]")
            .next()
            .unwrap()
            .replace("\"outer\"]\n", &format!("\"outer\"]\nnotify = [\"{server}\"]\n")),
    );
    first.write("dns.toml", &format!("{KEYS}{CONFIG}{told}"));
    // The zone is the same, with the same serial; so what is served after the change was taken after it.
    catalog(2, "b");
    let copy = second.path("state/secondaries/example.com.zone");
    fs::write(&copy, fs::read_to_string(&copy).unwrap().replace("203.0.113.1", "203.0.113.7")).unwrap();
    primary.reload();
    let members = second.path("state/secondaries/members");
    let mut loads = running.loads();
    let wait = async {
        while !fs::read_to_string(&members).unwrap().contains(" 62\n")
            || ask_udp(server, "www.example.com") != address("203.0.113.1")
        {
            loads.changed().await.unwrap();
        }
    };
    timeout(LIMIT, wait).await.unwrap_or_else(|_| panic!("{:?}", ask_udp(server, "www.example.com")));
    assert!(fs::read_to_string(&copy).unwrap().contains("203.0.113.1"));
    primary.drain().await;
    running.drain().await;
}
