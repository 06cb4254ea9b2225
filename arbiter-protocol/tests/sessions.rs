//! The party machines, one claim a test: what must never leave, and what must be asked when.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may fail by panicking"
)]

mod common;

use arbiter_protocol::exchange::kind::content::{ContentCheck, FitContent};
use arbiter_protocol::exchange::kind::{pledge, signature};
use arbiter_protocol::exchange::selection::Role;
use arbiter_protocol::message::agreement::Agreement;
use arbiter_protocol::message::transfer::Transfer;
use arbiter_protocol::message::verdict::{Replacement, Ruling, Verdict};
use arbiter_protocol::role::{Ask, Fit, Input, Outcome, Output, Phase, Session, Step, Timing};
use arbiter_protocol::statement::Verified;
use arbiter_protocol::time::{DurationMillis, UnixMillis};
use common::rulings::ruled;
use common::{COMPLAIN_BY, Cast, EARLY, Kind, fit, fit_of};

const MARGIN: u64 = 60_000;
const TIMING: Timing = Timing { complain_margin: DurationMillis(MARGIN) };

fn at(millis: u64) -> UnixMillis {
    UnixMillis(millis)
}

fn restored(agreement: &Agreement, role: Role, sent: bool, phase: Phase) -> Session {
    let acceptance = Some(agreement.acceptance().clone());
    Session::restore(role, agreement.offer().clone(), acceptance, sent, phase, TIMING).unwrap()
}

/// Both agreements in which a party sends a file first, with that party's role.
fn first_senders() -> [(Agreement, Role); 2] {
    let cast = Cast::new();
    [
        (cast.agreement(Kind::P2OriginatorFirst), Role::Originator),
        (cast.agreement(Kind::P2ResponderFirst), Role::Responder),
    ]
}

fn signed_item(cast: &Cast, agreement: &Agreement, sender: Role) -> Input {
    let transfer = Verified::sign(Transfer::new(agreement, sender), cast.key(sender));
    Input::Received(Fit::Signature(signature::check(agreement.offer().item(sender), transfer).unwrap()))
}

/// The proof that `role`'s detached signature fits.
fn detached_fit(cast: &Cast, agreement: &Agreement, role: Role) -> FitContent {
    let item = agreement.offer().item(role).description.detached().unwrap();
    let mut check = ContentCheck::signature(item.clone(), cast.escrow(agreement, role));
    check.update(&cast.finished(agreement.offer(), role).unwrap()).unwrap();
    check.finish().unwrap()
}

/// The acceptance, with its escrow if it owes one.
fn accepted(cast: &Cast, agreement: &Agreement) -> Input {
    Input::Accepted(agreement.clone(), cast.escrowed(agreement, Role::Responder))
}

/// The responder's session, having checked what it has to.
fn accept(cast: &Cast, agreement: &Agreement, now: u64) -> Result<Step, arbiter_protocol::error::Refused> {
    let escrow = cast.escrowed(agreement, Role::Originator);
    Session::accept(agreement.clone(), escrow.as_ref(), at(now), TIMING)
}

/// Runs the session and, like a driver, every alarm that is due, until nothing more is due.
fn run(mut session: Session, mut outputs: Vec<Output>, now: u64) -> (Session, Vec<Output>) {
    let mut all = Vec::new();
    for _ in 0..10 {
        let due = outputs.iter().any(|output| matches!(output, Output::WakeAt(time) if time.0 <= now));
        all.append(&mut outputs);
        if !due {
            return (session, all);
        }
        let step = session.handle(at(now), Input::Wake);
        (session, outputs) = (step.next, step.outputs);
    }
    panic!("the session wakes without end: {all:?}");
}

/// R-304, S2: "sent" is durable before the item leaves. After an outage longer than the deadline the item must not
/// leave any more: the peer may hold an abort token by then.
#[test]
fn a_first_sender_that_restarts_too_late_does_not_send() {
    for (agreement, role) in first_senders() {
        let session = restored(&agreement, role, true, Phase::Waiting);
        for (now, sends) in [
            (EARLY, true),
            (COMPLAIN_BY - MARGIN - 1, true),
            (COMPLAIN_BY - MARGIN, false),
            (COMPLAIN_BY, false),
            (COMPLAIN_BY + 1, false),
        ] {
            let (next, outputs) = run(session.clone(), session.resume(), now);
            assert_eq!(outputs.contains(&Output::SendItem), sends, "{role} at {now}: {outputs:?}");
            assert_eq!(outputs.contains(&Output::Ask(Ask::Complain)), !sends, "{role} at {now}");
            let repeated = session.handle(at(now), Input::PeerRepeats);
            assert_eq!(repeated.outputs.contains(&Output::SendItem), sends, "{role} at {now}");
            let repeated = next.handle(at(now), Input::PeerRepeats);
            assert_eq!(repeated.outputs.contains(&Output::SendItem), sends, "{role} at {now}");
        }
    }
}

/// a refusal is not signed. One that comes early, forged or not, must not make a first sender sign
/// an abort: that would end its own claim while the peer may hold its item.
#[test]
fn an_early_refusal_of_a_complaint_is_no_reason_to_abort() {
    for (agreement, role) in first_senders() {
        let session = restored(&agreement, role, true, Phase::Asking(Ask::Complain));
        for (now, expected) in [
            (EARLY, Ask::Complain),
            (COMPLAIN_BY - 1, Ask::Complain),
            (COMPLAIN_BY + MARGIN - 1, Ask::Complain),
            (COMPLAIN_BY + MARGIN, Ask::Abort),
        ] {
            let step = session.handle(at(now), Input::Refused);
            assert_eq!(step.next.phase(), Phase::Asking(expected), "{role} at {now}");
            if expected == Ask::Complain {
                let woken = step.next.handle(at(now + 1000), Input::Wake);
                assert_eq!(woken.outputs, [Output::Ask(Ask::Complain)]);
                assert!(matches!(step.outputs[..], [Output::WakeAt(time)] if time.0 > now));
            } else {
                assert_eq!(step.outputs, [Output::Ask(Ask::Abort)]);
            }
        }
    }
}

/// Each item crosses once: the first sender does not send again when the peer's item arrives, and two
/// parties that have both finished do not answer each other for ever.
#[test]
fn completion_does_not_echo() {
    let cast = Cast::new();
    for kind in Kind::ALL.into_iter().chain([Kind::P1Package, Kind::P2Package]) {
        let agreement = cast.agreement(kind);
        let (first, second) = (kind.first(), kind.first().peer());
        let item = |role: Role| {
            if kind.is_detached(role) {
                Input::Received(Fit::Content(detached_fit(&cast, &agreement, role)))
            } else if kind.is_p1() || role != first {
                signed_item(&cast, &agreement, role)
            } else {
                Input::Received(Fit::Content(cast.fits(agreement.offer(), role).unwrap()))
            }
        };
        let (a, b) = (
            restored(&agreement, first, true, Phase::Waiting),
            restored(&agreement, second, false, Phase::Waiting),
        );
        let Step { next: b, outputs } = b.handle(at(EARLY), item(first));
        assert_eq!(outputs.iter().filter(|it| **it == Output::SendItem).count(), 1);
        assert_eq!(outputs.last(), Some(&Output::Done(Outcome::Completed)));
        let Step { next: a, outputs } = a.handle(at(EARLY), item(second));
        assert_eq!(outputs, [Output::Done(Outcome::Completed)], "{kind:?}");
        // A repeated first item means that ours was lost; a repeated second item means nothing.
        assert_eq!(b.handle(at(EARLY), item(first)).outputs, [Output::SendItem], "{kind:?}");
        assert_eq!(a.handle(at(EARLY), item(second)).outputs, [], "{kind:?}");
        // But the peer can still ask, even after the deadline: it gave its item.
        let late = at(COMPLAIN_BY + 1);
        assert!(a.handle(late, Input::PeerRepeats).outputs.contains(&Output::SendItem), "{kind:?}");
    }
}

/// S11: an item of another description, another exchange or another agreement is not the peer's item.
#[test]
fn an_item_of_another_exchange_does_not_complete_this_one() {
    let cast = Cast::new();
    for (agreement, role) in first_senders() {
        let kind = if role == Role::Originator { Kind::P2OriginatorFirst } else { Kind::P2ResponderFirst };
        let second = restored(&agreement, role.peer(), false, Phase::Waiting);
        let other = Input::Received(Fit::Content(fit_of(b"%PDF-1.7\nsomething else")));
        assert_eq!(second.handle(at(EARLY), other).next, second);
        let own = signed_item(&cast, &agreement, role.peer());
        assert_eq!(second.handle(at(EARLY), own.clone()).next, second, "one's own signature reflected");

        let first = restored(&agreement, role, true, Phase::Waiting);
        let offer = cast.offer(kind, 99);
        let elsewhere = Agreement::join(offer.clone(), cast.acceptance(&offer, 22)).unwrap();
        let acceptance = cast.acceptance(agreement.offer(), 98);
        let again = Agreement::join(agreement.offer().clone(), acceptance).unwrap();
        for other in [&elsewhere, &again] {
            assert_eq!(first.handle(at(EARLY), signed_item(&cast, other, role.peer())).next, first);
        }
        assert_eq!(first.handle(at(EARLY), own).next.phase(), Phase::Done(Outcome::Completed));
    }
}

/// An abort, or a verdict that gives these items.
fn verdict(agreement: &Agreement, replaced: &[Role]) -> Verdict {
    let of = |role: &Role| Replacement { role: *role, item: agreement.offer().item(*role).clone() };
    let ruling = match replaced {
        [] => Ruling::Aborted,
        roles => Ruling::Replaced(roles.iter().map(of).collect()),
    };
    ruled(agreement, ruling)
}

/// A verdict on another exchange ends nothing here (K3, K9).
#[test]
fn a_verdict_on_another_exchange_is_ignored() {
    let cast = Cast::new();
    for kind in Kind::ALL {
        let agreement = cast.agreement(kind);
        let offer = cast.offer(kind, 99);
        let elsewhere = Agreement::join(offer.clone(), cast.acceptance(&offer, 22)).unwrap();
        for role in [Role::Originator, Role::Responder] {
            for ask in [Ask::Abort, Ask::Resolve, Ask::Complain, Ask::Fetch] {
                let session = restored(&agreement, role, false, Phase::Asking(ask));
                let other = Input::Ruled(verdict(&elsewhere, &[]));
                assert_eq!(session.handle(at(EARLY), other).next, session);
                let own = session.handle(at(EARLY), Input::Ruled(verdict(&agreement, &[])));
                assert_eq!(own.next.phase(), Phase::Done(Outcome::Aborted));
            }
        }
    }
}

/// what the arbiter's verdict replaces decides whether there is something to fetch, whichever
/// acceptance the verdict rests on (attack K1).
#[test]
fn a_verdict_that_replaces_only_the_own_item_is_followed_by_a_fetch() {
    for (agreement, first) in first_senders() {
        let second = first.peer();
        let ruled = Input::Ruled(verdict(&agreement, &[second]));
        let session = restored(&agreement, second, false, Phase::Asking(Ask::Abort));
        let step = session.handle(at(COMPLAIN_BY), ruled.clone());
        assert_eq!(step.next.phase(), Phase::Asking(Ask::Fetch));
        let wrong = Input::Fetched(fit_of(b"%PDF-1.7\nsomething else"));
        assert_eq!(step.next.handle(at(COMPLAIN_BY), wrong).next, step.next);
        let step = step.next.handle(at(COMPLAIN_BY), Input::Fetched(fit()));
        assert_eq!(step.next.phase(), Phase::Done(Outcome::Resolved));
        let session = restored(&agreement, first, true, Phase::Asking(Ask::Complain));
        assert_eq!(session.handle(at(EARLY), ruled).next.phase(), Phase::Done(Outcome::Resolved));
    }
}

/// whom a party turns to when it stops waiting, written out.
#[test]
fn giving_up_asks_for_what_the_protocol_allows() {
    let cast = Cast::new();
    let waits = |kind: Kind, role: Role, sent: bool, now: u64| {
        let session = restored(&cast.agreement(kind), role, sent, Phase::Waiting);
        session.handle(at(now), Input::GiveUp).next.phase()
    };
    let (o, r) = (Role::Originator, Role::Responder);
    for now in [EARLY, COMPLAIN_BY] {
        assert_eq!(waits(Kind::P1, o, true, now), Phase::Asking(Ask::Resolve));
        assert_eq!(waits(Kind::P1, r, false, now), Phase::Asking(Ask::Resolve));
        assert_eq!(waits(Kind::P2OriginatorFirst, o, true, now), Phase::Asking(Ask::Complain));
        assert_eq!(waits(Kind::P2ResponderFirst, r, true, now), Phase::Asking(Ask::Complain));
    }
    for (now, phase) in [(COMPLAIN_BY - 1, Phase::Waiting), (COMPLAIN_BY, Phase::Asking(Ask::Abort))] {
        assert_eq!(waits(Kind::P2OriginatorFirst, r, false, now), phase);
        assert_eq!(waits(Kind::P2ResponderFirst, o, false, now), phase);
    }
    for kind in Kind::ALL {
        let offered = Session::open(cast.offer(kind, 21), TIMING).next;
        let step = offered.handle(at(EARLY), Input::GiveUp);
        let second = kind.first() == r;
        assert_eq!(step.next.phase(), if second { Phase::Offered } else { Phase::Asking(Ask::Abort) });
        // from then on no acceptance makes it send.
        if !second {
            let agreement = cast.agreement(kind);
            let late = step.next.handle(at(EARLY), accepted(&cast, &agreement));
            assert_eq!((late.next, late.outputs), (step.next, vec![]));
        }
    }
}

/// an abort may have been granted by the time that the peer's item comes; then nothing is given for it.
#[test]
fn a_first_sender_that_asked_for_an_abort_gives_nothing_any_more() {
    let cast = Cast::new();
    for (agreement, role) in first_senders() {
        let asking = restored(&agreement, role, false, Phase::Asking(Ask::Abort));
        let step = asking.handle(at(EARLY), signed_item(&cast, &agreement, role.peer()));
        assert_eq!((step.next, step.outputs), (asking.clone(), vec![]));
        assert_eq!(asking.handle(at(EARLY), Input::PeerRepeats).outputs, []);
        assert_eq!(asking.resume(), [Output::Ask(Ask::Abort)]);
    }
}

/// neither side enters an exchange whose first sender could not complain in time.
#[test]
fn an_exchange_starts_only_while_there_is_time_to_complain() {
    let cast = Cast::new();
    let last = COMPLAIN_BY - 2 * MARGIN;
    for kind in [Kind::P2OriginatorFirst, Kind::P2ResponderFirst] {
        let agreement = cast.agreement(kind);
        assert!(accept(&cast, &agreement, last).is_ok());
        assert!(accept(&cast, &agreement, last + 1).is_err());
    }
    let agreement = cast.agreement(Kind::P2OriginatorFirst);
    let offered = Session::open(agreement.offer().clone(), TIMING).next;
    let in_time = offered.handle(at(last), accepted(&cast, &agreement));
    assert!(in_time.next.sent() && in_time.outputs.contains(&Output::SendItem));
    let late = offered.handle(at(last + 1), accepted(&cast, &agreement));
    assert_eq!((late.next.sent(), late.outputs), (false, vec![Output::Ask(Ask::Abort)]));
}

/// a session rebuilt from its durable parts is the session that was.
#[test]
fn restoring_gives_back_the_same_session() {
    let cast = Cast::new();
    for kind in Kind::ALL {
        let agreement = cast.agreement(kind);
        let mut sessions = vec![Session::open(agreement.offer().clone(), TIMING).next];
        sessions.push(sessions[0].handle(at(EARLY), accepted(&cast, &agreement)).next);
        sessions.push(accept(&cast, &agreement, EARLY).unwrap().next);
        for session in sessions {
            let acceptance = session.agreement().map(|it| it.acceptance().clone());
            let offer = session.offer().clone();
            let (sent, phase) = (session.sent(), session.phase());
            let again = Session::restore(session.role(), offer, acceptance, sent, phase, TIMING).unwrap();
            assert_eq!(again, session);
        }
    }
    let other = cast.acceptance(&cast.offer(Kind::P1, 50), 1);
    let offer = cast.offer(Kind::P1, 21);
    assert!(
        Session::restore(Role::Responder, offer, Some(other), false, Phase::Waiting, TIMING).is_err(),
        "an acceptance of another offer"
    );
}

/// without its acceptance a session is restored only where none was needed: an originator's, before the agreement
/// or after it was given up.
#[test]
fn a_session_that_needs_an_agreement_is_not_restored_without_one() {
    let offer = Cast::new().offer(Kind::P2OriginatorFirst, 21);
    let asks = [Ask::Abort, Ask::Complain, Ask::Fetch, Ask::Resolve].map(Phase::Asking);
    let ends = [Outcome::Aborted, Outcome::Completed, Outcome::Resolved].map(Phase::Done);
    for phase in [Phase::Offered, Phase::Waiting].into_iter().chain(asks).chain(ends) {
        let restore = |role| Session::restore(role, offer.clone(), None, false, phase, TIMING);
        let agreed = matches!(
            phase,
            Phase::Waiting | Phase::Asking(Ask::Complain | Ask::Resolve) | Phase::Done(Outcome::Completed)
        );
        assert_eq!(restore(Role::Originator).is_err(), agreed, "{phase:?}");
        assert_eq!(restore(Role::Responder).unwrap_err().reason(), "ACCEPTANCE_REQUIRED", "{phase:?}");
    }
}

/// what a restart does again, written out. Only an item that may leave before a time waits for the clock.
#[test]
fn a_restart_does_again_what_may_be_undone() {
    let cast = Cast::new();
    let (o, r) = (Role::Originator, Role::Responder);
    let resumed = |kind: Kind, role: Role, phase: Phase| {
        let sent = kind.first() == role;
        restored(&cast.agreement(kind), role, sent, phase).resume()
    };
    let (item, accept) = (Output::SendItem, Output::SendAcceptance);
    let wake = |time| Output::WakeAt(at(time));
    for (kind, role, expected) in [
        (Kind::P1, o, vec![item.clone()]),
        (Kind::P1, r, vec![accept.clone()]),
        (Kind::P1Escrow, o, vec![wake(0)]),
        (Kind::P1Escrow, r, vec![accept.clone(), wake(COMPLAIN_BY - MARGIN)]),
        (Kind::P2OriginatorFirst, o, vec![wake(0)]),
        (Kind::P2OriginatorFirst, r, vec![accept.clone(), wake(COMPLAIN_BY)]),
        (Kind::P2ResponderFirst, o, vec![wake(COMPLAIN_BY)]),
        (Kind::P2ResponderFirst, r, vec![accept, wake(0)]),
    ] {
        assert_eq!(resumed(kind, role, Phase::Waiting), expected, "{kind:?} {role}");
        assert_eq!(resumed(kind, role, Phase::Asking(Ask::Abort)), [Output::Ask(Ask::Abort)]);
        let done = Output::Done(Outcome::Completed);
        let ended = if kind.first() == role { vec![done] } else { vec![item.clone(), done] };
        assert_eq!(resumed(kind, role, Phase::Done(Outcome::Completed)), ended);
        assert_eq!(resumed(kind, role, Phase::Done(Outcome::Aborted)), [Output::Done(Outcome::Aborted)]);
    }
    let offer = cast.offer(Kind::P2OriginatorFirst, 21);
    let opened = Session::open(offer, TIMING);
    assert_eq!(opened.outputs, [Output::SendOffer, wake(COMPLAIN_BY - MARGIN)]);
    assert_eq!(opened.next.resume(), opened.outputs);
}

/// an agreement learned from a receipt is taken once, and only on the own offer; a timing is a setting.
#[test]
fn a_session_learns_its_agreement_once() {
    let cast = Cast::new();
    let agreement = cast.agreement(Kind::P2OriginatorFirst);
    let again = cast.acceptance(agreement.offer(), 98);
    let again = Agreement::join(agreement.offer().clone(), again).unwrap();
    let elsewhere = cast.agreement(Kind::P2ResponderFirst);
    let offered = Session::open(agreement.offer().clone(), TIMING).next;
    assert_eq!(offered.agreement(), None);
    assert_eq!(offered.clone().with_agreement(&elsewhere), offered);
    let knows = offered.with_agreement(&agreement);
    assert_eq!(knows.agreement(), Some(&agreement));
    assert_eq!(knows.clone().with_agreement(&again), knows);

    let slower = Timing { complain_margin: DurationMillis(2 * MARGIN) };
    let acceptance = Some(agreement.acceptance().clone());
    let offer = agreement.offer().clone();
    let restored =
        Session::restore(Role::Originator, offer, acceptance, false, Phase::Offered, slower).unwrap();
    assert_ne!(knows, restored);
    assert_eq!(knows.with_timing(slower), restored);
}

/// nobody goes on without the peer's signature in escrow: not the responder before it accepts, not the originator
/// on an acceptance. An escrow that is good elsewhere is no escrow here.
#[test]
fn nothing_is_agreed_without_the_escrow_that_is_owed() {
    let cast = Cast::new();
    for kind in Kind::ESCROW {
        let agreement = cast.agreement(kind);
        let offer = cast.offer(kind, 99);
        let elsewhere = Agreement::join(offer.clone(), cast.acceptance(&offer, 22)).unwrap();
        let again = cast.acceptance(agreement.offer(), 98);
        let again = Agreement::join(agreement.offer().clone(), again).unwrap();
        let accept = |escrow: Option<&_>| Session::accept(agreement.clone(), escrow, at(EARLY), TIMING);
        let own = cast.escrowed(&agreement, Role::Originator);
        if kind.is_detached(Role::Originator) {
            assert_eq!(accept(None).unwrap_err().reason(), "ESCROW_REQUIRED", "{kind:?}");
            for wrong in
                [cast.escrowed(&elsewhere, Role::Originator), cast.escrowed(&agreement, Role::Responder)]
            {
                assert!(accept(wrong.as_ref()).is_err(), "{kind:?}");
            }
            // Bound to the offer alone: it serves every acceptance (K1).
            assert!(accept(cast.escrowed(&again, Role::Originator).as_ref()).is_ok());
        }
        assert!(accept(own.as_ref()).is_ok(), "{kind:?}");

        let offered = Session::open(agreement.offer().clone(), TIMING).next;
        let hear = |escrow| offered.handle(at(EARLY), Input::Accepted(agreement.clone(), escrow));
        if kind.is_detached(Role::Responder) {
            let wrong = [
                None,
                cast.escrowed(&elsewhere, Role::Responder),
                cast.escrowed(&again, Role::Responder),
                cast.escrowed(&agreement, Role::Originator),
            ];
            for escrow in wrong {
                let step = hear(escrow);
                assert_eq!((step.next, step.outputs), (offered.clone(), vec![]), "{kind:?}: silence");
            }
        }
        let step = hear(cast.escrowed(&agreement, Role::Responder));
        assert_eq!(step.next.phase(), Phase::Waiting, "{kind:?}");
    }
}

/// a signature that was in escrow is not in the verdict: it is fetched, by whoever asked.
#[test]
fn a_verdict_that_opens_an_escrow_is_followed_by_a_fetch() {
    let cast = Cast::new();
    for kind in Kind::ESCROW {
        let agreement = cast.agreement(kind);
        let both = [Role::Originator, Role::Responder];
        let replaced = if kind.is_p1() { &both[..] } else { &[kind.first().peer()][..] };
        for role in both {
            let session = restored(&agreement, role, role == kind.first(), Phase::Asking(Ask::Resolve));
            let step = session.handle(at(EARLY), Input::Ruled(verdict(&agreement, replaced)));
            let peer = role.peer();
            if kind == Kind::P1Mixed && role == Role::Originator {
                assert_eq!(step.next.phase(), Phase::Done(Outcome::Resolved), "the verdict is the item");
                continue;
            }
            assert_eq!(step.next.phase(), Phase::Asking(Ask::Fetch), "{kind:?} {role}");
            let wrong = Input::Fetched(fit_of(b"%PDF-1.7\nsomething else"));
            assert_eq!(step.next.handle(at(EARLY), wrong).next, step.next);
            let peers = if kind.is_detached(peer) { detached_fit(&cast, &agreement, peer) } else { fit() };
            let done = step.next.handle(at(EARLY), Input::Fetched(peers));
            assert_eq!(done.next.phase(), Phase::Done(Outcome::Resolved), "{kind:?} {role}");
        }
        assert_eq!(pledge::is_owed(agreement.offer(), Role::Responder), kind.is_detached(Role::Responder));
    }
}

/// R-312, S19: in P1 the end of the escrow key is the deadline: nobody begins, and nothing is sent, when nothing could
/// be resolved any more; who waits resolves in time; who is refused after it for certain asks for the end in writing.
#[test]
fn the_end_of_the_escrow_key_is_a_deadline() {
    let cast = Cast::new();
    let agreement = cast.agreement(Kind::P1Escrow);
    let end = COMPLAIN_BY;
    assert!(accept(&cast, &agreement, end - 2 * MARGIN).is_ok());
    assert!(accept(&cast, &agreement, end - 2 * MARGIN + 1).is_err());
    let offered = Session::open(agreement.offer().clone(), TIMING).next;
    let late = offered.handle(at(end - 2 * MARGIN + 1), accepted(&cast, &agreement));
    assert_eq!((late.next.sent(), late.outputs), (false, vec![Output::Ask(Ask::Abort)]));
    for role in [Role::Originator, Role::Responder] {
        let first = role == Role::Originator;
        let waiting = restored(&agreement, role, first, Phase::Waiting);
        let (_, outputs) = run(waiting.clone(), waiting.resume(), end - MARGIN - 1);
        assert_eq!(outputs.contains(&Output::SendItem), first);
        assert!(outputs.contains(&Output::WakeAt(at(end - MARGIN))), "{role}");
        let (next, outputs) = run(waiting.clone(), waiting.resume(), end - MARGIN);
        assert_eq!(next.phase(), Phase::Asking(Ask::Resolve), "{role}");
        assert!(!outputs.contains(&Output::SendItem), "{role}: the item stays here");
        for (now, expected) in
            [(end - 1, Ask::Resolve), (end + MARGIN - 1, Ask::Resolve), (end + MARGIN, Ask::Abort)]
        {
            let step = next.handle(at(now), Input::Refused);
            assert_eq!(step.next.phase(), Phase::Asking(expected), "{role} at {now}");
        }
    }
    // Without escrow there is no such end.
    let plain = restored(&cast.agreement(Kind::P1), Role::Responder, false, Phase::Asking(Ask::Resolve));
    let step = plain.handle(at(end + 1_000 * MARGIN), Input::Refused);
    assert_eq!(step.next.phase(), Phase::Asking(Ask::Resolve));
}
