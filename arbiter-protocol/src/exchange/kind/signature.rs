//! Signature: the sender's Ed25519 signature over a statement. Generatable by replacement.
//!
//! The signed [`Transfer`] is the item: it binds the statement, both nonces (through the agreement) and the
//! role, so it is worth nothing in any other exchange (attacks K1, K2, K9). An offer or acceptance alone is
//! of another payload type and is never the signature (requirement R14).

use crate::exchange::item::Item;
use crate::exchange::kind::Unfit;
use crate::message::transfer::Transfer;
use crate::statement::Verified;

/// Proof that a signature is the one agreed. Only [`check`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FitSignature(Verified<Transfer>);

impl FitSignature {
    /// The signature.
    pub const fn transfer(&self) -> &Verified<Transfer> {
        &self.0
    }
}

/// The peer's check: the transfer signs exactly the item agreed. Exchange, agreement, role and
/// signer were checked when the transfer was verified for this agreement.
pub fn check(agreed: &Item, transfer: Verified<Transfer>) -> Result<FitSignature, Unfit> {
    if transfer.item == *agreed { Ok(FitSignature(transfer)) } else { Err(Unfit::Kind) }
}
