//! An operator's decisions about one site: plain values that `config` builds, and pure functions on them.
//!
//! Invariant: nothing here reads a clock, a socket, a log or a config file.

pub mod access;
pub mod cms;
pub mod cookies;
pub mod key;
pub mod name;
pub mod own_names;
pub mod pages;
pub mod pattern;
pub mod reach;
pub mod rewrite;
pub mod route;
pub mod rules;
pub mod sender;
pub mod signed;
pub mod tags;

pub use name::SiteName;
pub use rules::Rules;
