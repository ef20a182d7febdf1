//! A process that takes over from another: nothing is refused, dropped or lost, and one that fails changes nothing.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use bytes::{Buf, Bytes};
use http::{Request, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use verge_edge::config;
use verge_edge::run::{self, Running, StartError};

use super::encrypted::{ask, certificate};
use super::origin::Asked;
use super::quic::Http3;
use super::rig::{Client, Origin, response, soon};
use super::tunnels::{CARRIERS, End, open_at};
use super::upgrades;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A config for processes that take over from one another.
fn text(folder: &Path, origin: &Origin) -> String {
    format!(
        "run_folder = {:?}\nlisten = [\"127.0.0.1:0\"]\nlisten_tls = [\"127.0.0.1:0\"]\nlisten_quic = [\"127.0.0.1:0\"]\n\
         [tls]\n{}[admin]\nlisten = \"127.0.0.1:0\"\n[[site]]\nhosts = [\"*\"]\norigins = [\"http://{}\"]\n",
        folder.join("run"),
        certificate(folder, &["site.test"]),
        origin.address
    )
}

async fn begin(folder: &Path, text: &str) -> Result<Running, StartError> {
    let config = config::parse(text, folder, Path::new("edge.toml")).unwrap();
    run::take_over(config, &CancellationToken::new()).await
}

/// The next process; the one before ends in a task of its own.
async fn restart(before: Running, folder: &Path, text: &str) -> (Running, JoinHandle<()>) {
    let next = begin(folder, text).await.unwrap();
    soon("the process before to be told", before.superseded()).await;
    (next, tokio::spawn(before.leave()))
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_takes_over_and_no_client_notices() {
    let origin = Origin::start().await;
    let folder = tempfile::tempdir().unwrap();
    let text = text(folder.path(), &origin);
    let first = begin(folder.path(), &text).await.unwrap();
    let before = first.listening();
    let (public, tls, quic) = (before.public[0], before.tls[0], before.quic[0]);
    // One that has asked and waits for its next request, one whose answer is on its way, one that has not asked yet.
    let (mut idle, mut asking, mut silent) =
        (Client::connect(public).await, Client::connect(public).await, Client::connect(public).await);
    let (_, got) = tokio::join!(answer(&origin), idle.get("/idle"));
    assert_eq!((got.status, got.field("connection")), (200, String::new()));
    asking.send_get("/held", "").await;
    let mut held = origin.next().await;

    let (second, left) = restart(first, folder.path(), &text).await;
    let after = second.listening();
    assert_eq!((&after.public, &after.tls, &after.quic), (&before.public, &before.tls, &before.quic));
    assert_eq!(after.admin, before.admin);
    held.write(OK).await;
    held.done();
    let got = asking.response().await;
    assert_eq!((got.status, got.field("connection")), (200, "close".to_owned()));
    for old in [&mut idle, &mut silent] {
        let (_, got) = tokio::join!(answer(&origin), old.get("/again"));
        assert_eq!((got.status, got.field("connection")), (200, "close".to_owned()));
        assert!(old.is_closed().await);
    }
    soon("the first to end", left).await.unwrap();
    let mut new = Client::connect(public).await;
    let (_, got) = tokio::join!(answer(&origin), new.get("/new"));
    assert_eq!((got.status, got.field("connection")), (200, String::new()));
    let (_, got) = tokio::join!(answer(&origin), ask(tls, "h2", "https://site.test/h2"));
    assert_eq!(got.1, StatusCode::OK);
    let (_, got) = tokio::join!(answer(&origin), over_h3(quic));
    assert_eq!(got, StatusCode::OK);
}

/// Two processes are two caches: nothing may be purged in one of them alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_left_answers_with_nothing_stored_and_its_purges_reach_the_next_process() {
    let origin = Origin::answering(|_| response("200 OK", "Cache-Control: max-age=60\r\n", "ok")).await;
    let folder = tempfile::tempdir().unwrap();
    let text = format!("{}purge_from = [\"127.0.0.1\"]\n", text(folder.path(), &origin));
    let first = begin(folder.path(), &text).await.unwrap();
    let public = first.listening().public[0];
    let mut kept = Vec::new();
    for _ in 0..4 {
        let mut client = Client::connect(public).await;
        assert_eq!(client.get("/x").await.status, 200);
        kept.push(client);
    }
    let (_second, left) = restart(first, folder.path(), &text).await;
    let mut new = Client::connect(public).await;
    new.get("/x").await.assert_forwarded();
    new.get("/x").await.assert_hit();
    kept[0].get("/x").await.assert_forwarded();
    let head = "HTTP/1.1\r\nHost: site.test\r\nContent-Length: 0\r\n\r\n";
    for (place, (asked, said)) in
        [("PURGE /x", "purged 1"), ("PURGE /*", "purged"), ("POST /x", "ok")].into_iter().enumerate()
    {
        let got = kept[place + 1].raw(format!("{asked} {head}").as_bytes()).await;
        assert_eq!((got.status, got.field("connection")), (200, "close".to_owned()), "{asked}");
        assert!(got.text().contains(said), "{asked}: {}", got.text());
        new.get("/x").await.assert_forwarded();
        new.get("/x").await.assert_hit();
    }
    drop(kept);
    soon("the first to end", left).await.unwrap();
}

async fn answer(origin: &Origin) {
    let mut asked: Asked = origin.next().await;
    asked.write(OK).await;
    asked.done();
}

async fn over_h3(quic: SocketAddr) -> StatusCode {
    let mut client = Http3::open(quic).await;
    client.get("https://site.test/h3").await.0.status()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_over_quic_goes_on_with_its_process_over_several_restarts() {
    let origin = Origin::start().await;
    let folder = tempfile::tempdir().unwrap();
    let text = text(folder.path(), &origin);
    let first = begin(folder.path(), &text).await.unwrap();
    let quic = first.listening().quic[0];
    let long = vec![b'x'; 200_000];
    let mut client = Http3::open(quic).await;
    let request =
        Request::post("https://site.test/up").header("content-length", long.len()).body(()).unwrap();
    let mut stream = client.requests.send_request(request).await.unwrap();
    let mut asked = origin.next().await;

    // All that the client sends from here on is read by the second process, or by the third.
    let (second, first_left) = restart(first, folder.path(), &text).await;
    let half = Bytes::from(long[..100_000].to_vec());
    stream.send_data(half.clone()).await.unwrap();
    assert_eq!(asked.read(100_000).await.len(), 100_000);
    let (third, second_left) = restart(second, folder.path(), &text).await;
    soon("the second, which has no connection, to end", second_left).await.unwrap();
    stream.send_data(half).await.unwrap();
    stream.finish().await.unwrap();
    assert_eq!(asked.read(100_000).await.len(), 100_000);
    asked.write(OK).await;
    asked.done();
    let response = soon("an answer", stream.recv_response()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let mut body = soon("a body", stream.recv_data()).await.unwrap().unwrap();
    assert_eq!(&body.copy_to_bytes(body.remaining())[..], b"ok");
    drop((stream, client));
    soon("the first to end", first_left).await.unwrap();
    let (_, got) = tokio::join!(answer(&origin), over_h3(third.listening().quic[0]));
    assert_eq!(got, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_fails_before_it_is_ready_changes_nothing() {
    let origin = Origin::answering(|_| response("200 OK", "Cache-Control: max-age=60\r\n", "ok")).await;
    let folder = tempfile::tempdir().unwrap();
    let text = text(folder.path(), &origin);
    let first = begin(folder.path(), &text).await.unwrap();
    let (public, quic) = (first.listening().public[0], first.listening().quic[0]);
    let mut kept = Client::connect(public).await;
    kept.get("/a").await.assert_forwarded();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for _ in 0..2 {
        let bad =
            text.replace("listen = [\"127.0.0.1:0\"]", &format!("listen = [\"127.0.0.1:0\", \"{address}\"]"));
        let Err(error) = begin(folder.path(), &bad).await else { panic!("the address is taken") };
        let error = error.to_string();
        assert!(error.contains(":26: error: ") && error.contains("is in use by another program"), "{error}");
        let got = kept.get("/a").await;
        got.assert_hit();
        assert_eq!(got.field("connection"), "");
        assert_eq!(over_h3(quic).await, StatusCode::OK);
    }
    // One that is told to stop before it has taken over does not.
    let stop = CancellationToken::new();
    stop.cancel();
    let config = config::parse(&text, folder.path(), Path::new("edge.toml")).unwrap();
    assert!(matches!(run::take_over(config, &stop).await, Err(StartError::Stopped)));
    assert_eq!(kept.get("/a").await.field("connection"), "");
    // One that speaks another version of the hand-over is told so.
    let mut other = UnixStream::connect(folder.path().join("run/handover.sock")).unwrap();
    let hello = b"{\"hello\":{\"version\":3,\"pid\":1}}";
    other.write_all(&[&u32::try_from(hello.len()).unwrap().to_be_bytes(), &hello[..]].concat()).unwrap();
    let mut said = String::new();
    other.read_to_string(&mut said).unwrap_or_default();
    assert!(said.contains("refused") && said.contains("speaks version 2"), "{said}");
    kept.get("/a").await.assert_hit();
    let (second, left) = restart(first, folder.path(), &text).await;
    assert_eq!(kept.get("/a").await.field("connection"), "close");
    soon("the first to end", left).await.unwrap();
    assert_eq!(second.listening().public[0], public);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_takes_over_may_have_other_listeners() {
    let origin = Origin::answering(|_| response("200 OK", "Cache-Control: max-age=60\r\n", "ok")).await;
    let folder = tempfile::tempdir().unwrap();
    let text = text(folder.path(), &origin);
    let first = begin(folder.path(), &text).await.unwrap();
    let before = first.listening();
    let other = text.replace("listen = [\"127.0.0.1:0\"]", "listen = [\"127.0.0.2:0\", \"127.0.0.1:0\"]");
    let other = other.replace("listen_quic = [\"127.0.0.1:0\"]\n", "");
    let (second, left) = restart(first, folder.path(), &other).await;
    let after = second.listening();
    assert_eq!((after.public[1], after.tls[0], after.quic.len()), (before.public[0], before.tls[0], 0));
    assert_eq!(Client::connect(after.public[0]).await.get("/a").await.status, 200);
    assert_eq!(Client::connect(after.public[1]).await.get("/a").await.status, 200);
    soon("the first to end", left).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn websockets_go_on_over_a_restart_until_their_time_is_over() {
    let origin = Origin::start().await;
    let folder = tempfile::tempdir().unwrap();
    let text = format!("{}[limits]\ndrain = \"6s\"\n", text(folder.path(), &origin));
    let first = begin(folder.path(), &text).await.unwrap();
    let before = first.listening();
    let mut all = Vec::new();
    for carrier in CARRIERS {
        all.push(open_at(carrier, before.clone(), &origin).await);
    }
    let mut plain = upgrades::open_at(before.public[0], &origin).await;
    let begun = verge_edge::clock::monotonic();
    let (second, left) = restart(first, folder.path(), &text).await;
    for (stream, asked) in &mut all {
        stream.write(b"still").await;
        assert_eq!(asked.read(5).await, b"still");
        asked.write(b"there").await;
        assert_eq!(stream.read(5).await, b"there");
    }
    plain.0.write(b"still").await;
    assert_eq!(plain.1.read(5).await, b"still");
    for carrier in CARRIERS {
        open_at(carrier, second.listening(), &origin).await;
    }
    for (stream, _) in &mut all {
        assert_eq!(stream.end().await, End::Reset);
    }
    assert!(plain.0.is_closed().await);
    assert!(begun.elapsed() >= std::time::Duration::from_secs(5), "{:?}", begun.elapsed());
    soon("the first to end", left).await.unwrap();
}

/// Layer 4: the sockets of streams go along, and what is open ends where it began.
#[tokio::test(flavor = "multi_thread")]
async fn streams_go_to_the_next_process_and_connections_end_where_they_began() {
    use tokio::net::{TcpListener, TcpStream};
    let (origin, echo) = (Origin::start().await, TcpListener::bind("127.0.0.1:0").await.unwrap());
    let folder = tempfile::tempdir().unwrap();
    let stream = format!(
        "[[stream]]\nlisten = [\"127.0.0.1:0\"]\norigins = [\"tcp://{}\"]\n",
        echo.local_addr().unwrap()
    );
    let text = format!("{}{stream}", text(folder.path(), &origin));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = echo.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    let say = async |stream: &mut TcpStream| {
        stream.write_all(b"hello").await.unwrap();
        let mut said = [0; 5];
        soon("an echo", stream.read_exact(&mut said)).await.unwrap();
        assert_eq!(&said, b"hello");
    };
    let first = begin(folder.path(), &text).await.unwrap();
    let address = first.streams()[0];
    let mut old = TcpStream::connect(address).await.unwrap();
    say(&mut old).await;
    let (second, left) = restart(first, folder.path(), &text).await;
    assert_eq!(second.streams(), [address]);
    let mut new = TcpStream::connect(address).await.unwrap();
    say(&mut new).await;
    say(&mut old).await;
    drop(old);
    soon("the first to end", left).await.unwrap();
    say(&mut new).await;
}

/// Asks over each family.
async fn ask_both(port: u16) {
    for address in [SocketAddr::from(([127, 0, 0, 1], port)), format!("[::1]:{port}").parse().unwrap()] {
        assert_eq!(Client::connect(address).await.get("/a").await.status, 200, "{address}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_addresses_of_both_families_go_with_one_port_and_to_the_next_process() {
    let origin = Origin::answering(|_| response("200 OK", "Cache-Control: max-age=60\r\n", "ok")).await;
    let folder = tempfile::tempdir().unwrap();
    if std::net::TcpListener::bind("[::]:0").is_err() {
        return; // there is no IPv6
    }
    let [plain, quic, stream] = [(); 3].map(|()| crate::ports::address().port());
    let both = |port: u16| format!("[\"0.0.0.0:{port}\", \"[::]:{port}\"]");
    let any = "[\"127.0.0.1:0\"]";
    let text = text(folder.path(), &origin)
        .replace(&format!("\nlisten = {any}\n"), &format!("\nlisten = {}\n", both(plain)))
        .replace(&format!("listen_quic = {any}"), &format!("listen_quic = {}", both(quic)));
    let text =
        format!("{text}[[stream]]\nlisten = {}\norigins = [\"tcp://{}\"]\n", both(stream), origin.address);
    let first = begin(folder.path(), &text).await.unwrap();
    ask_both(plain).await;
    ask_both(stream).await;
    assert_eq!(over_h3(SocketAddr::from(([127, 0, 0, 1], quic))).await, StatusCode::OK);
    let (second, left) = restart(first, folder.path(), &text).await;
    assert_eq!(second.listening().public.len(), 2);
    soon("the first to end", left).await.unwrap();
    ask_both(plain).await;
    ask_both(stream).await;
    assert_eq!(over_h3(SocketAddr::from(([127, 0, 0, 1], quic))).await, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_of_both_families_serves_a_config_that_names_both() {
    let origin = Origin::answering(|_| response("200 OK", "Cache-Control: max-age=60\r\n", "ok")).await;
    let folder = tempfile::tempdir().unwrap();
    if std::net::TcpListener::bind("[::]:0").is_err() {
        return; // there is no IPv6
    }
    let [plain, quic, stream] = [(); 3].map(|()| crate::ports::address().port());
    let (v6, both) = (
        |port: u16| format!("[\"[::]:{port}\"]"),
        |port: u16| format!("[\"0.0.0.0:{port}\", \"[::]:{port}\"]"),
    );
    let config = |of: &dyn Fn(u16) -> String| {
        let any = "[\"127.0.0.1:0\"]";
        let text = text(folder.path(), &origin)
            .replace(&format!("\nlisten = {any}\n"), &format!("\nlisten = {}\n", of(plain)))
            .replace(&format!("listen_quic = {any}"), &format!("listen_quic = {}", of(quic)));
        format!("{text}[[stream]]\nlisten = {}\norigins = [\"tcp://{}\"]\n", of(stream), origin.address)
    };
    let first = begin(folder.path(), &config(&v6)).await.unwrap();
    ask_both(plain).await;
    let (second, left) = restart(first, folder.path(), &config(&both)).await;
    let any: SocketAddr = format!("[::]:{plain}").parse().unwrap();
    assert_eq!(second.listening().public, [any], "it cannot be opened anew");
    soon("the first to end", left).await.unwrap();
    ask_both(plain).await;
    ask_both(stream).await;
    assert_eq!(over_h3(SocketAddr::from(([127, 0, 0, 1], quic))).await, StatusCode::OK);
}

/// A process that begins to take over from one that we play, until it is told to stop.
struct Taking {
    _folder: tempfile::TempDir,
    before: UnixListener,
    stop: CancellationToken,
    start: JoinHandle<Result<Running, StartError>>,
}

impl Taking {
    async fn begin() -> Self {
        let origin = Origin::start().await;
        let folder = tempfile::tempdir().unwrap();
        let text = text(folder.path(), &origin);
        std::fs::create_dir(folder.path().join("run")).unwrap();
        let before = UnixListener::bind(folder.path().join("run/handover.sock")).unwrap();
        before.set_nonblocking(true).unwrap();
        let stop = CancellationToken::new();
        let config = config::parse(&text, folder.path(), Path::new("edge.toml")).unwrap();
        let start = tokio::spawn({
            let stop = stop.clone();
            async move { run::take_over(config, &stop).await }
        });
        Self { _folder: folder, before, stop, start }
    }

    /// The line to it, on which it has asked for the sockets.
    async fn line(&self) -> tokio::net::UnixStream {
        let before = tokio::net::UnixListener::from_std(self.before.try_clone().unwrap()).unwrap();
        let (mut line, _) = soon("the new process", before.accept()).await.unwrap();
        assert!(heard(&mut line).await.starts_with("{\"hello\":"));
        line
    }

    /// Tells it to stop: the result of its start.
    async fn stopped(self) -> Result<Running, StartError> {
        self.stop.cancel();
        soon("the end of the start", self.start).await.unwrap()
    }
}

/// The next message of the other process.
async fn heard(line: &mut tokio::net::UnixStream) -> String {
    let length = soon("a message", line.read_u32()).await.unwrap();
    let mut text = vec![0; length as usize];
    soon("the rest of it", line.read_exact(&mut text)).await.unwrap();
    String::from_utf8(text).unwrap()
}

/// It neither accepts nor answers, and is given ten seconds otherwise.
#[tokio::test]
async fn a_process_that_is_told_to_stop_waits_for_none_that_is_stuck() {
    let ended = Taking::begin().await.stopped().await;
    assert!(matches!(ended, Err(StartError::Stopped)), "{:?}", ended.err());
}

/// As above, where the talk has begun: it has heard the question, and is stopped in the middle of its answer.
#[tokio::test]
async fn a_process_that_is_told_to_stop_waits_for_none_that_is_stuck_in_the_middle_of_a_word() {
    let taking = Taking::begin().await;
    let mut line = taking.line().await;
    line.write_all(&[0, 0]).await.unwrap();
    let ended = taking.stopped().await;
    assert!(matches!(ended, Err(StartError::Stopped)), "{:?}", ended.err());
}

/// It has given its sockets away, and heard that the new process answers; it does not say that it leaves.
#[tokio::test]
async fn a_process_that_is_told_to_stop_does_not_wait_until_one_that_is_stuck_has_left() {
    let taking = Taking::begin().await;
    let mut line = taking.line().await;
    let reset_key = [7; 32];
    let sockets = format!(
        "{{\"sockets\":{{\"sockets\":[],\"row\":{{\"generation\":{{\"number\":0,\"key\":[1,2]}},\"reset_key\":{reset_key:?}}},\"more\":false}}}}"
    );
    line.write_u32(u32::try_from(sockets.len()).unwrap()).await.unwrap();
    line.write_all(sockets.as_bytes()).await.unwrap();
    assert!(heard(&mut line).await.starts_with("{\"ready\":"));
    let running = taking.stopped().await.unwrap();
    let still = line.into_std().unwrap().read(&mut [0]).unwrap_err();
    assert_eq!(still.kind(), ErrorKind::WouldBlock, "it would have given up after ten seconds");
    assert!(!running.may_be_superseded(), "it is about to end");
    soon("the end", running.drain()).await;
}

/// A run folder that cannot be used is found out while the process before still answers.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_could_not_be_taken_over_from_does_not_take_over() {
    let origin = Origin::answering(|_| response("200 OK", "Cache-Control: max-age=60\r\n", "ok")).await;
    let folder = tempfile::tempdir().unwrap();
    let text = text(folder.path(), &origin);
    let first = begin(folder.path(), &text).await.unwrap();
    let mut kept = Client::connect(first.listening().public[0]).await;
    kept.get("/a").await.assert_forwarded();
    let place = folder.path().join(format!("run/handover.sock.{}", std::process::id()));
    std::fs::create_dir(&place).unwrap();
    assert!(matches!(begin(folder.path(), &text).await, Err(StartError::Handover(_))));
    let got = kept.get("/a").await;
    got.assert_hit();
    assert_eq!(got.field("connection"), "", "the first goes on");
    std::fs::remove_dir(&place).unwrap();
    let (_second, left) = restart(first, folder.path(), &text).await;
    drop(kept);
    soon("the first to end", left).await.unwrap();
}
