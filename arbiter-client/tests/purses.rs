//! Purses: made, limited, preferred, closed; what was paid and why; and a file that is nobody else's.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A test may stop where it likes.

mod common;
mod trades;

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::sync::Arc;

use arbiter_client::ledger::{LedgerError, LedgerPort};
use arbiter_client::protocol::crypto::Signer as _;
use arbiter_client::protocol::exchange::payment::{Currency, Hold, Payment, Timeout};
use arbiter_client::protocol::exchange::selection::Role;
use arbiter_client::protocol::ids::Digest;
use arbiter_client::protocol::message::payment::{PaymentAction, PaymentOrder, PaymentState, PaymentTerms};
use arbiter_client::protocol::statement::Verified;
use arbiter_client::protocol::time::DurationMillis;
use arbiter_client::purse::{Choice, PurseBook, PurseError, Stand, csv, entries, json};
use arbiter_client::testing::{Bench, LedgerCall, purse};
use arbiter_client::transport::memory::{End, Wire};
use trades::{Trade, trade};

fn euros() -> Currency {
    Currency::new("EUR", 2).unwrap()
}

async fn made(bench: &Bench, path: PathBuf, names: &[&str]) -> PurseBook {
    // The currency is issued from the first account on.
    bench.ledger.open(&purse("operator"), "1.00 EUR").unwrap();
    let mut book = PurseBook::load(&path).unwrap();
    for name in names {
        let port: &dyn LedgerPort = &bench.ledger;
        let at = (bench.ledger.key(), "http://127.0.0.1:9", port);
        book.create(name, at, euros()).await.unwrap();
    }
    book
}

/// A purse is picked by name, or by ledger, currency and limit, preferred ones first.
#[tokio::test(start_paused = true)]
async fn a_purse_is_picked_by_preference_and_limit() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let path = folder.path().join("purses.toml");
    let mut book = made(&bench, path.clone(), &["small", "large"]).await;
    book.configure("small", None, Some(1_000), Some(true)).unwrap();
    let currency = euros();
    let choice = |name, pays| Choice { name, ledger: Some(bench.ledger.key()), currency: &currency, pays };
    let picked = |book: &PurseBook, choice: Choice<'_>| book.pick(&choice).map(|it| it.name.clone());
    assert_eq!(picked(&book, choice(None, Some(1_000))).unwrap(), "small");
    assert_eq!(picked(&book, choice(None, Some(1_001))).unwrap(), "large");
    assert_eq!(picked(&book, choice(None, None)).unwrap(), "small", "a limit is for what is paid");
    let above = picked(&book, choice(Some("small"), Some(1_001)));
    assert!(matches!(above, Err(PurseError::AboveLimit { .. })), "{above:?}");
    book.configure("large", Some("huge"), Some(2_000), None).unwrap();
    let above = picked(&book, choice(None, Some(2_001)));
    assert!(matches!(above, Err(PurseError::AboveLimit { .. })), "{above:?}");
    let other = Currency::new("EUR", 3).unwrap();
    let elsewhere = book.pick(&Choice { name: None, ledger: None, currency: &other, pays: None }).map(|_| ());
    assert!(matches!(elsewhere, Err(PurseError::NoneFits { .. })), "{elsewhere:?}");
    assert!(matches!(book.find("large"), Err(PurseError::Unknown(_))));
    assert!(matches!(book.configure("huge", Some("small"), None, None), Err(PurseError::Exists(_))));

    // All of it is in the file, which is nobody else's.
    let again = PurseBook::load(&path).unwrap();
    let all = |book: &PurseBook| -> Vec<_> {
        book.purses().iter().map(|it| (it.name.clone(), it.account(), it.limit, it.preferred)).collect()
    };
    assert_eq!(all(&again), all(&book));
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&path).unwrap();
    let seed = text.split("seed = \"").nth(1).unwrap().split('"').next().unwrap();
    assert!(!format!("{again:?}").contains(&seed[..16]), "no secret is shown");
    for mode in [0o640, 0o604, 0o620, 0o602] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        assert!(matches!(PurseBook::load(&path), Err(PurseError::Exposed { .. })), "{mode:o}");
    }
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    for damaged in [
        text.replace("version = 1", "version = 2"),
        text.replace(seed, &seed[..62]),
        text.replace("huge", "small"),
        text.replace("name = \"huge\"", "name = \"a b\""),
        format!("{text}extra = 1\n"),
        "x".repeat(2 << 20),
    ] {
        std::fs::write(&path, damaged).unwrap();
        assert!(PurseBook::load(&path).is_err());
    }
}

/// A ledger that is away leaves the key; one that refuses leaves nothing. A purse with money in it is not closed.
#[tokio::test(start_paused = true)]
async fn purses_are_made_and_closed_as_the_ledger_says() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let mut book = made(&bench, folder.path().join("purses.toml"), &["main"]).await;
    let port: &dyn LedgerPort = &bench.ledger;
    let at = (bench.ledger.key(), "http://127.0.0.1:9", port);
    bench.ledger.set_down(&[LedgerCall::Account]);
    let away = book.create("second", at, euros()).await;
    assert!(matches!(away, Err(PurseError::Ledger(LedgerError::Unavailable { .. }))), "{away:?}");
    bench.ledger.set_down(&[]);
    let account = book.find("second").unwrap().account();
    assert_eq!(book.open("second", &bench.ledger).await.unwrap().account, account);
    let refused = book.create("third", at, Currency::new("XYZ", 0).unwrap()).await;
    assert!(matches!(refused, Err(PurseError::Ledger(LedgerError::Refused { .. }))), "{refused:?}");
    assert!(book.find("third").is_err());

    bench.ledger.issue(account, "5.00 EUR").unwrap();
    let inside = book.balance(book.find("second").unwrap(), bench.clock.now(), &bench.ledger).await.unwrap();
    assert_eq!((inside.available, inside.reserved, inside.incoming), (500, 0, 0));
    assert!(book.close("second", &bench.ledger).await.is_err());
    book.close("main", &bench.ledger).await.unwrap();
    assert!(book.find("main").unwrap().closed);
    let currency = euros();
    let closed = book.pick(&Choice { name: Some("main"), ledger: None, currency: &currency, pays: None });
    assert!(matches!(closed, Err(PurseError::Closed(_))));
}

/// Who is paid can give held money back; who pays cannot.
#[tokio::test(start_paused = true)]
async fn held_money_is_given_back_by_who_would_get_it() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let book = made(&bench, folder.path().join("purses.toml"), &["main"]).await;
    bench.ledger.open(&purse("carol"), "9.00 EUR").unwrap();
    let main = book.find("main").unwrap();
    let until = bench.clock.now().after(DurationMillis(60_000));
    let payment = Payment {
        ledger: bench.ledger.key(),
        payer: purse("carol").public_key(),
        payee: main.account(),
        amount: arbiter_client::protocol::exchange::payment::Amount::parse("9.00 EUR").unwrap(),
        hold: Some(Hold { until, timeout: Timeout::Post }),
    };
    let authority = Some(purse("operator").public_key());
    let terms = PaymentTerms { payment, authority, reference: Digest::of(&[b"a gift"]) };
    let order = PaymentOrder { terms: terms.clone(), action: PaymentAction::Make };
    bench.ledger.order(Verified::sign(order, &purse("carol")).envelope()).await.unwrap();
    let listed = book.payments(main, bench.clock.now(), &bench.ledger).await.unwrap();
    let told = entries(&main.account(), &[], &listed);
    assert_eq!((told.len(), told[0].pays, told[0].stand), (1, false, Stand::Ledger(PaymentState::Reserved)));

    let back = book.void(main, &terms, &bench.ledger).await.unwrap();
    assert_eq!(back.state, PaymentState::Voided);
    assert_eq!(bench.ledger.available(&purse("carol").public_key()), 900);
    let order = PaymentOrder { terms, action: PaymentAction::Void };
    let stolen = bench.ledger.order(Verified::sign(order, &purse("carol")).envelope()).await;
    assert!(stolen.is_err(), "who pays does not take back");
}

/// What was paid, and why: by the ledger's word, or by the journal's when the ledger is away.
#[tokio::test(start_paused = true)]
async fn history_says_what_was_paid_and_why() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::new(folder.path());
    let setting = trade(&bench, Trade::Sale, folder.path());
    let alice = bench.builder("alice").build().await.unwrap();
    let bob = bench.builder("bob").build().await.unwrap();
    let wire = Wire::default();
    let (mut a, mut b) = (wire.end(End::First), wire.end(End::Second));
    let id = alice.offer(setting.terms.clone(), setting.originator.clone()).await.unwrap();
    let account = purse("bob").public_key();
    let planned = entries(&purse("alice").public_key(), &alice.list().await.unwrap(), &[]);
    assert_eq!((planned.len(), planned[0].stand), (1, Stand::Planned));
    let bobs = async {
        let offer = bob.next_offer(&mut b).await.unwrap();
        let id = bob.accept(&offer, setting.responder.clone()).await.unwrap();
        bob.run(id, &mut b).await.unwrap()
    };
    let (_, outcome) = tokio::join!(alice.run(id, &mut a), bobs);
    let terms = PaymentTerms::of(&outcome.evidence().offer, Role::Responder).unwrap();
    let receipt = outcome.evidence().payments.responder[0].clone();
    assert_eq!(receipt.state, PaymentState::Posted(3_000), "kept when it was released");

    let exchanges = bob.list().await.unwrap();
    let kept = entries(&account, &exchanges, &[]);
    assert_eq!((kept.len(), kept[0].stand), (1, Stand::Journal(PaymentState::Posted(3_000))));
    let told = entries(&account, &exchanges, &[receipt]);
    assert_eq!((told.len(), told[0].stand), (1, Stand::Ledger(PaymentState::Posted(3_000))));
    let why = told[0].exchange.as_ref().unwrap();
    assert_eq!((why.exchange_id, why.peer.as_str()), (id, "alice"));
    assert_eq!(
        (why.outcome.as_str(), &why.verdict, why.decide_by),
        ("completed", &None, setting.terms.complain_by)
    );
    let text = csv(&told);
    let row = text.lines().nth(1).unwrap();
    for cell in
        [&terms.id().to_string(), "out", "30.00 EUR", "posted", &id.to_string(), "alice", "notice.txt"]
    {
        assert!(row.contains(cell), "{cell}: {row}");
    }
    let read: serde_json::Value = serde_json::from_str(&json(&told)).unwrap();
    assert_eq!(read[0]["units"], "3000");
    assert!(entries(&purse("carol").public_key(), &exchanges, &[]).is_empty());
    let _: Arc<dyn LedgerPort> = Arc::new(bench.ledger.clone());
}
