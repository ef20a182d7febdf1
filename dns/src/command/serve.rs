//! `serve`: load, build, say where it listens, run, drain.

use std::path::PathBuf;
use std::pin::pin;

use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{Failure, next, say, zones};
use crate::clock;
use crate::config::{self, Config, Level};
use crate::log::{self, Log};
use crate::serve::{self, Listening, Running, StartError, Watched};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The config [default: dns.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    // Before there are threads.
    let passed = serve::Passed::take();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::Runtime)?;
    // Before anything else: a signal that comes while zones are loaded must not end the program.
    let signals = runtime.block_on(async { Signals::listen() }).map_err(Failure::Runtime)?;
    let path = args.config.clone().or_else(zones::default_config).ok_or(Failure::NoConfig)?;
    let config = config::load(&path).map_err(Failure::Config)?;
    let _log = start_log(&config.log)?;
    make_room(&config);
    serve::return_large_blocks();
    runtime.block_on(answer(config, passed, signals))
}

async fn answer(config: Config, passed: serve::Passed, mut signals: Signals) -> Result<(), Failure> {
    let stop = CancellationToken::new();
    let running = start(config, passed, &mut signals, &stop).await.map_err(Failure::Start)?;
    tell_systemd(&[NotifyState::Ready, NotifyState::MainPid(std::process::id())]);
    tell_systemd_of_life(running.watched());
    let listening = announcement(running.listening());
    // The program's output may have no reader; no answer waits for one.
    let announce = move || {
        log::flush();
        say(&listening);
    };
    std::thread::Builder::new().spawn(announce).map_err(Failure::Runtime)?;
    let until_told_to_stop = async {
        if !stop.is_cancelled() {
            signals.until_told_to_stop(&running).await;
        }
    };
    tokio::select! {
        // A reload that came before another process took over is passed on.
        biased;
        () = until_told_to_stop => {
            tracing::info!("draining");
            tell_systemd(&[NotifyState::Stopping]);
            running.drain().await;
            tracing::info!("drained");
        }
        pid = running.superseded() => {
            tracing::info!(pid, "another process has taken over, and this one ends its connections");
            tell_systemd(&[NotifyState::MainPid(pid)]);
            running.leave().await;
        }
    }
    Ok(())
}

/// Starts. A signal that ends the program cancels `stop`: then it takes over from no other process.
async fn start(
    config: Config,
    passed: serve::Passed,
    signals: &mut Signals,
    stop: &CancellationToken,
) -> Result<Running, StartError> {
    let mut starting = pin!(serve::start_with(config, passed, stop.clone()));
    tokio::select! {
        biased;
        () = told_to_stop(&mut signals.stop) => stop.cancel(),
        started = &mut starting => return started,
    }
    // It ends here unless it has taken over already.
    starting.await
}

/// Starts the program that stands where this one came from, with the same arguments: it takes over.
fn restart(running: &Running) {
    if !running.may_be_superseded() {
        tracing::warn!("SIGUSR2 has no meaning here: without a `run_folder` no process can take over");
        return;
    }
    match next::start() {
        Ok(()) => tracing::info!("started the next process"),
        Err(error) => tracing::error!("cannot start the next process: {error}"),
    }
}

/// Tells systemd that the threads which answer do so, as often as it wants to hear that, until this process has ended.
fn tell_systemd_of_life(watched: Watched) {
    let Some(pause) = serve::pulse() else { return };
    // One of those that have connections has it to do: where all of them hang, nothing is told, nor where one of UDP does. The first
    // word comes at once, for the process before may have told its last one half a period ago.
    tokio::spawn(watched.tell(pause, clock::now, serve::alive));
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

/// Waits for SIGTERM or SIGINT.
async fn told_to_stop([terminate, interrupt]: &mut [Signal; 2]) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
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
                _ = user2.recv() => restart(running),
            }
        }
    }
}
