//! A connection to an origin, for one request: its own with HTTP/1.1, a share of one with HTTP/2.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use http::{Request, Response};
use hyper::client::conn::{TrySendError, http1};
use hyper_util::rt::TokioIo;
use tokio::task::unconstrained;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::body::{Coming, RequestBody};
use super::http2::Share;
use super::stream::Stream;
use super::unheaded::Unheaded;
use super::wire::{Heard, MAX_HEAD_BYTES, Wire};
use crate::clock::monotonic;
use crate::policy::headers::status::ProxyError;

/// A connection, or a share of one.
#[derive(Debug)]
pub(super) enum Line {
    /// HTTP/1.1: nothing else is sent on it meanwhile. The origin had moved so often when it was begun. `ended` is told when nothing will come any more.
    Own {
        sender: http1::SendRequest<RequestBody>,
        heard: Heard,
        moves: u64,
        made: Instant,
        ended: CancellationToken,
    },
    /// HTTP/2.
    Shared(Share),
}

/// The protocols that a request can go by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocols {
    /// Any protocol that the origin speaks.
    Any,
    /// HTTP/2 has no form for it, or the origin requires HTTP/1.1.
    Http1,
}

/// Fields in a response's head; real ones have some tens.
const MAX_FIELDS: usize = 256;

impl Line {
    /// Begins HTTP/1.1 on a new connection to an origin that had moved so often.
    pub(super) async fn own(stream: Stream, title_case: bool, moves: u64) -> Result<Self, ProxyError> {
        let heard = Heard::default();
        let (sender, connection) = http1::Builder::new()
            .max_headers(MAX_FIELDS)
            .max_buf_size(MAX_HEAD_BYTES)
            .title_case_headers(title_case)
            // RFC 9112 §5.1: a proxy removes it. `wire` refuses it where it could move the response's end.
            .allow_spaces_after_header_name_in_responses(true)
            .handshake(TokioIo::new(Wire::new(stream, heard.clone())))
            .await
            .map_err(|_| ProxyError::ConnectionTerminated)?;
        let ended = CancellationToken::new();
        let tells = ended.clone().drop_guard();
        // An error that ends the connection also ends the exchange on it, which reports it.
        tokio::spawn(async move {
            drop(connection.with_upgrades().await);
            drop(tells);
        });
        Ok(Self::Own { sender, heard, moves, made: monotonic(), ended })
    }

    /// Whether the origin has closed it.
    pub(super) fn is_closed(&self) -> bool {
        match self {
            Self::Own { sender, .. } => sender.is_closed(),
            Self::Shared(share) => share.is_closed(),
        }
    }

    /// When it was made.
    pub(super) fn made(&self) -> Instant {
        match self {
            Self::Own { made, .. } => *made,
            Self::Shared(share) => share.made(),
        }
    }

    /// How often its origin had moved when it was begun; none if others use it, too.
    pub(super) fn moves(&self) -> Option<u64> {
        match self {
            Self::Own { moves, .. } => Some(*moves),
            Self::Shared(_) => None,
        }
    }

    /// Whether a request may be sent now.
    pub(super) fn is_ready(&self) -> bool {
        match self {
            Self::Own { sender, .. } => sender.is_ready(),
            Self::Shared(share) => !share.is_closed(),
        }
    }

    /// Whether others use it at the same time.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self, Self::Shared(_))
    }

    /// The bytes that came on it so far, where they are counted.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Own { heard, .. } => heard.bytes(),
            Self::Shared(_) => 0,
        }
    }

    /// Sends a request and waits for the head of its response.
    pub(super) async fn send(&mut self, request: Request<RequestBody>) -> Result<Response<Coming>, Unheaded> {
        match self {
            Self::Own { sender, heard, ended, .. } => {
                heard.expect_head();
                match unless_ended(sender.try_send_request(request), ended).await {
                    Some(answered) => answered.map(|response| response.map(Coming::Own)).map_err(unheaded),
                    None => Err(Unheaded::LeftBehind),
                }
            }
            Self::Shared(share) => Ok(share.send(request).await?.map(Coming::Shared)),
        }
    }
}

fn unheaded(mut tried: TrySendError<Request<RequestBody>>) -> Unheaded {
    match (tried.take_message(), tried.error()) {
        (Some(request), _) => Unheaded::Unsent(request.into()),
        (None, error) if error.is_user() => Unheaded::Failed(ProxyError::HttpRequestError),
        (None, error) if error.is_parse() => Unheaded::Failed(ProxyError::HttpProtocolError),
        (None, _) => Unheaded::Failed(ProxyError::ConnectionTerminated),
    }
}

/// The answer; none if the connection has ended and did not bring it.
async fn unless_ended<F: Future>(answer: F, ended: &CancellationToken) -> Option<F::Output> {
    let mut answer = pin!(answer);
    tokio::select! {
        biased;
        answered = &mut answer => Some(answered),
        () = ended.cancelled() => {
            // It may have come just before the end. A task that has done much in one go is told to wait first: not here.
            let mut last = pin!(unconstrained(answer));
            poll_fn(|cx| match last.as_mut().poll(cx) {
                Poll::Ready(answered) => Poll::Ready(Some(answered)),
                Poll::Pending => Poll::Ready(None),
            })
            .await
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn who_waits_for_an_answer_hears_of_the_end_of_its_connection() {
        let ended = CancellationToken::new();
        let (answer, coming) = oneshot::channel::<u8>();
        let waiting = tokio::spawn({
            let ended = ended.clone();
            async move { unless_ended(coming, &ended).await }
        });
        tokio::task::yield_now().await;
        ended.cancel();
        // The sender is there, as a channel's is that holds what nobody takes.
        assert_eq!(waiting.await.unwrap(), None);
        drop(answer);
    }

    #[tokio::test]
    async fn an_answer_that_came_before_the_end_counts() {
        let ended = CancellationToken::new();
        ended.cancel();
        assert_eq!(unless_ended(async { 1 }, &ended).await, Some(1));
        // It comes between the two looks.
        let mut looks = 0;
        let comes = poll_fn(|_| {
            looks += 1;
            if looks > 1 { Poll::Ready(2) } else { Poll::Pending }
        });
        assert_eq!(unless_ended(comes, &ended).await, Some(2));
    }
}
