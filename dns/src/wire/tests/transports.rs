//! Behaviour that depends on the transport: keepalive (RFC 7828), padding (RFC 7830, RFC 8467), the rules
//! of QUIC (RFC 9250), and how long HTTP may keep an answer (RFC 8484 §5.1).

use std::time::Duration;

use super::*;

const KEEPALIVE: &[u8] = &[0, 11, 0, 0];
const PADDING: &[u8] = &[0, 12, 0, 3, 0, 0, 0];
const COOKIE: &[u8] = &[0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8];

/// With the ID that DNS over QUIC wants.
fn soa(options: &[u8]) -> Vec<u8> {
    with_id_0(&ask("ex.", Type::SOA).edns(0, 0, 1232, options))
}

fn with_id_0(ask: &Ask) -> Vec<u8> {
    let mut bytes = ask.bytes();
    bytes[..2].fill(0);
    bytes
}

#[test]
fn the_idle_timeout_is_told_on_streams_to_who_asks() {
    let mut world = world(&[("ex.", EX)]);
    for (seconds, tenths) in [(10, 100_u16), (0, 0), (100_000, u16::MAX)] {
        world.protocol.idle_timeout = Duration::from_secs(seconds);
        for (transport, told) in [
            (Transport::Udp, false),
            (Transport::Tcp, true),
            (Transport::Tls, true),
            (Transport::Https, false),
        ] {
            let option = [&[0, 11, 0, 2][..], &tenths.to_be_bytes()].concat();
            let asked = reply(&world, &soa(KEEPALIVE), transport);
            assert_eq!(asked.ends_with(&option), told, "{transport:?} {asked:x?}");
            let not_asked = reply(&world, &soa(b""), transport);
            assert!(not_asked.ends_with(&[0, 0, 0, 0, 0, 0]), "{transport:?}: an empty OPT");
        }
    }
}

#[test]
fn who_is_to_close_is_told_so_with_every_opt_record_on_a_stream() {
    const CLOSE: &[u8] = &[0, 6, 0, 11, 0, 2, 0, 0];
    let mut world = world(&[("ex.", EX)]);
    world.protocol.idle_timeout = Duration::from_secs(10);
    let without = with_id_0(&ask("ex.", Type::SOA));
    let later = with_id_0(&ask("ex.", Type::SOA).edns(1, 0, 1232, b""));
    let chaos = with_id_0(&ask("ex.", Type::SOA).class(3).edns(0, 0, 1232, b""));
    for transport in Transport::ALL {
        let answer = |packet: &[u8], is_to_close| {
            let (client, mut out) = (Client { is_to_close, ..client(transport) }, Vec::new());
            let outcome = respond(&world, &mut Limits::default(), packet, &client, moment(), &mut out);
            assert!(matches!(outcome, Outcome::Sent(_)), "{transport:?} {outcome:?}");
            out
        };
        let told = matches!(transport, Transport::Tcp | Transport::Tls);
        // In QUIC a client must not ask (RFC 9250 §5.5.2).
        let asking = if transport == Transport::Quic { soa(b"") } else { soa(KEEPALIVE) };
        for packet in [soa(b""), asking] {
            assert_eq!(answer(&packet, true).ends_with(CLOSE), told, "{transport:?}");
            assert!(!answer(&packet, false).ends_with(CLOSE), "{transport:?}: it may stay");
        }
        // A refusal, too, says so, beside its extended error.
        let refused = answer(&chaos, true);
        assert_eq!(refused.windows(6).any(|bytes| bytes == &CLOSE[2..]), told, "{transport:?}");
        // RFC 6891 §6.1.1, §6.1.3: no OPT record without one, and no options of a version that is not the client's.
        for packet in [&without, &later] {
            assert_eq!(answer(packet, true), answer(packet, false), "{transport:?}");
        }
    }
}

#[test]
fn who_pads_is_padded_for_where_nobody_else_can_read() {
    let mut text = EX.to_owned();
    for (name, bytes) in [("short", 1), ("long", 250)] {
        text += &format!("{name} TXT {0} {0}\n", "x".repeat(bytes));
    }
    let secrets = Secrets { active: [7; 16], accepted: Vec::new() };
    let mut world = world(&[("ex.", &text)]);
    world.protocol.cookies = Some(secrets);
    for (qname, qtype, options, blocks) in [
        ("ex.", Type::SOA, PADDING.to_vec(), 1),
        ("short.ex.", Type::TXT, [PADDING, COOKIE].concat(), 1),
        ("long.ex.", Type::TXT, PADDING.to_vec(), 2),
        ("nope.ex.", Type::A, [PADDING, PADDING].concat(), 1),
        ("elsewhere.", Type::A, PADDING.to_vec(), 1),
    ] {
        let padded = with_id_0(&ask(qname, qtype).edns(0, 0, 1232, &options));
        let plain = reply(&world, &padded, Transport::Tcp);
        for transport in [Transport::Tls, Transport::Https, Transport::Quic] {
            let reply = reply(&world, &padded, transport);
            assert_eq!(reply.len(), blocks * 468, "{qname} {transport:?}");
            let opt = hickory_proto::op::Message::from_vec(&reply).unwrap().edns.unwrap();
            let padding = opt.options().get(hickory_proto::rr::rdata::opt::EdnsCode::Padding);
            assert!(padding.is_some(), "{qname}");
            assert_eq!(reply[..plain.len()].len(), plain.len());
            assert!(reply[plain.len() + 4..].iter().all(|byte| *byte == 0), "{qname}: only zeros behind");
        }
        assert_ne!(plain.len() % 468, 0, "not where everybody can read");
    }
    for transport in Transport::ALL {
        let reply = reply(&world, &soa(b""), transport);
        assert!(reply.len() < 100, "{transport:?}: who does not pad is not padded for");
    }
}

/// Padding never makes a message larger than one can be.
#[test]
fn padding_ends_where_a_message_does() {
    for bytes in [65_535 - 468, 65_530, 65_531, 65_532, 65_535] {
        let mut message = vec![1; bytes - 11];
        message.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
        padding::pad(11, &mut message);
        let expected = if bytes <= 65_531 { 65_535 } else { bytes };
        assert!(message.len() <= expected && message.len() >= bytes, "{bytes}: {}", message.len());
        assert!(message.len().is_multiple_of(468) || message.len() == expected, "{bytes}");
    }
}

#[test]
fn quic_has_no_ids_and_no_keepalive() {
    let world = world(&[("ex.", EX)]);
    let send = |packet: &[u8], transport| {
        let mut out = Vec::new();
        match respond(&world, &mut Limits::default(), packet, &client(transport), moment(), &mut out) {
            Outcome::Sent(_) => None,
            Outcome::Silent(why) => Some(why),
        }
    };
    let with_id = ask("ex.", Type::SOA).edns(0, 0, 1232, b"").bytes();
    for transport in Transport::ALL {
        let fatal = (transport == Transport::Quic).then_some(Why::NotOverQuic);
        assert_eq!(send(&soa(b""), transport), None);
        assert_eq!(send(&with_id, transport), fatal);
        assert_eq!(send(&soa(KEEPALIVE), transport), fatal);
    }
}

#[test]
fn http_may_keep_an_answer_for_its_least_ttl() {
    let text = "@ SOA ns1 h 1 2 3 4 100\n@ NS ns1\nns1 A 192.0.2.1\nwww 600 A 192.0.2.2\n\
        alias 50 CNAME www\nlost 700 CNAME gone\nsub NS ns.sub\nns.sub A 192.0.2.3\n";
    let world = world(&[("ex.", text)]);
    for (qname, qtype, expected) in [
        ("www.ex.", Type::A, Some(600)),
        ("alias.ex.", Type::A, Some(50)),
        ("gone.ex.", Type::A, Some(100)),
        ("lost.ex.", Type::A, Some(100)),
        ("www.ex.", Type::MX, Some(100)),
        ("x.sub.ex.", Type::A, None),
        ("elsewhere.", Type::A, None),
    ] {
        let reply = reply(&world, &with_opt(qname, qtype), Transport::Https);
        assert_eq!(ttl::least(&reply), expected, "{qname} {qtype}");
        for end in 0..reply.len().saturating_sub(11) {
            assert_eq!(ttl::least(&reply[..end]), None, "{qname}: cut at {end}");
        }
    }
}

fn with_opt(qname: &str, qtype: Type) -> Vec<u8> {
    ask(qname, qtype).edns(0, 0, 1232, b"").bytes()
}
