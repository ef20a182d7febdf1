//! The commands tell of records that wait, and of those that an edit makes public.

use super::{PUBLIC, folder, run, stdout};

#[test]
fn what_waits_for_a_broken_zone_is_told_by_every_command() {
    let folder = folder(&format!("{PUBLIC}@ MX 10 mail.example.org.\n"));
    std::fs::write(folder.path().join("zones/example.org.zone"), "").unwrap();
    let said = stdout(&run(folder.path(), &["check"]));
    assert!(said.contains("warning[undecided]: outsiders get SERVFAIL"), "{said}");
    assert!(
        said.contains(
            "undecided      zones/example.com.zone:5:1: example.com. 60 IN MX 10 mail.example.org."
        )
    );
    let explain = ["explain", "example.com", "MX", "--from", "192.0.2.1"];
    let said = stdout(&run(folder.path(), &explain));
    assert!(said.contains("SERVFAIL: it leads into a zone whose file was never good"), "{said}");
    assert!(said.contains(";; SERVFAIL for outsiders here"), "{said}");
    let said = stdout(&run(folder.path(), &["diff", "zones"]));
    assert!(said.contains("example.com. MX  SERVFAIL"), "{said}");
}

#[test]
fn check_and_diff_say_what_becomes_public_by_an_edit_elsewhere() {
    let folder = folder(&format!("{PUBLIC}intra CNAME db\n"));
    let old = folder.path().join("old/example.com.zone");
    std::fs::create_dir(folder.path().join("old")).unwrap();
    std::fs::write(&old, format!("{PUBLIC}intra CNAME db\ndb A 10.0.0.5\n")).unwrap();
    let check = run(folder.path(), &["check", "--before", "old", "--deny-warnings", "zones"]);
    let said = stdout(&check);
    assert!(said.contains("zones/example.com.zone:5:1") && !check.status.success(), "{said}");
    let why = "hidden by D6, but db.example.com. does not exist any more";
    assert!(
        said.contains("warning[unhide]: intra.example.com. CNAME becomes public") && said.contains(why),
        "{said}"
    );
    let said = stdout(&run(folder.path(), &["diff", "--before", "old", "zones"]));
    assert!(said.contains("public now although") && said.contains(why), "{said}");
}
