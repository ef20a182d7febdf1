//! The usual hit ([`crate::serve::direct`]), answered as soon as h2 has read its request: without a task of its own.
//!
//! A body that the client's window takes at once goes out with its head. Any other has a task, which waits for the client as
//! ever.

use bytes::Bytes;
use h2::RecvStream;
use h2::ext::Protocol;
use h2::server::SendResponse;
use http::{HeaderMap, Request, StatusCode, Version, request};

use super::Connection;
use super::exchange::{Begun, response};
use crate::serve::body::Body;
use crate::serve::room::Seat;
use crate::serve::stream::direct::{self, AnswerFields, Answered, Content, Parts};
use crate::serve::stream::urgency;

/// Answers usual hits of one connection.
pub(super) struct Direct<'a> {
    own: &'a Connection,
    seat: &'a Seat,
    hits: direct::Direct<'a>,
}

/// The fate of a request.
#[expect(clippy::large_enum_variant, reason = "it lives for a moment, and a box costs more than a move")]
pub(super) enum Turn {
    /// Its answer is given.
    Given,
    /// The head of its answer is; the body follows.
    Begun(Begun),
    /// It is to be answered like any other.
    Left(Request<RecvStream>, SendResponse<Bytes>),
}

type Made = direct::Made<(StatusCode, HeaderMap)>;

impl<'a> Direct<'a> {
    pub(super) fn new(own: &'a Connection, seat: &'a Seat) -> Self {
        Self { own, seat, hits: direct::Direct::new(&own.client) }
    }

    /// Answers the request, begins to, or gives it back.
    pub(super) fn answer(&mut self, request: Request<RecvStream>, respond: SendResponse<Bytes>) -> Turn {
        let (parts, body) = request.into_parts();
        let made = if body.is_end_stream() { self.made(&parts) } else { None };
        match made {
            Some(made) => self.send(made, &parts.headers, respond),
            None => Turn::Left(Request::from_parts(parts, body), respond),
        }
    }

    fn made(&mut self, parts: &request::Parts) -> Option<Made> {
        if parts.extensions.get::<Protocol>().is_some() {
            return None;
        }
        let request::Parts { method, uri, headers, .. } = parts;
        let parts = Parts { method, uri, headers, version: Version::HTTP_2 };
        self.hits.made(parts, |Answered { status, fields, .. }| match fields {
            AnswerFields::Kept(kept) => (status, kept.headers.clone()),
            AnswerFields::Own(headers) => (status, headers),
        })
    }

    /// Sends an answer, as far as the client takes it now. A client that does not want it any more is not told of it.
    fn send(&self, made: Made, asked: &HeaderMap, mut respond: SendResponse<Bytes>) -> Turn {
        let Made { head: (status, headers), content, mut line, began, waited } = made;
        let (counts, client) = (&self.own.counts, &self.own.client);
        counts.asked();
        let sent = respond.send_response(response(status, headers), matches!(content, Content::None));
        let Ok(mut stream) = sent else {
            if !matches!(content, Content::Large(_)) {
                self.hits.went(waited);
            }
            return Turn::Given;
        };
        let mut body = match content {
            Content::None => {
                self.hits.went(waited);
                counts.answered();
                self.seat.answered(began);
                return Turn::Given;
            }
            Content::Small(bytes, object) => {
                let count = bytes.len();
                stream.reserve_capacity(count);
                if stream.capacity() >= count {
                    self.hits.went(waited);
                    counts.piece(count);
                    if stream.send_data(bytes, true).is_ok() {
                        counts.answered();
                        line.iter_mut().for_each(|line| line.sent(count));
                    }
                    self.seat.answered(began);
                    return Turn::Given;
                }
                let mut body = Body::counted(object);
                self.hits.waits(began, waited, &mut body);
                body
            }
            Content::Large(body) => body,
        };
        body.told_by(line);
        let place = self.own.order.place(urgency(asked));
        Turn::Begun(Begun { respond, stream, body, busy: client.busy(), place })
    }
}
