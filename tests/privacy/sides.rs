//! An example of each rule about who is inside, and about what else could tell of hidden data: D14, D16, V1 to V5, V8, V9 and S2.
//! V7 has its own among the server's, since no socket that this program makes takes mapped addresses.
//!
//! Each is a question of an outsider, who gets the bytes of a server that has nothing to hide, and one of an insider, who sees that
//! there is something.

use std::future::Future;

use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::header::CACHE_CONTROL;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;
use verge_stack::dns_client::carrier::base64url;

use super::*;

/// A hidden name, and its address.
const HIDDEN: &str = "secret-host.rules.example.net";
const HIDDEN_ADDRESS: &[u8] = &[10, 66, 6, 2];
/// As long as the hidden one, and nowhere.
const ABSENT: &str = "absent-host.rules.example.net";
/// No test waits for this; one that would hang ends.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(20);

fn shows(answer: &[u8]) -> bool {
    contains(answer, HIDDEN_ADDRESS)
}

/// A question for the hidden name's address, with an OPT record that has these options.
fn question(options: &[u8]) -> Vec<u8> {
    let rtype = RecordType::A.into();
    Question { payload_bytes: Some(1232), options, ..Question::plain(0x5a5a, HIDDEN, rtype) }.to_bytes()
}

async fn rules() -> Served {
    Served::new(&[(ZONE, &as_written()), (INTERNAL, INTERNAL_ZONE)]).await
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(LIMIT, what).await.expect("it is in time")
}

/// With question marks in the place of the first label of `name`.
fn without_name(answer: &[u8], name: &str) -> Vec<u8> {
    let mut answer = answer.to_vec();
    let label = name.split('.').next().unwrap().as_bytes();
    while let Some(at) = answer.windows(label.len()).position(|window| window == label) {
        answer[at..at + label.len()].fill(b'?');
    }
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn d14_what_is_hidden_is_answered_as_what_is_not_there() {
    let lan =
        "$TTL 300\n@ SOA ns hostmaster 1 2h 30m 2w 60\n@ NS ns\nns A 10.66.6.2\nsecret-host A 10.66.6.2\n";
    let zones = [(ZONE, &*as_written()), (INTERNAL, INTERNAL_ZONE), ("secret-zone.lan", lan)];
    let served = Served::new(&zones).await;
    for carrier in Carrier::ALL {
        let mut outside = served.client(carrier, View::Outside).await;
        let mut inside = served.client(carrier, View::Inside).await;
        for (hidden, absent) in [
            (HIDDEN, ABSENT),
            ("secret.corp.rules.example.net", "absent.corp.rules.example.net"),
            ("secret-zone.lan", "absent-zone.lan"),
            ("secret-host.secret-zone.lan", "absent-host.absent-zone.lan"),
        ] {
            for (rtype, payload_bytes) in
                [(1, None), (1, Some(1232)), (6, Some(1232)), (16, None), (255, Some(1232))]
            {
                let packet =
                    |name| Question { payload_bytes, ..Question::plain(0x5a5a, name, rtype) }.to_bytes();
                let plain = |answer: Vec<u8>, names: &str| {
                    names.split('.').fold(answer, |answer, label| without_name(&answer, label))
                };
                let found = plain(answer(&mut outside, &packet(hidden)).await, hidden);
                let expected = plain(answer(&mut outside, &packet(absent)).await, absent);
                assert_eq!(found, expected, "{hidden} {rtype} {payload_bytes:?} over {carrier:?}");
                let (there, nowhere) =
                    (answer(&mut inside, &packet(hidden)).await, answer(&mut inside, &packet(absent)).await);
                assert_ne!(plain(there, hidden), plain(nowhere, absent), "{hidden} {rtype}, asked inside");
            }
        }
    }
    served.end().await;
}

/// A zone with this serial, and more records.
fn moving(serial: u32, records: &str) -> String {
    format!("$TTL 300\n@ SOA ns hostmaster {serial} 2h 30m 2w 60\n@ NS ns\nns A 192.0.2.1\n{records}")
}

#[tokio::test(flavor = "multi_thread")]
async fn d16_an_edit_of_what_is_hidden_moves_nothing_outside() {
    const MOVES: &str = "moves.example.net";
    let keys = "[keys.out]\nsecret_file = \"out.key\"\nview = \"outside\"\n[[transfer]]\nkeys = [\"out\"]\n";
    let served = Served::with(&[(MOVES, &moving(1, ""))], keys).await;
    // EXPIRE (RFC 7314) and ZONEVERSION (RFC 9660).
    let options = [0, 9, 0, 0, 0, 19, 0, 0];
    let asked =
        Question { payload_bytes: Some(1232), options: &options, ..Question::plain(1, MOVES, 6) }.to_bytes();
    let both = async || {
        let mut outside = served.client(Carrier::Tcp, View::Outside).await;
        let mut inside = served.client(Carrier::Tcp, View::Inside).await;
        (answer(&mut outside, &asked).await, answer(&mut inside, &asked).await)
    };
    let edit = async |generation, text: &str| {
        let mut loads = served.running.loads();
        served.write(MOVES, text);
        served.running.reload();
        soon(loads.wait_for(|loads| loads.generation >= generation)).await.unwrap();
    };
    let (first, first_inside) = both().await;
    assert!(first.ends_with(&[0, 0]), "the OPT record has no options: {first:x?}");
    edit(2, &moving(2, "db A 10.66.6.2\n")).await;
    let (second, second_inside) = both().await;
    assert_eq!(first, second, "only hidden records have changed");
    assert_ne!(first_inside, second_inside);
    edit(3, &moving(3, "db A 10.66.6.2\nwww A 192.0.2.2\n")).await;
    assert_ne!(both().await.0, second, "public records have changed");
    served.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn v1_a_client_subnet_makes_nobody_an_insider() {
    let served = rules().await;
    // RFC 7871 §6: family 1, /32, scope 0; the insider's address, one of the private space, and that of a stranger.
    let claim = |address: [u8; 4]| [&[0, 8, 0, 8, 0, 1, 32, 0][..], &address].concat();
    let claims = [claim([127, 0, 0, 2]), claim([10, 0, 0, 1]), claim([192, 0, 2, 9])];
    for carrier in Carrier::ALL {
        for view in [View::Outside, View::Inside] {
            let mut client = served.client(carrier, view).await;
            let plain = answer(&mut client, &question(b"")).await;
            assert_eq!(shows(&plain), matches!(view, View::Inside), "{view:?} over {carrier:?}");
            for claim in &claims {
                let claiming = answer(&mut client, &question(claim)).await;
                assert_eq!(claiming, plain, "{view:?} over {carrier:?}: {claim:x?}");
            }
        }
    }
    served.end().await;
}

/// The header of a proxy that speaks for the insider, by text and by bytes.
fn proxied() -> [Vec<u8>; 2] {
    let text = b"PROXY TCP4 127.0.0.2 127.0.0.1 4000 53\r\n".to_vec();
    let head = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c";
    [text, [&head[..], &[127, 0, 0, 2, 127, 0, 0, 1, 15, 160, 0, 53]].concat()]
}

#[tokio::test(flavor = "multi_thread")]
async fn v2_the_header_of_a_proxy_is_no_header_and_makes_nobody_an_insider() {
    let served = rules().await;
    let stranger = SocketAddr::new(STRANGER.parse().unwrap(), 0);
    for header in proxied() {
        for server in [served.outside(), served.listener(View::Inside)] {
            // All that comes is read until the end of the connection.
            let mut stream = TcpStream::connect(server).await.unwrap();
            let length = u16::try_from(question(b"").len()).unwrap().to_be_bytes();
            stream.write_all(&[&header[..], &length, &question(b"")].concat()).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut said = Vec::new();
            // A reset ends it, too.
            let _ = soon(stream.read_to_end(&mut said)).await;
            assert!(!shows(&said), "{server}: {said:x?}");
            // Answers of one socket come in the order of its questions, since one loop has them.
            let socket = UdpSocket::bind(stranger).await.unwrap();
            socket.connect(server).await.unwrap();
            socket.send(&[&header[..], &question(b"")].concat()).await.unwrap();
            socket.send(&question(b"")).await.unwrap();
            let mut buffer = vec![0; 65_535];
            loop {
                let bytes = soon(socket.recv(&mut buffer)).await.unwrap();
                assert!(!shows(&buffer[..bytes]), "{server}: {:x?}", &buffer[..bytes]);
                if buffer[..2] == [0x5a, 0x5a] {
                    break;
                }
            }
        }
    }
    let mut insider = served.client(Carrier::Udp, View::Inside).await;
    assert!(shows(&answer(&mut insider, &question(b"")).await));
    served.end().await;
}

/// Headers by which a proxy in front may speak for this client.
fn forwarded(client: &str) -> [(&'static str, String); 4] {
    [
        ("x-forwarded-for", client.to_owned()),
        ("x-real-ip", client.to_owned()),
        ("forwarded", format!("for={client}")),
        ("true-client-ip", client.to_owned()),
    ]
}

/// How long the answer to a GET may be kept, and the answer; asked from this address, for a client that the headers tell, if they do.
async fn get(served: &Served, view: View, (from, told): (&str, Option<&str>)) -> (String, Vec<u8>) {
    let asker = served.asker_at(from);
    let Connection::Http1(mut send, _) = served.connect(&asker, Carrier::Get1, view).await else {
        panic!("it is HTTP/1.1")
    };
    let path = format!("https://localhost/dns-query?dns={}", base64url(&question(b"")));
    let mut request = Request::get(path).header("host", "localhost");
    for (name, value) in told.into_iter().flat_map(forwarded) {
        request = request.header(name, value);
    }
    let response = soon(send.send_request(request.body(Full::default()).unwrap())).await.unwrap();
    let kept = response.headers()[CACHE_CONTROL].to_str().unwrap().to_owned();
    (kept, soon(response.into_body().collect()).await.unwrap().to_bytes().to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn v3_the_headers_of_a_reverse_proxy_make_nobody_an_insider() {
    let served = rules().await;
    for (view, from, told, expected) in [
        (View::Outside, STRANGER, INSIDER, false),
        (View::Outside, INSIDER, INSIDER, false),
        // Loopback, where a proxy is, is not inside by itself.
        (View::Inside, STRANGER, INSIDER, false),
        (View::Inside, INSIDER, STRANGER, true),
    ] {
        let (plain, claiming) =
            tokio::join!(get(&served, view, (from, None)), get(&served, view, (from, Some(told))));
        assert_eq!(plain, claiming, "{view:?}, {from} for {told}");
        assert_eq!(shows(&claiming.1), expected, "{view:?}, {from} for {told}");
    }
    served.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn v4_no_shared_cache_keeps_what_an_insider_may_have_asked_for() {
    let served = rules().await;
    for (view, from, kept, expected) in [
        (View::Outside, STRANGER, "max-age=60", false),
        (View::Outside, INSIDER, "max-age=60", false),
        (View::Inside, STRANGER, "private, no-store", false),
        (View::Inside, INSIDER, "private, no-store", true),
    ] {
        let (found, answer) = get(&served, view, (from, None)).await;
        assert_eq!((&*found, shows(&answer)), (kept, expected), "{view:?} from {from}");
    }
    served.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn v5_the_source_address_of_an_insider_counts_on_no_listener_of_the_outside() {
    let served = rules().await;
    let [insider, stranger] = [INSIDER, STRANGER].map(|address| served.asker_at(address));
    for carrier in Carrier::ALL {
        let ask = async |asker: &Asker, view: View| {
            let mut client = served.connect(asker, carrier, view).await;
            answer(&mut client, &question(b"")).await
        };
        let spoofed = ask(&insider, View::Outside).await;
        assert_eq!(spoofed, ask(&stranger, View::Outside).await, "{carrier:?}");
        assert!(!shows(&spoofed), "{carrier:?}");
        // Nor does the listener alone make anybody an insider.
        assert!(!shows(&ask(&stranger, View::Inside).await), "{carrier:?}");
        assert!(shows(&ask(&insider, View::Inside).await), "{carrier:?}");
    }
    served.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn v8_an_answer_to_an_insider_is_kept_for_no_outsider_and_the_reverse() {
    let served = rules().await;
    let wild =
        Question { payload_bytes: Some(1232), ..Question::plain(0x5a5a, "secret.wild.rules.example.net", 1) };
    for carrier in Carrier::ALL {
        for packet in [question(b""), wild.to_bytes()] {
            let mut all = Vec::new();
            for view in [View::Outside, View::Inside, View::Outside, View::Inside] {
                all.push(answer(&mut served.client(carrier, view).await, &packet).await);
            }
            assert_eq!((&all[0], &all[1]), (&all[2], &all[3]), "{carrier:?}");
            assert_ne!(all[0], all[1], "{carrier:?}");
        }
    }
    served.end().await;
}

/// A message with a TSIG record of this key (RFC 8945 §4.2) that nobody has made who knows a secret.
fn signed(packet: &[u8], key: &str, unix_seconds: u64) -> Vec<u8> {
    let name = |text: &str| {
        let labels = text.split('.').flat_map(|label| [&[label.len() as u8][..], label.as_bytes()].concat());
        labels.chain([0]).collect::<Vec<u8>>()
    };
    let mac = [0x77; 32];
    let rdata = [
        &name("hmac-sha256")[..],
        &unix_seconds.to_be_bytes()[2..],
        &[1, 44, 0, 32],
        &mac,
        &packet[..2],
        &[0, 0, 0, 0],
    ]
    .concat();
    let length = u16::try_from(rdata.len()).unwrap().to_be_bytes();
    let mut message = [packet, &name(key), &[0, 250, 0, 255, 0, 0, 0, 0], &length, &rdata].concat();
    message[11] += 1;
    message
}

#[tokio::test(flavor = "multi_thread")]
async fn v9_a_signature_tells_nobody_whether_there_is_such_a_key() {
    const KEYS: &str = "[keys.secret-key]\nsecret_file = \"out.key\"\nview = \"inside\"\n[[transfer]]\nkeys = [\"secret-key\"]\n";
    let served = Served::with(&[(ZONE, &as_written()), (INTERNAL, INTERNAL_ZONE)], KEYS).await;
    let seconds = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    for carrier in Carrier::ALL {
        for (view, rtype) in [(View::Outside, 1), (View::Outside, 252), (View::Inside, 1)] {
            // One over QUIC has the ID 0, which the signature is over.
            let mut packet = Question::plain(0x5a5a, HIDDEN, rtype).to_bytes();
            if carrier == Carrier::Quic {
                packet[..2].fill(0);
            }
            let mut answers = Vec::new();
            for key in ["secret-key", "absent-key"] {
                let mut client = served.client(carrier, view).await;
                let answer = client.ask(&signed(&packet, key, seconds)).await.unwrap();
                assert!(!shows(&answer), "{carrier:?} {view:?} {rtype} {key}: {answer:x?}");
                answers.push(without_name(&answer, key));
            }
            assert_eq!(answers[0], answers[1], "{carrier:?} {view:?} {rtype}");
        }
    }
    let mut insider = served.client(Carrier::Udp, View::Inside).await;
    assert!(shows(&answer(&mut insider, &question(b"")).await));
    served.end().await;
}

/// The answer of the operator's listener to this request, with its head.
async fn operated(admin: SocketAddr, path: &str, token: Option<&str>) -> String {
    let mut stream = TcpStream::connect(admin).await.unwrap();
    let token = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{token}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut said = Vec::new();
    soon(stream.read_to_end(&mut said)).await.unwrap();
    String::from_utf8(said).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn s2_no_page_that_anybody_may_read_names_what_is_hidden() {
    // Reached from other machines, too.
    const ADMIN: &str = "[admin]\nlisten = \"0.0.0.0:0\"\ntoken_file = \"token\"\n";
    const BROKEN: &str = "secret-zone.lan";
    let zones = [(ZONE, &*as_written()), (INTERNAL, INTERNAL_ZONE), (BROKEN, "@ SOA broken\n")];
    let served = Served::with(&zones, ADMIN).await;
    let token = served.read("token");
    let token = token.trim();
    let port = served.running.listening().admin.unwrap().port();
    let admin = SocketAddr::new(STRANGER.parse().unwrap(), port);
    let explained = format!("/explain?name={HIDDEN}&type=A&from={INSIDER}");
    let named = ["secret-", "10.66.", INTERNAL, BROKEN];
    let is_named = |said: &str| named.iter().any(|part| said.contains(part));
    let open =
        ["/", "/status", "/metrics", "/hidden", "/readyz", "/healthz", "/page.js", "/nothing", &*explained];
    for path in open {
        let said = operated(admin, path, None).await;
        assert!(said.starts_with("HTTP/1.1 ") && !is_named(&said), "{path}: {said}");
    }
    for path in ["/", "/status", "/metrics", "/hidden", "/readyz", &*explained] {
        let said = operated(admin, path, Some(token)).await;
        assert!(is_named(&said), "{path}: {said}");
    }
    served.end().await;
}
