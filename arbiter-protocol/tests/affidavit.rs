//! P6: what a party does and what the arbiter decides where only an affidavit can be had. Money paid at once for a file; and
//! money for money, of which neither can be undone.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may fail by panicking"
)]

mod common;

use arbiter_protocol::error::Refused;
use arbiter_protocol::exchange::item::{Description, Item};
use arbiter_protocol::exchange::kind::content::{ContentCheck, FitContent};
use arbiter_protocol::exchange::selection::Role::{self, Originator, Responder};
use arbiter_protocol::exchange::selection::{Protocol, Selection, Unfair, select, select_affidavit};
use arbiter_protocol::message::agreement::{Agreement, Offer};
use arbiter_protocol::message::request::Action;
use arbiter_protocol::message::verdict::Ruling;
use arbiter_protocol::role::{Ask, Fit, Input, Outcome, Output, Phase, Session, Timing};
use arbiter_protocol::statement::Verified;
use arbiter_protocol::time::{DurationMillis, UnixMillis};

use common::rulings::ruled;
use common::{COMPLAIN_BY, CONTENT, Cast, EARLY, Kind, Notary, information, money, unverified};

const MARGIN: u64 = 60_000;
const TIMING: Timing = Timing { complain_margin: DurationMillis(MARGIN) };
const LATE: u64 = COMPLAIN_BY + MARGIN;

fn cash(role: Role) -> Item {
    Item::new(Description::Payment(money::payment(role, None)))
}

fn agreement(cast: &Cast, responder_item: Item) -> Agreement {
    let terms = Offer {
        originator_item: cash(Originator),
        responder_item,
        selection: Selection { protocol: Protocol::Affidavit, first_sender: Originator },
        complain_by: Some(UnixMillis(COMPLAIN_BY)),
        ..cast.terms(Kind::P2OriginatorFirst, 21)
    };
    let offer = Verified::sign(terms, &cast.originator);
    let acceptance = cast.acceptance(&offer, 22);
    Agreement::new(unverified(&offer).verify_offer().unwrap(), unverified(&acceptance)).unwrap()
}

/// What `role` gives, as its peer has it.
fn fit(agreement: &Agreement, role: Role) -> FitContent {
    let (mut check, bytes) = match money::receipt_of(agreement.offer(), role) {
        Some(receipt) => {
            let terms =
                arbiter_protocol::message::payment::PaymentTerms::of(agreement.offer(), role).unwrap();
            (ContentCheck::payment(terms), receipt)
        }
        None => (ContentCheck::file(common::described(CONTENT)), CONTENT.to_vec()),
    };
    check.update(&bytes).unwrap();
    check.finish().unwrap()
}

/// P6 only by name, and only where nothing better is; the offer must say so.
#[test]
fn it_is_asked_for_by_name_and_only_where_nothing_is_better() {
    let cast = Cast::new();
    let (money, file) = (cash(Originator).properties, information().properties);
    assert_eq!(select(&money, &file), Err(Unfair::AffidavitOnly));
    let by_name = select_affidavit(&money, &file).unwrap();
    assert_eq!(by_name, Selection { protocol: Protocol::Affidavit, first_sender: Originator });
    let better = select_affidavit(&file, &file);
    assert_eq!(better, Err(Unfair::BetterThanAffidavit(Protocol::BothDeposited)));
    let refused = |change: &dyn Fn(&mut Offer)| {
        let mut terms = (**agreement(&cast, information()).offer()).clone();
        change(&mut terms);
        let signed = Verified::sign(terms, &cast.originator);
        unverified(&signed).verify_offer().unwrap_err().reason()
    };
    assert_eq!(refused(&|it| it.selection.first_sender = Responder), "SELECTION_MISMATCH");
    assert_eq!(refused(&|it| it.selection.protocol = Protocol::RevokeOnSilence), "SELECTION_MISMATCH");
    assert_eq!(refused(&|it| it.originator_item = information()), "SELECTION_MISMATCH");
    assert_eq!(refused(&|it| it.complain_by = None), "DEADLINE_MISMATCH");
    assert_eq!(refused(&|it| it.send_by = Some(UnixMillis(EARLY))), "DEADLINE_MISMATCH");
}

/// An arbiter of these parties; the deposits of both are taken, each under its acceptance.
fn with_deposits(deposits: &[(Role, &Agreement)]) -> Notary {
    let mut notary = Notary::new();
    for (role, under) in deposits {
        let case = notary.cast.case(under, *role, Action::Deposit);
        notary.file(&case, EARLY).unwrap().expect("R-425: an attestation");
    }
    notary
}

/// R-426, K1: a responder that deposits under another acceptance than the originator keeps nothing from it. The verdict names
/// the agreement under which the originator opens what it fetches, and verifies for who knows the other acceptance only.
#[test]
fn a_second_acceptance_keeps_nothing_from_the_first_sender() {
    let agreement = Cast::new().agreement(Kind::P6PaidForFile);
    let cast = Cast::new();
    let other = Agreement::join(agreement.offer().clone(), cast.acceptance(agreement.offer(), 99)).unwrap();
    for (role, under) in [(Originator, &agreement), (Responder, &other)] {
        let mut notary = with_deposits(&[(Originator, &agreement), (Responder, &other)]);
        let case = notary.cast.case(under, role, Action::Resolve);
        let receipt = notary.file(&case, COMPLAIN_BY).unwrap().expect("a verdict");
        let proven = receipt.verify(agreement.offer(), Some(case.request().digest())).unwrap();
        let verdict = proven.ruled.verdict().expect("a verdict");
        assert!(matches!(&verdict.ruling, Ruling::Replaced(both) if both.len() == 2), "{role}: {verdict:?}");
        assert_eq!(verdict.agreement_id, Some(other.id()), "{role}");
        let fetch = notary.cast.case(&agreement, Originator, Action::Fetch);
        assert_eq!(notary.file(&fetch, LATE).map(|it| it.is_none()), Ok(true), "R-408: released");
    }
}

/// R-427, F4: who waits for an item that never comes has an end at the deadline, also after the first sender's deposit, and
/// also without an acceptance: an originator that sends second may have got none.
#[test]
fn who_waits_has_an_end_at_the_deadline_whatever_was_deposited() {
    for (kind, first) in [(Kind::P6PaidForFile, Originator), (Kind::P6WordForPaid, Responder)] {
        let agreement = Cast::new().agreement(kind);
        let mut notary = with_deposits(&[(first, &agreement)]);
        let acceptance = (first == Originator).then(|| agreement.acceptance());
        let abort = notary.cast.admit(agreement.offer(), acceptance, first.peer(), Action::Abort).unwrap();
        let early = notary.file(&abort, COMPLAIN_BY - 1).unwrap_err();
        assert_eq!(early, Refused::AbortTooEarly { complain_by: UnixMillis(COMPLAIN_BY) }, "R-424: kept");
        let receipt = notary.file(&abort, COMPLAIN_BY).unwrap().expect("a verdict");
        let proven = receipt.verify(agreement.offer(), Some(abort.request().digest())).unwrap();
        let verdict = proven.ruled.verdict().expect("a verdict");
        assert_eq!(verdict.ruling, Ruling::Affidavit(vec![first]));
        assert_eq!((verdict.rule.as_str(), verdict.agreement_id), ("R-426", Some(agreement.id())));
    }
}

/// the first sender sends, deposits in time, asks for the affidavit when there is one to be had, and ends with it; a
/// refusal, forged or not, makes it give up nothing.
#[test]
fn the_first_sender_ends_with_the_item_or_with_an_affidavit() {
    let cast = Cast::new();
    let agreement = agreement(&cast, information());
    let opened = Session::open(agreement.offer().clone(), TIMING).next;
    let at = UnixMillis;
    let step = opened.handle(at(EARLY), Input::Accepted(agreement.clone(), None));
    assert_eq!(step.outputs, [Output::SendItem, Output::WakeAt(at(COMPLAIN_BY - MARGIN))]);
    let waiting = step.next;
    assert!(
        waiting.may_send_item(at(COMPLAIN_BY - MARGIN - 1))
            && !waiting.may_send_item(at(COMPLAIN_BY - MARGIN))
    );
    let got = waiting.handle(at(EARLY), Input::Received(Fit::Content(fit(&agreement, Responder))));
    assert_eq!(got.next.phase(), Phase::Done(Outcome::Completed));
    let asking = waiting.handle(at(COMPLAIN_BY - MARGIN), Input::Wake).next;
    assert_eq!(asking.phase(), Phase::Asking(Ask::Complain));
    // It is too early for an affidavit, or the deposit was refused, by who knows whom: asked again while a deposit is in time.
    for (now, again) in [(EARLY, COMPLAIN_BY - MARGIN), (COMPLAIN_BY - 1, COMPLAIN_BY + 499)] {
        let refused = asking.handle(at(now), Input::Refused);
        assert_eq!(refused.next.phase(), asking.phase());
        assert_eq!(refused.outputs, [Output::WakeAt(at(again))]);
    }
    let late = asking.handle(at(LATE), Input::Refused);
    assert_eq!(late.outputs, [Output::Ask(Ask::Resolve)], "without a deposit, if it came too late");
    assert_eq!(late.next.handle(at(LATE + 1), Input::Refused).next.phase(), Phase::Asking(Ask::Resolve));
    let came = asking.handle(at(LATE), Input::Received(Fit::Content(fit(&agreement, Responder))));
    assert_eq!(came.next.phase(), Phase::Done(Outcome::Completed), "however late");
    for (ruling, phase) in [
        (Ruling::Affidavit(vec![Originator]), Phase::Done(Outcome::Affidavit)),
        (Ruling::Aborted, Phase::Done(Outcome::Aborted)),
    ] {
        let step = late.next.handle(at(LATE), Input::Ruled(ruled(&agreement, ruling)));
        assert_eq!(step.next.phase(), phase);
    }
    let both = Role::BOTH.map(|role| arbiter_protocol::message::verdict::Replacement {
        role,
        item: agreement.offer().item(role).clone(),
    });
    let given = asking.handle(at(EARLY), Input::Ruled(ruled(&agreement, Ruling::Replaced(both.to_vec()))));
    assert_eq!(given.outputs, [Output::Ask(Ask::Fetch)]);
    let fetched = given.next.handle(at(EARLY), Input::Fetched(fit(&agreement, Responder)));
    assert_eq!(fetched.next.phase(), Phase::Done(Outcome::Resolved));
}

/// the second sender sends when it has the first item, however late; without it, it gives nothing and asks for an end
/// from the deadline on.
#[test]
fn the_second_sender_gives_nothing_for_nothing() {
    let cast = Cast::new();
    let agreement = agreement(&cast, cash(Responder));
    let at = UnixMillis;
    let waiting = Session::accept(agreement.clone(), None, at(EARLY), TIMING).unwrap().next;
    let impatient = waiting.handle(at(EARLY), Input::GiveUp);
    assert_eq!(impatient.outputs, [Output::WakeAt(at(COMPLAIN_BY))], "the first sender has time until then");
    let over = waiting.handle(at(COMPLAIN_BY), Input::Wake);
    assert_eq!(over.outputs, [Output::Ask(Ask::Abort)]);
    for session in [&waiting, &over.next] {
        let step = session.handle(at(LATE), Input::Received(Fit::Content(fit(&agreement, Originator))));
        assert_eq!(step.outputs, [Output::SendItem, Output::Done(Outcome::Completed)]);
    }
    let ended =
        over.next.handle(at(LATE), Input::Ruled(ruled(&agreement, Ruling::Affidavit(vec![Originator]))));
    assert_eq!(ended.outputs, [Output::Done(Outcome::Affidavit)], "R-427: it gave nothing, and has an end");
    let short = Session::accept(agreement, None, at(COMPLAIN_BY - 2 * MARGIN + 1), TIMING);
    assert_eq!(short, Err(Refused::DeadlineMismatch));
}
