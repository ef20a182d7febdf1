//! The harm that somebody does to honest clients: a server of our own on loopback, one fault after another,
//! counts and times.
//!
//! `faults --ours target/release/verge-dns` runs them all in some two minutes; `--only idle` those whose names hold the
//! word. An honest client asks a hundred times a second over each transport that is named, on one connection; it waits a
//! second for an answer and asks again, five times at most. It is *lost* if none of that helped.
//!
//! | fault | sent | again | lost | worst p99 | longest | RSS before → most, MiB | CPU |
//! |---|---|---|---|---|---|---|---|
//! | nothing | 2,284 | 0 | 0 | 8 ms | 19 ms | 12 → 12 | 0.04 |
//! | UDP buffers full | 441 | 1 | 0 | 1000 ms | 1000 ms | 11 → 11 | 0.19 |
//! | 10,000 idle TCP | 3,163 | 0 | 0 | 26 ms | 125 ms | 12 → 29 | 0.04 |
//! | 10,000 half-open TLS | 3,255 | 0 | 0 | 44 ms | 290 ms | 12 → 74 | 0.04 |
//! | 2,000 slow readers | 2,771 | 0 | 0 | 38 ms | 262 ms | 12 → 47 | 0.05 |
//! | 5,000 QUIC handshakes | 6,080 | 0 | 0 | 224 ms | 399 ms | 12 → 173 | 0.08 |
//! | no descriptors left | 1,337 | 0 | 0 | 3 ms | 9 ms | 10 → 12 | 0.03 |
//! | kill -9 and restart | 2,113 | 5 | 0 | 4 ms | 1000 ms | 12 → 12 | 0.03 |
//! | clock a day ahead | 2,367 | 0 | 0 | 8 ms | 48 ms | 12 → 21 | 0.04 |
//! | clock a day back | 2,570 | 0 | 0 | 16 ms | 48 ms | 12 → 21 | 0.03 |
//!
//! Two cores that others shared with it (load 15), so that times are upper bounds; clients and server on one machine.
//! *CPU* is what the server takes once the fault is complete, of a core. *UDP buffers full*: the kernel dropped 107,045
//! datagrams of two threads that send as fast as they can; one question in 96 had to be asked again. *QUIC handshakes*:
//! no datagram was dropped and 4,888 were made; with the system's buffer and no bound on handshakes at once the kernel
//! dropped 30,880, 3,857 were made and the longest wait was 579 ms.
//! *kill -9*: the new server answers 76 ms later; a question under way is asked again, over UDP and QUIC after the
//! client's second.
//!
//! Cost of a connection that has asked once, from the same run (resident memory, the difference): TCP 3.1 KiB
//! (10,000, which have asked nothing), TLS 13 KiB, HTTP/1.1 26 KiB, HTTP/2 34 KiB, QUIC 39 KiB (2,000 each), half a TLS
//! handshake 16 KiB. 500 with a hundred streams held open: HTTP/2 300 KiB each, QUIC 180 KiB each. 2,000 over TCP that
//! read nothing of 60 KiB each: 36 MiB in all.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program that waits for others and reports"
)]

mod attack;
mod honest;
mod server;

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;
use verge_stack::dns_client::carrier::{Asker, Carrier};

use self::attack::{Held, Way};
use self::honest::Honest;
use self::server::{Clock, Server, Site, TICKS_PER_SECOND};

#[derive(Parser)]
struct Arguments {
    /// The verge-dns program.
    #[arg(long)]
    ours: PathBuf,
    /// Only faults whose names hold this.
    #[arg(long, default_value = "")]
    only: String,
}

/// The harm.
#[derive(Clone, Copy, Debug)]
enum Harm {
    Nothing,
    UdpFlood,
    /// So many connections in this way, so many of them from each address.
    Connections(usize, usize, Way),
    QuicFlood(usize),
    /// `kill -9`, and a new server on the same ports.
    Kill,
    /// The wall clock is set by so many seconds; then come a hundred new connections of each kind.
    Clock(i64),
}

struct Fault {
    name: &'static str,
    settings: &'static str,
    descriptors: Option<u64>,
    harm: Harm,
    honest: &'static [Carrier],
}

impl Fault {
    fn clock(&self) -> Clock {
        if matches!(self.harm, Harm::Clock(_)) { Clock::Ours } else { Clock::System }
    }
}

const PLAIN: &[Carrier] = &[Carrier::Udp, Carrier::Tcp];
const FIVE: &[Carrier] = &[Carrier::Udp, Carrier::Tcp, Carrier::Tls, Carrier::Get2, Carrier::Quic];
/// So that connections stay until they are counted.
const MANY: &str =
    "tcp.max_connections = 16384\ntcp.max_connections_per_client = 200\ntcp.idle_timeout = \"60s\"";
/// How long a fault is watched, from when it is complete.
const WATCH: Duration = Duration::from_secs(4);
/// The honest clients ask this long before the harm begins, so that each has a connection.
const UNHARMED: Duration = Duration::from_millis(500);
/// How often the server's memory is looked at meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(100);

const fn fault(name: &'static str, settings: &'static str, harm: Harm, honest: &'static [Carrier]) -> Fault {
    Fault { name, settings, descriptors: None, harm, honest }
}

const fn idle(name: &'static str, count: usize, carrier: Carrier) -> Fault {
    fault(name, MANY, Harm::Connections(count, 100, Way::Idle(carrier)), &[])
}

const FAULTS: &[Fault] = &[
    fault("nothing", "", Harm::Nothing, FIVE),
    fault("UDP buffers full", "", Harm::UdpFlood, PLAIN),
    fault("10,000 idle TCP", "", Harm::Connections(10_000, 64, Way::Idle(Carrier::Tcp)), FIVE),
    fault("10,000 half-open TLS", "", Harm::Connections(10_000, 64, Way::HalfHandshake), FIVE),
    fault("2,000 slow readers", "", Harm::Connections(2_000, 50, Way::SlowReader), FIVE),
    fault("5,000 QUIC handshakes", "", Harm::QuicFlood(5_000), FIVE),
    Fault {
        descriptors: Some(300),
        ..fault("no descriptors left", "", Harm::Connections(2_000, 20, Way::Idle(Carrier::Tcp)), PLAIN)
    },
    fault("kill -9 and restart", "", Harm::Kill, FIVE),
    fault("clock a day ahead", "", Harm::Clock(86_400), FIVE),
    fault("clock a day back", "", Harm::Clock(-86_400), FIVE),
    idle("memory: 10,000 TCP", 10_000, Carrier::Tcp),
    idle("memory: 2,000 TLS", 2_000, Carrier::Tls),
    idle("memory: 2,000 HTTP/1.1", 2_000, Carrier::Get1),
    idle("memory: 2,000 HTTP/2", 2_000, Carrier::Get2),
    idle("memory: 2,000 QUIC", 2_000, Carrier::Quic),
    fault("memory: 2,000 TCP, nothing read", MANY, Harm::Connections(2_000, 100, Way::SlowReader), &[]),
    fault("memory: 500 HTTP/2, 100 streams held", MANY, Harm::Connections(500, 100, Way::NoWindow), &[]),
    fault("memory: 500 QUIC, 100 streams held", MANY, Harm::Connections(500, 100, Way::HalfStreams), &[]),
];

#[tokio::main]
async fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let site = Site::new(&arguments.ours)?;
    println!(
        "fault | over | sent | again | lost | p50 | p99 | longest | RSS before → most → after | CPU | remarks"
    );
    println!("--- | --- | --- | --- | --- | --- | --- | --- | --- | --- | ---");
    for fault in FAULTS.iter().filter(|it| it.name.contains(&arguments.only)) {
        suffer(&site, fault).await?;
    }
    Ok(())
}

async fn suffer(site: &Site, fault: &Fault) -> io::Result<()> {
    site.set_clock(0)?;
    let mut server = site.start(fault.settings, [0; 4], fault.descriptors, fault.clock())?;
    let asker = Asker::new([127, 0, 0, 1].into(), site.root.clone())?;
    let honest: Vec<_> = fault
        .honest
        .iter()
        .map(|carrier| Honest::start(asker.clone(), *carrier, server.address(*carrier)))
        .collect();
    tokio::time::sleep(UNHARMED).await;
    let before = server.taken()?;
    let began = Instant::now();
    let held = harm(site, &mut server, fault).await?;
    let (made_in, complete) = (began.elapsed(), server.taken()?);
    let mut most = complete.rss_kib;
    let watched = Instant::now();
    while watched.elapsed() < WATCH {
        tokio::time::sleep(LOOK_EVERY).await;
        most = most.max(server.taken()?.rss_kib);
    }
    let end = server.taken()?;
    let ticks = end.cpu_ticks.saturating_sub(complete.cpu_ticks);
    let cpu = f64::from(u32::try_from(ticks).unwrap_or(u32::MAX))
        / TICKS_PER_SECOND
        / watched.elapsed().as_secs_f64();
    let said = format!("{}, {} datagrams dropped", held.said(), server.dropped()?);
    drop(held);
    let mut tallies = Vec::new();
    for client in honest {
        tallies.push((format!("{:?}", client.carrier), client.stop().await));
    }
    if tallies.is_empty() {
        tallies.push(("-".to_owned(), honest::Tally::default()));
    }
    for (over, tally) in tallies {
        println!(
            "{} | {over} | {} | {} | {} | {:.1?} | {:.1?} | {:.1?} | {} → {} → {} KiB | {cpu:.2} | {said} in {made_in:.1?}",
            fault.name,
            tally.sent,
            tally.retried,
            tally.lost,
            tally.percentile(50),
            tally.percentile(99),
            tally.percentile(100),
            before.rss_kib,
            most,
            end.rss_kib,
        );
    }
    Ok(())
}

async fn harm(site: &Site, server: &mut Server, fault: &Fault) -> io::Result<Held> {
    match fault.harm {
        Harm::Nothing => Ok(Held::default()),
        Harm::UdpFlood => attack::udp_flood(server.address(Carrier::Udp)),
        Harm::Connections(count, per_client, way) => {
            attack::connections(site, server, (count, per_client), way).await
        }
        Harm::QuicFlood(count) => attack::quic_flood(site, server, count).await,
        Harm::Kill => {
            let ports = server.ports();
            server.kill()?;
            *server = site.start(fault.settings, ports, fault.descriptors, fault.clock())?;
            Ok(Held::default())
        }
        Harm::Clock(seconds) => {
            site.set_clock(seconds)?;
            let mut held = Held::default();
            for carrier in [Carrier::Tls, Carrier::Get2, Carrier::Quic] {
                held.and(attack::connections(site, server, (100, 50), Way::Idle(carrier)).await?);
            }
            Ok(held)
        }
    }
}
