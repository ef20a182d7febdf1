//! One request and its answer, on a stream of their own (RFC 9114 §4.1).

use std::pin::pin;

use http::{HeaderMap, Method, StatusCode, Version, header};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use quinn::{RecvStream, SendStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::Conversation;
use super::code::Code;
use super::frame::Fault;
use super::message::{self, Interim, Message, Unsound};
use super::received::{Received, Upload};
use super::sent::{Lost, Sent};
use crate::metrics::Outcome;
use crate::origin::{Early, RequestBody};
use crate::serve::answer::Answer;
use crate::serve::arrival::Transport;
use crate::serve::body::Body;
use crate::serve::h1::gate::interim;
use crate::serve::stream;
use crate::watch::Watch;

/// 1xx heads that wait for the client; more are dropped.
const INTERIMS: usize = 8;

/// Carries a stream to its end; the code if the connection must end, too.
pub(super) async fn carry(own: &Conversation, send: SendStream, receive: RecvStream) -> Result<(), Code> {
    let _busy = own.client.busy();
    let limits = &own.client.limits;
    let cache = &own.client.service.cache;
    let mut sent = Sent::new(send, Watch::new(limits.pace, cache.clock.clone()));
    let (method, answer) = match ask(own, &mut sent, Received::new(receive, limits.head.bytes)).await {
        Ok(answer) => answer,
        Err(Fault::Connection(code)) => return Err(code),
        Err(Fault::Stream(code)) => {
            sent.reset(code);
            return own.taken_back();
        }
        Err(Fault::LongHead) => {
            let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            (Method::GET, refused(own, status, "head too long"))
        }
    };
    match answered(own, &mut sent, &method, answer).await {
        Ok(()) => {
            own.answered();
            Ok(())
        }
        Err(Lost::Unwanted) => {
            sent.reset(Code::RequestCancelled);
            own.taken_back()
        }
        Err(Lost::Slow(slow)) => {
            cache.metrics.client_dropped(slow.as_str());
            sent.reset(Code::ExcessiveLoad);
            Ok(())
        }
        Err(Lost::Broken) => {
            // The client must not take what it has for all.
            sent.reset(Code::InternalError);
            Ok(())
        }
    }
}

/// Reads the request and has it answered.
async fn ask(own: &Conversation, sent: &mut Sent, mut received: Received) -> Result<(Method, Answer), Fault> {
    let limits = &own.client.limits;
    let Ok(section) = timeout(limits.head_timeout, received.head()).await else {
        return Ok((Method::GET, refused(own, StatusCode::REQUEST_TIMEOUT, "the head did not come in time")));
    };
    let message = match message::request(&section?, limits.head.bytes) {
        Ok(message) => message,
        Err(Unsound::Broken) => return Err(Fault::Connection(Code::DecompressionFailed)),
        Err(Unsound::TooLong) => return Err(Fault::LongHead),
        Err(Unsound::Malformed) => {
            received.stop(Code::MessageError);
            return Err(Fault::Stream(Code::MessageError));
        }
        Err(Unsound::BadTarget) => {
            let answer = refused(own, StatusCode::BAD_REQUEST, "bad request target");
            return Ok((Method::GET, answer));
        }
    };
    let method = message.head.method.clone();
    if let Some(urgency) = stream::urgency(&message.head.headers) {
        sent.urgency(urgency);
    }
    Ok((method, respond(own, sent, received, message).await?))
}

/// Has a request answered while the client wants that, and hands the origin's 1xx heads on.
async fn respond(
    own: &Conversation,
    sent: &mut Sent,
    received: Received,
    message: Message,
) -> Result<Answer, Fault> {
    let (tell, mut told) = mpsc::channel(INTERIMS);
    let body = body(own, received, &message, &tell).await?;
    let stream = Stream(tell);
    let mut answer = pin!(own.client.answer(message.head, Version::HTTP_3, body, &stream));
    let mut unwanted = pin!(sent.stopped());
    loop {
        tokio::select! {
            biased;
            answer = &mut answer => return Ok(answer),
            Some(Interim { status, fields }) = told.recv() => {
                if sent.head(status, &fields).await.is_err() {
                    return Err(Fault::Stream(Code::RequestCancelled));
                }
            }
            () = &mut unwanted => return Err(Fault::Stream(Code::RequestCancelled)),
        }
    }
}

/// The request's body. Without a length, only the end of the stream tells that there is none. That comes with the head
/// or at once behind it; HTTP/1.1 wants to know before it can send the head.
async fn body(
    own: &Conversation,
    mut received: Received,
    message: &Message,
    tell: &mpsc::Sender<Interim>,
) -> Result<RequestBody, Fault> {
    let Message { head, length } = message;
    let (limits, cache) = (&own.client.limits, &own.client.service.cache);
    let expected = head.headers.get(header::EXPECT);
    let waits = expected.is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    let is_empty = match length {
        Some(length) => *length == 0,
        None if waits => false,
        None => {
            let over = timeout(limits.head_timeout, received.is_over()).await;
            over.unwrap_or(Err(Fault::Stream(Code::RequestIncomplete)))?
        }
    };
    if is_empty {
        return Ok(RequestBody::Empty);
    }
    let go_on = waits.then(|| tell.clone());
    let upload = Upload::new(received, own.connection.clone(), *length, go_on);
    let watch = Watch::new(limits.pace, cache.clock.clone());
    Ok(RequestBody::upload(upload, watch, &cache.metrics))
}

/// Sends an answer to its end.
async fn answered(
    own: &Conversation,
    sent: &mut Sent,
    method: &Method,
    mut answer: Answer,
) -> Result<(), Lost> {
    let has_body = stream::complete(&mut answer, method, own.client.service.cache.clock.now());
    sent.head(answer.head.status, &answer.head.headers).await?;
    let mut body = if has_body { answer.body } else { Body::empty() };
    let mut unwanted = pin!(sent.stopped());
    while !body.is_end_stream() {
        let frame = tokio::select! {
            frame = body.frame() => frame,
            () = &mut unwanted => return Err(Lost::Unwanted),
        };
        match frame {
            None => break,
            Some(Ok(frame)) => match frame.into_data() {
                Ok(octets) => sent.data(octets).await?,
                Err(frame) => {
                    if let Some(trailers) = frame.trailers_ref() {
                        sent.trailers(trailers).await?;
                    }
                    break;
                }
            },
            Some(Err(_)) => return Err(Lost::Broken),
        }
    }
    sent.finish().await
}

/// An answer to a request that no site gets to see.
fn refused(own: &Conversation, status: StatusCode, sentence: &str) -> Answer {
    let answer = Answer::plain(status, sentence, Outcome::Refused, "unsound");
    own.client.service.cache.metrics.turned_away(answer.why);
    answer
}

/// A stream's transport.
struct Stream(mpsc::Sender<Interim>);

impl Transport for Stream {
    fn interim(&self) -> Early {
        let tell = self.0.clone();
        Early::new(move |status, fields: &HeaderMap| {
            if interim::is_forwarded(status) {
                // A hint that comes too late is none.
                let _ = tell.try_send(Interim { status, fields: interim::forwarded(fields) });
            }
        })
    }

    fn refusal(&self) -> Option<Answer> {
        None
    }
}
