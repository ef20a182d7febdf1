//! What a client may take: response rate limiting and cookies as plain state, time as an argument.
