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
use crate::exchange::kind::package;
use crate::exchange::selection::Role;
use crate::ids::{Digest, ExchangeId};
use crate::limits;
use crate::message::agreement::Offer;
use crate::message::payment::{PaymentReceipt, PaymentState, PaymentTerms};
use crate::statement::{Envelope, Signed, Verified};
use crate::weaken::{Countermeasure, off};

/// What was shown: nothing in it has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pledge {
    /// Detached signatures in escrow, in the order of the leaves: of a lone one its own.
    Escrows(Vec<Escrow>),
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
    Escrows { agreement: [u8; 32], verified: Vec<escrow::Verified> },
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
        Self::Escrows(vec![escrow])
    }
}

/// How an encoded envelope begins: field 1. An escrow begins with its version, 1.
const ENVELOPE: u8 = 0x0a;
/// How the escrows of a package begin: with the highest byte of a length.
const LENGTH: u8 = 0;

impl Pledge {
    /// The exact bytes: of a reservation the envelope, of several escrows each after its length (R-320).
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Escrows(all) => package::joined(&all.iter().map(Escrow::to_bytes).collect::<Vec<_>>()),
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
        if bytes.first() != Some(&LENGTH) {
            return Ok(Escrow::from_bytes(bytes)?.into());
        }
        // R-208: together not more than one escrow can have.
        if bytes.len() > limits::ESCROW_BYTES {
            return Err(EscrowError::TooLarge { got: bytes.len() }.into());
        }
        let parts = package::parts(bytes).filter(|parts| (2..=limits::PACKAGE_LEAVES).contains(&parts.len()));
        let all = parts.ok_or(EscrowError::Package)?.into_iter().map(Escrow::from_bytes);
        Ok(Self::Escrows(all.collect::<Result<_, _>>()?))
    }

    /// The name in verdicts: of a reservation the digest of the statement.
    pub fn digest(&self) -> Digest {
        match self {
            Self::Escrows(_) => Digest::of(&[&self.to_bytes()]),
            Self::Reservation(envelope) => envelope.digest(),
        }
    }

    /// The escrow, if it is one alone.
    pub fn escrow(&self) -> Option<&Escrow> {
        if let [alone] = self.escrows() { Some(alone) } else { None }
    }

    /// The escrows, in the order of the leaves.
    pub fn escrows(&self) -> &[Escrow] {
        match self {
            Self::Escrows(all) => all,
            Self::Reservation(_) => &[],
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
    /// R-310: the peer's full check, before anything of value leaves. Of each escrow milliseconds.
    pub fn check(&self, pledge: impl Into<Pledge>) -> Result<Pledged, Rejected> {
        let (offer, role) = (self.offer(), self.role());
        let kind = match pledge.into() {
            Pledge::Escrows(all) => {
                Kind::Escrows { agreement: self.agreement(), verified: self.check_escrows(all)? }
            }
            Pledge::Reservation(envelope) => Kind::Reservation(reserved(offer, role, envelope)?),
        };
        Ok(Pledged { exchange_id: offer.exchange_id(), role, kind })
    }

    /// Whether it was made for this place: cheap, and of an escrow no proof (R-411).
    pub fn belongs(&self, pledge: &Pledge) -> Result<(), Rejected> {
        match pledge {
            Pledge::Escrows(all) => self.escrows_belong(all),
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
            Kind::Escrows { verified, .. } => {
                Pledge::Escrows(verified.iter().map(|it| it.escrow().clone()).collect())
            }
            Kind::Reservation(receipt) => Pledge::Reservation(receipt.envelope().clone()),
        }
    }

    /// The escrow, if it is one alone.
    pub fn escrow(&self) -> Option<&Escrow> {
        if let [alone] = self.verified() { Some(alone.escrow()) } else { None }
    }

    /// What is known about the escrows: to find a nonce that was used twice (S29).
    pub fn verified(&self) -> &[escrow::Verified] {
        match &self.kind {
            Kind::Escrows { verified, .. } => verified,
            Kind::Reservation(_) => &[],
        }
    }

    /// Whether it is for this place. A reservation is for one payer of one exchange, whichever the acceptance.
    pub fn is_for(&self, place: &Place<'_>) -> bool {
        let bound = match &self.kind {
            Kind::Escrows { agreement, .. } => *agreement == place.agreement(),
            Kind::Reservation(_) => true,
        };
        bound && self.exchange_id == place.offer().exchange_id() && self.role == place.role()
    }
}
