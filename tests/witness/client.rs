//! the log and its witnesses: some away, all away, back again; a log that was rolled back or replaced.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arbiter::engine::{Engine, HighWater, MarkError, Why};
use arbiter::grpc::{Api, Server};
use arbiter::publish::witnesses::{MOST, Witnesses, WitnessesError};
use arbiter::publish::{Pace, Published, Publisher};
use arbiter::store::mem::MemStore;
use arbiter_client::arbiter::grpc::GrpcArbiter;
use arbiter_client::arbiter::{ArbiterPort as _, Filing};
use arbiter_protocol::evidence::checkpoint::SignedCheckpoint;
use arbiter_protocol::evidence::note::VerifierKey;
use arbiter_protocol::evidence::policy::Policy;
use arbiter_protocol::evidence::tlog_proof::TlogProof;
use arbiter_protocol::exchange::selection::{ByRole, Role};
use arbiter_protocol::message::request::Action;
use arbiter_protocol::wire::arbiter as proto;
use arbiter_protocol::wire::arbiter::arbiter_service_client::ArbiterServiceClient;
use tokio::runtime::Runtime;

use crate::common::World;
use crate::support::*;

/// Quick enough for a test.
pub const QUICK: Pace = Pace {
    interval: Duration::from_millis(50),
    refresh: Duration::from_secs(2),
    retry: Duration::from_millis(200),
};
const LONG: Duration = Duration::from_secs(30);

pub fn log_key(world: &World) -> VerifierKey {
    VerifierKey::new(world.arbiter.log_origin.as_str(), world.arbiter.log_key).unwrap()
}

/// Rulings until the log has so many leaves. None of them waits for a witness.
pub async fn fill(world: &World, leaves: u64) {
    for _ in world.engine.log_size()..leaves {
        let agreement = world.contract();
        let case = world.case(&agreement, Role::Originator, Action::Abort).admit(&world.arbiter).unwrap();
        let began = Instant::now();
        world.engine.file(case, ByRole::default()).await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(5), "a ruling waited");
    }
    assert_eq!(world.engine.log_size(), leaves);
}

/// `any` of these witnesses is enough; each is a key and an address.
pub fn policy(world: &World, enough: usize, witnesses: &[(&VerifierKey, String)]) -> String {
    let mut text = format!("log {}\n", log_key(world));
    let mut names = String::new();
    for (number, (key, url)) in witnesses.iter().enumerate() {
        text.push_str(&format!("witness w{number} {key} {url}\n"));
        names.push_str(&format!(" w{number}"));
    }
    text + &format!("group all {enough}{names}\nquorum all\n")
}

pub fn start(world: &World, policy: &str) -> Result<Witnesses, WitnessesError> {
    let policy = Policy::parse(policy).unwrap();
    Witnesses::start(policy, world.arbiter.log_origin.clone(), log_key(world), None)
}

pub async fn publish(world: &World, policy: &str) -> (Publisher, Published) {
    let witnesses = Arc::new(start(world, policy).unwrap());
    Publisher::start(world.engine.clone(), witnesses, QUICK, None).await.unwrap()
}

/// A published checkpoint above the newest leaf with the quorum; how long it took.
async fn quorum(world: &World, published: &Published) -> (Arc<SignedCheckpoint>, Duration) {
    let began = Instant::now();
    let newest = world.engine.log_size() - 1;
    let (found, good) = published.covering(newest, LONG, |it| published.quorum(it)).await;
    assert!(good, "no quorum: {}", found.note());
    (found, began.elapsed())
}

struct Witness<'a> {
    folder: &'a Path,
    seed: u8,
    list: String,
}

impl Witness<'_> {
    fn serve(&self, listen: &str) -> Served {
        let mut made = Made::new(self.folder, &[]);
        (made.list, made.seed, made.listen) = (self.list.clone(), self.seed, listen.to_owned());
        made.serve()
    }
}

fn url(served: &Served) -> String {
    format!("http://{}", served.address())
}

/// R-553, T9: cosignatures come, go with their witnesses, and come back; nothing waits for them.
#[test]
fn a_log_goes_on_with_the_witnesses_that_are_there() {
    let runtime = Runtime::new().unwrap();
    let world = runtime.block_on(World::new());
    let folders: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let list = format!("log {}\n", log_key(&world));
    let makers: Vec<_> = folders
        .iter()
        .zip([0x20, 0x30, 0x40])
        .map(|(folder, seed)| Witness { folder: folder.path(), seed, list: list.clone() })
        .collect();
    let mut served: Vec<_> = makers.iter().map(|it| it.serve("127.0.0.1:0")).collect();
    let addresses: Vec<_> = served.iter().map(|it| it.address().to_string()).collect();
    let urls: Vec<_> = served.iter().map(url).collect();
    let keys: Vec<_> = served.iter().map(|it| it.keys.clone()).collect();
    // Each with all its keys: one question gives as many cosignatures.
    let members: Vec<_> =
        keys.iter().zip(&urls).flat_map(|(keys, url)| keys.iter().map(|key| (key, url.clone()))).collect();
    let two_of_three = policy(&world, 2 * keys[0].len(), &members);

    let (publisher, published) = runtime.block_on(publish(&world, &two_of_three));
    let mut slowest = Duration::ZERO;
    for size in [2, 3, 10, 40] {
        runtime.block_on(fill(&world, size));
        let (found, took) = runtime.block_on(quorum(&world, &published));
        slowest = slowest.max(took);
        let all: Vec<_> = keys.iter().flatten().cloned().collect();
        assert!(found.cosignatures(&all).unwrap().len() >= 2 * keys[0].len());
    }
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");

    // One away: two are enough. Two away: no quorum, and the log goes on.
    served.remove(0).stop();
    runtime.block_on(fill(&world, 50));
    runtime.block_on(quorum(&world, &published));
    while let Some(last) = served.pop() {
        last.stop();
    }
    runtime.block_on(async {
        fill(&world, 60).await;
        let began = Instant::now();
        let (newest, good) = published.covering(59, LONG, |_| true).await;
        assert!(good && began.elapsed() < Duration::from_secs(2), "published late: {:?}", began.elapsed());
        assert!(!published.quorum(&newest), "nobody is there");
    });
    // Back at the same address, with what they had.
    let back: Vec<_> = makers.iter().zip(&addresses).skip(1).map(|(it, address)| it.serve(address)).collect();
    let (found, _) = runtime.block_on(quorum(&world, &published));
    assert_eq!(found.checkpoint().size, 60);
    runtime.block_on(publisher.stop()).unwrap();
    back.into_iter().for_each(Served::stop);
    runtime.block_on(world.engine.stop());
}

/// what witnesses have seen is noticed before anything is signed.
#[test]
fn a_log_that_was_rolled_back_or_replaced_is_noticed() {
    let runtime = Runtime::new().unwrap();
    let (young, old) = (runtime.block_on(World::new()), runtime.block_on(World::new()));
    let folder = tempfile::tempdir().unwrap();
    let maker = Witness { folder: folder.path(), seed: 0x20, list: format!("log {}\n", log_key(&old)) };
    let served = maker.serve("127.0.0.1:0");
    let text = policy(&old, 1, &[(&served.keys[0], url(&served))]);

    let before = start(&old, &text).unwrap();
    assert!(before.high_water()[0].newest.as_ref().unwrap().is_none(), "it knows nothing yet");
    let (publisher, published) = runtime.block_on(publish(&old, &text));
    runtime.block_on(fill(&old, 9));
    let (newest, _) = runtime.block_on(quorum(&old, &published));
    runtime.block_on(publisher.stop()).unwrap();

    // The same log: good. A younger one with the same keys: rolled back. Another one that has grown as far: forked.
    let known = before.high_water()[0].newest.clone().unwrap().unwrap();
    assert_eq!(known.checkpoint(), newest.checkpoint());
    runtime.block_on(fill(&young, 4));
    let other = start(&young, &text).unwrap();
    let why = self::why(&young, &other);
    assert!(matches!(why, Why::RolledBack { known: 9, size: 4, .. }), "{why}");
    young.clock.set(arbiter_protocol::time::UnixMillis(common_start() + 77_000));
    runtime.block_on(fill(&young, 12));
    let why = self::why(&young, &other);
    assert!(matches!(why, Why::Forked { size: 9, .. }), "{why}");

    // While it runs: the witness does not cosign it, ever.
    let (publisher, published) = runtime.block_on(publish(&young, &text));
    runtime.block_on(async {
        fill(&young, 20).await;
        let (newest, good) = published.covering(19, Duration::from_secs(3), |it| published.quorum(it)).await;
        assert!(!good && newest.checkpoint().size == 20, "it is published, and nobody vouches for it");
        publisher.stop().await.unwrap();
    });
    assert_eq!(before.high_water()[0].newest.clone().unwrap().unwrap().checkpoint().size, 9);

    // A witness out of reach is no reason to stop, and is not waited for.
    served.stop();
    let began = Instant::now();
    assert!(before.high_water()[0].newest.is_err());
    assert!(matches!(HighWater::newest(&before.high_water()[0]), Err(MarkError::Away(_))));
    assert!(began.elapsed() < Duration::from_secs(6));
    runtime.block_on(async {
        old.engine.stop().await;
        young.engine.stop().await;
    });
}

/// Why an engine on the same disk only reads, when these witnesses are asked at its start.
fn why(world: &World, witnesses: &Witnesses) -> Why {
    let keys = World::keys(&world.epochs);
    let store = MemStore::open_unswept(world.store.inner.disk(), &world.arbiter, keys.vault()).unwrap();
    let desk = world.engine.desk().clone();
    let known = witnesses.high_water();
    let marks: Vec<_> = known.iter().map(|mark| -> &dyn HighWater { mark }).collect();
    let clock = Box::new(world.clock.clone());
    let engine = Engine::start_below(desk, keys, Arc::new(store), clock, &marks).unwrap();
    engine.read_only().expect("a mark that knows more").why.clone()
}

fn common_start() -> u64 {
    crate::common::START.0
}

/// a policy that cannot be used is said at the start.
#[test]
fn a_policy_of_another_log_or_with_too_many_witnesses_is_refused() {
    let runtime = Runtime::new().unwrap();
    let world = runtime.block_on(World::new());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy");
    let read = |text: &str| {
        std::fs::write(&path, text).unwrap();
        Witnesses::read_policy(&path, &log_key(&world))
    };
    assert!(read("quorum none\n").is_ok());
    assert!(read(&format!("log {}\nquorum none\n", log_key(&world))).is_ok());
    let other = Log::new("other.example", 9);
    let refused = read(&format!("log {}\nquorum none\n", other.key()));
    assert!(matches!(refused, Err(WitnessesError::OtherLog { .. })));
    assert!(matches!(read("quorum\n"), Err(WitnessesError::Policy(_))));
    assert!(matches!(
        Witnesses::read_policy(&folder.path().join("absent"), &log_key(&world)),
        Err(WitnessesError::Read { .. })
    ));
    let keys: Vec<_> = (0..=MOST)
        .map(|number| {
            use arbiter_protocol::crypto::Signer as _;
            let seed = u8::try_from(number).unwrap();
            VerifierKey::cosigner(&format!("w{number}"), signer(seed).public_key()).unwrap()
        })
        .collect();
    let members = |count: usize| -> Vec<_> {
        keys.iter().take(count).map(|key| (key, "http://127.0.0.1:1".to_owned())).collect()
    };
    assert!(start(&world, &policy(&world, 1, &members(MOST))).is_ok());
    let refused = start(&world, &policy(&world, 1, &members(MOST + 1)));
    assert!(matches!(refused, Err(WitnessesError::TooMany { count: 16 })));
    runtime.block_on(world.engine.stop());
}

/// a reply with the assurance WITNESSED carries a proof that strangers can check; without witnesses the ruling is given all
/// the same, before the call's deadline; and the client counts only what verifies under its own policy.
#[test]
fn a_ruling_waits_for_witnesses_only_if_it_is_asked_to_and_only_so_long() {
    let runtime = Runtime::new().unwrap();
    let world = runtime.block_on(World::new());
    let folder = tempfile::tempdir().unwrap();
    let maker = Witness { folder: folder.path(), seed: 0x20, list: format!("log {}\n", log_key(&world)) };
    let served = maker.serve("127.0.0.1:0");
    let text = policy(&world, 1, &[(&served.keys[0], url(&served))]);
    let (publisher, published) = runtime.block_on(publish(&world, &text));
    let trusted = Policy::parse(&text).unwrap();
    let (server, address) = runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api = Api { published: Some(published.clone()), ..Api::default() };
        let server = Server::start(api, listener, world.engine.clone()).await.unwrap();
        let address = format!("http://{}", server.address());
        (server, address)
    });
    let witnessed = |action| {
        let agreement = world.contract();
        let case = world.case(&agreement, Role::Originator, action);
        proto::Case { assurance: proto::Assurance::Witnessed.into(), ..case }
    };
    let counts = |receipt: Option<proto::Receipt>, proof: &str| {
        let leaf = receipt.unwrap().leaf;
        TlogProof::parse(proof).unwrap().verify(&leaf, &trusted).unwrap();
    };
    let endpoint = tonic::transport::Endpoint::from_shared(address.clone()).unwrap();
    let mut parties = ArbiterServiceClient::new(runtime.block_on(endpoint.connect()).unwrap());
    runtime.block_on(async {
        let case = witnessed(Action::Abort);
        let aborted = parties.abort_exchange(proto::AbortExchangeRequest { case: Some(case.clone()) }).await;
        let aborted = aborted.unwrap().into_inner();
        counts(aborted.receipt, &aborted.tlog_proof);
        let case = witnessed(Action::Resolve);
        let made = parties.generate_item(proto::GenerateItemRequest { case: Some(case) }).await.unwrap();
        let made = made.into_inner();
        counts(made.receipt, &made.tlog_proof);
        // Asked for nothing, it waits for nothing and brings nothing.
        let case = proto::Case { assurance: proto::Assurance::Logged.into(), ..witnessed(Action::Abort) };
        let plain = parties.abort_exchange(proto::AbortExchangeRequest { case: Some(case.clone()) }).await;
        assert_eq!(plain.unwrap().into_inner().tlog_proof, "");
        let wrong = proto::Case { assurance: 9, ..case };
        let refused = parties.abort_exchange(proto::AbortExchangeRequest { case: Some(wrong) }).await;
        assert_eq!(refused.unwrap_err().code(), tonic::Code::InvalidArgument);
    });

    // The client of applications: with this policy it has the proof, with another one it has none, and the receipt either way.
    let filing = || {
        let agreement = world.contract();
        Filing {
            request: world.request(&agreement, Role::Originator, Action::Abort),
            offer: agreement.offer().clone(),
            acceptance: Some(agreement.acceptance().clone()),
            escrows: arbiter_protocol::role::arbiter::Escrows::default(),
        }
    };
    let stranger =
        VerifierKey::cosigner("stranger", arbiter_protocol::crypto::Signer::public_key(&signer(9)));
    let other = Policy::parse(&policy(&world, 1, &[(&stranger.unwrap(), url(&served))])).unwrap();
    runtime.block_on(async {
        for (policy, has) in [(trusted.clone(), true), (other, false)] {
            let port = GrpcArbiter::new(&address, None).unwrap().witnessed_by(policy);
            let receipt = port.abort(&filing()).await.unwrap();
            assert_eq!(port.proof(&receipt).is_some(), has);
            let newest = port.abort(&filing()).await.unwrap();
            assert_ne!(newest.leaf, receipt.leaf);
            assert_eq!(port.proof(&receipt).is_some(), has, "it is kept");
        }
        let port = GrpcArbiter::new(&address, None).unwrap();
        let receipt = port.abort(&filing()).await.unwrap();
        assert!(port.proof(&receipt).is_none(), "it did not ask");
    });

    // All witnesses lost.
    served.stop();
    runtime.block_on(async {
        for (deadline, most) in [(Some(Duration::from_secs(2)), 2), (None, 8)] {
            let case = witnessed(Action::Abort);
            let mut request = tonic::Request::new(proto::AbortExchangeRequest { case: Some(case) });
            deadline.into_iter().for_each(|deadline| request.set_timeout(deadline));
            let began = Instant::now();
            let ruled = parties.abort_exchange(request).await.unwrap().into_inner();
            assert!(ruled.receipt.is_some() && ruled.tlog_proof.is_empty());
            let took = began.elapsed();
            assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(most), "{took:?}");
        }
        drop(parties);
        server.stop().await.unwrap();
        publisher.stop().await.unwrap();
        world.engine.stop().await;
    });
}
