//! `[guard]` and `[site.canary]`: what origins may do wrong after a change.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::health::percent;
use super::origins;
use super::place::Fault;
use super::settings::Settings;
use super::unit::Span;
use crate::site::guard::Mark;
use crate::site::origin::CanaryGroup;

#[derive(Deserialize, Clone, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct GuardTable {
    errors: Option<Spanned<String>>,
    answers: Option<u32>,
    window: Option<Spanned<Span>>,
}

impl GuardTable {
    pub(super) fn mark(&self) -> Result<Mark, Fault> {
        let default = Mark::default();
        let window = match &self.window {
            None => default.window,
            Some(window) if window.get_ref().0 < Duration::from_secs(1) => {
                return Err(Fault::new(window.span(), "a change is watched for at least \"1s\""));
            }
            Some(window) => window.get_ref().0,
        };
        Ok(Mark {
            errors_percent: percent(self.errors.as_ref(), default.errors_percent)?,
            least_answers: self.answers.unwrap_or(default.least_answers),
            window,
        })
    }
}

/// An operator who writes none wants few clients to find out.
const DEFAULT_SHARE_PERCENT: u32 = 5;

/// The canary of a site or a route.
pub(super) fn canary(settings: &Settings, base: &Path) -> Result<Option<CanaryGroup>, Fault> {
    let Some(table) = &settings.canary else { return Ok(None) };
    let origins = origins::origins(table.origins.clone(), settings, base)?;
    let as_guard = GuardTable { errors: table.errors.clone(), answers: table.answers, window: None };
    let percent = percent(table.share.as_ref(), DEFAULT_SHARE_PERCENT)?;
    Ok(Some(CanaryGroup { origins, percent, mark: as_guard.mark()? }))
}
