//! Which origin gets a fetch, and the connections to it.
