//! A reload: the settings that it changes, and those that it leaves alone.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use tokio::net::TcpStream;
use verge_edge::clock::Clock;
use verge_edge::config;
use verge_edge::run;

use super::rig::{Client, Got, Origin, Rig, response, soon};

/// An edge that was started from a file, and the file.
pub struct Edge {
    pub rig: Rig,
    file: PathBuf,
    pub text: String,
}

impl Edge {
    pub async fn start(origin: &Origin) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("edge.toml");
        let text = format!(
            "listen = [\"127.0.0.1:0\"]\n[admin]\nlisten = \"127.0.0.1:0\"\n[[site]]\nhosts = [\"site.test\"]\norigins = [\"http://{}\"]\n",
            origin.address
        );
        std::fs::write(&file, &text).unwrap();
        let clock = Clock::system();
        let running = run::start_at(config::load(&file).unwrap(), clock.clone()).await.unwrap();
        let (public, admin) = (running.listening().public[0], running.listening().admin.unwrap());
        let rig = Rig { running: Some(running), clock, public, admin, folder };
        Self { rig, file, text }
    }

    pub async fn reload(&self, text: &str) -> Got {
        std::fs::write(&self.file, text).unwrap();
        self.rig.ask("/reload", "").await
    }
}

pub async fn origin(body: &'static str) -> Arc<Origin> {
    Origin::answering(move |_| response("200 OK", "Cache-Control: max-age=60\r\n", body)).await
}

#[tokio::test]
async fn a_reload_changes_sites_and_loses_neither_connections_nor_what_is_stored() {
    let (one, two) = (origin("one").await, origin("two").await);
    let edge = Edge::start(&one).await;
    let mut kept = edge.rig.client().await;
    kept.get("/a").await.assert_forwarded();
    // Before the site that is known, and with another rule for that.
    let other = format!(
        "[[site]]\nhosts = [\"other.test\"]\norigins = [\"http://{}\"]\n[[site]]\nhosts = [\"site.test\"]",
        two.address
    );
    let text = edge.text.replace("[[site]]\nhosts = [\"site.test\"]", &other);
    let got = edge.reload(&format!("{text}bypass = [\"/b\"]\n")).await;
    assert_eq!(got.status, 200, "{got:?}");
    assert!(got.text().contains("site site.test: bypass: (not written) → [\\\"/b\\\"]"), "{}", got.text());
    kept.get("/a").await.assert_hit();
    for _ in 0..2 {
        kept.get("/b").await.assert_forwarded();
    }
    let mut client = edge.rig.client().await;
    let got = client.raw(b"GET /a HTTP/1.1\r\nHost: other.test\r\n\r\n").await;
    assert_eq!((got.status, got.text().as_str()), (200, "two"));
    // A site's stored responses stay its own, also where another site stands in its place now.
    let purged = edge.rig.ask("/purge", r#"{"site": "other.test"}"#).await;
    assert_eq!(purged.status, 200);
    kept.get("/a").await.assert_hit();
    edge.rig.ask("/purge", r#"{"site": "site.test"}"#).await;
    kept.get("/a").await.assert_forwarded();
    // A site that goes is no longer answered for.
    assert_eq!(edge.reload(&edge.text).await.status, 200);
    assert_eq!(client.raw(b"GET /a HTTP/1.1\r\nHost: other.test\r\n\r\n").await.status, 421);
}

#[tokio::test]
async fn stored_responses_stay_with_their_sites_when_sites_come_go_and_change_places() {
    let (one, two) = (origin("one").await, origin("two").await);
    let edge = Edge::start(&one).await;
    let head = edge.text.split("[[site]]").next().unwrap().to_owned();
    let site = |hosts: &str, origin: &Origin| {
        format!("[[site]]\nhosts = [{hosts}]\norigins = [\"http://{}\"]\n", origin.address)
    };
    let (first, second) = (site("\"site.test\"", &one), site("\"b.test\", \"c.test\"", &two));
    let in_service = async |sites: &[&str]| {
        assert_eq!(edge.reload(&format!("{head}{}", sites.concat())).await.status, 200);
    };
    let purge = async |site: &str| {
        let asked = format!("{{\"site\": \"{site}\"}}");
        assert_eq!(edge.rig.ask("/purge", &asked).await.status, 200);
    };
    let mut client = edge.rig.client().await;
    let mut get =
        async |host: &str| client.raw(format!("GET /a HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).await;
    in_service(&[&first, &second]).await;
    get("site.test").await.assert_forwarded();
    get("c.test").await.assert_forwarded();
    in_service(&[&second, &first]).await;
    get("site.test").await.assert_hit();
    purge("site.test").await;
    get("c.test").await.assert_hit();
    get("site.test").await.assert_forwarded();
    // The site goes and comes back: its responses are there again, and no longer if they were purged by then.
    in_service(&[&first]).await;
    in_service(&[&first, &second]).await;
    get("c.test").await.assert_hit();
    // A host that moves brings its responses along, and the site that it came from can still purge them.
    in_service(&[&site("\"b.test\"", &two), &site("\"site.test\", \"c.test\"", &one)]).await;
    get("c.test").await.assert_hit();
    purge("b.test").await;
    get("site.test").await.assert_hit();
    get("c.test").await.assert_forwarded();
}

#[tokio::test]
async fn a_config_that_is_at_fault_changes_nothing_and_is_pointed_at() {
    let one = origin("one").await;
    let edge = Edge::start(&one).await;
    edge.rig.get("/a").await.assert_forwarded();
    let got = edge
        .reload(&edge.text.replace("[[site]]", "[[site]]\nbypass = [\"/a\"]\ndefualt_ttl = \"5s\""))
        .await;
    assert_eq!(got.status, 422);
    assert!(got.text().contains("edge.toml:6:1: error: unknown key `defualt_ttl`"), "{}", got.text());
    edge.rig.get("/a").await.assert_hit();
    std::fs::remove_file(&edge.file).unwrap();
    assert_eq!(edge.rig.ask("/reload", "").await.status, 422);
    edge.rig.get("/a").await.assert_hit();
}

#[tokio::test]
async fn what_needs_a_restart_is_named_until_there_is_one() {
    let one = origin("one").await;
    let edge = Edge::start(&one).await;
    let text = edge.text.replace("[admin]", "[limits]\ndrain = \"7s\"\n[cache]\nmemory = \"64MiB\"\n[admin]");
    let memory = r#"["cache.memory: (not written) → \"64MiB\""]"#;
    let first = edge.reload(&text).await.text();
    let drain = r#"["limits.drain: (not written) → \"7s\""]"#;
    assert_eq!(first, format!("{{\"changed\":{drain},\"needs_restart\":{memory}}}"));
    let second = edge.reload(&text).await.text();
    assert_eq!(second, format!("{{\"changed\":[],\"needs_restart\":{memory}}}"));
}

#[tokio::test]
async fn a_reload_needs_the_token() {
    let one = origin("one").await;
    let edge = Edge::start(&one).await;
    let asked = Client::connect(edge.rig.admin).await.raw(b"POST /reload HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(asked.status, 401);
}

#[tokio::test]
async fn a_reload_changes_routes_their_origins_and_maintenance() {
    let (web, api) = (origin("web").await, origin("api").await);
    let edge = Edge::start(&web).await;
    let mut kept = edge.rig.client().await;
    assert_eq!(kept.get("/api/a").await.text(), "web");
    let route = format!(
        "{}[[site.route]]\npaths = [\"/api/*\"]\norigins = [\"http://{}\"]\norigin_path = \"/*\"\n",
        edge.text, api.address
    );
    let got = edge.reload(&route).await;
    assert!(
        got.text().contains("site site.test: route /api/*: origin_path: (not written)"),
        "{}",
        got.text()
    );
    // Stored responses stay; new ones come from there, on the same connection of the client.
    kept.get("/api/a").await.assert_hit();
    assert_eq!(kept.get("/api/b").await.text(), "api");
    assert!(api.seen()[0].starts_with("GET /b HTTP/1.1"), "{:?}", api.seen());
    // Origins that stay the same keep their connections.
    edge.reload(&format!("{route}default_ttl = \"1m\"\n")).await;
    assert_eq!(kept.get("/api/c").await.text(), "api");
    assert_eq!(api.connections(), 1);
    assert_eq!(edge.reload(&format!("{}maintenance = true\n", edge.text)).await.status, 200);
    assert_eq!(kept.get("/api/b").await.status, 503);
    assert_eq!(edge.reload(&edge.text).await.status, 200);
    kept.get("/api/b").await.assert_hit();
    assert_eq!(kept.get("/api/d").await.text(), "web");
}

/// An origin's connections, and what is known of its health, are its own: other origins beside it change neither.
#[tokio::test]
async fn an_origin_that_stays_keeps_its_connections_and_its_standing() {
    let (one, two) = (origin("one").await, origin("two").await);
    let edge = Edge::start(&one).await;
    edge.rig.get("/a").await;
    two.die().await;
    let both = format!("\"http://{}\", \"http://{}\"", one.address, two.address);
    let text = edge.text.replace(&format!("\"http://{}\"", one.address), &both);
    assert_eq!(edge.reload(&text).await.status, 200);
    for path in ["/b", "/c", "/d"] {
        assert_eq!(edge.rig.get(path).await.text(), "one");
    }
    assert_eq!(one.connections(), 1);
    let is_down = async || {
        let explained = edge.rig.ask("/explain", "{\"url\": \"http://site.test/\"}").await.text();
        explained.contains(&format!("{} (failing: connection_refused)", two.address))
    };
    assert!(is_down().await);
    let text = text.replace("hosts = [\"site", "balance = \"random\"\nhosts = [\"site");
    assert_eq!(edge.reload(&text).await.status, 200);
    assert!(is_down().await);
    for path in ["/e", "/f", "/g", "/h"] {
        assert_eq!(edge.rig.get(path).await.text(), "one");
    }
    assert_eq!(one.connections(), 1);
    assert_eq!(edge.reload(&format!("{text}origin_idle_timeout = \"1s\"\n")).await.status, 200);
    assert!(is_down().await);
}

/// Whatever a reload changes of the way in which an origin is asked.
#[tokio::test]
async fn an_origin_that_the_operator_has_drained_stays_so_as_long_as_it_has_its_place() {
    let (one, two) = (origin("one").await, origin("two").await);
    let edge = Edge::start(&two).await;
    let put = |name: &str| {
        let made = rcgen::generate_simple_self_signed(["app.test".to_owned()]).unwrap();
        std::fs::write(edge.rig.folder.path().join(format!("{name}.pem")), made.cert.pem()).unwrap();
        let key = made.signing_key.serialize_pem();
        std::fs::write(edge.rig.folder.path().join(format!("{name}.key")), key).unwrap();
    };
    put("ca");
    put("edge");
    let written = format!("origins = [\"http://{}\"]", two.address);
    let with = |url: &str, more: &str, settings: &str| {
        let both = format!("origins = [\"http://{}\", {{ url = \"{url}\"{more} }}]", two.address);
        edge.text.replace(&written, &format!("{settings}{both}"))
    };
    let (plain, secure) = (format!("http://{}", one.address), format!("https://{}", one.address));
    let roots = "origin_roots = \"ca.pem\"\n";
    let all = format!("{roots}origin_certificate = \"edge.pem\"\norigin_key = \"edge.key\"\n");
    assert_eq!(edge.reload(&with(&plain, "", "")).await.status, 200);
    let switch = async |drain: &str| {
        let asked = format!("{{\"origin\": \"{}\", \"drain\": {drain}}}", one.address);
        assert_eq!(edge.rig.ask("/origins", &asked).await.status, 200);
    };
    switch("true").await;
    for (number, (text, renewed)) in [
        (with(&plain, "", "origin_idle_timeout = \"3s\"\n"), None),
        (with(&plain, "", "origin_title_case = true\n"), None),
        (with(&plain, "", "origin_networks = [\"10.0.0.0/8\"]\n"), None),
        (with(&plain, "", "origin_resolvers = [\"127.0.0.1\"]\n"), None),
        (with(&plain, ", host = \"app.test\"", ""), None),
        (with(&secure, "", ""), None),
        (with(&secure, "", "origin_http2 = false\n"), None),
        (with(&secure, "", roots), None),
        (with(&secure, "", roots), Some("ca")),
        (with(&secure, "", &all), None),
        (with(&secure, "", &all), Some("edge")),
        (with(&secure, ", sni = \"app.test\"", &all), None),
    ]
    .into_iter()
    .enumerate()
    {
        renewed.into_iter().for_each(put);
        assert_eq!(edge.reload(&text).await.status, 200, "{text}");
        for path in ["a", "b", "c"] {
            assert_eq!(edge.rig.get(&format!("/{number}{path}")).await.text(), "two", "{text}");
        }
        let told = edge.rig.ask("/origins", "{}").await.text();
        assert!(told.contains("\"state\":\"drained\",\"why\":\"by the operator\""), "{told}");
    }
    assert_eq!((one.connections(), one.count()), (0, 0));
    assert_eq!(edge.reload(&with(&plain, "", "slow_start = \"0s\"\n")).await.status, 200);
    switch("null").await;
    let got = [edge.rig.get("/x").await.text(), edge.rig.get("/y").await.text()];
    assert!(got.contains(&"one".to_owned()), "{got:?}");
}

/// Puts a pipe in the place of a file, as one of a file system that does not answer: it is read once somebody writes.
fn stick(file: &Path) {
    std::fs::remove_file(file).unwrap();
    assert!(Command::new("mkfifo").arg(file).status().unwrap().success());
}

/// The other end of the pipe, as soon as it is being read.
async fn writer(file: &Path) -> File {
    loop {
        match OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(file) {
            Ok(writer) => return writer,
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ENXIO), "{error}"),
        }
        tokio::task::yield_now().await;
    }
}

/// The log of this thread.
/// The lines of a log.
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    pub fn count(&self, wanted: &str) -> usize {
        String::from_utf8_lossy(&self.0.lock().unwrap()).matches(wanted).count()
    }
}

impl io::Write for Lines {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_reload_that_waits_for_a_file_holds_up_nothing_else_and_is_told_of_once() {
    let one = origin("one").await;
    let edge = Edge::start(&one).await;
    let (lines, told) = (Lines::default(), "is still being read");
    let log = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || log.clone()).finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    stick(&edge.file);
    let text = format!("{}bypass = [\"/b\"]\n", edge.text);
    let others = async {
        let mut pipe = writer(&edge.file).await;
        assert_eq!(edge.rig.get("/a").await.text(), "one");
        assert_eq!(edge.rig.ask("/guard", "").await.status, 200);
        edge.rig.pass(5);
        assert_eq!(edge.rig.ask("/guard", "").await.status, 200);
        assert_eq!(lines.count(told), 0);
        edge.rig.pass(5);
        while lines.count(told) == 0 {
            tokio::task::yield_now().await;
        }
        edge.rig.pass(100);
        assert_eq!(edge.rig.ask("/guard", "").await.status, 200);
        pipe.write_all(text.as_bytes()).unwrap();
    };
    let (got, ()) = soon("the reload", async { tokio::join!(edge.rig.ask("/reload", ""), others) }).await;
    assert!(got.status == 200 && got.text().contains("bypass"), "{}", got.text());
    assert_eq!(lines.count(told), 1);
}

/// Another process may have the addresses by then.
#[tokio::test]
async fn a_reload_that_ends_after_the_edge_has_let_go_of_its_sockets_opens_none() {
    let one = origin("one").await;
    let mut edge = Edge::start(&one).await;
    stick(&edge.file);
    let running = edge.rig.running.take().unwrap();
    let end = async {
        let mut pipe = writer(&edge.file).await;
        let drained = tokio::spawn(running.drain());
        while TcpStream::connect(edge.rig.public).await.is_ok() {}
        pipe.write_all(edge.text.as_bytes()).unwrap();
        drop(pipe);
        drained.await.unwrap();
    };
    let (got, ()) = soon("the end", async { tokio::join!(edge.rig.ask("/reload", ""), end) }).await;
    assert!(got.status == 422 && got.text().contains("is about to end"), "{}", got.text());
}
