//! How a peer cheats with money.

use std::sync::Arc;

use arbiter_protocol::crypto::Signer;
use arbiter_protocol::exchange::payment::Amount;
use arbiter_protocol::message::agreement::Agreement;
use arbiter_protocol::message::payment::{
    PaymentAction, PaymentOrder, PaymentReceipt, PaymentState, PaymentTerms,
};
use arbiter_protocol::message::transfer::Transfer;
use arbiter_protocol::statement::{Envelope, Verified, digest_of};

use super::{Cheat, Cheater, Game};
use crate::error::Error;
use crate::ledger::LedgerPort;

/// A cheater's account and its way to the ledger.
#[derive(Clone)]
pub(super) struct Account {
    pub port: Arc<dyn LedgerPort>,
    pub key: Arc<dyn Signer>,
}

impl Cheater {
    /// Gives it money, for cheats that pay.
    #[must_use]
    pub fn with_account(mut self, port: Arc<dyn LedgerPort>, key: Arc<dyn Signer>) -> Self {
        self.account = Some(Account { port, key });
        self
    }
}

impl Game<'_> {
    /// What it sends in place of an honest receipt, if it sends anything.
    pub(super) async fn send_money(&mut self, agreement: &Agreement) -> Result<(), Error> {
        let terms = PaymentTerms::of(agreement.offer(), self.role);
        let (Some(terms), Some(account)) = (terms, self.cheater.account.clone()) else {
            return Err(Error::Bug("a cheater without money"));
        };
        self.sent = true;
        let receipt = match self.cheater.cheat {
            Cheat::PayAndVanish => {
                make(&account, &terms).await?;
                return Ok(());
            }
            Cheat::RevokeAfterReceiving => make(&account, &terms).await?,
            Cheat::UnpaidReceipt => {
                account.port.payment(&terms).await.map_err(|_| Error::Bug("the ledger is away"))?
            }
            // As good as the ledger's, but for who signed it.
            Cheat::ForgedReceipt => {
                let order = PaymentOrder { terms: terms.clone(), action: PaymentAction::Make };
                let state = match terms.payment.hold {
                    Some(_) => PaymentState::Reserved,
                    None => PaymentState::Posted(terms.payment.amount.units),
                };
                let (entry, time) = (7, arbiter_protocol::time::UnixMillis(1_795_000_000_000));
                let receipt = PaymentReceipt { order: Some(digest_of(&order)), terms, state, entry, time };
                Verified::sign(receipt, &*account.key).envelope().clone()
            }
            // A true receipt, for one unit.
            _ => {
                let mut less = terms.clone();
                let one = Amount::new(1, less.payment.amount.currency.clone());
                less.payment.amount = one.map_err(|_| Error::Bug("one unit is no amount"))?;
                make(&account, &less).await?
            }
        };
        let transfer = Transfer::new(agreement, self.role);
        self.say(Verified::sign(transfer, self.cheater.identity.signer()).envelope());
        self.send_content(agreement, &receipt.encode())
    }
}

async fn make(account: &Account, terms: &PaymentTerms) -> Result<Envelope, Error> {
    let order = PaymentOrder { terms: terms.clone(), action: PaymentAction::Make };
    let order = Verified::sign(order, &*account.key);
    account.port.order(order.envelope()).await.map_err(|_| Error::Bug("a cheater's payment was refused"))
}
