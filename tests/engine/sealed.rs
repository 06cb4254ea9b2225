//! Records are sealed, one field opens alone, and what is erased is gone.

use std::path::Path;
use std::sync::Arc;

use arbiter::disclosure;
use arbiter::engine::{EngineError, Held};
use arbiter::fsck::{self, Problem};
use arbiter::keys::vault::Vault;
use arbiter::store::mem::MemStore;
use arbiter::store::raw::Tamper;
use arbiter::store::rocks::RocksStore;
use arbiter::store::schema::{self, Family};
use arbiter::store::{Store, StoreError};
use arbiter_protocol::error::Refused;
use arbiter_protocol::evidence::leaf::{Event, Leaf};
use arbiter_protocol::exchange::selection::Role::{Originator, Responder};
use arbiter_protocol::ids::Digest;
use arbiter_protocol::message::payment::{PaymentState, PaymentTerms};
use arbiter_protocol::message::request::Action;
use arbiter_protocol::ruling::notice::{ErasureReason, NotErasable, OVER_AFTER};
use arbiter_protocol::ruling::opening::commitments;
use arbiter_protocol::ruling::sequencer::{Record, Veil as _};
use arbiter_protocol::time::UnixMillis;
use zeroize::Zeroizing;

use crate::fixture::{
    DEADLINE, Exchange, Kind, Place, START, arbiter, folder, keys, memory, receipt as receipt_of, start,
};
use crate::{clean, end};

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    assert!(part.len() >= 12, "too short to be found by itself only");
    bytes.windows(part.len()).any(|window| window == part)
}

/// Every file below a folder that holds these bytes.
fn files_with(folder: &Path, part: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, part));
        } else if holds(&std::fs::read(&path).unwrap(), part) {
            found.push(path.file_name().unwrap().to_string_lossy().into_owned());
        }
    }
    found
}

/// What somebody who has the data folder only must not find.
fn secrets(record: &Record) -> Vec<Vec<u8>> {
    let mut secrets = vec![record.key.as_ref().unwrap().secret().to_vec()];
    for commitment in commitments(record).unwrap() {
        for field in commitment.fields {
            secrets.push(field.salt.to_vec());
            secrets.push(field.value.into_owned());
        }
    }
    secrets
}

/// nothing that a record holds is in any file of the data folder in the clear, and another key file opens nothing.
#[tokio::test]
async fn a_data_folder_alone_shows_nothing_of_a_record() {
    let place = folder();
    let world = start(&place);
    let kinds = [Kind::P1Escrow, Kind::P2, Kind::P3];
    let exchanges: Vec<_> = kinds.iter().zip(1..).map(|(kind, n)| Exchange::new(*kind, n)).collect();
    for exchange in &exchanges {
        let (role, action) = match exchange.agreement.offer().complain_by {
            None => (Originator, Action::Resolve),
            Some(_) => (exchange.first(), Action::Deposit),
        };
        let role = if exchange.agreement.offer().send_by.is_some() { role.peer() } else { role };
        exchange.file(&world.engine, role, action).await.unwrap();
    }
    end(world).await;
    let store = place.open();
    let records: Vec<_> = exchanges.iter().map(|it| store.record(&it.id()).unwrap()).collect();
    drop(store);
    for record in &records {
        for secret in secrets(record) {
            assert_eq!(files_with(place.0.path(), &secret), [""; 0], "{} bytes", secret.len());
        }
    }
    let other = Arc::new(Vault::new(&Zeroizing::new([1; 32])));
    let opened = RocksStore::open(place.0.path(), &arbiter(), &other);
    assert!(matches!(opened, Err(StoreError::OtherVault)));
}

/// an exchange has a key of its own, the same from its first recording on; no two have one.
#[tokio::test]
async fn every_exchange_has_its_own_key_for_ever() {
    let place = memory();
    let world = start(&place);
    let [one, two] = [1, 2].map(|n| Exchange::new(Kind::P2, n));
    one.file(&world.engine, Originator, Action::Deposit).await.unwrap();
    two.file(&world.engine, Originator, Action::Deposit).await.unwrap();
    let keys_of = |place: &crate::fixture::Memory| {
        let store = place.open();
        [&one, &two].map(|it| store.record(&it.id()).unwrap().key.unwrap())
    };
    let first = keys_of(&place);
    assert_ne!(first[0], first[1]);
    one.file(&world.engine, Originator, Action::Resolve).await.unwrap();
    end(world).await;
    let world = start(&place);
    two.file(&world.engine, Originator, Action::Resolve).await.unwrap();
    end(world).await;
    assert_eq!(keys_of(&place), first);
    clean(&place.open());
}

/// what the store holds opens field by field against the public log.
#[tokio::test]
async fn every_field_of_every_record_opens_against_the_log() {
    let place = memory();
    let world = start(&place);
    let exchange = Exchange::new(Kind::P2SwappedEscrow, 1);
    exchange.file(&world.engine, Responder, Action::Deposit).await.unwrap();
    let receipt = exchange.file(&world.engine, Responder, Action::Resolve).await.unwrap();
    let record = place.open().record(&exchange.id()).unwrap();
    let commitments = commitments(&record).unwrap();
    assert_eq!(commitments.len(), 2);
    for commitment in &commitments {
        let logged = Leaf::decode(&world.engine.entry(commitment.leaf.index.0).unwrap()).unwrap();
        assert_eq!(logged, commitment.leaf);
        for field in &commitment.fields {
            let opening = commitment.open(field.name).unwrap();
            assert_eq!((opening.verify(&logged), &opening.value[..]), (Ok(()), &*field.value));
        }
    }
    // A party opens the same from its receipt.
    let leaf = Leaf::decode(&receipt.leaf).unwrap();
    let opening = receipt.open(exchange.agreement.offer().envelope(), "acceptance").unwrap();
    assert_eq!(opening.verify(&leaf), Ok(()));
    assert_eq!(opening.value, exchange.agreement.acceptance().envelope().payload());
    assert_eq!(Ok(opening), commitments[1].open("acceptance"));
    end(world).await;
}

/// R-532, R17: the whole record, as the operator hands it over, is a bundle that a stranger's program decides again.
#[tokio::test]
async fn a_record_is_handed_over_as_a_bundle_that_verifies() {
    use arbiter_client::bundle::Bundle;
    use arbiter_client::verify::{Trust, verify};
    let place = memory();
    let world = start(&place);
    let outcomes = [
        (Kind::P1Escrow, Action::Resolve, "resolved"),
        (Kind::P2, Action::Resolve, "resolved"),
        (Kind::P1, Action::Abort, "aborted"),
        (Kind::P4, Action::Revoke, "revoked"),
        (Kind::P2Swapped, Action::Deposit, "open"),
    ];
    for (n, (kind, action, outcome)) in (1..).zip(outcomes) {
        let exchange = Exchange::new(kind, n);
        let first = exchange.first();
        if kind == Kind::P2 {
            exchange.file(&world.engine, first, Action::Deposit).await.unwrap();
        }
        let receipt = exchange.file(&world.engine, first, action).await.unwrap();
        if kind == Kind::P4 {
            let terms = PaymentTerms::of(exchange.agreement.offer(), first).unwrap();
            let voided = receipt_of(terms, PaymentState::Voided);
            assert_eq!(world.engine.hear(exchange.id(), first, voided).await, Ok(true));
        }
        let receipts = world.engine.receipts(&exchange.id()).unwrap();
        assert_eq!(receipts.last(), Some(&receipt), "what the party got, byte for byte");
        let record = place.open().record(&exchange.id()).unwrap();
        let bytes = disclosure::bundle(&record, &receipts).unwrap();
        let bundle = Bundle::parse(&bytes).unwrap();
        let report = verify(&bundle, Trust::Pinned(&arbiter()), &[]);
        assert!(report.good, "{kind:?}: {:#?}", report.checks);
        assert_eq!(bundle.outcome.to_string(), outcome);
    }
    assert_eq!(disclosure::bundle(&Record::default(), &[]), None);
    end(world).await;
}

/// what is erased is gone from every read and every file, is logged, and stays erased: no second verdict.
#[tokio::test]
async fn an_erased_exchange_is_gone_and_never_ruled_again() {
    let place = folder();
    let world = start(&place);
    let [erased, kept] = [1, 2].map(|n| Exchange::new(Kind::P2, n));
    for exchange in [&erased, &kept] {
        exchange.file(&world.engine, Originator, Action::Deposit).await.unwrap();
        exchange.file(&world.engine, Originator, Action::Resolve).await.unwrap();
    }
    end(world).await;
    let store = place.open();
    let record = store.record(&erased.id()).unwrap();
    let content = record.held.originator.unwrap();
    let key = erased.id().to_vec();
    let stored = |family| {
        let found = store.entries(family).into_iter().find(|(found, _)| *found == key).unwrap().1;
        schema::unprotect(family, &key, found).unwrap()
    };
    let mut gone = secrets(&record);
    gone.extend([stored(Family::Records), stored(Family::Keys), store.chunk(content, 0).unwrap().unwrap()]);
    drop(store);
    for bytes in &gone[gone.len() - 3..] {
        assert!(!files_with(place.0.path(), bytes).is_empty(), "the test looks where the bytes are");
    }

    let world = start(&place);
    let leaf = world.engine.erase(erased.id(), ErasureReason::Request).await.unwrap();
    assert_eq!(world.engine.counters().erased, 1);
    let logged = Leaf::decode(&world.engine.entry(leaf.0).unwrap()).unwrap();
    let pseudonym = keys().veil().pseudonym(&erased.id());
    assert_eq!((logged.event, logged.reason, logged.exchange), (Event::Erasure, "R-533", pseudonym));
    assert_eq!((logged.sequence, logged.previous), (record.leaves, record.last_leaf));
    assert_eq!(logged.token, ErasureReason::Request.token(&pseudonym));
    let again = world.engine.erase(erased.id(), ErasureReason::Request).await;
    assert_eq!(again, Err(EngineError::NotErasable(NotErasable::Unknown)));
    refuses_everything(&world, &erased).await;
    end(world).await;

    let store = place.open();
    store.forget_history().unwrap();
    drop(store);
    for bytes in &gone {
        assert_eq!(files_with(place.0.path(), bytes), [""; 0], "{} bytes", bytes.len());
    }
    let store = place.open();
    assert_eq!(store.record(&erased.id()).unwrap(), Record::default());
    assert_eq!(store.erased(&pseudonym).unwrap(), Some(leaf));
    assert_eq!(store.content(content).unwrap(), None);
    let report = clean(&store);
    assert_eq!((report.erased, report.verdicts, report.attestations), (1, 1, 1));
    drop(store);
    let world = start(&place);
    refuses_everything(&world, &erased).await;
    let kept = kept.file(&world.engine, Originator, Action::Resolve).await;
    assert!(kept.is_ok(), "others are as they were");
    end(world).await;
}

async fn refuses_everything(world: &crate::fixture::World, erased: &Exchange) {
    let size = world.engine.log_size();
    for role in [Originator, Responder] {
        for action in [Action::Abort, Action::Resolve, Action::Deposit, Action::Fetch, Action::Query] {
            let case = erased.case(role, action);
            let refused = Err(EngineError::Refused(Refused::Erased));
            assert_eq!(world.engine.precheck(&case), Err(EngineError::Refused(Refused::Erased)));
            assert_eq!(
                world.engine.file(case, Held::default()).await.map(drop),
                refused,
                "{role} {action:?}"
            );
        }
    }
    assert_eq!(world.engine.log_size(), size);
}

/// only what is over can be erased: not before the deadline is long past, not while a ledger or a request waits.
#[tokio::test]
async fn what_is_not_over_cannot_be_erased() {
    let place = memory();
    let world = start(&place);
    let erase = |exchange: &Exchange| {
        let (engine, id) = (world.engine.clone(), exchange.id());
        async move { engine.erase(id, ErasureReason::Retention).await }
    };
    let not = |why| Err(EngineError::NotErasable(why));
    let open = Exchange::new(Kind::P2, 1);
    assert_eq!(erase(&open).await, not(NotErasable::Unknown));
    open.file(&world.engine, Originator, Action::Deposit).await.unwrap();
    let after = UnixMillis(DEADLINE + OVER_AFTER.0);
    assert_eq!(erase(&open).await, not(NotErasable::NotOver { after }));
    // A request waits for its time.
    let early = open.case(Responder, Action::Abort);
    assert!(world.engine.file(early, Held::default()).await.is_err());
    world.clock.set(after);
    assert_eq!(erase(&open).await, not(NotErasable::Standing));
    open.file(&world.engine, Responder, Action::Abort).await.unwrap();
    assert!(erase(&open).await.is_ok());
    // A ledger has not answered.
    world.clock.set(UnixMillis(START));
    end(world).await;
    let place = memory();
    let world = start(&place);
    let paid = Exchange::new(Kind::P4, 3);
    paid.file(&world.engine, Originator, Action::Abort).await.unwrap();
    assert_eq!(world.engine.erase(paid.id(), ErasureReason::Order).await, not(NotErasable::OrderOpen));
    for role in [Originator, Responder] {
        let terms = PaymentTerms::of(paid.agreement.offer(), role).unwrap();
        assert_eq!(
            world.engine.hear(paid.id(), role, receipt_of(terms, PaymentState::Voided)).await,
            Ok(true)
        );
    }
    assert_eq!(world.engine.erase(paid.id(), ErasureReason::Order).await.map(|leaf| leaf.0), Ok(4));
    end(world).await;
    assert_eq!(clean(&place.open()).erased, 1);
    // Without a verdict, long after the deadline.
    let place = memory();
    let world = start(&place);
    let silent = Exchange::new(Kind::P2, 4);
    silent.file(&world.engine, Originator, Action::Deposit).await.unwrap();
    world.clock.set(UnixMillis(after.0 - 1));
    let erased = world.engine.erase(silent.id(), ErasureReason::Retention).await;
    assert_eq!(erased, not(NotErasable::NotOver { after }));
    world.clock.set(after);
    assert!(world.engine.erase(silent.id(), ErasureReason::Retention).await.is_ok());
    assert_eq!(
        world.engine.precheck(&silent.case(Responder, Action::Abort)).map(drop),
        Err(Refused::Erased.into())
    );
    end(world).await;
    assert_eq!(clean(&place.open()).erased, 1);
}

/// a commit that is lost erases nothing; one that was stored unheard erases; and there is nothing in between.
#[tokio::test]
async fn an_erasure_is_all_or_nothing() {
    use arbiter::store::mem::Fault;
    for (fault, gone) in [(Fault::Lost, false), (Fault::Unheard, true)] {
        let place = memory();
        let world = start(&place);
        let exchange = Exchange::new(Kind::P2, 1);
        exchange.file(&world.engine, Originator, Action::Abort).await.unwrap();
        place.0.fail_next_commit(fault);
        let erased = world.engine.erase(exchange.id(), ErasureReason::Order).await;
        assert_eq!(erased, Err(EngineError::Stopped));
        drop(world);
        let report = clean(&place.open());
        assert_eq!((report.erased, report.verdicts), if gone { (1, 0) } else { (0, 1) });
    }
}

/// `fsck` finds an erasure that the log does not name, one that is forgotten, and a record that came back.
#[tokio::test]
async fn a_lie_about_an_erasure_is_found() {
    let place = memory();
    let world = start(&place);
    let [exchange, other] = [1, 2].map(|n| Exchange::new(Kind::P2, n));
    for exchange in [&exchange, &other] {
        exchange.file(&world.engine, Originator, Action::Abort).await.unwrap();
    }
    let before = place.open().record(&exchange.id()).unwrap();
    world.engine.erase(exchange.id(), ErasureReason::Order).await.unwrap();
    end(world).await;
    let store = place.open();
    clean(&store);
    let find =
        |store: &MemStore| fsck::check(store, &arbiter(), Some(keys().veil()), &mut |_| {}).fault.unwrap();
    let (key, value) = store.entries(Family::Erased).pop().unwrap();
    store.replace(Family::Erased, &key, None);
    assert!(matches!(find(&store).problem, Problem::Erased));
    store.replace(Family::Erased, &key, Some(value.clone()));
    // Another exchange that was never erased.
    let forged = keys().veil().pseudonym(&other.id()).0;
    let marked = schema::protect(Family::Erased, &forged, &3u64.to_be_bytes());
    store.replace(Family::Erased, &forged, Some(marked));
    assert!(matches!(find(&store).problem, Problem::Erased));
    store.replace(Family::Erased, &forged, None);
    for position in 0..value.len() {
        let mut altered = value.clone();
        altered[position] ^= 4;
        store.replace(Family::Erased, &key, Some(altered));
        assert!(
            matches!(find(&store).problem, Problem::Store(StoreError::Damaged { .. })),
            "byte {position}"
        );
    }
    store.replace(Family::Erased, &key, Some(value));
    let (id, sealed) = (exchange.id(), schema::seal_record(keys().vault(), &exchange.id(), &before));
    for (family, value) in [(Family::Keys, &sealed.key), (Family::Records, &sealed.record)] {
        store.replace(family, id.as_bytes(), Some(schema::protect(family, id.as_bytes(), value)));
    }
    assert!(matches!(find(&store).problem, Problem::Erased));
}

/// what the arbiter says of itself is a leaf in no chain, and a declaration is logged when it changes.
#[tokio::test]
async fn notices_are_logged_once_and_in_no_chain() {
    let place = memory();
    let world = start(&place);
    let exchange = Exchange::new(Kind::P1, 1);
    let [policy, other, token] = [b"policy", b"anothr", b"tokens"].map(|it| Digest::of(&[it]));
    assert_eq!(world.engine.declare(policy).await.unwrap().map(|leaf| leaf.0), Some(1));
    assert_eq!(world.engine.declare(policy).await, Ok(None));
    exchange.file(&world.engine, Originator, Action::Abort).await.unwrap();
    assert_eq!(world.engine.anchor(token).await.unwrap().0, 3);
    end(world).await;
    let world = start(&place);
    assert_eq!(world.engine.declare(policy).await, Ok(None), "also after a restart");
    assert_eq!(world.engine.declare(other).await.unwrap().map(|leaf| leaf.0), Some(4));
    assert_eq!(
        world.engine.declare(policy).await.unwrap().map(|leaf| leaf.0),
        Some(5),
        "back is a change, too"
    );
    let leaves: Vec<_> =
        world.engine.entries(0, 9).unwrap().iter().map(|bytes| Leaf::decode(bytes).unwrap()).collect();
    let said = |event, reason, token| (event, reason, token);
    let found: Vec<_> = leaves.iter().filter(|it| it.event.is_of_the_log()).collect();
    assert_eq!(
        found[1..].iter().map(|it| said(it.event, it.reason, it.token)).collect::<Vec<_>>(),
        [
            (Event::PolicyChange, "R-535", policy),
            (Event::Anchor, "R-536", token),
            (Event::PolicyChange, "R-535", other),
            (Event::PolicyChange, "R-535", policy),
        ]
    );
    assert!(found.iter().all(|it| it.exchange.0 == [0; 16] && it.sequence == 0 && it.previous.is_none()));
    assert_eq!((leaves[2].sequence, leaves[2].previous), (0, None), "an exchange's chain is its own");
    end(world).await;
    let store = place.open();
    clean(&store);
    let forged = schema::protect(Family::Meta, schema::POLICY_KEY, other.as_bytes());
    store.replace(Family::Meta, schema::POLICY_KEY, Some(forged));
    let fault = fsck::check(&store, &arbiter(), Some(keys().veil()), &mut |_| {}).fault.unwrap();
    assert!(matches!(fault.problem, Problem::Policy));
}
