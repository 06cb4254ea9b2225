//! What a ledger is told, and what it signs.
//!
//! ```text
//! payer, payee, arbiter ──PaymentOrder──▶ ledger ──PaymentReceipt──▶ anybody
//! ```
//! A payment is named by its terms: [`PaymentTerms::id`] is a digest of all there is to say about it, so a payment never
//! changes, and the same payment in two exchanges is two payments. Receipts are signed by the ledger: they convince a
//! stranger offline, and the arbiter without asking the ledger.

use prost::Message as _;

use crate::error::Invalid;
use crate::exchange::payment::{Payment, Timeout};
use crate::exchange::selection::Role;
use crate::ids::{Digest, ExchangeId, PaymentId, PublicKey};
use crate::message::agreement::Offer;
use crate::message::{VERSION, check_version, time_from_wire, wire};
use crate::statement::{Payload, Verified};
use crate::time::UnixMillis;
use crate::weaken::{Countermeasure, off};

/// All there is to say about one payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentTerms {
    /// From whom to whom, how much, how long it is held.
    pub payment: Payment,
    /// May end the hold either way. Present exactly if there is a hold.
    pub authority: Option<PublicKey>,
    /// What it is for: 32 bytes that the parties choose.
    pub reference: Digest,
}

impl PaymentTerms {
    /// The terms of the payment that the party in `role` makes in an exchange, if its item is one: for nothing but this
    /// exchange, and under the authority of its arbiter.
    pub fn of(offer: &Verified<Offer>, role: Role) -> Option<Self> {
        let payment = offer.item(role).description.payment()?;
        Some(Self::agreed(offer, role, payment, None))
    }

    /// The terms of every payment that the party in `role` makes in an exchange, in the order of the leaves (R-220): of a
    /// lone payment those of [`PaymentTerms::of`].
    pub fn all(offer: &Verified<Offer>, role: Role) -> Vec<Self> {
        let item = offer.item(role);
        let alone = item.description.payment().is_some();
        let leaves = item.leaves().into_iter().zip(0..=u8::MAX);
        let terms = leaves.filter_map(|(leaf, place)| {
            let payment = leaf.description.payment()?;
            Some(Self::agreed(offer, role, payment, (!alone).then_some(place)))
        });
        terms.collect()
    }

    fn agreed(offer: &Verified<Offer>, role: Role, payment: &Payment, leaf: Option<u8>) -> Self {
        let authority = payment.hold.map(|_| offer.arbiter.key);
        Self { payment: payment.clone(), authority, reference: reference(&offer.exchange_id(), role, leaf) }
    }

    /// Names the payment: SHA-256 over a domain tag and the canonical encoding.
    pub fn id(&self) -> PaymentId {
        let digest = Digest::of(&[b"arbiter payment v1\0", &self.to_wire().encode_to_vec()]);
        PaymentId::from_bytes(*digest.as_bytes())
    }

    /// Checks every field: terms travel by themselves only to ask about a payment.
    pub fn from_wire(wire: wire::PaymentTerms) -> Result<Self, Invalid> {
        let payment = Payment::from_wire(wire.payment.ok_or(Invalid::FieldMissing { field: "payment" })?)?;
        let authority = match wire.authority.as_slice() {
            [] => None,
            bytes => Some(PublicKey::parse(bytes, "authority")?),
        };
        if authority.is_some() != payment.hold.is_some() {
            return Err(Invalid::FieldValue { field: "authority" });
        }
        Ok(Self { payment, authority, reference: Digest::parse(&wire.reference, "reference")? })
    }

    /// The inverse of `from_wire`.
    pub fn to_wire(&self) -> wire::PaymentTerms {
        wire::PaymentTerms {
            payment: Some(self.payment.to_wire()),
            authority: self.authority.map_or_else(Vec::new, |key| key.to_vec()),
            reference: self.reference.to_vec(),
        }
    }
}

/// The reference of a payment that the party in `role` makes in an exchange: `leaf` says which of a package.
fn reference(exchange: &ExchangeId, role: Role, leaf: Option<u8>) -> Digest {
    let any_exchange = off(Countermeasure::PaymentForThisExchange);
    Digest::of(&[
        b"arbiter payment reference v1\0",
        if any_exchange { &[0; 32] } else { exchange.as_bytes() },
        &[u8::from(role == Role::Responder)],
        leaf.as_slice(),
    ])
}

/// What is to be done with a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaymentAction {
    /// Reserve the money, or pay it if there is no hold. The payer signs.
    Make,
    /// Give this many units to the payee, 1 to the amount, and the rest back. The authority signs; or the payer, but only for
    /// the whole amount: a payer that could post a part would take back the rest of what it gave.
    Post(u64),
    /// Give the money back. The payee or the authority signs.
    Void,
}

/// An order to a ledger. No nonce and no time: asking again is the same order, with the same answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentOrder {
    /// Which payment.
    pub terms: PaymentTerms,
    /// What is to be done.
    pub action: PaymentAction,
}

impl PaymentOrder {
    /// Whether the holder of `key` may give this order.
    pub fn may_be_signed_by(&self, key: &PublicKey) -> bool {
        let Payment { payer, payee, .. } = &self.terms.payment;
        let authority = self.terms.authority.as_ref() == Some(key);
        match self.action {
            PaymentAction::Make => key == payer,
            PaymentAction::Post(units) => {
                let all = units == self.terms.payment.amount.units || off(Countermeasure::PayerPostsAll);
                authority || (key == payer && all)
            }
            PaymentAction::Void => key == payee || authority,
        }
    }
}

impl Payload for PaymentOrder {
    const TYPE: &'static str = "application/vnd.arbiter.payment-order.v1+protobuf";
    const NAME: &'static str = "payment order";
    type Wire = wire::PaymentOrder;

    fn from_wire(wire: wire::PaymentOrder) -> Result<Self, Invalid> {
        check_version(wire.version, Self::NAME)?;
        let terms = PaymentTerms::from_wire(wire.terms.ok_or(Invalid::FieldMissing { field: "terms" })?)?;
        let action = match (wire::PaymentAction::try_from(wire.action), wire.units) {
            (Ok(wire::PaymentAction::Make), 0) => PaymentAction::Make,
            (Ok(wire::PaymentAction::Void), 0) => PaymentAction::Void,
            (Ok(wire::PaymentAction::Post), units) if (1..=terms.payment.amount.units).contains(&units) => {
                PaymentAction::Post(units)
            }
            (Ok(wire::PaymentAction::Make | wire::PaymentAction::Post | wire::PaymentAction::Void), _) => {
                return Err(Invalid::FieldValue { field: "units" });
            }
            _ => return Err(Invalid::FieldValue { field: "action" }),
        };
        if action != PaymentAction::Make && terms.payment.hold.is_none() {
            return Err(Invalid::FieldValue { field: "action" });
        }
        Ok(Self { terms, action })
    }

    fn to_wire(&self) -> wire::PaymentOrder {
        let (action, units) = match self.action {
            PaymentAction::Make => (wire::PaymentAction::Make, 0),
            PaymentAction::Post(units) => (wire::PaymentAction::Post, units),
            PaymentAction::Void => (wire::PaymentAction::Void, 0),
        };
        wire::PaymentOrder {
            version: VERSION,
            terms: Some(self.terms.to_wire()),
            action: action.into(),
            units,
        }
    }
}

/// How a payment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaymentState {
    /// The ledger knows no such payment, yet.
    Absent,
    /// The money is set aside.
    Reserved,
    /// The payee has this many units for good, the payer has the rest back.
    Posted(u64),
    /// The payer has the money back for good, or never gave it and never will under these terms.
    Voided,
}

/// "So does this payment stand", signed by the ledger. The same state is always told with the same bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentReceipt {
    /// Which payment.
    pub terms: PaymentTerms,
    /// How it stands.
    pub state: PaymentState,
    /// The entry of the ledger's book that brought this state, from 1; 0 of an absent payment.
    pub entry: u64,
    /// When, on the ledger's clock.
    pub time: UnixMillis,
    /// Digest of the order that brought it; absent of an absent payment, and where a hold has run out.
    pub order: Option<Digest>,
}

impl PaymentReceipt {
    /// Whether the payee has the whole amount, or gets it unless the arbiter or the payee itself acts (R-305): then the
    /// transfer of the payment took effect.
    pub fn is_effective(&self) -> bool {
        let Payment { amount, hold, .. } = &self.terms.payment;
        match self.state {
            PaymentState::Posted(units) => units == amount.units,
            PaymentState::Reserved => hold.is_some_and(|hold| hold.timeout == Timeout::Post),
            PaymentState::Absent | PaymentState::Voided => false,
        }
    }

    /// Whether nothing can change any more.
    pub const fn is_final(&self) -> bool {
        matches!(self.state, PaymentState::Posted(_) | PaymentState::Voided)
    }
}

impl Payload for PaymentReceipt {
    const TYPE: &'static str = "application/vnd.arbiter.payment-receipt.v1+protobuf";
    const NAME: &'static str = "payment receipt";
    type Wire = wire::PaymentReceipt;

    fn from_wire(wire: wire::PaymentReceipt) -> Result<Self, Invalid> {
        check_version(wire.version, Self::NAME)?;
        let terms = PaymentTerms::from_wire(wire.terms.ok_or(Invalid::FieldMissing { field: "terms" })?)?;
        let order = match wire.order.as_slice() {
            [] => None,
            bytes => Some(Digest::parse(bytes, "order")?),
        };
        let state = match (wire::PaymentState::try_from(wire.state), wire.posted_units) {
            (Ok(wire::PaymentState::Absent), 0) => PaymentState::Absent,
            (Ok(wire::PaymentState::Reserved), 0) => PaymentState::Reserved,
            (Ok(wire::PaymentState::Voided), 0) => PaymentState::Voided,
            (Ok(wire::PaymentState::Posted), units) if (1..=terms.payment.amount.units).contains(&units) => {
                PaymentState::Posted(units)
            }
            (Ok(wire::PaymentState::Unspecified) | Err(_), _) => {
                return Err(Invalid::FieldValue { field: "state" });
            }
            _ => return Err(Invalid::FieldValue { field: "posted_units" }),
        };
        if (state == PaymentState::Absent) != (wire.entry == 0) {
            return Err(Invalid::FieldValue { field: "entry" });
        }
        let needs_order = state == PaymentState::Reserved;
        if (needs_order && order.is_none()) || (state == PaymentState::Absent && order.is_some()) {
            return Err(Invalid::FieldValue { field: "order" });
        }
        if state == PaymentState::Reserved && terms.payment.hold.is_none() {
            return Err(Invalid::FieldValue { field: "state" });
        }
        Ok(Self { terms, state, entry: wire.entry, time: time_from_wire(wire.time, "time")?, order })
    }

    fn to_wire(&self) -> wire::PaymentReceipt {
        let (state, posted_units) = match self.state {
            PaymentState::Absent => (wire::PaymentState::Absent, 0),
            PaymentState::Reserved => (wire::PaymentState::Reserved, 0),
            PaymentState::Posted(units) => (wire::PaymentState::Posted, units),
            PaymentState::Voided => (wire::PaymentState::Voided, 0),
        };
        wire::PaymentReceipt {
            version: VERSION,
            terms: Some(self.terms.to_wire()),
            state: state.into(),
            posted_units,
            entry: self.entry,
            time: self.time.0,
            order: self.order.map_or_else(Vec::new, |order| order.to_vec()),
        }
    }
}
