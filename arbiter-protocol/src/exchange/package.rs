//! Packages: trees of items that change hands together, all of them or none (SEMPER 3.3).
//!
//! ```text
//!            ┌─ album.flac                 leaf 0
//!  package ──┤            ┌─ cover.png     leaf 1        leaves are numbered depth first
//!            └─ package ──┤
//!                         └─ notes.pdf     leaf 2
//! ```
//! What the arbiter can do with a package is what it can do with every item in it (R-221): so a protocol that is fair for
//! the package is fair for each of its items, and one verdict is about all of them.

use prost::Message as _;

use crate::error::Invalid;
use crate::exchange::item::{Description, Item};
use crate::exchange::property::{Properties, Property};
use crate::limits;
use crate::message::wire;

/// Nothing; or a payment or a detached signature among other items.
const KIND: Invalid = Invalid::Package {
    reason: "PACKAGE_ITEM_NOT_ALLOWED",
    why: "it holds files and signatures that the arbiter can replace, or payments, or detached signatures, nothing else",
};
/// Who has made one of them and cannot make the next one must get it back.
const NOT_UNDONE: Invalid = Invalid::Package {
    reason: "PACKAGE_PAYMENT_NOT_REVOCABLE",
    why: "it holds only payments that can be undone if one of them fails: held, and paid when the hold ends",
};
/// One item has nothing that the arbiter could do with it as well as with the others.
const NOTHING_SHARED: Invalid = Invalid::Package {
    reason: "PACKAGE_SHARES_NOTHING",
    why: "there is nothing that the arbiter can do with every item of it",
};
/// The same item twice, or two files of one name.
const REPEATED: Invalid = Invalid::Package {
    reason: "PACKAGE_ITEM_REPEATED",
    why: "it has no item twice, and no two files of one name",
};
/// Too few or too many items, levels or bytes.
const SIZE: Invalid = Invalid::Package {
    reason: "PACKAGE_SIZE_INVALID",
    why: "it has at least 2 items, at most 8 in all, on at most 3 levels, and at most 14336 bytes of description",
};
const _: () =
    assert!(limits::PACKAGE_LEAVES == 8 && limits::PACKAGE_LEVELS == 3 && limits::PACKAGE_BYTES == 14_336);

/// R-220: whether these items make a package.
pub fn check(items: &[Item]) -> Result<(), Invalid> {
    let leaves: Vec<_> = items.iter().flat_map(Item::leaves).collect();
    let few = items.len() < 2 || items.iter().any(|item| levels(item) >= limits::PACKAGE_LEVELS);
    if few || leaves.len() > limits::PACKAGE_LEAVES || to_wire(items).encoded_len() > limits::PACKAGE_BYTES {
        return Err(SIZE);
    }
    let built =
        |leaf: &&Item| matches!(leaf.description, Description::Information(_) | Description::Signature(_));
    let payments: Vec<_> = leaves.iter().filter_map(|leaf| leaf.description.payment()).collect();
    let detached = leaves.iter().all(|leaf| leaf.description.detached().is_some());
    if payments.len() != leaves.len() && !detached && !leaves.iter().all(built) {
        return Err(KIND);
    }
    if !payments.iter().all(|payment| payment.properties().revocable()) {
        return Err(NOT_UNDONE);
    }
    for (place, leaf) in leaves.iter().enumerate() {
        if leaves.iter().skip(place.saturating_add(1)).any(|other| collide(leaf, other)) {
            return Err(REPEATED);
        }
    }
    if properties(items) == Properties::default() {
        return Err(NOTHING_SHARED);
    }
    let bytes = leaves.iter().map(|leaf| leaf.description.content_bytes().unwrap_or(0));
    if bytes.fold(0, u64::saturating_add) > limits::ITEM_BYTES {
        return Err(SIZE);
    }
    Ok(())
}

/// R-221: what the arbiter can do with every item of a package. It looks at one payment, not at several.
pub fn properties(items: &[Item]) -> Properties {
    let shared = Properties::shared(items.iter().map(|item| &item.properties));
    let paid = items.iter().flat_map(Item::leaves).any(|leaf| leaf.description.payment().is_some());
    Properties::new(shared.iter().filter(|property| !paid || *property != Property::Observable))
}

pub(super) fn from_wire(wire: wire::Package) -> Result<Vec<Item>, Invalid> {
    if wire.items.len() > limits::PACKAGE_LEAVES {
        return Err(SIZE);
    }
    let items = wire.items.into_iter().map(|item| Item::from_wire(item, "items"));
    let items = items.collect::<Result<Vec<_>, _>>()?;
    check(&items)?;
    Ok(items)
}

pub(super) fn to_wire(items: &[Item]) -> wire::Package {
    wire::Package { items: items.iter().map(Item::to_wire).collect() }
}

/// How many packages are in one another: 0 of a lone item.
fn levels(item: &Item) -> usize {
    match &item.description {
        Description::Package(items) => items.iter().map(levels).max().unwrap_or(0).saturating_add(1),
        _ => 0,
    }
}

/// Whether two leaves are the same item, or files that could not be kept side by side.
fn collide(one: &Item, other: &Item) -> bool {
    match (&one.description, &other.description) {
        (Description::Information(one), Description::Information(other)) => {
            one.name.to_lowercase() == other.name.to_lowercase()
        }
        // A certificate beside it does not make it another signature: an escrow is of a key and a text.
        (Description::DetachedSignature(one), Description::DetachedSignature(other)) => {
            one.key.kind() == other.key.kind() && one.statement == other.statement
        }
        (one, other) => one == other,
    }
}
