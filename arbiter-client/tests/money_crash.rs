//! Exchanges with money: a party is stopped at every journal write, message, and call of the arbiter or the ledger, and
//! goes on from its journal. By the ledger's own books the exchange still ends fair.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A test may stop where it likes.

mod common;
mod fuse;
mod trades;

use std::sync::Arc;
use std::time::Duration;

use arbiter_client::Outcome;
use arbiter_client::protocol::exchange::selection::Role;
use arbiter_client::testing::{Bench, Cheat, purse};
use arbiter_client::transport::memory::{End, Wire};
use fuse::{Fuse, Party, both_live};
use trades::{BEGIN, TRADES, Trade, after_honest, balances, has, trade, unfunded, until_all_is_over};

/// An exchange has some sixty steps; what comes later is one look at the ledger like another, or one question.
const MOST_STEPS: u64 = 90;

/// S4: both honest, one stopped once, back at once or after its peer lost patience.
#[tokio::test(start_paused = true)]
async fn a_crash_at_any_step_of_a_trade_ends_fair_for_both() {
    let mut crashes = 0;
    for kind in TRADES {
        for crashing in Role::BOTH {
            for pause in [0, 70, 1_000].map(Duration::from_secs) {
                for step in 0..MOST_STEPS {
                    let folder = tempfile::tempdir().unwrap();
                    let bench = Bench::new(folder.path());
                    let setting = trade(&bench, kind, folder.path());
                    let (ours, theirs, burnt) = both_live(&bench, &setting, crashing, step, pause).await;
                    until_all_is_over(&bench, &setting).await;
                    let what = format!(
                        "{kind:?}, {crashing} stopped at step {step} for {pause:?}: {ours:?} {theirs:?}"
                    );
                    let has = |outcome: &Option<Outcome>| outcome.as_ref().is_some_and(|it| has(&bench, it));
                    assert_eq!(has(&ours), has(&theirs), "{what}");
                    let expected = if has(&ours) { after_honest(kind) } else { (BEGIN, BEGIN) };
                    assert_eq!(balances(&bench), expected, "{what}");
                    if pause.is_zero() {
                        assert!(has(&ours), "{what}");
                        assert!(kind == Trade::Swap || bench.arbiter.calls() == 0, "{what}");
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

/// the peer cheats, and the honest party is stopped at every step on its way to the ruling.
#[tokio::test(start_paused = true)]
async fn a_crash_on_the_way_to_the_arbiter_costs_no_money() {
    let mut crashes = 0;
    for (kind, cheat) in [
        (Trade::Purchase, Cheat::QuietAfterReceiving),
        (Trade::Purchase, Cheat::SecondAcceptance),
        (Trade::Sale, Cheat::RevokeAfterReceiving),
        (Trade::Sale, Cheat::PayAndVanish),
        (Trade::Payment, Cheat::WithholdItem),
        (Trade::Rollback, Cheat::WithholdItem),
        (Trade::Change, Cheat::WithholdItem),
        (Trade::Swap, Cheat::WithholdItem),
        (Trade::PurchaseInParts, Cheat::QuietAfterReceiving),
        (Trade::SaleInParts, Cheat::PayAndVanish),
        (Trade::RollbackInParts, Cheat::WithholdItem),
    ] {
        for step in 0..MOST_STEPS {
            let folder = tempfile::tempdir().unwrap();
            let bench = Bench::new(folder.path());
            let setting = trade(&bench, kind, folder.path());
            let wire = Wire::default();
            let journal = Arc::default();
            let role = Role::Originator;
            let alice = Party { bench: &bench, setting: &setting, role, journal, wire: wire.clone() };
            let fuse = Fuse::at(step);
            let cheater = trades::cheater(&bench, &setting, Role::Responder, cheat);
            let mut end = wire.end(End::Second);
            let (outcome, loot) =
                tokio::join!(alice.live_twice(fuse.clone(), Duration::ZERO), cheater.respond(&mut end));
            let (outcome, loot) = (outcome.expect("an originator has its offer"), loot.unwrap());
            until_all_is_over(&bench, &setting).await;
            let what = format!("{kind:?} {cheat:?}, stopped at step {step}: {outcome:?}");
            let offer = &outcome.evidence().offer;
            let gave = if kind.pays(role) {
                trades::is_paid(&bench, offer, role)
            } else {
                loot.has_item() || common::arbiter_gave(&bench, &offer.exchange_id())
            };
            assert!(!gave || has(&bench, &outcome), "F1, {what}");
            if !fuse.blown() {
                break;
            }
            crashes += 1;
        }
    }
    assert!(crashes > 80, "{crashes} crashes");
}

/// who can make one of two payments and not the other is stopped at every step, and has it back all the same.
#[tokio::test(start_paused = true)]
async fn a_crash_of_who_can_pay_only_a_part_costs_no_money() {
    let mut crashes = 0;
    for (kind, payer) in [
        (Trade::PurchaseInParts, Role::Originator),
        (Trade::SaleInParts, Role::Responder),
        (Trade::RollbackInParts, Role::Originator),
    ] {
        for step in 0..MOST_STEPS {
            let folder = tempfile::tempdir().unwrap();
            let bench = Bench::new(folder.path());
            let [poor, rich] = if payer == Role::Originator { ["alice", "bob"] } else { ["bob", "alice"] };
            bench.ledger.open(&purse(rich), "100.00 EUR").unwrap();
            bench.ledger.open(&purse(poor), "24.50 EUR").unwrap();
            let setting = unfunded(&bench, kind, folder.path());
            let before = balances(&bench);
            let (ours, theirs, burnt) = both_live(&bench, &setting, payer, step, Duration::ZERO).await;
            until_all_is_over(&bench, &setting).await;
            let what = format!("{kind:?}, stopped at step {step}: {ours:?} {theirs:?}");
            for outcome in [&ours, &theirs].into_iter().flatten() {
                assert!(!has(&bench, outcome), "{what}");
            }
            assert_eq!(balances(&bench), before, "{what}");
            if !burnt {
                break;
            }
            crashes += 1;
        }
    }
    assert!(crashes > 30, "{crashes} crashes");
}
