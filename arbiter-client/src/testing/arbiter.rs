//! An arbiter in the process: the real rules, log and receipts over a store in memory. What its verdicts order ledgers to
//! do is told to the ledgers that it was given, after the commit.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arbiter_protocol::crypto::{MemorySigner, Sealer, Signer as _};
use arbiter_protocol::error::{Refused, Rejected};
use arbiter_protocol::escrow::EscrowSecret;
use arbiter_protocol::evidence::checkpoint::Origin;
use arbiter_protocol::evidence::leaf::Pseudonym;
use arbiter_protocol::evidence::merkle::{Frontier, NodeId, consistency_proof, inclusion_proof};
use arbiter_protocol::evidence::record::ExchangeKey;
use arbiter_protocol::exchange::kind::content::{ContentCheck, FitContent};
use arbiter_protocol::exchange::kind::detached::Place;
use arbiter_protocol::exchange::selection::{ByRole, Role};
use arbiter_protocol::ids::{Digest, ExchangeId, LeafIndex};
use arbiter_protocol::limits;
use arbiter_protocol::message::agreement::{ArbiterIdentity, seal_context};
use arbiter_protocol::message::escrow_epoch::EscrowEpoch;
use arbiter_protocol::message::verdict::{Answer, Replacement, Ruling, Verdict};
use arbiter_protocol::role::arbiter::{Case, Decision, RULES, decide};
use arbiter_protocol::ruling::receipt::Receipt;
use arbiter_protocol::ruling::sequencer::{Batch, ContentId, Desk, Head, Record, Reply, Seals, Veil};
use arbiter_protocol::statement::{Signed, Verified};
use arbiter_protocol::time::{DurationMillis, UnixMillis};
use async_trait::async_trait;
use zeroize::Zeroizing;

use crate::arbiter::{ArbiterPort, Deposit, Filing, PortError, Reason};
use crate::clock::Clock;
use crate::random;
use crate::testing::ledger::TestLedger;

/// What the arbiter does wrong on request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Changes a bit of what it held for a party.
    AlteredContent,
    /// Rewrites its log: begins a new one under the same keys.
    ForkedLog,
    /// Signs a replacement although nobody accepted.
    ForgedVerdict,
    /// Binds its answer to another request (attack K3).
    OtherRequest,
    /// Forgets its verdicts, and makes others when asked.
    SecondVerdict,
}

/// An arbiter in the process. Clones are the same arbiter.
#[derive(Clone)]
pub struct TestArbiter(Arc<Inner>);

struct Inner {
    desk: Desk,
    key: MemorySigner,
    log_key: MemorySigner,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    head: Option<Head>,
    nodes: BTreeMap<NodeId, Digest>,
    records: BTreeMap<ExchangeId, Record>,
    contents: Vec<Vec<u8>>,
    epochs: Vec<(Arc<EscrowSecret>, Verified<EscrowEpoch>)>,
    calls: BTreeMap<&'static str, u64>,
    ledgers: Vec<TestLedger>,
    down: bool,
    lie: Option<Lie>,
}

/// What fits, by the role whose item it is, and its bytes.
type Held = ByRole<Option<(FitContent, Vec<u8>)>>;

/// How long the first escrow key is good: 90 days.
const EPOCH: DurationMillis = DurationMillis(90 * 24 * 3_600_000);

struct TestVeil;

impl Veil for TestVeil {
    fn pseudonym(&self, exchange: &ExchangeId) -> Pseudonym {
        Pseudonym(half(&Digest::of(&[b"pseudonym ", exchange.as_bytes()])))
    }
}

fn half(digest: &Digest) -> [u8; 16] {
    let mut half = [0; 16];
    half.iter_mut().zip(digest.as_bytes()).for_each(|(to, from)| *to = *from);
    half
}

impl TestArbiter {
    /// An arbiter with an empty log, always with the same keys.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let key = MemorySigner::from_seed(&Zeroizing::new([101; 32]));
        let log_key = MemorySigner::from_seed(&Zeroizing::new([102; 32]));
        let origin = Origin::parse("arbiter.test/evidence").expect("invariant: a valid origin");
        let arbiter = ArbiterIdentity {
            key: key.public_key(),
            log_key: log_key.public_key(),
            log_origin: origin,
            rules: RULES.to_owned(),
        };
        let desk = Desk { arbiter, build: Digest::of(&[b"test"]), clock_uncertainty: DurationMillis(0) };
        let arbiter = Self(Arc::new(Inner { desk, key, log_key, clock, state: Mutex::default() }));
        arbiter.begin_log();
        let until = arbiter.0.clock.now().after(EPOCH);
        arbiter.begin_epoch(until);
        arbiter
    }

    /// The newest escrow key.
    pub fn escrow_epoch(&self) -> Verified<EscrowEpoch> {
        let newest = self.state().epochs.last().map(|(_, epoch)| epoch.clone());
        newest.expect("invariant: there is an epoch from the beginning")
    }

    /// Begins a new escrow key that is good until then. The earlier ones still open.
    pub fn begin_epoch(&self, until: UnixMillis) -> Verified<EscrowEpoch> {
        let mut state = self.state();
        let arbiter = *self.0.key.public_key().as_bytes();
        let epoch = u64::try_from(state.epochs.len()).unwrap_or(u64::MAX).saturating_add(1);
        let secret = EscrowSecret::from_seed(&Zeroizing::new([103; 32]), arbiter, epoch);
        let secret = secret.expect("invariant: a hash gives a key");
        let key = *secret.public().as_bytes();
        let signed = Verified::sign(EscrowEpoch { epoch, key, from: self.0.clock.now(), until }, &self.0.key);
        state.epochs.push((Arc::new(secret), signed.clone()));
        signed
    }

    /// What agreements name.
    pub fn identity(&self) -> ArbiterIdentity {
        self.0.desk.arbiter.clone()
    }

    /// How often it was called, whatever for.
    pub fn calls(&self) -> u64 {
        self.state().calls.values().sum()
    }

    /// How often each call was made.
    pub fn counters(&self) -> BTreeMap<&'static str, u64> {
        self.state().calls.clone()
    }

    /// Reaches this ledger from now on.
    pub fn reach(&self, ledger: &TestLedger) {
        self.state().ledgers.push(ledger.clone());
    }

    /// D6: tells the ledgers what follows from a verdict. A ledger that is down is told by a later call.
    pub fn carry_out(&self) {
        let (ledgers, orders) = {
            let state = self.state();
            let orders: Vec<_> = state.records.values().flat_map(Record::orders).collect();
            (state.ledgers.clone(), orders)
        };
        for (_, order) in orders {
            let order = Verified::sign(order, &self.0.key);
            for ledger in &ledgers {
                ledger.told_by_arbiter(order.envelope());
            }
        }
    }

    /// Whether it answers at all.
    pub fn set_down(&self, down: bool) {
        self.state().down = down;
    }

    /// From now on it lies.
    pub fn lie(&self, lie: Lie) {
        self.state().lie = Some(lie);
        match lie {
            Lie::ForkedLog => self.begin_log(),
            Lie::SecondVerdict => self.state().records.values_mut().for_each(|it| it.verdict = None),
            Lie::AlteredContent | Lie::ForgedVerdict | Lie::OtherRequest => {}
        }
    }

    /// The verdict on an exchange: for judging whether an exchange ended fair.
    pub fn verdict(&self, id: &ExchangeId) -> Option<Verdict> {
        Some(self.state().records.get(id)?.verdict.as_ref()?.statement.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin_log(&self) {
        let mut state = self.state();
        state.nodes.clear();
        state.records.clear();
        let head = Head { frontier: Frontier::new(), time: UnixMillis(1) };
        let mut batch = Batch::new(&self.0.desk, &TestVeil, head);
        // Another time makes another leaf 0, and so another log.
        batch.genesis(self.0.clock.now());
        let closed = batch.close();
        state.nodes.extend(closed.nodes);
        state.head = Some(closed.head);
    }

    fn count(&self, call: &'static str) -> Result<(), PortError> {
        let mut state = self.state();
        if state.down {
            let message = "switched off".to_owned();
            return Err(PortError::Unavailable { message, retry_after: Some(Duration::from_millis(50)) });
        }
        *state.calls.entry(call).or_default() += 1;
        Ok(())
    }

    fn ruled(&self, filing: &Filing) -> Result<Receipt, PortError> {
        let receipt = self.rule(filing, None);
        self.carry_out();
        receipt
    }

    fn rule(&self, filing: &Filing, deposit: Option<(FitContent, Vec<u8>)>) -> Result<Receipt, PortError> {
        let case = self.admit(filing)?;
        let mut state = self.state();
        let mut held = self.open(&state, &case)?;
        if deposit.is_some() {
            *held.of_mut(filing.request.role) = deposit;
        }
        let id = case.exchange_id();
        let request = case.request().digest();
        let reply = self.file(&mut state, &case, held)?;
        let record = state.records.get(&id).cloned().unwrap_or_default();
        let seals = Seals { arbiter: &self.0.key, log: &self.0.log_key };
        let proof = |index, size| {
            inclusion_proof(index, size, |node| state.nodes.get(&node).copied().ok_or(())).unwrap_or_default()
        };
        let bound_to = match state.lie {
            Some(Lie::OtherRequest) => Digest::of(&[b"another request"]),
            _ => request,
        };
        let desk = &self.0.desk;
        let attestation = |role| record.attestations.of(role).as_ref();
        let receipt = match (reply, &record.verdict, attestation(filing.request.role)) {
            (Reply::Verdict, Some(logged), _) => {
                let index = logged.statement.leaf_index;
                let proof = proof(index.0, logged.tree_size);
                seals.issue(desk, &record, logged, bound_to, index, proof)
            }
            (Reply::Attestation(_), _, Some(logged)) => {
                let index = logged.statement.leaf_index;
                let proof = proof(index.0, logged.tree_size);
                seals.issue(desk, &record, logged, bound_to, index, proof)
            }
            _ => return Err(refused(Refused::VerdictNotFound)),
        };
        let receipt = receipt.map_err(|why| PortError::Content(why.to_string()))?;
        Ok(match (state.lie, &record.verdict) {
            (Some(Lie::ForgedVerdict), Some(logged)) => self.forge(receipt, &logged.statement, &case),
            _ => receipt,
        })
    }

    /// the signatures out of escrow, if a verdict would be made now.
    fn open(&self, state: &State, case: &Case) -> Result<Held, PortError> {
        let mut held = Held::default();
        let record = state.records.get(&case.exchange_id()).cloned().unwrap_or_default();
        let now = self.0.clock.now();
        let decision = decide(case, record.known(), now, LeafIndex(0), ByRole::default());
        let (Ok(Decision::Rule(_)), Some(agreement), Some(terms)) =
            (decision, case.agreement(), &case.offer().escrow)
        else {
            return Ok(held); // Decided again below: refused, or a replay.
        };
        for role in case.to_open() {
            let Some(pledge) = case.escrows().of(role) else { continue };
            let epoch = state.epochs.iter().find(|(_, epoch)| **epoch == *terms.epoch);
            let (secret, _) = epoch.ok_or_else(|| refused(Refused::EscrowKeyUnknown))?;
            let place = Place::of(case.offer(), role, agreement.id());
            let opened = place.open_all(pledge.escrows(), secret);
            let opened = opened.map_err(|why| match place.check(pledge.clone()) {
                Err(_) => refusal(why.reason(), why.to_string()),
                Ok(_) => refusal("INTERNAL", "a true escrow does not open".to_owned()),
            });
            let (fit, signature) = opened?;
            *held.of_mut(role) = Some((fit, signature.to_vec()));
        }
        Ok(held)
    }

    /// Decides, "commits" and applies.
    fn file(&self, state: &mut State, case: &Case, held: Held) -> Result<Reply, PortError> {
        let head = state.head.clone().ok_or_else(|| refused(Refused::VerdictNotFound))?;
        let mut batch = Batch::new(&self.0.desk, &TestVeil, head);
        let id = case.exchange_id();
        // The same every time: receipts of this arbiter can be compared.
        let key = || ExchangeKey::new(Zeroizing::new(*Digest::of(&[b"key ", id.as_bytes()]).as_bytes()));
        let durable = state.records.get(&id).cloned().unwrap_or_else(|| Record::new(key()));
        let mut next = u64::try_from(state.contents.len()).unwrap_or(u64::MAX);
        let fits = held.map(|_, it| {
            let (fit, _) = it.as_ref()?;
            next = next.saturating_add(1);
            Some((fit, ContentId(next.saturating_sub(1))))
        });
        let reply = batch.file(case, durable, self.0.clock.now(), fits).map_err(refused)?;
        let closed = batch.close();
        if !closed.leaves.is_empty() {
            let bytes = [held.originator, held.responder].into_iter().flatten().map(|(_, bytes)| bytes);
            state.contents.extend(bytes);
        }
        state.head = Some(closed.head);
        state.records.extend(closed.records);
        state.nodes.extend(closed.nodes);
        Ok(reply)
    }

    fn admit(&self, filing: &Filing) -> Result<Case, PortError> {
        let acceptance = filing.acceptance.as_ref().map(|it| it.envelope().clone());
        let admitted = || -> Result<Case, Rejected> {
            Case::admit(
                &self.0.desk.arbiter,
                Signed::parse(filing.request.envelope().clone())?,
                Signed::parse(filing.offer.envelope().clone())?,
                acceptance.map(Signed::parse).transpose()?,
                filing.escrows.clone(),
            )
        };
        admitted().map_err(|why| refusal(why.reason(), why.to_string()))
    }

    /// A replacement of both items, signed, without the rules' consent.
    fn forge(&self, receipt: Receipt, verdict: &Verdict, case: &Case) -> Receipt {
        let item = |role| Replacement { role, item: case.offer().item(role).clone() };
        let ruling = Ruling::Replaced(vec![item(Role::Originator), item(Role::Responder)]);
        let forged = Verdict { ruling, rule: "R-404".to_owned(), ..verdict.clone() };
        let statement = Verified::sign(forged, &self.0.key);
        let answer = Signed::<Answer>::parse(receipt.answer.clone()).map(|it| it.unverified().clone());
        let Ok(answer) = answer else { return receipt };
        let answer = Verified::sign(Answer { statement: statement.digest(), ..answer }, &self.0.key);
        Receipt { statement: statement.envelope().clone(), answer: answer.envelope().clone(), ..receipt }
    }
}

#[async_trait]
impl ArbiterPort for TestArbiter {
    async fn abort(&self, filing: &Filing) -> Result<Receipt, PortError> {
        self.count("AbortExchange")?;
        self.ruled(filing)
    }

    async fn resolve(&self, filing: &Filing) -> Result<Receipt, PortError> {
        self.count("GenerateItem")?;
        self.ruled(filing)
    }

    async fn revoke(&self, filing: &Filing) -> Result<Receipt, PortError> {
        self.count("RevokeTransfer")?;
        self.ruled(filing)
    }

    async fn query(&self, filing: &Filing) -> Result<Receipt, PortError> {
        self.count("GetVerdict")?;
        self.rule(filing, None)
    }

    async fn deposit(&self, filing: &Filing, content: &Path) -> Result<Receipt, PortError> {
        self.count("VerifyTransfer")?;
        let (offer, role) = (&filing.offer, filing.request.role);
        let check = ContentCheck::of(offer, role, None);
        let check = check.filter(|_| offer.item(role).description.is_depositable());
        let mut check = check.ok_or_else(|| refused(Refused::DepositNotAllowed))?;
        let bytes = tokio::fs::read(content).await.map_err(|why| PortError::Content(why.to_string()))?;
        let fit = check.update(&bytes).and_then(|()| check.finish());
        let fit = fit.map_err(|unfit| refusal(unfit.reason(), unfit.to_string()))?;
        self.rule(filing, Some((fit, bytes)))
    }

    async fn fetch(&self, filing: &Filing) -> Result<Deposit, PortError> {
        self.count("FetchDeposit")?;
        let case = self.admit(filing)?;
        let mut state = self.state();
        let Reply::Content(ContentId(number)) = self.file(&mut state, &case, Held::default())? else {
            return Err(refused(Refused::DepositNotReleased));
        };
        let released = || -> Option<Deposit> {
            let mut content = state.contents.get(usize::try_from(number).ok()?)?.clone();
            if let (Some(Lie::AlteredContent), Some(byte)) = (state.lie, content.last_mut()) {
                *byte ^= 1;
            }
            let record = state.records.get(&case.exchange_id())?;
            let owner = case.request().role.peer();
            // A deposit is sealed under the agreement that it was made under.
            let agreement = match record.attestations.of(owner) {
                Some(deposit) => deposit.statement.agreement_id,
                None => record.verdict.as_ref()?.statement.agreement_id?,
            };
            let recipient = case.offer().party(case.request().role).sealing_key;
            let context = seal_context(&case.exchange_id(), &agreement, owner);
            let mut sealer = Sealer::new(&recipient, &context, &random::secret().ok()?).ok()?;
            let mut chunks = Vec::new();
            let mut plain = content.chunks(limits::CHUNK_BYTES).peekable();
            while let Some(chunk) = plain.next() {
                chunks.push(Ok(sealer.seal(chunk, plain.peek().is_none()).ok()?));
            }
            let encapsulated = sealer.encapsulated().to_vec();
            Some(Deposit { encapsulated, chunks: Box::pin(tokio_stream::iter(chunks)) })
        };
        released().ok_or_else(|| refused(Refused::DepositNotReleased))
    }

    async fn consistency(&self, old_size: u64, new_size: u64) -> Result<Vec<Digest>, PortError> {
        self.count("GetConsistencyProof")?;
        let state = self.state();
        let node = |node| state.nodes.get(&node).copied().ok_or(());
        consistency_proof(old_size, new_size, node)
            .map_err(|()| refusal("SIZE_OUT_OF_RANGE", "the log has not this many leaves".to_owned()))
    }
}

fn refused(why: Refused) -> PortError {
    refusal(why.reason(), why.to_string())
}

fn refusal(reason: &str, message: String) -> PortError {
    PortError::Refused { reason: Reason::parse(reason), message, metadata: BTreeMap::new() }
}
