//! A real edge between a bare-socket client and an origin that counts, over loopback.

#![allow(unreachable_pub, reason = "modules of one test program")]
#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

mod access;
mod attacks;
mod balancing;
mod behind;
mod bounds;
mod caching;
mod cases;
mod client;
mod codings;
mod collapsing;
mod contents;
mod crowds;
mod edition;
mod encoding;
mod encrypted;
mod endings;
mod explaining;
mod floods;
mod forwarding;
mod heads;
mod hints;
mod hostile;
mod model;
mod operating;
mod origin;
mod origins;
mod over_h2;
mod pages;
mod parts;
mod purging;
mod pushing;
mod quic;
mod refreshing;
mod relistening;
mod reloading;
mod renaming;
mod replacing;
mod restarting;
mod reused;
mod rig;
mod routes;
mod rules;
mod settings;
mod sharing;
mod shortcut;
mod slow;
mod speaking;
mod standing;
mod streams;
mod targeted;
mod targets;
mod telling;
mod upgrades;
