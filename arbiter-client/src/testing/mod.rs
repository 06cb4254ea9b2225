//! For tests, examples and demonstrations: an arbiter and a ledger in the process, and peers that cheat on request.
//!
//! ```text
//!  Bench::new(folder) ─▶ TestArbiter, TestLedger, builder(name), purse(name)
//!  Cheater::respond(transport), Cheater::originate(offer, transport) ─▶ Loot
//!  conformance::conforms(module, samples) ─▶ the promises that it breaks
//! ```
//! Everything here signs with real keys; only the keys come from small numbers. Never in a release build.

pub mod arbiter;
pub mod conformance;
pub mod files;
pub mod ledger;
pub mod peers;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arbiter_protocol::crypto::{MemorySigner, SealingSecret};
use arbiter_protocol::ids::Digest;
use arbiter_protocol::time::UnixMillis;
use tokio::time::Instant;
use zeroize::Zeroizing;

pub use arbiter::{Lie, TestArbiter};
pub use ledger::{LedgerCall, TestLedger};
pub use peers::{Cheat, Cheater, Loot};

use crate::builder::ClientBuilder;
use crate::client::{Client, Identity};
use crate::clock::Clock;

/// A clock that follows tokio's: with tokio's time paused, time passes only by waiting.
#[derive(Clone, Copy, Debug)]
pub struct TokioClock {
    start: Instant,
    base: UnixMillis,
}

impl TokioClock {
    /// Begins at `base`.
    pub fn new(base: UnixMillis) -> Self {
        Self { start: Instant::now(), base }
    }
}

impl Clock for TokioClock {
    fn now(&self) -> UnixMillis {
        let passed = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        UnixMillis(self.base.0.saturating_add(passed))
    }
}

/// An identity that follows from its name: for tests only.
pub fn identity(name: &str) -> Identity {
    let sealing = SealingSecret::from_seed(&seed(b"seal ", name));
    Identity::new(Arc::new(signer(name)), sealing, name)
}

/// The key of the account of a party: for tests only.
pub fn purse(name: &str) -> MemorySigner {
    MemorySigner::from_seed(&seed(b"purse ", name))
}

/// The signing key of [`identity`].
pub fn signer(name: &str) -> MemorySigner {
    MemorySigner::from_seed(&seed(b"sign ", name))
}

fn seed(purpose: &[u8], name: &str) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(*Digest::of(&[b"test ", purpose, name.as_bytes()]).as_bytes())
}

/// A table with an arbiter, at which parties meet.
pub struct Bench {
    /// The arbiter.
    pub arbiter: TestArbiter,
    /// The ledger, which the arbiter reaches.
    pub ledger: TestLedger,
    /// The clock of everybody.
    pub clock: Arc<dyn Clock>,
    folder: PathBuf,
}

impl Bench {
    /// Everything that parties write goes into `folder`.
    pub fn new(folder: &Path) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(TokioClock::new(UnixMillis(1_795_000_000_000)));
        let (arbiter, ledger) = (TestArbiter::new(clock.clone()), TestLedger::new("bank", clock.clone()));
        arbiter.reach(&ledger);
        Self { arbiter, ledger, clock, folder: folder.to_owned() }
    }

    /// The folder of a party.
    pub fn folder(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A party of this name, with a journal in memory unless another is set before `build`.
    pub fn builder(&self, name: &str) -> ClientBuilder {
        Client::builder()
            .arbiter_port(Arc::new(self.arbiter.clone()))
            .arbiter_identity(self.arbiter.identity())
            .escrow_epoch(self.arbiter.escrow_epoch())
            .identity(identity(name))
            .store(self.folder(name))
            .clock(self.clock.clone())
            .ledger(self.ledger.key(), Arc::new(self.ledger.clone()))
            .account(Arc::new(purse(name)))
            .in_memory()
    }
}
