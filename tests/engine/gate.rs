//! What the writer does while a commit is on its way: nobody learns anything, the queue is bounded.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use arbiter::engine::{BATCH, Ended, EngineError, Filed, Handle, Held, QUEUE};
use arbiter::store::mem::MemStore;
use arbiter::store::{Commit, Store as _, StoreError};
use arbiter_protocol::error::Refused;
use arbiter_protocol::exchange::selection::Role::{Originator, Responder};
use arbiter_protocol::message::request::Action;
use arbiter_protocol::role::arbiter::Case;
use arbiter_protocol::time::UnixMillis;
use tokio::task::JoinHandle;

use crate::fixture::{DEADLINE, Exchange, Kind, START, World, arbiter, keys, try_start};
use crate::front::{Front, Fronted};

/// A store whose commits wait for the test: each reports its number of leaves, then waits to be let through.
struct Gate {
    store: MemStore,
    entered: Sender<usize>,
    open: Mutex<Receiver<()>>,
}

/// The test's side of a [`Gate`].
struct Keeper {
    entered: Receiver<usize>,
    open: Sender<()>,
}

impl Keeper {
    /// Waits for a commit to begin; gives its number of leaves.
    fn arrival(&self) -> usize {
        self.entered.recv().unwrap()
    }

    fn pass(&self) {
        self.open.send(()).unwrap();
    }
}

fn gated() -> (World, Keeper) {
    let ((entered, arrivals), (open, passes)) = (channel(), channel());
    let store =
        Gate { store: MemStore::new(&arbiter(), keys().vault()).unwrap(), entered, open: Mutex::new(passes) };
    let keeper = Keeper { entered: arrivals, open };
    keeper.pass();
    let world = try_start(Fronted(store), START).unwrap();
    assert_eq!(keeper.arrival(), 1, "the first commit begins the log");
    (world, keeper)
}

impl Front for Gate {
    fn store(&self) -> Result<&MemStore, StoreError> {
        Ok(&self.store)
    }
    fn commit(&self, commit: &Commit) -> Result<(), StoreError> {
        self.entered.send(commit.leaves.len()).unwrap();
        self.open.lock().unwrap().recv().unwrap();
        self.store.commit(commit)
    }
}

/// Files in a task of its own, which runs up to where it waits: these tests have one thread beside the writer.
async fn queue(engine: &Handle, case: Case) -> JoinHandle<Result<Filed, EngineError>> {
    let engine = engine.clone();
    let task = tokio::spawn(async move { engine.file(case, Held::default()).await });
    tokio::task::yield_now().await;
    task
}

fn contract(n: u64) -> Exchange {
    Exchange::with_content(Kind::P1, n, b"contract".to_vec())
}

/// R-504, S32: neither a verdict, nor a refusal that rests on it, nor its leaf is seen before its commit returns.
#[tokio::test]
async fn nothing_of_a_batch_is_known_before_its_commit_returns() {
    let (world, keeper) = gated();
    let [first, exchange] = [contract(1), contract(2)];
    let deposit = Exchange::new(Kind::P2, 3);
    let opening = queue(&world.engine, first.case(Originator, Action::Abort)).await;
    assert_eq!(keeper.arrival(), 1);
    // One batch: a verdict, its replay to the peer, another verdict, and a refusal because of it.
    let ruled = queue(&world.engine, exchange.case(Originator, Action::Abort)).await;
    let replayed = queue(&world.engine, exchange.case(Responder, Action::Resolve)).await;
    let aborted = queue(&world.engine, deposit.case(Originator, Action::Abort)).await;
    let refused = queue(&world.engine, deposit.case(Originator, Action::Deposit)).await;
    keeper.pass();
    assert!(opening.await.unwrap().is_ok());
    assert_eq!(keeper.arrival(), 2);
    // An answer sent too early would have been queued for its task before the commit was entered.
    for _ in 0..16 {
        tokio::task::yield_now().await;
    }
    let waiting = [&ruled, &replayed, &aborted, &refused];
    assert!(waiting.iter().all(|task| !task.is_finished()));
    assert_eq!(world.engine.log_size(), 2);
    assert!(world.engine.checkpoint().unwrap().contains("\n2\n"));
    assert_eq!(world.engine.entries(2, 9).unwrap(), Vec::<Vec<u8>>::new());
    let counters = world.engine.counters();
    assert_eq!((counters.verdicts_aborted, counters.replays, counters.refused), (1, 0, 0));

    keeper.pass();
    let statement = |filed| match filed {
        Ok(Filed::Receipt(receipt)) => receipt.statement,
        other => panic!("{other:?}"),
    };
    let verdict = statement(ruled.await.unwrap());
    assert_eq!(statement(replayed.await.unwrap()), verdict);
    assert!(aborted.await.unwrap().is_ok());
    assert_eq!(refused.await.unwrap(), Err(EngineError::Refused(Refused::AlreadyRuled)));
    assert_eq!(world.engine.log_size(), 4);
    let counters = world.engine.counters();
    assert_eq!((counters.verdicts_aborted, counters.replays, counters.refused), (3, 1, 1));
    assert_eq!(counters.commits, 3);
    assert_eq!(world.engine.stop().await, Ended::Stopped);
}

/// S40: the queue holds [`QUEUE`] cases, one more is told to come back; what waits is answered.
#[tokio::test]
async fn a_full_queue_refuses_and_loses_nothing() {
    let (world, keeper) = gated();
    let exchange = contract(1);
    let first = queue(&world.engine, exchange.case(Originator, Action::Abort)).await;
    assert_eq!(keeper.arrival(), 1);
    let again = exchange.case(Responder, Action::Query);
    let mut waiting = Vec::new();
    for _ in 0..QUEUE {
        waiting.push(queue(&world.engine, again.clone()).await);
    }
    assert!(waiting.iter().all(|task| !task.is_finished()));
    assert_eq!(world.engine.file(again.clone(), Held::default()).await, Err(EngineError::Overloaded));
    keeper.pass();
    assert!(first.await.unwrap().is_ok());
    let mut answers = Vec::new();
    for task in waiting {
        answers.push(task.await.unwrap().unwrap());
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "one question, one answer");
    assert_eq!(world.engine.counters().commits, 2, "replays commit nothing");
    assert_eq!(world.engine.file(again, Held::default()).await.unwrap(), answers[0]);
}

/// A commit holds at most [`BATCH`] cases; the rest is in the next.
#[tokio::test]
async fn a_batch_is_what_waits_up_to_its_limit() {
    let (world, keeper) = gated();
    let first = queue(&world.engine, contract(0).case(Originator, Action::Abort)).await;
    assert_eq!(keeper.arrival(), 1);
    let exchanges: Vec<_> = (1..).map(contract).take(BATCH + 1).collect();
    let mut waiting = Vec::new();
    for exchange in &exchanges {
        waiting.push(queue(&world.engine, exchange.case(Originator, Action::Abort)).await);
    }
    keeper.pass();
    assert_eq!(keeper.arrival(), BATCH);
    keeper.pass();
    assert_eq!(keeper.arrival(), 1);
    keeper.pass();
    assert!(first.await.unwrap().is_ok());
    for (exchange, task) in exchanges.iter().zip(waiting) {
        let Ok(Filed::Receipt(receipt)) = task.await.unwrap() else { panic!("no receipt") };
        exchange.prove(&receipt, &exchange.case(Originator, Action::Abort));
    }
    let counters = world.engine.counters();
    assert_eq!((counters.commits, counters.verdicts_aborted), (4, u64::try_from(BATCH).unwrap() + 2));
}

/// requests that are due together are decided together: they share commits, so that a start with many of them does not
/// take a commit each.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn requests_that_are_due_together_share_commits() {
    const REQUESTS: u64 = 40;
    let (world, keeper) = gated();
    for n in 0..REQUESTS {
        let delivery = Exchange::with_content(Kind::P2, n, b"goods".to_vec());
        let early = queue(&world.engine, delivery.case(Responder, Action::Abort)).await;
        assert_eq!(keeper.arrival(), 0, "no leaf tells of a request that stands");
        keeper.pass();
        let early = early.await.unwrap();
        assert!(matches!(early, Err(EngineError::Refused(Refused::AbortTooEarly { .. }))), "{early:?}");
    }
    world.clock.set(UnixMillis(DEADLINE));
    let task = tokio::spawn(arbiter::deadlines::run(world.engine.clone()));
    let (mut commits, mut decided) = (0, 0);
    while decided < REQUESTS {
        decided += u64::try_from(keeper.arrival()).unwrap();
        commits += 1;
        // Whatever else is due is queued while this commit is on its way.
        tokio::time::sleep(Duration::from_millis(20)).await;
        keeper.pass();
    }
    assert!(commits <= REQUESTS / 4, "{commits} commits for {REQUESTS} requests");
    assert_eq!(world.engine.stop().await, Ended::Stopped);
    assert_eq!(world.engine.standing(None, 1), Ok(Vec::new()));
    task.await.unwrap();
}
