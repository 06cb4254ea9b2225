//! questions about the log over gRPC.

use std::sync::Arc;
use std::time::Duration;

use arbiter::engine::Filed;
use arbiter::grpc::Api;
use arbiter::publish::{Alone, Cosigners, Pace, Prove, Publisher};
use arbiter_protocol::evidence::checkpoint::SignedCheckpoint;
use arbiter_protocol::evidence::leaf::{Event, Leaf};
use arbiter_protocol::evidence::note::NoteSignature;
use arbiter_protocol::evidence::policy::Policy;
use arbiter_protocol::evidence::tlog_proof::TlogProof;
use arbiter_protocol::exchange::selection::ByRole;
use arbiter_protocol::exchange::selection::Role::{Originator, Responder};
use arbiter_protocol::message::request::Action::{Abort, Query, Resolve};
use arbiter_protocol::ruling::receipt::{Receipt, Ruled};
use arbiter_protocol::time::UnixMillis;
use arbiter_protocol::wire::arbiter as proto;
use tokio::sync::mpsc;
use tonic::{Code, Status};

use crate::checkpoint::line;
use crate::common::*;
use crate::http::{SELDOM, key};

fn question() -> proto::ListEntriesRequest {
    proto::ListEntriesRequest::default()
}

/// All pages of a listing, each of at most so many leaves.
async fn list(auditors: &mut Auditors, of: proto::ListEntriesRequest, size: i32) -> Result<Vec<u64>, Status> {
    let mut found = Vec::new();
    let mut asked = proto::ListEntriesRequest { page_size: size, ..of };
    loop {
        let page = auditors.list_entries(asked.clone()).await?.into_inner();
        assert!(size == 0 || page.entries.len() <= usize::try_from(size).unwrap());
        found.extend(page.entries.iter().map(|entry| entry.index));
        if page.next_page_token.is_empty() {
            return Ok(found);
        }
        asked.page_token = page.next_page_token;
    }
}

/// every question gives exactly the leaves that a look at every leaf gives, however they are paged.
#[tokio::test(flavor = "multi_thread")]
async fn listings_are_what_a_look_at_every_leaf_gives() {
    let world = World::new().await;
    let (mut parties, mut auditors) = (world.parties().await, world.auditors().await);
    let file = describe(&content(1000), "application/octet-stream");
    for round in 0..12u64 {
        world.clock.set(UnixMillis(START.0 + round * 1000));
        let contract = world.contract();
        resolve(&mut parties, world.case(&contract, Responder, Resolve)).await.unwrap();
        let aborted = world.contract();
        let case = world.case(&aborted, Originator, Abort);
        parties.abort_exchange(proto::AbortExchangeRequest { case: Some(case) }).await.unwrap();
        if round % 3 == 0 {
            let delivery = world.delivery(&file, UnixMillis(START.0 + 100_000));
            let case = world.case(&delivery, Originator, arbiter_protocol::message::request::Action::Deposit);
            deposit(&mut parties, upload(case, &content(1000), 1000)).await.unwrap();
            resolve(&mut parties, world.case(&delivery, Originator, Resolve)).await.unwrap();
        }
    }
    let size = world.engine.log_size();
    let leaves: Vec<Leaf> =
        world.engine.entries(0, 1000).unwrap().iter().map(|it| Leaf::decode(it).unwrap()).collect();
    assert_eq!(size, 1 + 12 * 2 + 4 * 2);
    let pseudonyms: Vec<_> = [0, 1, 3, 4, 5].map(|index: usize| leaves[index].exchange).to_vec();
    let events = [Event::DepositAccepted, Event::VerdictAborted, Event::VerdictReplaced, Event::Genesis];
    let times =
        [0, START.0, START.0 + 2999, START.0 + 3000, START.0 + 7000, START.0 + 11_000, START.0 + 99_000];
    let mut asked = 0;
    for exchange in pseudonyms.iter().copied().map(Some).chain([None]) {
        for event in events.into_iter().map(Some).chain([None]) {
            for from in times {
                for until in times {
                    let of = proto::ListEntriesRequest {
                        exchange: exchange.map(|it| it.0.to_vec()).unwrap_or_default(),
                        event: event.map(|it| it.name().to_owned()).unwrap_or_default(),
                        from_millis: from,
                        until_millis: until,
                        ..question()
                    };
                    let is = |leaf: &&Leaf| {
                        exchange.is_none_or(|it| it == leaf.exchange)
                            && event.is_none_or(|it| it == leaf.event)
                            && leaf.time.0 >= from
                            && (until == 0 || leaf.time.0 < until)
                    };
                    let expected: Vec<_> = leaves.iter().filter(is).map(|leaf| leaf.index.0).collect();
                    let page = [0, 1, 3, 1000][asked % 4];
                    let found = list(&mut auditors, of.clone(), page).await.unwrap();
                    assert_eq!(found, expected, "{of:?}");
                    asked += 1;
                }
            }
        }
    }
    assert_eq!(asked, 6 * 5 * 49);

    // A token is good for its own question only.
    let aborted = proto::ListEntriesRequest { event: "verdict-aborted".into(), page_size: 1, ..question() };
    let page = auditors.list_entries(aborted.clone()).await.unwrap().into_inner();
    let page_token = page.next_page_token;
    assert!(!page_token.is_empty());
    let again = proto::ListEntriesRequest { page_token: page_token.clone(), page_size: 7, ..aborted };
    assert!(auditors.list_entries(again).await.is_ok(), "the size of a page may change");
    for other in [
        question(),
        proto::ListEntriesRequest { event: "verdict-replaced".into(), ..question() },
        proto::ListEntriesRequest { event: "verdict-aborted".into(), from_millis: 1, ..question() },
    ] {
        let asked = proto::ListEntriesRequest { page_token: page_token.clone(), ..other };
        assert_reason(auditors.list_entries(asked).await, Code::InvalidArgument, "PAGE_TOKEN_INVALID");
    }
    for (exchange, event) in [(vec![1; 15], ""), (vec![1; 17], ""), (vec![], "verdict"), (vec![], "GENESIS")]
    {
        let asked = proto::ListEntriesRequest { exchange, event: event.into(), ..question() };
        let refused = auditors.list_entries(asked).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    }
}

/// So many witnesses, from the moment on that they are told to.
struct Late(tokio::sync::watch::Receiver<u64>);

#[async_trait::async_trait]
impl Cosigners for Late {
    async fn cosign(&self, _: &SignedCheckpoint, _: Prove, found: mpsc::Sender<NoteSignature>) {
        let count = *self.0.borrow();
        for n in 0..count {
            found.send(line(&format!("w{n}"), 1)).await.unwrap();
        }
    }

    fn quorum(&self, checkpoint: &SignedCheckpoint) -> bool {
        checkpoint.note().signatures().len() > 2
    }
}

pub fn policy(world: &World) -> Policy {
    Policy::parse(&format!("log {}\nquorum none\n", key(world))).unwrap()
}

/// a proof at once, a witnessed one when the witnesses are there, and in vain it is not waited for long.
#[tokio::test(flavor = "multi_thread")]
async fn a_proof_is_had_with_the_assurance_that_is_there() {
    let world = World::new().await;
    let (more, count) = tokio::sync::watch::channel(0);
    let second = Duration::from_secs(1);
    let pace =
        Pace { interval: Duration::from_millis(30), refresh: second, retry: Duration::from_millis(50) };
    let (publisher, published) =
        Publisher::start(world.engine.clone(), Arc::new(Late(count)), pace, None).await.unwrap();
    let world = serve(world, Api { published: Some(published), ..Api::default() }).await;
    crate::http::fill(&world, 20).await;
    let policy = policy(&world);
    let mut auditors = world.auditors().await;
    let mut ask = async |index, assurance: proto::Assurance, wait_millis| {
        let request = proto::GetProofRequest { index, assurance: assurance.into(), wait_millis };
        let reply = auditors.get_proof(request).await?.into_inner();
        let leaf = world.engine.entry(index).unwrap();
        let proof = TlogProof::parse(&reply.tlog_proof).unwrap();
        let proved = proof.verify(&leaf, &policy).unwrap();
        assert_eq!(proved.index.0, index);
        Ok::<_, Status>((reply.assured, proved.checkpoint.note().signatures().len()))
    };
    use proto::Assurance::{Logged, Unspecified, Witnessed};
    for index in [0, 7, 19] {
        assert_eq!(ask(index, Logged, 0).await.unwrap(), (true, 1));
        assert_eq!(ask(index, Unspecified, 0).await.unwrap(), (true, 1));
        let began = std::time::Instant::now();
        assert_eq!(ask(index, Witnessed, 100).await.unwrap(), (false, 1), "nobody cosigns");
        assert!(began.elapsed() < Duration::from_secs(3));
    }
    // They come while somebody waits.
    let soon = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(200)).await;
        more.send_replace(3);
        more
    });
    assert_eq!(ask(19, Witnessed, 15_000).await.unwrap(), (true, 4));
    let more = soon.await.unwrap();
    assert_eq!(ask(0, Logged, 0).await.unwrap(), (true, 4), "what is published carries them");
    assert_reason(ask(20, Logged, 0).await, Code::OutOfRange, "RANGE_INVALID");
    let request = proto::GetProofRequest { index: 0, assurance: 7, wait_millis: 0 };
    let refused = world.auditors().await.get_proof(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    drop(more);
    publisher.stop().await.unwrap();
}

/// Without anything published proofs are under the log's own newest checkpoint.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_publisher_a_proof_is_logged_only() {
    let world = World::new().await;
    let mut auditors = world.auditors().await;
    for (assurance, assured) in [(1, true), (2, false)] {
        let request = proto::GetProofRequest { index: 0, assurance, wait_millis: 1 };
        let reply = auditors.get_proof(request).await.unwrap().into_inner();
        assert_eq!(reply.assured, assured);
        let proof = TlogProof::parse(&reply.tlog_proof).unwrap();
        proof.verify(&world.engine.entry(0).unwrap(), &policy(&world)).unwrap();
    }
}

/// The same arbiter behind another server.
pub async fn serve(world: World, api: Api) -> World {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = arbiter::grpc::Server::start(api, listener, world.engine.clone()).await.unwrap();
    world.behind(server)
}

/// a party gets every receipt of its exchange with a newer proof; nobody else gets anything.
#[tokio::test(flavor = "multi_thread")]
async fn a_party_gets_all_evidence_of_its_exchange() {
    let world = World::new().await;
    let (publisher, published) =
        Publisher::start(world.engine.clone(), Arc::new(Alone), SELDOM, None).await.unwrap();
    let world = serve(world, Api { published: Some(published), ..Api::default() }).await;
    let mut parties = world.parties().await;
    let file = describe(&content(1000), "application/octet-stream");
    let delivery = world.delivery(&file, UnixMillis(START.0 + 100_000));
    let asking = world.parties().await;
    let ask = |role, min_witnesses| {
        let case = Some(world.case(&delivery, role, Query));
        let mut parties = asking.clone();
        async move {
            let request = proto::GetEvidenceRequest { case, min_witnesses, wait_millis: 50 };
            parties.get_evidence(request).await.map(tonic::Response::into_inner)
        }
    };
    assert_reason(ask(Originator, 0).await, Code::NotFound, "VERDICT_NOT_FOUND");
    let case = world.case(&delivery, Originator, arbiter_protocol::message::request::Action::Deposit);
    deposit(&mut parties, upload(case, &content(1000), 1000)).await.unwrap();
    assert_eq!(ask(Responder, 0).await.unwrap().evidence.len(), 1);
    resolve(&mut parties, world.case(&delivery, Originator, Resolve)).await.unwrap();
    for role in [Originator, Responder] {
        let request = world.request(&delivery, role, Query).digest();
        for (wanted, witnessed) in [(0, true), (1, false)] {
            let reply = ask(role, wanted).await.unwrap();
            assert_eq!(reply.witnessed, witnessed);
            let mut kinds = Vec::new();
            for evidence in reply.evidence {
                let receipt = Receipt::try_from(evidence.receipt.unwrap()).unwrap();
                let proven = receipt.verify(delivery.offer(), Some(request)).unwrap();
                kinds.push(matches!(proven.ruled, Ruled::Verdict(_)));
                let proof = TlogProof::parse(&evidence.tlog_proof).unwrap();
                let proved = proof.verify(&receipt.leaf, &policy(&world)).unwrap();
                assert_eq!(proved.index, proven.leaf.index);
            }
            assert_eq!(kinds, [false, true], "the attestation, then the verdict");
        }
    }
    // The request must be a query by a party.
    for action in [Resolve, Abort] {
        let case = Some(world.case(&delivery, Originator, action));
        let request = proto::GetEvidenceRequest { case, min_witnesses: 0, wait_millis: 0 };
        assert_reason(parties.get_evidence(request).await, Code::InvalidArgument, "ACTION_MISMATCH");
    }
    let mut case = world.case(&delivery, Originator, Query);
    case.request = world.case(&world.contract(), Originator, Query).request;
    let request = proto::GetEvidenceRequest { case: Some(case), min_witnesses: 0, wait_millis: 0 };
    assert!(parties.get_evidence(request).await.is_err(), "a query about another exchange");
    let filed = world.case(&delivery, Originator, Query).admit(&world.arbiter).unwrap();
    let Filed::Receipt(replayed) = world.engine.file(filed.clone(), ByRole::default()).await.unwrap() else {
        panic!("a verdict is there");
    };
    let (_, same) = world.engine.evidence(&filed).unwrap().pop().unwrap();
    assert_eq!(same, *replayed, "the same bytes as every other answer (F6)");
    publisher.stop().await.unwrap();
}
