//! The zone files of a command: read once, by the rules of a config if there is one.

use std::path::{Path, PathBuf};
use std::{fs, io};

use super::{Failure, Source};
use crate::catalog::{Catalog, Loaded};
use crate::clock;
use crate::config::{self, Config};

/// Where a config is looked for when none is named.
const DEFAULT_CONFIG: &str = "dns.toml";
/// Where zone files are looked for when there is no config either.
const DEFAULT_FOLDER: &str = "zones";

/// The zones that a command works on.
pub(super) struct Zones {
    pub(super) config: Option<Config>,
    pub(super) loaded: Loaded,
}

/// Reads the files that are `given`, else those of the config.
pub(super) fn load(given: &[PathBuf], source: &Source) -> Result<Zones, Failure> {
    let config = config(source)?;
    let paths = match (given, &config) {
        ([], Some(config)) => vec![config.zones.clone()],
        ([], None) if Path::new(DEFAULT_FOLDER).is_dir() => vec![DEFAULT_FOLDER.into()],
        ([], None) => return Err(Failure::NoZones),
        (given, _) => given.to_vec(),
    };
    let mut terms = config.as_ref().map(Config::terms).unwrap_or_default();
    if let Some((folder, error)) = terms.journals.as_deref().and_then(closed) {
        // A command of another user than the server's.
        eprintln!("{}", not_shown(folder, &error));
        terms.journals = None;
    }
    let loaded = Catalog::new(paths, terms).load(clock::system_now()).map_err(Failure::Folder)?;
    Ok(Zones { config, loaded })
}

/// The folder of journals, if this user may not look into it.
fn closed(folder: &Path) -> Option<(&Path, io::Error)> {
    let error = fs::read_dir(folder).err()?;
    (error.kind() == io::ErrorKind::PermissionDenied).then_some((folder, error))
}

fn not_shown(folder: &Path, error: &io::Error) -> String {
    format!(
        "note: {}: {error}; what updates have changed is not shown\n  = help: run this as the user that the server runs as, or as root",
        folder.display()
    )
}

/// The config that is named, or the one that is here.
pub(super) fn config(source: &Source) -> Result<Option<Config>, Failure> {
    let Some(path) = source.config.clone().or_else(default_config) else { return Ok(None) };
    config::load(&path).map(Some).map_err(Failure::Config)
}

/// The config of the folder that the program is run in, if there is one.
pub(super) fn default_config() -> Option<PathBuf> {
    let path = PathBuf::from(DEFAULT_CONFIG);
    path.exists().then_some(path)
}
