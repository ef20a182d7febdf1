//! Somebody who asks at a steady pace, as clients should: on a connection that is kept, again on a new one if it ends.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{Instant, timeout};
use verge_stack::dns_client::Question;
use verge_stack::dns_client::carrier::{Asker, Carrier, Connection};

/// Between two questions.
const PACE: Duration = Duration::from_millis(10);
/// A resolver asks again when it has waited this long.
const RETRY: Duration = Duration::from_secs(1);
/// And gives up after so many times.
const TRIES: usize = 5;

/// How it went.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) sent: usize,
    /// Answered at the second try or later.
    pub(crate) retried: usize,
    /// Never answered.
    pub(crate) lost: usize,
    /// From the first try to the answer.
    waits: Vec<Duration>,
}

/// A client that asks until it is told to stop.
pub(crate) struct Honest {
    pub(crate) carrier: Carrier,
    over: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Tally>,
}

impl Tally {
    /// The wait that so many of a hundred had at most.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let mut waits = self.waits.clone();
        waits.sort_unstable();
        waits
            .get((waits.len() * percent / 100).min(waits.len().saturating_sub(1)))
            .copied()
            .unwrap_or_default()
    }
}

impl Honest {
    pub(crate) fn start(asker: Asker, carrier: Carrier, server: SocketAddr) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let asking = ask_on(asker, carrier, server, Arc::clone(&over));
        // The attackers' work on their threads must not make it wait.
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("the system gives what a client needs").block_on(asking)
        });
        Self { carrier, over, thread }
    }

    pub(crate) async fn stop(self) -> Tally {
        self.over.store(true, Ordering::Release);
        let joined = tokio::task::spawn_blocking(move || self.thread.join());
        joined.await.expect("joining does not panic").expect("the client does not panic")
    }
}

async fn ask_on(asker: Asker, carrier: Carrier, server: SocketAddr, over: Arc<AtomicBool>) -> Tally {
    let packet = Question::plain(7, "www.example.net", 1).to_bytes();
    let mut tally = Tally::default();
    let mut connection: Option<Connection> = None;
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    while !over.load(Ordering::Acquire) {
        pace.tick().await;
        let start = Instant::now();
        tally.sent += 1;
        let mut tries = 0;
        let answered = loop {
            tries += 1;
            let exchange = async {
                let open = match connection.take() {
                    Some(open) => Ok(open),
                    None => asker.connect(carrier, server).await,
                };
                let mut open = open.ok()?;
                open.ask(&packet).await.ok().map(|_| open)
            };
            match timeout(RETRY, exchange).await {
                Ok(Some(open)) => {
                    connection = Some(open);
                    break true;
                }
                _ if tries == TRIES => break false,
                // A connection that failed at once is not tried again at once.
                _ => tokio::time::sleep(PACE).await,
            }
        };
        tally.waits.push(start.elapsed());
        tally.lost += usize::from(!answered);
        tally.retried += usize::from(answered && tries > 1);
    }
    tally
}

/// A loopback address for the n-th attacker, each a client of its own.
pub(crate) fn attacker(n: usize) -> IpAddr {
    let byte = |it: usize| u8::try_from(it % 128).expect("below 128");
    [127, 1 + byte(n / 128 / 128), byte(n / 128), 1 + byte(n)].into()
}
