//! A request's content on its way into a stream of HTTP/2, beside the response.
//!
//! An origin may answer before it has all of it. It says so by RST_STREAM(NO_ERROR) where it wants no more of it (RFC 9113
//! §8.1); else the content goes on when the response is over.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::origin::body::RequestBody;

/// An origin that has answered and takes nothing of the content for so long gets no more of it. Before, its response is
/// waited for, which has limits of its own.
const LONGEST_WITHOUT_WINDOW: Duration = Duration::from_secs(30);

/// A client's content is kept while no answer is here, until there is so much of it. h2 holds as much of a stream that
/// waits for its window.
const MOST_KEPT_BYTES: usize = 64 << 10;

/// The content of a request that waits for its answer.
#[derive(Debug)]
pub(super) enum Content {
    /// None is left to be sent.
    Whole(RequestBody),
    /// It is on its way. The task gives it back when nothing of it is gone.
    Coming(Upload, JoinHandle<Option<RequestBody>>),
}

impl Content {
    pub(super) fn begin(body: RequestBody, stream: SendStream<Bytes>) -> Self {
        if body.is_end_stream() {
            return Self::Whole(body);
        }
        let fate = Arc::<Fate>::default();
        let task = tokio::spawn(carry(body, stream, Arc::clone(&fate)));
        Self::Coming(Upload { abandons: fate.abandoned.clone().drop_guard(), fate }, task)
    }

    /// Whether its client did not give it whole.
    pub(super) fn has_broken_off(&self) -> bool {
        match self {
            Self::Whole(_) => false,
            Self::Coming(upload, _) => upload.fate.has_broken_off.load(Ordering::Acquire),
        }
    }

    /// An answer is here: nobody needs it a second time.
    pub(super) fn of_answered(self) -> Option<Upload> {
        match self {
            Self::Whole(_) => None,
            Self::Coming(upload, _) => Some(upload),
        }
    }

    /// The same from its beginning, once its stream is over; none where some of it is gone.
    pub(super) async fn back(self) -> Option<RequestBody> {
        match self {
            Self::Whole(body) => Some(body),
            Self::Coming(_upload, task) => task.await.ok().flatten(),
        }
    }
}

/// The content, seen from the response. It ends with it.
#[derive(Debug)]
pub(super) struct Upload {
    fate: Arc<Fate>,
    abandons: DropGuard,
}

#[derive(Debug, Default)]
struct Fate {
    /// Nobody waits for the response any more.
    abandoned: CancellationToken,
    has_answer: AtomicBool,
    has_broken_off: AtomicBool,
}

impl Upload {
    /// The whole response is here.
    pub(super) fn goes_on_alone(self) {
        self.fate.has_answer.store(true, Ordering::Release);
        self.abandons.disarm();
    }
}

/// All that was taken of a client's content, as long as that is little.
struct Taken(Option<Vec<u8>>);

impl Taken {
    fn note(&mut self, bytes: &Bytes) {
        let taken = self.0.take().filter(|taken| taken.len() + bytes.len() <= MOST_KEPT_BYTES);
        self.0 = taken.map(|mut taken| {
            taken.extend_from_slice(bytes);
            taken
        });
    }
}

/// The same content from its beginning, if nothing of it is gone.
async fn carry(mut body: RequestBody, mut stream: SendStream<Bytes>, fate: Arc<Fate>) -> Option<RequestBody> {
    let is_held = matches!(body, RequestBody::Held(..));
    let mut taken = Taken(Some(Vec::new()));
    loop {
        let frame = tokio::select! {
            biased;
            () = fate.abandoned.cancelled() => {
                stream.send_reset(Reason::CANCEL);
                return None;
            }
            _ = poll_fn(|cx| stream.poll_reset(cx)) => break,
            frame = body.frame() => frame,
        };
        let Some(frame) = frame else {
            // Sending fails only on a stream that has ended.
            let _ = stream.send_data(Bytes::new(), true);
            break;
        };
        let Ok(frame) = frame else {
            fate.has_broken_off.store(true, Ordering::Release);
            stream.send_reset(Reason::CANCEL);
            return None;
        };
        match frame.into_data() {
            Ok(bytes) => {
                if !is_held {
                    taken.note(&bytes);
                }
                // A piece of nothing is not sent, so the end is not either.
                let is_last = !bytes.is_empty() && body.is_end_stream();
                if !give(bytes, is_last, &mut stream, &fate).await || is_last {
                    break;
                }
            }
            Err(frame) => {
                let trailers = frame.into_trailers().unwrap_or_default();
                let _ = stream.send_trailers(trailers);
                return None;
            }
        }
    }
    body.begin_again(taken.0?.into());
    Some(body)
}

/// Sends a piece as the window opens. Whether more may follow.
async fn give(mut bytes: Bytes, is_last: bool, stream: &mut SendStream<Bytes>, fate: &Fate) -> bool {
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        let granted = tokio::select! {
            biased;
            () = fate.abandoned.cancelled() => 0,
            granted = window(stream, fate) => granted,
        };
        if granted == 0 {
            stream.send_reset(Reason::CANCEL);
            return false;
        }
        let piece = bytes.split_to(granted.min(bytes.len()));
        let is_end = is_last && bytes.is_empty();
        if stream.send_data(piece, is_end).is_err() {
            return false;
        }
    }
    true
}

/// The bytes that may be sent; 0 if none may any more.
async fn window(stream: &mut SendStream<Bytes>, fate: &Fate) -> usize {
    loop {
        match timeout(LONGEST_WITHOUT_WINDOW, poll_fn(|cx| stream.poll_capacity(cx))).await {
            Ok(Some(Ok(granted))) => return granted,
            Ok(_) => return 0,
            Err(_) if fate.has_answer.load(Ordering::Acquire) => return 0,
            Err(_) => {}
        }
    }
}
