//! Content: the bytes of a file, of a detached signature, of a ledger's receipt, or of a package of one of these,
//! checked as they arrive.

use crate::escrow::{self, Escrow};
use crate::exchange::item::{Description, DetachedSignature, Information, Item};
use crate::exchange::kind::Unfit;
use crate::exchange::kind::information::FileCheck;
use crate::exchange::kind::package::PackageCheck;
use crate::exchange::kind::pledge::Pledge;
use crate::exchange::selection::Role;
use crate::ids::PaymentId;
use crate::limits;
use crate::message::agreement::Offer;
use crate::message::payment::{PaymentReceipt, PaymentTerms};
use crate::statement::{Envelope, Signed, Verified};

/// Checks a stream of bytes against a description.
pub struct ContentCheck(Kind);

enum Kind {
    File(FileCheck),
    Package(PackageCheck),
    Payment { agreed: PaymentTerms, bytes: Vec<u8> },
    Signature { agreed: DetachedSignature, escrow: Option<Escrow>, bytes: Vec<u8>, found: u64 },
}

/// Proof that content fits the description it was checked against. Only [`ContentCheck::finish`] and the opening of an
/// escrow make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FitContent {
    description: Description,
    /// Of the payments in it, in the order of the leaves.
    payments: Vec<PaymentId>,
}

impl FitContent {
    pub(super) const fn new(description: Description) -> Self {
        Self { description, payments: Vec::new() }
    }

    /// The description that the content fits.
    pub const fn description(&self) -> &Description {
        &self.description
    }

    /// Whether it is the item of `role` in this exchange. A file is a file; a payment is for one exchange.
    pub fn fits(&self, offer: &Verified<Offer>, role: Role) -> bool {
        let payments = PaymentTerms::all(offer, role);
        self.description == offer.item(role).description
            && self.payments.iter().copied().eq(payments.iter().map(PaymentTerms::id))
    }
}

impl ContentCheck {
    /// Starts checking what the party in `role` hands over in this exchange. `None` if that is the signed transfer alone.
    /// With its `pledge`, only the signatures that are in escrow there fit.
    pub fn of(offer: &Verified<Offer>, role: Role, pledge: Option<&Pledge>) -> Option<Self> {
        let escrows = pledge.map_or(&[][..], Pledge::escrows);
        match &offer.item(role).description {
            Description::DetachedSignature(agreed) => {
                Some(Self::signature(agreed.clone(), escrows.first().cloned()))
            }
            Description::Information(agreed) => Some(Self::file(agreed.clone())),
            Description::Package(agreed) => {
                let check = PackageCheck::new(agreed.clone(), PaymentTerms::all(offer, role), escrows);
                check.map(|check| Self(Kind::Package(check)))
            }
            Description::Payment(_) => PaymentTerms::of(offer, role).map(Self::payment),
            Description::Nothing | Description::Signature(_) => None,
        }
    }

    /// Starts checking a file.
    pub fn file(agreed: Information) -> Self {
        Self(Kind::File(FileCheck::new(agreed)))
    }

    /// Starts checking the files of a package. `None` of a package of anything else.
    pub fn package(agreed: Vec<Item>) -> Option<Self> {
        let files = Description::Package(agreed.clone()).is_depositable();
        let check = PackageCheck::new(agreed, Vec::new(), &[]).filter(|_| files);
        check.map(|check| Self(Kind::Package(check)))
    }

    /// Starts checking the receipt of a payment: it must be signed by the ledger agreed, for exactly these terms, and say
    /// that the payment took effect.
    pub const fn payment(agreed: PaymentTerms) -> Self {
        Self(Kind::Payment { agreed, bytes: Vec::new() })
    }

    /// Starts checking a signature. With `escrow`, only the signature that is in it fits.
    pub fn signature(agreed: DetachedSignature, escrow: Option<Escrow>) -> Self {
        Self(Kind::Signature { agreed, escrow, bytes: Vec::new(), found: 0 })
    }

    /// Takes the next bytes; fails as soon as there are too many (no need to read on).
    pub fn update(&mut self, more: &[u8]) -> Result<(), Unfit> {
        match &mut self.0 {
            Kind::File(check) => check.update(more),
            Kind::Package(check) => check.update(more),
            Kind::Payment { bytes, .. } => {
                if bytes.len().saturating_add(more.len()) > limits::ENVELOPE_BYTES {
                    return Err(Unfit::Receipt);
                }
                bytes.extend_from_slice(more);
                Ok(())
            }
            Kind::Signature { agreed, bytes, found, .. } => {
                *found = found.saturating_add(u64::try_from(more.len()).unwrap_or(u64::MAX));
                if *found > signature_bytes(agreed) {
                    return Err(wrong_size(*found, agreed));
                }
                bytes.extend_from_slice(more);
                Ok(())
            }
        }
    }

    /// Bytes taken so far.
    pub fn found(&self) -> u64 {
        match &self.0 {
            Kind::File(check) => check.found(),
            Kind::Package(check) => check.found(),
            Kind::Payment { bytes, .. } => u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            Kind::Signature { found, .. } => *found,
        }
    }

    /// Ends the check. A file: size, then hash, then media type; a package: so for each file. A signature: size, then the strict verification, then
    /// whether it is the one in escrow.
    pub fn finish(self) -> Result<FitContent, Unfit> {
        match self.0 {
            Kind::File(check) => {
                check.finish().map(|agreed| FitContent::new(Description::Information(agreed)))
            }
            Kind::Package(check) => {
                let (agreed, payments) = check.finish()?;
                Ok(FitContent { description: Description::Package(agreed), payments })
            }
            Kind::Payment { agreed, bytes } => {
                effective(&agreed, &bytes)?;
                let payments = vec![agreed.id()];
                Ok(FitContent { description: Description::Payment(agreed.payment), payments })
            }
            Kind::Signature { agreed, escrow, bytes, found } => {
                if found != signature_bytes(&agreed) {
                    return Err(wrong_size(found, &agreed));
                }
                let document = agreed.statement.document();
                let statement = agreed.key.statement(document.as_bytes()).map_err(|_| Unfit::Signature)?;
                if !statement.is_signed_by(&bytes) {
                    return Err(Unfit::Signature);
                }
                if escrow.is_some_and(|escrow| !escrow::holds(&escrow, &bytes, &statement)) {
                    return Err(Unfit::OtherSignature);
                }
                Ok(FitContent::new(Description::DetachedSignature(agreed)))
            }
        }
    }
}

/// Reads a ledger's receipt and accepts it only if the payment agreed took effect.
fn effective(agreed: &PaymentTerms, bytes: &[u8]) -> Result<(), Unfit> {
    let envelope = Envelope::decode(bytes).map_err(|_| Unfit::Receipt)?;
    let receipt = Signed::<PaymentReceipt>::parse(envelope).map_err(|_| Unfit::Receipt)?;
    let receipt = receipt.verify(&agreed.payment.ledger).map_err(|_| Unfit::Ledger)?;
    if receipt.terms != *agreed {
        return Err(Unfit::OtherPayment);
    }
    if receipt.is_effective() { Ok(()) } else { Err(Unfit::NotPaid) }
}

fn signature_bytes(agreed: &DetachedSignature) -> u64 {
    u64::try_from(agreed.key.signature_bytes()).unwrap_or(u64::MAX)
}

fn wrong_size(found: u64, agreed: &DetachedSignature) -> Unfit {
    Unfit::Size { found, agreed: signature_bytes(agreed) }
}
