//! The urgency of a request (RFC 9218) orders what is ready to go to its client.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::encrypted::{ask, edge, terms};
use super::floods::{END_STREAM, frame};
use super::mapping::{PREFACE, hpack, qpack};
use super::origin::response;
use super::quic;
use super::rig::{Origin, Rig, soon};

const END_HEADERS: u8 = 4;
/// More than all buffers on the way hold.
const DOWNLOAD_BYTES: usize = 4 << 20;
/// Over HTTP/3 both answers wait in one buffer for packets.
const PICTURE_BYTES: usize = 300 << 10;
const STYLE_BYTES: usize = 300 << 10;

/// An edge that has answers of some lengths.
async fn stocked() -> (Rig, Arc<Origin>, SocketAddr, tempfile::TempDir) {
    let origin = Origin::answering(|head| {
        let count = match head.split(' ').nth(1).unwrap() {
            "/download" => DOWNLOAD_BYTES,
            "/picture" => PICTURE_BYTES,
            _ => STYLE_BYTES,
        };
        response("200 OK", "Cache-Control: max-age=1000\r\n", &"x".repeat(count))
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let (rig, tls) = edge(&origin, folder.path(), "").await;
    for (path, count) in [("/download", DOWNLOAD_BYTES), ("/picture", PICTURE_BYTES), ("/style", STYLE_BYTES)]
    {
        assert_eq!(ask(tls, "h2", &format!("https://site.test{path}")).await.3.len(), count);
    }
    (rig, origin, tls, folder)
}

fn head<'a>(path: &'a str, priority: &'a str) -> [(&'a str, &'a str); 5] {
    [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "site.test"),
        (":path", path),
        ("priority", priority),
    ]
}

/// The next frame: its kind, its stream, whether it ends that, and its length.
async fn next(stream: &mut TlsStream<tokio::net::TcpStream>) -> (u8, u8, bool, usize) {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.unwrap();
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    stream.read_exact(&mut vec![0; length]).await.unwrap();
    (head[3], head[8], head[4] & END_STREAM != 0, length)
}

/// Asks for a download, then for a style sheet. Bytes of the one that come in the midst of the other.
async fn in_the_midst(address: SocketAddr, download: &str, style: &str) -> usize {
    let socket = TcpSocket::new_v4().unwrap();
    // The client takes little at a time, so that the edge has more ready than may go.
    socket.set_recv_buffer_size(16 << 10).unwrap();
    let stream = socket.connect(address).await.unwrap();
    let name = ServerName::try_from("site.test").unwrap();
    let mut stream = TlsConnector::from(terms(&["h2"])).connect(name, stream).await.unwrap();
    // All windows are open.
    let windows = [frame(4, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]), frame(8, 0, 0, &[0x7f, 0xfe, 0, 0])];
    let asked = frame(1, END_HEADERS | END_STREAM, 1, &hpack(&head("/download", download)));
    stream.write_all(&[PREFACE, &windows.concat(), &asked].concat()).await.unwrap();
    while !matches!(next(&mut stream).await, (0, 1, ..)) {}
    let asked = frame(1, END_HEADERS | END_STREAM, 3, &hpack(&head("/style", style)));
    stream.write_all(&asked).await.unwrap();
    let (mut has_begun, mut got, mut between) = (false, 0, 0);
    loop {
        match next(&mut stream).await {
            (1, 3, ..) => has_begun = true,
            (0, 3, is_last, length) => {
                got += length;
                if is_last {
                    assert_eq!(got, STYLE_BYTES);
                    return between;
                }
            }
            (0, 1, is_last, length) => {
                assert!(!is_last, "the download was over first");
                between += if has_begun { length } else { 0 };
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn the_more_urgent_answer_goes_first_over_http_2() {
    let (_rig, _origin, tls, _folder) = stocked().await;
    let between = soon("a style sheet", in_the_midst(tls, "u=7", "u=0")).await;
    assert!(between < STYLE_BYTES / 2, "{between} bytes of a download");
    // Without another word the usual urgency counts, 3.
    let between = soon("a style sheet", in_the_midst(tls, "u=4", "i")).await;
    assert!(between < STYLE_BYTES / 2, "{between} bytes of a download");
    let between = soon("a style sheet", in_the_midst(tls, "u=3", "i")).await;
    assert!(between >= STYLE_BYTES / 2, "{between} bytes of a download: as urgent, they share");
}

/// The same of a picture over HTTP/3.
async fn in_the_midst_over_quic(address: SocketAddr, picture: &str, style: &str) -> usize {
    let (_endpoint, connection) = quic::raw(address).await;
    let mut receiving = Vec::new();
    for head in [head("/picture", picture), head("/style", style)] {
        let (mut send, receive) = connection.open_bi().await.unwrap();
        send.write_all(&qpack(&head)).await.unwrap();
        send.finish().unwrap();
        receiving.push(receive);
    }
    let [picture, style] = &mut receiving[..] else { unreachable!("two were opened") };
    let (mut has_begun, mut is_over, mut between) = (false, false, 0);
    loop {
        tokio::select! {
            biased;
            // As they come: behind a packet that was lost, others wait that were sent before.
            read = picture.read_chunk(usize::MAX, false), if !is_over => match read.unwrap() {
                Some(chunk) => between += if has_begun { chunk.bytes.len() } else { 0 },
                None => is_over = true,
            },
            read = style.read_chunk(usize::MAX, true) => match read.unwrap() {
                Some(_) => has_begun = true,
                None => return between,
            },
        }
    }
}

#[tokio::test]
async fn the_more_urgent_answer_goes_first_over_http_3() {
    let (rig, _origin, _, _folder) = stocked().await;
    let quic = rig.running.as_ref().unwrap().listening().quic[0];
    for (picture, style) in [("u=7", "u=0"), ("u=4", "i"), ("i", "u=2")] {
        // On a machine that is busy with other things the urgent one may not be ready for a while: then others go. Two that
        // shared would have most of the picture between them each time.
        let mut least = usize::MAX;
        for _ in 0..10 {
            let asked = in_the_midst_over_quic(quic, picture, style);
            least = least.min(soon("a style sheet", asked).await);
            if least < STYLE_BYTES / 2 {
                break;
            }
        }
        assert!(least < STYLE_BYTES / 2, "{picture} {style}: {least} bytes of a picture");
    }
}
