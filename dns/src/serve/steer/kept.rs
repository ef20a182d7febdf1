//! The state that outlasts a restart: the file `steer.json`, written beside and put in place as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::steer::drain::Order;

const NAME: &str = "steer.json";
/// Some hundred thousand targets; a longer file is none of ours.
const MOST_BYTES: u64 = 64 << 20;

/// Times are milliseconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Kept {
    /// Members that a command took out of service, since when: versions before orders were shared read this and no orders.
    pub(super) drained: BTreeMap<IpAddr, u64>,
    /// All orders to take addresses out of service, and to put them back; none if a version before orders were shared wrote this.
    pub(super) orders: Option<Vec<Order>>,
    /// By what is checked: whether it was up, since when.
    pub(super) health: BTreeMap<String, (bool, u64)>,
    /// By what is checked: when the last check ended. Nothing is known of that if an earlier version wrote this.
    pub(super) checked: BTreeMap<String, u64>,
    /// None of them if a version before they were kept wrote this.
    pub(super) ends: KeptEnds,
}

/// Until when answers may be kept, as it was at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct KeptEnds {
    /// That moment.
    pub(super) at: u64,
    /// By address: milliseconds until no answer is kept any more that names it and was noted.
    pub(super) left: BTreeMap<IpAddr, u64>,
    /// Drained members that nobody was given, so that all their answers were noted: whether of the inside, and their numbers.
    pub(super) noted: BTreeSet<(bool, u64)>,
    /// Addresses that no pool has any more.
    pub(super) left_behind: BTreeSet<IpAddr>,
}

/// The state that was kept; nothing if there is no such file, or none that can be read.
pub(super) fn read(folder: &Path) -> Kept {
    let path = folder.join(NAME);
    let sound = |file: &fs::Metadata| file.is_file() && file.len() <= MOST_BYTES;
    let read = || -> io::Result<Kept> {
        if !sound(&fs::metadata(&path)?) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is no file, or too long"));
        }
        Ok(serde_json::from_slice(&fs::read(&path)?)?)
    };
    match read() {
        Ok(kept) => kept,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Kept::default(),
        Err(error) => {
            tracing::error!(file = %path.display(), %error, "who was up and who is drained cannot be read; all is checked anew");
            Kept::default()
        }
    }
}

pub(super) fn write(folder: &Path, kept: &Kept) -> io::Result<()> {
    let (path, beside) = (folder.join(NAME), folder.join(".steer.json.new"));
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    // It names addresses of the inside.
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(&serde_json::to_vec_pretty(kept)?)?;
    file.sync_all()?;
    fs::rename(&beside, &path)?;
    File::open(folder)?.sync_all()
}
