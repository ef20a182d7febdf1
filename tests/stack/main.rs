//! `cargo run --release`: the whole idea on one machine. See the library for what runs.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use verge_stack::guide::Guide;
use verge_stack::{demo, origin};

/// The demo stack: verge-dns, two verge-edge and a small origin on this machine.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    options: demo::Options,
    /// End when standard input closes, as a test's child should
    #[arg(long, global = true)]
    until_stdin_closes: bool,
    #[command(subcommand)]
    only: Option<Only>,
}

/// Parts of the stack that can be had alone.
#[derive(Subcommand)]
enum Only {
    /// Only the origin, to put edges of your own in front of
    Origin {
        /// Where it listens
        #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8000")]
        listen: SocketAddr,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log();
    let ended = match &arguments.only {
        None => run_all(&arguments).await,
        Some(Only::Origin { listen }) => run_origin(*listen, &arguments).await,
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            // Nothing is left to do when standard error is closed, too.
            let _ = writeln!(io::stderr(), "error: {message}");
            ExitCode::FAILURE
        }
    }
}

async fn run_all(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let mut demo = demo::start(&arguments.options).await?;
    let mut stop = signal(SignalKind::user_defined1())?;
    say(&Guide::of(&demo).to_string());
    let end = asked_to_end(arguments.until_stdin_closes);
    tokio::pin!(end);
    loop {
        tokio::select! {
            ended = &mut end => break ended?,
            _ = stop.recv() => {
                demo.stop_second_edge().await;
                say("the second edge has stopped\n");
            }
        }
    }
    say("draining: open connections may end, new ones are refused\n");
    within_limit(demo.drain()).await;
    say("drained\n");
    Ok(())
}

async fn run_origin(listen: SocketAddr, arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let started = origin::start(listen).await;
    let origin = started
        .map_err(|e| format!("cannot listen on {listen}: {e}; choose another address with --listen"))?;
    say(&format!("listening origin {}\n", origin.address()));
    asked_to_end(arguments.until_stdin_closes).await?;
    within_limit(origin.drain()).await;
    Ok(())
}

/// Warnings and worse, unless `RUST_LOG` says otherwise; on standard error, so that the guide stays readable.
fn log() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
}

/// Returns at Ctrl-C, at SIGTERM, or when standard input closes if that counts.
async fn asked_to_end(until_stdin_closes: bool) -> io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        () = stdin_closed(), if until_stdin_closes => {}
    }
    Ok(())
}

async fn stdin_closed() {
    let (closed, wait) = tokio::sync::oneshot::channel();
    // A thread of its own: the runtime would wait at its end for a read on one of its threads.
    std::thread::spawn(move || {
        // An error means that nothing more will come, as the end does.
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        // Nobody waits any more when a signal came first.
        let _ = closed.send(());
    });
    let _ = wait.await;
}

/// Ends early at a second Ctrl-C, and in any case after [`DRAIN_LIMIT`].
async fn within_limit(drain: impl Future<Output = ()>) {
    tokio::select! {
        () = drain => {}
        _ = tokio::signal::ctrl_c() => {}
        () = tokio::time::sleep(DRAIN_LIMIT) => {}
    }
}

/// Standard output may be closed (`| head`); the stack runs on.
fn say(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// The units have limits of their own below this one.
const DRAIN_LIMIT: Duration = Duration::from_secs(40);
