//! An origin over bare sockets that records every request and answers as the test says, when it says.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, mpsc};

use super::rig::soon;

/// A listening origin. Requests come out of `next`, in the order in which their heads were complete.
pub struct Origin {
    pub address: SocketAddr,
    asked: Mutex<mpsc::UnboundedReceiver<Asked>>,
    seen: Arc<std::sync::Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
    task: Mutex<Option<tokio::task::JoinHandle<()>>>,
}

/// One request, waiting for its answer.
pub struct Asked {
    /// As it came, in one string; the body as far as it came with the head.
    pub head: String,
    connection: Connection,
    back: mpsc::UnboundedSender<Connection>,
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Origin {
    /// Answers nothing by itself.
    pub async fn start() -> Self {
        Self::listening(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn listening(listener: TcpListener) -> Self {
        let address = listener.local_addr().unwrap();
        let (send, asked) = mpsc::unbounded_channel();
        let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
        let heard = Arc::clone(&seen);
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            let mut serving = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::Relaxed);
                serving.spawn(listen(
                    Connection { stream, buffer: Vec::new() },
                    send.clone(),
                    Arc::clone(&heard),
                ));
            }
        });
        Self { address, asked: Mutex::new(asked), seen, connections, task: Mutex::new(Some(task)) }
    }

    /// Answers every request with what `answer` makes of its head.
    pub async fn answering(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Arc<Self> {
        Self::start().await.serving(answer)
    }

    /// As `answering`, with what is no text.
    pub async fn answering_bytes(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Arc<Self> {
        Self::start().await.serving(answer)
    }

    /// As `answering`, at an address that was free a moment ago.
    pub async fn at(
        address: SocketAddr,
        answer: impl Fn(&str) -> String + Send + Sync + 'static,
    ) -> Arc<Self> {
        Self::listening(TcpListener::bind(address).await.unwrap()).serving(answer)
    }

    /// As `start`, at an address that was free a moment ago.
    pub async fn start_at(address: SocketAddr) -> Self {
        Self::listening(TcpListener::bind(address).await.unwrap())
    }

    /// Two as `start`, at these addresses, at a port that was free at both.
    pub async fn at_one_port(one: [u8; 4], other: [u8; 4]) -> (Self, Self) {
        loop {
            let first = TcpListener::bind(SocketAddr::from((one, 0))).await.unwrap();
            let port = first.local_addr().unwrap().port();
            if let Ok(second) = TcpListener::bind(SocketAddr::from((other, port))).await {
                return (Self::listening(first), Self::listening(second));
            }
        }
    }

    /// Answers every request with what `answer` makes of its head.
    pub fn serving<R: AsRef<[u8]> + Send>(
        self,
        answer: impl Fn(&str) -> R + Send + Sync + 'static,
    ) -> Arc<Self> {
        let origin = Arc::new(self);
        let serving = Arc::clone(&origin);
        tokio::spawn(async move {
            loop {
                let Some(mut asked) = serving.asked.lock().await.recv().await else { return };
                let response = answer(&asked.head);
                asked.write(response.as_ref()).await;
                asked.done();
            }
        });
        origin
    }

    /// The next request.
    pub async fn next(&self) -> Asked {
        soon("a request at the origin", async { self.asked.lock().await.recv().await.unwrap() }).await
    }

    /// The next request, however long it takes.
    pub async fn next_or_end(&self) -> Asked {
        match self.asked.lock().await.recv().await {
            Some(asked) => asked,
            None => std::future::pending().await,
        }
    }

    /// How many requests have come and were not taken.
    pub fn waiting(&self) -> usize {
        self.asked.try_lock().map_or(0, |asked| asked.len())
    }

    /// The heads of all requests so far.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    /// How many requests came so far.
    pub fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// How many connections were made to it.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Stops listening and drops its connections.
    pub async fn die(&self) {
        if let Some(task) = self.task.lock().await.take() {
            task.abort();
            let _ = task.await;
        }
    }
}

async fn listen(
    mut connection: Connection,
    send: mpsc::UnboundedSender<Asked>,
    seen: Arc<std::sync::Mutex<Vec<String>>>,
) {
    let (back, mut again) = mpsc::unbounded_channel();
    loop {
        let head = loop {
            if let Some(end) = connection.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break String::from_utf8_lossy(&connection.buffer.drain(..end + 4).collect::<Vec<u8>>())
                    .into_owned();
            }
            if connection.stream.read_buf(&mut connection.buffer).await.unwrap_or(0) == 0 {
                return;
            }
        };
        seen.lock().unwrap().push(head.clone());
        if send.send(Asked { head, connection, back: back.clone() }).is_err() {
            return;
        }
        match again.recv().await {
            Some(given_back) => connection = given_back,
            None => return,
        }
    }
}

impl Asked {
    /// Writes a whole response and takes the next request on this connection.
    pub async fn respond(mut self, response: &str) {
        self.write(response.as_bytes()).await;
        self.done();
    }

    /// Writes a part of a response.
    pub async fn write(&mut self, bytes: &[u8]) {
        // The edge may have hung up: then that is what the test is about.
        let _ = self.connection.stream.write_all(bytes).await;
    }

    /// The response is complete.
    pub fn done(self) {
        let _ = self.back.send(self.connection);
    }

    /// Fails when it has begun to answer: before that, a connection that served others may close at any time, and the
    /// request is sent again.
    pub fn fail(self) {
        let _ = self.connection.stream.try_write(b"H");
    }

    /// Drops the connection in a way that is no end of a message.
    pub fn reset(self) {
        socket2::SockRef::from(&self.connection.stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    }

    /// More of the request's body.
    pub async fn read(&mut self, count: usize) -> Vec<u8> {
        while self.connection.buffer.len() < count {
            let read =
                soon("the request's body", self.connection.stream.read_buf(&mut self.connection.buffer))
                    .await;
            assert!(read.unwrap() > 0, "the request's body broke off");
        }
        self.connection.buffer.drain(..count).collect()
    }

    /// Waits until the edge has hung up.
    pub async fn hung_up(self) {
        self.until_hung_up().await;
    }

    /// All that comes until the edge hangs up.
    pub async fn until_hung_up(mut self) -> String {
        let mut rest = self.connection.buffer;
        let _ = soon("the edge hanging up", self.connection.stream.read_to_end(&mut rest)).await;
        String::from_utf8_lossy(&rest).into_owned()
    }
}

/// A response with these field lines (each with CRLF) and this body.
pub fn response(status: &str, fields: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{fields}\r\n{body}", body.len())
}
