//! `fairx purse`: accounts on ledgers, with what is in them and what was paid.
//!
//! ```text
//!  create, close ─▶ ledger, purses.toml      list, show, history, export ─▶ ledger and journal      cancel ─▶ ledger
//! ```

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use arbiter_client::clock::{Clock as _, SystemClock};
use arbiter_client::ledger::LedgerPort;
use arbiter_client::ledger::grpc::GrpcLedger;
use arbiter_client::plain;
use arbiter_client::protocol::exchange::payment::{Amount, Currency};
use arbiter_client::protocol::message::account::AccountStatement;
use arbiter_client::protocol::message::payment::PaymentState;
use arbiter_client::purse::{Entry, Purse, PurseBook, PurseError, Stand, csv, entries, json};

use crate::args::{Conduct, LedgerCa, PurseCommand};
use crate::failure::Failure;
use crate::files::write_new;
use crate::home::Home;
use crate::out::say;
use crate::party::Party;

/// Carries a command out.
pub async fn run(home: &Home, command: PurseCommand) -> Result<u8, Failure> {
    let mut book = home.purses()?;
    match command {
        PurseCommand::Create { name, ledger, ledger_key, currency, ca } => {
            create(home, &mut book, &name, (&ledger, ledger_key.as_deref()), &currency, &ca).await?;
        }
        PurseCommand::List { ca } => {
            if book.purses().is_empty() {
                say!("no purse in {}", home.folder().display());
            }
            for purse in book.purses() {
                say!("{}", row(purse, balance(&book, purse, &ca).await));
            }
        }
        PurseCommand::Show { name, ca } => {
            let purse = book.find(&name)?;
            say!("{}", row(purse, balance(&book, purse, &ca).await));
            say!("ledger   {} at {}", purse.ledger, purse.url);
            say!("account  {}", purse.account());
            say!("line, for the other party:\n{}", book.line(purse));
        }
        PurseCommand::Account { name } => say!("{}", book.line(book.find(&name)?)),
        PurseCommand::Configure { name, rename, limit, preferred } => {
            let currency = &book.find(&name)?.currency;
            let limit = limit.map(|text| limit_of(&text, currency)).transpose()?;
            book.configure(&name, rename.as_deref(), limit, preferred)?;
        }
        PurseCommand::History { name, ca } => {
            for entry in history(home, &book, &name, &ca).await? {
                told(&entry);
            }
        }
        PurseCommand::Cancel { name, payment, ca } => cancel(home, &book, (&name, &payment), &ca).await?,
        PurseCommand::Close { name, ca } => {
            let port = port(book.find(&name)?, &ca)?;
            book.close(&name, &*port).await?;
            say!("purse {name} is closed, for ever");
        }
        PurseCommand::Export { name, json: as_json, out, ca } => {
            let entries = history(home, &book, &name, &ca).await?;
            let text = if as_json { json(&entries) } else { csv(&entries) };
            match out {
                Some(path) => write_new(&path, text.as_bytes())?,
                None => {
                    // A reader that closes the pipe early has seen enough.
                    let _ = std::io::stdout().write_all(text.as_bytes());
                }
            }
        }
    }
    Ok(0)
}

/// A way to the ledger of a purse.
pub fn port(purse: &Purse, ca: &LedgerCa) -> Result<Arc<dyn LedgerPort>, Failure> {
    Ok(Arc::new(GrpcLedger::new(&purse.url, certificates(ca.ledger_ca.as_deref())?)?))
}

fn certificates(path: Option<&Path>) -> Result<Option<Vec<u8>>, Failure> {
    path.map(|path| std::fs::read(path).map_err(|error| Failure::file(path, &error))).transpose()
}

async fn create(
    home: &Home,
    book: &mut PurseBook,
    name: &str,
    (url, key): (&str, Option<&str>),
    currency: &str,
    ca: &LedgerCa,
) -> Result<(), Failure> {
    home.prepare()?;
    let port = GrpcLedger::new(url, certificates(ca.ledger_ca.as_deref())?)?;
    let info = port.info().await.map_err(PurseError::from)?;
    if key.is_some_and(|key| !key.eq_ignore_ascii_case(&info.key.to_string())) {
        return Err(PurseError::LedgerChanged(url.to_owned()).into());
    }
    let wanted =
        currency.split_once('/').and_then(|(code, digits)| Currency::new(code, digits.parse().ok()?).ok());
    let wanted = wanted.ok_or_else(|| {
        Failure::usage(format!("{currency:?} is no currency"))
            .next("write code and digits after the point, e.g. EUR/2")
    })?;
    if !info.currencies.contains(&wanted) {
        let has: Vec<_> = info.currencies.iter().map(Currency::to_string).collect();
        return Err(Failure::usage(format!("this ledger has no {wanted}; it has {}", has.join(", "))));
    }
    let made = match book.find(name) {
        // Made before, and the ledger was away.
        Ok(known) if known.ledger == info.key && known.currency == wanted && !known.closed => {
            book.open(name, &port).await?
        }
        _ => book.create(name, (info.key, url, &port), wanted).await?,
    };
    let purse = book.find(name)?;
    say!("purse    {name}: {}", purse.currency.show(units(made.available)));
    say!("ledger   {} ({})", info.key, plain::clip(&info.name, 60));
    say!("account  {}", purse.account());
    if key.is_none() {
        say!("Compare the ledger's key with its operator by another channel before you rely on it.");
    }
    say!("line, for the other party:\n{}", book.line(purse));
    Ok(())
}

fn limit_of(text: &str, currency: &Currency) -> Result<u64, Failure> {
    if text == "none" {
        return Ok(0);
    }
    match Amount::parse(text) {
        Ok(amount) if amount.currency == *currency => Ok(amount.units),
        _ => Err(Failure::usage(format!("{text:?} is no amount of {currency}")).next("or say none")),
    }
}

async fn balance(book: &PurseBook, purse: &Purse, ca: &LedgerCa) -> Result<AccountStatement, Failure> {
    let port = port(purse, ca)?;
    Ok(book.balance(purse, SystemClock.now(), &*port).await?)
}

fn units(available: i64) -> u64 {
    u64::try_from(available).unwrap_or(0)
}

fn row(purse: &Purse, balance: Result<AccountStatement, Failure>) -> String {
    let show = |units| purse.currency.show(units);
    let inside = match balance {
        Ok(it) => format!(
            "{}, {} held for others, {} held for you",
            show(units(it.available)),
            show(it.reserved),
            show(it.incoming)
        ),
        // What to do is for commands that fail; this one has other rows.
        Err(failure) => {
            let text = failure.to_string();
            format!("not known: {}", plain::clip(text.lines().next().unwrap_or_default(), 100))
        }
    };
    let limit = purse.limit.map_or_else(String::new, |units| format!("; at most {} at a time", show(units)));
    let preferred = if purse.preferred { "; preferred" } else { "" };
    let closed = if purse.closed { "; CLOSED" } else { "" };
    format!("{:<12} {inside}{limit}{preferred}{closed}", purse.name)
}

/// The payments of a purse: the journal's, with the ledger's word if it can be had.
async fn history(home: &Home, book: &PurseBook, name: &str, ca: &LedgerCa) -> Result<Vec<Entry>, Failure> {
    let purse = book.find(name)?;
    let told = match book.payments(purse, SystemClock.now(), &*port(purse, ca)?).await {
        Ok(told) => told,
        Err(error) => {
            say!("the ledger says nothing ({error}): what follows is from the journal alone");
            Vec::new()
        }
    };
    let exchanges = match home.arbiter() {
        Ok(_) => Party::open_approved(home, &Conduct::default()).await?.client.list().await?,
        Err(_) => Vec::new(),
    };
    Ok(entries(&purse.account(), &exchanges, &told))
}

fn told(entry: &Entry) {
    let id: String = entry.terms.id().to_string().chars().take(16).collect();
    let direction = if entry.pays { "out" } else { "in " };
    let when = entry.time.map_or_else(|| "-".to_owned(), plain::time);
    say!(
        "{id}  {direction} {:>14}  {:<8} {when}",
        entry.terms.payment.amount.to_string(),
        entry.stand.name()
    );
    if let Some(why) = &entry.exchange {
        let short: String = why.exchange_id.to_string().chars().take(16).collect();
        say!("    {} for {}, with {}: {}", why.given, why.got, why.peer, why.outcome);
        say!("    exchange {short}  ({})", why.fingerprint);
    }
    let next = match (entry.stand, entry.pays) {
        (Stand::Pending, _) => Some("an order may have left: `fairx resume` the exchange"),
        (Stand::Ledger(PaymentState::Reserved) | Stand::Journal(PaymentState::Reserved), true) => {
            Some("held: `fairx resume` or `fairx complain` the exchange, as far as it allows")
        }
        (Stand::Ledger(PaymentState::Reserved) | Stand::Journal(PaymentState::Reserved), false) => {
            Some("held for you: `fairx purse cancel` gives it back")
        }
        _ => None,
    };
    if let Some(next) = next {
        say!("    {next}");
    }
}

/// Gives an incoming payment back.
async fn cancel(
    home: &Home,
    book: &PurseBook,
    (name, digits): (&str, &str),
    ca: &LedgerCa,
) -> Result<(), Failure> {
    let purse = book.find(name)?;
    let all = history(home, book, name, ca).await?;
    let mut found =
        all.iter().filter(|it| digits.len() >= 4 && it.terms.id().to_string().starts_with(digits));
    let (Some(entry), None) = (found.next(), found.next()) else {
        return Err(Failure::usage(format!(
            "no payment of {name}, or several, start with {digits:?} (4 digits or more)"
        ))
        .next("`fairx purse history` lists them"));
    };
    if entry.pays {
        return Err(Failure::usage("what you pay is not yours to take back alone").next(
            "`fairx complain ID` of its exchange asks the arbiter; or ask the other party to cancel it",
        ));
    }
    let receipt = book.void(purse, &entry.terms, &*port(purse, ca)?).await?;
    say!("{}", arbiter_client::explain::stands(&receipt));
    Ok(())
}
