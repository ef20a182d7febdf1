//! HTTP dates, by the letter (RFC 9110 §5.6.7).
