//! The arbiter over gRPC: a server on loopback in front of the arbiter of the tests, which can fail on request.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A test may stop where it likes.

mod common;

use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arbiter_client::arbiter::{ArbiterPort, Filing, PortError, Reason, Retry, grpc::GrpcArbiter};
use arbiter_client::bundle::Bundle;
use arbiter_client::clock::{Clock as _, SystemClock};
use arbiter_client::error::Usage;
use arbiter_client::identity::ArbiterPin;
use arbiter_client::protocol::crypto::{MemorySigner, Signer as _};
use arbiter_client::protocol::escrow::EscrowSecret;
use arbiter_client::protocol::evidence::note::VerifierKey;
use arbiter_client::protocol::exchange::kind::pledge::Pledge;
use arbiter_client::protocol::exchange::selection::{ByRole, Role};
use arbiter_client::protocol::ids::Digest;
use arbiter_client::protocol::message::escrow_epoch::EscrowEpoch;
use arbiter_client::protocol::message::request::{Action, Request as PartyRequest};
use arbiter_client::protocol::statement::{Envelope, Signed, Verified};
use arbiter_client::protocol::time::DurationMillis;
use arbiter_client::testing::{Bench, Cheat, Cheater, TestArbiter, identity};
use arbiter_client::transport::grpc::Listener;
use arbiter_client::transport::memory::{End, Wire};
use arbiter_client::{Error, Give, Outcome};
use arbiter_protocol::wire::arbiter as proto;
use arbiter_protocol::wire::arbiter::arbiter_service_server::{ArbiterService, ArbiterServiceServer};
use arbiter_protocol::wire::arbiter::evidence_log_service_server::{
    EvidenceLogService, EvidenceLogServiceServer,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use common::{Deal, all_deals, arbiter_gave, content, has_peers_item, setting};
use tokio::net::TcpListener;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status, Streaming, async_trait};
use tonic_types::{ErrorDetails, StatusExt as _};
use zeroize::Zeroizing;

/// What the server does to the next calls, and what they looked like.
#[derive(Clone)]
struct Front {
    arbiter: TestArbiter,
    failures: Arc<AtomicU32>,
    code: Code,
    requests: Arc<Mutex<Vec<Vec<u8>>>>,
    /// What it says about its escrow keys.
    epochs: Arc<Mutex<Vec<Verified<EscrowEpoch>>>>,
    /// Takes and gives deposits, and then never says the last word.
    stuck: bool,
}

type Reply<T> = Result<Response<T>, Status>;

impl Front {
    fn filing(&self, case: Option<proto::Case>) -> Result<Filing, Status> {
        let case = case.unwrap();
        let envelope = |it: Option<_>| Envelope::from_wire(it.unwrap()).unwrap();
        let request = envelope(case.request);
        self.requests.lock().unwrap().push(request.encode());
        let waiting = self.failures.load(Ordering::SeqCst);
        if waiting > 0 {
            self.failures.store(waiting - 1, Ordering::SeqCst);
            let details = ErrorDetails::with_retry_info(Some(Duration::from_millis(40)));
            return Err(Status::with_error_details(self.code, "not now", details));
        }
        let offer = Signed::parse(envelope(case.offer)).unwrap();
        let offer: arbiter_client::protocol::statement::Verified<_> = Signed::verify_offer(offer).unwrap();
        let request = Signed::<PartyRequest>::parse(request).unwrap();
        let signer = offer.party(request.unverified().role).signing_key;
        let acceptance = case.acceptance.map(|it| {
            let signed = Signed::parse(Envelope::from_wire(it).unwrap()).unwrap();
            signed.verify(&offer.responder.signing_key).unwrap()
        });
        let escrow = |bytes: Option<Vec<u8>>| bytes.map(|bytes| Pledge::from_bytes(&bytes).unwrap());
        let some = |bytes: Vec<u8>| Some(bytes).filter(|bytes| !bytes.is_empty());
        let escrows = ByRole {
            originator: escrow(some(case.originator_escrow)),
            responder: escrow(some(case.responder_escrow)),
        };
        Ok(Filing { request: request.verify(&signer).unwrap(), offer, acceptance, escrows })
    }
}

fn status(error: PortError) -> Status {
    match error {
        PortError::Refused { reason, message, metadata } => {
            let details = ErrorDetails::with_error_info(
                reason.as_str(),
                "arbiter.v1",
                metadata.into_iter().collect::<std::collections::HashMap<_, _>>(),
            );
            Status::with_error_details(Code::FailedPrecondition, message, details)
        }
        other => Status::internal(other.to_string()),
    }
}

#[async_trait]
impl ArbiterService for Front {
    async fn get_arbiter_info(
        &self,
        _request: Request<proto::GetArbiterInfoRequest>,
    ) -> Reply<proto::GetArbiterInfoResponse> {
        let identity = self.arbiter.identity();
        let log_key = VerifierKey::new(identity.log_origin.as_str(), identity.log_key).unwrap();
        Ok(Response::new(proto::GetArbiterInfoResponse {
            key: identity.key.to_vec(),
            log_key: log_key.to_string(),
            log_origin: identity.log_origin.to_string(),
            rules: identity.rules,
            terms: "Answers within a second.\u{1b}[31m".to_owned(),
            limits: Some(proto::Limits { deposit_bytes: 1_234_567, ..Default::default() }),
            escrow_epochs: self.epochs.lock().unwrap().iter().map(|it| it.envelope().to_wire()).collect(),
            ..Default::default()
        }))
    }

    async fn verify_transfer(
        &self,
        request: Request<Streaming<proto::VerifyTransferRequest>>,
    ) -> Reply<proto::VerifyTransferResponse> {
        let mut parts = request.into_inner();
        let Some(proto::verify_transfer_request::Part::Case(case)) = parts.next().await.unwrap()?.part else {
            panic!("the case comes first")
        };
        let filing = self.filing(Some(case))?;
        let mut bytes = Vec::new();
        while let Some(part) = parts.next().await {
            let Some(proto::verify_transfer_request::Part::Chunk(chunk)) = part?.part else {
                panic!("then chunks")
            };
            assert!(chunk.len() <= 65_536);
            bytes.extend(chunk);
        }
        if self.stuck {
            std::future::pending::<()>().await;
        }
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), bytes)?;
        let receipt = self.arbiter.deposit(&filing, file.path()).await.map_err(status)?;
        Ok(Response::new(proto::VerifyTransferResponse {
            receipt: Some((&receipt).into()),
            ..Default::default()
        }))
    }

    async fn generate_item(
        &self,
        request: Request<proto::GenerateItemRequest>,
    ) -> Reply<proto::GenerateItemResponse> {
        let filing = self.filing(request.into_inner().case)?;
        let receipt = self.arbiter.resolve(&filing).await.map_err(status)?;
        Ok(Response::new(proto::GenerateItemResponse {
            receipt: Some((&receipt).into()),
            ..Default::default()
        }))
    }

    async fn revoke_transfer(
        &self,
        request: Request<proto::RevokeTransferRequest>,
    ) -> Reply<proto::RevokeTransferResponse> {
        let filing = self.filing(request.into_inner().case)?;
        let receipt = self.arbiter.revoke(&filing).await.map_err(status)?;
        Ok(Response::new(proto::RevokeTransferResponse {
            receipt: Some((&receipt).into()),
            ..Default::default()
        }))
    }

    async fn abort_exchange(
        &self,
        request: Request<proto::AbortExchangeRequest>,
    ) -> Reply<proto::AbortExchangeResponse> {
        let filing = self.filing(request.into_inner().case)?;
        let receipt = self.arbiter.abort(&filing).await.map_err(status)?;
        Ok(Response::new(proto::AbortExchangeResponse {
            receipt: Some((&receipt).into()),
            ..Default::default()
        }))
    }

    async fn get_evidence(
        &self,
        _request: Request<proto::GetEvidenceRequest>,
    ) -> Reply<proto::GetEvidenceResponse> {
        Err(Status::unimplemented("not asked for here"))
    }

    async fn get_verdict(
        &self,
        request: Request<proto::GetVerdictRequest>,
    ) -> Reply<proto::GetVerdictResponse> {
        let filing = self.filing(request.into_inner().case)?;
        let receipt = self.arbiter.query(&filing).await.map_err(status)?;
        Ok(Response::new(proto::GetVerdictResponse {
            receipt: Some((&receipt).into()),
            ..Default::default()
        }))
    }

    type FetchDepositStream = Pin<
        Box<dyn tokio_stream::Stream<Item = Result<proto::FetchDepositResponse, Status>> + Send + 'static>,
    >;

    async fn fetch_deposit(
        &self,
        request: Request<proto::FetchDepositRequest>,
    ) -> Reply<Self::FetchDepositStream> {
        use proto::fetch_deposit_response::Part;
        let filing = self.filing(request.into_inner().case)?;
        if self.stuck {
            let key = proto::FetchDepositResponse { part: Some(Part::EncapsulatedKey(vec![0; 32])) };
            let parts = tokio_stream::once(Ok(key)).chain(tokio_stream::pending());
            return Ok(Response::new(Box::pin(parts)));
        }
        let deposit = self.arbiter.fetch(&filing).await.map_err(status)?;
        let first = Part::EncapsulatedKey(deposit.encapsulated);
        let chunks = deposit.chunks.map(|chunk| chunk.map(Part::SealedChunk).map_err(status));
        let parts = tokio_stream::once(Ok(first)).chain(chunks);
        let parts = parts.map(|part| Ok(proto::FetchDepositResponse { part: Some(part?) }));
        Ok(Response::new(Box::pin(parts)))
    }

    async fn get_counters(
        &self,
        _request: Request<proto::GetCountersRequest>,
    ) -> Reply<proto::GetCountersResponse> {
        let counter = |(name, value): (&str, u64)| proto::Counter { name: name.to_owned(), value };
        let counters = self.arbiter.counters().into_iter().map(counter).collect();
        Ok(Response::new(proto::GetCountersResponse { counters }))
    }
}

#[async_trait]
impl EvidenceLogService for Front {
    async fn get_proof(&self, _request: Request<proto::GetProofRequest>) -> Reply<proto::GetProofResponse> {
        Err(Status::unimplemented("not asked for here"))
    }

    async fn get_checkpoint(
        &self,
        _request: Request<proto::GetCheckpointRequest>,
    ) -> Reply<proto::GetCheckpointResponse> {
        Err(Status::unimplemented("not asked for here"))
    }

    async fn get_entry(&self, _request: Request<proto::GetEntryRequest>) -> Reply<proto::GetEntryResponse> {
        Err(Status::unimplemented("not asked for here"))
    }

    async fn list_entries(
        &self,
        _request: Request<proto::ListEntriesRequest>,
    ) -> Reply<proto::ListEntriesResponse> {
        Err(Status::unimplemented("not asked for here"))
    }

    async fn get_inclusion_proof(
        &self,
        _request: Request<proto::GetInclusionProofRequest>,
    ) -> Reply<proto::GetInclusionProofResponse> {
        Err(Status::unimplemented("not asked for here"))
    }

    async fn get_consistency_proof(
        &self,
        request: Request<proto::GetConsistencyProofRequest>,
    ) -> Reply<proto::GetConsistencyProofResponse> {
        let sizes = request.into_inner();
        let proof = self.arbiter.consistency(sizes.old_size, sizes.new_size).await.map_err(status)?;
        let hashes = proof.iter().map(|hash| hash.to_vec()).collect();
        Ok(Response::new(proto::GetConsistencyProofResponse { hashes }))
    }
}

/// Serves, and gives the URL.
async fn serve(bench: &Bench, failures: u32, code: Code) -> (Front, String) {
    serve_front(bench, failures, code, false).await
}

async fn serve_front(bench: &Bench, failures: u32, code: Code, stuck: bool) -> (Front, String) {
    serve_arbiter(&bench.arbiter, failures, code, stuck).await
}

async fn serve_arbiter(arbiter: &TestArbiter, failures: u32, code: Code, stuck: bool) -> (Front, String) {
    let front = Front {
        stuck,
        epochs: Arc::new(Mutex::new(vec![arbiter.escrow_epoch()])),
        arbiter: arbiter.clone(),
        failures: Arc::new(AtomicU32::new(failures)),
        code,
        requests: Arc::default(),
    };
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    let server = tonic::transport::Server::builder()
        .add_service(ArbiterServiceServer::new(front.clone()))
        .add_service(EvidenceLogServiceServer::new(front.clone()))
        .serve_with_incoming(TcpListenerStream::new(socket));
    tokio::spawn(server);
    (front, url)
}

fn port(url: &str) -> Arc<dyn ArbiterPort> {
    Arc::new(GrpcArbiter::new(url, None).unwrap())
}

/// Waits until the arbiter has ruled.
async fn ruled(bench: &Bench, id: &arbiter_client::protocol::ids::ExchangeId) {
    while bench.arbiter.verdict(id).is_none() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Every call, in anger: a silent peer in each deal; the first calls fail and are repeated byte for byte.
#[tokio::test]
async fn a_party_gets_justice_over_grpc() {
    for deal in all_deals() {
        let folder = tempfile::tempdir().unwrap();
        let bench = Bench::new(folder.path());
        let setting = setting(&bench, deal, folder.path());
        let (front, url) = serve(&bench, 3, Code::Unavailable).await;
        let info = GrpcArbiter::new(&url, None).unwrap().info().await.unwrap();
        assert_eq!(info.identity, bench.arbiter.identity());
        assert_eq!(info.escrow_epochs, [bench.arbiter.escrow_epoch()]);
        let alice = bench.builder("alice").arbiter_port(port(&url)).patience(Duration::from_millis(100));
        let alice = alice.build().await.unwrap();
        let wire = Wire::default();
        let (mut a, mut b) = (wire.end(End::First), wire.end(End::Second));
        let id = alice.offer(setting.terms, setting.originator).await.unwrap();
        // The responder that deposits under a second acceptance makes alice fetch.
        let cheat =
            if deal.first() == Role::Responder { Cheat::SecondAcceptance } else { Cheat::WithholdItem };
        let cheater = Cheater::new(identity("bob"), cheat, setting.responder_file.clone())
            .with_arbiter(Arc::new(bench.arbiter.clone()))
            .for_time(Duration::from_secs(60));
        let run = async {
            match deal.first() {
                // Its deadline is an hour away: the verdict is there already, and alice asks for it.
                Role::Responder => {
                    tokio::select! {
                        outcome = alice.run(id, &mut a) => panic!("R-308: it waits: {outcome:?}"),
                        () = ruled(&bench, &id) => {}
                    }
                    assert!(alice.query(id).await.unwrap().is_some());
                    let port = GrpcArbiter::new(&url, None).unwrap();
                    let evidence = alice.status(id).await.unwrap().evidence;
                    let request = PartyRequest {
                        exchange_id: id,
                        agreement_id: None,
                        role: evidence.role,
                        action: arbiter_client::protocol::message::request::Action::Fetch,
                    };
                    let signer = arbiter_client::testing::signer("alice");
                    let request = arbiter_client::protocol::statement::Verified::sign(request, &signer);
                    let filing = Filing {
                        request,
                        offer: evidence.offer,
                        acceptance: None,
                        escrows: ByRole::default(),
                    };
                    let mut deposit = port.fetch(&filing).await.unwrap();
                    let mut sealed = 0;
                    while let Some(chunk) = deposit.chunks.next().await {
                        sealed += chunk.unwrap().len() - 16;
                    }
                    assert_eq!(sealed, content().len());
                    None
                }
                Role::Originator => Some(alice.run(id, &mut a).await.unwrap()),
            }
        };
        let outcome = tokio::select! {
            outcome = run => outcome,
            loot = cheater.respond(&mut b) => panic!("the cheater left first: {loot:?}"),
        };
        if let Some(outcome) = outcome {
            assert!(matches!(outcome, Outcome::Resolved(_)), "{deal:?}: {outcome:?}");
            assert!(has_peers_item(&outcome) && arbiter_gave(&bench, &id), "{deal:?}");
        }
        let requests = front.requests.lock().unwrap().clone();
        assert!(requests.len() >= 4, "{deal:?}: asked again");
        assert!(requests[..4].iter().all(|request| *request == requests[0]), "{deal:?}: always the same");
        let counted = GrpcArbiter::new(&url, None).unwrap().counters().await.unwrap();
        assert!(!counted.is_empty());
    }
}

/// A party that lost its journal, but not its key: the bundle has both escrows, and that is enough.
#[tokio::test]
async fn an_exchange_of_sealed_signatures_is_taken_from_a_bundle() {
    for deal in [Deal::Detached, Deal::FileForDetached] {
        let folder = tempfile::tempdir().unwrap();
        let bench = Bench::new(folder.path());
        let setting = setting(&bench, deal, folder.path());
        let file = setting.originator_file.clone();
        let alice = bench.builder("alice").build().await.unwrap();
        let wire = Wire::default();
        let (mut a, mut b) = (wire.end(End::First), wire.end(End::Second));
        let id = alice.offer(setting.terms, setting.originator).await.unwrap();
        let cheater =
            Cheater::new(identity("bob"), Cheat::WithholdItem, None).for_time(Duration::from_secs(60));
        let agreed = async {
            while alice.status(id).await.unwrap().evidence.acceptance.is_none() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            outcome = alice.run(id, &mut a) => panic!("{outcome:?}"),
            loot = cheater.respond(&mut b) => panic!("{loot:?}"),
            () = agreed => {}
        }
        let bundle = Bundle::of(&alice.status(id).await.unwrap().evidence);
        assert_eq!(bundle.signatures, ByRole::default(), "{deal:?}: nothing is shown yet");
        let bundle = Bundle::parse(&bundle.to_json()).unwrap();
        let anew = bench.builder("alice").store(folder.path().join("anew")).build().await.unwrap();
        for damage in [Role::Originator, Role::Responder] {
            let mut bad = bundle.clone();
            let other = bad.escrows.of(damage.peer()).clone();
            if bad.escrows.of(damage).is_none() || other.is_none() {
                continue;
            }
            *bad.escrows.of_mut(damage) = other;
            let refused = anew.import(&bad, file.as_slice()).await;
            assert!(matches!(refused, Err(Error::Usage(Usage::BadBundle))), "{damage}: {refused:?}");
        }
        let mut bad = bundle.clone();
        bad.escrows.responder = None;
        let refused = anew.import(&bad, file.as_slice()).await;
        assert!(matches!(refused, Err(Error::Usage(Usage::BadBundle))), "{refused:?}");

        assert_eq!(anew.import(&bundle, file.as_slice()).await.unwrap(), id);
        let outcome = anew.complain(id).await.unwrap();
        assert!(matches!(outcome, Outcome::Resolved(_)) && has_peers_item(&outcome), "{deal:?}: {outcome:?}");
        let served = bench.builder("alice").store(folder.path().join("third")).build().await.unwrap();
        let nothing = served.import(&Bundle::of(outcome.evidence()), file.as_slice()).await;
        assert!(matches!(nothing, Err(Error::Usage(Usage::Served))), "{nothing:?}");
    }
}

/// A refusal is not repeated; its reason and words come through.
#[tokio::test]
async fn a_refusal_is_an_answer() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let (front, url) = serve(&bench, 0, Code::Unavailable).await;
    let alice = bench.builder("alice").arbiter_port(port(&url)).build().await.unwrap();
    let id = alice.offer(setting(&bench, Deal::Contract, folder.path()).terms, Give::Nothing).await.unwrap();
    assert!(alice.query(id).await.unwrap().is_none());
    assert_eq!(front.requests.lock().unwrap().len(), 1);
}

/// Codes that are not about reach are not repeated; a dead arbiter is, until the time is over.
#[tokio::test]
async fn only_what_can_pass_is_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let (front, url) = serve(&bench, 1, Code::Internal).await;
    let alice = bench.builder("alice").arbiter_port(port(&url)).build().await.unwrap();
    let id = alice.offer(setting(&bench, Deal::Contract, folder.path()).terms, Give::Nothing).await.unwrap();
    let result = alice.complain(id).await;
    assert!(
        matches!(&result, Err(Error::Arbiter { reason: Reason::Unknown(code), .. }) if code == "Internal"),
        "{result:?}"
    );
    assert_eq!(front.requests.lock().unwrap().len(), 1);

    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let retry = Retry {
        first: Duration::from_millis(5),
        longest: Duration::from_millis(20),
        total: Duration::from_millis(200),
    };
    let bob = bench.builder("carol").arbiter_port(port(&format!("http://{free}"))).retry(retry);
    let bob = bob.build().await.unwrap();
    let id = bob.offer(setting(&bench, Deal::Contract, folder.path()).terms, Give::Nothing).await.unwrap();
    let result = bob.complain(id).await;
    assert!(result.as_ref().is_err_and(Error::is_retryable), "{result:?}");
}

/// A filing of alice's, whatever for.
fn filing_of(bench: &Bench, terms: arbiter_client::OfferTerms, action: Action) -> Filing {
    let offer = common::offer_of(bench, terms, 9);
    let offer = Verified::sign(offer, &arbiter_client::testing::signer("alice"));
    let offer = Signed::parse(offer.envelope().clone()).unwrap().verify_offer().unwrap();
    let request =
        PartyRequest { exchange_id: offer.exchange_id(), agreement_id: None, role: Role::Originator, action };
    let request = Verified::sign(request, &arbiter_client::testing::signer("alice"));
    Filing { request, offer, acceptance: None, escrows: ByRole::default() }
}

/// S37: an arbiter that accepts connections, or even requests, and then says nothing, is out of reach: no call waits
/// for ever. The file is larger than every window between the two, so that its upload gets stuck as well.
#[tokio::test]
async fn a_silent_arbiter_is_out_of_reach() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let setting = setting(&bench, Deal::FileForSignature, folder.path());
    let large = folder.path().join("large");
    std::fs::write(&large, vec![0; 8 << 20]).unwrap();
    let small = setting.originator_file.clone().unwrap();

    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("http://{}", socket.local_addr().unwrap());
    let accepting = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((connection, _)) = socket.accept().await {
            held.push(connection);
        }
    });
    let (_, stuck) = serve_front(&bench, 0, Code::Ok, true).await;

    let filing = |action| filing_of(&bench, setting.terms.clone(), action);
    for url in [&silent, &stuck] {
        let port = GrpcArbiter::new(url, None).unwrap().answer_within(Duration::from_millis(300));
        let calls = async {
            for file in [&small, &large] {
                let deposited = port.deposit(&filing(Action::Deposit), file).await;
                assert!(matches!(deposited, Err(PortError::Unavailable { .. })), "{url}: {deposited:?}");
            }
            let fetched = match port.fetch(&filing(Action::Fetch)).await {
                Ok(mut deposit) => deposit.chunks.next().await.expect("no end, only silence").map(|_| ()),
                Err(why) => Err(why),
            };
            assert!(matches!(fetched, Err(PortError::Unavailable { .. })), "{url}: {fetched:?}");
            if *url == silent {
                for answer in [
                    port.abort(&filing(Action::Abort)).await,
                    port.resolve(&filing(Action::Resolve)).await,
                    port.query(&filing(Action::Query)).await,
                ] {
                    assert!(matches!(answer, Err(PortError::Unavailable { .. })), "{answer:?}");
                }
                assert!(matches!(port.consistency(1, 2).await, Err(PortError::Unavailable { .. })));
                assert!(matches!(port.info().await, Err(PortError::Unavailable { .. })));
            }
        };
        // Only so that a fault shows as a failure instead of a test that never ends.
        tokio::time::timeout(Duration::from_secs(60), calls).await.expect("a call waits for ever");
    }
    accepting.abort();
}

/// `fairx init` asks the arbiter who it is, shows its terms as its own words, and keeps its limit with the pin.
#[tokio::test(flavor = "multi_thread")]
async fn fairx_init_shows_and_keeps_what_the_arbiter_says() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let (_front, url) = serve(&bench, 0, Code::Ok).await;
    let home = folder.path().join("home");
    let (made, home) = tokio::task::spawn_blocking(move || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_fairx"));
        command.arg("--home").arg(&home).args(["init", "--name", "Alice", "--arbiter", &url]);
        (command.output().unwrap(), home)
    })
    .await
    .unwrap();
    let said = String::from_utf8(made.stdout).unwrap();
    assert!(made.status.success(), "{said}");
    assert!(said.contains("  | Answers within a second.") && !said.contains('\u{1b}'), "{said}");
    assert!(said.contains("at most 1 234 567 bytes"), "{said}");
    let pin = ArbiterPin::load(&home.join("arbiter")).unwrap();
    assert_eq!((pin.identity, pin.deposit_bytes), (bench.arbiter.identity(), Some(1_234_567)));
}

/// A program `fairx` in a home of its own, off the async threads.
async fn fairx(home: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_fairx"));
    command.arg("--home").arg(home).args(arguments).stdin(std::process::Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code(), said)
}

/// The public line of a party of the tests.
fn id_line(name: &str) -> String {
    let party = identity(name).party();
    let bytes =
        [&party.signing_key.to_vec()[..], &party.sealing_key.to_vec(), party.name.as_bytes()].concat();
    format!("fairx-id:v1:{}", URL_SAFE_NO_PAD.encode(bytes))
}

/// The signing key of a party of the tests as OpenSSL reads it (RFC 8410).
fn private_pem(name: &str) -> String {
    let seed = Digest::of(&[b"test ", b"sign ", name.as_bytes()]);
    let prefix = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    let der = STANDARD.encode([&prefix[..], seed.as_bytes()].concat());
    format!("-----BEGIN PRIVATE KEY-----\n{der}\n-----END PRIVATE KEY-----\n")
}

/// F12, issue 3, 4: the peer takes what it gets and goes quiet. What the arbiter opens is, byte for byte, the file that
/// the peer's own tool makes, and OpenSSL accepts it.
#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_peers_signature_is_recovered_as_the_file_that_it_made_itself() {
    for kind in ["contract", "delivery"] {
        let folder = tempfile::tempdir().unwrap();
        let arbiter = TestArbiter::new(Arc::new(SystemClock));
        let (_front, url) = serve_arbiter(&arbiter, 0, Code::Ok, false).await;
        let home = folder.path().join("home");
        let (made, said) = fairx(&home, &["init", "--name", "Alice", "--arbiter", &url]).await;
        assert_eq!(made, Some(0), "{said}");
        assert!(said.contains("escrow key  1 until"), "{said}");
        let file = folder.path().join("contract.txt");
        std::fs::write(&file, "Alice sells her bicycle to Bob.").unwrap();

        let mut listener = Listener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().to_string();
        let cheater =
            Cheater::new(identity("bob"), Cheat::WithholdItem, None).for_time(Duration::from_secs(60));
        let quiet = tokio::spawn(async move { cheater.respond(&mut listener.accept().await).await });
        let out = folder.path().join("out");
        let path = |path: &Path| path.to_str().unwrap().to_owned();
        let (bob, contract, out_) = (id_line("bob"), path(&file), path(&out));
        let mut offer =
            vec!["offer", kind, "--file", &contract, "--to", &bob, "--connect", &address, "--yes"];
        offer.extend(["--patience", "300ms", "--linger", "100ms", "--margin", "100ms", "--out", &out_]);
        let (code, said) = fairx(&home, &offer).await;
        quiet.abort();
        assert_eq!(code, Some(0), "{said}");
        for part in ["resolved: the arbiter opened the sealed signature", "opens the sealed signature of the"]
        {
            assert!(said.contains(part), "{part}: {said}");
        }

        // Bob's own tool signs the same text.
        let key = folder.path().join("bob.pem");
        std::fs::write(&key, private_pem("bob")).unwrap();
        let (text, own) = (out.join("contract.txt.document.txt"), folder.path().join("own.sig"));
        let sign =
            ["pkeyutl", "-sign", "-inkey", &path(&key), "-rawin", "-in", &path(&text), "-out", &path(&own)];
        assert!(std::process::Command::new("openssl").args(sign).status().unwrap().success());
        let recovered = std::fs::read(out.join("contract.txt.responder.sig")).unwrap();
        assert_eq!(recovered, std::fs::read(&own).unwrap(), "{kind}: the same file");
        let command = said.lines().skip_while(|line| !line.contains("or with OpenSSL:")).nth(1).unwrap();
        let checked = std::process::Command::new("sh").args(["-c", command]).output().unwrap();
        assert!(checked.status.success(), "{command}: {checked:?}");

        let bundle = std::fs::read_dir(home.join("evidence")).unwrap().next().unwrap().unwrap().path();
        let (code, said) = fairx(&home, &["verify", &path(&bundle), "--file", &path(&own)]).await;
        assert_eq!(code, Some(0), "{said}");
        for part in [
            "it opened the seal of a signature on",
            "the very signature that had been put there",
            "what the arbiter opened is the responder's escrow in this bundle",
            "is, byte for byte, the responder's signature in this bundle",
            "From a signature file alone",
            "GOOD: resolved",
        ] {
            let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(said.contains(part), "{kind}: {part}: {said}");
        }
        // The journal writes the same files again; other content is never overwritten.
        let id = bundle.file_stem().unwrap().to_str().unwrap().to_owned();
        std::fs::write(out.join("contract.txt.responder.sig"), "mine").unwrap();
        let (code, said) = fairx(&home, &["resume", &id, "--out", &out_, "--linger", "50ms"]).await;
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("not overwritten") && said.contains("outcome  resolved"), "{said}");
        let again = folder.path().join("again");
        let (code, said) = fairx(&home, &["resume", &id, "--out", &path(&again), "--linger", "50ms"]).await;
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(std::fs::read(again.join("contract.txt.responder.sig")).unwrap(), recovered);
    }
}

/// Issue 3, 5: newer escrow keys are added to the pin; another arbiter, or another key for a known epoch, is refused.
#[tokio::test(flavor = "multi_thread")]
async fn fairx_pin_refresh_adds_newer_escrow_keys_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    let arbiter = TestArbiter::new(Arc::new(SystemClock));
    let (front, url) = serve_arbiter(&arbiter, 0, Code::Ok, false).await;
    assert_eq!(fairx(&home, &["init", "--name", "Alice", "--arbiter", &url]).await.0, Some(0));
    let pinned = || ArbiterPin::load(&home.join("arbiter")).unwrap();
    let first = pinned();
    assert_eq!(first.epochs(), [arbiter.escrow_epoch()]);
    let (code, said) = fairx(&home, &["pin", "refresh"]).await;
    assert!(code == Some(0) && said.contains("no new escrow key"), "{said}");

    let second = arbiter.begin_epoch(SystemClock.now().after(DurationMillis(1 << 40)));
    front.epochs.lock().unwrap().push(second.clone());
    let (code, said) = fairx(&home, &["pin", "refresh"]).await;
    assert!(code == Some(0) && said.contains("1 new escrow key") && said.contains("2 until"), "{said}");
    assert_eq!(pinned().epochs().last(), Some(&second));
    let before = std::fs::read(home.join("arbiter")).unwrap();

    // The arbiter signs another key for epoch 2.
    let key = MemorySigner::from_seed(&Zeroizing::new([101; 32]));
    assert_eq!(key.public_key(), arbiter.identity().key, "the key of the arbiter of the tests");
    let other = EscrowSecret::from_seed(&Zeroizing::new([9; 32]), *key.public_key().as_bytes(), 2).unwrap();
    let changed = EscrowEpoch { key: *other.public().as_bytes(), ..(*second).clone() };
    *front.epochs.lock().unwrap() = vec![Verified::sign(changed, &key)];
    let (code, said) = fairx(&home, &["pin", "refresh"]).await;
    assert!(code == Some(2) && said.contains("two different keys"), "{said}");
    // Another arbiter answers there.
    let mut stranger = first.identity.clone();
    stranger.rules = "arbiter/rules/v9".into();
    let stranger = ArbiterPin::new(stranger, &url).unwrap();
    let elsewhere = folder.path().join("elsewhere");
    let made = fairx(&elsewhere, &["init", "--name", "Bob", "--arbiter", &stranger.to_string()]).await;
    assert_eq!(made.0, Some(0), "{}", made.1);
    let (code, said) = fairx(&elsewhere, &["pin", "refresh"]).await;
    assert!(code == Some(1) && said.contains("ANOTHER arbiter"), "{said}");
    assert_eq!(std::fs::read(home.join("arbiter")).unwrap(), before);
}
