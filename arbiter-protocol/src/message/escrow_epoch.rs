//! The arbiter's escrow key for one span of time, signed by the arbiter.
//!
//! An offer carries the whole signed statement, so that everybody who reads the agreement, at any time and without a
//! network, knows that the arbiter promised to open with this key (attack S14).

use crate::error::Invalid;
use crate::escrow::EscrowKey;
use crate::message::{VERSION, check_version, time_from_wire, wire};
use crate::statement::{Payload, Verified};
use crate::time::UnixMillis;

/// "With this key I open escrows, until then".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EscrowEpoch {
    /// From 1, one more for each new key.
    pub epoch: u64,
    /// The key: the canonical encoding of a Ristretto element that is not the identity.
    pub key: [u8; 32],
    /// Agreements name this epoch from then on.
    pub from: UnixMillis,
    /// The arbiter can open before then; afterwards the key is destroyed.
    pub until: UnixMillis,
}

impl Payload for EscrowEpoch {
    const TYPE: &'static str = "application/vnd.arbiter.escrow-epoch.v1+protobuf";
    const NAME: &'static str = "escrow epoch";
    type Wire = wire::EscrowEpoch;

    fn from_wire(wire: wire::EscrowEpoch) -> Result<Self, Invalid> {
        check_version(wire.version, Self::NAME)?;
        if wire.epoch == 0 {
            return Err(Invalid::FieldValue { field: "epoch" });
        }
        let key = wire.key.as_slice().try_into().map_err(|_| Invalid::FieldLength { field: "key" })?;
        // The arbiter's name does not matter for the form of the key.
        EscrowKey::from_bytes([0; 32], wire.epoch, key).map_err(|_| Invalid::WeakKey { field: "key" })?;
        let from = time_from_wire(wire.from, "from")?;
        let until = time_from_wire(wire.until, "until")?;
        if until <= from {
            return Err(Invalid::FieldValue { field: "until" });
        }
        Ok(Self { epoch: wire.epoch, key, from, until })
    }

    fn to_wire(&self) -> wire::EscrowEpoch {
        wire::EscrowEpoch {
            version: VERSION,
            epoch: self.epoch,
            key: self.key.to_vec(),
            from: self.from.0,
            until: self.until.0,
        }
    }
}

impl Verified<EscrowEpoch> {
    /// The key, to which signatures are put into escrow.
    pub fn escrow_key(&self) -> EscrowKey {
        EscrowKey::from_bytes(*self.signer().as_bytes(), self.epoch, self.key)
            .expect("invariant: the form of the key was checked when the statement was read or signed")
    }
}
