//! The arbiter's secrets: two signing keys, the veil over the public log, what wraps the keys of exchanges, and the keys that
//! open escrows.
//!
//! ```text
//!  key file ──load──▶ Keys ─┬─ arbiter   signs verdicts, attestations, answers ┐ wrapped in a guard
//!                           ├─ log       signs checkpoints                     ┘ by the engine
//!                           ├─ veil      pseudonyms in public leaves
//!                           ├─ vault     wraps the key of each exchange: stored records, salts
//!  a file for each epoch ──▶└─ escrow    opens what verdicts take out of escrow
//! ```
//!
//! Invariants
//! - Secrets have no `Debug` and no `Clone` and are wiped when dropped.
//! - All secrets are independent: one that leaks does not give another.
//! - The engine signs only through [`guard`], which re-reads the store first (R-504).

pub mod epoch_file;
pub mod escrow;
pub mod file;
pub mod guard;
pub mod ledger_file;
pub mod vault;
pub mod witness_file;

use std::sync::Arc;

use arbiter_protocol::crypto::{MemorySigner, Signer};
use arbiter_protocol::evidence::checkpoint::Origin;
use arbiter_protocol::evidence::leaf::Pseudonym;
use arbiter_protocol::evidence::record::ExchangeKey;
use arbiter_protocol::ids::ExchangeId;
use arbiter_protocol::message::agreement::ArbiterIdentity;
use arbiter_protocol::role::arbiter::RULES;
use arbiter_protocol::ruling::sequencer::Veil;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use escrow::EscrowKeys;
use vault::Vault;

/// The three independent 32-byte secrets from which everything follows.
pub struct Seeds {
    /// Of the key that signs verdicts, attestations and answers.
    pub arbiter: Zeroizing<[u8; 32]>,
    /// Of the key that signs checkpoints.
    pub log: Zeroizing<[u8; 32]>,
    /// Of pseudonyms, and of what wraps the keys of exchanges. Never change it: without it no record can be read.
    pub veil: Zeroizing<[u8; 32]>,
}

/// The arbiter's keys.
pub struct Keys {
    arbiter: Box<dyn Signer>,
    log: Box<dyn Signer>,
    veil: SecretVeil,
    vault: Arc<Vault>,
    escrow: Arc<EscrowKeys>,
}

impl Keys {
    /// Keys in memory, without any that opens escrows.
    pub fn from_seeds(seeds: &Seeds) -> Self {
        Self {
            arbiter: Box::new(MemorySigner::from_seed(&seeds.arbiter)),
            log: Box::new(MemorySigner::from_seed(&seeds.log)),
            veil: SecretVeil::new(&seeds.veil),
            vault: Arc::new(Vault::new(&seeds.veil)),
            escrow: Arc::default(),
        }
    }

    /// The same with the keys that open escrows.
    #[must_use]
    pub fn with_escrow(self, escrow: EscrowKeys) -> Self {
        Self { escrow: Arc::new(escrow), ..self }
    }

    /// Opens escrows.
    pub const fn escrow(&self) -> &Arc<EscrowKeys> {
        &self.escrow
    }

    /// Signs verdicts, attestations and answers.
    pub fn arbiter(&self) -> &dyn Signer {
        &*self.arbiter
    }

    /// Signs checkpoints.
    pub fn log(&self) -> &dyn Signer {
        &*self.log
    }

    /// Hides identities from the public log.
    pub const fn veil(&self) -> &SecretVeil {
        &self.veil
    }

    /// Wraps the keys of exchanges: a store needs it to read and write records.
    pub const fn vault(&self) -> &Arc<Vault> {
        &self.vault
    }

    /// The arbiter that these keys make, with the rules of this program.
    pub fn identity(&self, log_origin: Origin) -> ArbiterIdentity {
        ArbiterIdentity {
            key: self.arbiter.public_key(),
            log_key: self.log.public_key(),
            log_origin,
            rules: RULES.to_owned(),
        }
    }
}

/// The key of an exchange that is recorded for the first time (R-530).
pub fn fresh_exchange_key() -> Result<ExchangeKey, getrandom::Error> {
    let mut random = Zeroizing::new([0; 32]);
    getrandom::fill(random.as_mut_slice())?;
    Ok(ExchangeKey::new(random))
}

/// Pseudonyms as HMAC-SHA256 under a key derived from the seed of the veil.
pub struct SecretVeil(Zeroizing<[u8; 32]>);

impl SecretVeil {
    /// Derives the key from `seed`.
    pub fn new(seed: &Zeroizing<[u8; 32]>) -> Self {
        Self(Zeroizing::new(keyed(seed, &[b"arbiter veil v1 pseudonym"])))
    }
}

impl Veil for SecretVeil {
    fn pseudonym(&self, exchange: &ExchangeId) -> Pseudonym {
        Pseudonym(half(keyed(&self.0, &[exchange.as_bytes()])))
    }
}

fn keyed(key: &Zeroizing<[u8; 32]>, parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_slice()).expect("invariant: HMAC takes any key");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

fn half(bytes: [u8; 32]) -> [u8; 16] {
    let mut first = [0; 16];
    first.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values computed with Python's `hmac` and `hashlib`.
    #[test]
    fn pseudonyms_are_the_documented_function() {
        let veil = SecretVeil::new(&Zeroizing::new([1; 32]));
        let exchange = ExchangeId::from_bytes([2; 32]);
        assert_eq!(hex::encode(veil.pseudonym(&exchange).0), "208af26921fac5cc88764c3bdff997e1");
        let other = SecretVeil::new(&Zeroizing::new([4; 32]));
        assert_ne!(veil.pseudonym(&exchange), other.pseudonym(&exchange));
    }
}
