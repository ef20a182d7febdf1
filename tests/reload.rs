//! Zones change while they are served: each query gets an answer, old or new; a broken edit changes nothing.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{RData, RecordType};
use verge_stack::dns_client::{Question, over_tcp, over_udp};

/// How many edits are made while clients ask.
const EDITS: u8 = 40;

#[tokio::test(flavor = "multi_thread")]
async fn no_query_is_lost_while_a_zone_is_edited_again_and_again() {
    let served = Served::new(&[("example.net", &version(0))]).await;
    let done = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicUsize::new(0));
    let clients = [Transport::Udp, Transport::Udp, Transport::Tcp].map(|transport| {
        tokio::spawn(keep_asking(transport, served.address(), done.clone(), answered.clone()))
    });
    for number in 1..=EDITS {
        let before = answered.load(Ordering::SeqCst);
        served.edit("example.net", &version(number)).await;
        let served_now = served.ask("www.example.net", RecordType::A).await;
        assert_eq!(address_in(&served_now), number, "what was reported as served is served");
        // There is asking between any two edits.
        while answered.load(Ordering::SeqCst) < before + 2 {
            tokio::task::yield_now().await;
        }
    }
    done.store(true, Ordering::SeqCst);
    for client in clients {
        let versions = client.await.unwrap();
        assert!(versions.is_sorted(), "a client saw an older version after a newer one: {versions:?}");
        assert!(versions.len() > 1);
    }
    served.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_edit_changes_nothing_and_does_not_stop_the_others() {
    let served = Served::new(&[("example.net", &version(1)), ("example.org", &version(1))]).await;
    let names = ["www.example.net", "example.net", "nothing.example.net", "below.www.example.net"];
    let before = served.bytes(&names).await;
    for broken in [
        "$TTL 60\n@ SOA ns1 hostmaster 9 2h 30m 2w 60\n@ NS ns1\nns1 A 192.0.2.256\n",
        "this is no zone",
        "",
        "$TTL 60\nwww A 192.0.2.9\n",
        "@ SOA ( never closed",
    ] {
        served.edit("example.net", broken).await;
        assert_eq!(served.bytes(&names).await, before, "after {broken:?}");
    }
    served.edit("example.org", &version(2)).await;
    assert_eq!(address_in(&served.ask("www.example.org", RecordType::A).await), 2);
    assert_eq!(served.bytes(&names).await, before);

    served.edit("example.net", &version(3)).await;
    assert_eq!(address_in(&served.ask("www.example.net", RecordType::A).await), 3);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_that_never_had_a_good_version_answers_servfail_for_its_whole_subtree() {
    let served = Served::new(&[("example.net", "this is no zone"), ("example.org", &version(1))]).await;
    for name in ["example.net", "www.example.net", "a.b.example.net"] {
        assert_eq!(code_of(&served.ask(name, RecordType::A).await), ResponseCode::ServFail, "{name}");
    }
    assert_eq!(code_of(&served.ask("www.example.org", RecordType::A).await), ResponseCode::NoError);
    assert_eq!(code_of(&served.ask("www.example.com", RecordType::A).await), ResponseCode::Refused);
    served.edit("example.net", &version(4)).await;
    assert_eq!(address_in(&served.ask("www.example.net", RecordType::A).await), 4);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_comes_or_goes_brings_or_takes_its_zone() {
    let served = Served::new(&[("example.net", &version(1))]).await;
    served.edit("example.org", &version(2)).await;
    assert_eq!(address_in(&served.ask("www.example.org", RecordType::A).await), 2);
    served.remove("example.org").await;
    assert_eq!(code_of(&served.ask("www.example.org", RecordType::A).await), ResponseCode::Refused);
    assert_eq!(address_in(&served.ask("www.example.net", RecordType::A).await), 1);
    served.end().await;
}

#[derive(Clone, Copy)]
enum Transport {
    Udp,
    Tcp,
}

/// Asks until it is told to stop and returns the versions that it saw, in order.
async fn keep_asking(
    transport: Transport,
    server: SocketAddr,
    done: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
) -> Vec<u8> {
    let mut versions = Vec::new();
    let mut id = 0_u16;
    while !done.load(Ordering::SeqCst) {
        id = id.wrapping_add(1);
        let packet = Question::plain(id, "www.example.net", RecordType::A.into()).to_bytes();
        let answer = match transport {
            Transport::Udp => over_udp(server, &packet).await,
            Transport::Tcp => over_tcp(server, &packet).await,
        };
        let answer = Message::from_vec(&answer.expect("each query gets an answer")).unwrap();
        assert_eq!(answer.metadata.id, id);
        versions.push(address_in(&answer));
        answered.fetch_add(1, Ordering::SeqCst);
    }
    versions
}

fn version(number: u8) -> String {
    format!(
        "$TTL 60\n@ SOA ns1 hostmaster {number} 2h 30m 2w 60\n@ NS ns1\nns1 A 192.0.2.53\nwww A 198.51.100.{number}\n"
    )
}

/// The version that an answer came from: its one address ends in it.
fn address_in(answer: &Message) -> u8 {
    match answer.answers.iter().map(|record| &record.data).collect::<Vec<_>>().as_slice() {
        [RData::A(address)] => address.0.octets()[3],
        other => panic!("one address expected: {other:?} in {answer}"),
    }
}

fn code_of(answer: &Message) -> ResponseCode {
    answer.metadata.response_code
}

// --- The server ----------------------------------------------------------------------------------------------------

struct Served {
    running: verge_dns::serve::Running,
    zones: tempfile::TempDir,
}

impl Served {
    async fn new(zones: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (apex, text) in zones {
            std::fs::write(folder.path().join(format!("{apex}.zone")), text).unwrap();
        }
        let text = "zones = \".\"\nlisten = [\"127.0.0.1:0\"]\n";
        let config = verge_dns::config::parse(text, folder.path(), Path::new("dns.toml")).unwrap();
        Self { running: verge_dns::serve::start(config).await.unwrap(), zones: folder }
    }

    fn address(&self) -> SocketAddr {
        self.running.listening().outside[0]
    }

    /// Replaces a zone file as editors do, by a rename, and returns when the result is in service.
    async fn edit(&self, apex: &str, text: &str) {
        let new = self.zones.path().join("edited");
        std::fs::write(&new, text).unwrap();
        self.change(|| std::fs::rename(new, self.file(apex)).unwrap()).await;
    }

    /// The reload on demand takes the zone away; the watch alone would keep it for a while.
    async fn remove(&self, apex: &str) {
        let mut loads = self.running.loads();
        std::fs::remove_file(self.file(apex)).unwrap();
        self.running.reload();
        while code_of(&self.ask(apex, RecordType::SOA).await) != ResponseCode::Refused {
            loads.changed().await.unwrap();
        }
    }

    /// Whichever comes first reads the change: the watch on the folder or our request. The other finds nothing new.
    async fn change(&self, make: impl FnOnce()) {
        let mut loads = self.running.loads();
        let before = loads.borrow_and_update().ended;
        make();
        self.running.reload();
        loads.wait_for(|loads| loads.ended > before).await.unwrap();
    }

    fn file(&self, apex: &str) -> std::path::PathBuf {
        self.zones.path().join(format!("{apex}.zone"))
    }

    async fn ask(&self, name: &str, rtype: RecordType) -> Message {
        let packet = Question::plain(1, name, rtype.into()).to_bytes();
        Message::from_vec(&over_udp(self.address(), &packet).await.unwrap()).unwrap()
    }

    async fn bytes(&self, names: &[&str]) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        for name in names {
            for rtype in [RecordType::A, RecordType::SOA, RecordType::NS] {
                let packet = Question::plain(1, name, rtype.into()).to_bytes();
                all.push(over_udp(self.address(), &packet).await.unwrap());
            }
        }
        all
    }

    async fn end(self) {
        self.running.drain().await;
    }
}
