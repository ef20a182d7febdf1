//! Pools and their members, for people and as metrics.

use std::cmp::Reverse;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Mutex, OnceLock};

use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue};
use prometheus_client::metrics::MetricType;
use serde::{Deserialize, Serialize};

use super::{counter, lock};
use crate::steer::Pool;
use crate::steer::decide::Known;
use crate::steer::health::State;
use crate::steer::pool::Member;

/// A pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolStatus {
    /// Its name.
    pub pool: String,
    /// `A` or `AAAA`.
    #[serde(rename = "type")]
    pub rtype: String,
    /// The side that gets it: `outside` or `inside`.
    pub view: String,
    /// How far health is believed.
    pub mode: String,
    /// Seconds that answers may be kept.
    pub ttl: u32,
    /// Its records, in their order.
    pub members: Vec<MemberStatus>,
}

impl PoolStatus {
    /// The facts known of each member of a pool that has the same ones.
    pub(crate) fn known(&self, pool: &Pool) -> Vec<Known> {
        let known = |member: &Member| {
            let status = self.members.iter().find(|status| status.address == member.address);
            let plain = member.unknown();
            let state = status.map(|status| match &*status.state {
                "up" => State::Up,
                "down" => State::Down,
                _ => State::Unknown,
            });
            Known {
                state: state.unwrap_or_default(),
                since: status.and_then(|status| status.since).unwrap_or_default() * 1000,
                load: status.and_then(|status| status.followed.or(status.load)),
                drained: status.is_some_and(|status| status.drained),
                rtt: status.and_then(|status| status.rtt),
                awaited: member.is_measured() && status.is_some_and(|status| status.checked.is_none()),
                ..plain
            }
        };
        pool.members.iter().map(known).collect()
    }
}

/// A member of a pool. Times are in Unix seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberStatus {
    /// The address that answers give.
    pub address: IpAddr,
    /// `up`, `down` or `unknown`.
    pub state: String,
    /// Since when; none if it was never checked.
    pub since: Option<u64>,
    /// When the last check ended.
    pub checked: Option<u64>,
    /// The result of the last check.
    pub why: String,
    /// It is held down, since it went down too often.
    pub held: bool,
    /// Changes of state since the start.
    pub flips: u64,
    /// The views of all name servers, this one first; none without others.
    #[serde(default)]
    pub votes: Vec<Vote>,
    /// Thousandths of what it can bear, if it told.
    pub load: Option<u16>,
    /// The load by which its share is reduced: it follows what is told so slowly that nothing swings.
    #[serde(default)]
    pub followed: Option<u16>,
    /// Microseconds of a round trip from this name server, as far as it follows them.
    #[serde(default)]
    pub rtt: Option<u32>,
    /// As the config says.
    pub weight: u32,
    /// As the config says.
    pub priority: u32,
    /// Somebody takes it out of service.
    pub drained: bool,
    /// The member's fate, in words.
    pub fate: String,
    /// The part of the answers to clients of no place that it is first in, in thousandths; in an explanation, of those to clients that
    /// are where the client is.
    pub share: u32,
    /// Of a drained member: seconds until no answer that names it may be kept any more, of any name server that is heard.
    pub safe_in: Option<u64>,
    /// The command that took it out of service, if one did.
    #[serde(default)]
    pub drain: Option<DrainStatus>,
}

/// All members with their pools, in the order in which people should hear of them: those that are down, then those that are drained, then
/// those that are loaded, by tens of percent. A list that is cut shows what is wrong.
pub(crate) fn worst_first(pools: &[PoolStatus]) -> Vec<(&PoolStatus, &MemberStatus)> {
    let members = pools.iter().flat_map(|pool| pool.members.iter().map(move |member| (pool, member)));
    let mut members: Vec<_> = members.collect();
    members.sort_by_key(|(_, member)| {
        (member.state != "down", !member.drained, Reverse(member.load.map(|load| load / 100)))
    });
    members
}

/// A command that took a member out of service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainStatus {
    /// When it was given, in Unix seconds, by the clock of the name server that it was given to.
    pub since: u64,
    /// The name of that name server; `here` is this one.
    pub by: String,
    /// Name servers that may still send users there: `not heard`, `cannot be told`, `not told yet` or `still gives it`.
    pub awaited: Vec<Vote>,
}

/// The state of a member as a name server sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    /// Its name; `here` is this one.
    pub node: String,
    /// `up`, `down`, `unknown` or `not heard`.
    pub state: String,
}

/// Another name server that tells who is up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its name.
    pub node: String,
    /// How many seconds ago it said what came last; none if nothing did.
    pub heard: Option<u64>,
    /// Whether its view counts.
    pub counts: bool,
    /// Why it cannot be told what this server sees.
    pub error: Option<String>,
    /// Attempts to tell it that failed since it could be told last.
    #[serde(default)]
    pub failed: u64,
}

/// A member that a reload took out of all pools.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeavingStatus {
    /// Its address.
    pub address: IpAddr,
    /// Seconds until no answer that names it is kept any more.
    pub safe_in: u64,
}

/// All that is told of pools.
#[derive(Clone, Debug, Default)]
pub(crate) struct Steered {
    pub(crate) pools: Vec<PoolStatus>,
    pub(crate) nodes: Vec<NodeStatus>,
    pub(crate) leaving: Vec<LeavingStatus>,
    /// Checks that began more than an interval late.
    pub(crate) late: u64,
}

/// Where the pools are known; nowhere in a server that does not run.
#[derive(Default)]
pub(crate) struct PoolSource {
    source: OnceLock<Box<dyn Fn() -> Steered + Send + Sync>>,
    /// Whether the database of places was read; none without one.
    is_read: Mutex<Option<bool>>,
}

impl fmt::Debug for PoolSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PoolSource")
    }
}

impl PoolSource {
    /// The first one counts.
    pub(crate) fn set(&self, source: impl Fn() -> Steered + Send + Sync + 'static) {
        let _ = self.source.set(Box::new(source));
    }

    /// Whether the database of places could be read when it was tried last; none without one.
    pub(crate) fn database_is_read(&self, is_read: Option<bool>) {
        *lock(&self.is_read) = is_read;
    }

    /// The pools and name servers of now.
    pub(crate) fn get(&self) -> Steered {
        self.source.get().map(|source| source()).unwrap_or_default()
    }

    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Steered { pools, nodes, late, .. } = self.get();
        let help = "Members of pools that are up, or of which nothing is known: 1; that are down: 0";
        gauges(encoder, &pools, "pool_member_up", help, |it| Some(u64::from(it.state != "down")))?;
        let help = "Since when members of pools are in their state, in Unix seconds";
        gauges(encoder, &pools, "pool_member_since_timestamp_seconds", help, |it| it.since)?;
        let help =
            "The part of the answers to clients of no place that a member of a pool is first in, from 0 to 1";
        gauges(encoder, &pools, "pool_member_share_ratio", help, |it| Some(f64::from(it.share) / 1000.0))?;
        let help = "The part of what it can bear that a member of a pool bears, as it told: 1 is all";
        gauges(encoder, &pools, "pool_member_load_ratio", help, |it| Some(f64::from(it.load?) / 1000.0))?;
        let help = "Seconds of a round trip to a member of a pool, as far as steering follows them";
        gauges(encoder, &pools, "pool_member_rtt_seconds", help, |it| Some(f64::from(it.rtt?) / 1e6))?;
        let help = "Members of pools that are drained: 1";
        gauges(encoder, &pools, "pool_member_drained", help, |it| Some(u64::from(it.drained)))?;
        let help = "Changes of state of members of pools since the start";
        let mut flips = encoder.encode_descriptor("pool_member_flips", help, None, MetricType::Counter)?;
        each(&pools, |labels, member| {
            flips.encode_family(labels)?.encode_counter::<[(&str, &str); 0], _, u64>(&member.flips, None)
        })?;
        let help =
            "Checks of members that began more than an interval late, since too many others do not answer";
        counter(encoder, "steer_checks_late", help, late)?;
        let help = "Name servers whose view of members counts: 1; that are not heard: 0";
        let mut metric = encoder.encode_descriptor("steer_node_heard", help, None, MetricType::Gauge)?;
        for node in &nodes {
            metric.encode_family(&[("node", &*node.node)])?.encode_gauge(&u64::from(node.counts))?;
        }
        let Some(is_read) = *lock(&self.is_read) else { return Ok(()) };
        let help = "Whether the database of places could be read when it was tried last: 1; not: 0";
        let mut metric = encoder.encode_descriptor("steer_database_read", help, None, MetricType::Gauge)?;
        metric.encode_gauge(&u64::from(is_read))
    }
}

fn gauges<V: EncodeGaugeValue>(
    encoder: &mut DescriptorEncoder<'_>,
    pools: &[PoolStatus],
    name: &str,
    help: &str,
    of: impl Fn(&MemberStatus) -> Option<V>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    each(pools, |labels, member| match of(member) {
        Some(value) => metric.encode_family(labels)?.encode_gauge(&value),
        None => Ok(()),
    })
}

/// Each member with its labels. A name has pools of both types in both views.
fn each(
    pools: &[PoolStatus],
    mut write: impl FnMut(&[(&str, &str); 4], &MemberStatus) -> fmt::Result,
) -> fmt::Result {
    for PoolStatus { pool, rtype, view, members, .. } in pools {
        for member in members {
            let address = member.address.to_string();
            let labels = [
                ("pool", pool.as_str()),
                ("type", rtype.as_str()),
                ("view", view.as_str()),
                ("address", &*address),
            ];
            write(&labels, member)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::metrics::{Format, Metrics};

    #[test]
    fn members_are_told_in_base_units_by_pool_type_and_view() {
        let member = MemberStatus {
            address: [192, 0, 2, 1].into(),
            state: "down".to_owned(),
            since: Some(1_800_000_000),
            checked: None,
            why: String::new(),
            held: false,
            flips: 3,
            votes: Vec::new(),
            load: Some(420),
            followed: None,
            rtt: Some(8_400),
            weight: 1,
            priority: 0,
            drained: true,
            fate: String::new(),
            share: 250,
            safe_in: None,
            drain: None,
        };
        let unknown = MemberStatus { state: "unknown".to_owned(), load: None, rtt: None, ..member.clone() };
        let pool = |rtype: &str, member: MemberStatus| PoolStatus {
            pool: "www.example.com.".to_owned(),
            rtype: rtype.to_owned(),
            view: "outside".to_owned(),
            members: vec![member],
            ..PoolStatus::default()
        };
        let metrics = Arc::new(Metrics::default());
        metrics.pools.set(move || Steered {
            pools: vec![pool("A", member.clone()), pool("AAAA", unknown.clone())],
            ..Steered::default()
        });
        let text = metrics.encode(Format::Prometheus);
        let of = |rtype: &str| {
            format!("{{pool=\"www.example.com.\",type=\"{rtype}\",view=\"outside\",address=\"192.0.2.1\"}}")
        };
        for line in [
            "# TYPE verge_dns_pool_member_flips_total counter".to_owned(),
            format!("verge_dns_pool_member_flips_total{} 3", of("A")),
            format!("verge_dns_pool_member_up{} 0", of("A")),
            format!("verge_dns_pool_member_up{} 1", of("AAAA")),
            format!("verge_dns_pool_member_share_ratio{} 0.25", of("A")),
            format!("verge_dns_pool_member_load_ratio{} 0.42", of("A")),
            format!("verge_dns_pool_member_rtt_seconds{} 0.0084", of("A")),
            format!("verge_dns_pool_member_drained{} 1", of("A")),
            format!("verge_dns_pool_member_since_timestamp_seconds{} 1800000000", of("A")),
        ] {
            assert!(text.lines().any(|there| there == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("permille") && !text.contains(&format!("load_ratio{}", of("AAAA"))), "{text}");
    }
}
