//! The folders and files to watch so that no change of a folder's zone files goes unnoticed.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// Links that are followed at most, as in the kernel (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// Device and inode; none if there is nothing.
type Identity = Option<(u64, u64)>;

/// The paths to watch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Points {
    /// The real folder, with all that is below it.
    pub(super) tree: Option<(PathBuf, Identity)>,
    /// Real folders, and the entries in them that decide where a path leads.
    entries: BTreeMap<PathBuf, (Identity, BTreeSet<OsString>)>,
    /// Real files that no event of `tree` tells about.
    files: BTreeMap<PathBuf, Identity>,
}

impl Points {
    /// For the zones folder and the files that were read from it.
    pub(super) fn of<'f>(folder: &Path, files: impl Iterator<Item = &'f Path>) -> Self {
        let mut points = Self::default();
        let Some(tree) = points.follow(folder) else { return points };
        let mounted = mount_points();
        points.tree = Some((tree.clone(), identity(&tree)));
        for file in files {
            let is_plain = file.parent() == Some(folder)
                && fs::symlink_metadata(file).is_ok_and(|it| !it.is_symlink())
                && file.file_name().is_some_and(|name| !mounted.contains(&tree.join(name)));
            if is_plain {
                continue;
            }
            if let Some(real) = points.follow(file)
                && (!real.starts_with(&tree) || mounted.contains(&real))
            {
                points.files.insert(real.clone(), identity(&real));
            }
        }
        // Events of the tree tell of these.
        points.entries.retain(|folder, _| !folder.starts_with(&tree));
        points
    }

    /// Where a path leads; notes the entries on the way, up to the first that is not there.
    fn follow(&mut self, path: &Path) -> Option<PathBuf> {
        let absolute = std::path::absolute(path).ok()?;
        let mut ahead: Vec<OsString> = steps(&absolute);
        let mut at = PathBuf::from("/");
        let mut links = 0;
        while let Some(step) = ahead.pop() {
            if step == ".." {
                at.pop();
                continue;
            }
            let entry = self.entries.entry(at.clone()).or_insert_with(|| (identity(&at), BTreeSet::new()));
            entry.1.insert(step.clone());
            let next = at.join(&step);
            if !fs::symlink_metadata(&next).ok()?.is_symlink() {
                at = next;
                continue;
            }
            links += 1;
            let target = fs::read_link(&next).ok().filter(|_| links <= MOST_LINKS)?;
            if target.is_absolute() {
                at = PathBuf::from("/");
            }
            ahead.append(&mut steps(&target));
        }
        Some(at)
    }

    /// Everything that is watched without what is below it.
    pub(super) fn alone(&self) -> impl Iterator<Item = &Path> {
        self.entries.keys().chain(self.files.keys()).map(PathBuf::as_path)
    }

    /// Whether this path itself is watched.
    pub(super) fn are_at(&self, path: &Path) -> bool {
        let tree = self.tree.iter().map(|(tree, _)| tree.as_path());
        self.alone().chain(tree).any(|watched| watched == path)
    }

    /// Whether an event about these paths can be a change of a zone file.
    pub(super) fn concern(&self, paths: &[PathBuf]) -> bool {
        paths.is_empty() || paths.iter().any(|path| self.concerns(path))
    }

    fn concerns(&self, path: &Path) -> bool {
        let decides = |folder: &Path, name: &OsStr| {
            self.entries.get(folder).is_some_and(|(_, names)| names.contains(name))
        };
        self.tree.as_ref().is_some_and(|(tree, _)| path.starts_with(tree))
            || self.files.contains_key(path)
            || self.entries.contains_key(path)
            || path.parent().zip(path.file_name()).is_some_and(|(folder, name)| decides(folder, name))
    }
}

/// The steps of a path, the first last.
fn steps(path: &Path) -> Vec<OsString> {
    let named = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        _ => None,
    });
    let mut steps: Vec<OsString> = named.collect();
    steps.reverse();
    steps
}

fn identity(path: &Path) -> Identity {
    fs::metadata(path).ok().map(|it| (it.dev(), it.ino()))
}

/// Where something is mounted, a single file perhaps: there, the folder's events tell nothing of what it holds.
fn mount_points() -> BTreeSet<PathBuf> {
    // The fifth field of proc_pid_mountinfo(5). Where there is no such file, the poll notices changes.
    let text = fs::read("/proc/self/mountinfo").unwrap_or_default();
    let lines = text.split(|byte| *byte == b'\n');
    lines.filter_map(|line| line.split(|byte| *byte == b' ').nth(4)).map(unescaped).collect()
}

/// White space and backslashes are written as three octal digits.
fn unescaped(text: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        let octal = after.first_chunk::<3>().filter(|_| *first == b'\\');
        let value = octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(value.unwrap_or(*first));
        rest = if value.is_some() { &after[3..] } else { after };
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_entry_on_the_way_of_a_path_is_watched() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("2024/zones")).unwrap();
        fs::create_dir(root.join("elsewhere")).unwrap();
        symlink("2024", root.join("current")).unwrap();
        symlink("current/../current/zones", root.join("zones")).unwrap();
        for file in ["2024/zones/plain.zone", "elsewhere/linked"] {
            fs::write(root.join(file), "").unwrap();
        }
        symlink("../../elsewhere/linked", root.join("2024/zones/linked.zone")).unwrap();
        let zones = root.join("zones");
        let files = [zones.join("plain.zone"), zones.join("linked.zone")];
        let points = Points::of(&zones, files.iter().map(PathBuf::as_path));
        assert_eq!(points.tree.as_ref().unwrap().0, root.join("2024/zones"));
        assert_eq!(points.files.keys().collect::<Vec<_>>(), [&root.join("elsewhere/linked")]);
        for (path, expected) in [
            ("zones", true),
            ("current", true),
            ("2024", true),
            ("2024/zones", true),
            ("2024/zones/new.zone", true),
            ("elsewhere/linked", true),
            ("elsewhere/other", false),
            ("other", false),
            ("2024/other", false),
        ] {
            assert_eq!(points.concern(&[root.join(path)]), expected, "{path}");
        }
        assert!(points.concern(&[]), "the kernel has lost events");
        assert_eq!(points, Points::of(&zones, files.iter().map(PathBuf::as_path)));
        fs::rename(root.join("2024/zones"), root.join("old")).unwrap();
        fs::create_dir(root.join("2024/zones")).unwrap();
        assert_ne!(
            points,
            Points::of(&zones, files.iter().map(PathBuf::as_path)),
            "another folder, same path"
        );
        symlink("loop", root.join("loop")).unwrap();
        assert_eq!(Points::of(&root.join("loop"), std::iter::empty()).tree, None);
    }

    #[test]
    fn a_mount_point_is_read_as_the_kernel_writes_it() {
        for (text, path) in
            [(r"/a\040b", "/a b"), (r"/a\134040", r"/a\040"), ("/plain", "/plain"), (r"/\9", r"/\9")]
        {
            assert_eq!(unescaped(text.as_bytes()), Path::new(path));
        }
    }
}
