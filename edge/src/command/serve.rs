//! `verge-edge serve`: load, start, say where it listens, run, drain.

use std::io::IsTerminal;
use std::path::PathBuf;

use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use verge_edge::config::{self, LogFormat};
use verge_edge::serve;

use super::Failed;

#[derive(Debug, clap::Args)]
pub(super) struct Serve {
    /// The config file
    #[arg(long, value_name = "FILE", default_value = "edge.toml")]
    config: PathBuf,
}

impl Serve {
    pub(super) async fn run(self) -> Result<(), Failed> {
        let config = config::load(&self.config).map_err(Failed::because)?;
        log(config.log);
        // Before the listeners: a signal that comes while they are bound still ends in a drain.
        let mut terminate = signal(SignalKind::terminate()).map_err(Failed::because)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(Failed::because)?;
        let running = serve::start(config).await.map_err(Failed::because)?;
        announce(running.listening());
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!(target: "verge_edge", "draining; a second signal ends at once");
        tokio::select! {
            () = running.drain() => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    }
}

/// One line for each listener, for scripts that wait for it.
#[expect(clippy::print_stdout, reason = "this is what the command says")]
fn announce(listening: &serve::Listening) {
    for address in &listening.public {
        println!("listening {address}");
    }
    if let Some(address) = listening.admin {
        println!("admin {address}");
    }
}

fn log(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Human => builder.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}
