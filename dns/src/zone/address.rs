//! Which addresses an outsider must not learn: D1, D2 and the `private` prefixes of the config.
