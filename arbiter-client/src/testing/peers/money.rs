//! How a peer cheats with money.

use std::sync::Arc;

use arbiter_protocol::crypto::Signer;
use arbiter_protocol::exchange::kind::package;
use arbiter_protocol::exchange::payment::Amount;
use arbiter_protocol::exchange::selection::Role;
use arbiter_protocol::message::agreement::{Agreement, Offer};
use arbiter_protocol::message::payment::{
    PaymentAction, PaymentOrder, PaymentReceipt, PaymentState, PaymentTerms,
};
use arbiter_protocol::message::transfer::Transfer;
use arbiter_protocol::statement::{Envelope, Verified, digest_of};

use super::{Cheat, Cheater, Game};
use crate::error::Error;
use crate::ledger::LedgerPort;
use crate::random;

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

    /// What it shows as its reservation. Whatever it is, but for who shows nothing, its own money is really set aside.
    pub(super) async fn reservation(
        &self,
        offer: &Verified<Offer>,
        role: Role,
    ) -> Result<Option<Vec<u8>>, Error> {
        let (Some(terms), Some(account)) = (PaymentTerms::of(offer, role), self.account.clone()) else {
            return Err(Error::Bug("a cheater without money"));
        };
        Ok(match self.cheat {
            Cheat::EscrowMissing => None,
            Cheat::EscrowGarbage => Some(random::bytes()?.repeat(100)),
            Cheat::EscrowOfOther => Some(make(&account, &one_unit(&terms)?).await?.encode()),
            Cheat::UnpaidReceipt => {
                let absent = account.port.payment(&terms).await;
                Some(absent.map_err(|_| Error::Bug("the ledger is away"))?.encode())
            }
            Cheat::ForgedReceipt => Some(forged(&account, terms).encode()),
            _ => Some(make(&account, &terms).await?.encode()),
        })
    }
}

/// The same payment, of one unit.
fn one_unit(terms: &PaymentTerms) -> Result<PaymentTerms, Error> {
    let mut less = terms.clone();
    let one = Amount::new(1, less.payment.amount.currency.clone());
    less.payment.amount = one.map_err(|_| Error::Bug("one unit is no amount"))?;
    Ok(less)
}

/// As good as the ledger's, but for who signed it.
fn forged(account: &Account, terms: PaymentTerms) -> Envelope {
    let order = PaymentOrder { terms: terms.clone(), action: PaymentAction::Make };
    let state = match terms.payment.hold {
        Some(_) => PaymentState::Reserved,
        None => PaymentState::Posted(terms.payment.amount.units),
    };
    let (entry, time) = (7, arbiter_protocol::time::UnixMillis(1_795_000_000_000));
    let receipt = PaymentReceipt { order: Some(digest_of(&order)), terms, state, entry, time };
    Verified::sign(receipt, &*account.key).envelope().clone()
}

impl Game<'_> {
    /// What it sends in place of an honest receipt, if it sends anything.
    pub(super) async fn send_money(&mut self, agreement: &Agreement) -> Result<(), Error> {
        let terms = PaymentTerms::all(agreement.offer(), self.role);
        let (Some(last), Some(account)) = (terms.len().checked_sub(1), self.cheater.account.clone()) else {
            return Err(Error::Bug("a cheater without money"));
        };
        self.sent = true;
        let mut receipts = Vec::new();
        for (place, terms) in terms.into_iter().enumerate() {
            let receipt = match self.cheater.cheat {
                Cheat::PayAndVanish | Cheat::RevokeAfterReceiving => pay(&account, &terms).await?,
                Cheat::UnpaidReceipt => {
                    account.port.payment(&terms).await.map_err(|_| Error::Bug("the ledger is away"))?
                }
                Cheat::ForgedReceipt => forged(&account, terms),
                // True receipts, the last for one unit.
                _ if place == last => pay(&account, &one_unit(&terms)?).await?,
                _ => pay(&account, &terms).await?,
            };
            receipts.push(receipt.encode());
        }
        if self.cheater.cheat == Cheat::PayAndVanish {
            return Ok(());
        }
        let content = if last == 0 { receipts.concat() } else { package::framed(&receipts) };
        let transfer = Transfer::new(agreement, self.role);
        self.say(Verified::sign(transfer, self.cheater.identity.signer()).envelope());
        self.send_content(agreement, &content)
    }
}

/// Makes it, and posts what is only set aside by that.
async fn pay(account: &Account, terms: &PaymentTerms) -> Result<Envelope, Error> {
    let made = make(account, terms).await?;
    if !terms.payment.is_generatable() {
        return Ok(made);
    }
    order(account, terms, PaymentAction::Post(terms.payment.amount.units)).await
}

async fn make(account: &Account, terms: &PaymentTerms) -> Result<Envelope, Error> {
    order(account, terms, PaymentAction::Make).await
}

async fn order(account: &Account, terms: &PaymentTerms, action: PaymentAction) -> Result<Envelope, Error> {
    let order = PaymentOrder { terms: terms.clone(), action };
    let order = Verified::sign(order, &*account.key);
    account.port.order(order.envelope()).await.map_err(|_| Error::Bug("a cheater's payment was refused"))
}
