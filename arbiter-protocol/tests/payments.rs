//! Money in statements: every field of payments, orders, receipts and of offers with money has its own refusal, and a
//! ledger's receipt is the item only if it is exactly the one agreed.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may fail by panicking"
)]

mod common;

use arbiter_protocol::crypto::Signer as _;
use arbiter_protocol::error::Invalid;
use arbiter_protocol::exchange::kind::Unfit;
use arbiter_protocol::exchange::kind::content::ContentCheck;
use arbiter_protocol::exchange::payment::{Amount, Timeout};
use arbiter_protocol::exchange::property::{Properties, Property};
use arbiter_protocol::exchange::selection::Protocol;
use arbiter_protocol::exchange::selection::Role::{self, Originator, Responder};
use arbiter_protocol::ids::Digest;
use arbiter_protocol::limits;
use arbiter_protocol::message::agreement::Offer;
use arbiter_protocol::message::payment::{
    PaymentAction, PaymentOrder, PaymentReceipt, PaymentState, PaymentTerms,
};
use arbiter_protocol::message::wire;
use arbiter_protocol::role::{Ask, Fit, Input, Outcome, Output, Phase, Session, Timing};
use arbiter_protocol::statement::{Envelope, Payload, Signed, Verified};
use arbiter_protocol::time::{DurationMillis, UnixMillis};
use common::money::{HOLD_END, SEND_BY, account, bytes, check, effective, hold, paid, receipt};
use common::{COMPLAIN_BY, Cast, EARLY, Kind, signer};
use prost::Message as _;

type Change<W> = fn(&mut W);

fn parse<T: Payload>(wire: &T::Wire) -> Result<Signed<T>, Invalid> {
    let envelope = wire::Envelope {
        payload_type: T::TYPE.to_owned(),
        payload: wire.encode_to_vec(),
        signatures: vec![wire::Signature { key_id: signer(1).public_key().to_vec(), signature: vec![0; 64] }],
    };
    Signed::parse(Envelope::from_wire(envelope).unwrap())
}

/// Each change makes exactly one field wrong; the reason and the field's name must say so.
fn wrong_fields<T: Payload>(good: &T, changes: &[(&str, &str, Change<T::Wire>)]) {
    assert!(parse::<T>(&good.to_wire()).is_ok(), "{}", T::NAME);
    for (number, (reason, field, change)) in changes.iter().enumerate() {
        let mut wire = good.to_wire();
        change(&mut wire);
        match parse::<T>(&wire) {
            Ok(_) => panic!("{} change {number} ({reason} {field}) was accepted", T::NAME),
            Err(invalid) => {
                let at = invalid.field().unwrap_or("");
                assert_eq!((invalid.reason(), at), (*reason, *field), "{} change {number}", T::NAME);
            }
        }
    }
}

const LENGTH: &str = "FIELD_LENGTH_INVALID";
const VALUE: &str = "FIELD_VALUE_INVALID";
const MISSING: &str = "FIELD_MISSING";
const VERSION: &str = "VERSION_UNSUPPORTED";

/// The terms of the originator's held payment in an exchange.
fn terms() -> PaymentTerms {
    PaymentTerms::of(&Cast::new().offer(Kind::P3OriginatorPays, 1), Originator).unwrap()
}

/// Those of one that is paid at once.
fn unheld() -> PaymentTerms {
    PaymentTerms::of(&Cast::new().offer(Kind::P2Payment, 1), Originator).unwrap()
}

/// and section 3, field by field.
#[test]
fn every_field_of_a_payment_in_an_offer_is_checked() {
    fn payment(w: &mut wire::Offer) -> &mut wire::Payment {
        match w.originator_item.as_mut().unwrap().description.as_mut().unwrap() {
            wire::item::Description::Payment(it) => it,
            _ => panic!("a payment"),
        }
    }
    fn amount(w: &mut wire::Offer) -> &mut wire::Amount {
        payment(w).amount.as_mut().unwrap()
    }
    fn hold(w: &mut wire::Offer) -> &mut wire::Hold {
        payment(w).hold.as_mut().unwrap()
    }
    fn properties(w: &mut wire::Offer) -> &mut Vec<i32> {
        &mut w.originator_item.as_mut().unwrap().properties
    }
    wrong_fields::<Offer>(
        &Cast::new().terms(Kind::P3OriginatorPays, 1),
        &[
            (LENGTH, "ledger", |w| payment(w).ledger.truncate(31)),
            (LENGTH, "payer", |w| payment(w).payer.clear()),
            (LENGTH, "payee", |w| payment(w).payee.push(0)),
            (VALUE, "payee", |w| payment(w).payee = payment(w).payer.clone()),
            (MISSING, "amount", |w| payment(w).amount = None),
            (VALUE, "units", |w| amount(w).units = 0),
            (VALUE, "units", |w| amount(w).units = limits::AMOUNT_UNITS + 1),
            (VALUE, "currency", |w| amount(w).currency.clear()),
            (VALUE, "currency", |w| amount(w).currency = "EU".into()),
            (VALUE, "currency", |w| amount(w).currency = "eur".into()),
            (VALUE, "currency", |w| amount(w).currency = "1EUR".into()),
            (VALUE, "currency", |w| amount(w).currency = "E".repeat(limits::CURRENCY_BYTES + 1)),
            (VALUE, "currency", |w| amount(w).currency = "EÜR".into()),
            (VALUE, "scale", |w| amount(w).scale = u32::from(limits::CURRENCY_SCALE) + 1),
            (VALUE, "scale", |w| amount(w).scale = 256),
            (VALUE, "until", |w| hold(w).until = 0),
            (VALUE, "until", |w| hold(w).until = limits::TIME_MILLIS + 1),
            (VALUE, "timeout", |w| hold(w).timeout = 0),
            (VALUE, "timeout", |w| hold(w).timeout = 3),
            // a payment cannot be generated or re-sent as such; without a hold it cannot be revoked.
            (VALUE, "properties", |w| *properties(w) = vec![2]),
            (VALUE, "properties", |w| *properties(w) = vec![1, 3]),
            (VALUE, "properties", |w| *properties(w) = vec![6, 1]),
            (VALUE, "properties", |w| payment(w).hold = None),
            (VALUE, "properties", |w| hold(w).timeout = wire::Timeout::Void.into()),
            (VALUE, "send_by", |w| w.send_by = limits::TIME_MILLIS + 1),
            (VALUE, "protocol", |w| w.protocol = 8),
        ],
    );
}

/// Section 3: orders, field by field. Nothing is posted or voided that has no hold.
#[test]
fn every_field_of_an_order_is_checked() {
    fn terms_of(w: &mut wire::PaymentOrder) -> &mut wire::PaymentTerms {
        w.terms.as_mut().unwrap()
    }
    let order = |terms: PaymentTerms, action| PaymentOrder { terms, action };
    for action in
        [PaymentAction::Make, PaymentAction::Post(1), PaymentAction::Post(1234), PaymentAction::Void]
    {
        assert!(parse::<PaymentOrder>(&order(terms(), action).to_wire()).is_ok(), "{action:?}");
    }
    wrong_fields::<PaymentOrder>(
        &order(terms(), PaymentAction::Post(5)),
        &[
            (VERSION, "", |w| w.version = 2),
            (MISSING, "terms", |w| w.terms = None),
            (MISSING, "payment", |w| terms_of(w).payment = None),
            (LENGTH, "authority", |w| terms_of(w).authority.truncate(31)),
            (VALUE, "authority", |w| terms_of(w).authority.clear()),
            (LENGTH, "reference", |w| terms_of(w).reference.clear()),
            (VALUE, "action", |w| w.action = 0),
            (VALUE, "action", |w| w.action = 4),
            (VALUE, "units", |w| w.units = 0),
            (VALUE, "units", |w| w.units = 1235),
            (VALUE, "units", |w| w.action = wire::PaymentAction::Make.into()),
            (VALUE, "units", |w| w.action = wire::PaymentAction::Void.into()),
        ],
    );
    wrong_fields::<PaymentOrder>(
        &order(unheld(), PaymentAction::Make),
        &[
            (VALUE, "authority", |w| terms_of(w).authority = vec![9; 32]),
            (VALUE, "action", |w| w.action = wire::PaymentAction::Void.into()),
            (VALUE, "action", |w| (w.action, w.units) = (wire::PaymentAction::Post.into(), 1)),
        ],
    );
}

/// Section 3: receipts, field by field. No receipt says two things at once.
#[test]
fn every_field_of_a_receipt_is_checked() {
    fn is(state: wire::PaymentState) -> i32 {
        state.into()
    }
    let good = |state| (*receipt(&terms(), state)).clone();
    let states =
        [PaymentState::Absent, PaymentState::Reserved, PaymentState::Posted(1), PaymentState::Voided];
    for state in states {
        assert!(parse::<PaymentReceipt>(&good(state).to_wire()).is_ok(), "{state:?}");
    }
    wrong_fields::<PaymentReceipt>(
        &good(PaymentState::Reserved),
        &[
            (VERSION, "", |w| w.version = 0),
            (MISSING, "terms", |w| w.terms = None),
            (VALUE, "state", |w| w.state = 0),
            (VALUE, "state", |w| w.state = 5),
            (VALUE, "posted_units", |w| w.posted_units = 1),
            (VALUE, "posted_units", |w| w.state = is(wire::PaymentState::Posted)),
            (VALUE, "posted_units", |w| (w.state, w.posted_units) = (is(wire::PaymentState::Posted), 1235)),
            (VALUE, "entry", |w| w.entry = 0),
            (VALUE, "entry", |w| w.state = is(wire::PaymentState::Absent)),
            (VALUE, "time", |w| w.time = 0),
            (VALUE, "time", |w| w.time = limits::TIME_MILLIS + 1),
            (LENGTH, "order", |w| w.order.truncate(31)),
            (VALUE, "order", |w| w.order.clear()),
        ],
    );
    wrong_fields::<PaymentReceipt>(
        &good(PaymentState::Absent),
        &[
            (VALUE, "order", |w| w.order = vec![1; 32]),
            (VALUE, "entry", |w| w.entry = 1),
            (VALUE, "entry", |w| w.state = is(wire::PaymentState::Voided)),
        ],
    );
    // What has no hold is never reserved.
    let paid = (*receipt(&unheld(), PaymentState::Posted(1234))).clone();
    wrong_fields::<PaymentReceipt>(
        &paid,
        &[(VALUE, "state", |w| (w.state, w.posted_units) = (is(wire::PaymentState::Reserved), 0))],
    );
}

/// Who may order what. A payer that could post a part would take back the rest of what it gave.
#[test]
fn orders_are_for_who_is_entitled() {
    let (terms, cast) = (terms(), Cast::new());
    let all = terms.payment.amount.units;
    let [payer, payee] = [Originator, Responder].map(|role| account(role).public_key());
    let authority = cast.arbiter.public_key();
    let strangers = [cast.originator.public_key(), cast.responder.public_key(), cast.stranger.public_key()];
    for (action, may) in [
        (PaymentAction::Make, &[payer][..]),
        (PaymentAction::Post(all), &[payer, authority]),
        (PaymentAction::Post(all - 1), &[authority]),
        (PaymentAction::Post(1), &[authority]),
        (PaymentAction::Void, &[payee, authority]),
    ] {
        let order = PaymentOrder { terms: terms.clone(), action };
        for key in [payer, payee, authority].into_iter().chain(strangers) {
            assert_eq!(order.may_be_signed_by(&key), may.contains(&key), "{action:?} {key}");
        }
    }
    let order = PaymentOrder { terms: unheld(), action: PaymentAction::Make };
    assert!(!order.may_be_signed_by(&authority) && !order.may_be_signed_by(&payee));
}

/// well formed and well signed, and still not to be carried out.
#[test]
fn an_offer_of_money_that_breaks_a_rule_is_refused_by_name() {
    let cast = Cast::new();
    type Break = fn(&mut Offer);
    let breaks: [(&str, Kind, Break); 18] = [
        ("DEADLINE_MISMATCH", Kind::P3OriginatorPays, |o| o.send_by = None),
        ("DEADLINE_MISMATCH", Kind::P3OriginatorPays, |o| o.complain_by = None),
        ("DEADLINE_MISMATCH", Kind::P3OriginatorPays, |o| o.send_by = o.complain_by),
        ("DEADLINE_MISMATCH", Kind::P3ResponderPays, |o| o.send_by = Some(UnixMillis(COMPLAIN_BY + 1))),
        ("DEADLINE_MISMATCH", Kind::P2Payment, |o| o.send_by = Some(UnixMillis(SEND_BY))),
        ("DEADLINE_MISMATCH", Kind::P2Payment, |o| o.complain_by = None),
        ("DEADLINE_MISMATCH", Kind::P4, |o| o.send_by = Some(UnixMillis(SEND_BY))),
        ("DEADLINE_MISMATCH", Kind::P4, |o| o.complain_by = None),
        ("DEADLINE_MISMATCH", Kind::P5, |o| o.send_by = Some(UnixMillis(SEND_BY))),
        ("DEADLINE_MISMATCH", Kind::P5, |o| o.complain_by = None),
        // the hold outlasts the last decision, of either party's money.
        ("DEADLINE_MISMATCH", Kind::P3OriginatorPays, |o| {
            o.complain_by = Some(UnixMillis(HOLD_END - limits::HOLD_MARGIN.0 + 1));
        }),
        ("DEADLINE_MISMATCH", Kind::P3Payments, |o| held(o, Responder, COMPLAIN_BY + 999, Timeout::Post)),
        ("DEADLINE_MISMATCH", Kind::P4, |o| held(o, Originator, COMPLAIN_BY + 999, Timeout::Post)),
        // money that would go back by itself was never given.
        ("PAYMENT_NOT_EFFECTIVE", Kind::P3Payments, |o| {
            held(o, Responder, HOLD_END, Timeout::Void);
            o.responder_item.properties = Properties::new([Property::Observable]);
        }),
        ("SELECTION_MISMATCH", Kind::P3OriginatorPays, |o| o.selection.first_sender = Responder),
        ("SELECTION_MISMATCH", Kind::P3Payments, |o| o.selection.protocol = Protocol::MutualRollback),
        ("SELECTION_MISMATCH", Kind::P5, |o| o.selection.first_sender = Responder),
        ("SELECTION_MISMATCH", Kind::P4, |o| o.selection.first_sender = Responder),
    ];
    fn held(offer: &mut Offer, role: Role, until: u64, timeout: Timeout) {
        let hold = arbiter_protocol::exchange::payment::Hold { until: UnixMillis(until), timeout };
        let item = match role {
            Originator => &mut offer.originator_item,
            Responder => &mut offer.responder_item,
        };
        item.description = paid(role, Some(hold)).description;
    }
    for (number, (reason, kind, change)) in breaks.into_iter().enumerate() {
        let mut terms = cast.terms(kind, 1);
        assert_eq!(terms.check(), Ok(()), "{kind:?}");
        change(&mut terms);
        let offer = Verified::sign(terms, &cast.originator);
        let refused = common::unverified(&offer).verify_offer().expect_err("refused");
        assert_eq!(refused.reason(), reason, "break {number}");
    }
    // Exactly at the limit it is allowed.
    let mut terms = cast.terms(Kind::P4, 1);
    held(&mut terms, Originator, COMPLAIN_BY + limits::HOLD_MARGIN.0, Timeout::Post);
    assert_eq!(terms.check(), Ok(()));
}

/// which receipts are the item. Everything else has its own reason.
#[test]
fn only_the_receipt_agreed_is_the_item() {
    let cast = Cast::new();
    let reason = |agreed: &PaymentTerms, bytes: &[u8]| match check(agreed, bytes) {
        Ok(_) => "fits",
        Err(unfit) => unfit.reason(),
    };
    for agreed in [terms(), unheld()] {
        let all = agreed.payment.amount.units;
        let held = agreed.payment.hold.is_some();
        // By state.
        for (state, expected) in [
            (PaymentState::Absent, "ITEM_NOT_PAID"),
            (PaymentState::Reserved, "fits"),
            (PaymentState::Posted(all), "fits"),
            (PaymentState::Posted(all - 1), "ITEM_NOT_PAID"),
            (PaymentState::Posted(1), "ITEM_NOT_PAID"),
            (PaymentState::Voided, "ITEM_NOT_PAID"),
        ] {
            if held || state != PaymentState::Reserved {
                assert_eq!(reason(&agreed, &bytes(&receipt(&agreed, state))), expected, "{state:?}");
            }
        }
        // By terms: each thing that names the payment, changed.
        let took_effect = |terms: &PaymentTerms| bytes(&receipt(terms, effective(&terms.payment)));
        let mut others = vec![agreed.clone(); 6];
        others[0].payment.amount = Amount::parse("12.33 EUR").unwrap();
        others[1].payment.amount = Amount::parse("1.234 EUR").unwrap();
        others[2].payment.amount = Amount::parse("12.34 USD").unwrap();
        others[3].payment.payee = cast.stranger.public_key();
        others[4].payment.payer = cast.stranger.public_key();
        others[5].reference = Digest::of(&[b"another exchange"]);
        if held {
            let mut later = agreed.clone();
            later.payment.hold.as_mut().unwrap().until = UnixMillis(HOLD_END + 1);
            let mut foreign = agreed.clone();
            foreign.authority = Some(cast.stranger.public_key());
            let mut unheld = agreed.clone();
            (unheld.payment.hold, unheld.authority) = (None, None);
            others.extend([later, foreign, unheld]);
        }
        for (number, other) in others.iter().enumerate() {
            assert_eq!(reason(&agreed, &took_effect(other)), "ITEM_OTHER_PAYMENT", "change {number}");
            assert_ne!(other.id(), agreed.id());
        }
        // Held so that it goes back by itself: another payment, and had it been agreed, not effective.
        if held {
            let mut void = agreed.clone();
            void.payment.hold.as_mut().unwrap().timeout = Timeout::Void;
            assert_eq!(reason(&agreed, &took_effect(&void)), "ITEM_OTHER_PAYMENT");
            assert_eq!(reason(&void, &bytes(&receipt(&void, PaymentState::Reserved))), "ITEM_NOT_PAID");
            assert_eq!(reason(&void, &took_effect(&void)), "fits", "posted");
        }
        // By signer: another ledger, also one that says it is this one.
        let good = (*receipt(&agreed, effective(&agreed.payment))).clone();
        let forged = Verified::sign(good.clone(), &cast.stranger);
        assert_eq!(reason(&agreed, &bytes(&forged)), "ITEM_OF_OTHER_LEDGER");
        let mut elsewhere = agreed.clone();
        elsewhere.payment.ledger = cast.stranger.public_key();
        let there = PaymentReceipt { terms: elsewhere, ..good.clone() };
        let there = Verified::sign(there, &cast.stranger);
        assert_eq!(reason(&agreed, &bytes(&there)), "ITEM_OF_OTHER_LEDGER");
        let mut wire = receipt(&agreed, effective(&agreed.payment)).envelope().to_wire();
        wire.signatures[0].signature[3] ^= 1;
        let flipped = Envelope::from_wire(wire).unwrap().encode();
        assert_eq!(reason(&agreed, &flipped), "ITEM_OF_OTHER_LEDGER");
        // By form.
        let good = bytes(&receipt(&agreed, effective(&agreed.payment)));
        assert_eq!(reason(&agreed, &good), "fits");
        assert_eq!(reason(&agreed, &[&good[..], &[0]].concat()), "ITEM_NOT_A_RECEIPT");
        for bad in [&[][..], &good[..good.len() - 1], b"%PDF-1.7", &vec![0; limits::ENVELOPE_BYTES + 1]] {
            assert_eq!(reason(&agreed, bad), "ITEM_NOT_A_RECEIPT");
        }
        let offer = cast.offer(Kind::P2Payment, 1);
        assert_eq!(reason(&agreed, &offer.envelope().encode()), "ITEM_NOT_A_RECEIPT");
    }
}

/// no more of a receipt is kept than an envelope can have.
#[test]
fn a_receipt_is_read_up_to_its_largest_size() {
    for (parts, expected) in [
        (&[limits::ENVELOPE_BYTES - 1, 1][..], Ok(())),
        (&[limits::ENVELOPE_BYTES, 1], Err(Unfit::Receipt)),
        (&[1, limits::ENVELOPE_BYTES + 1], Err(Unfit::Receipt)),
    ] {
        let mut check = ContentCheck::payment(terms());
        let told = parts.iter().try_for_each(|size| check.update(&vec![0; *size]));
        assert_eq!(told, expected, "{parts:?}");
    }
}

/// F9: a payment is of one exchange, one role, one arbiter: nobody pays twice with one payment.
#[test]
fn a_payment_is_for_one_exchange_and_one_role() {
    let cast = Cast::new();
    let (offer, other) = (cast.offer(Kind::P3Payments, 1), cast.offer(Kind::P3Payments, 2));
    let of = |offer, role| PaymentTerms::of(offer, role).unwrap();
    let ids = [of(&offer, Originator), of(&offer, Responder), of(&other, Originator), of(&other, Responder)];
    for (index, one) in ids.iter().enumerate() {
        assert_eq!(one.authority, Some(cast.arbiter.public_key()));
        assert!(ids.iter().skip(index + 1).all(|it| it.id() != one.id() && it.reference != one.reference));
    }
    for (role, payer) in [(Originator, 0), (Responder, 1)] {
        let exchange = offer.exchange_id();
        let reference = [b"arbiter payment reference v1\0", &exchange.as_bytes()[..], &[payer]].concat();
        assert_eq!(of(&offer, role).reference, Digest::of(&[&reference]));
    }
    let fit = cast.fits(&offer, Originator).unwrap();
    assert!(fit.fits(&offer, Originator));
    assert!(!fit.fits(&offer, Responder) && !fit.fits(&other, Originator));
    assert_eq!(PaymentTerms::of(&cast.offer(Kind::P3OriginatorPays, 1), Responder), None);
    assert_eq!(unheld().authority, None);
    assert_eq!(terms().payment.hold, Some(hold()));
}

/// who pays first in P3 can revoke only between `send_by` and `complain_by`. If that is too short for a claim
/// to get through, however early it is, nothing is paid; the peer may have chosen the times.
#[test]
fn nothing_is_paid_that_there_is_no_time_to_revoke() {
    const MARGIN: u64 = 60_000;
    let timing = Timing { complain_margin: DurationMillis(MARGIN) };
    let cast = Cast::new();
    for kind in [Kind::P3OriginatorPays, Kind::P3ResponderPays, Kind::P3Payments] {
        for (send_by, enough) in [(COMPLAIN_BY - 2 * MARGIN, true), (COMPLAIN_BY - 2 * MARGIN + 1, false)] {
            let mut terms = cast.terms(kind, 1);
            terms.send_by = Some(UnixMillis(send_by));
            let offer = Verified::sign(terms, &cast.originator);
            assert_eq!(offer.check(), Ok(()), "the arbiter takes it: who knows how fast a party is");
            let acceptance = cast.acceptance(&offer, 2);
            let agreement = arbiter_protocol::message::agreement::Agreement::join(offer, acceptance).unwrap();
            let now = UnixMillis(EARLY);
            let accepted = Session::accept(agreement.clone(), None, now, timing);
            let opened = Session::open(agreement.offer().clone(), timing);
            let input = Input::Accepted(agreement.clone(), None);
            let offered = opened.next.handle(now, input);
            if kind.first() == Responder {
                assert_eq!(accepted.is_ok(), enough, "{kind:?}");
                assert_eq!(offered.next.phase(), Phase::Waiting, "the second sender risks nothing");
            } else {
                assert!(accepted.is_ok(), "the second sender risks nothing");
                let expected = if enough { Phase::Waiting } else { Phase::Asking(Ask::Abort) };
                assert_eq!(offered.next.phase(), expected, "{kind:?}");
                assert_eq!(offered.outputs.contains(&Output::SendItem), enough);
            }
        }
    }
}

/// an item crosses once. Money that becomes final ends the exchange, and is no reason to send a file again.
#[test]
fn an_item_is_not_sent_again_when_the_money_is_final() {
    let cast = Cast::new();
    for kind in [Kind::P3OriginatorPays, Kind::P3ResponderPays, Kind::P3Payments, Kind::P4] {
        let (offer, second) = (cast.offer(kind, 1), kind.first().peer());
        let acceptance = Some(cast.acceptance(&offer, 2));
        let timing = Timing { complain_margin: DurationMillis(60_000) };
        let session =
            Session::restore(second, offer.clone(), acceptance, false, Phase::Waiting, timing).unwrap();
        let paid = Input::Received(Fit::Content(cast.fits(&offer, kind.first()).unwrap()));
        let sent = session.handle(UnixMillis(EARLY), paid);
        assert_eq!(sent.outputs.iter().filter(|it| **it == Output::SendItem).count(), 1, "{kind:?}");
        let ended = sent.next.handle(UnixMillis(EARLY), Input::Settled);
        assert!(!ended.outputs.contains(&Output::SendItem), "{kind:?}: {:?}", ended.outputs);
        assert_eq!(ended.outputs.last(), Some(&Output::Done(Outcome::Completed)), "{kind:?}");
    }
}
