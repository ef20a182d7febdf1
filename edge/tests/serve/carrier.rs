//! The tables of this program over other carriers: `VERGE_CARRIER` names one, and then each [`Rig`](super::rig::Rig) is asked by
//! it. A client of these tests speaks HTTP/1.1 to a translator, which carries each request on as TLS, HTTP/2 or HTTP/3 has it.
//!
//! The tests themselves are the same, and so are their expectations: what is true of a request does not depend on its carrier.
//! `.ci/carriers` runs them so, and says which of them are about HTTP/1.1 alone.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame};
use hyper_util::rt::{TokioExecutor, TokioIo};
use quinn::crypto::rustls::QuicClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio_rustls::TlsConnector;
use verge_edge::run::Running;

use super::encrypted::{certificate, terms};
use super::quic::Http3;

/// How requests get to the edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    Tls,
    Http2,
    Http3,
}

const NAME: &str = "VERGE_CARRIER";

impl Carrier {
    /// The one that this run of the tests is for.
    pub fn of_this_run() -> Option<Self> {
        match std::env::var(NAME).ok()?.as_str() {
            "tls" => Some(Self::Tls),
            "http2" => Some(Self::Http2),
            "http3" => Some(Self::Http3),
            other => panic!("{NAME}: {other}"),
        }
    }

    /// The config with listeners for it.
    pub fn config(text: &str, folder: &Path) -> String {
        let listen = "listen_tls = [\"127.0.0.1:0\"]\nlisten_quic = [\"127.0.0.1:0\"]";
        format!("{listen}\n{text}\n[tls]\n{}", certificate(folder, &["site.test"]))
    }

    /// Where a client of HTTP/1.1 finds the edge by it.
    pub async fn translate(self, running: &Running) -> SocketAddr {
        let listening = running.listening();
        let edge = if self == Self::Http3 { listening.quic[0] } else { listening.tls[0] };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(async move {
                    client.set_nodelay(true).unwrap();
                    // A client's connection that breaks ends the edge's, which says nothing of its own.
                    let _ = self.carry(client, edge).await;
                });
            }
        });
        address
    }

    async fn carry(self, mut client: TcpStream, edge: SocketAddr) -> Option<()> {
        if self == Self::Tls {
            let mut stream = over_tls(edge, "http/1.1").await?;
            tokio::io::copy_bidirectional(&mut client, &mut stream).await.ok()?;
            return Some(());
        }
        let mut way = Way::open(self, edge).await?;
        let (mut from, mut to) = client.into_split();
        let mut buffer = BytesMut::new();
        loop {
            let head = Head::read(&mut from, &mut buffer).await?;
            let (tell, told) = channel(1);
            let is_head = head.request.method() == "HEAD";
            let mut has_all = false;
            let answered = {
                let upload = upload(&mut from, &mut buffer, head.framing, tell, &mut has_all);
                let answer = async {
                    let (status, fields, body) =
                        way.ask(head.request, told, head.framing != Framing::Length(0)).await?;
                    write(&mut to, status, &fields, body, is_head).await
                };
                tokio::select! {
                    answered = answer => answered,
                    // The client is gone, and so is its request.
                    () = upload => None,
                }
            };
            answered.filter(|()| has_all)?;
        }
    }
}

/// TLS without a name: a translator is asked for every host.
async fn over_tls(edge: SocketAddr, protocol: &str) -> Option<tokio_rustls::client::TlsStream<TcpStream>> {
    let stream = TcpStream::connect(edge).await.ok()?;
    stream.set_nodelay(true).unwrap();
    let name = ServerName::from(edge.ip());
    TlsConnector::from(terms(&[protocol])).connect(name, stream).await.ok()
}

/// How a request's content ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunks,
}

struct Head {
    request: Request<()>,
    framing: Framing,
}

impl Head {
    async fn read(from: &mut OwnedReadHalf, buffer: &mut BytesMut) -> Option<Self> {
        let end = loop {
            if let Some(end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end;
            }
            (from.read_buf(buffer).await.ok()? > 0).then_some(())?;
        };
        let head = String::from_utf8(buffer.split_to(end + 4).to_vec()).ok()?;
        let mut lines = head.trim_end().split("\r\n");
        let mut first = lines.next()?.split(' ');
        let (method, target) = (first.next()?, first.next()?);
        let (mut host, mut framing, mut fields) = (String::new(), Framing::Length(0), HeaderMap::new());
        for line in lines {
            let (name, value) = line.split_once(':')?;
            let (name, value) = (name.to_ascii_lowercase(), value.trim());
            match name.as_str() {
                "host" => host = value.to_owned(),
                "transfer-encoding" => framing = Framing::Chunks,
                "connection" | "keep-alive" | "te" => {}
                _ => {
                    if name == "content-length" {
                        framing = Framing::Length(value.parse().ok()?);
                    }
                    fields.append(http::HeaderName::from_bytes(name.as_bytes()).ok()?, value.parse().ok()?);
                }
            }
        }
        let mut request =
            Request::builder().method(method).uri(format!("https://{host}{target}")).body(()).ok()?;
        *request.headers_mut() = fields;
        Some(Self { request, framing })
    }
}

/// Reads a request's content, and then ends only when the client is gone.
async fn upload(
    from: &mut OwnedReadHalf,
    buffer: &mut BytesMut,
    framing: Framing,
    tell: Sender<Bytes>,
    has_all: &mut bool,
) {
    let mut left = match framing {
        Framing::Length(length) => length,
        Framing::Chunks => 0,
    };
    let mut is_last = matches!(framing, Framing::Length(_));
    loop {
        while left > 0 {
            if buffer.is_empty() && from.read_buf(buffer).await.unwrap_or(0) == 0 {
                return;
            }
            let piece = buffer.split_to(left.min(buffer.len())).freeze();
            left -= piece.len();
            // An edge that has answered takes no more of it.
            let _ = tell.send(piece).await;
        }
        if is_last {
            break;
        }
        // The end of the chunk before, if there is one, and the size of the next.
        let end = loop {
            let found = buffer.windows(2).enumerate().find(|(at, bytes)| *bytes == b"\r\n" && *at > 0);
            if let Some((end, _)) = found {
                break end;
            }
            if from.read_buf(buffer).await.unwrap_or(0) == 0 {
                return;
            }
        };
        let line = buffer.split_to(end + 2);
        let size = std::str::from_utf8(&line).unwrap().trim().to_owned();
        let Ok(size) = usize::from_str_radix(&size, 16) else { return };
        left = size;
        is_last = left == 0;
        if is_last {
            while buffer.len() < 2 {
                if from.read_buf(buffer).await.unwrap_or(0) == 0 {
                    return;
                }
            }
            buffer.advance(2);
        }
    }
    *has_all = true;
    drop(tell);
    while from.read_buf(buffer).await.unwrap_or(0) > 0 {}
}

/// Pieces of an answer's body; none behind the last, an error where it breaks off.
type Pieces = Receiver<Result<Bytes, ()>>;

/// A connection to the edge.
enum Way {
    Http2(hyper::client::conn::http2::SendRequest<Upload>),
    Http3(Box<Http3>),
}

impl Way {
    async fn open(carrier: Carrier, edge: SocketAddr) -> Option<Self> {
        if carrier == Carrier::Http3 {
            let tls = QuicClientConfig::try_from((*terms(&["h3"])).clone()).unwrap();
            let config = quinn::ClientConfig::new(Arc::new(tls));
            return Some(Self::Http3(Box::new(Http3::named(edge, config, &edge.ip().to_string()).await)));
        }
        let stream = TokioIo::new(over_tls(edge, "h2").await?);
        let (sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .max_header_list_size(1 << 20)
            .handshake(stream)
            .await
            .ok()?;
        tokio::spawn(connection);
        Some(Self::Http2(sender))
    }

    async fn ask(
        &mut self,
        request: Request<()>,
        mut content: Receiver<Bytes>,
        has_content: bool,
    ) -> Option<(StatusCode, HeaderMap, Pieces)> {
        let (give, pieces) = channel(1);
        match self {
            Self::Http2(sender) => {
                let body = Upload { rest: content, is_over: !has_content };
                let answer = sender.send_request(request.map(|()| body)).await.ok()?;
                let (head, mut body) = answer.into_parts();
                tokio::spawn(async move {
                    while let Some(frame) = body.frame().await {
                        let piece = frame.map_err(drop).map(|frame| frame.into_data().unwrap_or_default());
                        if give.send(piece).await.is_err() {
                            return;
                        }
                    }
                });
                Some((head.status, head.headers, pieces))
            }
            Self::Http3(client) => {
                let (mut send, mut receive) = client.requests.send_request(request).await.ok()?.split();
                tokio::spawn(async move {
                    while let Some(piece) = content.recv().await {
                        if send.send_data(piece).await.is_err() {
                            return;
                        }
                    }
                    let _ = send.finish().await;
                });
                let head = receive.recv_response().await.ok()?;
                let (status, fields) = (head.status(), head.headers().clone());
                tokio::spawn(async move {
                    loop {
                        let piece = match receive.recv_data().await {
                            Ok(Some(mut piece)) => Ok(piece.copy_to_bytes(piece.remaining())),
                            Ok(None) => return,
                            Err(_) => Err(()),
                        };
                        let is_last = piece.is_err();
                        if give.send(piece).await.is_err() || is_last {
                            return;
                        }
                    }
                });
                Some((status, fields, pieces))
            }
        }
    }
}

/// A request's content on its way.
struct Upload {
    rest: Receiver<Bytes>,
    is_over: bool,
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = ready!(self.rest.poll_recv(cx));
        self.is_over = piece.is_none();
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over
    }
}

/// Writes an answer as HTTP/1.1 has it.
async fn write(
    to: &mut (impl AsyncWriteExt + Unpin),
    status: StatusCode,
    fields: &HeaderMap,
    mut body: Pieces,
    is_head: bool,
) -> Option<()> {
    let mut head = format!("HTTP/1.1 {} -\r\n", status.as_str()).into_bytes();
    for (name, value) in fields {
        head.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    let has_body = !is_head && !matches!(status.as_u16(), 204 | 304);
    let is_chunked = has_body && !fields.contains_key("content-length");
    head.extend(if is_chunked { &b"transfer-encoding: chunked\r\n\r\n"[..] } else { b"\r\n" });
    to.write_all(&head).await.ok()?;
    while let Some(piece) = body.recv().await {
        let piece = piece.ok()?;
        if is_chunked && !piece.is_empty() {
            to.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).await.ok()?;
            to.write_all(&piece).await.ok()?;
            to.write_all(b"\r\n").await.ok()?;
        } else {
            to.write_all(&piece).await.ok()?;
        }
    }
    if is_chunked {
        to.write_all(b"0\r\n\r\n").await.ok()?;
    }
    Some(())
}
