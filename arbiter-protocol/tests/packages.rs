//! Packages: which items make one, what is shared, and that all of it counts or nothing.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may fail by panicking"
)]

mod common;

use std::collections::BTreeSet;

use arbiter_protocol::exchange::item::{Description, Item};
use arbiter_protocol::exchange::kind::content::ContentCheck;
use arbiter_protocol::exchange::kind::{Unfit, signature};
use arbiter_protocol::exchange::package;
use arbiter_protocol::exchange::property::{Properties, Property};
use arbiter_protocol::exchange::selection::Role::{Originator, Responder};
use arbiter_protocol::exchange::selection::{ByRole, Protocol, Role, select, select_affidavit};
use arbiter_protocol::ids::Digest;
use arbiter_protocol::limits;
use arbiter_protocol::message::agreement::Offer;
use arbiter_protocol::message::request::Action;
use arbiter_protocol::message::transfer::Transfer;
use arbiter_protocol::message::verdict::Ruling;
use arbiter_protocol::message::wire;
use arbiter_protocol::role::{Fit, Input, Outcome, Phase, Session, Timing};
use arbiter_protocol::ruling::receipt::Ruled;
use arbiter_protocol::ruling::sequencer::{Batch, ContentId, Reply};
use arbiter_protocol::statement::{Payload as _, Signed, Verified};
use arbiter_protocol::time::{DurationMillis, UnixMillis};
use common::{CONTENT, Cast, EARLY, Kind, Notary, TestVeil, files, framed, named, signatures};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use prost::Message as _;

/// The shape of a tree of items, also of one that is no package.
#[derive(Clone, Debug)]
enum Shape {
    Leaf,
    Node(Vec<Shape>),
}

/// Every tree with this many leaves and at most so many levels; nodes with one child are among them.
fn trees(leaves: usize, levels: usize) -> Vec<Shape> {
    let mut all = Vec::new();
    if leaves == 1 {
        all.push(Shape::Leaf);
    }
    if levels > 0 {
        all.extend(forests(leaves, levels - 1).into_iter().map(Shape::Node));
    }
    all
}

fn forests(leaves: usize, levels: usize) -> Vec<Vec<Shape>> {
    if leaves == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for first in 1..=leaves {
        for tree in trees(first, levels) {
            for rest in forests(leaves - first, levels) {
                all.push([vec![tree.clone()], rest].concat());
            }
        }
    }
    all
}

impl Shape {
    /// As an item, unchecked; leaves are files that are numbered as they come.
    fn item(&self, number: &mut usize) -> Item {
        match self {
            Self::Leaf => {
                *number += 1;
                named(&format!("{number}.pdf"), format!("%PDF-1.7 {number}").as_bytes())
            }
            Self::Node(children) => {
                let items = children.iter().map(|child| child.item(number)).collect();
                Item::new(Description::Package(items))
            }
        }
    }

    fn levels(&self) -> usize {
        match self {
            Self::Leaf => 0,
            Self::Node(children) => 1 + children.iter().map(Self::levels).max().unwrap(),
        }
    }

    fn branches(&self) -> bool {
        match self {
            Self::Leaf => true,
            Self::Node(children) => children.len() > 1 && children.iter().all(Self::branches),
        }
    }
}

/// What a reader says of an offer with this item of the originator.
fn read(item: Item) -> Result<Item, &'static str> {
    let cast = Cast::new();
    let offer = Offer { originator_item: item, ..cast.terms(Kind::P2OriginatorFirst, 1) };
    let envelope = Verified::sign(offer, &cast.originator).envelope().clone();
    let read = Signed::<Offer>::parse(envelope).map_err(|invalid| invalid.reason())?;
    Ok(read.unverified().originator_item.clone())
}

fn unchecked(items: Vec<Item>) -> Item {
    Item::new(Description::Package(items))
}

/// every tree with up to four leaves on up to four levels is read as it was written, or refused; no two have one name.
#[test]
fn every_small_tree_is_a_package_or_is_refused() {
    let (mut good, mut bad, mut names) = (0, 0, BTreeSet::new());
    for leaves in 1..=4 {
        for shape in trees(leaves, 4) {
            let item = shape.item(&mut 0);
            let order: Vec<_> = (1..=leaves).map(|number| format!("{number}.pdf")).collect();
            let found = item.leaves().into_iter().map(|leaf| match &leaf.description {
                Description::Information(file) => file.name.clone(),
                _ => panic!("a leaf is no package"),
            });
            assert_eq!(found.collect::<Vec<_>>(), order, "{shape:?}");
            if shape.branches() && shape.levels() <= limits::PACKAGE_LEVELS {
                assert_eq!(read(item.clone()), Ok(item.clone()), "{shape:?}");
                assert!(item.properties.has(Property::Resendable));
                assert!(names.insert(*item.digest().as_bytes()), "{shape:?}: two trees of one name");
                good += 1;
            } else {
                assert_eq!(read(item), Err("PACKAGE_SIZE_INVALID"), "{shape:?}");
                bad += 1;
            }
        }
    }
    // 1, 1, 3 and 11 trees whose every node branches; all of these have at most three levels.
    assert_eq!((good, bad > 1_000), (1 + 1 + 3 + 11, true), "{bad}");
}

/// at the limit and one beyond.
#[test]
fn a_package_has_two_to_eight_leaves() {
    for leaves in 0..=10 {
        let flat = Shape::Node(vec![Shape::Leaf; leaves]).item(&mut 0);
        let expected = (2..=limits::PACKAGE_LEAVES).contains(&leaves);
        assert_eq!(read(flat).is_ok(), expected, "{leaves}");
    }
    // Eight of one package and one beside it are nine.
    let nested = Shape::Node(vec![Shape::Leaf, Shape::Node(vec![Shape::Leaf; 8])]).item(&mut 0);
    assert_eq!(read(nested), Err("PACKAGE_SIZE_INVALID"));
    // So many packages in one another.
    let deep = |levels| (0..levels).fold(Shape::Leaf, |inner, _| Shape::Node(vec![Shape::Leaf, inner]));
    assert!(read(deep(limits::PACKAGE_LEVELS).item(&mut 0)).is_ok());
    assert_eq!(read(deep(limits::PACKAGE_LEVELS + 1).item(&mut 0)), Err("PACKAGE_SIZE_INVALID"));
    let texts = |[one, two]: [usize; 2]| {
        let one_of = |title: &str, bytes: usize| {
            let Description::Signature(mut it) = common::signature(title).description else { panic!() };
            it.text = "t".repeat(bytes);
            Item::new(Description::Signature(it))
        };
        unchecked(vec![one_of("one", one), one_of("two", two)])
    };
    let length = |item: &Item| {
        let offer = Offer { originator_item: item.clone(), ..Cast::new().terms(Kind::P2OriginatorFirst, 1) };
        match offer.to_wire().originator_item.unwrap().description {
            Some(wire::item::Description::Package(it)) => it.encoded_len(),
            _ => panic!("a package"),
        }
    };
    let half = limits::PACKAGE_BYTES / 2 - 200;
    let rest = (half..).find(|rest| length(&texts([half, *rest])) == limits::PACKAGE_BYTES).unwrap();
    assert!(read(texts([half, rest])).is_ok());
    assert_eq!(read(texts([half, rest + 1])), Err("PACKAGE_SIZE_INVALID"));
    assert!(limits::PACKAGE_BYTES - half - rest < 400, "{half} and {rest} bytes of text");
    let large = |size_bytes| {
        let Description::Information(mut it) = common::information().description else { panic!() };
        it.size_bytes = size_bytes;
        Item::new(Description::Information(it))
    };
    let beside = named("beside.pdf", CONTENT);
    let most = limits::ITEM_BYTES - u64::try_from(CONTENT.len()).unwrap();
    assert!(read(unchecked(vec![large(most), beside.clone()])).is_ok());
    assert_eq!(read(unchecked(vec![large(most + 1), beside])), Err("PACKAGE_SIZE_INVALID"));
}

/// one item that does not fit the others spoils the package, each for a reason of its own.
#[test]
fn what_makes_no_package_is_refused_for_its_reason() {
    let cast = Cast::new();
    let (file, other) = (common::information, || named("other.pdf", CONTENT));
    let bare = Item { properties: Properties::default(), ..other() };
    let paid = common::money::paid(Originator, None);
    let cases = [
        (vec![file(), other()], "ok"),
        (vec![], "PACKAGE_SIZE_INVALID"),
        (vec![file()], "PACKAGE_SIZE_INVALID"),
        (vec![file(), file()], "PACKAGE_ITEM_REPEATED"),
        (vec![file(), unchecked(vec![other(), file()])], "PACKAGE_ITEM_REPEATED"),
        (vec![file(), named("GOODS.PDF", b"%PDF another")], "PACKAGE_ITEM_REPEATED"),
        (vec![common::signature("T"), common::signature("T")], "PACKAGE_ITEM_REPEATED"),
        (vec![file(), common::signature("T")], "PACKAGE_SHARES_NOTHING"),
        (vec![file(), bare.clone()], "PACKAGE_SHARES_NOTHING"),
        (vec![file(), paid.clone()], "PACKAGE_ITEM_NOT_ALLOWED"),
        (vec![common::detached("T", &cast.originator), common::signature("U")], "PACKAGE_ITEM_NOT_ALLOWED"),
        (vec![file(), unchecked(vec![other(), paid])], "PACKAGE_ITEM_NOT_ALLOWED"),
    ];
    for (items, reason) in cases {
        let made = Item::package(items.clone()).map_or_else(|why| why.reason(), |_| "ok");
        assert_eq!(made, reason, "{items:?}");
        assert_eq!(package::check(&items).map_or_else(|why| why.reason(), |()| "ok"), reason);
        assert_eq!(read(unchecked(items)).map_or_else(|why| why, |_| "ok"), reason);
    }
    // A package claims nothing that its items do not share.
    let claims = |property| Item {
        properties: Properties::new([property]),
        ..Item::package(vec![file(), other()]).unwrap()
    };
    assert!(read(claims(Property::Resendable)).is_ok());
    for property in Property::ALL.into_iter().filter(|it| *it != Property::Resendable) {
        assert_eq!(read(claims(property)), Err("FIELD_VALUE_INVALID"), "{property:?}");
    }
}

/// over all pairs of property sets: what is shared is never more than each has, and a package is never in a
/// better protocol than its worst item would be.
#[test]
fn a_package_is_as_good_as_its_worst_item() {
    let sets: Vec<_> = (0u32..128)
        .map(|bits| {
            let chosen = Property::ALL.into_iter().enumerate().filter(|(place, _)| bits & (1 << place) != 0);
            Properties::new(chosen.map(|(_, property)| property))
        })
        .collect();
    let peers = [1, 2, 4, 8, 32, 33, 34, 0b10_1111, 0].map(|bits: usize| sets[bits].clone());
    let rank = |one: &Properties, other: &Properties| match select(one, other) {
        Ok(selection) => selection.protocol.number(),
        Err(_) => select_affidavit(one, other).map_or(7, |it| it.protocol.number()),
    };
    for one in &sets {
        assert_eq!(Properties::shared([one]), *one);
        for other in &sets {
            let shared = Properties::shared([one, other]);
            assert_eq!(shared, Properties::shared([other, one]));
            assert_eq!(shared.generatable(), one.generatable() && other.generatable());
            assert_eq!(shared.verifiable(), one.verifiable() && other.verifiable());
            assert_eq!(shared.revocable(), one.revocable() && other.revocable());
            let resendable = |set: &Properties| set.has(Property::Resendable);
            assert_eq!(resendable(&shared), resendable(one) && resendable(other));
            for peer in &peers {
                let worst = rank(one, peer).max(rank(other, peer));
                assert!(rank(&shared, peer) >= worst, "{one:?} and {other:?} for {peer:?}");
                assert!(rank(peer, &shared) >= worst, "{peer:?} for {one:?} and {other:?}");
            }
        }
    }
    assert_eq!(Properties::shared([]), Properties::default());
}

fn check(package: &Item, bytes: &[u8], pieces: &[usize]) -> Result<(), Unfit> {
    let Description::Package(items) = &package.description else { panic!("a package") };
    let mut check = ContentCheck::package(items.clone()).unwrap();
    let (mut rest, mut sizes) = (bytes, pieces.iter().cycle());
    while !rest.is_empty() {
        let size = sizes.next().map_or(rest.len(), |size| (*size).clamp(1, rest.len()));
        check.update(&rest[..size])?;
        rest = &rest[size..];
    }
    assert_eq!(check.found(), u64::try_from(bytes.len()).unwrap());
    let fit = check.finish()?;
    assert_eq!(*fit.description(), package.description);
    Ok(())
}

/// cut anywhere, changed anywhere, longer, shorter or in another order: the whole package fits or nothing does, and
/// the item at fault is named.
#[test]
fn a_package_fits_whole_or_not_at_all() {
    let package = files();
    let bytes = framed(&package);
    assert_eq!(package.description.content_bytes(), u64::try_from(bytes.len()).ok());
    assert_eq!(check(&package, &bytes, &[]), Ok(()));
    for place in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[place] ^= 1;
        let unfit = check(&package, &changed, &[]).unwrap_err();
        assert_eq!(unfit.reason(), "PACKAGE_ITEM_UNFIT", "byte {place}: {unfit}");
        let short = check(&package, &bytes[..place], &[]).unwrap_err();
        assert_eq!(short.reason(), "PACKAGE_ITEM_UNFIT", "{place} bytes: {short}");
    }
    // The last byte is the last file's, and it is the only one that is named.
    let mut changed = bytes.clone();
    *changed.last_mut().unwrap() ^= 1;
    assert_eq!(check(&package, &changed, &[]), Err(Unfit::InPackage { place: 2, why: "ITEM_HASH_MISMATCH" }));
    let longer = [bytes.clone(), vec![0]].concat();
    assert_eq!(check(&package, &longer, &[]).unwrap_err().reason(), "ITEM_SIZE_MISMATCH");
    let mut claims = bytes.clone();
    claims[..8].fill(0xff);
    assert_eq!(check(&package, &claims, &[]), Err(Unfit::InPackage { place: 0, why: "ITEM_SIZE_MISMATCH" }));
    let leaves: Vec<_> = package.leaves().into_iter().cloned().collect();
    let swapped = unchecked(vec![leaves[1].clone(), leaves[0].clone(), leaves[2].clone()]);
    assert_eq!(check(&package, &framed(&swapped), &[]).unwrap_err().reason(), "PACKAGE_ITEM_UNFIT");
    // Nothing follows the transfer of signatures that the arbiter can replace.
    let Description::Package(items) = signatures("T").description else { panic!() };
    assert!(ContentCheck::package(items).is_none());
}

/// pieces of any size make the same check.
#[test]
fn it_does_not_matter_how_the_content_is_cut() {
    let config =
        ProptestConfig { rng_seed: RngSeed::Fixed(8), failure_persistence: None, ..Default::default() };
    let contents = prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 2..=8);
    let pieces = prop::collection::vec(1..40_usize, 1..20);
    proptest!(config, |((contents, pieces, place) in (contents, pieces, any::<prop::sample::Index>()))| {
        let leaf = |(number, content): (usize, &Vec<u8>)| {
            let Description::Information(mut it) = named(&format!("{number}.bin"), content).description else {
                panic!("a file")
            };
            "application/octet-stream".clone_into(&mut it.media_type);
            Item::new(Description::Information(it))
        };
        let package = Item::package(contents.iter().enumerate().map(leaf).collect()).unwrap();
        let mut bytes = Vec::new();
        for content in &contents {
            bytes.extend(u64::try_from(content.len()).unwrap().to_be_bytes());
            bytes.extend(content);
        }
        let whole = check(&package, &bytes, &[]);
        prop_assert_eq!(check(&package, &bytes, &pieces), whole);
        let place = place.index(bytes.len());
        bytes[place] ^= 0x80;
        prop_assert_eq!(check(&package, &bytes, &pieces), check(&package, &bytes, &[]));
        prop_assert!(check(&package, &bytes, &pieces).is_err());
    });
}

/// of a package of signatures the one that differs is named, and none counts.
#[test]
fn one_signature_that_differs_spoils_the_package() {
    let cast = Cast::new();
    let agreement = cast.agreement(Kind::P1Package);
    let agreed = agreement.offer().item(Responder);
    let sign = |item: Item| {
        let transfer = Transfer { item, ..Transfer::new(&agreement, Responder) };
        Verified::sign(transfer, &cast.responder)
    };
    assert!(signature::check(agreed, sign(agreed.clone())).is_ok());
    let leaves: Vec<_> = agreed.leaves().into_iter().cloned().collect();
    for place in 0..leaves.len() {
        let mut other = leaves.clone();
        other[place] = common::signature("Another");
        let nested = |all: &[Item]| {
            let inner = Item::package(all[..2].to_vec()).unwrap();
            Item::package(vec![inner, all[2].clone()]).unwrap()
        };
        assert_eq!(nested(&leaves), *agreed);
        let unfit = signature::check(agreed, sign(nested(&other))).unwrap_err();
        assert_eq!(unfit, Unfit::InPackage { place, why: "ITEM_KIND_MISMATCH" });
    }
    // The same signatures in another tree, one of them alone, and all but one are another item.
    let others = unchecked(vec![common::signature("Another"), leaves[1].clone()]);
    let fewer = unchecked(leaves[..2].to_vec());
    for other in [Item::package(leaves.clone()).unwrap(), leaves[0].clone(), fewer, others] {
        assert_eq!(signature::check(agreed, sign(other)), Err(Unfit::Kind));
    }
    // A transfer that only announces files is not the files.
    let agreement = cast.agreement(Kind::P2Package);
    let announced = Verified::sign(Transfer::new(&agreement, Originator), &cast.originator);
    assert_eq!(signature::check(agreement.offer().item(Originator), announced), Err(Unfit::Kind));
}

/// one deposit, one verdict, one release for the whole package; each receipt proves itself.
#[test]
fn a_dispute_is_about_the_whole_package() {
    let cast = Cast::new();
    for (kind, number) in [(Kind::P2Package, 2), (Kind::P3Package, 3), (Kind::P5Package, 5)] {
        let mut notary = Notary::new();
        let agreement = cast.agreement(kind);
        let offer = agreement.offer();
        assert_eq!(offer.selection.protocol.number(), number);
        let mut file = |role, action, now| {
            let case = notary.cast.case(&agreement, role, action);
            let receipt = notary.file(&case, now).unwrap().unwrap();
            receipt.verify(offer, Some(case.request().digest())).unwrap().ruled
        };
        let Ruled::Attestation(attested) = file(Originator, Action::Deposit, EARLY) else { panic!() };
        assert_eq!(attested.item, offer.originator_item.digest());
        let ruled = match kind {
            Kind::P2Package => file(Originator, Action::Resolve, EARLY),
            Kind::P3Package => file(Responder, Action::Revoke, EARLY),
            _ => {
                file(Responder, Action::Deposit, EARLY);
                file(Responder, Action::Resolve, EARLY)
            }
        };
        let Ruled::Verdict(verdict) = ruled else { panic!("{kind:?}") };
        let Ruling::Replaced(list) = &verdict.ruling else { panic!("{kind:?}") };
        for replaced in list {
            assert_eq!(replaced.item, *offer.item(replaced.role), "{kind:?}: the whole item");
        }
        let fetch = notary.cast.case(&agreement, Responder, Action::Fetch);
        let record = notary.durable.record(&agreement.exchange_id());
        let mut batch = Batch::new(&notary.desk, &TestVeil, notary.durable.head.clone());
        let fetched = batch.file(&fetch, record, UnixMillis(EARLY), ByRole::default());
        assert_eq!(fetched, Ok(Reply::Content(ContentId(7))), "{kind:?}");
    }
}

/// a package that fits ends the wait, anything else does not; after a verdict its files are fetched, and its
/// signatures stand in the verdict.
#[test]
fn a_session_takes_a_package_whole() {
    let cast = Cast::new();
    let timing = Timing { complain_margin: DurationMillis(30_000) };
    let agreement = cast.agreement(Kind::P2Package);
    let offer = agreement.offer();
    let session = |role: Role, sent, phase| {
        let acceptance = Some(agreement.acceptance().clone());
        Session::restore(role, offer.clone(), acceptance, sent, phase, timing).unwrap()
    };
    let waiting = session(Responder, false, Phase::Waiting);
    let take = |fit| waiting.handle(UnixMillis(EARLY), Input::Received(fit)).next;
    let whole = cast.fits(offer, Originator).unwrap();
    // The first file alone is not the package.
    assert_eq!(take(Fit::Content(common::fit())), waiting);
    assert_eq!(take(Fit::Content(whole.clone())).phase(), Phase::Done(Outcome::Completed));
    let fetching = session(Responder, false, Phase::Asking(arbiter_protocol::role::Ask::Fetch));
    let fetch = |content| fetching.handle(UnixMillis(EARLY), Input::Fetched(content)).next;
    assert_eq!(fetch(common::fit()), fetching);
    assert_eq!(fetch(whole).phase(), Phase::Done(Outcome::Resolved));
    assert_eq!(offer.selection.protocol, Protocol::VerifyThenGenerate);
    assert_ne!(Digest::of(&[CONTENT]), offer.originator_item.digest());
}
