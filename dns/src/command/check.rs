//! `check`: every problem with its place, and every record that outsiders do not see with the rule that hides it.

use std::cmp::Reverse;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::UNIX_EPOCH;

use serde::Serialize;

use super::{Failure, Format, RULES_PAGE, Shape, Source, json, say, zones};
use crate::catalog::report::{Report, State, ZoneReport};
use crate::clock;
use crate::config::{self, Config, ConfigError, Quorum, Tls, Warning};
use crate::explain::shown::{HiddenRecord, hidden_of, undecided_of};
use crate::serve::{self, Standing};
use crate::zone::check;
use crate::zone::diagnostic::{self, Style};
use crate::zone::{Problem, Severity};

/// Exit status 1: something is an error, or nothing was checked.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Folders of zone files, or zone files [default: the config's folder, or zones]
    #[arg(conflicts_with = "config_only")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    source: Source,
    /// Report errors and warnings only: no notes, no hidden records, no zones without a problem
    #[arg(long)]
    quiet: bool,
    /// Zone files as they were: warn of each record that is public now and was hidden there, although its own text is the same
    #[arg(long, value_name = "PATH", conflicts_with = "config_only")]
    before: Vec<PathBuf>,
    /// Exit with status 1 for warnings, too
    #[arg(long)]
    deny_warnings: bool,
    /// Check the config and its certificate, and no zone file
    #[arg(long)]
    config_only: bool,
    #[command(flatten)]
    shape: Shape,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let (config, mut report) = match args.config_only {
        true => (Some(zones::config(&args.source)?.ok_or(Failure::NoConfig)?), Report::default()),
        false => {
            let zones = zones::load(&args.paths, &args.source)?;
            (zones.config, zones.loaded.report)
        }
    };
    let now = clock::system_now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    for zone in &mut report.zones {
        zone.problems.extend(zone.exposed());
        zone.problems.extend(zone.zone.as_ref().and_then(|zone| check::expiring(zone, now)));
    }
    if !args.before.is_empty() {
        tell_unhidden(&mut report, &zones::load(&args.before, &args.source)?.loaded.report);
    }
    // A caller that names zones asks about them alone.
    if let (true, Some(tls)) = (args.paths.is_empty(), config.as_ref().and_then(|it| it.tls.as_ref())) {
        report.nameless.extend(problem_of_certificate(tls));
    }
    if let (true, Some(config)) = (args.paths.is_empty(), &config) {
        let own = config.admin.as_ref().and_then(|admin| admin.tls.as_ref());
        let of_admin =
            |problem: Problem| Problem { message: format!("[admin] {}", problem.message), ..problem };
        report.nameless.extend(own.and_then(problem_of_certificate).map(of_admin));
        report.nameless.extend(problem_of_keys(config));
        report.nameless.extend(problem_of_database(config));
        report.nameless.extend(config.quorum.as_ref().and_then(problem_of_quorum));
    }
    let mut warnings = config.as_ref().map_or_else(Vec::new, |config| config.warnings.clone());
    if let (true, false, Some(config)) = (args.paths.is_empty(), args.config_only, &config) {
        warnings.extend(config::unmatched_in(&report, config));
    }
    let warnings = warnings.as_slice();
    let totals = Totals::of(&report, warnings.len());
    say(&match args.shape.format() {
        Format::Human => text(&report, warnings, totals, args),
        Format::Json => json(&document(&report, warnings, totals)),
    });
    let nothing_checked = report.zones.is_empty() && !args.config_only;
    let denied = totals.errors > 0 || args.deny_warnings && totals.warnings > 0;
    if nothing_checked || denied { Err(Failure::Problems) } else { Ok(()) }
}

fn tell_unhidden(report: &mut Report, before: &Report) {
    let told = report.unhidden_since(before);
    let more = told.count - told.some.len();
    for line in told.some {
        let problem = Problem {
            severity: Severity::Warning,
            code: "unhide",
            at: Some(line.at),
            message: format!(
                "{} becomes public although its own text did not change: it was hidden by {}, but {}",
                line.record, line.was, line.why
            ),
            help: Some("remove it, or end the line with `; verge: internal` to hide it for good".to_owned()),
        };
        let zone = report.zones.iter_mut().find(|zone| zone.apex.to_string() == line.zone);
        zone.expect("a line tells of a zone of the report").problems.push(problem);
    }
    if more > 0 {
        let message = format!("{more} more records become public although their own text did not change");
        report.nameless.push(Problem {
            severity: Severity::Warning,
            code: "unhide",
            at: None,
            message,
            help: None,
        });
    }
}

/// The problem of the certificate that a server would show.
fn problem_of_certificate(files: &Tls) -> Option<Problem> {
    let (severity, message) = match serve::inspect(files, clock::system_now()) {
        Ok(Standing::Good) => return None,
        Ok(standing) => (Severity::Warning, format!("{}: {standing}", files.certificate.display())),
        Err(error) => (Severity::Error, error.to_string()),
    };
    Some(Problem { severity, code: "certificate", at: None, message, help: None })
}

/// The problem of the certificate that a server would show the others of its quorum.
fn problem_of_quorum(quorum: &Quorum) -> Option<Problem> {
    let (severity, message) = match serve::inspect_quorum(quorum, clock::system_now()) {
        Ok(Standing::Good) => return None,
        Ok(standing) => {
            let said = match standing {
                Standing::Expired(until) => {
                    format!(
                        "the certificate expired on {until} and the other name servers refuse it; renew it"
                    )
                }
                other => other.to_string(),
            };
            (Severity::Warning, format!("{}: {said}", quorum.identity.certificate.display()))
        }
        Err(error) => (Severity::Error, error),
    };
    let help = "[steer.quorum] needs a certificate with the name of this server among `nodes`, its key, and the roots of all";
    let help = (severity == Severity::Error).then(|| help.to_owned());
    Some(Problem { severity, code: "quorum", at: None, message, help })
}

/// A server does not start without the secrets of its keys.
fn problem_of_keys(config: &Config) -> Option<Problem> {
    let message = serve::keys(&config.keys).err()?.to_string();
    Some(Problem { severity: Severity::Error, code: "key", at: None, message, help: None })
}

/// A server goes on without its database of places.
fn problem_of_database(config: &Config) -> Option<Problem> {
    let ConfigError::Invalid { place, message, help } = config.database.as_ref()?.fault()? else {
        return None;
    };
    let message = format!("{}:{}:{}: {message}", place.path.display(), place.line, place.column);
    Some(Problem { severity: Severity::Error, code: "database", at: None, message, help })
}

fn hidden(zone: &ZoneReport) -> Vec<HiddenRecord> {
    hidden_of(zone.zone.as_deref(), zone.divided.as_deref()).map(|(_, record)| record).collect()
}

fn undecided(zone: &ZoneReport) -> Vec<HiddenRecord> {
    undecided_of(zone.zone.as_deref(), zone.divided.as_deref()).map(|(_, record)| record).collect()
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Totals {
    zones: usize,
    errors: usize,
    warnings: usize,
    notes: usize,
    hidden_records: usize,
}

impl Totals {
    fn of(report: &Report, config_warnings: usize) -> Self {
        let count = |severity| {
            let problems = report.zones.iter().flat_map(|zone| &zone.problems).chain(&report.nameless);
            problems.filter(|problem| problem.severity == severity).count()
        };
        let hidden = |zone: &ZoneReport| zone.divided.as_ref().map_or(0, |divided| divided.hidden.len());
        Self {
            zones: report.zones.len(),
            errors: count(Severity::Error),
            warnings: count(Severity::Warning) + config_warnings,
            notes: count(Severity::Note),
            hidden_records: report.zones.iter().map(hidden).sum(),
        }
    }
}

/// Problems of one zone that are drawn; a file of another format may have a thousand.
const MOST_DRAWN: usize = 40;

fn text(report: &Report, warnings: &[Warning], totals: Totals, args: &Args) -> String {
    let style = if std::io::stdout().is_terminal() { Style::Coloured } else { Style::Plain };
    let mut text = String::new();
    warnings.iter().for_each(|warning| text += &format!("{warning}\n\n"));
    let is_shown = |problem: &&Problem| !args.quiet || problem.severity != Severity::Note;
    for problem in report.nameless.iter().filter(is_shown) {
        text += &format!("{}\n", diagnostic::render(problem, &[], style));
    }
    for zone in &report.zones {
        let problems: Vec<&Problem> = zone.problems.iter().filter(is_shown).collect();
        text += &drawn(zone, &problems, style);
    }
    for zone in report.zones.iter().filter(|_| !args.quiet) {
        text += &format!("{}\n", summary(zone));
        let records = hidden(zone).into_iter().chain(undecided(zone));
        records.for_each(|record| text += &format!("{record}\n"));
    }
    let Totals { zones, errors, warnings, hidden_records, .. } = totals;
    let (errors, warnings) = (counted(errors, "error"), counted(warnings, "warning"));
    if args.config_only {
        return text + &format!("config: {errors}, {warnings}\n");
    }
    let (zones, hidden) = (counted(zones, "zone"), counted(hidden_records, "record"));
    text += &format!("{zones}: {errors}, {warnings}, {hidden} hidden from outsiders\n");
    if hidden_records > 0 && !args.quiet {
        text += &format!("{RULES_PAGE} says what each rule means (D1, D6, ...)\n");
    }
    text
}

/// The problems of a zone, errors before all others where there are too many.
fn drawn(zone: &ZoneReport, problems: &[&Problem], style: Style) -> String {
    if problems.is_empty() {
        return String::new();
    }
    let texts = zone.texts();
    let mut chosen = problems.to_vec();
    if chosen.len() > MOST_DRAWN {
        chosen.sort_by_key(|problem| Reverse(problem.severity));
        chosen.truncate(MOST_DRAWN);
    }
    let mut text = String::new();
    for problem in chosen {
        text += &format!("{}\n", diagnostic::render(problem, &texts, style));
    }
    if let Some(more) = problems.len().checked_sub(MOST_DRAWN).filter(|more| *more > 0) {
        let path = &zone.source;
        text +=
            &format!("{path}: {} more not shown; --format json has them all\n\n", counted(more, "problem"));
    }
    text
}

fn summary(zone: &ZoneReport) -> String {
    let (apex, path) = (&zone.apex, &zone.source);
    if zone.state == State::Broken {
        return format!("{apex} ({path}): not served");
    }
    let serial = zone.serial.unwrap_or_default();
    let inside = counted(zone.internal.as_ref().map_or(0, |tree| tree.len()), "name");
    let outside = match &zone.public {
        Some(tree) => format!("{} outside", counted(tree.len(), "name")),
        None => "no such zone outside".to_owned(),
    };
    format!("{apex} ({path}): serial {serial}, {outside}, {inside} inside")
}

fn counted(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

#[derive(Serialize)]
struct Document<'a> {
    totals: Totals,
    config_warnings: Vec<Told<'a>>,
    problems: Vec<Told<'a>>,
    zones: Vec<ZoneDocument<'a>>,
}

#[derive(Serialize)]
struct ZoneDocument<'a> {
    zone: String,
    file: String,
    /// `current`, `broken` or `inside_only`.
    state: &'static str,
    serial: Option<u32>,
    /// None if outside there is no such zone.
    names_outside: Option<usize>,
    names_inside: Option<usize>,
    problems: Vec<Told<'a>>,
    hidden: Vec<HiddenRecord>,
    /// Outsiders get SERVFAIL for these.
    undecided: Vec<HiddenRecord>,
}

/// A problem as editors and pipelines read it.
#[derive(Serialize)]
struct Told<'a> {
    severity: &'a str,
    code: &'a str,
    message: String,
    help: Option<String>,
    file: Option<String>,
    line: Option<u32>,
    column: Option<u32>,
    width: Option<u32>,
}

impl Told<'_> {
    fn problem(problem: &Problem, zone: Option<&ZoneReport>) -> Self {
        let files = zone.map_or(&[][..], |zone| zone.files.as_slice());
        let plain = diagnostic::plain(problem, files);
        Self {
            severity: plain.severity,
            code: plain.code,
            message: plain.message,
            help: plain.help,
            file: plain.file,
            line: plain.line,
            column: plain.column,
            width: plain.width,
        }
    }

    fn warning(warning: &Warning) -> Self {
        let number = |n: usize| u32::try_from(n).ok();
        Self {
            severity: "warning",
            code: "config",
            message: warning.message.clone(),
            help: Some(warning.help.clone()),
            file: Some(warning.place.path.display().to_string()),
            line: number(warning.place.line),
            column: number(warning.place.column),
            width: number(warning.place.width),
        }
    }
}

fn document<'a>(report: &'a Report, warnings: &'a [Warning], totals: Totals) -> Document<'a> {
    Document {
        totals,
        config_warnings: warnings.iter().map(Told::warning).collect(),
        problems: report.nameless.iter().map(|problem| Told::problem(problem, None)).collect(),
        zones: report.zones.iter().map(zone_document).collect(),
    }
}

fn zone_document(zone: &ZoneReport) -> ZoneDocument<'_> {
    ZoneDocument {
        zone: zone.apex.to_string(),
        file: zone.source.to_string(),
        state: zone.state_word(),
        serial: zone.serial,
        names_outside: zone.public.as_ref().map(|tree| tree.len()),
        names_inside: zone.internal.as_ref().map(|tree| tree.len()),
        problems: zone.problems.iter().map(|problem| Told::problem(problem, Some(zone))).collect(),
        hidden: hidden(zone),
        undecided: undecided(zone),
    }
}
