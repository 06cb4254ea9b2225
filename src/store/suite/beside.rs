//! What is kept beside the log and the records: requests that stand, open orders, erasures, lost records, the policy.

use arbiter_protocol::crypto::{MemorySigner, SealingSecret, Signer as _};
use arbiter_protocol::evidence::checkpoint::Origin;
use arbiter_protocol::evidence::leaf::Pseudonym;
use arbiter_protocol::exchange::item::{Description, Item};
use arbiter_protocol::exchange::payment::{Amount, Hold, Payment, Timeout};
use arbiter_protocol::exchange::property::{Properties, Property};
use arbiter_protocol::exchange::selection::{ByRole, Role, select};
use arbiter_protocol::ids::{Digest, LeafIndex, PublicKey};
use arbiter_protocol::message::agreement::{ArbiterIdentity, Offer, Party};
use arbiter_protocol::message::payment::{PaymentReceipt, PaymentState, PaymentTerms};
use arbiter_protocol::message::request::{Action, Request};
use arbiter_protocol::message::verdict::{Ruling, Verdict};
use arbiter_protocol::role::arbiter::{Escrows, RULES};
use arbiter_protocol::ruling::notice::Erased;
use arbiter_protocol::ruling::sequencer::{ContentId, LedgerAnswer, Logged, Record, Standing};
use arbiter_protocol::statement::Verified;
use arbiter_protocol::time::UnixMillis;
use zeroize::Zeroizing;

use super::super::{ContentHead, Due, OpenOrder, Store};
use super::{Bench, commit, exchange, record};

fn signer(byte: u8) -> MemorySigner {
    MemorySigner::from_seed(&Zeroizing::new([byte; 32]))
}

fn key(byte: u8) -> PublicKey {
    signer(byte).public_key()
}

/// When the offers here end.
const COMPLAIN_BY: UnixMillis = UnixMillis(1_800_000_000_000);

/// A payment of `role`, on the ledger with this key.
fn paid(role: Role, ledger: u8, amount: &str, timeout: Timeout) -> Item {
    let (payer, payee) = if role == Role::Originator { (key(7), key(8)) } else { (key(8), key(7)) };
    let hold = Some(Hold { until: UnixMillis(COMPLAIN_BY.0 + 600_000), timeout });
    let amount = Amount::parse(amount).unwrap();
    Item::new(Description::Payment(Payment { ledger: key(ledger), payer, payee, amount, hold }))
}

/// Money for money, both reserved, on two ledgers.
fn offer(ledgers: ByRole<u8>) -> Verified<Offer> {
    offered(ledgers.map(|role, ledger| paid(role, *ledger, "12.34 EUR", Timeout::Void)))
}

/// Money that can be undone for money: the originator's in three payments, the second on another ledger.
fn in_parts() -> Verified<Offer> {
    let part = |ledger, amount| paid(Role::Originator, ledger, amount, Timeout::Post);
    let parts = vec![part(9, "1.00 EUR"), part(10, "1.00 EUR"), part(9, "2.00 EUR")];
    let whole = paid(Role::Responder, 9, "4.00 EUR", Timeout::Post);
    let responder = Item { properties: Properties::new([Property::Revocable]), ..whole };
    offered(ByRole { originator: Item::package(parts).unwrap(), responder })
}

fn offered(items: ByRole<Item>) -> Verified<Offer> {
    let party = |byte| Party {
        signing_key: key(byte),
        sealing_key: SealingSecret::from_seed(&Zeroizing::new([byte; 32])).public_key(),
        name: "somebody".to_owned(),
    };
    let offer = Offer {
        nonce: [1; 32],
        originator: party(1),
        responder: party(2),
        arbiter: ArbiterIdentity {
            key: key(3),
            log_key: key(4),
            log_origin: Origin::parse("arbiter.test/log").unwrap(),
            rules: RULES.to_owned(),
        },
        selection: select(&items.originator.properties, &items.responder.properties).unwrap(),
        originator_item: items.originator,
        responder_item: items.responder,
        complain_by: Some(COMPLAIN_BY),
        send_by: None,
        escrow: None,
    };
    Verified::sign(offer, &signer(1))
}

/// A verdict after which every payment of the offer is to be voided.
fn ruled(offer: &Verified<Offer>, ruling: Ruling, rule: &str) -> Record {
    let request = Request {
        exchange_id: offer.exchange_id(),
        agreement_id: None,
        role: Role::Originator,
        action: Action::Abort,
    };
    let request = Verified::sign(request, &signer(1));
    let statement = Verdict {
        exchange_id: offer.exchange_id(),
        agreement_id: None,
        originator: offer.originator.signing_key,
        responder: offer.responder.signing_key,
        originator_item: offer.originator_item.digest(),
        responder_item: offer.responder_item.digest(),
        ruling,
        rule: rule.to_owned(),
        rules: RULES.to_owned(),
        requested_by: Role::Originator,
        request: request.digest(),
        evidence: vec![offer.digest()],
        leaf_index: LeafIndex(0),
        time: UnixMillis(7),
    };
    let verdict = Logged {
        statement,
        offer: offer.envelope().clone(),
        request: request.envelope().clone(),
        acceptance: None,
        escrows: Escrows::default(),
        leaf: b"leaf".to_vec(),
        tree_size: 1,
        root: Digest::of(&[b"root"]),
    };
    Record { verdict: Some(verdict), ..record(None) }
}

/// The ledger's word that a payment went back, as the answer to an order.
fn answer(terms: &PaymentTerms, ledger: u8) -> LedgerAnswer {
    let receipt = PaymentReceipt {
        terms: terms.clone(),
        state: PaymentState::Voided,
        entry: 3,
        time: UnixMillis(8),
        order: Some(Digest::of(&[b"order"])),
    };
    let receipt = Verified::sign(receipt, &signer(ledger)).envelope().clone();
    LedgerAnswer { receipt, leaf: b"answer".to_vec() }
}

/// an order is found until it is answered, those of one ledger together, each payment of a package by itself.
pub fn open_orders_are_paged_in_the_order_of_their_ledgers(bench: &impl Bench) {
    let store = bench.open();
    let mut first = commit(None, &[b"verdict"]);
    let lone = offer(ByRole { originator: 9, responder: 10 });
    let one = ruled(&lone, Ruling::Aborted, "R-403");
    let other = offer(ByRole { originator: 10, responder: 9 });
    let parts = in_parts();
    let third = ruled(&parts, Ruling::Revoked(Role::BOTH.to_vec()), "R-418");
    first.records.insert(exchange(1), one.clone());
    first.records.insert(exchange(2), ruled(&other, Ruling::Aborted, "R-403"));
    first.records.insert(exchange(3), third.clone());
    store.commit(&first).unwrap();
    let part =
        |byte, ledger, role, leaf| OpenOrder { ledger: key(ledger), exchange: exchange(byte), role, leaf };
    let order = |byte, ledger, role| part(byte, ledger, role, 0);
    let mut all = [
        order(1, 9, Role::Originator),
        order(1, 10, Role::Responder),
        order(2, 9, Role::Responder),
        order(2, 10, Role::Originator),
        part(3, 9, Role::Originator, 0),
        part(3, 10, Role::Originator, 1),
        part(3, 9, Role::Originator, 2),
        order(3, 9, Role::Responder),
    ];
    all.sort();
    let store = bench.reopen(store);
    assert_eq!(store.open_orders(None, 10).unwrap(), all);
    assert_eq!(store.open_orders(None, 3).unwrap(), all[..3]);
    for (place, order) in all.iter().enumerate() {
        assert_eq!(store.open_orders(Some(order), 10).unwrap(), all[place + 1..]);
    }
    assert_eq!(store.record(&exchange(1)).unwrap(), one);
    let mut second = commit(Some(&first.head), &[b"answer", b"answer"]);
    let about = |offer, role, place: usize| PaymentTerms::all(offer, role)[place].clone();
    let mut one = one;
    one.answers.responder.push(answer(&about(&lone, Role::Responder, 0), 10));
    let mut third = third;
    third.answers.originator.push(answer(&about(&parts, Role::Originator, 1), 10));
    third.answers.originator.push(answer(&about(&parts, Role::Originator, 0), 9));
    second.records.insert(exchange(1), one);
    second.records.insert(exchange(3), third.clone());
    store.commit(&second).unwrap();
    let answered =
        [order(1, 10, Role::Responder), part(3, 9, Role::Originator, 0), part(3, 10, Role::Originator, 1)];
    let left: Vec<_> = all.into_iter().filter(|it| !answered.contains(it)).collect();
    assert_eq!(store.open_orders(None, 10).unwrap(), left);
    let store = bench.reopen(store);
    assert_eq!(store.open_orders(None, 10).unwrap(), left);
    assert_eq!(store.record(&exchange(3)).unwrap(), third);
}

/// what waits for its time is found in the order of the times, and gone once it is decided.
pub fn standing_requests_are_paged_in_the_order_of_their_times(bench: &impl Bench) {
    let store = bench.open();
    let stands = |byte: u8, role: Role, at: u64| {
        let request =
            Request { exchange_id: exchange(byte), agreement_id: None, role, action: Action::Abort };
        let request = Verified::sign(request, &signer(3)).envelope().clone();
        let (offer, at) = (request.clone(), UnixMillis(at));
        (Due { at, exchange: exchange(byte), role }, Standing { at, request, offer, acceptance: None })
    };
    let (late, early) = (stands(1, Role::Originator, 1 << 40), stands(1, Role::Responder, 255));
    let other = stands(2, Role::Responder, 256);
    let mut first = commit(None, &[]);
    let both = ByRole { originator: Some(late.1.clone()), responder: Some(early.1.clone()) };
    first.records.insert(exchange(1), Record { standing: both, ..record(None) });
    first
        .records
        .insert(exchange(2), Record { standing: ByRole::only(Role::Responder, other.1), ..record(None) });
    store.commit(&first).unwrap();
    let store = bench.reopen(store);
    assert_eq!(store.standing(None, 10).unwrap(), [early.0, other.0, late.0]);
    assert_eq!(store.standing(None, 2).unwrap(), [early.0, other.0]);
    assert_eq!(store.standing(Some(&other.0), 2).unwrap(), [late.0]);
    assert_eq!(store.record(&exchange(1)).unwrap(), first.records[&exchange(1)]);
    let mut second = commit(Some(&first.head), &[b"verdict"]);
    second.records.insert(exchange(1), record(None));
    second.decided = vec![early.0, late.0];
    store.commit(&second).unwrap();
    assert_eq!(store.standing(None, 10).unwrap(), [other.0]);
    assert_eq!(bench.reopen(store).standing(None, 10).unwrap(), [other.0]);
}

/// of what is erased only its leaf is left, and the place of it.
pub fn erased_exchanges_leave_their_pseudonyms(bench: &impl Bench) {
    let store = bench.open();
    store.put_chunk(ContentId(5), 0, b"sealed").unwrap();
    store.put_content(ContentId(5), &ContentHead { encapsulated: [1; 32], chunks: 1 }).unwrap();
    let mut first = commit(None, &[b"verdict", b"other"]);
    first.records.insert(exchange(1), record(Some(ContentId(5))));
    first.records.insert(exchange(2), record(None));
    store.commit(&first).unwrap();
    let erased = |byte, exchange, leaf, contents| Erased {
        exchange,
        pseudonym: Pseudonym([byte; 16]),
        leaf: LeafIndex(leaf),
        contents,
    };
    let mut second = commit(Some(&first.head), &[b"erasure", b"erasure of what came back"]);
    second.erased = vec![erased(8, Some(exchange(1)), 2, vec![ContentId(5)]), erased(7, None, 3, Vec::new())];
    store.commit(&second).unwrap();
    store.forget_history().unwrap();
    let check = |store: &dyn Store| {
        let all = [(Pseudonym([7; 16]), LeafIndex(3)), (Pseudonym([8; 16]), LeafIndex(2))];
        assert_eq!(store.erasures(None, 10).unwrap(), all);
        assert_eq!(store.erasures(None, 1).unwrap(), all[..1]);
        assert_eq!(store.erasures(Some(all[0].0), 10).unwrap(), all[1..]);
        assert_eq!(store.erased(&all[1].0).unwrap(), Some(LeafIndex(2)));
        assert_eq!(store.erased(&Pseudonym([9; 16])).unwrap(), None);
        assert_eq!(store.record(&exchange(1)).unwrap(), Record::default());
        assert_eq!(store.record(&exchange(2)).unwrap(), record(None), "its neighbour stays");
        assert_eq!(store.exchanges(None, 10).unwrap(), [exchange(2)]);
        assert_eq!(store.content(ContentId(5)).unwrap(), None);
        assert_eq!(store.chunk(ContentId(5), 0).unwrap(), None);
        assert_eq!(store.leaves(0, 10).unwrap().len(), 4, "the log keeps its leaves");
    };
    check(&store);
    check(&bench.reopen(store));
}

/// which records were lost, and the policy declared last.
pub fn lost_records_and_the_policy_survive(bench: &impl Bench) {
    let store = bench.open();
    assert_eq!((store.declared_policy().unwrap(), store.all_lost().unwrap()), (None, Vec::new()));
    let mut first = commit(None, &[b"verdict"]);
    first.lost = vec![(Pseudonym([6; 16]), LeafIndex(0)), (Pseudonym([5; 16]), LeafIndex(0))];
    first.policy = Some(Digest::of(&[b"policy"]));
    store.commit(&first).unwrap();
    let store = bench.reopen(store);
    assert_eq!(store.lost(&Pseudonym([6; 16])).unwrap(), Some(LeafIndex(0)));
    assert_eq!(store.lost(&Pseudonym([7; 16])).unwrap(), None);
    let all: Vec<_> = store.all_lost().unwrap().into_iter().map(|(it, _)| it.0[0]).collect();
    assert_eq!(all, [5, 6]);
    store.commit(&commit(Some(&first.head), &[])).unwrap();
    let store = bench.reopen(store);
    assert_eq!(store.declared_policy().unwrap(), first.policy, "a commit that says nothing changes nothing");
}
