//! The exchange manager: two property sets in, a protocol or the reason why not out.
//!
//! The matrix is `SPEC.md` section 4 (source: SEMPER section 3.4, completed in `protocols.md` section 3).
//! It is a pure function, so both peers and the arbiter reach the same answer (R-201).
//!
//! ```text
//!  O \ R │ G          EV           R            none
//!  ──────┼───────────────────────────────────────────
//!  G     │ P1         P2, R first  weak         weak
//!  EV    │ P2, O first  weak / P5  P3, R first  weak
//!  R     │ weak       P3, O first  P4           weak
//!  none  │ weak       weak         weak         none
//! ```
//! Sets are tried best first: P1, P2, P3, P4; then consent protocols; then nothing.

use std::fmt;

use thiserror::Error;

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
}

impl Protocol {
    /// Whether an agreement of this protocol must carry `complain_by` (R-203).
    pub const fn has_deadline(self) -> bool {
        matches!(self, Self::VerifyThenGenerate)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ContractSigning => "P1 (contract signing: abort and resolve, no deadline)",
            Self::VerifyThenGenerate => "P2 (verifiable item first, generatable item second)",
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
    /// P3 would be strongly fair; this software does not carry it out.
    #[error("P3 (revocable item first, verifiable item second) would be fair, but is not built yet")]
    NotBuiltRevokeOnSilence {
        /// Who would send first: the side whose item is revocable.
        first_sender: Role,
    },
    /// P4 would be strongly fair; this software does not carry it out.
    #[error("P4 (both items revocable, the arbiter undoes both) would be fair, but is not built yet")]
    NotBuiltMutualRollback,
    /// P5 would be strongly fair with both parties' consent; this software does not carry it out.
    #[error("P5 (both items deposited with the arbiter) would be fair by consent, but is not built yet")]
    NotBuiltBothDeposited,
    /// Only an affidavit (P6) is possible; it must be asked for by name, and is not built yet.
    #[error("no strong fairness: at best P6 (an affidavit of who performed), which is not built yet")]
    AffidavitOnly,
    /// The arbiter can do nothing for either item.
    #[error("no fairness at all: neither item has a property that lets the arbiter act")]
    Impossible,
}

impl Unfair {
    /// The stable reason for programs.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::AffidavitOnly => "ONLY_WEAK_FAIRNESS",
            Self::Impossible => "NO_FAIRNESS",
            Self::NotBuiltBothDeposited => "PROTOCOL_P5_NOT_BUILT",
            Self::NotBuiltMutualRollback => "PROTOCOL_P4_NOT_BUILT",
            Self::NotBuiltRevokeOnSilence { .. } => "PROTOCOL_P3_NOT_BUILT",
        }
    }
}

/// Selects the best cell for two property sets (R-201).
pub fn select(originator: &Properties, responder: &Properties) -> Result<Selection, Unfair> {
    let generatable = (originator.generatable(), responder.generatable());
    let verifiable = (originator.verifiable(), responder.verifiable());
    let revocable = (originator.revocable(), responder.revocable());

    if generatable == (true, true) {
        return Ok(Selection { protocol: Protocol::ContractSigning, first_sender: Role::Originator });
    }
    if verifiable.0 && generatable.1 {
        return Ok(Selection { protocol: Protocol::VerifyThenGenerate, first_sender: Role::Originator });
    }
    if generatable.0 && verifiable.1 {
        return Ok(Selection { protocol: Protocol::VerifyThenGenerate, first_sender: Role::Responder });
    }
    if revocable.0 && verifiable.1 {
        return Err(Unfair::NotBuiltRevokeOnSilence { first_sender: Role::Originator });
    }
    if verifiable.0 && revocable.1 {
        return Err(Unfair::NotBuiltRevokeOnSilence { first_sender: Role::Responder });
    }
    if revocable == (true, true) {
        return Err(Unfair::NotBuiltMutualRollback);
    }
    let resendable = |set: &Properties| set.has(super::property::Property::Resendable);
    if resendable(originator) && resendable(responder) {
        return Err(Unfair::NotBuiltBothDeposited);
    }
    let able = |set: &Properties| set.generatable() || set.verifiable() || set.revocable() || set.weak();
    if able(originator) || able(responder) {
        return Err(Unfair::AffidavitOnly);
    }
    Err(Unfair::Impossible)
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
        let p1 = Ok(Selection { protocol: Protocol::ContractSigning, first_sender: Role::Originator });
        let p2 = |first_sender| Ok(Selection { protocol: Protocol::VerifyThenGenerate, first_sender });
        let p3 = |first_sender| Err(Unfair::NotBuiltRevokeOnSilence { first_sender });
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
        assert_eq!(select(&resend, &resend), Err(Unfair::NotBuiltBothDeposited));
        assert_eq!(select(&observe, &resend), weak);
        assert_eq!(select(&observe, &observe), weak);
        assert_eq!(select(&r, &r), Err(Unfair::NotBuiltMutualRollback));
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
            Ok(s) if s.protocol == Protocol::ContractSigning => 0,
            Ok(_) => 1,
            Err(Unfair::NotBuiltRevokeOnSilence { .. }) => 2,
            Err(Unfair::NotBuiltMutualRollback) => 3,
            Err(Unfair::NotBuiltBothDeposited) => 4,
            Err(Unfair::AffidavitOnly) => 5,
            Err(Unfair::Impossible) => 6,
        };
        for a in &sets {
            for b in &sets {
                let here = select(a, b);
                assert_eq!(rank(&here), rank(&select(b, a)));
                for extra in Property::ALL {
                    let more =
                        Properties::new(Property::ALL.into_iter().filter(|p| a.has(*p) || *p == extra));
                    assert!(rank(&select(&more, b)) <= rank(&here));
                    if matches!(extra, GeneratableWeak | RevocableWeak) && rank(&here) < 5 {
                        assert_eq!(select(&more, b), here);
                    }
                }
            }
        }
    }
}
