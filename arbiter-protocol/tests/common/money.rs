//! Money for the tests: descriptions of payments, and a ledger so small that it can be read in one look.
//!
//! ```text
//!  Absent ──make──▶ Reserved ──post──▶ Posted        no hold: Absent ──make──▶ Posted
//!    └────void────▶ Voided ◀──void──┘
//! ```
//! It shares no code with a real ledger but the statements themselves.

use arbiter_protocol::crypto::{MemorySigner, Signer as _};
use arbiter_protocol::exchange::item::{Description, Item};
use arbiter_protocol::exchange::kind::Unfit;
use arbiter_protocol::exchange::kind::content::{ContentCheck, FitContent};
use arbiter_protocol::exchange::payment::{Amount, Hold, Payment, Timeout};
use arbiter_protocol::exchange::property::{Properties, Property};
use arbiter_protocol::exchange::selection::Role;
use arbiter_protocol::ids::Digest;
use arbiter_protocol::message::agreement::Offer;
use arbiter_protocol::message::payment::{
    PaymentAction, PaymentOrder, PaymentReceipt, PaymentState, PaymentTerms,
};
use arbiter_protocol::statement::{Envelope, Signed, Verified};
use arbiter_protocol::time::UnixMillis;

use super::{COMPLAIN_BY, signer};

/// Before this time the second sender of P3 has sent, or has deposited.
pub const SEND_BY: u64 = COMPLAIN_BY - 1_200_000;
/// When reserved money goes to the payee.
pub const HOLD_END: u64 = COMPLAIN_BY + 600_000;

/// The key that signs the ledger's receipts.
pub fn ledger() -> MemorySigner {
    signer(6)
}

/// The key of the account that a party pays from and is paid to.
pub fn account(role: Role) -> MemorySigner {
    signer(if role == Role::Originator { 7 } else { 8 })
}

/// The hold of every reservation.
pub const fn hold() -> Hold {
    Hold { until: UnixMillis(HOLD_END), timeout: Timeout::Post }
}

/// What `role` pays to its peer.
pub fn payment(role: Role, hold: Option<Hold>) -> Payment {
    Payment {
        ledger: ledger().public_key(),
        payer: account(role).public_key(),
        payee: account(role.peer()).public_key(),
        amount: Amount::parse("12.34 EUR").unwrap(),
        hold,
    }
}

/// Money as an item, with everything that it offers.
pub fn paid(role: Role, hold: Option<Hold>) -> Item {
    Item::new(Description::Payment(payment(role, hold)))
}

/// Money that is set aside first, and that the arbiter can post.
pub fn reserved(role: Role) -> Item {
    paid(role, Some(Hold { timeout: Timeout::Void, ..hold() }))
}

/// The ledger's word that `role`'s money is set aside.
pub fn reservation(offer: &Verified<Offer>, role: Role) -> Envelope {
    let terms = PaymentTerms::of(offer, role).unwrap();
    receipt(&terms, PaymentState::Reserved).envelope().clone()
}

/// Held money that the parties agree to call revocable and nothing else.
pub fn only_revocable(role: Role) -> Item {
    Item { properties: Properties::new([Property::Revocable]), ..paid(role, Some(hold())) }
}

/// An order as its signer gives it.
pub fn order(terms: &PaymentTerms, action: PaymentAction, by: &MemorySigner) -> Verified<PaymentOrder> {
    Verified::sign(PaymentOrder { terms: terms.clone(), action }, by)
}

/// What the ledger says of a payment in a state.
pub fn receipt(terms: &PaymentTerms, state: PaymentState) -> Verified<PaymentReceipt> {
    let entry = match state {
        PaymentState::Absent => 0,
        PaymentState::Reserved => 1,
        PaymentState::Posted(_) | PaymentState::Voided => 2,
    };
    let order = (entry > 0).then(|| Digest::of(&[b"order"]));
    let time = UnixMillis(SEND_BY - 1_000_000);
    Verified::sign(PaymentReceipt { terms: terms.clone(), state, entry, time, order }, &ledger())
}

/// The bytes of a receipt, as they are handed over.
pub fn bytes(receipt: &Verified<PaymentReceipt>) -> Vec<u8> {
    receipt.envelope().encode()
}

/// The state in which a payment took effect: reserved if it is held and goes to the payee by itself, else posted.
pub fn effective(payment: &Payment) -> PaymentState {
    match payment.hold {
        Some(hold) if hold.timeout == Timeout::Post => PaymentState::Reserved,
        _ => PaymentState::Posted(payment.amount.units),
    }
}

/// The receipt that `role` hands over when its item is money.
pub fn receipt_of(offer: &Verified<Offer>, role: Role) -> Option<Vec<u8>> {
    let terms = PaymentTerms::of(offer, role)?;
    Some(bytes(&receipt(&terms, effective(&terms.payment))))
}

/// The receipts that `role` hands over, of each of its payments (R-320).
pub fn receipts_of(offer: &Verified<Offer>, role: Role) -> Vec<Vec<u8>> {
    let each = PaymentTerms::all(offer, role);
    each.iter().map(|terms| bytes(&receipt(terms, effective(&terms.payment)))).collect()
}

/// R-305 for a receipt.
pub fn check(agreed: &PaymentTerms, bytes: &[u8]) -> Result<FitContent, Unfit> {
    let mut check = ContentCheck::payment(agreed.clone());
    check.update(bytes)?;
    check.finish()
}

/// Where one payment stands, and what came before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stand {
    #[default]
    Absent,
    Reserved,
    Posted,
    /// Part of it is posted, the rest went back.
    Part,
    /// It was reserved, and went back.
    Voided,
    /// It was voided before it was made: it never will be.
    Never,
}

/// One unit is as good as any other part.
pub const PART: u64 = 1;

impl Stand {
    /// What the ledger answers to an order: the state after it. None if it refuses, or nothing changes.
    pub fn after(self, order: &Verified<PaymentOrder>) -> Option<Self> {
        if !order.may_be_signed_by(&order.signer()) {
            return None;
        }
        let Payment { amount, hold, .. } = &order.terms.payment;
        match (order.action, self) {
            (PaymentAction::Make, Self::Absent) if hold.is_some() => Some(Self::Reserved),
            (PaymentAction::Make, Self::Absent) => Some(Self::Posted),
            (PaymentAction::Post(units), Self::Reserved) if units == amount.units => Some(Self::Posted),
            (PaymentAction::Post(_), Self::Reserved) => Some(Self::Part),
            (PaymentAction::Void, Self::Absent) => Some(Self::Never),
            (PaymentAction::Void, Self::Reserved) => Some(Self::Voided),
            _ => None,
        }
    }

    /// When the hold has run out.
    pub const fn timed_out(self, timeout: Timeout) -> Self {
        match (self, timeout) {
            (Self::Reserved, Timeout::Post) => Self::Posted,
            (Self::Reserved, Timeout::Void) => Self::Voided,
            (other, _) => other,
        }
    }

    /// Whether it was ever made: the receipt of that is told again, whatever happened since (R-603).
    pub const fn was_made(self) -> bool {
        !matches!(self, Self::Absent | Self::Never)
    }

    /// Every state of which a receipt may be about: an old one is as well signed as a new one.
    pub fn receipts(self, terms: &PaymentTerms) -> Vec<PaymentState> {
        let held = terms.payment.hold.map(|_| PaymentState::Reserved);
        let all = terms.payment.amount.units;
        let (was_reserved, last) = match self {
            Self::Absent => (None, None),
            Self::Reserved => (held, None),
            Self::Posted => (held, Some(PaymentState::Posted(all))),
            Self::Part => (held, Some(PaymentState::Posted(PART))),
            Self::Voided => (held, Some(PaymentState::Voided)),
            Self::Never => (None, Some(PaymentState::Voided)),
        };
        [Some(PaymentState::Absent), was_reserved, last].into_iter().flatten().collect()
    }
}

/// A receipt as somebody reads it who has not checked it.
pub fn unread(receipt: &Verified<PaymentReceipt>) -> Signed<PaymentReceipt> {
    Signed::parse(receipt.envelope().clone()).unwrap()
}
