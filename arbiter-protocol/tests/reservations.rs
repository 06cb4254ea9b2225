//! Money that is set aside first and that the arbiter can post: offers, pledges, the verdict table, the orders that
//! follow from verdicts, sessions, and what the log may hold.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may fail by panicking"
)]

mod common;

use arbiter_protocol::crypto::Signer as _;
use arbiter_protocol::error::Refused;
use arbiter_protocol::evidence::leaf::Event;
use arbiter_protocol::exchange::item::{Description, Item};
use arbiter_protocol::exchange::kind::detached::Place;
use arbiter_protocol::exchange::kind::pledge::Pledge;
use arbiter_protocol::exchange::kind::signature;
use arbiter_protocol::exchange::payment::{Amount, Timeout};
use arbiter_protocol::exchange::property::{Properties, Property};
use arbiter_protocol::exchange::selection::Role::{self, Originator, Responder};
use arbiter_protocol::exchange::selection::{ByRole, Protocol};
use arbiter_protocol::ids::{Digest, LeafIndex};
use arbiter_protocol::limits;
use arbiter_protocol::message::agreement::{Agreement, Offer};
use arbiter_protocol::message::payment::{PaymentAction, PaymentReceipt, PaymentState, PaymentTerms};
use arbiter_protocol::message::request::Action;
use arbiter_protocol::message::transfer::Transfer;
use arbiter_protocol::message::verdict::{Replacement, Ruling};
use arbiter_protocol::role::arbiter::{
    Case, Decision, Escrows, Known, decide, payment_orders, to_file, to_open,
};
use arbiter_protocol::role::{Ask, Fit, Input, Outcome, Output, Phase, Session, Step, Timing};
use arbiter_protocol::ruling::chain::{LeafFault, Walk};
use arbiter_protocol::ruling::sequencer::{Batch, Reply};
use arbiter_protocol::statement::{Envelope, Verified, digest_of};
use arbiter_protocol::time::{DurationMillis, UnixMillis};
use common::money::{HOLD_END, account, ledger, receipt, reservation};
use common::rulings::{action, answer, attested, ruled};
use common::{COMPLAIN_BY, Cast, EARLY, Kind, Notary, TestVeil, fit, unverified};

const MARGIN: u64 = 60_000;
const TIMING: Timing = Timing { complain_margin: DurationMillis(MARGIN) };

const fn at(millis: u64) -> UnixMillis {
    UnixMillis(millis)
}

/// what an offer with reserved money is, and what is none.
#[test]
fn reserved_money_is_generatable_and_only_where_the_arbiter_generates() {
    let cast = Cast::new();
    for kind in Kind::RESERVED {
        let terms = cast.terms(kind, 1);
        let protocol = if kind.is_p1() { Protocol::ContractSigning } else { Protocol::VerifyThenGenerate };
        assert_eq!((terms.selection.protocol, terms.check()), (protocol, Ok(())), "{kind:?}");
        assert_eq!(terms.selection.first_sender, kind.first(), "{kind:?}");
        assert_eq!(terms.deadline(), Some(at(COMPLAIN_BY)), "{kind:?}");
        for role in Role::BOTH {
            let reserved = kind.is_reserved(role);
            assert_eq!(terms.item(role).description.reservation().is_some(), reserved);
            let both = Properties::new([Property::Observable, Property::GeneratableByEscrow]);
            assert!(!reserved || terms.item(role).properties == both);
        }
    }

    type Break = fn(&mut Offer);
    let hold = |offer: &mut Offer, until: u64| {
        for item in [&mut offer.originator_item, &mut offer.responder_item] {
            if let Description::Payment(payment) = &mut item.description {
                payment.hold.as_mut().unwrap().until = at(until);
            }
        }
    };
    let breaks: [(&str, Kind, Break); 6] = [
        // reserved money needs a deadline, also in P1; other items of P1 have none.
        ("DEADLINE_MISMATCH", Kind::P1OriginatorReserves, |o| o.complain_by = None),
        ("DEADLINE_MISMATCH", Kind::P2ResponderReserves, |o| o.complain_by = None),
        ("DEADLINE_MISMATCH", Kind::P1, |o| o.complain_by = Some(at(COMPLAIN_BY))),
        ("DEADLINE_MISMATCH", Kind::P1Reservations, |o| o.send_by = Some(at(EARLY))),
        // observed only, it would go back by itself.
        ("PAYMENT_NOT_EFFECTIVE", Kind::P2Payment, |o| {
            let item = common::money::reserved(Originator);
            o.originator_item = Item { properties: Properties::new([Property::Observable]), ..item };
        }),
        ("SELECTION_MISMATCH", Kind::P2OriginatorReserves, |o| o.selection.first_sender = Originator),
    ];
    for (number, (reason, kind, change)) in breaks.into_iter().enumerate() {
        let mut terms = cast.terms(kind, 1);
        change(&mut terms);
        assert_eq!(terms.check().map_err(|why| why.reason()), Err(reason), "break {number}");
    }
    // the hold outlasts the last decision, to the millisecond.
    for kind in Kind::RESERVED {
        let mut terms = cast.terms(kind, 1);
        hold(&mut terms, COMPLAIN_BY + limits::HOLD_MARGIN.0);
        assert_eq!(terms.check(), Ok(()), "{kind:?}");
        hold(&mut terms, COMPLAIN_BY + limits::HOLD_MARGIN.0 - 1);
        assert_eq!(terms.check(), Err(Refused::DeadlineMismatch), "{kind:?}");
    }
    // Named as weak it could never be paid: an affidavit posts nothing.
    let mut weak = cast.terms(Kind::P2OriginatorReserves, 1);
    weak.responder_item.properties = Properties::new([]);
    weak.selection.protocol = Protocol::Affidavit;
    weak.selection.first_sender = Originator;
    assert_eq!(weak.check(), Err(Refused::PaymentNotEffective));
}

/// which receipts are a pledge. Everything else has its own reason, with the peer and with the arbiter.
#[test]
fn only_the_true_reservation_of_this_exchange_is_a_pledge() {
    let cast = Cast::new();
    for kind in Kind::RESERVED {
        let agreement = cast.agreement(kind);
        let offer = agreement.offer();
        for payer in Role::BOTH.into_iter().filter(|role| kind.is_reserved(*role)) {
            let place = Place::of(offer, payer, agreement.id());
            let terms = PaymentTerms::of(offer, payer).unwrap();
            let all = terms.payment.amount.units;
            let good = reservation(offer, payer);
            let pledge = Pledge::Reservation(good.clone());
            let pledged = place.check(pledge.clone()).unwrap();
            assert_eq!((pledged.pledge(), pledged.is_for(&place)), (pledge.clone(), true));
            assert_eq!(Pledge::from_bytes(&pledge.to_bytes()), Ok(pledge.clone()));
            // Whichever the acceptance (K1), but in no other exchange and for nobody else.
            let again = Agreement::join(offer.clone(), cast.acceptance(offer, 98)).unwrap();
            assert!(pledged.is_for(&Place::of(offer, payer, again.id())));
            assert!(!pledged.is_for(&Place::of(offer, payer.peer(), agreement.id())));
            let other = cast.offer(kind, 99);
            assert!(!pledged.is_for(&Place::of(&other, payer, agreement.id())));

            let signed = |terms: &PaymentTerms, state| receipt(terms, state).envelope().clone();
            let changed = |change: &dyn Fn(&mut PaymentTerms)| {
                let mut terms = terms.clone();
                change(&mut terms);
                signed(&terms, PaymentState::Reserved)
            };
            let by = |key: &dyn arbiter_protocol::crypto::Signer| {
                let receipt = receipt(&terms, PaymentState::Reserved);
                Verified::sign(PaymentReceipt { ..(*receipt).clone() }, key).envelope().clone()
            };
            let hold = |until, timeout| {
                move |it: &mut PaymentTerms| {
                    it.payment.hold = Some(arbiter_protocol::exchange::payment::Hold { until, timeout });
                }
            };
            let other_payment = "RESERVATION_OF_OTHER_PAYMENT";
            let wrong: Vec<(&str, Envelope)> = vec![
                ("RESERVATION_OF_OTHER_LEDGER", by(&cast.stranger)),
                ("RESERVATION_OF_OTHER_LEDGER", by(&account(payer))),
                ("RESERVATION_OF_OTHER_LEDGER", by(&cast.arbiter)),
                (other_payment, reservation(&other, payer)),
                (other_payment, changed(&|it| it.reference = Digest::of(&[b"another purpose"]))),
                (other_payment, changed(&|it| it.payment.amount = Amount::parse("12.33 EUR").unwrap())),
                (other_payment, changed(&|it| it.payment.amount = Amount::parse("12.34 USD").unwrap())),
                (other_payment, changed(&|it| it.payment.payee = cast.stranger.public_key())),
                (other_payment, changed(&|it| it.payment.payer = cast.stranger.public_key())),
                (other_payment, changed(&|it| it.authority = Some(it.payment.payee))),
                (other_payment, changed(&hold(at(HOLD_END - 1), Timeout::Void))),
                (other_payment, changed(&hold(at(HOLD_END), Timeout::Post))),
                ("RESERVATION_STATE_MISMATCH", signed(&terms, PaymentState::Absent)),
                ("RESERVATION_STATE_MISMATCH", signed(&terms, PaymentState::Voided)),
                ("RESERVATION_STATE_MISMATCH", signed(&terms, PaymentState::Posted(all))),
                ("RESERVATION_STATE_MISMATCH", signed(&terms, PaymentState::Posted(1))),
            ];
            for (number, (reason, envelope)) in wrong.into_iter().enumerate() {
                let found = place.check(Pledge::Reservation(envelope.clone())).map_err(|why| why.reason());
                assert_eq!(found.err(), Some(reason), "{kind:?} {payer} wrong {number}");
                // and the arbiter takes it from nobody.
                for asks in Role::BOTH {
                    if to_file(offer, asks, Action::Resolve).contains(&payer) {
                        let filed = filed(&cast, &agreement, asks, |it| {
                            *it.of_mut(payer) = Some(Pledge::Reservation(envelope.clone()));
                        });
                        assert_eq!(filed.err(), Some(reason), "{kind:?} {payer} wrong {number}");
                    }
                }
            }
            // A receipt is no pledge for what is no reserved money, and another statement is none at all.
            let elsewhere = cast.agreement(Kind::P1Escrow);
            let strange = Place::of(elsewhere.offer(), payer, elsewhere.id()).check(pledge);
            assert_eq!(strange.map_err(|why| why.reason()).err(), Some("RESERVATION_NOT_AGREED"));
            let acceptance = agreement.acceptance().envelope().encode();
            let reason = Pledge::from_bytes(&acceptance).map_err(|why| why.reason());
            assert_eq!(reason, Err("PAYLOAD_TYPE_UNEXPECTED"));
            for damaged in [&[0x0a][..], &[0x0a, 0x07, 1], &[]] {
                assert!(Pledge::from_bytes(damaged).is_err());
            }
        }
    }
}

/// Files a request to resolve with changed pledges.
fn filed(
    cast: &Cast,
    agreement: &Agreement,
    asks: Role,
    change: impl FnOnce(&mut Escrows),
) -> Result<Case, &'static str> {
    let mut pledges = cast.escrows(agreement, asks, Action::Resolve);
    change(&mut pledges);
    let offer = agreement.offer();
    let request = cast.request(offer.exchange_id(), Some(agreement.id()), asks, Action::Resolve);
    let acceptance = Some(unverified(agreement.acceptance()));
    let admitted =
        Case::admit(&cast.identity(), unverified(&request), unverified(offer), acceptance, pledges);
    admitted.map_err(|why| why.reason())
}

/// without the pledge nothing is generated: who never set money aside gets nothing for it (the responder's own
/// acceptance in its own hand is no reason either). Pledges that nobody asked for are refused.
#[test]
fn money_that_was_not_set_aside_buys_nothing() {
    let cast = Cast::new();
    for kind in Kind::RESERVED {
        let agreement = cast.agreement(kind);
        for asks in Role::BOTH {
            let wanted = to_file(agreement.offer(), asks, Action::Resolve);
            let opened = to_open(agreement.offer(), asks, Action::Resolve);
            assert!(opened.iter().all(|role| wanted.contains(role) && kind.is_detached(*role)));
            for role in Role::BOTH {
                if !wanted.contains(&role) {
                    let extra = cast.pledge(&agreement, role);
                    if extra.is_some() {
                        let refused = filed(&cast, &agreement, asks, |it| *it.of_mut(role) = extra.clone());
                        assert_eq!(refused.err(), Some("RESERVATION_NOT_AGREED"), "{kind:?} {asks}");
                    }
                    continue;
                }
                let case = filed(&cast, &agreement, asks, |it| *it.of_mut(role) = None).unwrap();
                let here = attested(&agreement, agreement.offer().selection.first_sender);
                let deposit = ByRole::only(kind.first(), (&here, digest_of(&here)));
                let attestations = if kind.is_p1() { ByRole::default() } else { deposit };
                let known = Known { verdict: None, attestations };
                let decision = decide(&case, known, at(EARLY), LeafIndex(9), ByRole::default());
                let reason = if kind.is_reserved(role) { "RESERVATION_REQUIRED" } else { "ESCROW_REQUIRED" };
                assert_eq!(decision.map_err(|why| why.reason()).err(), Some(reason), "{kind:?} {asks}");
            }
        }
    }
}

/// What differs from the tables of `decisions.rs` where money is reserved: P1 has a deadline. Columns: nothing is durable; a
/// deposit attested under this agreement; an abort; a replacement. `late`: from `complain_by` on.
const TABLE: &str = "
 who       action  acc time  | none                 attested             aborted              replaced
 P1r.second abort   any early | ABORT_TOO_EARLY      -                    REPLAY               REPLAY
 P1r.second abort   any late  | R-403                -                    REPLAY               REPLAY
 P1r.first  resolve yes early | R-404                -                    REPLAY               REPLAY
 P1r.second resolve yes early | R-404                -                    REPLAY               REPLAY
 P1r.first  resolve yes late  | COMPLAINT_TOO_LATE   -                    REPLAY               REPLAY
 P1r.second resolve yes late  | COMPLAINT_TOO_LATE   -                    REPLAY               REPLAY
";

/// What stays as it is in those tables.
const AS_EVER: &str = "
 who       action  acc time  | none                 attested             aborted              replaced
 as P1.first  abort   any any   | R-403                -                    REPLAY               REPLAY
 as P1.first  resolve no  any   | ACCEPTANCE_REQUIRED  -                    REPLAY               REPLAY
 as P1.second resolve no  any   | ACCEPTANCE_REQUIRED  -                    REPLAY               REPLAY
 as P1.first  revoke  any any   | REVOKE_NOT_ALLOWED   -                    REPLAY               REPLAY
 as P1.second revoke  any any   | REVOKE_NOT_ALLOWED   -                    REPLAY               REPLAY
 as P1.first  deposit yes any   | DEPOSIT_NOT_ALLOWED  -                    DEPOSIT_NOT_ALLOWED  DEPOSIT_NOT_ALLOWED
 as P1.second deposit yes any   | DEPOSIT_NOT_ALLOWED  -                    DEPOSIT_NOT_ALLOWED  DEPOSIT_NOT_ALLOWED
 as P1.first  query   any any   | VERDICT_NOT_FOUND    -                    REPLAY               REPLAY
 as P1.second query   any any   | VERDICT_NOT_FOUND    -                    REPLAY               REPLAY
 as P2.first  abort   any any   | R-405                R-405                REPLAY               REPLAY
 as P2.second abort   any early | ABORT_TOO_EARLY      ABORT_TOO_EARLY      REPLAY               REPLAY
 as P2.second abort   any late  | R-405                R-405                REPLAY               REPLAY
 as P2.first  resolve yes early | DEPOSIT_REQUIRED     R-406                REPLAY               REPLAY
 as P2.first  resolve yes late  | COMPLAINT_TOO_LATE   COMPLAINT_TOO_LATE   REPLAY               REPLAY
 as P2.second resolve yes any   | RESOLVE_NOT_ALLOWED  RESOLVE_NOT_ALLOWED  REPLAY               REPLAY
 as P2.first  revoke  any any   | REVOKE_NOT_ALLOWED   REVOKE_NOT_ALLOWED   REPLAY               REPLAY
 as P2.second revoke  any any   | REVOKE_NOT_ALLOWED   REVOKE_NOT_ALLOWED   REPLAY               REPLAY
 as P2.first  deposit yes early | R-407                REPLAY-ATTESTATION   ALREADY_RULED        REPLAY-ATTESTATION
 as P2.first  deposit yes late  | COMPLAINT_TOO_LATE   REPLAY-ATTESTATION   ALREADY_RULED        REPLAY-ATTESTATION
 as P2.second deposit yes any   | DEPOSIT_NOT_ALLOWED  DEPOSIT_NOT_ALLOWED  DEPOSIT_NOT_ALLOWED  DEPOSIT_NOT_ALLOWED
 as P2.first  fetch   any any   | DEPOSIT_NOT_RELEASED DEPOSIT_NOT_RELEASED DEPOSIT_NOT_RELEASED DEPOSIT_NOT_RELEASED
 as P2.second fetch   any any   | DEPOSIT_NOT_RELEASED DEPOSIT_NOT_RELEASED DEPOSIT_NOT_RELEASED RELEASE
 as P2.first  query   any any   | VERDICT_NOT_FOUND    VERDICT_NOT_FOUND    REPLAY               REPLAY
 as P2.second query   any any   | VERDICT_NOT_FOUND    VERDICT_NOT_FOUND    REPLAY               REPLAY
";

fn replaced(agreement: &Agreement) -> Ruling {
    let item = |role| Replacement { role, item: agreement.offer().item(role).clone() };
    let offer = agreement.offer();
    Ruling::Replaced(match offer.selection.protocol {
        Protocol::ContractSigning => Role::BOTH.map(item).to_vec(),
        _ => vec![item(offer.selection.first_sender.peer())],
    })
}

/// every cell, for every kind with reserved money, at every time that matters; and that a new
/// verdict names what was filed.
#[test]
fn the_verdict_table_holds_where_money_is_reserved() {
    let cast = Cast::new();
    let mut cells = 0;
    for kind in Kind::RESERVED {
        let agreement = cast.agreement(kind);
        let here = attested(&agreement, agreement.offer().selection.first_sender);
        let (aborted, given) = (ruled(&agreement, Ruling::Aborted), ruled(&agreement, replaced(&agreement)));
        let deposit = ByRole::only(kind.first(), (&here, digest_of(&here)));
        let in_p2 = if kind.is_p1() { ByRole::default() } else { deposit };
        let states = [
            Known::default(),
            Known { verdict: None, attestations: deposit },
            Known { verdict: Some(&aborted), attestations: ByRole::default() },
            Known { verdict: Some(&given), attestations: in_p2 },
        ];
        for line in TABLE.trim().lines().skip(1).chain(AS_EVER.trim().lines().skip(1)) {
            let (head, answers) = line.split_once('|').unwrap();
            let head: Vec<_> = head.split_whitespace().filter(|word| *word != "as").collect();
            let [who, what, acceptance, when] = head[..] else { panic!("{line}") };
            let (protocol, position) = who.split_once('.').unwrap();
            if protocol.starts_with("P1") != kind.is_p1() {
                continue;
            }
            let role = if position == "first" { kind.first() } else { kind.first().peer() };
            for filed in
                [true, false].into_iter().filter(|it| acceptance == "any" || (acceptance == "yes") == *it)
            {
                let acceptance = filed.then(|| agreement.acceptance());
                let case = cast.admit(agreement.offer(), acceptance, role, action(what)).unwrap();
                for now in [EARLY, COMPLAIN_BY - 1, COMPLAIN_BY, COMPLAIN_BY + 1, HOLD_END + 1] {
                    let late = now >= COMPLAIN_BY;
                    if when != "any" && (when == "late") != late {
                        continue;
                    }
                    for (known, expected) in states.iter().zip(answers.split_whitespace()) {
                        if expected == "-" {
                            continue;
                        }
                        let fit = cast.fits(agreement.offer(), role).unwrap_or_else(fit);
                        let held = match case.request().action {
                            Action::Deposit => ByRole::only(role, &fit),
                            _ => ByRole::default(),
                        };
                        let decision = decide(&case, *known, at(now), LeafIndex(9), held);
                        assert_eq!(answer(&decision), expected, "{kind:?} {line} {filed} at {now}");
                        cells += 1;
                        let Ok(Decision::Rule(verdict)) = decision else { continue };
                        for (role, pledge) in case.escrows().iter() {
                            let named = pledge.as_ref().map(Pledge::digest);
                            assert!(named.is_none_or(|it| verdict.evidence.contains(&it)), "{role}");
                            let used = verdict.ruling == replaced(&agreement);
                            assert_eq!(
                                named.is_some(),
                                used && to_file(agreement.offer(), case.request().role, Action::Resolve)
                                    .contains(&role)
                            );
                        }
                    }
                }
            }
        }
    }
    assert_eq!(cells, 3 * 270 + 2 * 400);
}

/// an abort gives everything back, made or not; a replacement posts what it names, the whole amount; and
/// nothing else is ordered. The orders follow from the offer alone and are the arbiter's to give.
#[test]
fn verdicts_order_what_they_say() {
    let cast = Cast::new();
    for kind in Kind::RESERVED {
        let agreement = cast.agreement(kind);
        let offer = agreement.offer();
        let reserved: Vec<_> = Role::BOTH.into_iter().filter(|role| kind.is_reserved(*role)).collect();
        let orders = |ruling: &Ruling| {
            let orders = payment_orders(offer, ruling);
            for (role, order) in &orders {
                assert_eq!(Some(&order.terms), PaymentTerms::of(offer, *role).as_ref());
                assert!(order.may_be_signed_by(&offer.arbiter.key));
            }
            orders.into_iter().map(|(role, order)| (role, order.action)).collect::<Vec<_>>()
        };
        let void: Vec<_> = reserved.iter().map(|role| (*role, PaymentAction::Void)).collect();
        let post: Vec<_> = reserved.iter().map(|role| (*role, PaymentAction::Post(1234))).collect();
        assert_eq!(orders(&Ruling::Aborted), void, "{kind:?}");
        assert_eq!(orders(&replaced(&agreement)), post, "{kind:?}");
        assert_eq!(orders(&Ruling::Affidavit(Role::BOTH.to_vec())), [], "{kind:?}");
    }
    // Where nothing is reserved a verdict that replaces or aborts orders nothing, as ever.
    for kind in [Kind::P1, Kind::P1Escrow, Kind::P2Payment, Kind::P3OriginatorPays, Kind::P4] {
        let agreement = cast.agreement(kind);
        let both = Role::BOTH.map(|role| Replacement { role, item: agreement.offer().item(role).clone() });
        for ruling in [Ruling::Aborted, Ruling::Replaced(both.to_vec())] {
            assert_eq!(payment_orders(agreement.offer(), &ruling), [], "{kind:?}");
        }
    }
}

/// what ledgers answer to such orders is logged, each once, and a walk through the log accepts that; after
/// an abort or a replacement by a rule that gives no orders it does not.
#[test]
fn answers_to_posts_and_voids_are_logged_and_walked() {
    for kind in Kind::RESERVED {
        for (what, ends) in
            [(Action::Abort, PaymentState::Voided), (Action::Resolve, PaymentState::Posted(1234))]
        {
            let mut notary = Notary::new();
            let agreement = notary.cast.agreement(kind);
            let id = agreement.exchange_id();
            if what == Action::Resolve && !kind.is_p1() {
                let deposit = notary.cast.case(&agreement, kind.first(), Action::Deposit);
                notary.file(&deposit, EARLY).unwrap();
            }
            let case = notary.cast.case(&agreement, kind.first(), what);
            let proven = notary.file(&case, EARLY).unwrap().unwrap();
            proven.verify(agreement.offer(), Some(case.request().digest())).unwrap();
            let payers: Vec<_> = Role::BOTH.into_iter().filter(|role| kind.is_reserved(*role)).collect();
            assert_eq!(notary.durable.record(&id).open_orders().len(), payers.len());
            for payer in payers {
                let terms = PaymentTerms::of(agreement.offer(), payer).unwrap();
                let hear = |notary: &mut Notary, told: &Verified<PaymentReceipt>| {
                    let mut batch = Batch::new(&notary.desk, &TestVeil, notary.durable.head.clone());
                    let heard = batch.hear(id, notary.durable.record(&id), payer, told, at(EARLY));
                    notary.durable.apply(batch.close());
                    heard
                };
                let told = receipt(&terms, ends);
                let elsewhere = PaymentTerms { reference: Digest::of(&[b"another"]), ..terms.clone() };
                let stranger = Verified::sign((*told).clone(), &notary.cast.stranger);
                assert!(!hear(&mut notary, &receipt(&terms, PaymentState::Reserved)), "not final");
                assert!(!hear(&mut notary, &receipt(&elsewhere, ends)), "another payment");
                assert!(!hear(&mut notary, &stranger), "another ledger");
                assert!(hear(&mut notary, &told));
                assert!(!hear(&mut notary, &told), "once");
            }
            assert_eq!(notary.durable.record(&id).open_orders(), []);
            let mut walk = Walk::new(Some(notary.cast.identity()));
            let events: Vec<_> =
                notary.durable.leaves.iter().map(|leaf| walk.read(leaf).unwrap().event).collect();
            let answer =
                if ends == PaymentState::Voided { Event::PaymentVoided } else { Event::PaymentPosted };
            assert_eq!(events.last(), Some(&answer), "{kind:?}");
            // The state of a walk goes on in the same way.
            let again = Walk::decode(&walk.encode(), Some(notary.cast.identity())).unwrap();
            assert_eq!((again.tally(), again), (walk.tally(), walk.clone()));
        }
    }
    // R-427 and the like order nothing: an answer after them convicts.
    let mut notary = Notary::new();
    let agreement = notary.cast.agreement(Kind::P5);
    let case = notary.cast.case(&agreement, Originator, Action::Abort);
    notary.file(&case, EARLY).unwrap();
    let mut walk = Walk::new(Some(notary.cast.identity()));
    for leaf in &notary.durable.leaves {
        walk.read(leaf).unwrap();
    }
    let last = arbiter_protocol::evidence::leaf::Leaf::decode(notary.durable.leaves.last().unwrap()).unwrap();
    let planted = arbiter_protocol::evidence::leaf::Leaf {
        index: LeafIndex(last.index.0 + 1),
        event: Event::PaymentVoided,
        reason: "R-423",
        sequence: last.sequence + 1,
        previous: Some(last.index),
        ..last
    };
    assert_eq!(walk.read(&planted.encode()), Err(LeafFault::BeforeVerdict));
}

fn accept(cast: &Cast, agreement: &Agreement, now: u64) -> Result<Step, Refused> {
    let pledge = cast.escrowed(agreement, Originator);
    Session::accept(agreement.clone(), pledge.as_ref(), at(now), TIMING)
}

fn offered(cast: &Cast, agreement: &Agreement, now: u64) -> Step {
    let offered = Session::open(agreement.offer().clone(), TIMING).next;
    offered.handle(at(now), Input::Accepted(agreement.clone(), cast.escrowed(agreement, Responder)))
}

/// What `sender` hands over, checked.
fn item(cast: &Cast, agreement: &Agreement, sender: Role) -> Input {
    Input::Received(match cast.fits(agreement.offer(), sender) {
        Some(content) => Fit::Content(content),
        None => {
            let transfer = Verified::sign(Transfer::new(agreement, sender), cast.key(sender));
            Fit::Signature(signature::check(agreement.offer().item(sender), transfer).unwrap())
        }
    })
}

/// nobody goes on without the peer's reservation, or with one of another exchange.
#[test]
fn nothing_is_agreed_without_the_reservation_that_is_owed() {
    let cast = Cast::new();
    for kind in Kind::RESERVED {
        let agreement = cast.agreement(kind);
        let elsewhere = cast.offer(kind, 99);
        let elsewhere = Agreement::join(elsewhere.clone(), cast.acceptance(&elsewhere, 22)).unwrap();
        if kind.is_reserved(Originator) {
            for wrong in [None, cast.escrowed(&elsewhere, Originator), cast.escrowed(&agreement, Responder)] {
                let refused = Session::accept(agreement.clone(), wrong.as_ref(), at(EARLY), TIMING);
                assert_eq!(refused.unwrap_err().reason(), "RESERVATION_REQUIRED", "{kind:?}");
            }
        }
        assert_eq!(accept(&cast, &agreement, EARLY).unwrap().next.phase(), Phase::Waiting);
        if kind.is_reserved(Responder) {
            let open = Session::open(agreement.offer().clone(), TIMING).next;
            for wrong in [None, cast.escrowed(&elsewhere, Responder), cast.escrowed(&agreement, Originator)] {
                let step = open.handle(at(EARLY), Input::Accepted(agreement.clone(), wrong));
                assert_eq!((step.next, step.outputs), (open.clone(), vec![]), "{kind:?}: silence");
            }
        }
        assert_eq!(offered(&cast, &agreement, EARLY).next.phase(), Phase::Waiting, "{kind:?}");
    }
}

/// `complain_by` is the deadline of both also in P1: nobody begins too late, the first sender's item does not
/// leave too late, and both resolve in time.
#[test]
fn reserved_money_gives_p1_a_deadline() {
    let cast = Cast::new();
    for kind in Kind::RESERVED {
        let agreement = cast.agreement(kind);
        let last = COMPLAIN_BY - 2 * MARGIN;
        assert!(accept(&cast, &agreement, last).is_ok(), "{kind:?}");
        assert_eq!(accept(&cast, &agreement, last + 1).unwrap_err().reason(), "DEADLINE_MISMATCH");
        if kind.first() == Originator {
            assert_eq!(offered(&cast, &agreement, last + 1).next.phase(), Phase::Asking(Ask::Abort));
        }
        if !kind.is_p1() {
            continue;
        }
        for role in Role::BOTH {
            let step = match role {
                Originator => offered(&cast, &agreement, EARLY),
                Responder => accept(&cast, &agreement, EARLY).unwrap(),
            };
            assert_eq!(step.outputs.contains(&Output::SendItem), role == Originator);
            assert!(step.outputs.contains(&Output::WakeAt(at(COMPLAIN_BY - MARGIN))), "{kind:?} {role}");
            let waiting = step.next;
            assert_eq!(waiting.may_send_item(at(COMPLAIN_BY - MARGIN - 1)), role == Originator);
            assert!(!waiting.may_send_item(at(COMPLAIN_BY - MARGIN)), "R-304: {kind:?} {role}");
            let resolving = waiting.handle(at(COMPLAIN_BY - MARGIN), Input::Wake);
            assert_eq!(resolving.next.phase(), Phase::Asking(Ask::Resolve), "{kind:?} {role}");
            // Refusals are not signed: only long after the deadline is the claim given up.
            let refused = |now| resolving.next.handle(at(now), Input::Refused).next.phase();
            assert_eq!(refused(COMPLAIN_BY + MARGIN - 1), Phase::Asking(Ask::Resolve));
            assert_eq!(refused(COMPLAIN_BY + MARGIN), Phase::Asking(Ask::Abort));
        }
    }
}

/// a second sender posts when it has the first item, however late; nobody posts who has asked for an abort
/// without having sent.
#[test]
fn money_is_posted_for_the_item_and_not_after_an_abort() {
    let cast = Cast::new();
    for kind in Kind::RESERVED {
        let agreement = cast.agreement(kind);
        let (first, second) = (kind.first(), kind.first().peer());
        let waiting = match second {
            Originator => offered(&cast, &agreement, EARLY).next,
            Responder => accept(&cast, &agreement, EARLY).unwrap().next,
        };
        for now in [EARLY, COMPLAIN_BY + 5 * MARGIN] {
            let step = waiting.handle(at(now), item(&cast, &agreement, first));
            assert_eq!(step.next.phase(), Phase::Done(Outcome::Completed), "{kind:?}");
            assert!(step.outputs.contains(&Output::SendItem) && step.next.may_send_item(at(now)));
        }
        // The originator gives up before there is an acceptance.
        let open = Session::open(agreement.offer().clone(), TIMING).next;
        let when = if first == Originator { EARLY } else { COMPLAIN_BY };
        let asking = open.handle(at(when), Input::GiveUp).next;
        assert_eq!(asking.phase(), Phase::Asking(Ask::Abort), "{kind:?}");
        for input in [
            Input::Accepted(agreement.clone(), cast.escrowed(&agreement, Responder)),
            item(&cast, &agreement, Responder),
            Input::PeerRepeats,
            Input::Wake,
        ] {
            let step = asking.handle(at(when), input);
            assert!(!step.outputs.contains(&Output::SendItem) && !step.next.sent(), "{kind:?}");
        }
    }
}

/// after a verdict that replaces, the payee waits for the ledger and for nothing else; the ledger's word is the end.
/// A restart waits again. Who gets the other item fetches it, or has it in the verdict.
#[test]
fn a_verdict_that_replaces_is_waited_out_at_the_ledger() {
    let cast = Cast::new();
    for kind in Kind::RESERVED {
        let agreement = cast.agreement(kind);
        let verdict = ruled(&agreement, replaced(&agreement));
        for role in Role::BOTH {
            let asks = [Ask::Abort, Ask::Resolve, Ask::Complain];
            for ask in asks {
                let session = Session::restore(
                    role,
                    agreement.offer().clone(),
                    Some(agreement.acceptance().clone()),
                    true,
                    Phase::Asking(ask),
                    TIMING,
                );
                let step = session.unwrap().handle(at(EARLY), Input::Ruled(verdict.clone()));
                if !kind.is_reserved(role.peer()) {
                    let content = agreement.offer().item(role.peer()).description.is_content();
                    let next =
                        if content { Phase::Asking(Ask::Fetch) } else { Phase::Done(Outcome::Resolved) };
                    assert_eq!(step.next.phase(), next, "{kind:?} {role}");
                    continue;
                }
                let settling = step.next;
                assert_eq!(settling.phase(), Phase::Settling, "{kind:?} {role}");
                assert_eq!(step.outputs, [Output::Observe]);
                assert_eq!(settling.resume(), [Output::Observe], "{kind:?} {role}");
                for input in [
                    Input::GiveUp,
                    Input::Wake,
                    Input::PeerRepeats,
                    Input::Refused,
                    item(&cast, &agreement, role.peer()),
                ] {
                    let step = settling.handle(at(COMPLAIN_BY + 1), input.clone());
                    assert_eq!((step.next, step.outputs), (settling.clone(), vec![]), "{input:?}");
                }
                for input in [Input::Settled, Input::Reversed] {
                    let end = settling.handle(at(EARLY), input).next;
                    assert_eq!(end.phase(), Phase::Done(Outcome::Resolved), "{kind:?} {role}");
                }
            }
        }
        // Who never saw the acceptance learns it from the verdict, and waits all the same.
        if kind.is_reserved(Responder) {
            let open = Session::restore(
                Originator,
                agreement.offer().clone(),
                None,
                false,
                Phase::Asking(Ask::Abort),
                TIMING,
            );
            let open = open.unwrap();
            for knows in [open.clone(), open.with_agreement(&agreement)] {
                let settling = knows.handle(at(EARLY), Input::Ruled(verdict.clone())).next;
                assert_eq!(settling.phase(), Phase::Settling, "{kind:?}");
                // and goes on so after a restart, whatever it had seen.
                let (offer, acceptance) = (
                    settling.offer().clone(),
                    settling.agreement().map(|agreement| agreement.acceptance().clone()),
                );
                let again = Session::restore(Originator, offer, acceptance, false, settling.phase(), TIMING);
                assert_eq!(again, Ok(settling), "{kind:?}");
            }
        }
    }
}

/// money is not fetched: what the ledger posts never was with the arbiter.
#[test]
fn there_is_nothing_to_fetch_of_money() {
    let mut notary = Notary::new();
    let agreement = notary.cast.agreement(Kind::P1OriginatorReserves);
    let resolve = notary.cast.case(&agreement, Responder, Action::Resolve);
    notary.file(&resolve, EARLY).unwrap();
    let record = notary.durable.record(&agreement.exchange_id());
    assert_eq!(record.held.map(|_, it| it.is_some()), ByRole { originator: false, responder: true });
    let fetch = |role| {
        let case = notary.cast.case(&agreement, role, Action::Fetch);
        let mut batch = Batch::new(&notary.desk, &TestVeil, notary.durable.head.clone());
        batch.file(&case, record.clone(), at(EARLY), ByRole::default())
    };
    assert!(matches!(fetch(Originator), Ok(Reply::Content(_))), "the detached signature");
    assert_eq!(fetch(Responder), Err(Refused::DepositNotReleased));
    assert_eq!(ledger().public_key(), record.open_orders()[0].1.terms.payment.ledger);
}
