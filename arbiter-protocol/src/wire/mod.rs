//! Generated gRPC bindings (feature `wire`). Never edited: `make test` proves them current.

mod convert;

/// What stands before a payment rail, `proto/arbiter/adapter/v1`.
#[allow(missing_docs, clippy::all, clippy::pedantic, clippy::as_conversions)]
#[rustfmt::skip]
#[path = "gen/arbiter.adapter.v1.rs"]
pub mod adapter;

/// The arbiter's API, `proto/arbiter/v1`.
#[allow(missing_docs, clippy::all, clippy::pedantic, clippy::as_conversions)]
#[rustfmt::skip]
#[path = "gen/arbiter.v1.rs"]
pub mod arbiter;

/// The ledger's API, `proto/arbiter/ledger/v1`.
#[allow(missing_docs, clippy::all, clippy::pedantic, clippy::as_conversions)]
#[rustfmt::skip]
#[path = "gen/arbiter.ledger.v1.rs"]
pub mod ledger;

/// The peers' protocol, `proto/arbiter/peer/v1`.
#[allow(missing_docs, clippy::all, clippy::pedantic, clippy::as_conversions)]
#[rustfmt::skip]
#[path = "gen/arbiter.peer.v1.rs"]
pub mod peer;

/// The descriptors of all `.proto` files, for server reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!("gen/descriptors.bin");
