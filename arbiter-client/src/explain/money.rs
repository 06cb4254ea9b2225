//! Payments and revocations in plain words.

use arbiter_protocol::exchange::payment::{Payment, Timeout};
use arbiter_protocol::exchange::selection::{Protocol, Role};
use arbiter_protocol::message::agreement::Offer;
use arbiter_protocol::message::payment::{PaymentReceipt, PaymentState};

use crate::plain;
use crate::verify::Statements;

/// A state in one word.
pub const fn state(state: PaymentState) -> &'static str {
    match state {
        PaymentState::Absent => "absent",
        PaymentState::Posted(_) => "posted",
        PaymentState::Reserved => "reserved",
        PaymentState::Voided => "voided",
    }
}

/// How a payment stands, by its receipt.
pub fn stands(receipt: &PaymentReceipt) -> String {
    let Payment { amount, hold, .. } = &receipt.terms.payment;
    let at = plain::time(receipt.time);
    match (receipt.state, hold) {
        (PaymentState::Absent, _) => format!("at {at} nothing of {amount} was paid"),
        (PaymentState::Posted(units), _) if units == amount.units => {
            format!("{amount} paid for good at {at}, entry {}", receipt.entry)
        }
        (PaymentState::Posted(units), _) => {
            format!("{} of {amount} paid, the rest returned, at {at}", amount.currency.show(units))
        }
        (PaymentState::Reserved, Some(hold)) if hold.timeout == Timeout::Void => format!(
            "{amount} set aside at {at}, entry {}, and the payer's again on {} unless posted before",
            receipt.entry,
            plain::time(hold.until)
        ),
        (PaymentState::Reserved, Some(hold)) => format!(
            "{amount} held for the payee at {at}, entry {}, and paid for good on {} unless returned before",
            receipt.entry,
            plain::time(hold.until)
        ),
        (PaymentState::Reserved, None) => {
            format!("{amount} held for the payee at {at}, entry {}", receipt.entry)
        }
        (PaymentState::Voided, _) => {
            format!("{amount} returned to the payer for good, or never taken, at {at}")
        }
    }
}

/// A payment as an offer describes it.
pub(super) fn lines(it: &Payment) -> Vec<String> {
    let mut lines = vec![
        format!("a payment of {}", it.amount),
        format!("from account {}", it.payer),
        format!("to account {}", it.payee),
        format!("on ledger {}", it.ledger),
    ];
    lines.push(match it.hold {
        None => "paid at once, for good".to_owned(),
        Some(hold) if hold.timeout == Timeout::Void => format!(
            "set aside before anything is handed over; paid by its payer or by the arbiter's order, returned on {} if not",
            plain::time(hold.until)
        ),
        Some(hold) => format!("held until {}, then paid unless returned before", plain::time(hold.until)),
    });
    lines
}

/// The deadlines of an offer in words.
pub(super) fn deadlines(offer: &Offer) -> Vec<String> {
    let Some(by) = offer.complain_by.map(plain::time) else { return Vec::new() };
    let mut lines = Vec::new();
    if let Some(send_by) = offer.send_by {
        let second = offer.selection.first_sender.peer();
        lines.push(format!(
            "The {second}'s item is due before {} on the arbiter's clock.",
            plain::time(send_by)
        ));
    }
    lines.push(match offer.selection.protocol {
        Protocol::ContractSigning | Protocol::VerifyThenGenerate => {
            format!("Complaints only before {by} on the arbiter's clock.")
        }
        Protocol::Affidavit => format!(
            "Weak: at {by} on its clock the arbiter signs which items it has, unless both are there: then it gives out both."
        ),
        Protocol::RevokeOnSilence => {
            format!("Money can be returned only before {by} on the arbiter's clock.")
        }
        Protocol::MutualRollback => {
            format!("Both payments can be returned only before {by} on the arbiter's clock.")
        }
        Protocol::BothDeposited => {
            format!("Both files go through the arbiter, before {by} on its clock; it sees both.")
        }
        Protocol::Transfer => return Vec::new(),
    });
    lines.push(format!("Decided by {by}: no decision that gives or returns anything comes later."));
    lines
}

/// What each party could still do in an exchange without verdict.
pub(super) fn still(statements: &Statements) -> Vec<String> {
    let offer = &statements.offer;
    let (first, by) = (offer.selection.first_sender, offer.complain_by.map_or_else(String::new, plain::time));
    let send_by = offer.send_by.map_or_else(String::new, plain::time);
    match offer.selection.protocol {
        Protocol::RevokeOnSilence => vec![
            format!(
                "The {} can hand over its item, or leave it with the arbiter, before {send_by}.",
                first.peer()
            ),
            format!(
                "The {first} can have its money returned from {send_by} until {by}, unless the item is there."
            ),
            format!("The {} can have the money returned at any time before that.", first.peer()),
        ],
        Protocol::Affidavit => vec![format!(
            "Each can leave its item with the arbiter before {by}, and have signed then what the arbiter has."
        )],
        Protocol::MutualRollback => vec![format!("Each can have both payments returned, before {by}.")],
        Protocol::BothDeposited => vec![
            format!(
                "Each can leave its file with the arbiter before {by}; with both there, each can have both given out."
            ),
            "Each can have the exchange ended before that.".to_owned(),
        ],
        Protocol::ContractSigning | Protocol::Transfer | Protocol::VerifyThenGenerate => Vec::new(),
    }
}

/// The same where money was set aside and there is an agreement.
pub(super) fn still_reserved(offer: &Offer, by: &str) -> Vec<String> {
    let first = offer.selection.first_sender;
    if offer.selection.protocol == Protocol::ContractSigning {
        return vec![
            format!(
                "Each can have what is withheld given out, and the money that was set aside paid, before {by}."
            ),
            "The originator can have it aborted instead; whoever asks first decides.".to_owned(),
        ];
    }
    vec![
        format!(
            "The {first} can deposit its file and have the money paid that was set aside, before {by}; or abort."
        ),
        format!("The {} can have the exchange ended from {by} on, and the money returned.", first.peer()),
    ]
}

/// What the party in `role` got, if that is money.
pub(super) fn holds(statements: &Statements, role: Role, revoked: bool) -> Option<String> {
    let payments = statements.offer.item(role.peer()).description.payments();
    let receipts = statements.paid.of(role.peer());
    let each = payments.into_iter().enumerate().map(|(place, payment)| {
        let amount = &payment.amount;
        match receipts.get(place) {
            _ if revoked => format!("nothing: {amount} go back, the arbiter's verdict says so"),
            Some(receipt) => stands(receipt),
            None => format!("{amount}, if the ledger says so; there is no receipt here"),
        }
    });
    Some(each.collect::<Vec<_>>().join("; ")).filter(|text| !text.is_empty())
}
