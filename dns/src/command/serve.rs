//! `serve`: load, build, say where it listens, run, drain.

use std::io::IsTerminal;
use std::path::PathBuf;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::{Failure, say};
use crate::client::Listener;
use crate::config::{self, Config, Log, LogFormat};
use crate::serve::{self, Listening, Running};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The config
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let config = config::load(&args.config).map_err(Failure::Config)?;
    start_log(&config.log)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    make_room(&config);
    serve::return_large_blocks();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::Runtime)?;
    runtime.block_on(answer(config))
}

async fn answer(config: Config) -> Result<(), Failure> {
    let mut signals = Signals::listen().map_err(Failure::Runtime)?;
    let running = serve::start(config).await.map_err(Failure::Start)?;
    say(&announcement(running.listening()));
    signals.until_told_to_stop(&running).await;
    tracing::info!("draining");
    running.drain().await;
    Ok(())
}

/// More descriptors than connections, or a word about it.
fn make_room(config: &Config) {
    let sides = [&config.encrypted, &config.internal.encrypted];
    // TCP on both sides, TLS and HTTPS where there are; all connections of QUIC share a descriptor.
    let tables = 2 + sides.iter().flat_map(|it| [&it.tls, &it.https]).filter(|it| !it.is_empty()).count();
    let wanted = (tables * config.tcp.max_connections) as u64;
    match serve::raise_descriptor_limit() {
        Ok(limit) if limit > wanted => {}
        Ok(limit) => tracing::warn!(
            limit,
            wanted,
            "the limit of open files is below what `tcp.max_connections` allows in all; connections are dropped earlier"
        ),
        Err(error) => tracing::warn!(%error, "the limit of open files cannot be raised"),
    }
}

fn announcement(listening: &Listening) -> String {
    let outside = listening.outside.iter().map(|address| (address, "outside"));
    let inside = listening.inside.iter().map(|address| (address, "inside"));
    let admin = listening.admin.iter().map(|address| (address, "admin"));
    let encrypted = listening.encrypted.iter().map(|it| {
        let who = match it.listener {
            Listener::Outside => "outside",
            Listener::Inside => "inside",
        };
        format!("listening {} {who} {}\n", it.address, it.transport.as_str())
    });
    let plain =
        outside.chain(inside).chain(admin).map(|(address, who)| format!("listening {address} {who}\n"));
    plain.chain(encrypted).collect()
}

fn start_log(log: &Log) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&log.level).map_err(Failure::Log)?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match log.format {
        LogFormat::Human => lines.with_target(false).with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
    Ok(())
}

struct Signals {
    stop: [Signal; 2],
    reload: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        let stop = [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];
        Ok(Self { stop, reload: signal(SignalKind::hangup())? })
    }

    async fn until_told_to_stop(&mut self, running: &Running) {
        let [terminate, interrupt] = &mut self.stop;
        loop {
            tokio::select! {
                _ = terminate.recv() => return,
                _ = interrupt.recv() => return,
                _ = self.reload.recv() => running.reload(),
            }
        }
    }
}
