//! An HTTP/1.1 client over a bare socket: what it sends is what was written, what it got is what came.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::rig::soon;

/// One connection.
pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// One response.
#[derive(Debug, Clone)]
pub struct Got {
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Got {
    /// A field's value; the lines of a repeated one joined by a comma. Empty if absent.
    pub fn field(&self, name: &str) -> String {
        let lines = self.fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
        lines.map(|(_, value)| value.as_str()).collect::<Vec<_>>().join(", ")
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn cache_status(&self) -> String {
        self.field("cache-status")
    }

    #[track_caller]
    pub fn assert_hit(&self) {
        assert!(self.cache_status().contains("hit"), "not a hit: {self:?}");
    }

    #[track_caller]
    pub fn assert_forwarded(&self) {
        assert!(self.cache_status().contains("fwd="), "not forwarded: {self:?}");
    }
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = soon("connecting", TcpStream::connect(address)).await.unwrap();
        Self { stream, buffer: Vec::new() }
    }

    /// One that has little room for what it does not read.
    pub async fn narrow(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let stream = soon("connecting", socket.connect(address)).await.unwrap();
        Self { stream, buffer: Vec::new() }
    }

    pub async fn get(&mut self, path: &str) -> Got {
        self.get_with(path, "").await
    }

    /// `fields` are lines, each with its CRLF.
    pub async fn get_with(&mut self, path: &str, fields: &str) -> Got {
        self.send_get(path, fields).await;
        self.response().await
    }

    pub async fn send_get(&mut self, path: &str, fields: &str) {
        let head = format!("GET {path} HTTP/1.1\r\nHost: site.test\r\n{fields}\r\n");
        self.write(head.as_bytes()).await;
    }

    /// Sends these bytes and reads one response.
    pub async fn raw(&mut self, bytes: &[u8]) -> Got {
        self.write(bytes).await;
        self.response().await
    }

    pub async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// A whole response.
    pub async fn response(&mut self) -> Got {
        let mut got = self.head().await;
        got.body = self.body(&got).await.expect("the body broke off");
        got
    }

    /// A response's head; its body is still to be read.
    pub async fn head(&mut self) -> Got {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
                return parse(&head);
            }
            assert!(
                self.more().await > 0,
                "closed before a head: {:?}",
                String::from_utf8_lossy(&self.buffer)
            );
        }
    }

    /// Exactly this many bytes of the body, as they came on the wire.
    pub async fn bytes(&mut self, count: usize) -> Vec<u8> {
        let bytes = self.try_bytes(count).await;
        bytes.unwrap_or_else(|| panic!("closed after {} bytes", self.buffer.len()))
    }

    /// As `bytes`; none if it is closed before.
    pub async fn try_bytes(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < count {
            if self.more().await == 0 {
                return None;
            }
        }
        Some(self.buffer.drain(..count).collect())
    }

    /// The rest of a body; none if it breaks off.
    pub async fn body(&mut self, head: &Got) -> Option<Vec<u8>> {
        if matches!(head.status, 204 | 304) {
            return Some(Vec::new());
        }
        if head.field("transfer-encoding").contains("chunked") {
            return self.chunks().await;
        }
        match head.field("content-length").parse::<usize>() {
            Ok(length) => {
                while self.buffer.len() < length {
                    if self.more().await == 0 {
                        return None;
                    }
                }
                Some(self.buffer.drain(..length).collect())
            }
            Err(_) => {
                while self.more().await > 0 {}
                Some(std::mem::take(&mut self.buffer))
            }
        }
    }

    async fn chunks(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let Some(end) = find(&self.buffer, b"\r\n") else {
                if self.more().await == 0 {
                    return None;
                }
                continue;
            };
            let size = usize::from_str_radix(std::str::from_utf8(&self.buffer[..end]).unwrap(), 16).unwrap();
            while self.buffer.len() < end + 2 + size + 2 {
                if self.more().await == 0 {
                    return None;
                }
            }
            body.extend_from_slice(&self.buffer[end + 2..end + 2 + size]);
            self.buffer.drain(..end + 2 + size + 2);
            if size == 0 {
                return Some(body);
            }
        }
    }

    /// All that comes until the server closes the connection.
    pub async fn rest(&mut self) -> String {
        while self.more().await > 0 {}
        String::from_utf8_lossy(&std::mem::take(&mut self.buffer)).into_owned()
    }

    /// Sends nothing more, and says so.
    pub async fn say_no_more(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// All that comes until the connection ends; an error if it was reset.
    pub async fn until_the_end(mut self) -> std::io::Result<String> {
        soon("the end of the connection", self.stream.read_to_end(&mut self.buffer)).await?;
        Ok(String::from_utf8_lossy(&self.buffer).into_owned())
    }

    /// Goes away in a way that the server hears of at once.
    pub fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    }

    /// Writes, if the server is still there.
    pub async fn try_write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Whether the server has closed the connection, with nothing more to read.
    pub async fn is_closed(&mut self) -> bool {
        self.buffer.is_empty() && self.more().await == 0
    }

    async fn more(&mut self) -> usize {
        soon("bytes from the edge", self.stream.read_buf(&mut self.buffer)).await.unwrap_or(0)
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn parse(head: &[u8]) -> Got {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let fields = lines.filter_map(|line| line.split_once(':'));
    let fields = fields.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    Got { status, fields, body: Vec::new() }
}
