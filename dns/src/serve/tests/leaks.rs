//! The leak matrix: transfers, changes, notices, serials and updates, over every transport, from outsiders, from those with a wrong
//! key, from insiders and with the key of each side. Nothing that is hidden goes to the outside, and a zone that is hidden is
//! refused with the bytes of one that is not here (D14, D16–D18, V9).

use std::sync::Arc;

use super::*;
use crate::catalog::Terms;
use crate::client::Listener;
use crate::clock;
use crate::name::Name;
use crate::rtype::Type;
use crate::serve::testing::{Carrier, Servers};
use crate::transfer::{Listing, Rule};
use crate::tsig::{Algorithm, Key, SignedError, Signer};
use crate::update::{Pattern, Policy};
use crate::view::{Access, Which};

/// Part of each hidden name, and each hidden address.
const HIDDEN: [&[u8]; 4] = [b"hidden", b"lurking", &[10, 0, 0, 5], &[10, 0, 0, 6]];
const PUBLIC: &str = "shown.example";
/// Of one length: hidden as a whole, not here, a catalog of both sides, a zone of which the outside has nothing.
const CLOSED: [&str; 3] = ["lurking.internal", "another.internal", "catalog.internal"];

fn name(text: &str) -> Name {
    Name::parse_absolute(text).unwrap()
}

fn key(text: &str, secret: &[u8], view: Which) -> Key {
    Key::new(name(text), Algorithm::HmacSha256, secret, view)
}

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let head = "$TTL 60\n@ SOA ns h 1 2h 30m 2w 5m\n@ NS ns\nns A 203.0.113.1\n";
    let write = |zone: &str, text: &str| {
        fs::write(folder.path().join(format!("{zone}.zone")), format!("{head}{text}")).unwrap()
    };
    write(PUBLIC, "www A 203.0.113.2\nhidden-db A 10.0.0.5\nboth A 203.0.113.3\nboth A 10.0.0.6\n");
    write("lurking.internal", "host A 10.0.0.6\n");
    let keys = [
        key("out", SECRET, Which::Public),
        key("in", SECRET, Which::Internal),
        key("acme", SECRET, Which::Public),
    ];
    let mut terms = Terms {
        access: Access { clients: vec!["127.0.0.0/8".parse().unwrap()], ..Access::default() },
        ..Terms::default()
    };
    terms.protocol.transfers =
        [Rule { keys: vec![name("out"), name("in")], ..Rule::default() }].into_iter().collect();
    let listing =
        Listing { apex: name("catalog.internal"), zones: vec![], groups: vec![], hand_over: vec![] };
    terms.protocol.catalogs = [listing].into();
    let all = Pattern::parse("*").unwrap();
    terms.protocol.updates = [Policy {
        zones: vec![],
        keys: vec![name("acme")],
        names: vec![all],
        types: vec![Type::TXT],
        publish: false,
    }]
    .into();
    let terms = terms.with_secrets(None, keys.into_iter().collect(), Default::default());
    let mut world =
        Catalog::new(vec![folder.path().into()], terms).load(clock::system_now()).unwrap().world.unwrap();
    world.list(1);
    world
}

/// The one who asks: where, and by which key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Outside,
    WrongKey,
    WrongSecret,
    Out,
    Inside,
    In,
}

impl Who {
    const ALL: [Self; 6] =
        [Self::Outside, Self::WrongKey, Self::WrongSecret, Self::Out, Self::Inside, Self::In];

    fn listener(self) -> Listener {
        if self == Self::Inside { Listener::Inside } else { Listener::Outside }
    }

    fn key(self) -> Option<Key> {
        match self {
            Self::Outside | Self::Inside => None,
            Self::WrongKey => Some(key("nobody", SECRET, Which::Public)),
            Self::WrongSecret => Some(key("in", b"another secret of 32 bytes......", Which::Public)),
            Self::Out => Some(key("out", SECRET, Which::Public)),
            Self::In => Some(key("in", SECRET, Which::Internal)),
        }
    }

    fn sees_all(self) -> bool {
        matches!(self, Self::Inside | Self::In)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    Soa,
    Whole,
    Changes,
    Notice,
    Add,
    Require,
    Garbage,
}

const ASKS: [Ask; 7] =
    [Ask::Soa, Ask::Whole, Ask::Changes, Ask::Notice, Ask::Add, Ask::Require, Ask::Garbage];

fn message(ask: Ask, zone: &str, who: Who, id: [u8; 2]) -> Vec<u8> {
    let zone = name(zone);
    let (opcode, qtype) = match ask {
        Ask::Soa | Ask::Garbage => (0, Type::SOA),
        Ask::Whole => (0, Type::AXFR),
        Ask::Changes => (0, Type::IXFR),
        Ask::Notice => (4, Type::SOA),
        Ask::Add | Ask::Require => (5, Type::SOA),
    };
    let mut message = vec![id[0], id[1], opcode << 3, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(zone.as_wire());
    message.extend_from_slice(&qtype.0.to_be_bytes());
    message.extend_from_slice(&[0, 1]);
    let host = zone.child(b"host").unwrap();
    match ask {
        Ask::Changes => {
            message[9] = 1;
            message.extend_from_slice(zone.as_wire());
            message.extend_from_slice(&[0, 6, 0, 1, 0, 0, 0, 0, 0, 22, 0, 0, 0, 0, 0, 0]);
            message.extend_from_slice(&[0; 16]);
        }
        // A record, and that a name is there (RFC 2136 §2.5.1, §2.4.4).
        Ask::Add => {
            message[9] = 1;
            message.extend_from_slice(host.as_wire());
            message.extend_from_slice(&[0, 16, 0, 1, 0, 0, 0, 60, 0, 2, 1, b'x']);
        }
        Ask::Require => {
            message[7] = 1;
            message.extend_from_slice(host.as_wire());
            message.extend_from_slice(&[0, 255, 0, 255, 0, 0, 0, 0, 0, 0]);
        }
        // A record of which the end is missing.
        Ask::Garbage => {
            message[9] = 1;
            message.extend_from_slice(host.as_wire());
        }
        Ask::Soa | Ask::Whole | Ask::Notice => {}
    }
    if let Some(key) = who.key() {
        Signer::of_request(&Arc::new(key)).sign(
            &mut message,
            SignedError::None,
            clock::moment().unix_seconds,
        );
    }
    message
}

/// The answer without what differs by the name that was asked, and by the signature over it.
fn plain(answer: &[u8], zone: &str) -> Vec<u8> {
    let unsigned = crate::wire::tsig_of(answer).map_or(answer, |tsig| tsig.covered);
    let mut plain = unsigned.to_vec();
    let label = zone.split('.').next().unwrap().as_bytes();
    while let Some(at) = plain.windows(label.len()).position(|bytes| bytes == label) {
        plain[at..at + label.len()].fill(b'?');
    }
    plain
}

fn shows(answer: &[u8], asked: &str) -> bool {
    // The name that was asked goes back in the question.
    let answer = if asked == PUBLIC { answer.to_vec() } else { plain(answer, asked) };
    HIDDEN.iter().any(|hidden| answer.windows(hidden.len()).any(|bytes| bytes == *hidden))
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_hidden_goes_outside_by_any_transport_operation_or_key() {
    let servers = Servers::new(world());
    let (mut asked, mut equal, mut inside) = (0, 0, 0);
    for carrier in Carrier::ALL {
        for who in Who::ALL {
            for ask in ASKS {
                let mut closed: Vec<Vec<u8>> = Vec::new();
                for zone in [PUBLIC].into_iter().chain(CLOSED) {
                    let id = if carrier == Carrier::Quic { [0, 0] } else { [0, 7] };
                    let mut client = servers.client(carrier, who.listener()).await;
                    let answer = client.ask(&message(ask, zone, who, id)).await;
                    asked += 1;
                    let case = format!("{carrier:?} {who:?} {ask:?} {zone}: {answer:x?}");
                    if who.sees_all() {
                        inside += usize::from(shows(&answer, zone));
                    } else {
                        assert!(!shows(&answer, zone), "{case}");
                    }
                    // The key of the outside may take the outside's catalog, and nobody else gets an answer of it.
                    if zone != PUBLIC && !(who == Who::Out && zone == "catalog.internal") {
                        closed.push(plain(&answer, zone));
                    }
                }
                if !who.sees_all() {
                    assert!(
                        closed.windows(2).all(|pair| pair[0] == pair[1]),
                        "{carrier:?} {who:?} {ask:?}: {closed:x?}"
                    );
                    equal += closed.len() - 1;
                }
            }
        }
        // V9: a key that is not known, and a signature that is not the key's.
        for ask in ASKS {
            let mut answers = Vec::new();
            for who in [Who::WrongKey, Who::WrongSecret] {
                let mut client = servers.client(carrier, Listener::Outside).await;
                let id = if carrier == Carrier::Quic { [0, 0] } else { [0, 7] };
                answers.push(plain(&client.ask(&message(ask, PUBLIC, who, id)).await, PUBLIC));
            }
            assert_eq!(answers[0], answers[1], "{carrier:?} {ask:?}");
            equal += 1;
        }
    }
    println!(
        "{asked} asked, 0 of the outside show anything hidden, {inside} of the inside do, {equal} pairs are equal"
    );
    assert!(inside > 10, "nothing is proved: {inside}");
    servers.end().await;
}
