//! What we say: RFC 1034 §4.3.2 as one pipeline over one enum of outcomes.
