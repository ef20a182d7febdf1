use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;

use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::{A, NS, SOA};
use hickory_proto::rr::{Name as HickoryName, RData, Record, RecordType};

use super::*;
use crate::command::Source;
use crate::command::doctor::{Args, delegations};
use crate::config;
use crate::zone::tree::testing::view;

/// The key of RFC 4034 §5.4.
const KEY: &str = "256 3 5 AQOeiiR0GOMYkDshWoSKz9XzfwJr1AYtsmx3TGkJaNXVbfi/2pHm822aJ5iI9BMzNXxeYCmZDRD99WYwYqUSdjMmmAphXdvxegXd/M5+X7OrzKBaMbCVdFLUUh6DhweJBjEVv5f2wwjM9XzcnOf+EPbtG9DMBmADjFDc2w/rljwvFw==";

fn zone(more: &str) -> Own {
    let text = format!("@ SOA ns1 h 1 2 3 4 5\n@ NS ns1\n@ NS ns.other.net.\nns1 A 192.0.2.1\n{more}");
    owns(&view(&[("example.com.", &text)])).remove(0)
}

fn servers(named: &[(&str, &[&str])]) -> Servers {
    let addresses = |all: &[&str]| all.iter().map(|address| address.parse().unwrap()).collect();
    named.iter().map(|(name, all)| ((*name).to_owned(), addresses(all))).collect()
}

/// Servers with their addresses, and DS records.
type Parents<'a> = (&'a [(&'a str, &'a [&'a str])], Vec<Vec<u8>>);

#[track_caller]
fn check(own: &Own, delegated: Option<Parents<'_>>, expected: &[(&str, &str)]) {
    let delegated = delegated.map(|(named, ds)| Delegated { servers: servers(named), ds });
    let told = advice(own, "com.", delegated.as_ref());
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (told, (what, cure)) in told.iter().zip(expected) {
        assert!(told.what.contains(what) && told.cure.contains(cure), "{told:#?}, not {what} {cure}");
    }
}

const OTHER: (&str, &[&str]) = ("ns.other.net.", &[]);

#[test]
fn what_the_parent_has_otherwise_than_the_zone_is_told_with_what_to_enter() {
    let own = zone("");
    let inside = |addresses: &'static [&'static str]| ("ns1.example.com.", addresses);
    check(&own, Some((&[inside(&["192.0.2.1"]), OTHER], vec![])), &[]);
    check(
        &own,
        None,
        &[("com. does not delegate example.com.", "name servers: ns.other.net., ns1.example.com.")],
    );
    let missing = ("does not name ns.other.net.", "take `example.com. NS ns.other.net.` out of the zone");
    check(&own, Some((&[inside(&["192.0.2.1"])], vec![])), &[missing]);
    let old = ("old.example.com.", &["192.0.2.9"][..]);
    let extra =
        ("names old.example.com. for example.com., and the zone does not", "have the registrar remove it");
    check(&own, Some((&[inside(&["192.0.2.1"]), OTHER, old], vec![])), &[extra]);
    let glue =
        ("com. gives 192.0.2.7 for ns1.example.com., and the zone 192.0.2.1", "ns1.example.com.: 192.0.2.1");
    check(&own, Some((&[inside(&["192.0.2.7"]), OTHER], vec![])), &[glue]);
    let none = ("com. gives no address of ns1.example.com.", "ns1.example.com.: 192.0.2.1");
    check(&own, Some((&[inside(&[]), OTHER], vec![])), &[none]);
}

#[test]
fn a_ds_that_fits_no_key_is_an_error_and_the_right_one_is_printed() {
    let all: &[(&str, &[&str])] = &[("ns1.example.com.", &["192.0.2.1"]), OTHER];
    let signed = Own { keys: vec![[&[1, 1, 3, 13], &[7; 64][..]].concat()], ..zone("") };
    let right = ds_of(&signed.apex, &signed.keys[0]).unwrap();
    let tag = key_tag(&signed.keys[0]);
    assert!(right.starts_with(&format!("example.com. DS {tag} 13 2 ")), "{right}");
    let ds = |kind: u8, digest: &[u8]| [&tag.to_be_bytes()[..], &[13, kind], digest].concat();
    let good = ds(2, &digested(&SHA256, &signed.apex, &signed.keys[0]));
    check(&signed, Some((all, vec![ds(2, &[0; 32]), good.clone()])), &[]);
    check(&signed, Some((all, vec![ds(4, &digested(&SHA384, &signed.apex, &signed.keys[0]))])), &[]);
    check(&signed, Some((all, vec![ds(99, b"?")])), &[]);
    let other = ("is of a key of the zone: validating resolvers answer SERVFAIL", &*right);
    check(&signed, Some((all, vec![ds(2, &[0; 32])])), &[other]);
    check(&signed, Some((all, vec![])), &[("nobody validates it", &right)]);
    check(&zone(""), Some((all, vec![good])), &[("which is not signed", "have the registrar remove the DS")]);
    check(&zone(""), Some((all, vec![vec![1]])), &[("which is not signed", "")]);
}

/// RFC 4034 §5.4, RFC 4509 §2.3.
#[test]
fn the_ds_of_a_key_is_as_the_rfcs_have_it() {
    let apex = Name::parse_absolute("dskey.example.com.").unwrap();
    let text = format!("@ SOA a b 1 2 3 4 5\n@ NS a.example.\n@ DNSKEY {KEY}\n");
    let view = view(&[("dskey.example.com.", &text)]);
    let Some(Served::Zone(tree)) = view.zones.get(&apex) else { panic!("it is served") };
    let key = tree.apex_node().set(Type::DNSKEY).unwrap().first().unwrap().to_vec();
    assert_eq!(key_tag(&key), 60485);
    let sha1: String =
        digested(&SHA1_FOR_LEGACY_USE_ONLY, &apex, &key).iter().map(|byte| format!("{byte:02X}")).collect();
    assert_eq!(sha1, "2BB183AF5F22588179A53B0A98631FAD1A292118");
    let sha256: String = digested(&SHA256, &apex, &key).iter().map(|byte| format!("{byte:02X}")).collect();
    assert_eq!(sha256, "D4B7D520E7BB5F0F67674A0CCEB1E3E0614B93C4F9E99B8383F6A1E4469DA50A");
    assert!(ds_of(&apex, &key).is_none(), "it does not sign keys");
}

/// A server on a port of its own, and the names that it was asked about.
fn server(
    answer: impl Fn(&HickoryName, RecordType, &mut Message) + Send + 'static,
) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (address, asked) = (socket.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
    let noted = Arc::clone(&asked);
    thread::spawn(move || {
        let mut packet = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut packet) {
            let mut message = Message::from_vec(&packet[..length]).unwrap();
            message.metadata.message_type = MessageType::Response;
            let (name, rtype) = (message.queries[0].name().clone(), message.queries[0].query_type());
            noted.lock().unwrap().push(name.to_ascii());
            answer(&name, rtype, &mut message);
            socket.send_to(&message.to_vec().unwrap(), client).unwrap();
        }
    });
    (address, asked)
}

fn name(text: &str) -> HickoryName {
    HickoryName::from_ascii(text).unwrap()
}

fn ns(owner: &str, server: &str) -> Record {
    Record::from_rdata(name(owner), 60, RData::NS(NS(name(server))))
}

fn a(owner: &str, address: [u8; 4]) -> Record {
    Record::from_rdata(name(owner), 60, RData::A(A(address.into())))
}

#[test]
fn a_parent_is_asked_for_public_zones_and_no_others() {
    let (parent, asked) = server(|_, rtype, message| {
        if rtype == RecordType::NS {
            message
                .authorities
                .extend([ns("Example.com.", "NS1.example.com."), ns("example.com.", "old.net.")]);
            message.additionals.push(a("ns1.example.com.", [192, 0, 2, 7]));
        }
    });
    let text = "@ SOA ns1 h 1 2 3 4 5\n@ NS ns1\nns1 A 192.0.2.1\n";
    let zones = view(&[("example.com.", text), ("sick.example.com.", "broken"), (".", text)]);
    let way = Way { parent: Some(parent), ..Way::default() };
    let looked = looked(&owns(&zones), &way);
    let said: Vec<&str> = looked.advice.iter().map(|advice| advice.what.as_str()).collect();
    let [extra, glue] = said[..] else { panic!("{looked:#?}") };
    assert!(extra.contains("names old.net. for example.com., and the zone does not"), "{extra}");
    assert!(glue.contains("gives 192.0.2.7 for ns1.example.com., and the zone 192.0.2.1"), "{glue}");
    assert_eq!(looked.notes, [""; 0]);
    assert_eq!(*asked.lock().unwrap(), ["example.com.", "example.com."], "NS and DS");
}

#[test]
fn no_parent_hears_of_a_zone_that_has_no_listener_outside() {
    let folder = tempfile::tempdir().unwrap();
    let zones = folder.path().join("zones");
    fs::create_dir(&zones).unwrap();
    fs::write(zones.join("example.com.zone"), "@ SOA ns1 h 1 2 3 4 5\n@ NS ns1\nns1 A 192.0.2.1\n").unwrap();
    let file = folder.path().join("dns.toml");
    let asked_with = |listen: &str| {
        fs::write(&file, format!("zones = \"zones\"\n{listen}")).unwrap();
        let (parent, asked) = server(|_, _, _| ());
        let source = Source { config: Some(file.clone()) };
        let args = Args { source, offline: false, resolver: None, parent: Some(parent) };
        let looked = delegations(&config::load(&file).unwrap(), &args).unwrap();
        (asked.lock().unwrap().clone(), looked.notes)
    };
    let (asked, notes) = asked_with("listen = [\"127.0.0.1:53\"]\n");
    assert_eq!((asked.first().map(String::as_str), notes.len()), (Some("example.com."), 0), "{notes:?}");
    let (asked, notes) = asked_with("[internal]\nlisten = [\"10.0.0.1:53\"]\nclients = [\"10.0.0.0/8\"]\n");
    assert!(asked.is_empty() && notes.len() == 1 && notes[0].contains("no listener outside"), "{notes:?}");
}

#[test]
fn a_parent_that_cannot_tell_is_a_note() {
    let own = [zone("")];
    let note = |parent: SocketAddr| {
        let looked = looked(&own, &Way { parent: Some(parent), ..Way::default() });
        assert!(looked.advice.is_empty(), "{looked:#?}");
        looked.notes.join("\n")
    };
    let (itself, _) = server(|_, _, message| message.answers.push(ns("example.com.", "ns1.example.com.")));
    assert!(note(itself).contains("its servers serve the zone itself"));
    let (refusing, _) = server(|_, _, message| message.metadata.response_code = ResponseCode::Refused);
    assert!(note(refusing).contains("answers"), "{}", note(refusing));
    let (other, _) = server(|_, _, message| message.metadata.id ^= 1);
    let gone = crate::ports::address();
    for silent in [other, gone] {
        assert!(note(silent).contains("does not answer"), "{}", note(silent));
    }
}

#[test]
fn the_parents_are_found_by_a_resolver() {
    let (resolver, _) = server(|owner, rtype, message| {
        let soa = || RData::SOA(SOA::new(name("a."), name("b."), 1, 2, 3, 4, 5));
        match (owner.to_ascii().as_str(), rtype) {
            ("b.example.com.", RecordType::SOA) => {
                message.authorities.push(Record::from_rdata(name("example.com."), 60, soa()));
            }
            ("example.com.", RecordType::NS) => message.answers.push(ns("example.com.", "ns.example.com.")),
            ("ns.example.com.", RecordType::A) => message.answers.push(a("ns.example.com.", [192, 0, 2, 53])),
            _ => message.metadata.response_code = ResponseCode::NXDomain,
        }
    });
    let deadline = crate::clock::now() + std::time::Duration::from_secs(60);
    let find = |apex: &str| parents::find(&Name::parse_absolute(apex).unwrap(), &[resolver], deadline);
    assert_eq!(
        find("a.b.example.com."),
        Ok(("example.com.".to_owned(), vec!["192.0.2.53:53".parse().unwrap()]))
    );
    assert_eq!(find("a.example.net."), Err("no resolver knows example.net.".to_owned()));
    assert!(
        parents::find(&Name::parse_absolute("a.b.").unwrap(), &[], deadline)
            .unwrap_err()
            .contains("--resolver")
    );
}

#[test]
fn an_address_may_have_a_port() {
    assert_eq!(addressed("192.0.2.1"), Ok("192.0.2.1:53".parse().unwrap()));
    assert_eq!(addressed("2001:db8::1"), Ok("[2001:db8::1]:53".parse().unwrap()));
    assert_eq!(addressed("192.0.2.1:5353"), Ok("192.0.2.1:5353".parse().unwrap()));
    assert!(addressed("ns1").is_err());
}
