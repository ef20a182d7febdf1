//! Which view a client is in, chosen first, once, and only by what an outsider cannot choose.
