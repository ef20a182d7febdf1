use super::*;
use crate::decide::terms::{Credentials, Moments};
use crate::http::testing::{at, get, response};
use crate::policy::testing::{stored, stored_response};

fn slices(first: u64) -> Part {
    Part { first, last: first + 9, complete: Some(100) }
}

fn from(first: u64) -> Spec {
    Spec::From { first, last: None }
}

fn cause(moments: &Moments) -> Cause {
    Cause { at: moments.next(), credentials: Credentials::of(&http::HeaderMap::new()) }
}

/// Whether a request for English in this company follows a fetch that is meant for these, caused by a request for
/// `language`, and that will soon be at byte 50.
#[track_caller]
fn check(company: Company, meant: Meant, language: &str, expected: bool) {
    let (moments, request) = (Moments::default(), get(&[("accept-language", "en")]));
    let (fetch, own, caused) = (cause(&moments), cause(&moments), get(&[("accept-language", language)]));
    let seeker = Seeker { request: &request, cause: &own, company: &company, terms: Terms::Any };
    let candidate = Candidate { meant: &meant, cause: &fetch, request: &caused };
    assert_eq!(
        seeker.may_follow(&candidate, |first| first <= 50),
        expected,
        "{company:?} {meant:?} {language}"
    );
}

#[test]
fn a_request_follows_the_fetches_that_are_meant_for_it() {
    let english =
        Selecting::of(&get(&[("accept-language", "en")]), &response(200, &[("vary", "accept-language")]));
    check(Company::Any, Meant::ForAll, "en", true);
    check(Company::Any, Meant::ForTwins, "en", false);
    check(Company::Any, Meant::Slice(slices(0)), "en", false);
    check(Company::Any, Meant::Range(from(0)), "en", false);
    check(Company::Alike(english.clone()), Meant::ForLike(english.clone()), "en", true);
    check(Company::Alike(english.clone()), Meant::ForAll, "en", false);
    check(Company::Twins, Meant::ForTwins, "en", true);
    check(Company::Twins, Meant::ForTwins, "de", false);
    check(Company::Twins, Meant::ForAll, "en", false);
    check(Company::Slice(slices(0)), Meant::Slice(slices(0)), "en", true);
    check(Company::Slice(slices(0)), Meant::Slice(slices(10)), "en", false);
    check(Company::Slice(slices(0)), Meant::ForAll, "en", false);
    check(Company::Range(from(5)), Meant::Range(from(5)), "en", true);
    check(Company::Range(from(5)), Meant::Range(from(6)), "en", false);
    check(Company::Range(from(5)), Meant::ForAll, "en", true);
    check(Company::Range(from(51)), Meant::ForAll, "en", false);
    check(Company::Passing(50), Meant::ForAll, "en", true);
    check(Company::Passing(51), Meant::ForAll, "en", false);
    check(Company::Range(Spec::Suffix { length: 5 }), Meant::ForAll, "en", false);
    check(Company::Alone, Meant::ForAll, "en", false);
}

#[test]
fn a_range_of_what_is_stored_whole_joins_the_fetches_of_the_whole() {
    let request = get(&[("range", "bytes=5-")]);
    let whole = stored(&[("cache-control", "max-age=10"), ("etag", "\"a\"")]);
    let part = response(206, &[("content-range", "bytes 0-4/100"), ("etag", "\"a\"")]);
    let part = stored_response(&get(&[]), &part, 5);
    let reserve = |held| Plan::Whole { reserve: held };
    assert_eq!(at_first(&request, Some(&whole), &reserve(Some(&whole))), Company::Any);
    assert_eq!(at_first(&request, Some(&part), &reserve(Some(&part))), Company::Range(from(5)));
    assert_eq!(at_first(&request, None, &reserve(None)), Company::Range(from(5)));
    assert_eq!(at_first(&get(&[]), None, &Plan::Slice(slices(0))), Company::Slice(slices(0)));
    assert_eq!(at_first(&get(&[]), None, &Plan::Head { reserve: None }), Company::Alone);
}

#[test]
fn another_variant_sends_a_request_to_look_for_its_own_and_a_range_alone() {
    let german = get(&[("accept-language", "de")]);
    let varying = response(200, &[("vary", "accept-language"), ("cache-control", "max-age=100")]);
    let entry = stored_response(&german, &varying, 5);
    let rules = Rules::default();
    let instead = |request: &RequestHead| {
        let waited = Waited {
            request,
            rules: &rules,
            now: at(1001),
            role: Role::Follower,
            standing: Standing::Another,
            likeness: Likeness::Other,
            round: Round::First,
        };
        waited.filling(&varying, &entry)
    };
    let english = get(&[("accept-language", "en")]);
    assert_eq!(instead(&english), Share::Not(Next::Look(alike(&english, &varying))));
    assert_eq!(instead(&get(&[("accept-language", "en"), ("range", "bytes=5-")])), Share::Not(Next::Alone));
    assert_eq!(instead(&german), Share::Answers);
}
