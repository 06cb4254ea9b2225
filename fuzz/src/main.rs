//! The fuzzer: libFuzzer around one target, named by `FUZZ_TARGET`. `fuzz/run` builds and starts it.
//!
//! ```text
//!  bytes ─▶ mutate (protobuf keeps its shape) ─▶ target ─▶ peak of memory ─▶ next
//! ```
//! The targets are those that `cargo test` replays: `arbiter-protocol/tests/fuzz` and `arbiter-client/tests/fuzz`.

#![no_main]
#![allow(dead_code, reason = "the shared parts of the tests are used in part")]

#[path = "../../arbiter-protocol/tests/simulation/acts.rs"]
mod acts;
#[path = "../../arbiter-protocol/tests/simulation/bank.rs"]
mod bank;
#[path = "../../arbiter-protocol/tests/simulation/book.rs"]
mod book;
#[path = "../../arbiter-protocol/tests/simulation/calls.rs"]
mod calls;
#[path = "../../arbiter-protocol/tests/simulation/cheats.rs"]
mod cheats;
#[path = "../../arbiter-protocol/tests/simulation/choices.rs"]
mod choices;
#[path = "../../arbiter-client/tests/fuzz/mod.rs"]
mod client;
#[path = "../../arbiter-protocol/tests/common/mod.rs"]
mod common;
#[path = "../../arbiter-protocol/tests/simulation/court.rs"]
mod court;
#[path = "../../arbiter-protocol/tests/simulation/ending.rs"]
mod ending;
#[path = "../../arbiter-protocol/tests/simulation/entitled.rs"]
mod entitled;
#[path = "../../arbiter-protocol/tests/simulation/event.rs"]
mod event;
#[path = "../../arbiter-protocol/tests/fuzz/mod.rs"]
mod fuzz;
#[path = "../../arbiter-protocol/tests/simulation/judge.rs"]
mod judge;
mod memory;
mod mutate;
#[path = "../../arbiter-protocol/tests/simulation/net.rs"]
mod net;
#[path = "../../arbiter-protocol/tests/simulation/oracle.rs"]
mod oracle;
#[path = "../../arbiter-protocol/tests/simulation/party.rs"]
mod party;
#[path = "../../arbiter-protocol/tests/simulation/pledge.rs"]
mod pledge;
#[path = "../../arbiter-protocol/tests/simulation/rail.rs"]
mod rail;
mod seeds;
#[path = "../../arbiter-protocol/tests/simulation/shrink.rs"]
mod shrink;
#[path = "../../arbiter-protocol/tests/simulation/signed.rs"]
mod signed;
#[path = "../../arbiter-protocol/tests/simulation/stage.rs"]
mod stage;
#[path = "../../arbiter-protocol/tests/simulation/words.rs"]
mod words;
#[path = "../../arbiter-protocol/tests/simulation/world.rs"]
mod world;

use std::sync::OnceLock;

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

type Target = fn(&[u8]) -> bool;

/// The name and the target that this process is for.
fn chosen() -> (&'static str, Target) {
    static CHOSEN: OnceLock<(&str, Target)> = OnceLock::new();
    *CHOSEN.get_or_init(|| {
        let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
        let found = targets().find(|(known, _)| *known == name);
        found.unwrap_or_else(|| {
            eprintln!("FUZZ_TARGET={name}: there is no such target");
            std::process::exit(2)
        })
    })
}

fn targets() -> impl Iterator<Item = (&'static str, Target)> {
    fuzz::ALL.into_iter().chain(client::ALL)
}

/// `FUZZ_TARGET=--list` and `FUZZ_TARGET=--seeds FOLDER` do not fuzz.
fn start() {
    match std::env::var("FUZZ_TARGET").as_deref() {
        Ok("--list") => targets().for_each(|(name, _)| println!("{name}")),
        Ok("--seeds") => seeds::write(std::env::args().next_back().expect("a folder").as_ref()),
        _ => {
            // What a target prepares once does not count as what an input costs.
            let (_, target) = chosen();
            target(&[]);
            target(&[0; 64]);
            return;
        }
    }
    std::process::exit(0)
}

fuzz_target!(init: start(), |bytes: &[u8]| {
    let (name, target) = chosen();
    let before = memory::start();
    target(bytes);
    let used = memory::peak_since(before);
    let allowed = memory::allowed(name, bytes.len());
    assert!(used <= allowed, "{name}: {} bytes of input took {used} bytes of memory", bytes.len());
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    if mutate::is_protobuf(chosen().0) && seed % 4 != 0 {
        mutate::protobuf(data, size, max_size, seed)
    } else {
        fuzzer_mutate(data, size, max_size)
    }
});
