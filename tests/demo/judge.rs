//! The judge: who holds what in the end, and was that fair?
//!
//! ```text
//!  bundle ─ verified under the pinned arbiter ─┐
//!  received files ─ SHA-256 ───────────────────┼─▶ holds | holds nothing ─▶ both or nobody ─▶ FAIR
//!  fairx verify --offline, counters, fsck ─────┘
//! ```
//!
//! Invariants
//! - A party holds its due only if a verified bundle, a file on disk or, for money, the ledger says so. A signature file counts only if OpenSSL
//!   accepts it and it is, byte for byte, what its signer made.
//! - Fair is: both hold the other's item, or neither does. Everything else is unfair, and so is a bundle that is
//!   missing or does not verify, and an arbiter that was called in an honest run.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use arbiter_client::arbiter::grpc::GrpcArbiter;
use arbiter_client::bundle::{Bundle, Claim};
use arbiter_client::items::signed_about;
use arbiter_client::plain;
use arbiter_client::protocol::exchange::item::{Description, DetachedSignature};
use arbiter_client::protocol::exchange::selection::Role;
use arbiter_client::protocol::ids::Digest;
use arbiter_client::protocol::message::payment::{PaymentState, PaymentTerms};
use arbiter_client::protocol::message::verdict::Ruling;
use arbiter_client::signing::openssl_verify_command;
use arbiter_client::verify::{FileFacts, Statements, Trust, statements};

use crate::paper::Tone;
use crate::runs::{Ends, Run};
use crate::stage::{Calls, Sabotage, Stage};

/// One exchange of a run, as the judge finds it.
#[derive(Clone, Debug)]
pub struct Deal {
    /// What to call it, if a run has several.
    pub title: &'static str,
    /// The bundle of each party; `None` for a party that signed nothing and so has none.
    pub bundles: [Option<PathBuf>; 2],
    /// How it must end.
    pub ends: Ends,
    /// Whether the signature that the first party got in it must be the same file as in the other deals.
    pub alike: bool,
}

/// What came out of a run.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// The first fault; `None` is fair.
    pub fault: Option<String>,
    /// Who holds the other's item.
    pub holders: String,
    /// The arbiter's counters.
    pub calls: String,
    /// How long it was played.
    pub took: Duration,
}

impl Findings {
    fn blame(&mut self, fault: impl Into<String>) {
        self.fault.get_or_insert(fault.into());
    }

    /// A run that broke off.
    pub fn broken(error: &anyhow::Error) -> Self {
        Self { fault: Some(format!("{error:#}")), holders: "?".to_owned(), ..Self::default() }
    }
}

/// What a party holds of an exchange.
struct Holding {
    /// How it has the other's item, if it has.
    due: Option<String>,
    /// The verdict in its bundle.
    verdict: Option<Digest>,
    outcome: Option<Claim>,
}

/// Looks at everything, tells it, and judges.
pub async fn judge(run: &Run, stage: &mut Stage, deals: &[Deal]) -> Result<Findings> {
    let mut findings = Findings::default();
    if let Some(sabotage) = stage.tools.sabotage {
        damage(sabotage, stage, deals).await?;
    }
    stage.ask_ledger(deals.iter().flat_map(|deal| deal.bundles.iter().flatten())).await?;
    for deal in deals {
        one(stage, deal, run, &mut findings)?;
    }
    if deals.iter().any(|deal| deal.alike) {
        alike(stage, &mut findings)?;
    }
    arbiter(run, stage, &mut findings).await?;
    for deal in deals {
        for bundle in deal.bundles.iter().flatten() {
            verified(stage, bundle, &mut findings).await?;
        }
    }
    Ok(findings)
}

/// Who holds what of one exchange.
fn one(stage: &Stage, deal: &Deal, run: &Run, findings: &mut Findings) -> Result<()> {
    stage.paper.line("");
    stage
        .paper
        .line(format!("   who holds what{}", if deal.title.is_empty() { "" } else { ": " }) + deal.title);
    let mut holdings = Vec::new();
    for (player, bundle) in stage.players.iter().zip(&deal.bundles) {
        let holding = match bundle {
            None => Ok(Holding { due: None, verdict: None, outcome: None }),
            Some(bundle) => hold(stage, player.actor.name, &player.home, bundle),
        };
        let holding = holding.unwrap_or_else(|error| {
            findings.blame(format!("{}: {error:#}", player.actor.name));
            Holding { due: None, verdict: None, outcome: None }
        });
        let (text, tone) = match (&holding.due, bundle) {
            (Some(due), _) => (due.clone(), Tone::Good),
            (None, Some(_)) => ("nothing of the other's".to_owned(), Tone::Warning),
            (None, None) => ("nothing of the other's; it signed nothing".to_owned(), Tone::Warning),
        };
        stage.paper.fact(player.actor.name, &text, tone);
        holdings.push((player, holding));
    }
    let [(first, ours), (second, theirs)] = holdings.as_slice() else { return Ok(()) };
    let verdicts = (&ours.verdict, &theirs.verdict);
    if let (Some(one), Some(other)) = verdicts
        && one != other
    {
        findings.blame("the two parties hold different verdicts");
    }
    let holders = match (&ours.due, &theirs.due) {
        (Some(_), Some(_)) => Ends::Both,
        (None, None) => Ends::Nobody,
        (Some(_), None) => {
            findings.blame(format!("{} holds its due and {} nothing", first.actor.name, second.actor.name));
            Ends::Either
        }
        (None, Some(_)) => {
            findings.blame(format!("{} holds its due and {} nothing", second.actor.name, first.actor.name));
            Ends::Either
        }
    };
    if deal.ends != Ends::Either && holders != deal.ends {
        findings
            .blame(format!("it must end with {:?}, and ended with {holders:?}", deal.ends).to_lowercase());
    }
    if run.honest && [ours, theirs].iter().any(|holding| holding.outcome != Some(Claim::Completed)) {
        findings.blame("an honest run was not completed between the peers");
    }
    let how = match (holders, verdicts) {
        (Ends::Both, (None, None)) => "both",
        (Ends::Both, _) => "both, by verdict",
        (Ends::Nobody, _) => "nobody",
        (Ends::Either, _) => "ONE OF THEM",
    };
    if !findings.holders.is_empty() {
        findings.holders.push_str("; ");
    }
    findings.holders.push_str(how);
    Ok(())
}

/// F12: every signature file that the first party got from the second is the same, however it came.
fn alike(stage: &Stage, findings: &mut Findings) -> Result<()> {
    let got = files(&stage.player(0)?.home.join("received"))?;
    let got: Vec<_> =
        got.into_iter().filter(|path| path.to_string_lossy().ends_with(".responder.sig")).collect();
    let contents = got.iter().map(std::fs::read).collect::<Result<Vec<_>, _>>()?;
    let same = contents.len() > 1 && contents.windows(2).all(|pair| pair.first() == pair.last());
    let hash = contents.first().map(|it| Digest::of(&[it]).to_string()).unwrap_or_default();
    let hash: String = hash.chars().take(16).collect();
    stage.paper.line("");
    if same {
        let text = format!("{} signature files, byte for byte the same: SHA-256 {hash}…", contents.len());
        stage.paper.fact("cmp", &text, Tone::Good);
    } else {
        findings.blame("the released and the recovered signature are not the same file");
    }
    Ok(())
}

/// What a party holds, by its verified bundle and the files in its home.
fn hold(stage: &Stage, name: &str, home: &Path, bundle: &Path) -> Result<Holding> {
    let pin = stage.pin()?;
    let file = bundle.file_name().unwrap_or_default().to_string_lossy().into_owned();
    ensure!(bundle.is_file(), "the bundle {file} is missing");
    let bundle = Bundle::read(bundle)?;
    let shown = statements(&bundle, Trust::Pinned(&pin.identity));
    let shown = shown.with_context(|| format!("the bundle {file} does not verify"))?;
    let role = match (&shown.offer.originator.name, &shown.offer.responder.name) {
        (originator, _) if originator == name => Role::Originator,
        (_, responder) if responder == name => Role::Responder,
        _ => anyhow::bail!("the bundle {file} is about others"),
    };
    let peer = role.peer();
    let verdict = shown.verdict().map(|(verdict, _)| verdict.digest());
    Ok(Holding { due: due(stage, &shown, peer, home)?, verdict, outcome: Some(bundle.outcome) })
}

/// The item of `peer`, if it is there.
fn due(stage: &Stage, shown: &Statements, peer: Role, home: &Path) -> Result<Option<String>> {
    let by = &shown.offer.party(peer).name;
    let item = shown.offer.item(peer);
    if let Description::Information(described) = &item.description {
        let folder = home.join("received").join(shown.offer.exchange_id().to_string());
        let path = folder.join(&described.name);
        let Ok(file) = std::fs::File::open(&path) else { return Ok(None) };
        let fits = FileFacts::read("received", file)?.is(described);
        let hash: String = described.sha256.to_string().chars().take(16).collect();
        let text =
            format!("{} ({}, SHA-256 {hash}… as agreed)", described.name, plain::size(described.size_bytes));
        return Ok(fits.then_some(text));
    }
    if item.description == Description::Nothing {
        return Ok(Some("nothing, as agreed".to_owned()));
    }
    let terms = PaymentTerms::all(&shown.offer, peer);
    if !terms.is_empty() {
        return paid(stage, &terms, by);
    }
    let sealed = item.description.detached_leaves();
    if !sealed.is_empty() {
        return all_detached(stage, shown, peer, home, &sealed);
    }
    if item.leaves().len() > 1 && item.description.is_content() {
        let folder = home.join("received").join(shown.offer.exchange_id().to_string()).join("package");
        for described in plain::files(item) {
            let Ok(file) = std::fs::File::open(folder.join(&described.name)) else { return Ok(None) };
            if !FileFacts::read("received", file)?.is(described) {
                return Ok(None);
            }
        }
        return Ok(Some(format!("{}: each with its SHA-256 as agreed", plain::item(item))));
    }
    let what = plain::item(item);
    if shown.transferred(peer) {
        return Ok(Some(format!("{what} by {by}")));
    }
    let replaced = shown.verdict().is_some_and(|(verdict, _)| match &verdict.ruling {
        Ruling::Aborted | Ruling::Affidavit(_) | Ruling::Revoked(_) => false,
        Ruling::Replaced(list) => list.iter().any(|it| it.role == peer),
    });
    Ok(replaced.then(|| format!("the arbiter's replacement of {what} by {by}")))
}

/// Money, if all of it is there: by the ledger's own word, not the party's bundle. A part of it is nothing that is fair.
fn paid(stage: &Stage, terms: &[PaymentTerms], by: &str) -> Result<Option<String>> {
    let mut said = Vec::new();
    for terms in terms {
        let receipt = stage.payments.get(&terms.id()).context("the ledger was not asked")?;
        let amount = &terms.payment.amount;
        if receipt.state == PaymentState::Posted(amount.units) {
            said.push(format!("{amount} by {by}, paid for good: entry {} of the ledger", receipt.entry));
        }
    }
    ensure!(said.is_empty() || said.len() == terms.len(), "{by} has paid only a part: {}", said.join("; "));
    Ok((!said.is_empty()).then(|| said.join("; ")))
}

/// Detached signatures, if all of them are there: of a package in a folder, each with its place before its name.
fn all_detached(
    stage: &Stage,
    shown: &Statements,
    peer: Role,
    home: &Path,
    items: &[&DetachedSignature],
) -> Result<Option<String>> {
    let folder = home.join("received").join(shown.offer.exchange_id().to_string());
    if let [alone] = items {
        return detached(stage, shown, peer, (&folder, &alone.statement.subject.name), alone);
    }
    let folder = folder.join(format!("signatures.{peer}"));
    let mut said = Vec::new();
    for (place, item) in items.iter().enumerate() {
        let name = signed_about(place, item);
        said.extend(detached(stage, shown, peer, (&folder, &name), item)?);
    }
    ensure!(
        said.is_empty() || said.len() == items.len(),
        "a part of a package is there: {}",
        said.join("; ")
    );
    Ok((!said.is_empty()).then(|| said.join("; ")))
}

/// A detached signature, if it is there: OpenSSL must accept it, and it must be the one that its signer made (F12).
fn detached(
    stage: &Stage,
    shown: &Statements,
    peer: Role,
    (folder, name): (&Path, &str),
    item: &DetachedSignature,
) -> Result<Option<String>> {
    let by = &shown.offer.party(peer).name;
    let path = |end: &str| folder.join(format!("{name}.{end}"));
    let signature_path = path(&format!("{peer}.sig"));
    let Ok(signature) = std::fs::read(&signature_path) else { return Ok(None) };
    let (document, public) = (path("document.txt"), path(&format!("{peer}.pem")));
    ensure!(std::fs::read_to_string(&document)? == item.statement.document(), "another text was signed");
    let command = openssl_verify_command(&item.key, &public, &document, &signature_path);
    let checked = Command::new("sh").arg("-c").arg(&command).output()?;
    if !checked.status.success() {
        return Ok(None);
    }
    let own = stage.own_signature(by, item)?;
    ensure!(own == signature, "the signature by {by} is valid, but not the one that {by} made");
    let says = String::from_utf8_lossy(&checked.stdout).trim().to_owned();
    let how = if shown.transferred(peer) { "handed over" } else { "out of escrow" };
    let title = plain::clip(&item.statement.title, 40);
    Ok(Some(format!(
        "{by}'s own signature on \"{title}\", {how}: {} bytes, OpenSSL says \"{says}\"",
        signature.len()
    )))
}

/// The arbiter's own counters, and after a kill its data.
async fn arbiter(run: &Run, stage: &mut Stage, findings: &mut Findings) -> Result<()> {
    let calls = stage.calls().await?;
    let total: u64 = calls.values().sum();
    let list = listed(&calls);
    let killed = stage.killed;
    let text = match (total, killed) {
        (0, 0) => "0".to_owned(),
        (_, 0) => format!("{total}: {list}"),
        (0, _) => "0 since it was started again".to_owned(),
        (_, _) => format!("{total} since it was started again: {list}"),
    };
    let tone = if run.honest && total > 0 { Tone::Bad } else { Tone::Plain };
    stage.paper.line("");
    stage.paper.fact("arbiter calls", &text, tone);
    if run.honest && total > 0 {
        findings.blame(format!("the arbiter was called in an honest run: {list}"));
    }
    findings.calls = match killed {
        0 => short(&calls),
        1 => format!("{} after a kill", short(&calls)),
        _ => format!("{} after {killed} kills", short(&calls)),
    };
    stage.stop_arbiter().await?;
    if killed > 0 {
        let (code, line) = stage.fsck().await?;
        let good = code == Some(0);
        stage.paper.fact("arbiter fsck", &line, if good { Tone::Good } else { Tone::Bad });
        if !good {
            findings.blame(format!("arbiter fsck found a fault (exit code {code:?}): {line}"));
        }
    }
    Ok(())
}

fn listed(calls: &Calls) -> String {
    calls.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
}

/// Calls in few letters, for the summary.
fn short(calls: &Calls) -> String {
    let word = |name: &str| match name {
        "AbortExchange" => "abort",
        "FetchDeposit" => "fetch",
        "GenerateItem" => "generate",
        "RevokeTransfer" => "revoke",
        "VerifyTransfer" => "deposit",
        "GetConsistencyProof" => "proof",
        _ => "other",
    };
    match calls.is_empty() {
        true => "0".to_owned(),
        false => {
            calls.iter().map(|(name, count)| format!("{count} {}", word(name))).collect::<Vec<_>>().join(", ")
        }
    }
}

/// `fairx verify --offline` of one bundle, a process of its own.
async fn verified(stage: &Stage, bundle: &Path, findings: &mut Findings) -> Result<()> {
    let (code, line) = stage.tools.verify(bundle, &stage.pin_file(), stage.agreed_file()).await?;
    let file = bundle.file_name().unwrap_or_default().to_string_lossy().into_owned();
    // The word and the exit code are two answers to one question.
    let good = code == Some(0) && line.starts_with("GOOD");
    let here = std::env::current_dir()?;
    let shown = bundle.strip_prefix(here).unwrap_or(bundle).display();
    let tone = if good { Tone::Good } else { Tone::Bad };
    stage.paper.fact("fairx verify", &format!("{line}   {shown}"), tone);
    if !good {
        findings.blame(format!("fairx verify of {file} ended with exit code {code:?}: {line}"));
    }
    Ok(())
}

/// Damages what the parties hold: the judge must notice.
async fn damage(sabotage: Sabotage, stage: &Stage, deals: &[Deal]) -> Result<()> {
    let bundles = deals.iter().flat_map(|deal| deal.bundles.iter().flatten());
    match sabotage {
        Sabotage::Bundle => bundles.take(1).try_for_each(std::fs::remove_file)?,
        Sabotage::Statement => {
            for bundle in bundles.take(1) {
                let text = std::fs::read_to_string(bundle)?;
                let offer = text.find("\"offer\"").context("a bundle without an offer")?;
                let (head, tail) = text.split_at(offer + 40);
                let swap = if tail.starts_with('A') { "B" } else { "A" };
                std::fs::write(bundle, format!("{head}{swap}{}", tail.get(1..).unwrap_or_default()))?;
            }
        }
        Sabotage::File => flip(stage, |name| name.ends_with(".pdf"))?,
        Sabotage::Signature => flip(stage, |name| name.ends_with(".sig"))?,
        Sabotage::Call => {
            let url = stage.pin()?.url;
            GrpcArbiter::new(&url, None)?.info().await?;
        }
    }
    Ok(())
}

/// Changes a bit at the end of the received files of such names.
fn flip(stage: &Stage, which: impl Fn(&str) -> bool) -> Result<()> {
    for player in &stage.players {
        for path in files(&player.home.join("received"))? {
            if !which(&path.to_string_lossy()) {
                continue;
            }
            let mut bytes = std::fs::read(&path)?;
            if let Some(byte) = bytes.last_mut() {
                *byte ^= 1;
            }
            std::fs::write(&path, bytes)?;
        }
    }
    Ok(())
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    if folder.is_dir() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() { found.extend(files(&path)?) } else { found.push(path) }
        }
    }
    Ok(found)
}
