//! T: an item for nothing. What can be offered, what the parties do, and that the arbiter has no part in it.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may fail by panicking"
)]

mod common;

use std::collections::BTreeSet;

use arbiter_protocol::exchange::item::{Description, Item};
use arbiter_protocol::exchange::payment::{Hold, Timeout};
use arbiter_protocol::exchange::selection::Role::{self, Originator, Responder};
use arbiter_protocol::exchange::selection::{ByRole, Protocol, Selection, Unfair, select_for};
use arbiter_protocol::ids::LeafIndex;
use arbiter_protocol::message::agreement::{Agreement, Offer};
use arbiter_protocol::message::request::Action;
use arbiter_protocol::message::verdict::Ruling;
use arbiter_protocol::role::arbiter::{Known, decide};
use arbiter_protocol::role::{Fit, Input, Outcome, Output, Phase, Session, Timing};
use arbiter_protocol::statement::{Signed, Verified};
use arbiter_protocol::time::{DurationMillis, UnixMillis};

use common::rulings::ruled;
use common::{
    COMPLAIN_BY, Cast, EARLY, Kind, detached, fit, information, money, nothing, signature, unverified,
};

const TIMING: Timing = Timing { complain_margin: DurationMillis(60_000) };
const NOW: UnixMillis = UnixMillis(EARLY);

/// `item` from `giver`, for nothing.
fn terms(cast: &Cast, giver: Role, item: Item) -> Offer {
    let (originator_item, responder_item) = match giver {
        Originator => (item, nothing()),
        Responder => (nothing(), item),
    };
    Offer {
        originator_item,
        responder_item,
        selection: Selection { protocol: Protocol::Transfer, first_sender: giver.peer() },
        complain_by: None,
        ..cast.terms(Kind::P2OriginatorFirst, 31)
    }
}

fn agreement(cast: &Cast, giver: Role, item: Item) -> Agreement {
    let offer = Verified::sign(terms(cast, giver, item), &cast.originator);
    let acceptance = cast.acceptance(&offer, 32);
    Agreement::new(unverified(&offer).verify_offer().unwrap(), unverified(&acceptance)).unwrap()
}

/// One item of each kind that can be given for nothing.
fn gifts(cast: &Cast, giver: Role) -> [Item; 4] {
    let paid = Item::new(Description::Payment(money::payment(giver, None)));
    [information(), signature("Statement"), paid, detached("Statement", cast.key(giver))]
}

/// T exactly if one of the items is nothing, and nothing but the items is in the offer.
#[test]
fn an_offer_of_an_item_for_nothing_says_no_more_than_that() {
    let cast = Cast::new();
    assert_eq!(select_for(&nothing(), &nothing()), Err(Unfair::Impossible));
    for giver in Role::BOTH {
        for item in gifts(&cast, giver) {
            let good = terms(&cast, giver, item);
            assert_eq!(select_for(&good.originator_item, &good.responder_item), Ok(good.selection));
            let refused = |change: &dyn Fn(&mut Offer)| {
                let mut terms = good.clone();
                change(&mut terms);
                let signed = Verified::sign(terms, &cast.originator);
                unverified(&signed).verify_offer().map(|_| ()).map_err(|why| why.reason())
            };
            assert_eq!(refused(&|_| ()), Ok(()));
            assert_eq!(refused(&|it| it.selection.first_sender = giver), Err("SELECTION_MISMATCH"));
            assert_eq!(
                refused(&|it| it.complain_by = Some(UnixMillis(COMPLAIN_BY))),
                Err("DEADLINE_MISMATCH")
            );
            assert_eq!(refused(&|it| it.send_by = Some(NOW)), Err("DEADLINE_MISMATCH"));
            let escrow = cast.terms(Kind::ESCROW[0], 1).escrow;
            assert_eq!(refused(&|it| it.escrow.clone_from(&escrow)), Err("ESCROW_TERMS_MISMATCH"));
            let both = |it: &mut Offer| {
                it.originator_item = nothing();
                it.responder_item = nothing();
            };
            assert_eq!(refused(&both), Err("SELECTION_MISMATCH"));
            for protocol in [Protocol::ContractSigning, Protocol::BothDeposited, Protocol::Affidavit] {
                assert_eq!(refused(&|it| it.selection.protocol = protocol), Err("SELECTION_MISMATCH"));
            }
        }
        let hold = Hold { until: UnixMillis(COMPLAIN_BY), timeout: Timeout::Post };
        let held = Item::new(Description::Payment(money::payment(giver, Some(hold))));
        let signed = Verified::sign(terms(&cast, giver, held), &cast.originator);
        assert_eq!(unverified(&signed).verify_offer().unwrap_err().reason(), "PAYMENT_NOT_EFFECTIVE");
    }
    let mut fair = cast.terms(Kind::P2OriginatorFirst, 31);
    fair.selection.protocol = Protocol::Transfer;
    let signed = Verified::sign(fair, &cast.originator);
    assert_eq!(unverified(&signed).verify_offer().unwrap_err().reason(), "SELECTION_MISMATCH");
}

/// The bytes on the wire say the same again.
#[test]
fn an_offer_of_an_item_for_nothing_is_read_as_it_was_written() {
    let cast = Cast::new();
    for giver in Role::BOTH {
        for item in gifts(&cast, giver) {
            let offer = Verified::sign(terms(&cast, giver, item), &cast.originator);
            let read = Signed::<Offer>::parse(offer.envelope().clone()).unwrap();
            assert_eq!(*read.unverified(), *offer);
        }
    }
}

/// whoever asks whatever, the arbiter has nothing to give, to take or to end.
#[test]
fn the_arbiter_decides_nothing() {
    let cast = Cast::new();
    for giver in Role::BOTH {
        for item in gifts(&cast, giver) {
            let agreement = agreement(&cast, giver, item);
            for (role, action, reason) in Role::BOTH.into_iter().flat_map(|role| {
                [
                    (role, Action::Abort, "ABORT_NOT_ALLOWED"),
                    (role, Action::Deposit, "DEPOSIT_NOT_ALLOWED"),
                    (role, Action::Fetch, "DEPOSIT_NOT_RELEASED"),
                    (role, Action::Query, "VERDICT_NOT_FOUND"),
                    (role, Action::Resolve, "RESOLVE_NOT_ALLOWED"),
                    (role, Action::Revoke, "REVOKE_NOT_ALLOWED"),
                ]
            }) {
                for now in [EARLY, COMPLAIN_BY, u64::MAX >> 1] {
                    let case = cast.case(&agreement, role, action);
                    let decided =
                        decide(&case, Known::default(), UnixMillis(now), LeafIndex(9), ByRole::default());
                    assert_eq!(decided.unwrap_err().reason(), reason, "{role} {action:?}");
                }
            }
        }
    }
}

/// R-316, word by word, also after a restart.
#[test]
fn who_gives_is_done_when_it_has_sent_and_who_gets_when_it_has_it() {
    let cast = Cast::new();
    for giver in Role::BOTH {
        let agreement = agreement(&cast, giver, information());
        let accepted = |role: Role| match role {
            Originator => Session::open(agreement.offer().clone(), TIMING)
                .next
                .handle(NOW, Input::Accepted(agreement.clone(), None)),
            Responder => Session::accept(agreement.clone(), None, NOW, TIMING).unwrap(),
        };
        let opening = |role| (role == Responder).then_some(Output::SendAcceptance);
        let all =
            |role, rest: &[Output]| opening(role).into_iter().chain(rest.iter().cloned()).collect::<Vec<_>>();
        let gave = accepted(giver);
        let said = all(giver, &[Output::SendItem, Output::Done(Outcome::Completed)]);
        assert_eq!((gave.next.phase(), &gave.outputs), (Phase::Done(Outcome::Completed), &said));
        assert_eq!(gave.next.resume(), said, "nobody knows what was sent before the restart");
        let repeated = gave.next.handle(NOW, Input::PeerRepeats).outputs;
        assert_eq!(repeated, all(giver, &[Output::SendItem]));

        let gets = accepted(giver.peer());
        assert_eq!((gets.next.phase(), &gets.outputs), (Phase::Waiting, &all(giver.peer(), &[])));
        assert_eq!(gets.next.resume(), all(giver.peer(), &[]));
        let got = gets.next.handle(NOW, Input::Received(Fit::Content(fit())));
        assert_eq!(got.outputs, [Output::Done(Outcome::Completed)]);
        let left = gets.next.handle(NOW, Input::GiveUp);
        assert_eq!(left.outputs, [Output::Done(Outcome::Abandoned)]);
        let unanswered = Session::open(agreement.offer().clone(), TIMING).next.handle(NOW, Input::GiveUp);
        assert_eq!(unanswered.outputs, [Output::Done(Outcome::Abandoned)]);
    }
}

/// every sequence of five inputs. Only who gives sends, only after the acceptance; nobody ever asks the arbiter, waits
/// for a time or says that it has what it has not.
#[test]
fn no_sequence_of_inputs_makes_more_of_it() {
    let cast = Cast::new();
    for (giver, role) in Role::BOTH.into_iter().flat_map(|giver| Role::BOTH.map(|role| (giver, role))) {
        let agreement = agreement(&cast, giver, information());
        let ruled = ruled(&agreement, Ruling::Aborted);
        let inputs = [
            Input::Accepted(agreement.clone(), None),
            Input::Received(Fit::Content(fit())),
            Input::PeerRepeats,
            Input::GiveUp,
            Input::Wake,
            Input::Ruled(ruled),
            Input::Refused,
            Input::Attested,
            Input::Settled,
            Input::Reversed,
        ];
        let begin = match role {
            Originator => Session::open(agreement.offer().clone(), TIMING),
            Responder => Session::accept(agreement.clone(), None, NOW, TIMING).unwrap(),
        };
        let mut ends = BTreeSet::new();
        let mut open = vec![(begin.next, false)];
        check(&begin.outputs, role == giver, role == Responder);
        for _ in 0..5 {
            let mut next = Vec::new();
            for (session, received) in &open {
                for input in &inputs {
                    let step = session.handle(NOW, input.clone());
                    let received = *received || matches!(input, Input::Received(_));
                    check(&step.outputs, role == giver, step.next.agreement().is_some());
                    if let Phase::Done(outcome) = step.next.phase() {
                        ends.insert(format!("{outcome:?}"));
                        assert!(outcome != Outcome::Completed || role == giver || received, "{step:?}");
                    }
                    if !next.contains(&(step.next.clone(), received)) {
                        next.push((step.next, received));
                    }
                }
            }
            open = next;
        }
        let expected: &[&str] = match (role == giver, role) {
            (true, Responder) => &["Completed"], // It has sent as soon as it has accepted.
            _ => &["Abandoned", "Completed"],
        };
        assert_eq!(ends.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    }
}

fn check(outputs: &[Output], gives: bool, agreed: bool) {
    for output in outputs {
        match output {
            Output::SendItem => assert!(gives && agreed, "{outputs:?}"),
            Output::SendOffer | Output::SendAcceptance | Output::Done(_) => {}
            Output::Ask(_) | Output::WakeAt(_) | Output::Observe | Output::Release => panic!("{output:?}"),
        }
    }
}
