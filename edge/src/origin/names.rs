//! Where the names of origins lead, as told at the start and by `check`: before the first client finds out.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::resolving;
use crate::site::reach::Reach;
use crate::site::{OriginAddress, Sites};

/// A name that leads nowhere by then is told as that.
const LOOKUP_LIMIT: Duration = Duration::from_secs(5);

/// Says in the log which names of origins lead nowhere. Nobody waits for DNS.
pub fn tell(sites: Sites) {
    tokio::spawn(async move {
        for doubt in doubts(&sites).await {
            tracing::warn!(target: "verge_edge::origin", "{doubt}");
        }
    });
}

/// A sentence for each origin whose name leads nowhere, or where no connection will go.
pub async fn doubts(sites: &Sites) -> Vec<String> {
    let mut lookups = JoinSet::new();
    let mut seen = BTreeSet::new();
    for site in sites.all().iter().flat_map(|site| std::iter::once(site).chain(&site.routes)) {
        let is_name = |origin: &&OriginAddress| origin.reach != Reach::Itself;
        for origin in site
            .origins
            .iter()
            .chain(&site.parents)
            .chain(site.canary.iter().flat_map(|it| &it.origins))
            .filter(is_name)
        {
            if seen.insert((site.name.to_string(), origin.authority.clone())) {
                let (site, origin) = (site.name.to_string(), origin.clone());
                lookups.spawn(async move { doubt(&site, &origin).await });
            }
        }
    }
    let mut doubts: Vec<String> = lookups.join_all().await.into_iter().flatten().collect();
    doubts.sort_unstable();
    doubts
}

async fn doubt(site: &str, origin: &OriginAddress) -> Option<String> {
    let name = &origin.authority;
    let found: Vec<SocketAddr> = match timeout(LOOKUP_LIMIT, resolving::lookup(origin, &[])).await {
        Ok(Ok(found)) => found.targets.into_iter().flat_map(|target| target.addresses).collect(),
        Ok(Err(error)) => return Some(format!("site {site}: the origin {name} is not found: {error}")),
        Err(_) => return Some(format!("site {site}: the origin {name} is not found in {LOOKUP_LIMIT:?}")),
    };
    judge(site, origin, &found.iter().map(SocketAddr::ip).collect::<Vec<_>>())
}

fn judge(site: &str, origin: &OriginAddress, found: &[IpAddr]) -> Option<String> {
    let name = &origin.authority;
    let denied: Vec<IpAddr> =
        found.iter().map(IpAddr::to_canonical).filter(|address| !origin.reach.admits(*address)).collect();
    if found.is_empty() {
        return Some(format!("site {site}: the origin {name} has no address"));
    }
    let shown = denied.first()?;
    let networks: BTreeSet<String> = denied.iter().map(|address| network(*address)).collect();
    let line = networks.iter().map(|network| format!("\"{network}\"")).collect::<Vec<_>>().join(", ");
    let whole = if denied.len() == found.len() { "so no request can reach it" } else { "which is not used" };
    Some(format!(
        "site {site}: the origin {name} leads to {shown}, which is not public, {whole}: \
         if that is meant, write origin_networks = [{line}] into the site"
    ))
}

/// A network that the next address of the same service is likely to be in.
fn network(address: IpAddr) -> String {
    let bits = match address {
        IpAddr::V4(address) if matches!(address.octets()[0], 10 | 172) => 16,
        IpAddr::V4(_) => 24,
        IpAddr::V6(_) => 64,
    };
    IpNet::new(address, bits).map_or_else(|_| address.to_string(), |network| network.trunc().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::origin::Way;

    fn check(networks: &[&str], found: &[&str], expected: Option<&str>) {
        let networks: Vec<IpNet> = networks.iter().map(|text| text.parse().unwrap()).collect();
        let reach = Reach::of("app", &networks);
        let origin = OriginAddress {
            authority: "app:80".into(),
            socket: None,
            way: Way::Plain,
            host: None,
            title_case: false,
            weight: 1,
            backup: false,
            drain: false,
            resolvers: std::sync::Arc::default(),
            reach,
        };
        let found: Vec<IpAddr> = found.iter().map(|text| text.parse().unwrap()).collect();
        let told = judge("a.test", &origin, &found);
        match (&told, expected) {
            (Some(told), Some(expected)) => assert!(told.contains(expected), "{told}"),
            (told, expected) => assert_eq!(told.as_deref(), expected),
        }
    }

    #[test]
    fn a_name_that_leads_to_a_private_network_is_told_with_the_line_to_add() {
        check(&[], &["1.1.1.1", "2606:4700::1111"], None);
        check(&[], &["172.18.0.5"], Some("write origin_networks = [\"172.18.0.0/16\"] into the site"));
        check(
            &[],
            &["10.3.4.5", "10.3.9.9"],
            Some("no request can reach it: if that is meant, write origin_networks = [\"10.3.0.0/16\"]"),
        );
        check(
            &[],
            &["192.168.7.5", "1.1.1.1"],
            Some("which is not used: if that is meant, write origin_networks = [\"192.168.7.0/24\"]"),
        );
        check(&[], &["fd00:1:2:3::5"], Some("[\"fd00:1:2:3::/64\"]"));
        check(&["172.18.0.0/16"], &["172.18.0.5"], None);
        check(&[], &[], Some("has no address"));
    }
}
