//! The origins of a `[[site]]` or a route of it, and how they share its requests.

use std::io::Read as _;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use ipnet::IpNet;
use toml::Spanned;

use super::networks::networks;
use super::place::Fault;
use super::settings::{OriginEntry, OriginTable, Settings};
use super::unit::Span;
use crate::origin::secure::check;
use crate::site::origin::{Identity, NameServer, Roots, Secure, Way, behind_service};
use crate::site::own_names::{Name, OwnNames};
use crate::site::reach::Reach;
use crate::site::{CanaryGroup, OriginAddress, Patience};

/// Origins as they are written.
pub(super) type Written = Spanned<Vec<Spanned<OriginEntry>>>;

/// The origins of a site or a route; one at least. Relative paths start at `base`.
pub(super) fn origins(
    written: Written,
    settings: &Settings,
    base: &Path,
) -> Result<Vec<OriginAddress>, Fault> {
    if written.get_ref().is_empty() {
        return Err(Fault::new(
            written.span(),
            "a site needs at least one origin such as \"http://127.0.0.1:8000\"",
        ));
    }
    let place = written.span();
    let common = Common::of(settings, base)?;
    let origins = written.into_inner().into_iter().map(|written| origin(written, &common));
    let origins: Vec<OriginAddress> = origins.collect::<Result<_, _>>()?;
    if origins.iter().all(|origin| origin.backup) {
        return Err(Fault::new(place, "all origins are backups: leave `backup` out of one at least"));
    }
    Ok(origins)
}

/// The other edges that a site or a route asks first; mostly none.
pub(super) fn parents(settings: &Settings, base: &Path) -> Result<Vec<OriginAddress>, Fault> {
    let Some(written) = &settings.parents else { return Ok(Vec::new()) };
    let common = Common::of(settings, base)?;
    let parent = |written: &Spanned<OriginEntry>| {
        let parent = origin(written.clone(), &common)?;
        match parent.host {
            None => Ok(parent),
            Some(_) => {
                let message = "a parent is asked by the host that its client asked for: leave `host` out";
                let help = "`sni` is the name in its certificate";
                Err(Fault::new(written.span(), message).help(help))
            }
        }
    };
    written.get_ref().iter().map(parent).collect()
}

/// The settings that all origins of a site have in common.
struct Common<'a> {
    networks: Vec<IpNet>,
    resolvers: Arc<[NameServer]>,
    title_case: bool,
    roots: Roots,
    identity: Option<Identity>,
    http2: bool,
    base: &'a Path,
}

impl<'a> Common<'a> {
    fn of(settings: &Settings, base: &'a Path) -> Result<Self, Fault> {
        let roots = roots(settings.origin_roots.as_ref(), base)?;
        Ok(Self {
            networks: networks(Settings::texts(&settings.origin_networks))?,
            resolvers: resolvers(Settings::texts(&settings.origin_resolvers))?,
            title_case: settings.origin_title_case.unwrap_or(false),
            identity: identity(settings, base, &roots)?,
            roots,
            http2: settings.origin_http2.unwrap_or(true),
            base,
        })
    }
}

fn origin(written: Spanned<OriginEntry>, common: &Common<'_>) -> Result<OriginAddress, Fault> {
    let span = written.span();
    let table = match written.into_inner() {
        OriginEntry::Url(url) => {
            OriginTable { url, host: None, sni: None, weight: None, backup: false, drain: false }
        }
        OriginEntry::Table(table) => table,
    };
    let OriginTable { url, host, sni, weight, backup, drain } = table;
    if let Some(sni) = sni.as_ref().filter(|_| !url.starts_with("https:")) {
        return Err(Fault::new(sni.span(), "`sni` is for an origin that is asked over https"));
    }
    let of = |authority, socket, way, reach| {
        Ok(OriginAddress {
            authority,
            socket,
            way,
            host: host.clone(),
            title_case: common.title_case,
            weight: self::weight(weight.clone())?,
            backup,
            drain,
            resolvers: Arc::clone(&common.resolvers),
            reach,
        })
    };
    if let Some(path) = url.strip_prefix("unix:") {
        if path.is_empty() {
            return Err(Fault::new(span, "no path of a socket: write \"unix:/run/app.sock\""));
        }
        let path = common.base.join(path);
        return of(format!("unix:{}", path.display()), Some(path), Way::Plain, Reach::Itself);
    }
    let (uri, authority) = place(&url, &span)?;
    let dialled = uri.host().unwrap_or_default();
    let way = match uri.scheme_str() {
        Some("https") => Way::Tls(secure(dialled, host.as_deref(), sni, &span, common)?),
        Some("h2c") => Way::H2c,
        _ => Way::Plain,
    };
    of(authority, None, way, Reach::of(dialled, &common.networks))
}

/// The URL of an origin, and `host:port`, or the name of a service.
fn place(url: &str, span: &Range<usize>) -> Result<(Uri, String), Fault> {
    let wrong = |message: &str| Fault::new(span.clone(), format!("{message}: write \"http://host:port\""));
    let uri: Uri = url.parse().map_err(|_| wrong("not a URL"))?;
    let port = match uri.scheme_str() {
        Some("http" | "h2c") => 80,
        Some("https") => 443,
        _ => {
            let help = "or \"https://host:port\", \"h2c://host:port\", \"unix:/path/of.socket\"";
            return Err(wrong("no way to reach an origin").help(help));
        }
    };
    if uri.path_and_query().is_some_and(|path| path != "/") {
        let fault = wrong("an origin has no path, requests keep theirs");
        return Err(fault.help(
            "another path at the origin is a route's `origin_path`: see [[site.route]] in the reference",
        ));
    }
    let authority = uri.authority().ok_or_else(|| wrong("no host in the URL"))?;
    if authority.as_str().contains('@') || authority.host().is_empty() {
        return Err(wrong("not a host and port"));
    }
    let authority = match (authority.host(), authority.port_u16()) {
        (service, None) if service.starts_with('_') => service.to_owned(),
        (service, Some(_)) if service.starts_with('_') => {
            return Err(wrong("the ports of a service are in its SRV records: leave the port out"));
        }
        (host, written) => format!("{host}:{}", written.unwrap_or(port)),
    };
    Ok((uri, authority))
}

/// The name in the certificate is the one that the config gives, else the one that the origin gets as `Host`, else the
/// one that is dialled.
fn secure(
    dialled: &str,
    host: Option<&str>,
    sni: Option<Spanned<String>>,
    url: &Range<usize>,
    common: &Common<'_>,
) -> Result<Secure, Fault> {
    let span = sni.as_ref().map_or_else(|| url.clone(), Spanned::span);
    let without_port = |host: &str| match host.parse::<http::uri::Authority>() {
        Ok(authority) => authority.host().to_owned(),
        Err(_) => host.to_owned(),
    };
    let name =
        sni.map(Spanned::into_inner).unwrap_or_else(|| without_port(host.unwrap_or(behind_service(dialled))));
    let name = name.trim_start_matches('[').trim_end_matches(']').to_owned();
    let (roots, identity) = (common.roots.clone(), common.identity.clone());
    let secure = Secure { name, roots, identity, http2: common.http2 };
    check(&secure).map_err(|error| Fault::new(span, error.to_string()))?;
    Ok(secure)
}

/// `10.0.0.53`, `10.0.0.53:5353` or `tls://9.9.9.9#dns.quad9.net`.
pub(super) fn resolvers(written: &[Spanned<String>]) -> Result<Arc<[NameServer]>, Fault> {
    let one = |written: &Spanned<String>| {
        let text = written.get_ref();
        let (text, default_port) = match text.strip_prefix("tls://") {
            Some(rest) => (rest, 853),
            None => (text.as_str(), 53),
        };
        let (place, name) = match text.split_once('#') {
            Some((place, name)) => (place, Some(name)),
            None => (text, None),
        };
        let alone = || place.parse().ok().map(|ip| SocketAddr::new(ip, default_port));
        let at: Option<SocketAddr> = place.parse().ok().or_else(alone);
        let is_sound = (default_port == 853) == name.is_some_and(|name| !name.is_empty());
        let at = at.filter(|_| is_sound).ok_or_else(|| {
            let message =
                "no name server: write \"10.0.0.53\", \"10.0.0.53:5353\" or \"tls://9.9.9.9#dns.quad9.net\"";
            Fault::new(written.span(), message)
        })?;
        Ok(NameServer { at, tls: name.map(Arc::from) })
    };
    written.iter().map(one).collect()
}

fn roots(written: Option<&Spanned<String>>, base: &Path) -> Result<Roots, Fault> {
    let Some(file) = written else { return Ok(Roots::System) };
    let roots = Roots::Given(read(file, base)?);
    // Looked at here, where the file is named, and not at each origin.
    let any = Secure { name: "localhost".to_owned(), roots: roots.clone(), identity: None, http2: true };
    check(&any).map_err(|error| Fault::new(file.span(), format!("{}: {error}", file.get_ref())))?;
    Ok(roots)
}

fn identity(settings: &Settings, base: &Path, roots: &Roots) -> Result<Option<Identity>, Fault> {
    let (chain, key) = match (&settings.origin_certificate, &settings.origin_key) {
        (None, None) => return Ok(None),
        (Some(chain), Some(key)) => (chain, key),
        (Some(lonely), None) | (None, Some(lonely)) => {
            return Err(Fault::new(lonely.span(), "`origin_certificate` and `origin_key` go together"));
        }
    };
    let identity = Identity { chain: read(chain, base)?, key: read(key, base)? };
    let any = Some(identity.clone());
    let any = Secure { name: "localhost".to_owned(), roots: roots.clone(), identity: any, http2: true };
    check(&any).map_err(|error| Fault::new(chain.span(), format!("{}: {error}", chain.get_ref())))?;
    Ok(Some(identity))
}

fn read(file: &Spanned<String>, base: &Path) -> Result<Arc<[u8]>, Fault> {
    let path = base.join(file.get_ref());
    let read = || {
        let mut bytes = Vec::new();
        std::fs::File::open(&path)?.take(MAX_PEM_BYTES).read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(bytes)
    };
    match read() {
        Ok(bytes) => Ok(bytes.into()),
        Err(error) => Err(Fault::new(file.span(), format!("cannot read {}: {error}", path.display()))),
    }
}

/// All roots of a system are some hundred KiB.
const MAX_PEM_BYTES: u64 = 4 << 20;

pub(super) fn weight(written: Option<Spanned<u32>>) -> Result<u32, Fault> {
    match written {
        None => Ok(1),
        Some(weight) if (1..=MOST_WEIGHT).contains(weight.get_ref()) => Ok(weight.into_inner()),
        Some(weight) => Err(Fault::new(weight.span(), "a weight is a number from 1 to 1000")),
    }
}

const MOST_WEIGHT: u32 = 1_000;

/// How long an origin may take.
pub(super) fn patience(settings: &Settings) -> Patience {
    let or = |span: Option<Span>, default_s| span.map_or(Duration::from_secs(default_s), |span| span.0);
    Patience {
        connect: or(settings.connect_timeout, 5),
        first_byte: or(settings.first_byte_timeout, 60),
        between_bytes: or(settings.between_bytes_timeout, 60),
        whole: settings.origin_timeout.map(|span| span.0).filter(|limit| !limit.is_zero()),
        idle: settings.origin_idle_timeout.map_or(DEFAULT_ORIGIN_IDLE, |span| span.0),
    }
}

/// gunicorn closes idle connections after 2 s, Node and Apache after 5 s. Ours must be the shorter time.
const DEFAULT_ORIGIN_IDLE: Duration = Duration::from_millis(1500);

/// The names under which origins are dialled, those that they are given as `Host`, and those that the site adds.
pub(super) fn own_names(
    settings: &Settings,
    origins: &[OriginAddress],
    canary: Option<&CanaryGroup>,
) -> Result<OwnNames, Fault> {
    let all = || origins.iter().chain(canary.iter().flat_map(|canary| &canary.origins));
    let others: Vec<Name> =
        Settings::texts(&settings.origin_names).iter().map(own_name).collect::<Result<_, _>>()?;
    let dialled = all().filter_map(|origin| Name::parse(&origin.authority));
    let given = all().filter_map(|origin| Name::parse(origin.host.as_deref()?));
    Ok(match settings.rewrite_origin_names {
        Some(false) => OwnNames::default(),
        _ => OwnNames::new(dialled.collect(), given.chain(others).collect()),
    })
}

fn own_name(written: &Spanned<String>) -> Result<Name, Fault> {
    Name::parse(written.get_ref()).ok_or_else(|| {
        let help = "write \"app.internal\" or \"app.internal:8080\"";
        Fault::new(written.span(), "not a name of an origin").help(help)
    })
}
