use super::*;
use crate::rtype::NAMED;

fn name(text: &str) -> Name {
    Name::parse_absolute(text).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn written(rtype: Type, rdata: &[u8]) -> String {
    let mut text = String::new();
    write_rdata(rtype, rdata, &mut text).unwrap();
    text
}

/// `text` means these bytes and is written as `shown`; that is read as the same bytes again.
fn check(rtype: &str, text: &str, wire: &str, shown: &str) {
    let rtype: Type = rtype.parse().unwrap();
    let rdata =
        read_rdata(rtype, text, &name("example.")).unwrap_or_else(|fault| panic!("{text}: {fault:?}"));
    assert_eq!(hex(&rdata), wire.replace(' ', ""), "{rtype} {text}");
    assert_eq!(written(rtype, &rdata), shown, "{rtype} {text}");
    assert_eq!(read_rdata(rtype, shown, &Name::root()).unwrap(), rdata, "{rtype} {shown}");
    let opaque = format!("\\# {} {}", rdata.len(), hex(&rdata));
    assert_eq!(read_rdata(rtype, &opaque, &Name::root()).unwrap(), rdata, "{rtype} {opaque}");
}

#[test]
fn every_type_has_a_text_form_that_goes_both_ways() {
    for line in
        include_str!("forms.txt").lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
    {
        let mut columns = line.split('|').map(str::trim);
        let mut column = || columns.next().unwrap_or_default();
        let (rtype, text, wire, shown) = (column(), column(), column(), column());
        check(rtype, text, wire, if shown.is_empty() { text } else { shown });
    }
}

#[test]
fn no_type_with_a_form_is_left_out_of_the_table() {
    let table = include_str!("forms.txt");
    for (rtype, mnemonic) in NAMED {
        if crate::rdata::shape(*rtype).is_some() {
            assert!(
                table.lines().any(|line| line.split('|').next().unwrap().trim() == *mnemonic),
                "{mnemonic}"
            );
        }
    }
}

/// Asserts the fault of the text, as `code @token: message (help)`.
fn check_fault(rtype: &str, text: &str, expected: &str) {
    let fault = read_rdata(rtype.parse().unwrap(), text, &name("example.")).expect_err(text);
    let token = fault.token.map_or("end".to_owned(), |token| token.to_string());
    let help = fault.help.map(|help| format!(" ({help})")).unwrap_or_default();
    assert_eq!(format!("{} @{token}: {}{help}", fault.code, fault.message), expected, "{rtype} {text}");
}

#[test]
fn bad_rdata_says_what_is_wrong_where() {
    for line in
        include_str!("faults.txt").lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
    {
        let mut columns = line.split('|').map(str::trim);
        let mut column = || columns.next().unwrap();
        check_fault(column(), column(), column());
    }
}

#[test]
fn long_texts_are_refused_with_a_hint() {
    let long = "a".repeat(256);
    check_fault(
        "TXT",
        &long,
        "text-too-long @0: a text has at most 255 bytes, this one has 256 (split it into several texts, each in quotes: \"first part\" \"second part\")",
    );
    let most = format!("\"{}\" ", "a".repeat(255)).repeat(256);
    assert_eq!(read_rdata(Type::TXT, &most, &name(".")).unwrap_err().code, "rdata-too-long");
}

#[test]
fn malformed_rdata_is_written_as_bytes() {
    for (rtype, rdata, expected) in [
        (Type::A, &b"\x0a\0\0"[..], "\\# 3 0A0000"),
        (Type::MX, b"", "\\# 0"),
        (Type(65280), b"\x01\xff", "\\# 2 01FF"),
        (Type::TXT, b"\x05a", "\\# 2 0561"),
        (Type::LOC, &[1; 16], "\\# 16 01010101010101010101010101010101"),
    ] {
        assert_eq!(written(rtype, rdata), expected);
    }
}

#[test]
fn a_record_is_one_line_of_a_zone_file() {
    let mut line = String::new();
    write_record(&name("www.example."), 300, Type::MX, b"\0\x0a\x01m\0", &mut line).unwrap();
    assert_eq!(line, "www.example. 300 IN MX 10 m.");
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    fn any_type() -> impl Strategy<Value = Type> {
        prop_oneof![
            4 => (0..NAMED.len()).prop_map(|index| NAMED[index].0),
            1 => any::<u16>().prop_map(Type),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

        /// Whatever the bytes: text that is accepted means the same bytes again, however it is written.
        #[test]
        fn bytes_to_text_and_back(rtype in any_type(), rdata in prop::collection::vec(any::<u8>(), 0..80)) {
            let text = written(rtype, &rdata);
            match read_rdata(rtype, &text, &Name::root()) {
                Ok(again) => prop_assert_eq!(&*again, rdata.as_slice(), "{} {}", rtype, text),
                Err(_) => prop_assert!(crate::rdata::shape(rtype).is_some(), "{} {}", rtype, text),
            }
        }

        #[test]
        fn any_text_is_read_or_refused(rtype in any_type(), text in "[ -~\\n\u{e9}]{0,60}") {
            if let Ok(rdata) = read_rdata(rtype, &text, &name("example.")) {
                let shown = written(rtype, &rdata);
                prop_assert_eq!(read_rdata(rtype, &shown, &Name::root()), Ok(rdata), "{} {}", rtype, shown);
            }
        }
    }
}
