//! Access to a part of a site: by network, by user and password, by rate and by size.

pub mod rate;
pub mod users;

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

pub use rate::Rate;
pub use users::{Credentials, Users};

/// The conditions under which a request is let in. The default lets all in.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Clients that may ask; if there are any, others may not.
    pub allow: Vec<IpNet>,
    /// Clients that may not.
    pub deny: Vec<IpNet>,
    /// The users that may ask, if a password is needed.
    pub users: Option<Arc<Users>>,
    /// How often the clients of one network may ask.
    pub rate: Option<Rate>,
    /// The longest content of a request, in bytes.
    pub max_body_bytes: Option<u64>,
}

impl Access {
    /// Whether some may not ask.
    pub fn keeps_out(&self) -> bool {
        !self.allow.is_empty() || !self.deny.is_empty() || self.users.is_some()
    }

    /// Whether it keeps out all that `other` keeps out; a password is as good as another.
    pub fn is_as_strict_as(&self, other: &Self) -> bool {
        let lie_in = |all: &[IpNet], wide: &[IpNet]| {
            all.iter().all(|network| wide.iter().any(|wider| wider.contains(network)))
        };
        let allow = other.allow.is_empty() || !self.allow.is_empty() && lie_in(&self.allow, &other.allow);
        allow && lie_in(&other.deny, &self.deny) && (other.users.is_none() || self.users.is_some())
    }

    /// Whether a client at this address may ask. The longest network that holds it decides, `deny` before `allow`.
    pub fn admits(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        let longest = |networks: &[IpNet]| {
            networks.iter().filter(|network| network.contains(&client)).map(IpNet::prefix_len).max()
        };
        match (longest(&self.allow), longest(&self.deny)) {
            (None, None) => self.allow.is_empty(),
            (allowed, denied) => allowed > denied,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(allow: &[&str], deny: &[&str], client: &str, expected: bool) {
        let read = |networks: &[&str]| networks.iter().map(|text| text.parse().unwrap()).collect();
        let access = Access { allow: read(allow), deny: read(deny), ..Access::default() };
        assert_eq!(access.admits(client.parse().unwrap()), expected, "{allow:?} {deny:?} {client}");
    }

    #[test]
    fn the_longest_network_that_holds_a_client_decides() {
        check(&[], &[], "192.0.2.1", true);
        check(&["10.0.0.0/8"], &[], "10.1.2.3", true);
        check(&["10.0.0.0/8"], &[], "192.0.2.1", false);
        check(&[], &["192.0.2.0/24"], "192.0.2.1", false);
        check(&[], &["192.0.2.0/24"], "198.51.100.1", true);
        check(&["10.0.0.0/8"], &["10.5.0.0/16"], "10.5.0.1", false);
        check(&["10.5.0.7/32"], &["10.5.0.0/16"], "10.5.0.7", true);
        check(&["10.5.0.7/32"], &["10.5.0.0/16"], "192.0.2.1", false);
        check(&["10.0.0.0/8"], &["10.0.0.0/8"], "10.0.0.1", false);
        check(&["0.0.0.0/0"], &["192.0.2.0/24"], "192.0.2.1", false);
    }

    #[test]
    fn a_part_is_as_strict_as_another_if_it_keeps_out_as_many() {
        let read = |networks: &[&str]| networks.iter().map(|text| text.parse().unwrap()).collect();
        let users = Users::read("a:$2y$05$TJysGwJAo977pCPOoUKRheG03MWAjcBnjbxO64BYgah6sEbRLiROq", "r").ok();
        let access = |allow: &[&str], deny: &[&str], has_users: bool| Access {
            allow: read(allow),
            deny: read(deny),
            users: users.clone().filter(|_| has_users).map(Arc::new),
            ..Access::default()
        };
        let check = |one: &Access, other: &Access, expected: bool| {
            assert_eq!(one.is_as_strict_as(other), expected, "{one:?} {other:?}");
        };
        let (open, office) = (access(&[], &[], false), access(&["10.0.0.0/8"], &[], false));
        check(&open, &open, true);
        check(&open, &office, false);
        check(&office, &open, true);
        check(&access(&["10.5.0.0/16"], &[], false), &office, true);
        check(&access(&["10.5.0.0/16", "192.0.2.0/24"], &[], false), &office, false);
        check(&access(&[], &["192.0.2.0/25"], false), &access(&[], &["192.0.2.0/24"], false), false);
        check(&access(&[], &["192.0.2.0/24"], false), &access(&[], &["192.0.2.0/25"], false), true);
        check(&office, &access(&[], &[], true), false);
        check(&access(&[], &[], true), &access(&[], &[], true), true);
    }

    #[test]
    fn an_address_of_version_4_in_version_6_is_what_it_means() {
        check(&["10.0.0.0/8"], &[], "::ffff:10.0.0.1", true);
        check(&[], &["10.0.0.0/8"], "::ffff:10.0.0.1", false);
        check(&["2001:db8::/32"], &[], "2001:db8::1", true);
    }
}
