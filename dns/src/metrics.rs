//! Counters for what the cores return; labels by view, transport, rcode and zone, never by name.
