//! Structured Field Dictionaries (RFC 9651 §4.2.2), as far as targeted cache control needs them.
