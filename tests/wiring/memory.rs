//! The memory of the program does not grow with what passes through it.

use std::io::Write as _;
use std::path::Path;

use arbiter_client::arbiter::grpc::GrpcArbiter;
use arbiter_client::arbiter::{ArbiterPort as _, Filing};
use arbiter_client::clock::{Clock as _, SystemClock};
use arbiter_client::items;
use arbiter_protocol::crypto::Opener;
use arbiter_protocol::exchange::item::Information;
use arbiter_protocol::exchange::selection::Role;
use arbiter_protocol::message::agreement::Agreement;
use arbiter_protocol::message::request::Action;
use arbiter_protocol::role::arbiter::Escrows;
use sha2::{Digest as _, Sha256};
use tokio_stream::StreamExt as _;

use super::common::Cast;
use super::program::Home;
use super::scene::{HOUR, in_time};

const MIB: u64 = 1 << 20;
/// Fills what the store keeps in memory before it writes a file.
const FIRST: u64 = 128 * MIB;
/// With every change; `ARBITER_DEPOSIT_MIB=1024` is the whole gibibyte of S45.
const SECOND: u64 = 256 * MIB;
/// Much less than the second deposit, more than what the store holds at one time more or less.
const FLAT_KIB: u64 = 96 * 1024;

/// A file without a pattern that repeats.
async fn item(path: &Path, size: u64) -> Information {
    let mut file = std::io::BufWriter::with_capacity(1 << 20, std::fs::File::create(path).unwrap());
    for number in 0..size / 8 {
        file.write_all(&number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes()).unwrap();
    }
    file.into_inner().unwrap();
    items::describe(path, Some("application/octet-stream")).await.unwrap()
}

fn filing(cast: &Cast, agreement: &Agreement, role: Role, action: Action) -> Filing {
    Filing {
        request: cast.request(agreement, role, action),
        offer: agreement.offer().clone(),
        acceptance: Some(agreement.acceptance().clone()),
        escrows: Escrows::default(),
    }
}

/// S45: a deposit of 256 MiB, or as large as is asked for, on its way in and out takes no more memory than a smaller one
/// before it, and arrives.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_deposit_and_its_release_take_no_memory() {
    let home = Home::new().await;
    let server = home.serve(&[]).await;
    let (cast, arbiter) = (server.cast().await, GrpcArbiter::new(&server.url(), None).unwrap());
    let path = home.0.path().join("item");
    let mut most = Vec::new();
    let asked = std::env::var("ARBITER_DEPOSIT_MIB").ok().map(|it| it.parse::<u64>().unwrap() * MIB);
    let second = asked.unwrap_or(SECOND);
    for size in [FIRST, second] {
        let described = item(&path, size).await;
        let agreement = cast.delivery(&described, SystemClock.now().after(HOUR));
        let of = |role, action| filing(&cast, &agreement, role, action);
        in_time("a deposit", arbiter.deposit(&of(Role::Originator, Action::Deposit), &path)).await.unwrap();
        arbiter.resolve(&of(Role::Originator, Action::Resolve)).await.unwrap();
        let mut fetched = arbiter.fetch(&of(Role::Responder, Action::Fetch)).await.unwrap();
        let context = agreement.seal_context(Role::Originator);
        let mut opener = Opener::new(&cast.bob.secret, &context, &fetched.encapsulated).unwrap();
        let (mut hash, mut next) = (Sha256::new(), fetched.chunks.next().await);
        while let Some(chunk) = next {
            next = in_time("a chunk", fetched.chunks.next()).await;
            hash.update(opener.open(&chunk.unwrap(), next.is_none()).unwrap());
        }
        assert_eq!(hash.finalize().as_slice(), described.sha256.as_bytes());
        most.push(server.memory().1);
    }
    println!("memory: {} KiB at most with {FIRST} bytes, {} KiB with {second} bytes", most[0], most[1]);
    assert!(most[1] < most[0] + FLAT_KIB, "memory grows with the deposit: {most:?} KiB");
    server.terminate();
    assert_eq!(server.end().await, Some(0));
}
