//! Own pages in the place of errors, and the maintenance switch.

use std::io::Read as _;
use std::path::Path;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use toml::Spanned;

use super::networks::networks;
use super::place::Fault;
use super::settings::Settings;
use super::tables::{PageTable, StatusEntry};
use crate::site::pages::{Errors, Maintenance, Page, Pages};

pub(super) fn pages(settings: &Settings, base: &Path) -> Result<Pages, Fault> {
    let tables = settings.error_page.iter().flatten();
    tables.map(|table| page(table, base)).collect::<Result<_, _>>().map(Pages)
}

fn page(table: &PageTable, base: &Path) -> Result<Page, Fault> {
    if table.status.get_ref().is_empty() {
        return Err(Fault::new(table.status.span(), "a page is for one status at least: [503], [\"5xx\"]"));
    }
    let statuses = table.status.get_ref().iter().map(errors).collect::<Result<_, _>>()?;
    let path = base.join(table.file.get_ref());
    let unreadable = |error: std::io::Error| {
        Fault::new(table.file.span(), format!("cannot read the page {}: {error}", path.display()))
    };
    let mut content = Vec::new();
    let file = std::fs::File::open(&path).map_err(unreadable)?;
    file.take(MAX_PAGE_BYTES + 1).read_to_end(&mut content).map_err(unreadable)?;
    if content.len() as u64 > MAX_PAGE_BYTES {
        let message = format!("the page {} is longer than {} KiB", path.display(), MAX_PAGE_BYTES >> 10);
        return Err(
            Fault::new(table.file.span(), message).help("it stays in memory: let it link to its images")
        );
    }
    Ok(Page { statuses, for_origin: table.of_origin, kind: kind(&path), content: Bytes::from(content) })
}

/// More is no page for an error, which is sent when there is no time for it.
const MAX_PAGE_BYTES: u64 = 256 << 10;

fn errors(written: &Spanned<StatusEntry>) -> Result<Errors, Fault> {
    let read = match written.get_ref() {
        StatusEntry::Number(status) => StatusCode::from_u16(*status).ok().and_then(Errors::of),
        StatusEntry::Text(text) => Errors::parse(text),
    };
    let message = "an error is a status from 400 to 599, or \"4xx\" or \"5xx\"";
    read.ok_or_else(|| Fault::new(written.span(), message))
}

/// The media type that the file's name tells.
fn kind(path: &Path) -> HeaderValue {
    let guessed = mime_guess::from_path(path).first_raw().unwrap_or("text/html");
    let text =
        if guessed.starts_with("text/") { format!("{guessed}; charset=utf-8") } else { guessed.to_owned() };
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("text/html; charset=utf-8"))
}

pub(super) fn maintenance(settings: &Settings) -> Result<Maintenance, Fault> {
    Ok(Maintenance {
        is_on: settings.maintenance.unwrap_or(false),
        exempt: networks(Settings::texts(&settings.maintenance_exempt))?,
        retry_after_secs: settings
            .maintenance_retry_after
            .map_or(DEFAULT_RETRY_SECS, |span| span.0.as_secs()),
    })
}

/// Long enough that crawlers do not come again at once.
const DEFAULT_RETRY_SECS: u64 = 300;
