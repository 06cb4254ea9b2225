//! Verifiable escrow from outside: what goes in comes out, and everything else is refused for its own reason.
//!
//! S21 and S22, which need a forger inside the module, are in `src/escrow/tests/`.

#![allow(
    clippy::as_conversions,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may fail by panicking, and starts programs"
)]

#[path = "escrow/bad_input.rs"]
mod escrow_bad_input;
#[path = "escrow/openssl.rs"]
mod escrow_openssl;
#[path = "escrow/vectors.rs"]
mod escrow_vectors;
#[path = "escrow/support.rs"]
mod support;
