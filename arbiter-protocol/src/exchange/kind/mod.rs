//! Kinds of items (decision D7): what each offers, how a peer checks one, what the arbiter does with one.
//!
//! | kind | properties | a peer checks | the arbiter |
//! | --- | --- | --- | --- |
//! | detached signature | generatable by escrow | [`detached::Place::check`] on the [`pledge`], then [`content::ContentCheck`] on the bytes | [`detached::Place::open`] |
//! | information | re-sendable | [`content::ContentCheck`] over the bytes | the same check on a deposit |
//! | nothing | none | nothing | nothing: only a one-way transfer has it |
//! | package | what all its items share | each of its items; one that does not fit spoils all | the same, for all or for none |
//! | payment | observable; held: revocable, or with time-out void generatable | [`content::ContentCheck`] over the ledger's receipt; [`detached::Place::check`] on the [`pledge`] | the same check on a deposit; orders the ledger to void or to post |
//! | signature | generatable by replacement | [`signature::check`] on the signed transfer | names it in a verdict |
//!
//! A new kind is a file here, a variant of [`Description`], and a row in the table.

pub mod content;
pub mod detached;
pub mod information;
pub mod package;
pub mod pledge;
pub mod signature;

use thiserror::Error;

use crate::exchange::item::Description;
use crate::exchange::package as packages;
use crate::exchange::property::{Properties, Property};

/// The properties that the kind of this item offers.
pub fn properties(description: &Description) -> Properties {
    match description {
        Description::DetachedSignature(_) => Properties::new([Property::GeneratableByEscrow]),
        Description::Information(_) => Properties::new([Property::Resendable]),
        Description::Nothing => Properties::default(),
        Description::Package(items) => packages::properties(items),
        Description::Payment(payment) => payment.properties(),
        Description::Signature(_) => Properties::new([Property::GeneratableByReplacement]),
    }
}

/// An item does not fit its description. Its sender is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Unfit {
    /// The bytes have another hash: at least one differs.
    #[error("the item's SHA-256 is not the one agreed: at least one byte differs")]
    Hash,
    /// One item of a package does not fit: then nothing of the package counts.
    #[error("item {} of the package does not fit its description ({why}): nothing of the package counts", place.saturating_add(1))]
    InPackage {
        /// Which one, from 0.
        place: usize,
        /// The reason that it has by itself.
        why: &'static str,
    },
    /// The item is of another kind, or describes something else.
    #[error("the item is not the one described in the agreement")]
    Kind,
    /// The receipt is not signed by the ledger agreed.
    #[error("the receipt is not signed by the ledger in the agreement")]
    Ledger,
    /// The ledger says that the payment did not take effect.
    #[error("by the ledger's receipt the money is not paid: it was never reserved, or went back")]
    NotPaid,
    /// The receipt is for another payment: of another exchange, amount, account or hold.
    #[error("the receipt is for another payment than the one agreed")]
    OtherPayment,
    /// The signature is valid, but another one is in escrow.
    #[error("the signature is valid, but it is not the one that was put into escrow")]
    OtherSignature,
    /// The bytes are not a ledger's receipt.
    #[error("the bytes are not the receipt of a ledger")]
    Receipt,
    /// The signature does not verify under the key agreed.
    #[error("the signature does not verify under the key in the agreement")]
    Signature,
    /// There are more or fewer bytes than described.
    #[error("the item has {found} bytes or more, {agreed} were agreed")]
    Size {
        /// Bytes seen so far.
        found: u64,
        /// Bytes described.
        agreed: u64,
    },
    /// The file's magic bytes are not those of the media type described.
    #[error("the item's content is not of the media type agreed")]
    Type,
}

impl Unfit {
    /// As the reason why a package does not fit.
    const fn in_package(self, place: usize) -> Self {
        Self::InPackage { place, why: self.reason() }
    }

    /// The stable reason for programs.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Hash => "ITEM_HASH_MISMATCH",
            Self::InPackage { .. } => "PACKAGE_ITEM_UNFIT",
            Self::Kind => "ITEM_KIND_MISMATCH",
            Self::Ledger => "ITEM_OF_OTHER_LEDGER",
            Self::NotPaid => "ITEM_NOT_PAID",
            Self::OtherPayment => "ITEM_OTHER_PAYMENT",
            Self::Receipt => "ITEM_NOT_A_RECEIPT",
            Self::OtherSignature => "ITEM_NOT_THE_ONE_IN_ESCROW",
            Self::Signature => "ITEM_SIGNATURE_INVALID",
            Self::Size { .. } => "ITEM_SIZE_MISMATCH",
            Self::Type => "ITEM_TYPE_MISMATCH",
        }
    }
}
