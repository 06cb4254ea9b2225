//! The API over a real gRPC server in this process: every method, every refusal with its own reason.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may fail")]

mod common;
#[path = "api/escrow.rs"]
mod escrow;
#[path = "api/limits.rs"]
mod limits_and_ends;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arbiter::grpc::Api;
use arbiter::store::Store as _;
use arbiter_protocol::crypto::Opener;
use arbiter_protocol::evidence::checkpoint::SignedCheckpoint;
use arbiter_protocol::evidence::leaf::{Event, Leaf};
use arbiter_protocol::evidence::merkle::{leaf_hash, verify_consistency, verify_inclusion};
use arbiter_protocol::evidence::note::VerifierKey;
use arbiter_protocol::exchange::item::{Description, Information, Item};
use arbiter_protocol::exchange::selection::Role::{Originator, Responder};
use arbiter_protocol::exchange::selection::{Protocol, Selection};
use arbiter_protocol::ids::{Digest, LeafIndex};
use arbiter_protocol::limits;
use arbiter_protocol::message::agreement::Agreement;
use arbiter_protocol::message::request::Action::{Abort, Deposit, Fetch, Query, Resolve};
use arbiter_protocol::message::request::Request;
use arbiter_protocol::message::verdict::Ruling;
use arbiter_protocol::message::wire;
use arbiter_protocol::role::arbiter::Escrows;
use arbiter_protocol::ruling::receipt::Ruled;
use arbiter_protocol::ruling::sequencer::ContentId;
use arbiter_protocol::statement::{Payload as _, Verified};
use arbiter_protocol::time::{DurationMillis, UnixMillis};
use arbiter_protocol::wire::arbiter as proto;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt as _;

use common::*;

const DAY: DurationMillis = DurationMillis(86_400_000);

fn deadline() -> UnixMillis {
    START.after(DAY)
}

// ---- what the arbiter says about itself

#[tokio::test(flavor = "multi_thread")]
async fn info_names_keys_origin_rules_limits_and_clock() {
    let api = Api { terms: "Best effort.".into(), max_deposit_bytes: 12_345, ..Api::default() };
    let world = World::with(api).await;
    let mut parties = world.parties().await;
    let info = parties.get_arbiter_info(proto::GetArbiterInfoRequest {}).await.unwrap().into_inner();
    assert_eq!(info.key, world.arbiter.key.to_vec());
    let log_key = VerifierKey::parse(&info.log_key).unwrap();
    assert_eq!(log_key.public_key(), Some(world.arbiter.log_key));
    assert_eq!(log_key.name(), info.log_origin);
    assert_eq!(info.log_origin, "arbiter.example/evidence");
    assert_eq!(info.rules, "arbiter/rules/v1");
    assert_eq!(info.terms, "Best effort.");
    assert_eq!(info.clock, START.0);
    assert_eq!(info.version, env!("CARGO_PKG_VERSION"));
    let limits = info.limits.unwrap();
    assert_eq!((limits.deposit_bytes, limits.chunk_bytes, limits.statement_bytes), (12_345, 65_536, 32_768));
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_and_leaves_are_counted_refused_calls_too() {
    let world = World::new().await;
    let (mut parties, mut auditors) = (world.parties().await, world.auditors().await);
    let agreement = world.contract();
    let count = async |parties: &mut Parties, name: &str| {
        let counters = parties.get_counters(proto::GetCountersRequest {}).await.unwrap().into_inner();
        counters.counters.into_iter().find(|counter| counter.name == name).unwrap().value
    };
    assert_eq!(count(&mut parties, "leaves").await, 0, "the beginning of the log is no ruling");
    for method in ["VerifyTransfer", "GenerateItem", "AbortExchange", "GetVerdict", "FetchDeposit"] {
        assert_eq!(count(&mut parties, &format!("calls/{method}")).await, 0);
    }
    for _ in 0..2 {
        resolve(&mut parties, world.case(&agreement, Originator, Resolve)).await.unwrap();
    }
    query(&mut parties, world.case(&agreement, Responder, Query)).await.unwrap();
    resolve(&mut parties, proto::Case::default()).await.unwrap_err();
    auditors.get_checkpoint(proto::GetCheckpointRequest {}).await.unwrap();
    assert_eq!(count(&mut parties, "calls/GenerateItem").await, 3);
    assert_eq!(count(&mut parties, "calls/GetVerdict").await, 1);
    assert_eq!(count(&mut parties, "calls/GetCheckpoint").await, 1);
    assert_eq!(count(&mut parties, "calls/AbortExchange").await, 0);
    assert_eq!(count(&mut parties, "leaves").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_reflection_answer() {
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

    let world = World::new().await;
    let mut health = HealthClient::new(world.channel().await);
    for service in ["", "arbiter.v1.ArbiterService", "arbiter.v1.EvidenceLogService"] {
        assert_eq!(status_of(&mut health, service).await, ServingStatus::Serving);
    }
    let mut reflection = ServerReflectionClient::new(world.channel().await);
    let ask = |message_request| ServerReflectionRequest {
        host: String::new(),
        message_request: Some(message_request),
    };
    let requests = vec![
        ask(MessageRequest::ListServices(String::new())),
        ask(MessageRequest::FileContainingSymbol("arbiter.v1.ArbiterService".into())),
    ];
    let mut replies =
        reflection.server_reflection_info(tokio_stream::iter(requests)).await.unwrap().into_inner();
    let reply = replies.message().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(list) = reply else { panic!("{reply:?}") };
    let mut names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    names.sort();
    assert_eq!(
        names,
        [
            "arbiter.v1.ArbiterService",
            "arbiter.v1.EvidenceLogService",
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection"
        ]
    );
    let reply = replies.message().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::FileDescriptorResponse(files) = reply else { panic!("{reply:?}") };
    assert!(!files.file_descriptor_proto.is_empty());
}

async fn status_of(health: &mut HealthClient<tonic::transport::Channel>, service: &str) -> ServingStatus {
    let request = tonic_health::pb::HealthCheckRequest { service: service.into() };
    health.check(request).await.unwrap().into_inner().status()
}

// ---- P1: contract signing

/// S13: the same request gets the same bytes, another one the same verdict.
#[tokio::test(flavor = "multi_thread")]
async fn a_contract_is_resolved_once_and_replayed_byte_for_byte() {
    let world = World::new().await;
    let mut parties = world.parties().await;
    let agreement = world.contract();
    let case = world.case(&agreement, Originator, Resolve);
    let receipt = resolve(&mut parties, case.clone()).await.unwrap();
    let proven = prove(receipt.clone(), &agreement, &case);
    let Ruled::Verdict(verdict) = proven.ruled else { panic!("not a verdict") };
    let Ruling::Replaced(list) = &verdict.ruling else { panic!("aborted") };
    assert_eq!(list.iter().map(|it| it.role).collect::<Vec<_>>(), [Originator, Responder]);
    assert_eq!((verdict.rule.as_str(), verdict.leaf_index, verdict.time), ("R-404", LeafIndex(1), START));

    // The same request gets the same bytes, later too; another request the same statement.
    world.clock.set(START.after(DAY));
    assert_eq!(resolve(&mut parties, case).await.unwrap(), receipt);
    for (role, action) in [(Originator, Query), (Responder, Query), (Responder, Resolve), (Originator, Abort)]
    {
        let case = world.case(&agreement, role, action);
        let again = match action {
            Query => query(&mut parties, case.clone()).await,
            Resolve => resolve(&mut parties, case.clone()).await,
            _ => abort(&mut parties, case.clone()).await,
        };
        let again = again.unwrap();
        assert_eq!((&again.statement, &again.leaf), (&receipt.statement, &receipt.leaf));
        assert_ne!(again.answer, receipt.answer, "the answer binds the request");
        prove(again, &agreement, &case);
    }
}

/// S7, S8, S9: an abort holds for a responder that accepted, too.
#[tokio::test(flavor = "multi_thread")]
async fn the_originator_aborts_before_and_after_it_saw_an_acceptance() {
    let world = World::new().await;
    let mut parties = world.parties().await;
    let agreement = world.contract();
    let case = world.case_without_acceptance(&agreement, Abort);
    let receipt = abort(&mut parties, case.clone()).await.unwrap();
    let proven = prove(receipt.clone(), &agreement, &case);
    assert_eq!(proven.ruled.verdict().unwrap().ruling, Ruling::Aborted);
    assert_eq!(proven.leaf.event, Event::VerdictAborted);
    // The responder, who accepted, hears the same; R-401 goes before R-404.
    let case = world.case(&agreement, Responder, Resolve);
    let heard = resolve(&mut parties, case.clone()).await.unwrap();
    assert_eq!(heard.statement, receipt.statement);
    prove(heard, &agreement, &case);

    let agreement = world.contract();
    let case = world.case(&agreement, Originator, Abort);
    let proven = prove(abort(&mut parties, case.clone()).await.unwrap(), &agreement, &case);
    assert_eq!(proven.ruled.verdict().unwrap().rule, "R-403");
}

/// refused, and nothing is ruled.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_rules_of_p1_forbid_is_refused_by_name() {
    let world = World::new().await;
    let mut parties = world.parties().await;
    let agreement = world.contract();
    let precondition = Code::FailedPrecondition;

    let status = assert_reason(
        query(&mut parties, world.case(&agreement, Originator, Query)).await,
        Code::NotFound,
        "VERDICT_NOT_FOUND",
    );
    assert!(status.get_details_precondition_failure().is_some());
    assert_reason(
        abort(&mut parties, world.case(&agreement, Responder, Abort)).await,
        precondition,
        "ABORT_NOT_ALLOWED",
    );
    assert_reason(
        resolve(&mut parties, world.case_without_acceptance(&agreement, Resolve)).await,
        precondition,
        "ACCEPTANCE_REQUIRED",
    );
    assert_reason(
        fetch(&mut parties, world.case(&agreement, Originator, Fetch)).await,
        precondition,
        "DEPOSIT_NOT_RELEASED",
    );
    let messages = upload(world.case(&agreement, Originator, Deposit), b"x", 1);
    assert_reason(deposit(&mut parties, messages).await, precondition, "DEPOSIT_NOT_ALLOWED");
    assert_eq!(world.engine.log_size(), 1, "nothing was ruled");
}

// ---- statements that are not what they must be

#[tokio::test(flavor = "multi_thread")]
async fn a_request_for_another_method_is_refused() {
    let world = World::new().await;
    let mut parties = world.parties().await;
    let agreement = world.contract();
    let invalid = Code::InvalidArgument;
    let case = |action| world.case(&agreement, Originator, action);
    for action in [Abort, Deposit, Fetch, Query] {
        let status = assert_reason(resolve(&mut parties, case(action)).await, invalid, "ACTION_MISMATCH");
        assert_eq!(metadata(&status, "method").unwrap(), "GenerateItem");
    }
    assert_reason(abort(&mut parties, case(Resolve)).await, invalid, "ACTION_MISMATCH");
    assert_reason(query(&mut parties, case(Abort)).await, invalid, "ACTION_MISMATCH");
    assert_reason(fetch(&mut parties, case(Query)).await, invalid, "ACTION_MISMATCH");
    assert_reason(deposit(&mut parties, upload(case(Fetch), b"x", 1)).await, invalid, "ACTION_MISMATCH");
    assert_eq!(world.engine.log_size(), 1);
}

/// and what else is wrong with the form of a case.
#[tokio::test(flavor = "multi_thread")]
async fn every_malformed_case_has_its_own_reason() {
    let world = World::new().await;
    let mut parties = world.parties().await;
    let agreement = world.contract();
    let good = world.case(&agreement, Originator, Resolve);
    let alice = &world.alice.signer;
    let payload = || good.request.clone().unwrap().payload;
    let request = |change: &dyn Fn(&mut wire::Request)| {
        let mut request = wire::Request::decode(payload().as_slice()).unwrap();
        change(&mut request);
        let request = Some(sign_request(alice, request.encode_to_vec()));
        proto::Case { request, ..good.clone() }
    };
    let envelope = |change: &dyn Fn(&mut wire::Envelope)| {
        let mut case = good.clone();
        change(case.request.as_mut().unwrap());
        case
    };
    let bytes =
        |payload: Vec<u8>| proto::Case { request: Some(sign_request(alice, payload)), ..good.clone() };
    let unknown_field = [payload().as_slice(), &[0xf8, 0x01, 0x01]].concat();
    let reordered = {
        // The version, which is the first field, put last.
        let all = payload();
        [&all[2..], &all[..2]].concat()
    };

    let cases = [
        ("FIELD_MISSING", proto::Case { request: None, ..good.clone() }),
        ("FIELD_MISSING", proto::Case { offer: None, ..good.clone() }),
        ("SIGNATURE_COUNT_INVALID", envelope(&|it| it.signatures.clear())),
        ("SIGNATURE_COUNT_INVALID", envelope(&|it| it.signatures.push(it.signatures[0].clone()))),
        ("SIGNATURE_INVALID", envelope(&|it| it.signatures[0].signature[5] ^= 1)),
        ("SIGNATURE_INVALID", envelope(&|it| it.signatures[0].signature = vec![0; 64])),
        ("FIELD_LENGTH_INVALID", envelope(&|it| it.signatures[0].signature = vec![0; 63])),
        ("FIELD_LENGTH_INVALID", envelope(&|it| it.signatures[0].key_id = vec![0; 31])),
        ("PAYLOAD_TYPE_UNEXPECTED", envelope(&|it| it.payload_type.push('x'))),
        ("TOO_LARGE", envelope(&|it| it.payload_type = "x".repeat(limits::PAYLOAD_TYPE_BYTES + 1))),
        ("TOO_LARGE", envelope(&|it| it.payload = vec![0; limits::STATEMENT_BYTES + 1])),
        ("STATEMENT_MALFORMED", bytes(vec![0xff; 10])),
        ("STATEMENT_NOT_CANONICAL", bytes(unknown_field)),
        ("STATEMENT_NOT_CANONICAL", bytes(reordered)),
        ("VERSION_UNSUPPORTED", request(&|it| it.version = 2)),
        ("FIELD_LENGTH_INVALID", request(&|it| it.exchange_id.push(0))),
        ("FIELD_VALUE_INVALID", request(&|it| it.action = 7)),
        ("FIELD_VALUE_INVALID", request(&|it| it.action = 0)),
        ("FIELD_VALUE_INVALID", request(&|it| it.role = 3)),
        // A statement of another type in the place of the request.
        ("PAYLOAD_TYPE_UNEXPECTED", proto::Case { request: good.offer.clone(), ..good.clone() }),
        ("PAYLOAD_TYPE_UNEXPECTED", proto::Case { acceptance: good.offer.clone(), ..good.clone() }),
        // The acceptance signed by somebody else.
        ("SIGNER_NOT_ENTITLED", {
            let acceptance = good.acceptance.clone().unwrap();
            let forged = sign_bytes(&world.mallory.signer, &acceptance.payload_type, acceptance.payload);
            proto::Case { acceptance: Some(forged), ..good.clone() }
        }),
    ];
    for (expected, case) in cases {
        let status = assert_reason(resolve(&mut parties, case).await, Code::InvalidArgument, expected);
        if expected.starts_with("FIELD_") {
            let field = metadata(&status, "field").unwrap();
            let violations = status.get_details_bad_request().unwrap().field_violations;
            assert_eq!(violations.into_iter().map(|it| it.field).collect::<Vec<_>>(), [field]);
        }
    }
    let request = proto::GenerateItemRequest { case: None };
    assert_reason(parties.generate_item(request).await, Code::InvalidArgument, "FIELD_MISSING");
    assert_eq!(world.engine.log_size(), 1, "nothing was ruled");
    resolve(&mut parties, good.clone()).await.expect("and the good one still is");
}

/// each rule broken by one change of a good offer.
#[tokio::test(flavor = "multi_thread")]
async fn an_offer_that_breaks_a_rule_has_its_own_reason() {
    let world = World::new().await;
    let mut parties = world.parties().await;
    let good = world.contract();
    let offer = |change: &dyn Fn(&mut wire::Offer)| {
        let mut offer = wire::Offer::decode(good.offer().envelope().payload()).unwrap();
        change(&mut offer);
        let payload = offer.encode_to_vec();
        let id = Digest::of(&[&arbiter_protocol::statement::pae(OFFER, &payload)]);
        let request =
            wire::Request { exchange_id: id.to_vec(), version: 1, role: 1, action: 1, ..Default::default() };
        proto::Case {
            request: Some(sign_request(&world.alice.signer, request.encode_to_vec())),
            offer: Some(sign_bytes(&world.alice.signer, OFFER, payload)),
            acceptance: None,
            ..Default::default()
        }
    };
    const OFFER: &str = arbiter_protocol::message::agreement::Offer::TYPE;
    abort(&mut parties, offer(&|it| it.nonce[0] ^= 1)).await.expect("only the change below is at fault");

    let precondition = Code::FailedPrecondition;
    let alice = world.alice.party.clone();
    type Bend<'a> = &'a dyn Fn(&mut wire::Offer);
    let cases: [(Code, &str, Bend); 14] = [
        (precondition, "OTHER_ARBITER", &|it| {
            it.arbiter.as_mut().unwrap().key = world.mallory.party.signing_key.to_vec()
        }),
        (precondition, "OTHER_ARBITER", &|it| {
            it.arbiter.as_mut().unwrap().log_key = world.mallory.party.signing_key.to_vec()
        }),
        (precondition, "OTHER_ARBITER", &|it| it.arbiter.as_mut().unwrap().log_origin.push('x')),
        (precondition, "OTHER_ARBITER", &|it| it.arbiter.as_mut().unwrap().rules.push('x')),
        (precondition, "PARTIES_NOT_DISTINCT", &|it| {
            it.responder.as_mut().unwrap().signing_key = alice.signing_key.to_vec()
        }),
        (precondition, "SELECTION_MISMATCH", &|it| it.first_sender = 2),
        (precondition, "DEADLINE_MISMATCH", &|it| it.complain_by = deadline().0),
        (Code::InvalidArgument, "KEY_WEAK", &|it| it.responder.as_mut().unwrap().signing_key = vec![0; 32]),
        (Code::InvalidArgument, "FIELD_MISSING", &|it| it.responder_item = None),
        (Code::InvalidArgument, "FIELD_VALUE_INVALID", &|it| it.protocol = 9),
        (Code::InvalidArgument, "FIELD_VALUE_INVALID", &|it| {
            it.originator.as_mut().unwrap().name = "A\u{202e}lice".into()
        }),
        (Code::InvalidArgument, "FIELD_LENGTH_INVALID", &|it| it.nonce.truncate(31)),
        (Code::InvalidArgument, "FIELD_LENGTH_INVALID", &|it| {
            it.originator.as_mut().unwrap().name = "A".repeat(limits::NAME_BYTES + 1)
        }),
        (Code::InvalidArgument, "VERSION_UNSUPPORTED", &|it| it.version = 0),
    ];
    for (code, expected, change) in cases {
        assert_reason(abort(&mut parties, offer(change)).await, code, expected);
    }
    assert_eq!(world.engine.log_size(), 2);
}

/// S10, S44: who is not the party, and what is of another exchange.
#[tokio::test(flavor = "multi_thread")]
async fn strangers_other_roles_and_other_exchanges_are_refused() {
    let world = World::new().await;
    let mut parties = world.parties().await;
    let (agreement, other) = (world.contract(), world.contract());
    let good = world.case(&agreement, Originator, Resolve);
    let denied = Code::PermissionDenied;

    // A stranger, and Bob in the role of Alice.
    let request = (*world.request(&agreement, Originator, Resolve)).clone();
    for signer in [&world.mallory.signer, &world.bob.signer] {
        let request = Verified::sign(request.clone(), signer);
        let case =
            proto::Case::file(&request, agreement.offer(), Some(agreement.acceptance()), &Escrows::default());
        assert_reason(resolve(&mut parties, case).await, denied, "NOT_A_PARTY");
    }
    // Statements of one exchange beside those of another (attacks K1, K3, K9).
    let precondition = Code::FailedPrecondition;
    let case = proto::Case { request: world.case(&other, Originator, Resolve).request, ..good.clone() };
    assert_reason(resolve(&mut parties, case).await, precondition, "OTHER_EXCHANGE");
    let case = proto::Case { acceptance: world.case(&other, Originator, Resolve).acceptance, ..good.clone() };
    assert_reason(resolve(&mut parties, case).await, precondition, "ACCEPTANCE_MISMATCH");
    // The request names no agreement, or another, than the acceptance beside it makes.
    for agreement_id in [None, Some(other.id())] {
        let request = Request { agreement_id, ..request.clone() };
        let request = Verified::sign(request, &world.alice.signer);
        let case =
            proto::Case::file(&request, agreement.offer(), Some(agreement.acceptance()), &Escrows::default());
        assert_reason(resolve(&mut parties, case).await, precondition, "ACCEPTANCE_MISMATCH");
    }
    assert_eq!(world.engine.log_size(), 1);
}

/// refused before anything is read into it.
#[tokio::test(flavor = "multi_thread")]
async fn messages_that_are_too_large_or_no_messages_get_a_reason_too() {
    let world = World::new().await;
    let mut parties = world.parties().await;
    let agreement = world.contract();
    let mut case = world.case(&agreement, Originator, Resolve);
    case.request.as_mut().unwrap().payload = vec![0; 300 * 1024];
    let status = assert_reason(resolve(&mut parties, case).await, Code::InvalidArgument, "TOO_LARGE");
    assert_eq!(metadata(&status, "maximum").unwrap(), "262144");

    // A message of another method, whose first field is a number where a case is expected.
    let channel = world.channel().await;
    let wrong = proto::GetEntryRequest { index: 7 };
    let result = raw::<_, proto::GetVerdictResponse>(channel.clone(), "GetVerdict", wrong).await;
    assert_reason(result, Code::InvalidArgument, "MESSAGE_MALFORMED");
    let nothing = proto::GetCountersRequest {};
    let result = raw::<_, proto::GetCountersResponse>(channel, "SetVerdict", nothing).await;
    assert_reason(result, Code::Unimplemented, "METHOD_UNKNOWN");
}

/// A unary call with any message.
async fn raw<T, U>(channel: tonic::transport::Channel, method: &str, message: T) -> Result<U, tonic::Status>
where
    T: prost::Message + Send + Sync + 'static,
    U: prost::Message + Default + Send + Sync + 'static,
{
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.unwrap();
    let path = format!("/arbiter.v1.ArbiterService/{method}").parse().unwrap();
    let codec = tonic_prost::ProstCodec::<T, U>::default();
    Ok(client.unary(tonic::Request::new(message), path, codec).await?.into_inner())
}

// ---- P2: deposit, complaint, fetch

/// nobody fetches before the verdict, and the depositor never.
#[tokio::test(flavor = "multi_thread")]
async fn a_deposit_is_attested_complained_about_and_fetched() {
    let world = World::new().await;
    let mut parties = world.parties().await;
    // Around the size of a chunk, in messages that do not fit chunks, for both orientations.
    let chunk_bytes = limits::CHUNK_BYTES;
    for (size, step) in [
        (1, 1),
        (chunk_bytes - 1, 1000),
        (chunk_bytes, chunk_bytes),
        (chunk_bytes + 1, 40_000),
        (2 * chunk_bytes, 65_535),
        (3 * chunk_bytes + 77, 50_001),
    ] {
        let content = content(size);
        let file = describe(&content, "application/octet-stream");
        let forth = (world.delivery(&file, deadline()), Originator);
        let back = (world.collection(&file, deadline()), Responder);
        for (agreement, sender) in [forth, back] {
            let case = world.case(&agreement, sender, Deposit);
            let receipt = deposit(&mut parties, upload(case.clone(), &content, step)).await.unwrap();
            let proven = prove(receipt, &agreement, &case);
            let Ruled::Attestation(attestation) = &proven.ruled else { panic!("not an attestation") };
            assert_eq!(attestation.depositor, sender);
            assert_eq!(attestation.item, agreement.offer().item(sender).digest());

            let fetching = world.case(&agreement, sender.peer(), Fetch);
            assert_reason(
                fetch(&mut parties, fetching.clone()).await,
                Code::FailedPrecondition,
                "DEPOSIT_NOT_RELEASED",
            );
            let case = world.case(&agreement, sender, Resolve);
            let proven = prove(resolve(&mut parties, case.clone()).await.unwrap(), &agreement, &case);
            assert_eq!(proven.ruled.verdict().unwrap().rule, "R-406");

            let (key, chunks) = fetch(&mut parties, fetching).await.unwrap();
            let receiver = world.peer(sender.peer());
            let mut opener = Opener::new(&receiver.secret, &agreement.seal_context(sender), &key).unwrap();
            let last = chunks.len() - 1;
            let mut opened = Vec::new();
            for (index, sealed) in chunks.iter().enumerate() {
                let plain = opener.open(sealed, index == last).unwrap();
                assert!(index == last || plain.len() == chunk_bytes);
                opened.extend(plain);
            }
            assert!(opened == content, "{size} bytes come back");
            // Who deposited gets nothing back.
            assert_reason(
                fetch(&mut parties, world.case(&agreement, sender, Fetch)).await,
                Code::FailedPrecondition,
                "DEPOSIT_NOT_RELEASED",
            );
        }
    }
}

/// a package is deposited, ruled on and fetched as one item; one unfit item of it leaves nothing here.
#[tokio::test(flavor = "multi_thread")]
async fn a_package_is_deposited_complained_about_and_fetched() {
    let world = World::new().await;
    let mut parties = world.parties().await;
    // The second file ends with the second chunk, the third is in the third.
    let first = content(limits::CHUNK_BYTES + 11);
    let second = vec![b'-'; 2 * limits::CHUNK_BYTES - first.len() - 16];
    let contents = [first, second, b"the last".to_vec()];
    let file = |number: usize| {
        let file = describe(&contents[number], "application/octet-stream");
        Item::new(Description::Information(Information { name: format!("file {number}"), ..file }))
    };
    let receipt = |number: usize| {
        let subject = describe(&contents[number], "application/octet-stream");
        signature(&format!("Received, {number}."), &subject)
    };
    let inner = Item::package(vec![file(1), file(2)]).unwrap();
    let given = Item::package(vec![file(0), inner]).unwrap();
    let receipts = Item::package((0..3).map(receipt).collect()).unwrap();
    let mut whole = Vec::new();
    for content in &contents {
        whole.extend(u64::try_from(content.len()).unwrap().to_be_bytes());
        whole.extend(content);
    }
    let agreement = world.agree(world.draft(given, receipts.clone(), Some(deadline())));
    let case = |role, action| world.case(&agreement, role, action);
    for place in [0, limits::CHUNK_BYTES, whole.len() - 1] {
        let mut altered = whole.clone();
        altered[place] ^= 1;
        let draft = next_content(&world);
        let result = deposit(&mut parties, upload(case(Originator, Deposit), &altered, 50_001)).await;
        let status = assert_reason(result, Code::FailedPrecondition, "PACKAGE_ITEM_UNFIT");
        let item = if place + 1 == whole.len() { "item 3" } else { "item 1" };
        assert!(status.message().contains(item), "{}", status.message());
        gone(&world, draft).await;
    }
    let result = deposit(&mut parties, upload(case(Originator, Deposit), &whole[1..], 50_001)).await;
    assert_reason(result, Code::FailedPrecondition, "PACKAGE_ITEM_UNFIT");
    let cut = &whole[..whole.len() - 1];
    let result = deposit(&mut parties, upload(case(Originator, Deposit), cut, 50_001)).await;
    assert_reason(result, Code::FailedPrecondition, "DEPOSIT_INCOMPLETE");
    // Signatures have no content: nobody deposits them.
    let result = deposit(&mut parties, upload(case(Responder, Deposit), &whole, 50_001)).await;
    assert_reason(result, Code::FailedPrecondition, "DEPOSIT_NOT_ALLOWED");

    let messages = upload(case(Originator, Deposit), &whole, 50_001);
    let attested = deposit(&mut parties, messages).await.unwrap();
    prove(attested, &agreement, &case(Originator, Deposit));
    let resolving = case(Originator, Resolve);
    let ruled = prove(resolve(&mut parties, resolving.clone()).await.unwrap(), &agreement, &resolving);
    let Ruling::Replaced(list) = &ruled.ruled.verdict().unwrap().ruling else { panic!("replaced") };
    let [replaced] = &list[..] else { panic!("one item") };
    assert_eq!((replaced.role, &replaced.item), (Responder, &receipts), "every signature, in one verdict");
    let (key, chunks) = fetch(&mut parties, case(Responder, Fetch)).await.unwrap();
    let secret = &world.peer(Responder).secret;
    let mut opener = Opener::new(secret, &agreement.seal_context(Originator), &key).unwrap();
    let last = chunks.len() - 1;
    let opened = chunks.iter().enumerate().map(|(index, sealed)| opener.open(sealed, index == last).unwrap());
    assert!(opened.collect::<Vec<_>>().concat() == whole);
    let report = arbiter::fsck::check(&*world.store, &world.arbiter, None, &mut |_| {});
    assert!(report.fault.is_none(), "{report:?}");
    assert_eq!((report.attestations, report.verdicts), (1, 1));
}

/// R-406, S19, S44: at the deadline and after it the complaint is refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_complaint_is_in_time_until_one_tick_before_the_deadline() {
    let world = World::new().await;
    let mut parties = world.parties().await;
    let bytes = content(10);
    let file = describe(&bytes, "text/plain");
    for (now, in_time) in [(deadline().0 - 1, true), (deadline().0, false), (deadline().0 + 1, false)] {
        // Time never goes back within one engine, so each case has its deadline after the one before.
        let shift = world.engine.now().0 - START.0;
        let complain_by = UnixMillis(deadline().0 + shift);
        let agreement = world.delivery(&file, complain_by);
        let case = world.case(&agreement, Originator, Deposit);
        deposit(&mut parties, upload(case, &bytes, 10)).await.unwrap();

        world.clock.set(UnixMillis(now + shift));
        let case = world.case(&agreement, Originator, Resolve);
        let result = resolve(&mut parties, case.clone()).await;
        if in_time {
            prove(result.unwrap(), &agreement, &case);
            continue;
        }
        let status = assert_reason(result, Code::FailedPrecondition, "COMPLAINT_TOO_LATE");
        assert_eq!(metadata(&status, "now").unwrap(), (now + shift).to_string());
        assert_eq!(metadata(&status, "complain_by").unwrap(), complain_by.0.to_string());
        // What is left is the end without items.
        let case = world.case(&agreement, Responder, Abort);
        prove(abort(&mut parties, case.clone()).await.unwrap(), &agreement, &case);
    }
}

/// S18: not a tick before.
#[tokio::test(flavor = "multi_thread")]
async fn the_second_sender_aborts_from_the_deadline_on() {
    let world = World::new().await;
    let mut parties = world.parties().await;
    let file = describe(b"notice", "text/plain");
    let agreement = world.delivery(&file, deadline());
    let case = world.case(&agreement, Responder, Abort);
    world.clock.set(UnixMillis(deadline().0 - 1));
    let status =
        assert_reason(abort(&mut parties, case.clone()).await, Code::FailedPrecondition, "ABORT_TOO_EARLY");
    assert_eq!(metadata(&status, "complain_by").unwrap(), deadline().0.to_string());
    // The first sender may at any time.
    let first = world.delivery(&file, deadline());
    let first_case = world.case(&first, Originator, Abort);
    prove(abort(&mut parties, first_case.clone()).await.unwrap(), &first, &first_case);

    world.clock.set(deadline());
    let proven = prove(abort(&mut parties, case.clone()).await.unwrap(), &agreement, &case);
    assert_eq!(proven.ruled.verdict().unwrap().rule, "R-405");
}

/// too late stays too late.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_steps_back_does_not_reopen_a_deadline() {
    let world = World::new().await;
    let mut parties = world.parties().await;
    let bytes = content(10);
    let agreement = world.delivery(&describe(&bytes, "text/plain"), deadline());
    let case = world.case(&agreement, Originator, Deposit);
    deposit(&mut parties, upload(case, &bytes, 10)).await.unwrap();
    world.clock.set(deadline());
    let case = world.case(&agreement, Originator, Resolve);
    let late = "COMPLAINT_TOO_LATE";
    assert_reason(resolve(&mut parties, case.clone()).await, Code::FailedPrecondition, late);
    world.clock.set(START);
    assert_reason(resolve(&mut parties, case).await, Code::FailedPrecondition, late);
}

/// without deposit or acceptance, by the other party, after a verdict, too late.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_rules_of_p2_forbid_is_refused_by_name() {
    let world = World::new().await;
    let mut parties = world.parties().await;
    let bytes = content(100);
    let file = describe(&bytes, "text/plain");
    let agreement = world.delivery(&file, deadline());
    let precondition = Code::FailedPrecondition;
    let case = |role, action| world.case(&agreement, role, action);

    assert_reason(resolve(&mut parties, case(Originator, Resolve)).await, precondition, "DEPOSIT_REQUIRED");
    assert_reason(resolve(&mut parties, case(Responder, Resolve)).await, precondition, "RESOLVE_NOT_ALLOWED");
    let messages = upload(case(Responder, Deposit), &bytes, 100);
    assert_reason(deposit(&mut parties, messages).await, precondition, "DEPOSIT_NOT_ALLOWED");
    let messages = upload(world.case_without_acceptance(&agreement, Deposit), &bytes, 100);
    assert_reason(deposit(&mut parties, messages).await, precondition, "ACCEPTANCE_REQUIRED");

    // After the other verdict.
    abort(&mut parties, case(Originator, Abort)).await.unwrap();
    let messages = upload(case(Originator, Deposit), &bytes, 100);
    assert_reason(deposit(&mut parties, messages).await, precondition, "ALREADY_RULED");
    let heard = resolve(&mut parties, case(Originator, Resolve)).await.unwrap();
    let proven = prove(heard, &agreement, &case(Originator, Resolve));
    assert_eq!(proven.ruled.verdict().unwrap().ruling, Ruling::Aborted);
    assert_reason(fetch(&mut parties, case(Responder, Fetch)).await, precondition, "DEPOSIT_NOT_RELEASED");

    // Too late.
    let agreement = world.delivery(&file, deadline());
    world.clock.set(deadline());
    let messages = upload(world.case(&agreement, Originator, Deposit), &bytes, 100);
    assert_reason(deposit(&mut parties, messages).await, precondition, "COMPLAINT_TOO_LATE");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_acceptance_of_the_same_offer_is_another_agreement() {
    let world = World::new().await;
    let mut parties = world.parties().await;
    let bytes = content(10);
    let agreement = world.delivery(&describe(&bytes, "text/plain"), deadline());
    deposit(&mut parties, upload(world.case(&agreement, Originator, Deposit), &bytes, 10)).await.unwrap();
    // Bob accepts twice, with another nonce (attack K1).
    let twin = world.agree((**agreement.offer()).clone());
    assert_eq!(twin.exchange_id(), agreement.exchange_id());
    assert_ne!(twin.id(), agreement.id());
    let precondition = Code::FailedPrecondition;
    let messages = upload(world.case(&twin, Originator, Deposit), &bytes, 10);
    assert_reason(deposit(&mut parties, messages).await, precondition, "ACCEPTANCE_MISMATCH");
    let case = world.case(&twin, Originator, Resolve);
    assert_reason(resolve(&mut parties, case).await, precondition, "DEPOSIT_REQUIRED");
}

/// The id that the next upload will get, and the one before it: ids of one run are consecutive.
fn next_content(world: &World) -> ContentId {
    ContentId(world.engine.new_content_id(1, u64::MAX).unwrap().0 + 1)
}

async fn gone(world: &World, content: ContentId) {
    let store = Arc::clone(&world.store);
    until("the draft is removed", || {
        store.chunk(content, 0).unwrap().is_none() && store.content(content).unwrap().is_none()
    })
    .await;
}

/// R-407, S16, S43: one byte, the size or the type is wrong: refused, and no draft stays.
#[tokio::test(flavor = "multi_thread")]
async fn an_item_that_misses_its_description_leaves_nothing() {
    let world = World::new().await;
    let mut parties = world.parties().await;
    // Two chunks and a bit, so that chunks are stored before the fault shows.
    let bytes = content(2 * limits::CHUNK_BYTES + 5);
    let file = describe(&bytes, "application/octet-stream");
    let agreement = world.delivery(&file, deadline());
    let case = || world.case(&agreement, Originator, Deposit);
    let precondition = Code::FailedPrecondition;

    for position in [0, limits::CHUNK_BYTES, bytes.len() - 1] {
        let mut altered = bytes.clone();
        altered[position] ^= 1;
        let draft = next_content(&world);
        let result = deposit(&mut parties, upload(case(), &altered, 60_000)).await;
        assert_reason(result, precondition, "ITEM_HASH_MISMATCH");
        gone(&world, draft).await;
    }
    let draft = next_content(&world);
    let longer = [bytes.as_slice(), b"x"].concat();
    let result = deposit(&mut parties, upload(case(), &longer, 60_000)).await;
    let status = assert_reason(result, precondition, "ITEM_SIZE_MISMATCH");
    assert_eq!(metadata(&status, "agreed").unwrap(), bytes.len().to_string());
    gone(&world, draft).await;

    for kept in [0, 1, limits::CHUNK_BYTES, bytes.len() - 1] {
        let draft = next_content(&world);
        let result = deposit(&mut parties, upload(case(), &bytes[..kept], 60_000)).await;
        let status = assert_reason(result, precondition, "DEPOSIT_INCOMPLETE");
        assert_eq!(metadata(&status, "found").unwrap(), kept.to_string());
        gone(&world, draft).await;
    }
    // Not a PDF by its first bytes.
    let claimed = world.delivery(&describe(&bytes, "application/pdf"), deadline());
    let messages = upload(world.case(&claimed, Originator, Deposit), &bytes, 60_000);
    assert_reason(deposit(&mut parties, messages).await, precondition, "ITEM_TYPE_MISMATCH");

    let receipt = deposit(&mut parties, upload(case(), &bytes, 60_000)).await.unwrap();
    prove(receipt, &agreement, &case());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_no_upload_is_refused() {
    let world = World::with(Api { max_deposit_bytes: 100_000, ..Api::default() }).await;
    let mut parties = world.parties().await;
    let bytes = content(100_000);
    let agreement = world.delivery(&describe(&bytes, "application/octet-stream"), deadline());
    let case = || world.case(&agreement, Originator, Deposit);
    let invalid = Code::InvalidArgument;

    let draft = next_content(&world);
    assert_reason(deposit(&mut parties, vec![]).await, invalid, "FIELD_MISSING");
    assert_reason(deposit(&mut parties, vec![chunk(b"x")]).await, invalid, "FIELD_MISSING");
    let empty = proto::VerifyTransferRequest { part: None };
    assert_reason(deposit(&mut parties, vec![empty.clone()]).await, invalid, "FIELD_MISSING");
    assert_reason(deposit(&mut parties, vec![first(case()), empty]).await, invalid, "FIELD_MISSING");
    let twice = vec![first(case()), first(case())];
    assert_reason(deposit(&mut parties, twice).await, invalid, "FIELD_VALUE_INVALID");
    let nothing = vec![first(case()), chunk(b"")];
    assert_reason(deposit(&mut parties, nothing).await, invalid, "FIELD_LENGTH_INVALID");
    let large = vec![first(case()), chunk(&bytes[..limits::CHUNK_BYTES + 1])];
    assert_reason(deposit(&mut parties, large).await, invalid, "TOO_LARGE");
    let larger = vec![first(case()), chunk(&[0; 300 * 1024])];
    assert_reason(deposit(&mut parties, larger).await, invalid, "TOO_LARGE");
    gone(&world, draft).await;

    // At the limit of this arbiter, and one byte above it: refused before a byte is read.
    let receipt = deposit(&mut parties, upload(case(), &bytes, limits::CHUNK_BYTES)).await.unwrap();
    prove(receipt, &agreement, &case());
    let bytes = content(100_001);
    let agreement = world.delivery(&describe(&bytes, "application/octet-stream"), deadline());
    let messages = vec![first(world.case(&agreement, Originator, Deposit))];
    let status =
        assert_reason(deposit(&mut parties, messages).await, Code::FailedPrecondition, "QUOTA_EXCEEDED");
    assert_eq!(metadata(&status, "maximum").unwrap(), "100000");
    assert_eq!(metadata(&status, "size_bytes").unwrap(), "100001");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deposit_made_already_is_answered_without_its_content() {
    let world = World::new().await;
    let mut parties = world.parties().await;
    let bytes = content(1000);
    let agreement = world.delivery(&describe(&bytes, "text/plain"), deadline());
    let case = world.case(&agreement, Originator, Deposit);
    let receipt = deposit(&mut parties, upload(case.clone(), &bytes, 1000)).await.unwrap();
    // A stream that stays open after the case: the answer comes all the same, at any time.
    world.clock.set(deadline());
    let (sender, receiver) = mpsc::channel(4);
    sender.send(first(case)).await.unwrap();
    let again = parties.verify_transfer(ReceiverStream::new(receiver)).await.unwrap().into_inner();
    assert_eq!(again.receipt.unwrap(), receipt);
    drop(sender);
    assert_eq!(world.engine.log_size(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_whose_caller_goes_away_leaves_nothing() {
    let world = World::new().await;
    let bytes = content(2 * limits::CHUNK_BYTES);
    let agreement = world.delivery(&describe(&bytes, "application/octet-stream"), deadline());
    let draft = next_content(&world);
    let (sender, call) = begin_upload(&world, &agreement, &bytes[..limits::CHUNK_BYTES]).await;
    let store = Arc::clone(&world.store);
    until("the first chunk is stored", || store.chunk(draft, 0).unwrap().is_some()).await;
    call.abort();
    drop(sender);
    gone(&world, draft).await;
}

/// An upload of which the case and some bytes have been sent; the rest goes through the sender.
async fn begin_upload(
    world: &World,
    agreement: &Agreement,
    bytes: &[u8],
) -> (
    mpsc::Sender<proto::VerifyTransferRequest>,
    tokio::task::JoinHandle<Result<proto::Receipt, tonic::Status>>,
) {
    let (sender, receiver) = mpsc::channel(16);
    sender.send(first(world.case(agreement, Originator, Deposit))).await.unwrap();
    for part in bytes.chunks(limits::CHUNK_BYTES) {
        sender.send(chunk(part)).await.unwrap();
    }
    let mut parties = world.parties().await;
    let call = tokio::spawn(async move {
        let reply = parties.verify_transfer(ReceiverStream::new(receiver)).await?;
        Ok(reply.into_inner().receipt.unwrap())
    });
    (sender, call)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_uploads_at_one_time_one_is_kept_and_both_are_answered() {
    let world = World::new().await;
    let bytes = content(2 * limits::CHUNK_BYTES);
    let agreement = world.delivery(&describe(&bytes, "application/octet-stream"), deadline());
    let (part, rest) = bytes.split_at(limits::CHUNK_BYTES);
    let one = next_content(&world);
    let two = ContentId(one.0 + 1);
    let (first_sender, first_call) = begin_upload(&world, &agreement, part).await;
    let (second_sender, second_call) = begin_upload(&world, &agreement, part).await;
    let store = Arc::clone(&world.store);
    until("both drafts are there", || {
        [one, two].iter().all(|content| store.chunk(*content, 0).unwrap().is_some())
    })
    .await;
    for sender in [first_sender, second_sender] {
        sender.send(chunk(rest)).await.unwrap();
    }
    let (first, second) = (first_call.await.unwrap().unwrap(), second_call.await.unwrap().unwrap());
    assert_eq!(first, second);
    let kept = world.store.record(&agreement.exchange_id()).unwrap().held.originator.unwrap();
    assert!([one, two].contains(&kept));
    assert_eq!(world.store.content(kept).unwrap().unwrap().chunks, 2);
    gone(&world, if kept == one { two } else { one }).await;
    assert_eq!(world.engine.log_size(), 2);
}

// ---- the evidence log

#[tokio::test(flavor = "multi_thread")]
async fn auditors_read_the_log_and_every_proof_holds() {
    let world = World::new().await;
    let (mut parties, mut auditors) = (world.parties().await, world.auditors().await);
    let log_key = VerifierKey::new("arbiter.example/evidence", world.arbiter.log_key).unwrap();
    let mut heads = vec![];
    for _ in 0..12 {
        let note = auditors.get_checkpoint(proto::GetCheckpointRequest {}).await.unwrap().into_inner();
        let signed = SignedCheckpoint::verify(&note.checkpoint, &log_key).unwrap();
        heads.push(signed.checkpoint().clone());
        let agreement = world.contract();
        resolve(&mut parties, world.case(&agreement, Originator, Resolve)).await.unwrap();
    }
    assert_eq!(heads.iter().map(|head| head.size).collect::<Vec<_>>(), (1..=12).collect::<Vec<u64>>());

    let hashes =
        |list: Vec<Vec<u8>>| list.iter().map(|hash| Digest::parse(hash, "hash").unwrap()).collect::<Vec<_>>();
    for (old, new) in (1..=12).flat_map(|new| (1..=new).map(move |old| (old, new))) {
        let request = proto::GetConsistencyProofRequest { old_size: old, new_size: new };
        let proof = auditors.get_consistency_proof(request).await.unwrap().into_inner();
        let root = |size: u64| heads[usize::try_from(size - 1).unwrap()].root;
        verify_consistency(old, new, &hashes(proof.hashes), &root(old), &root(new)).unwrap();
    }
    for index in 0..12 {
        let entry = auditors.get_entry(proto::GetEntryRequest { index }).await.unwrap().into_inner();
        let entry = entry.entry.unwrap();
        assert_eq!(entry.index, index);
        let event = if index == 0 { Event::Genesis } else { Event::VerdictReplaced };
        let leaf = Leaf::decode(&entry.leaf).unwrap();
        assert_eq!((leaf.index.0, leaf.event), (index, event));
        let request = proto::GetInclusionProofRequest { index, tree_size: 12 };
        let proof = auditors.get_inclusion_proof(request).await.unwrap().into_inner();
        verify_inclusion(&leaf_hash(&entry.leaf), index, 12, &hashes(proof.hashes), &heads[11].root).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn listing_is_paged() {
    let world = World::new().await;
    let (mut parties, mut auditors) = (world.parties().await, world.auditors().await);
    for _ in 0..104 {
        let agreement = world.contract();
        resolve(&mut parties, world.case(&agreement, Originator, Resolve)).await.unwrap();
    }
    let mut list = async |page_size, page_token: &str| {
        let request = proto::ListEntriesRequest {
            page_size,
            page_token: page_token.to_owned(),
            ..proto::ListEntriesRequest::default()
        };
        auditors.list_entries(request).await.map(tonic::Response::into_inner)
    };
    // By default 100 at most; the pages together are the log.
    let page = list(0, "").await.unwrap();
    assert_eq!(page.entries.len(), 100);
    let rest = list(0, &page.next_page_token).await.unwrap();
    assert_eq!((rest.entries.len(), rest.next_page_token.as_str()), (5, ""));
    let indices: Vec<_> = page.entries.iter().chain(&rest.entries).map(|entry| entry.index).collect();
    assert_eq!(indices, (0..105).collect::<Vec<u64>>());
    // A page that ends where the log ends has no next one.
    let all = list(105, "").await.unwrap();
    assert_eq!((all.entries.len(), all.next_page_token.as_str()), (105, ""));
    assert_eq!(list(5000, "").await.unwrap().entries, all.entries, "too large is coerced");
    let mut token = String::new();
    let mut pages = 0;
    loop {
        let page = list(7, &token).await.unwrap();
        assert!(page.entries.len() <= 7);
        pages += 1;
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(pages, 15);

    let invalid = Code::InvalidArgument;
    assert_reason(list(-1, "").await, invalid, "PAGE_SIZE_INVALID");
    assert_reason(list(i32::MIN, "").await, invalid, "PAGE_SIZE_INVALID");
    for token in ["5", "zz", "00", &"ff".repeat(18)] {
        assert_reason(list(0, token).await, invalid, "PAGE_TOKEN_INVALID");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_outside_the_log_are_refused() {
    let world = World::new().await;
    let mut parties = world.parties().await;
    let agreement = world.contract();
    resolve(&mut parties, world.case(&agreement, Originator, Resolve)).await.unwrap();
    let mut auditors = world.auditors().await;
    for index in [2, u64::MAX] {
        let result = auditors.get_entry(proto::GetEntryRequest { index }).await;
        let status = assert_reason(result, Code::NotFound, "ENTRY_NOT_FOUND");
        assert_eq!(metadata(&status, "size").unwrap(), "2");
    }
    for (index, tree_size) in [(0, 0), (1, 1), (2, 2), (0, 3), (u64::MAX, u64::MAX)] {
        let result = auditors.get_inclusion_proof(proto::GetInclusionProofRequest { index, tree_size }).await;
        assert_reason(result, Code::OutOfRange, "RANGE_INVALID");
    }
    for (old_size, new_size) in [(0, 0), (0, 1), (2, 1), (1, 3), (3, 3), (u64::MAX, u64::MAX)] {
        let request = proto::GetConsistencyProofRequest { old_size, new_size };
        assert_reason(auditors.get_consistency_proof(request).await, Code::OutOfRange, "RANGE_INVALID");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_selection_of_the_fixtures_is_the_one_meant() {
    let world = World::new().await;
    let file = describe(b"x", "text/plain");
    let selection = |agreement: &Agreement| agreement.offer().selection;
    let p1 = Selection { protocol: Protocol::ContractSigning, first_sender: Originator };
    let p2 = |first_sender| Selection { protocol: Protocol::VerifyThenGenerate, first_sender };
    assert_eq!(selection(&world.contract()), p1);
    assert_eq!(selection(&world.delivery(&file, deadline())), p2(Originator));
    assert_eq!(selection(&world.collection(&file, deadline())), p2(Responder));
}
