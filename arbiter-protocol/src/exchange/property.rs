//! Exchange-enabling properties: what the arbiter can do to a transfer of an item (decision D4).
//!
//! | property | the arbiter can | SEMPER's word |
//! | --- | --- | --- |
//! | observable | see by itself whether the transfer took effect | external verifiability |
//! | re-sendable | check and forward the item when it is sent through it | external verifiability |
//! | generatable | produce an equivalent item | generatability |
//! | revocable | undo the transfer | revocability |
//!
//! A *weak* property may fail, and then only shows who is to blame; it never gives strong fairness.

use std::collections::BTreeSet;

use crate::error::Invalid;
use crate::limits;
use crate::message::wire;

/// One exchange-enabling property. The order is the order on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Property {
    /// EV by observation: a rail that the arbiter can read.
    Observable,
    /// EV by re-sending: the item itself can be deposited and checked against its description.
    Resendable,
    /// G by replacement: the parties agree that the arbiter's signed replacement counts as the item.
    GeneratableByReplacement,
    /// G by escrow: the item itself, verifiably encrypted to the arbiter, comes back byte for byte.
    GeneratableByEscrow,
    /// G that may fail.
    GeneratableWeak,
    /// R: the arbiter can undo the transfer until a deadline.
    Revocable,
    /// R that may fail.
    RevocableWeak,
}

impl Property {
    /// Every property, in wire order.
    pub const ALL: [Self; 7] = [
        Self::Observable,
        Self::Resendable,
        Self::GeneratableByReplacement,
        Self::GeneratableByEscrow,
        Self::GeneratableWeak,
        Self::Revocable,
        Self::RevocableWeak,
    ];

    const fn to_wire(self) -> wire::Property {
        match self {
            Self::GeneratableByEscrow => wire::Property::GeneratableByEscrow,
            Self::GeneratableByReplacement => wire::Property::GeneratableByReplacement,
            Self::GeneratableWeak => wire::Property::GeneratableWeak,
            Self::Observable => wire::Property::Observable,
            Self::Resendable => wire::Property::Resendable,
            Self::Revocable => wire::Property::Revocable,
            Self::RevocableWeak => wire::Property::RevocableWeak,
        }
    }
}

/// The set of properties that one item offers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties(BTreeSet<Property>);

impl Properties {
    /// The set with these members.
    pub fn new(members: impl IntoIterator<Item = Property>) -> Self {
        Self(members.into_iter().collect())
    }

    /// Whether the set has `property`.
    pub fn has(&self, property: Property) -> bool {
        self.0.contains(&property)
    }

    /// Strongly generatable, by either method.
    pub fn generatable(&self) -> bool {
        self.has(Property::GeneratableByReplacement) || self.has(Property::GeneratableByEscrow)
    }

    /// Externally verifiable, by either method.
    pub fn verifiable(&self) -> bool {
        self.has(Property::Observable) || self.has(Property::Resendable)
    }

    /// Strongly revocable.
    pub fn revocable(&self) -> bool {
        self.has(Property::Revocable)
    }

    /// Whether any weak property is there.
    pub fn weak(&self) -> bool {
        self.has(Property::GeneratableWeak) || self.has(Property::RevocableWeak)
    }

    /// Whether every member is also in `other`.
    pub fn within(&self, other: &Self) -> bool {
        self.0.is_subset(&other.0)
    }

    /// what all these sets share. Two methods to generate are as good as one, so they add up where every set has
    /// one of them; to be verified by re-sending, everything must be re-sendable.
    pub fn shared<'a>(sets: impl IntoIterator<Item = &'a Self>) -> Self {
        let sets: Vec<_> = sets.into_iter().collect();
        let all = |has: fn(&Self) -> bool| !sets.is_empty() && sets.iter().all(|set| has(set));
        let any = |property| sets.iter().any(|set| set.has(property));
        let (generatable, verifiable) = (all(Self::generatable), all(Self::verifiable));
        Self::new(Property::ALL.into_iter().filter(|property| match property {
            Property::GeneratableByEscrow | Property::GeneratableByReplacement => {
                generatable && any(*property)
            }
            Property::Observable => verifiable && any(*property),
            Property::GeneratableWeak
            | Property::Resendable
            | Property::Revocable
            | Property::RevocableWeak => !sets.is_empty() && sets.iter().all(|set| set.has(*property)),
        }))
    }

    /// The members in wire order.
    pub fn iter(&self) -> impl Iterator<Item = Property> + '_ {
        self.0.iter().copied()
    }

    pub(crate) fn from_wire(numbers: &[i32], field: &'static str) -> Result<Self, Invalid> {
        if numbers.len() > limits::PROPERTIES {
            return Err(Invalid::FieldLength { field });
        }
        let set: BTreeSet<_> = Property::ALL
            .into_iter()
            .filter(|property| numbers.contains(&i32::from(property.to_wire())))
            .collect();
        let properties = Self(set);
        // Ascending without repetition or unknown numbers: exactly one form for each set.
        if properties.to_wire() == numbers { Ok(properties) } else { Err(Invalid::FieldValue { field }) }
    }

    pub(crate) fn to_wire(&self) -> Vec<i32> {
        self.0.iter().map(|property| property.to_wire().into()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_one_form_on_the_wire() {
        let set = Properties::new([Property::Revocable, Property::Observable]);
        assert_eq!(set.to_wire(), [1, 6]);
        assert!(set.iter().eq([Property::Observable, Property::Revocable]));
        assert_eq!(Properties::from_wire(&[1, 6], "p"), Ok(set));
        for bad in [&[6, 1][..], &[1, 1], &[0], &[8], &[-1], &[1; 9]] {
            assert!(Properties::from_wire(bad, "p").is_err(), "{bad:?}");
        }
    }
}
