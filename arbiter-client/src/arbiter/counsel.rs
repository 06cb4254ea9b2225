//! Asking the arbiter, again while it is out of reach, and checking what it says.
//!
//! ```text
//!  Ask ─▶ signed request ─▶ port ─┬─ out of reach ─▶ wait, same request again
//!                                 ├─ refused ──────▶ Answer::Refused, or an error
//!                                 └─ receipt ─▶ verify ─▶ earlier receipts ─▶ newest checkpoint ─▶ Answer
//! ```
//! A deposit of a payment is the ledger's receipt.
//!
//! Invariants
//! - An answer is used only if it is bound to the request, follows from the rules and is in the log (R-410).
//! - The log is the one seen before, grown: the newest checkpoint seen is kept and never goes back.
//! - What an honest arbiter never says is kept before it is reported.
//! - A complaint is not given up before its deadline is over for certain, however short the time for retries is.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use arbiter_protocol::evidence::checkpoint::SignedCheckpoint;
use arbiter_protocol::evidence::merkle::verify_consistency;
use arbiter_protocol::evidence::note::VerifierKey;
use arbiter_protocol::exchange::item::Description;
use arbiter_protocol::exchange::kind::pledge::Pledge;
use arbiter_protocol::ids::{AgreementId, Digest};
use arbiter_protocol::message::agreement::{Agreement, ArbiterIdentity, seal_context};
use arbiter_protocol::message::payment::PaymentTerms;
use arbiter_protocol::message::request::{Action, Request};
use arbiter_protocol::message::verdict::Verdict;
use arbiter_protocol::role::Ask;
use arbiter_protocol::role::arbiter::to_file;
use arbiter_protocol::ruling::receipt::{Proven, Receipt, Ruled, contradict};
use arbiter_protocol::statement::Verified;
use arbiter_protocol::time::UnixMillis;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};
use tokio_stream::StreamExt as _;

use crate::arbiter::{ArbiterPort, Deposit, Filing, Misbehaviour, Offence, PortError, Reason, Retry};
use crate::bundle::BundledReceipt;
use crate::client::Identity;
use crate::clock::Clock;
use crate::durable;
use crate::error::{Error, StoreError};
use crate::items::{Expected, Incoming, NotReceived, Received, Source};
use crate::journal::{Journal, Record};
use crate::ledger::till::Till;
use crate::package;

/// One party's way to its arbiter.
#[derive(Clone)]
pub(crate) struct Counsel {
    port: Arc<dyn ArbiterPort>,
    till: Till,
    pinned: ArbiterIdentity,
    journal: Journal,
    retry: Retry,
    clock: Arc<dyn Clock>,
    /// Goes on asking until then, however short the time for retries is.
    at_least: Option<UnixMillis>,
    /// Owns the newest checkpoint: read, compare and write must not interleave.
    newest: Arc<Mutex<()>>,
}

/// What came of asking.
pub(crate) struct Answer {
    /// Verified receipts, to be kept whatever else.
    pub receipts: Vec<BundledReceipt>,
    /// What they amount to.
    pub result: Answered,
}

pub(crate) enum Answered {
    Attested,
    Fetched(Received),
    Refused(Reason),
    Ruled(Verified<Verdict>, Option<Agreement>),
}

type Call<'a, T> = Pin<Box<dyn Future<Output = Result<T, PortError>> + Send + 'a>>;

impl Counsel {
    pub(crate) fn new(
        port: Arc<dyn ArbiterPort>,
        till: Till,
        pinned: ArbiterIdentity,
        journal: Journal,
        retry: Retry,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { port, till, pinned, journal, retry, clock, at_least: None, newest: Arc::default() }
    }

    /// With a time until which it does not give up.
    pub(crate) fn at_least_until(self, time: Option<UnixMillis>) -> Self {
        Self { at_least: time, ..self }
    }

    /// Asks until there is an answer, the time for retries is over, or the arbiter is caught.
    pub(crate) async fn ask(
        self,
        ask: Ask,
        record: Record,
        identity: Identity,
        folder: PathBuf,
    ) -> Result<Answer, Error> {
        let mut receipts = Vec::new();
        let result = match self.steps(ask, &record, &identity, &folder, &mut receipts).await {
            Ok(result) => result,
            Err(Error::Arbiter { reason, .. }) if reason.decides() => Answered::Refused(reason),
            Err(other) => return Err(other),
        };
        Ok(Answer { receipts, result })
    }

    async fn steps(
        &self,
        ask: Ask,
        record: &Record,
        identity: &Identity,
        folder: &Path,
        receipts: &mut Vec<BundledReceipt>,
    ) -> Result<Answered, Error> {
        let filing = |action| filing(record, identity, action);
        match ask {
            Ask::Abort => {
                let filing = filing(Action::Abort);
                let receipt = self.patiently(|| self.port.abort(&filing)).await?;
                self.verdict(&filing, receipt, record, receipts).await
            }
            Ask::Resolve => {
                let filing = filing(Action::Resolve);
                let receipt = self.patiently(|| self.port.resolve(&filing)).await?;
                self.verdict(&filing, receipt, record, receipts).await
            }
            Ask::Revoke => {
                let filing = filing(Action::Revoke);
                let receipt = self.patiently(|| self.port.revoke(&filing)).await?;
                self.verdict(&filing, receipt, record, receipts).await
            }
            Ask::Deposit => self.deposit(record, identity, folder, receipts).await,
            Ask::Complain => {
                match self.deposit(record, identity, folder, receipts).await? {
                    Answered::Attested => {}
                    other => return Ok(other),
                }
                let filing = filing(Action::Resolve);
                let receipt = self.patiently(|| self.port.resolve(&filing)).await?;
                self.verdict(&filing, receipt, record, receipts).await
            }
            Ask::Fetch => {
                let filing = filing(Action::Fetch);
                self.fetch(&filing, record, identity, folder).await
            }
        }
    }

    /// Has the own item attested, unless it is; or says the verdict that there is instead.
    async fn deposit(
        &self,
        record: &Record,
        identity: &Identity,
        folder: &Path,
        receipts: &mut Vec<BundledReceipt>,
    ) -> Result<Answered, Error> {
        if is_attested(record) {
            return Ok(Answered::Attested);
        }
        let Some(path) = self.content(record, folder).await? else {
            return Ok(Answered::Refused(Reason::ItemNotPaid));
        };
        let deposit = filing(record, identity, Action::Deposit);
        let deposited = self.patiently(|| self.port.deposit(&deposit, &path)).await;
        if path.starts_with(folder.join(PACKED)) {
            // Written for this alone, and written again if it is asked for again.
            let _ = tokio::fs::remove_file(&path).await;
        }
        let receipt = match deposited {
            Err(Error::Arbiter { reason: Reason::AlreadyRuled, .. }) => {
                return self.ruled_already(record, identity, receipts).await;
            }
            other => other?,
        };
        let proven = self.check(&deposit, &receipt, record, receipts).await?;
        receipts.push(self.kept(receipt.clone()));
        if proven.ruled.verdict().is_some() {
            let why = "an attestation was asked for, a verdict came";
            return Err(self.unproven(&deposit, why, vec![receipt]).await?);
        }
        Ok(Answered::Attested)
    }

    /// What is deposited: our file, the files of our package in one, or the ledger's receipt for our payment as a file. `None`: nothing was paid.
    async fn content(&self, record: &Record, folder: &Path) -> Result<Option<PathBuf>, Error> {
        let session = &record.session;
        let Some(terms) = PaymentTerms::of(session.offer(), session.role()) else {
            let files = &record.own.files;
            if let Description::Package(items) = &session.offer().item(session.role()).description {
                let path = folder.join(PACKED).join(format!("{}.package", session.exchange_id()));
                package::pack(items, files, &path).await?;
                return Ok(Some(path));
            }
            return Ok(Some(files.first().ok_or(Error::Bug("no file to deposit"))?.clone()));
        };
        let receipt = match record.own.receipts.first() {
            Some(receipt) => receipt.clone(),
            // An order may have left without its answer having come.
            None => {
                let look = || -> Call<'_, _> {
                    Box::pin(async {
                        self.till.look(&terms).await.map_err(|error| PortError::Unavailable {
                            message: error.to_string(),
                            retry_after: None,
                        })
                    })
                };
                self.patiently(look).await?
            }
        };
        if !receipt.is_effective() {
            return Ok(None);
        }
        let folder = folder.join("paid");
        let path = folder.join(format!("{}.receipt", session.exchange_id()));
        let bytes = receipt.envelope().encode();
        let written = std::fs::create_dir_all(&folder).and_then(|()| durable::replace(&path, &bytes, 0o644));
        written.map_err(|error| Error::file(&path, error))?;
        Ok(Some(path))
    }

    /// Asks for the verdict that there is, to compare it with what is known.
    pub(crate) async fn query(&self, record: &Record, identity: &Identity) -> Result<Answer, Error> {
        let filing = filing(record, identity, Action::Query);
        let receipt = self.patiently(|| self.port.query(&filing)).await?;
        let mut receipts = Vec::new();
        let result = self.verdict(&filing, receipt, record, &mut receipts).await?;
        Ok(Answer { receipts, result })
    }

    /// A deposit was refused because there is a verdict: that is what decides, so ask for it.
    async fn ruled_already(
        &self,
        record: &Record,
        identity: &Identity,
        receipts: &mut Vec<BundledReceipt>,
    ) -> Result<Answered, Error> {
        match self.query(record, identity).await {
            Ok(answer) => {
                receipts.extend(answer.receipts);
                Ok(answer.result)
            }
            // A refusal that contradicts a refusal: neither is signed, and neither ends a claim (R-308).
            Err(Error::Arbiter { reason: Reason::VerdictNotFound, .. }) => {
                Ok(Answered::Refused(Reason::AlreadyRuled))
            }
            Err(other) => Err(other),
        }
    }

    /// Checks a receipt that must hold a verdict, and adds it to those to be kept.
    async fn verdict(
        &self,
        filing: &Filing,
        receipt: Receipt,
        record: &Record,
        receipts: &mut Vec<BundledReceipt>,
    ) -> Result<Answered, Error> {
        let proven = self.check(filing, &receipt, record, receipts).await?;
        match proven.ruled {
            Ruled::Verdict(verdict) => {
                receipts.push(self.kept(receipt));
                Ok(Answered::Ruled(verdict, proven.agreement))
            }
            Ruled::Attestation(_) => {
                let why = "a verdict was asked for, an attestation came";
                Err(self.unproven(filing, why, vec![receipt]).await?)
            }
        }
    }

    /// With the proof under witnesses that came with it, if one was asked for.
    fn kept(&self, receipt: Receipt) -> BundledReceipt {
        BundledReceipt { tlog_proof: self.port.proof(&receipt), ..receipt.into() }
    }

    /// Every check of an answer: by itself, against earlier answers, against the log seen so far.
    async fn check(
        &self,
        filing: &Filing,
        receipt: &Receipt,
        record: &Record,
        newer: &[BundledReceipt],
    ) -> Result<Proven, Error> {
        let request = filing.request.digest();
        let proven = match receipt.verify(&filing.offer, Some(request)) {
            Ok(proven) => proven,
            Err(why) => {
                return Err(self.unproven(filing, &why.to_string(), vec![receipt.clone()]).await?);
            }
        };
        for earlier in record.receipts.iter().chain(newer) {
            let known =
                earlier.verify(&filing.offer, None).map_err(|_| StoreError::Damaged("receipt".to_owned()))?;
            if contradict(&known, &proven) {
                let log = known.checkpoint.contradicts(&proven.checkpoint);
                let offence = if log { Offence::InconsistentLog } else { Offence::TwoVerdicts };
                let both = vec![earlier.receipt.clone(), receipt.clone()];
                return Err(self.misbehaves(filing, offence, both, Default::default()).await?);
            }
        }
        self.check_log(filing, &proven.checkpoint).await?;
        Ok(proven)
    }

    /// The checkpoint's tree and the newest one seen must be the same log at two times.
    async fn check_log(&self, filing: &Filing, new: &SignedCheckpoint) -> Result<(), Error> {
        let _newest = self.newest.lock().await;
        let note = new.note().to_string();
        let Some(seen_note) = self.journal.newest_checkpoint(&self.pinned).await? else {
            return Ok(self.journal.keep_checkpoint(&self.pinned, &note).await?);
        };
        let damaged = || StoreError::Damaged("checkpoint".to_owned());
        let key = VerifierKey::new(self.pinned.log_origin.as_str(), self.pinned.log_key);
        let key = key.map_err(|_| Error::Bug("the pinned log has no key name"))?;
        let seen = SignedCheckpoint::verify(&seen_note, &key).map_err(|_| damaged())?;
        let grew = new.checkpoint().size > seen.checkpoint().size;
        let (old, larger) = if grew { (&seen, new) } else { (new, &seen) };
        let (old, larger) = (old.checkpoint(), larger.checkpoint());
        let proof = if old.size == larger.size {
            Vec::new()
        } else {
            match self.patiently(|| self.port.consistency(old.size, larger.size)).await {
                Ok(proof) => proof,
                // A log that signed both sizes can prove them; no proof does not verify below.
                Err(Error::Arbiter { .. }) => Vec::new(),
                Err(other) => return Err(other),
            }
        };
        if verify_consistency(old.size, larger.size, &proof, &old.root, &larger.root).is_err() {
            let log = (vec![seen_note, note], proof);
            return Err(self.misbehaves(filing, Offence::InconsistentLog, Vec::new(), log).await?);
        }
        if grew {
            self.journal.keep_checkpoint(&self.pinned, &note).await?;
        }
        Ok(())
    }

    /// What the arbiter holds of the peer's item, opened, checked and durable: its deposit, or its signature out of
    /// the escrow that the verdict names (R-311).
    async fn fetch(
        &self,
        filing: &Filing,
        record: &Record,
        identity: &Identity,
        folder: &Path,
    ) -> Result<Answered, Error> {
        let peer = record.session.role().peer();
        // R-309: a peer that signed two acceptances may have deposited under the other one.
        let (agreement, pledge) =
            ruled_agreement(record).ok_or(Error::Bug("a deposit without an agreement"))?;
        let expected = Expected::of(record.session.offer(), peer, pledge.as_ref());
        let context = seal_context(&record.session.exchange_id(), &agreement, peer);
        // A stream that breaks is fetched again from its beginning.
        let call = || -> Call<'_, Result<Received, NotReceived>> {
            Box::pin(async {
                let deposit = self.port.fetch(filing).await?;
                receive(deposit, &expected, filing, identity, &context, folder).await
            })
        };
        match self.patiently(call).await? {
            Ok(received) => Ok(Answered::Fetched(received)),
            Err(NotReceived::Here(error)) => Err(error),
            Err(other) => {
                let why = format!("what it held for us does not fit: {other}");
                Err(self.unproven(filing, &why, Vec::new()).await?)
            }
        }
    }

    /// Repeats a call while the arbiter is out of reach. Who has sent first in a protocol with a deadline loses
    /// the item when it stops too early, so it goes on at least until its time to complain is over (R-308).
    async fn patiently<'a, T>(&'a self, call: impl Fn() -> Call<'a, T> + Send) -> Result<T, Error> {
        let started = Instant::now();
        let mut delays = self.retry.delays();
        loop {
            let (message, retry_after) = match call().await {
                Ok(answer) => return Ok(answer),
                Err(PortError::Unavailable { message, retry_after }) => (message, retry_after),
                Err(other) => return Err(other.into()),
            };
            let delay = delays.next().unwrap_or(self.retry.longest).max(retry_after.unwrap_or_default());
            let longer = started.elapsed() + delay <= self.retry.total
                || self.at_least.is_some_and(|time| self.clock.now() < time);
            if !longer {
                return Err(Error::Retry { after: delay, what: message });
            }
            tracing::warn!(%message, delay_ms = delay.as_millis(), "the arbiter is out of reach, asking again");
            sleep(delay).await;
        }
    }

    async fn unproven(&self, filing: &Filing, why: &str, receipts: Vec<Receipt>) -> Result<Error, Error> {
        self.misbehaves(filing, Offence::Unproven(why.to_owned()), receipts, Default::default()).await
    }

    /// Keeps the proof, then reports it.
    async fn misbehaves(
        &self,
        filing: &Filing,
        offence: Offence,
        receipts: Vec<Receipt>,
        (checkpoints, shown): (Vec<String>, Vec<Digest>),
    ) -> Result<Error, Error> {
        let proof = Misbehaviour {
            arbiter: self.pinned.key,
            exchange_id: filing.offer.exchange_id(),
            request: filing.request.digest(),
            offence,
            receipts,
            checkpoints,
            shown,
        };
        self.journal.keep_misbehaviour(&proof).await?;
        tracing::error!(%proof, "the arbiter misbehaves; the proof is in the journal");
        Ok(Error::Misbehaviour(Box::new(proof)))
    }
}

/// Packages that are being deposited, in the home folder.
const PACKED: &str = "packages";

/// The one request for an action in a session: the same session gives the same bytes.
fn filing(record: &Record, identity: &Identity, action: Action) -> Filing {
    let session = &record.session;
    let agreement = session.agreement();
    let request = Request {
        exchange_id: session.exchange_id(),
        agreement_id: agreement.map(Agreement::id),
        role: session.role(),
        action,
    };
    let needed = to_file(session.offer(), session.role(), action);
    let pledges = record.escrows();
    Filing {
        request: Verified::sign(request, identity.signer()),
        offer: session.offer().clone(),
        acceptance: agreement.map(|agreement| agreement.acceptance().clone()),
        escrows: pledges.map(|role, pledge| pledge.clone().filter(|_| needed.contains(&role))),
    }
}

/// The agreement that the verdict in the record names, and the peer's pledge that was used for it. In P3 and P6 it is the one
/// of the deposit, whichever acceptance the request came with (R-416, R-426).
fn ruled_agreement(record: &Record) -> Option<(AgreementId, Option<Pledge>)> {
    let peer = record.session.role().peer();
    record.receipts.iter().find_map(|receipt| {
        let proven = receipt.verify(record.session.offer(), None).ok()?;
        let agreement = proven.ruled.verdict()?.agreement_id?;
        Some((agreement, receipt.evidence.escrows.of(peer).clone()))
    })
}

/// Whether the arbiter has attested that it holds the own item under this agreement.
fn is_attested(record: &Record) -> bool {
    let session = &record.session;
    record.receipts.iter().any(|receipt| match receipt.verify(session.offer(), None).map(|it| it.ruled) {
        Ok(Ruled::Attestation(it)) => {
            it.depositor == session.role() && Some(it.agreement_id) == session.agreement().map(Agreement::id)
        }
        Ok(Ruled::Verdict(_)) | Err(_) => false,
    })
}

/// Reads a deposit to its end. The last chunk shows only by the end of the stream.
async fn receive(
    mut deposit: Deposit,
    expected: &Expected,
    filing: &Filing,
    identity: &Identity,
    context: &[u8],
    folder: &Path,
) -> Result<Result<Received, NotReceived>, PortError> {
    let exchange_id = filing.offer.exchange_id();
    let seal = (identity.sealing(), context, deposit.encapsulated.as_slice());
    let mut incoming = match Incoming::begin(folder, exchange_id, Source::Arbiter, expected, seal).await {
        Ok(incoming) => incoming,
        Err(why) => return Ok(Err(why)),
    };
    let mut held = deposit.chunks.next().await.transpose()?;
    while let Some(chunk) = held {
        held = deposit.chunks.next().await.transpose()?;
        if let Err(why) = incoming.write(&chunk, held.is_none()).await {
            return Ok(Err(why));
        }
    }
    Ok(incoming.finish().await)
}
