//! What one arbiter takes at one time, how it is drained, and what is left when it fails.

use super::*;

/// A deposit of two chunks of which one has arrived.
struct Half {
    draft: ContentId,
    rest: Vec<u8>,
    sender: mpsc::Sender<proto::VerifyTransferRequest>,
    call: tokio::task::JoinHandle<Result<proto::Receipt, tonic::Status>>,
}

impl Half {
    async fn uploaded(world: &World) -> Self {
        let bytes = content(2 * limits::CHUNK_BYTES);
        let agreement = world.delivery(&describe(&bytes, "application/octet-stream"), deadline());
        let draft = next_content(world);
        let (part, rest) = bytes.split_at(limits::CHUNK_BYTES);
        let (sender, call) = begin_upload(world, &agreement, part).await;
        let store = Arc::clone(&world.store);
        until("the upload is in", || store.chunk(draft, 0).unwrap().is_some()).await;
        Self { draft, rest: rest.to_vec(), sender, call }
    }

    async fn finish(self) -> Result<proto::Receipt, tonic::Status> {
        self.sender.send(chunk(&self.rest)).await.unwrap();
        drop(self.sender);
        self.call.await.unwrap()
    }
}

/// Asks again as long as there is no room.
async fn patiently<T>(mut ask: impl AsyncFnMut() -> Result<T, tonic::Status>) -> T {
    for _ in 0..2000 {
        match ask().await {
            Ok(answer) => return answer,
            Err(status) => assert_eq!(reason(&status).1, "OVERLOADED", "{status:?}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("there is never room");
}

/// S40: one request too many is told to come back, and then served.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_arbiter_asks_to_come_back_and_is_still_healthy() {
    let world = World::with(Api { max_requests: 1, ..Api::default() }).await;
    let half = Half::uploaded(&world).await;

    let mut parties = world.parties().await;
    let contract = world.contract();
    let case = world.case(&contract, Originator, Resolve);
    let status =
        assert_reason(resolve(&mut parties, case.clone()).await, Code::ResourceExhausted, "OVERLOADED");
    assert!(status.get_details_retry_info().unwrap().retry_delay.unwrap() > Duration::ZERO);
    let mut health = HealthClient::new(world.channel().await);
    assert_eq!(status_of(&mut health, "").await, ServingStatus::Serving);

    half.finish().await.unwrap();
    // The upload has left; its room is free as soon as its reply is through the gate.
    let receipt = patiently(async || resolve(&mut parties, case.clone()).await).await;
    prove(receipt, &contract, &case);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_who_takes_its_time_takes_room_as_long() {
    let world = World::with(Api { max_requests: 1, ..Api::default() }).await;
    let mut parties = world.parties().await;
    // More than the windows of one connection hold, so that the arbiter is not done before the reader is.
    let bytes = content(40 * limits::CHUNK_BYTES);
    let agreement = world.delivery(&describe(&bytes, "application/octet-stream"), deadline());
    let case = |role, action| world.case(&agreement, role, action);
    deposit(&mut parties, upload(case(Originator, Deposit), &bytes, limits::CHUNK_BYTES)).await.unwrap();
    patiently(async || resolve(&mut parties, case(Originator, Resolve)).await).await;
    let request = || proto::FetchDepositRequest { case: Some(case(Responder, Fetch)) };
    let mut stream = patiently(async || parties.fetch_deposit(request()).await).await.into_inner();
    stream.message().await.unwrap().unwrap();
    for _ in 0..5 {
        let result = query(&mut parties, case(Originator, Query)).await;
        assert_reason(result, Code::ResourceExhausted, "OVERLOADED");
    }
    drop(stream);
    patiently(async || query(&mut parties, case(Originator, Query)).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_refuses_new_requests_and_finishes_those_in_flight() {
    let world = World::new().await;
    let half = Half::uploaded(&world).await;

    let mut parties = world.parties().await;
    let mut health = HealthClient::new(world.channel().await);
    world.server.refuse_new().await;
    let contract = world.contract();
    let case = world.case(&contract, Originator, Resolve);
    let status = assert_reason(resolve(&mut parties, case).await, Code::Unavailable, "DRAINING");
    assert!(status.get_details_retry_info().unwrap().retry_delay.unwrap() > Duration::ZERO);
    for service in ["", "arbiter.v1.ArbiterService", "arbiter.v1.EvidenceLogService"] {
        assert_eq!(status_of(&mut health, service).await, ServingStatus::NotServing);
    }

    let (engine, clock) = (world.engine.clone(), world.clock.clone());
    let stopping = tokio::spawn(world.server.stop());
    let receipt = half.finish().await.unwrap();
    assert!(receipt.answer.is_some());
    stopping.await.unwrap().unwrap();
    engine.stop().await;
    drop(clock);
    assert!(parties.get_counters(proto::GetCountersRequest {}).await.is_err(), "nobody listens");
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_is_bounded() {
    let world = World::with(Api { drain: Duration::from_millis(50), ..Api::default() }).await;
    let half = Half::uploaded(&world).await;
    // Would wait for ever for an upload that never ends.
    world.server.stop().await.unwrap();
    half.call.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_is_silent_for_too_long_loses_its_upload() {
    let world = World::with(Api { request_timeout: Duration::from_secs(1), ..Api::default() }).await;
    let half = Half::uploaded(&world).await;
    assert_reason(half.call.await.unwrap(), Code::DeadlineExceeded, "TIMED_OUT");
    gone(&world, half.draft).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_failed_commit_nothing_is_answered_any_more() {
    let world = World::new().await;
    let mut parties = world.parties().await;
    let ruled = world.contract();
    resolve(&mut parties, world.case(&ruled, Originator, Resolve)).await.unwrap();

    world.store.broken.store(true, Ordering::SeqCst);
    let agreement = world.contract();
    let case = world.case(&agreement, Originator, Resolve);
    let status = assert_reason(resolve(&mut parties, case).await, Code::Unavailable, "STOPPED");
    assert!(status.get_details_retry_info().is_some());
    // Not even what is durable: the process is about to end.
    let case = world.case(&ruled, Originator, Query);
    assert_reason(query(&mut parties, case).await, Code::Unavailable, "STOPPED");
    assert_eq!(world.engine.ended().await, arbiter::engine::Ended::Failed);
}

/// Sends a byte now and then until nobody takes it any more; 1000 take longer than the arbiter waits.
fn trickle(half: Half) -> (ContentId, tokio::task::JoinHandle<Result<proto::Receipt, tonic::Status>>) {
    let Half { draft, rest, sender, call } = half;
    tokio::spawn(async move {
        for byte in rest.iter().take(1000) {
            if sender.send(chunk(std::slice::from_ref(byte))).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    (draft, call)
}

/// S40: they are told why, and lose their places.
#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_are_stuck_stop_neither_rulings_nor_later_uploads() {
    let api = Api {
        max_requests: 8,
        max_uploads: 2,
        request_timeout: Duration::from_secs(3),
        min_bytes_per_second: 1 << 40,
        ..Api::default()
    };
    let world = World::with(api).await;
    let mut parties = world.parties().await;
    let stuck = [trickle(Half::uploaded(&world).await), trickle(Half::uploaded(&world).await)];

    let bytes = content(10);
    let agreement = world.delivery(&describe(&bytes, "text/plain"), deadline());
    let messages = || upload(world.case(&agreement, Originator, Deposit), &bytes, 10);
    let status =
        assert_reason(deposit(&mut parties, messages()).await, Code::ResourceExhausted, "OVERLOADED");
    assert!(status.get_details_retry_info().is_some());
    // Everything else goes on.
    let contract = world.contract();
    let case = world.case(&contract, Originator, Resolve);
    prove(resolve(&mut parties, case.clone()).await.unwrap(), &contract, &case);

    // They are told why, and give back their places and their room.
    for (draft, call) in stuck {
        let status = assert_reason(call.await.unwrap(), Code::DeadlineExceeded, "TOO_SLOW");
        assert_eq!(metadata(&status, "minimum").unwrap(), (1u64 << 40).to_string());
        let moved: usize = metadata(&status, "moved").unwrap().parse().unwrap();
        assert!(moved > limits::CHUNK_BYTES, "it moved all the time: {moved}");
        gone(&world, draft).await;
    }
    patiently(async || deposit(&mut parties, messages()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_takes_too_long_is_told_and_loses_its_place() {
    let api = Api {
        max_uploads: 1,
        request_timeout: Duration::from_millis(500),
        min_bytes_per_second: 1 << 40,
        ..Api::default()
    };
    let world = World::with(api).await;
    let mut parties = world.parties().await;
    // More than the windows of one connection hold.
    let bytes = content(40 * limits::CHUNK_BYTES);
    let agreement = world.delivery(&describe(&bytes, "application/octet-stream"), deadline());
    let case = |role, action| world.case(&agreement, role, action);
    let messages = || upload(case(Originator, Deposit), &bytes, limits::CHUNK_BYTES);
    deposit(&mut parties, messages()).await.unwrap();
    resolve(&mut parties, case(Originator, Resolve)).await.unwrap();
    let request = || proto::FetchDepositRequest { case: Some(case(Responder, Fetch)) };
    let mut stream = parties.fetch_deposit(request()).await.unwrap().into_inner();
    // Another one finds no place until this one, which reads nothing, has lost its own.
    let other = parties.fetch_deposit(request()).await.map(drop);
    assert_reason(other, Code::ResourceExhausted, "OVERLOADED");
    patiently(async || parties.fetch_deposit(request()).await).await;
    let last = loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("a deposit that is cut off must not look complete"),
            Err(status) => break status,
        }
    };
    assert_eq!(last.code(), Code::DeadlineExceeded);
    assert!(["TIMED_OUT", "TOO_SLOW"].contains(&reason(&last).1.as_str()), "{last:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_deposits_together_have_a_limit_that_a_restart_does_not_lift() {
    const CHUNK: u64 = 64 * 1024;
    let api = Api { max_total_deposit_bytes: 3 * CHUNK, ..Api::default() };
    let world = World::with(api.clone()).await;
    let mut parties = world.parties().await;
    let info = parties.get_arbiter_info(proto::GetArbiterInfoRequest {}).await.unwrap().into_inner();
    assert_eq!(info.limits.unwrap().deposit_bytes, 3 * CHUNK, "no deposit can be larger than all together");

    // Two chunks are on their way, and looking up the name took one: nothing more is asked for.
    let half = Half::uploaded(&world).await;
    let small = content(10);
    let agreements = [(); 3].map(|()| world.delivery(&describe(&small, "text/plain"), deadline()));
    let messages = |world: &World, agreement| upload(world.case(agreement, Originator, Deposit), &small, 10);
    let full = |result: Result<proto::Receipt, tonic::Status>| {
        let status = assert_reason(result, Code::FailedPrecondition, "QUOTA_EXCEEDED");
        assert_eq!(metadata(&status, "held").unwrap(), (3 * CHUNK).to_string());
        assert_eq!(metadata(&status, "maximum").unwrap(), (3 * CHUNK).to_string());
        assert_eq!(metadata(&status, "size_bytes").unwrap(), "10");
        assert!(status.get_details_retry_info().is_none(), "to ask again does not help");
        assert!(status.get_details_precondition_failure().is_some());
    };
    full(deposit(&mut parties, vec![first(world.case(&agreements[0], Originator, Deposit))]).await);
    // Cut off: its two chunks are free again.
    let draft = half.draft;
    drop(half.sender);
    assert_reason(half.call.await.unwrap(), Code::FailedPrecondition, "DEPOSIT_INCOMPLETE");
    gone(&world, draft).await;
    until("there is room again", || {
        let probe = world.engine.new_content_id(2 * CHUNK, 3 * CHUNK);
        probe.map(|content| world.engine.remove_content(content).unwrap()).is_ok()
    })
    .await;
    for agreement in &agreements[..2] {
        deposit(&mut parties, messages(&world, agreement)).await.unwrap();
    }
    full(deposit(&mut parties, messages(&world, &agreements[2])).await);
    // What is there already is answered, and rulings go on.
    deposit(&mut parties, messages(&world, &agreements[0])).await.unwrap();
    resolve(&mut parties, world.case(&agreements[0], Originator, Resolve)).await.unwrap();
    world.engine.new_content_id(1, 3 * CHUNK).unwrap_err();

    // After a restart only what is stored counts: two chunks.
    let world = world.restarted(api).await;
    let mut parties = world.parties().await;
    deposit(&mut parties, messages(&world, &agreements[2])).await.unwrap();
    let last = world.delivery(&describe(&small, "text/plain"), deadline());
    full(deposit(&mut parties, messages(&world, &last)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_have_a_limit_and_come_back_with_room() {
    let world = World::with(Api { max_connections: 2, ..Api::default() }).await;
    let held = [world.parties().await, world.parties().await];
    let mut others = 0;
    // The third is accepted by the system and closed by the arbiter before it says anything.
    let endpoint =
        tonic::transport::Endpoint::from_shared(format!("http://{}", world.server.address())).unwrap();
    let third = async || {
        let mut parties = Parties::new(endpoint.connect().await.ok()?);
        parties.get_arbiter_info(proto::GetArbiterInfoRequest {}).await.ok()
    };
    for _ in 0..3 {
        assert!(third().await.is_none());
    }
    for mut parties in held {
        parties.get_arbiter_info(proto::GetArbiterInfoRequest {}).await.unwrap();
        drop(parties);
        while third().await.is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
            others += 1;
            assert!(others < 2000, "a connection ended, its room is not free");
        }
    }
}

/// A leaf that no start looks at again is damaged: who asks for it is told, everybody else is served.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_old_leaf_harms_only_its_own_exchange() {
    use arbiter::store::raw::Tamper as _;
    use arbiter::store::schema::{Family, leaf_key};

    let world = World::new().await;
    let mut parties = world.parties().await;
    let mut cases = Vec::new();
    for _ in 1..300 {
        let case = world.case(&world.contract(), Originator, Resolve);
        resolve(&mut parties, case.clone()).await.unwrap();
        cases.push(case);
    }
    let disk = &world.store.inner;
    let (key, mut leaf) = disk.entries(Family::Leaves).swap_remove(2);
    assert_eq!(key, leaf_key(2));
    leaf[30] ^= 1;
    disk.replace(Family::Leaves, &key, Some(leaf));
    // In the same process, and after a start, which rechecks the newest 256 leaves.
    let check = async |world: &World| {
        let mut parties = world.parties().await;
        for _ in 0..2 {
            let damaged = resolve(&mut parties, cases[1].clone()).await;
            assert_reason(damaged, Code::Internal, "STORE_FAILED");
            resolve(&mut parties, cases[0].clone()).await.unwrap();
        }
        let agreement = world.contract();
        let case = world.case(&agreement, Originator, Resolve);
        prove(resolve(&mut parties, case.clone()).await.unwrap(), &agreement, &case);
    };
    check(&world).await;
    let world = world.restarted(Api::default()).await;
    check(&world).await;
    let fault = arbiter::fsck::check(&*world.store, &world.arbiter, None, &mut |_| {}).fault.unwrap();
    assert_eq!(fault.index, Some(2), "{fault}");
}
