//! Many pieces of work for a running edge: some at once, within a rate, with a bar on a terminal, and without those that an
//! earlier run has done.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::Failed;

/// The clock by which a command paces and tells its own work.
#[expect(clippy::disallowed_methods, reason = "a command reads the clock; nothing is decided by it")]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// How fast, and where to go on.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Pace {
    /// At once
    #[arg(long, value_name = "NUMBER", default_value_t = 4)]
    parallel: usize,
    /// At most so many begin in a second
    #[arg(long, value_name = "NUMBER")]
    rate: Option<f64>,
    /// Write down in this file what is done, and leave out what is in it: a run that was cut short goes on
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,
}

/// The result of one piece of work.
#[derive(Debug)]
pub(super) struct Done {
    /// For the person who waits.
    pub(super) line: String,
    pub(super) bytes: u64,
    pub(super) is_failed: bool,
}

/// How often the bar is drawn.
const DRAWN_EVERY: Duration = Duration::from_millis(200);
/// Of the bar itself.
const BAR_WIDTH: u64 = 24;

impl Pace {
    /// Does `work` with each of these, which have names. The number of those that failed, and of all.
    pub(super) async fn each<T, F>(
        &self,
        items: Vec<(String, T)>,
        mut work: impl FnMut(String, T) -> F,
    ) -> Result<(usize, usize), Failed>
    where
        F: Future<Output = Result<Done, Failed>> + Send + 'static,
    {
        let mut book = Book::open(self.resume.as_deref())?;
        let total = items.len();
        let left: Vec<_> = items.into_iter().filter(|(name, _)| !book.has(name)).collect();
        let mut tally = Tally::new(total, total - left.len());
        let (mut waiting, mut running) = (left.into_iter().enumerate(), JoinSet::new());
        let mut lines = Lines::default();
        let rate = self.rate.filter(|rate| *rate > 0.0);
        let between = rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(1.0 / rate));
        let (mut next_at, mut ticks) = (now(), interval(DRAWN_EVERY));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            let is_free = running.len() < self.parallel.max(1);
            if is_free
                && next_at <= now()
                && let Some((number, (name, item))) = waiting.next()
            {
                let done = work(name.clone(), item);
                running.spawn(async move { (number, name, done.await) });
                next_at = now().max(next_at + between);
                continue;
            }
            if running.is_empty() && waiting.len() == 0 {
                break;
            }
            tokio::select! {
                Some(ended) = running.join_next() => {
                    let (number, name, done) = ended.map_err(Failed::because)?;
                    tally.wipe();
                    tally.add(done.as_ref().map_or(0, |done| done.bytes), done.as_ref().map_or(true, |done| done.is_failed));
                    if done.as_ref().is_ok_and(|done| !done.is_failed) {
                        book.note(&name)?;
                    }
                    lines.say(number, done.map(|done| done.line).map_err(|why| why.about(&name)));
                }
                () = sleep_until(next_at), if is_free && waiting.len() > 0 => {}
                _ = ticks.tick() => tally.draw(),
            }
        }
        tally.wipe();
        Ok((tally.failed, total))
    }
}

/// Says the lines in the order of what they are about, whatever ends first.
#[derive(Default)]
struct Lines {
    next: usize,
    early: BTreeMap<usize, Result<String, Failed>>,
}

impl Lines {
    fn say(&mut self, number: usize, line: Result<String, Failed>) {
        self.early.insert(number, line);
        while let Some(line) = self.early.remove(&self.next) {
            self.next += 1;
            match line {
                Ok(line) => super::say(line),
                Err(why) => drop(why.report()),
            }
        }
    }
}

/// The names of what is done, in a file.
struct Book {
    known: HashSet<String>,
    file: Option<File>,
}

impl Book {
    fn open(path: Option<&Path>) -> Result<Self, Failed> {
        let Some(path) = path else { return Ok(Self { known: HashSet::new(), file: None }) };
        let why = |error: io::Error| Failed::because(format!("{}: {error}", path.display()));
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            text => text.map_err(why)?,
        };
        // A line that was cut short is none.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let file = OpenOptions::new().append(true).create(true).open(path).map_err(why)?;
        if !text.is_empty() && !text.ends_with('\n') {
            writeln!(&file).map_err(why)?;
        }
        Ok(Self { known: whole.lines().map(str::to_owned).collect(), file: Some(file) })
    }

    fn has(&self, name: &str) -> bool {
        self.known.contains(name)
    }

    fn note(&mut self, name: &str) -> Result<(), Failed> {
        match &mut self.file {
            Some(file) => writeln!(file, "{name}").map_err(Failed::because),
            None => Ok(()),
        }
    }
}

/// How far it is.
struct Tally {
    total: usize,
    done: usize,
    /// Done by an earlier run.
    skipped: usize,
    failed: usize,
    bytes: u64,
    began: Instant,
    is_shown: bool,
    is_drawn: bool,
}

impl Tally {
    fn new(total: usize, skipped: usize) -> Self {
        let (is_shown, began) = (io::stderr().is_terminal(), now());
        Self { total, done: skipped, skipped, failed: 0, bytes: 0, began, is_shown, is_drawn: false }
    }

    fn add(&mut self, bytes: u64, is_failed: bool) {
        self.done += 1;
        self.bytes += bytes;
        self.failed += usize::from(is_failed);
    }

    fn draw(&mut self) {
        if self.is_shown {
            let line = bar(self.done, self.skipped, self.total, self.bytes, self.began.elapsed());
            let _ = write!(io::stderr(), "\r\x1b[K{line}");
            self.is_drawn = true;
        }
    }

    /// Makes room for a line.
    fn wipe(&mut self) {
        if std::mem::take(&mut self.is_drawn) {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

/// The bar: how much is done, how fast, and how long the rest takes at that rate.
fn bar(done: usize, skipped: usize, total: usize, bytes: u64, passed: Duration) -> String {
    let (done_u64, total_u64) = (done as u64, (total as u64).max(1));
    let full = usize::try_from(done_u64 * BAR_WIDTH / total_u64).unwrap_or(0);
    let empty = usize::try_from(BAR_WIDTH).unwrap_or(0).saturating_sub(full);
    let secs = passed.as_secs_f64().max(0.001);
    let rate = (done - skipped) as f64 / secs;
    let left = if rate > 0.0 { clock(((total - done) as f64 / rate) as u64) } else { "-".to_owned() };
    format!(
        "[{}{}] {:3} % {done} of {total}, {rate:.1}/s, {:.1} MB/s, {left} left",
        "=".repeat(full),
        " ".repeat(empty),
        done_u64 * 100 / total_u64,
        bytes as f64 / 1e6 / secs,
    )
}

fn clock(secs: u64) -> String {
    match secs / 3_600 {
        0 => format!("{}:{:02}", secs / 60, secs % 60),
        hours => format!("{hours}:{:02}:{:02}", secs / 60 % 60, secs % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_tells_how_much_how_fast_and_how_long() {
        let check = |done, skipped, total, bytes, secs, expected: &str| {
            assert_eq!(bar(done, skipped, total, bytes, Duration::from_secs(secs)), expected);
        };
        let none = " ".repeat(24);
        check(0, 0, 10, 0, 1, &format!("[{none}]   0 % 0 of 10, 0.0/s, 0.0 MB/s, - left"));
        let half = format!("[{}{}]", "=".repeat(12), " ".repeat(12));
        check(50, 0, 100, 30_000_000, 10, &format!("{half}  50 % 50 of 100, 5.0/s, 3.0 MB/s, 0:10 left"));
        // An earlier run's work says nothing of the rate.
        check(50, 40, 100, 0, 10, &format!("{half}  50 % 50 of 100, 1.0/s, 0.0 MB/s, 0:50 left"));
        check(1, 0, 7_300, 0, 1, &format!("[{none}]   0 % 1 of 7300, 1.0/s, 0.0 MB/s, 2:01:39 left"));
        let all = "=".repeat(24);
        check(3, 0, 3, 0, 1, &format!("[{all}] 100 % 3 of 3, 3.0/s, 0.0 MB/s, 0:00 left"));
        check(0, 0, 0, 0, 0, &format!("[{none}]   0 % 0 of 0, 0.0/s, 0.0 MB/s, - left"));
    }

    #[tokio::test]
    async fn a_run_that_was_cut_short_goes_on_with_what_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("done");
        fs::write(&file, "a\nb\nc, cut sho").unwrap();
        let pace = Pace { parallel: 2, rate: None, resume: Some(file.clone()) };
        let run = async |failing: &'static str| {
            let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
            let items = ["a", "b", "c", "d"].map(|name| (name.to_owned(), ())).into();
            let counts = pace.each(items, |name, ()| {
                seen.lock().unwrap().push(name.clone());
                async move { Ok(Done { line: String::new(), bytes: 1, is_failed: name == failing }) }
            });
            let counts = counts.await.unwrap();
            let mut seen = seen.lock().unwrap().clone();
            seen.sort();
            (counts, seen.join(""))
        };
        assert_eq!(run("d").await, ((1, 4), "cd".to_owned()));
        assert_eq!(run("").await, ((0, 4), "d".to_owned()));
        assert_eq!(run("").await, ((0, 4), String::new()));
    }

    #[tokio::test]
    async fn no_more_run_than_are_allowed_and_no_more_begin_than_the_rate_says() {
        let most_at_once = async |parallel, rate| {
            let now = std::sync::Arc::new(std::sync::Mutex::new((0, 0)));
            let pace = Pace { parallel, rate, resume: None };
            let items = (0..20).map(|n: u32| (n.to_string(), ())).collect();
            let counts = pace.each(items, |_, ()| {
                let now = std::sync::Arc::clone(&now);
                async move {
                    {
                        let mut now = now.lock().unwrap();
                        now.0 += 1;
                        now.1 = now.0.max(now.1);
                    }
                    tokio::task::yield_now().await;
                    now.lock().unwrap().0 -= 1;
                    Ok(Done { line: String::new(), bytes: 0, is_failed: false })
                }
            });
            assert_eq!(counts.await.unwrap(), (0, 20));
            now.lock().unwrap().1
        };
        for parallel in [1, 3, 20] {
            assert_eq!(most_at_once(parallel, None).await, parallel);
        }
        let began = now();
        most_at_once(3, Some(1_000.0)).await;
        assert!(began.elapsed() >= Duration::from_millis(19), "{:?}", began.elapsed());
    }
}
