//! Updates (RFC 2136) on their way to the loader, which makes them one after the other, and their answers' way back.
//!
//! ```text
//! transport ─▶ wire::submitted (key, policy) ─▶ Updates ─▶ reload ─▶ evaluate ─▶ journal, catalog ─▶ commit ─▶ world ─▶ answer
//! ```
//!
//! Once another process has taken over, the loader has that one make them. Questions that still come here take the same way.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use super::handover::Passed;
use super::signal::Signal;
use crate::catalog::journal::{self, Journal};
use crate::catalog::report::{Report, State};
use crate::catalog::{Catalog, Loaded};
use crate::client::{Client, Listener};
use crate::clock;
use crate::log::recent::OPEN;
use crate::rcode::Rcode;
use crate::transfer::Change;
use crate::update::{Author, Overlay, Rights, Step, There, evaluate};
use crate::view::Which;
use crate::wire::Submitted;
use crate::world::World;
use crate::zone::set::Served;
use crate::zone::{Record, Severity};

/// Updates that wait for the loader; one more is to come again.
const MOST_WAITING: usize = 256;
/// Questions that wait for another process; the client of one more is to come again, and then asks that process itself.
const MOST_QUESTIONS: usize = 256;
/// Records that may lie over one zone file: each update looks at all of them. A zone that has more wants another primary.
const MOST_RECORDS: usize = 10_000;

/// Sends an answer to who asked.
pub(super) type Reply = Box<dyn FnOnce(Vec<u8>) + Send>;

/// An update that is to be made.
pub(super) struct Submission {
    pub(super) submitted: Submitted,
    /// As it came.
    pub(super) message: Box<[u8]>,
    pub(super) client: Client,
    pub(super) reply: Reply,
}

/// A message that the process which has taken over is to answer.
pub(super) struct Asked {
    /// As it came.
    pub(super) message: Box<[u8]>,
    pub(super) client: Client,
    /// Gets an empty answer if nothing is to be said. It is dropped if that process does not answer.
    pub(super) reply: Reply,
}

/// The way of updates to the loader.
#[derive(Clone)]
pub(super) struct Updates {
    submissions: Sender<Submission>,
    questions: SyncSender<Asked>,
    signals: Sender<Signal>,
    waiting: Arc<AtomicUsize>,
}

/// The loader's end of it.
pub(super) struct Submissions {
    inbox: Receiver<Submission>,
    questions: Receiver<Asked>,
    waiting: Arc<AtomicUsize>,
}

/// A way for updates; `signals` wake the loader.
pub(super) fn way(signals: Sender<Signal>) -> (Updates, Submissions) {
    let (submissions, inbox) = channel();
    let (asking, questions) = sync_channel(MOST_QUESTIONS);
    let waiting = Arc::<AtomicUsize>::default();
    let updates = Updates { submissions, questions: asking, signals, waiting: Arc::clone(&waiting) };
    (updates, Submissions { inbox, questions, waiting })
}

impl Updates {
    pub(super) fn submit(&self, submission: Submission) {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= MOST_WAITING {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return submission.answer(Rcode::ServFail);
        }
        // The loader is gone only when the server ends; then nothing is made and nothing answered.
        let _ = self.submissions.send(submission);
        let _ = self.signals.send(Signal::Update);
    }

    /// Has the process that has taken over answer.
    pub(super) fn pass_on(&self, asked: Asked) {
        if self.questions.try_send(asked).is_ok() {
            // The loader is gone only when the server ends.
            let _ = self.signals.send(Signal::Update);
        }
    }
}

impl Submissions {
    /// How many there are now.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    pub(super) fn next(&self) -> Option<Submission> {
        let submission = self.inbox.try_recv().ok()?;
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        Some(submission)
    }

    /// There are some only once another process has taken over.
    pub(super) fn next_question(&self) -> Option<Asked> {
        self.questions.try_recv().ok()
    }
}

impl Submission {
    /// As another process is told of it.
    pub(super) fn passed(&self) -> Passed {
        passed(&self.message, &self.client)
    }

    pub(super) fn answer(self, rcode: Rcode) {
        (self.reply)(self.submitted.answer(rcode, clock::moment().unix_seconds));
    }

    pub(super) fn log(&self, rcode: Rcode, made: &Made) {
        let (zone, key, from) = (&self.submitted.apex, &self.submitted.key, self.client.real_address());
        match rcode {
            Rcode::NoError => {
                let (gone, come) = (made.gone, made.come);
                tracing::info!(%zone, %key, %from, gone, come, "updated");
            }
            _ => {
                tracing::warn!(%zone, %key, %from, rcode = rcode.as_str(), why = made.why, "an update was not made")
            }
        }
    }
}

impl Asked {
    /// As another process is told of it.
    pub(super) fn passed(&self) -> Passed {
        passed(&self.message, &self.client)
    }
}

fn passed(message: &[u8], client: &Client) -> Passed {
    Passed {
        message: message.to_vec(),
        address: client.address,
        port: client.port,
        inside: client.listener == Listener::Inside,
        transport: client.transport.as_str().to_owned(),
    }
}

/// The end of an update.
#[derive(Default)]
pub(super) struct Made {
    gone: usize,
    come: usize,
    why: Option<String>,
    /// A version to serve: that of the update, or the one without it if other files have changed.
    pub(super) loaded: Option<Loaded>,
}

/// Why an update is not made.
struct Not(Rcode, Option<String>);

/// The changes that an update would make in the world in service.
fn judged(submitted: &Submitted, world: &World, rights: &Rights<'_>) -> Result<Change, Not> {
    let plain = |rcode| Not(rcode, None);
    let request = submitted.request.as_ref().ok_or(plain(Rcode::FormErr))?;
    let Some(Served::Zone(tree)) = world.view(submitted.view).zones.get(&submitted.apex) else {
        return Err(Not(Rcode::ServFail, Some("no version of the zone is in service".to_owned())));
    };
    evaluate(request, tree, rights).map_err(plain)
}

/// Makes an update: when this says that it is done, it is on the disk, and its version waits to be served.
pub(super) fn make(submitted: &Submitted, world: &World, catalog: &mut Catalog) -> (Rcode, Made) {
    let mut made = Made::default();
    let rights = Rights::of(&world.protocol.updates, &submitted.apex, &submitted.key);
    let Some(rights) = rights else { return (Rcode::Refused, made) };
    let change = match judged(submitted, world, &rights) {
        Ok(change) => change,
        Err(Not(rcode, why)) => return (rcode, Made { why, ..made }),
    };
    (made.gone, made.come) = (change.gone.len(), change.come.len());
    if made.gone + made.come == 0 {
        return (Rcode::NoError, made);
    }
    match write(submitted, &change, &rights, catalog) {
        Ok(loaded) => {
            made.loaded = loaded;
            (Rcode::NoError, made)
        }
        Err(Not(rcode, why)) => {
            // The zone without it, and perhaps other changes of files that were found on the way.
            made.loaded = catalog.load(clock::system_now()).ok();
            (rcode, Made { why, ..made })
        }
    }
}

fn unwritten(error: std::io::Error) -> Not {
    Not(Rcode::ServFail, Some(format!("the journal cannot be written: {error} (setting `state`)")))
}

/// None if the zone stays as it is: it holds already what is added, where the sender does not see it.
fn write(
    submitted: &Submitted,
    change: &Change,
    rights: &Rights<'_>,
    catalog: &mut Catalog,
) -> Result<Option<Loaded>, Not> {
    let folder = catalog.journals().ok_or(Not(Rcode::Refused, None))?;
    let mut journal = Journal::open(&folder, &submitted.apex).map_err(unwritten)?;
    if journal.held.is_damaged {
        let why = "the journal is damaged; `verge-dns check` tells where".to_owned();
        return Err(Not(Rcode::ServFail, Some(why)));
    }
    let task = Task { submitted, change, rights, there: there(change, catalog, submitted, &folder) };
    let author = Author { view: submitted.view, is_alone: false };
    let mut written = task.attempt(author, &mut journal, catalog);
    if let Err(Not(Rcode::Refused, _)) = &written
        && submitted.view == Which::Public
    {
        // Its records may be at odds with those that only the inside sees: a sender of the outside must not be told. The
        // second attempt is compared with what is in service, and not with the first.
        journal.cut().map_err(unwritten)?;
        catalog.load(clock::system_now()).map_err(|error| Not(Rcode::ServFail, Some(error.to_string())))?;
        let alone = task.attempt(Author { is_alone: true, ..author }, &mut journal, catalog);
        written = if alone.is_ok() { alone } else { written };
    }
    if !matches!(written, Ok(Some(_)))
        && let Err(error) = journal.cut()
    {
        tracing::error!(name: OPEN, zone = %submitted.apex, %error, "lines of an update that was not made stay in the journal; they do not count");
    }
    written
}

/// A change that is to be made.
struct Task<'t> {
    submitted: &'t Submitted,
    change: &'t Change,
    rights: &'t Rights<'t>,
    there: There,
}

impl Task<'_> {
    /// Writes the steps and loads them; they count once there is a version with them.
    fn attempt(
        &self,
        author: Author,
        journal: &mut Journal,
        catalog: &mut Catalog,
    ) -> Result<Option<Loaded>, Not> {
        let publishes = |record: &Record| self.rights.publish(&record.owner, record.rtype);
        let steps = journal.held.overlay.steps(self.change, &self.there, author, publishes);
        let mut overlay = journal.held.overlay.clone();
        steps.iter().cloned().for_each(|step: Step| overlay.take(step));
        if overlay.len() > MOST_RECORDS {
            let why = format!(
                "more than {MOST_RECORDS} records would lie over the zone file; `verge-dns fold` writes them into it"
            );
            return Err(Not(Rcode::Refused, Some(why)));
        }
        catalog.pend(Some(self.submitted.apex.clone()));
        let loaded = journal.write(&steps).map_err(unwritten).and_then(|()| load(self.submitted, catalog));
        catalog.pend(None);
        let Some(loaded) = loaded? else { return Ok(None) };
        let now = clock::moment().unix_seconds;
        journal.commit(&self.submitted.key, now).map_err(unwritten)?;
        self.tell_lost_pools(catalog);
        tidy(journal, &overlay, self.submitted, now);
        Ok(Some(loaded))
    }

    /// A mark that only an update had kept goes with its record where other records stand beside it.
    fn tell_lost_pools(&self, catalog: &Catalog) {
        let apex = &self.submitted.apex;
        let Some((_, zone)) = catalog.zones().find(|(own, _)| *own == apex) else { return };
        for name in self.there.unmarked_in(&zone.records).iter().filter(|name| !catalog.steers(name)) {
            tracing::warn!(zone = %apex, %name,
                "an update has taken the mark of a pool away: its addresses are no longer checked; write `; verge: steer` behind one of them");
        }
    }
}

fn tidy(journal: &mut Journal, overlay: &Overlay, submitted: &Submitted, now: u64) {
    if let Err(error) = journal.tidy(overlay, &submitted.key, now) {
        tracing::warn!(name: OPEN, zone = %submitted.apex, %error, "the journal cannot be written anew, and grows");
    }
}

/// A version with the update, if it is as good as the one before and shows nothing that was hidden; none if it is the same.
fn load(submitted: &Submitted, catalog: &mut Catalog) -> Result<Option<Loaded>, Not> {
    let not = |why: String| Not(Rcode::Refused, Some(why));
    let loaded =
        catalog.load(clock::system_now()).map_err(|error| Not(Rcode::ServFail, Some(error.to_string())))?;
    if loaded.world.is_none() {
        let why = "the zone file has errors or is gone, and its last good version is in service";
        let is_current = catalog.serves_current(&submitted.apex);
        return if is_current { Ok(None) } else { Err(Not(Rcode::ServFail, Some(why.to_owned()))) };
    }
    let unhidden = &loaded.report.unhidden;
    match fault(&loaded.report, submitted) {
        Some(fault) => Err(not(fault)),
        None if unhidden.count > 0 => Err(not(format!(
            "it would make records public that are hidden: {}; an edit of the zone file may do so, or mark them `; verge: internal`",
            unhidden.in_line()
        ))),
        None => Ok(Some(loaded)),
    }
}

fn fault(report: &Report, submitted: &Submitted) -> Option<String> {
    let zone = report.zones.iter().find(|zone| zone.apex == submitted.apex)?;
    let error = zone.news.iter().find(|problem| problem.severity == Severity::Error);
    match (error, zone.state) {
        (Some(error), _) => Some(error.message.clone()),
        (None, State::Current) => None,
        (None, _) => Some("the zone file has errors, and its last good version is in service".to_owned()),
    }
}

/// The zone's records that the change is about.
fn there(change: &Change, catalog: &Catalog, submitted: &Submitted, folder: &Path) -> There {
    let Some((_, zone)) = catalog.zones().find(|(apex, _)| **apex == submitted.apex) else {
        return There::default();
    };
    let journal = journal::path(folder, &submitted.apex);
    let in_file =
        |record: &Record| zone.files.get(record.at.file as usize).is_none_or(|file| file.path != journal);
    There::of(change, &zone.records, in_file)
}
