//! The two units: which of their modules decide and which act, and what is not yet as it should be.
//!
//! The last list of a unit may only shrink: an entry that is no longer needed fails the test that reads it.

/// A unit of the workspace: its folder and what stands at the top of its `src`.
pub(crate) struct Unit {
    pub(crate) folder: &'static str,
    /// Decide: pure, no IO. From the ground up: each may use those before it and none behind it.
    pub(crate) cores: &'static [&'static str],
    /// Act: sockets, files, clocks.
    pub(crate) shell: &'static [&'static str],
    /// Modules inside a shell that decide: they use cores and each other, and nothing else of the unit.
    pub(crate) inner: &'static [&'static str],
    /// Modules that decide and still key a hash by chance: it changes what a look-up costs, never what it finds.
    pub(crate) keyed: &'static [&'static str],
    /// Modules at the top that know the config: it, and those that read it and start others with what it says.
    pub(crate) knows_config: &'static [&'static str],
    /// Files of more lines than [`MOST_LINES`](crate::MOST_LINES), and functions of more than [`MOST_FUNCTION_LINES`](crate::MOST_FUNCTION_LINES).
    pub(crate) too_long: &'static [&'static str],
}

pub(crate) const UNITS: [Unit; 2] = [DNS, EDGE];

pub(crate) const DNS: Unit = Unit {
    folder: "dns",
    cores: &[
        "small_bytes",
        "rtype",
        "rcode",
        "client",
        "cookie",
        "ended",
        "name",
        "rdata",
        "zone",
        "steer",
        "view",
        "tsig",
        "transfer",
        "update",
        "world",
        "answer",
        "limit",
        "wire",
    ],
    shell: &[
        "admin", "catalog", "clock", "command", "config", "embed", "explain", "lib", "log", "main",
        "metrics", "serve",
    ],
    inner: &["serve/quic/forwarded", "serve/quic/generation"],
    keyed: &["zone/hash"],
    knows_config: &["admin", "command", "config", "embed", "log", "serve"],
    too_long: &[],
};

pub(crate) const EDGE: Unit = Unit {
    folder: "edge",
    cores: &["pace", "http", "site", "policy", "decide"],
    shell: &[
        "admin",
        "cache",
        "clock",
        "command",
        "config",
        "course",
        "draining",
        "flight",
        "governing",
        "handover",
        "lib",
        "listening",
        "log",
        "main",
        "metrics",
        "origin",
        "reload",
        "run",
        "serve",
        "store",
        "tls",
        "turn",
        "watch",
    ],
    inner: &[
        "admin/rate",
        "flight/log/lag",
        "origin/balance",
        "origin/load",
        "origin/outliers",
        "origin/standing",
        "serve/h1/gate/chunked",
        "serve/h1/gate/framing",
        "serve/h1/gate/head",
        "serve/h1/gate/interim",
        "serve/h1/gate/refusal",
        "serve/h1/gate/text",
        "serve/h2/frames",
        "serve/h3/code",
        "serve/h3/control",
        "serve/h3/forwarded",
        "serve/h3/frame",
        "serve/h3/generation",
        "serve/h3/message",
        "serve/h3/qpack",
        "serve/proxied",
        "serve/stream/account",
        "serve/stream/head",
        "store/disk/ghost",
        "store/disk/hash",
        "store/disk/head",
        "store/disk/index",
        "store/disk/journal",
        "store/disk/layout",
        "store/disk/offered",
        "store/disk/rate",
        "store/disk/record",
        "store/eviction",
        "store/governor",
        "store/purge/marks",
        "tls/names",
        "tls/validity",
    ],
    keyed: &[],
    knows_config: &["config", "listening", "log", "reload", "run"],
    too_long: &[],
};
