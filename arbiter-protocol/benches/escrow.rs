//! What an escrow costs: make, check, open and size, for each suite and kind of signature, on one core and on all.
//!
//! ```text
//!   cargo bench -p arbiter-protocol --bench escrow --profile dev                        one core
//!   cargo bench -p arbiter-protocol --bench escrow --profile dev --features parallel    one core, then all
//! ```
//!
//! *share* is the time of the group operations that the scheme cannot do without, each at its own cost measured in
//! the same rounds, divided by the time of the whole: multiplications and images for make and for check, and for check
//! also with the n decodings of E_i that the specification demands. Beside other schemes: `benches/comparison/`.

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
use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, MontyForm, MontyMultiplier as _};
use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoBasepointTable, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use support::{Case, Owned};

/// All cases are measured some times, so that each meets the machine at different moments, and each time in some rounds.
const PASSES: usize = 5;
const ROUNDS: usize = 10;

/// The best times of a case, in milliseconds: what others do on the machine at the same time is left out.
#[derive(Clone, Copy)]
struct Best {
    make: f64,
    check: f64,
    open: f64,
    /// One multiplication of a fixed point by a secret scalar.
    multiplication: f64,
    /// One image ψ(r): such a multiplication, or a power modulo n.
    image: f64,
    /// One decoding of a group element.
    decoding: f64,
}

impl Best {
    /// Everything in turns, so that all of it sees the same machine.
    fn of(case: &Case, escrow: &[u8]) -> Self {
        let multiply = multiplications();
        let power = powers(&case.statement);
        let decode = decodings();
        let most = f64::MAX;
        let mut best =
            Self { make: most, check: most, open: most, multiplication: most, image: most, decoding: most };
        for _ in 0..ROUNDS {
            best.make = best.make.min(time(|| case.make(2)));
            best.check = best.check.min(time(|| case.check(escrow).unwrap()));
            best.open = best.open.min(time(|| case.open(escrow).unwrap()));
            best.multiplication = best.multiplication.min(time(&multiply) / 150.0);
            best.decoding = best.decoding.min(time(&decode) / 100.0);
            if let Some(power) = &power {
                best.image = best.image.min(time(power) / 20.0);
            }
        }
        if power.is_none() {
            best.image = best.multiplication;
        }
        best
    }

    fn merge(self, other: Self) -> Self {
        Self {
            make: self.make.min(other.make),
            check: self.check.min(other.check),
            open: self.open.min(other.open),
            multiplication: self.multiplication.min(other.multiplication),
            image: self.image.min(other.image),
            decoding: self.decoding.min(other.decoding),
        }
    }

    /// Per cent: the share of the bound in make, in check, and in check with its decodings, on one core.
    fn shares(&self, suite: Suite) -> [f64; 3] {
        let (total, hidden) = (f64::from(suite.total()), f64::from(suite.hidden()));
        let instance = 2.0 * self.multiplication + self.image;
        let check = (total - hidden) * instance + hidden * self.image;
        let decodings = hidden * self.decoding;
        [total * instance / self.make, check / self.check, (check + decodings) / self.check]
            .map(|it| 100.0 * it)
    }
}

fn time<T>(f: impl FnOnce() -> T) -> f64 {
    let start = Instant::now();
    black_box(f());
    start.elapsed().as_secs_f64() * 1e3
}

/// 150 multiplications, a third with each of the tables: B of Edwards points, G, and the arbiter's key.
fn multiplications() -> impl Fn() {
    let scalars: Vec<Scalar> = (1..51u64).map(|i| Scalar::from(i).invert()).collect();
    let table = RistrettoBasepointTable::create(&RistrettoPoint::mul_base(&scalars[7]));
    move || {
        for scalar in &scalars {
            black_box(EdwardsPoint::mul_base(scalar));
            black_box(RistrettoPoint::mul_base(scalar));
            black_box(scalar * &table);
        }
    }
}

/// 100 decodings.
fn decodings() -> impl Fn() {
    let encode = |i: u64| RistrettoPoint::mul_base(&Scalar::from(i).invert()).compress();
    let points: Vec<CompressedRistretto> = (1..101).map(encode).collect();
    move || {
        for point in &points {
            black_box(point.decompress());
        }
    }
}

/// 20 powers r^65537 modulo the n of an RSA case.
fn powers(statement: &Owned) -> Option<impl Fn()> {
    let Owned::Rsa { modulus, .. } = statement else { return None };
    let field = BoxedMontyParams::new_vartime(BoxedUint::from_be_slice_vartime(modulus).to_odd().unwrap());
    let integer = BoxedUint::from_be_slice(modulus, field.bits_precision()).unwrap().shr(1);
    let base = BoxedMontyForm::new(integer, &field);
    Some(move || {
        let mut multiplier = <BoxedMontyForm as MontyForm>::Multiplier::from(&field);
        for _ in 0..20 {
            let mut out = base.clone();
            (0..16).for_each(|_| multiplier.square_assign(&mut out));
            multiplier.mul_assign(&mut out, &base);
            black_box(out);
        }
    })
}

/// Runs on so many threads; with `parallel` off there is one.
fn on_threads<T: Send>(threads: usize, f: impl FnOnce() -> T + Send) -> T {
    #[cfg(feature = "parallel")]
    return rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(f);
    #[cfg(not(feature = "parallel"))]
    {
        assert_eq!(threads, 1);
        f()
    }
}

fn main() {
    let all =
        if cfg!(feature = "parallel") { std::thread::available_parallelism().unwrap().get() } else { 1 };
    println!("verifiable escrow: best of {} runs, milliseconds; all cores: {all}\n", PASSES * ROUNDS);
    println!("                    one core                                             all cores");
    println!(
        "signature  suite       make    check   open   share: make check (dec.)     make    check    bytes"
    );
    let mut costs = Vec::new();
    let mut goals = Goals::default();
    for row in rows(all) {
        let [make, check, decoded] = row.one.shares(row.suite);
        let Row { name, suite, one, .. } = &row;
        print!("{name:9}  {:8} {:8.2} {:8.2} {:6.3}", suite.name(), one.make, one.check, one.open);
        print!("         {make:3.0}   {check:3.0}  ({decoded:3.0}) %");
        match &row.many {
            Some(many) => print!("  {:8.2} {:8.2}", many.make, many.check),
            None => print!("                   "),
        }
        println!(" {:8}", row.escrow.len());
        // Decoding is a group operation, too, and nobody can leave it out (SPEC.md section 11.5, step 4 of check).
        goals.see(name, row.escrow.len(), one, make.min(decoded));
        if *suite == Suite::FAST {
            costs.push((row.name, row.one));
        }
    }
    println!(
        "\nbound: make does 2N multiplications by fixed points and N images, check 2(N-n) and N, (dec.) and n"
    );
    println!("decodings. Microseconds, one core, the same rounds:");
    for (name, it) in costs {
        let [multiplication, image, decoding] = [it.multiplication, it.image, it.decoding].map(|it| it * 1e3);
        println!(
            "  {name:9} multiplication {multiplication:5.1}  image {image:5.1}  decoding {decoding:5.1}"
        );
    }
    goals.print();
}

/// One line of the table.
struct Row {
    name: &'static str,
    suite: Suite,
    case: Case,
    escrow: Vec<u8>,
    one: Best,
    many: Option<Best>,
}

fn rows(all: usize) -> Vec<Row> {
    let kinds = ["ed25519", "rsa-2048 e=65537 pkcs1 sha256", "rsa-3072 e=65537 pkcs1 sha256"];
    let row = |kind: &'static str, suite| {
        let case = if kind == "ed25519" { Case::ed25519(suite) } else { Case::rsa(suite, kind) };
        let escrow = case.make(1).to_bytes();
        let one = on_threads(1, || Best::of(&case, &escrow));
        let many = (all > 1).then(|| on_threads(all, || Best::of(&case, &escrow)));
        Row { name: kind.split(' ').next().unwrap(), suite, case, escrow, one, many }
    };
    let suites = [Suite::FAST, Suite::BALANCED, Suite::COMPACT];
    let mut rows: Vec<Row> =
        kinds.iter().flat_map(|kind| suites.iter().map(|suite| row(kind, *suite))).collect();
    for _ in 1..PASSES {
        for Row { case, escrow, one, many, .. } in &mut rows {
            *one = one.merge(on_threads(1, || Best::of(case, escrow)));
            if let Some(many) = many {
                *many = many.merge(on_threads(all, || Best::of(case, escrow)));
            }
        }
    }
    rows
}

/// What the figures should be, and the best or worst that they are.
struct Goals {
    ed25519: usize,
    rsa: usize,
    open: f64,
    share: f64,
}

impl Default for Goals {
    fn default() -> Self {
        Self { ed25519: usize::MAX, rsa: usize::MAX, open: 0.0, share: f64::MAX }
    }
}

impl Goals {
    fn see(&mut self, name: &str, bytes: usize, best: &Best, share: f64) {
        match name {
            "ed25519" => {
                self.ed25519 = self.ed25519.min(bytes);
                self.open = self.open.max(best.open);
            }
            "rsa-2048" => self.rsa = self.rsa.min(bytes),
            _ => {}
        }
        self.share = self.share.min(share);
    }

    fn print(&self) {
        let reached = |it| if it { "reached" } else { "NOT reached" };
        println!("\ngoals");
        println!(
            "  Ed25519 in one suite, 4 KB:     {:6} bytes   {}",
            self.ed25519,
            reached(self.ed25519 <= 4096)
        );
        println!(
            "  RSA-2048 in one suite, 11 KB:   {:6} bytes   {}",
            self.rsa,
            reached(self.rsa <= 11 * 1024)
        );
        println!("  opening Ed25519, 1 ms:          {:6.2} ms      {}", self.open, reached(self.open <= 1.0));
        println!(
            "  smallest share, 80 %:           {:6.0} %       {}",
            self.share,
            reached(self.share >= 80.0)
        );
    }
}
