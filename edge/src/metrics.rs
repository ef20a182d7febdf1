//! Counters for what the cores return.
