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
use arbiter_protocol::crypto::Sealer;
use arbiter_protocol::error::{Refused, Rejected};
use arbiter_protocol::exchange::selection::ByRole;
use arbiter_protocol::ids::Digest;
use arbiter_protocol::message::request::Action;
use arbiter_protocol::role::arbiter::Case;
use arbiter_protocol::ruling::receipt::Receipt;
use arbiter_protocol::time::UnixMillis;
use zeroize::Zeroizing;

use crate::common::{COMPLAIN_BY, CONTENT};
use crate::disk::{Defect, Fate, Faulty, Plan, Witnessed};
use crate::stage::{CaseKey, admitted, stage};

/// What the arbiter answers.
#[derive(Debug)]
pub enum Answer {
    Receipt(Box<Receipt>),
    /// A content, sealed.
    Content(ContentHead, Vec<Vec<u8>>),
    Refused(Refused),
    Rejected(Rejected),
    /// No ruling: ask again.
    Trouble(EngineError),
}

/// A call that the arbiter works on.
pub struct Served {
    pub key: CaseKey,
    /// Nobody waits for the answer any more.
    pub orphan: bool,
    /// From now on it goes to its end, whoever waits.
    settles: Rc<Cell<bool>>,
    work: Pin<Box<dyn Future<Output = Answer>>>,
}

struct Running {
    engine: Handle,
    writer: Turner,
    store: Arc<Faulty>,
}

pub struct Court {
    disk: Disk,
    clock: ManualClock,
    running: Option<Running>,
    defect: Option<Defect>,
    /// Where commits are written down, for who wants to cut them.
    pub plan: Option<Plan>,
    pub served: Vec<Served>,
    /// Every call that this process has seen: a case stays filed when its caller goes away.
    pub reached: Vec<CaseKey>,
    /// Commits of processes that are gone, not yet looked at.
    witnessed: Vec<Witnessed>,
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
    pub fn boot(&mut self, fate: Fate) -> Result<(), StartError> {
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
        let waited = self.served.drain(..).filter(|it| !it.orphan).map(|it| it.key);
        waited.collect()
    }

    /// Commits that nobody has looked at yet.
    pub fn witnessed(&mut self) -> Vec<Witnessed> {
        let mut all = std::mem::take(&mut self.witnessed);
        all.extend(self.running.iter().flat_map(|it| it.store.witnessed()));
        all
    }

    /// Whether the disk of this process has failed to do an access.
    pub fn was_blind(&self) -> bool {
        self.running.as_ref().is_some_and(|it| it.store.was_blind())
    }

    /// After `more` accesses to the store one fails, or none.
    pub fn go_blind(&self, more: Option<u32>) {
        self.running.iter().for_each(|it| it.store.go_blind(more));
    }

    /// A call arrives. It is worked on when it is polled.
    pub fn reach(&mut self, key: CaseKey) {
        let Some(running) = &self.running else { return };
        self.reached.push(key);
        let settles = Rc::new(Cell::new(false));
        let work = Box::pin(serve(running.engine.clone(), key, Rc::clone(&settles)));
        self.served.push(Served { key, orphan: false, settles, work });
    }

    /// Works on one call; its answer, when there is one and somebody waits.
    pub fn poll(&mut self, nth: usize) -> Option<(CaseKey, Answer)> {
        let served = self.served.get_mut(nth)?;
        let mut context = Context::from_waker(Waker::noop());
        let Poll::Ready(answer) = served.work.as_mut().poll(&mut context) else { return None };
        let served = self.served.remove(nth);
        (!served.orphan).then_some((served.key, answer))
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

pub fn case_of(key: CaseKey) -> Rc<Result<Case, Rejected>> {
    admitted(key)
}

/// The digest of the request of a call that was admitted.
pub fn request_of(key: CaseKey) -> Option<Digest> {
    case_of(key).as_ref().as_ref().ok().map(|case| case.request().digest())
}

/// As the service does it.
async fn serve(engine: Handle, key: CaseKey, settles: Rc<Cell<bool>>) -> Answer {
    let case = match case_of(key).as_ref() {
        Ok(case) => case.clone(),
        Err(rejected) => return Answer::Rejected(*rejected),
    };
    let filed = match case.request().action {
        // What is opened is on its way before anybody can see it: such a call is left to go to its end.
        Action::Resolve => {
            settles.set(true);
            engine.resolve(case).await
        }
        Action::Deposit => deposit(&engine, case, &settles).await,
        Action::Abort | Action::Fetch | Action::Query | Action::Revoke => {
            engine.file(case, ByRole::default()).await
        }
    };
    let read = match filed {
        Ok(Filed::Receipt(receipt)) => return Answer::Receipt(receipt),
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
        Ok((head, chunks)) => Answer::Content(head, chunks),
        Err(EngineError::Refused(refused)) => Answer::Refused(refused),
        Err(error) => Answer::Trouble(error),
    }
}

async fn deposit(engine: &Handle, case: Case, settles: &Cell<bool>) -> Result<Filed, EngineError> {
    if engine.precheck(&case)? != Precheck::ContentWanted {
        return engine.file(case, ByRole::default()).await;
    }
    let draft = Draft::begin(engine.clone(), u64::try_from(CONTENT.len()).unwrap(), u64::MAX)?;
    pause().await;
    let role = case.request().role;
    let agreement = case.agreement().expect("a deposit is made under an agreement");
    let peer = &case.offer().party(role.peer()).sealing_key;
    let mut sealer = Sealer::new(peer, &agreement.seal_context(role), &seed(0x44)).unwrap();
    draft.put(0, &sealer.seal(CONTENT, true).unwrap())?;
    pause().await;
    draft.finish(&ContentHead { encapsulated: *sealer.encapsulated(), chunks: 1 })?;
    settles.set(true);
    let filed = engine.file(case, ByRole::only(role, (stage().fit().clone(), draft.content()))).await;
    if filed != Err(EngineError::Overloaded) {
        draft.keep();
    }
    filed
}

/// Here others come in.
async fn pause() {
    let mut polled = false;
    std::future::poll_fn(
        |_| if std::mem::replace(&mut polled, true) { Poll::Ready(()) } else { Poll::Pending },
    )
    .await;
}
