//! The books of a ledger, judged by a dumb one: random schedules with crashes, and every short schedule of one payment.
//!
//! ```text
//!  seed ─▶ orders, questions, time, crashes ─┬─▶ Books ──changes──▶ a store that only keeps what was committed
//!                                            └─▶ Oracle              └─▶ restored after a crash; replayed at the end
//! ```

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may fail by panicking"
)]

#[path = "ledger/oracle.rs"]
mod oracle;
#[path = "ledger/rules.rs"]
mod rules;
#[path = "ledger/stage.rs"]
mod stage;
#[path = "ledger/statements.rs"]
mod statements;

use oracle::Verb;
use stage::{Dice, Move, Stage, deals, one_deal};

/// R-602, R-603, R-607, R-608: over random schedules with crashes no sum ever changes, no reservation is lost, every answer is
/// the oracle's, and the journal alone gives the same books.
#[test]
fn money_is_conserved_over_random_schedules_with_crashes() {
    let mut seen = std::collections::BTreeMap::<String, u32>::new();
    for seed in 0..1500 {
        let mut dice = Dice(seed);
        let mut stage = Stage::new(deals());
        stage.open_everything();
        for _ in 0..80 {
            let answer = stage.play(&dice.pick_move(stage.deals()));
            *seen.entry(answer).or_default() += 1;
            stage.compare();
        }
        stage.crash();
        stage.replay();
    }
    // Otherwise this test has tested nothing.
    for answer in [
        "absent",
        "reserved",
        "voided",
        "posted",
        "open",
        "closed",
        "ACCOUNT_CLOSED",
        "ACCOUNT_NOT_EMPTY",
        "ACCOUNT_UNKNOWN",
        "CURRENCY_MISMATCH",
        "CURRENCY_UNKNOWN",
        "HOLD_OVER",
        "HOLD_TOO_LONG",
        "INSUFFICIENT_FUNDS",
        "OTHER_LEDGER",
        "PAYMENT_ABSENT",
        "PAYMENT_POSTED",
        "PAYMENT_VOIDED",
        "SCALE_MISMATCH",
        "SIGNER_NOT_ENTITLED",
    ] {
        assert!(seen.get(answer).is_some_and(|count| *count >= 20), "{answer} is too rare: {seen:?}");
    }
}

/// R-603, R-605, R-606, R-607: every schedule of five moves with one payment, crashes and the grace after them included.
#[test]
fn every_short_schedule_of_one_payment_is_the_oracles() {
    const MOVES: [Move; 8] = [
        Move::Order(0, Verb::Make, 1),
        Move::Order(0, Verb::Post(30), 3),
        Move::Order(0, Verb::Post(100), 1),
        Move::Order(0, Verb::Void, 3),
        Move::Order(0, Verb::Void, 2),
        Move::Wait(6),
        Move::CrashWithGrace(4),
        Move::Look(0),
    ];
    let mut runs = 0_u32;
    for posts in [true, false] {
        let fresh = {
            let mut stage = Stage::new(vec![one_deal(posts)]);
            stage.open_everything();
            stage
        };
        let mut path = Vec::new();
        explore(&fresh, &MOVES, &mut path, 5, &mut runs);
    }
    assert_eq!(runs, 2 * (8 + 64 + 512 + 4096 + 32768));
}

fn explore(stage: &Stage, moves: &[Move], path: &mut Vec<usize>, depth: u32, runs: &mut u32) {
    for (index, step) in moves.iter().enumerate() {
        let mut next = stage.clone();
        path.push(index);
        next.play(step);
        next.compare();
        *runs += 1;
        if depth > 1 {
            explore(&next, moves, path, depth - 1, runs);
        }
        path.pop();
    }
}
