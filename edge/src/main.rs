//! The program `verge-edge`: reads its arguments and does what they say.

mod command;

use std::process::ExitCode;

use clap::Parser;

// glibc's malloc costs three times the CPU when bodies are streamed.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    match command::Arguments::parse().run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
