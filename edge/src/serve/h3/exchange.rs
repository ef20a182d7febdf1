//! One request and its answer, on a stream of HTTP/3 (RFC 9114 §4.1).

use http::{Method, StatusCode, Version};
use quinn::SendStream;
use tokio::sync::mpsc::Sender;
use tokio::time::timeout;

use super::Conversation;
use super::code::Code;
use super::direct::Begun;
use super::frame::Fault;
use super::message::{self, Message, Unsound};
use super::received::{Received, Upload};
use super::sent::Sent;
use super::wire::Wire;
use crate::metrics::Outcome;
use crate::origin::RequestBody;
use crate::serve::answer::Answer;
use crate::serve::stream::exchange::{self, Interim, Lost};
use crate::serve::stream::{self, Asked};
use crate::serve::tunnel::Ended;
use crate::watch::Watch;

/// Carries a stream to its end; the code if the connection must end, too.
pub(super) async fn carry(own: &Conversation, send: SendStream, received: Received) -> Result<(), Code> {
    let _busy = own.client.busy();
    let mut sent = Sent::new(send, watch(own));
    let (method, answer) = match ask(own, &mut sent, received).await {
        Ok(Given::Whole(method, answer)) => (method, answer),
        Ok(Given::Switching(answer, to_come)) => return tunnel(own, sent, answer, to_come).await,
        Err(Fault::Connection(code)) => return Err(code),
        Err(Fault::Stream(code)) => {
            sent.reset(code);
            return own.taken_back();
        }
        Err(Fault::LongHead) => {
            (Method::GET, refused(own, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "head too long"))
        }
    };
    let given = exchange::send(&own.client, &mut sent, &method, answer).await;
    ended(own, &mut sent, given)
}

/// Sends an answer that the client does not take at once to its end.
pub(super) async fn go_on(own: &Conversation, begun: Begun) -> Result<(), Code> {
    let Begun { send, mut first, body, busy: _busy } = begun;
    let mut sent = Sent::new(send, watch(own));
    let given = match sent.write(&mut first).await {
        Ok(()) => exchange::send_body(&mut sent, body).await,
        Err(lost) => Err(lost),
    };
    ended(own, &mut sent, given)
}

/// Waits until the client has an answer that was given and counted.
pub(super) async fn arrive(own: &Conversation, send: SendStream) -> Result<(), Code> {
    let _busy = own.client.busy();
    let mut sent = Sent::new(send, watch(own));
    match sent.arrived().await {
        Ok(()) => Ok(()),
        lost => ended(own, &mut sent, lost),
    }
}

/// A watch on the client's pace in one transfer.
fn watch(own: &Conversation) -> Watch {
    Watch::new(own.client.limits.pace, own.client.service.cache.clock.clone())
}

/// Counts what became of an answer; the code if the connection must end with it.
fn ended(own: &Conversation, sent: &mut Sent, given: Result<(), Lost>) -> Result<(), Code> {
    match given {
        Ok(()) => {
            own.answered();
            Ok(())
        }
        Err(Lost::Unwanted) => {
            sent.reset(Code::RequestCancelled);
            own.taken_back()
        }
        Err(Lost::Slow(slow)) => {
            own.client.service.cache.metrics.client_dropped(slow.as_str());
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

/// The answer to a request.
enum Given {
    /// To one with this method.
    Whole(Method, Answer),
    /// Behind its head the stream carries another protocol, in which the client's bytes are still to come.
    Switching(Answer, Received),
}

/// Carries another protocol over the stream until that ends.
async fn tunnel(
    own: &Conversation,
    mut sent: Sent,
    mut answer: Answer,
    to_come: Received,
) -> Result<(), Code> {
    let tunnel = match exchange::switched(&own.client, &mut sent, &mut answer).await {
        Ok(Some(tunnel)) => tunnel,
        Ok(None) => {
            let given = exchange::send(&own.client, &mut sent, &Method::GET, answer).await;
            return ended(own, &mut sent, given);
        }
        Err(lost) => return ended(own, &mut sent, Err(lost)),
    };
    let wire = Wire::new(to_come, sent.into_stream(), own.connection.clone());
    match own.client.tunnel(wire, tunnel).await {
        Ended::Broken => own.taken_back(),
        Ended::Closed | Ended::Idle | Ended::Drained => {
            own.answered();
            Ok(())
        }
    }
}

/// Reads the request and has it answered.
async fn ask(own: &Conversation, sent: &mut Sent, mut received: Received) -> Result<Given, Fault> {
    let limits = &own.client.limits;
    let Ok(section) = timeout(limits.head_timeout, received.head()).await else {
        let answer = refused(own, StatusCode::REQUEST_TIMEOUT, "the head did not come in time");
        return Ok(Given::Whole(Method::GET, answer));
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
            return Ok(Given::Whole(Method::GET, answer));
        }
    };
    sent.urgency(stream::urgency(&message.head.headers));
    let (tell, told) = exchange::interims();
    let method = message.head.method.clone();
    let (body, to_come) = match message.protocol {
        Some(_) => (RequestBody::Empty, Some(received)),
        None => (body(own, received, &message, &tell).await?, None),
    };
    let Message { head, protocol, .. } = message;
    let asked = Asked { head, version: Version::HTTP_3, body, protocol };
    let answer = exchange::respond(&own.client, sent, asked, (tell, told)).await;
    let answer = answer.ok_or(Fault::Stream(Code::RequestCancelled))?;
    Ok(match to_come {
        Some(to_come) => Given::Switching(answer, to_come),
        None => Given::Whole(method, answer),
    })
}

/// The request's body. Without a length, only the end of the stream tells that there is none. That comes with the head
/// or at once behind it; HTTP/1.1 wants to know before it can send the head.
async fn body(
    own: &Conversation,
    mut received: Received,
    message: &Message,
    tell: &Sender<Interim>,
) -> Result<RequestBody, Fault> {
    let Message { head, length, .. } = message;
    let waits = stream::waits_to_go_on(&head.headers);
    let is_empty = match length {
        Some(length) => *length == 0,
        // A tunnel's bytes follow, and there will be none.
        None if head.method == Method::CONNECT => true,
        None if waits => false,
        None => {
            let over = timeout(own.client.limits.head_timeout, received.is_over()).await;
            over.unwrap_or(Err(Fault::Stream(Code::RequestIncomplete)))?
        }
    };
    if is_empty {
        return Ok(RequestBody::Empty);
    }
    let go_on = waits.then(|| tell.clone());
    let upload = Upload::new(received, own.connection.clone(), *length, go_on);
    Ok(RequestBody::upload(upload, watch(own), &own.client.service.cache.metrics))
}

/// An answer to a request that no site gets to see.
fn refused(own: &Conversation, status: StatusCode, sentence: &str) -> Answer {
    let answer = Answer::plain(status, sentence, Outcome::Refused, "unsound");
    own.client.service.cache.metrics.turned_away(answer.why);
    answer
}
