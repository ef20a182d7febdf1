//! One request and its answer on a stream, whatever carries the stream.

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use tokio::sync::mpsc::{self, Receiver, Sender};

use super::{Asked, Client, complete, date};
use crate::origin::Early;
use crate::pace::Slow;
use crate::serve::answer::Answer;
use crate::serve::arrival::Transport;
use crate::serve::body::Body;
use crate::serve::h1::gate::interim;
use crate::serve::tunnel::Tunnel;
use crate::tls::Identity;

/// A 1xx head on its way to the client.
#[derive(Debug)]
pub(in crate::serve) struct Interim {
    pub(in crate::serve) status: StatusCode,
    pub(in crate::serve) fields: HeaderMap,
}

impl Interim {
    /// The client may send its body.
    pub(in crate::serve) fn go_on() -> Self {
        Self { status: StatusCode::CONTINUE, fields: HeaderMap::new() }
    }
}

/// 1xx heads that wait for the client; more are dropped.
const INTERIMS: usize = 8;

/// A way for 1xx heads to the task of their stream.
pub(in crate::serve) fn interims() -> (Sender<Interim>, Receiver<Interim>) {
    mpsc::channel(INTERIMS)
}

/// Why an answer does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::serve) enum Lost {
    /// The client takes it too slowly.
    Slow(Slow),
    /// The client does not want it any more, or is gone.
    Unwanted,
    /// The origin broke it off.
    Broken,
}

/// The edge's side of a stream, which takes bytes as fast as the client does.
pub(in crate::serve) trait Sink: Send {
    /// Ready when the client does not want the answer any more.
    fn poll_unwanted(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Sends a 1xx head.
    fn interim(&mut self, head: Interim) -> impl Future<Output = Result<(), Lost>> + Send;

    /// Sends the head, and the end if there is no body.
    fn head(
        &mut self,
        status: StatusCode,
        headers: HeaderMap,
        is_last: bool,
    ) -> impl Future<Output = Result<(), Lost>> + Send;

    /// Sends a part of the body, and the end behind it if it is the last.
    fn data(&mut self, bytes: Bytes, is_last: bool) -> impl Future<Output = Result<(), Lost>> + Send;

    /// Sends trailers.
    fn trailers(&mut self, trailers: HeaderMap) -> impl Future<Output = Result<(), Lost>> + Send;

    /// Says that this was all, if that has not been said.
    fn finish(&mut self) -> impl Future<Output = Result<(), Lost>> + Send;
}

/// Has a request answered while the client wants that, and hands 1xx heads on; none if it does not.
pub(in crate::serve) async fn respond<S: Sink>(
    client: &Client,
    sink: &mut S,
    asked: Asked,
    (tell, mut told): (Sender<Interim>, Receiver<Interim>),
) -> Option<Answer> {
    let stream = Stream {
        tell,
        protocol: asked.protocol.clone(),
        identity: client.identity.as_deref(),
        is_early: client.unconfirmed.is_so(),
    };
    let mut answer = pin!(client.answer(asked, &stream));
    loop {
        tokio::select! {
            biased;
            answer = &mut answer => return Some(answer),
            Some(head) = told.recv() => sink.interim(head).await.ok()?,
            () = poll_fn(|cx| sink.poll_unwanted(cx)) => return None,
        }
    }
}

/// Sends the head of an answer behind which the stream carries another protocol, and the origin's side of that; none if
/// this answer has a body like others.
pub(in crate::serve) async fn switched<S: Sink>(
    client: &Client,
    sink: &mut S,
    answer: &mut Answer,
) -> Result<Option<Tunnel>, Lost> {
    let Some(tunnel) = answer.body.take_tunnel() else { return Ok(None) };
    let mut headers = std::mem::take(&mut answer.head.headers);
    date(&mut headers, client.service.cache.clock.now());
    sink.head(answer.head.status, headers, false).await?;
    Ok(Some(tunnel))
}

/// Sends an answer to its end.
pub(in crate::serve) async fn send<S: Sink>(
    client: &Client,
    sink: &mut S,
    method: &Method,
    mut answer: Answer,
) -> Result<(), Lost> {
    let has_body = complete(&mut answer, method, client.service.cache.clock.now());
    let body = if has_body { answer.body } else { Body::empty() };
    sink.head(answer.head.status, answer.head.headers, body.is_end_stream()).await?;
    send_body(sink, body).await
}

/// Sends what follows a head to its end.
pub(in crate::serve) async fn send_body<S: Sink>(sink: &mut S, mut body: Body) -> Result<(), Lost> {
    while !body.is_end_stream() {
        let frame = tokio::select! {
            frame = body.frame() => frame,
            () = poll_fn(|cx| sink.poll_unwanted(cx)) => return Err(Lost::Unwanted),
        };
        match frame {
            None => break,
            Some(Ok(frame)) => match frame.into_data() {
                Ok(bytes) => sink.data(bytes, body.is_end_stream()).await?,
                Err(frame) => match frame.into_trailers() {
                    Ok(trailers) => return sink.trailers(trailers).await,
                    Err(_) => break,
                },
            },
            Some(Err(_)) => return Err(Lost::Broken),
        }
    }
    sink.finish().await
}

/// A stream's transport.
struct Stream<'a> {
    tell: Sender<Interim>,
    protocol: Option<HeaderValue>,
    identity: Option<&'a Identity>,
    is_early: bool,
}

impl Transport for Stream<'_> {
    fn interim(&self) -> Early {
        let tell = self.tell.clone();
        Early::new(move |status, fields: &HeaderMap| {
            if interim::is_forwarded(status) {
                // A hint that comes too late is none.
                let _ = tell.try_send(Interim { status, fields: interim::forwarded(fields) });
            }
        })
    }

    fn protocol(&self) -> Option<HeaderValue> {
        self.protocol.clone()
    }

    fn identity(&self) -> Option<&Identity> {
        self.identity
    }

    fn is_early(&self) -> bool {
        self.is_early
    }

    fn refusal(&self) -> Option<Answer> {
        None
    }
}
