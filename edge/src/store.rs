//! What we keep: moka evicts by bytes; `policy` alone decides freshness.
