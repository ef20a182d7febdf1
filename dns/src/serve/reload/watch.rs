//! Notices that zone files changed: the kernel says so, and where it does not, a slow comparison of time stamps does.
//!
//! The kernel watches folders and files by inode, but a zones folder is known by its path. So the entries that decide
//! where the path leads are watched, too: a folder that is renamed over, a link that is swapped. Zone files that are
//! links to other folders, or that are mounted one by one, are watched themselves.

mod points;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use self::points::Points;

/// Keeps a watch on one folder; ends when dropped.
pub(super) struct Watch {
    points: Points,
    /// A watched path was removed or renamed. Its successor can have the same inode, and is not watched.
    is_broken: Arc<AtomicBool>,
    _watcher: RecommendedWatcher,
}

impl Watch {
    /// Watches `folder`, what is below it, and `files` where those lie elsewhere; calls `changed` for each change.
    pub(super) fn new<'f>(
        folder: &Path,
        files: impl Iterator<Item = &'f Path>,
        changed: impl Fn() + Send + 'static,
    ) -> notify::Result<Self> {
        let points = Points::of(folder, files);
        let (wanted, is_broken) = (points.clone(), Arc::new(AtomicBool::new(false)));
        let breaks = Arc::clone(&is_broken);
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // An error means that events were lost: the files must be compared then, too.
            let Ok(event) = event else { return changed() };
            if is_end(event.kind) && event.paths.iter().any(|path| wanted.are_at(path)) {
                breaks.store(true, Ordering::Release);
            }
            if is_change(event.kind) && wanted.concern(&event.paths) {
                changed();
            }
        })?;
        if let Some((tree, _)) = &points.tree {
            watcher.watch(tree, RecursiveMode::Recursive)?;
        }
        for path in points.alone() {
            // The poll notices changes of a path that cannot be watched.
            if let Err(error) = watcher.watch(path, RecursiveMode::NonRecursive) {
                tracing::debug!(%error, path = %path.display(), "cannot be watched");
            }
        }
        Ok(Self { points, is_broken, _watcher: watcher })
    }

    /// Whether everything is still the same, by device and inode, as what is watched.
    pub(super) fn is_current<'f>(&self, folder: &Path, files: impl Iterator<Item = &'f Path>) -> bool {
        !self.is_broken.load(Ordering::Acquire) && self.points == Points::of(folder, files)
    }
}

/// Reading a file is no change, and what we read ourselves must not make us read again.
fn is_change(kind: EventKind) -> bool {
    !matches!(kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}

/// After this, a path may lead to something else.
fn is_end(kind: EventKind) -> bool {
    matches!(kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)))
}
