//! Whether a firewall of this machine drops what clients send, as far as its rules can be read.
//!
//! ```text
//! nft -j list ruleset ─┐
//!                      ├─▶ chains of rules ─▶ for each listener: let in, dropped, or not to be told
//! iptables-save ───────┘
//! ```
//!
//! A rule with a condition that is not understood, such as an address of a client, lets some in or drops some; both are meant
//! by somebody. So a listener is told of only when no rule that may fit lets anybody in.

mod iptables;
mod nft;
mod read;

use std::net::SocketAddr;
use std::ops::RangeInclusive;

pub(super) use self::read::read;
use super::{Advice, Carrier};

/// The rules of a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Rules {
    chains: Vec<Chain>,
    /// Why not all could be read.
    pub(super) unread: Option<String>,
}

/// A list of rules.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Chain {
    /// The family, the table and the name: `inet filter input`.
    name: String,
    /// The family of IP that it is for; none: both.
    is_v4: Option<bool>,
    /// For one that packets to this machine come to, whether it drops what no rule fits.
    drops: Option<bool>,
    rules: Vec<Rule>,
    /// The program that changes it.
    tool: Tool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tool {
    Nft,
    Iptables,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Rule {
    conditions: Vec<Condition>,
    verdict: Option<Verdict>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Condition {
    Carrier(Carrier),
    /// Of the destination.
    Ports(Vec<RangeInclusive<u16>>),
    /// Whether the first packet of a client is of these.
    First(bool),
    /// Packets from this machine to itself.
    Loopback,
    /// One that depends on the client, or that is not understood.
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    Accept,
    Drop,
    /// To another chain of the same table, and back.
    Jump(String),
    /// The chain ends here.
    Return,
}

/// The fate of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Accepted,
    Dropped,
    /// A rule that may fit lets it in.
    Perhaps,
    /// No rule fits.
    Goes,
}

/// Chains that lead to one another; the kernel allows 16.
const MOST_JUMPS: usize = 16;

/// The change to make for each listener that clients on other machines cannot reach.
pub(super) fn advice(rules: &Rules, listen: &[(Carrier, SocketAddr)]) -> Vec<Advice> {
    let exposed = listen.iter().filter(|(_, address)| !address.ip().is_loopback() && address.port() != 0);
    let closed = exposed.filter_map(|(carrier, address)| {
        let chain = rules.chains.iter().find(|chain| chain.closes(rules, *carrier, *address))?;
        Some(dropped(chain, *carrier, *address))
    });
    closed.collect()
}

fn dropped(chain: &Chain, carrier: Carrier, address: SocketAddr) -> Advice {
    let (protocol, port) = (carrier.as_str(), address.port());
    let cure = match chain.tool {
        Tool::Nft => format!(
            "nft insert rule {} {protocol} dport {port} accept, and the same in /etc/nftables.conf",
            chain.name
        ),
        Tool::Iptables => {
            let program = if chain.is_v4 == Some(false) { "ip6tables" } else { "iptables" };
            format!(
                "{program} -I INPUT -p {protocol} --dport {port} -j ACCEPT, and netfilter-persistent save"
            )
        }
    };
    Advice {
        is_fault: false,
        what: format!(
            "the firewall ({}) drops what clients send to {address} by {}",
            chain.name,
            protocol.to_uppercase()
        ),
        cure,
    }
}

impl Chain {
    /// Whether it lets no client come to this address.
    fn closes(&self, rules: &Rules, carrier: Carrier, address: SocketAddr) -> bool {
        let is_for = self.is_v4.is_none_or(|is_v4| is_v4 == address.is_ipv4());
        let Some(drops) = self.drops.filter(|_| is_for) else { return false };
        match self.fate(rules, carrier, address.port(), MOST_JUMPS) {
            Fate::Dropped => true,
            Fate::Goes => drops,
            Fate::Accepted | Fate::Perhaps => false,
        }
    }

    fn fate(&self, rules: &Rules, carrier: Carrier, port: u16, jumps: usize) -> Fate {
        for rule in &self.rules {
            let Some(is_sure) = rule.fits(carrier, port) else { continue };
            let fate = match &rule.verdict {
                None => Fate::Goes,
                Some(Verdict::Accept) => Fate::Accepted,
                Some(Verdict::Drop) => Fate::Dropped,
                Some(Verdict::Return) if is_sure => return Fate::Goes,
                Some(Verdict::Return) => Fate::Perhaps,
                Some(Verdict::Jump(to)) => match rules.beside(self, to).filter(|_| jumps > 0) {
                    Some(chain) => chain.fate(rules, carrier, port, jumps - 1),
                    None => Fate::Perhaps,
                },
            };
            match (fate, is_sure) {
                (Fate::Goes, _) | (Fate::Dropped, false) => {}
                (Fate::Accepted | Fate::Perhaps, false) => return Fate::Perhaps,
                (fate, true) => return fate,
            }
        }
        Fate::Goes
    }
}

impl Rules {
    /// The chain of this name in the same table.
    fn beside(&self, chain: &Chain, name: &str) -> Option<&Chain> {
        let (table, _) = chain.name.rsplit_once(' ')?;
        self.chains.iter().find(|other| other.name.rsplit_once(' ') == Some((table, name)))
    }
}

impl Rule {
    /// None: it does not fit; else whether that is sure.
    fn fits(&self, carrier: Carrier, port: u16) -> Option<bool> {
        let mut is_sure = true;
        for condition in &self.conditions {
            match condition {
                Condition::Carrier(other) if *other != carrier => return None,
                Condition::Ports(ports) if !ports.iter().any(|ports| ports.contains(&port)) => return None,
                Condition::First(false) | Condition::Loopback => return None,
                Condition::Other => is_sure = false,
                Condition::Carrier(_) | Condition::Ports(_) | Condition::First(true) => {}
            }
        }
        Some(is_sure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a client reaches a port over TCP by each of these.
    #[track_caller]
    fn check(rules: &Rules, closed: &[u16], open: &[u16]) {
        for (ports, expected) in [(closed, 1), (open, 0)] {
            for port in ports {
                let listen = [(Carrier::Tcp, SocketAddr::from(([0, 0, 0, 0], *port)))];
                assert_eq!(advice(rules, &listen).len(), expected, "{port}: {rules:#?}");
            }
        }
    }

    fn nft(objects: &str) -> Rules {
        let text = format!("{{\"nftables\": [{{\"metainfo\": {{\"version\": \"1.0.6\"}}}}, {objects}]}}");
        Rules { chains: nft::chains(&text).unwrap(), unread: None }
    }

    const INPUT: &str = r#"{"chain": {"family": "inet", "table": "filter", "name": "input", "type": "filter", "hook": "input", "prio": 0, "policy": "drop"}}"#;

    fn rule(expressions: &str) -> String {
        format!(
            r#"{{"rule": {{"family": "inet", "table": "filter", "chain": "input", "expr": [{expressions}]}}}}"#
        )
    }

    fn dport(right: &str) -> String {
        format!(
            r#"{{"match": {{"op": "==", "left": {{"payload": {{"protocol": "tcp", "field": "dport"}}}}, "right": {right}}}}}"#
        )
    }

    const ACCEPT: &str = r#"{"accept": null}"#;

    #[test]
    fn ports_that_no_rule_of_nftables_lets_in_are_closed() {
        let of = |rules: &[String]| nft(&[&[INPUT.to_owned()], rules].concat().join(", "));
        check(&of(&[]), &[80, 443], &[]);
        check(&nft(&INPUT.replace("drop", "accept")), &[], &[80]);
        check(&of(&[rule(&format!("{}, {ACCEPT}", dport("443")))]), &[80], &[443]);
        let set = dport(r#"{"set": [22, {"range": [80, 90]}]}"#);
        check(
            &of(&[rule(&format!("{set}, {{\"counter\": {{}}}}, {ACCEPT}"))]),
            &[443, 79, 91],
            &[22, 80, 85, 90],
        );
        // Answers to what this machine asked are no clients.
        let state = r#"{"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}}"#;
        check(&of(&[rule(&format!("{state}, {ACCEPT}"))]), &[80], &[]);
        let lo = r#"{"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "lo"}}"#;
        check(&of(&[rule(&format!("{lo}, {ACCEPT}"))]), &[80], &[]);
        // Some clients may come: that is meant.
        let from = r#"{"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": "192.0.2.1"}}"#;
        check(&of(&[rule(&format!("{from}, {ACCEPT}"))]), &[], &[80]);
        check(&of(&[rule(&format!("{from}, {{\"drop\": null}}"))]), &[80], &[]);
        let other = r#"{"match": {"op": "==", "left": {"payload": {"protocol": "udp", "field": "dport"}}, "right": 80}}"#;
        check(&of(&[rule(&format!("{other}, {ACCEPT}"))]), &[80], &[]);
        check(&of(&[rule(&format!("{}, {{\"reject\": {{}}}}", dport("80"))), rule(ACCEPT)]), &[80], &[81]);
    }

    #[test]
    fn a_jump_goes_to_the_chain_of_its_table_and_comes_back() {
        let web = r#"{"chain": {"family": "inet", "table": "filter", "name": "web"}}"#;
        let in_web = rule(&format!("{}, {ACCEPT}", dport("80"))).replace("\"input\"", "\"web\"");
        let jump = rule(r#"{"jump": {"target": "web"}}"#);
        check(&nft(&[INPUT, web, &in_web, &jump].join(", ")), &[443], &[80]);
        // One that leads to itself ends.
        let circle = rule(r#"{"jump": {"target": "input"}}"#);
        check(&nft(&[INPUT, &circle].join(", ")), &[], &[80]);
    }

    #[test]
    fn ports_that_no_rule_of_iptables_lets_in_are_closed() {
        let of = |rules: &str| {
            let text = format!(
                "*nat\n:INPUT DROP [0:0]\nCOMMIT\n*filter\n:INPUT DROP [0:0]\n:web - [0:0]\n{rules}COMMIT\n"
            );
            Rules { chains: iptables::chains(&text, true), unread: None }
        };
        check(&of(""), &[80], &[]);
        check(&of("-A INPUT -p tcp -m tcp --dport 80 -j ACCEPT\n"), &[81], &[80]);
        check(
            &of("-A INPUT -p tcp -m multiport --dports 80,443,8000:8010 -j ACCEPT\n"),
            &[81, 8011],
            &[80, 443, 8005],
        );
        check(
            &of("-A INPUT -i lo -j ACCEPT\n-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"),
            &[80],
            &[],
        );
        check(&of("-A INPUT -s 192.0.2.0/24 -j ACCEPT\n"), &[], &[80]);
        check(&of("-A INPUT ! -i eth0 -j ACCEPT\n"), &[], &[80]);
        check(
            &of("-A INPUT -j web\n-A web -p tcp -m tcp --dport 80 -m comment --comment \"a b\" -j ACCEPT\n"),
            &[81],
            &[80],
        );
        let listen = |text: &str| [(Carrier::Tcp, text.parse().unwrap())];
        assert_eq!(advice(&of(""), &listen("[::]:80")), [], "those are the rules of IPv4");
        assert_eq!(advice(&of(""), &listen("127.0.0.1:80")), [], "nobody comes from elsewhere");
        let said = advice(&of(""), &listen("192.0.2.1:80"));
        assert!(said[0].cure.starts_with("iptables -I INPUT -p tcp --dport 80 -j ACCEPT"), "{said:?}");
    }

    #[test]
    fn the_cure_is_a_command() {
        let said = advice(&nft(INPUT), &[(Carrier::Udp, "[::]:443".parse().unwrap())]);
        let [Advice { what, cure, .. }] = &said[..] else { panic!("{said:?}") };
        assert_eq!(what, "the firewall (inet filter input) drops what clients send to [::]:443 by UDP");
        assert!(cure.starts_with("nft insert rule inet filter input udp dport 443 accept, "), "{cure}");
    }
}
