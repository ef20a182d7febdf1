//! The usual hit ([`crate::serve::direct`]), answered as soon as all of its request is there: without a task of its own.
//!
//! An answer that the client's window takes at once is handed to quinn as a whole, which sends it when all requests that came
//! with this one have been looked at. Any other answer has a task, which waits for the client as ever.

use std::task::Poll;

use bytes::Bytes;
use http::{HeaderMap, Version};
use quinn::{RecvStream, SendStream};

use super::message::{self, Message};
use super::received::Received;
use super::{Conversation, frame, once};
use crate::serve::body::Body;
use crate::serve::room::{Busy, Seat};
use crate::serve::stream::direct::{self, AnswerFields, Answered, Content, Parts};
use crate::serve::stream::urgency;

/// Answers usual hits of one connection.
pub(super) struct Direct<'a> {
    own: &'a Conversation,
    seat: &'a Seat,
    hits: direct::Direct<'a>,
}

/// The fate of a request.
#[expect(clippy::large_enum_variant, reason = "it lives for a moment, and a box costs more than a move")]
pub(super) enum Turn {
    /// Its answer is given, and has still to arrive.
    Given(SendStream),
    /// Its answer is there, and the client has to be waited for.
    Begun(Begun),
    /// It is to be answered like any other.
    Left(SendStream, Received),
}

/// An answer that is to be sent.
pub(super) struct Begun {
    pub(super) send: SendStream,
    /// The bytes before the body.
    pub(super) first: [Bytes; 2],
    pub(super) body: Body,
    pub(super) busy: Busy,
}

type Made = direct::Made<Bytes>;

impl<'a> Direct<'a> {
    pub(super) fn new(own: &'a Conversation, seat: &'a Seat) -> Self {
        Self { own, seat, hits: direct::Direct::new(&own.client) }
    }

    /// Answers the request, begins to, or gives it back.
    pub(super) fn answer(&mut self, send: SendStream, receive: RecvStream) -> Turn {
        let mut received = Received::new(receive, self.own.client.limits.head.bytes, &self.own.unread);
        let Some(frame) = received.at_once() else { return Turn::Left(send, received) };
        match self.made(&frame, &send) {
            Some(made) => self.send(made, send),
            None => {
                received.unread(&frame);
                Turn::Left(send, received)
            }
        }
    }

    /// The answer to the request whose head is in this frame.
    fn made(&mut self, frame: &[u8], send: &SendStream) -> Option<Made> {
        let section = frame::head_alone(frame)?;
        let message = message::request(section, self.own.client.limits.head.bytes).ok()?;
        let Message { head, length: None, protocol: None } = message else { return None };
        let parts =
            Parts { method: &head.method, uri: &head.uri, headers: &head.headers, version: Version::HTTP_3 };
        let made = self.hits.made(parts, |answered| written(&answered))?;
        super::sent::heed(send, urgency(&head.headers));
        Some(made)
    }

    /// Hands an answer to quinn, if the client takes all of it now.
    fn send(&self, made: Made, mut send: SendStream) -> Turn {
        let Made { head, content, mut line, began, waited } = made;
        let small = match content {
            Content::None => Bytes::new(),
            Content::Small(bytes, _) => bytes,
            Content::Large(mut body) => {
                body.told_by(line);
                return self.begun(send, [head, Bytes::new()], body);
            }
        };
        let (count, mut chunks) = (small.len(), [head, small]);
        let taken = once(send.write_chunks(&mut chunks));
        let is_taken = matches!(taken, Poll::Ready(Ok(taken)) if taken.chunks == chunks.len());
        line.iter_mut().for_each(|line| line.sent(count));
        if !is_taken || send.finish().is_err() {
            let mut body = Body::empty();
            body.told_by(line);
            self.hits.waits(began, waited, &mut body);
            return self.begun(send, chunks, body);
        }
        self.hits.went(waited);
        self.own.answered();
        self.seat.answered(began);
        Turn::Given(send)
    }

    fn begun(&self, send: SendStream, first: [Bytes; 2], body: Body) -> Turn {
        Turn::Begun(Begun { send, first, body, busy: self.own.client.busy() })
    }
}

/// All that goes before the content: it is kept with the fields.
fn written(answered: &Answered<'_>) -> Bytes {
    let Answered { status, fields, small } = answered;
    let write = |headers: &HeaderMap| {
        let head = message::response(*status, headers);
        match small {
            Some(count) if *count > 0 => Bytes::from([&head[..], &frame::data_header(*count)[..]].concat()),
            _ => head,
        }
    };
    match fields {
        AnswerFields::Kept(kept) => kept.frame.get_or_init(|| write(&kept.headers)).clone(),
        AnswerFields::Own(headers) => write(headers),
    }
}
