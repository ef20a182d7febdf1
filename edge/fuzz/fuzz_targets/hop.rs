//! Heads to origins: nothing of the connection, our own fields whatever the client says, and never twice.
#![no_main]

use http::{HeaderMap, Method, Version};
use libfuzzer_sys::fuzz_target;
use verge_edge::http::head::HeadLimits;
use verge_edge::policy::headers::origin::{Ask, Hop, fields};
use verge_edge::policy::headers::received;
use verge_edge::policy::headers::withheld::withheld;
use verge_edge_fuzz::{field, get};

const HOP: Hop<'_> = Hop {
    name: "edge-1",
    client: std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)),
    version: Version::HTTP_11,
    limits: HeadLimits { bytes: 1 << 20, target_bytes: 1 << 16, fields: 1_000 },
};

fuzz_target!(|input: (&[u8], &[u8], &[u8], &[u8])| {
    let (connection, loops, via, any) = input;
    let mut headers = HeaderMap::new();
    let names = ["connection", "cdn-loop", "via", "x-forwarded-for", "x-original-url", "te", "upgrade", "x-any"];
    for (name, bytes) in names.into_iter().zip([connection, loops, via, any, any, any, any, any]) {
        headers.extend(field(name, bytes));
    }
    let request = received(get(b"http://a.example/", headers).expect("a URI"), &[]);
    assert!(request.headers.keys().all(|name| withheld(name, &Method::GET, &[]).is_none()));
    let Ok(sent) = fields(&request, &Ask::AsSent, &HOP) else { return };
    for name in ["connection", "te", "upgrade", "keep-alive", "proxy-connection", "transfer-encoding"] {
        assert!(!sent.contains_key(name), "{name}");
    }
    let values = |name: &str| sent.get_all(name).iter().cloned().collect::<Vec<_>>();
    assert_eq!(values("x-forwarded-for"), ["192.0.2.1"]);
    let last = |name| values(name).last().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    assert!(last("cdn-loop").is_some_and(|value| value.ends_with("edge-1")));
    assert!(last("via").is_some_and(|value| value.ends_with("1.1 edge-1")));
    let again = received(get(b"http://a.example/", sent).expect("a URI"), &[]);
    assert!(fields(&again, &Ask::AsSent, &HOP).is_err(), "a loop ends here");
});
