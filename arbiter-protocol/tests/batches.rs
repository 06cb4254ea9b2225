//! What a batch does beside rulings: erasures, leaves about the log, restored leaves, and the trees that its statements
//! are proved in.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may fail by panicking"
)]

mod common;

use arbiter_protocol::error::{Invalid, Refused};
use arbiter_protocol::evidence::leaf::{Event, Leaf, Pseudonym};
use arbiter_protocol::evidence::record::record_root;
use arbiter_protocol::exchange::selection::{ByRole, Role};
use arbiter_protocol::ids::{Digest, LeafIndex};
use arbiter_protocol::message::request::Action;
use arbiter_protocol::ruling::chain::one;
use arbiter_protocol::ruling::notice::{Erased, ErasureReason, NotErasable, Notice};
use arbiter_protocol::ruling::sequencer::{
    Batch, Closed, ContentId, Veil as _, genesis_token, restore_token,
};
use arbiter_protocol::time::UnixMillis;
use common::money::SEND_BY;
use common::{COMPLAIN_BY, EARLY, Kind, Notary, TestVeil};

const REASON: ErasureReason = ErasureReason::Order;

fn batch(notary: &Notary) -> Batch<'_> {
    Batch::new(&notary.desk, &TestVeil, notary.durable.head.clone())
}

/// A notary with one case filed early.
fn filed(kind: Kind, action: Action) -> (Notary, arbiter_protocol::role::arbiter::Case) {
    let mut notary = Notary::new();
    let agreement = notary.cast.agreement(kind);
    let case = notary.cast.case(&agreement, kind.first(), action);
    notary.file(&case, EARLY).unwrap();
    (notary, case)
}

fn decoded(closed: &Closed) -> Vec<Leaf> {
    closed.leaves.iter().map(|leaf| Leaf::decode(leaf).unwrap()).collect()
}

/// an erasure is the last leaf of its chain and takes everything with it; in the same batch nothing is decided about
/// the exchange any more.
#[test]
fn an_erasure_ends_an_exchange() {
    let (notary, case) = filed(Kind::P2OriginatorFirst, Action::Deposit);
    let (exchange, pseudonym) = (case.exchange_id(), TestVeil.pseudonym(&case.exchange_id()));
    let record = notary.durable.record(&exchange);
    let ninety_days = 7_776_000_000;
    let over = UnixMillis(COMPLAIN_BY + ninety_days);
    let mut batch = batch(&notary);
    assert!(batch.is_empty());
    let early = UnixMillis(over.0 - 1);
    assert_eq!(
        batch.erase(exchange, record.clone(), REASON, early),
        Err(NotErasable::NotOver { after: over })
    );
    assert!(batch.is_empty());
    assert_eq!(batch.erase(exchange, record.clone(), REASON, over), Ok(LeafIndex(2)));
    assert_eq!(batch.erase(exchange, record.clone(), REASON, over), Err(NotErasable::Unknown));
    let refused = batch.file(&case, record, over, ByRole::default());
    assert_eq!((refused, batch.len(), batch.is_empty()), (Err(Refused::Erased), 1, false));
    let closed = batch.close();
    let contents = vec![ContentId(7)];
    let erased = Erased { exchange: Some(exchange), pseudonym, leaf: LeafIndex(2), contents };
    assert_eq!((closed.erased.as_slice(), closed.records.len()), (&[erased][..], 0));
    let [leaf] = &decoded(&closed)[..] else { panic!("one leaf") };
    assert_eq!((leaf.event, leaf.reason, leaf.exchange), (Event::Erasure, "R-533", pseudonym));
    assert_eq!((leaf.sequence, leaf.previous, leaf.time), (1, Some(LeafIndex(1)), over));
    assert_eq!((leaf.token, leaf.record), (REASON.token(&pseudonym), record_root(&[])));
    assert_eq!(one(&closed.leaves[0], leaf.index).as_ref(), Ok(leaf));
    assert_eq!((closed.head.time, closed.head.frontier.size()), (over, 3));
}

/// what was ruled in the same batch goes as well; another exchange stays.
#[test]
fn an_erasure_knows_what_the_batch_decided() {
    let mut notary = Notary::new();
    let agreement = notary.cast.agreement(Kind::P1);
    let case = notary.cast.case(&agreement, Role::Originator, Action::Abort);
    let other = notary.cast.agreement(Kind::P2ResponderFirst);
    let other = notary.cast.case(&other, Role::Responder, Action::Abort);
    let at = UnixMillis(EARLY);
    {
        let mut batch = batch(&notary);
        for case in [&case, &other] {
            let durable = notary.durable.record(&case.exchange_id());
            batch.file(case, durable, at, ByRole::default()).unwrap();
        }
        let never = notary.durable.record(&case.exchange_id());
        assert_eq!(batch.erase(case.exchange_id(), never, REASON, at), Ok(LeafIndex(3)));
        let closed = batch.close();
        assert_eq!(closed.records.keys().collect::<Vec<_>>(), [&other.exchange_id()]);
        assert_eq!(closed.erased.len(), 1);
        notary.durable.apply(closed);
    }
    let blank = notary.durable.record(&case.exchange_id());
    assert!(blank.is_blank());
    assert_eq!(batch(&notary).erase(case.exchange_id(), blank, REASON, at), Err(NotErasable::Unknown));
}

/// the three reasons, by the names that tokens and operators know.
#[test]
fn there_are_three_reasons_to_erase() {
    let pseudonym = TestVeil.pseudonym(&filed(Kind::P1, Action::Abort).1.exchange_id());
    let names = ["order", "request", "retention"];
    assert_eq!(ErasureReason::ALL.map(ErasureReason::name), names);
    for (reason, name) in ErasureReason::ALL.into_iter().zip(names) {
        let token = Digest::of(&[b"arbiter erasure v1\0", &pseudonym.0, name.as_bytes()]);
        assert_eq!(reason.token(&pseudonym), token);
    }
}

/// what waits for its time, or for a ledger, is not over. A request that waits is kept without a leaf.
#[test]
fn what_is_not_over_is_not_erased() {
    let (mut standing, mut open) = (0, 0);
    for kind in Kind::ALL.into_iter().chain(Kind::MONEY) {
        for role in Role::BOTH {
            for action in [Action::Resolve, Action::Revoke] {
                let mut notary = Notary::new();
                let agreement = notary.cast.agreement(kind);
                let case = notary.cast.case(&agreement, role, action);
                let exchange = case.exchange_id();
                let mut batch = batch(&notary);
                let told =
                    batch.file(&case, notary.durable.record(&exchange), UnixMillis(EARLY), ByRole::default());
                let waits = told.as_ref().err().and_then(|refused| refused.until()).is_some();
                if waits {
                    assert_eq!((batch.len(), batch.is_empty()), (0, false), "{kind:?}");
                }
                let closed = batch.close();
                notary.durable.apply(closed);
                let record = notary.durable.record(&exchange);
                let erased =
                    self::batch(&notary).erase(exchange, record.clone(), REASON, UnixMillis(u64::MAX));
                let expected = match told {
                    _ if waits => Err(NotErasable::Standing),
                    Ok(_) if !record.open_orders().is_empty() => Err(NotErasable::OrderOpen),
                    Ok(_) => Ok(LeafIndex(notary.durable.head.frontier.size())),
                    Err(_) => Err(NotErasable::Unknown),
                };
                assert_eq!(erased, expected, "{kind:?} {role} {action:?}");
                standing += usize::from(expected == Err(NotErasable::Standing));
                open += usize::from(expected == Err(NotErasable::OrderOpen));
            }
        }
    }
    assert!(standing > 0 && open > 0, "{standing} {open}");
}

/// a request that stands falls when it is refused for good, and not when another one of the same party is.
#[test]
fn a_request_stands_until_it_is_refused_for_good() {
    let mut notary = Notary::new();
    let agreement = notary.cast.agreement(Kind::P3OriginatorPays);
    let told = |notary: &mut Notary, action, now| {
        let case = notary.cast.case(&agreement, Role::Originator, action);
        let mut batch = batch(notary);
        let durable = notary.durable.record(&case.exchange_id());
        let told = batch.file(&case, durable, UnixMillis(now), ByRole::default());
        let closed = batch.close();
        notary.durable.apply(closed);
        let standing = notary.durable.record(&case.exchange_id()).standing.originator;
        (told, standing.map(|it| it.request == *case.request().envelope()))
    };
    let send_by = UnixMillis(SEND_BY);
    let early = (Err(Refused::RevokeTooEarly { send_by }), Some(true));
    assert_eq!(told(&mut notary, Action::Revoke, EARLY), early);
    assert_eq!(told(&mut notary, Action::Revoke, EARLY), early);
    assert_eq!(told(&mut notary, Action::Resolve, EARLY), (Err(Refused::ResolveNotAllowed), Some(false)));
    let (now, complain_by) = (UnixMillis(COMPLAIN_BY), UnixMillis(COMPLAIN_BY));
    let late = (Err(Refused::ComplaintTooLate { now, complain_by }), None);
    assert_eq!(told(&mut notary, Action::Revoke, COMPLAIN_BY), late);
}

/// leaves about the log are bare, at the time of the batch, and only a policy is remembered.
#[test]
fn a_batch_logs_what_is_said_about_the_log() {
    let notary = Notary::new();
    let token = Digest::of(&[b"token"]);
    for (notice, event, reason, policy) in [
        (Notice::Anchor(token), Event::Anchor, "R-536", None),
        (Notice::KeyRotation(token), Event::KeyRotation, "R-537", None),
        (Notice::PolicyChange(token), Event::PolicyChange, "R-535", Some(token)),
    ] {
        let mut batch = batch(&notary);
        // Before the newest leaf: time never goes back.
        assert_eq!(batch.note(notice, UnixMillis(5)), LeafIndex(1));
        assert_eq!(batch.note(notice, UnixMillis(EARLY + 9)), LeafIndex(2));
        assert_eq!((batch.len(), batch.is_empty()), (2, false));
        let closed = batch.close();
        assert_eq!((closed.policy, closed.head.time), (policy, UnixMillis(EARLY + 9)));
        for (leaf, time) in decoded(&closed).iter().zip([EARLY - 1, EARLY + 9]) {
            assert_eq!(
                (leaf.event, leaf.reason, leaf.token, leaf.time),
                (event, reason, token, UnixMillis(time))
            );
            assert_eq!((leaf.exchange, leaf.sequence, leaf.previous), (Pseudonym([0; 16]), 0, None));
            assert_eq!(one(&leaf.encode(), leaf.index).as_ref(), Ok(leaf));
        }
    }
    let genesis = Leaf::decode(&notary.durable.leaves[0]).unwrap();
    assert_eq!((genesis.event, genesis.reason), (Event::Genesis, "R-502"));
    assert_eq!(genesis.token, genesis_token(&notary.cast.identity()));
}

/// leaves come back as they were hashed, each at its place, and one more tells of it.
#[test]
fn lost_leaves_come_back_where_they_were() {
    let (whole, _) = filed(Kind::P1, Action::Abort);
    let lost = Notary::new();
    let missing = whole.durable.leaves[1..].to_vec();
    let mut batch = batch(&lost);
    batch.restore(missing.clone(), UnixMillis(5)).unwrap();
    let closed = batch.close();
    assert_eq!(closed.leaves[..missing.len()], missing);
    let told = decoded(&closed).pop().unwrap();
    assert_eq!((told.event, told.reason, told.time), (Event::Restore, "R-525", UnixMillis(EARLY)));
    let before = &whole.durable.head.frontier;
    assert_eq!((told.index.0, told.token), (before.size(), restore_token(&lost.cast.identity(), before)));
    let elsewhere = self::batch(&whole).restore(missing, UnixMillis(5));
    assert_eq!(elsewhere, Err(Invalid::FieldValue { field: "id" }));
}

/// a statement is proved in the tree of its own batch, and stays there.
#[test]
fn a_statement_keeps_the_tree_of_its_batch() {
    let (mut notary, case) = filed(Kind::P2OriginatorFirst, Action::Deposit);
    let exchange = case.exchange_id();
    let attested = |notary: &Notary| {
        let logged = notary.durable.record(&exchange).attestations.originator.unwrap();
        (logged.tree_size, logged.root)
    };
    let first = (notary.durable.head.frontier.size(), notary.durable.head.frontier.root());
    assert_eq!(attested(&notary), first);
    let agreement = notary.cast.agreement(Kind::P2OriginatorFirst);
    let resolve = notary.cast.case(&agreement, Role::Originator, Action::Resolve);
    assert_eq!(resolve.exchange_id(), exchange);
    notary.file(&resolve, EARLY + 1).unwrap();
    assert_eq!(attested(&notary), first);
    let verdict = notary.durable.record(&exchange).verdict.unwrap();
    let second = (notary.durable.head.frontier.size(), notary.durable.head.frontier.root());
    assert_eq!((verdict.tree_size, verdict.root), second);
    assert_ne!(first, second);
}
