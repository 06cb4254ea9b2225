//! A party is stopped at every journal write, before and after it is durable, at every message and at every call
//! of the arbiter, and goes on from its journal: the exchange still ends fair for both, and alone it still ends.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A test may stop where it likes.

mod common;
mod fuse;

use std::sync::Arc;
use std::time::Duration;

use arbiter_client::Outcome;
use arbiter_client::protocol::exchange::selection::Role;
use arbiter_client::testing::{Bench, Cheat, Cheater, identity};
use arbiter_client::transport::memory::{End, Wire};
use common::{Deal, all_deals, arbiter_gave, has_peers_item, setting};
use fuse::{Fuse, Party, both_live};

/// R-301, S4, S20: both parties honest, one of them stopped once, back at once or after its peer lost patience.
#[tokio::test(start_paused = true)]
async fn a_crash_at_any_step_ends_fair_for_both() {
    let mut crashes = 0;
    for deal in all_deals() {
        for crashing in [Role::Originator, Role::Responder] {
            let first = deal.has_file().then(|| deal.first());
            for pause in [0, 70, 2_000, 4_000].map(Duration::from_secs) {
                if first == Some(crashing) && pause > Duration::from_secs(3_600) {
                    continue; // Who sends first and stays away over the deadline has given up its claim.
                }
                for step in 0.. {
                    let folder = tempfile::tempdir().unwrap();
                    let bench = Bench::new(folder.path());
                    let setting = setting(&bench, deal, folder.path());
                    let (ours, theirs, burnt) = both_live(&bench, &setting, crashing, step, pause).await;
                    let what = format!("{deal:?}, {crashing} stopped at step {step} for {pause:?}");
                    let has = |outcome: &Option<Outcome>| outcome.as_ref().is_some_and(has_peers_item);
                    let (ours_has, theirs_has) = (has(&ours), has(&theirs));
                    assert_eq!(ours_has, theirs_has, "{what}: {ours:?} {theirs:?}");
                    if pause.is_zero() {
                        assert!(ours_has, "{what}: nobody lost patience: {ours:?} {theirs:?}");
                        assert_eq!(bench.arbiter.calls(), 0, "{what}");
                    }
                    if !burnt {
                        break;
                    }
                    crashes += 1;
                }
            }
        }
    }
    assert!(crashes > 300, "{crashes} crashes");
}

/// R-301, S4, S37: the peer takes the item and goes quiet; the honest party is stopped at every step on its way to the
/// ruling.
#[tokio::test(start_paused = true)]
async fn a_crash_on_the_way_to_the_arbiter_ends_fair() {
    let mut crashes = 0;
    for (deal, cheat) in [
        (Deal::Contract, Cheat::QuietAfterReceiving),
        (Deal::FileForSignature, Cheat::QuietAfterReceiving),
        (Deal::SignatureForFile, Cheat::SecondAcceptance),
        (Deal::SignatureForFile, Cheat::WithholdItem),
        (Deal::Detached, Cheat::QuietAfterReceiving),
        (Deal::Detached, Cheat::SecondAcceptance),
        (Deal::DetachedForSignature, Cheat::WithholdItem),
        (Deal::SignatureForDetached, Cheat::WithholdItem),
        (Deal::FileForDetached, Cheat::QuietAfterReceiving),
        (Deal::DetachedForFile, Cheat::SecondAcceptance),
        (Deal::SealedContracts, Cheat::QuietAfterReceiving),
        (Deal::SealedContracts, Cheat::SecondAcceptance),
        (Deal::FilesForSealed, Cheat::QuietAfterReceiving),
    ] {
        for step in 0.. {
            let folder = tempfile::tempdir().unwrap();
            let bench = Bench::new(folder.path());
            let setting = setting(&bench, deal, folder.path());
            let wire = Wire::default();
            let alice = Party {
                bench: &bench,
                setting: &setting,
                role: Role::Originator,
                journal: Arc::default(),
                wire: wire.clone(),
            };
            let fuse = Fuse::at(step);
            let cheater = Cheater::new(identity("bob"), cheat, setting.responder_file.clone())
                .with_arbiter(Arc::new(bench.arbiter.clone()))
                .for_time(Duration::from_secs(20_000));
            let mut end = wire.end(End::Second);
            let cheater = cheater.respond(&mut end);
            let (outcome, loot) = tokio::join!(alice.live_twice(fuse.clone(), Duration::ZERO), cheater);
            let (outcome, loot) = (outcome.expect("an originator has its offer"), loot.unwrap());
            let what = format!("{deal:?} {cheat:?}, stopped at step {step}: {outcome:?}");
            let id = outcome.evidence().exchange_id();
            let gains = loot.has_item() || arbiter_gave(&bench, &id);
            assert!(!gains || has_peers_item(&outcome), "{what}");
            assert!(!matches!(outcome, Outcome::Completed(_)), "{what}");
            if !fuse.blown() {
                break;
            }
            crashes += 1;
        }
    }
    assert!(crashes > 80, "{crashes} crashes");
}
