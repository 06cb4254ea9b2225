//! What was paid and why: payments of exchanges in the journal, as the ledger says that they stand.
//!
//! ```text
//!  journal (exchange, items, peer, verdict) ─┐
//!  ledger's list (receipts) ─────────────────┴─▶ Entry: amount, state, what for, what can still be done
//! ```
//!
//! Invariant: a state is the ledger's word if there is one, and else the newest receipt that the journal holds.

use std::collections::BTreeMap;

use arbiter_protocol::exchange::selection::Role;
use arbiter_protocol::ids::{ExchangeId, PaymentId, PublicKey};
use arbiter_protocol::message::payment::{PaymentReceipt, PaymentState, PaymentTerms};
use arbiter_protocol::statement::Verified;
use arbiter_protocol::time::UnixMillis;

use crate::bundle::Bundle;
use crate::fingerprint::Fingerprint;
use crate::outcome::Status;
use crate::{explain, plain};

/// How a payment stands, and who said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stand {
    /// The ledger's newest word.
    Ledger(PaymentState),
    /// The ledger was not asked or does not know it: the receipt in the journal.
    Journal(PaymentState),
    /// An order may have left and nothing has been heard: `resume` orders again.
    Pending,
    /// Nothing was ordered.
    Planned,
}

impl Stand {
    /// The state in one word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ledger(state) | Self::Journal(state) => explain::state(state),
            Self::Pending => "pending",
            Self::Planned => "planned",
        }
    }
}

/// One payment of a purse.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What is paid, from whom to whom.
    pub terms: PaymentTerms,
    /// Whether this party pays.
    pub pays: bool,
    /// How it stands.
    pub stand: Stand,
    /// When that was so, on the ledger's clock; absent without a receipt.
    pub time: Option<UnixMillis>,
    /// The entry in the ledger's book.
    pub entry: Option<u64>,
    /// Of which exchange; absent if the journal knows none.
    pub exchange: Option<Why>,
}

/// What a payment is for.
#[derive(Clone, Debug)]
pub struct Why {
    /// The exchange.
    pub exchange_id: ExchangeId,
    /// As both parties saw it.
    pub fingerprint: String,
    /// What this party gives.
    pub given: String,
    /// What it gets.
    pub got: String,
    /// What the other party calls itself.
    pub peer: String,
    /// How the exchange ended, as its statements show.
    pub outcome: String,
    /// The rule of the verdict, if there was one.
    pub verdict: Option<String>,
    /// When nothing more is decided.
    pub decide_by: Option<UnixMillis>,
}

/// The payments of an account: those of the journal's exchanges, and those that only the ledger knows.
pub fn entries(account: &PublicKey, exchanges: &[Status], ledger: &[Verified<PaymentReceipt>]) -> Vec<Entry> {
    let mut told: BTreeMap<PaymentId, &Verified<PaymentReceipt>> =
        ledger.iter().map(|receipt| (receipt.terms.id(), receipt)).collect();
    let mut all = Vec::new();
    for status in exchanges {
        let evidence = &status.evidence;
        let owed =
            |role| PaymentTerms::all(&evidence.offer, role).into_iter().map(move |terms| (role, terms));
        for (role, terms) in Role::BOTH.into_iter().flat_map(owed) {
            let pays = terms.payment.payer == *account;
            if !pays && terms.payment.payee != *account {
                continue;
            }
            let word = told.remove(&terms.id());
            let kept = evidence.payments.of(role).iter().find(|receipt| receipt.terms == terms);
            let stand = match (word, kept) {
                (Some(receipt), _) => Stand::Ledger(receipt.state),
                (None, Some(receipt)) => Stand::Journal(receipt.state),
                (None, None) if pays && status.ordered => Stand::Pending,
                (None, None) => Stand::Planned,
            };
            let receipt = word.or(kept);
            all.push(Entry {
                pays,
                stand,
                time: receipt.map(|it| it.time),
                entry: receipt.map(|it| it.entry),
                exchange: Some(why(status)),
                terms,
            });
        }
    }
    // Issued, or paid by another home with the same key.
    all.extend(told.into_values().map(|receipt| Entry {
        pays: receipt.terms.payment.payer == *account,
        stand: Stand::Ledger(receipt.state),
        time: Some(receipt.time),
        entry: Some(receipt.entry),
        exchange: None,
        terms: receipt.terms.clone(),
    }));
    // Newest first; what has no entry yet is newest of all.
    all.sort_by_key(|it| std::cmp::Reverse(it.entry.unwrap_or(u64::MAX)));
    all
}

fn why(status: &Status) -> Why {
    let evidence = &status.evidence;
    let (offer, role) = (&evidence.offer, evidence.role);
    let bundle = Bundle::of(evidence);
    let verdict = evidence.receipts.iter().find_map(|receipt| {
        let proven = receipt.verify(offer, None).ok()?;
        proven.ruled.verdict().map(|verdict| verdict.rule.clone())
    });
    Why {
        exchange_id: evidence.exchange_id(),
        fingerprint: Fingerprint::of(evidence.exchange_id().as_bytes()).to_string(),
        given: plain::item(offer.item(role)),
        got: plain::item(offer.item(role.peer())),
        peer: plain::clip(&offer.party(role.peer()).name, 100),
        outcome: bundle.outcome.to_string(),
        verdict,
        decide_by: evidence.decide_by(),
    }
}
