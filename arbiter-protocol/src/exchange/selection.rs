//! The exchange manager: two property sets in, a protocol or the reason why not out.
//!
//! The matrix is `SPEC.md` section 4 (source: SEMPER section 3.4, completed in `protocols.md` section 3).
//! It is a pure function, so both peers and the arbiter reach the same answer (R-201).
//!
//! ```text
//!  O \ R │ G          EV           R            none
//!  ──────┼───────────────────────────────────────────
//!  G     │ P1         P2, R first  weak         weak
//!  EV    │ P2, O first  P5 / weak  P3, R first  weak
//!  R     │ weak       P3, O first  P4           weak
//!  none  │ weak       weak         weak         none
//! ```
//! Sets are tried best first: P1, P2, P3, P4; then consent protocols; then nothing. An item for nothing needs no
//! fairness: [`one_way`] (SEMPER figure 2, first row).

use std::fmt;

use thiserror::Error;

use crate::exchange::item::{Description, Item};
use crate::exchange::property::Properties;

/// The two parties by what they do first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Made the offer.
    Originator,
    /// Accepted it.
    Responder,
}

impl Role {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Originator => "originator",
            Self::Responder => "responder",
        }
    }

    /// The other one.
    pub const fn peer(self) -> Self {
        match self {
            Self::Originator => Self::Responder,
            Self::Responder => Self::Originator,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One value for each party.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByRole<T> {
    /// The originator's.
    pub originator: T,
    /// The responder's.
    pub responder: T,
}

impl<T> ByRole<T> {
    /// The one of `role`.
    pub const fn of(&self, role: Role) -> &T {
        match role {
            Role::Originator => &self.originator,
            Role::Responder => &self.responder,
        }
    }

    /// The one of `role`, to be changed.
    pub const fn of_mut(&mut self, role: Role) -> &mut T {
        match role {
            Role::Originator => &mut self.originator,
            Role::Responder => &mut self.responder,
        }
    }

    /// A value for each party, made from its own.
    pub fn map<'a, U>(&'a self, mut f: impl FnMut(Role, &'a T) -> U) -> ByRole<U> {
        ByRole {
            originator: f(Role::Originator, &self.originator),
            responder: f(Role::Responder, &self.responder),
        }
    }

    /// Both, the originator's first.
    pub fn iter(&self) -> impl Iterator<Item = (Role, &T)> {
        [(Role::Originator, &self.originator), (Role::Responder, &self.responder)].into_iter()
    }
}

impl<T> ByRole<Option<T>> {
    /// `value` for `role`, nothing for the other.
    pub fn only(role: Role, value: T) -> Self {
        let mut both = Self { originator: None, responder: None };
        *both.of_mut(role) = Some(value);
        both
    }
}

impl Role {
    /// Both, the originator first.
    pub const BOTH: [Self; 2] = [Self::Originator, Self::Responder];
}

/// A protocol that this software carries out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// P1: both items generatable. Originator first. Abort and resolve, no deadline.
    ContractSigning,
    /// P2: externally verifiable item first, generatable item second. Complaint deadline.
    VerifyThenGenerate,
    /// P3: revocable item first, externally verifiable item second. Send-by and complaint deadlines.
    RevokeOnSilence,
    /// P4: both items revocable; the arbiter undoes both. Originator first. Complaint deadline.
    MutualRollback,
    /// P5: both items deposited with the arbiter, which gives out both or none. Deadline. Chosen only where nothing
    /// else is strongly fair: who signs such an agreement consents to the arbiter seeing both items.
    BothDeposited,
    /// P6: weak fairness, only if it is asked for by name. The arbiter takes what can be deposited and, at the deadline,
    /// gives out both items or signs an affidavit of what it had. Verifiable item first.
    Affidavit,
    /// T: an item for nothing. No fairness is needed, and the arbiter has no part in it. The party that gives nothing counts
    /// as the first sender: it owes nothing more once both have signed.
    Transfer,
}

impl Protocol {
    /// Whether an agreement of this protocol must carry `complain_by` (R-203).
    pub const fn has_deadline(self) -> bool {
        !matches!(self, Self::ContractSigning | Self::Transfer)
    }

    /// Whether the arbiter produces items in this protocol, rather than giving out what was left with it (SPEC section 4).
    pub const fn generates(self) -> bool {
        matches!(self, Self::ContractSigning | Self::VerifyThenGenerate)
    }

    /// Its number: P1 to P6, 7 for T.
    pub const fn number(self) -> u8 {
        match self {
            Self::ContractSigning => 1,
            Self::VerifyThenGenerate => 2,
            Self::RevokeOnSilence => 3,
            Self::MutualRollback => 4,
            Self::BothDeposited => 5,
            Self::Affidavit => 6,
            Self::Transfer => 7,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ContractSigning => "P1 (contract signing: abort and resolve, no deadline)",
            Self::VerifyThenGenerate => "P2 (verifiable item first, generatable item second)",
            Self::RevokeOnSilence => "P3 (revocable item first, verifiable item second)",
            Self::MutualRollback => "P4 (both items revocable, the arbiter undoes both)",
            Self::BothDeposited => "P5 (both items deposited with the arbiter)",
            Self::Affidavit => "P6 (weak: an affidavit of what the arbiter has seen)",
            Self::Transfer => "T (one way: an item for nothing)",
        })
    }
}

/// What the matrix selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selection {
    /// The protocol.
    pub protocol: Protocol,
    /// Who sends its item first.
    pub first_sender: Role,
}

/// Why no exchange can be carried out for two property sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Unfair {
    /// Only an affidavit (P6) is possible; it must be asked for by name.
    #[error(
        "no strong fairness: at best P6 (an affidavit of who performed), which must be asked for by name"
    )]
    AffidavitOnly,
    /// An affidavit was asked for, and something better is possible.
    #[error("{0} is fair for these items: an affidavit is for those that have nothing better")]
    BetterThanAffidavit(Protocol),
    /// The arbiter can do nothing for either item.
    #[error("no fairness at all: neither item has a property that lets the arbiter act")]
    Impossible,
}

impl Unfair {
    /// The stable reason for programs.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::AffidavitOnly => "ONLY_WEAK_FAIRNESS",
            Self::BetterThanAffidavit(_) => "BETTER_THAN_AFFIDAVIT",
            Self::Impossible => "NO_FAIRNESS",
        }
    }
}

/// Selects the best cell for two property sets (R-201).
pub fn select(originator: &Properties, responder: &Properties) -> Result<Selection, Unfair> {
    let generatable = (originator.generatable(), responder.generatable());
    let verifiable = (originator.verifiable(), responder.verifiable());
    let revocable = (originator.revocable(), responder.revocable());

    let resendable = |set: &Properties| set.has(super::property::Property::Resendable);
    let by = |protocol, first_sender| Ok(Selection { protocol, first_sender });

    if generatable == (true, true) {
        return by(Protocol::ContractSigning, Role::Originator);
    }
    if verifiable.0 && generatable.1 {
        return by(Protocol::VerifyThenGenerate, Role::Originator);
    }
    if generatable.0 && verifiable.1 {
        return by(Protocol::VerifyThenGenerate, Role::Responder);
    }
    if revocable.0 && verifiable.1 {
        return by(Protocol::RevokeOnSilence, Role::Originator);
    }
    if verifiable.0 && revocable.1 {
        return by(Protocol::RevokeOnSilence, Role::Responder);
    }
    if revocable == (true, true) {
        return by(Protocol::MutualRollback, Role::Originator);
    }
    if resendable(originator) && resendable(responder) {
        return by(Protocol::BothDeposited, Role::Originator);
    }
    let able = |set: &Properties| set.generatable() || set.verifiable() || set.revocable() || set.weak();
    if able(originator) || able(responder) {
        return Err(Unfair::AffidavitOnly);
    }
    Err(Unfair::Impossible)
}

/// T, if exactly one of the items is nothing (R-210). Who gives nothing counts as the first sender.
pub fn one_way(originator: &Item, responder: &Item) -> Option<Selection> {
    let nothing = |item: &Item| item.description == Description::Nothing;
    let first_sender = match (nothing(originator), nothing(responder)) {
        (false, true) => Role::Responder,
        (true, false) => Role::Originator,
        (false, false) | (true, true) => return None,
    };
    Some(Selection { protocol: Protocol::Transfer, first_sender })
}

/// Selects for two items: T where one of them is nothing, else the best cell of the matrix (R-201, R-210).
pub fn select_for(originator: &Item, responder: &Item) -> Result<Selection, Unfair> {
    one_way(originator, responder).map_or_else(|| select(&originator.properties, &responder.properties), Ok)
}

/// P6, for items that have no strongly fair protocol (R-201). Who gives the verifiable item sends first.
pub fn select_affidavit(originator: &Properties, responder: &Properties) -> Result<Selection, Unfair> {
    match select(originator, responder) {
        Err(Unfair::AffidavitOnly) => {
            let second = !originator.verifiable() && responder.verifiable();
            let first_sender = if second { Role::Responder } else { Role::Originator };
            Ok(Selection { protocol: Protocol::Affidavit, first_sender })
        }
        Ok(better) => Err(Unfair::BetterThanAffidavit(better.protocol)),
        Err(unfair) => Err(unfair),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::property::Property::{self, *};

    fn set(members: &[Property]) -> Properties {
        Properties::new(members.iter().copied())
    }

    /// R-201: every cell of the matrix, written out from the table of the specification.
    #[test]
    fn every_single_property_cell_is_the_one_in_the_matrix() {
        let g = set(&[GeneratableByReplacement]);
        let (observe, resend) = (set(&[Observable]), set(&[Resendable]));
        let (r, none) = (set(&[Revocable]), set(&[]));
        let by = |protocol, first_sender| Ok(Selection { protocol, first_sender });
        let p1 = by(Protocol::ContractSigning, Role::Originator);
        let p2 = |first_sender| by(Protocol::VerifyThenGenerate, first_sender);
        let p3 = |first_sender| by(Protocol::RevokeOnSilence, first_sender);
        let weak = Err(Unfair::AffidavitOnly);

        assert_eq!(select(&g, &g), p1);
        for ev in [&observe, &resend] {
            assert_eq!(select(&g, ev), p2(Role::Responder));
            assert_eq!(select(ev, &g), p2(Role::Originator));
            assert_eq!(select(ev, &r), p3(Role::Responder));
            assert_eq!(select(&r, ev), p3(Role::Originator));
            assert_eq!(select(ev, &none), weak);
            assert_eq!(select(&none, ev), weak);
        }
        assert_eq!(select(&resend, &resend), by(Protocol::BothDeposited, Role::Originator));
        assert_eq!(select(&observe, &resend), weak);
        assert_eq!(select(&observe, &observe), weak);
        assert_eq!(select(&r, &r), by(Protocol::MutualRollback, Role::Originator));
        for (a, b) in [(&g, &r), (&g, &none), (&r, &none)] {
            assert_eq!(select(a, b), weak);
            assert_eq!(select(b, a), weak);
        }
        assert_eq!(select(&none, &none), Err(Unfair::Impossible));
        // What may fail can still show who is to blame.
        for perhaps in [set(&[GeneratableWeak]), set(&[RevocableWeak])] {
            assert_eq!(select(&perhaps, &none), weak);
            assert_eq!(select(&none, &perhaps), weak);
        }
    }

    /// The names that people and programs read.
    #[test]
    fn roles_protocols_and_reasons_have_their_names() {
        assert_eq!(Role::BOTH.map(|role| role.to_string()), ["originator", "responder"]);
        for (protocol, name) in [(Protocol::ContractSigning, "P1 "), (Protocol::VerifyThenGenerate, "P2 ")] {
            assert!(protocol.to_string().starts_with(name), "{protocol}");
        }
        assert_eq!(Unfair::AffidavitOnly.reason(), "ONLY_WEAK_FAIRNESS");
        assert_eq!(Unfair::Impossible.reason(), "NO_FAIRNESS");
    }

    /// R-201: all 128 x 128 pairs of sets: a weak property never changes a strong cell, swapping the parties swaps the
    /// sender (P1 stays with the originator), and more properties never make it worse.
    #[test]
    fn selection_is_symmetric_monotone_and_deaf_to_weak_properties() {
        let sets: Vec<_> = (0u32..128)
            .map(|bits| {
                set(&Property::ALL
                    .iter()
                    .copied()
                    .enumerate()
                    .filter(|(i, _)| bits & (1 << i) != 0)
                    .map(|(_, p)| p)
                    .collect::<Vec<_>>())
            })
            .collect();
        let rank = |result: &Result<Selection, Unfair>| match result {
            Ok(selection) => selection.protocol.number(),
            Err(Unfair::AffidavitOnly | Unfair::BetterThanAffidavit(_)) => 6,
            Err(Unfair::Impossible) => 7,
        };
        for a in &sets {
            for b in &sets {
                let here = select(a, b);
                // P6 is there exactly where nothing better is, and only by name.
                let named = select_affidavit(a, b);
                assert_eq!(named.is_ok(), here == Err(Unfair::AffidavitOnly));
                assert!(named.is_err() || named.unwrap().protocol == Protocol::Affidavit);
                assert_eq!(rank(&here), rank(&select(b, a)));
                for extra in Property::ALL {
                    let more =
                        Properties::new(Property::ALL.into_iter().filter(|p| a.has(*p) || *p == extra));
                    assert!(rank(&select(&more, b)) <= rank(&here));
                    if matches!(extra, GeneratableWeak | RevocableWeak) && rank(&here) < 6 {
                        assert_eq!(select(&more, b), here);
                    }
                }
            }
        }
    }
}
