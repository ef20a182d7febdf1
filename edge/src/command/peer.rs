//! Whether the process behind a socket in the file system may see the token.
//!
//! Where others can write to its folder, anybody can listen there while the edge does not run.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::process::geteuid;

/// The users that may see it.
struct Users {
    own: u32,
    /// Could read it anyhow.
    token: Option<u32>,
    /// Decides who listens there.
    folder: Option<u32>,
}

const ROOT: u32 = 0;

impl Users {
    fn of(socket: &Path, token_file: &Path) -> Self {
        let folder = socket.parent().filter(|folder| !folder.as_os_str().is_empty());
        let owner = |path: &Path| fs::metadata(path).ok().map(|it| it.uid());
        let folder = owner(folder.unwrap_or(Path::new(".")));
        Self { own: geteuid().as_raw(), token: owner(token_file), folder }
    }

    fn has(&self, user: u32) -> bool {
        user == ROOT || user == self.own || [self.token, self.folder].contains(&Some(user))
    }
}

/// # Errors
/// [`ErrorKind::PermissionDenied`] if this user, who listens there, is none to show the token to.
pub(super) fn trusted(user: u32, socket: &Path, token_file: &Path) -> io::Result<()> {
    if Users::of(socket, token_file).has(user) {
        return Ok(());
    }
    let message = format!("user {user} listens there, and the token is not that user's: it was not shown");
    Err(io::Error::new(ErrorKind::PermissionDenied, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_who_have_the_token_or_the_folder_see_the_token() {
        let users = Users { own: 1000, token: Some(990), folder: Some(991) };
        for (user, expected) in
            [(0, true), (1000, true), (990, true), (991, true), (1001, false), (65_534, false)]
        {
            assert_eq!(users.has(user), expected, "{user}");
        }
        let alone = Users { own: 1000, token: None, folder: None };
        assert!(alone.has(1000) && !alone.has(990));
    }

    #[test]
    fn a_stranger_behind_the_socket_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let (socket, token) = (folder.path().join("admin.sock"), folder.path().join("token"));
        let own = geteuid().as_raw();
        trusted(own, &socket, &token).unwrap();
        trusted(own, Path::new("admin.sock"), &token).unwrap();
        let error = trusted(own + 4_000, &socket, &token).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert!(error.to_string().contains("the token is not that user's"), "{error}");
    }
}
