//! The arbiter's service: the protocol core of `arbiter-protocol` with a clock, keys, a store and a network.
//!
//! ```text
//!  main ─▶ cli ─▶ config
//!            └──▶ grpc ──Case──▶ engine ──▶ store   one atomic, durable commit
//!                  ▲               │
//!                  └── Receipt ◀── keys              signed only after it
//! ```
//!
//! | module | what it is |
//! | --- | --- |
//! | [`anchors`] | tokens of a time-stamping authority over checkpoints, a file each |
//! | [`cli`], [`config`], [`telemetry`] | how the process is started, set up and watched |
//! | [`clock`] | the only place that reads the clock of the machine |
//! | [`disclosure`] | what an operator hands to an auditor: bundles, openings |
//! | [`engine`] | the single writer: decide, commit, release |
//! | [`export_folder`] | reads a static export of the log |
//! | [`fsck`] | checks a whole store again from its evidence |
//! | [`grpc`] | the API of `proto/arbiter/v1` |
//! | [`high_water`] | what remembers how far the log was: journal and export folder |
//! | [`keys`] | secret keys, those of escrow epochs, and a guard that signs only what is durable |
//! | [`ledger`] | accounts and payments: a service of its own, `arbiter ledger serve` |
//! | [`modules`] | payment rails: ledgers and adapters, each within its bounds |
//! | [`policy`] | what the operator declares, as one text whose hash is in the log |
//! | [`publish`] | the published checkpoint, with cosignatures of witnesses; tiles; export |
//! | [`restore`] | puts leaves back that the store lost, from an export |
//! | [`scrub`] | hashes the log again in the background |
//! | [`store`] | durable state: a contract and two stores that keep it |
//! | [`witness`] | cosigns checkpoints of logs: a service of its own, `arbiter witness serve` |
//!
//! # Invariants
//! 1. A verdict is written once and replayed for ever (R-401).
//! 2. Nothing is signed or shown before the commit that holds it has returned (R-504).
//! 3. A failed commit ends the process; what happened is found out by starting again (R-505).
//! 4. Time never goes back, over restarts too (R-409).
//! 5. Peer input only ever yields an error. A panic is a bug of ours and ends the process.
//!
//! Modules import only downwards: `main`, `cli` ▶ `grpc` ▶ `engine` ▶ `store`, `keys`, `clock`
//! ▶ `arbiter-protocol`. Only `store::rocks` names RocksDB, only `keys` holds secrets.

pub mod anchors;
pub mod cli;
pub mod clock;
pub mod config;
pub mod deadlines;
pub mod disclosure;
pub mod engine;
pub mod export_folder;
pub mod fsck;
pub mod grpc;
pub mod high_water;
pub mod keys;
pub mod ledger;
pub mod modules;
pub mod outbox;
pub mod policy;
pub mod publish;
pub mod restore;
pub mod scrub;
pub mod store;
pub mod telemetry;
pub mod witness;
