//! Random schedules of both roles, the arbiter and a ledger, with one party that cheats (F1 to F8, F12), in every protocol.
//!
//! ```text
//!  party 0 ◀── network: drops, repeats, reorders ──▶ party 1      two exchanges, roles swapped
//!     ├── calls, never lost, late ──▶ arbiter ◀───────┤           durable half, one commit a turn
//!     └── orders, looks: lost, late ──▶ ledger ◀──────┘           told by the arbiter, too
//! ```
//! The machines, the admission, the decision, the sequencer, the receipts and the books are the real ones. A seed decides
//! everything; the oracle (`simulation/oracle.rs`, `simulation/book.rs`) is written from `SPEC.md`. The same world with the
//! engine that serves, over a disk that fails, is in `tests/sim.rs`; bytes of a fuzzer are schedules of this one.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    dead_code,
    reason = "a test may fail by panicking, and uses a part of the simulation"
)]

#[path = "simulation/acts.rs"]
mod acts;
#[path = "simulation/bank.rs"]
mod bank;
#[path = "simulation/book.rs"]
mod book;
#[path = "simulation/calls.rs"]
mod calls;
#[path = "simulation/cheats.rs"]
mod cheats;
#[path = "simulation/choices.rs"]
mod choices;
mod common;
#[path = "simulation/court.rs"]
mod court;
#[path = "simulation/ending.rs"]
mod ending;
#[path = "simulation/entitled.rs"]
mod entitled;
#[path = "simulation/event.rs"]
mod event;
#[path = "simulation/judge.rs"]
mod judge;
#[path = "simulation/net.rs"]
mod net;
#[path = "simulation/oracle.rs"]
mod oracle;
#[path = "simulation/party.rs"]
mod party;
#[path = "simulation/play.rs"]
mod play;
#[path = "simulation/pledge.rs"]
mod pledge;
#[path = "simulation/rail.rs"]
mod rail;
#[path = "simulation/shrink.rs"]
mod shrink;
#[path = "simulation/signed.rs"]
mod signed;
#[path = "simulation/stage.rs"]
mod stage;
#[path = "simulation/words.rs"]
mod words;
#[path = "simulation/world.rs"]
mod world;

use std::collections::BTreeSet;

use arbiter_protocol::weaken::Countermeasure;

use common::Kind;
use event::{Broken, Defect};
use play::{check_all, explore, find, find_among};
use rail::Fault;
use stage::PLAYED;

/// F1, F2, F4, F5, F6, F7, F8 over pinned schedules. The oracle knows R-301, R-304, R-308, R-401, R-403, R-404, R-405,
/// R-406, R-407, R-408, R-413, R-414, R-415, R-416, R-417, R-418, R-419, R-420, R-421, R-422, R-423, R-424, R-425, R-426,
/// R-427, R-305, R-310, R-315, R-316, R-320, R-428, R-429 and R-602, R-603, R-604, R-605, R-606, R-607. What happens are S1, S2, S3, S4, S6, S11, S18, S19 and S32. Which
/// endings, refusals and troubles must have been reached is said in `tests/sim.rs`.
#[test]
fn every_schedule_ends_fair() {
    let tally = check_all(0..10_000);
    for what in [
        "P1 first Completed",
        "P1e second Aborted by second (R-403)",
        "P2 money first Resolved by first (R-406)",
        "P3 first Aborted by first (R-417)",
        "P4 first Aborted by second (R-418)",
        "P5 second Resolved by second (R-421), fetched",
        "P6 first Affidavit by second (R-426)",
        "P1 reserved first Resolved by first (R-404), fetched",
        "P2 reserved first Resolved by first (R-406)",
        "P2 package second Resolved by first (R-406), fetched",
        "P5 package first Resolved by second (R-421), fetched",
        "T gets Abandoned",
        "T money gives Abandoned",
        "T package gets Completed",
        "T package cheat refused: ABORT_NOT_ALLOWED",
        "the arbiter had the ledger do PostAll",
        "a request was decided in its time",
        "claims in the last minute",
        "verdicts on a second acceptance",
    ] {
        assert!(tally.0.contains_key(what), "never reached: {what}");
    }
    for kind in PLAYED {
        let played = tally.0.get(&format!("played: {kind:?}")).copied().unwrap_or_default();
        assert!(played >= 500, "{kind:?} was played {played} times");
    }
}

/// The same seed gives the same story, word by word.
#[test]
fn the_same_seed_gives_the_same_story() {
    let mut stories = BTreeSet::new();
    for seed in 0..300 {
        let (_, schedule) = explore(seed, None);
        assert_eq!(explore(seed, None).1, schedule, "seed {seed}");
        let story = shrink::story(&schedule);
        assert_eq!(shrink::story(&schedule), story, "seed {seed}");
        stories.insert(story);
    }
    assert!(stories.len() > 290, "schedules differ");
}

/// The oracle bites: without one of its rules, or with a ledger that lies, the world is found out, and the story is short.
#[test]
fn a_world_without_one_rule_is_found_out() {
    let without = [
        Countermeasure::AbortOnlyAfterTheDeadline,
        Countermeasure::BothBeforeGivingOut,
        Countermeasure::DepositBlocksRevocation,
        Countermeasure::FetchAfterAVerdict,
        Countermeasure::FetchByThePeer,
        Countermeasure::OneVerdict,
        Countermeasure::PayerPostsAll,
        Countermeasure::RefusalsAreNotTrusted,
        Countermeasure::RevokeOnlyAfterSendBy,
        Countermeasure::RollBackBoth,
        Countermeasure::SecondSendsSecond,
        Countermeasure::VerdictOnAnyAcceptance,
    ];
    let rails = [Fault::Deaf, Fault::Forgets, Fault::Unsynced].map(Broken::Rail);
    let rest = [Broken::SendsAfterAbort, Broken::SendsLate, Broken::Disk(Defect::Unsynced)];
    for broken in without.map(Broken::Without).into_iter().chain(rails).chain(rest) {
        let story = find(broken, 20_000);
        assert!(story.len() <= 30, "a story of {} lines is too long", story.len());
    }
}

/// The same for what is there only where money is set aside first (R-310, R-315, R-428), where items are packages (R-320), or
/// given for nothing (R-316); and the countermeasures of every exchange are needed in these, too.
#[test]
fn a_world_without_one_rule_is_found_out_with_reservations_packages_and_gifts() {
    use Countermeasure::*;
    let without = |list: &[Countermeasure]| list.iter().copied().map(Broken::Without).collect::<Vec<_>>();
    let reserved = without(&[
        AbortOnlyAfterTheDeadline,
        AbortVoidsReserved,
        FetchByThePeer,
        OneVerdict,
        PayerPostsAll,
        RefusalsAreNotTrusted,
        ReplacementIsPosted,
        ReservationIsMade,
        ResolveInTime,
        SecondSendsSecond,
        VerdictOnAnyAcceptance,
    ]);
    let packages = without(&[
        BothBeforeGivingOut,
        DepositBlocksRevocation,
        FetchAfterAVerdict,
        OneVerdict,
        RevokeOnlyAfterSendBy,
        SecondSendsSecond,
    ]);
    let rest = [Broken::SpeaksFirst, Broken::TrustsPledges, Broken::Rail(Fault::Forgets)];
    let groups = [
        (&Kind::RESERVED[..], [reserved, rest.to_vec()].concat()),
        (&Kind::PACKAGES[..], [packages, vec![Broken::TakesParts]].concat()),
        (&Kind::ONE_WAY[..], vec![Broken::KeepsGifts, Broken::TakesParts]),
    ];
    for (kinds, list) in groups {
        for broken in list {
            let story = find_among(broken, kinds, 20_000);
            assert!(story.len() <= 35, "a story of {} lines is too long", story.len());
        }
    }
}

/// F3: two who behave complete without the arbiter, but for P5, where both go through it.
#[test]
fn honest_parties_never_call_the_arbiter() {
    for (seed, kind) in (0..).zip(PLAYED.into_iter().cycle().take(320)) {
        play::is_quiet(seed, kind);
    }
}

/// The same tool as in `tests/sim.rs`: SEEDS=n plays so many with other seeds, SEED=n tells one.
#[test]
#[ignore = "a tool for people"]
#[expect(clippy::disallowed_methods, reason = "people have a shell")]
fn simulate() {
    play::simulate(|name| std::env::var(name).ok());
}
