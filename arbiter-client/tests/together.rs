//! Packages between two clients, in memory and on virtual time: everything of a package or nothing, also on the disk.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A test may stop where it likes.

mod common;
mod reader;

use std::path::Path;
use std::sync::Arc;

use arbiter_client::bundle::{Bundle, Claim};
use arbiter_client::consent::Screen;
use arbiter_client::error::Usage;
use arbiter_client::protocol::crypto::Signer as _;
use arbiter_client::protocol::exchange::item::DetachedSignature;
use arbiter_client::protocol::exchange::selection::Role;
use arbiter_client::protocol::ids::Digest;
use arbiter_client::testing::{Bench, Cheat, Cheater, identity, signer};
use arbiter_client::transport::memory::{End, Wire};
use arbiter_client::verify::Finding;
use arbiter_client::verify::{FileFacts, Trust, verify};
use arbiter_client::{Client, Error, Give, Outcome, explain, items};
use common::{Deal, has_peers_item, review, setting};
use zeroize::Zeroizing;

async fn parties(bench: &Bench) -> (Client, Client) {
    let build = async |name| bench.builder(name).build().await.unwrap();
    (build("alice").await, build("bob").await)
}

/// What is in a folder, by name.
fn listed(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .map(|all| all.map(|it| it.unwrap().file_name().into_string().unwrap()).collect())
        .unwrap_or_default();
    names.sort();
    names
}

/// what is given is found out by its bytes, whatever its order; anything else is refused before it is signed.
#[tokio::test(start_paused = true)]
async fn the_files_of_a_package_are_given_in_any_order_and_all_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let (alice, _) = parties(&bench).await;
    let deal = || setting(&bench, Deal::FilesForSignatures, folder.path());
    let Give::Files(files) = deal().originator else { panic!("files") };
    let mut reversed = files.clone();
    reversed.reverse();
    for order in [files.clone(), reversed] {
        let id = alice.offer(deal().terms, Give::Files(order)).await.unwrap();
        let own = alice.status(id).await.unwrap().evidence.own_files;
        let names: Vec<_> = own.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["annex0.txt", "annex1.txt", "annex2.txt", "annex3.txt"]);
    }
    // As long as one of them, and not the same.
    let same_size = folder.path().join("same-size.txt");
    std::fs::write(&same_size, "?").unwrap();
    let replaced = |place: usize, path: &Path| {
        let mut files = files.clone();
        files[place] = path.to_owned();
        Give::Files(files)
    };
    let one_byte = files.iter().position(|path| path.ends_with("annex2.txt")).unwrap();
    let refused = alice.offer(deal().terms, replaced(one_byte, &same_size)).await;
    assert!(matches!(&refused, Err(Error::File { path, .. }) if *path == same_size), "{refused:?}");
    let twice = alice.offer(deal().terms, replaced(0, &files[1])).await;
    assert!(matches!(twice, Err(Error::Usage(Usage::Content(_)))), "{twice:?}");
    let others =
        [Give::Nothing, Give::File(files[0].clone()), Give::Files(files[1..].to_vec()), Give::Files(vec![])];
    for give in others {
        let refused = alice.offer(deal().terms, give).await;
        assert!(matches!(refused, Err(Error::Usage(Usage::Content(_)))), "{refused:?}");
    }
    let lone = setting(&bench, Deal::FileForSignature, folder.path()).terms;
    let refused = alice.offer(lone, Give::Files(files.clone())).await;
    assert!(matches!(refused, Err(Error::Usage(Usage::Content(_)))), "{refused:?}");
    let contracts = || setting(&bench, Deal::Contracts, folder.path()).terms;
    let refused = alice.offer(contracts(), Give::Files(files)).await;
    assert!(matches!(refused, Err(Error::Usage(Usage::Content(_)))), "{refused:?}");
    alice.offer(contracts(), Give::Nothing).await.unwrap();
}

/// a package that arrives has its name only when all of it fits; what breaks off or does not fit leaves no file of it.
#[tokio::test(start_paused = true)]
async fn one_unfit_file_leaves_nothing_of_the_package() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let bob = bench.builder("bob").build().await.unwrap();
    let setting = setting(&bench, Deal::FilesForSignatures, folder.path());
    let wire = Wire::default();
    let (mut a, mut b) = (wire.end(End::First), wire.end(End::Second));
    // Only the last byte of the last file is wrong.
    let cheater = Cheater::new(identity("alice"), Cheat::AlteredItem, setting.originator_file.clone());
    let offer = common::offer_of(&bench, setting.terms, 7);
    let honest = async {
        let offer = bob.next_offer(&mut b).await?;
        let id = bob.accept(&offer, Give::Nothing).await?;
        let stopped = bob.run(id, &mut b).await;
        Ok::<_, Error>((id, stopped))
    };
    let (ran, _) = tokio::join!(honest, cheater.originate(offer, &mut a));
    let (id, outcome) = ran.unwrap();
    assert!(matches!(outcome, Ok(Outcome::Aborted(_))), "{outcome:?}");
    let status = bob.status(id).await.unwrap();
    assert_eq!((status.evidence.received_file, status.sent), (None, false));
    let remark = status.remark.unwrap();
    assert!(remark == "PACKAGE_ITEM_UNFIT" || remark.contains("ABORT"), "{remark}");
    let received = bench.folder("bob").join("received").join(id.to_string());
    assert_eq!(listed(&received), Vec::<String>::new());
}

/// what is withheld for a package is resolved for all of it; the copy made for the deposit does not stay, and
/// files given by another name and order are enough after the journal is lost.
#[tokio::test(start_paused = true)]
async fn a_bundle_and_the_files_are_enough_to_complain() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let (alice, bob) = parties(&bench).await;
    let setting = setting(&bench, Deal::FilesForSignatures, folder.path());
    let id = alice.offer(setting.terms, setting.originator.clone()).await.unwrap();
    let offer = review(&bob, &alice.status(id).await.unwrap().evidence).await.unwrap();
    bob.accept(&offer, setting.responder.clone()).await.unwrap();
    let bundle = Bundle::of(&bob.status(id).await.unwrap().evidence);
    let Give::Files(mut files) = setting.originator else { panic!("files") };
    let renamed = folder.path().join("under another name");
    std::fs::rename(&files[0], &renamed).unwrap();
    files[0] = renamed;
    files.reverse();

    let anew = bench.builder("alice").build().await.unwrap();
    for few in [&files[1..], &[]] {
        let refused = anew.import(&bundle, few).await;
        assert!(matches!(refused, Err(Error::Usage(Usage::Content(_)))), "{refused:?}");
    }
    anew.import(&bundle, &files).await.unwrap();
    let outcome = anew.complain(id).await.unwrap();
    assert!(matches!(outcome, Outcome::Resolved(_)) && has_peers_item(&outcome), "{outcome:?}");
    assert_eq!(listed(&bench.folder("alice").join("packages")), Vec::<String>::new());

    // The other party has all the files from the arbiter.
    let outcome = bob.complain(id).await.unwrap();
    assert!(matches!(outcome, Outcome::Resolved(_)) && has_peers_item(&outcome), "{outcome:?}");
    let package = outcome.evidence().received_file.clone().unwrap();
    assert_eq!(listed(&package), ["annex0.txt", "annex1.txt", "annex2.txt", "annex3.txt"]);
}

/// The screen names each item and that it is all of them or none; a bundle proves each, and is explained.
#[tokio::test(start_paused = true)]
async fn people_see_every_item_of_a_package() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let (alice, bob) = parties(&bench).await;
    let deal = setting(&bench, Deal::FilesForSignatures, folder.path());
    let wire = Wire::default();
    let (mut a, mut b) = (wire.end(End::First), wire.end(End::Second));
    let id = alice.offer(deal.terms.clone(), deal.originator.clone()).await.unwrap();
    let bobs = async {
        let offer = bob.next_offer(&mut b).await.unwrap();
        let id = bob.accept(&offer, Give::Nothing).await.unwrap();
        bob.run(id, &mut b).await.unwrap()
    };
    let (hers, his) = tokio::join!(async { alice.run(id, &mut a).await.unwrap() }, bobs);
    assert!(has_peers_item(&hers) && has_peers_item(&his));
    assert_eq!(bench.arbiter.calls(), 0);

    let offer = &his.evidence().offer;
    let now = bench.clock.now();
    for (role, gives, gets) in
        [(Role::Originator, "4 items", "3 items"), (Role::Responder, "3 items", "4 items")]
    {
        let screen = Screen::new(offer, role, &[], now);
        let lines = |title: &str| {
            let section = screen.sections.iter().find(|section| section.title == title);
            section.unwrap().lines.join("\n")
        };
        assert!(lines("You give").starts_with(&format!("{gives} together, all of them or none:")));
        assert!(lines("You get").starts_with(&format!("{gets} together, all of them or none:")));
        let shown = screen.to_string();
        for part in ["annex0.txt", "annex3.txt", "| Receipt, first", "| Receipt, third", "4 of 4", "3 of 3"] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        assert!(shown.contains("package of files") && shown.contains("package of signatures"), "{shown}");
        // These receipts are about a file that is not handed over: both are told.
        let warns =
            screen.warnings.iter().any(|it| it.contains("ANOTHER file than the one that is handed over"));
        assert!(warns, "{shown}");
    }

    let bundle = Bundle::of(his.evidence());
    let package = his.evidence().received_file.clone().unwrap();
    let last = package.join("annex3.txt");
    let file = FileFacts::read("annex3.txt", std::fs::File::open(&last).unwrap()).unwrap();
    let report = verify(&bundle, Trust::Pinned(&bench.arbiter.identity()), std::slice::from_ref(&file));
    assert_eq!(report.finding, Finding::Good, "{report:?}");
    let told = explain::summary(&bundle).join("\n");
    assert!(told.contains("4 items together") && told.contains("3 items together"), "{told}");
}

/// A receipt for each file that is handed over, or the screen says that one is missing.
#[tokio::test(start_paused = true)]
async fn a_file_that_nobody_signs_for_is_pointed_out() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let deal = setting(&bench, Deal::FilesForSignatures, folder.path());
    let leaves: Vec<_> = deal.terms.originator_item.leaves().into_iter().cloned().collect();
    let receipt = |leaf: &arbiter_client::protocol::exchange::item::Item| {
        let [file] = arbiter_client::plain::files(leaf)[..] else { panic!("a file") };
        items::signature("Receipt", "I have it.", file.clone())
    };
    let receipts: Vec<_> = leaves.iter().map(receipt).collect();
    let warnings = |responder_item| {
        let terms = arbiter_client::OfferTerms { responder_item, ..deal.terms.clone() };
        let offer = common::offer_of(&bench, terms, 7);
        Screen::new(&offer, Role::Originator, &[], bench.clock.now()).warnings
    };
    assert_eq!(warnings(items::package(receipts.clone()).unwrap()), Vec::<String>::new());
    for kept in [items::package(receipts[..3].to_vec()).unwrap(), receipts[1].clone()] {
        let warnings = warnings(kept);
        assert!(matches!(&warnings[..], [one] if one.contains("NOBODY SIGNS")), "{warnings:?}");
    }
    assert_ne!(Digest::of(&[b""]), leaves[0].digest());
}

/// Both bundles are good, by this program and by the second reader.
fn proven(bench: &Bench, outcomes: &[&Outcome], claim: Claim) {
    let bundles: Vec<_> = outcomes.iter().map(|outcome| Bundle::of(outcome.evidence())).collect();
    for bundle in &bundles {
        assert_eq!(bundle.outcome, claim);
        assert_eq!(Bundle::parse(&bundle.to_json()).unwrap(), *bundle);
        let report = verify(bundle, Trust::Pinned(&bench.arbiter.identity()), &[]);
        assert!(report.good, "{:#?}", report.checks);
    }
    if reader::there() {
        let files = [bundles[0].to_json(), bundles[bundles.len() - 1].to_json()];
        let (codes, said) = reader::judge(&files, Some(bench.arbiter.identity().key), None);
        assert_eq!(codes, [0, 0], "the second reader: {said}");
    }
}

/// a package of detached signatures changes hands whole, without the arbiter; or the arbiter takes all of
/// them out of their escrows. One escrow that is missing, false or in another's place, and nothing of ours leaves.
#[tokio::test(start_paused = true)]
async fn sealed_signatures_come_all_or_none() {
    for deal in [Deal::SealedContracts, Deal::FilesForSealed] {
        let folder = tempfile::tempdir().unwrap();
        let bench = Bench::new(folder.path());
        let (alice, bob) = parties(&bench).await;
        let setting = setting(&bench, deal, folder.path());
        let wire = Wire::default();
        let (mut a, mut b) = (wire.end(End::First), wire.end(End::Second));
        let id = alice.offer(setting.terms, setting.originator).await.unwrap();
        let bobs = async {
            let offer = bob.next_offer(&mut b).await.unwrap();
            let id = bob.accept(&offer, setting.responder).await.unwrap();
            bob.run(id, &mut b).await.unwrap()
        };
        let (ours, theirs) = tokio::join!(alice.run(id, &mut a), bobs);
        let ours = ours.unwrap();
        for outcome in [&ours, &theirs] {
            assert!(matches!(outcome, Outcome::Completed(_)) && has_peers_item(outcome), "{outcome:?}");
        }
        assert_eq!(bench.arbiter.calls(), 0);
        proven(&bench, &[&ours, &theirs], Claim::Completed);
    }
    for (cheat, reason) in [
        (Cheat::QuietAfterReceiving, None),
        (Cheat::SecondAcceptance, None),
        (Cheat::EscrowMissingOne, Some("ESCROW_REQUIRED")),
        (Cheat::EscrowsSwapped, Some("ESCROW_OF_SOMETHING_ELSE")),
        (Cheat::EscrowUnopenable, Some("ESCROW_FALSE")),
        (Cheat::EscrowMissing, Some("ESCROW_REQUIRED")),
        (Cheat::EscrowOfOther, Some("ESCROW_OF_SOMETHING_ELSE")),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let bench = Bench::new(folder.path());
        let (alice, _) = parties(&bench).await;
        let setting = setting(&bench, Deal::SealedContracts, folder.path());
        let wire = Wire::default();
        let (mut a, mut b) = (wire.end(End::First), wire.end(End::Second));
        let id = alice.offer(setting.terms, Give::Nothing).await.unwrap();
        let cheater =
            Cheater::new(identity("bob"), cheat, None).with_arbiter(Arc::new(bench.arbiter.clone()));
        let (outcome, loot) = tokio::join!(alice.run(id, &mut a), cheater.respond(&mut b));
        let (outcome, loot) = (outcome.unwrap(), loot.unwrap());
        let status = alice.status(id).await.unwrap();
        match reason {
            None => {
                assert!(matches!(outcome, Outcome::Resolved(_)), "{cheat:?}: {outcome:?}");
                assert!(has_peers_item(&outcome), "{cheat:?}");
                proven(&bench, &[&outcome], Claim::Resolved);
            }
            Some(reason) => {
                assert!(matches!(outcome, Outcome::Aborted(_)) && !loot.has_item(), "{cheat:?}: {outcome:?}");
                assert_eq!(status.remark.as_deref(), Some(reason), "{cheat:?}");
                assert_eq!(status.evidence.own_transfer, None, "{cheat:?}");
            }
        }
    }
}

/// signatures made elsewhere are given in the order of the package, each good; and a bundle is enough to go on.
#[tokio::test(start_paused = true)]
async fn finished_signatures_are_given_in_the_order_of_their_package() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let (alice, bob) = parties(&bench).await;
    let deal = || setting(&bench, Deal::SealedContracts, folder.path()).terms;
    let leaves = deal().originator_item;
    let leaves = leaves.description.detached_leaves();
    let sign = |it: &&DetachedSignature| {
        Zeroizing::new(signer("alice").sign(it.statement.document().as_bytes()).to_vec())
    };
    let good: Vec<_> = leaves.iter().map(sign).collect();
    let mut turned = good.clone();
    turned.swap(0, 2);
    let mut altered = good.clone();
    altered[1][0] ^= 1;
    for unfit in [turned, altered] {
        let refused = alice.offer(deal(), Give::Signatures(unfit)).await;
        assert!(matches!(refused, Err(Error::Usage(Usage::SignatureUnfit))), "{refused:?}");
    }
    for give in [
        Give::Signatures(good[1..].to_vec()),
        Give::Signatures(Vec::new()),
        Give::Signature(good[0].clone()),
        Give::File(folder.path().join("notice.txt")),
    ] {
        let refused = alice.offer(deal(), give).await;
        assert!(matches!(refused, Err(Error::Usage(Usage::Content(_)))), "{refused:?}");
    }
    let lone = setting(&bench, Deal::Detached, folder.path()).terms;
    let refused = alice.offer(lone, Give::Signatures(good.clone())).await;
    assert!(matches!(refused, Err(Error::Usage(Usage::Content(_)))), "{refused:?}");

    let id = alice.offer(deal(), Give::Signatures(good)).await.unwrap();
    let offer = review(&bob, &alice.status(id).await.unwrap().evidence).await.unwrap();
    bob.accept(&offer, Give::Nothing).await.unwrap();
    let bundle = Bundle::of(&bob.status(id).await.unwrap().evidence);
    let anew = bench.builder("bob").build().await.unwrap();
    anew.import(&bundle, &[]).await.unwrap();
    let outcome = anew.complain(id).await.unwrap();
    assert!(matches!(outcome, Outcome::Resolved(_)) && has_peers_item(&outcome), "{outcome:?}");
    let outcome = alice.complain(id).await.unwrap();
    assert!(matches!(outcome, Outcome::Aborted(_) | Outcome::Resolved(_)), "{outcome:?}");
    assert!(has_peers_item(&outcome), "whoever asked, there is one verdict: {outcome:?}");
}
