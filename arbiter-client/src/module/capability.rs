//! What one module gives and takes, and within which limits.

use std::fmt;

use arbiter_protocol::escrow::SignatureKey;
use arbiter_protocol::exchange::item::{Description, Item};
use arbiter_protocol::exchange::payment::{Currency, Payment};
use arbiter_protocol::exchange::property::{Properties, Property};
use arbiter_protocol::ids::PublicKey;
use thiserror::Error;

use super::negotiation::{Demand, What};
use crate::plain;
use crate::signing::Algorithm;

/// A kind of item, and its manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// Files.
    Information,
    /// Money.
    Payment,
    /// Signatures, detached or replaceable.
    Signature,
}

impl Service {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Information => "information",
            Self::Payment => "payment",
            Self::Signature => "signature",
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a module gives and takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capability {
    /// Whether it gives such items.
    pub gives: bool,
    /// Whether it takes them from a peer.
    pub takes: bool,
    /// What an arbiter can do with an item of it, at best.
    pub properties: Properties,
    /// By which means, and within which limits.
    pub means: Means,
}

/// The means of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Means {
    /// Files.
    Information {
        /// No file is larger, in bytes.
        largest: Option<u64>,
        /// Only files of these media types; none means every type.
        media_types: Vec<String>,
    },
    /// An account on a rail.
    Payment {
        /// The key that signs the rail's receipts.
        ledger: PublicKey,
        /// Our account there.
        account: PublicKey,
        /// Where the rail is, for who has no way to it yet; may be empty.
        url: String,
        /// What is in the account; absent: any currency.
        currency: Option<Currency>,
        /// No payment is larger, in units.
        largest: Option<u64>,
    },
    /// Signatures in one format.
    Signature {
        /// The format.
        format: Format,
        /// The key that gives them, if the module gives detached ones.
        key: Option<SignatureKey>,
        /// X.509 certificate (DER) that is shown for the key; may be empty.
        certificate: Vec<u8>,
    },
}

/// A format of signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A plain signature by a standard key, in escrow first.
    Detached(Algorithm),
    /// The signed transfer itself, which the arbiter's verdict can replace.
    Replacement,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Detached(algorithm) => write!(f, "detached/{algorithm}"),
            Self::Replacement => f.write_str("replacement"),
        }
    }
}

impl std::str::FromStr for Format {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.strip_prefix("detached/") {
            Some(algorithm) => algorithm.parse().map(Self::Detached).map_err(|_| ()),
            None if text == "replacement" => Ok(Self::Replacement),
            None => Err(()),
        }
    }
}

/// Why a module does not give or take an item.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Misfit {
    /// It is above the limit.
    #[error("at most {0}")]
    AboveLimit(String),
    /// It has a property fewer than is needed.
    #[error("its items are not {0}")]
    Lacks(&'static str),
    /// It is of another service.
    #[error("it is for {0}")]
    OtherService(Service),
    /// It holds another currency.
    #[error("it holds {0}")]
    OtherCurrency(Currency),
    /// It is another rail, account, key or format.
    #[error("it has another {0}")]
    Other(&'static str),
    /// The media type is none of those.
    #[error("only {0}")]
    OtherType(String),
    /// It does not give.
    #[error("it gives nothing")]
    DoesNotGive,
    /// It does not take.
    #[error("it takes nothing")]
    DoesNotTake,
}

impl Misfit {
    /// The stable reason for programs.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::AboveLimit(_) => "ABOVE_LIMIT",
            Self::DoesNotGive => "GIVES_NOTHING",
            Self::DoesNotTake => "TAKES_NOTHING",
            Self::Lacks(_) => "PROPERTY_MISSING",
            Self::Other(_) => "OTHER_MEANS",
            Self::OtherCurrency(_) => "OTHER_CURRENCY",
            Self::OtherService(_) => "OTHER_SERVICE",
            Self::OtherType(_) => "OTHER_MEDIA_TYPE",
        }
    }
}

impl Capability {
    /// Its service.
    pub const fn service(&self) -> Service {
        match self.means {
            Means::Information { .. } => Service::Information,
            Means::Payment { .. } => Service::Payment,
            Means::Signature { .. } => Service::Signature,
        }
    }

    /// Whether what is demanded is within its limits, whoever gives it.
    pub fn meets(&self, demand: &Demand) -> Result<(), Misfit> {
        if let Some(missing) = demand.needs.iter().find(|it| !self.properties.has(*it)) {
            return Err(Misfit::Lacks(name(missing)));
        }
        match (&self.means, &demand.what) {
            (Means::Information { largest, media_types }, What::Information { size_bytes, media_type }) => {
                if let Some(most) = largest.filter(|most| size_bytes > most) {
                    return Err(Misfit::AboveLimit(plain::size(most)));
                }
                if media_types.is_empty() || media_types.contains(media_type) {
                    return Ok(());
                }
                Err(Misfit::OtherType(media_types.join(", ")))
            }
            (Means::Payment { currency, largest, .. }, What::Payment(amount)) => {
                if let Some(other) = currency.as_ref().filter(|it| **it != amount.currency) {
                    return Err(Misfit::OtherCurrency(other.clone()));
                }
                match largest.filter(|most| amount.units > *most) {
                    Some(most) => Err(Misfit::AboveLimit(amount.currency.show(most))),
                    None => Ok(()),
                }
            }
            (Means::Signature { format, .. }, What::Signature(wanted)) => match wanted {
                Some(wanted) if wanted != format => Err(Misfit::Other("format")),
                _ => Ok(()),
            },
            _ => Err(Misfit::OtherService(self.service())),
        }
    }

    /// whether it gives this item to a peer.
    pub fn gives(&self, item: &Item) -> Result<(), Misfit> {
        if !self.gives {
            return Err(Misfit::DoesNotGive);
        }
        self.meets(&Demand::of(item).ok_or(Misfit::Other("item"))?)?;
        match (&self.means, &item.description) {
            (Means::Payment { .. }, Description::Payment(it)) => self.has_account(it, it.payer),
            (Means::Signature { key, .. }, Description::DetachedSignature(it)) => match key {
                Some(key) if *key == it.key => Ok(()),
                _ => Err(Misfit::Other("key")),
            },
            _ => Ok(()),
        }
    }

    /// whether it takes this item from a peer.
    pub fn takes(&self, item: &Item) -> Result<(), Misfit> {
        if !self.takes {
            return Err(Misfit::DoesNotTake);
        }
        self.meets(&Demand::of(item).ok_or(Misfit::Other("item"))?)?;
        match &item.description {
            Description::Payment(it) => self.has_account(it, it.payee),
            _ => Ok(()),
        }
    }

    /// Whether this account on the payment's rail is the module's.
    fn has_account(&self, payment: &Payment, wanted: PublicKey) -> Result<(), Misfit> {
        match &self.means {
            Means::Payment { ledger, .. } if *ledger != payment.ledger => Err(Misfit::Other("rail")),
            Means::Payment { account, .. } if *account != wanted => Err(Misfit::Other("account")),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.means {
            Means::Information { largest, media_types } => {
                let types = if media_types.is_empty() { "files".to_owned() } else { media_types.join(", ") };
                f.write_str(&types)?;
                largest.map_or(Ok(()), |most| write!(f, " up to {}", plain::size(most)))
            }
            Means::Payment { ledger, currency, largest, .. } => {
                let short: String = ledger.to_string().chars().take(16).collect();
                let money = currency.as_ref().map_or_else(|| "money".to_owned(), Currency::to_string);
                write!(f, "{money} on ledger {short}")?;
                match (currency, largest) {
                    (Some(currency), Some(most)) => write!(f, " up to {}", currency.show(*most)),
                    (None, Some(most)) => write!(f, " up to {most} units"),
                    (_, None) => Ok(()),
                }
            }
            Means::Signature { format, .. } => write!(f, "{format}"),
        }
    }
}

/// The name of a property.
pub(super) const fn name(property: Property) -> &'static str {
    match property {
        Property::GeneratableByEscrow => "generatable-by-escrow",
        Property::GeneratableByReplacement => "generatable-by-replacement",
        Property::GeneratableWeak => "weakly-generatable",
        Property::Observable => "observable",
        Property::Resendable => "re-sendable",
        Property::Revocable => "revocable",
        Property::RevocableWeak => "weakly-revocable",
    }
}
