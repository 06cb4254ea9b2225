//! Packages: which items make one, what is shared, and that all of it counts or nothing.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may fail by panicking"
)]

mod common;

use std::collections::BTreeSet;

use arbiter_protocol::crypto::Signer as _;
use arbiter_protocol::error::Rejected;
use arbiter_protocol::escrow::{Escrow, EscrowError, RsaHash, RsaPadding, SignatureKey, Suite};
use arbiter_protocol::evidence::leaf::Event;
use arbiter_protocol::exchange::item::{Description, DetachedSignature, Item};
use arbiter_protocol::exchange::kind::content::ContentCheck;
use arbiter_protocol::exchange::kind::detached::Place;
use arbiter_protocol::exchange::kind::package as frames;
use arbiter_protocol::exchange::kind::pledge::{Malformed, Pledge};
use arbiter_protocol::exchange::kind::{Unfit, signature};
use arbiter_protocol::exchange::package;
use arbiter_protocol::exchange::payment::{Hold, Timeout};
use arbiter_protocol::exchange::property::{Properties, Property};
use arbiter_protocol::exchange::selection::Role::{Originator, Responder};
use arbiter_protocol::exchange::selection::{ByRole, Protocol, Role, select, select_affidavit};
use arbiter_protocol::ids::Digest;
use arbiter_protocol::limits;
use arbiter_protocol::message::agreement::{Acceptance, Agreement, EscrowTerms, Offer};
use arbiter_protocol::message::payment::{PaymentAction, PaymentReceipt, PaymentState, PaymentTerms};
use arbiter_protocol::message::request::Action;
use arbiter_protocol::message::transfer::Transfer;
use arbiter_protocol::message::verdict::Ruling;
use arbiter_protocol::message::wire;
use arbiter_protocol::role::arbiter::{Case, payment_orders};
use arbiter_protocol::role::{Fit, Input, Outcome, Phase, Session, Timing};
use arbiter_protocol::ruling::chain::Walk;
use arbiter_protocol::ruling::receipt::Ruled;
use arbiter_protocol::ruling::sequencer::{Batch, ContentId, Reply};
use arbiter_protocol::statement::{Payload as _, Signed, Verified};
use arbiter_protocol::time::{DurationMillis, UnixMillis};
use common::{CONTENT, Cast, EARLY, Kind, Notary, TestVeil, files, framed, named, signatures};
use curve25519_dalek::EdwardsPoint;
use curve25519_dalek::scalar::{Scalar, clamp_integer};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use prost::Message as _;
use sha2::{Digest as _, Sha512};
use zeroize::Zeroizing;

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

/// A payment of the originator's account, as in every exchange with money.
fn part(units: u64, hold: Option<Timeout>) -> Item {
    let hold = hold.map(|timeout| Hold { timeout, ..common::money::hold() });
    let mut payment = common::money::payment(Originator, hold);
    payment.amount.units = units;
    Item::new(Description::Payment(payment))
}

/// payments are together only with payments, and only those that come back if one of them fails; the arbiter can
/// undo them, and does nothing else with them.
#[test]
fn payments_are_together_only_if_each_can_be_undone() {
    let held = |units| part(units, Some(Timeout::Post));
    let file = named("a.pdf", b"%PDF-1.7 a");
    let package = Item::package(vec![held(1), held(2)]).unwrap();
    assert_eq!(package.properties, Properties::new([Property::Revocable]));
    assert_eq!(package.description.payments().len(), 2);
    assert!(package.description.is_content() && !package.description.is_depositable());
    assert_eq!(package.description.content_bytes(), None);
    let deep = Item::package(vec![held(3), package.clone()]).unwrap();
    let units: Vec<_> = deep.description.payments().iter().map(|it| it.amount.units).collect();
    assert_eq!((units, &deep.properties), (vec![3, 1, 2], &package.properties));
    let reason = |items: Vec<Item>| Item::package(items).map_err(|why| why.reason()).unwrap_err();
    for other in [None, Some(Timeout::Void)] {
        assert_eq!(reason(vec![held(1), part(2, other)]), "PACKAGE_PAYMENT_NOT_REVOCABLE");
        assert_eq!(reason(vec![part(1, other), part(2, other)]), "PACKAGE_PAYMENT_NOT_REVOCABLE");
    }
    assert_eq!(reason(vec![held(1), file]), "PACKAGE_ITEM_NOT_ALLOWED");
    assert_eq!(reason(vec![held(1), held(1)]), "PACKAGE_ITEM_REPEATED");
    let opaque = Item { properties: Properties::new([Property::Observable]), ..held(1) };
    assert_eq!(reason(vec![opaque, held(2)]), "PACKAGE_SHARES_NOTHING");
    // What could not be undone is not even read.
    let unread = unchecked(vec![part(1, None), part(2, None)]);
    assert_eq!(read(unread), Err("PACKAGE_PAYMENT_NOT_REVOCABLE"));
}

/// Section 3, R-220: each payment of a package is one of its own, bound to its place; a lone one is named as ever.
#[test]
fn every_payment_of_a_package_has_terms_of_its_own() {
    let (cast, offer) = paid_in_parts();
    let terms = PaymentTerms::all(&offer, Originator);
    assert_eq!(PaymentTerms::of(&offer, Originator), None);
    assert_eq!(PaymentTerms::all(&offer, Responder), []);
    let names: BTreeSet<_> = terms.iter().map(|it| it.reference).collect();
    assert_eq!((terms.len(), names.len()), (2, 2));
    for (place, terms) in (0u8..).zip(&terms) {
        let exchange = offer.exchange_id();
        let reference = Digest::of(&[b"arbiter payment reference v1\0", exchange.as_bytes(), &[0], &[place]]);
        assert_eq!((terms.reference, terms.authority), (reference, Some(cast.arbiter.public_key())));
    }
    for kind in Kind::MONEY {
        let offer = cast.offer(kind, 1);
        for role in Role::BOTH {
            let alone = PaymentTerms::of(&offer, role);
            assert_eq!(PaymentTerms::all(&offer, role), alone.into_iter().collect::<Vec<_>>(), "{kind:?}");
        }
    }
}

/// An offer of two payments for a file, the payer first.
fn paid_in_parts() -> (Cast, Verified<Offer>) {
    let cast = Cast::new();
    let parts = [1_000, 234].map(|units| part(units, Some(Timeout::Post))).to_vec();
    let terms =
        Offer { originator_item: Item::package(parts).unwrap(), ..cast.terms(Kind::P3OriginatorPays, 1) };
    let signed = Verified::sign(terms, &cast.originator);
    let offer = Signed::<Offer>::parse(signed.envelope().clone()).unwrap().verify_offer().unwrap();
    (cast, offer)
}

fn receipt_of(terms: &PaymentTerms, state: PaymentState) -> Verified<PaymentReceipt> {
    common::money::receipt(terms, state)
}

/// the receipts of a package count all together, each for its own payment, in the order of the leaves.
#[test]
fn the_receipts_of_a_package_fit_all_or_none() {
    let (_, offer) = paid_in_parts();
    let terms = PaymentTerms::all(&offer, Originator);
    let bytes = |place: usize, state| receipt_of(&terms[place], state).envelope().encode();
    let check = |parts: &[Vec<u8>]| {
        let mut check = ContentCheck::of(&offer, Originator, None).unwrap();
        for byte in frames::framed(parts) {
            check.update(&[byte])?;
        }
        check.finish()
    };
    let (reserved, voided) = (PaymentState::Reserved, PaymentState::Voided);
    let good = [bytes(0, reserved), bytes(1, PaymentState::Posted(234))];
    let fit = check(&good).unwrap();
    assert!(fit.fits(&offer, Originator) && !fit.fits(&offer, Responder));
    let split: Vec<_> = good.iter().map(Vec::as_slice).collect();
    assert_eq!(frames::parts(&frames::framed(&good)), Some(split));
    let unfit = |place, why| Err(Unfit::InPackage { place, why });
    assert_eq!(check(&[bytes(0, reserved), bytes(1, voided)]), unfit(1, "ITEM_NOT_PAID"));
    assert_eq!(check(&[bytes(0, reserved), bytes(0, reserved)]), unfit(1, "ITEM_OTHER_PAYMENT"));
    assert_eq!(check(&[bytes(1, reserved), bytes(0, reserved)]), unfit(0, "ITEM_OTHER_PAYMENT"));
    assert_eq!(check(&[Vec::new(), bytes(1, reserved)]), unfit(0, "ITEM_NOT_A_RECEIPT"));
    assert_eq!(check(&good[..1]).unwrap_err().reason(), "PACKAGE_ITEM_UNFIT");
    assert_eq!(check(&[good.to_vec(), vec![vec![1]]].concat()).unwrap_err().reason(), "ITEM_SIZE_MISMATCH");
    assert_eq!(frames::parts(&frames::framed(&good)[..9]), None);
    // The same payments in another exchange are others.
    let (cast, _) = paid_in_parts();
    let terms =
        Offer { originator_item: offer.originator_item.clone(), ..cast.terms(Kind::P3OriginatorPays, 2) };
    let other = Verified::sign(terms, &cast.originator);
    assert!(!fit.fits(&other, Originator));
}

/// a verdict that revokes orders every payment of the package to be voided; each order is open until its own
/// answer, which counts once, and the exchange is not over before the last.
#[test]
fn every_payment_of_a_package_is_ordered_and_answered_by_itself() {
    let (cast, offer) = paid_in_parts();
    let orders = payment_orders(&offer, &Ruling::Revoked(vec![Originator]));
    let terms = PaymentTerms::all(&offer, Originator);
    assert_eq!(orders.len(), 2);
    for ((role, order), terms) in orders.iter().zip(&terms) {
        assert_eq!((*role, order.action, &order.terms), (Originator, PaymentAction::Void, terms));
    }
    assert_eq!(payment_orders(&offer, &Ruling::Revoked(vec![Responder])), []);
    assert_eq!(payment_orders(&offer, &Ruling::Aborted), []);

    let acceptance = Acceptance { exchange_id: offer.exchange_id(), nonce: [2; 32] };
    let agreement = Agreement::join(offer.clone(), Verified::sign(acceptance, &cast.responder)).unwrap();
    let (id, mut notary) = (offer.exchange_id(), Notary::of(cast));
    let case = notary.cast.case(&agreement, Originator, Action::Revoke);
    let ruled = notary.file(&case, common::money::SEND_BY).unwrap().unwrap();
    ruled.verify(&offer, Some(case.request().digest())).unwrap();
    assert_eq!(notary.durable.record(&id).open_orders(), orders);
    let hear = |notary: &mut Notary, terms: &PaymentTerms, state| {
        let mut batch = Batch::new(&notary.desk, &TestVeil, notary.durable.head.clone());
        let now = UnixMillis(common::money::SEND_BY);
        let heard = batch.hear(id, notary.durable.record(&id), Originator, &receipt_of(terms, state), now);
        notary.durable.apply(batch.close());
        heard
    };
    let (first, second) = (&terms[0], &terms[1]);
    assert!(!hear(&mut notary, second, PaymentState::Reserved), "not final");
    assert!(hear(&mut notary, second, PaymentState::Posted(234)), "whatever the ledger says");
    assert!(!hear(&mut notary, second, PaymentState::Voided), "the first answer counts");
    assert_eq!(notary.durable.record(&id).open_orders(), orders[..1]);
    assert!(hear(&mut notary, first, PaymentState::Voided));
    let record = notary.durable.record(&id);
    assert_eq!((record.open_orders(), record.answers.originator.len()), (Vec::new(), 2));
    assert_eq!(record.answers.responder, []);
    let mut walk = Walk::new(Some(notary.cast.identity()));
    let events: Vec<_> = notary.durable.leaves.iter().map(|leaf| walk.read(leaf).unwrap().event).collect();
    assert_eq!(events[2..], [Event::PaymentPosted, Event::PaymentVoided]);
}

/// only where a verdict can revoke them; and every hold outlasts the arbiter's last decision.
#[test]
fn payments_in_a_package_are_for_p3_and_p4_and_each_hold_is_long_enough() {
    let cast = Cast::new();
    let refused = |terms: Offer| {
        let signed = Verified::sign(terms, &cast.originator);
        let parsed = Signed::<Offer>::parse(signed.envelope().clone()).unwrap();
        parsed.verify_offer().map(drop).map_err(|why| why.reason())
    };
    let parts = || Item::package([1, 2].map(|units| part(units, Some(Timeout::Post))).to_vec()).unwrap();
    assert_eq!(refused(Offer { originator_item: parts(), ..cast.terms(Kind::P3OriginatorPays, 1) }), Ok(()));
    assert_eq!(refused(Offer { originator_item: parts(), ..cast.terms(Kind::P4, 1) }), Ok(()));
    let weak = Offer { originator_item: parts(), ..cast.terms(Kind::P6WordForFile, 1) };
    assert!(refused(weak).is_err());
    let by = cast.terms(Kind::P3OriginatorPays, 1).complain_by.unwrap();
    let short = common::money::payment(Originator, Some(Hold { until: by, ..common::money::hold() }));
    let items = vec![part(1, Some(Timeout::Post)), Item::new(Description::Payment(short))];
    let item = Item::package(items).unwrap();
    let terms = Offer { originator_item: item, ..cast.terms(Kind::P3OriginatorPays, 1) };
    assert_eq!(refused(terms), Err("DEADLINE_MISMATCH"));
}

/// A package of detached signatures by `role`, on two levels.
fn sealed(cast: &Cast, role: Role, titles: [&str; 3]) -> Item {
    let [first, second, third] = titles.map(|title| common::detached(title, cast.key(role)));
    Item::package(vec![first, Item::package(vec![second, third]).unwrap()]).unwrap()
}

/// A contract in which both give three detached signatures.
fn sealed_contract(cast: &Cast, nonce: u8) -> Agreement {
    let terms = Offer {
        originator_item: sealed(cast, Originator, ["one", "two", "three"]),
        responder_item: sealed(cast, Responder, ["one", "two", "three"]),
        ..cast.terms(Kind::P1Escrow, nonce)
    };
    let signed = Verified::sign(terms, &cast.originator);
    let offer = Signed::<Offer>::parse(signed.envelope().clone()).unwrap().verify_offer().unwrap();
    let acceptance = cast.acceptance(&offer, nonce);
    Agreement::join(offer, acceptance).unwrap()
}

/// detached signatures are together with nothing else, none is there twice, each by a key that nobody
/// else signs with, and their escrows fit together.
#[test]
fn detached_signatures_are_together_and_their_escrows_fit() {
    let cast = Cast::new();
    let one = |title: &str| common::detached(title, &cast.originator);
    let package = sealed(&cast, Originator, ["a", "b", "c"]);
    assert_eq!(package.properties, Properties::new([Property::GeneratableByEscrow]));
    let item = &package.description;
    let titles: Vec<_> = item.detached_leaves().iter().map(|it| it.statement.title.as_str()).collect();
    assert_eq!(titles, ["a", "b", "c"]);
    assert!(item.is_content() && !item.is_depositable());
    assert_eq!(item.content_bytes(), None);
    let reason = |items: Vec<Item>| Item::package(items).map_err(|why| why.reason()).unwrap_err();
    for other in [named("a.pdf", b"%PDF-1.7 a"), common::signature("b"), part(1, Some(Timeout::Post))] {
        assert_eq!(reason(vec![one("a"), other]), "PACKAGE_ITEM_NOT_ALLOWED");
    }
    assert_eq!(reason(vec![one("a"), one("a")]), "PACKAGE_ITEM_REPEATED");
    // Another certificate beside the same key and text makes no other signature; another key does.
    let mut certified = one("a");
    let Description::DetachedSignature(it) = &mut certified.description else { panic!() };
    it.certificate = vec![0x30, 0x00];
    assert_eq!(reason(vec![one("a"), certified]), "PACKAGE_ITEM_REPEATED");
    Item::package(vec![one("a"), common::detached("a", &common::signer(99))]).unwrap();

    let refused = |terms: Offer| {
        let signed = Verified::sign(terms, &cast.originator);
        let parsed = Signed::<Offer>::parse(signed.envelope().clone()).unwrap();
        parsed.verify_offer().map(drop).map_err(|why| why.reason())
    };
    let with = |item: Item| Offer { originator_item: item, ..cast.terms(Kind::P1Escrow, 1) };
    assert_eq!(refused(with(package)), Ok(()));
    for foreign in [&cast.responder, &cast.arbiter, &cast.log] {
        let item = Item::package(vec![one("a"), common::detached("b", foreign)]).unwrap();
        assert_eq!(refused(with(item)), Err("PARTIES_NOT_DISTINCT"));
    }
    // As many as fit, and one more: by keys of Ed25519 a whole package, of RSA fewer.
    let rsa = |number: u8| {
        let modulus = [vec![0xc1; 255], vec![number | 1]].concat();
        let key = SignatureKey::rsa(modulus, 65_537, RsaPadding::Pkcs1, RsaHash::Sha256).unwrap();
        let mut item = one(&format!("by key {number}"));
        let Description::DetachedSignature(it) = &mut item.description else { panic!() };
        it.key = key;
        item
    };
    let of = |count: u8| Item::package((0..count).map(rsa).collect()).unwrap();
    let by = |bytes: usize, padding| {
        let modulus = [vec![0xc1; bytes - 1], vec![1]].concat();
        let mut item = one(&format!("{bytes} bytes"));
        let Description::DetachedSignature(it) = &mut item.description else { panic!() };
        it.key = SignatureKey::rsa(modulus, 65_537, padding, RsaHash::Sha256).unwrap();
        item
    };
    let in_suite = |item: Item, suite| {
        let terms = with(item);
        let escrow = terms.escrow.clone().map(|it| EscrowTerms { suite, ..it });
        refused(Offer { escrow, ..terms })
    };
    let whole = Item::package((0..8).map(|n| one(&n.to_string())).collect()).unwrap();
    for suite in Suite::ALL {
        assert_eq!(in_suite(whole.clone(), suite), Ok(()), "{}", suite.name());
    }
    for (suite, most) in [(Suite::FAST, 3), (Suite::BALANCED, 6)] {
        assert_eq!(in_suite(of(most), suite), Ok(()), "{}", suite.name());
        assert_eq!(in_suite(of(most + 1), suite), Err("ESCROWS_TOO_LARGE"), "{}", suite.name());
    }
    assert_eq!(in_suite(of(8), Suite::COMPACT), Ok(()));
    // To the byte; and the longest escrow alone.
    let together = |other| vec![by(258, RsaPadding::Pss), by(other, RsaPadding::Pkcs1)];
    let keys = together(695);
    let keys = keys.iter().filter_map(|item| item.description.detached());
    let bytes: usize = keys.map(|it| limits::FRAME_BYTES + Suite::FAST.most_bytes(&it.key)).sum();
    assert_eq!(bytes, limits::ESCROW_BYTES);
    assert_eq!(in_suite(Item::package(together(695)).unwrap(), Suite::FAST), Ok(()));
    assert_eq!(in_suite(Item::package(together(696)).unwrap(), Suite::FAST), Err("ESCROWS_TOO_LARGE"));
    for suite in Suite::ALL {
        assert_eq!(in_suite(by(limits::MODULUS_BYTES, RsaPadding::Pss), suite), Ok(()), "{}", suite.name());
    }
    // The bound is one: no escrow is longer.
    let terms = cast.escrow_terms(common::until(Kind::P1Escrow));
    for suite in Suite::ALL {
        let offer =
            Offer { escrow: Some(EscrowTerms { suite, ..terms.clone() }), ..cast.terms(Kind::P1Escrow, 3) };
        let offer = Verified::sign(offer, &cast.originator);
        let signature = cast.finished(&offer, Originator).unwrap();
        let most = suite.most_bytes(&offer.originator_item.description.detached().unwrap().key);
        for coins in 0..8 {
            let escrow = Place::originator(&offer).put(&signature, &Zeroizing::new([coins; 32])).unwrap();
            assert!(escrow.to_bytes().len() <= most, "{} of {most}", escrow.to_bytes().len());
        }
    }
}

/// the escrows of a package have one form.
#[test]
fn the_escrows_of_a_package_have_one_form() {
    let cast = Cast::new();
    let agreement = sealed_contract(&cast, 1);
    let escrows = cast.escrows_of(&agreement, Originator);
    let encoded: Vec<_> = escrows.iter().map(Escrow::to_bytes).collect();
    let pledge = Pledge::Escrows(escrows.clone());
    assert_eq!(pledge.to_bytes(), frames::framed(&encoded));
    assert_eq!(Pledge::from_bytes(&pledge.to_bytes()), Ok(pledge.clone()));
    assert_eq!(pledge.digest(), Digest::of(&[&pledge.to_bytes()]));
    assert_eq!((pledge.escrow(), pledge.escrows().len()), (None, 3));
    // A lone one is as it ever was, and never with a length.
    let alone = Pledge::from(escrows[0].clone());
    assert_eq!((alone.to_bytes(), alone.escrow()), (encoded[0].clone(), Some(&escrows[0])));
    let reason = |bytes: &[u8]| Pledge::from_bytes(bytes).unwrap_err().reason();
    assert_eq!(reason(&frames::framed(&encoded[..1])), "ESCROW_SIZE_INVALID");
    assert_eq!(reason(&frames::framed(&vec![encoded[0].clone(); 9])), "ESCROW_SIZE_INVALID");
    assert_eq!(reason(&[0; 8]), "ESCROW_SIZE_INVALID");
    let whole = pledge.to_bytes();
    for cut in [1, 9, encoded[0].len() + 8, whole.len() - 1] {
        assert_eq!(reason(&whole[..cut]), "ESCROW_SIZE_INVALID", "cut to {cut}");
    }
    assert_eq!(reason(&[&whole[..], &[0]].concat()), "ESCROW_SIZE_INVALID");
    let receipt = vec![0x0a; 3];
    assert_eq!(reason(&frames::framed(&[encoded[0].clone(), receipt])), "ESCROW_VERSION_UNSUPPORTED");
    let big = frames::framed(&vec![vec![1; limits::ESCROW_BYTES / 2]; 2]);
    assert_eq!(reason(&big), "ESCROW_SIZE_INVALID");
    // What is too large is not looked into; what is just not too large is.
    let fault = |bytes: usize| Pledge::from_bytes(&vec![0; bytes]).unwrap_err();
    let too_large = |got| Malformed::Escrow(EscrowError::TooLarge { got });
    assert_eq!(fault(limits::ESCROW_BYTES), Malformed::Escrow(EscrowError::Package));
    for got in [limits::ESCROW_BYTES + 1, limits::ESCROW_BYTES + 2] {
        assert_eq!(fault(got), too_large(got));
    }
}

/// of so many leaves; another number is no content of theirs.
#[test]
fn contents_are_split_as_they_were_joined() {
    let contents: [&[u8]; 4] = [b"one", b"", b"three", b"four"];
    for count in 0..=contents.len() {
        let joined = frames::joined(&contents[..count]);
        for leaves in 2..=contents.len() + 1 {
            let expected = (leaves == count).then(|| contents[..count].to_vec());
            // A lone content has no length before it.
            assert_eq!(frames::split(&joined, leaves), expected, "{count} as {leaves}");
        }
        assert_eq!(frames::split(&joined, 1), Some(vec![joined.as_slice()]));
    }
    let whole = frames::joined(&contents);
    assert_eq!(frames::split(&whole[..whole.len() - 1], 4), None);
}

/// S26: an escrow for each signature, in its place, for this agreement, and every one of them good; else nothing is
/// agreed, filed or opened.
#[test]
fn every_signature_of_a_package_has_its_own_good_escrow() {
    let cast = Cast::new();
    let agreement = sealed_contract(&cast, 1);
    let (offer, secret) = (agreement.offer(), cast.escrow_secret());
    let good = cast.escrows_of(&agreement, Responder);
    let other = cast.escrows_of(&sealed_contract(&cast, 2), Responder);
    let place = Place::of(offer, Responder, agreement.id());
    let instead = |leaf: usize, escrow: &Escrow| {
        let mut escrows = good.clone();
        escrows[leaf] = escrow.clone();
        escrows
    };
    let swapped = vec![good[0].clone(), good[2].clone(), good[1].clone()];
    let hollow = common::hollow(&good[2]);
    let more = [good.clone(), vec![good[0].clone()]].concat();
    for (escrows, checked, filed, opened) in [
        (good.clone(), None, None, None),
        (good[1..].to_vec(), Some("ESCROW_REQUIRED"), Some("ESCROW_REQUIRED"), Some("ESCROW_REQUIRED")),
        (Vec::new(), Some("ESCROW_REQUIRED"), Some("ESCROW_REQUIRED"), Some("ESCROW_REQUIRED")),
        (more, Some("ESCROW_NOT_AGREED"), Some("ESCROW_NOT_AGREED"), Some("ESCROW_NOT_AGREED")),
        (
            swapped,
            Some("ESCROW_OF_SOMETHING_ELSE"),
            Some("ESCROW_OF_SOMETHING_ELSE"),
            Some("ESCROW_OF_SOMETHING_ELSE"),
        ),
        (
            instead(1, &good[0]),
            Some("ESCROW_OF_SOMETHING_ELSE"),
            Some("ESCROW_OF_SOMETHING_ELSE"),
            Some("ESCROW_OF_SOMETHING_ELSE"),
        ),
        (
            instead(2, &other[2]),
            Some("ESCROW_OF_SOMETHING_ELSE"),
            Some("ESCROW_OF_SOMETHING_ELSE"),
            Some("ESCROW_OF_SOMETHING_ELSE"),
        ),
        // What belongs here is filed, and only opening shows that nothing is in it.
        (instead(2, &hollow), Some("ESCROW_FALSE"), None, Some("ESCROW_UNOPENABLE")),
    ] {
        let reason = |result: Result<(), Rejected>| result.err().map(|why| why.reason());
        let pledge = Pledge::Escrows(escrows);
        assert_eq!(reason(place.check(pledge.clone()).map(drop)), checked);
        assert_eq!(reason(place.open_all(pledge.escrows(), &secret).map(drop)), opened);
        let request =
            cast.request(agreement.exchange_id(), Some(agreement.id()), Originator, Action::Resolve);
        let originator = cast.pledge(&agreement, Originator);
        let case = Case::admit(
            &cast.identity(),
            common::unverified(&request),
            common::unverified(offer),
            Some(common::unverified(agreement.acceptance())),
            ByRole { originator, responder: Some(pledge) },
        );
        assert_eq!(reason(case.map(drop)), filed);
    }
    // All of them come out, as the content of the package.
    let (fit, content) = place.open_all(&good, &secret).unwrap();
    assert_eq!(*content, frames::framed(&cast.all_finished(offer, Responder)));
    assert!(fit.fits(offer, Responder) && !fit.fits(offer, Originator));
    // without the originator's pledge nothing is accepted, with it is.
    let timing = Timing { complain_margin: DurationMillis(30_000) };
    let now = UnixMillis(EARLY);
    let refused = Session::accept(agreement.clone(), None, now, timing).unwrap_err();
    assert_eq!(refused.reason(), "ESCROW_REQUIRED");
    let pledged = cast.escrowed(&agreement, Originator);
    assert_eq!(pledged.as_ref().unwrap().verified().len(), 3);
    Session::accept(agreement.clone(), pledged.as_ref(), now, timing).unwrap();
}

/// A valid signature by the key of this seed that uses this nonce, whatever the text.
fn signed_with(seed: u8, nonce: u8, document: &str) -> [u8; 64] {
    let hash = Sha512::digest([seed; 32]);
    let secret = Scalar::from_bytes_mod_order(clamp_integer(hash[..32].try_into().unwrap()));
    let (key, nonce) = (EdwardsPoint::mul_base(&secret).compress(), Scalar::from(nonce));
    let point = EdwardsPoint::mul_base(&nonce).compress();
    let challenge = Sha512::new().chain_update(point.as_bytes()).chain_update(key.as_bytes());
    let challenge = challenge.chain_update(document).finalize();
    let response = nonce + Scalar::from_bytes_mod_order_wide(&challenge.into()) * secret;
    [*point.as_bytes(), response.to_bytes()].concat().try_into().unwrap()
}

/// S29: a key that has used one nonce for two signatures of a package is exposed, and its package is refused.
#[test]
fn a_nonce_is_not_used_twice_in_a_package() {
    let cast = Cast::new();
    let agreement = sealed_contract(&cast, 1);
    let offer = agreement.offer();
    let leaves = offer.originator_item.description.detached_leaves();
    let sign = |it: &&DetachedSignature| signed_with(1, 7, &it.statement.document());
    let signatures: Vec<_> = leaves.iter().map(sign).collect();
    let place = Place::originator(offer);
    let put = |(leaf, it): (usize, &[u8; 64])| place.put_leaf(leaf, it, &Zeroizing::new([1; 32])).unwrap();
    let escrows: Vec<_> = signatures.iter().enumerate().map(put).collect();
    let refused = place.check(Pledge::Escrows(escrows)).unwrap_err();
    assert_eq!(refused.reason(), "SIGNATURE_NONCE_REUSED");
}

/// of a package the signatures in escrow fit, all of them in their order, and nothing else.
#[test]
fn the_signatures_of_a_package_fit_all_or_none() {
    let cast = Cast::new();
    let agreement = sealed_contract(&cast, 1);
    let offer = agreement.offer();
    let pledge = cast.pledge(&agreement, Responder).unwrap();
    let check = |parts: &[[u8; 64]]| {
        let mut check = ContentCheck::of(offer, Responder, Some(&pledge)).unwrap();
        for byte in frames::framed(parts) {
            check.update(&[byte])?;
        }
        check.finish()
    };
    let good = cast.all_finished(offer, Responder);
    assert!(check(&good).unwrap().fits(offer, Responder));
    let unfit = |place, why| Err(Unfit::InPackage { place, why });
    let mut altered = good.clone();
    altered[1][63] ^= 1;
    assert_eq!(check(&altered), unfit(1, "ITEM_SIGNATURE_INVALID"));
    assert_eq!(check(&[good[1], good[0], good[2]]), unfit(0, "ITEM_SIGNATURE_INVALID"));
    assert_eq!(check(&good[..2]), unfit(2, "ITEM_SIZE_MISMATCH"));
    assert_eq!(check(&[good.clone(), vec![good[0]]].concat()).unwrap_err().reason(), "ITEM_SIZE_MISMATCH");
    let mut longer = ContentCheck::of(offer, Responder, None).unwrap();
    assert_eq!(
        longer.update(&[&65u64.to_be_bytes()[..], &[1; 65]].concat()),
        Err(Unfit::InPackage { place: 0, why: "ITEM_SIZE_MISMATCH" })
    );
    // Valid by the same key over the same text, and not the one in escrow.
    let leaves = offer.responder_item.description.detached_leaves();
    let another = signed_with(2, 7, &leaves[2].statement.document());
    assert_eq!(check(&[good[0], good[1], another]), unfit(2, "ITEM_NOT_THE_ONE_IN_ESCROW"));
}

/// one verdict opens all of both packages, each is held as one content, and a stranger can follow it
/// from the receipt; with one escrow missing there is none.
#[test]
fn one_verdict_opens_every_signature_of_both_packages() {
    let mut notary = Notary::new();
    let agreement = sealed_contract(&notary.cast, 1);
    let offer = agreement.offer();
    assert_eq!(offer.selection.protocol, Protocol::ContractSigning);
    let case = notary.cast.case(&agreement, Responder, Action::Resolve);
    let receipt = notary.file(&case, EARLY).unwrap().unwrap();
    let Ruled::Verdict(verdict) = receipt.verify(offer, Some(case.request().digest())).unwrap().ruled else {
        panic!("a verdict")
    };
    let Ruling::Replaced(list) = &verdict.ruling else { panic!("replaced") };
    let items: Vec<_> = list.iter().map(|it| (it.role, &it.item)).collect();
    assert_eq!(items, [(Originator, &offer.originator_item), (Responder, &offer.responder_item)]);
    for role in Role::BOTH {
        let pledge = notary.cast.pledge(&agreement, role).unwrap();
        assert!(verdict.evidence.contains(&pledge.digest()));
        let fetch = notary.cast.case(&agreement, role, Action::Fetch);
        let record = notary.durable.record(&agreement.exchange_id());
        let mut batch = Batch::new(&notary.desk, &TestVeil, notary.durable.head.clone());
        let fetched = batch.file(&fetch, record, UnixMillis(EARLY), ByRole::default());
        assert_eq!(fetched, Ok(Reply::Content(common::content_of(role.peer()))));
    }
    // A receipt whose evidence lacks one of the escrows proves nothing.
    let mut bad = receipt;
    let Some(Pledge::Escrows(all)) = &mut bad.evidence.escrows.originator else { panic!("escrows") };
    all.pop();
    assert!(bad.verify(offer, Some(case.request().digest())).is_err());
}
