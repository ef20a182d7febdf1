//! The addresses behind an origin's name: known for as long as its TTL says, and looked up again behind the requests.
//!
//! Each address is asked whether it may be one ([`crate::site::reach::Reach`]) each time. A name that leads elsewhere
//! closes idle connections and lets the others end; one that is not found any more keeps its last addresses. So does a
//! target of a service, or a family of addresses, about which the name servers give no answer.

mod hosts;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};
use tokio::net::lookup_host;
use tokio::time::{Instant, timeout};

use super::pool::Pool;
use super::secure;
use crate::clock::monotonic;
use crate::policy::headers::status::ProxyError;
use crate::site::OriginAddress;
use crate::site::origin::{NameServer, Roots};
use crate::site::reach::Reach;

/// A place that a name leads to. A plain name has one, with priority and weight 0 (RFC 2782).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Target {
    pub(super) priority: u16,
    pub(super) weight: u16,
    pub(super) addresses: Vec<SocketAddr>,
    /// A service's: the name of its target.
    pub(super) host: Option<String>,
}

/// A name server's answer about a name.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) targets: Vec<Target>,
    ttl: Duration,
}

/// A name server that says nothing for so long is asked once more.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// The second question about one family: the first one has waited for long, and all of both must end in time.
const SECOND_LIMIT: Duration = Duration::from_millis(500);
/// All of a lookup, whatever its servers do.
const LOOKUP_LIMIT: Duration = Duration::from_secs(5);
/// A TTL of 0 would have each connection ask.
const LEAST_TTL: Duration = Duration::from_secs(1);
const MOST_TTL: Duration = Duration::from_secs(86_400);
/// The system does not say how long what it knows by other ways holds.
const TTL_OF_SYSTEM: Duration = Duration::from_secs(5);
/// A name that is not found is asked for as often.
const RETRY: Duration = Duration::from_secs(1);
/// Of the targets of SRV records: real ones are a few.
const MOST_TARGETS: usize = 64;

/// Asks for the addresses of an origin, as people write it. `last` is where it led before.
pub(super) async fn lookup(address: &OriginAddress, last: &[Target]) -> Result<Found, String> {
    lookup_by(Path::new(hosts::FILE), address, last).await
}

/// The same with another hosts file.
async fn lookup_by(hosts: &Path, address: &OriginAddress, last: &[Target]) -> Result<Found, String> {
    let text = |error: &NetError| error.to_string();
    if address.reach == Reach::Loopback {
        return by_system(address).await;
    }
    let resolver = match resolver(&address.resolvers) {
        Ok(resolver) => resolver,
        Err(_) if address.resolvers.is_empty() && !address.is_service() => return by_system(address).await,
        Err(error) => return Err(error),
    };
    let asked = Asked { hosts, resolver };
    if address.is_service() {
        return asked.services(&address.authority, last).await.map_err(|error| text(&error));
    }
    let Some((host, port)) = address.authority.rsplit_once(':') else { return Err("it has no port".into()) };
    let port = port.parse().map_err(|_| "its port is no number".to_owned())?;
    let last: Vec<SocketAddr> = last.iter().flat_map(|target| target.addresses.clone()).collect();
    match asked.addresses(host, port, &last).await {
        Ok((addresses, ttl)) => Ok(of_plain(addresses, ttl)),
        // The system may know it by other ways than DNS.
        Err(error) if address.resolvers.is_empty() && error.is_no_records_found() => by_system(address).await,
        Err(error) => Err(text(&error)),
    }
}

fn of_plain(addresses: Vec<SocketAddr>, ttl: Duration) -> Found {
    Found { targets: vec![Target { priority: 0, weight: 0, addresses, host: None }], ttl }
}

async fn by_system(address: &OriginAddress) -> Result<Found, String> {
    let addresses = lookup_host(&address.authority).await.map_err(|error| error.to_string())?.collect();
    Ok(of_plain(addresses, TTL_OF_SYSTEM))
}

/// Made for each lookup: what the system has in its resolv.conf by then counts.
fn resolver(servers: &[NameServer]) -> Result<TokioResolver, String> {
    let text = |error: NetError| error.to_string();
    let mut builder = match servers {
        [] => TokioResolver::builder_tokio().map_err(text)?,
        servers => {
            let servers = servers.iter().map(name_server).collect();
            let (config, provider) =
                (ResolverConfig::from_name_servers(servers), TokioRuntimeProvider::default());
            TokioResolver::builder_with_config(config, provider).with_options(ResolverOpts::default())
        }
    };
    let options = builder.options_mut();
    options.timeout = ANSWER_LIMIT;
    options.attempts = 1;
    options.cache_size = 8;
    // It would ask the file for each type of record alone, and keep what it says for a day.
    options.use_hosts_file = ResolveHosts::Never;
    if servers.iter().any(|server| server.tls.is_some()) {
        let config = secure::bare(&Roots::System).map_err(|error| error.to_string())?;
        builder = builder.with_tls_config(config);
    }
    builder.build().map_err(text)
}

fn name_server(server: &NameServer) -> NameServerConfig {
    let mut config = match &server.tls {
        None => NameServerConfig::udp_and_tcp(server.at.ip()),
        Some(name) => {
            let mut config = NameServerConfig::udp_and_tcp(server.at.ip());
            config.connections = vec![ConnectionConfig::tls(Arc::clone(name))];
            config
        }
    };
    for connection in &mut config.connections {
        connection.port = server.at.port();
    }
    config
}

/// The places where a name is looked for.
struct Asked<'a> {
    hosts: &'a Path,
    resolver: TokioResolver,
}

impl Asked<'_> {
    /// The addresses of a host, and how long they hold. Where nobody knows those of one family for now, the `last` ones stay.
    async fn addresses(
        &self,
        host: &str,
        port: u16,
        last: &[SocketAddr],
    ) -> Result<(Vec<SocketAddr>, Duration), NetError> {
        let at_port = |ip: IpAddr| SocketAddr::new(ip, port);
        let pinned = hosts::addresses(self.hosts, host).await;
        if !pinned.is_empty() {
            return Ok((pinned.into_iter().map(at_port).collect(), TTL_OF_SYSTEM));
        }
        let (mut addresses, mut ttl, mut nothing, name) = match self.resolver.lookup_ip(host).await {
            Ok(found) => {
                let addresses: Vec<SocketAddr> = found.iter().map(at_port).collect();
                (addresses, left(found.valid_until()), None, found.query().name().to_string())
            }
            // That is said of the first family. The other one may have failed.
            Err(error) if error.is_no_records_found() && !error.is_nx_domain() => {
                (Vec::new(), MOST_TTL, Some(error), host.to_owned())
            }
            Err(error) => return Err(error),
        };
        for family in [RecordType::AAAA, RecordType::A] {
            let is_of = |address: &SocketAddr| address.is_ipv6() == (family == RecordType::AAAA);
            let mut last = last.iter().copied().filter(is_of).peekable();
            if addresses.iter().any(is_of) || nothing.is_none() && last.peek().is_none() {
                continue;
            }
            // The resolver tells of one family alone also where the question for the other one failed.
            match self.once_more(&name, family).await {
                Ok(again) => {
                    ttl = ttl.min(left(again.valid_until()));
                    let ips = again.answers().iter().filter_map(|record| record.data.ip_addr());
                    addresses.extend(ips.map(at_port));
                }
                Err(error) if error.is_no_records_found() => {}
                Err(error) => {
                    ttl = RETRY;
                    addresses.extend(last);
                    nothing = nothing.map(|_| error);
                }
            }
        }
        match nothing {
            Some(error) if addresses.is_empty() => Err(error),
            _ => Ok((addresses, ttl)),
        }
    }

    /// The second question for one family. A server that says nothing of this family must not keep the answer about the other
    /// one from being taken.
    async fn once_more(&self, name: &str, family: RecordType) -> Result<Lookup, NetError> {
        match timeout(SECOND_LIMIT, self.resolver.lookup(name, family)).await {
            Ok(answered) => answered,
            Err(_) => Err(NetError::Timeout),
        }
    }

    /// RFC 2782.
    async fn services(&self, name: &str, last: &[Target]) -> Result<Found, NetError> {
        let records = self.resolver.lookup(name, RecordType::SRV).await?;
        let mut ttl = left(records.valid_until());
        let mut targets = Vec::new();
        for record in records.answers().iter().take(MOST_TARGETS) {
            let RData::SRV(service) = &record.data else { continue };
            // A dot: the service is decidedly not there.
            if service.target.is_root() {
                continue;
            }
            let host = service.target.to_string();
            let known = last.iter().find(|target| target.host.as_ref() == Some(&host));
            let known = known.into_iter().flat_map(|target| &target.addresses);
            let known: Vec<SocketAddr> =
                known.map(|address| SocketAddr::new(address.ip(), service.port)).collect();
            let (addresses, of_target) = match self.addresses(&host, service.port, &known).await {
                Ok(found) => found,
                // One whose target does not exist must not take the others with it.
                Err(error) if error.is_no_records_found() => continue,
                // For the moment nobody says where it is: it stays where it was.
                Err(_) => (known, RETRY),
            };
            ttl = ttl.min(of_target);
            let (priority, weight) = (service.priority, service.weight);
            targets.push(Target { priority, weight, addresses, host: Some(host) });
        }
        Ok(Found { targets, ttl })
    }
}

fn left(until: std::time::Instant) -> Duration {
    Instant::from_std(until).saturating_duration_since(monotonic())
}

/// All that is known of an origin's name.
#[derive(Debug)]
pub(super) struct Names {
    address: OriginAddress,
    pool: Pool,
    state: Mutex<State>,
    /// Held by the request that asks for what nobody knows yet.
    turn: tokio::sync::Mutex<()>,
    is_asking: AtomicBool,
    /// The system's hosts file.
    hosts: PathBuf,
}

#[derive(Debug, Default)]
struct State {
    known: Option<Result<Vec<Target>, ProxyError>>,
    until: Option<Instant>,
    /// The hosts file when it was asked last, and when it is looked at again.
    hosts: hosts::Stamp,
    hosts_until: Option<Instant>,
    /// The log has said that it is not found any more.
    is_lost: bool,
}

impl Names {
    /// Nothing is known yet; `pool` has the connections.
    pub(super) fn new(address: &OriginAddress, pool: Pool) -> Self {
        let address = address.clone();
        Self {
            address,
            pool,
            state: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            is_asking: AtomicBool::new(false),
            hosts: hosts::FILE.into(),
        }
    }

    /// Where to connect to, in the order in which it is tried.
    ///
    /// # Errors
    /// When the name leads nowhere, or where no connection may go.
    pub(super) async fn addresses(self: &Arc<Self>) -> Result<Vec<SocketAddr>, ProxyError> {
        if let Ok(itself) = self.address.authority.parse() {
            return Ok(vec![itself]);
        }
        self.look();
        if self.known().is_none() {
            let _turn = self.turn.lock().await;
            if self.known().is_none() {
                self.ask().await;
            }
        }
        let targets = self.known().unwrap_or(Err(ProxyError::DnsError))?;
        Ok(in_order(targets, self.address.is_service(), rand::random))
    }

    /// Looks the name up again if it is time, without anybody who waits. A name that DNS has told for long may be pinned in the
    /// hosts file meanwhile: that is looked at more often.
    pub(super) fn look(self: &Arc<Self>) {
        let (is_due, may_be_pinned) = {
            let state = self.lock();
            let is_past = |until: Option<Instant>| until.is_some_and(|until| until <= monotonic());
            let is_known = matches!(state.known, Some(Ok(_)));
            (is_known && is_past(state.until), is_known && is_past(state.hosts_until))
        };
        if (is_due || may_be_pinned) && !self.is_asking.swap(true, Ordering::AcqRel) {
            let me = Arc::clone(self);
            tokio::spawn(async move {
                if is_due || me.is_hosts_file_other().await {
                    me.ask().await;
                }
                me.is_asking.store(false, Ordering::Release);
            });
        }
    }

    /// Whether the hosts file is another one than when the name was asked for. A disk that does not answer says nothing.
    async fn is_hosts_file_other(&self) -> bool {
        let before = self.lock().hosts;
        let now = timeout(LOOKUP_LIMIT, hosts::stamp(&self.hosts)).await.unwrap_or(before);
        self.lock().hosts_until = Some(monotonic() + TTL_OF_SYSTEM);
        now != before
    }

    /// Targets outlive their time: they are looked up again behind the requests. That nothing was found does not.
    fn known(&self) -> Option<Result<Vec<Target>, ProxyError>> {
        let state = self.lock();
        match &state.known {
            Some(Err(_)) if state.until.is_some_and(|until| until <= monotonic()) => None,
            known => known.clone(),
        }
    }

    async fn ask(&self) {
        let last = self.lock().known.clone().and_then(Result::ok).unwrap_or_default();
        let lookup = async {
            // Before the file is read: it may be written just behind that.
            let stamp = hosts::stamp(&self.hosts).await;
            {
                let mut state = self.lock();
                (state.hosts, state.hosts_until) = (stamp, Some(monotonic() + TTL_OF_SYSTEM));
            }
            lookup_by(&self.hosts, &self.address, &last).await
        };
        let found = match timeout(LOOKUP_LIMIT, lookup).await {
            Ok(found) => found,
            Err(_) => Err("no answer in time".to_owned()),
        };
        if self.take(found, monotonic()) {
            self.pool.forget();
        }
    }

    /// Whether the name leads elsewhere now.
    fn take(&self, found: Result<Found, String>, now: Instant) -> bool {
        let origin = &self.address.authority;
        let mut state = self.lock();
        let found = match found {
            Ok(found) if found.targets.iter().any(|target| !target.addresses.is_empty()) => found,
            nothing => {
                let why = nothing.err().unwrap_or_else(|| "it has no address".to_owned());
                state.until = Some(now + RETRY);
                let keeps = matches!(state.known, Some(Ok(_)));
                if !std::mem::replace(&mut state.is_lost, true) {
                    let kept = if keeps { ": its last addresses stay" } else { "" };
                    tracing::warn!(target: "verge_edge::origin", origin, why, "the name is not found{kept}");
                }
                if !keeps {
                    state.known = Some(Err(ProxyError::DnsError));
                }
                return false;
            }
        };
        if std::mem::take(&mut state.is_lost) {
            tracing::info!(target: "verge_edge::origin", origin, "the name is found again");
        }
        let ttl = found.ttl.clamp(LEAST_TTL, MOST_TTL);
        let (targets, denied) = admitted(found.targets, &self.address.reach);
        state.until = Some(now + ttl);
        let next = if targets.is_empty() { Err(ProxyError::DestinationIpProhibited) } else { Ok(targets) };
        let before = state.known.replace(next.clone());
        let has_changed = before.clone().map(in_any_order) != Some(in_any_order(next.clone()));
        if !denied.is_empty() && has_changed {
            tracing::warn!(target: "verge_edge::origin", origin, led_to = ?denied, "the name leads to addresses that are not public and not in `origin_networks`");
        }
        let leads_elsewhere = has_changed && matches!(before, Some(Ok(_)));
        if let (true, Ok(targets)) = (leads_elsewhere, &next) {
            tracing::info!(target: "verge_edge::origin", origin, leads_to = ?targets, "the name leads elsewhere");
        }
        leads_elsewhere
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The same, if it differs in its order only: many name servers give it another one each time. The names of targets are no
/// places.
fn in_any_order(known: Result<Vec<Target>, ProxyError>) -> Result<Vec<Target>, ProxyError> {
    known.map(|mut targets| {
        for target in &mut targets {
            target.addresses.sort_unstable();
            target.host = None;
        }
        targets.sort_unstable();
        targets
    })
}

/// The targets with the addresses that may be asked, and the other addresses.
fn admitted(targets: Vec<Target>, reach: &Reach) -> (Vec<Target>, Vec<SocketAddr>) {
    let mut denied = Vec::new();
    let admitted = targets.into_iter().filter_map(|target| {
        let (may, may_not): (Vec<SocketAddr>, Vec<SocketAddr>) =
            target.addresses.into_iter().partition(|address| reach.admits(address.ip()));
        denied.extend(may_not);
        (!may.is_empty()).then_some(Target { addresses: may, ..target })
    });
    let admitted = admitted.collect();
    (admitted, denied)
}

/// The addresses of targets in the order in which they are tried: by priority, and by chance and weight among equals
/// (RFC 2782). `chance` gives numbers below 1.
fn in_order(mut targets: Vec<Target>, is_service: bool, mut chance: impl FnMut() -> f64) -> Vec<SocketAddr> {
    if !is_service {
        return targets.into_iter().flat_map(|target| target.addresses).collect();
    }
    let mut ordered = Vec::new();
    while let Some(least) = targets.iter().map(|target| target.priority).min() {
        let equals: Vec<usize> = (0..targets.len()).filter(|&at| targets[at].priority == least).collect();
        // A weight of 0 is chosen, too, if seldom.
        let weight = |at: usize| f64::from(targets[at].weight).max(0.01);
        let mut left = chance() * equals.iter().map(|&at| weight(at)).sum::<f64>();
        let chosen = equals.iter().copied().find(|&at| {
            left -= weight(at);
            left < 0.0
        });
        let chosen = targets.swap_remove(chosen.unwrap_or(equals[equals.len() - 1]));
        ordered.extend(chosen.addresses);
    }
    ordered
}

#[cfg(test)]
mod tests;
