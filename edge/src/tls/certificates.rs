//! The certificates in service: read from files, read again when they change, the last good ones kept.

#[cfg(test)]
mod tests;

use std::fmt;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::names::{DnsNames, Names};
use super::validity::{Standing, Validity};

/// A chain and its key, as files in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The certificate of the server first, then those that signed it.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// The certificates of a listener; clients that ask for a name which none is for get the first.
pub struct Certificates {
    current: ArcSwap<Set>,
    seen: Mutex<Seen>,
}

/// Certificates that are good and not in service yet.
pub struct Ready {
    set: Set,
    stamps: Vec<Stamp>,
}

struct Set {
    files: Vec<Files>,
    chains: Vec<Arc<CertifiedKey>>,
    names: Names<Shown>,
}

/// A chain that a client is shown, and the names that it is for.
#[derive(Clone)]
struct Shown {
    chain: Arc<CertifiedKey>,
    names: Arc<DnsNames>,
}

/// The state of the files when they were last read, and the time of the last look.
struct Seen {
    read: Option<Vec<Stamp>>,
    /// The state in which some could not be taken and may be later, as the log has been told.
    untaken: Option<Vec<Stamp>>,
    looked: Vec<Stamp>,
}

/// Inode, length and time of change; none if there is no such file.
type Stamp = Option<(u64, u64, i64, i64)>;

/// The result of a look.
#[derive(Debug, Default)]
pub struct Looked {
    /// Other certificates are in service.
    pub is_renewed: bool,
    /// For each pair of files that changed and cannot be used; its last good certificate stays.
    pub refused: Vec<CertificateError>,
}

/// A certificate or its key cannot be used.
#[derive(Debug)]
pub struct CertificateError {
    /// Which file.
    pub path: PathBuf,
    /// The key that names it, below the section that the certificates are of.
    pub setting: &'static str,
    /// The fault.
    pub fault: CertificateFault,
}

/// A fault of a certificate or its key.
#[derive(Debug)]
pub enum CertificateFault {
    /// The file cannot be read.
    Unreadable(io::Error),
    /// Something in it is not PEM.
    Malformed(pem::Error),
    /// It holds no certificate.
    NoCertificate,
    /// It holds no private key.
    NoKey,
    /// Certificate and key do not fit, or cannot be used at all.
    Unusable(rustls::Error),
    /// Clients would refuse it now, and do not refuse the one in service.
    Worse(Standing),
}

impl CertificateFault {
    /// Whether the same files may be good later. A process without descriptors left cannot read them either.
    fn may_pass(&self) -> bool {
        matches!(self, Self::Unreadable(_) | Self::Worse(_))
    }
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path.display())?;
        match &self.fault {
            CertificateFault::Unreadable(error) => write!(f, "{error}"),
            CertificateFault::Malformed(error) => write!(f, "this is not PEM: {error}"),
            CertificateFault::NoCertificate => {
                f.write_str("the file holds no certificate (BEGIN CERTIFICATE)")
            }
            CertificateFault::NoKey => f.write_str("the file holds no private key (BEGIN PRIVATE KEY)"),
            CertificateFault::Unusable(rustls::Error::InconsistentKeys(_)) => {
                f.write_str("the first certificate is not for the private key")
            }
            CertificateFault::Unusable(error) => {
                write!(f, "the certificate and its key cannot be used: {error}")
            }
            CertificateFault::Worse(standing) => write!(f, "{standing}; the certificate in service stays"),
        }
    }
}

impl std::error::Error for CertificateError {}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("files", &self.current.load().files).finish_non_exhaustive()
    }
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready").field("files", &self.set.files).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.load().names.choose(hello.server_name()).chain))
    }
}

impl Certificates {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// When one of them cannot be used.
    pub fn load(files: Vec<Files>) -> Result<Arc<Self>, CertificateError> {
        let Ready { set, stamps } = Self::prepare(files)?;
        let seen = Mutex::new(Seen { read: Some(stamps.clone()), untaken: None, looked: stamps });
        Ok(Arc::new(Self { current: ArcSwap::from_pointee(set), seen }))
    }

    /// Reads files that are to take the place of those in service.
    ///
    /// # Errors
    /// When one of them cannot be used.
    pub fn prepare(files: Vec<Files>) -> Result<Ready, CertificateError> {
        let stamps = stamps(&files);
        let chains: Result<Vec<_>, _> = files.iter().enumerate().map(read_pair).collect();
        Ok(Ready { set: Set::new(files, chains?), stamps })
    }

    /// Puts certificates in service, of the same files or of others.
    pub fn put(&self, ready: Ready) {
        let Ready { set, stamps } = ready;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        *seen = Seen { read: Some(stamps.clone()), untaken: None, looked: stamps };
        self.current.store(Arc::new(set));
    }

    /// The names of the certificate that a client is shown which asks for `server_name` (SNI).
    #[must_use]
    pub fn names_for(&self, server_name: Option<&str>) -> Arc<DnsNames> {
        Arc::clone(&self.current.load().names.choose(server_name).names)
    }

    /// Each chain's file and until when it is good; none if that cannot be understood.
    #[must_use]
    pub fn validities(&self) -> Vec<(PathBuf, Option<Validity>)> {
        let set = self.current.load();
        let each = set.files.iter().zip(&set.chains);
        each.map(|(files, chain)| (files.certificate.clone(), Validity::of(&chain.cert))).collect()
    }

    /// Looks at the files, and takes over each pair that changed and can be used; `now` is in seconds since 1970. A fault is
    /// told once for each change; files that may be good later are tried again at the next look. Files that are still changing
    /// are left alone, so that no chain is read without its key.
    pub fn look(&self, now: i64) -> Looked {
        self.look_by(|before| before.renewed(now))
    }

    /// As [`Certificates::look`], where `read` reads the files.
    ///
    /// Nothing is held meanwhile: a file system that does not answer holds up no reload, which may name files of another one. A
    /// reading of files that a reload has taken out of service does not count.
    fn look_by(&self, read: impl FnOnce(&Set) -> (Set, Vec<CertificateError>)) -> Looked {
        let before = self.current.load_full();
        let stamps = stamps(&before.files);
        {
            let Some(mut seen) = self.seen_of(&before) else { return Looked::default() };
            let settled = seen.looked == stamps;
            seen.looked.clone_from(&stamps);
            if seen.read.as_ref() == Some(&stamps) || !settled {
                return Looked::default();
            }
        }
        let (new, mut refused) = read(&before);
        let Some(mut seen) = self.seen_of(&before) else { return Looked::default() };
        if refused.iter().any(|error| error.fault.may_pass()) {
            if seen.untaken.as_ref() == Some(&stamps) {
                refused.clear();
            }
            (seen.read, seen.untaken) = (None, Some(stamps));
        } else {
            (seen.read, seen.untaken) = (Some(stamps), None);
        }
        Looked { is_renewed: self.take_over(new), refused }
    }

    /// The state of the files of a set, as long as it is in service.
    fn seen_of(&self, set: &Arc<Set>) -> Option<MutexGuard<'_, Seen>> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::ptr_eq(set, &self.current.load()).then_some(seen)
    }

    fn take_over(&self, new: Set) -> bool {
        let old = self.current.load();
        if new.chains.iter().map(|chain| &chain.cert).eq(old.chains.iter().map(|chain| &chain.cert)) {
            return false;
        }
        self.current.store(Arc::new(new));
        true
    }
}

impl Set {
    fn new(files: Vec<Files>, chains: Vec<Arc<CertifiedKey>>) -> Self {
        let shown = chains.iter().map(|chain| {
            let names = chain.cert.first().map(|der| DnsNames::of(der)).unwrap_or_default();
            Shown { chain: Arc::clone(chain), names: Arc::new(names) }
        });
        let shown: Vec<Shown> = shown.collect();
        let default = shown.first().expect("the config has one certificate at least").clone();
        let names = Names::new(default, shown.iter().map(|shown| (&*shown.names, shown.clone())).collect());
        Self { files, chains, names }
    }

    /// The set as its files are now: a pair that cannot be used keeps nobody from renewing the others.
    fn renewed(&self, now: i64) -> (Self, Vec<CertificateError>) {
        let mut refused = Vec::new();
        let pairs = self.files.iter().zip(&self.chains).enumerate();
        let chains = pairs.map(|(at, (files, before))| {
            let new = read_pair((at, files)).and_then(|new| match is_worse(&new, before, now) {
                Some(standing) => Err(fault_of(at, files, CertificateFault::Worse(standing))),
                None => Ok(new),
            });
            new.unwrap_or_else(|error| {
                refused.push(error);
                Arc::clone(before)
            })
        });
        let chains = chains.collect();
        (Self::new(self.files.clone(), chains), refused)
    }
}

/// How `new` stands if clients refuse it now and do not refuse `before`.
fn is_worse(new: &CertifiedKey, before: &CertifiedKey, now: i64) -> Option<Standing> {
    let refused = |chain: &CertifiedKey| {
        let standing = Validity::of(&chain.cert)?.judge(now);
        matches!(standing, Standing::Early(_) | Standing::Expired(_)).then_some(standing)
    };
    refused(new).filter(|_| refused(before).is_none())
}

/// Links are followed: a renewal often moves a link.
fn stamps(files: &[Files]) -> Vec<Stamp> {
    let stamp = |it: Metadata| (it.ino(), it.len(), it.ctime(), it.ctime_nsec());
    files
        .iter()
        .flat_map(|it| [&it.certificate, &it.key])
        .map(|path| fs::metadata(path).ok().map(stamp))
        .collect()
}

/// The first pair is that of the section itself, the rest are in `also`.
fn read_pair((at, files): (usize, &Files)) -> Result<Arc<CertifiedKey>, CertificateError> {
    let failed = |fault| fault_of(at, files, fault);
    let chain = read_chain(&files.certificate).map_err(failed)?;
    let of_key = |fault| CertificateError {
        path: files.key.clone(),
        setting: if at == 0 { "key" } else { "also.key" },
        fault,
    };
    let key = read_key(&files.key).map_err(of_key)?;
    let pair = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider());
    pair.map(Arc::new).map_err(|error| failed(CertificateFault::Unusable(error)))
}

fn fault_of(at: usize, files: &Files, fault: CertificateFault) -> CertificateError {
    let setting = if at == 0 { "certificate" } else { "also.certificate" };
    CertificateError { path: files.certificate.clone(), setting, fault }
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateFault> {
    let text = fs::read(path).map_err(CertificateFault::Unreadable)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match chain.map_err(CertificateFault::Malformed)? {
        chain if chain.is_empty() => Err(CertificateFault::NoCertificate),
        chain => Ok(chain),
    }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, CertificateFault> {
    let text = fs::read(path).map_err(CertificateFault::Unreadable)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        pem::Error::NoItemsFound => CertificateFault::NoKey,
        error => CertificateFault::Malformed(error),
    })
}
