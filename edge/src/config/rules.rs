//! A site's rules as they are written: what is kept how long, what makes a key, what is set, removed or elsewhere.

use http::{HeaderName, HeaderValue, Method, StatusCode};
use toml::Spanned;

use super::head;
use super::place::Fault;
use super::settings::Settings;
use super::tables::{
    ClientControlName, FieldsTable, KeyTable, QueryName, RedirectTable, SMaxageName, SetCookieName, TtlTable,
};
use super::unit::Span;
use crate::http::head::HeadLimits;
use crate::policy::headers::withheld;
use crate::site::Rules;
use crate::site::cookies::Cookies;
use crate::site::dictionaries::Dictionaries;
use crate::site::key::{Device, Keep, KeyRules, Order, Query};
use crate::site::offer::{LEAST_BYTES, Offer};
use crate::site::pattern::{MAX_WILDCARDS, NamePattern, PathPattern};
use crate::site::rewrite;
use crate::site::rewrite::{FieldRules, Redirect};
use crate::site::rules::{
    Bypass, ClientControl, DEFAULT_PERCENT, HEURISTIC_MAX_SECS, Heuristic, SMaxage, SetCookie, TtlOverride,
};

pub(super) fn rules(site: &Settings) -> Result<Rules, Fault> {
    let default = Rules::default();
    let or = |span: Option<Span>, secs: u64| span.map_or(secs, |span| span.0.as_secs());
    Ok(Rules {
        default_ttl_secs: or(site.default_ttl, default.default_ttl_secs),
        negative_ttl_secs: or(site.negative_ttl, default.negative_ttl_secs),
        max_error_ttl_secs: or(site.max_error_ttl, default.max_error_ttl_secs),
        heuristic: heuristic(site)?,
        max_ttl_secs: or(site.max_ttl, default.max_ttl_secs).min(default.max_ttl_secs),
        stale_while_revalidate_secs: or(site.stale_while_revalidate, default.stale_while_revalidate_secs),
        stale_if_error_secs: or(site.stale_if_error, default.stale_if_error_secs),
        stale_on_disconnect_secs: or(site.stale_on_disconnect, default.stale_on_disconnect_secs),
        client_control: match site.client_control {
            None | Some(ClientControlName::Limited) => ClientControl::Limited,
            Some(ClientControlName::Full) => ClientControl::Full,
        },
        set_cookie: match site.set_cookie {
            None | Some(SetCookieName::Never) => SetCookie::Never,
            Some(SetCookieName::WhenExplicit) => SetCookie::WhenExplicit,
            Some(SetCookieName::Strip) => SetCookie::Strip,
        },
        s_maxage: match site.s_maxage {
            None | Some(SMaxageName::ForbidsStale) => SMaxage::ForbidsStale,
            Some(SMaxageName::YieldsToWindows) => SMaxage::YieldsToWindows,
        },
        origin_head: origin_head(site, default.origin_head)?,
        bypass: Bypass {
            paths: Settings::texts(&site.bypass).iter().map(pattern).collect::<Result<_, _>>()?,
            cookies: names(Settings::texts(&site.bypass_cookies))?,
            headers: lower_names(Settings::texts(&site.bypass_headers))?,
            query: names(Settings::texts(&site.bypass_query))?,
        },
        cookies: cookies(site)?,
        targeted: match &site.targeted {
            None => default.targeted.clone(),
            Some(names) => names.iter().map(targeted).collect::<Result<_, _>>()?,
        },
        allow_fields: Settings::texts(&site.allow_fields)
            .iter()
            .map(allowed_field)
            .collect::<Result<_, _>>()?,
        overrides: site.ttl.iter().flatten().map(ttl).collect::<Result<_, _>>()?,
        ..default
    })
}

/// `"10%"` of the time since `Last-Modified`, or `"0s"` for none.
fn heuristic(site: &Settings) -> Result<Heuristic, Fault> {
    let percent = match &site.heuristic {
        None => DEFAULT_PERCENT,
        Some(written) if written.get_ref() == "0s" => 0,
        Some(written) => {
            let number = written.get_ref().strip_suffix('%').and_then(|number| number.parse().ok());
            number.filter(|percent| *percent <= 100).ok_or_else(|| {
                let message = "a share from \"0%\" to \"100%\", such as \"10%\", or \"0s\" for none";
                Fault::new(written.span(), format!("{message}; `heuristic_max` is its longest"))
            })?
        }
    };
    let cap_secs = site.heuristic_max.map_or(HEURISTIC_MAX_SECS, |span| span.0.as_secs());
    Ok(if percent == 0 || cap_secs == 0 { Heuristic::Off } else { Heuristic::Share { percent, cap_secs } })
}

pub(super) fn pattern(written: &Spanned<String>) -> Result<PathPattern, Fault> {
    PathPattern::parse(written.get_ref()).ok_or_else(|| {
        let message =
            format!("a path begins with `/`, and has {MAX_WILDCARDS} `*` at most: \"/img/*\", \"*.css\"");
        Fault::new(written.span(), message)
    })
}

fn names(written: &[Spanned<String>]) -> Result<Vec<NamePattern>, Fault> {
    written.iter().map(|name| name_pattern(name, name.get_ref())).collect()
}

/// The codings and types that a site encodes.
pub(super) fn offer(site: &Settings) -> Result<Offer, Fault> {
    let codings = site.compress.iter().flatten().map(|coding| (*coding).into()).collect();
    let types = site.compress_types.as_ref().map(|types| lower_names(types.get_ref())).transpose()?;
    let least_bytes = site.compress_min.map_or(LEAST_BYTES, |size| size.0);
    Ok(Offer { codings, types, least_bytes })
}

/// The paths whose responses are dictionaries.
pub(super) fn dictionaries(site: &Settings) -> Result<Dictionaries, Fault> {
    let paths = Settings::texts(&site.dictionaries).iter().map(pattern).collect::<Result<_, _>>()?;
    Ok(Dictionaries { paths })
}

/// Of fields, whose names have no case (RFC 9110 §5.1).
fn lower_names(written: &[Spanned<String>]) -> Result<Vec<NamePattern>, Fault> {
    written.iter().map(|name| name_pattern(name, &name.get_ref().to_ascii_lowercase())).collect()
}

fn name_pattern(written: &Spanned<String>, text: &str) -> Result<NamePattern, Fault> {
    NamePattern::parse(text).ok_or_else(|| {
        let message =
            format!("a name has a character at least, and {MAX_WILDCARDS} `*` at most: \"session_*\"");
        Fault::new(written.span(), message)
    })
}

fn allowed_field(written: &Spanned<String>) -> Result<NamePattern, Fault> {
    let text = written.get_ref().to_ascii_lowercase();
    let pattern = name_pattern(written, &text)?;
    let is_ours = HeaderName::from_bytes(text.as_bytes()).is_ok_and(|name| rewrite::is_ours(&name));
    // One that also means others is for those others: these four are overwritten all the same.
    let means_ours =
        text.starts_with("x-forwarded-") && rewrite::FORWARDED.iter().any(|ours| pattern.matches(ours));
    if is_ours || means_ours {
        return Err(Fault::new(written.span(), format!("only the edge itself says `{text}`")).help(
            "write the gateway that sends it into `trusted_proxies`; of X-Forwarded-* for, host, prefix and proto are the edge's",
        ));
    }
    Ok(pattern)
}

fn targeted(written: &Spanned<String>) -> Result<HeaderName, Fault> {
    let name = header_name(written)?;
    let general = ["cache-control", "expires", "pragma"].contains(&name.as_str());
    if general || rewrite::is_ours(&name) {
        let message = format!("`{name}` is no targeted field");
        let help = "such as \"cdn-cache-control\", \"surrogate-control\", \"x-accel-expires\"; Cache-Control counts without them";
        return Err(Fault::new(written.span(), message).help(help));
    }
    Ok(name)
}

pub(super) fn tag_field(written: &Spanned<String>) -> Result<HeaderName, Fault> {
    free_name(written)
}

fn origin_head(site: &Settings, default: HeadLimits) -> Result<HeadLimits, Fault> {
    let bytes = match &site.origin_head_size {
        None => default.bytes,
        Some(size) if size.get_ref().0 < LEAST_HEAD_BYTES => {
            return Err(Fault::new(size.span(), "what the edge adds would not fit in: at least 1KiB")
                .help("common origins take \"8KiB\", the default"));
        }
        Some(size) => size.get_ref().in_memory(),
    };
    let fields = head::fields(site.origin_fields.as_ref(), default.fields)?;
    Ok(HeadLimits { bytes, target_bytes: bytes, fields })
}

const LEAST_HEAD_BYTES: u64 = 1 << 10;

fn cookies(site: &Settings) -> Result<Cookies, Fault> {
    match (&site.keep_cookies, &site.drop_cookies) {
        (None, None) => Ok(Cookies::All),
        (Some(keep), None) => Ok(Cookies::Keep(names(keep.get_ref())?)),
        (None, Some(drop)) => Ok(Cookies::Drop(names(drop.get_ref())?)),
        (Some(_), Some(drop)) => {
            Err(Fault::new(drop.span(), "one of `keep_cookies` and `drop_cookies` is enough"))
        }
    }
}

fn ttl(table: &TtlTable) -> Result<TtlOverride, Fault> {
    let all = || PathPattern::parse("*").expect("a pattern");
    Ok(TtlOverride {
        path: table.path.as_ref().map_or_else(|| Ok(all()), pattern)?,
        statuses: table.status.iter().map(final_status).collect::<Result<_, _>>()?,
        ttl_secs: table.ttl.0.as_secs(),
    })
}

pub(super) fn final_status(written: &Spanned<u16>) -> Result<StatusCode, Fault> {
    let status = StatusCode::from_u16(*written.get_ref()).ok().filter(|status| status.as_u16() >= 200);
    status.ok_or_else(|| Fault::new(written.span(), "a status is a number from 200 to 999"))
}

pub(super) fn key(table: KeyTable, rules: &Rules) -> Result<KeyRules, Fault> {
    let only = table.query_only.map(|names| (names.span(), Keep::Only(names.into_inner())));
    let except = table.query_except.map(|names| (names.span(), Keep::Except(names.into_inner())));
    let named = table.query.map(|name| match name.get_ref() {
        QueryName::All => (name.span(), Keep::All),
        QueryName::None => (name.span(), Keep::Nothing),
    });
    let mut keeps = [named, only, except].into_iter().flatten();
    let keep = keeps.next().map_or(Keep::All, |(_, keep)| keep);
    if let Some((span, _)) = keeps.next() {
        return Err(Fault::new(span, "one of `query`, `query_only` and `query_except` is enough"));
    }
    Ok(KeyRules {
        query: Query { keep, order: if table.query_sorted { Order::Sorted } else { Order::AsSent } },
        headers: table.headers.iter().map(|name| key_header(name, rules)).collect::<Result<_, _>>()?,
        cookies: names(&table.cookies)?,
        device: if table.device { Device::Keyed } else { Device::Ignored },
    })
}

fn key_header(written: &Spanned<String>, rules: &Rules) -> Result<HeaderName, Fault> {
    let name = header_name(written)?;
    // A field that is withheld from the origin cannot be in the key either.
    let withheld = withheld::withheld(&name, &Method::GET, &rules.allow_fields);
    match withheld {
        _ if rewrite::is_ours(&name) => {
            Err(Fault::new(written.span(), format!("`{name}` is not the client's to say")))
        }
        Some(row) => Err(Fault::new(
            written.span(),
            format!(
                "`{name}` is not the client's to say: it is taken for {} by {}",
                row.taken.as_str(),
                row.by
            ),
        )
        .help("if a gateway of yours writes it, name it in `allow_fields`")),
        None => Ok(name),
    }
}

pub(super) fn fields(table: FieldsTable) -> Result<FieldRules, Fault> {
    let set = |(name, value): (Spanned<String>, Spanned<String>)| {
        Ok::<_, Fault>((free_name(&name)?, header_value(&value)?))
    };
    Ok(FieldRules {
        remove: table.remove.iter().map(free_name).collect::<Result<_, _>>()?,
        set: table.set.into_iter().map(set).collect::<Result<_, _>>()?,
    })
}

fn free_name(written: &Spanned<String>) -> Result<HeaderName, Fault> {
    let name = header_name(written)?;
    if rewrite::is_ours(&name) {
        return Err(Fault::new(written.span(), format!("only the edge itself says `{name}`")));
    }
    Ok(name)
}

fn header_name(written: &Spanned<String>) -> Result<HeaderName, Fault> {
    let name = HeaderName::from_bytes(written.get_ref().as_bytes());
    name.map_err(|_| Fault::new(written.span(), "not a header's name: letters, digits and `-`"))
}

fn header_value(written: &Spanned<String>) -> Result<HeaderValue, Fault> {
    let value = HeaderValue::from_str(written.get_ref());
    value.map_err(|_| Fault::new(written.span(), "a header's value has visible ASCII, spaces and tabs only"))
}

pub(super) fn redirect(table: RedirectTable) -> Result<Redirect, Fault> {
    let from = pattern(&table.from)?;
    let to = table.to.get_ref();
    let wrong = |message: &str| Err(Fault::new(table.to.span(), message));
    let at_host = to.split_once("://").map(|(_, rest)| rest);
    match at_host {
        None if !to.starts_with('/') || to.starts_with("//") => {
            return wrong("where to is a path or a URL: \"/new/*\", \"https://www.example.com/*\"");
        }
        Some(rest)
            if !rest.split_once('/').is_some_and(|(host, _)| !host.is_empty() && !host.contains('*')) =>
        {
            return wrong("a URL has a host without `*`, and a path: \"https://www.example.com/*\"");
        }
        _ => {}
    }
    if to.matches('*').count() > from.wildcards().min(1) {
        return wrong("`*` is what the last `*` of `from` stood for; there may be one if there is one there");
    }
    if HeaderValue::from_str(to).is_err() || to.contains(' ') {
        return wrong("not a URL");
    }
    let status = match &table.status {
        None => StatusCode::MOVED_PERMANENTLY,
        Some(written) if [301, 302, 303, 307, 308].contains(written.get_ref()) => final_status(written)?,
        Some(written) => {
            return Err(Fault::new(written.span(), "a redirect is 301, 302, 303, 307 or 308"));
        }
    };
    Ok(Redirect { from, to: table.to.into_inner(), status })
}
