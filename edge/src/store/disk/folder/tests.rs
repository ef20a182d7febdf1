use super::*;

const IDENTITY: Identity = Identity { version: VERSION, generation: 4, hash_key: [3; 16] };

fn open(path: &Path) -> Result<Option<Identity>, String> {
    Folder::open(path).map(|(_, identity)| identity).map_err(|trouble| trouble.to_string())
}

#[test]
fn a_folder_is_made_for_this_user_alone_and_knows_its_owner() {
    let above = tempfile::tempdir().unwrap();
    let path = above.path().join("cache");
    fs::create_dir_all(path.join("lost+found")).unwrap();
    let (folder, identity) = Folder::open(&path).unwrap();
    assert_eq!(identity, None);
    assert!(open(&path).unwrap_err().contains("another verge-edge"), "locked");
    folder.identify(IDENTITY).unwrap();
    folder.create(0x123).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    assert_eq!(mode(&path.join("3/12")), 0o700);
    assert_eq!(mode(&path.join("3/12/0000000000000123.part")), 0o600);
    assert_eq!(mode(&path.join("identity")), 0o600);
    let next = Identity { generation: 5, ..IDENTITY };
    folder.identify(next).unwrap();
    drop(folder);
    assert_eq!(open(&path), Ok(Some(next)));
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let above = tempfile::tempdir().unwrap();
    fs::write(above.path().join("photo.jpg"), "x").unwrap();
    assert!(open(above.path()).unwrap_err().contains("not verge-edge's"));
    assert!(!above.path().join("lock").exists());
    let path = above.path().join("cache");
    let (folder, _) = Folder::open(&path).unwrap();
    folder.identify(Identity { version: 77, ..IDENTITY }).unwrap();
    drop(folder);
    assert!(open(&path).unwrap_err().contains("format 77"));
    assert!(open(&above.path().join("a/b")).is_err(), "only the last folder is made");
}

#[test]
fn a_sweep_takes_what_is_not_held_and_what_is_not_complete() {
    let above = tempfile::tempdir().unwrap();
    let (folder, _) = Folder::open(&above.path().join("cache")).unwrap();
    for number in 0..40 {
        folder.create(number).unwrap();
        if number % 4 != 3 {
            folder.publish(number).unwrap();
        }
    }
    fs::write(above.path().join("cache/0/00/README"), "x").unwrap();
    assert_eq!(folder.sweep(32, |number| number % 2 == 0).into_result().unwrap(), 16);
    let left = |number| folder.read(number).is_ok();
    assert_eq!((0..40).filter(|n| left(*n)).count(), 16 + 6);
    assert!(!left(1) && left(2) && !left(3) && left(33) && !left(35));
    assert!(above.path().join("cache/0/00/README").exists());
}

#[test]
fn what_a_crash_left_half_written_goes() {
    let above = tempfile::tempdir().unwrap();
    let path = above.path().join("cache");
    let (folder, _) = Folder::open(&path).unwrap();
    folder.identify(IDENTITY).unwrap();
    drop(folder.new_journal().unwrap());
    folder.create(7).unwrap();
    folder.publish(7).unwrap();
    fs::write(path.join("identity.new"), "half").unwrap();
    // Of a head that was confirmed, and of one that was being written.
    folder.confirm(7, 3, b"whole").unwrap();
    fs::rename(folder.confirmed(7, 3), folder.beside(7, ".4.part")).unwrap();
    folder.confirm(7, 3, b"whole").unwrap();
    drop(folder);
    let (folder, _) = Folder::open(&path).unwrap();
    assert!(!path.join("journal.new").exists() && !path.join("identity.new").exists());
    assert_eq!(folder.sweep(8, |number| number == 7).into_result().unwrap(), 1);
    assert_eq!(folder.read_confirmed(7, 3).unwrap(), b"whole");
    folder.remove_confirmed(7);
    assert!(folder.read_confirmed(7, 3).is_err());
}

#[test]
fn a_folder_that_was_removed_or_replaced_is_not_there() {
    let above = tempfile::tempdir().unwrap();
    let path = above.path().join("cache");
    let (folder, _) = Folder::open(&path).unwrap();
    assert!(folder.is_there());
    fs::remove_dir_all(&path).unwrap();
    assert!(!folder.is_there());
    let _other = Folder::open(&path).unwrap();
    assert!(!folder.is_there());
}

#[test]
fn a_folder_that_was_emptied_is_not_filled_again() {
    let above = tempfile::tempdir().unwrap();
    let path = above.path().join("cache");
    let (folder, _) = Folder::open(&path).unwrap();
    folder.create(0).unwrap();
    fs::remove_dir_all(path.join("0")).unwrap();
    folder.create(0).unwrap();
    fs::remove_dir_all(path.join("0")).unwrap();
    fs::remove_file(path.join(LOCK)).unwrap();
    assert_eq!(folder.create(0).unwrap_err().kind(), io::ErrorKind::NotFound);
    assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
}

#[test]
fn a_folder_without_a_lock_is_begun_anew_where_all_in_it_is_ours() {
    let above = tempfile::tempdir().unwrap();
    let path = above.path().join("cache");
    let (folder, _) = Folder::open(&path).unwrap();
    folder.identify(IDENTITY).unwrap();
    drop(folder.new_journal().unwrap());
    folder.replace_journal().unwrap();
    folder.create(9).unwrap();
    folder.publish(9).unwrap();
    drop(folder);
    fs::create_dir(path.join(TEXTS)).unwrap();
    fs::remove_file(path.join(LOCK)).unwrap();
    fs::write(path.join("photo.jpg"), "x").unwrap();
    assert!(open(&path).unwrap_err().contains("not verge-edge's"));
    fs::remove_file(path.join("photo.jpg")).unwrap();
    let (folder, identity) = Folder::open(&path).unwrap();
    assert_eq!(identity, Some(IDENTITY), "numbers of files go on from its generation");
    assert!(!path.join(JOURNAL).exists(), "another may have used it meanwhile");
    assert!(folder.read(9).is_ok(), "left to the sweep");
    drop(folder);
    for name in [LOCK, "identity"] {
        fs::remove_file(path.join(name)).unwrap();
    }
    let (folder, identity) = Folder::open(&path).unwrap();
    assert_eq!(identity, None);
    assert!(folder.read(9).is_err(), "its number may be given again");
}

#[test]
fn a_file_that_cannot_be_removed_keeps_no_other() {
    let above = tempfile::tempdir().unwrap();
    let (folder, _) = Folder::open(&above.path().join("cache")).unwrap();
    for number in [0, 0x10, 0xfff] {
        folder.create(number).unwrap();
        folder.publish(number).unwrap();
    }
    fs::remove_file(folder.name(0x10)).unwrap();
    fs::create_dir(folder.name(0x10)).unwrap();
    let swept = folder.sweep(u64::MAX, |_| false);
    assert_eq!((swept.files, swept.error.is_some()), (2, true));
}

#[test]
fn no_link_is_followed() {
    let above = tempfile::tempdir().unwrap();
    let (folder, _) = Folder::open(&above.path().join("cache")).unwrap();
    fs::write(above.path().join("secret"), "x").unwrap();
    drop(folder.create(0).unwrap());
    std::os::unix::fs::symlink(above.path().join("secret"), folder.name(0)).unwrap();
    assert!(folder.read(0).is_err());
}
