//! `[log.access]`: which requests get a line, how it looks and where it goes.

use std::num::NonZeroU32;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use super::place::Fault;
use crate::log::access::{Field, Format, Place, Settings, Shape};

/// `[log.access]`.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct AccessTable {
    lines: Option<Spanned<LinesName>>,
    sample: Option<Spanned<NonZeroU32>>,
    format: Option<Spanned<FormatName>>,
    fields: Option<Spanned<Vec<Spanned<String>>>>,
    to: Option<Spanned<String>>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum LinesName {
    Off,
    Sampled,
    Full,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum FormatName {
    Plain,
    Combined,
    Json,
}

/// One request in so many is logged in a sample, unless the file says otherwise.
const DEFAULT_SAMPLE: NonZeroU32 = NonZeroU32::new(100).expect("it is not zero");

/// None if it is off. Relative paths start at `base`.
pub(super) fn access_log(table: AccessTable, base: &Path) -> Result<Option<Settings>, Fault> {
    let lines = table.lines.as_ref().map_or(LinesName::Full, |lines| *lines.get_ref());
    if let Some(sample) = table.sample.as_ref().filter(|_| lines != LinesName::Sampled) {
        return Err(Fault::new(sample.span(), "`sample` counts with lines = \"sampled\" only"));
    }
    let settings = Settings {
        sample: match lines {
            LinesName::Sampled => table.sample.map_or(DEFAULT_SAMPLE, Spanned::into_inner),
            LinesName::Full | LinesName::Off => NonZeroU32::MIN,
        },
        format: format(table.format.map_or(FormatName::Plain, Spanned::into_inner), table.fields)?,
        to: table.to.map_or(Ok(Place::Stdout), |to| place(&to, base))?,
    };
    Ok((lines != LinesName::Off).then_some(settings))
}

fn format(name: FormatName, fields: Option<Spanned<Vec<Spanned<String>>>>) -> Result<Format, Fault> {
    let shape = match (name, &fields) {
        (FormatName::Plain, None) => return Ok(Format::plain()),
        (FormatName::Json, None) => return Ok(Format::json()),
        (FormatName::Combined, None) => return Ok(Format::Combined),
        (FormatName::Combined, Some(fields)) => {
            let message = "the combined format has fields of its own";
            let help = "choose fields with format = \"plain\" or \"json\"";
            return Err(Fault::new(fields.span(), message).help(help));
        }
        (FormatName::Plain, Some(_)) => Shape::Plain,
        (FormatName::Json, Some(_)) => Shape::Json,
    };
    let mut chosen = Vec::new();
    for written in fields.iter().flat_map(|fields| fields.get_ref()) {
        let field = Field::parse(written.get_ref()).ok_or_else(|| {
            let message = format!("no field `{}`", written.get_ref());
            Fault::new(written.span(), message).help(format!("there are: {}", Field::names()))
        })?;
        if chosen.contains(&field) {
            return Err(Fault::new(written.span(), format!("`{}` stands here twice", field.as_str())));
        }
        chosen.push(field);
    }
    match fields {
        Some(fields) if chosen.is_empty() => {
            Err(Fault::new(fields.span(), "a line has at least one field")
                .help("lines = \"off\" writes none"))
        }
        _ => Ok(Format::Of(shape, chosen)),
    }
}

fn place(written: &Spanned<String>, base: &Path) -> Result<Place, Fault> {
    match written.get_ref().as_str() {
        "stdout" => Ok(Place::Stdout),
        "journald" => Ok(Place::Journald),
        path if path.contains('/') && !path.ends_with('/') => Ok(Place::File(base.join(path))),
        other => Err(Fault::new(written.span(), format!("lines cannot go to `{other}`"))
            .help("write \"stdout\", \"journald\", or a file with a `/` in its path: \"./access.log\"")),
    }
}
