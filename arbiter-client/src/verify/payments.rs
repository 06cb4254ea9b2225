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
    ) -> Option<ByRole<Option<Verified<PaymentReceipt>>>> {
        let mut paid = ByRole::default();
        for (role, envelope) in bundle.payments.iter() {
            let Some(envelope) = envelope.clone() else { continue };
            let name = format!("payment-{role}");
            let Some(terms) = PaymentTerms::of(offer, role) else {
                self.fail(&name, format!("there is a ledger's receipt, but the {role} owes no payment"));
                return None;
            };
            let receipt = self.record(&name, till::receipt(envelope, &terms), |receipt| {
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
            *paid.of_mut(role) = Some(receipt);
        }
        Some(paid)
    }
}

/// What there is to say about each payment of verified statements.
pub(super) fn summary(statements: &Statements) -> Vec<PaymentReport> {
    let report = |role: Role| {
        let payment = statements.offer.item(role).description.payment()?;
        let receipt = statements.paid.of(role).as_ref();
        Some(PaymentReport {
            payer: role.to_string(),
            amount: payment.amount.to_string(),
            ledger: payment.ledger.to_string(),
            from_account: payment.payer.to_string(),
            to_account: payment.payee.to_string(),
            state: receipt.map(|it| explain::state(it.state).to_owned()),
            entry: receipt.map(|it| it.entry),
        })
    };
    Role::BOTH.into_iter().filter_map(report).collect()
}
