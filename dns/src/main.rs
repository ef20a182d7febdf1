//! `verge-dns`: see [`verge_dns::command`].

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    verge_dns::command::run(verge_dns::command::Cli::parse())
}
