//! The party machines where money goes back, is posted, or only an affidavit is left: what is done when, row by row (R-302
//! to ).

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may fail by panicking"
)]

mod common;

use arbiter_protocol::message::verdict::{Replacement, Ruling};
use arbiter_protocol::role::{Ask, Fit, Input, Outcome, Output, Phase, Session, Step, Timing};
use arbiter_protocol::time::{DurationMillis, UnixMillis};
use common::money::SEND_BY;
use common::rulings::ruled;
use common::{COMPLAIN_BY, Cast, EARLY, Kind};

const MARGIN: u64 = 60_000;
const TIMING: Timing = Timing { complain_margin: DurationMillis(MARGIN) };
/// The last moments to turn to the arbiter.
const SEND_END: u64 = SEND_BY - MARGIN;
const END: u64 = COMPLAIN_BY - MARGIN;
/// From now on a claim is too late for certain.
const OVER: u64 = COMPLAIN_BY + MARGIN;
const AGAIN: u64 = 500;

const ABORT: Phase = Phase::Asking(Ask::Abort);
const COMPLAIN: Phase = Phase::Asking(Ask::Complain);
const DEPOSIT: Phase = Phase::Asking(Ask::Deposit);
const REVOKE: Phase = Phase::Asking(Ask::Revoke);
const COMPLETED: Phase = Phase::Done(Outcome::Completed);

/// Who it is: the first or the second sender, and whether its item has left.
#[derive(Clone, Copy, Debug)]
enum Who {
    First { sent: bool },
    Second { sent: bool },
}
use Who::{First, Second};

const OPENED: Who = First { sent: false };
const SENT: Who = First { sent: true };
const WAITS: Who = Second { sent: false };
const ANSWERED: Who = Second { sent: true };

fn session(cast: &Cast, kind: Kind, who: Who, phase: Phase) -> Session {
    let (role, sent) = match who {
        First { sent } => (kind.first(), sent),
        Second { sent } => (kind.first().peer(), sent),
    };
    let agreement = cast.agreement(kind);
    let acceptance = (phase != Phase::Offered).then(|| agreement.acceptance().clone());
    Session::restore(role, agreement.offer().clone(), acceptance, sent, phase, TIMING).unwrap()
}

fn at(now: u64) -> Output {
    Output::WakeAt(UnixMillis(now))
}

fn handled(session: &Session, now: u64, input: Input) -> (Phase, Vec<Output>) {
    let Step { next, outputs } = session.handle(UnixMillis(now), input);
    (next.phase(), outputs)
}

/// The peer's item, as it arrives when it fits.
fn item(cast: &Cast, kind: Kind, session: &Session) -> Input {
    Input::Received(Fit::Content(cast.fits(cast.agreement(kind).offer(), session.role().peer()).unwrap()))
}

/// when each party turns to the arbiter by itself, what for, and what it does when it shall wait no
/// longer before that time.
#[test]
fn each_turns_to_the_arbiter_when_it_must_and_may() {
    use Kind::{P3OriginatorPays as P3, P4, P5, P6HeldForSignature, P6PaidForFile, P6SignatureForHeld};
    let asks = |phase: Phase| match phase {
        Phase::Asking(Ask::Deposit) => vec![Output::Observe, Output::Ask(Ask::Deposit)],
        Phase::Asking(ask) => vec![Output::Ask(ask)],
        _ => panic!("a request"),
    };
    let cast = Cast::new();
    let (offered, waiting, settling) = (Phase::Offered, Phase::Waiting, Phase::Settling);
    // Who is where, when it wakes, what for, and what it asks for at once if it gives up early.
    let rows = [
        (P3, OPENED, offered, SEND_END, ABORT, Some(ABORT)),
        (P3, SENT, waiting, SEND_BY, REVOKE, None),
        (P3, WAITS, waiting, SEND_END, ABORT, Some(ABORT)),
        (P3, ANSWERED, settling, SEND_END, DEPOSIT, Some(DEPOSIT)),
        (P4, OPENED, offered, END, ABORT, Some(ABORT)),
        (P4, SENT, waiting, END, REVOKE, Some(REVOKE)),
        (P4, WAITS, waiting, END, ABORT, Some(ABORT)),
        (P5, OPENED, offered, END, ABORT, Some(ABORT)),
        (P6PaidForFile, OPENED, offered, END, ABORT, Some(ABORT)),
        (P6PaidForFile, SENT, waiting, END, COMPLAIN, Some(COMPLAIN)),
        (P6PaidForFile, WAITS, waiting, COMPLAIN_BY, ABORT, None),
        (P6HeldForSignature, SENT, waiting, END, COMPLAIN, Some(COMPLAIN)),
        // Nothing to deposit: only the affidavit is left to ask for.
        (
            P6SignatureForHeld,
            SENT,
            waiting,
            END,
            Phase::Asking(Ask::Resolve),
            Some(Phase::Asking(Ask::Resolve)),
        ),
    ];
    for (kind, who, phase, wake, asked, early) in rows {
        let session = session(&cast, kind, who, phase);
        let case = format!("{kind:?} {who:?} {phase:?}");
        for input in [Input::Wake, Input::GiveUp] {
            assert_eq!(handled(&session, wake, input), (asked, asks(asked)), "{case}");
        }
        let given_up = early.map_or((phase, vec![at(wake)]), |ask| (ask, asks(ask)));
        assert_eq!(handled(&session, wake - 1, Input::GiveUp), given_up, "{case}");
        let woken = handled(&session, wake - 1, Input::Wake);
        assert_eq!((woken.0, woken.1.last()), (phase, Some(&at(wake))), "{case}");
    }
    // P4: both have what they wanted, unless the arbiter says otherwise.
    for who in [SENT, ANSWERED] {
        let session = session(&cast, P4, who, settling);
        for now in [EARLY, END, OVER] {
            assert_eq!(handled(&session, now, Input::GiveUp), (settling, vec![]), "{who:?}");
            assert!(!handled(&session, now, Input::Wake).1.contains(&at(END)), "{who:?}");
            let repeated = handled(&session, now, Input::PeerRepeats).1;
            assert_eq!(repeated.contains(&Output::SendItem), now < END, "{who:?} {now}");
        }
    }
}

/// a second sender answers while it can still protect itself, where it must; and however late it is,
/// where it need not.
#[test]
fn a_second_sender_answers_in_time() {
    let cast = Cast::new();
    let answered = |kind, now| {
        let session = session(&cast, kind, WAITS, Phase::Waiting);
        let Step { next, outputs } = session.handle(UnixMillis(now), item(&cast, kind, &session));
        assert_eq!(next.sent(), outputs.contains(&Output::SendItem), "{kind:?}");
        (next.phase(), outputs)
    };
    let settles = |wake: Option<u64>| {
        let outputs = [Output::SendItem, Output::Observe].into_iter().chain(wake.map(at)).collect();
        (Phase::Settling, outputs)
    };
    let too_late = (ABORT, vec![Output::Ask(Ask::Abort)]);
    assert_eq!(answered(Kind::P3OriginatorPays, SEND_END - 1), settles(Some(SEND_END)));
    assert_eq!(answered(Kind::P3OriginatorPays, SEND_END), too_late);
    assert_eq!(answered(Kind::P4, END - 1), settles(None));
    assert_eq!(answered(Kind::P4, END), too_late);
    for now in [EARLY, END, OVER] {
        let (phase, outputs) = answered(Kind::P6PaidForFile, now);
        assert_eq!((phase, outputs.first()), (COMPLETED, Some(&Output::SendItem)), "{now}");
    }
}

/// what was refused is asked again when it can be granted, and given up when it cannot.
#[test]
fn what_is_refused_is_asked_again_or_given_up() {
    use Kind::{P3OriginatorPays as P3, P4, P6PaidForFile as P6};
    let cast = Cast::new();
    let later = |ask, time| (Phase::Asking(ask), vec![at(time)]);
    let now_asks = |ask| (Phase::Asking(ask), vec![Output::Ask(ask)]);
    for (kind, who, ask, now, expected) in [
        (P3, SENT, Ask::Revoke, EARLY, later(Ask::Revoke, SEND_BY)),
        (P3, SENT, Ask::Revoke, SEND_BY, later(Ask::Revoke, SEND_BY + AGAIN)),
        (P3, SENT, Ask::Revoke, OVER - 1, later(Ask::Revoke, OVER - 1 + AGAIN)),
        (P3, SENT, Ask::Revoke, OVER, now_asks(Ask::Abort)),
        (P3, ANSWERED, Ask::Deposit, EARLY, later(Ask::Deposit, EARLY + AGAIN)),
        (P3, ANSWERED, Ask::Deposit, SEND_BY + MARGIN - 1, later(Ask::Deposit, SEND_BY + MARGIN - 1 + AGAIN)),
        (P3, ANSWERED, Ask::Deposit, SEND_BY + MARGIN, (Phase::Settling, vec![Output::Observe])),
        (P3, WAITS, Ask::Abort, EARLY, later(Ask::Abort, EARLY + AGAIN)),
        (P3, WAITS, Ask::Abort, OVER, later(Ask::Abort, OVER + AGAIN)),
        (P4, SENT, Ask::Revoke, EARLY, later(Ask::Revoke, EARLY + AGAIN)),
        (P6, SENT, Ask::Complain, EARLY, later(Ask::Complain, END)),
        (P6, SENT, Ask::Complain, OVER, now_asks(Ask::Resolve)),
        (P6, SENT, Ask::Resolve, EARLY, later(Ask::Resolve, COMPLAIN_BY)),
        (P6, SENT, Ask::Resolve, OVER, later(Ask::Resolve, OVER + AGAIN)),
        (P6, WAITS, Ask::Abort, EARLY, later(Ask::Abort, COMPLAIN_BY)),
        (Kind::P2OriginatorFirst, SENT, Ask::Complain, EARLY, later(Ask::Complain, EARLY + AGAIN)),
        (Kind::P2OriginatorFirst, SENT, Ask::Complain, OVER, now_asks(Ask::Abort)),
    ] {
        let session = session(&cast, kind, who, Phase::Asking(ask));
        assert_eq!(handled(&session, now, Input::Refused), expected, "{kind:?} {ask:?} {now}");
    }
}

/// what ends an exchange of money, and that nothing else does.
#[test]
fn only_the_ledger_the_item_or_the_arbiter_end_it() {
    use Kind::{P3OriginatorPays as P3, P4, P5};
    let cast = Cast::new();
    let (done, abort) = (|outcome| vec![Output::Done(outcome)], vec![Output::Ask(Ask::Abort)]);
    let released = vec![Output::Release, Output::Done(Outcome::Completed)];
    for (kind, who, phase) in
        [(P3, ANSWERED, Phase::Settling), (P3, ANSWERED, DEPOSIT), (P4, SENT, Phase::Settling)]
    {
        let session = session(&cast, kind, who, phase);
        assert_eq!(handled(&session, EARLY, Input::Settled), (COMPLETED, done(Outcome::Completed)));
        assert_eq!(handled(&session, EARLY, Input::Reversed), (ABORT, abort.clone()));
    }
    // The arbiter has the file: the money is final with whatever it rules.
    let session_of = |kind, who, phase| session(&cast, kind, who, phase);
    let deposits = session_of(P3, ANSWERED, DEPOSIT);
    let agreement = cast.agreement(P3);
    let given = |role| Replacement { role, item: agreement.offer().item(role).clone() };
    let replaced = Ruling::Replaced(vec![given(P3.first().peer())]);
    assert_eq!(handled(&deposits, EARLY, Input::Attested), (COMPLETED, done(Outcome::Completed)));
    for ruling in [Ruling::Aborted, replaced.clone()] {
        let input = Input::Ruled(ruled(&agreement, ruling));
        assert_eq!(handled(&deposits, EARLY, input), (COMPLETED, done(Outcome::Completed)));
    }
    let revoked = || Input::Ruled(ruled(&agreement, Ruling::Revoked(vec![P3.first()])));
    let aborted = (Phase::Done(Outcome::Aborted), done(Outcome::Aborted));
    assert_eq!(handled(&deposits, EARLY, revoked()), aborted);
    // Who paid and has the item posts the money: a courtesy, and none for money that went back or never left.
    let payer = session_of(P3, SENT, Phase::Waiting);
    assert_eq!(handled(&payer, EARLY, item(&cast, P3, &payer)), (COMPLETED, released));
    assert_eq!(handled(&session_of(P3, SENT, REVOKE), EARLY, revoked()), aborted);
    for (who, outputs) in [(SENT, 2), (OPENED, 1)] {
        let asks = session_of(P3, who, Phase::Asking(Ask::Fetch));
        let content = cast.fits(agreement.offer(), P3.first().peer()).unwrap();
        let (phase, told) = handled(&asks, EARLY, Input::Fetched(content));
        assert_eq!((phase, told.len()), (Phase::Done(Outcome::Resolved), outputs), "{who:?}");
    }
    // In P4 both wait for the ledger, and nobody posts; in P5 nothing but the arbiter counts.
    let first = session_of(P4, SENT, Phase::Waiting);
    let paid = item(&cast, P4, &first);
    assert_eq!(handled(&first, EARLY, paid), (Phase::Settling, vec![Output::Observe]));
    assert!(!first.may_release() && payer.may_release());
    let deposited = session_of(P5, SENT, COMPLAIN);
    assert_eq!(handled(&deposited, EARLY, item(&cast, P5, &deposited)), (COMPLAIN, vec![]));
    // The first item again: ours was lost. Another item says nothing.
    let settling = session_of(P3, ANSWERED, Phase::Settling);
    let again = item(&cast, P3, &settling);
    assert!(handled(&settling, EARLY, again.clone()).1.contains(&Output::SendItem));
    assert!(!handled(&settling, SEND_END, again).1.contains(&Output::SendItem), "too late to be protected");
    let other = Input::Received(Fit::Content(common::fit()));
    assert_eq!(handled(&settling, EARLY, other), (Phase::Settling, vec![]));
}
