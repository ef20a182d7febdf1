//! `verge-edge serve`: load, start, say where it listens, run, drain.

use std::path::PathBuf;
use std::pin::{Pin, pin};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use verge_edge::config::{self, Config, LEVEL_HELP, Level};
use verge_edge::handover::systemd;
use verge_edge::log::{self, LevelOf};
use verge_edge::run::{self, StartError};

use super::{Failed, next, say};

#[derive(Debug, clap::Args)]
pub(super) struct Serve {
    /// The config file
    #[arg(long, value_name = "FILE", default_value = "edge.toml")]
    config: PathBuf,
}

impl Serve {
    pub(super) async fn run(self) -> Result<(), Failed> {
        // Before anything else: a signal that comes while the listeners are bound still ends in a drain.
        let mut signals = Signals::listen().map_err(Failed::because)?;
        let config = config::load(&self.config).map_err(Failed::of_config)?;
        let _log = start_log(&config.log)?;
        log::access::start(config.log.access.as_ref()).map_err(Failed::because)?;
        for warning in &config.warnings {
            tracing::warn!(target: "verge_edge", "{}", warning.message());
        }
        let stop = CancellationToken::new();
        let running = start(config, &mut signals, &stop).await.map_err(Failed::of_start)?;
        systemd::ready();
        tell_systemd_of_life();
        let listening = announcement(&running.listening());
        // The program's output may have no reader; no answer waits for one.
        let announce = move || {
            log::flush();
            say(listening);
        };
        std::thread::Builder::new().spawn(announce).map_err(Failed::because)?;
        let until_told_to_stop = async {
            if !stop.is_cancelled() {
                signals.until_told_to_stop(Some(&running)).await;
            }
        };
        let is_superseded = tokio::select! {
            () = until_told_to_stop => false,
            () = running.superseded() => true,
            () = running.follow() => false,
        };
        let ended = match is_superseded {
            true => {
                "another process has taken over, and this one ends its connections; a signal ends it at once"
            }
            false => "draining; a second signal ends at once",
        };
        tracing::info!(target: "verge_edge", "{ended}");
        let end = async {
            match is_superseded {
                true => running.leave().await,
                false => {
                    systemd::stopping();
                    running.drain().await;
                }
            }
        };
        tokio::select! {
            () = end => tracing::info!(target: "verge_edge", "drained"),
            () = signals.until_told_to_stop(None) => {}
        }
        Ok(())
    }
}

/// Starts. A signal that ends the program cancels `stop`: then it takes over from no other process.
async fn start(
    config: Config,
    signals: &mut Signals,
    stop: &CancellationToken,
) -> Result<run::Running, StartError> {
    let mut starting = pin!(run::take_over(config, stop));
    tokio::select! {
        biased;
        () = told_to_stop(&mut signals.stop) => stop.cancel(),
        started = &mut starting => return started,
    }
    // It ends here unless it has taken over already.
    starting.await
}

/// Tells systemd that the threads which answer do so, as often as it wants to hear that, until this process has ended.
fn tell_systemd_of_life() {
    let Some(pause) = systemd::pulse() else { return };
    // One of those threads has it to do: where all of them hang, nothing is told. The first word comes at once, for the process
    // before may have told its last one half a period ago.
    tokio::spawn(async move {
        loop {
            systemd::alive();
            tokio::time::sleep(pause).await;
        }
    });
}

/// One line for each listener, for scripts that wait for it.
fn announcement(listening: &run::Listening) -> String {
    let public = listening.public.iter().map(|address| (address, "public"));
    let public = public.chain(listening.tls.iter().map(|address| (address, "tls")));
    let public = public.chain(listening.quic.iter().map(|address| (address, "quic")));
    let all = public.chain(listening.admin.iter().map(|address| (address, "admin")));
    let all = all.map(|(address, who)| format!("listening {address} {who}"));
    let socket = listening.admin_socket.iter().map(|path| format!("listening unix:{} admin", path.display()));
    all.chain(socket).collect::<Vec<_>>().join("\n")
}

/// RUST_LOG goes before the config.
fn start_log(config: &config::Log) -> Result<log::Log, Failed> {
    let (level, of) = match std::env::var("RUST_LOG") {
        Ok(text) if !text.is_empty() => {
            let level = Level::parse(&text)
                .map_err(|error| Failed::because(format!("RUST_LOG: {error}: {LEVEL_HELP}")))?;
            (level, LevelOf::Variable)
        }
        _ => (config.level.clone(), LevelOf::Config),
    };
    log::start(config.format, &level, of).map_err(Failed::because)
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
    hangup: Signal,
    /// Other programs do something at these. Unheard, they would kill this one.
    user: [Signal; 2],
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        let stop = [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];
        let user = [signal(SignalKind::user_defined1())?, signal(SignalKind::user_defined2())?];
        Ok(Self { stop, hangup: signal(SignalKind::hangup())?, user })
    }

    /// Waits for the signals that end the program. The others are obeyed as long as the edge runs.
    async fn until_told_to_stop(&mut self, running: Option<&run::Running>) {
        let [terminate, interrupt] = &mut self.stop;
        let [user1, user2] = &mut self.user;
        let mut reloading = None;
        loop {
            tokio::select! {
                _ = terminate.recv() => return,
                _ = interrupt.recv() => return,
                // One that comes during a reload is heard after it.
                _ = self.hangup.recv(), if reloading.is_none() => {
                    reloading = running.map(|running| Box::pin(reload(running)));
                }
                () = done(&mut reloading) => reloading = None,
                _ = user1.recv() => match log::access::reopen() {
                    true => tracing::info!(target: "verge_edge", "the access log's file is opened anew"),
                    false => tracing::warn!(target: "verge_edge", "SIGUSR1 has no meaning here: the access log has no file"),
                },
                _ = user2.recv() => running.into_iter().for_each(restart),
            }
        }
    }
}

async fn reload(running: &run::Running) {
    systemd::reloading();
    // The log has the result.
    drop(running.reload().await);
    systemd::ready();
}

/// Ready when what is there is; never where there is nothing.
async fn done(of: &mut Option<Pin<Box<impl Future<Output = ()>>>>) {
    match of {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

/// Starts the program that stands where this one came from, with the same arguments: it takes over.
fn restart(running: &run::Running) {
    if !running.may_be_superseded() {
        tracing::warn!(target: "verge_edge", "SIGUSR2 has no meaning here: without a `run_folder` no process can take over");
        return;
    }
    match next::start() {
        Ok(()) => tracing::info!(target: "verge_edge", "started the next process"),
        Err(error) => tracing::error!(target: "verge_edge", "cannot start the next process: {error}"),
    }
}
