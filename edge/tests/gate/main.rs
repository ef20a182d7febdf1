//! The gate before hyper's HTTP/1.1 server, over real connections: raw bytes in, raw bytes out, and what the service saw.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod close;
mod desync;
mod direct;
mod edge;
mod flushing;
mod half;
mod interim;
mod naive;
mod server;
mod smuggling;
mod switch;
