//! The certificates in service: read from files, read again when they change, the last good ones kept.

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

use super::names::{Names, dns_names};
use super::validity::Validity;

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
    names: Names<Arc<CertifiedKey>>,
}

/// The state of the files when they were last read, and the time of the last look.
struct Seen {
    read: Option<Vec<Stamp>>,
    /// The state in which they could not be read, as the log has been told.
    unreadable: Option<Vec<Stamp>>,
    looked: Vec<Stamp>,
}

/// Inode, length and time of change; none if there is no such file.
type Stamp = Option<(u64, u64, i64, i64)>;

/// Why the files are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Time has passed. Files that are still changing are left alone, so that no chain is read without its key.
    Passing,
    /// The operator asked for it: they are read now.
    Asked,
}

/// The result of a look.
#[derive(Debug)]
pub enum Looked {
    /// Nothing is new.
    Same,
    /// Other certificates are in service.
    Renewed,
    /// The files changed and cannot be used; the last good ones stay.
    Refused(CertificateError),
}

/// A certificate or its key cannot be used.
#[derive(Debug)]
pub struct CertificateError {
    /// Which file.
    pub path: PathBuf,
    /// The key of `[tls]` that names it.
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
        }?;
        write!(f, " (`tls.{}`)", self.setting)
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
        Some(Arc::clone(self.current.load().names.choose(hello.server_name())))
    }
}

impl Certificates {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// When one of them cannot be used.
    pub fn load(files: Vec<Files>) -> Result<Arc<Self>, CertificateError> {
        let Ready { set, stamps } = Self::prepare(files)?;
        let seen = Mutex::new(Seen { read: Some(stamps.clone()), unreadable: None, looked: stamps });
        Ok(Arc::new(Self { current: ArcSwap::from_pointee(set), seen }))
    }

    /// Reads files that are to take the place of those in service.
    ///
    /// # Errors
    /// When one of them cannot be used.
    pub fn prepare(files: Vec<Files>) -> Result<Ready, CertificateError> {
        let stamps = stamps(&files);
        Ok(Ready { set: read(files)?, stamps })
    }

    /// Puts certificates in service, of the same files or of others.
    pub fn put(&self, ready: Ready) {
        let Ready { set, stamps } = ready;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        *seen = Seen { read: Some(stamps.clone()), unreadable: None, looked: stamps };
        self.current.store(Arc::new(set));
    }

    /// Whether a certificate in service is for `host`.
    #[must_use]
    pub fn covers(&self, host: &str) -> bool {
        self.current.load().names.covers(host)
    }

    /// Each chain's file and until when it is good; none if that cannot be understood.
    #[must_use]
    pub fn validities(&self) -> Vec<(PathBuf, Option<Validity>)> {
        let set = self.current.load();
        let each = set.files.iter().zip(&set.chains);
        each.map(|(files, chain)| (files.certificate.clone(), Validity::of(&chain.cert))).collect()
    }

    /// Looks at the files and takes them over if they changed and all of them can be used. A fault is told
    /// once for each change; files that cannot be read are tried again at the next look.
    pub fn look(&self, why: Look) -> Looked {
        self.look_by(why, read)
    }

    /// As [`Certificates::look`], where `read` reads the files.
    ///
    /// Nothing is held meanwhile: a file system that does not answer holds up no reload, which may name files of another one. A
    /// reading of files that a reload has taken out of service does not count.
    fn look_by(&self, why: Look, read: impl FnOnce(Vec<Files>) -> Result<Set, CertificateError>) -> Looked {
        let before = self.current.load_full();
        let stamps = stamps(&before.files);
        {
            let Some(mut seen) = self.seen_of(&before) else { return Looked::Same };
            let settled = seen.looked == stamps;
            seen.looked.clone_from(&stamps);
            if why == Look::Passing && (seen.read.as_ref() == Some(&stamps) || !settled) {
                return Looked::Same;
            }
        }
        let new = read(before.files.clone());
        let Some(mut seen) = self.seen_of(&before) else { return Looked::Same };
        match new {
            Ok(new) => {
                (seen.read, seen.unreadable) = (Some(stamps), None);
                self.take_over(new)
            }
            // A process without descriptors left cannot read them either: the next look tries again.
            Err(error) if matches!(error.fault, CertificateFault::Unreadable(_)) => {
                let is_told = seen.unreadable.as_ref() == Some(&stamps);
                (seen.read, seen.unreadable) = (None, Some(stamps));
                if why == Look::Passing && is_told { Looked::Same } else { Looked::Refused(error) }
            }
            Err(error) => {
                (seen.read, seen.unreadable) = (Some(stamps), None);
                Looked::Refused(error)
            }
        }
    }

    /// The state of the files of a set, as long as it is in service.
    fn seen_of(&self, set: &Arc<Set>) -> Option<MutexGuard<'_, Seen>> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::ptr_eq(set, &self.current.load()).then_some(seen)
    }

    fn take_over(&self, new: Set) -> Looked {
        let old = self.current.load();
        if new.chains.iter().map(|chain| &chain.cert).eq(old.chains.iter().map(|chain| &chain.cert)) {
            return Looked::Same;
        }
        self.current.store(Arc::new(new));
        Looked::Renewed
    }
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

fn read(files: Vec<Files>) -> Result<Set, CertificateError> {
    let chains: Vec<Arc<CertifiedKey>> = files.iter().map(read_pair).collect::<Result<_, _>>()?;
    let named = chains.iter().map(|chain| {
        let names = chain.cert.first().map(|der| dns_names(der)).unwrap_or_default();
        (names, Arc::clone(chain))
    });
    let default = Arc::clone(chains.first().expect("the config has one certificate at least"));
    let names = Names::new(default, named.collect());
    Ok(Set { files, chains, names })
}

fn read_pair(files: &Files) -> Result<Arc<CertifiedKey>, CertificateError> {
    let failed = |path: &Path, setting, fault| CertificateError { path: path.to_path_buf(), setting, fault };
    let chain =
        read_chain(&files.certificate).map_err(|fault| failed(&files.certificate, "certificate", fault))?;
    let key = read_key(&files.key).map_err(|fault| failed(&files.key, "key", fault))?;
    let pair = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
        .map_err(|error| failed(&files.certificate, "certificate", CertificateFault::Unusable(error)))?;
    Ok(Arc::new(pair))
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

#[cfg(test)]
mod tests {
    use rcgen::{CertifiedKey as Made, generate_simple_self_signed};

    use super::*;

    fn write(folder: &Path, stem: &str, names: &[&str]) -> Files {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let Made { cert, signing_key } = generate_simple_self_signed(names).unwrap();
        let files = Files {
            certificate: folder.join(format!("{stem}.pem")),
            key: folder.join(format!("{stem}.key")),
        };
        fs::write(&files.certificate, cert.pem()).unwrap();
        fs::write(&files.key, signing_key.serialize_pem()).unwrap();
        files
    }

    fn chosen(certificates: &Certificates, name: &str) -> Vec<u8> {
        certificates.current.load().names.choose(Some(name)).cert[0].to_vec()
    }

    #[test]
    fn a_name_is_answered_by_the_certificate_that_is_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let files =
            vec![write(folder.path(), "a", &["a.example"]), write(folder.path(), "b", &["*.b.example"])];
        let certificates = Certificates::load(files).unwrap();
        assert_ne!(chosen(&certificates, "a.example"), chosen(&certificates, "x.b.example"));
        assert_eq!(chosen(&certificates, "a.example"), chosen(&certificates, "unknown.example"));
        assert!(certificates.covers("x.b.example") && !certificates.covers("b.example"));
    }

    #[test]
    fn a_renewed_pair_is_taken_and_a_bad_one_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let files = write(folder.path(), "a", &["a.example"]);
        let certificates = Certificates::load(vec![files.clone()]).unwrap();
        let first = chosen(&certificates, "a.example");
        assert!(matches!(certificates.look(Look::Passing), Looked::Same));

        write(folder.path(), "a", &["a.example"]);
        assert!(matches!(certificates.look(Look::Passing), Looked::Same), "it may still be changing");
        assert!(matches!(certificates.look(Look::Passing), Looked::Renewed));
        let second = chosen(&certificates, "a.example");
        assert_ne!(first, second);

        let other = write(folder.path(), "other", &["a.example"]);
        fs::copy(other.key, &files.key).unwrap();
        let Looked::Refused(error) = certificates.look(Look::Asked) else { panic!("the key is another's") };
        assert!(
            error
                .to_string()
                .ends_with("the first certificate is not for the private key (`tls.certificate`)")
        );
        assert!(matches!(certificates.look(Look::Passing), Looked::Same), "it was told");
        assert_eq!(chosen(&certificates, "a.example"), second);
    }

    #[test]
    fn other_files_take_the_place_of_those_in_service_and_are_followed_then() {
        let folder = tempfile::tempdir().unwrap();
        let certificates = Certificates::load(vec![write(folder.path(), "a", &["a.example"])]).unwrap();
        let others =
            vec![write(folder.path(), "b", &["b.example"]), write(folder.path(), "c", &["c.example"])];
        certificates.put(Certificates::prepare(others.clone()).unwrap());
        assert!(certificates.covers("c.example") && !certificates.covers("a.example"));
        assert_eq!(certificates.validities().len(), 2);
        write(folder.path(), "a", &["a.example"]);
        assert!(matches!(certificates.look(Look::Asked), Looked::Same), "nobody shows that file any more");
        write(folder.path(), "c", &["d.example"]);
        assert!(matches!(certificates.look(Look::Asked), Looked::Renewed));
        assert!(certificates.covers("d.example"));
    }

    #[test]
    fn files_that_take_long_to_read_hold_up_no_others_and_count_no_more_then() {
        let folder = tempfile::tempdir().unwrap();
        let certificates = Certificates::load(vec![write(folder.path(), "a", &["a.example"])]).unwrap();
        write(folder.path(), "a", &["a.example"]);
        let looked = certificates.look_by(Look::Asked, |files| {
            assert!(certificates.seen.try_lock().is_ok(), "a reload would wait");
            let others = vec![write(folder.path(), "b", &["b.example"])];
            certificates.put(Certificates::prepare(others).unwrap());
            read(files)
        });
        assert!(matches!(looked, Looked::Same));
        assert!(certificates.covers("b.example") && !certificates.covers("a.example"));
    }

    #[test]
    fn files_that_cannot_be_read_are_told_of_once_and_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let files = write(folder.path(), "a", &["a.example"]);
        let certificates = Certificates::load(vec![files.clone()]).unwrap();
        fs::rename(&files.key, folder.path().join("away")).unwrap();
        certificates.look(Look::Passing);
        assert!(matches!(certificates.look(Look::Passing), Looked::Refused(_)));
        assert!(matches!(certificates.look(Look::Passing), Looked::Same));
        assert!(matches!(certificates.look(Look::Asked), Looked::Refused(_)));
        write(folder.path(), "a", &["a.example"]);
        certificates.look(Look::Passing);
        assert!(matches!(certificates.look(Look::Passing), Looked::Renewed));
    }

    #[test]
    fn a_file_that_is_no_certificate_is_named_with_its_setting() {
        let folder = tempfile::tempdir().unwrap();
        let check = |certificate: &str, key: Option<&str>, expected: &str| {
            let files = write(folder.path(), "a", &["a.example"]);
            fs::write(
                &files.certificate,
                certificate.replace("GOOD", &fs::read_to_string(&files.certificate).unwrap()),
            )
            .unwrap();
            key.into_iter().for_each(|key| fs::write(&files.key, key).unwrap());
            let error = Certificates::load(vec![files]).err().unwrap().to_string();
            assert!(error.ends_with(expected), "{error}");
        };
        check("", None, "the file holds no certificate (BEGIN CERTIFICATE) (`tls.certificate`)");
        check("GOOD", Some(""), "the file holds no private key (BEGIN PRIVATE KEY) (`tls.key`)");
        let missing =
            Files { certificate: folder.path().join("none.pem"), key: folder.path().join("none.key") };
        let error = Certificates::load(vec![missing]).err().unwrap().to_string();
        assert!(error.contains("none.pem: No such file"), "{error}");
    }
}
