//! Checks of keys that belong together: from the keys as written to a [`Config`] that cannot be wrong.

mod admin;
mod catalogs;
mod keys;
mod listeners;
mod quorum;
mod secondaries;
mod steer;
mod transfers;
mod updates;

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;
use toml::Spanned;

use super::file::{self, DomainName, File, Prefix};
use super::quantity::{Size, Span};
use super::{
    Config, ConfigError, Cookies, Encrypted, Https, Internal, LEVEL_HELP, Level, Log, Named, Place, Queries,
    Reload, Tcp, Tls, Udp, Warning,
};
use crate::limit::Rates;
use crate::name::Name;
use crate::world::IDLE_TIMEOUT;

/// Answers above this are truncated: what every path takes without fragments (DNS flag day 2020, RFC 9715).
const MAX_PAYLOAD_BYTES: u16 = 1232;
/// RFC 6891 §6.2.3: no client may be held to less.
const LEAST_PAYLOAD_BYTES: u64 = 512;
/// Room for many resolvers; each costs two buffers and a task.
const MAX_CONNECTIONS: usize = 4096;
/// A resolver needs few (RFC 9210 §4.2); a flood from one address gets no more.
const MAX_CONNECTIONS_PER_CLIENT: usize = 64;
/// Some hundreds of the longest answers to clients that do not read them; all that is usual needs nothing of it.
const MAX_BUFFERED_BYTES: usize = 32 * 1024 * 1024;
/// A message is at most 64 KiB: nobody honest needs longer.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(5);
/// A client that does not read is dropped after this.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// Two round trips and a signature; a client that needs longer is not one.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// The path of RFC 8484's examples, and what clients take if they are told none.
const HTTPS_PATH: &str = "/dns-query";
/// An editor writes a file in several steps within this.
const DEBOUNCE: Duration = Duration::from_millis(200);
/// Cheap (one stat a file) and only for file systems that report no changes.
const POLL: Duration = Duration::from_secs(30);
/// Longer than a checkout or a copy takes, and short enough for somebody who waits for a zone to go.
const GRACE: Duration = Duration::from_secs(60);
/// More loops than this on one address are a mistake.
const MOST_WORKERS: usize = 512;
/// The longest timeout that still is one.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// An identifier is a name, not a text; it is part of every answer that asks for it.
const MAX_NSID_BYTES: usize = 64;
/// A rate above this limits nothing.
const MOST_ANSWERS_PER_SECOND: u32 = 1_000_000;
/// NSD's rate, where it is built with one: more than resolvers of a network ask of one name, and no flood.
const ANSWERS_PER_SECOND: u32 = 200;
/// Every second refused answer says "come back by TCP", as in BIND and NSD.
const SLIP: u32 = 2;

/// Gateways of the common bridges: behind one, every outsider has its address (V6).
const BRIDGE_GATEWAYS: &[(IpAddr, &str)] = &[
    (v4(172, 17, 0, 1), "Docker"),
    (v4(10, 88, 0, 1), "Podman"),
    (v4(10, 42, 0, 1), "k3s"),
    (v4(10, 244, 0, 1), "Kubernetes (flannel)"),
    (v4(192, 168, 122, 1), "libvirt"),
];

const fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::V4(std::net::Ipv4Addr::new(a, b, c, d))
}

type At<'a> = &'a dyn Fn(Range<usize>) -> Place;

pub(super) fn validate(mut written: File, base: &Path, at: At<'_>) -> Result<Config, ConfigError> {
    let internal = written.internal.take().unwrap_or_else(|| Spanned::new(0..0, file::Internal::default()));
    listeners::check(&written, internal.get_ref(), at)?;
    check_clients(internal.get_ref(), at)?;
    let mut warnings = warnings(internal.get_ref(), written.admin.as_ref(), at);
    warnings.extend(transfers::keyless_insiders(&written.transfer, internal.get_ref(), at));
    warnings.extend(secondaries::unproved(&written.secondary, at));
    warnings.extend(steer::unproved(written.steer.as_ref(), at));
    let named = named(&written, internal.get_ref(), at);
    check_public(&written.public, &named, at)?;
    let named = [
        named,
        transfers::named(&written.transfer, at),
        updates::named(&written.update, at),
        steer::named(written.steer.as_ref(), at),
    ]
    .concat();
    let named_members = steer::named_members(written.steer.as_ref(), at);
    let keys = keys::keys(written.keys, base, at)?;
    let quorum = written.steer.as_mut().and_then(|steer| steer.get_mut().quorum.take());
    let internal = internal.into_inner();
    let (steer, database) = steer::steer(written.steer, base, at)?;
    Ok(Config {
        file: None,
        zones: base.join(written.zones),
        listen: plain(written.listen),
        encrypted: encrypted([written.listen_tls, written.listen_https, written.listen_quic]),
        private: prefixes(written.private),
        internal_names: names(written.internal_names),
        internal: Internal {
            listen: plain(internal.listen),
            encrypted: encrypted([internal.listen_tls, internal.listen_https, internal.listen_quic]),
            clients: prefixes(internal.clients),
            zones: names(internal.zones),
        },
        admin: written.admin.map(|written| admin::admin(written, base, at)).transpose()?,
        log: log(&written.log, at)?,
        udp: udp(written.udp, at)?,
        tcp: tcp(written.tcp, at)?,
        tls: written.tls.map(|tls| self::tls(tls.into_inner(), base, at)).transpose()?,
        https: Https {
            path: within(written.https.path, |path| is_path(path), "a path such as \"/dns-query\"", at)?
                .unwrap_or_else(|| HTTPS_PATH.to_owned()),
        },
        reload: reload(written.reload, at)?,
        cookies: cookies(written.cookies, base, at)?,
        transfers: transfers::transfers(written.transfer, &keys, base, at)?,
        updates: updates::updates(written.update, &keys, at)?,
        catalogs: catalogs::catalogs(written.catalog, &written.secondary, at)?,
        secondaries: secondaries::secondaries(written.secondary, &keys, base, at)?,
        members: Vec::new(),
        keys,
        steer,
        database,
        quorum: quorum.map(|quorum| quorum::quorum(quorum, base, at)).transpose()?,
        state: base.join(written.state.unwrap_or_else(|| "state".into())),
        run_folder: written.run_folder.map(|folder| base.join(folder)),
        nsid: within(written.nsid, |text| (1..=MAX_NSID_BYTES).contains(&text.len()), "1 to 64 bytes", at)?,
        rate_limit: rates(written.rate_limit, at)?,
        public_zones: names(written.public.zones),
        named,
        named_members,
        warnings,
    })
}

fn encrypted(written: [Vec<Spanned<SocketAddr>>; 3]) -> Encrypted {
    let [tls, https, quic] = written.map(plain);
    Encrypted { tls, https, quic }
}

/// The names that hide or publish something.
fn named(written: &File, internal: &file::Internal, at: At<'_>) -> Vec<Named> {
    let of = |setting, names: &[Spanned<DomainName>]| {
        let named = |name: &Spanned<DomainName>| Named {
            setting,
            name: name.get_ref().0.clone(),
            place: at(name.span()),
        };
        names.iter().map(named).collect::<Vec<_>>()
    };
    let internal_names = of("internal_names", &written.internal_names);
    let zones = of("[internal] zones", &internal.zones);
    [internal_names, zones, of("[public] zones", &written.public.zones)].concat()
}

/// A name cannot be hidden and published at once.
fn check_public(public: &file::Public, named: &[Named], at: At<'_>) -> Result<(), ConfigError> {
    for zone in &public.zones {
        let hidden = named.iter().find(|it| it.setting != "[public] zones" && it.name == zone.get_ref().0);
        if let Some(hidden) = hidden {
            let message = format!("{} is in `[public] zones` and in `{}`", hidden.name, hidden.setting);
            return Err(invalid(at(zone.span()), message, "remove it from one of them"));
        }
    }
    Ok(())
}

fn check_clients(internal: &file::Internal, at: At<'_>) -> Result<(), ConfigError> {
    for client in &internal.clients {
        let Prefix(net) = client.get_ref();
        if net.prefix_len() == 0 {
            let message = format!("{net} would make everybody internal");
            let help = "write the exact prefixes of your own networks";
            return Err(invalid(at(client.span()), message, help));
        }
    }
    let all: Vec<IpNet> = internal.clients.iter().map(|client| client.get_ref().0).collect();
    if let (Some(last), true) =
        (internal.clients.last(), IpNet::aggregate(&all).iter().any(|net| net.prefix_len() == 0))
    {
        let message = "together, these clients would make everybody internal";
        return Err(invalid(at(last.span()), message, "write the exact prefixes of your own networks"));
    }
    let nets: Vec<IpNet> = internal.clients.iter().map(|client| client.get_ref().0).collect();
    if let Some(everybody) = IpNet::aggregate(&nets).into_iter().find(|net| net.prefix_len() == 0)
        && let Some(client) = internal.clients.iter().find(|client| everybody.contains(&client.get_ref().0))
    {
        let message =
            format!("together with the others, this makes {everybody} internal, which is everybody");
        return Err(invalid(at(client.span()), message, "write the exact prefixes of your own networks"));
    }
    // V5: a source address alone, on a listener that outsiders reach, proves nothing.
    match (listeners::of_inside(internal).next(), internal.clients.first()) {
        (None, Some(client)) => Err(invalid(
            at(client.span()),
            "clients are internal only on internal listeners, and there is none",
            "add listen = [\"…\"] to [internal], on an address that outsiders do not reach",
        )),
        (Some(listen), None) => Err(invalid(
            at(listen.span()),
            "nobody would be inside here: [internal] has no clients",
            "add clients = [\"…\"], the exact prefixes of your own networks",
        )),
        _ => Ok(()),
    }
}

fn warnings(internal: &file::Internal, admin: Option<&file::Admin>, at: At<'_>) -> Vec<Warning> {
    let bridges = internal.clients.iter().flat_map(|client| {
        let net = client.get_ref().0;
        BRIDGE_GATEWAYS.iter().filter(move |(gateway, _)| net.contains(gateway)).map(move |(gateway, whose)| Warning {
            place: at(client.span()),
            message: format!("{net} holds {gateway}, the usual gateway of {whose}'s bridge"),
            help: "behind such a gateway every outsider has its address; leave it out of the prefixes if there is one here"
                .to_owned(),
        })
    });
    bridges.chain(admin.and_then(|admin| admin::exposed(admin, at))).collect()
}

fn udp(written: file::Udp, at: At<'_>) -> Result<Udp, ConfigError> {
    let payload = |size: &Size| (LEAST_PAYLOAD_BYTES..=u64::from(u16::MAX)).contains(&size.0);
    let max_payload = within(written.max_payload, payload, "at least 512B and at most 65535B", at)?;
    let receive_buffer =
        within(written.receive_buffer, |size| (4096..=1 << 30).contains(&size.0), "4KiB to 1GiB", at)?;
    let workers = within(written.workers, |n| (1..=MOST_WORKERS).contains(n), "1 to 512", at)?;
    Ok(Udp {
        workers: workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)),
        max_payload_bytes: max_payload
            .map_or(MAX_PAYLOAD_BYTES, |size| u16::try_from(size.0).expect("checked against 65535")),
        receive_buffer_bytes: receive_buffer
            .map(|size| usize::try_from(size.0).expect("checked against 1 GiB")),
    })
}

fn tcp(written: file::Tcp, at: At<'_>) -> Result<Tcp, ConfigError> {
    let count = |n: &usize| *n > 0;
    let connections = within(written.max_connections, count, "at least 1", at)?;
    let per_client = within(written.max_connections_per_client, count, "at least 1", at)?;
    let buffered =
        within(written.max_buffered, |size| (1 << 18..=1 << 40).contains(&size.0), "256KiB to 1TiB", at)?;
    Ok(Tcp {
        max_connections: connections.unwrap_or(MAX_CONNECTIONS),
        max_connections_per_client: per_client.unwrap_or(MAX_CONNECTIONS_PER_CLIENT),
        max_buffered_bytes: buffered
            .map_or(MAX_BUFFERED_BYTES, |size| usize::try_from(size.0).expect("checked against 1 TiB")),
        idle_timeout: timeout(written.idle_timeout, IDLE_TIMEOUT, at)?,
        message_timeout: timeout(written.message_timeout, MESSAGE_TIMEOUT, at)?,
        write_timeout: timeout(written.write_timeout, WRITE_TIMEOUT, at)?,
    })
}

fn tls(written: file::Tls, base: &Path, at: At<'_>) -> Result<Tls, ConfigError> {
    Ok(Tls {
        certificate: base.join(written.certificate),
        key: base.join(written.key),
        handshake_timeout: timeout(written.handshake_timeout, HANDSHAKE_TIMEOUT, at)?,
    })
}

/// Whether a URI can have this path (RFC 3986 §3.3), without escapes.
fn is_path(path: &str) -> bool {
    path.starts_with('/')
        && path.bytes().all(|it| it.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&it))
}

fn reload(written: file::Reload, at: At<'_>) -> Result<Reload, ConfigError> {
    Ok(Reload {
        watch: written.watch.unwrap_or(true),
        debounce: timeout(written.debounce, DEBOUNCE, at)?,
        poll: timeout(written.poll, POLL, at)?,
        grace: timeout(written.grace, GRACE, at)?,
        unhide: written.unhide,
    })
}

fn log(written: &file::Log, at: At<'_>) -> Result<Log, ConfigError> {
    let level = match &written.level {
        None => Level::default(),
        Some(text) => {
            Level::parse(text.get_ref()).map_err(|message| invalid(at(text.span()), message, LEVEL_HELP))?
        }
    };
    let queries = written.queries.as_ref().map(|queries| {
        let sample = queries.sample.as_ref().map_or(Ok(NonZeroU32::MIN), |sample| {
            let none = || {
                invalid(
                    at(sample.span()),
                    "one of no questions".to_owned(),
                    "write 1 for all, 100 for one of a hundred",
                )
            };
            NonZeroU32::new(*sample.get_ref()).ok_or_else(none)
        })?;
        Ok(Queries { sample, private_names: queries.private_names })
    });
    Ok(Log { format: written.format, level, queries: queries.transpose()? })
}

fn cookies(written: file::Cookies, base: &Path, at: At<'_>) -> Result<Cookies, ConfigError> {
    match (written.enabled.unwrap_or(true), written.secret_file) {
        (true, Some(path)) => Ok(Cookies::File(base.join(path.into_inner()))),
        (true, None) => Ok(Cookies::Random),
        (false, None) => Ok(Cookies::Off),
        (false, Some(path)) => Err(invalid(
            at(path.span()),
            "cookies are off, so there is no use for a secret",
            "remove secret_file, or enabled = false",
        )),
    }
}

fn rates(written: file::RateLimit, at: At<'_>) -> Result<Option<Rates>, ConfigError> {
    let rate = |n: &u32| (1..=MOST_ANSWERS_PER_SECOND).contains(n);
    let per_second = within(written.answers_per_second, rate, "1 to 1000000", at)?;
    let per_second = per_second.unwrap_or(ANSWERS_PER_SECOND);
    let burst = within(written.burst, rate, "1 to 1000000", at)?.unwrap_or(per_second);
    let rates = Rates { per_second, burst, slip: written.slip.unwrap_or(SLIP) };
    Ok(written.enabled.unwrap_or(true).then_some(rates))
}

fn timeout(written: Option<Spanned<Span>>, default: Duration, at: At<'_>) -> Result<Duration, ConfigError> {
    let allowed = |span: &Span| (Duration::from_millis(1)..=LONGEST_TIMEOUT).contains(&span.0);
    Ok(within(written, allowed, "1ms to 1d", at)?.map_or(default, |span| span.0))
}

fn within<T>(
    written: Option<Spanned<T>>,
    allowed: impl Fn(&T) -> bool,
    range: &str,
    at: At<'_>,
) -> Result<Option<T>, ConfigError> {
    match written {
        Some(value) if !allowed(value.get_ref()) => {
            Err(invalid(at(value.span()), "the value is out of range", format!("allowed: {range}")))
        }
        value => Ok(value.map(Spanned::into_inner)),
    }
}

fn invalid(place: Place, message: impl Into<String>, help: impl Into<String>) -> ConfigError {
    ConfigError::Invalid { place, message: message.into(), help: Some(help.into()) }
}

fn plain<T>(written: Vec<Spanned<T>>) -> Vec<T> {
    written.into_iter().map(Spanned::into_inner).collect()
}

fn prefixes(written: Vec<Spanned<Prefix>>) -> Vec<IpNet> {
    plain(written).into_iter().map(|prefix| prefix.0).collect()
}

fn names(written: Vec<Spanned<DomainName>>) -> Vec<Name> {
    plain(written).into_iter().map(|name| name.0).collect()
}
