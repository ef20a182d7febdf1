//! Bytes in, bytes out under every transport; truncation; the egress guard; "say nothing" is a value.
