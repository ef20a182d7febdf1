//! Three name servers that decide together who is up, with links between them that can be cut.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::net::{TcpListener, TcpStream as Stream};
use tokio::sync::watch;

use super::*;
use crate::metrics::Status;

const POOL: &str = "$TTL 60\n@ SOA ns hostmaster 1 2h 30m 2w 5m\n@ NS ns\nns A 203.0.113.53\n\
    www A 203.0.113.1 ; verge: steer\nwww A 203.0.113.2\n";
const BOTH: [&str; 2] = ["203.0.113.1", "203.0.113.2"];
const NAMES: [&str; 3] = ["ns1.example.net", "ns2.example.net", "ns3.example.net"];

/// A way to a server that can be cut.
struct Link {
    address: SocketAddr,
    to: watch::Sender<Option<SocketAddr>>,
}

impl Link {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (to, mut seen) = watch::channel(None);
        tokio::spawn(async move {
            loop {
                let Ok((mut from, _)) = listener.accept().await else { return };
                let Some(target) = *seen.borrow_and_update() else { continue };
                let mut cut = seen.clone();
                tokio::spawn(async move {
                    let Ok(mut to) = Stream::connect::<SocketAddr>(target).await else { return };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut from, &mut to) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        Self { address, to }
    }
}

/// The certificates of all, made by one authority, and one of a stranger's.
struct Papers(CertifiedIssuer<'static, KeyPair>);

impl Papers {
    fn new() -> Self {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap())
    }

    fn write(&self, site: &Site, name: &str) {
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &self.0).unwrap();
        site.write("ca.pem", &self.0.pem());
        site.write("own.pem", &leaf.pem());
        site.write("own.key", &key.serialize_pem());
    }
}

struct Member {
    site: Site,
    server: Running,
}

impl Member {
    /// A monitor beside this name server says this of an edge.
    fn says(&self, edge: &str, word: &str) {
        // In one step: half a file is neither up nor down.
        self.site.write("new", word);
        fs::rename(self.site.path("new"), self.site.path(edge)).unwrap();
    }

    fn status(&self) -> Status {
        let mut stream = TcpStream::connect(self.server.listening().admin.unwrap()).unwrap();
        write!(stream, "GET /status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    /// A command of an operator.
    fn post(&self, path: &str) {
        let token = fs::read_to_string(self.site.path("verge-dns.token")).unwrap();
        let mut stream = TcpStream::connect(self.server.listening().admin.unwrap()).unwrap();
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}", token.trim());
        write!(stream, "{head}\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    async fn until(&self, fact: &str, is_so: impl Fn(&Status) -> bool) {
        let looking = async {
            while !is_so(&self.status()) {
                tokio::task::yield_now().await;
            }
        };
        assert!(timeout(LIMIT, looking).await.is_ok(), "{fact}: {:#?}", self.status());
    }

    async fn hears(&self, others: usize) {
        let heard = |status: &Status| status.nodes.iter().filter(|node| node.counts).count() == others;
        self.until(&format!("it hears {others}"), heard).await;
    }

    async fn answers(&self, expected: &[&str]) {
        steered::until(self.server.listening().outside[0], expected).await;
    }
}

/// The servers, and the links: from each to each.
async fn three(papers: &Papers) -> (Vec<Member>, Vec<Vec<Arc<Link>>>) {
    let mut links: Vec<Vec<Arc<Link>>> = Vec::new();
    for _ in NAMES {
        links.push(vec![Link::new().await.into(), Link::new().await.into(), Link::new().await.into()]);
    }
    let mut members = Vec::new();
    for (own, name) in NAMES.iter().enumerate() {
        let site = Site::new();
        site.write("zones/example.com.zone", POOL);
        papers.write(&site, name);
        BOTH.iter().for_each(|edge| site.write(edge, "up"));
        let nodes: Vec<String> = (0..NAMES.len())
            .map(|other| format!("\"{}#{}\"", links[own][other].address, NAMES[other]))
            .collect();
        let config = format!(
            "{CONFIG}[admin]\nlisten = \"127.0.0.1:0\"\n[steer]\ncheck = \"file://{}/{{address}}\"\ninterval = \"100ms\"\n\
             [steer.quorum]\nlisten = \"127.0.0.1:0\"\nnodes = [{}]\ncertificate = \"own.pem\"\nkey = \"own.key\"\nca = \"ca.pem\"\n",
            site.dir.path().display(),
            nodes.join(", ")
        );
        let server = site.start(&config).await;
        let at = server.listening().quorum.unwrap();
        links.iter().for_each(|from| from[own].to.send(Some(at)).unwrap());
        members.push(Member { site, server });
    }
    (members, links)
}

#[tokio::test(flavor = "multi_thread")]
async fn most_of_three_name_servers_decide_and_one_that_is_cut_off_by_itself() {
    let (members, links) = three(&Papers::new()).await;
    for member in &members {
        member.hears(2).await;
        member.answers(&BOTH).await;
    }
    // One that sees it down is overruled …
    members[0].says(BOTH[1], "down");
    let overruled = |status: &Status| {
        let pool = status.pools.iter().find(|pool| pool.view == "outside");
        let votes =
            pool.map(|pool| &pool.members[1]).filter(|member| member.state == "up").map(|it| &it.votes);
        votes.is_some_and(|votes| votes.iter().filter(|vote| vote.state == "down").count() == 1)
    };
    for member in &members {
        member.until("one of three sees it down, and it is up", overruled).await;
    }
    assert_eq!(steered::addresses(members[0].server.listening().outside[0]).len(), 2);
    // … and two overrule the third.
    members[1].says(BOTH[1], "down");
    for member in &members {
        member.answers(&BOTH[..1]).await;
    }
    // Cut off, it has its own view, and the others theirs.
    let to_and_fro = || (0..2).flat_map(|other| [&links[2][other], &links[other][2]]);
    to_and_fro().for_each(|link| link.to.send(None).unwrap());
    members[2].answers(&BOTH).await;
    members[2].hears(0).await;
    members[0].hears(1).await;
    members[0].answers(&BOTH[..1]).await;
    members[1].answers(&BOTH[..1]).await;
    // Together again.
    let at = |member: usize| members[member].server.listening().quorum;
    for (other, link) in links[2].iter().take(2).enumerate() {
        link.to.send(at(other)).unwrap();
        links[other][2].to.send(at(2)).unwrap();
    }
    members[2].answers(&BOTH[..1]).await;
    for member in members {
        member.server.drain().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_by_command_on_one_name_server_holds_on_all_and_outlasts_a_restart() {
    let (mut members, links) = three(&Papers::new()).await;
    for member in &members {
        member.hears(2).await;
    }
    members[0].post(&format!("/drain?address={}", BOTH[1]));
    for member in &members {
        member.answers(&BOTH[..1]).await;
    }
    let confirmed = |status: &Status| {
        let drains = status.pools.iter().flat_map(|pool| &pool.members).filter_map(|it| it.drain.as_ref());
        drains.clone().count() == 2
            && drains.clone().all(|drain| drain.by == "here" && drain.awaited.is_empty())
    };
    members[0].until("the others have confirmed it in both views", confirmed).await;
    // One that was drained by another is drained when it starts again, whether it hears anybody or not.
    links.iter().flat_map(|from| [&from[1]]).for_each(|link| link.to.send(None).unwrap());
    links[1].iter().for_each(|link| link.to.send(None).unwrap());
    let Member { site, server } = members.remove(1);
    server.drain().await;
    let server = site.start(&fs::read_to_string(site.path("dns.toml")).unwrap()).await;
    assert_eq!(steered::addresses(server.listening().outside[0]).len(), 1);
    server.drain().await;
    // Another one ends it.
    members[1].post(&format!("/undrain?address={}", BOTH[1]));
    for member in members {
        member.answers(&BOTH).await;
        member.server.drain().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_certificate_of_a_name_server_is_not_heard() {
    let (papers, others) = (Papers::new(), Papers::new());
    let (site, stranger) = (Site::new(), Site::new());
    let (here, there) = (Link::new().await, Link::new().await);
    papers.write(&site, NAMES[0]);
    let config = |own: &str, other: &Link, name: &str| {
        format!(
            "{CONFIG}[admin]\nlisten = \"127.0.0.1:0\"\n[steer.quorum]\nlisten = \"127.0.0.1:0\"\n\
             nodes = [\"192.0.2.1:1#{own}\", \"{}#{name}\"]\ncertificate = \"own.pem\"\nkey = \"own.key\"\nca = \"ca.pem\"\n",
            other.address
        )
    };
    let server = site.start(&config(NAMES[0], &there, NAMES[1])).await;
    let member = Member { site, server };
    here.to.send(member.server.listening().quorum).unwrap();
    // Of another authority, and of the right one, but for a name that is none of the name servers'.
    for (authority, name) in [(&others, NAMES[1]), (&papers, "www.example.net")] {
        authority.write(&stranger, name);
        stranger.write("ca.pem", &papers.0.pem());
        let server = stranger.start(&config(name, &here, NAMES[0])).await;
        there.to.send(server.listening().quorum).unwrap();
        let other = Member { site: Site::new(), server };
        other.until("it cannot tell", |status| status.nodes[0].error.is_some()).await;
        assert_eq!(member.status().nodes[0].heard, None, "{name}");
        other.server.drain().await;
    }
    papers.write(&stranger, NAMES[1]);
    let server = stranger.start(&config(NAMES[1], &here, NAMES[0])).await;
    member.hears(1).await;
    server.drain().await;
    member.server.drain().await;
}
