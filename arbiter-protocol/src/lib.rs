//! The pure core of optimistic fair exchange: no clock, no randomness, no IO, no async.
//!
//! Three roles: an *originator* offers, a *responder* accepts, they exchange *items* directly; an *arbiter* is
//! silent while both behave and restores fairness when one does not.
//!
//! ```text
//!   originator ◀────── statements, items ──────▶ responder
//!        └───── request ──▶ arbiter ◀── request ─────┘
//!                              └─▶ verdict + leaf + inclusion proof + checkpoint
//! ```
//!
//! Reading order: [`exchange::selection`] (which protocol), [`message::agreement`] (what is agreed),
//! [`role::session`] (what a party does), [`role::arbiter`] (what the arbiter decides), [`ruling`] (how a
//! decision becomes durable evidence, and how a stranger checks it). `SPEC.md` is normative; `R-…` in comments are its rules.
//!
//! Modules import only downwards: `wire` ▶ `ruling` ▶ `role`, `ledger` ▶ `message`, `exchange` ▶ `evidence`, `statement` ▶ `crypto` ▶
//! `ids`, `time`, `limits`, `error`. `message` and `exchange` describe each other (a transfer names an item, a signature
//! item is a transfer), and the envelope in `statement` is generated with the statements in `message`. `tests/tidy.rs`
//! holds the exact list. Feature `wire` adds the generated gRPC bindings, `timestamp` the time-stamps of RFC 3161;
//! feature `weaken` lets tests switch countermeasures off, and nothing else.

pub mod crypto;
pub mod error;
pub mod escrow;
pub mod evidence;
pub mod exchange;
pub mod ids;
pub mod ledger;
pub mod limits;
pub mod message;
pub mod role;
pub mod ruling;
pub mod statement;
pub mod time;
#[cfg(feature = "timestamp")]
pub mod timestamp;
#[cfg(feature = "weaken")]
pub mod weaken;
#[cfg(not(feature = "weaken"))]
mod weaken;
#[cfg(feature = "wire")]
pub mod wire;
