//! What is read back from a disk, and small things that people and witnesses write.

use std::sync::OnceLock;

use arbiter_protocol::crypto::Signer as _;
use arbiter_protocol::evidence::checkpoint::Checkpoint;
use arbiter_protocol::evidence::note::VerifierKey;
use arbiter_protocol::evidence::witness;
use arbiter_protocol::exchange::item::{Description, Item};
use arbiter_protocol::exchange::kind::content::ContentCheck;
use arbiter_protocol::exchange::kind::pledge::Pledge;
use arbiter_protocol::exchange::payment::Amount;
use arbiter_protocol::ledger::Entry;
use arbiter_protocol::ruling::chain::Walk;
use arbiter_protocol::time::UnixMillis;

use crate::common::{files, framed, signer};

/// What is shown beside an offer or an acceptance: an escrow or a reservation.
pub fn pledge(bytes: &[u8]) -> bool {
    let Ok(pledge) = Pledge::from_bytes(bytes) else { return false };
    assert_eq!(pledge.to_bytes(), bytes, "a pledge has one form");
    let _ = pledge.digest();
    true
}

/// An entry of a ledger's journal: its place and what is stored there.
pub fn ledger_entry(bytes: &[u8]) -> bool {
    let Some((place, stored)) = bytes.split_first_chunk::<8>() else { return false };
    let place = u64::from_be_bytes(*place);
    let Ok(entry) = Entry::decode(place, stored) else { return false };
    assert_eq!((entry.number, entry.encode().as_slice()), (place, stored), "an entry has one form");
    assert!(Entry::decode(place.wrapping_add(1), stored).is_err(), "an entry has one place");
    true
}

/// How far an auditor has come.
pub fn walk(bytes: &[u8]) -> bool {
    let Ok(walk) = Walk::decode(bytes, None) else { return false };
    assert_eq!(walk.encode(), bytes, "a walk has one form");
    let _ = walk.tally();
    true
}

/// An amount as it is typed.
pub fn amount(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    let Ok(amount) = Amount::parse(text) else { return false };
    assert_eq!(amount.to_string(), text, "an amount has one form");
    assert!(amount.units > 0);
    true
}

/// A time as a leaf writes it.
pub fn time(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    let Some(time) = UnixMillis::parse(text) else { return false };
    assert_eq!(time.to_string(), text, "a time has one form");
    true
}

/// What a witness answers, 200 or 409. The fuzzer has no key of a witness: nothing that it writes is a cosignature.
pub fn witness_answer(bytes: &[u8]) -> bool {
    const CHECKPOINT: &str = "arbiter.test/log\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n";
    let Ok(text) = str::from_utf8(bytes) else { return false };
    let checkpoint = Checkpoint::parse(CHECKPOINT).expect("a checkpoint");
    let key = VerifierKey::cosigner("witness.test/w1", signer(3).public_key()).expect("a good key");
    if let Ok(found) = witness::parse_answer(text, &checkpoint, &[key]) {
        // Of the corpus: the witness really cosigned.
        assert!(!found.is_empty() && found.iter().all(|(line, _)| text.contains(&line.to_string())));
        return true;
    }
    let Ok(size) = witness::parse_conflict(text) else { return false };
    assert_eq!(format!("{size}\n"), text, "a size has one form");
    true
}

/// The content of a package: only what was agreed fits, however it is cut.
pub fn package(bytes: &[u8]) -> bool {
    static PACKAGE: OnceLock<Item> = OnceLock::new();
    let package = PACKAGE.get_or_init(files);
    let Description::Package(items) = &package.description else { panic!("a package") };
    let check = |step: usize| {
        let mut check = ContentCheck::package(items.clone()).expect("files");
        bytes.chunks(step).try_for_each(|part| check.update(part))?;
        check.finish()
    };
    let whole = check(bytes.len().max(1));
    assert_eq!(whole.is_ok(), check(5).is_ok(), "how it is cut does not matter");
    assert_eq!(whole.is_ok(), bytes == framed(package), "other bytes fit");
    whole.is_ok()
}
