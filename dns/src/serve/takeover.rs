//! The new process's part of a start that takes over: it gets the sockets, waits until the process before writes no more, tells it
//! that this one answers, and makes the updates that come there still.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::mpsc::channel;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::StartError;
use super::departures::Departures;
use super::handover::systemd;
use super::handover::{
    Handed, HandoverError, Left, Passed, Passes, Pool, Predecessor, Returned, Secrets, Threshold, run_folder,
};
use super::responder::{Reply, Responder};
use super::update::Asked;
use crate::catalog::report::{Report, State};
use crate::client::{Client, Listener, Proved, Transport};
use crate::clock;
use crate::config::{Config, Cookies};
use crate::cookie;
use crate::limit::Limits;
use crate::wire::Moment;
use crate::world::World;

/// The meeting with the process before, if there is one.
pub(super) struct Meeting {
    folder: Option<PathBuf>,
    predecessor: Option<Predecessor>,
    handed: Vec<Handed>,
    /// Where the next process will meet this one.
    pub(super) threshold: Option<Threshold>,
    pub(super) secrets: Secrets,
    /// The names of sockets that systemd is not to keep any longer, once this process has taken over.
    pub(super) unwanted: Vec<String>,
    /// Cancelled when this process is told to stop.
    stop: CancellationToken,
}

/// Answers for the process before, what came there.
pub(super) struct Deputy {
    /// In the order of [`Transport::ALL`].
    responders: [Responder; Transport::ALL.len()],
    departures: Departures,
}

/// A process that does not leave within this time is stuck, and is told of.
const LEAVE_PATIENCE: Duration = Duration::from_secs(10);

impl Meeting {
    /// Asks the process that answers now, if one does and meets others in the run folder. Once this process is told to `stop`, it
    /// does not take over.
    pub(super) async fn of(config: &Config, stop: CancellationToken) -> Result<Self, StartError> {
        let folder = run_folder(config.run_folder.as_deref());
        blocking(move || {
            let mut predecessor = folder.as_deref().map(Predecessor::find).transpose()?.flatten();
            let handed = predecessor.as_mut().map(Predecessor::take).unwrap_or_default();
            let before = predecessor.as_ref().map(|before| before.secrets().clone());
            let secrets = before.map_or_else(Secrets::new, Secrets::next);
            let threshold = folder.as_deref().map(Threshold::prepare).transpose()?;
            Ok(Self { folder, predecessor, handed, threshold, secrets, unwanted: Vec::new(), stop })
        })
        .await
    }

    /// The sockets that were handed over, once, and those that systemd passed.
    pub(super) fn sockets(&mut self, passed: systemd::Passed) -> Pool {
        Pool::new(std::mem::take(&mut self.handed), passed)
    }

    /// A process that has none of our addresses is not the one that is to be replaced.
    pub(super) fn recognize(&self, handed: &Pool) -> Result<(), StartError> {
        let Some(folder) = self.folder.as_ref().filter(|_| handed.is_of_another()) else { return Ok(()) };
        Err(StartError::Handover(HandoverError::Other(folder.clone())))
    }

    /// Keeps the cookies good that the process before gave, or has the next one keep ours.
    pub(super) fn share(&mut self, config: &Config, cookies: &mut Option<cookie::Secrets>) {
        let Some(own) = cookies.as_mut().filter(|_| config.cookies == Cookies::Random) else { return };
        match self.secrets.cookies {
            Some(before) => own.active = before,
            None => self.secrets.cookies = Some(own.active),
        }
    }

    pub(super) fn is_alone(&self) -> bool {
        self.predecessor.is_none()
    }

    /// Has the process before write nothing any more; whether it knows of which zones it is the primary.
    pub(super) async fn hold(&mut self, report: &Report) -> Result<bool, StartError> {
        let Some(mut predecessor) = self.wanted()? else { return Ok(false) };
        let zones: Vec<String> = report.zones.iter().map(|zone| zone.apex.to_string()).collect();
        let broken = report.zones.iter().filter(|zone| zone.state == State::Broken);
        let broken = broken.map(|zone| zone.apex.to_string()).collect();
        let held =
            blocking(move || Ok(predecessor.hold(&zones, broken)?.map(|settled| (predecessor, settled))))
                .await?;
        let Some((predecessor, settled)) = held else {
            tell_of_end();
            return Ok(false);
        };
        self.predecessor = Some(predecessor);
        Ok(settled)
    }

    /// Makes sure that the process before waits still, before this one writes and answers.
    pub(super) async fn renew(&mut self) -> Result<(), StartError> {
        let Some(mut predecessor) = self.wanted()? else { return Ok(()) };
        self.predecessor = blocking(move || Ok(predecessor.renew()?.then_some(predecessor))).await?;
        if self.is_alone() {
            tell_of_end();
        }
        Ok(())
    }

    /// Tells it that this process answers. It is gone when this returns without an error.
    pub(super) async fn dismiss(&mut self) -> Result<Left, StartError> {
        let Some(predecessor) = self.wanted()? else { return Ok(Left::default()) };
        let mut leaving = pin!(blocking(move || predecessor.dismiss()));
        if let Ok(left) = timeout(LEAVE_PATIENCE, &mut leaving).await {
            return left;
        }
        tracing::warn!(
            "the process before does not say that it has left; this one answers, and writes when that one has or is gone"
        );
        leaving.await
    }

    /// The process before, unless this one is told to stop: then that one goes on.
    fn wanted(&mut self) -> Result<Option<Predecessor>, StartError> {
        let predecessor = self.predecessor.take();
        if predecessor.is_some() && self.stop.is_cancelled() {
            return Err(StartError::Stopped);
        }
        Ok(predecessor)
    }
}

fn tell_of_end() {
    tracing::warn!("the process before has ended while this one was loading");
}

async fn blocking<T: Send + 'static>(
    talk: impl FnOnce() -> Result<T, HandoverError> + Send + 'static,
) -> Result<T, StartError> {
    let talked = tokio::task::spawn_blocking(talk).await;
    talked.expect("talking does not panic").map_err(StartError::Handover)
}

/// Makes the updates that come to the process before, answers questions there, and obeys its reloads, until it ends.
pub(super) fn make_passed(passes: Passes, deputy: Deputy, reload: impl Fn() + Send + 'static) {
    let make = move || {
        if let Err(error) = passes.run(|passed| deputy.take(passed), reload) {
            tracing::warn!(%error, "updates that came to the process before may be unanswered");
        }
    };
    if let Err(error) = std::thread::Builder::new().name("passed updates".to_owned()).spawn(make) {
        tracing::warn!(%error, "updates that came to the process before are not made");
    }
}

impl Deputy {
    pub(super) fn new(responder: impl Fn(Transport) -> Responder, departures: Departures) -> Self {
        Self { responders: Transport::ALL.map(responder), departures }
    }

    /// Makes an update that came to another process, or answers a question: the answer, as that process is to send it. Where this
    /// process has been taken over itself, the next one answers; nobody does once this one ends.
    fn take(&self, passed: Passed) -> Returned {
        let Passed { message, address, port, inside, transport } = passed;
        let mut known = Transport::ALL.into_iter().zip(&self.responders);
        let Some((transport, responder)) = known.find(|(it, _)| it.as_str() == transport) else {
            return Returned::Unanswered;
        };
        let listener = if inside { Listener::Inside } else { Listener::Outside };
        // Certificates open transfers alone. The connection is of a process that ends.
        let proved = Proved::default();
        let client = Client { address, port, listener, transport, proved, is_to_close: true };
        let (send, answer) = channel::<Vec<u8>>();
        // The receiver below waits for it.
        let reply = Box::new(move |made| drop(send.send(made)));
        let (world, now) = (responder.world(), clock::moment());
        if let Some(submitted) = responder.submitted(&world, &message, &client, now) {
            // Held on to, it could not be released.
            drop(world);
            responder.submit(submitted, (message.into(), client), reply);
            return returned(answer.recv().ok());
        }
        if self.departures.have_begun() {
            drop(world);
            responder.pass_on(Asked { message: message.into(), client, reply });
            return returned(answer.recv().ok());
        }
        answer_at_once(responder, (message.as_slice(), &client), &world, now)
    }
}

fn answer_at_once(
    responder: &Responder,
    (message, client): (&[u8], &Client),
    world: &World,
    now: Moment,
) -> Returned {
    let mut answer = Vec::new();
    match responder.answer(&mut Limits::default(), world, message, client, now, &mut answer) {
        Reply::Send => Returned::Answer(answer),
        Reply::Silence => Returned::Silence,
    }
}

/// The end of a message that went to the loader, which drops the reply to one that it does not answer.
fn returned(answer: Option<Vec<u8>>) -> Returned {
    match answer {
        Some(answer) if answer.is_empty() => Returned::Silence,
        Some(answer) => Returned::Answer(answer),
        None => Returned::Unanswered,
    }
}
