//! The stories: what the parties do in each run.
//!
//! Times are short so that all runs together take less than a minute. In real use patience is minutes and a
//! complaint deadline is hours or days away.

mod money;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tokio::time::sleep;

use crate::document;
use crate::judge::{Deal, Findings, judge};
use crate::paper::Paper;
use crate::process::Process;
use crate::runs::{Ends, Run};
use crate::stage::{Stage, Tools};

/// Who is mentioned first in the plot: Northwind, or Adler who sends the notice.
const FIRST: usize = 0;
/// Tailspin, or Contoso who gets the notice.
const SECOND: usize = 1;
/// Exit codes of `fairx`.
const DONE: i32 = 0;
const REFUSED: i32 = 1;
const ABORTED: i32 = 3;
/// How often an exchange may be faster than the kill of a peer.
const ATTEMPTS: u32 = 5;
/// Kills of the arbiter in one run, and how long after a question left: before, during or after the ruling.
const KILLS: [Duration; 4] =
    [Duration::from_millis(10), Duration::ZERO, Duration::from_millis(1), Duration::from_millis(2)];

/// Plays one run from an empty folder to the judgement.
pub async fn play(run: &Run, tools: &Arc<Tools>, paper: Paper) -> Result<Findings> {
    let started = Instant::now();
    paper.head(run);
    let mut findings = match stage_and_judge(run, tools, &paper).await {
        Ok(findings) => findings,
        Err(error) => Findings::broken(&error),
    };
    findings.took = started.elapsed();
    paper.judgement(&findings);
    Ok(findings)
}

async fn stage_and_judge(run: &Run, tools: &Arc<Tools>, paper: &Paper) -> Result<Findings> {
    let mut stage = Stage::set(run, tools, paper.clone()).await?;
    let deals = match (run.story, run.cheat) {
        ("contract", "honest") => contract_honest(&mut stage).await,
        ("contract", "quiet") => contract_quiet(&mut stage, false).await,
        ("contract", "witnessed") => contract_witnessed(&mut stage).await,
        ("contract", "replacement") => contract_replacement(&mut stage).await,
        ("contract", "same-signature") => contract_same_signature(&mut stage).await,
        ("contract", "race") => contract_race(&mut stage).await,
        ("contract", "altered") => contract_altered(&mut stage).await,
        ("contract", "arbiter-killed") => contract_quiet(&mut stage, true).await,
        ("contract", "peer-killed") => peer_killed(&mut stage, Kind::Contract).await,
        ("delivery", "honest") => delivery_honest(&mut stage).await,
        ("delivery", "honest-request") => delivery_request(&mut stage).await,
        ("delivery", "receipt-withheld") => receipt_withheld(&mut stage, false).await,
        ("delivery", "package-withheld") => package_withheld(&mut stage).await,
        ("delivery", "sender-withholds") => sender_cheats(&mut stage, "withhold", ABORTED).await,
        ("delivery", "text-swapped") => sender_cheats(&mut stage, "alter", ABORTED).await,
        ("delivery", "late-taker") => sender_cheats(&mut stage, "late", DONE).await,
        ("delivery", "arbiter-killed") => receipt_withheld(&mut stage, true).await,
        ("delivery", "peer-killed") => peer_killed(&mut stage, Kind::Delivery).await,
        ("swap", "honest") => swap_honest(&mut stage).await,
        ("swap", "partner-vanishes") => swap_alone(&mut stage).await,
        ("purchase", "honest") => money::purchase_honest(&mut stage).await,
        ("purchase", "honest-sale") => money::sale_honest(&mut stage).await,
        ("purchase", "seller-vanishes") => money::seller_cheats(&mut stage, "quiet", false).await,
        ("purchase", "wrong-file") => money::seller_cheats(&mut stage, "alter", false).await,
        ("purchase", "ledger-killed") => money::seller_cheats(&mut stage, "quiet", true).await,
        ("purchase", "buyer-killed") => money::buyer_killed(&mut stage, false).await,
        ("purchase", "payer-gone") => money::buyer_killed(&mut stage, true).await,
        ("purchase", "in-parts") => money::purchase_honest(&mut stage).await,
        ("purchase", "parts-unpaid") => money::tax_unpaid(&mut stage).await,
        ("purchase", "parts-withheld") => money::seller_cheats(&mut stage, "quiet", false).await,
        ("purchase", "parts-killed") => money::killed_while_paying(&mut stage).await,
        ("purchase", "parts-payer-gone") => money::buyer_killed(&mut stage, false).await,
        ("payment", "honest") => money::payment_honest(&mut stage).await,
        ("payment", "receipt-withheld") => money::payment_withheld(&mut stage, false).await,
        ("payment", "payee-gone") => money::payment_withheld(&mut stage, true).await,
        ("change", "honest") => money::change_honest(&mut stage).await,
        ("change", "partner-vanishes") => money::change_alone(&mut stage).await,
        ("transfer", what) => transfer(&mut stage, what).await,
        (story, cheat) => bail!("the run {story} {cheat} is not written"),
    }?;
    // What a story makes of itself must be what was announced.
    if run.ends != Ends::Either && deals.last().is_none_or(|deal| deal.ends != run.ends) {
        bail!("the run was announced to end with {:?}", run.ends);
    }
    judge(run, &mut stage, &deals).await
}

#[derive(Clone, Copy)]
enum Kind {
    Contract,
    Delivery,
}

/// What an honest party says beside the template: how patient it is.
const HASTY: [&str; 7] = ["--yes", "--patience", "800ms", "--margin", "500ms", "--linger", "2s"];
/// For runs in which nobody should lose patience.
const PATIENT: [&str; 7] = ["--yes", "--patience", "15s", "--margin", "1s", "--linger", "8s"];

async fn contract_honest(stage: &mut Stage) -> Result<Vec<Deal>> {
    let (mut accepting, address) = accept(stage, SECOND, &PATIENT, "").await?;
    let mut offering = offer_contract(stage, &address, &PATIENT, "").await?;
    offering.end_with(DONE).await?;
    accepting.end_with(DONE).await?;
    Ok(vec![deal(stage, Ends::Both)?])
}

async fn contract_quiet(stage: &mut Stage, kill: bool) -> Result<Vec<Deal>> {
    let (mut quiet, address) = cheater_listens(stage, "quiet").await?;
    let mut offering = offer_contract(stage, &address, &HASTY, "").await?;
    if kill {
        kill_arbiter_while_asked(stage, &mut offering).await?;
    }
    offering.end_with(DONE).await?;
    quiet.end_with(DONE).await?;
    Ok(vec![deal(stage, Ends::Both)?])
}

/// As quiet, and then everything is checked by people whom nobody asked to trust the arbiter.
async fn contract_witnessed(stage: &mut Stage) -> Result<Vec<Deal>> {
    let deals = contract_quiet(stage, false).await?;
    let outsider = stage.outsider.as_ref().context("nobody looks on")?;
    outsider.vouches(&stage.bundle(FIRST, "")?, &stage.pin_file(), &stage.log_url).await?;
    let report = outsider.audits(&stage.log_url).await?;
    stage.paper.line("");
    report.lines().for_each(|line| stage.paper.line(format!("   {line}")));
    Ok(deals)
}

/// By agreement nothing is in escrow: the arbiter's verdict stands for the signature.
async fn contract_replacement(stage: &mut Stage) -> Result<Vec<Deal>> {
    let (mut quiet, address) = cheater_listens(stage, "quiet").await?;
    let words = [&["--replacement"], HASTY.as_slice()].concat();
    let mut offering = offer_contract(stage, &address, &words, "").await?;
    offering.end_with(DONE).await?;
    quiet.end_with(DONE).await?;
    Ok(vec![deal(stage, Ends::Both)?])
}

/// One RSA signature, made by OpenSSL, handed over in one exchange and taken out of escrow in another.
async fn contract_same_signature(stage: &mut Stage) -> Result<Vec<Deal>> {
    stage.paper.part("Tailspin signs with OpenSSL, and hands the signature over");
    let (public, signature) = stage.sign_elsewhere(SECOND).await?;
    let theirs = [&["--their-key", public.as_str()], PATIENT.as_slice()].concat();
    let from = [&["--signature-from", signature.as_str()], PATIENT.as_slice()].concat();
    let (mut accepting, address) = accept(stage, SECOND, &from, "-released").await?;
    let mut offering = offer_contract(stage, &address, &theirs, "-released").await?;
    offering.end_with(DONE).await?;
    accepting.end_with(DONE).await?;
    let bundles = [Some(stage.bundle(FIRST, "-released")?), Some(stage.bundle(SECOND, "-released")?)];
    let released = Deal { title: "handed over", bundles, ends: Ends::Both, alike: true };

    stage.paper.line("");
    stage.paper.part("The same contract again: Tailspin goes quiet, and the arbiter opens the escrow");
    stage.cheats(SECOND);
    let bundle = stage.bundle(SECOND, "")?.display().to_string();
    let words = ["--play", "quiet", "--listen", "127.0.0.1:0", "--bundle", &bundle];
    let words = [words.as_slice(), &["--signature-from", signature.as_str()]].concat();
    let mut quiet = stage.cheater(SECOND, &words).await?;
    let address = listening(&mut quiet).await?;
    let theirs = [&["--their-key", public.as_str()], HASTY.as_slice()].concat();
    let mut offering = offer_contract(stage, &address, &theirs, "").await?;
    offering.end_with(DONE).await?;
    quiet.end_with(DONE).await?;
    let recovered = Deal { title: "out of escrow", alike: true, ..deal(stage, Ends::Both)? };
    Ok(vec![released, recovered])
}

async fn contract_race(stage: &mut Stage) -> Result<Vec<Deal>> {
    stage.cheats(FIRST);
    let (mut accepting, address) = accept(stage, SECOND, &HASTY, "").await?;
    // The cheater's pause is the other's patience, nearly: they ask at the same moment.
    let mut aborting = cheater_offers(stage, "abort", &address, &["--pause-ms", "802"]).await?;
    let code = accepting.end().await?;
    aborting.end_with(DONE).await?;
    match code {
        // Whoever was first: both outcomes are fair, and the judge looks whether they are the same for both.
        Some(DONE) => Ok(vec![deal(stage, Ends::Both)?]),
        Some(ABORTED) => Ok(vec![deal(stage, Ends::Nobody)?]),
        other => bail!("Tailspin ended with exit code {other:?}"),
    }
}

async fn contract_altered(stage: &mut Stage) -> Result<Vec<Deal>> {
    stage.paper.part("Tailspin's copy of the contract differs by one byte");
    let mut bytes = std::fs::read(&stage.document)?;
    *bytes.last_mut().context("an empty contract")? ^= 1;
    let altered = stage.folder.join("altered-contract.pdf");
    std::fs::write(&altered, bytes)?;
    let altered = altered.display().to_string();
    let file = [&["--file", altered.as_str()], HASTY.as_slice()].concat();
    let (mut accepting, address) = accept_about(stage, SECOND, &file, "-refused").await?;
    let mut offering = offer_contract(stage, &address, &HASTY, "-refused").await?;
    accepting.end_with(REFUSED).await?;
    offering.end_with(ABORTED).await?;
    let refused = Deal {
        title: "the contract that Tailspin refused to sign",
        bundles: [Some(stage.bundle(FIRST, "-refused")?), None],
        ends: Ends::Nobody,
        alike: false,
    };

    stage.paper.line("");
    stage.paper.part("Tailspin accepts the contract, and signs another text");
    let (mut cheating, address) = cheater_listens(stage, "alter").await?;
    let mut offering = offer_contract(stage, &address, &HASTY, "").await?;
    offering.end_with(DONE).await?;
    cheating.end_with(DONE).await?;
    let signed = Deal { title: "the contract that Tailspin accepted", ..deal(stage, Ends::Both)? };
    Ok(vec![refused, signed])
}

async fn delivery_honest(stage: &mut Stage) -> Result<Vec<Deal>> {
    let (mut accepting, address) = accept(stage, SECOND, &PATIENT, "").await?;
    let mut offering = offer_delivery(stage, &address, "60s", &PATIENT).await?;
    offering.end_with(DONE).await?;
    accepting.end_with(DONE).await?;
    Ok(vec![deal(stage, Ends::Both)?])
}

async fn delivery_request(stage: &mut Stage) -> Result<Vec<Deal>> {
    let document = stage.document.display().to_string();
    let described = stage.tools.describe(&stage.document).await?;
    let give = [&["--give", document.as_str()], PATIENT.as_slice()].concat();
    let (mut giving, address) = accept_about(stage, FIRST, &give, "").await?;
    let bundle = stage.bundle(SECOND, "")?.display().to_string();
    let to = stage.player(FIRST)?.id.clone();
    let words = ["offer", "request", "--want", &described];
    let deal_words = ["--complain-by", "60s", "--to", &to, "--connect", &address, "--bundle", &bundle];
    let mut asking =
        stage.fairx(SECOND, &[&words, deal_words.as_slice(), PATIENT.as_slice()].concat()).await?;
    asking.end_with(DONE).await?;
    giving.end_with(DONE).await?;
    Ok(vec![deal(stage, Ends::Both)?])
}

async fn receipt_withheld(stage: &mut Stage, kill: bool) -> Result<Vec<Deal>> {
    let (mut quiet, address) = cheater_listens(stage, "quiet").await?;
    // Time enough for an arbiter that is killed several times: the outage must end before the deadline.
    let mut offering = offer_delivery(stage, &address, "15s", &HASTY).await?;
    if kill {
        kill_arbiter_while_asked(stage, &mut offering).await?;
    }
    offering.end_with(DONE).await?;
    quiet.end_with(DONE).await?;
    Ok(vec![deal(stage, Ends::Both)?])
}

/// Two files, a receipt for each: all of it or nothing, by one deposit and one verdict.
async fn package_withheld(stage: &mut Stage) -> Result<Vec<Deal>> {
    let (mut quiet, address) = cheater_listens(stage, "quiet").await?;
    let annex = document(SWAPPED).display().to_string();
    let words = [&["--file", annex.as_str()], HASTY.as_slice()].concat();
    let mut offering = offer_delivery(stage, &address, "15s", &words).await?;
    offering.end_with(DONE).await?;
    quiet.end_with(DONE).await?;
    Ok(vec![deal(stage, Ends::Both)?])
}

/// The sender withholds, swaps or comes late; the recipient waits for the deadline and asks.
async fn sender_cheats(stage: &mut Stage, play: &str, code: i32) -> Result<Vec<Deal>> {
    stage.cheats(FIRST);
    let (mut accepting, address) = accept(stage, SECOND, &HASTY, "").await?;
    let words = ["--complain-ms", "3500", "--pause-ms", "600"];
    let mut cheating = cheater_offers(stage, play, &address, &words).await?;
    accepting.end_with(code).await?;
    cheating.end_with(DONE).await?;
    let ends = if code == DONE { Ends::Both } else { Ends::Nobody };
    Ok(vec![deal(stage, ends)?])
}

/// Both files go through the arbiter: that is agreed, and no sign of a quarrel.
async fn swap_honest(stage: &mut Stage) -> Result<Vec<Deal>> {
    let file = document(SWAPPED).display().to_string();
    let give = [&["--give", file.as_str()], PATIENT.as_slice()].concat();
    let (mut accepting, address) = accept_about(stage, SECOND, &give, "").await?;
    let mut offering = offer_swap(stage, &address, "60s", &PATIENT).await?;
    offering.end_with(DONE).await?;
    accepting.end_with(DONE).await?;
    Ok(vec![deal(stage, Ends::Both)?])
}

async fn swap_alone(stage: &mut Stage) -> Result<Vec<Deal>> {
    let (mut quiet, address) = cheater_listens(stage, "quiet").await?;
    let mut offering = offer_swap(stage, &address, "5s", &HASTY).await?;
    offering.end_with(ABORTED).await?;
    quiet.end_with(DONE).await?;
    Ok(vec![deal(stage, Ends::Nobody)?])
}

/// An item for nothing.
async fn transfer(stage: &mut Stage, what: &str) -> Result<Vec<Deal>> {
    let (mut accepting, address) = accept_about(stage, SECOND, &PATIENT, "").await?;
    let (file, account) = (stage.document.display().to_string(), stage.player(SECOND)?.account.clone());
    let item: &[&str] = match what {
        "file" => &["--file", &file],
        "signature" => &["--file", &file, "--sign", "--title", "Statement"],
        "money" => &["--amount", "25.00 EUR", "--to-account", &account],
        _ => bail!("nobody gives {what}"),
    };
    let (bundle, to) = (stage.bundle(FIRST, "")?.display().to_string(), stage.player(SECOND)?.id.clone());
    let deal_words = ["--to", &to, "--connect", &address, "--bundle", &bundle];
    let mut offering =
        stage.fairx(FIRST, &[&["offer", "transfer"], item, &deal_words, &PATIENT].concat()).await?;
    offering.end_with(DONE).await?;
    accepting.end_with(DONE).await?;
    Ok(vec![deal(stage, Ends::Both)?])
}

/// What the second party gives in a swap.
const SWAPPED: &str = "invoice.pdf";

async fn offer_swap(stage: &Stage, address: &str, complain_by: &str, words: &[&str]) -> Result<Process> {
    let file = stage.document.display().to_string();
    let want = stage.tools.describe(&document(SWAPPED)).await?;
    let bundle = stage.bundle(FIRST, "")?.display().to_string();
    let to = stage.player(SECOND)?.id.clone();
    let offer = ["offer", "swap", "--file", &file, "--want", &want, "--complain-by", complain_by];
    let deal = ["--to", &to, "--connect", address, "--bundle", &bundle];
    stage.fairx(FIRST, &[offer.as_slice(), &deal, words].concat()).await
}

/// The party that sends first is killed right after its item left, and goes on.
async fn peer_killed(stage: &mut Stage, kind: Kind) -> Result<Vec<Deal>> {
    for _ in 0..ATTEMPTS {
        if let Some(deals) = peer_killed_once(stage, kind).await? {
            return Ok(deals);
        }
    }
    bail!("the exchange was always finished before the peer could be killed")
}

/// `None` if the exchange was faster than the kill.
async fn peer_killed_once(stage: &mut Stage, kind: Kind) -> Result<Option<Vec<Deal>>> {
    let (mut accepting, address) = accept(stage, SECOND, &PATIENT, "").await?;
    let (mut offering, left) = match kind {
        Kind::Contract => (offer_contract(stage, &address, &PATIENT, "").await?, "transfer of"),
        Kind::Delivery => (offer_delivery(stage, &address, "60s", &PATIENT).await?, "to its last byte"),
    };
    let signed = offering.until("offer signed: exchange ").await?;
    let id = signed.rsplit(' ').next().context("no exchange id")?.to_owned();
    offering.until(left).await?;
    let actor = stage.player(FIRST)?.actor.clone();
    if !offering.kill()? {
        stage.paper.act(&actor, "was finished before it could be killed: once more");
        accepting.end_with(DONE).await?;
        return Ok(None);
    }
    stage.paper.act(&actor, "KILLED (SIGKILL) right after its item left");
    offering.gone().await?;
    sleep(Duration::from_millis(400)).await;
    stage.paper.act(&actor, &format!("started again: fairx resume {}", id.get(..16).unwrap_or(&id)));
    let bundle = stage.bundle(FIRST, "")?.display().to_string();
    let resume = ["resume", &id, "--connect", &address, "--bundle", &bundle];
    let mut resumed = stage.fairx(FIRST, &[resume.as_slice(), PATIENT.as_slice()].concat()).await?;
    resumed.end_with(DONE).await?;
    accepting.end_with(DONE).await?;
    Ok(Some(vec![deal(stage, Ends::Both)?]))
}

/// Kills the arbiter each time the honest party asks it, while there are kills left; the client asks again.
///
/// The first time the arbiter is paused before, so that the complaint is certainly with it and not answered.
async fn kill_arbiter_while_asked(stage: &mut Stage, asking: &mut Process) -> Result<()> {
    asking.until("transfer of").await?;
    stage.pause_arbiter()?;
    let mut since = String::new();
    for delay in KILLS {
        loop {
            let Some(line) = asking.until_any(&["-> arbiter", " outcome "]).await? else { return Ok(()) };
            if line.starts_with(" outcome ") {
                return Ok(());
            }
            // What was asked before the arbiter was started again has failed already.
            if line.get(1..13).is_some_and(|clock| clock >= since.as_str()) {
                break;
            }
        }
        sleep(delay).await;
        since = stage.kill_arbiter().await?;
    }
    Ok(())
}

/// An honest party waits for an offer about the document.
async fn accept(stage: &Stage, player: usize, words: &[&str], label: &str) -> Result<(Process, String)> {
    let file = stage.document.display().to_string();
    // Only a contract is known to both before; a notice is not known to its recipient.
    let about: &[&str] = if stage.is_known() { &["--file", &file] } else { &[] };
    accept_about(stage, player, &[about, words].concat(), label).await
}

async fn accept_about(
    stage: &Stage,
    player: usize,
    words: &[&str],
    label: &str,
) -> Result<(Process, String)> {
    let bundle = stage.bundle(player, label)?.display().to_string();
    let accept = ["accept", "--listen", "127.0.0.1:0", "--bundle", &bundle];
    let mut process = stage.fairx(player, &[accept.as_slice(), words].concat()).await?;
    let address = listening(&mut process).await?;
    Ok((process, address))
}

async fn offer_contract(stage: &Stage, address: &str, words: &[&str], label: &str) -> Result<Process> {
    let file = stage.document.display().to_string();
    let bundle = stage.bundle(FIRST, label)?.display().to_string();
    let to = stage.player(SECOND)?.id.clone();
    let offer = ["offer", "contract", "--file", &file, "--title", "Contract of sale", "--to", &to];
    let deal = ["--connect", address, "--bundle", &bundle];
    stage.fairx(FIRST, &[offer.as_slice(), &deal, words].concat()).await
}

async fn offer_delivery(stage: &Stage, address: &str, complain_by: &str, words: &[&str]) -> Result<Process> {
    let file = stage.document.display().to_string();
    let bundle = stage.bundle(FIRST, "")?.display().to_string();
    let to = stage.player(SECOND)?.id.clone();
    let offer = ["offer", "delivery", "--file", &file, "--complain-by", complain_by];
    let deal = ["--to", &to, "--connect", address, "--bundle", &bundle];
    stage.fairx(FIRST, &[offer.as_slice(), &deal, words].concat()).await
}

/// The second party cheats and waits for an offer.
async fn cheater_listens(stage: &mut Stage, play: &str) -> Result<(Process, String)> {
    cheater_listens_with(stage, play, &[]).await
}

async fn cheater_listens_with(stage: &mut Stage, play: &str, more: &[&str]) -> Result<(Process, String)> {
    stage.cheats(SECOND);
    let bundle = stage.bundle(SECOND, "")?.display().to_string();
    let words = ["--play", play, "--listen", "127.0.0.1:0", "--bundle", &bundle];
    let mut process = stage.cheater(SECOND, &[words.as_slice(), more].concat()).await?;
    let address = listening(&mut process).await?;
    Ok((process, address))
}

/// The first party cheats and makes an offer.
async fn cheater_offers(stage: &Stage, play: &str, address: &str, words: &[&str]) -> Result<Process> {
    let bundle = stage.bundle(FIRST, "")?.display().to_string();
    let file = stage.document.display().to_string();
    let to = stage.player(SECOND)?.id.clone();
    let offer = ["--play", play, "--connect", address, "--to", &to, "--file", &file, "--bundle", &bundle];
    stage.cheater(FIRST, &[offer.as_slice(), words].concat()).await
}

async fn listening(process: &mut Process) -> Result<String> {
    let line = process.until("listening on ").await?;
    Ok(line.rsplit(' ').next().context("no address")?.to_owned())
}

/// The one exchange of a run, with a bundle of each party.
fn deal(stage: &Stage, ends: Ends) -> Result<Deal> {
    let bundles = [Some(stage.bundle(FIRST, "")?), Some(stage.bundle(SECOND, "")?)];
    Ok(Deal { title: "", bundles, ends, alike: false })
}
