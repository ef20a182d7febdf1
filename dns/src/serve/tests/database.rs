//! The database of places changes, or is broken, while a server runs.

use super::steered::{addresses, until};
use super::*;
use crate::config::database::tests::of_countries;
use crate::serve::reload::first;
use crate::serve::secrets::Held;
use crate::serve::testing::logged;

const POOL: &str = "$TTL 60\n@ SOA ns hostmaster 1 2h 30m 2w 5m\n@ NS ns\nns A 203.0.113.53\n\
    www A 203.0.113.10\nwww A 203.0.113.11\ndb A 10.0.0.5\n";
const STEER: &str = r#"
[admin]
listen = "127.0.0.1:0"
[steer]
database = "geo.mmdb"
[[steer.place]]
name = "de"
countries = ["DE"]
[[steer.place]]
name = "fr"
countries = ["FR"]
[[steer.pool]]
name = "www.example.com"
members = [{ address = "203.0.113.10", place = "de" }, { address = "203.0.113.11", place = "fr" }]
"#;
const IN_GERMANY: &[&str] = &["203.0.113.10"];
const IN_FRANCE: &[&str] = &["203.0.113.11"];
const ANYWHERE: &[&str] = &["203.0.113.10", "203.0.113.11"];

fn config() -> String {
    let followed = "reload.debounce = \"10ms\"\nreload.poll = \"100ms\"";
    format!("{}{STEER}", CONFIG.replace("reload.watch = false", followed))
}

impl Site {
    /// With a database that is put in place as a whole.
    fn put_database(&self, bytes: &[u8]) {
        fs::write(self.path("new"), bytes).unwrap();
        fs::rename(self.path("new"), self.path("geo.mmdb")).unwrap();
    }

    fn clients_in(&self, country: &'static str) {
        self.put_database(&of_countries(&[("127.0.0.0/8", country)]));
    }
}

/// Asks until this client is inside no more.
async fn until_outside(inside: SocketAddr) {
    let asked = async {
        while ask_udp(inside, "db.example.com") != NXDOMAIN {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, asked).await.expect("the edit is in force");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_database_puts_no_edit_of_the_config_into_force() {
    let site = Site::new();
    site.write("zones/example.com.zone", POOL);
    site.clients_in("DE");
    let running = site.start(&config()).await;
    let Listening { outside, inside, .. } = running.listening().clone();
    assert_eq!(addresses(outside[0]), [Ipv4Addr::new(203, 0, 113, 10)]);
    assert_eq!(ask_udp(inside[0], "db.example.com"), address("10.0.0.5"));
    site.write("dns.toml", &config().replace("127.0.0.0/8", "192.0.2.0/24"));
    site.clients_in("FR");
    until(outside[0], IN_FRANCE).await;
    assert_eq!(ask_udp(inside[0], "db.example.com"), address("10.0.0.5"), "nobody has asked for a reload");
    running.reload();
    until_outside(inside[0]).await;
    running.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_database_stops_neither_the_start_nor_a_reload_and_is_tried_once() {
    let site = Site::new();
    site.write("zones/example.com.zone", POOL);
    site.put_database(b"junk");
    let running = site.start(&config()).await;
    let Listening { outside, inside, admin, .. } = running.listening().clone();
    let metric = || {
        let text = get(admin.unwrap(), "/metrics");
        text.lines().find(|line| line.starts_with("verge_dns_steer_database_read ")).map(str::to_owned)
    };
    until(outside[0], ANYWHERE).await;
    assert_eq!(metric().unwrap(), "verge_dns_steer_database_read 0");
    site.clients_in("DE");
    until(outside[0], IN_GERMANY).await;
    assert_eq!(metric().unwrap(), "verge_dns_steer_database_read 1");
    // It is broken again, which is told once.
    let mut loads = running.loads();
    let ended = timeout(LIMIT, loads.wait_for(|loads| loads.generation == 2)).await.unwrap().unwrap().ended;
    site.put_database(b"more junk");
    timeout(LIMIT, loads.wait_for(|loads| loads.ended > ended)).await.unwrap().unwrap();
    assert_eq!(metric().unwrap(), "verge_dns_steer_database_read 0");
    let edited = POOL.replace("hostmaster 1", "hostmaster 2");
    save(&site.path("zones/example.com.zone"), &edited, Save::Rename);
    running.loader.signals.send(Signal::Changed).unwrap();
    timeout(LIMIT, loads.wait_for(|loads| loads.ended > ended + 1)).await.unwrap().unwrap();
    assert_eq!(loads.borrow().ended, ended + 2, "the zone alone was new");
    assert_eq!(addresses(outside[0]), [Ipv4Addr::new(203, 0, 113, 10)], "what was read before stays");
    // Another change of the config is taken in, and the networks stay.
    site.write("dns.toml", &config().replace("127.0.0.0/8", "192.0.2.0/24"));
    running.reload();
    until_outside(inside[0]).await;
    assert_eq!(addresses(outside[0]), [Ipv4Addr::new(203, 0, 113, 10)]);
    site.clients_in("FR");
    until(outside[0], IN_FRANCE).await;
    running.drain().await;
}

#[test]
fn a_start_without_its_database_says_so_once() {
    let site = Site::new();
    let config = site.config(&config());
    let lines = logged(|| drop(first(&config, Held::default(), None).unwrap()));
    let errors: Vec<&String> = lines.iter().filter(|line| line.contains("ERROR")).collect();
    assert!(errors.len() == 1 && errors[0].contains("the database of places cannot be read"), "{lines:?}");
    assert!(lines.concat().contains("geo.mmdb"), "{lines:?}");
}
