//! A board whose checks are told by hand.

mod gone;
mod outlast;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::*;
use crate::metrics::MemberStatus;
use crate::serve::testing::logged;
use crate::steer::drain::{MOST_ORDERS, Wait};
use crate::steer::quorum::{Message, Refused};
use crate::steer::rules::{Check, MemberRules, Pace};
use crate::steer::{Pools, Rules, Settings};
use crate::view::View;
use crate::zone::set::Served;
use crate::zone::tree::testing::{name, view};

const ONE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const TWO: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const ZONE: &str = "www A 192.0.2.1\nwww A 192.0.2.2";

fn rules() -> Rules {
    Rules { check: Some(Check::Tcp { port: 443 }), ..Rules::default() }
}

/// A world whose both views have the pool `www`.
fn world(rules: &Rules) -> World {
    let settings = Settings { defaults: Arc::new(rules.clone()), ..Settings::default() };
    let side = || {
        let mut side: View = view(&[("ex.", ZONE)]);
        let Some(Served::Zone(tree)) = side.zones.get(&name("ex.")) else { panic!("the zone is there") };
        let tree = Arc::clone(tree);
        side.pools = Pools::of(&settings);
        side.pools.add(&tree, &name("www.ex."), &settings);
        side
    };
    World { public: side(), internal: side(), ..World::default() }
}

struct Fixture {
    board: Board,
    folder: tempfile::TempDir,
    _targets: tokio::sync::mpsc::UnboundedReceiver<Vec<Target>>,
}

/// With the pools of these rules, and other name servers.
fn fixture(rules: &Rules, nodes: &[&str]) -> Fixture {
    named_fixture(rules, "ns1", nodes)
}

fn named_fixture(rules: &Rules, own: &str, nodes: &[&str]) -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let (targets, _targets) = tokio::sync::mpsc::unbounded_channel();
    let nodes: Vec<String> = nodes.iter().map(|name| (*name).to_owned()).collect();
    let board = Board::new(folder.path().to_owned(), targets, own, &nodes);
    board.adopt(&World::default(), &world(rules));
    Fixture { board, folder, _targets }
}

impl Fixture {
    fn saw(&self, address: Ipv4Addr, good: bool, load: Option<u16>) {
        self.saw_from(address, good, load, None);
    }

    /// With milliseconds of a round trip.
    fn saw_from(&self, address: Ipv4Addr, good: bool, load: Option<u16>, rtt: Option<u64>) {
        let rtt = rtt.map(Duration::from_millis);
        let targets = self.board.targets();
        let of = targets.iter().filter(|target| target.address == IpAddr::from(address));
        let why = if good { "status 200" } else { "connection refused" };
        of.for_each(|target| {
            self.board.saw(target, Seen { good, why: why.to_owned(), load: load.into(), rtt })
        });
    }

    /// The member of the outside.
    fn member(&self, address: Ipv4Addr) -> MemberStatus {
        let pools = self.board.pools();
        let outside = pools.iter().find(|pool| pool.view == "outside").unwrap();
        outside.members.iter().find(|member| member.address == IpAddr::from(address)).unwrap().clone()
    }

    fn states(&self) -> [String; 2] {
        [ONE, TWO].map(|address| self.member(address).state)
    }

    fn hear(&self, node: usize, sequence: u64, [up, down]: [&[Ipv4Addr]; 2]) {
        let ids = |of: &[Ipv4Addr]| {
            of.iter().map(|address| member_id(&name("www.ex."), (*address).into())).collect::<Vec<u64>>()
        };
        let (up, down) = (ids(up), ids(down));
        let message = Message { run: 1, sequence, at: sequence, whole: true, up, down, ..Message::default() };
        self.board.heard(node, message).unwrap();
    }
}

#[test]
fn a_reload_that_changes_the_pace_or_takes_a_pool_away_for_a_while_keeps_health() {
    let fixture = fixture(&rules(), &[]);
    fixture.saw(ONE, true, Some(800));
    fixture.saw(TWO, false, None);
    assert_eq!(fixture.states(), ["up", "down"]);
    let pace = Pace { interval: Duration::from_secs(7), ..Pace::default() };
    fixture.board.adopt(&World::default(), &world(&Rules { pace, ..rules() }));
    assert_eq!(fixture.states(), ["up", "down"]);
    assert_eq!((fixture.member(ONE).load, fixture.member(ONE).followed), (Some(800), Some(700)));
    fixture.board.adopt(&World::default(), &World::default());
    assert!(fixture.board.pools().is_empty());
    fixture.board.adopt(&World::default(), &world(&rules()));
    assert_eq!(fixture.states(), ["up", "down"]);
}

#[test]
fn a_load_that_cannot_be_read_leaves_the_share_that_the_one_of_before_gave() {
    let fixture = fixture(&Rules { ttl: Some(10), ..rules() }, &[]);
    let id = member_id(&name("www.ex."), ONE.into());
    fixture.saw(ONE, true, Some(990));
    // Time passes.
    (1..20).for_each(|second| fixture.board.lock().bears(id, Some(990), second * 10_000));
    let followed = fixture.member(ONE).followed;
    assert!(followed.is_some_and(|load| load > 750), "{followed:?}");
    let targets = fixture.board.targets();
    let target = targets.iter().find(|target| target.address == IpAddr::from(ONE)).unwrap();
    let seen = |load| Seen { good: true, why: "status 200".to_owned(), load, rtt: None };
    fixture.board.saw(target, seen(Load::Unclear));
    assert_eq!((fixture.member(ONE).load, fixture.member(ONE).followed), (Some(990), followed));
    fixture.board.saw(target, seen(Load::Untold));
    assert_eq!((fixture.member(ONE).load, fixture.member(ONE).followed), (None, None));
}

#[test]
fn a_member_that_comes_back_begins_with_its_whole_share() {
    let fixture = fixture(&Rules { ttl: Some(10), ..rules() }, &[]);
    let id = member_id(&name("www.ex."), ONE.into());
    fixture.saw(ONE, true, Some(1000));
    // Time passes.
    (1..20).for_each(|second| fixture.board.lock().bears(id, Some(1500), second * 10_000));
    let low = fixture.member(ONE).followed.unwrap();
    assert!(low > 900, "{low}");
    fixture.saw(ONE, false, None);
    assert!(fixture.member(ONE).followed.unwrap() > 900, "one failed check is no fall");
    fixture.saw(ONE, false, None);
    assert_eq!(fixture.member(ONE).followed, None);
    fixture.saw(ONE, true, Some(100));
    assert_eq!(fixture.member(ONE).followed, Some(700));
}

#[test]
fn a_check_that_serves_several_members_knows_each_of_them_once() {
    let inside = |address: Ipv4Addr| MemberRules {
        check_address: Some([10, 0, 0, 1].into()),
        ..MemberRules::of(address.into())
    };
    let shared = Rules { members: vec![inside(ONE), inside(TWO)], ..rules() };
    let fixture = fixture(&shared, &[]);
    let users = fixture.board.lock().users_of();
    assert_eq!(users.into_values().collect::<Vec<_>>(), [vec![vec![0, 1]; 2]], "both members, in both views");
}

#[test]
fn a_change_is_logged_once_for_both_views_and_with_the_votes() {
    let alone = fixture(&rules(), &[]);
    alone.saw(ONE, true, None);
    alone.saw(ONE, false, None);
    let lines = logged(|| alone.saw(ONE, false, None));
    assert_eq!(lines.len(), 1, "{lines:#?}");
    let expected = "192.0.2.1 is down: connection refused; 1 of 2 members are up";
    assert!(lines[0].contains(expected) && lines[0].contains("outside, inside"), "{}", lines[0]);

    let three = fixture(&rules(), &["ns2", "ns3"]);
    three.saw(ONE, true, None);
    three.hear(0, 1, [&[], &[ONE]]);
    let lines = logged(|| three.hear(1, 1, [&[], &[ONE]]));
    let flip: Vec<_> = lines.iter().filter(|line| line.contains(" is down")).collect();
    assert_eq!(flip.len(), 1, "{lines:#?}");
    assert!(flip[0].contains("192.0.2.1 is down: status 200; here up, ns2 down, ns3 down;"), "{}", flip[0]);
}

#[test]
fn it_is_safe_to_stop_when_no_answer_that_names_it_may_be_kept_any_more() {
    let with = |ttl| Rules { ttl: Some(ttl), ..rules() };
    let fixture = fixture(&with(200), &[]);
    assert_eq!(fixture.member(TWO).safe_in, None);
    fixture.board.drain(TWO.into(), true).unwrap();
    let left = |fixture: &Fixture| fixture.member(TWO).safe_in.unwrap();
    assert!((199..=201).contains(&left(&fixture)), "{}", left(&fixture));
    // A client that asked before the reload keeps the answer for as long as it said then.
    fixture.board.adopt(&World::default(), &world(&with(10)));
    assert!((199..=201).contains(&left(&fixture)), "{}", left(&fixture));
    // While all are drained all are given.
    fixture.board.drain(ONE.into(), true).unwrap();
    assert_eq!(fixture.member(TWO).safe_in, None);
    fixture.board.drain(ONE.into(), false).unwrap();
    assert!((199..=201).contains(&left(&fixture)), "{}", left(&fixture));
    assert_eq!(fixture.member(ONE).safe_in, None);
}

#[test]
fn what_was_down_when_it_was_drained_is_safe_to_stop_as_soon_as_its_last_answer_is_gone() {
    let fixture = fixture(&Rules { ttl: Some(100), ..rules() }, &[]);
    fixture.saw(TWO, false, None);
    fixture.board.lock().ends = Ends::default();
    fixture.board.drain(TWO.into(), true).unwrap();
    assert_eq!(fixture.member(TWO).safe_in, Some(0));
}

#[test]
fn most_name_servers_decide_and_what_they_say_is_shown() {
    let fixture = fixture(&rules(), &["ns2", "ns3"]);
    fixture.saw(ONE, true, None);
    fixture.saw(TWO, true, None);
    let votes = |address| {
        let votes = fixture.member(address).votes;
        votes.into_iter().map(|vote| format!("{} {}", vote.node, vote.state)).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(votes(ONE), "here up, ns2 not heard, ns3 not heard");
    fixture.hear(0, 1, [&[TWO], &[ONE]]);
    assert_eq!(fixture.states(), ["up", "up"], "one of two is not most");
    fixture.hear(1, 1, [&[TWO], &[ONE]]);
    assert_eq!(fixture.states(), ["down", "up"]);
    assert_eq!(votes(ONE), "here up, ns2 down, ns3 down");
    fixture.hear(1, 2, [&[ONE, TWO], &[]]);
    assert_eq!(fixture.states(), ["up", "up"]);
    // A view that only the others have holds, too.
    fixture.saw(TWO, false, None);
    fixture.saw(TWO, false, None);
    assert_eq!(fixture.states(), ["up", "up"]);
    fixture.hear(0, 2, [&[], &[TWO]]);
    assert_eq!(fixture.states(), ["up", "down"]);
    assert!(fixture.board.nodes().iter().all(|node| node.counts && node.heard == Some(0)));
}

#[test]
fn a_message_tells_numbers_of_members_and_then_what_has_changed() {
    let fixture = fixture(&rules(), &["ns2"]);
    fixture.saw(ONE, true, None);
    let id = |address: Ipv4Addr| member_id(&name("www.ex."), address.into());
    let mut told = None;
    let first = fixture.board.message(&mut told);
    assert_eq!((first.whole, first.up, first.down), (true, vec![id(ONE)], vec![]));
    let next = fixture.board.message(&mut told);
    assert_eq!((next.whole, next.up, next.down), (false, vec![], vec![]));
    fixture.saw(TWO, false, None);
    let next = fixture.board.message(&mut told);
    assert_eq!((next.whole, next.up, next.down), (false, vec![], vec![id(TWO)]));
}

#[test]
fn a_vote_ends_with_the_check_that_it_was_of() {
    let (here, there) = (fixture(&rules(), &["ns2"]), fixture(&rules(), &["ns1"]));
    here.saw(ONE, false, None);
    let mut told = None;
    let tell = |sequence, told: &mut Option<u64>| {
        there.board.heard(0, Message { run: 1, sequence, ..here.board.message(told) }).unwrap();
        there.member(ONE).votes.into_iter().map(|vote| vote.state).collect::<Vec<_>>()
    };
    assert_eq!(tell(1, &mut told), ["unknown", "down"]);
    // A reload takes the pool away, so that nobody here will ever say that it is up again.
    here.board.adopt(&World::default(), &World::default());
    assert_eq!(tell(2, &mut told), ["unknown", "unknown"]);
    assert!(!here.board.message(&mut told).whole, "all is said once");
    assert!(here.board.message(&mut Some(0)).whole, "but to each");
    here.board.adopt(&World::default(), &world(&rules()));
    here.saw(ONE, false, None);
    assert_eq!(tell(3, &mut told), ["unknown", "down"]);
}

#[test]
fn who_is_near_by_round_trip_times_is_given_until_it_is_down_or_far() {
    let fixture = fixture(&Rules { by_rtt: true, ..rules() }, &[]);
    let shares = || [ONE, TWO].map(|address| fixture.member(address).share);
    let near = |millis| fixture.saw_from(ONE, true, None, Some(millis));
    near(10);
    assert_eq!(shares(), [500, 500], "nobody knows yet how far the other one is");
    fixture.saw_from(TWO, true, None, Some(90));
    assert_eq!((shares(), &*fixture.member(TWO).fate), ([1000, 0], "not given: others are nearer"));
    assert_eq!(fixture.member(TWO).rtt, Some(90_000));
    // One that was slow once is where it was; one that is always slow is farther.
    near(200);
    assert_eq!(shares(), [1000, 0]);
    (0..32).for_each(|_| near(200));
    assert_eq!(shares(), [0, 1000]);
    (0..2).for_each(|_| fixture.saw(TWO, false, None));
    assert_eq!((shares(), fixture.member(TWO).rtt), ([1000, 0], None));
}

#[test]
fn the_own_view_is_as_old_as_its_check() {
    const DAY: u64 = 86_400_000;
    let fixture = fixture(&rules(), &["ns2"]);
    fixture.saw(ONE, true, None);
    let up = || fixture.board.message(&mut None).up.len();
    let ticks = fixture.board.ticks();
    fixture.board.lock().look(ticks);
    assert_eq!(up(), 1);
    fixture.board.lock().look(ticks + DAY);
    assert_eq!(up(), 0, "no check has ended for a day");
}

/// Three name servers, each of which hears the others when told to.
struct Three([Fixture; 3], u64);

const NAMES: [&str; 3] = ["ns1.ex", "ns2.ex", "ns3.ex"];

impl Three {
    fn new(rules: &Rules) -> Self {
        let of = |own: usize| {
            let others: Vec<&str> = NAMES.into_iter().filter(|name| *name != NAMES[own]).collect();
            named_fixture(rules, NAMES[own], &others)
        };
        Self([of(0), of(1), of(2)], 0)
    }

    /// One tells another all that it knows.
    fn tell(&mut self, from: usize, to: usize) {
        let told = self.0[from].board.message(&mut None);
        self.deliver(from, to, told);
    }

    fn deliver(&mut self, from: usize, to: usize, told: Message) {
        self.1 += 1;
        let message = Message { run: from as u64, sequence: self.1, ..told };
        let bytes = serde_json::to_vec(&message).unwrap();
        let place = from - usize::from(from > to);
        self.0[to].board.heard(place, serde_json::from_slice(&bytes).unwrap()).unwrap();
    }

    fn tell_all(&mut self) {
        for (from, to) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
            self.tell(from, to);
        }
    }

    fn drained(&self) -> [bool; 3] {
        [0, 1, 2].map(|at| self.0[at].member(TWO).drained)
    }

    fn awaited(&self, at: usize) -> Vec<String> {
        let awaited = self.0[at].member(TWO).drain.unwrap().awaited;
        awaited.into_iter().map(|node| format!("{} {}", node.node, node.state)).collect()
    }
}

#[test]
fn a_drain_by_command_holds_on_all_name_servers_and_so_does_its_end() {
    let mut three = Three::new(&rules());
    three.0[0].board.drain(TWO.into(), true).unwrap();
    assert_eq!(three.drained(), [true, false, false]);
    assert_eq!(three.awaited(0), ["ns2.ex not heard", "ns3.ex not heard"]);
    // The third one cannot hear the first: the second passes it on.
    three.tell(1, 0);
    three.tell(2, 0);
    assert_eq!(three.awaited(0), ["ns2.ex not told yet", "ns3.ex not told yet"]);
    three.tell(0, 1);
    three.tell(1, 2);
    assert_eq!(three.drained(), [true; 3]);
    three.tell_all();
    assert!(three.awaited(0).is_empty());
    let drain = three.0[2].member(TWO).drain.unwrap();
    assert_eq!((&*drain.by, drain.since > 0), ("ns1.ex", true));
    // Another one ends it. The second one is away meanwhile, and does not bring it back.
    let late = three.0[1].board.message(&mut None);
    three.0[2].board.drain(TWO.into(), false).unwrap();
    three.tell(2, 0);
    assert_eq!(three.drained(), [false, true, false]);
    three.deliver(1, 0, late);
    three.tell(1, 2);
    assert_eq!(three.drained(), [false, true, false]);
    three.tell(2, 1);
    assert_eq!(three.drained(), [false; 3]);
    assert_eq!(three.0[0].member(TWO).drain, None);
}

#[test]
fn an_undo_counts_where_the_drain_was_not_heard_of_and_is_logged_where_it_changes_something() {
    let mut three = Three::new(&rules());
    three.0[0].board.drain(TWO.into(), true).unwrap();
    three.tell(0, 1);
    // Of two orders of one millisecond the drain counts.
    let given = three.0[0].board.time().unix;
    while three.0[2].board.time().unix <= given {
        std::thread::yield_now();
    }
    let lines = logged(|| three.0[2].board.drain(TWO.into(), false).unwrap());
    assert!(lines.is_empty(), "{lines:#?}");
    let lines = logged(|| three.tell(2, 0));
    assert!(lines.iter().any(|line| line.contains("back in service, as ns3.ex was told")), "{lines:#?}");
    three.tell(2, 1);
    assert_eq!(three.drained(), [false; 3]);
}

#[test]
fn a_name_server_that_is_heard_but_not_reached_is_not_waited_for() {
    let mut three = Three::new(&rules());
    three.0[0].board.drain(TWO.into(), true).unwrap();
    three.tell(1, 0);
    three.0[0].board.reached(0, Some("it ends the connection".to_owned()));
    assert_eq!(three.awaited(0), ["ns2.ex cannot be told", "ns3.ex not heard"]);
}

#[test]
fn a_message_of_too_many_waits_counts_not_at_all() {
    let fixture = fixture(&rules(), &["ns2"]);
    let waits = vec![Wait { address: 1, left: None }; MOST_ORDERS + 1];
    let message = Message { run: 1, sequence: 1, whole: true, waits, ..Message::default() };
    assert_eq!(fixture.board.heard(0, message), Err(Refused::TooLong));
    assert_eq!(fixture.board.nodes()[0].heard, None);
}

#[test]
fn the_countdown_of_a_drain_is_that_of_the_name_server_whose_answers_are_kept_longest() {
    let with = |ttl| Rules { ttl: Some(ttl), ..rules() };
    let mut three = Three::new(&with(10));
    three.0[1].board.adopt(&World::default(), &world(&with(200)));
    three.0[0].board.drain(TWO.into(), true).unwrap();
    three.tell_all();
    three.tell_all();
    let left = |three: &Three, at: usize| three.0[at].member(TWO).safe_in;
    for at in 0..3 {
        let left = left(&three, at).unwrap();
        assert!((199..=201).contains(&left), "{at}: {left}");
    }
    // One that has no other member gives it all the same.
    let alone = MemberRules { drain: true, ..MemberRules::of(ONE.into()) };
    three.0[2].board.adopt(&World::default(), &world(&Rules { members: vec![alone], ..rules() }));
    three.tell_all();
    assert_eq!(three.awaited(0), ["ns3.ex still gives it"]);
    assert_eq!(left(&three, 2), None);
}

#[test]
fn a_drain_and_its_end_outlast_a_restart() {
    let mut three = Three::new(&rules());
    let again = |three: &Three, at: usize| {
        three.0[at].board.keep();
        let (targets, _) = tokio::sync::mpsc::unbounded_channel();
        let board = Board::new(three.0[at].folder.path().to_owned(), targets, NAMES[at], &[]);
        board.adopt(&World::default(), &world(&rules()));
        let pools = board.pools();
        pools[0].members.iter().find(|member| member.address == IpAddr::from(TWO)).unwrap().clone()
    };
    three.0[0].board.drain(TWO.into(), true).unwrap();
    three.tell_all();
    assert_eq!([0, 1, 2].map(|at| again(&three, at).drained), [true; 3]);
    assert_eq!(again(&three, 0).drain.unwrap().by, "here");
    // A version before orders were shared reads `drained`, and writes no orders.
    let file = three.0[1].folder.path().join("steer.json");
    let mut kept: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert!(kept["drained"]["192.0.2.2"].as_u64() > Some(0), "{kept}");
    kept.as_object_mut().unwrap().remove("orders");
    std::fs::write(&file, kept.to_string()).unwrap();
    assert!(again(&three, 1).drained);
    three.0[1].board.drain(TWO.into(), false).unwrap();
    three.tell_all();
    assert_eq!([0, 1, 2].map(|at| again(&three, at).drained), [false; 3]);
}

#[test]
fn a_name_server_that_cannot_be_told_is_logged_once_for_each_reason() {
    let fixture = fixture(&rules(), &["ns2"]);
    let lines = logged(|| {
        for why in ["refused", "refused", "late", "refused", "late"] {
            fixture.board.reached(0, Some(why.to_owned()));
        }
    });
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert_eq!(fixture.board.nodes()[0].failed, 5);
    let lines = logged(|| {
        for error in [None, None, Some("refused".to_owned())] {
            fixture.board.reached(0, error);
        }
    });
    assert!(
        lines.len() == 2 && lines[0].contains("can be told again, after 5 failed attempts"),
        "{lines:#?}"
    );
    assert_eq!(fixture.board.nodes()[0].failed, 1);
}
