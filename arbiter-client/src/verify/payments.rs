//! Checks of payments in a bundle: the ledgers' receipts, under the keys of the ledgers that the agreement names.
//!
//! ```text
//!  receipt ─▶ signed by the ledger agreed? ─▶ for exactly this payment of this exchange? ─▶ did it take effect?
//! ```
//!
//! Invariant: whether the money is there is the ledger's word alone; nothing here takes it from a party.

use arbiter_protocol::exchange::selection::{ByRole, Role};
use arbiter_protocol::message::agreement::Offer;
use arbiter_protocol::message::payment::{PaymentReceipt, PaymentTerms};
use arbiter_protocol::statement::Verified;

use super::{Desk, PaymentReport, Statements};
use crate::bundle::{Bundle, Claim};
use crate::explain;
use crate::ledger::till;

impl Desk<'_> {
    /// The receipts, verified; `None` if one is bad.
    pub(super) fn payments(
        &mut self,
        bundle: &Bundle,
        offer: &Verified<Offer>,
    ) -> Option<ByRole<Vec<Verified<PaymentReceipt>>>> {
        let mut paid: ByRole<Vec<Verified<PaymentReceipt>>> = ByRole::default();
        let envelopes = bundle.payments.iter().flat_map(|(role, all)| all.iter().map(move |it| (role, it)));
        for (role, envelope) in envelopes {
            let name = format!("payment-{role}");
            let owed = PaymentTerms::all(offer, role);
            let new = |terms: &PaymentTerms| paid.of(role).iter().all(|it| it.terms != *terms);
            let about = |terms: &&PaymentTerms| new(terms) && till::receipt(envelope.clone(), terms).is_ok();
            let Some(terms) = owed.iter().find(about).or(owed.iter().find(|terms| new(terms))) else {
                self.fail(&name, format!("there is a ledger's receipt, but the {role} owes no such payment"));
                return None;
            };
            let receipt = self.record(&name, till::receipt(envelope.clone(), terms), |receipt| {
                format!(
                    "receipt signed by the agreed ledger, for exactly this payment: {}",
                    explain::stands(receipt)
                )
            })?;
            let given = matches!(bundle.outcome, Claim::Completed | Claim::Resolved);
            if given && !receipt.is_effective() {
                self.fail(
                    &name,
                    format!("by the ledger the {role} has not paid: {}", explain::stands(&receipt)),
                );
                return None;
            }
            paid.of_mut(role).push(receipt);
        }
        Some(paid)
    }
}

/// What there is to say about each payment of verified statements.
pub(super) fn summary(statements: &Statements) -> Vec<PaymentReport> {
    let owed = |role| PaymentTerms::all(&statements.offer, role).into_iter().map(move |terms| (role, terms));
    let report = |(role, terms): (Role, PaymentTerms)| {
        let payment = &terms.payment;
        let receipt = statements.paid.of(role).iter().find(|receipt| receipt.terms == terms);
        PaymentReport {
            payer: role.to_string(),
            amount: payment.amount.to_string(),
            ledger: payment.ledger.to_string(),
            from_account: payment.payer.to_string(),
            to_account: payment.payee.to_string(),
            state: receipt.map(|it| explain::state(it.state).to_owned()),
            entry: receipt.map(|it| it.entry),
        }
    };
    Role::BOTH.into_iter().flat_map(owed).map(report).collect()
}
