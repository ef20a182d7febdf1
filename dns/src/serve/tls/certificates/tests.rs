use std::os::unix::fs::symlink;

use super::*;
use crate::metrics::Format;

/// A folder with a chain and its key.
struct Files {
    dir: tempfile::TempDir,
    config: Tls,
}

/// A certificate for `name` and its key, as PEM.
fn made(name: &str) -> (String, String) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

impl Files {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let [certificate, key] = ["chain.pem", "key.pem"].map(|name| dir.path().join(name));
        let files = Self { config: Tls { certificate, key, handshake_timeout: Duration::from_secs(5) }, dir };
        files.write(&made("one.example"));
        files
    }

    fn write(&self, (chain, key): &(String, String)) {
        fs::write(&self.config.certificate, chain).unwrap();
        fs::write(&self.config.key, key).unwrap();
    }
}

fn first(certificates: &Certificates) -> CertificateDer<'static> {
    certificates.current.load().cert[0].clone()
}

fn refusal(looked: Looked) -> String {
    let Looked::Refused(error) = looked else { panic!("{looked:?}") };
    error.to_string()
}

#[test]
fn a_renewed_certificate_is_taken_once_its_files_are_at_rest() {
    let files = Files::new();
    let certificates = Certificates::load(&files.config).unwrap();
    let old = first(&certificates);
    assert!(matches!(certificates.look(Look::Passing), Looked::Same));
    files.write(&made("two.example"));
    // They changed since the last look: somebody may still be writing.
    assert!(matches!(certificates.look(Look::Passing), Looked::Same));
    assert_eq!(first(&certificates), old);
    assert!(matches!(certificates.look(Look::Passing), Looked::Renewed));
    assert_ne!(first(&certificates), old);
    assert!(matches!(certificates.look(Look::Passing), Looked::Same));
}

#[test]
fn who_asks_does_not_wait() {
    let files = Files::new();
    let certificates = Certificates::load(&files.config).unwrap();
    let old = first(&certificates);
    files.write(&made("two.example"));
    assert!(matches!(certificates.look(Look::Asked), Looked::Renewed));
    assert_ne!(first(&certificates), old);
    assert!(matches!(certificates.look(Look::Asked), Looked::Same));
}

#[test]
fn a_link_that_points_elsewhere_is_a_change() {
    let files = Files::new();
    let (first_key, link) = (files.dir.path().join("key1.pem"), files.config.key.clone());
    fs::rename(&link, &first_key).unwrap();
    symlink(&first_key, &link).unwrap();
    let certificates = Certificates::load(&files.config).unwrap();
    let (chain, key) = made("two.example");
    fs::write(files.dir.path().join("key2.pem"), key).unwrap();
    fs::remove_file(&link).unwrap();
    symlink("key2.pem", &link).unwrap();
    fs::write(&files.config.certificate, chain).unwrap();
    assert!(matches!(certificates.look(Look::Passing), Looked::Same));
    assert!(matches!(certificates.look(Look::Passing), Looked::Renewed));
}

#[test]
fn a_bad_certificate_keeps_the_last_good_one_and_is_told_once() {
    let files = Files::new();
    let certificates = Certificates::load(&files.config).unwrap();
    let (old, good) = (first(&certificates), made("one.example"));
    for (chain, key, expected) in [
        (
            good.0.as_str(),
            made("other.example").1.as_str(),
            "the first certificate is not for the private key",
        ),
        ("", &good.1, "there is no certificate in it"),
        (&good.0, "", "there is no private key in it"),
        (&good.0, &good.0, "there is no private key in it"),
        ("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", &good.1, "this is not PEM"),
        (&good.0[..good.0.len() / 2], &good.1, "this is not PEM"),
    ] {
        files.write(&(chain.to_owned(), key.to_owned()));
        certificates.look(Look::Passing);
        let text = refusal(certificates.look(Look::Passing));
        assert!(text.contains(expected) && text.contains("setting `tls."), "{expected}: {text}");
        assert!(matches!(certificates.look(Look::Passing), Looked::Same), "told once");
        assert_eq!(first(&certificates), old);
    }
    files.write(&good);
    fs::remove_file(&files.config.key).unwrap();
    let text = refusal(certificates.look(Look::Asked));
    assert!(text.contains("key.pem: No such file"), "{text}");
    assert_eq!(first(&certificates), old);
    files.write(&good);
    assert!(matches!(certificates.look(Look::Asked), Looked::Renewed));
}

#[test]
fn a_renewed_certificate_that_cannot_be_read_at_first_is_read_later() {
    let files = Files::new();
    let certificates = Certificates::load(&files.config).unwrap();
    let old = first(&certificates);
    files.write(&made("two.example"));
    assert!(matches!(certificates.look(Look::Passing), Looked::Same), "not at rest");
    let out_of_descriptors = |files: &Tls| {
        let fault = CertificateFault::Unreadable(io::Error::from_raw_os_error(libc::EMFILE));
        Err(error(&files.certificate, "tls.certificate", fault))
    };
    assert!(refusal(certificates.look_by(Look::Passing, out_of_descriptors)).contains("Too many open files"));
    assert!(matches!(certificates.look_by(Look::Passing, out_of_descriptors), Looked::Same), "told once");
    refusal(certificates.look_by(Look::Asked, out_of_descriptors));
    assert_eq!(first(&certificates), old);
    assert!(matches!(certificates.look(Look::Passing), Looked::Renewed));
    assert_ne!(first(&certificates), old);
    assert!(matches!(certificates.look(Look::Passing), Looked::Same));
}

#[test]
fn nothing_starts_without_a_certificate() {
    let files = Files::new();
    fs::remove_file(&files.config.certificate).unwrap();
    let error = Certificates::load(&files.config).unwrap_err().to_string();
    assert!(error.contains("chain.pem") && error.contains("`tls.certificate`"), "{error}");
}

/// A certificate that is good until the beginning of a year, and its key.
fn until(year: i32) -> (String, String) {
    let mut params = rcgen::CertificateParams::new(["one.example".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(year, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

#[tokio::test(start_paused = true)]
async fn metrics_have_the_end_of_the_certificate_in_service() {
    let files = Files::new();
    files.write(&until(2100));
    let certificates = Certificates::load(&files.config).unwrap();
    let (metrics, drain) = (Arc::new(Metrics::default()), CancellationToken::new());
    let following = tokio::spawn(Arc::clone(&certificates).follow(Some(Arc::clone(&metrics)), drain.clone()));
    for (year, expected) in [(2100, "4102444800"), (2101, "4133980800")] {
        files.write(&until(year));
        certificates.ask();
        let line = format!("verge_dns_tls_certificate_expiry_timestamp_seconds {expected}\n");
        let told = async {
            while !metrics.encode(Format::OpenMetrics).contains(&line) {
                // Some looks are taken in that time, on the paused clock.
                tokio::time::sleep(POLL).await;
            }
        };
        tokio::time::timeout(POLL * 100, told)
            .await
            .unwrap_or_else(|_| panic!("{}", metrics.encode(Format::OpenMetrics)));
    }
    drain.cancel();
    following.await.unwrap();
}
