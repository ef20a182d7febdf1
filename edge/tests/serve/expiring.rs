//! A certificate that nears its end.

use std::time::{Duration, UNIX_EPOCH};

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use verge_edge::clock::Clock;

use super::encrypted::certificate;
use super::reloading::{Lines, origin};
use super::rig::{Rig, soon};

/// The first second of 2030, since 1970.
const UNTIL: u64 = 1_893_456_000;
const DAY: u64 = 24 * 3600;

#[tokio::test]
async fn a_certificate_in_its_last_days_is_told_once_a_day_and_its_end_in_metrics() {
    let (lines, told) = (Lines::default(), "the certificate expires on");
    let log = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || log.clone()).finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let origin = origin("one").await;
    let folder = tempfile::tempdir().unwrap();
    let mut params = CertificateParams::new(vec!["site.test".to_owned()]).unwrap();
    (params.not_before, params.not_after) = (date_time_ymd(2029, 10, 1), date_time_ymd(2030, 1, 1));
    let key = KeyPair::generate().unwrap();
    let [chain, secret] = ["old.pem", "old.key"].map(|name| folder.path().join(name));
    std::fs::write(&chain, params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(&secret, key.serialize_pem()).unwrap();
    let text = |tls: &str| {
        format!(
            "listen = [\"127.0.0.1:0\"]\nlisten_tls = [\"127.0.0.1:0\"]\n[tls]\n{tls}[[site]]\nhosts = [\"*\"]\n\
             origins = [\"http://{}\"]\n[admin]\nlisten = \"127.0.0.1:0\"\nhosts = [\"site.test\"]\n",
            origin.address
        )
    };
    let clock = Clock::standing(UNIX_EPOCH + Duration::from_secs(UNTIL - 5 * DAY));
    let rig = Rig::by(clock, &text(&format!("certificate = {chain:?}\nkey = {secret:?}\n")), true).await;
    let of = |file: &str| {
        let file = folder.path().join(file);
        format!("verge_edge_tls_certificate_expiry_timestamp_seconds{{file={file:?}}}")
    };
    rig.until(&of("old.pem"), UNTIL).await;
    assert_eq!(lines.count(told), 1);
    rig.pass(DAY);
    let again = async {
        while lines.count(told) < 2 {
            tokio::task::yield_now().await;
        }
    };
    soon("another line", again).await;
    rig.reload(&text(&certificate(folder.path(), &["site.test"]))).await;
    rig.until(&of("old.pem"), 0).await;
    assert!(rig.metric(&of("chain.pem")).await > UNTIL, "one that is in service");
    assert_eq!(lines.count(told), 2);
}
