//! Whole messages: bytes in, bytes out. The compliance list of DNS operators (RFC 8906 §8 and its testers), limits,
//! truncation and the egress guard.

mod compliance;
mod direct;
mod guarded;
mod keys;
mod notices;
mod properties;
mod size;
mod steered;
mod transfers;
mod transports;

use std::net::IpAddr;

use super::*;
use crate::client::{Listener, Proved};
use crate::limit::Rates;
use crate::view::Access;
use crate::world::{Guard, Protocol};
use crate::zone::tree::testing::{name, view};

/// A question of the tables and what must hold of its reply, for tests that ask in other ways.
pub(crate) struct Row {
    pub(crate) test: String,
    pub(crate) packet: Vec<u8>,
    /// Looks at everything but the ID.
    pub(crate) judge: Judge,
}

type Judge = Box<dyn Fn(&[u8])>;

/// The compliance tables and the world that they are about.
pub(crate) fn compliance() -> (World, Vec<Row>) {
    let mut rows = Vec::new();
    compliance::rows(&mut |test, ask, expected, opt| {
        let (name, ask, expected, opt) = (test.to_owned(), ask.clone(), expected.to_owned(), opt.to_vec());
        let packet = ask.bytes();
        let judge = move |reply: &[u8]| compliance::judge(&name, &ask, &expected, &opt, reply);
        rows.push(Row { test: test.to_owned(), packet, judge: Box::new(judge) });
    });
    (world(&[("ex.", EX)]), rows)
}

/// Questions whose answers the egress guard stops for outsiders, and a world that holds them. `clients` are inside.
pub(crate) fn leaks(clients: &str) -> (World, Vec<Vec<u8>>) {
    let packets =
        guarded::STOPPED.iter().map(|(qname, qtype)| ask(qname, *qtype).edns(0, 0, 1232, b"").bytes());
    (guarded::leaky_world(clients), packets.collect())
}

const EX: &str = "
    @ SOA ns1 h 1 2 3 4 100
    @ NS ns1
    ns1 A 192.0.2.1
    www A 192.0.2.2
    Case CNAME WWW
    *.wild TXT w
    sub NS ns.sub
    ns.sub A 192.0.2.3
";

fn world(public: &[(&str, &str)]) -> World {
    World { public: view(public), ..World::default() }
}

fn client(transport: Transport) -> Client {
    let address: IpAddr = "198.51.100.7".parse().unwrap();
    let proved = Proved::default();
    Client { address, port: 4000, listener: Listener::Outside, transport, proved, is_to_close: false }
}

/// The tests' own clock: any instant will do, and the second is fixed.
fn moment() -> Moment {
    #[expect(
        clippy::disallowed_methods,
        reason = "an instant can be had in no other way; no test depends on it"
    )]
    let instant = Instant::now();
    Moment { instant, unix_seconds: 1_700_000_000 }
}

/// A header, a question and whatever comes behind.
#[derive(Clone, Debug)]
struct Ask {
    flags: [u8; 2],
    counts: [u8; 4],
    question: Vec<u8>,
    rest: Vec<u8>,
}

fn ask(qname: &str, qtype: Type) -> Ask {
    let mut question = crate::name::parse_to_wire(qname.as_bytes(), None).unwrap();
    question.extend_from_slice(&qtype.0.to_be_bytes());
    question.extend_from_slice(&[0, 1]);
    Ask { flags: [0, 0], counts: [1, 0, 0, 0], question, rest: Vec::new() }
}

impl Ask {
    fn flags(mut self, high: u8, low: u8) -> Self {
        self.flags = [high, low];
        self
    }

    fn class(mut self, class: u16) -> Self {
        let at = self.question.len() - 2;
        self.question[at..].copy_from_slice(&class.to_be_bytes());
        self
    }

    fn additional(mut self, record: &[u8]) -> Self {
        self.counts[3] += 1;
        self.rest.extend_from_slice(record);
        self
    }

    fn edns(self, version: u8, flags: u16, udp_bytes: u16, options: &[u8]) -> Self {
        let mut opt = vec![0, 0, 41];
        opt.extend_from_slice(&udp_bytes.to_be_bytes());
        opt.extend_from_slice(&[0, version]);
        opt.extend_from_slice(&flags.to_be_bytes());
        opt.extend_from_slice(&u16::try_from(options.len()).unwrap().to_be_bytes());
        opt.extend_from_slice(options);
        self.additional(&opt)
    }

    fn bytes(&self) -> Vec<u8> {
        let [q, a, n, r] = self.counts;
        let mut bytes = vec![0xab, 0xcd, self.flags[0], self.flags[1], 0, q, 0, a, 0, n, 0, r];
        bytes.extend_from_slice(&self.question);
        bytes.extend_from_slice(&self.rest);
        bytes
    }
}

fn reply(world: &World, packet: &[u8], transport: Transport) -> Vec<u8> {
    let mut out = Vec::new();
    match respond(world, &mut Limits::default(), packet, &client(transport), moment(), &mut out) {
        Outcome::Sent(sent) => {
            if let Gist::Answer(kind) = sent.gist {
                assert_eq!(sent.rcode, kind.rcode());
            }
            out
        }
        Outcome::Silent(why) => panic!("silent: {why:?}"),
    }
}

/// A header and its OPT in words.
fn summary(message: &[u8]) -> String {
    let mut words = vec![format!("opcode{}", message[2] >> 3 & 15)];
    for (at, bit, word) in [
        (2, 0x80, "qr"),
        (2, 4, "aa"),
        (2, 2, "tc"),
        (2, 1, "rd"),
        (3, 0x80, "ra"),
        (3, 0x40, "z"),
        (3, 0x20, "ad"),
        (3, 0x10, "cd"),
    ] {
        if message[at] & bit != 0 {
            words.push(word.into());
        }
    }
    words.push(format!("rcode{}", message[3] & 15));
    words.push(format!("{}/{}/{}/{}", message[5], message[7], message[9], message[11]));
    words.join(" ")
}
