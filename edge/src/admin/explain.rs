//! `POST /explain`: what would become of a request now, and every number that goes into it.
//!
//! `{"url": "http://host/path", "headers": [["accept-language", "de"]]}` gives an [`Explained`]. Nothing is asked of an
//! origin and nothing is changed.

mod dictionary;

use std::sync::Arc;
use std::time::SystemTime;

use http::header::LOCATION;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::Refused;
use super::purge::found;
use crate::cache::{Cache, Found, absolute};
use crate::decide::step::{self, Local};
use crate::flight::FetchSite;
use crate::flight::reasons::Reason;
use crate::http::head::RequestHead;
use crate::http::path;
use crate::policy::control;
use crate::policy::freshness::{SKEW_TOLD_SECS, WhenStale};
use crate::policy::headers::withheld::withheld;
use crate::policy::{self, Content, Entry, Forward, Reuse, transient};
use crate::site::Rules;
use crate::site::Site;
use crate::site::access::Access;
use crate::site::key::{Key, ingredients};
use crate::site::route::Route;
use crate::site::rules::SetCookie;
use crate::site::signed::Rejected;
use crate::site::tags::Tags;
use crate::store::{Object, Variants};

/// A request to explain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExplainRequest {
    /// As clients ask for it.
    pub url: String,
    /// Its fields, name and value.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
}

/// The edge's explanation of one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    /// The site's name.
    pub site: String,
    /// The route of the site that has the path, by the first of its paths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// The URL in the key.
    pub key: String,
    /// The other parts of the key: fields, cookies, the device.
    pub ingredients: Vec<(String, String)>,
    /// The path that the origin would be asked for.
    pub path: String,
    /// The origins that may be asked, and how each stands.
    #[serde(default)]
    pub origins: Vec<String>,
    /// How one of them is chosen.
    #[serde(default)]
    pub balance: String,
    /// Bytes of the biggest response that is kept for this site.
    pub max_object_bytes: u64,
    /// The rules of the site that are about this path, in words.
    pub rules: Vec<String>,
    /// The settings that the config has for this path, as they are written, a line for each.
    #[serde(default)]
    pub settings: Vec<String>,
    /// `fresh`, `stale`, `revalidate`, `complete`, `slice`, `fetch`, `pass`, `refuse` or `redirect`.
    pub verdict: String,
    /// The verdict in a sentence, with its reason.
    pub because: String,
    /// Whether a hit would be the difference to what the client has, and why; of a site with `dictionaries`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dictionary: Option<String>,
    /// Why the last answer that is not stored was not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unkept: Option<String>,
    /// The number of the last purge of more than one key.
    pub epoch: u64,
    /// The responses stored under the key, newest first.
    pub variants: Vec<Variant>,
}

/// One stored response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variant {
    /// Whether the verdict is about this one.
    pub chosen: bool,
    /// Its status.
    pub status: u16,
    /// The request fields that select it, and their values.
    pub selecting: Vec<(String, Option<String>)>,
    /// `age_secs` = `initial_age_secs` + seconds since receipt.
    pub age_secs: u64,
    /// Age at receipt.
    pub initial_age_secs: u64,
    /// Fresh below this age.
    pub lifetime_secs: u64,
    /// Where the lifetime comes from.
    pub source: String,
    /// How it may be used once it is stale.
    pub when_stale: String,
    /// How the origin's clock differed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<String>,
    /// `ETag`.
    pub etag: Option<String>,
    /// `Last-Modified`.
    pub last_modified: Option<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// `Content-Encoding`.
    pub encoding: Option<String>,
    /// Bytes of its body.
    pub body_bytes: u64,
    /// Which bytes of the representation they are, if not all.
    pub part: Option<String>,
    /// The number of the last such purge when it was asked for.
    pub epoch: u64,
}

pub(super) async fn explain(cache: &Cache, body: &[u8]) -> Result<Explained, Refused> {
    let asked: ExplainRequest = serde_json::from_slice(body)
        .map_err(|error| Refused::bad(format!("write {{\"url\": \"http://…\"}}: {error}")))?;
    let now = cache.clock.now();
    let rejected = absolute(&asked.url).ok().and_then(|uri| cache.checked(&Method::GET, uri, now).err());
    let sent = fields(&asked)?;
    let found = found(cache, &asked.url, sent.clone())?;
    let Found { request, site, others, bypassed, key, .. } = &found;
    let variants = cache.store.get_from_disk(key, &site.site.name).await;
    let rules = &site.site.rules;
    let reuse = match bypassed {
        _ if !others.is_empty() => Reuse::Pass(Forward::Bypass),
        Some(_) => policy::bypassed(request),
        None => policy::reuse(request, &variants.entries(), rules, now),
    };
    let from_here = from_here(cache, request, &site.site, others, rejected);
    let chosen = if from_here.is_some() { None } else { chosen(&reuse) };
    let (verdict, because) = from_here.unwrap_or_else(|| (reuse.as_str(), because(&reuse)));
    let shown = |(index, object): (usize, &Arc<Object>)| {
        variant(cache, rules, object, object.entry.freshness(now), chosen == Some(index))
    };
    let hit = chosen.filter(|_| matches!(reuse, Reuse::Fresh { .. } | Reuse::Stale { .. }));
    let dictionary = dictionary::told(cache, &found, &sent, hit.map(|hit| &variants[hit]));
    Ok(Explained {
        site: site.site.name.to_string(),
        key: key.url(),
        ingredients: ingredients(request, &site.site.key),
        route: site.site.route.as_ref().map(|route| route.name.clone()),
        path: site.site.target(&request.uri).path().to_owned(),
        origins: site.standing().iter().map(ToString::to_string).collect(),
        balance: site.site.sharing.balance.as_str().to_owned(),
        max_object_bytes: site.site.max_object_bytes,
        rules: rules_for(cache, &found, &asked),
        settings: site.site.settings.clone(),
        verdict: verdict.into(),
        because,
        dictionary,
        unkept: unkept(cache, key, &variants, now),
        epoch: cache.store.epoch(),
        variants: variants.iter().enumerate().map(shown).collect(),
    })
}

/// The verdict on a request that is answered without the store and the origin, in the order in which that is found out.
fn from_here(
    cache: &Cache,
    request: &RequestHead,
    site: &Site,
    others: &[Arc<FetchSite>],
    rejected: Option<Rejected>,
) -> Option<(&'static str, String)> {
    if site.is_sent_to_https(&request.uri) {
        return Some(("redirect", "https_only sends it to the same address over HTTPS".into()));
    }
    if let Some(why) = rejected {
        return Some(("refuse", format!("403 from here: {} (signed_paths)", why.as_str())));
    }
    if let Some(Local::Elsewhere(head)) = step::local(request, &site.redirects) {
        let location = head.headers.get(LOCATION).map(text).unwrap_or_default();
        return Some(("redirect", format!("the site sends it to {location}")));
    }
    if cache.is_in_maintenance(site) {
        let because = "503 from here: the site is being worked on, but for maintenance_exempt";
        return Some(("refuse", because.into()));
    }
    let is_ambiguous = !others.is_empty() && site.route.as_ref().is_some_and(Route::leads_below);
    is_ambiguous
        .then(|| ("refuse", "400 from here: an origin may read its path as outside of the route".to_owned()))
}

/// Why the last answer was not kept, unless one came later that was.
fn unkept(cache: &Cache, key: &Key, variants: &Variants, now: SystemTime) -> Option<String> {
    let Reason { word, status, at } = cache.flights.reasons.of(key)?;
    if variants.entries().iter().any(|entry| entry.received > at) {
        return None;
    }
    let secs = now.duration_since(at).unwrap_or_default().as_secs();
    Some(match status {
        Some(status) => format!("{secs} s ago a {} was not kept: {word}", status.as_u16()),
        None => format!("{secs} s ago no origin answered: {word}"),
    })
}

fn fields(asked: &ExplainRequest) -> Result<HeaderMap, Refused> {
    let mut headers = HeaderMap::new();
    for (name, value) in &asked.headers {
        match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
            (Ok(name), Ok(value)) => drop(headers.append(name, value)),
            _ => return Err(Refused::bad(format!("not a field: `{name}: {value}`"))),
        }
    }
    headers.remove(http::header::HOST);
    Ok(headers)
}

fn chosen(reuse: &Reuse) -> Option<usize> {
    match reuse {
        Reuse::Fresh { variant, .. }
        | Reuse::Stale { variant, .. }
        | Reuse::Revalidate { variant, .. }
        | Reuse::Complete { variant, .. } => Some(*variant),
        Reuse::Fetch { reserve, .. } => *reserve,
        Reuse::Slice(_) | Reuse::Pass(_) | Reuse::Refuse(..) => None,
    }
}

fn because(reuse: &Reuse) -> String {
    match reuse {
        Reuse::Fresh { freshness, .. } => {
            format!(
                "a hit: its age of {} s is below its lifetime of {} s",
                freshness.age_secs, freshness.lifetime_secs
            )
        }
        Reuse::Stale { freshness, why, .. } => {
            format!("served stale, {} s after its end: {}", -freshness.ttl_secs(), why.as_str())
        }
        Reuse::Revalidate { why, .. } => {
            format!("the origin is asked whether it still holds: {}", reason(*why))
        }
        Reuse::Complete { .. } => "the origin is asked for the bytes that the stored part lacks".into(),
        Reuse::Fetch { why, .. } => format!("the origin is asked for it: {}", reason(*why)),
        Reuse::Slice(slice) => {
            format!("a slice of a large object is fetched: bytes {} to {}", slice.first, slice.last)
        }
        Reuse::Pass(why) => format!("goes to the origin as it is: {}", reason(*why)),
        Reuse::Refuse(status, why) => format!("{} from here: {}", status.as_u16(), reason(*why)),
    }
}

fn reason(why: Forward) -> &'static str {
    match why {
        Forward::UriMiss => "nothing is stored under its key",
        Forward::VaryMiss => "what is stored is for other values of the fields in Vary",
        Forward::Stale => "what is stored is stale",
        Forward::NoCache => "what is stored says no-cache",
        Forward::Request => {
            "the request asks for validation, and what is stored is only heuristically fresh, or the site lets clients ask"
        }
        Forward::Method => "its method is not answered from a cache",
        Forward::Bypass => "the site bypasses it",
        Forward::Body => "it has a body",
        Forward::RangeUnit => "its range is in another unit than bytes, and the origin's to cut",
        Forward::Partial => "the stored part has not all that is asked for",
        Forward::Condition => "its precondition is the origin's to judge",
        Forward::OnlyIfCached => "only-if-cached, and nothing that may be used is stored",
        Forward::Failure => "the origin failed, and nothing stored may stand in",
    }
}

fn rules_for(cache: &Cache, found: &Found, asked: &ExplainRequest) -> Vec<String> {
    let Found { request, site, others, bypassed, .. } = found;
    let site = &*site.site;
    let mut rules = vec![cookies_rule(site.rules.set_cookie).to_owned()];
    for other in others {
        let which = other.site.route.as_ref().map_or("no route", |route| &route.name);
        rules.push(format!("bypass: never kept, as an origin may take its path for one of {which}"));
    }
    if cache.is_in_maintenance(site) {
        rules.push("maintenance: the site is being worked on".to_owned());
    }
    rules.extend(access_rules(&site.access));
    rules.extend(content_rules(request, site));
    if !site.purge_from.is_empty() {
        rules.push(format!("purge_from: PURGE and BAN are obeyed from {}", listed(&site.purge_from)));
    }
    if let Some(why) = bypassed.or_else(|| site.rules.bypass.of(request)) {
        rules.push(format!("bypass: never kept, for {}", why.as_str()));
    }
    for name in asked.headers.iter().filter_map(|(name, _)| HeaderName::from_bytes(name.as_bytes()).ok()) {
        if let Some(row) = withheld(&name, &request.method, &site.rules.allow_fields) {
            rules.push(format!("withheld: {name}, taken for {} by {}", row.taken.as_str(), row.by));
        }
    }
    let path = path::normal(request.uri.path());
    for rule in site.rules.overrides.iter().filter(|rule| rule.path.matches(&path)) {
        let statuses: Vec<&str> = rule.statuses.iter().map(http::StatusCode::as_str).collect();
        let statuses = if statuses.is_empty() { "200".to_owned() } else { statuses.join(", ") };
        rules.push(format!("ttl: {} s for status {statuses}", rule.ttl_secs));
    }
    rules
}

fn listed(networks: &[IpNet]) -> String {
    networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The rules for content on its way, and for a head that origins would not take.
fn content_rules(request: &RequestHead, site: &Site) -> Vec<String> {
    let mut rules = Vec::new();
    if !site.compress.codings.is_empty() {
        let codings: Vec<&str> = site.compress.codings.iter().map(|coding| coding.as_str()).collect();
        rules.push(format!("compress: {} from {} bytes on", codings.join(", "), site.compress.least_bytes));
    }
    if site.buffer_bytes > 0 {
        rules.push(format!("buffer_requests: up to {} bytes are waited for", site.buffer_bytes));
    }
    let head = site.rules.origin_head;
    let bytes: usize =
        request.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if bytes > head.bytes || request.headers.len() > head.fields {
        rules.push(format!("origin_head_size: {bytes} bytes of fields are more than origins get: 431"));
    }
    rules
}

fn access_rules(access: &Access) -> Vec<String> {
    let Access { allow, deny, users, rate, max_body_bytes } = access;
    let mut rules = Vec::new();
    if !allow.is_empty() {
        rules.push(format!("allow: only clients in {}", listed(allow)));
    }
    if !deny.is_empty() {
        rules.push(format!("deny: no clients in {}", listed(deny)));
    }
    if let Some(users) = users {
        rules.push(format!("basic_auth: {} users by name and password", users.count()));
    }
    if let Some(rate) = rate {
        rules.push(format!(
            "rate_limit: {} requests in {} s for each network",
            rate.requests,
            rate.period.as_secs()
        ));
    }
    if let Some(bytes) = max_body_bytes {
        rules.push(format!("max_request_body: {bytes} bytes"));
    }
    rules
}

fn cookies_rule(rule: SetCookie) -> &'static str {
    match rule {
        SetCookie::Never => "set_cookie: a response that sets a cookie is passed on and not stored",
        SetCookie::Strip => "set_cookie: a response is stored without the cookie that it sets",
        SetCookie::WhenExplicit => {
            "set_cookie: a response that the origin gave a lifetime is stored with its cookie, which everybody gets"
        }
    }
}

fn variant(
    cache: &Cache,
    rules: &Rules,
    object: &Object,
    freshness: policy::Freshness,
    chosen: bool,
) -> Variant {
    let entry = &object.entry;
    let headers = &entry.head.headers;
    let field = |name: &str| headers.get(name).map(text);
    let tags = match cache.store.tags(headers) {
        Tags::These(tags) => tags.into_iter().map(|tag| String::from_utf8_lossy(&tag).into_owned()).collect(),
        Tags::Any => vec!["(more than are compared: every tag purge takes it)".to_owned()],
    };
    let selecting = entry.selecting.values();
    let lossy = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    Variant {
        chosen,
        status: entry.head.status.as_u16(),
        selecting: selecting.map(|(name, value)| (name.to_string(), value.map(lossy))).collect(),
        age_secs: freshness.age_secs,
        initial_age_secs: entry.lifetime.initial_age_secs,
        lifetime_secs: freshness.lifetime_secs,
        source: freshness.source.as_str().into(),
        when_stale: when_stale(entry, rules),
        clock: clock(entry.lifetime.skew_secs),
        etag: field("etag"),
        last_modified: field("last-modified"),
        tags,
        encoding: field("content-encoding"),
        body_bytes: object.body.bytes(),
        part: match entry.content {
            Content::Whole { .. } => None,
            Content::Part(part) => Some(text(&part.content_range())),
        },
        epoch: object.epoch.number(),
    }
}

fn when_stale(entry: &Entry, rules: &Rules) -> String {
    match entry.lifetime.stale {
        WhenStale::NeverUnvalidated => "validated at each use, also while fresh".into(),
        WhenStale::MustRevalidate => format!("must be validated{}", forbidding(entry, rules)),
        WhenStale::May { while_revalidate_secs, if_error_secs } => {
            format!("stale-while-revalidate {while_revalidate_secs} s, stale-if-error {if_error_secs} s")
        }
    }
}

/// The rule that forbids stale answers, where the response seems to allow them.
fn forbidding(entry: &Entry, rules: &Rules) -> String {
    let (control, _) = control::of_response(&entry.head.headers, &rules.targeted);
    let window = match (control.stale_while_revalidate, control.stale_if_error) {
        (Some(secs), _) => format!("stale-while-revalidate={secs}"),
        (None, Some(secs)) => format!("stale-if-error={secs}"),
        (None, None) => return String::new(),
    };
    if transient::is_transient(entry.head.status) {
        ": an error is kept for seconds only (max_error_ttl)".to_owned()
    } else if control.must_revalidate || control.proxy_revalidate {
        format!(": must-revalidate or proxy-revalidate forbids its {window}")
    } else {
        format!(
            ": s-maxage forbids it (RFC 9111 §5.2.2.10); s_maxage = \"yields-to-windows\" would allow its {window}"
        )
    }
}

fn clock(skew_secs: i64) -> Option<String> {
    let told = skew_secs.unsigned_abs() >= SKEW_TOLD_SECS;
    let which = if skew_secs > 0 { "behind, which makes the response look older" } else { "ahead" };
    told.then(|| format!("the origin's clock is {} s {which}", skew_secs.unsigned_abs()))
}

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}
