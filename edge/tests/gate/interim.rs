//! 1xx heads reach HTTP/1.1 clients whole, before the answer they belong to, and nobody else (RFC 9110 §15.2).

use tokio::io::AsyncWriteExt;

use super::server::{pipe, read_to_end, read_until, statuses, talk};

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
    // The service reads a body that has not come yet, so nothing but the heads can be on the wire.
    let (mut client, _) = pipe(4096);
    client.write_all(b"POST /hints HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n").await.unwrap();
    assert_eq!(read_until(&mut client, HINT).await, format!("{PROCESSING}{HINT}"));
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
    let paths = ["/hints", "/plain", "/late-hint", "/too-late", "/hints", "/plain"];
    let (answer, seen) = talk(paths.map(get).concat().as_bytes()).await;
    assert_eq!(statuses(&answer), [102, 103, 200, 200, 103, 200, 200, 102, 103, 200, 200], "{answer:?}");
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
