//! Slow lines: below `min_bytes_per_second` a deposit is cut off and told why, above it goes through, however long it takes.

use std::time::Duration;

use arbiter::grpc::Api;
use arbiter_client::arbiter::grpc::GrpcArbiter;
use arbiter_client::arbiter::{ArbiterPort as _, Filing, PortError};
use arbiter_protocol::exchange::selection::Role;
use arbiter_protocol::limits;
use arbiter_protocol::message::agreement::Agreement;
use arbiter_protocol::message::request::Action;
use arbiter_protocol::role::arbiter::Escrows;
use tokio_stream::StreamExt as _;
use tonic::Code;

use super::common::{START, World, assert_reason, content, deposit, describe, until, upload};
use super::proxy::Proxy;
use super::proxy::Way::{Back, There};
use super::scene::{HOUR, chunks, in_time};

const SECOND: Duration = Duration::from_secs(1);
/// Long enough that a chunk of the slow line comes before it is over.
const PAUSE: Duration = Duration::from_secs(3);

pub fn filing(world: &World, agreement: &Agreement, role: Role, action: Action) -> Filing {
    Filing {
        request: world.request(agreement, role, action),
        offer: agreement.offer().clone(),
        acceptance: Some(agreement.acceptance().clone()),
        escrows: match action {
            Action::Resolve => world.escrows(agreement, role),
            _ => Escrows::default(),
        },
    }
}

/// an upload that moves all the time, but too slowly, ends with TOO_SLOW after `request_timeout` and what it moved allows;
/// nothing of it is left. The same filing over a faster line is attested, and over a line that is slow in the other way.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_below_the_limit_is_cut_off_and_above_it_goes_through() {
    let api = Api {
        request_timeout: PAUSE,
        min_bytes_per_second: 1 << 20,
        max_uploads: 1,
        max_total_deposit_bytes: 1 << 20,
        ..Api::default()
    };
    let world = World::with(api).await;
    let bytes = content(1 << 20);
    let agreement = world.delivery(&describe(&bytes, "application/octet-stream"), START.after(HOUR));
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = folder.path().join("item");
    std::fs::write(&path, &bytes).unwrap();
    let line = Proxy::start(world.server.address(), None).await;
    // Half a second for a chunk, six times faster than the longest pause and eight times slower than the limit.
    line.slow_down(There, 128 * 1024);

    let channel = tonic::transport::Endpoint::from_shared(line.url()).unwrap().connect().await.unwrap();
    let mut parties = super::common::Parties::new(channel);
    let case = world.case(&agreement, Role::Originator, Action::Deposit);
    let slow = deposit(&mut parties, upload(case, &bytes, limits::CHUNK_BYTES));
    let status = assert_reason(in_time("slow", slow).await, Code::DeadlineExceeded, "TOO_SLOW");
    assert_eq!(super::common::metadata(&status, "minimum").unwrap(), (1 << 20).to_string());
    until("nothing of it is left", || chunks(&world) == 0).await;

    // The production client is told the same, and may ask again. Its line is its own: the one above is still full.
    let line = Proxy::start(world.server.address(), None).await;
    line.slow_down(There, 128 * 1024);
    let arbiter = GrpcArbiter::new(&line.url(), None).unwrap();
    let deposit = filing(&world, &agreement, Role::Originator, Action::Deposit);
    let error = in_time("slow", arbiter.deposit(&deposit, &path)).await.unwrap_err();
    let PortError::Unavailable { message, .. } = &error else { panic!("{error:?}") };
    assert!(message.contains("bytes a second"), "{message}");
    until("nothing of it is left", || chunks(&world) == 0).await;

    // One place and room for one: both are free. The line is fast enough now; what comes back may be slow.
    line.slow_down(There, 0);
    line.slow_down(Back, 32 * 1024);
    in_time("fast enough", arbiter.deposit(&deposit, &path)).await.unwrap();
    assert_eq!(chunks(&world), 16);
}

/// ten times the limit is still slow, and goes through in both ways.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_line_above_the_limit_carries_a_deposit_and_a_release() {
    let api = Api { request_timeout: PAUSE, min_bytes_per_second: 32 * 1024, ..Api::default() };
    let world = World::with(api).await;
    let bytes = content(1 << 20);
    let agreement = world.delivery(&describe(&bytes, "application/octet-stream"), START.after(HOUR));
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = folder.path().join("item");
    std::fs::write(&path, &bytes).unwrap();
    let line = Proxy::start(world.server.address(), None).await;
    line.slow_down(There, 512 * 1024);
    line.slow_down(Back, 512 * 1024);
    let arbiter = GrpcArbiter::new(&line.url(), None).unwrap().answer_within(20 * SECOND);
    let of = |role, action| filing(&world, &agreement, role, action);
    in_time("deposit", arbiter.deposit(&of(Role::Originator, Action::Deposit), &path)).await.unwrap();
    arbiter.resolve(&of(Role::Originator, Action::Resolve)).await.unwrap();
    let fetched = arbiter.fetch(&of(Role::Responder, Action::Fetch)).await.unwrap();
    let chunks: Vec<_> = in_time("fetch", fetched.chunks.collect::<Vec<_>>()).await;
    let chunks: Vec<_> = chunks.into_iter().map(Result::unwrap).collect();
    let fetched = (fetched.encapsulated, chunks);
    assert_eq!(super::common::unseal(&agreement, Role::Originator, &world.bob, fetched), bytes);
}

/// a reader that is too slow loses its place and hears it; what it has got looks incomplete. Faster, it gets all.
#[tokio::test(flavor = "multi_thread")]
async fn a_release_below_the_limit_is_cut_off_and_fetched_again() {
    let api =
        Api { request_timeout: SECOND, min_bytes_per_second: 1 << 40, max_uploads: 1, ..Api::default() };
    let world = World::with(api).await;
    // More than windows and sockets hold.
    let bytes = content(24 << 20);
    let agreement = world.delivery(&describe(&bytes, "application/octet-stream"), START.after(HOUR));
    let mut parties = world.parties().await;
    let case = world.case(&agreement, Role::Originator, Action::Deposit);
    deposit(&mut parties, upload(case, &bytes, limits::CHUNK_BYTES)).await.unwrap();
    let line = Proxy::start(world.server.address(), None).await;
    let arbiter = GrpcArbiter::new(&line.url(), None).unwrap();
    arbiter.resolve(&filing(&world, &agreement, Role::Originator, Action::Resolve)).await.unwrap();
    let fetch = filing(&world, &agreement, Role::Responder, Action::Fetch);

    line.slow_down(Back, 256 * 1024);
    let mut slow = arbiter.fetch(&fetch).await.unwrap().chunks;
    // The arbiter gives up meanwhile, which frees the only place; then the rest may come faster.
    let mut other = world.parties().await;
    let free = async || {
        let request = arbiter_protocol::wire::arbiter::FetchDepositRequest {
            case: Some(world.case(&agreement, Role::Responder, Action::Fetch)),
        };
        other.fetch_deposit(request).await.is_ok()
    };
    let mut free = free;
    let mut tries = 0;
    while !free().await {
        tries += 1;
        assert!(tries < 1000, "the place never comes back");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    line.slow_down(Back, 0);
    let mut whole = 0;
    let error = loop {
        match in_time("slow", slow.next()).await {
            Some(Ok(_)) => whole += 1,
            Some(Err(error)) => break error,
            None => panic!("a release that is cut off must not look complete"),
        }
    };
    assert!(matches!(error, PortError::Unavailable { .. }), "{error:?}");
    assert!(whole < 24 << 4, "it was cut off");
    drop(slow);
    let mut tries = 0;
    let again = loop {
        match arbiter.fetch(&fetch).await {
            Ok(deposit) => break deposit,
            Err(error) => assert!(matches!(error, PortError::Unavailable { .. }), "{error:?}"),
        }
        tries += 1;
        assert!(tries < 1000, "the place never comes back");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let chunks: Vec<_> = in_time("fetch", again.chunks.collect::<Vec<_>>()).await;
    let chunks: Vec<_> = chunks.into_iter().map(Result::unwrap).collect();
    let fetched = (again.encapsulated, chunks);
    assert!(super::common::unseal(&agreement, Role::Originator, &world.bob, fetched) == bytes);
}
