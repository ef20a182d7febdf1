//! Do we answer as the field answers? Debian's NSD, Knot and BIND beside verge-dns, on the same generated zones.
//!
//! `differential --zones 300 --seed 1 --ours target/release/verge-dns` makes zones from small alphabets that are full of
//! the odd features (wildcards in all positions, cuts with every kind of glue, DNAME, chains, empty non-terminals),
//! starts the servers on loopback, asks each the same questions and compares rcode, AA and the sections as sets.
//!
//! The verdict: where the three agree, their answer is right. Where they do not, ours must be the answer of two of
//! them, or NSD's. A server that cannot load or confuses a zone has no say in it; then one of the other two
//! is enough. Any other difference must be in the table of [`justified`] or be mended.
//!
//! NSD and BIND run with minimal responses, as Knot always does: the NS set beside a positive answer is of no use to a
//! resolver that asked us because it has it, and it makes each answer larger.
//!
//! It is a program and not a test, because `cargo test` must pass where no foreign name server is installed.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program that waits for others and reports"
)]

mod ask;
mod decode;
mod generate;
mod justified;
mod peers;
mod verdict;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
struct Arguments {
    /// How many parent zones to make, in all batches together.
    #[arg(long, default_value_t = 200)]
    zones: u64,
    /// Zones per batch; the servers are started anew for each.
    #[arg(long, default_value_t = 100)]
    batch: u64,
    /// The first zone's seed; each further zone takes the next number.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The verge-dns program; left out, the peers are only compared with each other.
    #[arg(long)]
    ours: Option<PathBuf>,
    /// Sign every zone with NSEC3 first (dnssec-keygen and dnssec-signzone of BIND), and compare the proofs, too.
    #[arg(long)]
    nsec3: bool,
    /// How many differences of each kind to print whole.
    #[arg(long, default_value_t = 3)]
    show: usize,
    /// Keep the zone files and configurations here instead of in a folder that goes away.
    #[arg(long)]
    keep: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut tally = verdict::Tally::new(arguments.show);
    let mut first = arguments.seed;
    let end = arguments.seed + arguments.zones;
    while first < end {
        let last = end.min(first + arguments.batch);
        if let Err(why) = batch(&arguments, first..last, &mut tally) {
            eprintln!("differential: {why}");
            return ExitCode::FAILURE;
        }
        first = last;
    }
    print!("{tally}");
    if tally.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn batch(
    arguments: &Arguments,
    seeds: std::ops::Range<u64>,
    tally: &mut verdict::Tally,
) -> Result<(), String> {
    let scratch = tempfile::tempdir().map_err(|error| format!("no scratch folder: {error}"))?;
    let folder = arguments.keep.clone().unwrap_or_else(|| scratch.path().to_owned());
    let zones: Vec<generate::Zone> = seeds.flat_map(generate::zones).collect();
    let questions = generate::questions(&zones);
    let servers = peers::start(&folder, &zones, arguments.ours.as_deref(), arguments.nsec3)?;
    let mut heard = Vec::new();
    for server in &servers {
        let unknown = zones.iter().filter(|zone| !server.understands(zone)).collect();
        heard.push(Heard { name: server.name, unknown, answers: ask::all(server.address, &questions)? });
    }
    for (index, question) in questions.iter().enumerate() {
        let knows = |heard: &&Heard| heard.knows(&question.name);
        let voters = heard.iter().filter(knows).filter(|heard| heard.name != "verge").count();
        // A confused NSD's answer still shows where a chain goes on in another zone.
        let said = heard.iter().filter(|heard| knows(heard) || heard.name == "nsd");
        let said: Vec<_> = said.map(|heard| (heard.name, &heard.answers[index])).collect();
        tally.judge(&zones, question, &said, voters);
    }
    Ok(())
}

/// All that one server said.
struct Heard<'z> {
    name: &'static str,
    unknown: Vec<&'z generate::Zone>,
    answers: Vec<decode::Answer>,
}

impl Heard<'_> {
    /// Whether the server understands all zones that `name` can lie in.
    fn knows(&self, name: &str) -> bool {
        !self.unknown.iter().any(|zone| zone.covers(name))
    }
}
