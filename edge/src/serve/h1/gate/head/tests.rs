use super::*;
use crate::http::head::{FIELDS, TARGET_BYTES};

const MAX_BYTES: usize = 16 * 1024;

fn refused(head: &str, refusal: Refusal) {
    assert_eq!(read(head.as_bytes(), MAX_BYTES), Reading::Refused(refusal), "{head:?}");
}

fn whole(head: &str, body: Body, after: After) {
    let expected = Reading::Whole(Head { len: head.len(), body, after, is_raw: false });
    assert_eq!(read(format!("{head}GET /").as_bytes(), MAX_BYTES), expected, "{head:?}");
    for end in 0..head.len() {
        assert_eq!(read(&head.as_bytes()[..end], MAX_BYTES), Reading::Partial, "{head:?} up to {end}");
    }
}

/// A request line alone decides.
fn line(line: &str, refusal: Refusal) {
    refused(&format!("{line}\r\nHost: a\r\n\r\n"), refusal);
}

fn fields(fields: &str, refusal: Refusal) {
    refused(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n"), refusal);
}

fn host(fields: &str, refusal: Refusal) {
    refused(&format!("GET / HTTP/1.1\r\n{fields}\r\n"), refusal);
}

#[test]
fn a_plain_request_passes_and_ends_at_its_empty_line() {
    for start in [
        "GET / ",
        "HEAD /a?b=c[]&e=%20 ",
        "OPTIONS * ",
        "PURGE /a/../b;c ",
        "GET http://A ",
        "get HTTPS://a/b?c ",
    ] {
        whole(
            &format!("{start}HTTP/1.1\r\nhost:\ta \r\nX: \u{e9}\r\nEmpty:\r\n\r\n"),
            Body::None,
            After::Request,
        );
    }
    whole("GET / HTTP/1.0\r\n\r\n", Body::None, After::Request);
    whole("\r\nGET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", Body::None, After::Request);
}

#[test]
fn fields_frame_the_body() {
    let post = |field: &str, body| {
        whole(&format!("POST / HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n"), body, After::Request);
    };
    post("Content-Length: 0", Body::None);
    post("content-length:5", Body::Sized(5));
    post("Content-Length: 18446744073709551613", Body::Sized(u64::MAX - 2));
    post("TRANSFER-ENCODING: Chunked", Body::Chunked);
    post("Expect: 100-Continue\r\nContent-Length: 5", Body::Sized(5));
}

#[test]
fn a_switch_of_protocols_waits_for_its_answer() {
    whole("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\n\r\n", Body::None, After::Answer);
    whole(
        "POST / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\n",
        Body::Sized(2),
        After::Answer,
    );
    whole("GET / HTTP/1.0\r\nHost: a\r\nUpgrade: h2c\r\n\r\n", Body::None, After::Request);
    whole("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", Body::None, After::Answer);
}

#[test]
fn a_request_line_is_three_words_and_two_spaces() {
    let bad = [
        " GET / HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET / http/1.1",
        "G(T / HTTP/1.1",
        "GET / HTTP/11",
        "GET / HTTPS/1.1",
        "\nGET / HTTP/1.1",
        "\rGET / HTTP/1.1",
        "\r\n\r\nGET / HTTP/1.1",
        "\u{16}\u{3}\u{1}",
        "GET / ",
        "GET / x HTTP/1.1",
    ];
    for bad in bad {
        line(bad, Refusal::BadRequestLine);
    }
    line("GET  / HTTP/1.1", Refusal::BadTarget);
    line("GET /", Refusal::BadTarget);
}

#[test]
fn a_target_has_a_form_its_method_takes() {
    for bad in [
        "GET p",
        "GET *",
        "GET a:80",
        "CONNECT /p",
        "CONNECT a",
        "CONNECT http://a:80/",
        "OPTIONS **",
        "GET http:///p",
        "GET http://u@a/",
        "GET http://u:p@a/",
        "GET ftp://a/",
        "GET http:/a",
        "GET http://a:x/",
    ] {
        line(&format!("{bad} HTTP/1.1"), Refusal::BadTarget);
    }
}

#[test]
fn a_target_holds_no_fragment_no_control_and_no_backslash_in_its_path() {
    for bad in ["/#f", "/a?b#f", "/a\\b", "/a\u{7f}", "/a\0b", "/a\tb", "/\u{e9}#", "/<\\>", "http://\u{e9}/"]
    {
        line(&format!("GET {bad} HTTP/1.1"), Refusal::BadTarget);
    }
}

/// RFC 3986 §2.1: one spelling, so that there is one key.
#[test]
fn a_target_is_encoded_where_clients_do_not() {
    let check = |sent: &[u8], expected: &str| {
        let tail = b" HTTP/1.1\r\nHost: a\r\nX: \"<>\r\n\r\n";
        let head = [b"GET ", sent, tail].concat();
        let Reading::Whole(read_head) = read(&head, MAX_BYTES) else { panic!("{expected}") };
        assert!(read_head.is_raw && read_head.len == head.len(), "{expected}");
        let encoded = encoded(&head);
        assert_eq!(encoded, [b"GET ", expected.as_bytes(), tail].concat(), "{expected}");
        assert!(
            matches!(read(&encoded, MAX_BYTES), Reading::Whole(Head { is_raw: false, .. })),
            "{expected}"
        );
    };
    check("/\u{dc}ber.pdf".as_bytes(), "/%C3%9Cber.pdf");
    check(b"/\xdcber", "/%DCber");
    check("/s?q=gr\u{f6}\u{df}e".as_bytes(), "/s?q=gr%C3%B6%C3%9Fe");
    check(b"/q?query=up{job=\"x\"}", "/q?query=up%7Bjob=%22x%22%7D");
    check(b"/?x=<b>", "/?x=%3Cb%3E");
    check(b"/a|b^c`d<e>?f|g^h`i", "/a%7Cb%5Ec%60d%3Ce%3E?f%7Cg%5Eh%60i");
    check(b"/100%?\"", "/100%?%22");
    check(b"http://a/\xff", "http://a/%FF");
}

/// RFC 9112 §3.2.4.
#[test]
fn options_of_a_host_alone_is_about_the_server() {
    let check = |target: &str, expected: &str| {
        for before in ["", "\r\n"] {
            let head = |target| format!("{before}OPTIONS {target} HTTP/1.1\r\nHost: a\r\n\r\n");
            let (sent, expected) = (head(target), head(expected));
            let Reading::Whole(read) = read(sent.as_bytes(), MAX_BYTES) else { panic!("{sent}") };
            assert_eq!(read.is_raw, sent != expected, "{sent}");
            assert!(!read.is_raw || encoded(sent.as_bytes()) == expected.as_bytes(), "{sent}");
        }
    };
    check("http://a", "*");
    check("HTTPS://a:443", "*");
    for target in ["http://a/", "http://a?b", "*", "/"] {
        check(target, target);
    }
    let Reading::Whole(get) = read(b"GET http://a HTTP/1.1\r\nHost: a\r\n\r\n", MAX_BYTES) else { panic!() };
    assert!(!get.is_raw);
}

#[test]
fn other_versions_are_not_supported() {
    for version in ["2.0", "0.9", "3.0", "2.1"] {
        line(&format!("GET / HTTP/{version}"), Refusal::OtherVersion);
    }
    line("PRI * HTTP/2.0", Refusal::OtherVersion);
}

/// RFC 9110 §2.5.
#[test]
fn a_later_version_of_http_1_is_read_as_1_1() {
    for minor in 2..=9 {
        for target in ["/", "/\u{e9}", "http://a/"] {
            let tail = "Host: a\r\nTransfer-Encoding: chunked\r\n\r\n";
            let head = format!("POST {target} HTTP/1.{minor}\r\n{tail}");
            let Reading::Whole(later) = read(head.as_bytes(), MAX_BYTES) else { panic!("{head}") };
            assert_eq!((later.is_raw, later.body), (true, Body::Chunked), "{head}");
            let target = target.replace('\u{e9}', "%C3%A9");
            let expected = format!("POST {target} HTTP/1.1\r\n{tail}");
            assert_eq!(encoded(head.as_bytes()), expected.as_bytes(), "{head}");
        }
        line(&format!("GET /p#f HTTP/1.{minor}"), Refusal::BadTarget);
        refused(&format!("GET / HTTP/1.{minor}\r\n\r\n"), Refusal::NoHost);
    }
}

#[test]
fn one_host_names_whom_the_request_is_for() {
    host("", Refusal::NoHost);
    host("Host: a\r\nhost: a\r\n", Refusal::ManyHosts);
    for bad in ["", "a,b", "a b", "a/../b@c", "u@a", "a:x", "a#b"] {
        host(&format!("Host: {bad}\r\n"), Refusal::BadHost);
    }
    refused("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", Refusal::ManyHosts);
}

#[test]
fn host_and_target_agree() {
    line("GET http://b/ HTTP/1.1", Refusal::HostDiffers);
    for target in ["http://a:81/", "http://a:443/", "https://a:80/", "http://aa/"] {
        line(&format!("GET {target} HTTP/1.1"), Refusal::HostDiffers);
    }
    for (target, host) in [
        ("http://a:80/", "a"),
        ("http://a/", "A:80"),
        ("http://a:/", "a:080"),
        ("https://a:443/", "a"),
        ("http://[::1]/", "[::1]:80"),
    ] {
        whole(&format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"), Body::None, After::Request);
    }
    line("GET http://b/ HTTP/1.0", Refusal::HostDiffers);
    line("CONNECT b:80 HTTP/1.1", Refusal::HostDiffers);
}

#[test]
fn a_length_is_one_plain_number() {
    for bad in [
        "005",
        "00",
        "+5",
        "-5",
        "5,5",
        "5, 5",
        "5 5",
        "0x5",
        "",
        "5.0",
        "5\u{b2}",
        "18446744073709551614",
        "99999999999999999999",
    ] {
        fields(&format!("Content-Length: {bad}"), Refusal::BadLength);
    }
    fields("Content-Length: 5\r\nContent-Length: 5", Refusal::ManyLengths);
    fields("Content-Length: 0\r\ncontent-length: 0", Refusal::ManyLengths);
}

#[test]
fn a_coding_is_chunked_once() {
    for bad in [
        "chunked, chunked",
        "chunked, gzip",
        "identity",
        "gzip",
        "xchunked",
        "",
        ",chunked",
        "chunked,",
        "chunked;q=1",
        "\"chunked\"",
        "gzip,,chunked",
        "gzip chunked",
    ] {
        fields(&format!("Transfer-Encoding: {bad}"), Refusal::BadCoding);
    }
    fields("Transfer-Encoding: gzip, chunked", Refusal::OtherCoding);
    fields("Transfer-Encoding: identity,\tchunked", Refusal::OtherCoding);
    fields("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", Refusal::ManyCodings);
    refused("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", Refusal::CodingInOldVersion);
}

#[test]
fn nothing_frames_a_body_twice() {
    fields("Content-Length: 5\r\nTransfer-Encoding: chunked", Refusal::LengthAndCoding);
    fields("Transfer-Encoding: chunked\r\nContent-Length: 0", Refusal::LengthAndCoding);
    for twin in
        ["Transfer_Encoding: chunked", "transfer_encoding: x", "Content_Length: 5", "CONTENT_LENGTH: 5"]
    {
        fields(twin, Refusal::LookAlike);
    }
    refused("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nContent-Length: 0\r\n\r\n", Refusal::BodyBeforeTunnel);
    refused(
        "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nTransfer-Encoding: chunked\r\n\r\n",
        Refusal::BodyBeforeTunnel,
    );
}

#[test]
fn an_expectation_is_known() {
    for bad in ["y 100-continue", "200-ok", "", "100-continue, 100-continue", "100-continue;a"] {
        fields(&format!("Expect: {bad}"), Refusal::OtherExpectation);
    }
}

#[test]
fn a_field_is_a_token_a_colon_and_a_value() {
    for bad in [
        "A : b",
        " A: b",
        "\tA: b",
        ": b",
        "A",
        "A b: c",
        "A\0: b",
        "Content-Length\u{b}: 5",
        "\u{e9}: a",
        "a(: b",
    ] {
        fields(bad, Refusal::BadFieldName);
    }
    fields("A: b\r\n c", Refusal::BadFieldName);
    for bad in ["A: \0", "A: \u{1}", "A: b\u{7f}", "A: 12345678\u{b}12345678"] {
        fields(bad, Refusal::BadFieldValue);
    }
}

#[test]
fn a_line_ends_in_crlf_and_nowhere_else() {
    for bad in ["A: b\nC: d", "A: b\rC: d", "A: b\r\r\nC: d", "A: b\n", "A: b\r\n\nC: d", "A: b\r\n\rC: d"] {
        fields(bad, Refusal::BareLineEnd);
    }
    line("GET / HTTP/1.1\r\n\n", Refusal::BareLineEnd);
    refused("GET / HTTP/1.1\nHost: a\n\n", Refusal::BadRequestLine);
}

#[test]
fn everything_has_a_limit() {
    line(&format!("{} / HTTP/1.1", "A".repeat(MAX_METHOD_BYTES + 1)), Refusal::LongMethod);
    line(&format!("GET /{} HTTP/1.1", "a".repeat(TARGET_BYTES)), Refusal::LongTarget);
    fields(&["A: b"; FIELDS].join("\r\n"), Refusal::ManyFields);
    fields(&format!("A: {}", "b".repeat(MAX_BYTES)), Refusal::LongHead);
    refused(&format!("GET /{}", "a".repeat(MAX_BYTES)), Refusal::LongTarget);
}

#[test]
fn reading_again_is_worth_it_when_a_line_ended_badly_or_the_head_ended() {
    let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for seen in 0..head.len() {
        assert!(worth_reading(head, seen));
        assert!(!worth_reading(&head[..head.len() - 1], seen));
    }
    assert!(worth_reading(b"GET / HTTP/1.1\nHost: a", 10));
    assert!(!worth_reading(b"GET / HTTP/1.1\nHost: a", 15));
}
