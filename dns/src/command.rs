//! The program's commands: `serve`, `check`, `explain`, `diff`, `merge`, `compare`, `status`, `top`, `tail`, `pools`, `drain`, `fold`,
//! `promote`, `key`.
//!
//! All but the first read the same files by the same rules as a server, but need none that runs.

mod asked;
mod check;
mod compare;
mod diff;
mod doctor;
mod explain;
mod fold;
mod framed;
mod generate;
mod health;
mod key;
mod merge;
mod next;
mod old;
mod pools;
mod promote;
mod serve;
mod status;
mod tail;
mod terminal;
mod top;
mod zones;

use std::fmt;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use serde::Serialize;

use crate::catalog::FolderError;
use crate::config::{AdminAddress, ConfigError, LEVEL_HELP};
use crate::log;
use crate::name::Name;
use crate::serve::StartError;

/// Where the repository says what each id of a rule means.
const RULES_PAGE: &str = "docs/privacy.md";

/// An authoritative DNS server that keeps internal addresses private by default.
#[derive(Debug, Parser)]
#[command(name = "verge-dns", version, about, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer DNS queries until SIGTERM or SIGINT; SIGHUP reads the config and the zone files again
    Serve(serve::Args),
    /// Report every problem of zone files, and every record that outsiders do not see
    Check(check::Args),
    /// Show the answer that one client would get, and why
    Explain(explain::Args),
    /// Show what the outside and the inside see, side by side
    Diff(diff::Args),
    /// Write one zone file from the two that BIND keeps for two views
    Merge(merge::Args),
    /// Ask an old server, or its files, and this configuration the same questions, and show each difference
    Compare(compare::Args),
    /// Show what a running server serves, under which serials, and whether its secondaries know
    Status(status::Args),
    /// Watch how a running server does: rates, latencies, zones at fault
    Top(top::Args),
    /// Read along with the questions of a running server
    Tail(tail::Args),
    /// Show the pools of a running server: who is given, and why
    Pools(pools::Args),
    /// Take a member of a running server's pools out of service, and say when it is safe to stop it
    Drain(pools::DrainArgs),
    /// Look whether this machine suits a config, and say what to change
    Doctor(doctor::Args),
    /// Say whether a server on this machine is ready, for health checks of containers
    Health(health::Args),
    /// Write what updates have changed into the zone file
    Fold(fold::Args),
    /// Make this server the primary of a zone that it takes from another
    Promote(promote::Args),
    /// Make a key that another server proves (TSIG), and print the lines for its config
    Key(key::Args),
    /// Write manual pages and completions of shells into a folder
    #[command(hide = true)]
    Generate(generate::Args),
}

/// Which zone files, by which rules.
#[derive(Clone, Debug, clap::Args)]
struct Source {
    /// The config whose rules hold, and whose zones if none are given [default: dns.toml if it is here]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Human,
    /// For pipelines and editors
    Json,
}

/// The shape of the output.
#[derive(Clone, Copy, Debug, clap::Args)]
struct Shape {
    /// The shape of the output
    #[arg(long, value_enum, default_value = "human")]
    format: Format,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

impl Shape {
    fn format(self) -> Format {
        if self.json { Format::Json } else { self.format }
    }
}

/// Why a command came to nothing.
#[derive(Debug)]
enum Failure {
    Config(ConfigError),
    Folder(FolderError),
    Start(StartError),
    /// The variable RUST_LOG holds no level.
    LogLevel(String),
    Runtime(std::io::Error),
    NoZones,
    NoConfig,
    /// There is no admin listener to ask.
    NoAdmin,
    NoStatus(AdminAddress, std::io::Error),
    /// Why this server does not become the primary of a zone.
    NotPromoted(String, String),
    /// A server is not ready, in its own words.
    Unwell(String),
    /// Why updates are not written into a zone file.
    NotFolded(String, String),
    /// A zone has errors, so there is nothing to show.
    Broken(Name),
    /// `diff` was given two versions of one zone.
    TwoVersions(Name),
    /// Two files that are to be merged are for two zones.
    OtherZones(Name, Name),
    /// The name of a zone file says no zone.
    NoName(PathBuf),
    Unreadable(PathBuf, std::io::Error),
    /// A file of a secret that is not to be lost.
    Unwritable(PathBuf, std::io::Error),
    /// A file of another server has errors.
    Old(PathBuf, String),
    NoServer(String),
    Unanswered(SocketAddr, std::io::Error),
    /// The command said all there is to say.
    Problems,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Folder(error) => error.fmt(f),
            Self::Start(error) => error.fmt(f),
            Self::LogLevel(error) => write!(f, "RUST_LOG: {error}\n  = help: {LEVEL_HELP}"),
            Self::Runtime(error) => write!(f, "the system does not let us start: {error}"),
            Self::NoZones => {
                write!(f, "which zone files? name a folder or files, or a config with --config FILE")
            }
            Self::NoConfig => {
                write!(f, "which config? there is no dns.toml here; name one with --config FILE")
            }
            Self::NoAdmin => {
                write!(
                    f,
                    "the config has no [admin]; a server tells its status there: [admin] listen = \"127.0.0.1:9300\""
                )
            }
            Self::NoStatus(listen, error) => {
                write!(f, "the admin listener {listen} tells no status: {error}")
            }
            Self::Unwell(why) => f.write_str(why),
            Self::TwoVersions(apex) => write!(
                f,
                "two files are for the zone {apex}; diff shows what outsiders and insiders see of one file\n  \
                 = help: to compare two versions: verge-dns compare --outside OLD-FILE NEW-FILE"
            ),
            Self::OtherZones(outside, inside) => {
                write!(f, "the file of the outside is for {outside}, that of the inside for {inside}")
            }
            Self::NoName(path) => {
                write!(
                    f,
                    "{}: which zone is in it? say so with --zone NAME, or name it NAME.zone",
                    path.display()
                )
            }
            Self::Unreadable(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Unwritable(path, error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                write!(f, "{}: a key is there; remove it, or write another with --file FILE", path.display())
            }
            Self::Unwritable(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Old(path, errors) => write!(f, "{} has errors:\n{errors}", path.display()),
            Self::NoServer(text) => write!(f, "`{text}` is no server; write @192.0.2.1 or @192.0.2.1:5300"),
            Self::Unanswered(server, error) => write!(f, "{server} does not answer over TCP: {error}"),
            Self::NotPromoted(zone, why) => {
                write!(f, "{zone}: this server does not become its primary: {why}")
            }
            Self::NotFolded(zone, why) => write!(f, "{zone}: nothing was folded: {why}"),
            Self::Broken(apex) => write!(f, "{apex} has errors and is not served; see verge-dns check"),
            Self::Problems => Ok(()),
        }
    }
}

/// Writes to stdout. A reader that has seen enough (`| head`) is no error.
fn say(text: &str) {
    let _ = is_heard(text);
}

/// Says something of which more follows; whether anybody reads it.
fn is_heard(text: &str) -> bool {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_ok()
}

/// A document for pipelines, with a line end.
fn json(document: &impl Serialize) -> String {
    let mut text =
        serde_json::to_string_pretty(document).expect("documents hold only texts, numbers and flags");
    text.push('\n');
    text
}

/// Does what was asked.
pub fn run(cli: Cli) -> ExitCode {
    let done = match cli.command {
        Command::Serve(args) => serve::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Diff(args) => diff::run(&args),
        Command::Merge(args) => merge::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Key(args) => key::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Top(args) => top::run(&args),
        Command::Tail(args) => tail::run(&args),
        Command::Pools(args) => pools::run(&args),
        Command::Drain(args) => pools::drain(&args),
        Command::Fold(args) => fold::run(&args),
        Command::Promote(args) => promote::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Health(args) => health::run(&args),
        Command::Generate(args) => generate::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Problems) => ExitCode::FAILURE,
        Err(failure) => {
            log::last_words(&format!("verge-dns: {failure}\n"));
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests;
