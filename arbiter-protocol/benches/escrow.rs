//! What an escrow costs: make, check, open and size, for each suite and kind of signature.
//!
//! ```text
//!   cargo bench -p arbiter-protocol --bench escrow                        one core
//!   cargo bench -p arbiter-protocol --bench escrow --features parallel    all cores
//! ```
//!
//! Below the table: the cost of one group operation in the same run, the number of them that the scheme cannot do
//! without, and the share of the time that they take.

#![allow(
    clippy::as_conversions,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    missing_docs,
    reason = "a measurement may fail by panicking, and needs a clock"
)]

#[path = "../tests/escrow/support.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod support;

use std::hint::black_box;
use std::time::Instant;

use arbiter_protocol::escrow::Suite;
use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::ristretto::{RistrettoBasepointTable, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use support::Case;

/// The best of some runs, in microseconds: what others do on the machine at the same time is left out.
fn best<T>(runs: usize, mut f: impl FnMut() -> T) -> f64 {
    black_box(f());
    let times = (0..runs).map(|_| {
        let start = Instant::now();
        black_box(f());
        start.elapsed().as_secs_f64() * 1e6
    });
    times.fold(f64::MAX, f64::min)
}

/// One multiplication of a fixed point by a secret scalar, in microseconds.
fn multiplication() -> f64 {
    let scalars: Vec<Scalar> = (1..101u64).map(|i| Scalar::from(i).invert()).collect();
    let table = RistrettoBasepointTable::create(&RistrettoPoint::mul_base(&scalars[7]));
    let base = best(30, || scalars.iter().map(EdwardsPoint::mul_base).collect::<Vec<_>>());
    let key = best(30, || scalars.iter().map(|it| it * &table).collect::<Vec<_>>());
    (2.0 * base + key) / 300.0
}

fn main() {
    let cores = if cfg!(feature = "parallel") { "all cores" } else { "one core" };
    println!("verifiable escrow, {cores}; times in milliseconds, best of 30\n");
    println!("signature  suite     make   check    open   bytes   share of the bound: make  check");
    let one = multiplication();
    let kinds = ["ed25519", "rsa-2048 e=65537 pkcs1 sha256", "rsa-3072 e=65537 pkcs1 sha256"];
    for kind in kinds {
        for suite in [Suite::FAST, Suite::BALANCED, Suite::COMPACT] {
            let case = if kind == "ed25519" { Case::ed25519(suite) } else { Case::rsa(suite, kind) };
            let escrow = case.make(1).to_bytes();
            let make = best(30, || case.make(2));
            let check = best(30, || case.check(&escrow).unwrap());
            let open = best(30, || case.open(&escrow).unwrap());
            let (total, hidden) = (f64::from(suite.total()), f64::from(suite.hidden()));
            let power = if kind == "ed25519" { one } else { power(&case) };
            let bound_make = total * (2.0 * one + power);
            let bound_check = (total - hidden) * (2.0 * one + power) + hidden * power;
            println!(
                "{:9}  {:7} {:7.2} {:7.2} {:7.3} {:7}                     {:3.0} %  {:3.0} %",
                kind.split(' ').next().unwrap(),
                suite.name(),
                make / 1e3,
                check / 1e3,
                open / 1e3,
                escrow.len(),
                100.0 * bound_make / make,
                100.0 * bound_check / check,
            );
        }
    }
    println!(
        "\none multiplication by a fixed point: {one:.1} us; make does 3N of them, check 3(N-n)+n (Ed25519)"
    );
}

/// One σ^e mod n with the numbers of the case, in microseconds.
fn power(case: &Case) -> f64 {
    use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
    use crypto_bigint::{BoxedUint, MontyForm, MontyMultiplier as _};
    let support::Owned::Rsa { modulus, .. } = &case.statement else { panic!("an RSA case") };
    let field = BoxedMontyParams::new_vartime(BoxedUint::from_be_slice_vartime(modulus).to_odd().unwrap());
    let integer = BoxedUint::from_be_slice(&case.signature, field.bits_precision()).unwrap();
    let base = BoxedMontyForm::new(integer, &field);
    best(30, || {
        let mut multiplier = <BoxedMontyForm as MontyForm>::Multiplier::from(&field);
        for _ in 0..20 {
            let mut out = base.clone();
            (0..16).for_each(|_| multiplier.square_assign(&mut out));
            multiplier.mul_assign(&mut out, &base);
            black_box(out);
        }
    }) / 20.0
}
