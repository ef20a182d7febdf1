//! Origins by name: what their name server says, and for how long that holds.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record};
use tokio::net::UdpSocket;
use verge_edge::clock::Clock;

use super::rig::{Origin, Rig, response, soon};

/// A name server with a TTL of one second for all that it knows. All other names do not exist.
struct Server {
    address: SocketAddr,
    records: Arc<Mutex<Vec<(Name, RData)>>>,
    asked: Arc<AtomicUsize>,
}

impl Server {
    async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let (records, asked) = (Arc::<Mutex<Vec<(Name, RData)>>>::default(), Arc::<AtomicUsize>::default());
        let (known, count) = (Arc::clone(&records), Arc::clone(&asked));
        tokio::spawn(async move {
            let mut bytes = [0; 1500];
            while let Ok((length, client)) = socket.recv_from(&mut bytes).await {
                let question = Message::from_vec(&bytes[..length]).unwrap();
                let query = question.queries[0].clone();
                let mut answer = Message::response(question.metadata.id, OpCode::Query);
                answer.add_query(query.clone());
                let known = known.lock().unwrap().clone();
                let of_name = || known.iter().filter(|(name, _)| name == query.name());
                if of_name().count() == 0 {
                    answer.metadata.response_code = ResponseCode::NXDomain;
                }
                for (name, data) in of_name().filter(|(_, data)| data.record_type() == query.query_type()) {
                    answer.add_answer(Record::from_rdata(name.clone(), 1, data.clone()));
                }
                count.fetch_add(1, Ordering::Relaxed);
                socket.send_to(&answer.to_vec().unwrap(), client).await.unwrap();
            }
        });
        Self { address, records, asked }
    }

    fn says(&self, records: &[(&str, RData)]) {
        let records = records.iter().map(|(name, data)| (Name::from_ascii(name).unwrap(), data.clone()));
        *self.records.lock().unwrap() = records.collect();
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// An edge that asks it.
    async fn edge(&self, origin: &str) -> Rig {
        let text = format!(
            "listen = [\"127.0.0.1:0\"]\n[[site]]\nhosts = [\"*\"]\norigins = [\"{origin}\"]\n\
             origin_resolvers = [\"{}\"]\norigin_networks = [\"127.0.0.0/8\"]\nconnect_timeout = \"20s\"\n\
             [admin]\nlisten = \"127.0.0.1:0\"\nhosts = [\"site.test\"]\n",
            self.address
        );
        Rig::of(Clock::system(), &text).await
    }
}

fn a(last: u8) -> RData {
    RData::A(A(Ipv4Addr::new(127, 0, 0, last)))
}

fn answer(body: &'static str, fields: &str) -> impl Fn(&str) -> String + Send + Sync + 'static {
    let fields = format!("Cache-Control: no-store\r\n{fields}");
    move |_| response("200 OK", &fields, body)
}

#[tokio::test]
async fn a_name_that_leads_elsewhere_is_followed_and_no_request_is_dropped() {
    let (old, new) = Origin::at_one_port([127, 0, 0, 1], [127, 0, 0, 2]).await;
    let (old, new) = (old.serving(answer("old", "")), new.serving(answer("new", "")));
    let port = old.address.port();
    let server = Server::start().await;
    server.says(&[("app.test.", a(1))]);
    let rig = server.edge(&format!("http://app.test:{port}")).await;
    let mut client = rig.client().await;
    for _ in 0..3 {
        assert_eq!(client.get("/").await.text(), "old");
    }
    let asked = server.asked();
    server.says(&[("app.test.", a(2))]);
    // Connections are kept all the time: the change is seen all the same.
    let moved = async {
        loop {
            let got = client.get("/").await;
            assert_eq!(got.status, 200, "{got:?}");
            if got.text() == "new" {
                return;
            }
        }
    };
    soon("the new address", moved).await;
    assert!(server.asked() > asked);
    let of_old = old.count();
    for _ in 0..20 {
        assert_eq!(client.get("/").await.text(), "new");
    }
    assert_eq!((old.count(), new.count() >= 21), (of_old, true));
}

#[tokio::test]
async fn a_name_that_stops_resolving_keeps_its_last_addresses() {
    let origin = Origin::answering(answer("here", "Connection: close\r\n")).await;
    let server = Server::start().await;
    server.says(&[("app.test.", a(1))]);
    let rig = server.edge(&format!("http://app.test:{}", origin.address.port())).await;
    assert_eq!(rig.get("/").await.text(), "here");
    server.says(&[]);
    let asked = server.asked();
    let mut client = rig.client().await;
    let gone = async {
        // It was asked for again, and again.
        while server.asked() < asked + 6 {
            let got = client.get("/").await;
            assert_eq!((got.status, got.text().as_str()), (200, "here"));
        }
    };
    soon("more questions", gone).await;
}

#[tokio::test]
async fn a_name_that_nobody_knows_is_told_and_found_when_it_is_there() {
    let origin = Origin::answering(answer("here", "")).await;
    let server = Server::start().await;
    let rig = server.edge(&format!("http://app.test:{}", origin.address.port())).await;
    let got = rig.get("/").await;
    assert!(got.status == 502 && got.field("proxy-status").contains("error=dns_error"), "{got:?}");
    server.says(&[("app.test.", RData::A(A(Ipv4Addr::new(169, 254, 169, 254))))]);
    let mut client = rig.client().await;
    let prohibited =
        async { while !client.get("/").await.field("proxy-status").contains("destination_ip_prohibited") {} };
    soon("the address that may not be asked", prohibited).await;
    server.says(&[("app.test.", a(1))]);
    let found = async { while client.get("/").await.status != 200 {} };
    soon("the name", found).await;
}

/// RFC 2782.
#[tokio::test]
async fn a_service_is_asked_where_its_records_say_by_their_priority() {
    let first = Origin::answering(answer("first", "Connection: close\r\n")).await;
    let second = Origin::answering(answer("second", "Connection: close\r\n")).await;
    let server = Server::start().await;
    let service = |priority, origin: &Origin, host: &str| {
        RData::SRV(SRV::new(priority, 1, origin.address.port(), Name::from_ascii(host).unwrap()))
    };
    server.says(&[
        ("_app._tcp.site.test.", service(20, &second, "b.test.")),
        ("_app._tcp.site.test.", service(10, &first, "a.test.")),
        ("a.test.", a(1)),
        ("b.test.", a(1)),
    ]);
    let rig = server.edge("http://_app._tcp.site.test").await;
    for _ in 0..3 {
        assert_eq!(rig.get("/").await.text(), "first");
    }
    first.die().await;
    for _ in 0..3 {
        assert_eq!(rig.get("/").await.text(), "second");
    }
}
