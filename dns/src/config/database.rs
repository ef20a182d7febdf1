//! The database of `[steer]` that knows where networks are (MaxMind's format), as the places of the config see it.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use maxminddb::{Reader, WithinOptions, geoip2};

use super::{ConfigError, Place};
use crate::steer::geo::{Found, Point, Wanted, place_of};
use crate::steer::place::Places;

/// A larger file is none of ours: the largest city database has a tenth of it.
const MOST_BYTES: u64 = 2 << 30;

/// `database` of `[steer]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// The file.
    pub path: PathBuf,
    /// The clients of each place.
    pub(crate) wanted: Vec<Wanted>,
    /// Where the config names it.
    pub(super) place: Place,
    /// The file as it was when it was read last, or when that failed.
    tried: Option<Stamp>,
    /// Why it could not be read then.
    fault: Option<String>,
}

/// Device, inode, length and time of the last change, in seconds and nanoseconds.
type Stamp = (u64, u64, u64, i64, i64);

fn stamp(path: &Path) -> Option<Stamp> {
    let file = fs::metadata(path).ok()?;
    Some((file.dev(), file.ino(), file.len(), file.mtime(), file.mtime_nsec()))
}

impl Database {
    pub(super) fn new(path: PathBuf, wanted: Vec<Wanted>, place: Place) -> Self {
        Self { path, wanted, place, tried: None, fault: None }
    }

    /// Whether there is another file now than the one that was tried last.
    pub(crate) fn is_new(&self) -> bool {
        let now = stamp(&self.path);
        now.is_some() && now != self.tried
    }

    /// Puts the networks that it knows into places; none if it cannot be read, and then it has a [`fault`](Self::fault).
    pub(crate) fn read(&mut self, places: &Places) -> Option<Places> {
        self.tried = stamp(&self.path);
        let networks = networks(&self.path, &self.wanted);
        self.fault = networks.as_ref().err().cloned();
        networks.ok().map(|networks| places.with_networks(networks))
    }

    /// Why the file could not be read when it was tried last; none if it was read. Places go by prefixes, and by networks that were
    /// read before.
    pub fn fault(&self) -> Option<ConfigError> {
        let fault = self.fault.as_ref()?;
        Some(ConfigError::Invalid {
            place: self.place.clone(),
            message: format!("the database {} cannot be read: {fault}", self.path.display()),
            help: Some(HELP.to_owned()),
        })
    }
}

const HELP: &str = "write the path of a file in MaxMind's format, as GeoLite2-Country.mmdb; put a new one in place as a whole";

fn networks(path: &Path, wanted: &[Wanted]) -> Result<Vec<(IpNet, u16)>, String> {
    let told = |error: maxminddb::MaxMindDbError| error.to_string();
    let length = fs::metadata(path).map_err(|error| error.to_string())?.len();
    if length > MOST_BYTES {
        return Err("it is too long".to_owned());
    }
    let reader = Reader::open_readfile(path).map_err(told)?;
    // Many networks share what is known of them.
    let mut placed: HashMap<usize, Option<u16>> = HashMap::new();
    let mut networks = Vec::new();
    for result in reader.networks(WithinOptions::default()).map_err(told)? {
        let result = result.map_err(told)?;
        let Some(offset) = result.offset() else { continue };
        let place = match placed.get(&offset) {
            Some(place) => *place,
            None => {
                let record = result.decode::<geoip2::City<'_>>().map_err(told)?;
                let place = record.and_then(|record| place_of(wanted, &found(&record)));
                placed.insert(offset, place);
                place
            }
        };
        let Some(place) = place else { continue };
        let network = result.network().map_err(told)?;
        let network = IpNet::new(network.ip(), network.prefix()).map_err(|error| error.to_string())?;
        networks.push((network, place));
    }
    Ok(networks)
}

fn found(record: &geoip2::City<'_>) -> Found {
    let owned = |code: Option<&str>| code.map(str::to_owned);
    let country = record.country.iso_code.or(record.registered_country.iso_code);
    let regions = record.subdivisions.iter().filter_map(|part| owned(part.iso_code));
    let (latitude, longitude) = (record.location.latitude, record.location.longitude);
    Found {
        continent: owned(record.continent.code),
        country: owned(country),
        regions: regions.collect(),
        at: latitude.zip(longitude).and_then(|(latitude, longitude)| Point::new(latitude, longitude)),
    }
}

#[cfg(test)]
pub(crate) mod tests;
