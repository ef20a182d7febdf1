//! The thread that writes a disk's files and removes them.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::oneshot;

use super::desk::{Counters, Job, Write as Work};
use super::folder::Folder;
use super::head;
use super::layout::{Header, Sums, blocks};
use super::spool::front;
use super::volume::{Volume, is_full};

/// Works until the edge stops.
pub(super) fn run(volume: &Arc<Volume>) {
    loop {
        match volume.desk.next_to_write() {
            Work::Stop => return,
            Work::Remove(files) => remove(volume, &files),
            Work::Sync(file, waits) => sync(volume, file, waits),
            Work::File(job) => write(volume, *job),
        }
    }
}

fn remove(volume: &Volume, files: &[u64]) {
    let Some(folder) = volume.folder() else { return };
    for file in files {
        match folder.remove(*file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Counters::add(&volume.desk.counters.errors, 1);
                // The sweep at the next start takes it.
                volume.desk.lock().has_left_files = true;
            }
            _ => {}
        }
        folder.remove_confirmed(*file);
    }
    volume.desk.removed();
}

/// Has a file that is held outlive a crash of the machine, and tells those who wait for that.
fn sync(volume: &Volume, file: u64, waits: Vec<oneshot::Sender<()>>) {
    let synced =
        volume.folder().ok_or(io::ErrorKind::NotFound.into()).and_then(|folder| folder.sync_file(file));
    match synced {
        // A task that waited may have gone.
        Ok(()) => waits.into_iter().for_each(|wait| _ = wait.send(())),
        // It was removed meanwhile: those who wait see that it does not last.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            Counters::add(&volume.desk.counters.errors, 1);
            tracing::warn!(target: "verge_edge::disk", disk = volume.name(), %error, "cannot write a file");
        }
    }
}

fn write(volume: &Volume, job: Job) {
    let Some(folder) = volume.folder() else { return volume.desk.abandon(&job) };
    let bytes = match written(&folder, &job) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return volume.desk.abandon(&job),
        Err(error) => return failed(volume, &folder, &job, &error),
    };
    if !volume.desk.written(&job, blocks(bytes)) {
        // Nobody was told of it.
        remove(volume, &[job.file]);
        return;
    }
    let counters = &volume.desk.counters;
    Counters::add(&counters.written_files, 1);
    Counters::add(&counters.written_bytes, bytes);
}

/// Its length, once it is complete under its name; none if nobody needs it any more.
fn written(folder: &Folder, job: &Job) -> io::Result<Option<u64>> {
    let Some(pieces) = job.object.body.pieces().filter(|_| !job.pending.is_cancelled()) else {
        return Ok(None);
    };
    let head = head::encode(&job.object.entry, &job.object.site);
    if !Header::takes(job.key.as_bytes().len(), head.len()) {
        return Ok(None);
    }
    let mut sums = Sums::default();
    pieces.iter().for_each(|piece| sums.add(piece));
    let sums = sums.finish();
    let body_bytes = job.object.body.bytes();
    let front = front(job.file, &job.key, &head, body_bytes, &sums);
    let length = front.len() as u64 + body_bytes + sums.len() as u64;
    let mut file = folder.create(job.file)?;
    file.write_all(&front)?;
    for piece in &pieces {
        file.write_all(piece)?;
    }
    file.write_all(&sums)?;
    folder.publish(job.file)?;
    Ok(Some(length))
}

fn failed(volume: &Volume, folder: &Folder, job: &Job, error: &io::Error) {
    // It may not be there, and the sweep at the next start takes it if it stays.
    if folder.discard(job.file).is_err_and(|error| error.kind() != io::ErrorKind::NotFound) {
        volume.desk.lock().has_left_files = true;
    }
    volume.desk.failed(job, is_full(error));
    let before = volume.desk.counters.errors.load(Ordering::Relaxed);
    if volume.is_there() {
        tracing::warn!(target: "verge_edge::disk", disk = volume.name(), %error, errors = before, "cannot write a file");
    } else {
        // It may come back: a file system that was taken off.
        volume.turn_off(format!("its folder is gone: {error}"), false);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::circle::Circle;
    use super::super::record::Identity;
    use super::super::volume::Settings;
    use super::*;

    #[test]
    fn a_file_that_could_not_be_removed_is_there_also_after_a_sweep_that_began_before() {
        let above = tempfile::tempdir().unwrap();
        let path = above.path().join("cache");
        let settings = Settings { path: path.clone(), bytes: 1 << 20, files: 100, write_rate_bytes: 1 << 20 };
        let (folder, _) = Folder::open(&path).unwrap();
        let identity = Identity { version: 1, generation: 1, hash_key: [0; 16] };
        let volume = Volume::new(settings, identity, Some(folder), &Circle::new(1));
        // A folder is in its place.
        fs::create_dir_all(path.join("1/00/0000000000000001")).unwrap();
        remove(&volume, &[1]);
        // The sweep ends.
        volume.desk.lock().may_have_orphans = false;
        assert!(!volume.desk.lock().is_swept());
        remove(&volume, &[2]);
        assert!(!volume.desk.lock().is_swept(), "one that was not there says nothing of the other");
    }
}
