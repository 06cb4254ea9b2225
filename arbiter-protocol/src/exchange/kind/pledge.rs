//! Pledge: what a party shows beside its offer or acceptance, so that the arbiter can hand over its item without it.
//!
//! ```text
//!   sender    signature in escrow, or money set aside ──▶ Pledge, beside its offer or acceptance
//!   peer      Place::check(pledge) ──▶ Pledged: from here on it may send (R-310)
//!   arbiter   filed with a request to resolve: opens the escrow (R-411), or orders the ledger to post (R-428)
//! ```
//!
//! A reservation needs no look at the ledger. Until its hold ends, what the ledger signed can be undone by the payee, who
//! harms itself, or by the arbiter, who rules once; the payer alone can do nothing but pay.

use thiserror::Error;

use crate::error::{Invalid, Refused, Rejected};
use crate::escrow::{self, Escrow, EscrowError};
use crate::exchange::item::Description;
use crate::exchange::kind::detached::Place;
use crate::exchange::selection::Role;
use crate::ids::{Digest, ExchangeId};
use crate::message::agreement::Offer;
use crate::message::payment::{PaymentReceipt, PaymentState, PaymentTerms};
use crate::statement::{Envelope, Signed, Verified};
use crate::weaken::{Countermeasure, off};

/// What was shown: nothing in it has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pledge {
    /// A detached signature in escrow.
    Escrow(Escrow),
    /// The ledger's receipt: the payment is reserved, and the arbiter may post it.
    Reservation(Envelope),
}

/// Proof that the peer's item is in the arbiter's hands. Only [`Place::check`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pledged {
    exchange_id: ExchangeId,
    role: Role,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Escrow { agreement: [u8; 32], verified: escrow::Verified },
    Reservation(Verified<PaymentReceipt>),
}

/// The bytes are no pledge. Who sent them is at fault.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// They begin as an escrow.
    #[error(transparent)]
    Escrow(#[from] EscrowError),
    /// They begin as a receipt.
    #[error(transparent)]
    Receipt(#[from] Invalid),
}

impl Malformed {
    /// The same, of what was shown for the item of `role`.
    pub const fn of(&self, role: Role) -> Invalid {
        match self {
            Self::Escrow(error) => Invalid::Escrow { signer: role.name(), reason: error.reason() },
            Self::Receipt(invalid) => *invalid,
        }
    }

    /// The stable reason for programs.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Escrow(error) => error.reason(),
            Self::Receipt(invalid) => invalid.reason(),
        }
    }
}

impl From<Escrow> for Pledge {
    fn from(escrow: Escrow) -> Self {
        Self::Escrow(escrow)
    }
}

/// How an encoded envelope begins: field 1. An escrow begins with its version, 1.
const ENVELOPE: u8 = 0x0a;

impl Pledge {
    /// The exact bytes: of a reservation the envelope.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Escrow(escrow) => escrow.to_bytes(),
            Self::Reservation(envelope) => envelope.encode(),
        }
    }

    /// Reads what [`Pledge::to_bytes`] writes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.first() == Some(&ENVELOPE) {
            let envelope = Envelope::decode(bytes)?;
            Signed::<PaymentReceipt>::parse(envelope.clone())?;
            return Ok(Self::Reservation(envelope));
        }
        Ok(Self::Escrow(Escrow::from_bytes(bytes)?))
    }

    /// The name in verdicts: of a reservation the digest of the statement.
    pub fn digest(&self) -> Digest {
        match self {
            Self::Escrow(escrow) => Digest::of(&[&escrow.to_bytes()]),
            Self::Reservation(envelope) => envelope.digest(),
        }
    }

    /// The escrow, if it is one.
    pub const fn escrow(&self) -> Option<&Escrow> {
        match self {
            Self::Escrow(escrow) => Some(escrow),
            Self::Reservation(_) => None,
        }
    }
}

/// Whether the item of `role` comes with a pledge: a detached signature, or money that the arbiter can post.
pub fn is_owed(offer: &Offer, role: Role) -> bool {
    offer.is_escrowed(role) || offer.item(role).description.reservation().is_some()
}

/// R-310, R-411: nothing was shown for the item of `role`, and something is owed.
pub fn missing(offer: &Offer, role: Role) -> Refused {
    match offer.item(role).description {
        Description::Payment(_) => Refused::ReservationRequired { payer: role.name() },
        _ => Refused::EscrowRequired { signer: role.name() },
    }
}

impl Place<'_> {
    /// R-310: the peer's full check, before anything of value leaves. Of an escrow milliseconds.
    pub fn check(&self, pledge: impl Into<Pledge>) -> Result<Pledged, Rejected> {
        let (offer, role) = (self.offer(), self.role());
        let kind = match pledge.into() {
            Pledge::Escrow(escrow) => {
                Kind::Escrow { agreement: self.agreement(), verified: self.check_escrow(escrow)? }
            }
            Pledge::Reservation(envelope) => Kind::Reservation(reserved(offer, role, envelope)?),
        };
        Ok(Pledged { exchange_id: offer.exchange_id(), role, kind })
    }

    /// Whether it was made for this place: cheap, and of an escrow no proof (R-411).
    pub fn belongs(&self, pledge: &Pledge) -> Result<(), Rejected> {
        match pledge {
            Pledge::Escrow(escrow) => self.escrow_belongs(escrow),
            Pledge::Reservation(envelope) => {
                reserved(self.offer(), self.role(), envelope.clone()).map(|_| ())
            }
        }
    }
}

/// The ledger's word that exactly the payment agreed is set aside, for this exchange, under its arbiter.
fn reserved(
    offer: &Verified<Offer>,
    role: Role,
    envelope: Envelope,
) -> Result<Verified<PaymentReceipt>, Rejected> {
    let payer = role.name();
    let unfit = |reason| Refused::ReservationUnfit { payer, reason };
    let agreed = PaymentTerms::of(offer, role).filter(|it| it.payment.is_generatable());
    let agreed = agreed.ok_or(Refused::ReservationNotAgreed)?;
    let receipt = Signed::<PaymentReceipt>::parse(envelope)?;
    let receipt = receipt.verify(&agreed.payment.ledger).map_err(|_| unfit("RESERVATION_OF_OTHER_LEDGER"))?;
    if receipt.terms != agreed {
        return Err(unfit("RESERVATION_OF_OTHER_PAYMENT").into());
    }
    if receipt.state != PaymentState::Reserved && !off(Countermeasure::ReservationIsMade) {
        return Err(unfit("RESERVATION_STATE_MISMATCH").into());
    }
    Ok(receipt)
}

impl Pledged {
    /// As it was shown.
    pub fn pledge(&self) -> Pledge {
        match &self.kind {
            Kind::Escrow { verified, .. } => Pledge::Escrow(verified.escrow().clone()),
            Kind::Reservation(receipt) => Pledge::Reservation(receipt.envelope().clone()),
        }
    }

    /// The escrow, if it is one.
    pub fn escrow(&self) -> Option<&Escrow> {
        self.verified().map(escrow::Verified::escrow)
    }

    /// What is known about an escrow: to find a nonce that was used twice (S29).
    pub const fn verified(&self) -> Option<&escrow::Verified> {
        match &self.kind {
            Kind::Escrow { verified, .. } => Some(verified),
            Kind::Reservation(_) => None,
        }
    }

    /// Whether it is for this place. A reservation is for one payer of one exchange, whichever the acceptance.
    pub fn is_for(&self, place: &Place<'_>) -> bool {
        let bound = match &self.kind {
            Kind::Escrow { agreement, .. } => *agreement == place.agreement(),
            Kind::Reservation(_) => true,
        };
        bound && self.exchange_id == place.offer().exchange_id() && self.role == place.role()
    }
}
