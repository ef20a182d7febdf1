//! Notices that zone files changed: the kernel says so, and where it does not, a slow comparison of time stamps does.

use std::path::{Path, PathBuf};

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

/// Keeps a watch on one folder; ends when dropped.
pub(super) struct Watch {
    folder: PathBuf,
    /// Canonical, to notice that another folder has taken its place.
    watched: PathBuf,
    _watcher: RecommendedWatcher,
}

impl Watch {
    /// Watches `folder` and what is below it, and calls `changed` for each change.
    pub(super) fn new(folder: &Path, changed: impl Fn() + Send + 'static) -> notify::Result<Self> {
        let watched = std::fs::canonicalize(folder)?;
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // An error means that events were lost: the files must be compared then, too.
            if event.map_or(true, |event| is_change(event.kind)) {
                changed();
            }
        })?;
        watcher.watch(&watched, RecursiveMode::Recursive)?;
        Ok(Self { folder: folder.to_path_buf(), watched, _watcher: watcher })
    }

    /// Whether the folder is still the one that is watched: a link may point elsewhere by now.
    pub(super) fn is_current(&self, folder: &Path) -> bool {
        self.folder == folder && std::fs::canonicalize(folder).is_ok_and(|now| now == self.watched)
    }
}

/// Reading a file is no change, and what we read ourselves must not make us read again.
fn is_change(kind: EventKind) -> bool {
    !matches!(kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}
