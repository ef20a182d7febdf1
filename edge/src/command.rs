//! What can be written on the command line.

mod desk;
mod purge;
mod serve;

use std::fmt::Display;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A pull-CDN edge cache.
#[derive(Debug, Parser)]
#[command(name = "verge-edge", version, about)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer requests until SIGTERM or Ctrl-C
    Serve(serve::Serve),
    /// Make URLs, prefixes, tags, a site or everything gone from a running edge's cache
    Purge(purge::Purge),
}

impl Arguments {
    pub(crate) async fn run(self) -> Result<(), Failed> {
        match self.command {
            Command::Serve(serve) => serve.run().await,
            Command::Purge(purge) => purge.run().await,
        }
    }
}

/// Why a command failed, in words for who typed it.
#[derive(Debug)]
pub(crate) struct Failed(String);

impl Failed {
    fn because(reason: impl Display) -> Self {
        Self(reason.to_string())
    }

    /// Says first what it was about.
    fn about(self, name: &str) -> Self {
        Self(format!("{name}: {}", self.0))
    }

    #[expect(clippy::print_stderr, reason = "a program tells its errors there")]
    pub(crate) fn report(self) -> ExitCode {
        eprintln!("verge-edge: {}", self.0);
        ExitCode::FAILURE
    }
}
