//! One line for each thing that a load did, and every new problem with its place.

use super::report::{Change, Report, State, ZoneReport};
use super::signatures::{Due, Stage};
use super::unhidden::Told;
use crate::log::recent::OPEN;
use crate::zone::diagnostic::{Style, render};
use crate::zone::{Problem, Severity};

/// Problems of one zone that are logged in full; `verge-dns check` lists all.
const LOGGED_PROBLEMS: usize = 20;

pub(crate) fn report(report: &Report) {
    for apex in &report.removed {
        tracing::warn!(name: OPEN, zone = %apex, "the zone file is gone; the zone is no longer served");
    }
    for problem in &report.nameless {
        match problem.severity {
            Severity::Error => tracing::error!("{}", problem.message),
            Severity::Warning => tracing::warn!("{}", problem.message),
            Severity::Note => tracing::info!("{}", problem.message),
        }
    }
    for zone in &report.zones {
        problems(zone);
        change(zone);
    }
    unhidden(&report.unhidden);
}

fn problems(zone: &ZoneReport) {
    if zone.is_mended {
        tracing::info!(zone = %zone.apex, serial = zone.serial, "the zone is good again");
    }
    if zone.news.is_empty() {
        return;
    }
    let texts = zone.texts();
    for problem in zone.news.iter().take(LOGGED_PROBLEMS) {
        log(zone, problem, render(problem, &texts, Style::Plain).trim_end());
    }
    if zone.news.len() > LOGGED_PROBLEMS {
        let more = zone.news.len() - LOGGED_PROBLEMS;
        tracing::warn!(name: OPEN, zone = %zone.apex, more, "more problems; `verge-dns check` lists all");
    }
    if zone.has_errors() {
        match zone.state {
            State::Previous => {
                tracing::error!(name: OPEN, zone = %zone.apex, serial = zone.serial, "the last good version stays in service");
            }
            State::Broken => {
                tracing::error!(name: OPEN, zone = %zone.apex, "no version of this zone was good yet, so it is not served");
            }
            State::Current if !zone.is_withheld() => {
                tracing::error!(name: OPEN, zone = %zone.apex, "insiders get this version; outsiders get it without the private members of its pools");
            }
            State::Current if zone.public.is_some() => {
                tracing::error!(name: OPEN, zone = %zone.apex, "insiders get this version; outsiders get the last one that they may see");
            }
            State::Current => {
                tracing::error!(name: OPEN, zone = %zone.apex, "insiders get this zone; for outsiders it is not there");
            }
        }
    }
}

/// One line for each zone, as far as they are few.
pub(crate) fn signatures(due: &[Due]) {
    for Due { apex, stage, problem } in due.iter().take(LOGGED_PROBLEMS) {
        let message = &problem.message;
        match stage {
            Stage::Expired => tracing::error!(zone = %apex, "{message}; sign the zone again"),
            Stage::Soon => tracing::warn!(zone = %apex, "{message}; sign the zone again"),
        }
    }
    if due.len() > LOGGED_PROBLEMS {
        let more = due.len() - LOGGED_PROBLEMS;
        tracing::warn!(name: OPEN, more, "more zones have signatures that expire; the metrics have the times");
    }
}

/// One line a load.
fn unhidden(told: &Told) {
    if told.count > 0 {
        tracing::warn!(
            records = told.count,
            "records became public although their own text did not change\n{told}\n  = help: `; verge: internal` hides a \
             record for good; `[reload] unhide = \"ask\"` lets such an edit wait for SIGHUP"
        );
    }
}

/// The fields stand below the caret's line, not behind the help.
fn log(zone: &ZoneReport, problem: &Problem, shown: &str) {
    match problem.severity {
        Severity::Error => tracing::error!(zone = %zone.apex, code = problem.code, "{shown}\n  "),
        Severity::Warning => tracing::warn!(zone = %zone.apex, code = problem.code, "{shown}\n  "),
        Severity::Note => tracing::info!(zone = %zone.apex, code = problem.code, "{shown}\n  "),
    }
}

fn change(zone: &ZoneReport) {
    let (serial, apex) = (zone.serial, &zone.apex);
    match &zone.change {
        Change::None => {}
        Change::Added => {
            let public = zone.public.as_ref().map_or(0, |tree| tree.len());
            let internal = zone.internal.as_ref().map_or(0, |tree| tree.len());
            tracing::info!(zone = %apex, serial, names_outside = public, names_inside = internal, "zone loaded");
        }
        Change::Names { public, internal } => {
            tracing::info!(
                zone = %apex,
                serial,
                names_outside = public.count,
                names_inside = internal.count,
                outside = public.some.join(" "),
                inside = internal.some.join(" "),
                "zone changed"
            );
        }
    }
}
