//! Records that people write into zone files, a few at a time, and what outsiders may know of them.

use rand::Rng;
use rand::seq::IndexedRandom;
use verge_dns::rtype::Type;

use super::{Change, Label, MAIN, Maker, OTHER, rdata};

impl Maker {
    pub(super) fn public_host(&mut self, zone: usize) {
        let owner = self.place(zone);
        for _ in 0..self.rng.random_range(1..3) {
            let (rtype, address) = self.public_address();
            self.add(zone, &owner, rtype, &address, Label::Public);
        }
        self.add(zone, &owner, "TXT", "here", Label::Public);
        self.add(zone, &format!("_443._tcp.{owner}"), "TLSA", "3 1 0 0102", Label::Public);
        self.mail_hosts.push(owner.clone());
        self.public.push(owner);
    }

    /// A host, what else it owns, and its services: all hidden.
    pub(super) fn hidden_host(&mut self, zone: usize, owner: &str) -> String {
        for _ in 0..self.rng.random_range(1..3) {
            let (rtype, address) = self.hidden_address();
            self.add(zone, owner, rtype, &address, Label::Hidden);
        }
        if self.rng.random_bool(0.5) {
            self.add(zone, owner, "TXT", "ask the platform team", Label::Hidden);
            self.add(zone, owner, "HINFO", "a b", Label::Hidden);
            self.add(zone, &format!("_443._tcp.{owner}"), "TLSA", "3 1 0 0102", Label::Hidden);
        }
        self.hidden.push(owner.into());
        owner.into()
    }

    /// Records that lead somewhere, beside public data.
    pub(super) fn leads(&mut self, zone: usize) {
        let owner = self.place(zone);
        self.add(zone, &owner, "A", "8.8.4.4", Label::Public);
        for _ in 0..3 {
            let shape = *LEADS.choose(&mut self.rng).unwrap();
            let (target, label) = self.either_target();
            self.add(zone, &owner, shape.0, &shape.1.replace('%', &target), label);
        }
        self.public.push(owner);
    }

    pub(super) fn aliases(&mut self, zone: usize) {
        let (mut target, label) = self.either_target();
        for _ in 0..self.rng.random_range(1..4) {
            let zone = if self.rng.random_bool(0.3) { OTHER } else { zone };
            let owner = self.place(zone);
            self.add(zone, &owner, "CNAME", &target, label);
            target = owner;
        }
        if label == Label::Public { self.public.push(target) } else { self.hidden.push(target) }
    }

    /// A hidden name under a public wildcard does not exist, and the wildcard answers for it.
    pub(super) fn wildcards(&mut self, zone: usize) {
        let parent = self.place(zone);
        let address = self.public_v4();
        self.add(zone, &format!("*.{parent}"), "A", &address, Label::Public);
        self.public.push(format!("any.{parent}"));
        self.hidden_host(zone, &format!("admin.{parent}"));
    }

    pub(super) fn hidden_wildcard(&mut self, zone: usize) {
        let parent = self.place(zone);
        let address = self.hidden_v4();
        self.add(zone, &format!("*.{parent}"), "A", &address, Label::Hidden);
        self.add(zone, &format!("*.{parent}"), "TXT", "x", Label::Hidden);
        self.hidden.push(format!("any.thing.{parent}"));
        if self.rng.random_bool(0.5) {
            let address = self.public_v4();
            self.add(zone, &format!("shown.{parent}"), "A", &address, Label::Public);
        } else {
            self.hidden.push(parent);
        }
    }

    /// Empty non-terminals that only hidden names hold up.
    pub(super) fn hidden_depth(&mut self, zone: usize) {
        let top = self.place(zone);
        self.hidden_host(zone, &format!("x.y.{top}"));
        self.hidden.push(format!("y.{top}"));
        self.hidden.push(top);
    }

    pub(super) fn public_cut(&mut self, zone: usize) {
        let cut = self.place(zone);
        self.add(zone, &cut, "NS", &format!("ns.{cut}"), Label::Public);
        let address = self.public_v4();
        self.add(zone, &format!("ns.{cut}"), "A", &address, Label::Public);
        self.add(zone, &cut, "DS", DIGEST, Label::Public);
        self.public.push(format!("deep.in.{cut}"));
        if self.rng.random_bool(0.5) {
            let secret = self.hidden_target();
            self.add(zone, &cut, "NS", &secret, Label::Hidden);
            let address = self.hidden_v4();
            self.add(zone, &cut, "A", &address, Label::Hidden);
        }
    }

    pub(super) fn hidden_cut(&mut self, zone: usize) {
        let cut = self.place(zone);
        let server = if self.rng.random_bool(0.5) { format!("ns.{cut}") } else { self.hidden_target() };
        self.add(zone, &cut, "NS", &server, Label::Hidden);
        self.add(zone, &cut, "DS", DIGEST, Label::Hidden);
        let address = self.hidden_v4();
        self.add(zone, &format!("ns.{cut}"), "A", &address, Label::Hidden);
        let address = self.public_v4();
        self.add(zone, &format!("www.{cut}"), "A", &address, Label::Hidden);
        self.hidden.push(format!("deep.in.{cut}"));
        self.hidden.push(format!("www.{cut}"));
    }

    pub(super) fn mixed_host(&mut self, zone: usize) {
        let owner = self.place(zone);
        let (rtype, address) = self.public_address();
        self.add(zone, &owner, rtype, &address, Label::Public);
        let (rtype, address) = self.hidden_address();
        self.add(zone, &owner, rtype, &address, Label::Hidden);
        self.add(zone, &owner, "TXT", "stays", Label::Public);
        self.mail_hosts.push(owner.clone());
        self.public.push(owner);
    }

    /// A host whose MX leads to a public address keeps MX, TXT, CAA and mail policies; but it has no address, so whatever
    /// leads to it is of no use to outsiders.
    pub(super) fn mail_host(&mut self, zone: usize) {
        let owner = self.place(zone);
        let address = self.hidden_v4();
        self.add(zone, &owner, "A", &address, Label::Hidden);
        self.add(zone, &owner, "HINFO", "a b", Label::Hidden);
        let (target, label) = self.mail_target();
        self.add(zone, &owner, "MX", &format!("10 {target}"), label);
        self.add(zone, &owner, "TXT", "\"v=spf1 mx -all\"", label);
        self.add(zone, &owner, "CAA", "0 issue \"ca.test\"", label);
        for policy in ["_dmarc", "s1._domainkey", "_mta-sts", "_smtp._tls"] {
            self.add(zone, &format!("{policy}.{owner}"), "TXT", "policy", label);
        }
        self.add(zone, &format!("_25._tcp.{owner}"), "TLSA", "3 1 0 0102", Label::Hidden);
        self.hidden.push(owner);
    }

    /// A host without public addresses whose node stays outside for another reason.
    pub(super) fn emptied_host(&mut self, zone: usize) {
        let owner = self.place(zone);
        self.hidden_host(zone, &owner);
        match self.rng.random_range(0..3) {
            0 => {
                let address = self.public_v4();
                self.add(zone, &format!("child.{owner}"), "A", &address, Label::Public);
            }
            1 => self.add_marked(zone, &owner, "TXT", "shown", Label::Public),
            _ => self.add_marked(zone, &format!("child.{owner}"), "TXT", "shown", Label::Public),
        }
        for (rtype, text) in [("SRV", "0 0 443 %"), ("CNAME", "%")] {
            let from = self.place(zone);
            self.add(zone, &from, rtype, &text.replace('%', &owner), Label::Hidden);
        }
    }

    /// Mail hosts that name themselves, or each other.
    pub(super) fn mail_to_itself(&mut self, zone: usize) {
        let (one, other) = (self.place(zone), self.place(zone));
        for (owner, target) in [(&one, &one), (&one, &other), (&other, &one)] {
            let address = self.hidden_v4();
            self.add(zone, owner, "A", &address, Label::Hidden);
            self.add(zone, owner, "MX", &format!("10 {target}"), Label::Hidden);
            self.add(zone, owner, "TXT", "rack 4", Label::Hidden);
        }
        self.hidden.extend([one, other]);
    }

    /// An alias that is published although its target is hidden leads nobody to an address.
    pub(super) fn marked_alias(&mut self, zone: usize) {
        let (owner, from) = (self.place(zone), self.place(OTHER));
        let target = self.hidden_target();
        self.add_marked(zone, &owner, "CNAME", &target, Label::Public);
        self.add(OTHER, &from, "CNAME", &owner, Label::Hidden);
        self.hidden.extend([owner, from]);
    }

    /// A DNAME that leads to a public and to an emptied host.
    pub(super) fn moved_host(&mut self, zone: usize) {
        let (old, new) = (self.place(OTHER), self.place(zone));
        self.add(OTHER, &old, "DNAME", &new, Label::Public);
        let address = self.public_v4();
        self.add(zone, &format!("shown.{new}"), "A", &address, Label::Public);
        self.hidden_host(zone, &format!("emptied.{new}"));
        self.add_marked(zone, &format!("_x.emptied.{new}"), "TXT", "shown", Label::Public);
        self.public.push(format!("shown.{old}"));
        self.mail_hosts.push(format!("shown.{old}"));
        self.hidden.push(format!("emptied.{old}"));
    }

    /// SRV and TXT of a name describe one service.
    pub(super) fn service(&mut self, zone: usize) {
        let (kind, instance) = (self.place(zone), self.place(zone));
        let (target, label) = match self.rng.random_bool(0.5) {
            true => (self.mail_hosts.choose(&mut self.rng).unwrap().clone(), Label::Public),
            false => (self.hidden_target(), Label::Hidden),
        };
        self.add(zone, &instance, "SRV", &format!("0 0 631 {target}"), label);
        self.add(zone, &instance, "TXT", "note", label);
        if self.rng.random_bool(0.5) {
            self.add_marked(zone, &instance, "TXT", "shown", Label::Public);
        }
        self.add(zone, &kind, "PTR", &instance, label);
    }

    /// Mailboxes at a hidden host; at an apex there is mail even without an address.
    pub(super) fn mailboxes(&mut self, zone: usize) {
        let (owner, host) = (self.place(zone), self.place(zone));
        let apex = self.zones[zone].zone.apex.to_string();
        self.hidden_host(zone, &host);
        self.add(zone, &owner, "RP", &format!("root.{host} ."), Label::Hidden);
        self.add(zone, &owner, "MINFO", &format!("root.{host} missing.a.test."), Label::Hidden);
        self.add(zone, &owner, "RP", &format!("admin.{apex} ."), Label::Public);
    }

    /// Records of one side only.
    pub(super) fn sides(&mut self, zone: usize) {
        let owner = self.place(zone);
        let target = self.mail_hosts.choose(&mut self.rng).unwrap().clone();
        self.add_outside(zone, &owner, "TXT", "\"v=spf1 mx -all\"");
        self.add_outside(zone, &owner, "MX", &format!("10 {target}"));
        self.add_marked(zone, &owner, "TXT", "\"v=spf1 a -all\"", Label::Hidden);
        self.add_marked(zone, &owner, "MX", "20 mail.elsewhere.", Label::Hidden);
    }

    /// A name that does not exist below a hidden host tells of the host.
    pub(super) fn missing_below(&mut self, zone: usize) {
        let owner = self.place(zone);
        self.hidden_host(zone, &owner);
        self.hidden.push(format!("gone.{owner}"));
        self.hidden.push(format!("far.gone.{owner}"));
    }

    pub(super) fn hints(&mut self, zone: usize) {
        let owner = self.place(zone);
        let (shown, secret) = (self.public_v4(), self.hidden_v4());
        let mut partly = |written: &str, outside: &str| {
            self.zones[zone].outside.push(rdata(Type::HTTPS, outside));
            let label = Label::Changed(Change::Text(self.zones[zone].outside.len() - 1));
            self.add(zone, &owner, "HTTPS", written, label);
        };
        partly(&format!("1 . alpn=h2 ipv4hint={secret},{shown}"), &format!("1 . alpn=h2 ipv4hint={shown}"));
        partly(&format!("2 . alpn=h2 ipv4hint={secret} ipv6hint=fd00::1"), "2 . alpn=h2");
        self.add(zone, &owner, "HTTPS", &format!("3 . ipv4hint={shown}"), Label::Public);
        let strict = format!("4 . mandatory=ipv4hint ipv4hint={secret}");
        self.add(zone, &owner, "HTTPS", &strict, Label::Hidden);
        let target = self.hidden_target();
        self.add(zone, &owner, "HTTPS", &format!("5 {target} ipv4hint={shown},{secret}"), Label::Hidden);
        self.hints_of_a_hidden_member(zone);
    }

    /// An address that is a public one by itself, and hidden at the name to which a record leads.
    fn hints_of_a_hidden_member(&mut self, zone: usize) {
        let (owner, alias, from) = (self.place(zone), self.place(zone), self.place(zone));
        // No other recipe makes this one.
        let (shown, secret) = (self.public_v4(), "192.0.2.200");
        self.add(zone, &owner, "A", &shown, Label::Public);
        self.add_marked(zone, &owner, "A", secret, Label::Hidden);
        self.add(zone, &alias, "CNAME", &owner, Label::Public);
        for (priority, target) in [(1, "."), (2, owner.as_str()), (3, alias.as_str())] {
            let outside = format!("{priority} {target} ipv4hint={shown}");
            self.zones[zone].outside.push(rdata(Type::HTTPS, &outside));
            let label = Label::Changed(Change::Text(self.zones[zone].outside.len() - 1));
            let at = if target == "." { &owner } else { &from };
            self.add(zone, at, "HTTPS", &format!("{outside},{secret}"), label);
        }
        let strict = format!("4 {alias} mandatory=ipv4hint ipv4hint={secret}");
        self.add(zone, &from, "HTTPS", &strict, Label::Hidden);
    }

    pub(super) fn marks(&mut self, zone: usize) {
        let owner = self.place(zone);
        let address = self.hidden_v4();
        self.add_marked(zone, &owner, "A", &address, Label::Public);
        self.add(zone, &owner, "TXT", "stays", Label::Public);
        self.public.push(owner);
        let owner = self.place(zone);
        let address = self.public_v4();
        self.add_marked(zone, &owner, "A", &address, Label::Hidden);
        self.hidden.push(owner);
        let owner = self.place(zone);
        let target = self.hidden_target();
        self.add_marked(zone, &owner, "CNAME", &target, Label::Public);
        self.hidden.push(owner);
    }

    /// A marked record below a hidden host stays, and makes the host an empty non-terminal.
    pub(super) fn challenge(&mut self, zone: usize) {
        let owner = self.place(zone);
        let address = self.hidden_v4();
        self.add(zone, &owner, "A", &address, Label::Hidden);
        self.add_marked(zone, &format!("_acme-challenge.{owner}"), "TXT", "token", Label::Public);
        self.add(zone, &format!("_other.{owner}"), "TXT", "gone", Label::Hidden);
        self.hidden.push(owner);
    }

    pub(super) fn other_addresses(&mut self, zone: usize) {
        let owner = self.place(zone);
        for (rtype, text, label) in [
            ("APL", "1:192.0.2.0/24", Label::Public),
            ("APL", "1:192.0.2.0/24 1:10.0.0.0/8", Label::Hidden),
            ("IPSECKEY", "10 1 2 8.8.8.8 AQID", Label::Public),
            ("IPSECKEY", "10 1 2 192.168.0.1 AQID", Label::Hidden),
            ("AMTRELAY", "10 0 2 fd00::1", Label::Hidden),
            ("WKS", "10.0.0.1 6 25", Label::Hidden),
            ("TYPE65280", "\\# 4 0A000001", Label::Hidden),
            ("TYPE1", "\\# 4 0A000001", Label::Hidden),
            ("TYPE1", "\\# 4 08080808", Label::Public),
        ] {
            self.add(zone, &owner, rtype, text, label);
        }
        self.public.push(owner);
    }

    pub(super) fn suffixes(&mut self, zone: usize) {
        let label = self.label();
        let owner = format!("{label}.int.a.test.");
        let address = self.public_v4();
        self.add(MAIN, &owner, "A", &address, Label::Hidden);
        self.hidden.push(owner);
        let owner = self.place(zone);
        let target = *["db.corp.", "nas.local.", "x.home.arpa.", "2.0.0.10.in-addr.arpa."]
            .choose(&mut self.rng)
            .unwrap();
        self.add(zone, &owner, "CNAME", target, Label::Hidden);
        self.hidden.push(owner);
    }

    pub(super) fn dnames(&mut self, zone: usize) {
        let owner = self.place(zone);
        let (target, label) = self.either_target();
        self.add(zone, &owner, "DNAME", &target, label);
        if label == Label::Hidden {
            self.hidden.push(format!("x.{owner}"));
            self.hidden.push(owner);
        }
    }

    /// The commonest split: an alias to somebody else outside, an address inside.
    pub(super) fn split_alias(&mut self, zone: usize) {
        let owner = self.place(zone);
        self.add(zone, &owner, "CNAME", "cdn.elsewhere.", Label::Public);
        let address = self.hidden_v4();
        self.add(zone, &owner, "A", &address, Label::Hidden);
        self.public.push(owner);
    }

    /// An apex is never a hidden host, but without a public address nothing is led to it.
    pub(super) fn apex_data(&mut self, zone: usize) {
        let apex = self.zones[zone].zone.apex.to_string();
        let address = self.hidden_v4();
        self.add(zone, &apex, "A", &address, Label::Hidden);
        self.add(zone, &apex, "TXT", "stays", Label::Public);
        self.add(zone, &format!("_dmarc.{apex}"), "TXT", "stays", Label::Public);
        let (target, label) = self.either_target();
        self.add(zone, &apex, "MX", &format!("5 {target}"), label);
        self.hidden.push(apex);
    }
}

const DIGEST: &str = "1 8 2 000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F";

/// Types with a name in their RDATA; `%` is the name.
const LEADS: &[(&str, &str)] = &[
    ("MX", "10 %"),
    ("SRV", "0 0 443 %"),
    ("PTR", "%"),
    ("HTTPS", "1 % alpn=h2"),
    ("SVCB", "0 %"),
    ("NAPTR", "1 1 S SIP \"\" %"),
    ("AFSDB", "1 %"),
    ("KX", "1 %"),
    ("RT", "1 %"),
    ("LP", "1 %"),
    ("MINFO", "% %"),
    ("TALINK", "% %"),
];
