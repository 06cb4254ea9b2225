//! The arbiter in the simulation: the engine that serves, on one thread, over a disk that fails.
//!
//! ```text
//!  reach(call) ─▶ served ─poll─▶ queue ─turn─▶ one commit ─▶ poll ─▶ answer        kill ─▶ boot: Engine::start's checks
//! ```
//! What stands between a call and the engine (admission, receiving a deposit, reading a content) is done as the service
//! does it. Each call is polled by hand, so others come in wherever it waits.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use arbiter::clock::ManualClock;
use arbiter::engine::{Draft, Ended, Engine, EngineError, Filed, Handle, Precheck, StartError, Turner};
use arbiter::keys::escrow::{EpochSeed, EscrowKeys};
use arbiter::keys::{Keys, Seeds};
use arbiter::store::ContentHead;
use arbiter::store::mem::{Disk, MemStore};
use arbiter_protocol::crypto::{Opener, Sealer};
use arbiter_protocol::error::{Refused, Rejected};
use arbiter_protocol::exchange::selection::{ByRole, Role};
use arbiter_protocol::ids::ExchangeId;
use arbiter_protocol::message::payment::{PaymentOrder, PaymentReceipt};
use arbiter_protocol::message::request::Action;
use arbiter_protocol::message::verdict::Verdict;
use arbiter_protocol::role::arbiter::Case;
use arbiter_protocol::ruling::receipt::Receipt;
use arbiter_protocol::statement::{Signed, Verified};
use arbiter_protocol::time::UnixMillis;
use zeroize::Zeroizing;

use crate::calls::Answer;
use crate::common::{COMPLAIN_BY, check_content, sealing};
use crate::disk::{self, Faulty, Plan};
use crate::event::{Defect, Fate};
use crate::front::Fronted;
use crate::oracle::{Oracle, Witnessed};
use crate::stage::{CaseKey, Content, admitted, stage};

/// What the engine answers.
enum Said {
    Receipt(Box<Receipt>),
    /// A content, sealed.
    Content(ContentHead, Vec<Vec<u8>>),
    Refused(Refused),
    Rejected(Rejected),
    Unfit,
    /// No ruling: ask again.
    Trouble(EngineError),
}

/// A call that the arbiter works on.
struct Served {
    key: CaseKey,
    /// Nobody waits for the answer any more.
    orphan: bool,
    /// From now on it goes to its end, whoever waits.
    settles: Rc<Cell<bool>>,
    work: Pin<Box<dyn Future<Output = Said>>>,
}

struct Running {
    engine: Handle,
    writer: Turner,
    store: Arc<Fronted<Faulty>>,
}

pub struct Court {
    disk: Disk,
    clock: ManualClock,
    running: Option<Running>,
    defect: Option<Defect>,
    /// Where commits are written down, for who wants to cut them.
    pub plan: Option<Plan>,
    served: Vec<Served>,
    /// What the arbiter does of itself: hears ledgers, and decides what has waited for its time.
    own: Vec<Pin<Box<dyn Future<Output = ()>>>>,
    /// Every call that this process has seen: a case stays filed when its caller goes away.
    pub reached: Vec<CaseKey>,
    /// Commits of processes that are gone, not yet looked at.
    witnessed: Vec<disk::Witnessed>,
}

fn seed(byte: u8) -> Zeroizing<[u8; 32]> {
    Zeroizing::new([byte; 32])
}

/// The keys of `Cast`.
pub fn keys() -> Keys {
    Keys::from_seeds(&Seeds { arbiter: seed(3), log: seed(4), veil: seed(9) })
}

fn escrow_keys() -> Arc<EscrowKeys> {
    static KEYS: OnceLock<Arc<EscrowKeys>> = OnceLock::new();
    let make = || {
        let until = UnixMillis(COMPLAIN_BY + 30 * 86_400_000);
        let epoch = EpochSeed { epoch: 3, seed: seed(0x61), from: UnixMillis(1_000), until };
        Arc::new(EscrowKeys::new(keys().arbiter(), &[epoch]).unwrap())
    };
    Arc::clone(KEYS.get_or_init(make))
}

impl Court {
    pub fn new(defect: Option<Defect>) -> Self {
        let clock = ManualClock::new(UnixMillis(1));
        Self {
            disk: Disk::default(),
            clock,
            running: None,
            defect,
            plan: None,
            served: Vec::new(),
            own: Vec::new(),
            reached: Vec::new(),
            witnessed: Vec::new(),
        }
    }

    pub const fn is_up(&self) -> bool {
        self.running.is_some()
    }

    pub fn engine(&self) -> Option<&Handle> {
        self.running.as_ref().map(|it| &it.engine)
    }

    /// The store as it is, for who looks at it from outside.
    pub fn store(&self) -> Option<&MemStore> {
        self.running.as_ref().map(|it| it.store.inner())
    }

    pub fn set_clock(&self, now: u64) {
        self.clock.set(UnixMillis(now));
    }

    fn open(&self) -> Result<MemStore, StartError> {
        Ok(MemStore::open(&self.disk, &stage().desk.arbiter, keys().vault())?)
    }

    /// A new process on the same disk. Its first commit may fail: then it is down again.
    pub fn boot(&mut self, fate: Fate) -> Result<(), String> {
        self.start(fate).map_err(|error| error.to_string())
    }

    fn start(&mut self, fate: Fate) -> Result<(), StartError> {
        assert!(self.running.is_none(), "one process at a time");
        self.reached.clear();
        let store = Faulty::new(self.open()?, self.defect, self.plan.clone());
        store.next_commit(fate);
        let clock = Box::new(self.clock.clone());
        match Engine::start_by_hand(stage().desk.clone(), keys(), store.clone(), clock) {
            Ok((engine, writer)) => {
                engine.replace_escrow_keys(escrow_keys());
                self.running = Some(Running { engine, writer, store });
                Ok(())
            }
            Err(error) => {
                self.witnessed.extend(store.witnessed());
                store.die(false);
                Err(error)
            }
        }
    }

    /// The process ends, with or without the power of the machine. Who was served hears nothing.
    pub fn kill(&mut self, power: bool) -> Vec<CaseKey> {
        let Some(running) = self.running.take() else { return Vec::new() };
        self.witnessed.extend(running.store.witnessed());
        running.store.die(power);
        self.own.clear();
        let waited = self.served.drain(..).filter(|it| !it.orphan).map(|it| it.key);
        waited.collect()
    }

    /// Commits that nobody has looked at yet.
    pub fn witnessed(&mut self) -> Vec<Witnessed> {
        let mut all = std::mem::take(&mut self.witnessed);
        all.extend(self.running.iter().flat_map(|it| it.store.witnessed()));
        let plain = |disk::Witnessed { commit, stored }: disk::Witnessed| Witnessed {
            records: commit.records,
            leaves: commit.leaves,
            size: commit.head.size,
            root: commit.head.root,
            time: commit.head.time.0,
            stored,
        };
        all.into_iter().map(plain).collect()
    }

    /// Whether the disk of this process has failed to do an access.
    pub fn was_blind(&self) -> bool {
        self.running.as_ref().is_some_and(|it| it.store.was_blind())
    }

    /// After `more` accesses to the store one fails, or none.
    pub fn go_blind(&self, more: Option<u32>) {
        self.running.iter().for_each(|it| it.store.go_blind(more));
    }

    /// How many calls are worked on.
    pub fn serves(&self) -> usize {
        self.served.len()
    }

    /// A call arrives, and with a deposit its content. It is worked on when it is polled.
    pub fn reach(&mut self, key: CaseKey, content: Option<Content>) {
        let Some(running) = &self.running else { return };
        self.reached.push(key);
        let settles = Rc::new(Cell::new(false));
        let work = Box::pin(serve(running.engine.clone(), key, content, Rc::clone(&settles)));
        self.served.push(Served { key, orphan: false, settles, work });
    }

    /// Works on one call; its answer, when there is one and somebody waits. The oracle sees it as it leaves.
    pub fn poll(&mut self, nth: usize, oracle: &mut Oracle, fully: bool) -> Option<(CaseKey, Answer)> {
        let served = self.served.get_mut(nth)?;
        let mut context = Context::from_waker(Waker::noop());
        let Poll::Ready(said) = served.work.as_mut().poll(&mut context) else { return None };
        let Served { key, orphan, .. } = self.served.remove(nth);
        if orphan {
            return None;
        }
        let answer = match said {
            Said::Receipt(receipt) => {
                oracle.receipt(key, &receipt, fully);
                match Signed::<Verdict>::parse(receipt.statement) {
                    Ok(verdict) => Answer::Verdict(Box::new(verdict.unverified().clone())),
                    Err(_) => Answer::Attested,
                }
            }
            Said::Content(head, chunks) => {
                let plain = opened(oracle, key, &head.encapsulated, &chunks);
                oracle.content(key, plain.as_deref());
                Answer::Content(plain)
            }
            Said::Refused(refused) => Answer::Refused(refused),
            Said::Rejected(rejected) => Answer::Rejected(rejected),
            Said::Unfit => Answer::Unfit,
            Said::Trouble(error) => {
                let known = matches!(error, EngineError::Damaged | EngineError::Stopped);
                oracle.must(known, || format!("F4: an answer is in trouble: {error}"));
                Answer::Trouble(error.to_string())
            }
        };
        Some((key, answer))
    }

    /// The caller's connection breaks.
    pub fn hang_up(&mut self, nth: usize) -> CaseKey {
        let served = &mut self.served[nth];
        served.orphan = true;
        let key = served.key;
        if !served.settles.get() {
            drop(self.served.remove(nth));
        }
        key
    }

    /// Orders to ledgers that are open, as the outbox gives them.
    pub fn open_orders(&self) -> Vec<(ExchangeId, Role, Verified<PaymentOrder>)> {
        let Some(running) = &self.running else { return Vec::new() };
        let open = running.engine.open_orders(None, 16).unwrap_or_default();
        let order =
            |it| running.engine.payment_order(&it).ok().flatten().map(|order| (it.exchange, it.role, order));
        open.into_iter().filter_map(order).collect()
    }

    /// A ledger has said something about an order.
    pub fn hear(&mut self, exchange: ExchangeId, payer: Role, receipt: Verified<PaymentReceipt>) {
        let Some(engine) = self.engine().cloned() else { return };
        self.own.push(Box::pin(async move {
            let _ = engine.hear(exchange, payer, receipt).await;
        }));
        self.settle_own();
    }

    /// Files what has waited for its time (R-424); how much.
    pub fn file_due(&mut self) -> usize {
        let Some(engine) = self.engine().cloned() else { return 0 };
        let now = engine.now();
        let standing = engine.standing(None, 16).unwrap_or_default();
        let due = standing.into_iter().filter(|it| it.at <= now);
        let cases: Vec<_> = due.filter_map(|it| engine.standing_case(&it).ok().flatten()).collect();
        let count = cases.len();
        for case in cases {
            let engine = engine.clone();
            self.own.push(Box::pin(async move {
                let _ = engine.file(case, ByRole::default()).await;
            }));
        }
        self.settle_own();
        count
    }

    /// How many requests stand whose time has come.
    pub fn overdue(&self) -> usize {
        let Some(engine) = self.engine() else { return 0 };
        let (standing, now) = (engine.standing(None, 16).unwrap_or_default(), engine.now());
        standing.into_iter().filter(|it| it.at <= now).count()
    }

    /// What the arbiter does of itself goes on.
    pub fn settle_own(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        self.own.retain_mut(|it| it.as_mut().poll(&mut context).is_pending());
    }

    /// How many cases wait for the writer.
    pub fn waiting(&self) -> usize {
        self.running.as_ref().map_or(0, |it| it.writer.waiting())
    }

    /// The writer's turn. True if the process has to end.
    pub fn turn(&mut self, fate: Fate) -> bool {
        let Some(running) = &mut self.running else { return false };
        running.store.next_commit(fate);
        let ended = running.writer.turn();
        running.store.next_commit(Fate::Stored);
        ended == Some(Ended::Failed)
    }
}

/// What a party finds in a content: sealed under the agreement that the verdict names (R-309).
fn opened(oracle: &Oracle, key: CaseKey, encapsulated: &[u8], chunks: &[Vec<u8>]) -> Option<Vec<u8>> {
    let template = stage().template(key.exchange, key.kinds[key.exchange]);
    let named = oracle.verdict(key.exchange)?.agreement_id;
    let agreement = template.agreements.iter().find(|it| Some(it.id()) == named)?;
    let secret = sealing(if key.role == Role::Originator { 11 } else { 12 });
    let mut opener = Opener::new(&secret, &agreement.seal_context(key.role.peer()), encapsulated).ok()?;
    let mut plain = Vec::new();
    for (n, sealed) in chunks.iter().enumerate() {
        plain.extend(opener.open(sealed, n + 1 == chunks.len()).ok()?);
    }
    Some(plain)
}

/// As the service does it.
async fn serve(engine: Handle, key: CaseKey, content: Option<Content>, settles: Rc<Cell<bool>>) -> Said {
    let case = match admitted(key).as_ref() {
        Ok(case) => case.clone(),
        Err(rejected) => return Said::Rejected(*rejected),
    };
    let filed = match case.request().action {
        // What is opened is on its way before anybody can see it: such a call is left to go to its end.
        Action::Resolve => {
            settles.set(true);
            engine.resolve(case).await
        }
        Action::Deposit => match deposit(&engine, case, content, &settles).await {
            Some(filed) => filed,
            None => return Said::Unfit,
        },
        Action::Abort | Action::Fetch | Action::Query | Action::Revoke => {
            engine.file(case, ByRole::default()).await
        }
    };
    let read = match filed {
        Ok(Filed::Receipt(receipt)) => return Said::Receipt(receipt),
        Ok(Filed::Content(content)) => {
            pause().await;
            let chunks = |head: ContentHead| {
                let all = (0..head.chunks).map(|chunk| engine.chunk(content, chunk));
                Ok((head, all.collect::<Result<_, _>>()?))
            };
            engine.content(content).and_then(chunks)
        }
        Err(error) => Err(error),
    };
    match read {
        Ok((head, chunks)) => Said::Content(head, chunks),
        Err(EngineError::Refused(refused)) => Said::Refused(refused),
        Err(error) => Said::Trouble(error),
    }
}

/// `None`: what was brought does not fit.
async fn deposit(
    engine: &Handle,
    case: Case,
    content: Option<Content>,
    settles: &Cell<bool>,
) -> Option<Result<Filed, EngineError>> {
    match engine.precheck(&case) {
        Err(error) => return Some(Err(error)),
        Ok(Precheck::ContentWanted) => {}
        Ok(_) => return Some(engine.file(case, ByRole::default()).await),
    }
    let bytes = content.as_ref().map(Content::bytes).unwrap_or_default();
    let fit = check_content(case.offer(), case.request().role, bytes).ok()?;
    let draft = match sealed(engine, &case, bytes).await {
        Ok(draft) => draft,
        Err(error) => return Some(Err(error)),
    };
    settles.set(true);
    let role = case.request().role;
    let filed = engine.file(case, ByRole::only(role, (fit, draft.content()))).await;
    if filed != Err(EngineError::Overloaded) {
        draft.keep();
    }
    Some(filed)
}

async fn sealed(engine: &Handle, case: &Case, bytes: &[u8]) -> Result<Draft, EngineError> {
    let draft = Draft::begin(engine.clone(), u64::try_from(bytes.len()).unwrap(), u64::MAX)?;
    pause().await;
    let role = case.request().role;
    let agreement = case.agreement().expect("a deposit is made under an agreement");
    let peer = &case.offer().party(role.peer()).sealing_key;
    let mut sealer = Sealer::new(peer, &agreement.seal_context(role), &seed(0x44)).unwrap();
    draft.put(0, &sealer.seal(bytes, true).unwrap())?;
    pause().await;
    draft.finish(&ContentHead { encapsulated: *sealer.encapsulated(), chunks: 1 })?;
    Ok(draft)
}

/// Here others come in.
async fn pause() {
    let mut polled = false;
    std::future::poll_fn(
        |_| if std::mem::replace(&mut polled, true) { Poll::Ready(()) } else { Poll::Pending },
    )
    .await;
}
