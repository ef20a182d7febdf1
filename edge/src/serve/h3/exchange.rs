//! One request and its answer, on a stream of HTTP/3 (RFC 9114 §4.1).

use http::{Method, StatusCode, Version};
use quinn::{RecvStream, SendStream};
use tokio::sync::mpsc::Sender;
use tokio::time::timeout;

use super::Conversation;
use super::code::Code;
use super::frame::Fault;
use super::message::{self, Message, Unsound};
use super::received::{Received, Upload};
use super::sent::Sent;
use crate::metrics::Outcome;
use crate::origin::RequestBody;
use crate::serve::answer::Answer;
use crate::serve::stream;
use crate::serve::stream::exchange::{self, Interim, Lost};
use crate::watch::Watch;

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
            (Method::GET, refused(own, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "head too long"))
        }
    };
    match exchange::send(&own.client, &mut sent, &method, answer).await {
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
        let answer = refused(own, StatusCode::REQUEST_TIMEOUT, "the head did not come in time");
        return Ok((Method::GET, answer));
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
            return Ok((Method::GET, refused(own, StatusCode::BAD_REQUEST, "bad request target")));
        }
    };
    if let Some(urgency) = stream::urgency(&message.head.headers) {
        sent.urgency(urgency);
    }
    let (tell, told) = exchange::interims();
    let method = message.head.method.clone();
    let body = body(own, received, &message, &tell).await?;
    let answer =
        exchange::respond(&own.client, sent, message.head, Version::HTTP_3, body, (tell, told)).await;
    answer.map(|answer| (method, answer)).ok_or(Fault::Stream(Code::RequestCancelled))
}

/// The request's body. Without a length, only the end of the stream tells that there is none. That comes with the head
/// or at once behind it; HTTP/1.1 wants to know before it can send the head.
async fn body(
    own: &Conversation,
    mut received: Received,
    message: &Message,
    tell: &Sender<Interim>,
) -> Result<RequestBody, Fault> {
    let Message { head, length } = message;
    let (limits, cache) = (&own.client.limits, &own.client.service.cache);
    let waits = stream::waits_to_go_on(&head.headers);
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

/// An answer to a request that no site gets to see.
fn refused(own: &Conversation, status: StatusCode, sentence: &str) -> Answer {
    let answer = Answer::plain(status, sentence, Outcome::Refused, "unsound");
    own.client.service.cache.metrics.turned_away(answer.why);
    answer
}
