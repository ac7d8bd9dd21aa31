//! What the benchmark's programs share: HTTP/1.1 framing, a keep-alive client, command-line
//! options, statistics, and the few Docker Engine calls of the cold-start comparison.
//!
//! std only, so that what is measured is the service and not a library of the measuring side.
//! It deliberately is no general HTTP client: no TLS, no redirects, no pool; one connection
//! carries one exchange at a time. Nothing of the service's own code is used here: a mistake
//! in its framing must not cancel out against the same mistake in its benchmark.

pub mod client;
pub mod cold;
pub mod engine;
pub mod message;
pub mod options;
pub mod sample;
