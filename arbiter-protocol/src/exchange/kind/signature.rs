//! Signature: the sender's Ed25519 signature over a statement. Generatable by replacement.
//!
//! The signed [`Transfer`] is the item: it binds the statement, both nonces (through the agreement) and the
//! role, so it is worth nothing in any other exchange (attacks K1, K2, K9). An offer or acceptance alone is
//! of another payload type and is never the signature (requirement R14).

use crate::exchange::item::{Description, Item};
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

/// Whether a transfer hands over exactly the item agreed; of a package, which item differs.
pub fn same(agreed: &Item, item: &Item) -> Result<(), Unfit> {
    if agreed == item {
        return Ok(());
    }
    let (leaves, others) = (agreed.leaves(), item.leaves());
    let differs = leaves.iter().zip(&others).position(|(one, other)| one != other);
    match (&agreed.description, differs) {
        (Description::Package(_), Some(place)) if leaves.len() == others.len() => {
            Err(Unfit::Kind.in_package(place))
        }
        _ => Err(Unfit::Kind),
    }
}

/// The peer's check: the transfer signs exactly the item agreed. Exchange, agreement, role and
/// signer were checked when the transfer was verified for this agreement.
pub fn check(agreed: &Item, transfer: Verified<Transfer>) -> Result<FitSignature, Unfit> {
    if agreed.description.is_content() {
        return Err(Unfit::Kind); // The transfer only announces it.
    }
    same(agreed, &transfer.item).map(|()| FitSignature(transfer))
}
