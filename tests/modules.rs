//! Payment modules: the contract that every module keeps, and that one which does not harms nobody else.
//!
//! ```text
//!  contract ─▶ ledger        the real service, its book in memory
//!           ─▶ adapter.py    a card rail in Python, if grpcio is there
//!           ─▶ ADAPTER_URL=http://…   yours: cargo test --test modules yours -- --ignored
//!  hurt     ─▶ liar          hangs, rubbish, oversize, other key, payment, exchange, version; says voided, then posted
//!  program  ─▶ the real arbiter with ledgers and adapters in its configuration
//! ```

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may fail")]

#[path = "modules/contract.rs"]
mod contract;
#[path = "modules/hurt.rs"]
mod hurt;
#[path = "common/issuer.rs"]
mod issuer;
#[path = "modules/liar.rs"]
mod liar;
#[path = "modules/program.rs"]
mod program;
#[path = "modules/rails.rs"]
mod rails;
#[path = "modules/scene.rs"]
mod scene;

use arbiter_protocol::crypto::MemorySigner;
use arbiter_protocol::time::UnixMillis;
use zeroize::Zeroizing;

/// A key for tests.
pub fn key(byte: u8) -> MemorySigner {
    MemorySigner::from_seed(&Zeroizing::new([byte; 32]))
}

/// The clock of this machine: outside modules have no other.
pub fn now() -> UnixMillis {
    use arbiter::clock::{Clock as _, SystemClock};
    SystemClock.now()
}

/// R-701 to R-706: the real books of a ledger, through the arbiter's client for ledgers.
#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_keeps_the_contract() {
    let ledger = rails::Ledger::start(3).await;
    contract::keep(&ledger.rail()).await;
}

/// R-701 to R-706: the books behind the adapter's protocol.
#[tokio::test(flavor = "multi_thread")]
async fn an_honest_adapter_keeps_the_contract() {
    let liar = liar::Liar::start(4).await;
    contract::keep(&liar.rail()).await;
}

/// R-701 to R-706: the sample in Python, which shares no code with this project.
#[tokio::test(flavor = "multi_thread")]
async fn the_sample_adapter_keeps_the_contract() {
    let Some(sample) = rails::Sample::start(5, Some("secret-of-the-sample")) else { return };
    contract::keep(&sample.rail()).await;
}

/// Your adapter: `ADAPTER_URL` is its address, `ADAPTER_KEY` its key, `ADAPTER_KIND` its kind. The payer's
/// account is that of the Ed25519 seed 0b0b…0b, the payee's that of 0c0c…0c: give both what a payment of the smallest amount needs,
/// forty times.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the address of an adapter"]
async fn yours() {
    let set = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("set {name}"));
    let key = arbiter_protocol::ids::PublicKey::parse_hex(&set("ADAPTER_KEY"), "key").unwrap();
    let rail = rails::adapter(&set("ADAPTER_URL"), key, &set("ADAPTER_KIND"), None);
    contract::keep(&rail).await;
}
