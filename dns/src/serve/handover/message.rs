//! The messages of a hand-over. Descriptors go beside them, in the order in which they are named.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::serve::quic::Generation;

/// Both sides must speak the same: another version has another meaning.
pub(super) const VERSION: u32 = 3;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Message {
    /// The new process asks for the sockets.
    Hello { version: u32, pid: u32 },
    /// The old process does not hand over.
    Refused { why: String },
    /// Some of the sockets; `more` follow.
    Sockets { sockets: Vec<Described>, secrets: Secrets, more: bool },
    /// Some of the zones that the new process knows, good or not.
    Zones(Vec<String>),
    /// The new process has loaded, and asks the old one to write no more. It has no good version of some zones.
    Hold { broken: Vec<String> },
    /// The old process writes nothing until the other end speaks or is gone. `settled`: of each zone that other servers have,
    /// too, it knows whether it is the primary.
    Held { settled: bool },
    /// The new process is about to write and to answer: it wants to hear again that the old one writes nothing.
    Still,
    /// The new process answers.
    Ready { pid: u32 },
    /// Some connections over TCP that the new process goes on with, each with its client, and whether it came to a listener of
    /// the inside.
    Connections(Vec<(SocketAddr, bool)>),
    /// The old process reads no more.
    Left,
    /// An update that came to the old process, which has not made it, or a question on a connection of QUIC there.
    Asked(Passed),
    /// The operator has told the old process to read all anew.
    Reload,
    /// The answer to that; none where nothing is to be said.
    Answer { message: Option<Vec<u8>> },
    /// The new process does not answer that, as it ends itself. To an old process that does not know this word the line is broken,
    /// and it ends its connections as well.
    Unanswered,
}

/// The sockets of one address: UDP first, channels last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Described {
    /// As the config has both.
    pub(super) setting: String,
    pub(super) address: SocketAddr,
    pub(super) udp: usize,
    pub(super) tcp: bool,
    /// A socket in the file system, which knows its path.
    pub(super) local: bool,
    /// The places of processes before in their row, to which the channels lead.
    pub(super) channels: Vec<u8>,
    /// They are more of those before them.
    pub(super) more: bool,
}

/// A message as it came, and from where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::serve) struct Passed {
    pub(in crate::serve) message: Vec<u8>,
    pub(in crate::serve) address: IpAddr,
    pub(in crate::serve) port: u16,
    /// It came to a listener of the inside.
    pub(in crate::serve) inside: bool,
    /// `udp`, `tcp`, `tls`, `https` or `quic`.
    pub(in crate::serve) transport: String,
}

/// The secrets that processes have in common that take over from one another.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::serve) struct Secrets {
    /// Of server cookies, if one was made here.
    pub(in crate::serve) cookies: Option<[u8; SECRET_BYTES]>,
    /// Proves to a client of QUIC that a connection is gone (RFC 9000 §10.3.2).
    pub(in crate::serve) reset: [u8; SECRET_BYTES],
    /// Seals the tokens by which clients of QUIC prove their address (RFC 9000 §8.1).
    pub(in crate::serve) tokens: [u8; SECRET_BYTES],
    /// Of the connection IDs of the process that tells it.
    pub(in crate::serve) generation: Generation,
}

const SECRET_BYTES: usize = 16;

impl Secrets {
    /// New ones.
    pub(in crate::serve) fn new() -> Self {
        let generation = Generation::first(rand::random());
        Self { cookies: None, reset: rand::random(), tokens: rand::random(), generation }
    }

    /// Those of the process that takes over.
    pub(in crate::serve) fn next(self) -> Self {
        Self { generation: self.generation.next(), ..self }
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_this_version_keep_their_form() {
        let check = |message: &Message, expected: &str| {
            assert_eq!(serde_json::to_string(message).unwrap(), expected);
            assert_eq!(serde_json::from_str::<Message>(expected).unwrap(), *message);
        };
        check(&Message::Hello { version: 3, pid: 7 }, r#"{"hello":{"version":3,"pid":7}}"#);
        check(&Message::Refused { why: "no".to_owned() }, r#"{"refused":{"why":"no"}}"#);
        check(&Message::Hold { broken: vec!["ex.".to_owned()] }, r#"{"hold":{"broken":["ex."]}}"#);
        check(&Message::Zones(vec!["ex.".to_owned()]), r#"{"zones":["ex."]}"#);
        check(&Message::Still, r#""still""#);
        check(&Message::Reload, r#""reload""#);
        check(&Message::Held { settled: true }, r#"{"held":{"settled":true}}"#);
        check(&Message::Ready { pid: 7 }, r#"{"ready":{"pid":7}}"#);
        check(&Message::Left, r#""left""#);
        let peer = "192.0.2.1:5353".parse().unwrap();
        check(&Message::Connections(vec![(peer, true)]), r#"{"connections":[["192.0.2.1:5353",true]]}"#);
        check(&Message::Answer { message: Some(vec![1, 2]) }, r#"{"answer":{"message":[1,2]}}"#);
        check(&Message::Unanswered, r#""unanswered""#);
        let address = "192.0.2.1:53".parse().unwrap();
        let sockets = vec![Described {
            setting: "listen".to_owned(),
            address,
            udp: 2,
            tcp: true,
            local: false,
            channels: vec![0, 1],
            more: false,
        }];
        let generation = Generation::first((3, 4)).next();
        let secrets = Secrets { cookies: None, reset: [1; 16], tokens: [2; 16], generation };
        check(
            &Message::Sockets { sockets, secrets, more: false },
            r#"{"sockets":{"sockets":[{"setting":"listen","address":"192.0.2.1:53","udp":2,"tcp":true,"local":false,"channels":[0,1],"more":false}],"secrets":{"cookies":null,"reset":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],"tokens":[2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2],"generation":{"number":1,"key":[3,4]}},"more":false}}"#,
        );
        let passed = Passed {
            message: vec![0, 7],
            address: "192.0.2.9".parse().unwrap(),
            port: 5,
            inside: false,
            transport: "tcp".to_owned(),
        };
        check(
            &Message::Asked(passed),
            r#"{"asked":{"message":[0,7],"address":"192.0.2.9","port":5,"inside":false,"transport":"tcp"}}"#,
        );
    }
}
