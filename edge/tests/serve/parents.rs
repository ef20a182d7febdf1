//! Edges behind edges: parents are asked in the place of the origins.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use verge_edge::clock::Clock;

use super::encrypted::certificate;
use super::rig::{Got, Origin, Rig, response};

/// An edge of this name in front of an origin, with these lines for the file's top and for the site.
async fn edge(name: &str, origin: SocketAddr, top: &str, site: &str) -> Rig {
    let text = format!(
        "name = \"{name}\"\nlisten = [\"127.0.0.1:0\"]\n{top}\n[[site]]\nhosts = [\"*\"]\n\
         origins = [\"http://{origin}\"]\n{site}\n[admin]\nlisten = \"127.0.0.1:0\"\nhosts = [\"site.test\"]\n"
    );
    Rig::of(Clock::system(), &text).await
}

const CHILDREN: &str = "children = [\"127.0.0.1\"]";

fn parents(addresses: &[SocketAddr]) -> String {
    let urls: Vec<String> = addresses.iter().map(|address| format!("\"http://{address}\"")).collect();
    format!("parents = [{}]", urls.join(", "))
}

/// A parent, and a child of it.
async fn family(origin: SocketAddr, site: &str) -> (Rig, Rig) {
    let parent = edge("shield", origin, CHILDREN, site).await;
    let child = edge("child", origin, "", &format!("{}\n{site}", parents(&[parent.public]))).await;
    (parent, child)
}

/// A cable to a parent, which can be cut.
struct Cable {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Cable {
    async fn to(parent: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut passing = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                passing.spawn(async move {
                    if let Ok(mut far) = TcpStream::connect(parent).await {
                        let _ = copy_bidirectional(&mut near, &mut far).await;
                    }
                });
            }
        });
        Self { address, task }
    }
}

/// Object numbers by their popularity (Zipf, exponent 1), as a generator of this seed gives them.
struct Zipf {
    sums: Arc<Vec<f64>>,
    state: u64,
}

impl Zipf {
    fn new(objects: u32, seed: u64) -> Self {
        let mut sum = 0.0;
        let sums = (1..=objects).map(|rank| {
            sum += 1.0 / f64::from(rank);
            sum
        });
        Self { sums: Arc::new(sums.collect()), state: seed }
    }

    fn next(&mut self) -> usize {
        self.state =
            self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let unit = (self.state >> 11) as f64 / (1_u64 << 53) as f64;
        let at = unit * self.sums.last().unwrap();
        self.sums.partition_point(|sum| *sum < at)
    }
}

const OBJECTS: u32 = 1_000;

async fn origin_of_objects() -> Arc<Origin> {
    Origin::answering(|head| {
        let path = head.split(' ').nth(1).unwrap();
        response("200 OK", "Cache-Control: max-age=600\r\n", path)
    })
    .await
}

/// Each edge is asked over so many connections for so many objects. The objects, and how many answers were wrong.
async fn load(edges: &[Rig], connections: u64, requests: usize) -> (BTreeSet<usize>, usize) {
    let mut asking = JoinSet::new();
    for (number, edge) in (0..).zip(edges) {
        for connection in 0..connections {
            let mut client = edge.client().await;
            asking.spawn(async move {
                let mut zipf = Zipf::new(OBJECTS, number * 1_000 + connection);
                let (mut asked, mut wrong) = (BTreeSet::new(), 0);
                for _ in 0..requests {
                    let object = zipf.next();
                    let path = format!("/{object}");
                    let got = client.get(&path).await;
                    wrong += usize::from(got.status != 200 || got.text() != path);
                    asked.insert(object);
                }
                (asked, wrong)
            });
        }
    }
    let mut all = (BTreeSet::new(), 0);
    for (asked, wrong) in asking.join_all().await {
        all.0.extend(asked);
        all.1 += wrong;
    }
    all
}

#[tokio::test]
async fn eight_edges_behind_parents_cost_an_origin_what_one_does() {
    let origin = origin_of_objects().await;
    let shields =
        [edge("p1", origin.address, CHILDREN, "").await, edge("p2", origin.address, CHILDREN, "").await];
    let line = parents(&shields.each_ref().map(|shield| shield.public));
    let mut edges = Vec::new();
    for number in 0..8 {
        edges.push(edge(&format!("child{number}"), origin.address, "", &line).await);
    }
    let (asked, wrong) = load(&edges, 4, 150).await;
    assert_eq!(wrong, 0);
    let fetches = origin.count();
    assert!(asked.len() > 500, "{}", asked.len());
    assert!(fetches >= asked.len() && fetches * 100 <= asked.len() * 102, "{fetches} for {}", asked.len());
}

#[tokio::test]
async fn a_parent_that_is_lost_under_load_fails_no_request() {
    let origin = origin_of_objects().await;
    let shields =
        [edge("p1", origin.address, CHILDREN, "").await, edge("p2", origin.address, CHILDREN, "").await];
    let cables = [Cable::to(shields[0].public).await, Cable::to(shields[1].public).await];
    let line = parents(&[cables[0].address, cables[1].address]);
    let mut edges = Vec::new();
    for number in 0..8 {
        edges.push(edge(&format!("child{number}"), origin.address, "", &line).await);
    }
    for cable in cables {
        let before = shields.each_ref().map(|shield| shield.public);
        let cut = async {
            // In the middle of the load: when the origin was asked some more.
            let from = origin.count();
            while origin.count() < from + 20 {
                tokio::task::yield_now().await;
            }
            cable.task.abort();
        };
        let ((_, wrong), ()) = tokio::join!(load(&edges, 4, 60), cut);
        assert_eq!(wrong, 0, "{before:?}");
        for edge in &edges {
            assert_eq!(edge.ask("/purge", "{\"all\": true}").await.status, 200);
        }
    }
    // Both are lost by now.
    assert_eq!(load(&edges, 1, 10).await.1, 0);
}

fn with_age(got: &Got) -> (u64, String) {
    (got.field("age").parse().unwrap_or(0), got.cache_status())
}

#[tokio::test]
async fn the_age_of_a_parents_response_counts_and_both_tell_what_they_did() {
    let origin = Origin::answering(|_| response("200 OK", "Cache-Control: max-age=60\r\n", "hello")).await;
    let (parent, child) = family(origin.address, "").await;
    let (_, status) = with_age(&child.get("/").await);
    assert!(status.starts_with("shield; fwd=uri-miss; fwd-status=200; stored; ttl="), "{status}");
    assert!(status.contains(", child; fwd=uri-miss; fwd-status=200; stored; ttl="), "{status}");
    parent.pass(40);
    let other = edge("other", origin.address, "", &parents(&[parent.public])).await;
    let (age, status) = with_age(&other.get("/").await);
    assert!((40..50).contains(&age), "{age}");
    assert!(status.starts_with("shield; hit; ttl=") && status.contains(", other; fwd=uri-miss"), "{status}");
    other.get("/").await.assert_hit();
    other.pass(21);
    // 61 s old by now; its parent's is no better and is validated, too.
    parent.pass(21);
    other.get("/").await.assert_forwarded();
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn a_purge_reaches_the_parents_first() {
    for (purge, fields) in [
        ("{\"url\": \"http://site.test/a\"}", ""),
        ("{\"prefix\": \"http://site.test/\"}", ""),
        ("{\"tag\": \"t1\"}", "Surrogate-Key: t1 t2\r\n"),
        ("{\"site\": \"*\"}", ""),
        ("{\"all\": true}", ""),
    ] {
        let fields = format!("Cache-Control: max-age=60\r\n{fields}");
        let origin = Origin::answering(move |_| response("200 OK", &fields, "hello")).await;
        let (_parent, child) = family(origin.address, "").await;
        for _ in 0..2 {
            assert_eq!(child.get("/a").await.field("surrogate-key"), "", "it is for caches");
        }
        assert_eq!(origin.count(), 1);
        let told = child.ask("/purge", purge).await;
        assert!(told.status == 200 && !told.text().contains("parents_missed"), "{told:?}");
        child.get("/a").await.assert_forwarded();
        assert_eq!(origin.count(), 2, "{purge}");
    }
}

#[tokio::test]
async fn a_purge_tells_the_parents_that_it_did_not_reach() {
    let origin = origin_of_objects().await;
    let gone = crate::ports::address();
    let child = edge("child", origin.address, "", &parents(&[gone])).await;
    let told = child.ask("/purge", "{\"all\": true}").await.text();
    assert!(told.contains(&format!("\"parents_missed\":[\"{gone} (connection_refused)\"]")), "{told}");
    // One that does not count it among its children.
    let stranger = edge("shield", origin.address, "", "").await;
    let child = edge("child", origin.address, "", &parents(&[stranger.public])).await;
    child.get("/a").await;
    let told = child.ask("/purge", "{\"all\": true}").await.text();
    let missed = format!("\"parents_missed\":[\"{} (status 403)\"]", stranger.public);
    assert!(told.contains(&missed), "{told}");
    let (_, status) = with_age(&child.get("/a").await);
    assert!(status.starts_with("shield; hit"), "{status}");
    // One that is no edge, or an edge of before: it passes the purge on to an origin, which says something.
    for (says, missed) in [("404 Not Found", "status 404"), ("200 OK", "it does not say that it purged")] {
        let other = Origin::answering(move |_| response(says, "", "purged")).await;
        let child = edge("child", origin.address, "", &parents(&[other.address])).await;
        let told = child.ask("/purge", "{\"all\": true}").await.text();
        let missed = format!("\"parents_missed\":[\"{} ({missed})\"]", other.address);
        assert!(told.contains(&missed), "{told}");
    }
}

#[tokio::test]
async fn a_purge_that_a_client_sends_in_a_childs_name_is_refused() {
    let origin = origin_of_objects().await;
    let (parent, child) = family(origin.address, "").await;
    parent.get("/a").await;
    let body = "{\"through\":[],\"purges\":[{\"all\":true}]}";
    for path in ["/.well-known/verge/purge", "/.well-known/verge/%70urge", "/x/../.well-known/verge/purge"] {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: site.test\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let told = child.client().await.raw(head.as_bytes()).await;
        assert!(
            told.status == 403 && told.text().contains("only children tell of purges"),
            "{path}: {told:?}"
        );
        parent.get("/a").await.assert_hit();
    }
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn edges_that_purge_in_a_circle_end_it() {
    let origin = origin_of_objects().await;
    let parent = edge("shield", origin.address, CHILDREN, "").await;
    let grandchild_of_itself = edge("child", origin.address, "", &parents(&[parent.public])).await;
    let body = "{\"through\": [\"shield\"], \"purges\": [{\"all\": true}]}";
    grandchild_of_itself.get("/a").await;
    let head = format!(
        "POST /.well-known/verge/purge HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let told = parent.client().await.raw(head.as_bytes()).await;
    assert!(told.status == 200 && told.text().contains("it came from here"), "{told:?}");
    for (body, status) in [("", 400), ("{}", 400), ("{\"through\": [], \"purges\": [{}]}", 400)] {
        let head = format!(
            "POST /.well-known/verge/purge HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        assert_eq!(parent.client().await.raw(head.as_bytes()).await.status, status, "{body}");
    }
}

/// RFC 8586.
#[tokio::test]
async fn a_loop_of_parents_is_refused_and_the_origin_asked() {
    let origin = Origin::answering(|_| response("200 OK", "", "hello")).await;
    let parent = edge("same", origin.address, CHILDREN, "").await;
    let child = edge("same", origin.address, "", &parents(&[parent.public])).await;
    let got = child.get("/").await;
    assert_eq!((got.status, got.text().as_str(), origin.count()), (200, "hello", 1));
    assert!(!origin.seen()[0].contains("same, same"), "{:?}", origin.seen());
}

/// RFC 9110 §15.5.20.
#[tokio::test]
async fn a_parent_without_the_site_is_passed_by() {
    let origin = origin_of_objects().await;
    let top = format!("name = \"shield\"\n{CHILDREN}");
    let parent = Rig::for_hosts("\"other.test\"", &[origin.address], &top, "").await;
    let child = edge("child", origin.address, "", &parents(&[parent.public])).await;
    let got = child.get("/a").await;
    assert_eq!((got.status, got.text().as_str()), (200, "/a"), "{got:?}");
}

#[tokio::test]
async fn a_parent_knows_a_path_as_clients_do_and_its_origin_as_it_wants() {
    let origin = Origin::answering(|head| {
        let path = head.split(' ').nth(1).unwrap();
        let prefix = head.lines().find_map(|line| line.strip_prefix("x-forwarded-prefix: ")).unwrap_or("");
        response("302 Found", "Location: /login\r\n", &format!("{path} below {prefix}"))
    })
    .await;
    let route = "[[site.route]]\npaths = [\"/api/*\"]\norigin_path = \"/*\"\n";
    let (parent, child) = family(origin.address, route).await;
    let gone = crate::ports::address();
    let orphan = edge("orphan", origin.address, "", &format!("{}\n{route}", parents(&[gone]))).await;
    for edge in [&child, &orphan] {
        let got = edge.get("/api/api/x").await;
        assert_eq!(got.text(), "/api/x below /api");
        assert_eq!(got.field("location"), "/api/login");
    }
    drop(parent);
}

#[tokio::test]
async fn a_parent_does_not_judge_what_its_child_let_in() {
    let origin = Origin::answering(|_| response("200 OK", "Cache-Control: max-age=60\r\n", "hello")).await;
    let rules = "rate_limit = \"2/m\"\nhttps_only = \"1h\"";
    let parent = edge("shield", origin.address, CHILDREN, rules).await;
    // Over HTTPS as a proxy in front says.
    let proxy = "trusted_proxies = [\"127.0.0.1\"]";
    let site = format!("{}\n{rules}", parents(&[parent.public]));
    let one = edge("one", origin.address, proxy, &site).await;
    let other = edge("other", origin.address, proxy, &site).await;
    let fields = "X-Forwarded-Proto: https\r\nX-Forwarded-For: 192.0.2.1\r\n";
    for (edge, path) in [(&one, "/1"), (&one, "/2"), (&other, "/3"), (&other, "/4")] {
        let got = edge.client().await.get_with(path, fields).await;
        assert_eq!(got.status, 200, "{path}: {got:?}");
        assert_eq!(got.field("strict-transport-security"), "max-age=3600");
    }
}

/// The parent's certificate is for its own name, and its clients' requests are for the site's.
#[tokio::test]
async fn a_parent_over_tls_is_asked_by_its_own_name_for_clients_of_either_scheme() {
    for (http2, protocol) in [(true, "HTTP/2"), (false, "HTTP/1.1")] {
        let origin =
            Origin::answering(|_| response("200 OK", "Cache-Control: max-age=60\r\n", "hello")).await;
        let folder = tempfile::tempdir().unwrap();
        let tls = certificate(folder.path(), &["shield.test"]);
        let top = format!("{CHILDREN}\nlisten_tls = [\"127.0.0.1:0\"]\n[tls]\n{tls}");
        let parent = edge("shield", origin.address, &top, "").await;
        let address = parent.running.as_ref().unwrap().listening().tls[0];
        let line = format!(
            "parents = [{{ url = \"https://{address}\", sni = \"shield.test\" }}]\norigin_http2 = {http2}\norigin_roots = {:?}",
            folder.path().join("chain.pem")
        );
        let proxy = "trusted_proxies = [\"127.0.0.1\"]";
        let child = edge("child", origin.address, proxy, &line).await;
        let sibling = edge("sibling", origin.address, proxy, &line).await;
        for told in ["http", "https"] {
            let fields = format!("X-Forwarded-Proto: {told}\r\n");
            for (edge, verdict) in [(&child, "shield; fwd=uri-miss; "), (&sibling, "shield; hit; ")] {
                let got = edge.client().await.get_with("/a", &fields).await;
                let status = got.cache_status();
                assert!(got.status == 200 && status.starts_with(verdict), "{protocol} {told}: {status}");
            }
        }
        assert_eq!(origin.count(), 2, "{protocol}");
        let asked = format!("verge_edge_protocol_requests_total{{protocol=\"{protocol}\"}}");
        assert_eq!(parent.metric(&asked).await, 4);
        let told = child.ask("/purge", "{\"all\": true}").await;
        assert!(told.status == 200 && !told.text().contains("parents_missed"), "{told:?}");
    }
}

#[tokio::test]
async fn what_a_child_has_stored_stands_in_when_its_parents_origin_is_gone() {
    let origin = Origin::answering(|_| response("200 OK", "Cache-Control: max-age=60\r\n", "hello")).await;
    let (parent, child) = family(origin.address, "").await;
    child.get("/").await;
    parent.ask("/purge", "{\"all\": true}").await;
    origin.die().await;
    child.pass(61);
    let got = child.get("/").await;
    assert_eq!((got.status, got.text().as_str()), (200, "hello"), "{got:?}");
    assert!(got.cache_status().ends_with("detail=disconnected"), "{got:?}");
    let got = child.get("/other").await;
    assert!(got.status > 501 && got.field("proxy-status").starts_with("child; error="), "{got:?}");
}

/// A parent never sees what is withheld, and would answer from its store.
#[tokio::test]
async fn a_request_that_is_passed_by_for_a_withheld_field_goes_past_the_parents() {
    let origin = Origin::answering(|_| response("200 OK", "Cache-Control: max-age=60\r\n", "page")).await;
    let (_parent, child) = family(origin.address, "bypass_headers = [\"x-no-cache\"]").await;
    child.get("/a").await.assert_forwarded();
    child.get("/a").await.assert_hit();
    for asked in 2..4 {
        let got = child.client().await.get_with("/a", "X-No-Cache: 1\r\n").await;
        assert_eq!((got.status, origin.count()), (200, asked), "{got:?}");
    }
}
