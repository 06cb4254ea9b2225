//! The keys that open escrows: one for each epoch, each from a seed of its own (R-412).
//!
//! ```text
//!  epoch 1  from ───────────── until   destroyed
//!  epoch 2         from ───────────────────── until        opens what names it
//!  epoch 3                    from ─────────────────── until   new agreements name the newest
//! ```
//!
//! Invariants
//! - Epochs are signed with the arbiter's key when the keys are loaded, never because somebody asks: the guards of
//!   [`super::guard`] refuse to sign one.
//! - The signature is deterministic: an epoch has one statement for ever.
//! - Secrets have no `Debug` and no `Clone` and are wiped when dropped.

use arbiter_protocol::crypto::Signer;
use arbiter_protocol::error::Invalid;
use arbiter_protocol::escrow::{EscrowKey, EscrowSecret};
use arbiter_protocol::message::escrow_epoch::EscrowEpoch;
use arbiter_protocol::statement::{Payload as _, Verified};
use arbiter_protocol::time::UnixMillis;
use zeroize::Zeroizing;

/// One epoch before its key is made.
pub struct EpochSeed {
    /// From 1, one more for each new key.
    pub epoch: u64,
    /// 32 random bytes of its own.
    pub seed: Zeroizing<[u8; 32]>,
    /// Agreements name it from then on.
    pub from: UnixMillis,
    /// It opens before then.
    pub until: UnixMillis,
}

impl EpochSeed {
    /// The secret key of the arbiter with this identity key.
    pub fn secret(&self, arbiter: &[u8; 32]) -> Result<EscrowSecret, Invalid> {
        let weak = |_| Invalid::WeakKey { field: "key" };
        EscrowSecret::from_seed(&self.seed, *arbiter, self.epoch).map_err(weak)
    }
}

/// Everything that can be opened, in the order of epochs.
#[derive(Default)]
pub struct EscrowKeys(Vec<Epoch>);

struct Epoch {
    statement: Verified<EscrowEpoch>,
    secret: EscrowSecret,
}

impl EscrowKeys {
    /// Makes the keys and signs their epochs.
    pub fn new(arbiter: &dyn Signer, seeds: &[EpochSeed]) -> Result<Self, Invalid> {
        let make = |seed: &EpochSeed| {
            let secret = seed.secret(arbiter.public_key().as_bytes())?;
            let (epoch, from, until) = (seed.epoch, seed.from, seed.until);
            let statement = EscrowEpoch { epoch, key: *secret.public().as_bytes(), from, until };
            // Nobody would read a statement that is not well formed.
            let statement = EscrowEpoch::from_wire(statement.to_wire())?;
            Ok(Epoch { statement: Verified::sign(statement, arbiter), secret })
        };
        let mut epochs = seeds.iter().map(make).collect::<Result<Vec<_>, _>>()?;
        epochs.sort_by_key(|it| it.statement.epoch);
        if epochs.is_sorted_by(|one, next| one.statement.epoch < next.statement.epoch) {
            Ok(Self(epochs))
        } else {
            Err(Invalid::FieldValue { field: "epoch" })
        }
    }

    /// The secret half of a key that an offer names.
    pub fn secret(&self, key: &EscrowKey) -> Option<&EscrowSecret> {
        self.0.iter().map(|it| &it.secret).find(|secret| secret.public() == key)
    }

    /// The signed statements of every key that can open at `now`, ascending.
    pub fn published(&self, now: UnixMillis) -> impl Iterator<Item = &Verified<EscrowEpoch>> {
        self.0.iter().map(|it| &it.statement).filter(move |statement| now < statement.until)
    }

    /// Every epoch, ascending.
    pub fn epochs(&self) -> impl Iterator<Item = &Verified<EscrowEpoch>> {
        self.0.iter().map(|it| &it.statement)
    }
}
