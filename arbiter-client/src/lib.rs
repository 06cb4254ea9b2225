//! One party of a fair exchange: it offers or accepts, exchanges items with its peer directly, and turns to the
//! arbiter only if the peer stops, lies or vanishes.
//!
//! ```text
//!  Client ──offer, accept──▶ Journal        what must survive a crash, before anything is sent
//!    └─ run ─▶ Driver ──┬─▶ Transport ──▶ peer        statements, sealed content
//!                       ├─▶ Till ───────▶ ledger      payments are made, watched and posted
//!                       └─▶ Counsel ────▶ arbiter     silent while both behave; every answer is checked
//! ```
//!
//! Reading order: [`client`] (what a program calls), [`builder`] (its settings), [`transport`] (how peers meet),
//! [`arbiter`] (how rulings are asked for and checked), [`module`] (who gives and takes items), [`ledger`] (how money is
//! paid), [`journal`] (what is kept),
//! `driver` (how the state machine of [`arbiter_protocol::role`] is driven).
//!
//! # A whole exchange
//!
//! Two parties sign one contract. Both items are signatures that the arbiter could replace, so they may sign
//! without trusting each other; here both behave, and the arbiter hears nothing. In two programs the peers meet
//! over [`transport::grpc`] and the arbiter is named by its URL; the rest is the same.
//!
//! ```
//! use arbiter_client::testing::Bench; // feature `testing`: an arbiter in the process
//! use arbiter_client::protocol::escrow::Suite;
//! use arbiter_client::{Give, OfferTerms, Outcome, items, transport::memory};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = tempfile::tempdir()?;
//! let bench = Bench::new(folder.path());
//! let (alice, bob) = (bench.builder("alice").build().await?, bench.builder("bob").build().await?);
//! let (mut to_bob, mut to_alice) = memory::pair();
//!
//! let path = folder.path().join("contract.txt");
//! std::fs::write(&path, "Alice sells her bicycle to Bob.")?;
//! let contract = items::describe(&path, Some("text/plain")).await?;
//! let id = alice.offer(OfferTerms {
//!     responder: bob.party(),
//!     originator_item: items::signature("Contract of sale", "", contract.clone()),
//!     responder_item: items::signature("Contract of sale", "", contract),
//!     complain_by: None, // signature for signature: no deadline
//!     send_by: None,
//!     suite: Suite::DEFAULT,
//! }, Give::Nothing).await?;
//!
//! let bobs_side = async {
//!     let offer = bob.next_offer(&mut to_alice).await?;
//!     let id = bob.accept(&offer, Give::Nothing).await?;
//!     bob.run(id, &mut to_alice).await
//! };
//! let (ours, theirs) = tokio::join!(alice.run(id, &mut to_bob), bobs_side);
//! assert!(matches!(ours?, Outcome::Completed(evidence) if evidence.peer_transfer.is_some()));
//! assert!(matches!(theirs?, Outcome::Completed(evidence) if evidence.peer_transfer.is_some()));
//! assert_eq!(bench.arbiter.calls(), 0);
//! # Ok(()) }
//! ```

pub mod arbiter;
#[cfg(feature = "audit")]
pub mod audit;
pub mod builder;
pub mod bundle;
pub mod charge;
pub mod client;
pub mod clock;
pub mod consent;
pub mod disclosure;
mod driver;
mod durable;
mod endpoint;
pub mod error;
pub mod explain;
pub mod fingerprint;
mod give;
pub mod identity;
mod import;
pub mod items;
pub mod journal;
pub mod ledger;
pub mod module;
pub mod outcome;
mod package;
pub mod pin;
pub mod plain;
pub mod purse;
mod random;
pub mod signing;
#[cfg(feature = "testing")]
pub mod testing;
mod texts;
pub mod timestamp;
pub mod transport;
pub mod verify;

/// The protocol's types that this library speaks in. The generated wire types are not among them: they change
/// with the tools that generate them.
///
/// ```compile_fail
/// use arbiter_client::protocol::wire;
/// ```
pub mod protocol {
    pub use arbiter_protocol::{
        crypto, error, escrow, evidence, exchange, ids, limits, message, role, ruling, statement, time,
    };
}

pub use builder::ClientBuilder;
pub use client::{Approver, Client, Give, Identity, OfferTerms, Proposal, Unattended};
pub use error::Error;
pub use outcome::{Evidence, Outcome, Status};

/// The examples of the README are run.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// The example of the manual for modules is compiled.
#[cfg(doctest)]
#[doc = include_str!("../../docs/modules.md")]
struct ModulesManual;
