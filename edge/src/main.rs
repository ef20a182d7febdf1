//! The program `verge-edge`: reads its arguments and does what they say.

mod command;

use std::process::ExitCode;

use clap::Parser;
use tokio::runtime::Runtime;

// glibc's malloc costs three times the CPU when bodies are streamed.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return command::cannot_start(&error).report(),
    };
    let ended = runtime.block_on(command::Arguments::parse().run());
    // A thread that waits for a disk which hangs must not keep the program from ending.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
