//! Serials over edits and restarts, on the catalog that makes the trees (D16).

use std::fs;

use super::*;
use crate::catalog::{Catalog, Terms};
use crate::clock;
use crate::transfer::Rule;

const HEAD: &str = "$TTL 60\n@ SOA ns h SERIAL 2h 1h 2w 5m\n@ NS ns\nns A 203.0.113.1\n";

/// Zones on disk, and a server's numbers for them.
struct Server {
    dir: tempfile::TempDir,
    catalog: Catalog,
    numbers: Numbers,
    today: u64,
}

impl Server {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("zones")).unwrap();
        Self { catalog: catalog(dir.path()), dir, numbers: Numbers::default(), today: 20_000 }
    }

    fn write(&self, zone: &str, serial: u32, text: &str) {
        // Enough for changes to be shorter.
        let stays: String = (0..50).map(|at| format!("text{at} TXT \"this stays as it is\"\n")).collect();
        let text = format!("{}{stays}{text}", HEAD.replace("SERIAL", &serial.to_string()));
        fs::write(self.dir.path().join("zones").join(format!("{zone}.zone")), text).unwrap();
    }

    /// A reload; the serials outside and inside, and how many versions are new.
    fn load(&mut self) -> (Option<u32>, Option<u32>, usize) {
        let state = self.dir.path().join("state");
        self.numbers.keep_in(Some(&state), self.today);
        // Time stamps of files are too coarse for edits that follow each other at once.
        let later = clock::system_now() + std::time::Duration::from_secs(3600);
        let mut world = self.catalog.load(later).unwrap().world.expect("something changed");
        let moved = self.numbers.number(&mut world, self.today).len();
        let apex = Name::parse_absolute("example").unwrap();
        let of = |view: Which| match world.view(view).zones.get(&apex) {
            Some(Served::Zone(tree)) => transfer::serial(tree),
            _ => None,
        };
        (of(Which::Public), of(Which::Internal), moved)
    }

    /// The same files and the same state, and nothing in memory.
    fn restart(&mut self) {
        (self.catalog, self.numbers) = (catalog(self.dir.path()), Numbers::default());
    }

    fn deltas(&self, view: Which) -> Vec<(u32, u32)> {
        let line = &self.numbers.lines[&(view, Name::parse_absolute("example").unwrap())];
        line.deltas.iter().map(|delta| (delta.from, delta.to)).collect()
    }
}

fn catalog(dir: &Path) -> Catalog {
    let mut terms = Terms::default();
    terms.protocol.transfers = [Rule::default()].into_iter().collect();
    Catalog::new(vec![dir.join("zones")], terms)
}

#[test]
fn the_outside_is_told_nothing_of_what_changes_inside() {
    let mut server = Server::new();
    server.write("example", 10, "www A 203.0.113.2\ndb A 10.0.0.5\n");
    assert_eq!(server.load(), (Some(10), Some(10), 2));
    // Inside alone, with the author's serial and without.
    server.write("example", 11, "www A 203.0.113.2\ndb A 10.0.0.6\n");
    assert_eq!(server.load(), (Some(10), Some(11), 1));
    server.write("example", 11, "www A 203.0.113.2\ndb A 10.0.0.7\nnew A 10.0.0.8\n");
    assert_eq!(server.load(), (Some(10), Some(12), 1));
    // Both: the outside counts by one, however often the author did.
    server.write("example", 20, "www A 203.0.113.3\ndb A 10.0.0.7\n");
    assert_eq!(server.load(), (Some(11), Some(20), 2));
    assert_eq!(server.deltas(Which::Public), [(10, 11)]);
    assert_eq!(server.deltas(Which::Internal), [(10, 11), (11, 12), (12, 20)]);
    // A comment, and a serial that the author raised for nothing.
    server.write("example", 21, "www A 203.0.113.3 ; new\ndb A 10.0.0.7\n");
    assert_eq!(server.load(), (Some(11), Some(21), 1));
}

#[test]
fn a_restart_gives_no_number_to_other_content() {
    let mut server = Server::new();
    server.write("example", 10, "www A 203.0.113.2\ndb A 10.0.0.5\n");
    server.load();
    server.write("example", 12, "www A 203.0.113.3\ndb A 10.0.0.5\n");
    assert_eq!(server.load(), (Some(11), Some(12), 2));
    server.restart();
    assert_eq!(server.load(), (Some(11), Some(12), 2), "secondaries are told again: they may have missed it");
    assert_eq!(server.deltas(Which::Public), [(10, 11)]);
    assert_eq!(server.deltas(Which::Internal), [(10, 12)]);
    // The edit of a stopped server, without a higher serial.
    server.write("example", 12, "www A 203.0.113.4\ndb A 10.0.0.5\n");
    server.restart();
    assert_eq!(server.load(), (Some(12), Some(13), 2));
    let path = server.dir.path().join("state/serials");
    fs::write(&path, "outside example. 12 zz\nnonsense\n").unwrap();
    server.restart();
    assert_eq!(
        server.load(),
        (Some(12), Some(12), 2),
        "without a state, the author's serial is all there is"
    );
    fs::write(&path, [0xff, 0xfe]).unwrap();
    server.restart();
    assert_eq!(server.load(), (Some(12), Some(12), 2));
}

#[test]
fn a_zone_that_hides_nothing_follows_its_author_and_has_one_tree() {
    let mut server = Server::new();
    server.write("example", 10, "www A 203.0.113.2\n");
    assert_eq!(server.load(), (Some(10), Some(10), 2));
    server.write("example", 15, "www A 203.0.113.3\n");
    assert_eq!(server.load(), (Some(15), Some(15), 2));
    server.write("example", 15, "www A 203.0.113.4\n");
    assert_eq!(server.load(), (Some(16), Some(16), 2), "the author forgot the serial");
    let apex = Name::parse_absolute("example").unwrap();
    let served = |view| Arc::as_ptr(&server.numbers.lines[&(view, apex.clone())].served);
    assert_eq!(served(Which::Public), served(Which::Internal));
    // From here on something is hidden, and then no longer.
    server.write("example", 16, "www A 203.0.113.4\ndb A 10.0.0.5\n");
    assert_eq!(server.load(), (Some(16), Some(17), 1));
    server.write("example", 17, "www A 203.0.113.4\n");
    assert_eq!(server.load(), (Some(16), Some(18), 1), "outside nothing has changed");
    server.restart();
    server.write("example", 30, "www A 203.0.113.4\n");
    assert_eq!(
        server.load(),
        (Some(16), Some(30), 2),
        "nor by a serial that may have been raised for the inside"
    );
    server.write("example", 40, "www A 203.0.113.5\n");
    assert_eq!(server.load(), (Some(17), Some(40), 2));
}

/// An operator who hides something has hidden it: those who never saw it do not find it among the changes.
#[test]
fn what_was_hidden_is_in_no_change_that_outsiders_may_take() {
    for (hidden, is_kept) in [
        ("www A 203.0.113.2 ; verge: internal\n", false),
        ("www A 10.0.0.5\n", false),
        ("*.www A 10.0.0.5\n", false),
        ("", true),
        ("www 90 A 203.0.113.2\n", true),
        ("www A 203.0.113.3\nwww A 10.0.0.5\n", true),
    ] {
        let mut server = Server::new();
        server.write("example", 10, "");
        server.load();
        server.write("example", 11, "www A 203.0.113.2\n");
        server.load();
        assert_eq!(server.deltas(Which::Public), [(10, 11)]);
        server.write("example", 12, hidden);
        server.load();
        let expected: &[(u32, u32)] = if is_kept { &[(10, 11), (11, 12)] } else { &[] };
        assert_eq!(server.deltas(Which::Public), expected, "{hidden}");
        assert_eq!(server.deltas(Which::Internal), [(10, 11), (11, 12)], "{hidden}");
    }
}

#[test]
fn a_state_that_is_no_file_is_not_read_and_the_file_is_its_owners() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/dev/zero", dir.path().join("serials")).unwrap();
    assert_eq!(file::read(dir.path(), 0), Stored::new());
    file::write(dir.path(), &Stored::new()).unwrap();
    let mode = fs::symlink_metadata(dir.path().join("serials")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_state_that_cannot_be_written_stops_nothing() {
    let mut server = Server::new();
    fs::write(server.dir.path().join("state"), "a file").unwrap();
    server.write("example", 10, "www A 203.0.113.2\n");
    assert_eq!(server.load(), (Some(10), Some(10), 2));
    server.write("example", 10, "www A 203.0.113.3\n");
    assert_eq!(server.load(), (Some(11), Some(11), 2));
}

#[test]
fn serials_are_told_of_no_zone_that_nobody_may_take_any_longer() {
    let mut server = Server::new();
    let rule = |server: &mut Server, rules: &[Rule]| {
        let mut terms = Terms::default();
        terms.protocol.transfers = rules.into();
        server.catalog.set_terms(vec![server.dir.path().join("zones")], terms);
    };
    server.write("example", 10, "www A 203.0.113.2\ndb A 10.0.0.5\n");
    server.load();
    assert_eq!(server.numbers.serials().len(), 2);
    rule(&mut server, &[]);
    server.write("example", 20, "www A 203.0.113.3\ndb A 10.0.0.5\n");
    assert_eq!(server.load(), (Some(20), Some(20), 0));
    assert_eq!(server.numbers.serials(), []);
    rule(&mut server, &[Rule::default()]);
    server.write("example", 21, "www A 203.0.113.3\ndb A 10.0.0.5\n");
    assert_eq!(server.load(), (Some(11), Some(21), 2));
}

#[test]
fn zones_that_nobody_may_take_keep_their_serial() {
    let mut server = Server::new();
    let mut terms = Terms::default();
    let zones = vec![Name::parse_absolute("other").unwrap()];
    terms.protocol.transfers = [Rule { zones, ..Rule::default() }].into_iter().collect();
    server.catalog.set_terms(vec![server.dir.path().join("zones")], terms);
    server.write("example", 10, "www A 203.0.113.2\ndb A 10.0.0.5\n");
    assert_eq!(server.load(), (Some(10), Some(10), 0));
    server.write("example", 11, "www A 203.0.113.2\ndb A 10.0.0.6\n");
    assert_eq!(server.load(), (Some(11), Some(11), 0));
}

/// D15, D16: a signature covers the serial. A key is a record like any other.
#[test]
fn a_zone_keeps_the_serial_of_its_file_if_it_is_signed_and_not_if_it_has_keys_alone() {
    let key = "@ DNSKEY 257 3 13 mdsswUyr3DPW132mOi8V9xESWE8jTo0dxCjjnopKl+GqJxpVXckHAeF+KkxLbxILfDLUT0rAK9iUzy1L53eKGQ==\n";
    let digest = |serial: u32| format!("@ ZONEMD {serial} 1 1 {}\n", "ab".repeat(48));
    for (case, text, expected) in [
        ("keys alone", (key.to_owned(), key.to_owned()), Some(21)),
        ("a digest", (digest(20), digest(3)), Some(3)),
    ] {
        let mut server = Server::new();
        server.write("example", 20, &format!("www A 203.0.113.2\n{}", text.0));
        assert_eq!(server.load().0, Some(20), "{case}");
        server.write("example", 3, &format!("www A 203.0.113.3\n{}", text.1));
        assert_eq!(server.load().0, expected, "{case}");
    }
    let mut server = Server::new();
    server.write("example", 10, &format!("db A 10.0.0.5\n{key}"));
    assert_eq!(server.load(), (Some(10), Some(10), 2));
    server.write("example", 11, &format!("db A 10.0.0.6\n{key}"));
    assert_eq!(server.load(), (Some(10), Some(11), 1), "outsiders see no change");
}

#[test]
fn the_file_is_read_as_it_was_written() {
    let mut stored = Stored::new();
    for (view, apex, serial) in [
        (Which::Public, "example.com", 1),
        (Which::Internal, "0/27.2.0.192.in-addr.arpa", u32::MAX),
        (Which::Internal, r"a\032b.example", 7),
    ] {
        stored.insert((view, Name::parse_absolute(apex).unwrap()), (serial, [7; 32], 20_000));
    }
    let dir = tempfile::tempdir().unwrap();
    file::write(dir.path(), &stored).unwrap();
    assert_eq!(file::read(dir.path(), 0), stored);
    assert_eq!(file::read(&dir.path().join("absent"), 0), Stored::new());
}

#[test]
fn a_zone_that_has_long_been_gone_is_forgotten_and_one_that_was_away_is_not() {
    let mut server = Server::new();
    server.write("example", 10, "www A 203.0.113.2\n");
    server.write("other", 10, "www A 203.0.113.2\n");
    server.load();
    let file = server.dir.path().join("state/serials");
    let has_other = |server: &mut Server, days: u64| {
        server.today += days;
        server.write("example", 10, &format!("www A 203.0.113.2\nday{} A 203.0.113.3\n", server.today));
        server.restart();
        server.load();
        fs::read_to_string(&file).unwrap().contains(" other. 10 ")
    };
    assert!(has_other(&mut server, 1));
    fs::remove_file(server.dir.path().join("zones/other.zone")).unwrap();
    assert!(has_other(&mut server, 300));
    assert!(has_other(&mut server, 100));
    assert!(!has_other(&mut server, 1));
}

#[test]
fn after_a_promotion_neither_side_has_a_serial_from_before_it() {
    for (file, text, expected) in [
        (70_000, "www A 203.0.113.2\n", (Some(70_000), Some(70_000))),
        // Something is hidden now, so the outside does not follow its author.
        (70_005, "www A 203.0.113.3\ndb A 10.0.0.5\n", (Some(70_001), Some(70_005))),
        // An author who puts an old file in place.
        (3, "www A 203.0.113.3\n", (Some(70_001), Some(70_001))),
    ] {
        for knows in [false, true] {
            let mut server = Server::new();
            let state = server.dir.path().join("state");
            server.write("example", 10, "www A 203.0.113.2\n");
            if knows {
                server.load();
            }
            let apex = Name::parse_absolute("example").unwrap();
            let mut terms = Terms::default();
            terms.protocol.transfers = [Rule::default()].into_iter().collect();
            let copy = HeldCopy::new(apex.clone(), Which::Public, &copies_folder(&state), false);
            copy.lead(70_000).unwrap();
            terms.copies = vec![copy];
            let (primaries, key) = (Vec::new(), None);
            terms.protocol.secondaries =
                [transfer::Secondary { apex, view: Which::Public, primaries, key }].into_iter().collect();
            server.catalog = Catalog::new(vec![server.dir.path().join("zones")], terms);
            server.numbers = Numbers::default();
            server.write("example", file, text);
            let (outside, inside, _) = server.load();
            assert_eq!((outside, inside), expected, "{file} {knows}");
        }
    }
}

#[test]
fn changes_outlast_a_restart_each_on_its_side_until_an_edit_that_nobody_saw() {
    let mut server = Server::new();
    let side = |server: &Server, side: &str| {
        fs::read(server.dir.path().join("state/changes").join(side).join("example")).unwrap_or_default()
    };
    server.write("example", 10, "www A 203.0.113.2\nseen A 10.0.0.5\n");
    server.load();
    server.write("example", 11, "www A 203.0.113.3\nseen A 10.0.0.6\n");
    server.load();
    server.write("example", 12, "www A 203.0.113.3\nseen A 10.0.0.7\n");
    server.load();
    let [outside, inside] = ["outside", "inside"].map(|name| side(&server, name));
    let names = |bytes: &[u8]| bytes.windows(5).any(|name| name == b"\x04seen");
    assert!(names(&inside) && !names(&outside) && !outside.is_empty());
    for _ in 0..2 {
        server.restart();
        server.load();
        assert_eq!(server.deltas(Which::Public), [(10, 11)]);
        assert_eq!(server.deltas(Which::Internal), [(10, 11), (11, 12)]);
    }
    server.write("example", 13, "www A 203.0.113.4\nseen A 10.0.0.7\n");
    server.load();
    server.restart();
    server.load();
    assert_eq!(server.deltas(Which::Public), [(10, 11), (11, 12)]);
    assert_eq!(server.deltas(Which::Internal), [(10, 11), (11, 12), (12, 13)]);
    // Inside alone, while the server is down.
    server.restart();
    server.write("example", 14, "www A 203.0.113.4\nseen A 10.0.0.8\n");
    server.load();
    assert_eq!(server.deltas(Which::Public), [(10, 11), (11, 12)]);
    assert_eq!(server.deltas(Which::Internal), []);
    assert!(side(&server, "inside").is_empty());
    // A file of another server, or of before.
    fs::write(server.dir.path().join("state/changes/inside/example"), &inside).unwrap();
    server.restart();
    server.load();
    assert_eq!(server.deltas(Which::Internal), []);
}

#[test]
fn what_was_hidden_is_in_no_change_on_the_disk() {
    for (hidden, is_kept) in [("www A 203.0.113.2 ; verge: internal\n", false), ("", true)] {
        // Hidden while the server runs, and while it is down.
        for is_running in [true, false] {
            let mut server = Server::new();
            for (serial, text) in [(10, ""), (11, "www A 203.0.113.2\n"), (12, "")] {
                server.write("example", serial, text);
                server.load();
            }
            if !is_running {
                server.restart();
            }
            if !hidden.is_empty() {
                server.write("example", 13, hidden);
                server.load();
            }
            server.restart();
            server.load();
            let file = server.dir.path().join("state/changes/outside/example");
            let kept = fs::read(file).unwrap_or_default();
            assert_eq!(kept.windows(4).any(|name| name == b"\x03www"), is_kept, "{hidden:?} {is_running}");
        }
    }
}
