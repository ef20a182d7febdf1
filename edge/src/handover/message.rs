//! The messages of a hand-over. Descriptors go beside them, in the order in which they are named.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::handed::Setting;
use crate::cache::behind::{Done, Order};
use crate::serve::Generation;

/// Both sides must speak the same: another version has another meaning.
pub(super) const VERSION: u32 = 2;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Message {
    /// The new process asks for the sockets.
    Hello { version: u32, pid: u32 },
    /// The old process does not hand over.
    Refused { why: String },
    /// Some of the sockets; `more` follow.
    Sockets { sockets: Vec<Described>, row: Row, more: bool },
    /// The new process answers.
    Ready { pid: u32 },
    /// The old process has stopped to accept.
    Left,
    /// The old process was asked to purge these. One that does not know this message has closed the line before.
    Purge(Order),
    /// The new process has done so.
    Purged(Done),
}

/// A socket, and the channels that follow it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Described {
    pub(super) setting: Setting,
    /// As the config has it; none: the socket has a path.
    pub(super) address: Option<SocketAddr>,
    /// Whether systemd has passed it, and made the file of its path.
    pub(super) is_of_systemd: bool,
    /// The generations of the processes at the other ends of its channels.
    pub(super) channels: Vec<u8>,
}

/// The secrets that processes have in common that take over from one another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// Of the connection IDs of the process that tells it.
    pub(crate) generation: Generation,
    /// Proves to a client that a connection is gone (RFC 9000 §10.3.2).
    pub(crate) reset_key: Vec<u8>,
}

const RESET_KEY_BYTES: usize = 32;

impl Row {
    /// A new one.
    pub(crate) fn new() -> Self {
        let reset_key: [u8; RESET_KEY_BYTES] = rand::random();
        Self { generation: Generation::first(rand::random()), reset_key: reset_key.to_vec() }
    }

    /// As it is for the process that takes over.
    pub(crate) fn next(self) -> Self {
        Self { generation: self.generation.next(), ..self }
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
        check(&Message::Hello { version: 2, pid: 7 }, r#"{"hello":{"version":2,"pid":7}}"#);
        check(&Message::Refused { why: "no".to_owned() }, r#"{"refused":{"why":"no"}}"#);
        check(&Message::Ready { pid: 7 }, r#"{"ready":{"pid":7}}"#);
        check(&Message::Left, r#""left""#);
        let order = Order { changed: vec!["http://a.test/".to_owned()], ..Order::default() };
        check(
            &Message::Purge(order),
            r#"{"purge":{"purges":[],"changed":["http://a.test/"],"must_last":false}}"#,
        );
        let done = Done { purged: Some(1), is_whole: true, until_restart_on: Vec::new() };
        check(&Message::Purged(done), r#"{"purged":{"purged":1,"is_whole":true,"until_restart_on":[]}}"#);
        let address = "192.0.2.1:443".parse().ok();
        let described = |setting, address, is_of_systemd, channels: &[u8]| {
            vec![Described { setting, address, is_of_systemd, channels: channels.to_vec() }]
        };
        let sockets = described(Setting::Quic, address, false, &[0, 1]);
        let row = Row { generation: Generation::first((1, 2)), reset_key: vec![3] };
        let unix = described(Setting::Admin, None, true, &[]);
        check(
            &Message::Sockets { sockets: unix, row: row.clone(), more: true },
            r#"{"sockets":{"sockets":[{"setting":"admin.listen","address":null,"is_of_systemd":true,"channels":[]}],"row":{"generation":{"number":0,"key":[1,2]},"reset_key":[3]},"more":true}}"#,
        );
        check(
            &Message::Sockets { sockets, row, more: false },
            r#"{"sockets":{"sockets":[{"setting":"listen_quic","address":"192.0.2.1:443","is_of_systemd":false,"channels":[0,1]}],"row":{"generation":{"number":0,"key":[1,2]},"reset_key":[3]},"more":false}}"#,
        );
    }
}
