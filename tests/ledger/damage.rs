//! Somebody wrote to the file: a start, or fsck, finds it and names it.

use std::path::Path;

use arbiter::clock::ManualClock;
use arbiter::ledger::fsck;
use arbiter::ledger::store::{Store, StoreError};
use arbiter::ledger::{Handle, Options, StartError};
use arbiter_protocol::exchange::payment::Timeout;
use arbiter_protocol::ledger::Damage;
use arbiter_protocol::message::payment::PaymentAction;
use arbiter_protocol::time::DurationMillis;
use redb::{Database, ReadableTable as _, TableDefinition, WriteTransaction};

use super::{Bank, LEDGER, NOW, after};
use crate::support::*;

const JOURNAL: TableDefinition<'static, u64, &'static [u8]> = TableDefinition::new("journal");
const ACCOUNTS: TableDefinition<'static, &'static [u8], &'static [u8]> = TableDefinition::new("accounts");
const PAYMENTS: TableDefinition<'static, &'static [u8; 32], (u64, u64)> = TableDefinition::new("payments");
const OPEN: TableDefinition<'static, &'static [u8; 32], ()> = TableDefinition::new("open");
const HISTORY: TableDefinition<'static, (&'static [u8; 32], u64), &'static [u8; 32]> =
    TableDefinition::new("history");

fn change(file: &Path, change: impl FnOnce(&WriteTransaction)) {
    let database = Database::open(file).unwrap();
    let write = database.begin_write().unwrap();
    change(&write);
    write.commit().unwrap();
}

fn checked(file: &Path) -> Result<fsck::Report, String> {
    let store = Store::open_existing(file, key(LEDGER)).map_err(|error| error.to_string())?;
    fsck::check(&store, key(LEDGER), &mut |_| {}).map_err(|error| match error {
        StoreError::Damaged(damage) => damage.to_string(),
        other => other.to_string(),
    })
}

fn start(file: &Path) -> Result<(), StartError> {
    let store = Store::open_existing(file, key(LEDGER))?;
    let clock = Box::new(ManualClock::new(NOW));
    Handle::start(Box::new(signer(LEDGER)), store, Options::default(), clock).map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_found_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join("good");
    let mut bank = Bank::at(&good, NOW, DurationMillis(0)).await;
    bank.fund().await;
    let held = bank.cast.held(100, after(5_000), Timeout::Post, "held");
    let ended = bank.cast.held(70, after(5_000), Timeout::Post, "ended");
    for terms in [&held, &ended] {
        bank.caller.order(order(terms, PaymentAction::Make, ALICE)).await.unwrap();
    }
    bank.caller.order(order(&ended, PaymentAction::Post(30), ARBITER)).await.unwrap();
    bank.stop().await;
    let report = checked(&good).unwrap();
    assert_eq!((report.entries, report.payments, report.open), (9, 3, 1));
    let units: Vec<_> = report.circulation.iter().map(|it| (it.currency.to_string(), it.units)).collect();
    assert_eq!(units, [("EUR/2".to_owned(), 100_000), ("EUR/3".to_owned(), 0), ("JPY/0".to_owned(), 0)]);

    let (held, ended) = (held.id(), ended.id());
    // What was changed, what fsck says, and whether even a start notices: it checks sums, open payments and the newest entry.
    type Case<'a> = (&'a str, Box<dyn Fn(&WriteTransaction) + 'a>, &'a str, bool);
    let account = |bytes: &mut Vec<u8>| *bytes.get_mut(6 + 15).unwrap() ^= 1;
    let cases: Vec<Case<'_>> = vec![
        (
            "a unit more for everybody",
            Box::new(|write| {
                let mut table = write.open_table(ACCOUNTS).unwrap();
                let name = [&[1], key(BOB).as_bytes().as_slice()].concat();
                let mut bytes = table.get(name.as_slice()).unwrap().unwrap().value().to_vec();
                account(&mut bytes);
                table.insert(name.as_slice(), bytes.as_slice()).unwrap();
            }),
            "is stored otherwise",
            true,
        ),
        (
            "a reservation forgotten",
            Box::new(|write| drop(write.open_table(OPEN).unwrap().remove(held.as_bytes()).unwrap())),
            "is stored otherwise",
            true,
        ),
        (
            "an ended payment open again",
            Box::new(|write| {
                write.open_table(PAYMENTS).unwrap().insert(ended.as_bytes(), (8, 0)).unwrap();
            }),
            "is stored otherwise",
            false,
        ),
        (
            "a payment forgotten",
            Box::new(|write| drop(write.open_table(PAYMENTS).unwrap().remove(ended.as_bytes()).unwrap())),
            "is stored otherwise",
            false,
        ),
        (
            "a payment out of nothing",
            Box::new(|write| {
                write.open_table(PAYMENTS).unwrap().insert(&[7; 32], (8, 9)).unwrap();
            }),
            "not in the journal",
            false,
        ),
        (
            "a line of a history gone",
            Box::new(|write| {
                let place = (key(BOB), 8);
                drop(write.open_table(HISTORY).unwrap().remove((place.0.as_bytes(), place.1)).unwrap());
            }),
            "is stored otherwise",
            false,
        ),
        (
            "an entry gone",
            Box::new(|write| drop(write.open_table(JOURNAL).unwrap().remove(6).unwrap())),
            "entry 6 of the journal is missing",
            true,
        ),
        (
            "the newest entry gone",
            Box::new(|write| drop(write.open_table(JOURNAL).unwrap().remove(9).unwrap())),
            "is stored otherwise",
            true,
        ),
        (
            "another signature",
            Box::new(|write| {
                let mut table = write.open_table(JOURNAL).unwrap();
                let mut bytes = table.get(7).unwrap().unwrap().value().to_vec();
                *bytes.last_mut().unwrap() ^= 1;
                table.insert(7, bytes.as_slice()).unwrap();
            }),
            "SIGNATURE_INVALID",
            false,
        ),
        (
            "half an entry",
            Box::new(|write| {
                let mut table = write.open_table(JOURNAL).unwrap();
                let bytes = table.get(8).unwrap().unwrap().value()[..60].to_vec();
                table.insert(8, bytes.as_slice()).unwrap();
            }),
            "entry 8 of the journal cannot be read",
            false,
        ),
    ];
    for (number, (name, damage, said, noticed)) in cases.into_iter().enumerate() {
        let file = folder.path().join(number.to_string());
        std::fs::copy(&good, &file).unwrap();
        change(&file, |write| damage(write));
        let fault = checked(&file).unwrap_err();
        assert!(fault.contains(said), "{name}: {fault}");
        assert_eq!(start(&file).is_err(), noticed, "{name}");
    }
    assert!(start(&good).is_ok());
    // No book at all, and bytes that are none.
    let nothing = folder.path().join("nothing");
    assert!(matches!(Store::open_existing(&nothing, key(LEDGER)), Err(StoreError::Empty { .. })));
    std::fs::write(&nothing, [7; 5000]).unwrap();
    assert!(checked(&nothing).is_err());
    assert_eq!(Damage::Gap { entry: 6 }.to_string(), "entry 6 of the journal is missing");
}
