//! What an offer with money proposes: amounts, accounts, holds and deadlines, from the command line and our purses.

use arbiter_client::module::{Means, What, payment_properties};
use arbiter_client::protocol::escrow::Suite;
use arbiter_client::protocol::exchange::item::Item;
use arbiter_client::protocol::exchange::payment::{Amount, Hold, Payment, Timeout};
use arbiter_client::protocol::message::agreement::Party;
use arbiter_client::protocol::time::{DurationMillis, UnixMillis};
use arbiter_client::purse::{AccountLine, Choice, Purse, PurseBook};
use arbiter_client::{OfferTerms, items};

use super::later;
use crate::args::{MoneyDeadlines, Reserve, Weak};
use crate::capabilities::Both;
use crate::failure::Failure;

/// Our purses, and how long the arbiter wants holds to last.
pub struct Wallet {
    /// The purses.
    pub book: PurseBook,
    /// What a hold must outlast `complain_by` by.
    pub hold_allowance: DurationMillis,
    /// What both sides give and take, if the other side has said so.
    pub both: Option<Both>,
}

/// When held money is due, decided and final.
#[derive(Clone, Copy)]
pub struct Times {
    pub send_by: Option<UnixMillis>,
    pub complain_by: UnixMillis,
    /// None: paid at once.
    pub hold: Option<Hold>,
}

/// Beside what the arbiter asks for: clocks differ.
const SPARE: DurationMillis = DurationMillis(60_000);

impl Wallet {
    /// Deadlines from now on, and a hold that outlasts them.
    pub fn times(&self, deadline: &MoneyDeadlines, weak: &Weak, reserve: &Reserve) -> Result<Times, Failure> {
        let complain_by = later(deadline.complain_by)?;
        match (weak.affidavit, reserve.reserve, deadline.deliver_by) {
            (true, true, _) => {
                return Err(Failure::usage("--affidavit pays at once: leave out --reserve, or --affidavit"));
            }
            (_, true, Some(_)) => {
                return Err(Failure::usage(
                    "--reserve has one deadline, --complain-by: leave out --deliver-by",
                ));
            }
            (_, true, None) => {
                let hold = Some(self.aside(complain_by));
                return Ok(Times { send_by: None, complain_by, hold });
            }
            _ => {}
        }
        if weak.affidavit {
            return match deadline.deliver_by {
                None => Ok(Times { send_by: None, complain_by, hold: None }),
                Some(_) => {
                    Err(Failure::usage("--affidavit has one deadline, --complain-by: leave out --deliver-by"))
                }
            };
        }
        let send_by = deadline.deliver_by.map(later).transpose()?;
        if send_by.is_some_and(|by| by >= complain_by) {
            return Err(Failure::usage("--deliver-by must come before --complain-by"));
        }
        let hold = Hold { timeout: Timeout::Post, ..self.aside(complain_by) };
        Ok(Times { send_by, complain_by, hold: Some(hold) })
    }

    /// Set aside until the arbiter's last order has surely reached the ledger, and then the payer's again.
    pub fn aside(&self, complain_by: UnixMillis) -> Hold {
        let until = complain_by.after(self.hold_allowance).after(SPARE);
        Hold { until, timeout: Timeout::Void }
    }

    /// What we pay to `to`, and from which purse.
    pub fn we_pay(
        &self,
        amount: &str,
        to: Option<&str>,
        purse: Option<&str>,
        hold: Option<Hold>,
    ) -> Result<Item, Failure> {
        let amount = amount_of(amount)?;
        let Some(to) = to else { return self.negotiated(true, amount, purse, hold) };
        let to = account(to)?;
        same_money(&amount, &to)?;
        let choice = Choice {
            name: purse,
            ledger: Some(to.ledger),
            currency: &amount.currency,
            pays: Some(amount.units),
        };
        let purse = self.book.pick(&choice)?;
        let (ledger, payer, payee) = (to.ledger, purse.account(), to.account);
        Ok(items::payment(Payment { ledger, payer, payee, amount, hold }))
    }

    /// What we pay to several accounts, all or none: each amount to the account in its place, and all from one purse within its
    /// limit.
    pub fn we_pay_all(
        &self,
        amounts: &[String],
        to: &[String],
        purse: Option<&str>,
        hold: Option<Hold>,
    ) -> Result<Item, Failure> {
        if let ([amount], [] | [_]) = (amounts, to) {
            return self.we_pay(amount, to.first().map(String::as_str), purse, hold);
        }
        if amounts.len() != to.len() {
            return Err(Failure::usage("name as many accounts as prices: --to-account for each --price"));
        }
        let amounts = amounts.iter().map(|text| amount_of(text)).collect::<Result<Vec<_>, _>>()?;
        let accounts = to.iter().map(|line| account(line)).collect::<Result<Vec<_>, _>>()?;
        let (Some(amount), Some(first)) = (amounts.first(), accounts.first()) else {
            return Err(Failure::usage("name what you pay with --price"));
        };
        if amounts.iter().any(|it| it.currency != amount.currency)
            || accounts.iter().any(|it| it.ledger != first.ledger)
        {
            return Err(Failure::usage("several prices are paid in one currency, on one ledger"));
        }
        let total = amounts.iter().map(|it| it.units).fold(0, u64::saturating_add);
        let choice =
            Choice { name: purse, ledger: Some(first.ledger), currency: &amount.currency, pays: Some(total) };
        let (ledger, payer) = (first.ledger, self.book.pick(&choice)?.account());
        let pay = |(amount, to): (Amount, AccountLine)| {
            same_money(&amount, &to)?;
            Ok(items::payment(Payment { ledger, payer, payee: to.account, amount, hold }))
        };
        let payments = amounts.into_iter().zip(accounts).map(pay).collect::<Result<Vec<_>, Failure>>()?;
        super::together(payments.into_iter())
    }

    /// What they pay from `from`, and into which purse.
    pub fn they_pay(
        &self,
        amount: &str,
        from: Option<&str>,
        purse: Option<&str>,
        hold: Option<Hold>,
    ) -> Result<Item, Failure> {
        let amount = amount_of(amount)?;
        let Some(from) = from else { return self.negotiated(false, amount, purse, hold) };
        let from = account(from)?;
        same_money(&amount, &from)?;
        let choice =
            Choice { name: purse, ledger: Some(from.ledger), currency: &amount.currency, pays: None };
        let purse = self.book.pick(&choice)?;
        let (ledger, payer, payee) = (from.ledger, from.account, purse.account());
        Ok(items::payment(Payment { ledger, payer, payee, amount, hold }))
    }

    /// The payment that both lists lead to.
    fn negotiated(
        &self,
        we_pay: bool,
        amount: Amount,
        purse: Option<&str>,
        hold: Option<Hold>,
    ) -> Result<Item, Failure> {
        let missing = || Failure::usage("name their account, or what they can do with --peer-capabilities");
        let both = self.both.as_ref().ok_or_else(missing)?;
        let named = purse.map(|name| self.book.find(name)).transpose()?;
        let narrowed = named.map(|purse| both.only_account(purse.account()));
        let both = narrowed.as_ref().unwrap_or(both);
        let pair = both.choose(we_pay, What::Payment(amount.clone()), payment_properties(hold))?;
        match (&pair.giver.means, &pair.taker.means) {
            (Means::Payment { ledger, account: payer, .. }, Means::Payment { account: payee, .. }) => {
                let (ledger, payer, payee) = (*ledger, *payer, *payee);
                Ok(items::payment(Payment { ledger, payer, payee, amount, hold }))
            }
            _ => Err(missing()),
        }
    }
}

/// The terms of an exchange with held money.
pub fn terms(to: &Party, [originator, responder]: [Item; 2], times: Times) -> OfferTerms {
    OfferTerms {
        responder: to.clone(),
        originator_item: originator,
        responder_item: responder,
        complain_by: Some(times.complain_by),
        send_by: times.send_by,
        suite: Suite::DEFAULT,
    }
}

/// Reads an amount as people write it.
pub fn amount_of(text: &str) -> Result<Amount, Failure> {
    Amount::parse(text).map_err(|_| {
        Failure::usage(format!("{text:?} is no amount"))
            .next("write it with all digits after the point and the currency, e.g. \"9.00 EUR\"")
    })
}

fn account(line: &str) -> Result<AccountLine, Failure> {
    Ok(line.parse::<AccountLine>()?)
}

fn same_money(amount: &Amount, account: &AccountLine) -> Result<(), Failure> {
    if amount.currency == account.currency {
        return Ok(());
    }
    Err(Failure::usage(format!("their account holds {}, the amount is {amount}", account.currency))
        .next("write the amount in that currency, with so many digits after the point"))
}

/// Whether the offer pays from or into the purse that the user named.
pub fn uses(payments: &[&Payment], purse: &Purse) -> bool {
    let ours = |it: &&Payment| [it.payer, it.payee].contains(&purse.account());
    payments.iter().any(ours)
}
