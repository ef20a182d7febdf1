//! The certificate in service: read from files, read again when they change, the last good one kept.

use std::fmt;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::validity::{Reminder, Standing, Validity, unix_seconds};
use crate::clock;
use crate::config::Tls;
use crate::metrics::Metrics;

/// How often the files are looked at: two calls of `stat`.
const POLL: Duration = Duration::from_secs(2);

/// A chain and its key, and where they come from.
pub(crate) struct Certificates {
    files: Tls,
    current: ArcSwap<CertifiedKey>,
    seen: Mutex<Seen>,
    asked: Notify,
}

/// The files' stamps when the server last read them, and when it last looked at them.
struct Seen {
    /// None if the last time they could not be read.
    read: Option<[Stamp; 2]>,
    /// That they cannot be read has been told of these.
    unreadable: Option<[Stamp; 2]>,
    looked: [Stamp; 2],
}

/// None if there is no such file.
type Stamp = Option<(u64, u64, i64, i64)>;

/// Why a look at the files is taken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// Time has passed: files that are still changing are left alone, so that a chain is not read without its key.
    Passing,
    /// Somebody asked for it: they are read now.
    Asked,
}

/// The result of a look.
#[derive(Debug)]
pub(crate) enum Looked {
    /// Nothing new.
    Same,
    /// Another certificate is in service.
    Renewed,
    /// The files changed, but are of no use; the last good certificate stays.
    Refused(CertificateError),
}

/// A certificate or its key is of no use.
#[derive(Debug)]
pub struct CertificateError {
    /// Which file.
    pub path: PathBuf,
    /// The key in the config that names it.
    pub setting: &'static str,
    /// The fault.
    pub fault: CertificateFault,
}

/// The faults that a certificate or its key can have.
#[derive(Debug)]
pub enum CertificateFault {
    /// The file cannot be read.
    Unreadable(io::Error),
    /// Something in it is not PEM.
    Malformed(pem::Error),
    /// There is no certificate in it.
    NoCertificate,
    /// There is no private key in it.
    NoKey,
    /// They cannot be used together, or at all.
    Unusable(rustls::Error),
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path.display())?;
        match &self.fault {
            CertificateFault::Unreadable(error) => write!(f, "{error}"),
            CertificateFault::Malformed(pem::Error::MissingSectionEnd { .. }) => {
                f.write_str("this is not PEM: a BEGIN line has no END line")
            }
            CertificateFault::Malformed(pem::Error::Base64Decode(_)) => {
                f.write_str("this is not PEM: what is between BEGIN and END is not base64")
            }
            CertificateFault::Malformed(error) => write!(f, "this is not PEM: {error}"),
            CertificateFault::NoCertificate => {
                f.write_str("there is no certificate in it (BEGIN CERTIFICATE)")
            }
            CertificateFault::NoKey => f.write_str("there is no private key in it (BEGIN PRIVATE KEY)"),
            CertificateFault::Unusable(rustls::Error::InconsistentKeys(_)) => {
                f.write_str("the first certificate is not for the private key")
            }
            CertificateFault::Unusable(error) => {
                write!(f, "the certificate and its key cannot be used: {error}")
            }
        }?;
        write!(f, " (setting `{}`)", self.setting)
    }
}

impl std::error::Error for CertificateError {}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("files", &self.files).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

impl Certificates {
    /// Reads the files for the first time.
    pub(crate) fn load(files: &Tls) -> Result<Arc<Self>, CertificateError> {
        let stamps = stamps(files);
        let current = ArcSwap::from_pointee(read(files)?);
        let seen = Mutex::new(Seen { read: Some(stamps), unreadable: None, looked: stamps });
        Ok(Arc::new(Self { files: files.clone(), current, seen, asked: Notify::new() }))
    }

    /// Asks for a look, as SIGHUP does.
    pub(crate) fn ask(&self) {
        self.asked.notify_one();
    }

    /// Until when the chain in service is good; none if it cannot be understood.
    fn validity(&self) -> Option<Validity> {
        Validity::of(&self.current.load().cert)
    }

    /// Looks at the files until the drain begins, and says what changed and what should.
    pub(crate) async fn follow(self: Arc<Self>, metrics: Option<Arc<Metrics>>, drain: CancellationToken) {
        let mut validity = self.validity();
        let mut reminder = Reminder::default();
        loop {
            if let Some(metrics) = &metrics {
                metrics.certificate_until(validity.map(|it| it.until_unix_seconds()));
            }
            let now = unix_seconds(clock::system_now());
            if let Some(standing) = validity.map(|it| it.judge(now)).filter(|it| reminder.is_due(*it, now)) {
                tracing::warn!(certificate = %self.files.certificate.display(), "{standing}");
            }
            let why = tokio::select! {
                () = drain.cancelled() => return,
                () = self.asked.notified() => Look::Asked,
                () = tokio::time::sleep(POLL) => Look::Passing,
            };
            let own = Arc::clone(&self);
            let looked = tokio::task::spawn_blocking(move || own.look(why)).await;
            match looked.expect("looking does not panic") {
                Looked::Same => {}
                Looked::Renewed => {
                    validity = self.validity();
                    tracing::info!(certificate = %self.files.certificate.display(), "another certificate is in service");
                }
                Looked::Refused(error) => {
                    tracing::error!(%error, "the certificate in service stays as it is");
                }
            }
        }
    }

    /// Takes the files over if they changed and are good.
    pub(crate) fn look(&self, why: Look) -> Looked {
        self.look_by(why, read)
    }

    /// As `look`, but `read` reads the files. Unreadable ones, as when descriptors run out, are tried again
    /// at the next look: a chain that was renewed meanwhile does not change once more. A fault is told once.
    fn look_by(&self, why: Look, read: impl Fn(&Tls) -> Result<CertifiedKey, CertificateError>) -> Looked {
        let stamps = stamps(&self.files);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let settled = seen.looked == stamps;
        seen.looked = stamps;
        if why == Look::Passing && (seen.read == Some(stamps) || !settled) {
            return Looked::Same;
        }
        let known = seen.unreadable == Some(stamps);
        (seen.read, seen.unreadable) = (Some(stamps), None);
        match read(&self.files) {
            Ok(new) if new.cert == self.current.load().cert => Looked::Same,
            Ok(new) => {
                self.current.store(Arc::new(new));
                Looked::Renewed
            }
            Err(error) => {
                if matches!(error.fault, CertificateFault::Unreadable(_)) {
                    (seen.read, seen.unreadable) = (None, Some(stamps));
                }
                if why == Look::Passing && known { Looked::Same } else { Looked::Refused(error) }
            }
        }
    }
}

/// The standing that a server would report of the files at `now`, or why it would not start with them.
pub(crate) fn inspect(files: &Tls, now: SystemTime) -> Result<Standing, CertificateError> {
    let validity = Validity::of(&read(files)?.cert);
    Ok(validity.map_or(Standing::Good, |it| it.judge(unix_seconds(now))))
}

/// Links are followed: a renewal often moves a link.
fn stamps(files: &Tls) -> [Stamp; 2] {
    let stamp = |it: Metadata| (it.ino(), it.len(), it.ctime(), it.ctime_nsec());
    [&files.certificate, &files.key].map(|path| fs::metadata(path).ok().map(stamp))
}

fn read(files: &Tls) -> Result<CertifiedKey, CertificateError> {
    let chain = read_chain(&files.certificate)
        .map_err(|fault| error(&files.certificate, "tls.certificate", fault))?;
    let key = read_key(&files.key).map_err(|fault| error(&files.key, "tls.key", fault))?;
    CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
        .map_err(|fault| error(&files.certificate, "tls.certificate", CertificateFault::Unusable(fault)))
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateFault> {
    let text = fs::read(path).map_err(CertificateFault::Unreadable)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(CertificateFault::Malformed)?;
    if chain.is_empty() { Err(CertificateFault::NoCertificate) } else { Ok(chain) }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, CertificateFault> {
    let text = fs::read(path).map_err(CertificateFault::Unreadable)?;
    if fs::metadata(path).is_ok_and(|it| it.mode() & 0o007 != 0) {
        tracing::warn!(key = %path.display(), "everybody on this machine can read the private key; chmod 640 it");
    }
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        pem::Error::NoItemsFound => CertificateFault::NoKey,
        error => CertificateFault::Malformed(error),
    })
}

fn error(path: &Path, setting: &'static str, fault: CertificateFault) -> CertificateError {
    CertificateError { path: path.to_path_buf(), setting, fault }
}

#[cfg(test)]
mod tests;
