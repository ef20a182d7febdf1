//! `serve`: load, build, say where it listens, run, drain.

use std::path::PathBuf;

use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Failure, say, zones};
use crate::config::{self, Config, Level};
use crate::log::{self, Log};
use crate::serve::{self, Listening, Running};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The config [default: dns.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::Runtime)?;
    // Before anything else: a signal that comes while zones are loaded must not end the program.
    let signals = runtime.block_on(async { Signals::listen() }).map_err(Failure::Runtime)?;
    let path = args.config.clone().or_else(zones::default_config).ok_or(Failure::NoConfig)?;
    let config = config::load(&path).map_err(Failure::Config)?;
    let _log = start_log(&config.log)?;
    make_room(&config);
    serve::return_large_blocks();
    runtime.block_on(answer(config, signals))
}

async fn answer(config: Config, mut signals: Signals) -> Result<(), Failure> {
    let running = serve::start(config).await.map_err(Failure::Start)?;
    tell_systemd(&[NotifyState::Ready]);
    let listening = announcement(running.listening());
    // The program's output may have no reader; no answer waits for one.
    let announce = move || {
        log::flush();
        say(&listening);
    };
    std::thread::Builder::new().spawn(announce).map_err(Failure::Runtime)?;
    signals.until_told_to_stop(&running).await;
    tracing::info!("draining");
    tell_systemd(&[NotifyState::Stopping]);
    running.drain().await;
    tracing::info!("drained");
    Ok(())
}

/// A program that systemd did not start tells nobody.
fn tell_systemd(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(false, state) {
        tracing::warn!(%error, "systemd cannot be told");
    }
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
    let encrypted = listening
        .encrypted
        .iter()
        .map(|it| format!("listening {} {} {}\n", it.address, it.listener.as_str(), it.transport.as_str()));
    let plain =
        outside.chain(inside).chain(admin).map(|(address, who)| format!("listening {address} {who}\n"));
    let socket =
        listening.admin_socket.iter().map(|path| format!("listening unix:{} admin\n", path.display()));
    plain.chain(socket).chain(encrypted).collect()
}

/// RUST_LOG goes before the config.
fn start_log(config: &config::Log) -> Result<Log, Failure> {
    let level = match std::env::var("RUST_LOG") {
        Ok(text) if !text.is_empty() => Level::parse(&text).map_err(Failure::LogLevel)?,
        _ => config.level.clone(),
    };
    log::start(config.format, &level).map_err(Failure::Runtime)
}

struct Signals {
    stop: [Signal; 2],
    reload: Signal,
    /// Other programs do something at these. Unheard, they would kill this one.
    user: [Signal; 2],
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        let stop = [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];
        let user = [signal(SignalKind::user_defined1())?, signal(SignalKind::user_defined2())?];
        Ok(Self { stop, reload: signal(SignalKind::hangup())?, user })
    }

    async fn until_told_to_stop(&mut self, running: &Running) {
        let [terminate, interrupt] = &mut self.stop;
        let [user1, user2] = &mut self.user;
        loop {
            tokio::select! {
                _ = terminate.recv() => return,
                _ = interrupt.recv() => return,
                _ = self.reload.recv() => running.reload(),
                _ = user1.recv() => tracing::warn!("SIGUSR1 has no meaning here; SIGHUP reloads"),
                _ = user2.recv() => tracing::warn!("SIGUSR2 has no meaning here; SIGHUP reloads"),
            }
        }
    }
}
