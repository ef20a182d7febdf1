//! Two whole servers: one takes zones from the other, and serves them also when the other is gone.

use super::*;

pub(super) const KEYS: &str = "state = \"state\"\nreload.debounce = \"1ms\"\n";
const SECRET: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// Keys of both sides; with `transfer`, secondaries may take zones by them.
pub(super) fn keys(transfer: &str) -> String {
    let key =
        |name: &str, view: &str| format!("[keys.{name}]\nsecret_file = \"secret.key\"\nview = \"{view}\"\n");
    key("outer", "outside") + &key("inner", "inside") + transfer
}

pub(super) fn site(config: &str) -> (Site, String) {
    let site = Site::new();
    site.write("secret.key", SECRET);
    (site, format!("{KEYS}{CONFIG}{config}"))
}

/// A server without zone files that takes example.com.
fn secondary(primary: SocketAddr, key: &str) -> (Site, String) {
    let from =
        format!("[[secondary]]\nzone = \"example.com\"\nprimaries = [\"{primary}\"]\nkey = \"{key}\"\n");
    let (site, config) = site(&keys(&from));
    fs::remove_file(site.path("zones/example.com.zone")).unwrap();
    (site, config)
}

/// Waits until the server says this.
pub(super) async fn until(running: &Running, server: SocketAddr, name: &str, expected: Said) {
    let mut loads = running.loads();
    let wait = async {
        while ask_udp(server, name) != expected {
            loads.changed().await.unwrap();
        }
    };
    timeout(LIMIT, wait).await.unwrap_or_else(|_| panic!("{name}: {:?}", ask_udp(server, name)));
}

pub(super) const SERVFAIL: Said = Said::Code(2);
pub(super) const REFUSED: Said = Said::Code(5);

#[tokio::test(flavor = "multi_thread")]
async fn a_secondary_follows_its_primary_and_goes_on_without_it() {
    let open = "[[transfer]]\nkeys = [\"outer\"]\n";
    let (first, config) = site(&keys(open));
    let primary = first.start(&config).await;
    let (second, settings) = secondary(primary.listening().outside[0], "outer");
    let running = second.start(&settings).await;
    let server = running.listening().outside[0];
    until(&running, server, "www.example.com", address("203.0.113.1")).await;
    assert_eq!(ask_udp(server, "db.example.com"), NXDOMAIN, "it belongs to the outside");
    assert_eq!(ask_udp(running.listening().inside[0], "www.example.com"), address("203.0.113.1"));

    // Told by NOTIFY, it takes what changed.
    let told = format!("{open}notify = [\"{server}\"]\n");
    first.write("dns.toml", &format!("{KEYS}{CONFIG}{}", keys(&told)));
    first.write("zones/example.com.zone", &format!("{}new A 203.0.113.9\n", ZONE.replace(" 1 2h", " 2 2h")));
    primary.reload();
    until(&running, server, "new.example.com", address("203.0.113.9")).await;

    // Both are gone; the copy is not.
    primary.drain().await;
    running.drain().await;
    let running = second.start(&settings).await;
    let server = running.listening().outside[0];
    assert_eq!(ask_udp(server, "new.example.com"), address("203.0.113.9"));
    running.drain().await;

    // A copy whose time is over is not served, and its names are nobody else's.
    second.write("state/secondaries/example.com.expires", "checked 1 expires 2\n");
    let running = second.start(&settings).await;
    let Listening { outside, inside, .. } = running.listening().clone();
    assert_eq!(
        (ask_udp(outside[0], "new.example.com"), ask_udp(inside[0], "x.example.com")),
        (SERVFAIL, SERVFAIL)
    );
    running.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_of_the_inside_is_outside_as_if_it_was_not_there() {
    let (first, config) = site(&keys("[[transfer]]\nkeys = [\"inner\"]\n"));
    let primary = first.start(&config).await;
    let (second, settings) = secondary(primary.listening().outside[0], "inner");
    let running = second.start(&settings).await;
    let Listening { outside, inside, .. } = running.listening().clone();
    assert_eq!(ask_udp(outside[0], "db.example.com"), REFUSED, "not before it came");
    until(&running, inside[0], "db.example.com", address("10.0.0.5")).await;
    for name in ["db.example.com", "www.example.com", "example.com"] {
        assert_eq!(ask_udp(outside[0], name), REFUSED, "{name}");
    }
    primary.drain().await;
    running.drain().await;
    // Nor when it has expired.
    second.write("state/secondaries/example.com.expires", "checked 1 expires 2\n");
    let running = second.start(&settings).await;
    let Listening { outside, inside, .. } = running.listening().clone();
    assert_eq!(
        (ask_udp(outside[0], "db.example.com"), ask_udp(inside[0], "db.example.com")),
        (REFUSED, SERVFAIL)
    );
    running.drain().await;
}

/// Sends a notice for the zone over UDP; the rcode of the answer.
fn notify(server: SocketAddr, from: &str, zone: &str) -> Vec<u8> {
    let socket = UdpSocket::bind((from, 0)).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    socket.connect(server).unwrap();
    let mut message = vec![0, 7, 0x24, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(crate::name::Name::parse_absolute(zone).unwrap().as_wire());
    message.extend_from_slice(&[0, 6, 0, 1]);
    socket.send(&message).unwrap();
    let mut answer = [0; 512];
    let bytes = socket.recv(&mut answer).unwrap();
    answer[..bytes].to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn notices_are_heard_of_primaries_alone_and_refused_alike() {
    // Nobody is there.
    let gone = SocketAddr::from(([127, 0, 0, 2], crate::ports::address().port()));
    let (second, settings) = secondary(gone, "inner");
    let running = second.start(&settings).await;
    let server = running.listening().outside[0];
    let rcode = |answer: Vec<u8>| answer[3] & 0x0f;
    assert_eq!(rcode(notify(server, "127.0.0.2", "example.com")), 0);
    assert_eq!(rcode(notify(server, "127.0.0.2", "example.org")), 5);
    let stranger = notify(server, "127.0.0.1", "example.com");
    assert_eq!(rcode(stranger.clone()), 5);
    // But for the name that was asked, the answer is that for a zone that is not here.
    let mut other = notify(server, "127.0.0.1", "example.org");
    let at = other.windows(3).position(|bytes| bytes == b"org").unwrap();
    other[at..at + 3].copy_from_slice(b"com");
    assert_eq!(stranger, other);
    running.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_a_copy_that_is_gone_bring_all_of_the_zone() {
    let open = "[[transfer]]\nkeys = [\"outer\"]\n";
    let (first, config) = site(&keys(open));
    let primary = first.start(&config).await;
    let (second, settings) = secondary(primary.listening().outside[0], "outer");
    let running = second.start(&settings).await;
    let server = running.listening().outside[0];
    until(&running, server, "www.example.com", address("203.0.113.1")).await;
    fs::remove_file(second.path("state/secondaries/example.com.zone")).unwrap();
    let told = format!("{open}notify = [\"{server}\"]\n");
    first.write("dns.toml", &format!("{KEYS}{CONFIG}{}", keys(&told)));
    first.write("zones/example.com.zone", &format!("{}new A 203.0.113.9\n", ZONE.replace(" 1 2h", " 2 2h")));
    primary.reload();
    until(&running, server, "new.example.com", address("203.0.113.9")).await;
    assert_eq!(ask_udp(server, "www.example.com"), address("203.0.113.1"));
    primary.drain().await;
    running.drain().await;
}
