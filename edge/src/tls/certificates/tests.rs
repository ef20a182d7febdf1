use rcgen::{CertifiedKey as Made, generate_simple_self_signed};

use super::*;

fn write(folder: &Path, stem: &str, names: &[&str]) -> Files {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let Made { cert, signing_key } = generate_simple_self_signed(names).unwrap();
    let files =
        Files { certificate: folder.join(format!("{stem}.pem")), key: folder.join(format!("{stem}.key")) };
    fs::write(&files.certificate, cert.pem()).unwrap();
    fs::write(&files.key, signing_key.serialize_pem()).unwrap();
    files
}

fn chosen(certificates: &Certificates, name: &str) -> Vec<u8> {
    certificates.current.load().names.choose(Some(name)).chain.cert[0].to_vec()
}

fn covers(certificates: &Certificates, name: &str) -> bool {
    certificates.names_for(Some(name)).cover(name)
}

#[test]
fn a_name_is_answered_by_the_certificate_that_is_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let files = vec![write(folder.path(), "a", &["a.example"]), write(folder.path(), "b", &["*.b.example"])];
    let certificates = Certificates::load(files).unwrap();
    assert_ne!(chosen(&certificates, "a.example"), chosen(&certificates, "x.b.example"));
    assert_eq!(chosen(&certificates, "a.example"), chosen(&certificates, "unknown.example"));
    assert!(covers(&certificates, "x.b.example") && !covers(&certificates, "b.example"));
    let names = certificates.names_for(Some("x.b.example"));
    assert!(names.cover("y.b.example") && !names.cover("a.example"), "that is the other certificate's");
    assert!(certificates.names_for(None).cover("a.example"), "the first answers the rest");
}

/// Two looks: files that have just changed may still be changing.
fn look(certificates: &Certificates) -> Looked {
    let first = certificates.look(now());
    assert!(!first.is_renewed && first.refused.is_empty(), "{first:?}");
    certificates.look(now())
}

fn is_same(looked: &Looked) -> bool {
    !looked.is_renewed && looked.refused.is_empty()
}

/// Of the certificates that are made here: 1975 to 4096.
fn now() -> i64 {
    2_000_000_000
}

#[test]
fn a_renewed_pair_is_taken_and_a_bad_one_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let files = write(folder.path(), "a", &["a.example"]);
    let certificates = Certificates::load(vec![files.clone()]).unwrap();
    let first = chosen(&certificates, "a.example");
    assert!(is_same(&look(&certificates)));

    write(folder.path(), "a", &["a.example"]);
    assert!(look(&certificates).is_renewed);
    let second = chosen(&certificates, "a.example");
    assert_ne!(first, second);

    let other = write(folder.path(), "other", &["a.example"]);
    fs::copy(other.key, &files.key).unwrap();
    let looked = look(&certificates);
    let [error] = &looked.refused[..] else { panic!("the key is another's: {looked:?}") };
    assert!(error.to_string().ends_with("the first certificate is not for the private key"));
    assert!(is_same(&look(&certificates)), "it was told");
    assert_eq!(chosen(&certificates, "a.example"), second);
}

/// A pair that nobody looks after any more must not let the others expire.
#[test]
fn a_bad_pair_keeps_its_last_good_certificate_and_no_other_from_being_renewed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let pairs = ["a", "b", "c"].map(|name| write(path, name, &[&format!("{name}.example")]));
    let certificates = Certificates::load(pairs.to_vec()).unwrap();
    let at_first = ["a.example", "b.example", "c.example"].map(|name| chosen(&certificates, name));
    fs::remove_file(&pairs[1].key).unwrap();
    write(path, "a", &["a.example"]);
    write(path, "c", &["c.example"]);
    let looked = look(&certificates);
    let [error] = &looked.refused[..] else { panic!("{looked:?}") };
    assert!(looked.is_renewed && (error.setting, &error.path) == ("also.key", &pairs[1].key));
    let then = ["a.example", "b.example", "c.example"].map(|name| chosen(&certificates, name));
    assert_ne!(then[0], at_first[0]);
    assert_eq!(then[1], at_first[1]);
    assert_ne!(then[2], at_first[2]);
    assert!(is_same(&look(&certificates)), "it was told");
    write(path, "b", &["b.example"]);
    assert!(look(&certificates).is_renewed);
    assert_ne!(chosen(&certificates, "b.example"), at_first[1]);
}

#[test]
fn a_pair_that_clients_refuse_now_takes_the_place_of_none_that_they_take() {
    let folder = tempfile::tempdir().unwrap();
    let files = write(folder.path(), "a", &["a.example"]);
    let write_valid = |from: i32, until: i32| {
        let mut params = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        fs::write(&files.certificate, params.self_signed(&key).unwrap().pem()).unwrap();
        fs::write(&files.key, key.serialize_pem()).unwrap();
    };
    let certificates = Certificates::load(vec![files.clone()]).unwrap();
    let first = chosen(&certificates, "a.example");
    for (from, until, why) in [(2000, 2020, "expired on"), (2040, 2050, "is not good before")] {
        write_valid(from, until);
        let looked = look(&certificates);
        let [error] = &looked.refused[..] else { panic!("{looked:?}") };
        assert!(!looked.is_renewed && error.to_string().contains(why), "{error}");
        assert!(is_same(&look(&certificates)), "it was told");
        assert_eq!(chosen(&certificates, "a.example"), first);
    }
    // The clock was wrong, or its time has come.
    let in_2045 = 2_366_841_600;
    assert!(certificates.look(in_2045).is_renewed);
    // Where clients refuse what is in service as well, the last word is that of the files.
    write_valid(2000, 2020);
    certificates.look(in_2045 + 400_000_000);
    assert!(certificates.look(in_2045 + 400_000_000).is_renewed);
}

#[test]
fn other_files_take_the_place_of_those_in_service_and_are_followed_then() {
    let folder = tempfile::tempdir().unwrap();
    let certificates = Certificates::load(vec![write(folder.path(), "a", &["a.example"])]).unwrap();
    let others = vec![write(folder.path(), "b", &["b.example"]), write(folder.path(), "c", &["c.example"])];
    certificates.put(Certificates::prepare(others.clone()).unwrap());
    assert!(covers(&certificates, "c.example") && !covers(&certificates, "a.example"));
    assert_eq!(certificates.validities().len(), 2);
    write(folder.path(), "a", &["a.example"]);
    assert!(is_same(&look(&certificates)), "nobody shows that file any more");
    write(folder.path(), "c", &["d.example"]);
    assert!(look(&certificates).is_renewed);
    assert!(covers(&certificates, "d.example"));
}

#[test]
fn files_that_take_long_to_read_hold_up_no_others_and_count_no_more_then() {
    let folder = tempfile::tempdir().unwrap();
    let certificates = Certificates::load(vec![write(folder.path(), "a", &["a.example"])]).unwrap();
    write(folder.path(), "a", &["a.example"]);
    assert!(is_same(&certificates.look(now())), "it may still be changing");
    let looked = certificates.look_by(|before| {
        assert!(certificates.seen.try_lock().is_ok(), "a reload would wait");
        let others = vec![write(folder.path(), "b", &["b.example"])];
        certificates.put(Certificates::prepare(others).unwrap());
        before.renewed(now())
    });
    assert!(is_same(&looked));
    assert!(covers(&certificates, "b.example") && !covers(&certificates, "a.example"));
}

#[test]
fn files_that_cannot_be_read_are_told_of_once_and_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let files = write(folder.path(), "a", &["a.example"]);
    let certificates = Certificates::load(vec![files.clone()]).unwrap();
    fs::rename(&files.key, folder.path().join("away")).unwrap();
    assert_eq!(look(&certificates).refused.len(), 1);
    assert!(is_same(&look(&certificates)), "it was told");
    write(folder.path(), "a", &["a.example"]);
    assert!(look(&certificates).is_renewed);
}

#[test]
fn a_file_that_is_no_certificate_is_named() {
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
    check("", None, "the file holds no certificate (BEGIN CERTIFICATE)");
    check("GOOD", Some(""), "the file holds no private key (BEGIN PRIVATE KEY)");
    let missing = Files { certificate: folder.path().join("none.pem"), key: folder.path().join("none.key") };
    let error = Certificates::load(vec![missing]).err().unwrap().to_string();
    assert!(error.contains("none.pem: No such file"), "{error}");
}
