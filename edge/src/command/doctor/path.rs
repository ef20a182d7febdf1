//! Whether the operator's socket can be made in the file system.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::Advice;

/// A path that cannot be listened on, and why.
pub(super) type Refused = (PathBuf, ErrorKind);

/// Listens there for a moment.
pub(super) fn look(path: &Path) -> Option<Refused> {
    verge_edge::run::trial_of_path(path).map(|why| (path.to_owned(), why))
}

pub(super) fn advice((path, why): &Refused) -> Advice {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let name = made_by_systemd(folder).filter(|_| *why == ErrorKind::NotFound);
    if let Some(name) = name {
        let what = format!("unix:{} has no folder yet", path.display());
        let cure = format!(
            "systemd makes it when it starts the service (RuntimeDirectory={name} in the unit); without systemd, `mkdir {}`",
            folder.display()
        );
        return Advice { is_fault: false, what, cure };
    }
    let folder = folder.display();
    let (what, cure) = match why {
        ErrorKind::AddrInUse => (
            "is in use by another program",
            format!(
                "`ss -lxp src {}` shows which; end it, or another path in `admin.listen`",
                path.display()
            ),
        ),
        ErrorKind::AlreadyExists => {
            ("is a file and no socket", "another path in `admin.listen`, or remove the file".to_owned())
        }
        ErrorKind::NotFound => (
            "has no folder",
            format!(
                "RuntimeDirectory=verge-edge in the unit for a path in /run/verge-edge, or `mkdir {folder}`"
            ),
        ),
        ErrorKind::PermissionDenied => (
            "is not allowed for this user",
            format!("a folder that the user may write to; {folder} is not one"),
        ),
        _ => ("cannot be listened on", format!("the system says: {why}")),
    };
    Advice { is_fault: true, what: format!("unix:{} {what}", path.display()), cure }
}

/// The name of a folder that is a service's own, which is gone when the machine starts and there when the service does.
fn made_by_systemd(folder: &Path) -> Option<&str> {
    let name = folder.strip_prefix("/run").ok()?.to_str()?;
    (name.starts_with("verge-") && !name.contains('/')).then_some(name)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_path_that_cannot_be_listened_on_is_found_and_one_that_can_is_left_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let check = |path: &Path, expected: Option<&str>| {
            let found = look(path).map(|refused| advice(&refused));
            let told = expected.map(|words| format!("unix:{} {words}", path.display()));
            assert_eq!(found.as_ref().map(|one| &one.what), told.as_ref());
            assert!(found.is_none_or(|one| one.is_fault && !one.cure.is_empty()));
        };
        check(&path, None);
        assert!(!path.exists());
        let taken = UnixListener::bind(&path).unwrap();
        check(&path, Some("is in use by another program"));
        assert!(path.exists());
        drop(taken);
        // As after a crash: a start replaces it.
        check(&path, None);
        fs::write(&path, "mine").unwrap();
        check(&path, Some("is a file and no socket"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        check(&folder.path().join("none/admin.sock"), Some("has no folder"));
        let long = folder.path().join("x".repeat(200));
        check(&long, Some("cannot be listened on"));
    }

    #[test]
    fn a_folder_that_systemd_makes_at_the_start_is_no_fault_before_it() {
        let check = |path: &str, why, is_fault: bool| {
            let advice = advice(&(path.into(), why));
            assert_eq!(advice.is_fault, is_fault, "{advice:?}");
            assert!(
                is_fault
                    || advice.cure.contains("RuntimeDirectory=verge-")
                        && advice.cure.contains("`mkdir /run/verge-")
            );
        };
        check("/run/verge-edge/admin.sock", ErrorKind::NotFound, false);
        check("/run/verge-edge-one/admin.sock", ErrorKind::NotFound, false);
        check("/run/verge-edge/deeper/admin.sock", ErrorKind::NotFound, true);
        check("/run/other/admin.sock", ErrorKind::NotFound, true);
        check("/srv/verge-edge/admin.sock", ErrorKind::NotFound, true);
        check("/run/verge-edge/admin.sock", ErrorKind::PermissionDenied, true);
    }
}
