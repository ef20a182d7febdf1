use super::*;

fn name(text: &str) -> Name {
    Name::parse_absolute(text).unwrap()
}

/// `a 1` is an A record of a.ex. with the address 192.0.2.1; `S5` the SOA with serial 5.
fn one(text: &str) -> Arrived {
    let soa = |serial: u32| {
        let numbers = [serial, 60, 10, 600, 5].map(u32::to_be_bytes).concat();
        let rdata = [b"\x02ns\x02ex\0\x01h\x02ex\0".as_slice(), &numbers].concat();
        record(name("ex"), Type::SOA, 60, rdata.into())
    };
    let record = match text.strip_prefix('S') {
        Some(serial) => soa(serial.parse().unwrap()),
        None => {
            let (owner, byte) = text.split_once('=').unwrap();
            let owner = if owner.contains('.') { name(owner) } else { name(&format!("{owner}.ex")) };
            record(owner, Type::A, 60, [192, 0, 2, byte.parse().unwrap()].into())
        }
    };
    Arrived { class: 1, record }
}

fn all(texts: &str) -> Vec<Arrived> {
    texts.split_whitespace().map(one).collect()
}

fn shown(records: &[Record]) -> String {
    let one = |record: &Record| match record.rtype {
        Type::SOA => format!("S{}", serial(&record.rdata).unwrap()),
        _ => format!("{}={}", record.owner.to_string().trim_end_matches(".ex."), record.rdata[3]),
    };
    records.iter().map(one).collect::<Vec<_>>().join(" ")
}

fn outcome(asked: Asked, texts: &str) -> Result<String, Fault> {
    let mut incoming = Incoming::new(name("ex"), asked, 1 << 20);
    // Each record may be a message of its own.
    for message in texts.split('|') {
        incoming.take(all(message))?;
    }
    Ok(match incoming.finish()? {
        Content::Current => "current".into(),
        Content::Whole(records) => shown(&records),
        Content::Changes(soa, changes) => {
            let one = |it: &Change| format!(" -[{}] +[{}]", shown(&it.gone), shown(&it.come));
            shown(&[*soa]) + &changes.iter().map(one).collect::<String>()
        }
    })
}

#[test]
fn a_transfer_is_whole_or_changes_or_nothing_new() {
    use Asked::{ChangesSince, Whole};
    for (asked, texts, expected) in [
        (Whole, "S5 a=1 b=2 S5", Ok("S5 a=1 b=2")),
        (Whole, "S5 | a=1 | S5", Ok("S5 a=1")),
        (Whole, "S5 S5", Ok("S5")),
        (Whole, "S5 a=1", Err(Fault::Unfinished)),
        (Whole, "S5", Err(Fault::Unfinished)),
        (Whole, "a=1 S5", Err(Fault::NoSoaFirst)),
        (Whole, "S5 a=1 S6", Err(Fault::OtherSoa)),
        (Whole, "S5 S4 a=1 S5 S5", Err(Fault::OtherSoa)),
        (Whole, "S5 a=1 S5 b=1", Err(Fault::AfterEnd)),
        (Whole, "S5 a.other=1 S5", Err(Fault::OutOfZone(name("a.other")))),
        (ChangesSince(5), "S5", Ok("current")),
        (ChangesSince(6), "S5", Ok("current")),
        (ChangesSince(4), "S5", Err(Fault::Unfinished)),
        (ChangesSince(4), "S5 | a=1 S5", Ok("S5 a=1")),
        (ChangesSince(4), "S5 S4 a=1 S5 a=2 S5", Ok("S5 -[a=1] +[a=2]")),
        (ChangesSince(4), "S5 | S4 | S5 | a=2 | S5", Ok("S5 -[] +[a=2]")),
        (ChangesSince(3), "S5 S3 a=1 S4 a=2 S4 a=2 S5 b=3 S5", Ok("S5 -[a=1] +[a=2] -[a=2] +[b=3]")),
        (ChangesSince(3), "S5 S4 a=1 S5 a=2 S5", Err(Fault::Gap)),
        (ChangesSince(3), "S5 S3 a=1 S4 a=2 S3 a=2 S5 b=3 S5", Err(Fault::Gap)),
        (ChangesSince(4), "S5 S4 a=1 S5 a=2", Err(Fault::Unfinished)),
        (ChangesSince(4), "S5 S4 a=1 S5 a=2 S5 b=1", Err(Fault::AfterEnd)),
    ] {
        assert_eq!(outcome(asked, texts), expected.map(str::to_owned), "{asked:?} {texts}");
    }
}

#[test]
fn foreign_classes_and_meta_types_and_endless_streams_are_not_taken() {
    let mut incoming = Incoming::new(name("ex"), Asked::Whole, 1 << 20);
    assert_eq!(incoming.take([Arrived { class: 3, ..one("S5") }]), Err(Fault::Class(3)));
    let tsig = record(name("ex"), Type::TSIG, 0, [0].into());
    assert_eq!(incoming.take([Arrived { class: 1, record: tsig }]), Err(Fault::Meta(Type::TSIG)));
    incoming.take(all("S5")).unwrap();
    let endless = std::iter::repeat_with(|| one("a=1"));
    assert_eq!(incoming.take(endless), Err(Fault::TooLong));
}

#[test]
fn changes_are_applied_exactly_or_not_at_all() {
    let zone = || all("S3 a=1 b=2 c=3").into_iter().map(|it| it.record).collect::<Vec<_>>();
    for (texts, expected) in [
        ("S5 S3 a=1 S5 d=4 S5", Ok("S5 b=2 c=3 d=4")),
        ("S5 S3 a=1 S4 a=9 S4 a=9 S5 S5", Ok("S5 b=2 c=3")),
        ("S5 S3 a=1 S4 S4 S5 a=1 S5", Ok("S5 a=1 b=2 c=3")),
        ("S5 S3 S5 a=1 S5", Ok("S5 a=1 b=2 c=3")),
        ("S5 S3 x=1 S5 S5", Err(Fault::NotThere(name("x.ex"), Type::A))),
        ("S5 S3 a=1 S4 S4 a=1 S5 S5", Err(Fault::NotThere(name("a.ex"), Type::A))),
    ] {
        let mut incoming = Incoming::new(name("ex"), Asked::ChangesSince(3), 1 << 20);
        incoming.take(all(texts)).unwrap();
        let Ok(Content::Changes(soa, changes)) = incoming.finish() else { panic!("{texts}") };
        let after = apply(zone(), *soa, changes).map(|records| {
            let mut words: Vec<String> = shown(&records).split(' ').map(str::to_owned).collect();
            words[1..].sort();
            words.join(" ")
        });
        assert_eq!(after, expected.map(str::to_owned), "{texts}");
    }
}
