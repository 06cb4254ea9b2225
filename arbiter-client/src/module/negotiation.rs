//! Which module of ours meets which of the peer's: the same answer on both sides (R-712).
//!
//! ```text
//!  giver's list ──gives, within the limits─┐
//!                                          ├─▶ pairs by the same means ─▶ places among what is left ─▶ least sum
//!  taker's list ──takes, within the limits─┘                                                └ equal: the giver's wish
//! ```
//!
//! A pure function of both lists and the demand, so it does not matter who computes it. What meets nothing on the other side
//! has no place and changes no answer. The answer is never worse for one side without being better for the other: no pair
//! stands higher on both lists.

use std::fmt;

use arbiter_protocol::exchange::item::{Description, Item};
use arbiter_protocol::exchange::payment::Amount;
use arbiter_protocol::exchange::property::Properties;
use thiserror::Error;

use super::capability::{Capability, Format, Means, Service};
use super::list::Capabilities;
use crate::plain;
use crate::signing::Algorithm;

/// What one side is to give the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    /// What.
    pub what: What,
    /// What the arbiter must be able to do with it, at least.
    pub needs: Properties,
}

/// What is demanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A file of this size and type.
    Information {
        /// In bytes.
        size_bytes: u64,
        /// Media type.
        media_type: String,
    },
    /// This much money.
    Payment(Amount),
    /// A signature, in this format if it is said.
    Signature(Option<Format>),
}

impl Demand {
    /// What a lone item demands of its modules. `None` of nothing, and of a package: each of its leaves has its own demand.
    pub(crate) fn of(item: &Item) -> Option<Self> {
        let what = match &item.description {
            Description::DetachedSignature(it) => {
                What::Signature(Some(Format::Detached(Algorithm::of(&it.key))))
            }
            Description::Information(it) => {
                What::Information { size_bytes: it.size_bytes, media_type: it.media_type.clone() }
            }
            Description::Nothing | Description::Package(_) => return None,
            Description::Payment(it) => What::Payment(it.amount.clone()),
            Description::Signature(_) => What::Signature(Some(Format::Replacement)),
        };
        Some(Self { what, needs: item.properties.clone() })
    }

    /// Whose manager is asked.
    pub const fn service(&self) -> Service {
        match self.what {
            What::Information { .. } => Service::Information,
            What::Payment(_) => Service::Payment,
            What::Signature(_) => Service::Signature,
        }
    }
}

impl fmt::Display for Demand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Information { size_bytes, media_type } => {
                write!(f, "a file of {} and type {media_type}", plain::size(*size_bytes))
            }
            What::Payment(amount) => write!(f, "a payment of {amount}"),
            What::Signature(None) => f.write_str("a signature"),
            What::Signature(Some(format)) => write!(f, "a signature in the format {format}"),
        }?;
        let needs: Vec<_> = self.needs.iter().map(super::capability::name).collect();
        if needs.is_empty() { Ok(()) } else { write!(f, " that is {}", needs.join(" and ")) }
    }
}

/// Two modules that meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair<'a> {
    /// The giver's.
    pub giver: &'a Capability,
    /// The taker's.
    pub taker: &'a Capability,
}

/// Nothing of the giver meets anything of the taker.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "no common module for {demand}; who gives has: {}; who takes has: {}", told(.giver), told(.taker)
)]
pub struct NoCommon {
    /// What was demanded.
    pub demand: Box<Demand>,
    /// What the giver has of the service, and why it does not do.
    pub giver: Vec<String>,
    /// The same of the taker.
    pub taker: Vec<String>,
}

fn told(list: &[String]) -> String {
    if list.is_empty() { "nothing of that kind".to_owned() } else { list.join(", ") }
}

/// R-712: the pair that both sides choose.
pub fn negotiate<'a>(
    giver: &'a Capabilities,
    taker: &'a Capabilities,
    demand: &Demand,
) -> Result<Pair<'a>, NoCommon> {
    let gives: Vec<_> = giver.modules.iter().filter(|it| it.gives && it.meets(demand).is_ok()).collect();
    let takes: Vec<_> = taker.modules.iter().filter(|it| it.takes && it.meets(demand).is_ok()).collect();
    let meets = |one: &Capability, other: &Capability| one.means.meet(&other.means);
    // Only what meets something has a place: whatever else is listed changes no answer.
    let gives: Vec<_> = gives.into_iter().filter(|it| takes.iter().any(|other| meets(it, other))).collect();
    let takes: Vec<_> = takes.into_iter().filter(|it| gives.iter().any(|other| meets(other, it))).collect();
    let pairs = gives.iter().enumerate().flat_map(|(place, giver)| {
        let of_taker = takes.iter().enumerate().filter(|(_, taker)| meets(giver, taker));
        of_taker.map(move |(other, taker)| ((place.saturating_add(other), place), Pair { giver, taker }))
    });
    let best = pairs.min_by_key(|(rank, _)| *rank).map(|(_, pair)| pair);
    best.ok_or_else(|| NoCommon {
        demand: Box::new(demand.clone()),
        giver: refusals(giver, demand, |it| it.gives),
        taker: refusals(taker, demand, |it| it.takes),
    })
}

/// An item is another one than both lists lead to.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Otherwise {
    /// They lead to nothing.
    #[error(transparent)]
    NoCommon(#[from] NoCommon),
    /// They lead to another module.
    #[error(
        "both lists lead to {negotiated} for {demand}, and the offer names another account, key or format"
    )]
    Other {
        /// What is demanded.
        demand: Box<Demand>,
        /// What they lead to.
        negotiated: String,
    },
}

/// R-712: whether `item`, of a package each leaf, is what both lists lead to: for who did not compute it, but got an offer.
pub fn check_negotiated(item: &Item, giver: &Capabilities, taker: &Capabilities) -> Result<(), Otherwise> {
    item.leaves().into_iter().try_for_each(|leaf| check_leaf(leaf, giver, taker))
}

fn check_leaf(item: &Item, giver: &Capabilities, taker: &Capabilities) -> Result<(), Otherwise> {
    let Some(mut demand) = Demand::of(item) else { return Ok(()) };
    if matches!(demand.what, What::Signature(_)) {
        // Which format is what the lists decide, and its properties come with it.
        demand = Demand { what: What::Signature(None), needs: Properties::default() };
    }
    let pair = negotiate(giver, taker, &demand)?;
    let same = match (&item.description, &pair.giver.means, &pair.taker.means) {
        (
            Description::Payment(it),
            Means::Payment { ledger, account, .. },
            Means::Payment { account: to, .. },
        ) => it.ledger == *ledger && it.payer == *account && it.payee == *to,
        (Description::DetachedSignature(it), Means::Signature { format, key, .. }, _) => {
            *format == Format::Detached(Algorithm::of(&it.key))
                && key.as_ref().is_none_or(|key| *key == it.key)
        }
        (Description::Signature(_), Means::Signature { format, .. }, _) => *format == Format::Replacement,
        (Description::Information(_), _, _) => true,
        _ => false,
    };
    if same {
        Ok(())
    } else {
        Err(Otherwise::Other { demand: Box::new(demand), negotiated: pair.giver.to_string() })
    }
}

/// What a list has of the demanded service, and why it does not do.
fn refusals(list: &Capabilities, demand: &Demand, used: impl Fn(&Capability) -> bool) -> Vec<String> {
    let of_service = list.modules.iter().filter(|it| it.service() == demand.service() && used(it));
    of_service
        .map(|it| match it.meets(demand) {
            Ok(()) => it.to_string(),
            Err(why) => format!("{it} ({why})"),
        })
        .collect()
}

impl Means {
    /// Whether the giver's means reach the taker's: the same rail from one account to another, the same format.
    fn meet(&self, taker: &Self) -> bool {
        match (self, taker) {
            (Self::Information { .. }, Self::Information { .. }) => true,
            (
                Self::Payment { ledger, account, .. },
                Self::Payment { ledger: their_ledger, account: theirs, .. },
            ) => ledger == their_ledger && account != theirs,
            (Self::Signature { format, .. }, Self::Signature { format: theirs, .. }) => format == theirs,
            _ => false,
        }
    }
}
