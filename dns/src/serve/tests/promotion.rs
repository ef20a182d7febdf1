//! Two whole servers of one zone, of which either can be the primary.

use super::secondaries::{SERVFAIL, keys, site, until};
use super::*;
use crate::command::Cli;

/// A server whose zone the other one may take, and that takes it from the other.
fn peer(own: SocketAddr, other: SocketAddr) -> (Site, String) {
    let rules = format!(
        "[[transfer]]\nkeys = [\"outer\"]\nnotify = [\"{other}\"]\n\
         [[secondary]]\nzone = \"example.com\"\nprimaries = [\"{other}\"]\nkey = \"outer\"\n"
    );
    let (site, config) = site(&keys(&rules));
    (site, config.replacen("listen = [\"127.0.0.1:0\"]", &format!("listen = [\"{own}\"]"), 1))
}

fn promote(site: &Site, force: bool) -> bool {
    use clap::Parser as _;
    let config = site.path("dns.toml");
    let mut line = vec!["verge-dns", "promote", "example.com", "--config", config.to_str().unwrap()];
    line.extend(force.then_some("--force"));
    let cli = Cli::try_parse_from(line).unwrap();
    // It has a runtime of its own.
    std::thread::spawn(move || crate::command::run(cli)).join().unwrap() == std::process::ExitCode::SUCCESS
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secondary_is_promoted_and_the_old_primary_follows_it() {
    let (one, two) = (crate::ports::address(), crate::ports::address());
    let (first, config) = peer(one, two);
    let (second, settings) = peer(two, one);
    fs::remove_file(second.path("zones/example.com.zone")).unwrap();
    let running = second.start(&settings).await;
    let server = running.listening().outside[0];
    let primary = first.start(&config).await;
    let old = primary.listening().outside[0];
    until(&primary, old, "www.example.com", address("203.0.113.1")).await;
    until(&running, server, "www.example.com", address("203.0.113.1")).await;
    assert!(!promote(&first, false), "it is the primary");

    // A change of the old primary that nobody takes does not make it the primary again.
    primary.drain().await;
    assert!(promote(&second, false));
    first.write(
        "zones/example.com.zone",
        &ZONE.replace(" 1 2h", " 900 2h").replace("203.0.113.1\n", "203.0.113.66\n"),
    );
    let promoted = fs::read_to_string(second.path("zones/example.com.zone")).unwrap();
    assert!(promoted.contains(" 65537 "), "{promoted}");
    second.write("zones/example.com.zone", &promoted.replace("203.0.113.1\n", "203.0.113.2\n"));
    running.reload();
    until(&running, server, "www.example.com", address("203.0.113.2")).await;

    // From its first answer on it says nothing older than what was seen.
    let primary = first.start(&config).await;
    let mut seen = ask_udp(old, "www.example.com");
    assert_eq!(seen, SERVFAIL);
    let mut loads = primary.loads();
    while seen != address("203.0.113.2") {
        assert_eq!(seen, SERVFAIL);
        timeout(LIMIT, loads.changed()).await.unwrap().unwrap();
        seen = ask_udp(old, "www.example.com");
    }
    // Nor after a restart without the other one.
    running.drain().await;
    primary.drain().await;
    let primary = first.start(&config).await;
    assert_eq!(ask_udp(old, "www.example.com"), address("203.0.113.2"));

    // And back.
    assert!(promote(&first, false));
    primary.reload();
    let again = fs::read_to_string(first.path("zones/example.com.zone")).unwrap();
    assert!(again.contains(" 131074 ") || again.contains(" 131073 "), "{again}");
    assert!(first.path("zones/example.com.zone.replaced").exists());
    primary.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_behind_is_promoted_by_force_alone() {
    let (one, two) = (crate::ports::address(), crate::ports::address());
    let (first, config) = peer(one, two);
    let (second, settings) = peer(two, one);
    fs::remove_file(second.path("zones/example.com.zone")).unwrap();
    second.config(&settings);
    assert!(!promote(&second, false), "there is no copy");
    let running = second.start(&settings).await;
    let server = running.listening().outside[0];
    let primary = first.start(&config).await;
    let old = primary.listening().outside[0];
    until(&running, server, "www.example.com", address("203.0.113.1")).await;
    running.drain().await;
    first.write(
        "zones/example.com.zone",
        &ZONE.replace(" 1 2h", " 2 2h").replace("203.0.113.1\n", "203.0.113.2\n"),
    );
    primary.reload();
    until(&primary, old, "www.example.com", address("203.0.113.2")).await;
    assert!(!promote(&second, false), "the primary has a later version");
    assert!(!second.path("zones/example.com.zone").exists());
    assert!(promote(&second, true));
    // The old one is alive, and hears of it by NOTIFY.
    let running = second.start(&settings).await;
    until(&primary, old, "www.example.com", address("203.0.113.1")).await;
    primary.drain().await;
    running.drain().await;
}
