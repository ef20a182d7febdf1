//! The load of a member, as far as steering follows it: so slowly that what it causes is seen before it goes on.
//!
//! Answers are kept for their TTL, so a share that is reduced now is felt only then. A share that followed the told load would go on
//! shrinking until the load is gone, and the load would come back as a whole. So the *demand* is followed instead: the load that
//! the member would have with its whole share, which is what it told over the share that the load is due to. That does not
//! change with the share. The share goes to where load and share fit each other by the two water marks.

use super::rules::Shed;

/// A member's share, by the loads that it told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bearing {
    /// The part of its share that it keeps.
    kept: f64,
    /// The part that its load now is due to: that of the answers that are still kept.
    felt: f64,
    /// When it told last, in milliseconds.
    told: Option<u64>,
}

impl Default for Bearing {
    fn default() -> Self {
        Self { kept: 1.0, felt: 1.0, told: None }
    }
}

/// Less is nothing.
const LEAST: f64 = 0.02;
/// The share goes the whole way in as many TTLs.
const TTLS: f64 = 0.5;

impl Bearing {
    /// Takes in a load in thousandths that was told at `now`, of a member whose answers may be kept for `ttl` seconds.
    pub fn tell(&mut self, load: u16, shed: Shed, ttl: u32, now: u64) {
        let since = self.told.replace(now).map_or(0, |told| now.saturating_sub(told));
        let ttl = f64::from(ttl.max(1)) * 1000.0;
        // Answers are renewed one by one in a TTL: after half of it, half of the load is by the new share.
        let felt = 1.0 - (-(since as f64) / (ttl / 2.0)).exp();
        self.felt += (self.kept - self.felt) * felt;
        let (from, to) = (f64::from(shed.from), f64::from(shed.to));
        let demand = f64::from(load) / self.felt.max(LEAST);
        // Of a demand d, the share k bears the load d·k; the marks give k = (to − d·k) / (to − from).
        let fits = if demand <= from { 1.0 } else { to / (to - from + demand) };
        let step = 1.0 - (-(since as f64) / (ttl * TTLS)).exp();
        self.kept += (fits - self.kept) * step;
    }

    /// The load in thousandths by whose share the marks are kept; none if nothing was told.
    pub fn load(&self, shed: Shed) -> Option<u16> {
        self.told?;
        let kept = if self.kept < LEAST { 0.0 } else { self.kept };
        let (from, to) = (f64::from(shed.from), f64::from(shed.to));
        Some((to - kept * (to - from)).round() as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: u32 = 30;

    /// A member whose clients come back each TTL, one thirtieth each second, and its load while `demand` is what it would
    /// have with its whole share: the loads of the last minutes.
    fn loads(demand: impl Fn(u64) -> f64, outside: f64, seconds: u64) -> Vec<f64> {
        let (mut bearing, shed) = (Bearing::default(), Shed::default());
        let mut shares = [1.0; TTL as usize];
        let mut seen = Vec::new();
        for second in 0..seconds {
            let felt = shares.iter().sum::<f64>() / f64::from(TTL);
            let load = demand(second) * felt + outside;
            seen.push(load);
            if second % 2 == 0 {
                bearing.tell(load as u16, shed, TTL, second * 1000);
            }
            let kept = f64::from(shed.to - bearing.load(shed).unwrap()) / f64::from(shed.to - shed.from);
            shares[second as usize % TTL as usize] = kept;
        }
        seen
    }

    #[test]
    fn a_load_settles_between_the_marks_where_share_and_load_fit_and_does_not_swing() {
        for (demand, expected) in
            [(600.0, 600.0), (700.0, 700.0), (1000.0, 760.0), (1500.0, 814.0), (3000.0, 877.0)]
        {
            let loads = loads(|_| demand, 0.0, 600);
            let last = &loads[300..];
            let (least, most) =
                last.iter().fold((f64::MAX, 0.0_f64), |(a, b), load| (a.min(*load), b.max(*load)));
            assert!(
                (least - expected).abs() < 15.0 && (most - expected).abs() < 15.0,
                "{demand}: {least} to {most}"
            );
            // On its way there it goes no more than a tenth too far.
            let deepest = loads[60..].iter().copied().fold(f64::MAX, f64::min);
            assert!(deepest > expected * 0.9, "{demand}: down to {deepest}");
        }
    }

    #[test]
    fn a_share_comes_back_when_the_demand_is_gone_and_one_that_is_of_no_use_goes() {
        let back = loads(|second| if second < 300 { 2000.0 } else { 500.0 }, 0.0, 480);
        assert!((back[479] - 500.0).abs() < 5.0, "{}", back[479]);
        // It is loaded by others than those whom answers send.
        let others = loads(|_| 100.0, 960.0, 900);
        assert!(others[899] < 970.0, "{}", others[899]);
    }

    #[test]
    fn nothing_is_followed_where_nothing_is_told() {
        assert_eq!(Bearing::default().load(Shed::default()), None);
        let mut bearing = Bearing::default();
        bearing.tell(300, Shed::default(), TTL, 5000);
        assert_eq!(bearing.load(Shed::default()), Some(700), "it keeps its whole share");
    }
}
