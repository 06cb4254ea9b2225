//! Canaries (R-538): secrets planted in every field that people fill in, and searched for wherever outsiders look.
//!
//! ```text
//!  exchanges full of canaries ─▶ engine over RocksDB ─▶ leaves, tree, checkpoint, log lines, counters, errors ─┐
//!                                                  └──▶ every file of the data folder ────────────────────────┴▶ none
//! ```
//! 1,000 exchanges; `ARBITER_CANARIES=100000` for more.

use std::collections::HashSet;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

use arbiter::engine::{EngineError, Handle};
use arbiter_protocol::exchange::selection::Role::{self, Originator, Responder};
use arbiter_protocol::ids::Digest;
use arbiter_protocol::message::payment::PaymentTerms;
use arbiter_protocol::message::request::Action;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::fixture::{Exchange, Kind, Place, Words, folder, start};
use crate::{clean, end};

/// Every canary of words begins with it; no word of ours does.
const MARK: &str = "cnry9f27ab31";

fn words(n: u64) -> Words {
    let word = |field: &str| format!("{MARK}-{n}-{field}");
    Words {
        names: [word("originator"), word("responder")],
        file: word("file"),
        titles: [word("title-1"), word("title-2")],
        text: word("text"),
        media_type: format!("text/{MARK}-{n}"),
        certificate: word("certificate").into_bytes(),
    }
}

/// Everything of an exchange that is 32 bytes long and not for outsiders.
fn numbers(exchange: &Exchange) -> Vec<[u8; 32]> {
    let agreement = &exchange.agreement;
    let offer = agreement.offer();
    let mut numbers =
        vec![offer.nonce, *agreement.id().as_bytes(), *Digest::of(&[&exchange.content]).as_bytes()];
    for role in Role::BOTH {
        let party = offer.party(role);
        numbers.extend([*party.signing_key.as_bytes(), *party.sealing_key.as_bytes()]);
        numbers.push(*offer.item(role).digest().as_bytes());
        if let Some(terms) = PaymentTerms::of(offer, role) {
            numbers.extend([*terms.payment.payer.as_bytes(), *terms.payment.payee.as_bytes()]);
            numbers.push(*terms.reference.as_bytes());
        }
    }
    numbers
}

/// What must not be found.
#[derive(Default)]
struct Canaries {
    /// The first bytes of numbers, as they are and in hexadecimal digits.
    raw: HashSet<[u8; 8]>,
    digits: HashSet<[u8; 16]>,
}

impl Canaries {
    fn add(&mut self, number: &[u8; 32]) {
        let start: [u8; 8] = number[..8].try_into().unwrap();
        // The nonces of the fixture begin with a small number.
        if start[..5] != [0; 5] {
            self.raw.insert(start);
            self.digits.insert(hex::encode(start).into_bytes().try_into().unwrap());
        }
    }

    /// The first canary in these bytes, in whatever form.
    fn find(&self, bytes: &[u8]) -> Option<String> {
        let marks = marks();
        for (at, window) in bytes.windows(8).enumerate() {
            let word = marks.iter().find(|mark| bytes[at..].starts_with(mark));
            if let Some(word) = word {
                return Some(format!("{:?} at {at}", String::from_utf8_lossy(word)));
            }
            if self.raw.contains(window) {
                return Some(format!("{} at {at}", hex::encode(window)));
            }
            if bytes.get(at..at + 16).is_some_and(|digits| self.digits.contains(digits)) {
                return Some(format!("digits at {at}"));
            }
        }
        None
    }
}

/// The mark as it is, in digits, and in base64 wherever it may begin.
fn marks() -> Vec<Vec<u8>> {
    let mut marks = vec![MARK.as_bytes().to_vec(), hex::encode(MARK).into_bytes()];
    for shift in 0..3_usize {
        let text = STANDARD.encode([&b"..."[..shift], MARK.as_bytes(), b"..."].concat());
        // Only the digits that the mark alone decides.
        let (from, to) = ((shift * 8).div_ceil(6), (shift + MARK.len()) * 8 / 6);
        marks.push(text.as_bytes()[from..to].to_vec());
    }
    marks
}

/// What the process logs.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Plays an exchange to some end, with refusals on the way; what was refused, in words.
async fn play(engine: &Handle, kind: Kind, exchange: &Exchange) -> String {
    let mut told = String::new();
    let mut hear = |answer: Result<(), EngineError>| {
        if let Err(error) = answer {
            told.push_str(&format!("{error} {error:?}"));
        }
    };
    let file = |role, action| async move { exchange.file(engine, role, action).await.map(drop) };
    hear(file(Responder, Action::Abort).await);
    match kind {
        Kind::P1 => hear(file(Responder, Action::Resolve).await),
        Kind::P1Escrow => hear(file(Originator, Action::Resolve).await),
        Kind::P3 => {
            hear(file(Responder, Action::Deposit).await);
            hear(file(Originator, Action::Revoke).await);
        }
        Kind::P4 => hear(file(Originator, Action::Revoke).await),
        _ => {
            let first = exchange.first();
            hear(file(first, Action::Deposit).await);
            hear(file(first, Action::Resolve).await);
        }
    }
    told
}

fn search(folder: &Path, canaries: &Canaries) -> u64 {
    let mut searched = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        searched += u64::try_from(bytes.len()).unwrap();
        assert_eq!(canaries.find(&bytes), None, "{}", path.display());
    }
    searched
}

/// The search finds what it looks for, in each form.
#[test]
fn a_canary_is_found_in_every_form() {
    let mut canaries = Canaries::default();
    let number = *Digest::of(&[b"number"]).as_bytes();
    assert_eq!(canaries.find(&number), None);
    canaries.add(&number);
    assert!(canaries.find(&[&b"x"[..], &number].concat()).is_some());
    assert!(canaries.find(format!("key {}", hex::encode(number)).as_bytes()).is_some());
    for before in ["", "a", "ab", "abc"] {
        let text = format!("{before}{}", words(7).text);
        for form in [text.clone(), STANDARD.encode(&text), hex::encode(&text)] {
            assert!(canaries.find(form.as_bytes()).is_some(), "{form}");
        }
    }
}

/// R-501, R-531, R-538 (T11): no canary in leaves, tree, checkpoint, log lines, counters, errors, or any file.
#[tokio::test(flavor = "multi_thread")]
async fn no_canary_leaves_the_arbiter() {
    let count: u64 = std::env::var("ARBITER_CANARIES").map_or(1_000, |text| text.parse().unwrap());
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(move || writer.clone());
    subscriber.try_init().expect("no other test logs");
    let place = folder();
    let world = start(&place);
    let kinds = [Kind::P1, Kind::P2, Kind::P2Swapped, Kind::P3, Kind::P4, Kind::P5, Kind::P2SwappedEscrow];
    let (mut canaries, mut told, mut kept) = (Canaries::default(), String::new(), None);
    for first in (0..count).step_by(100) {
        let tasks: Vec<_> = (first..count.min(first + 100))
            .map(|n| {
                let engine = world.engine.clone();
                let kind = if n % 50 == 0 { Kind::P1Escrow } else { kinds[usize::try_from(n).unwrap() % 6] };
                tokio::spawn(async move {
                    let content = format!("{MARK}-{n}-content").into_bytes();
                    let exchange = Exchange::worded(kind, n, content, words(n));
                    let told = play(&engine, kind, &exchange).await;
                    (told, numbers(&exchange), exchange.id())
                })
            })
            .collect();
        for task in tasks {
            let (refused, numbers, id) = task.await.unwrap();
            told.push_str(&refused);
            numbers.iter().for_each(|number| canaries.add(number));
            kept = Some(id);
        }
    }
    let engine = &world.engine;
    assert!(engine.log_size() > count, "most exchanges have a leaf");
    assert!(told.len() > 1000, "there were refusals");
    let mut leaves = Vec::new();
    while let Some(page) = Some(engine.entries(u64::try_from(leaves.len()).unwrap(), 1000).unwrap()) {
        if page.is_empty() {
            break;
        }
        leaves.extend(page);
    }
    let id = kept.unwrap();
    for (index, leaf) in leaves.iter().enumerate() {
        assert_eq!(canaries.find(leaf), None, "leaf {index}");
        assert!(!String::from_utf8_lossy(leaf).contains(&id.to_string()), "an exchange id in leaf {index}");
    }
    let size = engine.log_size();
    let tree = engine.consistency_proof(size / 2, size).unwrap();
    let public = [
        engine.checkpoint().unwrap(),
        tree.iter().map(ToString::to_string).collect(),
        format!("{:?}", engine.counters()),
        told,
    ];
    assert_eq!(public.iter().find_map(|text| canaries.find(text.as_bytes())), None);
    end(world).await;
    let logged = lines.0.lock().unwrap().clone();
    assert!(String::from_utf8_lossy(&logged).contains(&id.to_string()), "rulings are logged");
    assert_eq!(canaries.find(&logged), None, "in the log lines");

    // As bytes of files, in the write-ahead log and in tables.
    assert!(search(place.0.path(), &canaries) > 1_000 * count, "the records are there, sealed");
    let store = place.open();
    arbiter::store::Store::forget_history(&store).unwrap();
    drop(store);
    assert!(search(place.0.path(), &canaries) > 1_000 * count);
    clean(&place.open());
}
