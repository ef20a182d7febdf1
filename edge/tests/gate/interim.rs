//! 1xx heads reach HTTP/1.1 clients whole, before the answer they belong to, and nobody else (RFC 9110 §15.2).

use http::{HeaderMap, StatusCode, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use verge_edge::serve::h1::gate::{Gate, Sent};

use super::server::{BIG_BYTES, MAX_HEAD_BYTES, pipe, read_to_end, read_until, statuses, talk};

const HINT: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n";
const PROCESSING: &str = "HTTP/1.1 102 Processing\r\n\r\n";

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

#[tokio::test]
async fn heads_sent_by_another_task_come_before_the_answer() {
    let (answer, _) = talk(get("/hints").as_bytes()).await;
    assert!(answer.starts_with(&format!("{PROCESSING}{HINT}HTTP/1.1 200 OK\r\n")), "{answer:?}");
}

#[tokio::test]
async fn a_head_reaches_a_client_that_waits_for_the_answer() {
    // The service waits for a body that comes after the hint: only the hint can wake the connection.
    let (mut client, _) = pipe(4096);
    client
        .write_all(b"POST /background-hint HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(read_until(&mut client, HINT).await, HINT);
    client.write_all(b"x").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(statuses(&read_to_end(&mut client).await), [200]);
}

#[tokio::test]
async fn a_head_sent_right_before_the_answer_is_not_lost() {
    let (answer, _) = talk(get("/late-hint").as_bytes()).await;
    assert!(answer.starts_with(&format!("{HINT}HTTP/1.1 200 OK\r\n")), "{answer:?}");
}

#[tokio::test]
async fn pipelined_requests_have_their_own() {
    let paths = ["/hints", "/plain", "/late-hint", "/hints", "/plain"];
    let (answer, seen) = talk(paths.map(get).concat().as_bytes()).await;
    assert_eq!(statuses(&answer), [102, 103, 200, 200, 103, 200, 102, 103, 200, 200], "{answer:?}");
    assert_eq!(seen.iter().map(|seen| seen.target.as_str()).collect::<Vec<_>>(), paths);
}

#[tokio::test]
async fn a_client_of_http_1_0_gets_none() {
    let (answer, _) = talk(b"GET /old-client HTTP/1.0\r\nHost: a\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n"), "{answer:?}");
    assert!(!answer.contains("103"), "{answer:?}");
}

#[tokio::test]
async fn a_100_that_the_server_says_itself_stays_whole() {
    let request = "POST /hints HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx";
    let (mut client, _) = pipe(7);
    let (mut read, mut write) = tokio::io::split(&mut client);
    let answer = tokio::join!(read_to_end(&mut read), async {
        write.write_all(request.as_bytes()).await.unwrap();
        write.shutdown().await.unwrap();
    })
    .0;
    assert_eq!(statuses(&answer), [102, 103, 100, 200], "{answer:?}");
}

#[tokio::test]
async fn heads_come_whole_through_a_pipe_that_takes_seven_bytes() {
    let (mut client, _) = pipe(7);
    let (mut read, mut write) = tokio::io::split(&mut client);
    let answer = tokio::join!(read_to_end(&mut read), async {
        write.write_all(["/hints", "/hints", "/plain"].map(get).concat().as_bytes()).await.unwrap();
        write.shutdown().await.unwrap();
    })
    .0;
    assert_eq!(statuses(&answer), [102, 103, 200, 102, 103, 200, 200], "{answer:?}");
    assert_eq!(answer.matches(HINT).count(), 2);
}

#[tokio::test]
async fn a_client_that_does_not_read_costs_a_bounded_queue() {
    let (answer, seen) = talk(get("/flood").as_bytes()).await;
    assert!(answer.len() < 200 * 1024, "{}", answer.len());
    assert_eq!(statuses(&answer).last(), Some(&200));
    assert_eq!(seen.len(), 1);
}

/// The answer before is still on its way when the next request's heads are ready: they do not stand in it.
#[tokio::test]
async fn heads_wait_for_the_end_of_the_answer_before() {
    for pipe_bytes in [512, 4096, 65_536] {
        let (mut client, _) = pipe(pipe_bytes);
        let unread = "POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
        client.write_all([unread, &get("/late-hint"), &get("/hints")].concat().as_bytes()).await.unwrap();
        read_until(&mut client, "\r\n\r\n").await;
        let mut body = vec![0; BIG_BYTES];
        client.read_exact(&mut body).await.unwrap();
        assert!(body.iter().all(|&byte| byte == b'u'));
        client.shutdown().await.unwrap();
        let answers = read_to_end(&mut client).await;
        assert_eq!(statuses(&answers), [103, 200, 102, 103, 200], "{answers:?}");
    }
}

/// As above, for an answer that is all head: hyper asks the service for the next answer while it writes this one.
#[tokio::test]
async fn heads_do_not_stand_in_a_head() {
    // All requests fit, the first answer does not.
    for pipe_bytes in [300, 1000, 4000] {
        let (mut client, _) = pipe(pipe_bytes);
        let unread = "POST /unread-empty HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
        client.write_all([unread, &get("/hints"), &get("/plain")].concat().as_bytes()).await.unwrap();
        let first = read_until(&mut client, "\r\n\r\n").await;
        assert_eq!(statuses(&first), [204], "{first:?}");
        client.shutdown().await.unwrap();
        let rest = read_to_end(&mut client).await;
        assert_eq!(statuses(&rest).split_last(), Some((&200, [102, 103, 200].as_slice())), "{rest:?}");
    }
}

/// Whether the second answer is ready before the first is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SecondTurn {
    Stays,
    Ends,
}

/// Any server behind the gate, step by step: it reads two requests, writes the first answer in two parts, and
/// begins the second request between them.
async fn second_turn_between(end: SecondTurn) -> String {
    let (mut client, server) = tokio::io::duplex(4096);
    let mut gate = Gate::new(server, MAX_HEAD_BYTES);
    let turns = gate.turns();
    client.write_all([get("/1"), get("/2")].concat().as_bytes()).await.unwrap();
    gate.read_exact(&mut vec![0; 2 * get("/1").len()]).await.unwrap();
    drop(turns.begin(Version::HTTP_11).unwrap());
    gate.flush().await.unwrap();
    gate.write_all(b"first ").await.unwrap();
    let turn = turns.begin(Version::HTTP_11).unwrap();
    assert_eq!(turn.interim().open().send(StatusCode::PROCESSING, &HeaderMap::new()), Sent::Queued);
    let turn = Some(turn).filter(|_| end == SecondTurn::Stays);
    gate.write_all(b"answer").await.unwrap();
    gate.flush().await.unwrap();
    drop((turn, gate));
    read_to_end(&mut client).await
}

#[tokio::test]
async fn a_head_waits_until_the_server_has_written_all_it_had() {
    assert_eq!(second_turn_between(SecondTurn::Stays).await, format!("first answer{PROCESSING}"));
}

#[tokio::test]
async fn a_head_is_dropped_when_its_answer_is_behind_another_one_already() {
    assert_eq!(second_turn_between(SecondTurn::Ends).await, "first answer");
}
