//! Requests for one key on virtual time: random arrivals, origin outcomes, purges and clients that leave, against a naive
//! model of what sharing may do. A response's body is taken to come with its head.

mod world;

use proptest::prelude::*;

use super::share::Round;
use super::terms::Moments;
use super::{Company, Terms};
use crate::site::Rules;
use world::{Asks, Client, Got, Kind, RESPONSE_SECS, World};

fn world(kind: Kind, loses: bool, asks: Vec<Asks>, delays: Vec<u64>, purges: Vec<u64>) -> World {
    let client = |asks: Asks| Client {
        head: asks.head(),
        asks,
        cause: None,
        round: Round::First,
        company: Company::Any,
        terms: Terms::Any,
        plan: None,
        waits: None,
        led: 0,
        got: None,
        left: false,
    };
    // Nothing stale is served, so that each answer can be told from when it was made.
    let rules = Rules { stale_on_disconnect_secs: 0, ..Rules::default() };
    World {
        kind,
        loses,
        rules,
        moments: Moments::default(),
        stored: Vec::new(),
        fetches: Vec::new(),
        clients: asks.into_iter().map(client).collect(),
        delays,
        purges,
    }
}

fn asks() -> impl Strategy<Value = Asks> {
    let who = (0..40u64, proptest::option::of(1..6u64), 0..3u8, 0..3u8);
    (who, proptest::bool::weighted(0.2), proptest::bool::weighted(0.2), proptest::bool::weighted(0.1))
        .prop_map(|((at_secs, patience_secs, language, user), authorized, is_bad, is_head)| Asks {
            at_secs,
            patience_secs,
            language,
            user,
            authorized,
            is_bad,
            method: if is_head { "HEAD" } else { "GET" },
        })
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Public),
        Just(Kind::Private),
        Just(Kind::Varying),
        Just(Kind::Validated),
        Just(Kind::NotStored)
    ]
}

proptest! {
    #[test]
    fn every_request_is_answered_with_what_is_its_own_to_have(
        kind in kind(),
        loses in any::<bool>(),
        asks in proptest::collection::vec(asks(), 1..25),
        delays in proptest::collection::vec(1..8u64, 1..6),
        purges in proptest::collection::vec(1..40u64, 0..3),
    ) {
        let mut world = world(kind, loses, asks, delays, purges);
        world.run();
        world.check();
    }

    #[test]
    fn what_may_be_shared_is_fetched_once_until_it_is_stale_or_purged(
        arrivals in proptest::collection::vec((0..40u64, 0..3u8), 1..40),
        delays in proptest::collection::vec(1..8u64, 1..6),
        purges in proptest::collection::vec(1..40u64, 0..3),
    ) {
        let ask = |(at_secs, language)| Asks {
            at_secs, patience_secs: None, language, user: 0, authorized: false, is_bad: false, method: "GET",
        };
        let purged = purges.len();
        let mut world = world(Kind::Public, false, arrivals.into_iter().map(ask).collect(), delays, purges);
        world.run();
        world.check();
        // Each fetch serves for ten seconds from when it began, at least two of which it takes or is fresh.
        let spans = 40 / RESPONSE_SECS as usize + 1;
        // A purge makes a fetch void, whose leader has its answer; its followers begin another, and one for each language where it
        // is their second.
        prop_assert!(world.fetches.len() <= spans * 2 + purged * 4, "{} fetches", world.fetches.len());
    }
}

#[test]
fn what_is_purged_twice_while_many_wait_is_not_fetched_for_each_of_them() {
    let ask = |number: u8| Asks {
        at_secs: 11,
        patience_secs: None,
        language: number % 2,
        user: 0,
        authorized: false,
        is_bad: false,
        method: "GET",
    };
    let mut world = world(Kind::Public, false, (0..30).map(ask).collect(), vec![5], vec![13, 18]);
    world.run();
    world.check();
    // The first, the one after a purge, and one for each language.
    assert_eq!(world.fetches.len(), 4);
}

#[test]
fn nobody_elses_error_is_an_answer() {
    let ask = |at_secs, is_bad, user| Asks {
        at_secs,
        patience_secs: None,
        language: 0,
        user,
        authorized: false,
        is_bad,
        method: "GET",
    };
    // Attackers that make the origin fail keep a fetch of theirs under way all the time.
    let attacks = (0..30).map(|number| ask(number, true, 0));
    let good = (0..20).map(|number| ask(number, false, 1 + (number % 2) as u8));
    let mut world = world(Kind::Validated, false, attacks.chain(good).collect(), vec![2, 3], Vec::new());
    world.run();
    world.check();
    for client in world.clients.iter().filter(|client| !client.asks.is_bad) {
        assert!(matches!(client.got, Some((_, Got::Response(_)))), "{:?}: {:?}", client.asks, client.got);
    }
}
