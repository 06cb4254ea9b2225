//! An arbiter that lies: it holds its keys and makes any verdict, with leaf, log and answer that fit. Who verifies the
//! receipt offline refuses every verdict that the rules do not give (R-506, F13).

use arbiter_protocol::crypto::Signer as _;
use arbiter_protocol::evidence::checkpoint::Checkpoint;
use arbiter_protocol::evidence::leaf::{Leaf, REASONS, issuer_id};
use arbiter_protocol::evidence::merkle::{Frontier, leaf_hash};
use arbiter_protocol::evidence::note::{Note, VerifierKey, signature_line};
use arbiter_protocol::evidence::record::record_root;
use arbiter_protocol::exchange::item::Description;
use arbiter_protocol::exchange::kind::pledge::Pledge;
use arbiter_protocol::exchange::selection::{ByRole, Role};
use arbiter_protocol::ids::{AgreementId, Digest, LeafIndex};
use arbiter_protocol::message::agreement::Offer;
use arbiter_protocol::message::request::{Action, Request};
use arbiter_protocol::message::verdict::{Answer, Attestation, Replacement, Ruling, Verdict};
use arbiter_protocol::role::arbiter::{Escrows, RULES};
use arbiter_protocol::ruling::receipt::{Evidence, Receipt, Ruled, record_values};
use arbiter_protocol::ruling::sequencer::Veil as _;
use arbiter_protocol::statement::{Verified, digest_of};
use arbiter_protocol::time::{DurationMillis, UnixMillis};

use crate::common::{COMPLAIN_BY, Chooser, EARLY, Kind, TestVeil, until};
use crate::stage::stage;

/// The table of section 6, written again: who may cause which verdict, when. Panics at one that nobody may.
pub fn lawful(
    verdict: &Verdict,
    offer: &Verified<Offer>,
    cause: &Verified<Request>,
    deposit: Option<&Attestation>,
) {
    assert_eq!(verdict.exchange_id, offer.exchange_id(), "of another exchange");
    assert_eq!(cause.exchange_id, offer.exchange_id(), "caused in another exchange");
    assert_eq!(cause.signer(), offer.party(cause.role).signing_key, "R-402: caused by a stranger");
    assert_eq!((verdict.requested_by, verdict.request), (cause.role, cause.digest()));
    assert_eq!(verdict.agreement_id, cause.agreement_id);
    let file = |role: Role| matches!(offer.item(role).description, Description::Information(_));
    let p1 = !Role::BOTH.into_iter().any(file);
    assert_eq!(p1, offer.complain_by.is_none(), "R-203");
    let first = if p1 || file(Role::Originator) { Role::Originator } else { Role::Responder };
    let key_is_over = offer.escrow.as_ref().is_some_and(|terms| verdict.time >= terms.epoch.until);
    let in_time = offer.complain_by.is_none_or(|time| verdict.time < time);
    let replaced: Vec<Role> = match &verdict.ruling {
        Ruling::Aborted => Vec::new(),
        Ruling::Replaced(list) => list.iter().map(|it| it.role).collect(),
        Ruling::Affidavit(_) | Ruling::Revoked(_) => panic!("R-416, R-426: no ruling of P1 and P2"),
    };
    match (p1, cause.action) {
        (true, Action::Abort) => {
            assert!(cause.role == Role::Originator || key_is_over, "R-403");
            assert_eq!((verdict.rule.as_str(), replaced.as_slice()), ("R-403", &[][..]));
        }
        (true, Action::Resolve) => {
            assert!(verdict.agreement_id.is_some() && !key_is_over, "R-404, R-411");
            assert_eq!((verdict.rule.as_str(), replaced.as_slice()), ("R-404", &Role::BOTH[..]));
        }
        (false, Action::Abort) => {
            assert!(cause.role == first || !in_time, "R-405");
            assert_eq!((verdict.rule.as_str(), replaced.as_slice()), ("R-405", &[][..]));
        }
        (false, Action::Resolve) => {
            let deposit = deposit.expect("R-406: without a deposit");
            assert!(cause.role == first && in_time, "R-406");
            assert_eq!(
                (deposit.depositor, Some(deposit.agreement_id)),
                (first, verdict.agreement_id),
                "R-406"
            );
            assert_eq!(deposit.exchange_id, verdict.exchange_id, "R-406");
            assert!(deposit.time <= verdict.time && deposit.leaf_index < verdict.leaf_index, "R-406");
            assert_eq!((verdict.rule.as_str(), replaced.as_slice()), ("R-406", &[first.peer()][..]));
        }
        (_, action) => panic!("{action:?} caused a verdict"),
    }
    if let Ruling::Replaced(list) = &verdict.ruling {
        assert!(list.iter().all(|it| it.item == *offer.item(it.role) && !file(it.role)), "other items");
    }
}

const TIMES: [u64; 9] = [
    EARLY,
    EARLY - 1,
    COMPLAIN_BY - 1,
    COMPLAIN_BY,
    COMPLAIN_BY + 1,
    COMPLAIN_BY + 30 * 86_400_000 - 1,
    COMPLAIN_BY + 30 * 86_400_000,
    1,
    1 << 53,
];

/// Zeros are honest: every choice but the first two says which lie is told.
pub fn receipt_forged(bytes: &[u8]) -> bool {
    let mut chooser = Chooser::of(bytes);
    let cast = &stage().casts[0];
    let kind = chooser.pick(&Kind::ALL);
    let template = stage().template(0, kind);
    let (offer, agreements) = (&template.offer, &template.agreements);
    let role = chooser.pick(&Role::BOTH);
    let lies = &mut chooser;
    let action = lies.pick(&[Action::Resolve, Action::Abort, Action::Deposit, Action::Query, Action::Fetch]);
    let agreement = lies.pick(&[Some(0), None, Some(1)]).map(|index| &agreements[index]);
    let named = lies.pick(&[agreement, None, Some(&agreements[1])]).map(|it| it.id());
    let request = Request { exchange_id: offer.exchange_id(), agreement_id: named, role, action };
    let signer = lies.pick(&[cast.key(role), cast.key(role.peer()), &cast.arbiter, &cast.stranger]);
    let request = Verified::sign(request, signer);
    let now = UnixMillis(lies.pick(&TIMES));
    let file = |role: Role| matches!(offer.item(role).description, Description::Information(_));
    let p1 = kind.is_p1();

    let deposit = (!p1 && action == Action::Resolve) != lies.one_in_lie();
    let deposit = deposit.then(|| {
        let attestation = Attestation {
            exchange_id: offer.exchange_id(),
            agreement_id: lies
                .pick(&[agreement.map(|it| it.id()), Some(agreements[1].id())])
                .unwrap_or(AgreementId::from_bytes([7; 32])),
            depositor: lies.pick(&[kind.first(), kind.first().peer()]),
            item: offer.item(lies.pick(&[kind.first(), kind.first().peer()])).digest(),
            request: request.digest(),
            leaf_index: LeafIndex(u64::from(lies.one_in_lie()) * 9 + 1),
            time: UnixMillis(lies.pick(&TIMES)),
            rules: lies.pick(&[RULES, "arbiter/rules/v0"]).to_owned(),
        };
        Verified::sign(attestation, lies.pick(&[&cast.arbiter, &cast.stranger]))
    });
    let escrows: Escrows = match agreement {
        Some(it) if action == Action::Resolve => {
            let index = usize::from(it.id() == agreements[1].id());
            let drop = lies.below(4);
            template.escrowed[index].map(|of, good| {
                let wanted = (p1 || of == role.peer()) != (drop == 1 + usize::from(of == Role::Responder));
                good.as_ref().filter(|_| wanted).map(|it| it.pledge())
            })
        }
        _ => Escrows::default(),
    };

    let whose: &[Role] = match (action, p1) {
        (Action::Resolve, true) => &Role::BOTH,
        (Action::Resolve, false) if file(Role::Originator) => &[Role::Responder],
        (Action::Resolve, false) => &[Role::Originator],
        _ => &[],
    };
    let whose = lies.pick(&[whose, &[], &Role::BOTH, &[Role::Originator], &[Role::Responder]]);
    let swapped = lies.one_in_lie();
    let items = whose.iter().map(|role| Replacement {
        role: *role,
        item: offer.item(if swapped { role.peer() } else { *role }).clone(),
    });
    let ruling = if whose.is_empty() { Ruling::Aborted } else { Ruling::Replaced(items.collect()) };
    let rule = match (action, p1) {
        (Action::Resolve, true) => "R-404",
        (Action::Resolve, false) => "R-406",
        (_, true) => "R-403",
        (_, false) => "R-405",
    };
    let rule = lies.pick(&[rule, "R-403", "R-404", "R-405", "R-406", "R-407"]);
    let index = LeafIndex(lies.pick(&[3, 0, 1, 8]));
    let escrow = |role| escrows.of(role).as_ref().map(Pledge::digest);
    let evidence = [
        Some(offer.digest()),
        agreement.map(|it| it.acceptance().digest()),
        deposit.as_ref().map(Verified::digest),
        escrow(Role::Originator),
        escrow(Role::Responder),
    ];
    let left_out = lies.below(6);
    let evidence =
        evidence.into_iter().enumerate().filter(|(at, _)| at + 1 != left_out).filter_map(|(_, it)| it);
    let verdict = Verdict {
        exchange_id: offer.exchange_id(),
        agreement_id: lies.pick(&[named, None, Some(agreements[1].id())]),
        originator: offer.originator.signing_key,
        responder: offer.responder.signing_key,
        originator_item: offer.originator_item.digest(),
        responder_item: offer.responder_item.digest(),
        ruling,
        rule: rule.to_owned(),
        rules: lies.pick(&[RULES, "arbiter/rules/v0"]).to_owned(),
        requested_by: if lies.one_in_lie() { role.peer() } else { role },
        request: request.digest(),
        evidence: evidence.collect(),
        leaf_index: index,
        time: now,
    };
    // Or an attestation is shown as what it is, or as the verdict.
    let shows_deposit = lies.one_in_lie();
    let statement = match &deposit {
        Some(deposit) if shows_deposit => deposit.envelope().clone(),
        _ => Verified::sign(verdict.clone(), &cast.arbiter).envelope().clone(),
    };
    let mut attestations = ByRole::default();
    if let Some(deposit) = deposit.as_ref().filter(|_| !shows_deposit) {
        *attestations.of_mut(deposit.depositor) = Some(deposit.envelope().clone());
    }
    let evidence = Evidence {
        request: request.envelope().clone(),
        acceptance: agreement.map(|it| it.acceptance().envelope().clone()),
        attestations,
        escrows,
    };
    let values = record_values(offer.envelope(), &evidence, &statement);
    let key = crate::common::unrecorded(&offer.exchange_id()).key.unwrap();
    let fields = key.fields(&statement.digest(), values);
    let salts: Vec<_> = fields.iter().map(|field| field.salt).collect();
    let leaf = Leaf {
        index,
        event: Ruled::event_of(&verdict),
        reason: REASONS.into_iter().find(|it| *it == rule).unwrap_or("R-403"),
        time: now,
        clock_uncertainty: DurationMillis(500),
        exchange: TestVeil.pseudonym(&offer.exchange_id()),
        sequence: 0,
        previous: None,
        policy: Digest::of(&[RULES.as_bytes()]),
        build: Digest::of(&[b"build"]),
        issuer: issuer_id(&offer.arbiter.key),
        token: statement.digest(),
        record: record_root(&fields),
    }
    .encode();

    let mut tree = Frontier::new();
    // The leaf is the last of the tree, and stands where it says.
    let mut subtrees: Vec<(u32, Digest)> = Vec::new();
    for number in 0..index.0 {
        let hash = leaf_hash(&number.to_be_bytes());
        let _ = tree.append(hash);
        subtrees.push((0, hash));
        merge(&mut subtrees);
    }
    let _ = tree.append(leaf_hash(&leaf));
    let proof = subtrees.iter().rev().map(|(_, hash)| *hash).collect();
    let checkpoint =
        Checkpoint { origin: offer.arbiter.log_origin.clone(), size: tree.size(), root: tree.root() };
    let log = VerifierKey::new(checkpoint.origin.as_str(), cast.log.public_key()).expect("a good key");
    let line = signature_line(&log, cast.log.sign(checkpoint.text().as_bytes()));
    let answer = Answer {
        request: request.digest(),
        statement: statement.digest(),
        leaf_index: index,
        tree_size: checkpoint.size,
        root: checkpoint.root,
    };
    let receipt = Receipt {
        statement,
        answer: Verified::sign(answer, &cast.arbiter).envelope().clone(),
        leaf,
        inclusion_proof: proof,
        checkpoint: Note::new(checkpoint.text(), vec![line]).expect("short").to_string(),
        evidence,
        record_salts: salts,
    };
    let Ok(proven) = receipt.verify(offer, Some(request.digest())) else { return false };
    match &proven.ruled {
        Ruled::Verdict(it) => {
            assert_eq!(digest_of(&**it), digest_of(&verdict));
            let opened = |role: Role| match &it.ruling {
                Ruling::Aborted | Ruling::Affidavit(_) | Ruling::Revoked(_) => false,
                Ruling::Replaced(list) => list.iter().any(|it| it.role == role),
            };
            let detached = ByRole {
                originator: kind.is_detached(Role::Originator),
                responder: kind.is_detached(Role::Responder),
            };
            for role in Role::BOTH {
                let needed = opened(role) && *detached.of(role);
                assert_eq!(receipt.evidence.escrows.of(role).is_some(), needed, "R-411: {role:?}");
                assert!(!needed || it.time.0 < until(kind), "R-411: opened with a key that is over");
            }
            lawful(it, offer, &request, deposit.as_deref());
        }
        Ruled::Attestation(_) => panic!("the leaf of a verdict proves an attestation"),
    }
    true
}

/// Two subtrees of one height are one of the next.
fn merge(subtrees: &mut Vec<(u32, Digest)>) {
    while let [.., (a, left), (b, right)] = subtrees.as_slice()
        && a == b
    {
        let joined = (a + 1, arbiter_protocol::evidence::merkle::node_hash(left, right));
        subtrees.truncate(subtrees.len() - 2);
        subtrees.push(joined);
    }
}

trait Lies {
    /// True only if the fuzzer wants it.
    fn one_in_lie(&mut self) -> bool;
}

impl Lies for Chooser {
    fn one_in_lie(&mut self) -> bool {
        self.below(4) == 3
    }
}
