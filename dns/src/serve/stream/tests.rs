//! A conversation over a pipe in memory, on tokio's paused clock: deadlines pass at once and in order.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::io::{DuplexStream, duplex};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;
use crate::client::{Listener, Transport};
use crate::config::Tcp;
use crate::metrics::Metrics;
use crate::serve::connection::FIRST_QUESTION;
use crate::serve::departures::Departures;
use crate::serve::memory::Allowance;
use crate::serve::responder::Responder;
use crate::serve::testing::{big, framed};
use crate::serve::transfer::slots::Slots;
use crate::world::World;

/// A world without zones says REFUSED to all, which is all that a conversation needs.
fn shared() -> Arc<Shared> {
    shared_with(World::default())
}

fn shared_with(world: World) -> Arc<Shared> {
    let config = Tcp {
        max_connections: 2,
        max_connections_per_client: 2,
        max_buffered_bytes: 4 << 20,
        idle_timeout: Duration::from_secs(10),
        message_timeout: Duration::from_secs(5),
        write_timeout: Duration::from_secs(3),
    };
    let metrics = Arc::<Metrics>::default();
    let world = Arc::new(ArcSwap::from_pointee(world));
    let responder = Responder::new(
        world,
        metrics.counters(Transport::Tcp),
        crate::serve::responder::Ways::leading_nowhere(),
    );
    let until = (TaskTracker::new(), CancellationToken::new(), Departures::default());
    Arc::new(Shared::new(
        config,
        (Listener::Outside, Transport::Tcp),
        until,
        &metrics,
        (&Arc::default(), &Slots::default()),
        responder,
    ))
}

fn peer() -> SocketAddr {
    "192.0.2.1:4000".parse().unwrap()
}

/// A server that talks into a pipe of `bytes`, and the client's end of it.
fn talk(shared: &Arc<Shared>, bytes: usize) -> (DuplexStream, tokio::task::JoinHandle<Ended>) {
    let (client, mut server) = duplex(bytes);
    let shared = Arc::clone(shared);
    let ended = tokio::spawn(async move {
        let place = shared.table.admit(peer().ip(), clock::now());
        exchange(&mut server, &peer().into(), &place, &shared).await
    });
    (client, ended)
}

/// `id`, asks for `example. A`, behind its length.
fn question(id: u8) -> Vec<u8> {
    let mut message = vec![0, 25, 0, id, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 7];
    message.extend_from_slice(b"example\0\0\x01\0\x01");
    message
}

async fn read_answer(client: &mut DuplexStream) -> Vec<u8> {
    let length = client.read_u16().await.unwrap();
    let mut message = vec![0; usize::from(length)];
    client.read_exact(&mut message).await.unwrap();
    message
}

#[tokio::test(start_paused = true)]
async fn pipelined_questions_are_answered_in_order_however_they_are_cut() {
    let all = [question(1), question(2), question(3)].concat();
    for piece in [1, 2, 3, 26, 27, 28, all.len()] {
        let shared = shared();
        let (mut client, ended) = talk(&shared, 4096);
        for piece in all.chunks(piece) {
            client.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        for id in 1..=3 {
            let answer = read_answer(&mut client).await;
            assert_eq!((answer[1], answer[2] & 0x80, answer[3] & 0x0f), (id, 0x80, 5), "pieces of {piece}");
        }
        drop(client);
        assert_eq!(ended.await.unwrap(), Ended::Closed);
    }
}

#[tokio::test(start_paused = true)]
async fn every_wait_has_a_deadline() {
    let half = &question(1)[..10];
    for (sent, seconds, expected) in [
        (&b""[..], 10, Ended::Idle),
        (&b"\0"[..], 5, Ended::SlowMessage),
        (half, 5, Ended::SlowMessage),
        (&b"\xff\xff"[..], 5, Ended::SlowMessage),
    ] {
        let shared = shared();
        let (mut client, ended) = talk(&shared, 4096);
        let start = tokio_now();
        client.write_all(sent).await.unwrap();
        assert_eq!(ended.await.unwrap(), expected, "{sent:?}");
        assert_eq!((tokio_now() - start).as_secs(), seconds, "{sent:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_byte_at_a_time_does_not_stretch_the_deadline_of_a_message() {
    let shared = shared();
    let (mut client, ended) = talk(&shared, 4096);
    let start = tokio_now();
    for byte in question(1) {
        if client.write_all(&[byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(ended.await.unwrap(), Ended::SlowMessage);
    assert!((tokio_now() - start).as_secs() <= 6);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_is_dropped() {
    let shared = shared();
    // The pipe holds one answer at most, and nobody takes it out.
    let (mut client, ended) = talk(&shared, 30);
    for id in 0..4 {
        if client.write_all(&question(id)).await.is_err() {
            break;
        }
    }
    assert_eq!(ended.await.unwrap(), Ended::SlowReader);
}

/// On one thread a conversation that never waits would keep all others waiting.
#[tokio::test(start_paused = true)]
async fn who_has_one_question_does_not_wait_for_who_has_thousands() {
    const MANY: usize = 20_000;
    let shared = shared();
    let (mut many, _) = talk(&shared, 1 << 20);
    let (mut one, _) = talk(&shared, 4096);
    many.write_all(&question(1).repeat(MANY)).await.unwrap();
    one.write_all(&question(2)).await.unwrap();
    assert_eq!(read_answer(&mut one).await[1], 2);
    let mut answered = Vec::with_capacity(1 << 20);
    tokio::select! {
        biased;
        read = many.read_buf(&mut answered) => assert!(read.unwrap() > 0),
        () = std::future::ready(()) => {}
    }
    assert!(answered.len() < 500 * question(1).len(), "{} bytes were sent before", answered.len());
}

#[tokio::test(start_paused = true)]
async fn what_is_no_question_ends_the_connection() {
    for garbage in [&b"\0\0"[..], b"\0\x01x", b"\0\x0b12345678901"] {
        let shared = shared();
        let (mut client, ended) = talk(&shared, 4096);
        client.write_all(garbage).await.unwrap();
        assert_eq!(ended.await.unwrap(), Ended::Garbage, "{garbage:?}");
    }
    // An answer is never answered (CVE-2024-2169).
    let mut answer = question(1);
    answer[4] = 0x80;
    let shared = shared();
    let (mut client, ended) = talk(&shared, 4096);
    client.write_all(&answer).await.unwrap();
    assert_eq!(ended.await.unwrap(), Ended::Garbage);
}

#[tokio::test(start_paused = true)]
async fn what_came_before_garbage_is_answered() {
    let shared = shared();
    let (mut client, ended) = talk(&shared, 4096);
    client.write_all(&[&question(1)[..], &question(2), b"\0\x01x"].concat()).await.unwrap();
    assert_eq!(read_answer(&mut client).await[1], 1);
    assert_eq!(read_answer(&mut client).await[1], 2);
    assert_eq!(ended.await.unwrap(), Ended::Garbage);
}

#[tokio::test(start_paused = true)]
async fn who_has_no_more_questions_still_gets_its_answers() {
    let shared = shared();
    let (mut client, ended) = talk(&shared, 4096);
    client.write_all(&[question(1), question(2)].concat()).await.unwrap();
    // Only one half of the connection is closed.
    client.shutdown().await.unwrap();
    assert_eq!((read_answer(&mut client).await[1], read_answer(&mut client).await[1]), (1, 2));
    assert_eq!(ended.await.unwrap(), Ended::Closed);
}

/// Everything of the pool that is for questions, or for answers, in the hands of others.
fn take_all(shared: &Shared, what: What) -> Vec<Claim> {
    let pool = &shared.table.pool;
    let others: Vec<_> = (0..200).map(|_| Allowance::new(pool, pool.share())).collect();
    let claims = |of: &Allowance| std::iter::from_fn(|| of.claim(what, 65_535).ok()).collect::<Vec<_>>();
    others.iter().flat_map(claims).collect()
}

/// A message of which `bytes` have arrived, its length included, and which says that it is the longest.
fn beginning(bytes: usize) -> Vec<u8> {
    [&b"\xff\xff"[..], &vec![0; bytes - LENGTH_BYTES]].concat()
}

#[tokio::test(start_paused = true)]
async fn large_messages_need_room_and_small_ones_do_not() {
    let shared = shared();
    let mut all = take_all(&shared, What::Question);
    for (bytes, expected) in [(2, Ended::SlowMessage), (4_000, Ended::SlowMessage), (40_000, Ended::Crowded)]
    {
        let (mut large, large_ended) = talk(&shared, 65_537);
        large.write_all(&beginning(bytes)).await.unwrap();
        assert_eq!(large_ended.await.unwrap(), expected, "{bytes} bytes");
    }
    let (mut small, _ended) = talk(&shared, 4096);
    small.write_all(&question(3)).await.unwrap();
    assert_eq!(read_answer(&mut small).await[1], 3);
    all.truncate(all.len() - 1);
    let (mut large, large_ended) = talk(&shared, 65_537);
    large.write_all(&beginning(40_000)).await.unwrap();
    assert_eq!(large_ended.await.unwrap(), Ended::SlowMessage);
}

#[tokio::test(start_paused = true)]
async fn no_more_is_kept_or_claimed_than_has_arrived_and_a_step() {
    for bytes in [2, 1024, 1025, 5_000, 30_000, 65_536] {
        let shared = shared();
        let place = shared.table.admit(peer().ip(), clock::now());
        let (mut client, mut server) = duplex(65_537);
        client.write_all(&beginning(bytes)).await.unwrap();
        let mut incoming =
            Incoming { bytes: Vec::with_capacity(READ_BYTES), room: Claim::default(), is_new: false };
        let read = read_message(&mut server, &mut incoming, &place, &shared).await;
        assert_eq!((read, incoming.bytes.len()), (Err(Ended::SlowMessage), bytes));
        let (kept, claimed) = (incoming.bytes.capacity(), incoming.room.bytes());
        assert!(kept <= READ_BYTES.max(bytes + STEP_BYTES), "{bytes} arrived, {kept} are kept");
        assert_eq!(claimed, if kept > SMALL_BYTES { kept } else { 0 }, "{bytes} arrived");
    }
}

/// Asks for what is long (see [`big`]), padded (RFC 7830) by so many bytes.
fn long_question(padding: u16) -> Vec<u8> {
    let mut message = vec![0, 9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    message.extend_from_slice(b"\x03big\x02ex\0\0\x10\0\x01");
    message.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, 0, 0]);
    message.extend_from_slice(&(padding + 4).to_be_bytes());
    message.extend_from_slice(&[0, 12]);
    message.extend_from_slice(&padding.to_be_bytes());
    message.resize(message.len() + usize::from(padding), 0);
    framed(&message)
}

#[tokio::test(start_paused = true)]
async fn a_question_has_its_room_for_as_long_as_it_is_kept() {
    const PADDING: u16 = 50_000;
    let padding = usize::from(PADDING);
    // One with a long answer is still there when that is written. One that is nonsense is gone by then.
    let mut nonsense = long_question(PADDING);
    nonsense[LENGTH_BYTES + 5] = 2;
    for (message, expected) in [(long_question(PADDING), padding - 8 * 1024..=padding), (nonsense, 0..=0)] {
        let shared = shared_with(big());
        let free = shared.table.pool.free(What::Question);
        // The pipe holds less than any answer.
        let (mut client, ended) = talk(&shared, 5);
        client.write_all(&message).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!ended.is_finished(), "it waits for its reader");
        let claimed = free - shared.table.pool.free(What::Question);
        assert!(expected.contains(&claimed), "{claimed} bytes are claimed of the pool, not {expected:?}");
        assert!(read_answer(&mut client).await.len() >= 12);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!ended.is_finished(), "it waits for the next question");
        assert_eq!(shared.table.pool.free(What::Question), free);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_answered_before_there_was_no_room_is_sent() {
    let shared = shared_with(big());
    let _all = take_all(&shared, What::Answer);
    let (mut client, ended) = talk(&shared, 4096);
    client.write_all(&[question(1), question(2), long_question(0), question(3)].concat()).await.unwrap();
    assert_eq!((read_answer(&mut client).await[1], read_answer(&mut client).await[1]), (1, 2));
    assert_eq!(ended.await.unwrap(), Ended::Crowded);
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0, "nothing came behind it");
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_reader_has_its_room() {
    let shared = shared_with(big());
    let place = shared.table.admit(peer().ip(), clock::now());
    let (mut outgoing, own) = (Outgoing::default(), shared.table.pool.free(What::Answer));
    for answer in [100, 60_000, 100] {
        outgoing.append(&vec![0; answer], &place).unwrap();
        let claimed: usize = outgoing.room.iter().map(Claim::bytes).sum();
        let kept = outgoing.bytes.capacity();
        assert!(kept - claimed <= WRITE_BYTES + SMALL_BYTES, "{kept} are kept, {claimed} claimed");
    }
    let (_client, mut server) = duplex(1 << 20);
    outgoing.write(&mut server, Duration::from_secs(1)).await.unwrap();
    assert!(outgoing.bytes.capacity() <= WRITE_BYTES && outgoing.room.is_empty());
    assert_eq!(shared.table.pool.free(What::Answer), own);
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_idle_connections_and_lets_a_message_arrive() {
    let shared = shared();
    let (mut idle, idle_ended) = talk(&shared, 4096);
    let (mut busy, busy_ended) = talk(&shared, 4096);
    idle.write_all(&question(6)).await.unwrap();
    assert_eq!(read_answer(&mut idle).await[1], 6);
    let message = question(7);
    busy.write_all(&message[..5]).await.unwrap();
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
    let now = tokio_now();
    end(&shared);
    assert_eq!(idle_ended.await.unwrap(), Ended::Draining);
    assert_eq!(now.elapsed(), Duration::ZERO);
    busy.write_all(&message[5..]).await.unwrap();
    assert_eq!(read_answer(&mut busy).await[1], 7);
    assert_eq!(busy_ended.await.unwrap(), Ended::Draining);
}

/// Tells all connections that the server ends.
fn end(shared: &Shared) {
    shared.departures.end();
    shared.drain.cancel();
}

#[tokio::test(start_paused = true)]
async fn a_new_connection_gets_its_first_answer_of_a_server_that_ends() {
    let shared = shared();
    let early = talk(&shared, 4096);
    tokio::task::yield_now().await;
    end(&shared);
    // As after a handshake that took its time.
    let late = talk(&shared, 4096);
    for (mut client, ended) in [early, late] {
        tokio::time::sleep(FIRST_QUESTION / 4).await;
        client.write_all(&question(7)).await.unwrap();
        assert_eq!(read_answer(&mut client).await[1], 7);
        assert_eq!(ended.await.unwrap(), Ended::Draining);
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_connection_that_asks_nothing_ends_soon() {
    let shared = shared();
    let (_client, ended) = talk(&shared, 4096);
    tokio::task::yield_now().await;
    let now = tokio_now();
    end(&shared);
    assert_eq!(ended.await.unwrap(), Ended::Draining);
    assert_eq!(now.elapsed(), FIRST_QUESTION);
}

#[tokio::test(start_paused = true)]
async fn a_new_connection_that_goes_on_elsewhere_leaves_at_once() {
    let shared = shared();
    let (_client, ended) = talk(&shared, 4096);
    tokio::task::yield_now().await;
    let now = tokio_now();
    shared.departures.begin();
    shared.drain.cancel();
    assert_eq!(ended.await.unwrap(), Ended::Draining);
    assert_eq!(now.elapsed(), Duration::ZERO);
}

#[expect(clippy::disallowed_methods, reason = "the paused clock")]
fn tokio_now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}
