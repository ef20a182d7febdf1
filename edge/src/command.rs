//! The command line: commands and options.

mod admin_client;
mod batch;
mod check;
mod desk;
mod doctor;
mod explain;
mod generate;
mod guard;
mod health;
mod maintenance;
mod moving;
mod next;
mod objects;
mod origins;
mod own_tls;
mod peer;
mod purge;
mod push;
mod reload;
mod serve;
mod simulate;
mod status;
mod tail;
mod terminal;
mod top;
mod warm;

use std::fmt::Display;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use http::{HeaderName, HeaderValue};
use verge_edge::run::StartError;
use verge_edge::{config, log};

/// A pull-CDN edge cache.
#[derive(Debug, Parser)]
#[command(name = "verge-edge", version, about)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer requests until SIGTERM or SIGINT; SIGHUP reloads the config file
    Serve(serve::Serve),
    /// Test a config without starting an edge
    Check(check::Check),
    /// Make URLs, prefixes, tags, a site or everything gone from a running edge's cache
    Purge(purge::Purge),
    /// Make a running edge read its config again, without losing a connection or anything stored
    Reload(reload::Reload),
    /// Tell the reload that a running edge watches, and those that it undid because origins failed
    Guard(guard::Guard),
    /// Have sites of a running edge say that they are being worked on
    Maintenance(maintenance::Maintenance),
    /// Tell how the origins of a running edge stand; take one out, or put it back
    Origins(origins::Origins),
    /// Say how a running edge does: rates, latencies, store, sites, origins
    Status(status::Status),
    /// Watch how a running edge does
    Top(top::Top),
    /// Read along with the requests of a running edge
    Tail(tail::Tail),
    /// List what a running edge holds: URL, size, age, hits
    Objects(objects::Objects),
    /// Write all that a running edge has stored into a file, for another edge
    Export(moving::Export),
    /// Store in a running edge what another one has exported
    Import(moving::Import),
    /// Put files into a running edge's cache ahead of demand
    Push(push::Push),
    /// Ask a running edge for URLs, so that it has them
    Warm(warm::Warm),
    /// Look whether this machine suits a config, and say what to change
    Doctor(doctor::Doctor),
    /// Say whether an edge on this machine is ready, for health checks of containers
    Health(health::Health),
    /// Say how many of a trace's requests a memory of some size would answer, by each eviction
    Simulate(simulate::Simulate),
    /// Say what a running edge would make of a request, and why
    Explain(explain::Explain),
    /// Write manual pages and completions of shells into a folder
    #[command(hide = true)]
    Generate(generate::Generate),
}

impl Arguments {
    pub(crate) async fn run(self) -> Result<(), Failed> {
        match self.command {
            Command::Serve(serve) => serve.run().await,
            Command::Check(check) => check.run().await,
            Command::Purge(purge) => purge.run().await,
            Command::Reload(reload) => reload.run().await,
            Command::Guard(guard) => guard.run().await,
            Command::Maintenance(maintenance) => maintenance.run().await,
            Command::Origins(origins) => origins.run().await,
            Command::Status(status) => status.run().await,
            Command::Top(top) => top.run().await,
            Command::Tail(tail) => tail.run().await,
            Command::Objects(objects) => objects.run().await,
            Command::Export(export) => export.run().await,
            Command::Import(import) => import.run().await,
            Command::Push(push) => push.run().await,
            Command::Warm(warm) => warm.run().await,
            Command::Simulate(simulate) => simulate.run(),
            Command::Explain(explain) => explain.run().await,
            Command::Doctor(doctor) => doctor.run().await,
            Command::Health(health) => health.run().await,
            Command::Generate(generate) => generate.run(),
        }
    }
}

/// Says a line. A reader that has gone is no failure of the command.
fn say(line: impl Display) {
    let _ = is_heard(line);
}

/// Says something of which more follows; whether anybody reads it.
fn is_heard(line: impl Display) -> bool {
    use std::io::Write;
    writeln!(std::io::stdout().lock(), "{line}").is_ok()
}

/// Reads `Name: value`.
fn field(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let parsed = text.split_once(':').and_then(|(name, value)| {
        let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
        Some((name, HeaderValue::from_str(value.trim()).ok()?))
    });
    parsed.ok_or_else(|| "write `Name: value`".to_owned())
}

/// The system gave no threads.
pub(crate) fn cannot_start(error: &std::io::Error) -> Failed {
    Failed::because(format!("cannot start: {error}"))
}

/// Why a command failed, in words for the person who typed it.
#[derive(Debug)]
pub(crate) struct Failed {
    text: String,
    /// A config's error begins with the place, as compilers' do: editors find it.
    begins: &'static str,
}

impl Failed {
    fn because(reason: impl Display) -> Self {
        Self { text: reason.to_string(), begins: "verge-edge: " }
    }

    /// For [`config::load`]'s error, which says where it is.
    fn of_config(error: config::ConfigError) -> Self {
        Self { text: error.to_string(), begins: "" }
    }

    /// For an error that may say where in the config it is.
    fn of_start(error: StartError) -> Self {
        match error {
            StartError::Placed(error) => Self::of_config(*error),
            error => Self::because(error),
        }
    }

    /// Says first what it was about.
    fn about(self, name: &str) -> Self {
        Self { text: format!("{name}: {}", self.text), ..self }
    }

    pub(crate) fn report(self) -> ExitCode {
        log::last_words(&format!("{}{}\n", self.begins, self.text));
        ExitCode::FAILURE
    }
}

#[cfg(test)]
mod tests;
