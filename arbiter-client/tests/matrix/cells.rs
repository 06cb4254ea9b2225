//! The pairs of items, and the terms of an exchange of each.

use std::fmt;
use std::path::Path;

use arbiter_client::protocol::escrow::Suite;
use arbiter_client::protocol::exchange::item::Item;
use arbiter_client::protocol::exchange::payment::{Hold, Timeout};
use arbiter_client::protocol::exchange::property::{Properties, Property};
use arbiter_client::protocol::exchange::selection::{
    Protocol, Role, Selection, Unfair, select, select_affidavit,
};
use arbiter_client::protocol::ids::Digest;
use arbiter_client::protocol::time::DurationMillis;
use arbiter_client::testing::{Bench, identity, purse};
use arbiter_client::{Give, OfferTerms, items};

use crate::common::{Setting, content, described, package, sealed, sealed_package, signatures};
use crate::trades::{COMPLAIN_BY, HOLD_END, SEND_BY, other_content, payment};

/// What a party can give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Thing {
    /// A file: re-sendable.
    File,
    /// A package of files: re-sendable, as each of them is.
    Files,
    /// Money that is held: observable and revocable.
    Money,
    /// Money that is paid at once: observable.
    MoneyAtOnce,
    /// Nothing: the other item is given one way.
    Nothing,
    /// A package of payments that are held: revocable, and nothing else.
    Payments,
    /// Money that is set aside first: observable and generatable.
    Reserved,
    /// Money that is held, of which only that it can be revoked is agreed.
    Revocable,
    /// A detached signature: generatable by escrow.
    Sealed,
    /// A package of them.
    SealedPackage,
    /// A signature that the arbiter can replace.
    Signature,
    /// A package of such signatures.
    Signatures,
}

impl Thing {
    const ALL: [Self; 12] = [
        Self::File,
        Self::Files,
        Self::Money,
        Self::MoneyAtOnce,
        Self::Nothing,
        Self::Payments,
        Self::Reserved,
        Self::Revocable,
        Self::Sealed,
        Self::SealedPackage,
        Self::Signature,
        Self::Signatures,
    ];

    pub fn is_money(self) -> bool {
        matches!(self, Self::Money | Self::MoneyAtOnce | Self::Payments | Self::Reserved | Self::Revocable)
    }
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::File => "file",
            Self::Files => "files",
            Self::Money => "money",
            Self::MoneyAtOnce => "cash",
            Self::Nothing => "nothing",
            Self::Payments => "payments",
            Self::Reserved => "reserved",
            Self::Revocable => "revocable",
            Self::Sealed => "sealed sig",
            Self::SealedPackage => "sealed sigs",
            Self::Signature => "signature",
            Self::Signatures => "signatures",
        })
    }
}

/// One pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    pub originator: Thing,
    pub responder: Thing,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.originator, self.responder)
    }
}

pub fn cells() -> Vec<Cell> {
    let row = |originator| Thing::ALL.map(|responder| Cell { originator, responder });
    Thing::ALL.into_iter().flat_map(row).collect()
}

impl Cell {
    pub fn of(self, role: Role) -> Thing {
        if role == Role::Originator { self.originator } else { self.responder }
    }

    fn properties(self, role: Role) -> Properties {
        Properties::new(match self.of(role) {
            Thing::File | Thing::Files => vec![Property::Resendable],
            Thing::Money => vec![Property::Observable, Property::Revocable],
            Thing::MoneyAtOnce => vec![Property::Observable],
            Thing::Nothing => Vec::new(),
            Thing::Reserved => vec![Property::Observable, Property::GeneratableByEscrow],
            Thing::Payments | Thing::Revocable => vec![Property::Revocable],
            Thing::Sealed | Thing::SealedPackage => vec![Property::GeneratableByEscrow],
            Thing::Signature | Thing::Signatures => vec![Property::GeneratableByReplacement],
        })
    }

    /// What the matrix says; P6 is asked for by name where nothing better is. Reserved money is for P1 and P2, several payments
    /// are for P3 and P4.
    pub fn selection(self) -> Result<Selection, Unfair> {
        let first_sender = match (self.originator, self.responder) {
            (Thing::Nothing, Thing::Nothing) => None,
            (Thing::Nothing, _) => Some(Role::Originator),
            (_, Thing::Nothing) => Some(Role::Responder),
            _ => None,
        };
        if let Some(first_sender) = first_sender {
            return match self.of(first_sender.peer()) {
                // nobody holds a gift.
                Thing::Money | Thing::Payments | Thing::Reserved | Thing::Revocable => {
                    Err(Unfair::Impossible)
                }
                _ => Ok(Selection { protocol: Protocol::Transfer, first_sender }),
            };
        }
        let (ours, theirs) = (self.properties(Role::Originator), self.properties(Role::Responder));
        let has = |thing| [self.originator, self.responder].contains(&thing);
        let (reserved, several) = (has(Thing::Reserved), has(Thing::Payments));
        match select(&ours, &theirs) {
            Ok(selected) if reserved && !selected.protocol.generates() => Err(Unfair::AffidavitOnly),
            Err(_) if !reserved && !several => select_affidavit(&ours, &theirs),
            selected => selected,
        }
    }

    pub fn why(self) -> String {
        let gift = Role::BOTH.map(|role| self.of(role)).contains(&Thing::Nothing)
            && self.originator != self.responder;
        match self.selection() {
            Err(_) if gift => "nobody holds a gift (R-210)".to_owned(),
            Err(unfair) => unfair.to_string(),
            Ok(_) => String::new(),
        }
    }

    /// Accounts, files and terms of this exchange between alice and bob.
    pub fn setting(self, bench: &Bench, folder: &Path) -> Setting {
        for name in ["alice", "bob"] {
            bench.ledger.open(&purse(name), "100.00 EUR").unwrap();
        }
        let (notice, other) = (folder.join("notice.txt"), folder.join("other.pdf"));
        std::fs::write(&notice, content()).unwrap();
        std::fs::write(&other, other_content()).unwrap();
        let begin = bench.clock.now();
        let at = |millis| begin.after(DurationMillis(millis));
        let [ours, theirs] = ["ours", "theirs"].map(|tag| package(folder, tag));
        let package_of = |role| if role == Role::Originator { &ours } else { &theirs };
        let file = |role| if role == Role::Originator { &notice } else { &other };
        let item = |role: Role| {
            let (name, peer, amount, parts) = match role {
                Role::Originator => ("alice", "bob", "25.00 EUR", ["20.00 EUR", "5.00 EUR"]),
                Role::Responder => ("bob", "alice", "30.00 EUR", ["24.00 EUR", "6.00 EUR"]),
            };
            let hold = Some(Hold { until: at(HOLD_END), timeout: Timeout::Post });
            let pay = |hold| items::payment(payment(bench, name, peer, amount, hold));
            match self.of(role) {
                Thing::File if role == Role::Originator => items::file(described()),
                Thing::File => {
                    let mut it = described();
                    it.sha256 = Digest::of(&[&other_content()]);
                    it.size_bytes = u64::try_from(other_content().len()).unwrap();
                    (it.media_type, it.name) = ("application/pdf".into(), "other.pdf".into());
                    items::file(it)
                }
                Thing::Files => package_of(role).item.clone(),
                Thing::Money => pay(hold),
                Thing::MoneyAtOnce => pay(None),
                Thing::Payments => {
                    let part = |amount| items::payment(payment(bench, name, peer, amount, hold));
                    Item::package(parts.map(part).to_vec()).unwrap()
                }
                Thing::Reserved => pay(Some(Hold { until: at(HOLD_END), timeout: Timeout::Void })),
                Thing::Revocable => Item { properties: Properties::new([Property::Revocable]), ..pay(hold) },
                Thing::Nothing => items::nothing(),
                Thing::Sealed => sealed(name, name),
                Thing::SealedPackage => sealed_package(name, name),
                Thing::Signature => items::signature(name, "I agree.", described()),
                Thing::Signatures => signatures(name),
            }
        };
        let path = |role| match self.of(role) {
            Thing::File => Some(file(role).clone()),
            Thing::Files => Some(package_of(role).whole.clone()),
            _ => None,
        };
        let give = |role| match self.of(role) {
            Thing::File => Give::File(file(role).clone()),
            Thing::Files => Give::Files(package_of(role).files.clone()),
            _ => Give::Nothing,
        };
        let protocol = self.selection().unwrap().protocol;
        let reserved = Role::BOTH.into_iter().any(|role| self.of(role) == Thing::Reserved);
        Setting {
            terms: OfferTerms {
                responder: identity("bob").party(),
                originator_item: item(Role::Originator),
                responder_item: item(Role::Responder),
                complain_by: (protocol.has_deadline() || reserved).then(|| at(COMPLAIN_BY)),
                send_by: (protocol == Protocol::RevokeOnSilence).then(|| at(SEND_BY)),
                suite: Suite::FAST,
            },
            originator: give(Role::Originator),
            responder: give(Role::Responder),
            originator_file: path(Role::Originator),
            responder_file: path(Role::Responder),
        }
    }
}
