//! The arbiter that is measured: keys from fixed seeds, RocksDB and its side journal in one folder.

use std::path::Path;
use std::sync::Arc;

use arbiter::clock::Clock;
use arbiter::engine::{Engine, Handle};
use arbiter::keys::{Keys, Seeds};
use arbiter::store::Store;
use arbiter::store::journal::Journaled;
use arbiter::store::rocks::RocksStore;
use arbiter_protocol::crypto::MemorySigner;
use arbiter_protocol::evidence::checkpoint::Origin;
use arbiter_protocol::ids::Digest;
use arbiter_protocol::message::agreement::ArbiterIdentity;
use arbiter_protocol::ruling::sequencer::Desk;
use arbiter_protocol::time::DurationMillis;
use zeroize::Zeroizing;

pub fn seed(byte: u8) -> Zeroizing<[u8; 32]> {
    Zeroizing::new([byte; 32])
}

pub fn signer(byte: u8) -> MemorySigner {
    MemorySigner::from_seed(&seed(byte))
}

pub fn keys() -> Keys {
    Keys::from_seeds(&Seeds { arbiter: seed(1), log: seed(2), veil: seed(3) })
}

pub fn arbiter() -> ArbiterIdentity {
    keys().identity(Origin::parse("bench.example/log").unwrap())
}

/// Without its side journal.
pub fn alone(folder: &Path) -> RocksStore {
    RocksStore::open_unswept(&folder.join("data"), &arbiter(), keys().vault()).unwrap()
}

pub fn store(folder: &Path) -> Arc<dyn Store> {
    Arc::new(Journaled::open(alone(folder), &folder.join("journal"), &arbiter()).unwrap())
}

pub fn engine(keys: Keys, store: Arc<dyn Store>, clock: Box<dyn Clock>) -> Handle {
    let (build, clock_uncertainty) = (Digest::of(&[b"bench"]), DurationMillis(500));
    Engine::start(Desk { arbiter: arbiter(), build, clock_uncertainty }, keys, store, clock).unwrap()
}
