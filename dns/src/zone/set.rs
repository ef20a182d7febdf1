//! The zones of one view: the most specific zone for a name.
