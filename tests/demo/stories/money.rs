//! Stories with money: a ledger is part of them.

use anyhow::{Context as _, Result};

use super::{
    ABORTED, DONE, FIRST, HASTY, PATIENT, SECOND, accept, accept_about, cheater_listens,
    cheater_listens_with, deal,
};
use crate::judge::Deal;
use crate::process::Process;
use crate::runs::Ends;
use crate::stage::Stage;

/// What the data file costs.
const PRICE: &str = "12.50 EUR";
/// What is paid beside it, if it is paid in parts.
const TAX: &str = "2.50 EUR";
/// More than is left for it.
const TOO_MUCH: &str = "990.00 EUR";
/// What the invoice says.
const INVOICE: &str = "212.50 EUR";
/// Until when reserved money can be paid by the arbiter's order.
const ASIDE: [&str; 3] = ["--reserve", "--complain-by", "15s"];
/// When the file is due, and until when money can be returned; the hold ends a second later.
const SOON: [&str; 4] = ["--deliver-by", "4s", "--complain-by", "9s"];

pub(super) async fn purchase_honest(stage: &mut Stage) -> Result<Vec<Deal>> {
    let (mut selling, address) = sell(stage, &PATIENT).await?;
    let mut buying = offer_purchase(stage, &address, &["--complain-by", "60s"], &PATIENT).await?;
    buying.end_with(DONE).await?;
    selling.end_with(DONE).await?;
    Ok(vec![deal(stage, Ends::Both)?])
}

pub(super) async fn sale_honest(stage: &mut Stage) -> Result<Vec<Deal>> {
    let (file, bundle) =
        (stage.document.display().to_string(), stage.bundle(SECOND, "")?.display().to_string());
    let purse = [&["--purse", "main"], PATIENT.as_slice()].concat();
    let (mut buying, address) = accept_about(stage, FIRST, &purse, "").await?;
    let (to, from) = (stage.player(FIRST)?.id.clone(), stage.player(FIRST)?.account.clone());
    let sale = ["offer", "sale", "--file", &file, "--type", TAB, "--price", PRICE, "--from-account", &from];
    let deal_words = ["--complain-by", "60s", "--to", &to, "--connect", &address, "--bundle", &bundle];
    let mut selling =
        stage.fairx(SECOND, &[&sale, deal_words.as_slice(), PATIENT.as_slice()].concat()).await?;
    selling.end_with(DONE).await?;
    buying.end_with(DONE).await?;
    Ok(vec![deal(stage, Ends::Both)?])
}

/// The seller sees the money held and sends nothing that counts; the ledger may be dead when the arbiter rules.
pub(super) async fn seller_cheats(stage: &mut Stage, play: &str, kill: bool) -> Result<Vec<Deal>> {
    let file = stage.document.display().to_string();
    let (mut cheating, address) = cheater_listens_with(stage, play, &["--file", &file]).await?;
    let mut buying = offer_purchase(stage, &address, &SOON, &HASTY).await?;
    let program = stage.tools.arbiter_program();
    if kill {
        buying.until("transfer of").await?;
        // The receipt is out. What is told to the ledger from now on waits.
        stage.bank.as_mut().context("no ledger")?.kill().await?;
    }
    buying.end_with(ABORTED).await?;
    cheating.end_with(DONE).await?;
    if kill {
        stage.bank.as_mut().context("no ledger")?.start_again(&program).await?;
    }
    Ok(vec![deal(stage, Ends::Nobody)?])
}

/// The buyer dies when the file has left: the seller protects itself, and the buyer, started again, still gets the file.
/// With reserved money the arbiter has the seller paid.
pub(super) async fn buyer_killed(stage: &mut Stage, reserve: bool) -> Result<Vec<Deal>> {
    let (mut selling, address) = sell(stage, &HASTY).await?;
    let times = if reserve { ASIDE.as_slice() } else { &SOON };
    let mut buying = offer_purchase(stage, &address, times, &PATIENT).await?;
    let signed = buying.until("offer signed: exchange ").await?;
    let id = signed.rsplit(' ').next().context("no exchange id")?.to_owned();
    // The seller has seen the money held, and its file is leaving.
    selling.until("transfer of the file").await?;
    let actor = stage.player(FIRST)?.actor.clone();
    if !buying.kill()? {
        stage.paper.act(&actor, "was finished before it could be killed");
        selling.end_with(DONE).await?;
        return Ok(vec![deal(stage, Ends::Both)?]);
    }
    stage.paper.act(&actor, "KILLED (SIGKILL) with the file on its way");
    buying.gone().await?;
    selling.end_with(DONE).await?;
    started_again(stage, &id, &address, &HASTY).await?.end_with(DONE).await?;
    Ok(vec![deal(stage, Ends::Both)?])
}

/// The buyer dies as soon as the first of its payments is made, and goes on while the seller waits.
pub(super) async fn killed_while_paying(stage: &mut Stage) -> Result<Vec<Deal>> {
    let (mut selling, address) = sell(stage, &PATIENT).await?;
    let mut buying = offer_purchase(stage, &address, &["--complain-by", "60s"], &PATIENT).await?;
    let signed = buying.until("offer signed: exchange ").await?;
    let id = signed.rsplit(' ').next().context("no exchange id")?.to_owned();
    buying.until("held for the payee").await?;
    let actor = stage.player(FIRST)?.actor.clone();
    if buying.kill()? {
        stage.paper.act(&actor, "KILLED (SIGKILL) when the first payment was made");
        buying.gone().await?;
        started_again(stage, &id, &address, &PATIENT).await?.end_with(DONE).await?;
    } else {
        stage.paper.act(&actor, "was finished before it could be killed");
    }
    selling.end_with(DONE).await?;
    Ok(vec![deal(stage, Ends::Both)?])
}

/// The first of two payments is made, and there is no money for the second.
pub(super) async fn tax_unpaid(stage: &mut Stage) -> Result<Vec<Deal>> {
    let (mut selling, address) = sell(stage, &PATIENT).await?;
    let mut buying = offer_purchase_for(stage, &address, [PRICE, TOO_MUCH], &SOON, &HASTY).await?;
    buying.end_with(ABORTED).await?;
    selling.end_with(ABORTED).await?;
    Ok(vec![deal(stage, Ends::Nobody)?])
}

/// The buyer, after it was killed.
async fn started_again(stage: &Stage, id: &str, address: &str, words: &[&str]) -> Result<Process> {
    let actor = stage.player(FIRST)?.actor.clone();
    stage.paper.act(&actor, &format!("started again: fairx resume {}", id.get(..16).unwrap_or(id)));
    let bundle = stage.bundle(FIRST, "")?.display().to_string();
    let resume = ["resume", id, "--connect", address, "--bundle", &bundle];
    stage.fairx(FIRST, &[resume.as_slice(), words].concat()).await
}

pub(super) async fn payment_honest(stage: &mut Stage) -> Result<Vec<Deal>> {
    let (mut accepting, address) = accept(stage, SECOND, &PATIENT, "").await?;
    let mut paying = offer_payment(stage, &address, &["--complain-by", "60s"], &PATIENT).await?;
    paying.end_with(DONE).await?;
    accepting.end_with(DONE).await?;
    Ok(vec![deal(stage, Ends::Both)?])
}

pub(super) async fn payment_withheld(stage: &mut Stage, reserve: bool) -> Result<Vec<Deal>> {
    let (mut quiet, address) = cheater_listens(stage, "quiet").await?;
    let times = if reserve { ASIDE.as_slice() } else { &["--complain-by", "15s"] };
    let mut paying = offer_payment(stage, &address, times, &HASTY).await?;
    paying.end_with(DONE).await?;
    quiet.end_with(DONE).await?;
    Ok(vec![deal(stage, Ends::Both)?])
}

/// One payment is held and the other made at once; both are for good, or neither.
pub(super) async fn change_honest(stage: &mut Stage) -> Result<Vec<Deal>> {
    let (mut accepting, address) = accept_about(stage, SECOND, &PATIENT, "").await?;
    let mut offering = offer_change(stage, &address, &["--complain-by", "60s"], &PATIENT).await?;
    offering.end_with(DONE).await?;
    accepting.end_with(DONE).await?;
    Ok(vec![deal(stage, Ends::Both)?])
}

pub(super) async fn change_alone(stage: &mut Stage) -> Result<Vec<Deal>> {
    let (mut quiet, address) = cheater_listens(stage, "quiet").await?;
    let mut offering = offer_change(stage, &address, &SOON, &HASTY).await?;
    offering.end_with(ABORTED).await?;
    quiet.end_with(DONE).await?;
    Ok(vec![deal(stage, Ends::Nobody)?])
}

async fn offer_change(stage: &Stage, address: &str, times: &[&str], words: &[&str]) -> Result<Process> {
    let bundle = stage.bundle(FIRST, "")?.display().to_string();
    let (to, account) = (stage.player(SECOND)?.id.clone(), stage.player(SECOND)?.account.clone());
    let foreign = stage.player(SECOND)?.foreign_account.clone();
    let offer = ["offer", "change", "--amount", "100.00 EUR", "--want", "110.00 USD"];
    let accounts = ["--to-account", &account, "--from-account", &foreign];
    let deal = ["--to", &to, "--connect", address, "--bundle", &bundle];
    stage.fairx(FIRST, &[offer.as_slice(), &accounts, &deal, times, words].concat()).await
}

/// The media type of the data file: its first bytes do not show it.
const TAB: &str = "text/tab-separated-values";

/// The seller waits for a buyer.
async fn sell(stage: &Stage, words: &[&str]) -> Result<(Process, String)> {
    let file = stage.document.display().to_string();
    accept_about(stage, SECOND, &[&["--give", file.as_str()], words].concat(), "").await
}

async fn offer_purchase(stage: &Stage, address: &str, times: &[&str], words: &[&str]) -> Result<Process> {
    offer_purchase_for(stage, address, [PRICE, TAX], times, words).await
}

/// The second price is paid only in the runs in which the seller has an account for it.
async fn offer_purchase_for(
    stage: &Stage,
    address: &str,
    prices: [&str; 2],
    times: &[&str],
    words: &[&str],
) -> Result<Process> {
    let want = stage.tools.describe_as(&stage.document, TAB).await?;
    let bundle = stage.bundle(FIRST, "")?.display().to_string();
    let seller = stage.player(SECOND)?;
    let accounts = [&seller.account, &seller.tax_account].into_iter().filter(|it| !it.is_empty());
    let paid = prices.into_iter().zip(accounts);
    let paid: Vec<&str> = paid.flat_map(|(price, to)| ["--price", price, "--to-account", to]).collect();
    let offer = ["offer", "purchase", "--want", &want];
    let deal = ["--to", &seller.id, "--connect", address, "--bundle", &bundle];
    stage.fairx(FIRST, &[offer.as_slice(), &paid, &deal, times, words].concat()).await
}

async fn offer_payment(stage: &Stage, address: &str, times: &[&str], words: &[&str]) -> Result<Process> {
    let file = stage.document.display().to_string();
    let bundle = stage.bundle(FIRST, "")?.display().to_string();
    let (to, account) = (stage.player(SECOND)?.id.clone(), stage.player(SECOND)?.account.clone());
    let offer = ["offer", "payment", "--file", &file, "--amount", INVOICE, "--to-account", &account];
    let deal = ["--to", &to, "--connect", address, "--bundle", &bundle];
    stage.fairx(FIRST, &[offer.as_slice(), &deal, times, words].concat()).await
}
