//! A client that has sent all it will, counted in polls: waiting for its answer costs nothing.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use verge_edge::serve::h1::gate::{Gate, Sending, Turns};

use super::server::MAX_HEAD_BYTES;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
/// A poll, one for the end, and a few that hyper or the gate needs for a change. One that spins has no such number.
const FEW: usize = 8;

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Polls as long as something wakes it.
fn settle<F: Future>(mut task: Pin<&mut F>) -> Poll<F::Output> {
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    for polls in 1..=FEW {
        let polled = task.as_mut().poll(&mut Context::from_waker(&waker));
        if polled.is_ready() || wakes.0.load(Ordering::Relaxed) < polls {
            return polled;
        }
        wakes.0.store(polls, Ordering::Relaxed);
    }
    panic!("still awake after {FEW} polls");
}

/// An answer that comes when the test says so, as do the pieces of its body.
struct Pieces {
    pieces: UnboundedReceiver<Bytes>,
    _sending: Sending,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.pieces.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

type Head = UnboundedReceiver<Bytes>;
type Heads = UnboundedReceiver<Head>;

/// The head is given with its body's pieces to come.
async fn answer(turns: Turns, mut heads: Heads, request: Request<Incoming>) -> Response<Pieces> {
    let sending = turns.sending();
    let turn = turns.begin(request.version()).unwrap();
    let pieces = heads.recv().await.unwrap();
    drop(turn);
    Response::new(Pieces { pieces, _sending: sending })
}

/// A connection of one request, the client's end of it, and what makes the service answer.
fn connection() -> (impl Future<Output = hyper::Result<()>>, tokio::io::DuplexStream, UnboundedSender<Head>) {
    let (client, server) = tokio::io::duplex(4096);
    let gate = Gate::new(server, MAX_HEAD_BYTES);
    let (turns, (give, heads)) = (gate.turns(), unbounded_channel());
    let heads = Mutex::new(Some(heads));
    let service = service_fn(move |request| {
        let answered = answer(turns.clone(), heads.lock().unwrap().take().unwrap(), request);
        async move { Ok::<_, Infallible>(answered.await) }
    });
    (hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(gate), service), client, give)
}

#[tokio::test]
async fn a_client_that_says_no_more_costs_no_polls_while_it_waits_for_its_answer() {
    let (connection, mut client, give) = connection();
    let mut connection = pin!(connection);
    client.write_all(GET).await.unwrap();
    assert!(settle(connection.as_mut()).is_pending());
    client.shutdown().await.unwrap();
    for _ in 0..3 {
        assert!(settle(connection.as_mut()).is_pending());
    }
    let (piece, pieces) = unbounded_channel();
    give.send(pieces).unwrap();
    for _ in 0..3 {
        assert!(settle(connection.as_mut()).is_pending());
    }
    piece.send(Bytes::from_static(b"whole")).unwrap();
    drop(piece);
    assert!(matches!(settle(connection.as_mut()), Poll::Ready(Ok(()))));
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("whole"), "{answer:?}");
}

#[tokio::test]
async fn a_client_that_says_no_more_costs_no_polls_while_it_is_answered() {
    let (connection, mut client, give) = connection();
    let mut connection = pin!(connection);
    client.write_all(GET).await.unwrap();
    let (piece, pieces) = unbounded_channel();
    give.send(pieces).unwrap();
    piece.send(Bytes::from_static(b"first")).unwrap();
    assert!(settle(connection.as_mut()).is_pending());
    client.shutdown().await.unwrap();
    for _ in 0..3 {
        assert!(settle(connection.as_mut()).is_pending());
    }
    piece.send(Bytes::from_static(b"last")).unwrap();
    drop(piece);
    assert!(matches!(settle(connection.as_mut()), Poll::Ready(Ok(()))));
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("first") && answer.contains("last"), "{answer:?}");
}
