//! Plans what one atomic commit holds: decisions, leaves, tree nodes and the new head (decision D6).
//!
//! ```text
//!  Head ─▶ Batch::new ─┬─ file(case) ─▶ decide ─▶ statement, leaf      (any number of cases)
//!                      ├─ hear(receipt) ─▶ leaf                        (what a ledger said to an order)
//!                      ├─ erase(exchange) ─▶ leaf; the record goes     (what is over and no longer kept)
//!                      ├─ note(notice) ─▶ leaf                         (what the arbiter says of itself)
//!                      ├─ restore(leaves) ─▶ leaf                      (what the store had lost)
//!                      └─ close() ─▶ Closed { head, records, leaves, nodes } ─▶ Store::commit ─▶ issue(…)
//! ```
//!
//! Pure: the engine owns the store, the clock and the keys. Invariants
//! - A record's verdict and each attestation are set once and never change (R-401, asserted here).
//! - Time within and across batches never goes back (R-409).
//! - Every new statement has exactly one leaf, and the leaf's index is inside the statement.
//! - Nothing planned may be signed or shown before the commit of its batch has returned (R-504).

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::crypto::Signer;
use crate::error::{Invalid, Refused, Rejected};
use crate::evidence::checkpoint::Checkpoint;
use crate::evidence::leaf::{Event, Leaf, Pseudonym, issuer_id};
use crate::evidence::merkle::{Frontier, NodeId, leaf_hash};
use crate::evidence::note::{Note, NoteError, VerifierKey, signature_line};
use crate::evidence::record::{ExchangeKey, record_root};
use crate::exchange::kind::content::FitContent;
use crate::exchange::selection::{ByRole, Role};
use crate::ids::{Digest, ExchangeId, LeafIndex};
use crate::message::agreement::{ArbiterIdentity, Offer};
use crate::message::payment::{PaymentOrder, PaymentReceipt, PaymentState, PaymentTerms};
use crate::message::verdict::{Answer, Attestation, Ruling, Verdict};
use crate::role::arbiter::{Case, Decision, Escrows, Known, RULES, decide, payment_orders};
use crate::ruling::notice::{Erased, ErasureReason, NotErasable, Notice, OVER_AFTER};
use crate::ruling::receipt::{Evidence, Receipt, Ruled, deposit_rule, record_values};
use crate::statement::{Envelope, Payload, Signed, Verified, digest_of, pae};
use crate::time::{DurationMillis, UnixMillis};
use crate::weaken::{Countermeasure, off};

/// What stays the same for every ruling.
#[derive(Clone, Debug)]
pub struct Desk {
    /// This arbiter.
    pub arbiter: ArbiterIdentity,
    /// SHA-256 of the program that decides.
    pub build: Digest,
    /// How far the clock may be off, as the operator declares it.
    pub clock_uncertainty: DurationMillis,
}

/// The keyed function that hides identities from the public log. Same input, same output, for ever.
pub trait Veil {
    /// The pseudonym of an exchange.
    fn pseudonym(&self, exchange: &ExchangeId) -> Pseudonym;
}

/// The durable end of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The tree's right edge; its size is the next leaf's index.
    pub frontier: Frontier,
    /// The latest time ever used.
    pub time: UnixMillis,
}

/// A statement of the arbiter as it is kept: everything a receipt needs but the signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged<T> {
    /// The statement.
    pub statement: T,
    /// The offer it is about.
    pub offer: Envelope,
    /// What it rests on; the attestation, which a verdict may rest on, is found in the same record.
    pub request: Envelope,
    /// The acceptance, if one was filed.
    pub acceptance: Option<Envelope>,
    /// The pledges that it used.
    pub escrows: Escrows,
    /// The leaf, exactly as hashed.
    pub leaf: Vec<u8>,
    /// Size of the tree after the statement's batch.
    pub tree_size: u64,
    /// Root of that tree.
    pub root: Digest,
}

/// What a ledger said to an order of the arbiter (R-423).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerAnswer {
    /// The ledger's receipt: the payment is final.
    pub receipt: Envelope,
    /// The leaf, exactly as hashed.
    pub leaf: Vec<u8>,
}

impl LedgerAnswer {
    /// Whether it is about the payment with these terms.
    pub fn is_about(&self, terms: &PaymentTerms) -> bool {
        let receipt = Signed::<PaymentReceipt>::parse(self.receipt.clone());
        receipt.is_ok_and(|receipt| receipt.unverified().terms == *terms)
    }
}

/// A request that came too early: it is decided when its time has come, as if it were asked again then (R-424).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// When.
    pub at: UnixMillis,
    /// The request.
    pub request: Envelope,
    /// The offer.
    pub offer: Envelope,
    /// The acceptance, if one was filed.
    pub acceptance: Option<Envelope>,
}

impl Standing {
    /// The case, verified once more: it comes from a store.
    pub fn case(&self, arbiter: &ArbiterIdentity) -> Result<Case, Rejected> {
        let acceptance = self.acceptance.clone().map(Signed::parse).transpose()?;
        let (request, offer) = (Signed::parse(self.request.clone())?, Signed::parse(self.offer.clone())?);
        Case::admit(arbiter, request, offer, acceptance, Escrows::default())
    }
}

/// Names a stored content: a deposit, or a signature out of escrow. It is sealed to the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContentId(pub u64);

/// Everything durable about one exchange.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The secret of the exchange (R-530); there from the first recording on.
    pub key: Option<ExchangeKey>,
    /// The one verdict.
    pub verdict: Option<Logged<Verdict>>,
    /// One attestation a depositor.
    pub attestations: ByRole<Option<Logged<Attestation>>>,
    /// What is held for the peer, by the role whose item it is: the content attested, or the signature out of escrow.
    pub held: ByRole<Option<ContentId>>,
    /// What ledgers said to the orders that follow from the verdict, by whose payment it is, as they were heard.
    pub answers: ByRole<Vec<LedgerAnswer>>,
    /// The request that waits for its time, by who asked; gone once there is a verdict.
    pub standing: ByRole<Option<Standing>>,
    /// How many leaves the exchange has.
    pub leaves: u32,
    /// The newest of them.
    pub last_leaf: Option<LeafIndex>,
}

impl Record {
    /// Of an exchange that was never recorded. `key` is fresh and random.
    pub fn new(key: ExchangeKey) -> Self {
        Self { key: Some(key), ..Self::default() }
    }

    /// Whether nothing is recorded: no statement, and no request that stands.
    pub fn is_blank(&self) -> bool {
        self.leaves == 0 && self.standing == ByRole::default()
    }

    /// Whether nothing about the exchange can be decided any more but what the log has already (R-533).
    fn is_over(&self, now: UnixMillis) -> Result<(), NotErasable> {
        if self.is_blank() {
            return Err(NotErasable::Unknown);
        }
        if self.standing != ByRole::default() {
            return Err(NotErasable::Standing);
        }
        if self.verdict.is_some() {
            return if self.open_orders().is_empty() { Ok(()) } else { Err(NotErasable::OrderOpen) };
        }
        let offer = self.attestations.iter().find_map(|(_, it)| it.as_ref().map(|logged| &logged.offer));
        let offer = offer.and_then(|offer| Signed::<Offer>::parse(offer.clone()).ok());
        let deadline = offer.and_then(|offer| offer.unverified().complain_by).unwrap_or(UnixMillis(u64::MAX));
        let after = UnixMillis(deadline.0.saturating_add(OVER_AFTER.0));
        if after <= now { Ok(()) } else { Err(NotErasable::NotOver { after }) }
    }

    /// The secret of the exchange.
    fn key(&self) -> &ExchangeKey {
        self.key.as_ref().expect("invariant R-530: who files gives a new exchange its key")
    }

    /// What [`decide`] needs to know.
    pub fn known(&self) -> Known<'_> {
        Known {
            verdict: self.verdict.as_ref().map(|logged| &logged.statement),
            attestations: self
                .attestations
                .map(|_, it| it.as_ref().map(|logged| (&logged.statement, digest_of(&logged.statement)))),
        }
    }
}

impl Record {
    /// The orders to ledgers that follow from the verdict and were not answered yet (R-423), by whose payment it is.
    pub fn open_orders(&self) -> Vec<(Role, PaymentOrder)> {
        let answers = |role| self.answers.of(role).iter();
        let open = |(role, order): &(Role, PaymentOrder)| !answers(*role).any(|it| it.is_about(&order.terms));
        self.orders().into_iter().filter(open).collect()
    }

    /// Every order to a ledger that follows from the verdict.
    pub fn orders(&self) -> Vec<(Role, PaymentOrder)> {
        let Some(logged) = &self.verdict else { return Vec::new() };
        let Ok(offer) = Signed::<Offer>::parse(logged.offer.clone()) else { return Vec::new() };
        // Only money that is held needs the offer verified again: it comes from the store.
        let payments = |role| offer.unverified().item(role).description.payments();
        if Role::BOTH.into_iter().flat_map(payments).all(|payment| payment.hold.is_none()) {
            return Vec::new();
        }
        let offer = offer.verify_offer();
        offer.map(|offer| payment_orders(&offer, &logged.statement.ruling)).unwrap_or_default()
    }
}

/// Which statement of a record answers a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The attestation of this party's deposit.
    Attestation(Role),
    /// What is held for the requester, to be read from the store.
    Content(ContentId),
    /// The verdict.
    Verdict,
}

/// Decisions waiting for one commit.
pub struct Batch<'a> {
    desk: &'a Desk,
    veil: &'a dyn Veil,
    head: Head,
    records: BTreeMap<ExchangeId, Record>,
    erased: Vec<Erased>,
    policy: Option<Digest>,
    leaves: Vec<Vec<u8>>,
    nodes: Vec<(NodeId, Digest)>,
}

/// What to commit, all or nothing.
#[derive(Clone, Debug)]
pub struct Closed {
    /// The new head.
    pub head: Head,
    /// Records that changed.
    pub records: BTreeMap<ExchangeId, Record>,
    /// Exchanges that are erased; none of them is in `records`.
    pub erased: Vec<Erased>,
    /// The policy that is declared from now on, if it changed.
    pub policy: Option<Digest>,
    /// New leaves; the last has index `head.frontier.size() - 1`.
    pub leaves: Vec<Vec<u8>>,
    /// Tree nodes that became complete.
    pub nodes: Vec<(NodeId, Digest)>,
}

impl<'a> Batch<'a> {
    /// Starts planning after `head`.
    pub fn new(desk: &'a Desk, veil: &'a dyn Veil, head: Head) -> Self {
        let (records, erased, leaves, nodes) = (BTreeMap::new(), Vec::new(), Vec::new(), Vec::new());
        Self { desk, veil, head, records, erased, policy: None, leaves, nodes }
    }

    /// The batch's own version of a record, if it changed one already.
    pub fn record(&self, exchange: &ExchangeId) -> Option<&Record> {
        self.records.get(exchange)
    }

    /// The time used for a case that arrives at `now` (R-409).
    pub fn clamp(&self, now: UnixMillis) -> UnixMillis {
        self.head.time.max(now)
    }

    /// How many leaves were planned.
    pub fn len(&self) -> usize {
        self.leaves.len()
    }

    /// Whether there is nothing to commit.
    pub fn is_empty(&self) -> bool {
        self.leaves.is_empty() && self.records.is_empty() // An erasure and a new policy have leaves.
    }

    /// Decides one case. `durable` is the store's record, or [`Record::new`]; the batch's own version comes first. `held` are the deposit or
    /// the opened escrows of the case: what fits, and where its sealed bytes are.
    pub fn file(
        &mut self,
        case: &Case,
        durable: Record,
        now: UnixMillis,
        held: ByRole<Option<(&FitContent, ContentId)>>,
    ) -> Result<Reply, Refused> {
        let now = self.clamp(now);
        if self.is_erased(&case.exchange_id()) {
            return Err(Refused::Erased);
        }
        let record = self.records.get(&case.exchange_id()).cloned().unwrap_or(durable);
        let next = LeafIndex(self.head.frontier.size());
        let fits = held.map(|_, it| it.map(|(fit, _)| fit));
        let decision = match decide(case, record.known(), now, next, fits) {
            Ok(decision) => decision,
            Err(refused) => {
                self.stand(case, record, refused.until());
                return Err(refused);
            }
        };
        match decision {
            Decision::ReplayAttestation => Ok(Reply::Attestation(case.request().role)),
            Decision::ReplayVerdict => Ok(Reply::Verdict),
            Decision::Release => {
                let content = record.held.of(case.fetches());
                content.map(Reply::Content).ok_or(Refused::DepositNotReleased)
            }
            Decision::Attest(attestation) => {
                let depositor = attestation.depositor;
                let Some((_, content)) = *held.of(depositor) else { return Err(Refused::DepositRequired) };
                let none = record.attestations.of(depositor).is_none();
                assert!(none, "invariant R-401: an attestation is made once");
                let rule = deposit_rule(case.offer().selection.protocol);
                let nothing = ByRole::default();
                let logged =
                    self.log(case, &record, attestation, nothing, (Event::DepositAccepted, rule), now);
                let mut record = record;
                *record.attestations.of_mut(depositor) = Some(logged);
                *record.held.of_mut(depositor) = Some(content);
                self.keep(case.exchange_id(), record);
                Ok(Reply::Attestation(depositor))
            }
            Decision::Rule(verdict) => {
                let again = off(Countermeasure::OneVerdict);
                assert!(record.verdict.is_none() || again, "invariant R-401: a verdict is written once");
                let mut kept = record.held;
                if matches!(verdict.ruling, Ruling::Replaced(_)) {
                    for role in case.to_open() {
                        let opened = held.of(role).ok_or(Refused::EscrowRequired { signer: role.name() })?;
                        *kept.of_mut(role) = Some(opened.1);
                    }
                }
                let rule = crate::evidence::leaf::REASONS.into_iter().find(|rule| *rule == verdict.rule);
                let rule = rule.unwrap_or("R-401");
                let event = Ruled::event_of(&verdict);
                let relied = relied_on(&record, &verdict, &self.desk.arbiter);
                let logged = self.log(case, &record, verdict, relied, (event, rule), now);
                let standing = ByRole::default();
                let record = Record { verdict: Some(logged), held: kept, standing, ..record };
                self.keep(case.exchange_id(), record);
                Ok(Reply::Verdict)
            }
        }
    }

    /// Logs what a ledger said to an order of the arbiter (R-423). `receipt` was verified under the key of that ledger.
    /// Only the first final answer to each order that follows from the verdict counts: `false` if this is none.
    pub fn hear(
        &mut self,
        exchange: ExchangeId,
        durable: Record,
        role: Role,
        receipt: &Verified<PaymentReceipt>,
        now: UnixMillis,
    ) -> bool {
        let now = self.clamp(now);
        let mut record = self.records.get(&exchange).cloned().unwrap_or(durable);
        let expected = record.open_orders().into_iter().any(|(whose, order)| {
            whose == role && receipt.terms == order.terms && receipt.signer() == order.terms.payment.ledger
        });
        if !expected || !receipt.is_final() || self.is_erased(&exchange) {
            return false;
        }
        let event = match receipt.state {
            PaymentState::Posted(_) => Event::PaymentPosted,
            _ => Event::PaymentVoided,
        };
        let value = Cow::Borrowed(receipt.envelope().payload());
        let fields = record.key().fields(&receipt.digest(), [("receipt", value)]);
        let leaf = Leaf {
            index: LeafIndex(self.head.frontier.size()),
            event,
            reason: "R-423",
            time: now,
            clock_uncertainty: self.desk.clock_uncertainty,
            exchange: self.veil.pseudonym(&exchange),
            sequence: record.leaves,
            previous: record.last_leaf,
            policy: Digest::of(&[RULES.as_bytes()]),
            build: self.desk.build,
            issuer: issuer_id(&self.desk.arbiter.key),
            token: receipt.digest(),
            record: record_root(&fields),
        };
        let leaf = leaf.encode();
        self.append(leaf.clone(), now);
        let answer = LedgerAnswer { receipt: receipt.envelope().clone(), leaf };
        record.answers.of_mut(role).push(answer);
        self.keep(exchange, record);
        true
    }

    /// Destroys what is kept about an exchange that is over, and logs that (R-533): the last leaf of its chain.
    pub fn erase(
        &mut self,
        exchange: ExchangeId,
        durable: Record,
        reason: ErasureReason,
        now: UnixMillis,
    ) -> Result<LeafIndex, NotErasable> {
        let now = self.clamp(now);
        if self.is_erased(&exchange) {
            return Err(NotErasable::Unknown);
        }
        let record = self.records.get(&exchange).cloned().unwrap_or(durable);
        record.is_over(now)?;
        let pseudonym = self.veil.pseudonym(&exchange);
        let (event, token) = (Event::Erasure, reason.token(&pseudonym));
        let chain = (pseudonym, record.leaves, record.last_leaf);
        let leaf = self.bare((event, "R-533"), chain, token, now);
        let contents = record.held.iter().filter_map(|(_, content)| *content).collect();
        self.records.remove(&exchange);
        self.erased.push(Erased { exchange: Some(exchange), pseudonym, leaf, contents });
        Ok(leaf)
    }

    /// Logs what the arbiter says of itself (R-535, R-536, R-537).
    pub fn note(&mut self, notice: Notice, now: UnixMillis) -> LeafIndex {
        let now = self.clamp(now);
        let (event, reason, token) = notice.parts();
        if let Notice::PolicyChange(policy) = notice {
            self.policy = Some(policy);
        }
        self.bare((event, reason), OF_THE_LOG, token, now)
    }

    /// Logs the beginning of the log: its origin, keys and rules, as leaf 0 (R-502).
    pub fn genesis(&mut self, now: UnixMillis) {
        assert_eq!(self.head.frontier.size(), 0, "invariant R-502: genesis is leaf 0");
        self.log_itself((Event::Genesis, "R-502"), genesis_token(&self.desk.arbiter), now);
    }

    /// Puts `leaves` back that the store lost, exactly as they were hashed, and logs that (R-525). The caller has
    /// compared them with a checkpoint of this log.
    pub fn restore(&mut self, leaves: Vec<Vec<u8>>, now: UnixMillis) -> Result<(), Invalid> {
        for bytes in leaves {
            let leaf = Leaf::decode(&bytes)?;
            if leaf.index.0 != self.head.frontier.size() {
                return Err(Invalid::FieldValue { field: "id" });
            }
            let time = self.clamp(leaf.time);
            self.append(bytes, time);
        }
        let token = restore_token(&self.desk.arbiter, &self.head.frontier);
        self.log_itself((Event::Restore, "R-525"), token, now);
        Ok(())
    }

    /// A leaf about the log and no exchange.
    fn log_itself(&mut self, (event, reason): (Event, &'static str), token: Digest, now: UnixMillis) {
        let now = self.clamp(now);
        self.bare((event, reason), OF_THE_LOG, token, now);
    }

    /// Ends planning. Every new statement learns the tree it is proved in.
    pub fn close(mut self) -> Closed {
        let (size, root) = (self.head.frontier.size(), self.head.frontier.root());
        let first_new = size.saturating_sub(u64::try_from(self.leaves.len()).unwrap_or(u64::MAX));
        for record in self.records.values_mut() {
            if let Some(logged) = &mut record.verdict
                && logged.statement.leaf_index.0 >= first_new
            {
                (logged.tree_size, logged.root) = (size, root);
            }
            for role in Role::BOTH {
                if let Some(logged) = record.attestations.of_mut(role)
                    && logged.statement.leaf_index.0 >= first_new
                {
                    (logged.tree_size, logged.root) = (size, root);
                }
            }
        }
        let Self { head, records, erased, policy, leaves, nodes, .. } = self;
        Closed { head, records, erased, policy, leaves, nodes }
    }

    fn log<T: Payload>(
        &mut self,
        case: &Case,
        record: &Record,
        statement: T,
        attestations: ByRole<Option<Envelope>>,
        (event, reason): (Event, &'static str),
        now: UnixMillis,
    ) -> Logged<T> {
        let arbiter = &self.desk.arbiter;
        let draft = Draft::new(&statement);
        let evidence = Evidence {
            request: case.request().envelope().clone(),
            acceptance: case.agreement().map(|agreement| agreement.acceptance().envelope().clone()),
            attestations,
            escrows: case.escrows().clone(),
        };
        let offer = case.offer().envelope().clone();
        let fields = record.key().fields(&draft.digest, record_values(&offer, &evidence, &draft.unsigned));
        let leaf = Leaf {
            index: LeafIndex(self.head.frontier.size()),
            event,
            reason,
            time: now,
            clock_uncertainty: self.desk.clock_uncertainty,
            exchange: self.veil.pseudonym(&case.exchange_id()),
            sequence: record.leaves,
            previous: record.last_leaf,
            policy: Digest::of(&[RULES.as_bytes()]),
            build: self.desk.build,
            issuer: issuer_id(&arbiter.key),
            token: draft.digest,
            record: record_root(&fields),
        };
        let bytes = leaf.encode();
        self.append(bytes.clone(), now);
        Logged {
            statement,
            offer,
            request: evidence.request,
            acceptance: evidence.acceptance,
            escrows: evidence.escrows,
            leaf: bytes,
            tree_size: 0,
            root: Digest::from_bytes([0; 32]),
        }
    }

    /// R-424: keeps a request that is too early; the first of each party counts, and no leaf tells of it. A request that
    /// stood and is refused for another reason now can never be granted any more, and stands no longer.
    fn stand(&mut self, case: &Case, mut record: Record, until: Option<UnixMillis>) {
        let standing = record.standing.of_mut(case.request().role);
        let same = standing.as_ref().is_some_and(|it| it.request == *case.request().envelope());
        match (until, &standing) {
            (Some(at), None) => {
                *standing = Some(Standing {
                    at,
                    request: case.request().envelope().clone(),
                    offer: case.offer().envelope().clone(),
                    acceptance: case.agreement().map(|it| it.acceptance().envelope().clone()),
                });
            }
            (None, Some(_)) if same => *standing = None,
            _ => return,
        }
        self.records.insert(case.exchange_id(), record);
    }

    /// Appends a leaf with an empty record: place, event, rule and token say everything.
    fn bare(
        &mut self,
        (event, reason): (Event, &'static str),
        (exchange, sequence, previous): (Pseudonym, u32, Option<LeafIndex>),
        token: Digest,
        now: UnixMillis,
    ) -> LeafIndex {
        let index = LeafIndex(self.head.frontier.size());
        let leaf = Leaf {
            index,
            event,
            reason,
            time: now,
            clock_uncertainty: self.desk.clock_uncertainty,
            exchange,
            sequence,
            previous,
            policy: Digest::of(&[RULES.as_bytes()]),
            build: self.desk.build,
            issuer: issuer_id(&self.desk.arbiter.key),
            token,
            record: record_root(&[]),
        };
        self.append(leaf.encode(), now);
        index
    }

    fn is_erased(&self, exchange: &ExchangeId) -> bool {
        self.erased.iter().any(|it| it.exchange == Some(*exchange))
    }

    fn append(&mut self, leaf: Vec<u8>, now: UnixMillis) {
        self.nodes.extend(self.head.frontier.append(leaf_hash(&leaf)));
        self.leaves.push(leaf);
        self.head.time = now;
    }

    fn keep(&mut self, exchange: ExchangeId, record: Record) {
        let leaf = LeafIndex(self.head.frontier.size().saturating_sub(1));
        let record = Record { leaves: record.leaves.saturating_add(1), last_leaf: Some(leaf), ..record };
        self.records.insert(exchange, record);
    }
}

/// The place of a leaf that is about no exchange.
const OF_THE_LOG: (Pseudonym, u32, Option<LeafIndex>) = (Pseudonym([0; 16]), 0, None);

/// What leaf 0 commits to: everything that an agreement names about the arbiter.
pub fn genesis_token(arbiter: &ArbiterIdentity) -> Digest {
    Digest::of(&[
        b"arbiter genesis v1\0",
        arbiter.key.as_bytes(),
        arbiter.log_key.as_bytes(),
        arbiter.log_origin.as_str().as_bytes(),
        b"\0",
        arbiter.rules.as_bytes(),
    ])
}

/// What a restore leaf commits to: the text of the checkpoint of all leaves before it (R-525).
pub fn restore_token(arbiter: &ArbiterIdentity, before: &Frontier) -> Digest {
    let (origin, size, root) = (arbiter.log_origin.clone(), before.size(), before.root());
    Digest::of(&[Checkpoint { origin, size, root }.text().as_bytes()])
}

/// The attestations that a verdict names as evidence.
fn relied_on(record: &Record, verdict: &Verdict, arbiter: &ArbiterIdentity) -> ByRole<Option<Envelope>> {
    record.attestations.map(|_, it| {
        let logged = it.as_ref()?;
        let named = verdict.evidence.contains(&digest_of(&logged.statement));
        // Unsigned: the record commits to payloads, and signatures are made after the commit.
        named.then(|| Envelope::unsigned(&logged.statement, arbiter.key))
    })
}

struct Draft {
    unsigned: Envelope,
    digest: Digest,
}

impl Draft {
    fn new<T: Payload>(statement: &T) -> Self {
        let unsigned = Envelope::unsigned(statement, crate::ids::PublicKey::from_bytes([0; 32]));
        Self { digest: Digest::of(&[&pae(T::TYPE, unsigned.payload())]), unsigned }
    }
}

/// What signing a receipt takes. The caller holds it only after the commit (R-504).
pub struct Seals<'a> {
    /// Signs statements and answers.
    pub arbiter: &'a dyn Signer,
    /// Signs checkpoints.
    pub log: &'a dyn Signer,
}

impl Seals<'_> {
    /// Signs a checkpoint of the log as a note (tlog-checkpoint).
    pub fn checkpoint(&self, checkpoint: &Checkpoint) -> Result<String, NoteError> {
        let key = VerifierKey::new(checkpoint.origin.as_str(), self.log.public_key())?;
        let text = checkpoint.text();
        let line = signature_line(&key, self.log.sign(text.as_bytes()));
        Ok(Note::new(text, vec![line])?.to_string())
    }

    /// Makes the receipt for a durable statement, as the answer to `request`. Signatures are deterministic:
    /// the same record and request give the same bytes for ever (F6).
    pub fn issue<T: Payload + Clone>(
        &self,
        desk: &Desk,
        record: &Record,
        logged: &Logged<T>,
        request: Digest,
        leaf_index: LeafIndex,
        inclusion_proof: Vec<Digest>,
    ) -> Result<Receipt, NoteError> {
        let statement = Verified::sign(logged.statement.clone(), self.arbiter);
        let relied = record.verdict.as_ref().filter(|_| T::TYPE == Verdict::TYPE);
        let attestations = record.attestations.map(|_, it| {
            let deposit = it.as_ref()?;
            let named = relied?.statement.evidence.contains(&digest_of(&deposit.statement));
            named.then(|| Verified::sign(deposit.statement.clone(), self.arbiter).envelope().clone())
        });
        let evidence = Evidence {
            request: logged.request.clone(),
            acceptance: logged.acceptance.clone(),
            attestations,
            escrows: logged.escrows.clone(),
        };
        let answer = Verified::sign(
            Answer {
                request,
                statement: statement.digest(),
                leaf_index,
                tree_size: logged.tree_size,
                root: logged.root,
            },
            self.arbiter,
        );
        let checkpoint = self.checkpoint(&Checkpoint {
            origin: desk.arbiter.log_origin.clone(),
            size: logged.tree_size,
            root: logged.root,
        })?;
        Ok(Receipt {
            record_salts: record_values(&logged.offer, &evidence, statement.envelope())
                .into_iter()
                .map(|(name, _)| record.key().salt(&statement.digest(), name))
                .collect(),
            statement: statement.envelope().clone(),
            answer: answer.envelope().clone(),
            leaf: logged.leaf.clone(),
            inclusion_proof,
            checkpoint,
            evidence,
        })
    }
}
