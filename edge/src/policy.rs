//! The two questions of a shared cache (RFC 9111): may I answer from this, and may I keep this.
