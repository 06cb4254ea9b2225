//! Exchanges with money, and files through the arbiter: honest, with each cheat, and with a ledger that is away.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A test may stop where it likes.

mod common;
mod reader;
mod trades;

use std::time::Duration;

use arbiter_client::bundle::{Bundle, Claim};
use arbiter_client::error::{MoneyFault, PeerFault, Usage};
use arbiter_client::ledger::{LedgerPort as _, Powers};
use arbiter_client::protocol::exchange::item::Description;
use arbiter_client::protocol::exchange::payment::{Hold, Timeout};
use arbiter_client::protocol::exchange::selection::Role;
use arbiter_client::protocol::message::payment::{PaymentAction, PaymentOrder, PaymentTerms};
use arbiter_client::protocol::message::verdict::Ruling;
use arbiter_client::protocol::statement::Verified;
use arbiter_client::protocol::time::DurationMillis;
use arbiter_client::testing::{Bench, Cheat, LedgerCall, TestLedger, identity, purse};
use arbiter_client::transport::memory::{End, Wire};
use arbiter_client::verify::{Trust, verify};
use arbiter_client::{Client, Error, Give, Outcome, items};
use common::{Setting, offer_of, review};
use trades::{
    BEGIN, HERS, HIS, TRADES, Trade, after_honest, balances, has, since, trade, unfunded, until_all_is_over,
};

/// Both honest, from offer to end.
async fn both(bench: &Bench, setting: &Setting) -> (Result<Outcome, Error>, Result<Outcome, Error>) {
    let alice = bench.builder("alice").build().await.unwrap();
    let bob = bench.builder("bob").build().await.unwrap();
    run_both(&alice, &bob, setting).await
}

async fn run_both(
    alice: &Client,
    bob: &Client,
    setting: &Setting,
) -> (Result<Outcome, Error>, Result<Outcome, Error>) {
    let wire = Wire::default();
    let (mut a, mut b) = (wire.end(End::First), wire.end(End::Second));
    let id = alice.offer(setting.terms.clone(), setting.originator.clone()).await.unwrap();
    let bobs = async {
        let offer = bob.next_offer(&mut b).await?;
        let id = bob.accept(&offer, setting.responder.clone()).await?;
        bob.run(id, &mut b).await
    };
    tokio::join!(alice.run(id, &mut a), bobs)
}

/// The bundles of both verify offline, and claim this.
fn verifies(bench: &Bench, outcomes: [&Outcome; 2], claim: Claim) {
    let all = outcomes.map(|outcome| Bundle::of(outcome.evidence()));
    if reader::there() {
        let files = all.each_ref().map(Bundle::to_json);
        let (codes, said) = reader::judge(&files, Some(bench.arbiter.identity().key), None);
        assert_eq!(codes, [0, 0], "the second reader: {said}");
    }
    for bundle in all {
        assert_eq!(bundle.outcome, claim);
        let read = Bundle::parse(&bundle.to_json()).unwrap();
        let report = verify(&read, Trust::Pinned(&bench.arbiter.identity()), &[]);
        assert!(report.good, "{:#?}", report.checks);
    }
}

/// F3: honest parties never ask the arbiter, but where both chose to go through it; everybody has what was agreed.
#[tokio::test(start_paused = true)]
async fn honest_trades_end_as_agreed() {
    for kind in TRADES {
        let folder = tempfile::tempdir().unwrap();
        let bench = Bench::new(folder.path());
        let setting = trade(&bench, kind, folder.path());
        let (alice, bob) = both(&bench, &setting).await;
        let (alice, bob) = (alice.unwrap(), bob.unwrap());
        let in_line = kind == Trade::Swap;
        for outcome in [&alice, &bob] {
            let completed = matches!(outcome, Outcome::Completed(_));
            let resolved = matches!(outcome, Outcome::Resolved(_));
            assert!(if in_line { resolved } else { completed }, "{kind:?}: {outcome:?}");
        }
        if !in_line {
            assert_eq!(bench.arbiter.calls(), 0, "{kind:?}");
        }
        verifies(&bench, [&alice, &bob], if in_line { Claim::Resolved } else { Claim::Completed });
        // Who was paid with a hold has the money at once, but in P4.
        if matches!(kind, Trade::Rollback | Trade::RollbackInParts) {
            assert!(since(&setting, bench.clock.now()) >= trades::HOLD_END, "final only after the holds");
        } else {
            assert_eq!(
                since(&setting, bench.clock.now()) / 60_000,
                0,
                "{kind:?}: nobody waits for a deadline"
            );
        }
        if kind != Trade::Collection {
            assert_eq!(balances(&bench), after_honest(kind), "{kind:?}");
        }
        until_all_is_over(&bench, &setting).await;
        assert_eq!(balances(&bench), after_honest(kind), "{kind:?}");
        assert!(has(&bench, &alice) && has(&bench, &bob), "{kind:?}");
    }
}

/// What is left of the cheater's chances: it never has the honest party's item for good while that party has nothing.
async fn against(
    kind: Trade,
    cheat: Cheat,
    cheating: Role,
) -> (Bench, Setting, Option<Outcome>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let setting = trade(&bench, kind, folder.path());
    let wire = Wire::default();
    let (mut a, mut b) = (wire.end(End::First), wire.end(End::Second));
    let cheater = trades::cheater(&bench, &setting, cheating, cheat);
    let what = format!("{kind:?}, {cheating} {cheat:?}");
    let (outcome, loot) = match cheating {
        Role::Responder => {
            let alice = bench.builder("alice").build().await.unwrap();
            let id = alice.offer(setting.terms.clone(), setting.originator.clone()).await.unwrap();
            let (outcome, loot) = tokio::join!(alice.run(id, &mut a), cheater.respond(&mut b));
            (Some(outcome.unwrap_or_else(|error| panic!("{what}: {error}"))), loot.unwrap())
        }
        Role::Originator => {
            let bob = bench.builder("bob").build().await.unwrap();
            let offer = offer_of(&bench, setting.terms.clone(), 9);
            let run = async {
                // Who sees through a reservation signs nothing.
                let offer = match bob.next_offer(&mut b).await {
                    Err(Error::Peer(PeerFault::Rejected(_))) if kind.reserves() => return None,
                    offer => offer.unwrap(),
                };
                let id = bob.accept(&offer, setting.responder.clone()).await.unwrap();
                Some(bob.run(id, &mut b).await)
            };
            let (outcome, loot) = tokio::join!(run, cheater.originate(offer, &mut a));
            (outcome.map(|it| it.unwrap_or_else(|error| panic!("{what}: {error}"))), loot.unwrap())
        }
    };
    until_all_is_over(&bench, &setting).await;
    let Some(ours) = &outcome else {
        assert_eq!(balances(&bench).1, BEGIN, "{what}: nothing was signed, nothing is gone");
        return (bench, setting, outcome, folder);
    };
    let evidence = ours.evidence();
    let offer = &evidence.offer;
    let gave = match &offer.item(evidence.role).description {
        it if !it.payments().is_empty() => trades::is_paid(&bench, offer, evidence.role),
        // What the arbiter holds for the cheater it can fetch.
        _ => loot.has_item() || common::arbiter_gave(&bench, &offer.exchange_id()),
    };
    assert!(!gave || has(&bench, ours), "F1, {what}: {ours:?}");
    let (alice, bob) = balances(&bench);
    assert_eq!(alice + bob, 2 * BEGIN, "{what}: no money is lost");
    (bench, setting, outcome, folder)
}

/// F1, S7, S16: every trade against every cheat, by either party.
#[tokio::test(start_paused = true)]
async fn no_cheat_gets_something_for_nothing() {
    let mut played = 0;
    for kind in TRADES {
        for cheating in Role::BOTH {
            let first = kind.first() == cheating;
            let money = if kind.pays(cheating) { &Cheat::MONEY[..] } else { &[] };
            let pledge = if kind.pays(cheating) && kind.reserves() { &Cheat::ESCROW[..3] } else { &[] };
            for cheat in Cheat::ALL.into_iter().chain(money.iter().chain(pledge).copied()) {
                if cheat.suits(cheating, first) {
                    against(kind, cheat, cheating).await;
                    played += 1;
                }
            }
        }
    }
    assert!(played > 180, "{played}");
}

fn ruling(bench: &Bench, outcome: &Outcome) -> Option<(Ruling, String)> {
    let verdict = bench.arbiter.verdict(&outcome.evidence().exchange_id())?;
    Some((verdict.ruling, verdict.rule))
}

/// the seller takes the receipt and does not send, or sends a wrong file: the money comes back, all of it.
#[tokio::test(start_paused = true)]
async fn money_comes_back_when_nothing_comes_for_it() {
    for cheat in [Cheat::QuietAfterReceiving, Cheat::WithholdItem, Cheat::AlteredItem] {
        let (bench, setting, outcome, _folder) = against(Trade::Purchase, cheat, Role::Responder).await;
        let outcome = outcome.unwrap();
        assert!(matches!(outcome, Outcome::Aborted(_)), "{cheat:?}: {outcome:?}");
        let (ruling, rule) = ruling(&bench, &outcome).unwrap();
        assert_eq!((ruling, rule.as_str()), (Ruling::Revoked(vec![Role::Originator]), "R-417"));
        assert_eq!(balances(&bench), (BEGIN, BEGIN));
        verifies(&bench, [&outcome, &outcome], Claim::Revoked);
        assert!(since(&setting, bench.clock.now()) > trades::SEND_BY);
        assert_eq!(outcome.evidence().decide_by(), setting.terms.complain_by);
    }
}

/// who has the file and asks for the money back as well gets the file once more.
#[tokio::test(start_paused = true)]
async fn who_has_the_item_gets_no_money_back() {
    for (kind, cheating) in [(Trade::Purchase, Role::Originator), (Trade::Sale, Role::Responder)] {
        let (bench, _, outcome, _folder) = against(kind, Cheat::RevokeAfterReceiving, cheating).await;
        let outcome = outcome.unwrap();
        assert!(matches!(outcome, Outcome::Completed(_)), "{outcome:?}");
        let (_, rule) = ruling(&bench, &outcome).unwrap();
        assert_eq!(rule, "R-416");
        assert_eq!(balances(&bench), after_honest(kind));
    }
}

/// K1, R-416: the seller leaves the file with the arbiter under an acceptance that the payer has never seen.
#[tokio::test(start_paused = true)]
async fn a_deposit_under_another_acceptance_opens() {
    let (bench, _, outcome, _folder) =
        against(Trade::Purchase, Cheat::SecondAcceptance, Role::Responder).await;
    let outcome = outcome.unwrap();
    assert!(matches!(outcome, Outcome::Resolved(_)) && has(&bench, &outcome), "{outcome:?}");
    let (_, rule) = ruling(&bench, &outcome).unwrap();
    assert_eq!(rule, "R-416");
    assert_eq!(balances(&bench), after_honest(Trade::Purchase));
}

/// No money: the exchange ends, before the deadline, and nothing has changed hands. Also on the second sender's side.
#[tokio::test(start_paused = true)]
async fn without_money_the_exchange_is_given_up_at_once() {
    for (kind, poor) in [
        (Trade::Purchase, "alice"),
        (Trade::Sale, "bob"),
        (Trade::Payment, "alice"),
        (Trade::Collection, "bob"),
        (Trade::Change, "bob"),
        (Trade::Rollback, "alice"),
        (Trade::Rollback, "bob"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let bench = Bench::new(folder.path());
        let rich = if poor == "alice" { "bob" } else { "alice" };
        bench.ledger.open(&purse(rich), "100.00 EUR").unwrap();
        bench.ledger.open(&purse(poor), "1.00 EUR").unwrap();
        let setting = unfunded(&bench, kind, folder.path());
        let before = balances(&bench);
        let (alice, bob) = both(&bench, &setting).await;
        let (alice, bob) = (alice.unwrap(), bob.unwrap());
        // Who waits in P2 is told by the abort token only after the deadline: the peer closes with a reason, and it may
        // not abort earlier.
        for outcome in [&alice, &bob] {
            assert!(matches!(outcome, Outcome::Aborted(_)), "{kind:?}, {poor}: {outcome:?}");
        }
        let who = if poor == "alice" { &alice } else { &bob };
        assert!(
            who.evidence().own_transfer.is_none() || matches!(kind, Trade::Rollback | Trade::RollbackInParts),
            "{kind:?}: nothing was sent"
        );
        until_all_is_over(&bench, &setting).await;
        assert_eq!(balances(&bench), before, "{kind:?}, {poor}");
    }
}

/// R-606, F4: what the payee has voided before it was made never will be paid. The ledger's receipt says so, whatever order may
/// still be on its way: the payer gives up at once, and not at a deadline.
#[tokio::test(start_paused = true)]
async fn a_payment_that_never_will_be_made_is_given_up_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let setting = trade(&bench, Trade::Collection, folder.path());
    let alice = bench.builder("alice").build().await.unwrap();
    let bob = bench.builder("bob").build().await.unwrap();
    let id = alice.offer(setting.terms.clone(), setting.originator.clone()).await.unwrap();
    let offer = alice.status(id).await.unwrap().evidence.offer;
    let terms = PaymentTerms::of(&offer, Role::Responder).unwrap();
    let void = Verified::sign(PaymentOrder { terms, action: PaymentAction::Void }, &purse("alice"));
    bench.ledger.order(void.envelope()).await.unwrap();

    // The answer to the first order is lost.
    bench.ledger.lose_answers(true);
    let wire = Wire::default();
    let (mut a, mut b) = (wire.end(End::First), wire.end(End::Second));
    let bobs = async {
        let offer = bob.next_offer(&mut b).await.unwrap();
        let id = bob.accept(&offer, setting.responder.clone()).await.unwrap();
        let outcome = bob.run(id, &mut b).await.unwrap();
        (outcome, since(&setting, bench.clock.now()))
    };
    let answers = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        bench.ledger.lose_answers(false);
    };
    let (hers, (his, ended), ()) = tokio::join!(alice.run(id, &mut a), bobs, answers);
    assert!(matches!((&hers.unwrap(), &his), (Outcome::Aborted(_), Outcome::Aborted(_))), "{his:?}");
    assert!(ended < 60_000, "after {ended} ms");
    assert_eq!(balances(&bench), (BEGIN, BEGIN));
}

/// A ledger that is away when the money is due: ordered again until it is back, or until it is too late.
#[tokio::test(start_paused = true)]
async fn a_ledger_away_at_sending_time() {
    for kind in TRADES.into_iter().filter(|kind| *kind != Trade::Swap && !kind.reserves()) {
        for (away, completes) in [(20, true), (9_000, false)] {
            for loses in [false, true] {
                let folder = tempfile::tempdir().unwrap();
                let bench = Bench::new(folder.path());
                let setting = trade(&bench, kind, folder.path());
                let begun = async {
                    bench.ledger.lose_answers(loses);
                    bench.ledger.set_down(if loses { &[] } else { &[LedgerCall::Make] });
                    tokio::time::sleep(Duration::from_secs(away)).await;
                    bench.ledger.lose_answers(false);
                    bench.ledger.set_down(&[]);
                };
                let ((alice, bob), ()) = tokio::join!(both(&bench, &setting), begun);
                let (alice, bob) = (alice.unwrap(), bob.unwrap());
                bench.arbiter.carry_out();
                until_all_is_over(&bench, &setting).await;
                let what = format!("{kind:?}, away {away} s, loses {loses}: {alice:?} {bob:?}");
                assert_eq!(has(&bench, &alice), has(&bench, &bob), "{what}");
                if completes {
                    assert!(has(&bench, &alice), "{what}");
                    assert_eq!(balances(&bench), after_honest(kind), "{what}");
                    assert_eq!(bench.arbiter.calls(), 0, "{what}");
                }
            }
        }
    }
}

/// a reservation that is missing, forged, of another payment, or none at all, is seen through before anything of
/// value leaves.
#[tokio::test(start_paused = true)]
async fn a_false_reservation_is_no_reservation() {
    let cheats = [
        (Cheat::EscrowMissing, "RESERVATION_REQUIRED"),
        (Cheat::EscrowOfOther, "RESERVATION_OF_OTHER_PAYMENT"),
        (Cheat::ForgedReceipt, "RESERVATION_OF_OTHER_LEDGER"),
        (Cheat::UnpaidReceipt, "RESERVATION_STATE_MISMATCH"),
    ];
    for kind in trades::RESERVED {
        for (cheat, reason) in cheats {
            if kind.pays(Role::Originator) {
                let (_, _, outcome, _folder) = against(kind, cheat, Role::Originator).await;
                assert!(outcome.is_none(), "{kind:?} {cheat:?}");
            }
            if kind.pays(Role::Responder) {
                let (_, _, outcome, _folder) = against(kind, cheat, Role::Responder).await;
                let outcome = outcome.unwrap();
                assert!(matches!(outcome, Outcome::Aborted(_)), "{kind:?} {cheat:?}: {outcome:?}");
                assert!(outcome.evidence().acceptance.is_none(), "{reason}: silence, {kind:?}");
            }
        }
    }
}

/// who pays vanishes after it has got the item, and who is to give vanishes after it was paid: the arbiter
/// has the money posted, or gives the item out; and what was set aside for nothing goes back at once.
#[tokio::test(start_paused = true)]
async fn who_vanishes_gets_nothing_for_nothing() {
    // He pays, has her item, and posts nothing.
    for kind in [Trade::SaleReserved, Trade::CollectionReserved, Trade::ChangeReserved] {
        let (bench, setting, outcome, _folder) =
            against(kind, Cheat::QuietAfterReceiving, Role::Responder).await;
        let outcome = outcome.unwrap();
        assert!(matches!(outcome, Outcome::Resolved(_)), "{kind:?}: {outcome:?}");
        let (_, rule) = ruling(&bench, &outcome).unwrap();
        assert_eq!(rule, if kind == Trade::SaleReserved { "R-406" } else { "R-404" });
        assert_eq!(balances(&bench), after_honest(kind), "{kind:?}");
        verifies(&bench, [&outcome, &outcome], Claim::Resolved);
        assert!(since(&setting, bench.clock.now()) > 0);
    }
    // She has posted, and he gives nothing.
    for cheat in [Cheat::WithholdItem, Cheat::QuietAfterReceiving, Cheat::AlteredItem] {
        let (bench, _, outcome, _folder) = against(Trade::PaymentReserved, cheat, Role::Responder).await;
        let outcome = outcome.unwrap();
        assert!(matches!(outcome, Outcome::Resolved(_)) && has(&bench, &outcome), "{cheat:?}: {outcome:?}");
        assert_eq!(balances(&bench), after_honest(Trade::PaymentReserved), "{cheat:?}");
        verifies(&bench, [&outcome, &outcome], Claim::Resolved);
    }
    // Nobody answers her offer: she aborts, and has her money back long before the hold ends.
    for kind in [Trade::PaymentReserved, Trade::ChangeReserved] {
        let folder = tempfile::tempdir().unwrap();
        let bench = Bench::new(folder.path());
        let setting = trade(&bench, kind, folder.path());
        let alice = bench.builder("alice").build().await.unwrap();
        let id = alice.offer(setting.terms.clone(), setting.originator.clone()).await.unwrap();
        let wire = Wire::default();
        let mut a = wire.end(End::First);
        let outcome = alice.run(id, &mut a).await.unwrap();
        assert!(matches!(outcome, Outcome::Aborted(_)), "{kind:?}");
        assert_eq!(bench.ledger.calls(LedgerCall::Make), 1, "{kind:?}");
        assert!(since(&setting, bench.clock.now()) < trades::SEND_BY);
        assert_eq!(balances(&bench), (BEGIN, BEGIN), "{kind:?}");
    }
}

/// without the reservation nothing is said. A ledger that refuses or is away ends the run and not the exchange; a
/// later run goes on, and the money is set aside once.
#[tokio::test(start_paused = true)]
async fn nothing_is_said_before_the_money_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let setting = unfunded(&bench, Trade::PaymentReserved, folder.path());
    bench.ledger.open(&purse("bob"), "100.00 EUR").unwrap();
    bench.ledger.open(&purse("alice"), "1.00 EUR").unwrap();
    let alice = bench.builder("alice").build().await.unwrap();
    let id = alice.offer(setting.terms.clone(), setting.originator.clone()).await.unwrap();
    assert_eq!(bench.ledger.calls(LedgerCall::Make), 0, "offering is no sending");
    let wire = Wire::default();
    let (mut a, mut b) = (wire.end(End::First), wire.end(End::Second));
    let poor = alice.run(id, &mut a).await;
    let Err(Error::Usage(Usage::Money(fault @ MoneyFault::NotReserved(_)))) = poor else {
        panic!("{poor:?}")
    };
    assert_eq!(fault.reason(), "NOT_RESERVED");
    assert!(fault.to_string().contains("INSUFFICIENT_FUNDS"), "{fault}");

    bench
        .ledger
        .issue(arbiter_client::protocol::crypto::Signer::public_key(&purse("alice")), "99.00 EUR")
        .unwrap();
    bench.ledger.set_down(&[LedgerCall::Make]);
    let away = alice.run(id, &mut a).await;
    assert!(matches!(away, Err(Error::Retry { .. })), "{away:?}");
    bench.ledger.lose_answers(true);
    bench.ledger.set_down(&[]);
    let lost = alice.run(id, &mut a).await;
    assert!(matches!(lost, Err(Error::Retry { .. })), "{lost:?}");
    assert_eq!(balances(&bench).0, BEGIN - HERS, "set aside, and she does not know");
    bench.ledger.lose_answers(false);

    let bob = bench.builder("bob").build().await.unwrap();
    let bobs = async {
        let offer = bob.next_offer(&mut b).await?;
        assert!(offer.pledge().is_some());
        let id = bob.accept(&offer, setting.responder.clone()).await?;
        bob.run(id, &mut b).await
    };
    let (ours, theirs) = tokio::join!(alice.run(id, &mut a), bobs);
    assert!(matches!((ours, theirs), (Ok(Outcome::Completed(_)), Ok(Outcome::Completed(_)))));
    assert_eq!((balances(&bench), bench.arbiter.calls()), (after_honest(Trade::PaymentReserved), 0));

    // A peer that has ended it already: his money is refused, and the arbiter says why.
    let setting = trade(&bench, Trade::CollectionReserved, folder.path());
    let id = alice.offer(setting.terms.clone(), setting.originator.clone()).await.unwrap();
    let evidence = alice.status(id).await.unwrap().evidence;
    let accepted = bob.accept(&review(&bob, &evidence).await.unwrap(), Give::Nothing).await.unwrap();
    let before = balances(&bench);
    assert!(matches!(alice.complain(id).await, Ok(Outcome::Aborted(_))));
    bench.arbiter.carry_out();
    let (_, mut b) = (wire.end(End::First), wire.end(End::Second));
    let late = bob.run(accepted, &mut b).await;
    assert!(matches!(late, Ok(Outcome::Aborted(_))), "{late:?}");
    assert_eq!(balances(&bench), before);
}

/// A ledger that is away when reserved money is to be posted: the arbiter orders it as well, and it is posted once.
#[tokio::test(start_paused = true)]
async fn a_ledger_away_when_reserved_money_is_posted() {
    for kind in trades::RESERVED {
        for away in [20, 600] {
            let folder = tempfile::tempdir().unwrap();
            let bench = Bench::new(folder.path());
            let setting = trade(&bench, kind, folder.path());
            bench.ledger.set_down(&[LedgerCall::Post, LedgerCall::Void]);
            let back = async {
                tokio::time::sleep(Duration::from_secs(away)).await;
                bench.ledger.set_down(&[]);
                bench.arbiter.carry_out();
            };
            let ((alice, bob), ()) = tokio::join!(both(&bench, &setting), back);
            bench.arbiter.carry_out();
            until_all_is_over(&bench, &setting).await;
            let what = format!("{kind:?}, away {away} s: {alice:?} {bob:?}");
            for outcome in [&alice, &bob] {
                // Who owes money that the ledger did not take is told so; the arbiter has seen to it.
                let good = matches!(outcome, Ok(Outcome::Completed(_) | Outcome::Resolved(_)));
                assert!(good || matches!(outcome, Err(Error::Retry { .. })), "{what}");
            }
            assert_eq!(balances(&bench), after_honest(kind), "{what}");
        }
    }
}

/// A ledger that is away when the money should be seen or released: the seller leaves its item with the arbiter in time.
#[tokio::test(start_paused = true)]
async fn a_ledger_away_when_money_is_watched_or_released() {
    for kind in TRADES.into_iter().filter(|kind| kind.revokes()) {
        for call in [LedgerCall::Look, LedgerCall::Post] {
            let folder = tempfile::tempdir().unwrap();
            let bench = Bench::new(folder.path());
            let setting = trade(&bench, kind, folder.path());
            bench.ledger.set_down(&[call]);
            let back = async {
                tokio::time::sleep(Duration::from_millis(trades::HOLD_END + 60_000)).await;
                bench.ledger.set_down(&[]);
            };
            let ((alice, bob), ()) = tokio::join!(both(&bench, &setting), back);
            let (alice, bob) = (alice.unwrap(), bob.unwrap());
            let what = format!("{kind:?}, {call:?}: {alice:?} {bob:?}");
            assert!(matches!((&alice, &bob), (Outcome::Completed(_), Outcome::Completed(_))), "{what}");
            until_all_is_over(&bench, &setting).await;
            assert_eq!(balances(&bench), after_honest(kind), "{what}");
            let deposits = bench.arbiter.counters().get("VerifyTransfer").copied().unwrap_or(0);
            assert_eq!(
                deposits,
                u64::from(!matches!(kind, Trade::Rollback | Trade::RollbackInParts)),
                "{what}"
            );
        }
    }
}

/// R5: a hold that ends sooner after the last decision than the arbiter asks for is neither offered nor accepted; neither
/// is a payment on a ledger, or into an account, that is not ours.
#[tokio::test(start_paused = true)]
async fn payments_that_cannot_be_carried_out_are_refused_before_anything_is_signed() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let setting = trade(&bench, Trade::Sale, folder.path());
    let alice = bench.builder("alice").build().await.unwrap();
    let offer = |terms| alice.offer(terms, setting.originator.clone());
    let altered = |change: &dyn Fn(&mut arbiter_client::protocol::exchange::payment::Payment)| {
        let Description::Payment(mut payment) = setting.terms.responder_item.description.clone() else {
            panic!()
        };
        change(&mut payment);
        let mut terms = setting.terms.clone();
        terms.responder_item = items::payment(payment);
        terms
    };
    let allowance = DurationMillis(trades::HOLD_END - trades::COMPLAIN_BY + 1);
    let strict = |name| bench.builder(name).hold_allowance(allowance);

    let short =
        strict("alice").build().await.unwrap().offer(setting.terms.clone(), setting.originator.clone()).await;
    assert!(matches!(short, Err(Error::Usage(Usage::Money(MoneyFault::HoldTooShort { .. })))), "{short:?}");
    let elsewhere =
        offer(altered(&|it| it.ledger = TestLedger::new("other", bench.clock.clone()).key())).await;
    assert!(
        matches!(elsewhere, Err(Error::Usage(Usage::Money(MoneyFault::UnknownLedger(_))))),
        "{elsewhere:?}"
    );
    let theirs = offer(altered(&|it| it.payee = identity("carol").party().signing_key)).await;
    assert!(matches!(theirs, Err(Error::Usage(Usage::Money(MoneyFault::NotOurAccount(_))))), "{theirs:?}");
    let back = Hold {
        until: trades::payment(&bench, "bob", "alice", "1.00 EUR", None)
            .hold
            .map_or(bench.clock.now(), |it| it.until),
        timeout: Timeout::Void,
    };
    assert!(offer(altered(&|it| it.hold = Some(back))).await.is_err());
    assert!(alice.list().await.unwrap().is_empty(), "nothing was signed");

    // The same on the other side.
    let id = offer(setting.terms.clone()).await.unwrap();
    let evidence = alice.status(id).await.unwrap().evidence;
    let bob = strict("bob").build().await.unwrap();
    let refused = bob.accept(&review(&bob, &evidence).await.unwrap(), Give::Nothing).await;
    assert!(
        matches!(refused, Err(Error::Peer(PeerFault::Money(MoneyFault::HoldTooShort { .. })))),
        "{refused:?}"
    );
    let id = offer(altered(&|it| it.payer = identity("carol").party().signing_key)).await.unwrap();
    let evidence = alice.status(id).await.unwrap().evidence;
    let refused = bob.accept(&review(&bob, &evidence).await.unwrap(), Give::Nothing).await;
    assert!(matches!(refused, Err(Error::Peer(PeerFault::Money(MoneyFault::NotOurPurse(_))))), "{refused:?}");
    assert_eq!(balances(&bench), (BEGIN, BEGIN));
}

/// R5, R-707: nobody offers or accepts money that is held where the arbiter could not carry out its verdicts: it does not reach
/// the ledger, or what stands before that rail cannot do it.
#[tokio::test(start_paused = true)]
async fn money_is_held_only_where_the_arbiter_can_end_it() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let all = Powers::all(bench.ledger.key());
    let (no_undo, no_redo) = (Powers { revokes: false, ..all }, Powers { generates: false, ..all });
    // What the arbiter can do, and whether money may be held there and set aside there.
    let (reach, end) = ("LEDGER_OUT_OF_ARBITERS_REACH", "HOLD_NOT_ENDED_BY_ARBITER");
    let words = [
        (vec![all], None, None),
        (vec![no_redo], None, Some(end)),
        (vec![no_undo], Some(end), Some(end)),
        (Vec::new(), Some(reach), Some(reach)),
    ];
    for (number, (powers, held, aside)) in words.into_iter().enumerate() {
        for (kind, expected) in [(Trade::Sale, held), (Trade::SaleReserved, aside), (Trade::Payment, None)] {
            let place = folder.path().join(format!("{number}-{kind:?}"));
            std::fs::create_dir(&place).unwrap();
            let setting = trade(&bench, kind, &place);
            let knowing = |name| bench.builder(name).arbiter_reaches(powers.clone());
            let alice = knowing("alice").build().await.unwrap();
            let offered = alice.offer(setting.terms.clone(), setting.originator.clone()).await;
            let fault = match &offered {
                Ok(_) => None,
                Err(Error::Usage(Usage::Money(fault))) => Some(fault.reason()),
                Err(other) => panic!("{kind:?}: {other:?}"),
            };
            assert_eq!(fault, expected, "{kind:?} {powers:?}");
        }
    }
}

// The two amounts differ, so that they are not taken for one another.
const _: () = assert!(HERS < HIS);

/// who has made one of two payments and cannot make the next has it back, and the other party gave nothing. An
/// abort would have left it with the payee.
#[tokio::test(start_paused = true)]
async fn what_was_paid_of_a_package_that_fails_comes_back() {
    for (kind, payer, rule) in [
        (Trade::PurchaseInParts, "alice", "R-417"),
        (Trade::SaleInParts, "bob", "R-417"),
        (Trade::RollbackInParts, "alice", "R-418"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let bench = Bench::new(folder.path());
        // Enough for the first payment, not for both.
        let other = if payer == "alice" { "bob" } else { "alice" };
        bench.ledger.open(&purse(other), "100.00 EUR").unwrap();
        bench.ledger.open(&purse(payer), "24.50 EUR").unwrap();
        let setting = unfunded(&bench, kind, folder.path());
        let before = balances(&bench);
        let (alice, bob) = both(&bench, &setting).await;
        for outcome in [alice.unwrap(), bob.unwrap()] {
            assert!(matches!(outcome, Outcome::Aborted(_)), "{kind:?}: {outcome:?}");
            assert_eq!(outcome.evidence().received_file, None, "{kind:?}");
        }
        until_all_is_over(&bench, &setting).await;
        assert_eq!(balances(&bench), before, "{kind:?}: {rule}");
    }
}
