//! Zone text (RFC 1035 §5) to records with positions; every problem is reported, none stops the reading.
