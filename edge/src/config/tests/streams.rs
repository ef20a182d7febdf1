//! `[[stream]]`: the settings of its origins.

use super::*;
use crate::site::Sharing;
use crate::site::origin::Checks;

/// A stream with these lines before its origins.
fn stream(lines: &str) -> Result<Stream, ConfigError> {
    let text = format!(
        "[admin]\nlisten = \"127.0.0.1:9301\"\n[[stream]]\nlisten = [\"127.0.0.1:5432\"]\n{lines}\norigins = [\"tcp://db.test:5432\"]\n"
    );
    read(&text).map(|config| config.streams[0].clone())
}

/// How origins share a stream with these lines behind them, which begin in the file's sixth line.
fn health(lines: &str) -> Result<Sharing, ConfigError> {
    let text = format!(
        "[admin]\nlisten = \"127.0.0.1:9301\"\n[[stream]]\nlisten = [\"127.0.0.1:5432\"]\norigins = [\"tcp://db.test:5432\"]\n{lines}\n"
    );
    read(&text).map(|config| config.streams[0].relay.sharing.clone())
}

#[test]
fn the_origins_of_a_stream_have_the_limits_and_the_health_of_a_sites() {
    let bare = stream("").unwrap().relay.sharing;
    let site = read(SMALLEST).unwrap().sites.all()[0].sharing.clone();
    assert_eq!(
        (bare.most_requests, bare.queue, bare.queue_limit, bare.slow_start, bare.panic_percent, bare.checks),
        (site.most_requests, site.queue, site.queue_limit, site.slow_start, site.panic_percent, None)
    );
    let limited = stream(
        "origin_requests = 7\norigin_queue = 2\norigin_queue_timeout = \"1s\"\norigin_resolvers = [\"10.0.0.53\"]",
    )
    .unwrap()
    .relay;
    let Sharing { most_requests, queue, queue_limit, .. } = limited.sharing;
    assert_eq!((most_requests, queue, queue_limit), (7, 2, Duration::from_secs(1)));
    assert_eq!(limited.origins[0].resolvers[0].at, "10.0.0.53:53".parse().unwrap());
    let checks = |secs: u64, timeout_secs: u64, fall: u32, rise: u32| {
        let (interval, timeout) = (Duration::from_secs(secs), Duration::from_secs(timeout_secs));
        Some(Arc::new(Checks { ask: None, interval, timeout, fall, rise }))
    };
    let of = |lines: &str| health(lines).unwrap().checks;
    assert_eq!(of("check_interval = \"2s\""), checks(2, 5, 3, 2));
    assert_eq!(of("[stream.health]\ninterval = \"2s\"\ntimeout = \"1s\""), checks(2, 1, 3, 2));
    assert_eq!(of("check_interval = \"2s\"\n[stream.health]\nfall = 1\nrise = 4"), checks(2, 5, 1, 4));
    assert_eq!(of("[stream.health]\nfall = 1"), checks(5, 5, 1, 2));
    let others = health("[stream.health]\nslow = 5\npanic = \"30%\"").unwrap();
    assert_eq!((others.outliers.slow_times, others.panic_percent, others.checks), (5, 30, None));
}

#[test]
fn health_that_speaks_of_requests_or_of_one_thing_twice_is_pointed_at() {
    let check = |lines: &str, place: &str, message: &str| {
        let error = health(lines).unwrap_err().to_string();
        assert!(error.starts_with(&format!("edge.toml:{place}: ")) && error.contains(message), "{error}");
    };
    check("[stream.health]\npath = \"/healthz\"", "7:1", "unknown key `path`");
    check("[stream.health]\nerrors = \"5%\"", "7:1", "unknown key `errors`");
    check("[stream.health]\ninterval = \"1ms\"", "7:12", "at least");
    check("check_interval = \"2s\"\n[stream.health]\ninterval = \"2s\"", "6:18", "says the same");
}
