//! The arbiter's secrets: two signing keys, the veil over the public log, and the keys that open escrows.
//!
//! ```text
//!  key file ──load──▶ Keys ─┬─ arbiter   signs verdicts, attestations, answers ┐ wrapped in a guard
//!                           ├─ log       signs checkpoints                     ┘ by the engine
//!                           ├─ veil      pseudonyms and salts of public leaves
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
pub mod witness_file;

use std::sync::Arc;

use arbiter_protocol::crypto::{MemorySigner, Signer};
use arbiter_protocol::evidence::checkpoint::Origin;
use arbiter_protocol::evidence::leaf::Pseudonym;
use arbiter_protocol::ids::{Digest, ExchangeId};
use arbiter_protocol::message::agreement::ArbiterIdentity;
use arbiter_protocol::role::arbiter::RULES;
use arbiter_protocol::ruling::sequencer::Veil;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use escrow::EscrowKeys;

/// The three independent 32-byte secrets from which everything follows.
pub struct Seeds {
    /// Of the key that signs verdicts, attestations and answers.
    pub arbiter: Zeroizing<[u8; 32]>,
    /// Of the key that signs checkpoints.
    pub log: Zeroizing<[u8; 32]>,
    /// Of pseudonyms and salts. Never change it: old receipts are made again with it.
    pub veil: Zeroizing<[u8; 32]>,
}

/// The arbiter's keys.
pub struct Keys {
    arbiter: Box<dyn Signer>,
    log: Box<dyn Signer>,
    veil: SecretVeil,
    escrow: Arc<EscrowKeys>,
}

impl Keys {
    /// Keys in memory, without any that opens escrows.
    pub fn from_seeds(seeds: &Seeds) -> Self {
        Self {
            arbiter: Box::new(MemorySigner::from_seed(&seeds.arbiter)),
            log: Box::new(MemorySigner::from_seed(&seeds.log)),
            veil: SecretVeil::new(&seeds.veil),
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

/// Pseudonyms and salts as HMAC-SHA256 under keys derived from one seed.
pub struct SecretVeil {
    pseudonyms: Zeroizing<[u8; 32]>,
    salts: Zeroizing<[u8; 32]>,
}

impl SecretVeil {
    /// Derives both keys from `seed`.
    pub fn new(seed: &Zeroizing<[u8; 32]>) -> Self {
        let derive = |label: &[u8]| Zeroizing::new(keyed(seed, &[label]));
        Self { pseudonyms: derive(b"arbiter veil v1 pseudonym"), salts: derive(b"arbiter veil v1 salt") }
    }
}

impl Veil for SecretVeil {
    fn pseudonym(&self, exchange: &ExchangeId) -> Pseudonym {
        Pseudonym(half(keyed(&self.pseudonyms, &[exchange.as_bytes()])))
    }

    fn salt(&self, statement: &Digest, field: &str) -> [u8; 16] {
        // The digest has a fixed length, so digest and field cannot run into each other.
        half(keyed(&self.salts, &[statement.as_bytes(), field.as_bytes()]))
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
    fn pseudonyms_and_salts_are_the_documented_functions() {
        let veil = SecretVeil::new(&Zeroizing::new([1; 32]));
        let exchange = ExchangeId::from_bytes([2; 32]);
        let digest = Digest::from_bytes([3; 32]);
        assert_eq!(hex::encode(veil.pseudonym(&exchange).0), "208af26921fac5cc88764c3bdff997e1");
        assert_eq!(hex::encode(veil.salt(&digest, "offer")), "01373a4f08bdfddc58a754658ee5af3c");
        assert_ne!(veil.salt(&digest, "offer"), veil.salt(&digest, "request"));
        let other = SecretVeil::new(&Zeroizing::new([4; 32]));
        assert_ne!(veil.pseudonym(&exchange), other.pseudonym(&exchange));
    }
}
