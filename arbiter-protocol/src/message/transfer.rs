//! The transfer of an item from one peer to the other.
//!
//! For a signature item the signed transfer *is* the item. For information it announces the sealed content
//! that follows; the content's hash is inside the described item.

use crate::error::{Invalid, Refused, Rejected};
use crate::exchange::item::Item;
use crate::exchange::selection::Role;
use crate::ids::{AgreementId, ExchangeId};
use crate::message::agreement::Agreement;
use crate::message::{VERSION, check_version, role_from_wire, role_to_wire, wire};
use crate::statement::{Payload, Signed, Verified};
use crate::weaken::{Countermeasure, off};

/// "I hand over this item in this exchange."
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// The exchange: binds the originator's nonce.
    pub exchange_id: ExchangeId,
    /// The agreement: binds the responder's nonce.
    pub agreement_id: AgreementId,
    /// Who hands over; its key signs.
    pub sender: Role,
    /// What is handed over.
    pub item: Item,
}

impl Transfer {
    /// The transfer that `sender` makes under an agreement.
    pub fn new(agreement: &Agreement, sender: Role) -> Self {
        Self {
            exchange_id: agreement.exchange_id(),
            agreement_id: agreement.id(),
            sender,
            item: agreement.offer().item(sender).clone(),
        }
    }

    /// a transfer is worth nothing in another exchange (K2) or beside another acceptance (K1).
    pub fn is_bound_to(&self, agreement: &Agreement) -> Result<(), Refused> {
        let any_exchange = off(Countermeasure::ExchangeInTransfer);
        if self.exchange_id != agreement.exchange_id() && !any_exchange {
            return Err(Refused::OtherExchange);
        }
        let any_agreement = any_exchange || off(Countermeasure::AgreementInTransfer);
        if self.agreement_id != agreement.id() && !any_agreement {
            return Err(Refused::AcceptanceMismatch);
        }
        Ok(())
    }
}

impl Payload for Transfer {
    const TYPE: &'static str = "application/vnd.arbiter.transfer.v1+protobuf";
    const NAME: &'static str = "transfer";
    type Wire = wire::Transfer;

    fn from_wire(wire: wire::Transfer) -> Result<Self, Invalid> {
        check_version(wire.version, Self::NAME)?;
        Ok(Self {
            exchange_id: ExchangeId::parse(&wire.exchange_id, "exchange_id")?,
            agreement_id: AgreementId::parse(&wire.agreement_id, "agreement_id")?,
            sender: role_from_wire(wire.sender, "sender")?,
            item: Item::from_wire(wire.item.ok_or(Invalid::FieldMissing { field: "item" })?, "item")?,
        })
    }

    fn to_wire(&self) -> wire::Transfer {
        wire::Transfer {
            version: VERSION,
            exchange_id: self.exchange_id.to_vec(),
            agreement_id: self.agreement_id.to_vec(),
            sender: role_to_wire(self.sender),
            item: Some(self.item.to_wire()),
        }
    }
}

impl Signed<Transfer> {
    /// Verifies a transfer by `sender` under `agreement`: signer, exchange, agreement, role (R-106, K1, K9).
    pub fn verify_for(self, agreement: &Agreement, sender: Role) -> Result<Verified<Transfer>, Rejected> {
        let transfer = self.verify(&agreement.offer().party(sender).signing_key)?;
        transfer.is_bound_to(agreement)?;
        if transfer.sender != sender {
            return Err(Refused::NotAParty.into());
        }
        Ok(transfer)
    }
}
