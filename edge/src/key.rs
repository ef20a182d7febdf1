//! From a request to the name under which it is cached.
