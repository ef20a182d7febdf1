//! A database of three networks, written as MaxMind's format says (version 2.0).

use super::*;
use crate::config::load;

/// A value of the data section.
enum Value<'v> {
    Text(&'v str),
    Short(u16),
    Number(u32),
    Long(u64),
    Double(f64),
    Map(Vec<(&'v str, Value<'v>)>),
    List(Vec<Value<'v>>),
}

impl Value<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        // Type and size in one byte; types beyond 7 have a byte of their own.
        let mut head = |kind: u8, size: usize| {
            let size = u8::try_from(size).unwrap();
            assert!(size < 29 || kind == 2);
            let (short, rest) = if size < 29 { (size, None) } else { (29, Some(size - 29)) };
            match kind {
                1..=7 => out.push(kind << 5 | short),
                _ => out.extend([short, kind - 7]),
            }
            out.extend(rest);
        };
        match self {
            Self::Text(text) => {
                head(2, text.len());
                out.extend(text.as_bytes());
            }
            Self::Short(number) => {
                head(5, 2);
                out.extend(number.to_be_bytes());
            }
            Self::Long(number) => {
                head(9, 8);
                out.extend(number.to_be_bytes());
            }
            Self::Number(number) => {
                head(6, 4);
                out.extend(number.to_be_bytes());
            }
            Self::Double(number) => {
                head(3, 8);
                out.extend(number.to_be_bytes());
            }
            Self::Map(entries) => {
                head(7, entries.len());
                for (key, value) in entries {
                    Value::Text(key).write(out);
                    value.write(out);
                }
            }
            Self::List(values) => {
                head(11, values.len());
                values.iter().for_each(|value| value.write(out));
            }
        }
    }
}

/// A database of IPv4 networks and the countries that they are in.
pub(crate) fn of_countries(networks: &[(&str, &'static str)]) -> Vec<u8> {
    let networks: Vec<_> = networks.iter().map(|(net, code)| (*net, country("EU", code))).collect();
    database(&networks)
}

/// A database of IPv4 networks and their records.
fn database(networks: &[(&str, Value<'_>)]) -> Vec<u8> {
    let mut nodes: Vec<[Option<usize>; 2]> = vec![[None; 2]];
    let (mut data, mut leaves) = (Vec::new(), Vec::new());
    for (net, value) in networks {
        let IpNet::V4(net) = net.parse::<IpNet>().unwrap() else { panic!("IPv4") };
        let offset = data.len();
        value.write(&mut data);
        let mut at = 0;
        for bit in 0..net.prefix_len() {
            let side = (net.network().to_bits() >> (31 - bit) & 1) as usize;
            if bit + 1 == net.prefix_len() {
                leaves.push((at, side, offset));
                break;
            }
            let next = nodes.len();
            at = match nodes[at][side] {
                Some(next) => next,
                None => {
                    nodes[at][side] = Some(next);
                    nodes.push([None; 2]);
                    next
                }
            };
        }
    }
    let count = nodes.len();
    let mut records: Vec<[usize; 2]> =
        nodes.iter().map(|node| node.map(|next| next.unwrap_or(count))).collect();
    leaves.into_iter().for_each(|(at, side, offset)| records[at][side] = count + 16 + offset);
    let mut out = Vec::new();
    for record in records.concat() {
        out.extend_from_slice(&u32::try_from(record).unwrap().to_be_bytes());
    }
    out.extend([0; 16]);
    out.extend(data);
    out.extend(b"\xab\xcd\xefMaxMind.com");
    let metadata = Value::Map(vec![
        ("node_count", Value::Number(u32::try_from(count).unwrap())),
        ("record_size", Value::Short(32)),
        ("ip_version", Value::Short(4)),
        ("database_type", Value::Text("Test-City")),
        ("languages", Value::List(vec![])),
        ("binary_format_major_version", Value::Short(2)),
        ("binary_format_minor_version", Value::Short(0)),
        ("build_epoch", Value::Long(1)),
        ("description", Value::Map(vec![])),
    ]);
    metadata.write(&mut out);
    out
}

fn country(continent: &'static str, code: &'static str) -> Value<'static> {
    Value::Map(vec![
        ("continent", Value::Map(vec![("code", Value::Text(continent))])),
        ("country", Value::Map(vec![("iso_code", Value::Text(code))])),
    ])
}

fn located(latitude: f64, longitude: f64) -> Value<'static> {
    let at = vec![("latitude", Value::Double(latitude)), ("longitude", Value::Double(longitude))];
    Value::Map(vec![("location", Value::Map(at))])
}

const CONFIG: &str = "zones = \"z\"\nlisten = [\"127.0.0.1:53\"]\n[steer]\ndatabase = \"geo.mmdb\"\n\
    [[steer.place]]\nname = \"eu\"\ncountries = [\"DE\"]\nat = [50.1, 8.7]\n\
    [[steer.place]]\nname = \"us\"\ncontinents = [\"NA\"]\nat = [40.7, -74.0]\nclients = [\"198.51.100.0/28\"]\n";

#[test]
fn the_networks_of_a_database_are_clients_of_places_and_a_new_file_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let (config, path) = (folder.path().join("dns.toml"), folder.path().join("geo.mmdb"));
    fs::write(&config, CONFIG).unwrap();
    let networks = [
        ("198.51.100.0/24", country("EU", "DE")),
        ("203.0.113.0/25", country("NA", "CA")),
        ("192.0.2.0/24", located(48.9, 2.4)),
    ];
    fs::write(&path, database(&networks)).unwrap();
    let read = load(&config).unwrap();
    let places = &read.steer.places;
    for (address, place, bits) in [
        ([198, 51, 100, 99], Some(0), 26),
        ([198, 51, 100, 9], Some(1), 28),
        ([203, 0, 113, 9], Some(1), 25),
        ([203, 0, 113, 200], None, 25),
        ([192, 0, 2, 9], Some(0), 24),
    ] {
        assert_eq!((places.find(address.into()), places.bits(address.into())), (place, bits), "{address:?}");
    }
    assert_eq!(places.all()[0].near, [0, 1], "by distance");
    let known = read.database.as_ref().unwrap();
    assert!(!known.is_new());
    fs::write(folder.path().join("new"), database(&[("198.51.100.0/24", country("NA", "US"))])).unwrap();
    fs::rename(folder.path().join("new"), &path).unwrap();
    assert!(known.is_new());
    let again = load(&config).unwrap();
    assert_ne!(again, read);
    assert_eq!(again.steer.places.find([198, 51, 100, 99].into()), Some(1));
}

#[test]
fn a_database_that_cannot_be_read_is_a_fault_at_its_place_and_the_rest_of_the_config_holds() {
    let folder = tempfile::tempdir().unwrap();
    let (config, path) = (folder.path().join("dns.toml"), folder.path().join("geo.mmdb"));
    fs::write(&config, CONFIG).unwrap();
    let good = database(&[("198.51.100.0/24", country("EU", "DE"))]);
    for bad in [None, Some(&b""[..]), Some(b"zone file"), Some(&good[..good.len() / 2])] {
        bad.into_iter().for_each(|bad| fs::write(&path, bad).unwrap());
        let read = load(&config).unwrap();
        let database = read.database.as_ref().unwrap();
        let error = database.fault().unwrap().to_string();
        assert!(
            error.contains("dns.toml:4:12: error: the database") && error.contains("geo.mmdb"),
            "{error}"
        );
        assert!(!database.is_new(), "the same file is not tried again");
        let places = &read.steer.places;
        let find = |last| places.find([198, 51, 100, last].into());
        assert_eq!((find(9), find(99)), (Some(1), None), "prefixes alone say where clients are");
    }
    for (place, expected) in [
        ("countries = [\"de\"]", "`de` is no country"),
        ("continents = [\"XX\"]", "`XX` is no continent"),
        ("regions = [\"CA\"]", "`CA` is no part of a country"),
        ("at = [91.0, 0.0]", "out of range"),
    ] {
        let text = format!(
            "zones = \"z\"\nlisten = [\"127.0.0.1:53\"]\n[steer]\ndatabase = \"geo.mmdb\"\n[[steer.place]]\nname = \"a\"\n{place}\n"
        );
        fs::write(&config, text).unwrap();
        let error = load(&config).unwrap_err().to_string();
        assert!(error.contains("dns.toml:7:") && error.contains(expected), "{error}");
    }
    fs::write(
        &config,
        "zones = \"z\"\nlisten = [\"127.0.0.1:53\"]\n[[steer.place]]\nname = \"a\"\ncountries = [\"DE\"]\n",
    )
    .unwrap();
    let error = load(&config).unwrap_err().to_string();
    assert!(error.contains("dns.toml:5:14") && error.contains("database = "), "{error}");
}
