//! No hidden address in any byte that is sent to an outside client: the promise of the project, over real sockets.
//!
//! The zone below exercises each rule. Its author's hidden lines are *labelled*, so that the oracle does not reuse the
//! rules: a second server gets the zone without the labelled lines, and whatever an outsider asks, both servers must
//! answer the same bytes.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

#[path = "privacy/sides.rs"]
mod sides;

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use rustls::pki_types::CertificateDer;
use verge_dns::client::{Listener, Transport};
use verge_stack::dns_client::carrier::{Asker, Carrier, Connection};
use verge_stack::dns_client::{Question, over_tcp_from, over_udp_from};

/// Lines that end in `;; hidden` are for the inside only; after `;; hidden, instead:` stands what an outsider's zone
/// has in their place. Hidden names and texts contain `secret`, hidden addresses stand nowhere else.
const RULES_ZONE: &str = r#"
$TTL 300
@ SOA secret-master hostmaster 7 2h 30m 2w 60    ;; hidden, instead: @ SOA ns1 hostmaster 7 2h 30m 2w 60
@                   NS    ns1
@                   NS    secret-ns                        ;; hidden
@                   MX    10 mail
@                   MX    20 secret-mail                   ;; hidden
@                   TXT   "v=spf1 mx -all"
ns1                 A     192.0.2.1
mail                A     192.0.2.6
secret-master       A     10.66.0.1                        ;; hidden
secret-ns           A     10.66.0.2                        ;; hidden
secret-mail         A     10.66.6.1                        ;; hidden

; D1: the special-purpose registries.
d1-secret-a         A     10.66.1.1                        ;; hidden
d1-secret-b         A     172.16.66.2                      ;; hidden
d1-secret-b         A     192.168.66.3                     ;; hidden
d1-secret-b         A     127.66.0.4                       ;; hidden
d1-secret-b         A     169.254.66.5                     ;; hidden
d1-secret-b         A     100.64.66.6                      ;; hidden
d1-secret-b         A     198.18.66.7                      ;; hidden
d1-secret-b         A     192.0.0.66                       ;; hidden
d1-secret-b         A     0.66.66.8                        ;; hidden
d1-secret-c         AAAA  fd66::66:1                       ;; hidden
d1-secret-c         AAAA  fe80::66:2                       ;; hidden
d1-secret-c         AAAA  fec0::66:3                       ;; hidden
d1-secret-c         AAAA  100::66:4                        ;; hidden
d1-secret-c         AAAA  5f00::66:5                       ;; hidden
d1-secret-generic   TYPE1 \# 4 0A42010A                    ;; hidden

; D2: IPv4 inside IPv6.
d2-secret-mapped    AAAA  ::ffff:10.66.2.1                 ;; hidden
d2-secret-nat64     AAAA  64:ff9b::10.66.2.2               ;; hidden
d2-secret-6to4      AAAA  2002:a42:203::1                  ;; hidden
d2-secret-isatap    AAAA  2001:db8::200:5efe:10.66.2.4     ;; hidden
d2-secret-compat    AAAA  ::10.66.2.5                      ;; hidden
d2-secret-teredo    AAAA  2001:0:c000:201::f5bd:fdf9       ;; hidden
d2-public           AAAA  2002:c000:206::1

; D5: a set that mixes both.
mixed               A     192.0.2.5
mixed               A     10.66.5.1                        ;; hidden
split               A     192.0.2.55
split               AAAA  2001:db8::55
split               A     10.66.5.2                        ;; hidden

; D6: names of hidden hosts in RDATA.
secret-host         A     10.66.6.2                        ;; hidden
secret-alias        CNAME secret-host                      ;; hidden
secret-chain        CNAME secret-alias                     ;; hidden
_ldap._tcp          SRV   0 0 389 secret-host              ;; hidden
_web._tcp           SRV   0 0 443 www
_web._tcp           SRV   0 0 444 secret-host              ;; hidden
www                 CNAME web
web                 A     192.0.2.66

; D7: what else stands at a hidden host and below its underscores.
secret-host         TXT   "secret-text-at-the-host"        ;; hidden
_x._tcp.secret-host TXT   "secret-text-below-it"           ;; hidden

; D8: the names between go, too.
a.b.secret-parent   A     10.66.8.1                        ;; hidden
public.c.parent     A     192.0.2.8
secret.d.parent     A     10.66.8.2                        ;; hidden

; D9: a public wildcard answers for a hidden name.
*.wild              A     192.0.2.9
secret.wild         A     10.66.9.1                        ;; hidden
x.secret2.wild      A     10.66.9.2                        ;; hidden

; D10: a hidden wildcard.
*.inner             A     10.66.10.1                       ;; hidden
shown.inner         A     192.0.2.10

; D13: delegations.
half                NS    ns.half
half                NS    secret-ns.half                   ;; hidden
ns.half             A     192.0.2.13
secret-ns.half      A     10.66.13.1                       ;; hidden
secret-lab          NS    ns.secret-lab                    ;; hidden
ns.secret-lab       A     10.66.13.2                       ;; hidden

; Marks.
published           A     10.77.0.1                        ; verge: public
secret-marked       A     198.51.100.66                    ; verge: internal ;; hidden
"#;

/// D12: internal by config, below a public parent that is served here.
const INTERNAL_ZONE: &str = "$TTL 300
@ SOA ns hostmaster 1 2h 30m 2w 60
@ NS ns
ns A 10.66.12.1
secret A 192.0.2.12
";

/// D15: signed by somebody else, and something in it is hidden.
const SIGNED_ZONE: &str = "$TTL 300
@ SOA ns1.rules.example.net. hostmaster 1 2h 30m 2w 60
@ NS ns1.rules.example.net.
@ NSEC secret-db A NS SOA NSEC
secret-db A 10.66.15.1
secret-db NSEC @ A NSEC
";

const ZONE: &str = "rules.example.net";
const INTERNAL: &str = "corp.rules.example.net";
const SIGNED: &str = "signed.example.net";

#[tokio::test(flavor = "multi_thread")]
async fn an_outsider_gets_the_bytes_of_a_zone_without_the_hidden_records() {
    let served = Served::new(&[(ZONE, &as_written()), (INTERNAL, INTERNAL_ZONE)]).await;
    let without = Served::new(&[(ZONE, &as_an_outsider_would_write_it())]).await;
    let questions = questions();
    assert!(questions.len() > 2_000, "{}: does the zone still exercise the rules?", questions.len());
    for carrier in Carrier::ALL {
        let mut ours = served.client(carrier, View::Outside).await;
        let mut theirs = without.client(carrier, View::Outside).await;
        for question in &questions {
            let packet = question.to_bytes();
            let (ours, theirs) = tokio::join!(answer(&mut ours, &packet), answer(&mut theirs, &packet));
            assert_eq!(ours, theirs, "{question:?} over {carrier:?}: {}", shown(&ours));
        }
    }
    served.end().await;
    without.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_hidden_address_or_name_is_in_any_byte_sent_outside() {
    let zones =
        [(ZONE, as_written()), (INTERNAL, INTERNAL_ZONE.to_owned()), (SIGNED, SIGNED_ZONE.to_owned())];
    let served = Served::new(&zones.each_ref().map(|(name, text)| (*name, text.as_str()))).await;
    let (questions, hidden) = (questions(), hidden_bytes());
    for carrier in Carrier::ALL {
        let mut seen_inside = BTreeSet::new();
        // Outside, inside, outside again: what was asked inside must not stay in anything that outsiders are answered
        // from (V8).
        for view in [View::Outside, View::Inside, View::Outside] {
            let mut client = served.client(carrier, view).await;
            for question in &questions {
                let answer = answer(&mut client, &question.to_bytes()).await;
                let after = after_the_question(&answer);
                let found: Vec<_> = hidden.iter().filter(|bytes| contains(after, bytes)).collect();
                match view {
                    View::Inside => seen_inside.extend(found.into_iter().cloned()),
                    View::Outside => assert!(
                        found.is_empty(),
                        "{question:?} over {carrier:?} shows {found:?}: {}",
                        shown(&answer)
                    ),
                }
            }
        }
        let unseen: Vec<_> = hidden.difference(&seen_inside).collect();
        assert!(
            unseen.is_empty(),
            "over {carrier:?} the inside never sees {unseen:?}, so their absence outside proves nothing"
        );
    }
    served.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_zone_with_hidden_records_is_served_to_insiders_alone() {
    let served = Served::new(&[(SIGNED, SIGNED_ZONE)]).await;
    for (name, inside) in [
        (SIGNED, ResponseCode::NoError),
        ("secret-db.signed.example.net", ResponseCode::NoError),
        ("nothing.signed.example.net", ResponseCode::NXDomain),
    ] {
        for (view, expected) in [(View::Outside, ResponseCode::Refused), (View::Inside, inside)] {
            let answer = ask(&served, view, name, RecordType::A).await;
            assert_eq!(answer.metadata.response_code, expected, "{name} {view:?}");
        }
    }
    served.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn inside_sees_the_union_and_the_internal_side_of_a_split_name() {
    let served = Served::new(&[(ZONE, &as_written()), (INTERNAL, INTERNAL_ZONE)]).await;
    for (view, name, rtype, expected) in [
        (View::Outside, "split.rules.example.net", RecordType::A, "NoError 192.0.2.55"),
        (View::Inside, "split.rules.example.net", RecordType::A, "NoError 10.66.5.2"),
        (View::Outside, "split.rules.example.net", RecordType::AAAA, "NoError 2001:db8::55"),
        (View::Inside, "split.rules.example.net", RecordType::AAAA, "NoError"),
        (View::Outside, "secret-host.rules.example.net", RecordType::TXT, "NXDomain"),
        (View::Inside, "secret-host.rules.example.net", RecordType::TXT, "NoError secret-text-at-the-host"),
        (View::Outside, "published.rules.example.net", RecordType::A, "NoError 10.77.0.1"),
        (View::Inside, "published.rules.example.net", RecordType::A, "NoError 10.77.0.1"),
        (View::Outside, "secret.wild.rules.example.net", RecordType::A, "NoError 192.0.2.9"),
        (View::Inside, "secret.wild.rules.example.net", RecordType::A, "NoError 10.66.9.1"),
        (View::Outside, "x.inner.rules.example.net", RecordType::A, "NXDomain"),
        (View::Inside, "x.inner.rules.example.net", RecordType::A, "NoError 10.66.10.1"),
        (View::Outside, "secret.corp.rules.example.net", RecordType::A, "NXDomain"),
        (View::Inside, "secret.corp.rules.example.net", RecordType::A, "NoError 192.0.2.12"),
    ] {
        let answer = ask(&served, view, name, rtype).await;
        let data = answer.answers.iter().map(|record| format!(" {}", record.data));
        let got = format!("{:?}{}", answer.metadata.response_code, data.collect::<String>());
        assert_eq!(got, expected, "{name} {rtype} {view:?}");
    }
    served.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_listener_and_real_address_make_an_insider() {
    let served = Served::new(&[(ZONE, &as_written())]).await;
    let question = Question::plain(7, "secret-host.rules.example.net", RecordType::A.into());
    // V1: a client subnet that claims to be inside (RFC 7871 §6: family 1, /24, scope 0, 127.0.0.0).
    let subnet = [0, 8, 0, 7, 0, 1, 24, 0, 127, 0, 0];
    let claiming = Question { payload_bytes: Some(1232), options: &subnet, ..question.clone() };
    let (insider, stranger) = (INSIDER.parse().unwrap(), STRANGER.parse().unwrap());
    let (inside, outside) = (served.listener(View::Inside), served.outside());
    for (client, server, question, expected) in [
        (insider, inside, &question, ResponseCode::NoError),
        (insider, outside, &question, ResponseCode::NXDomain),
        (insider, outside, &claiming, ResponseCode::NXDomain),
        // V3: loopback is not inside by itself.
        (stranger, inside, &question, ResponseCode::NXDomain),
        (stranger, inside, &claiming, ResponseCode::NXDomain),
        (IPV6_STRANGER.parse().unwrap(), served.over_ipv6(), &question, ResponseCode::NXDomain),
    ] {
        let packet = question.to_bytes();
        let client = SocketAddr::new(client, 0);
        for answer in
            [over_udp_from(client, server, &packet).await, over_tcp_from(client, server, &packet).await]
        {
            let answer = Message::from_vec(&answer.unwrap()).unwrap();
            assert_eq!(answer.metadata.response_code, expected, "{client} asks {server}: {question:?}");
        }
    }
    served.end().await;
}

// --- The servers ---------------------------------------------------------------------------------------------------

/// The address of the tests' internal client; the others are strangers, on loopback as well.
const INSIDER: &str = "127.0.0.2";
const STRANGER: &str = "127.0.0.1";
const IPV6_STRANGER: &str = "::1";

/// A server with zones of its own.
struct Served {
    running: verge_dns::serve::Running,
    asker: Asker,
    root: CertificateDer<'static>,
    folder: tempfile::TempDir,
}

#[derive(Clone, Copy, Debug)]
enum View {
    Outside,
    Inside,
}

impl Served {
    async fn new(zones: &[(&str, &str)]) -> Self {
        Self::with(zones, "").await
    }

    /// With more tables of its config, which may name the key `out.key`.
    async fn with(zones: &[(&str, &str)], tables: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (apex, text) in zones {
            std::fs::write(folder.path().join(format!("{apex}.zone")), text).unwrap();
        }
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(folder.path().join("chain.pem"), made.cert.pem()).unwrap();
        std::fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        let key =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(folder.path().join("out.key"));
        key.unwrap().write_all(b"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=").unwrap();
        let text = config() + tables;
        let config = verge_dns::config::parse(&text, folder.path(), Path::new("dns.toml")).unwrap();
        // From the insider's address: at the outside listener it must not matter.
        let root = made.cert.der().clone();
        let asker = Asker::new(INSIDER.parse().unwrap(), root.clone()).unwrap();
        Self { running: verge_dns::serve::start(config).await.unwrap(), asker, root, folder }
    }

    fn write(&self, apex: &str, text: &str) {
        std::fs::write(self.folder.path().join(format!("{apex}.zone")), text).unwrap();
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(file)).unwrap()
    }

    fn asker_at(&self, address: &str) -> Asker {
        Asker::new(address.parse().unwrap(), self.root.clone()).unwrap()
    }

    /// A connection to where a client of this view asks.
    async fn client(&self, carrier: Carrier, view: View) -> Connection {
        self.connect(&self.asker, carrier, view).await
    }

    async fn connect(&self, asker: &Asker, carrier: Carrier, view: View) -> Connection {
        let (transport, listener) = (transport(carrier), view.listener());
        let mut encrypted = self.running.listening().encrypted.iter();
        let found = encrypted.find(|it| (it.transport, it.listener) == (transport, listener));
        let server = found.map_or(self.listener(view), |it| it.address);
        asker.connect(carrier, server).await.unwrap()
    }

    fn outside(&self) -> SocketAddr {
        self.running.listening().outside[0]
    }

    /// Where a client of this view asks.
    fn listener(&self, view: View) -> SocketAddr {
        match view {
            View::Outside => self.outside(),
            View::Inside => self.running.listening().inside[0],
        }
    }

    /// The inside listener on [::].
    fn over_ipv6(&self) -> SocketAddr {
        SocketAddr::new(IPV6_STRANGER.parse().unwrap(), self.running.listening().inside[1].port())
    }

    async fn end(self) {
        self.running.drain().await;
    }
}

impl View {
    fn listener(self) -> Listener {
        match self {
            Self::Outside => Listener::Outside,
            Self::Inside => Listener::Inside,
        }
    }
}

fn config() -> String {
    format!(
        r#"zones = "."
listen = ["127.0.0.1:0"]
listen_tls = ["127.0.0.1:0"]
listen_https = ["127.0.0.1:0"]
listen_quic = ["127.0.0.1:0"]
[internal]
listen = ["127.0.0.1:0", "[::]:0"]
listen_tls = ["127.0.0.1:0"]
listen_https = ["127.0.0.1:0"]
listen_quic = ["127.0.0.1:0"]
clients = ["{INSIDER}/32"]
zones = ["{INTERNAL}"]
[tls]
certificate = "chain.pem"
key = "key.pem"
"#
    )
}

fn transport(carrier: Carrier) -> Transport {
    match carrier {
        Carrier::Udp => Transport::Udp,
        Carrier::Tcp => Transport::Tcp,
        Carrier::Tls => Transport::Tls,
        Carrier::Get1 | Carrier::Post1 | Carrier::Get2 | Carrier::Post2 => Transport::Https,
        Carrier::Quic => Transport::Quic,
    }
}

async fn answer(client: &mut Connection, packet: &[u8]) -> Vec<u8> {
    let answer = client.ask(packet).await.unwrap();
    // An independent codec can read every answer.
    let message = Message::from_vec(&answer).unwrap();
    assert_eq!(message.metadata.id.to_be_bytes(), packet[..2]);
    answer
}

async fn ask(served: &Served, view: View, name: &str, rtype: RecordType) -> Message {
    let packet = Question::plain(1, name, rtype.into()).to_bytes();
    Message::from_vec(&answer(&mut served.client(Carrier::Udp, view).await, &packet).await).unwrap()
}

// --- The zone and its labels ---------------------------------------------------------------------------------------

const LABEL: &str = ";; hidden";

fn as_written() -> String {
    RULES_ZONE.lines().map(|line| line.split(LABEL).next().unwrap_or(line).to_owned() + "\n").collect()
}

fn as_an_outsider_would_write_it() -> String {
    let line = |line: &'static str| match line.split_once(LABEL) {
        Some((_, label)) => label.strip_prefix(", instead:").unwrap_or_default().trim_start(),
        None => line,
    };
    RULES_ZONE.lines().map(|it| line(it).to_owned() + "\n").collect()
}

/// The wire form of every hidden address, and what hidden names and texts have in common.
fn hidden_bytes() -> BTreeSet<Vec<u8>> {
    let labelled = RULES_ZONE.lines().filter_map(|line| line.split_once(LABEL)).map(|(record, _)| record);
    let addresses = labelled.flat_map(str::split_whitespace).filter_map(|word| word.parse::<IpAddr>().ok());
    let mut all: BTreeSet<Vec<u8>> = addresses
        .map(|address| match address {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        })
        .collect();
    all.extend([vec![10, 66, 1, 10], vec![10, 66, 12, 1], b"secret".to_vec()]);
    assert!(all.len() > 35, "only {} hidden values", all.len());
    all
}

/// Every owner, every name between it and the apex, a name below each and one beside each; of every type.
fn questions() -> Vec<Question<'static>> {
    let rtypes = [1, 2, 5, 6, 12, 15, 16, 28, 33, 39, 43, 65, 255, 65_280];
    let names = names().into_iter().map(|name| &*name.leak());
    let questions = names.flat_map(|name| {
        rtypes.map(|rtype| {
            // EDNS or not, by turns.
            let payload_bytes = (rtype % 2 == 0).then_some(1232);
            Question { payload_bytes, ..Question::plain(0x5a5a, name, rtype) }
        })
    });
    questions.collect()
}

fn names() -> BTreeSet<String> {
    let owners = RULES_ZONE.lines().filter(|line| !line.starts_with([';', '$', '@']));
    let owners = owners.filter_map(|line| line.split_whitespace().next());
    let mut names = BTreeSet::from([
        ZONE.to_owned(),
        INTERNAL.to_owned(),
        format!("secret.{INTERNAL}"),
        format!("secret-db.{SIGNED}"),
    ]);
    for owner in owners {
        let mut rest = owner;
        loop {
            names.insert(format!("{rest}.{ZONE}"));
            names.insert(format!("x.{rest}.{ZONE}"));
            names.insert(format!("x{rest}.{ZONE}"));
            match rest.split_once('.') {
                Some((_, parent)) => rest = parent,
                None => break,
            }
        }
    }
    names
}

// --- Bytes ---------------------------------------------------------------------------------------------------------

/// The bytes that follow the question that a server repeats.
fn after_the_question(packet: &[u8]) -> &[u8] {
    let mut at = HEADER_BYTES;
    while packet[at] != 0 {
        at += usize::from(packet[at]) + 1;
    }
    &packet[at + 5..]
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn shown(packet: &[u8]) -> String {
    Message::from_vec(packet).map_or_else(|e| e.to_string(), |message| format!("{message:#?}"))
}

const HEADER_BYTES: usize = 12;
