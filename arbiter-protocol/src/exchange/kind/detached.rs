//! Detached signature: a plain signature by a standard key over the document of a statement. Generatable by escrow.
//!
//! ```text
//!   sender    put(signature) ──▶ Escrow, beside its offer or acceptance
//!   peer      check(pledge)  ──▶ Pledged: from here on it may send (R-310)
//!   arbiter   open(escrow)   ──▶ the signature, byte for byte, sealed to the peer after the commit (R-411)
//! ```
//!
//! A package of signatures has an escrow for each, in the order of its leaves. Each is bound to its own key and text, of which no
//! two leaves have the same (R-220), and through the label to the whole package: so none stands for another.
//!
//! An escrow is made for one role of one agreement: its label is built here, from the signed statements alone (F9). The
//! originator's is made before there is an acceptance, so it is bound to the offer; the responder's to the agreement.

use std::cmp::Ordering;

use zeroize::Zeroizing;

use crate::error::{Invalid, Refused, Rejected};
use crate::escrow::{self, Escrow, EscrowError, EscrowKey, EscrowSecret, Label, Side};
use crate::exchange::item::DetachedSignature;
use crate::exchange::kind::content::FitContent;
use crate::exchange::kind::package;
use crate::exchange::selection::Role;
use crate::ids::{AgreementId, Digest};
use crate::message::agreement::{EscrowTerms, Offer};
use crate::statement::Verified;
use crate::weaken::{Countermeasure, off};

/// Which signature of which exchange: the signer's role, and for the responder the agreement.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    offer: &'a Verified<Offer>,
    role: Role,
    agreement: [u8; 32],
}

impl<'a> Place<'a> {
    /// The originator's signature: there may be no acceptance yet.
    pub const fn originator(offer: &'a Verified<Offer>) -> Self {
        Self { offer, role: Role::Originator, agreement: *offer.exchange_id().as_bytes() }
    }

    /// The responder's signature under an agreement.
    pub const fn responder(offer: &'a Verified<Offer>, agreement: AgreementId) -> Self {
        Self { offer, role: Role::Responder, agreement: *agreement.as_bytes() }
    }

    /// The signature of `role` under an agreement.
    pub const fn of(offer: &'a Verified<Offer>, role: Role, agreement: AgreementId) -> Self {
        match role {
            Role::Originator => Self::originator(offer),
            Role::Responder => Self::responder(offer, agreement),
        }
    }

    pub(super) const fn offer(&self) -> &'a Verified<Offer> {
        self.offer
    }

    pub(super) const fn role(&self) -> Role {
        self.role
    }

    pub(super) const fn agreement(&self) -> [u8; 32] {
        self.agreement
    }

    /// Puts the own finished signature into escrow. `randomness` must be 32 fresh secret bytes.
    pub fn put(&self, signature: &[u8], randomness: &Zeroizing<[u8; 32]>) -> Result<Escrow, Rejected> {
        self.put_leaf(0, signature, randomness)
    }

    /// The same for one of a package: `leaf` counts from 0.
    pub fn put_leaf(
        &self,
        leaf: usize,
        signature: &[u8],
        randomness: &Zeroizing<[u8; 32]>,
    ) -> Result<Escrow, Rejected> {
        let (items, _) = self.terms()?;
        let item = items.get(leaf).ok_or(Refused::EscrowNotAgreed)?;
        self.with(item, |statement, label, key| escrow::make(signature, statement, label, key, randomness))
    }

    pub(super) fn check_escrows(&self, escrows: Vec<Escrow>) -> Result<Vec<escrow::Verified>, Rejected> {
        let items = self.each(&escrows)?;
        let check = |(item, escrow)| {
            self.with(item, |statement, label, key| escrow::check(escrow, statement, label, key))
        };
        let verified = items.into_iter().zip(escrows).map(check).collect::<Result<Vec<_>, _>>()?;
        let reused = verified.iter().enumerate().any(|(place, one)| {
            verified.iter().skip(place.saturating_add(1)).any(|other| one.reuses_nonce_of(other))
        });
        if reused {
            return Err(self.invalid(&EscrowError::NonceReused));
        }
        Ok(verified)
    }

    pub(super) fn escrows_belong(&self, escrows: &[Escrow]) -> Result<(), Rejected> {
        let items = self.each(escrows)?;
        items.into_iter().zip(escrows).try_for_each(|(item, escrow)| {
            self.with(item, |statement, label, key| escrow::belongs(escrow, statement, label, key))
        })
    }

    /// R-411: the arbiter opens. One instance that decrypts to the signature is enough; if none does, the full check
    /// says whose fault it is. The signature is sealed to the peer and shown to nobody else.
    pub fn open(
        &self,
        escrow: &Escrow,
        secret: &EscrowSecret,
    ) -> Result<(FitContent, Zeroizing<Vec<u8>>), Rejected> {
        self.open_all(std::slice::from_ref(escrow), secret)
    }

    /// The same for a package: all of its signatures, as its content, or none.
    pub fn open_all(
        &self,
        escrows: &[Escrow],
        secret: &EscrowSecret,
    ) -> Result<(FitContent, Zeroizing<Vec<u8>>), Rejected> {
        let (_, terms) = self.terms()?;
        if secret.public() != &terms.key {
            return Err(Refused::EscrowKeyUnknown.into());
        }
        let open = |(item, escrow): (&DetachedSignature, &Escrow)| {
            let opened = self.with(item, |statement, label, _| {
                match escrow::open(escrow, statement, label, secret) {
                    Err(EscrowError::Unopenable) => Ok(None),
                    opened => opened.map(Some),
                }
            })?;
            opened.ok_or_else(|| Rejected::from(Refused::EscrowUnopenable { signer: self.role.name() }))
        };
        let items = self.each(escrows)?;
        let opened = items.into_iter().zip(escrows).map(open).collect::<Result<Vec<_>, _>>()?;
        let fit = FitContent::new(self.offer.item(self.role).description.clone());
        Ok((fit, Zeroizing::new(package::joined(&opened.iter().map(|it| it.as_slice()).collect::<Vec<_>>()))))
    }

    /// The signatures of these escrows: one for each, no more and no fewer.
    fn each(&self, escrows: &[Escrow]) -> Result<Vec<&'a DetachedSignature>, Refused> {
        let (items, _) = self.terms()?;
        match escrows.len().cmp(&items.len()) {
            Ordering::Equal => Ok(items),
            Ordering::Greater => Err(Refused::EscrowNotAgreed),
            Ordering::Less => Err(Refused::EscrowRequired { signer: self.role.name() }),
        }
    }

    fn terms(&self) -> Result<(Vec<&'a DetachedSignature>, &'a EscrowTerms), Refused> {
        let items = self.offer.item(self.role).description.detached_leaves();
        let terms = self.offer.escrow.as_ref().filter(|_| !items.is_empty());
        Ok((items, terms.ok_or(Refused::EscrowNotAgreed)?))
    }

    fn invalid(&self, error: &EscrowError) -> Rejected {
        Invalid::Escrow { signer: self.role.name(), reason: error.reason() }.into()
    }

    fn with<T>(
        &self,
        item: &DetachedSignature,
        f: impl FnOnce(&escrow::Statement<'_>, &Label, &EscrowKey) -> Result<T, EscrowError>,
    ) -> Result<T, Rejected> {
        let (_, terms) = self.terms()?;
        let document = item.statement.document();
        let statement = item.key.statement(document.as_bytes());
        let result = statement.and_then(|statement| f(&statement, &self.label(terms), &terms.key));
        result.map_err(|error| self.invalid(&error))
    }

    /// The label: everything that decides what may happen to the signature (F9).
    fn label(&self, terms: &EscrowTerms) -> Label {
        let offer = self.offer;
        let item = |role| *Digest::as_bytes(&offer.item(role).digest());
        let context = |bytes: &[u8; 32]| if off(Countermeasure::EscrowContext) { [0; 32] } else { *bytes };
        Label {
            suite: terms.suite,
            arbiter: *offer.arbiter.key.as_bytes(),
            epoch: terms.epoch.epoch,
            exchange: context(offer.exchange_id().as_bytes()),
            protocol: offer.selection.protocol.number(),
            first: side(offer.selection.first_sender),
            signer: side(self.role),
            originator: context(offer.originator.signing_key.as_bytes()),
            responder: context(offer.responder.signing_key.as_bytes()),
            agreement: context(&self.agreement),
            item: item(self.role),
            counter_item: item(self.role.peer()),
            expires: terms.epoch.until.0,
            complain_by: offer.complain_by.map_or(0, |time| time.0),
        }
    }
}

const fn side(role: Role) -> Side {
    match role {
        Role::Originator => Side::Originator,
        Role::Responder => Side::Responder,
    }
}
