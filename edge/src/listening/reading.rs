//! The files that listeners need. They are read before anything is bound and without a lock: a file system that does not answer
//! holds up nobody else.

use super::encrypted;
use super::operator;
use super::own_tls;
use super::start_error::StartError;
use crate::clock::Clock;
use crate::config::Config;

/// Certificates, keys and tokens; nothing of them counts yet.
pub(crate) struct Read {
    pub(super) encrypted: Option<encrypted::Next>,
    pub(super) operator: Option<operator::Read>,
}

impl Read {
    /// Reads those that a config names; a token that is not there is made. `is_encrypted`: there are listeners over TLS, whose
    /// sessions go on.
    ///
    /// # Errors
    /// When a file cannot be used.
    pub(crate) fn of(config: &Config, is_encrypted: bool, clock: &Clock) -> Result<Self, StartError> {
        Self::files(config, is_encrypted, clock).map_err(|error| error.placed(config))
    }

    fn files(config: &Config, is_encrypted: bool, clock: &Clock) -> Result<Self, StartError> {
        let encrypted = config.tls.as_ref().map(|tls| encrypted::Next::prepare(is_encrypted, tls, clock));
        let encrypted = encrypted.transpose()?;
        let operator = config.admin.as_ref().map(|admin| operator::Read::of(admin, (&config.limits, clock)));
        Ok(Self { encrypted, operator: operator.transpose()? })
    }
}

/// The report on the certificates that a config names, as of now: a line each.
///
/// # Errors
/// When a file cannot be used: a start would fail.
pub fn inspect(config: &Config) -> Result<Vec<String>, StartError> {
    let clock = Clock::system();
    let files = config.admin.as_ref().and_then(|admin| admin.tls.as_ref());
    let of_clients = config.tls.as_ref().map(|tls| encrypted::inspect(tls, &clock));
    let of_admin = files.map(|files| own_tls::inspect(files, &clock));
    let told: Result<Vec<_>, _> = of_clients.into_iter().chain(of_admin).collect();
    told.map(|each| each.concat()).map_err(|error| error.placed(config))
}
