//! Active checks: each origin is asked again and again whether it is well, by a request of the edge's own.
//!
//! A check makes a connection of its own, so that it finds out whether the next one comes about. The checks of a site begin
//! with its config, before the first request, and end when another config is in service, though requests and connections may
//! still go by theirs.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::body::RequestBody;
use super::connection::{Exchange, REFUSED};
use super::member::Member;
use crate::clock::Clock;
use crate::site::Patience;
use crate::site::origin::{Ask, Checks as Rules};

/// The checks of one group of origins; they end with it, or before.
#[derive(Debug)]
pub(super) struct Checks(Vec<Check>);

#[derive(Debug)]
struct Check {
    member: Arc<Member>,
    /// By which the origin knows it.
    number: u64,
    task: AbortHandle,
}

impl Checks {
    /// They change nothing from now on. One that is at its origin just now does not count.
    pub(super) fn end(&self) {
        for check in &self.0 {
            check.member.health.leave_checks(check.number);
            check.task.abort();
        }
    }
}

impl Drop for Checks {
    fn drop(&mut self) {
        self.end();
    }
}

/// Begins to check each of these.
pub(super) fn begin(members: Vec<Arc<Member>>, rules: &Arc<Rules>, clock: &Clock) -> Checks {
    let begin = |member: Arc<Member>| {
        let number = member.health.begin_checks();
        let repeated = repeat(Arc::clone(&member), number, Arc::clone(rules), clock.clone());
        Check { member, number, task: tokio::spawn(repeated).abort_handle() }
    };
    Checks(members.into_iter().map(begin).collect())
}

async fn repeat(member: Arc<Member>, number: u64, rules: Arc<Rules>, clock: Clock) {
    loop {
        let outcome = match timeout(rules.timeout, check(&member, &rules)).await {
            Ok(outcome) => outcome,
            Err(_) => Err("no answer in time".to_owned()),
        };
        member.checked(number, outcome, &rules, clock.now());
        // Edges that were started together do not ask together for ever.
        let jitter = 0.9 + 0.2 * rand::random::<f64>();
        clock.timer(rules.interval.mul_f64(jitter)).await;
    }
}

/// A sentence tells what is wrong.
async fn check(member: &Member, rules: &Rules) -> Result<(), String> {
    match &rules.ask {
        Some(ask) => answers(member, ask, rules.timeout).await,
        None => member.dial(rules.timeout).await.map(drop).map_err(|error| error.as_str().to_owned()),
    }
}

async fn answers(member: &Member, rules: &Ask, limit: Duration) -> Result<(), String> {
    let mut request = Request::new(RequestBody::Empty);
    *request.method_mut() = rules.method.clone();
    *request.uri_mut() = rules.path.clone().into();
    let host = rules.host.as_deref().unwrap_or_else(|| member.own_host());
    let host = HeaderValue::from_str(host).map_err(|_| "its name cannot be a Host".to_owned())?;
    request.headers_mut().insert(header::HOST, host);
    request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static("verge-edge-health"));
    let patience = Patience {
        connect: limit,
        first_byte: limit,
        between_bytes: limit,
        idle: Duration::ZERO,
        whole: None,
    };
    let response = match member.probe(request, patience).await {
        Exchange::Answered(response) => response,
        Exchange::Unsent(_, error) | Exchange::Dropped(error, _) | Exchange::Lost(error) => {
            return Err(error.as_str().to_owned());
        }
        Exchange::Refused(..) => return Err(REFUSED.as_str().to_owned()),
    };
    if !is_expected(response.status(), &rules.statuses) {
        return Err(format!("status {}", response.status().as_u16()));
    }
    let Some(text) = &rules.body else { return Ok(()) };
    let body = Limited::new(response.into_body(), MAX_BODY_BYTES).collect().await;
    let body = body.map_err(|_| format!("its body broke off, or is longer than {MAX_BODY_BYTES} bytes"))?;
    let has = |body: &[u8]| text.is_empty() || body.windows(text.len()).any(|part| part == text.as_bytes());
    if has(&body.to_bytes()) { Ok(()) } else { Err(format!("its body has no {text:?}")) }
}

/// A page that says how it goes is short.
const MAX_BODY_BYTES: usize = 64 << 10;

fn is_expected(status: StatusCode, expected: &[StatusCode]) -> bool {
    if expected.is_empty() { status.as_u16() < 400 } else { expected.contains(&status) }
}
