//! A party at work: opening the home, carrying an exchange out, and saying how it ended.
//!
//! ```text
//!  Home ─▶ Party { client, teller } ─▶ run ─▶ finish: outcome, files, bundle
//! ```

use std::path::PathBuf;
use std::sync::Arc;

use arbiter_client::arbiter::Retry;
use arbiter_client::arbiter::grpc::GrpcArbiter;
use arbiter_client::builder::DEPOSIT_LIMIT;
use arbiter_client::bundle::{Bundle, Claim, EXTENSION};
use arbiter_client::clock::{Clock as _, SystemClock};
use arbiter_client::error::Error;
use arbiter_client::fingerprint::Fingerprint;
use arbiter_client::module::{Capabilities, Module};
use arbiter_client::protocol::crypto::Signer;
use arbiter_client::protocol::exchange::item::Description;
use arbiter_client::protocol::exchange::selection::{Protocol, Role};
use arbiter_client::protocol::ids::ExchangeId;
use arbiter_client::protocol::message::agreement::Offer;
use arbiter_client::protocol::role::{Ask, Outcome as End, Phase, Timing};
use arbiter_client::protocol::time::DurationMillis;
use arbiter_client::transport::Transport;
use arbiter_client::verify::FileFacts;
use arbiter_client::{Client, ClientBuilder, Evidence, Identity, Outcome, Status, explain, plain};

use crate::approval::Approval;
use crate::args::Conduct;
use crate::events::{Teller, Watched, WatchedLedger, WatchedPort};
use crate::failure::Failure;
use crate::files::{self, Written};
use crate::home::Home;
use crate::out::say;
use crate::purses;

/// A party at work: its client and what tells about it.
pub struct Party {
    /// The client.
    pub client: Client,
    /// Tells what happens.
    pub teller: Arc<Teller>,
    bundle: Option<PathBuf>,
    out: Option<PathBuf>,
    home: PathBuf,
    evidence: PathBuf,
}

impl Party {
    /// Opens the home for signing: there must be somebody, or a program, to approve.
    pub async fn open(home: &Home, conduct: &Conduct, files: Vec<FileFacts>) -> Result<Self, Failure> {
        // Who has no identity yet needs no terminal yet.
        home.identity()?;
        home.arbiter()?;
        let approval = Arc::new(Approval::prepare(conduct.yes, conduct.show_document, files)?);
        let party = Self::build(home, conduct, Some(approval.clone())).await?;
        approval.remember(party.client.list().await?.iter().flat_map(|status| {
            let (offer, peer) = (&status.evidence.offer, status.evidence.role.peer());
            let leaves = offer.item(peer).description.detached_leaves().into_iter();
            leaves.map(move |it| (offer.party(peer).signing_key, it.key.clone()))
        }));
        Ok(party)
    }

    /// Opens the home for what needs no approval: everything was approved when it was signed.
    pub async fn open_approved(home: &Home, conduct: &Conduct) -> Result<Self, Failure> {
        Self::build(home, conduct, None).await
    }

    /// What this home gives and takes. Opens no journal.
    pub async fn capabilities(home: &Home, key: Option<Arc<dyn Module>>) -> Result<Capabilities, Failure> {
        let teller = Teller::new(&home.identity()?.party().name);
        let begun = key.into_iter().fold(Client::builder(), ClientBuilder::module);
        let builder = Self::builder(begun, home, &Conduct::default(), &teller)?;
        Ok(builder.in_memory().build().await?.capabilities())
    }

    /// Everything but who approves.
    fn builder(
        begun: ClientBuilder,
        home: &Home,
        conduct: &Conduct,
        teller: &Arc<Teller>,
    ) -> Result<ClientBuilder, Failure> {
        let keys = home.identity()?;
        let pin = home.arbiter()?;
        let name = keys.party().name.clone();
        let (signer, sealing) = keys.into_keys();
        let ca = match &conduct.arbiter_ca {
            Some(path) => Some(std::fs::read(path).map_err(|error| Failure::file(path, &error))?),
            None => None,
        };
        let url = conduct.arbiter_url.as_deref().unwrap_or(&pin.url);
        // Connects only when the arbiter is needed, which in an honest exchange is never.
        let port = WatchedPort::new(GrpcArbiter::new(url, ca)?, teller.clone());
        let margin = u64::try_from(conduct.margin.as_millis()).unwrap_or(u64::MAX);
        let epoch = pin.epoch_at(SystemClock.now()).cloned();
        let signer: Arc<dyn Signer> = Arc::new(signer);
        let mut builder = home
            .preferences()?
            .apply(begun, &signer)?
            .arbiter_identity(pin.identity)
            .arbiter_port(Arc::new(port))
            .identity(Identity::new(signer, sealing, name))
            .store(home.folder())
            .patience(conduct.patience)
            .linger(conduct.linger)
            .retry(Retry { total: conduct.retry_for, ..Retry::default() })
            .timing(Timing { complain_margin: DurationMillis(margin) })
            .deposit_limit(pin.deposit_bytes.unwrap_or(DEPOSIT_LIMIT));
        if let Some(money) = &pin.money {
            builder = builder.hold_allowance(money.hold_allowance).arbiter_reaches(money.ledgers.clone());
        }
        let reached = pin.money.as_ref().map(|money| money.ledgers.as_slice());
        builder = home.purses()?.into_builder(builder, reached, |purse| {
            let watched = WatchedLedger::new(purses::port(purse, &conduct.ledger)?, teller.clone());
            Ok::<_, Failure>(Arc::new(watched))
        })?;
        Ok(match epoch {
            Some(epoch) => builder.escrow_epoch(epoch),
            None => builder,
        })
    }

    async fn build(home: &Home, conduct: &Conduct, approval: Option<Arc<Approval>>) -> Result<Self, Failure> {
        let teller = Teller::new(&home.identity()?.party().name);
        let mut builder = Self::builder(Client::builder(), home, conduct, &teller)?;
        if let Some(approval) = approval {
            builder = builder.approver(approval);
        }
        let client = builder.build().await?;
        Ok(Self {
            client,
            teller,
            bundle: conduct.bundle.clone(),
            out: conduct.out.clone(),
            home: home.folder().to_owned(),
            evidence: home.evidence()?,
        })
    }

    /// The exchange with this id, or the only one whose id starts so.
    pub async fn find(&self, text: &str) -> Result<ExchangeId, Failure> {
        let digits: String = text.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_lowercase();
        let list = self.client.list().await?;
        let mut found = list
            .iter()
            .map(|status| status.evidence.exchange_id())
            .filter(|id| digits.len() >= 4 && id.to_string().starts_with(&digits));
        match (found.next(), found.next()) {
            (Some(id), None) => Ok(id),
            (Some(_), Some(_)) => {
                Err(Failure::usage(format!("several exchanges start with {digits}")).next("give more digits"))
            }
            (None, _) => {
                Err(Failure::usage(format!("no exchange starts with {digits:?} (4 digits or more)"))
                    .next("`fairx status` lists all exchanges"))
            }
        }
    }

    /// Carries an exchange of the journal out.
    pub async fn run(&self, id: ExchangeId, transport: Box<dyn Transport + '_>) -> Result<u8, Failure> {
        let evidence = self.client.status(id).await?.evidence;
        let known = Some((evidence.offer, evidence.acceptance));
        self.carry_out(id, &mut Watched::new(transport, self.teller.clone(), known)).await
    }

    /// The same over a connection that is watched already.
    pub async fn carry_out(&self, id: ExchangeId, transport: &mut Watched<'_>) -> Result<u8, Failure> {
        let result = self.client.run(id, transport).await;
        self.finish(id, result).await
    }

    /// Writes what convicts the arbiter, if it was caught, beside the bundles. Written again, it is the same file.
    pub async fn write_charges(&self) -> Result<Vec<PathBuf>, Failure> {
        let charges = self.client.charges().await?;
        charges.iter().map(|charge| Ok(charge.write_into(&self.evidence)?)).collect()
    }

    /// Says how it ended and keeps the bundle, also after a failure: it may be needed.
    pub async fn finish(&self, id: ExchangeId, result: Result<Outcome, Error>) -> Result<u8, Failure> {
        let evidence = match &result {
            Ok(outcome) => outcome.evidence().clone(),
            Err(_) => self.client.status(id).await?.evidence,
        };
        let short: String = id.to_string().chars().take(16).collect();
        let path = self.bundle.clone().unwrap_or_else(|| self.evidence.join(format!("{short}.{EXTENSION}")));
        Bundle::of(&evidence).write(&path)?;
        let (code, outcome) = match result {
            Ok(Outcome::Abandoned(_)) => (ABORTED, "abandoned: nothing was given, and nothing is owed"),
            Ok(Outcome::Completed(_)) if is_one_way(&evidence) => (0, "completed: it was handed over"),
            Ok(Outcome::Completed(_)) => (0, "completed: both hold what was agreed"),
            Ok(Outcome::Resolved(_)) if !evidence.offer.selection.protocol.generates() => {
                (0, "resolved: the arbiter gave out what was left with it")
            }
            Ok(Outcome::Resolved(_)) if reserved(&evidence).is_some_and(|paid| paid) => {
                (0, "resolved: the arbiter had the money paid that was set aside")
            }
            Ok(Outcome::Resolved(_)) if reserved(&evidence).is_some() => (
                1,
                "resolved, and NOT PAID: by the verdict the money is yours, by the ledger it went back; the bundle shows both",
            ),
            Ok(Outcome::Resolved(_)) if is_sealed(&evidence) => {
                (0, "resolved: the arbiter opened the sealed signature that was withheld")
            }
            Ok(Outcome::Resolved(_)) => (0, "resolved: the arbiter's verdict stands for what was withheld"),
            Ok(Outcome::Aborted(_)) if Bundle::of(&evidence).outcome == Claim::Revoked => (
                ABORTED,
                "revoked: the arbiter has the held money returned, all of it; nothing counts as given",
            ),
            Ok(Outcome::Affidavit(_)) => {
                (ABORTED, "affidavit: the arbiter has signed which items it had; nothing more can be had")
            }
            Ok(Outcome::Aborted(_)) => (ABORTED, "aborted: neither item counts as given, and none ever will"),
            Err(error) => {
                say!(" bundle   {} (as far as it goes)", path.display());
                for proof in self.write_charges().await? {
                    say!(" proof    {} (of what the arbiter did: fairx verify it, show it)", proof.display());
                }
                return Err(error.into());
            }
        };
        let written = files::write(&evidence, &self.home, self.out.as_deref());
        say!(" outcome  {outcome}");
        say!(" exchange {id}  ({})", Fingerprint::of(id.as_bytes()));
        if let Some(by) = evidence.decide_by() {
            say!(
                " decided  no decision of the arbiter that gives or returns anything after {}",
                plain::time(by)
            );
        }
        say!(" you hold {}", held(&evidence, written.as_ref().ok().and_then(Option::as_ref)));
        say!(" bundle   {}", path.display());
        say!(" check it fairx verify {}", path.display());
        match written {
            Ok(Some(written)) => say!(" or with OpenSSL:\n{}", written.command),
            Ok(None) => {}
            Err(failure) => {
                let next = format!(
                    "the bundle has the signature; `fairx resume {short} --out DIR` writes the files"
                );
                return Err(failure.next(next));
            }
        }
        Ok(code)
    }
}

/// What a party holds, and where.
pub fn held(evidence: &Evidence, written: Option<&Written>) -> String {
    let got = evidence.offer.item(evidence.role.peer());
    let what = plain::item(got);
    if let Some(written) = written {
        return format!("{what}: {}", written.signature.display());
    }
    let paid = evidence.payments.of(evidence.role.peer()).iter().map(|it| explain::stands(it));
    let paid: Vec<_> = paid.collect();
    if !paid.is_empty() {
        return paid.join("; ");
    }
    if got.description == Description::Nothing {
        return "nothing, as agreed".to_owned();
    }
    match (&evidence.received_file, &evidence.peer_transfer) {
        (Some(path), _) => format!("{what}: {}", path.display()),
        (None, Some(_)) if !got.description.is_content() => format!("{what}: in the bundle"),
        _ if Bundle::of(evidence).verdict().is_some() => "the arbiter's verdict: in the bundle".to_owned(),
        _ => format!("nothing yet; due is {what}"),
    }
}

/// Whether what we get was sealed first.
fn is_sealed(evidence: &Evidence) -> bool {
    !evidence.offer.item(evidence.role.peer()).description.detached_leaves().is_empty()
}

/// Whether an item is given for nothing.
fn is_one_way(evidence: &Evidence) -> bool {
    evidence.offer.selection.protocol == Protocol::Transfer
}

/// One line about an exchange.
pub fn row(status: &Status) -> String {
    let offer = &status.evidence.offer;
    let id = status.evidence.exchange_id();
    let short: String = id.to_string().chars().take(16).collect();
    let phase = match status.phase {
        Phase::Offered => "offered, no acceptance yet",
        Phase::Waiting if status.sent => "ours is sent, waiting for theirs",
        Phase::Waiting => "waiting for theirs",
        Phase::Settling => "ours is sent, waiting for their money to be final",
        Phase::Asking(Ask::Deposit) => "leaving ours with the arbiter",
        Phase::Asking(Ask::Revoke) => "asking the arbiter for what is withheld, or our money back",
        Phase::Asking(Ask::Complain) if offer.selection.protocol == Protocol::BothDeposited => {
            "both files go through the arbiter: waiting for theirs"
        }
        Phase::Asking(Ask::Abort) => "asking the arbiter to end it",
        Phase::Asking(Ask::Complain | Ask::Resolve) if is_sealed(&status.evidence) => {
            "asking the arbiter to open what is withheld"
        }
        Phase::Asking(Ask::Complain | Ask::Resolve) => "asking the arbiter to replace what is withheld",
        Phase::Asking(Ask::Fetch) => "fetching from the arbiter what it holds for us",
        Phase::Done(End::Abandoned) => "abandoned",
        Phase::Done(End::Aborted) => "aborted",
        Phase::Done(End::Affidavit) => "ended with an affidavit",
        Phase::Done(End::Completed) => "completed",
        Phase::Done(End::Resolved) => "resolved by the arbiter",
    };
    let kind = match offer.selection.protocol {
        Protocol::ContractSigning => "contract",
        Protocol::VerifyThenGenerate if pays(offer) => "payment",
        Protocol::VerifyThenGenerate => "delivery",
        Protocol::RevokeOnSilence | Protocol::MutualRollback => "sale",
        Protocol::Affidavit => "weak exchange",
        Protocol::BothDeposited => "swap",
        Protocol::Transfer => "transfer",
    };
    let peer = plain::clip(&offer.party(status.evidence.role.peer()).name, 30);
    let remark =
        status.remark.as_ref().map(|text| format!("; {}", plain::clip(text, 100))).unwrap_or_default();
    format!(
        "{short}  {:<10} {kind} with {peer}, we are the {}, since {}: {phase}{remark}",
        Fingerprint::of(id.as_bytes()).first_word(),
        status.evidence.role,
        plain::time(status.since),
    )
}

/// Whether the ledger has paid us the money that was set aside, if we were to get such.
fn reserved(evidence: &Evidence) -> Option<bool> {
    let peer = evidence.role.peer();
    evidence.offer.item(peer).description.reservation()?;
    Some(evidence.payments.of(peer).iter().any(|receipt| receipt.is_effective()))
}

/// Whether somebody pays.
fn pays(offer: &Offer) -> bool {
    Role::BOTH.into_iter().any(|role| !offer.item(role).description.payments().is_empty())
}

/// Exit code of an exchange that ended without items.
const ABORTED: u8 = 3;
