//! Pools as commands, metrics and documents show them.

use super::time::Time;
use super::{Board, Held, Inner};
use crate::metrics::{MemberStatus, PoolStatus, Vote};
use crate::steer::pool::Member;

impl Board {
    /// Each pool for people and metrics, by name.
    pub(crate) fn pools(&self) -> Vec<PoolStatus> {
        let now = self.time();
        let inner = self.lock();
        let mut pools: Vec<PoolStatus> =
            inner.pools.iter().enumerate().map(|(at, held)| inner.status(at, held, now)).collect();
        pools.sort_by(|a, b| (&a.pool, &a.rtype, &a.view).cmp(&(&b.pool, &b.rtype, &b.view)));
        pools
    }
}

impl Inner {
    fn status(&self, pool_at: usize, held: &Held, now: Time) -> PoolStatus {
        let pool = &held.pool;
        let all = held.all_known(self);
        let decision = pool.decide(&all, None);
        let member = |(at, (id, member)): (usize, (u64, &Member))| {
            let known = &all[at];
            let health = member.target.as_ref().and_then(|target| self.health.get(target));
            let drain = self.drain_of(member.address, now);
            let left = self.left(pool_at, at, now.ticks).filter(|_| known.drained);
            let most = |left: u64| left.max(drain.as_ref().map_or(0, |(_, others)| *others)).div_ceil(1000);
            let safe_in = left.map(most);
            MemberStatus {
                address: member.address,
                state: known.state.as_str().to_owned(),
                since: (known.since > 0).then(|| now.unix_at(known.since) / 1000),
                checked: health.and_then(|health| Some(now.unix_at(health.checked?) / 1000)),
                why: health.map(|health| health.why.clone()).unwrap_or_default(),
                held: health.is_some_and(|health| health.is_held(now.ticks)),
                flips: self.entries.get(&id).map_or(0, |entry| entry.flips),
                votes: self
                    .votes(id, now.ticks)
                    .into_iter()
                    .map(|(node, state)| Vote { node, state })
                    .collect(),
                load: health.and_then(|health| health.load),
                followed: known.load,
                rtt: health.and_then(|health| health.rtt.micros()),
                weight: known.weight,
                priority: known.priority,
                drained: known.drained,
                fate: decision.fates[at].as_str().to_owned(),
                share: decision.plan.share(at),
                safe_in,
                drain: drain.map(|(drain, _)| drain),
            }
        };
        PoolStatus {
            pool: pool.owner.to_string(),
            rtype: pool.rtype.to_string(),
            view: held.which.as_str().to_owned(),
            mode: decision.mode.as_str().to_owned(),
            ttl: decision.plan.ttl(),
            members: held.members().enumerate().map(member).collect(),
        }
    }
}
