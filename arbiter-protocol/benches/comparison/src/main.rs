//! Our escrow of one discrete logarithm beside other published crates, at 2^-128, in one run.
//!
//! ```text
//!   cargo run --release                          one core
//!   cargo run --release --features parallel      all cores, on both sides
//! ```
//!
//! What stands in the table, and what does not:
//! - `verifiable_encryption` 0.3 (docknetwork): DKG-in-the-head 16x32 and 4x64 and its robust form 132/64, of one
//!   witness w with Y = wG. On BLS12-381, the curve of its tests, and on edwards25519, which is ours. The goal names
//!   the first two; the robust form is the fastest of them, so it stands beside.
//! - `verenc` 0.2 (Camenisch-Shoup) at 3072 bits. It proves that the prover knows the plaintext, *not* that it is the
//!   logarithm of anything, so it does less than the others. It builds only because `rand` is named here: its big
//!   numbers use `thread_rng` without asking for the feature.
//! - `verenc-mpcith`, the prototype of the DKG-in-the-head paper, is not published as a crate. No row.
//!
//! All sides make the tables of the arbiter's key anew each time; we would keep ours. All is built alike, with
//! optimisation for release and for any x86-64. *proof* is what the peer gets, ciphertexts included; *to open* is what
//! the arbiter gets. Times are the best of some rounds, in which everything takes its turn.

#![allow(clippy::disallowed_methods, reason = "a measurement needs a clock")]

mod camenisch_shoup;
mod in_the_head;
mod ours;

use std::hint::black_box;
use std::time::Instant;

/// One scheme with its keys, ready to run.
struct Scheme {
    name: &'static str,
    group: &'static str,
    parameters: String,
    run: Box<dyn FnMut() -> Figures>,
}

/// Milliseconds and bytes of one run.
#[derive(Clone, Copy)]
struct Figures {
    prove: f64,
    verify: f64,
    open: f64,
    proof: usize,
    to_open: usize,
}

impl Figures {
    fn best(self, other: Self) -> Self {
        Self {
            prove: self.prove.min(other.prove),
            verify: self.verify.min(other.verify),
            open: self.open.min(other.open),
            ..self
        }
    }

    fn both(&self) -> f64 {
        self.prove + self.verify
    }
}

/// What `f` makes, and how many milliseconds it took.
fn timed<T>(f: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let made = black_box(f());
    (made, start.elapsed().as_secs_f64() * 1e3)
}

fn main() {
    let rounds = 12;
    let mut schemes = ours::all();
    let own = schemes.len();
    schemes.extend(in_the_head::all());
    schemes.extend(camenisch_shoup::all());

    let mut figures: Vec<Figures> = schemes.iter_mut().map(|it| (it.run)()).collect();
    for _ in 1..rounds {
        for (it, best) in schemes.iter_mut().zip(&mut figures) {
            *best = best.best((it.run)());
        }
    }

    let cores = if cfg!(feature = "parallel") { "all cores" } else { "one core" };
    println!(
        "verifiable encryption of one witness at 2^-128, {cores}, best of {rounds} rounds, milliseconds\n"
    );
    println!(
        "{:14} {:14} {:9} {:>8} {:>8} {:>7} {:>7} {:>8}   prove + verify, ours = 1",
        "scheme", "group", "", "prove", "verify", "open", "proof", "to open"
    );
    let fastest = figures[..own].iter().map(Figures::both).fold(f64::MAX, f64::min);
    for (it, best) in schemes.iter().zip(&figures) {
        println!(
            "{:14} {:14} {:9} {:8.2} {:8.2} {:7.2} {:7} {:8}   {:6.1}",
            it.name,
            it.group,
            it.parameters,
            best.prove,
            best.verify,
            best.open,
            best.proof,
            best.to_open,
            best.both() / fastest
        );
    }
    let best = |names: &[&str]| {
        let named = schemes.iter().zip(&figures).filter(|(it, _)| names.contains(&it.name));
        named.map(|(_, best)| best.both()).fold(f64::MAX, f64::min) / fastest
    };
    let reached = |it| if it { "reached" } else { "NOT reached" };
    println!("\nprove + verify, goal 5 times faster:");
    for names in [&["DKGitH", "verenc"][..], &["RDKGitH"]] {
        let ratio = best(names);
        println!("  than the best of {:16} {ratio:5.1} times, {}", names.join(", "), reached(ratio >= 5.0));
    }
    let smallest = figures[..own].iter().map(|it| it.proof).min().unwrap_or(usize::MAX);
    println!("proof, goal 4 KB in one suite: {smallest} bytes, {}", reached(smallest <= 4096));
}
