//! The public leaves of one exchange against the language that the specification gives them: every chain that there can be,
//! and every leaf that could be put behind it (R-401, R-423, R-501, R-533, R-561).

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may fail by panicking"
)]

use arbiter_protocol::evidence::leaf::{Event, Leaf, Pseudonym};
use arbiter_protocol::evidence::record::record_root;
use arbiter_protocol::ids::{Digest, LeafIndex};
use arbiter_protocol::ruling::chain::{LeafFault, Tally, Walk, one, two};
use arbiter_protocol::ruling::notice::ErasureReason;
use arbiter_protocol::time::{DurationMillis, UnixMillis};

type Letter = (Event, &'static str);

const EXCHANGE: Pseudonym = Pseudonym([7; 16]);
const ERASED: Letter = (Event::Erasure, "R-533");
const POSTED: Letter = (Event::PaymentPosted, "R-423");
const VOIDED: Letter = (Event::PaymentVoided, "R-423");

const fn deposit(reason: &'static str) -> Letter {
    (Event::DepositAccepted, reason)
}

const fn aborted(reason: &'static str) -> Letter {
    (Event::VerdictAborted, reason)
}

const fn replaced(reason: &'static str) -> Letter {
    (Event::VerdictReplaced, reason)
}

const fn revoked(reason: &'static str) -> Letter {
    (Event::VerdictRevoked, reason)
}

const AFFIDAVIT: Letter = (Event::VerdictAffidavit, "R-426");

/// All that a leaf of an exchange can say.
const LETTERS: [Letter; 22] = [
    deposit("R-407"),
    deposit("R-415"),
    deposit("R-420"),
    deposit("R-425"),
    ERASED,
    POSTED,
    VOIDED,
    aborted("R-403"),
    aborted("R-405"),
    aborted("R-413"),
    aborted("R-419"),
    aborted("R-422"),
    aborted("R-427"),
    AFFIDAVIT,
    replaced("R-404"),
    replaced("R-406"),
    replaced("R-416"),
    replaced("R-421"),
    replaced("R-426"),
    revoked("R-414"),
    revoked("R-417"),
    revoked("R-418"),
];

/// What was deposited, and every verdict that can follow.
fn deposits_and_verdicts() -> Vec<(Vec<Letter>, Vec<Letter>)> {
    let without = ["R-403", "R-405", "R-413", "R-419", "R-422", "R-427"].map(aborted).to_vec();
    let without =
        [without, vec![AFFIDAVIT, replaced("R-404")], ["R-414", "R-417", "R-418"].map(revoked).to_vec()];
    vec![
        (vec![], without.concat()),
        (vec![deposit("R-407")], vec![aborted("R-405"), replaced("R-406")]),
        (vec![deposit("R-415")], vec![aborted("R-413"), replaced("R-416")]),
        (vec![deposit("R-420")], vec![aborted("R-419")]),
        (vec![deposit("R-420"); 2], vec![aborted("R-419"), replaced("R-421")]),
        (vec![deposit("R-425")], vec![AFFIDAVIT]),
        (vec![deposit("R-425"); 2], vec![AFFIDAVIT, replaced("R-426")]),
    ]
}

/// R-423: what undoes payments, and what posts or voids reserved ones.
fn gives_orders((event, reason): Letter) -> bool {
    event == Event::VerdictRevoked || ["R-403", "R-404", "R-405", "R-406"].contains(&reason)
}

/// How many answers of ledgers can follow: one of each party, or one to each payment that is revoked.
fn most_answers((event, _): Letter) -> usize {
    if event == Event::VerdictRevoked { 16 } else { 2 }
}

/// Whether a chain is one of an honest arbiter.
fn is_in_language(chain: &[Letter]) -> bool {
    let is_answer = |letter: &&Letter| matches!(letter.0, Event::PaymentPosted | Event::PaymentVoided);
    let chain = match chain {
        [] | [ERASED] => return chain.is_empty(),
        [chain @ .., ERASED] => chain,
        chain => chain,
    };
    let answers = chain.iter().rev().take_while(is_answer).count();
    let (ruled, _) = chain.split_at(chain.len() - answers);
    let answered = |verdict: &Letter| gives_orders(*verdict) && answers <= most_answers(*verdict);
    deposits_and_verdicts().iter().any(|(deposits, verdicts)| {
        let begun = answers == 0 && ruled == deposits;
        begun
            || ruled.split_last().is_some_and(|(verdict, before)| {
                before == deposits && verdicts.contains(verdict) && (answers == 0 || answered(verdict))
            })
    })
}

/// The chains of an honest arbiter, the empty one among them: all with up to two answers of ledgers, and two of every
/// length with more.
fn language() -> Vec<Vec<Letter>> {
    let mut all = Vec::new();
    for (deposits, verdicts) in deposits_and_verdicts() {
        all.push(deposits.clone());
        for verdict in verdicts {
            let ruled = [deposits.clone(), vec![verdict]].concat();
            all.push(ruled.clone());
            if gives_orders(verdict) {
                for first in [POSTED, VOIDED] {
                    all.push([ruled.clone(), vec![first]].concat());
                    all.extend([POSTED, VOIDED].map(|second| [ruled.clone(), vec![first, second]].concat()));
                }
                for count in 3..=most_answers(verdict) {
                    let turns = [POSTED, VOIDED].into_iter().cycle().take(count).collect();
                    all.push([ruled.clone(), turns].concat());
                    all.push([ruled.clone(), vec![VOIDED; count]].concat());
                }
            }
        }
    }
    let erased: Vec<_> =
        all.iter().filter(|it| !it.is_empty()).map(|it| [it.clone(), vec![ERASED]].concat()).collect();
    all.extend(erased);
    all
}

/// What is wrong with `next` behind a good chain that it does not belong to.
fn fault(chain: &[Letter], next: Letter) -> LeafFault {
    let verdict = chain.iter().find(|it| it.0.is_verdict());
    let deposit = chain.iter().find(|it| it.0 == Event::DepositAccepted);
    let unfit = LeafFault::Reason { event: next.0.name(), reason: next.1 };
    match next.0 {
        _ if chain.contains(&ERASED) => LeafFault::AfterErasure,
        Event::Erasure => LeafFault::AfterErasure,
        Event::PaymentPosted | Event::PaymentVoided => match verdict {
            Some(verdict) if gives_orders(*verdict) => LeafFault::Again { what: "answer of a ledger" },
            _ => LeafFault::BeforeVerdict,
        },
        Event::DepositAccepted if verdict.is_some() => LeafFault::AfterVerdict,
        Event::DepositAccepted if deposit == Some(&next) => LeafFault::Again { what: "attestation" },
        Event::DepositAccepted => unfit,
        // What one leaf says by its place alone comes first.
        _ if chain.len() < by_itself(next) => unfit,
        _ if verdict.is_some() => LeafFault::Again { what: "verdict" },
        _ => unfit,
    }
}

/// How many leaves must be before this one, whatever they are.
fn by_itself(letter: Letter) -> usize {
    match letter {
        (Event::VerdictReplaced, "R-406" | "R-416") => 1,
        (Event::VerdictReplaced, "R-421" | "R-426") => 2,
        _ => 0,
    }
}

fn leaf(index: u64, (event, reason): Letter, sequence: usize, previous: Option<u64>) -> Leaf {
    let bare = event.is_of_the_log();
    let exchange = if bare { Pseudonym([0; 16]) } else { EXCHANGE };
    let token =
        if event == Event::Erasure { ErasureReason::Request.token(&exchange) } else { Digest::of(&[b"t"]) };
    Leaf {
        index: LeafIndex(index),
        event,
        reason,
        time: UnixMillis(1_000),
        clock_uncertainty: DurationMillis(5),
        exchange,
        sequence: u32::try_from(sequence).unwrap(),
        previous: previous.map(LeafIndex),
        policy: Digest::of(&[b"p"]),
        build: Digest::of(&[b"b"]),
        issuer: [1, 2, 3, 4],
        token,
        record: if bare || event == Event::Erasure { record_root(&[]) } else { Digest::of(&[b"r"]) },
    }
}

/// The leaves of a chain, each at an odd place: before each is one about the log.
fn leaves(chain: &[Letter]) -> Vec<Leaf> {
    let place = |sequence: usize| u64::try_from(2 * sequence + 1).unwrap();
    let of = |(at, letter): (usize, &Letter)| leaf(place(at), *letter, at, at.checked_sub(1).map(place));
    chain.iter().enumerate().map(of).collect()
}

/// A walk that stands where the next leaf of the exchange can come.
fn walked(chain: &[Letter]) -> Walk {
    let mut walk = Walk::new(None);
    walk.read(&leaf(0, (Event::Genesis, "R-502"), 0, None).encode()).unwrap();
    for leaf in leaves(chain) {
        walk.read(&leaf.encode()).unwrap();
        anchor(&mut walk);
    }
    walk
}

fn anchor(walk: &mut Walk) {
    walk.read(&leaf(walk.size(), (Event::Anchor, "R-536"), 0, None).encode()).unwrap();
}

fn tally(chain: &[Letter]) -> Tally {
    let count =
        |events: &[Event]| u64::try_from(chain.iter().filter(|it| events.contains(&it.0)).count()).unwrap();
    Tally {
        deposits: count(&[Event::DepositAccepted]),
        open: u64::from(!chain.is_empty() && !chain.iter().any(|it| it.0.is_verdict())),
        aborted: count(&[Event::VerdictAborted]),
        affidavits: count(&[Event::VerdictAffidavit]),
        replaced: count(&[Event::VerdictReplaced]),
        revoked: count(&[Event::VerdictRevoked]),
        answers: count(&[Event::PaymentPosted, Event::PaymentVoided]),
        erased: count(&[Event::Erasure]),
    }
}

/// R-561: the walk reads exactly the chains of the specification, and says what is wrong with every other one; what it
/// remembers between two runs is all of it.
#[test]
fn a_walk_reads_exactly_the_chains_that_there_can_be() {
    let language = language();
    for chain in &language {
        let walk = walked(chain);
        assert_eq!(walk.tally(), tally(chain), "{chain:?}");
        let again = Walk::decode(&walk.encode(), None).unwrap();
        assert_eq!((&again, again.chain(&EXCHANGE.0).is_some()), (&walk, !chain.is_empty()));
        assert_eq!(walk.chain(&EXCHANGE.0).map(|it| it.last()), leaves(chain).last().map(|it| it.index));
        for letter in LETTERS {
            let longer = [&chain[..], &[letter]].concat();
            let leaf = leaves(&longer).pop().unwrap();
            let expected = if is_in_language(&longer) { Ok(leaf.clone()) } else { Err(fault(chain, letter)) };
            assert_eq!(again.clone().read(&leaf.encode()), expected, "{letter:?} after {chain:?}");
        }
    }
    assert!(language.iter().all(|chain| is_in_language(chain)));
    assert_eq!(language.len(), 319);
}

/// R-561, R-563: two leaves of an honest log never exclude each other, and of a bad chain some leaf or pair tells; only a
/// deposit or answer too many, which needs three leaves or more to be seen, does not.
#[test]
fn one_leaf_or_two_tell_what_cannot_be() {
    let language = language();
    for chain in &language {
        let before = leaves(chain);
        for (at, later) in before.iter().enumerate() {
            assert_eq!(one(&later.encode(), later.index).as_ref(), Ok(later));
            for earlier in &before[..at] {
                assert_eq!(two(earlier, later), None, "{chain:?}");
            }
        }
        for letter in LETTERS {
            let longer = [&chain[..], &[letter]].concat();
            if is_in_language(&longer) {
                continue;
            }
            let last = leaves(&longer).pop().unwrap();
            let found = match one(&last.encode(), last.index) {
                Err(fault) => Some(fault),
                Ok(last) => before.iter().rev().find_map(|it| two(it, &last)),
            };
            let fault = fault(chain, letter);
            let third = chain.len() >= 2
                && matches!(fault, LeafFault::Again { what: "attestation" | "answer of a ledger" });
            assert_eq!(found, (!third).then_some(fault), "{letter:?} after {chain:?}");
        }
    }
}

/// R-501, R-409: a leaf has its place in the chain and the log, with the time, key and rules of the log.
#[test]
fn a_leaf_follows_the_one_before_it() {
    let chain = [revoked("R-414"), VOIDED, POSTED];
    let [first, second, third] = &leaves(&chain)[..] else { panic!("three leaves") };
    let judged = |earlier: &Leaf, later: &Leaf, changed: LeafFault, change: fn(&mut Leaf)| {
        let mut bad = later.clone();
        change(&mut bad);
        assert_eq!(two(earlier, &bad), Some(changed), "{bad:?}");
    };
    // The one right behind it, and the one after that.
    judged(first, second, LeafFault::Chain, |it| it.sequence = 2);
    judged(first, second, LeafFault::Chain, |it| it.sequence = 0);
    judged(first, second, LeafFault::Chain, |it| it.previous = None);
    judged(first, second, LeafFault::Chain, |it| it.previous = Some(LeafIndex(0)));
    judged(first, third, LeafFault::Chain, |it| it.previous = Some(LeafIndex(1)));
    judged(first, third, LeafFault::Chain, |it| it.previous = Some(LeafIndex(0)));
    judged(second, third, LeafFault::Chain, |it| (it.sequence, it.previous) = (1, Some(LeafIndex(4))));
    // Another exchange may be anywhere, and not behind it.
    judged(first, second, LeafFault::Chain, |it| it.exchange = Pseudonym([8; 16]));
    let mut other = third.clone();
    other.exchange = Pseudonym([8; 16]);
    assert_eq!(two(first, &other), None);
    let others: [fn(&mut Leaf); 2] = [|it| it.issuer[3] ^= 1, |it| it.policy = Digest::of(&[b"x"])];
    for change in others {
        judged(first, second, LeafFault::Issuer, change);
        let mut bad = third.clone();
        change(&mut bad);
        assert_eq!(walked(&chain[..2]).read(&bad.encode()), Err(LeafFault::Issuer));
    }
    judged(first, second, LeafFault::Time, |it| it.time = UnixMillis(999));
    let mut bad = third.clone();
    bad.time = UnixMillis(999);
    assert_eq!(walked(&chain[..2]).read(&bad.encode()), Err(LeafFault::Time));
    bad.time = UnixMillis(1_001);
    assert_eq!(two(first, &bad), None);
    let mut walk = walked(&chain[..2]);
    assert_eq!((walk.time(), walk.exchanges(), walk.size()), (UnixMillis(1_000), 1, 5));
    walk.read(&bad.encode()).unwrap();
    assert_eq!((walk.time(), walk.exchanges(), walk.size()), (UnixMillis(1_001), 1, 6));

    // By itself, and in a walk.
    for (sequence, previous) in
        [(1, None), (0, Some(1)), (1, Some(5)), (1, Some(6)), (3, Some(3)), (2, Some(1)), (1, Some(1))]
    {
        let bad = leaf(5, VOIDED, sequence, previous);
        assert!(walked(&chain[..2]).read(&bad.encode()).is_err(), "{bad:?}");
        let alone = sequence == 1 && previous == Some(1) || sequence > 1 && previous.is_some_and(|it| it < 5);
        assert_eq!(one(&bad.encode(), bad.index).is_ok(), alone, "{bad:?}");
    }
    let beginning = leaf(5, aborted("R-403"), 0, Some(1));
    assert_eq!(one(&beginning.encode(), beginning.index), Err(LeafFault::Chain));
    assert_eq!(one(&first.encode(), LeafIndex(3)), Err(LeafFault::Place { says: 1 }));
}

/// R-533: an erasure is the last of a chain that there is, gives a reason and has no record.
#[test]
fn an_erasure_gives_one_of_three_reasons() {
    let chain = [aborted("R-403"), ERASED];
    let erasure = leaves(&chain).pop().unwrap();
    for reason in ErasureReason::ALL {
        let good = Leaf { token: reason.token(&EXCHANGE), ..erasure.clone() };
        assert_eq!(walked(&chain[..1]).read(&good.encode()), Ok(good));
    }
    for bad in [
        Leaf { token: ErasureReason::Order.token(&Pseudonym([8; 16])), ..erasure.clone() },
        Leaf { record: Digest::of(&[b"r"]), ..erasure.clone() },
        Leaf { sequence: 0, previous: None, ..erasure },
    ] {
        assert_eq!(one(&bad.encode(), bad.index), Err(LeafFault::AfterErasure), "{bad:?}");
    }
}

/// R-560: what no walk writes is not read.
#[test]
fn the_state_of_a_walk_has_one_form() {
    let mut walk = walked(&[deposit("R-407")]);
    let other = Leaf { exchange: Pseudonym([9; 16]), ..leaf(walk.size(), replaced("R-404"), 0, None) };
    walk.read(&other.encode()).unwrap();
    let good = walk.encode();
    assert_eq!(good.len(), 56 + 2 * 32);
    assert_eq!(Walk::decode(&good, None).as_ref(), Ok(&walk));
    let changed = |at: usize, bytes: &[u8]| {
        let mut bad = good.clone();
        bad[at..at + bytes.len()].copy_from_slice(bytes);
        Walk::decode(&bad, None)
    };
    let (first, second) = (56, 56 + 32);
    assert!(changed(first + 16, &(walk.size() - 1).to_be_bytes()).is_ok());
    for (at, bytes) in [
        (16, &[0, 0, 0, 1][..]),                  // what is always zero
        (first, &[9; 16]),                        // the same exchange twice
        (first, &[10; 16]),                       // not ascending
        (first + 16, &walk.size().to_be_bytes()), // its last leaf is still to come
        (first + 24, &[0; 4]),                    // no leaves
        (first + 28, &[5]),                       // no such verdict
        (second + 31, &[5]),                      // no such rule for deposits
    ] {
        assert!(changed(at, bytes).is_err(), "byte {at}");
    }
    assert!(Walk::decode(&good[..good.len() - 1], None).is_err());
    assert!(Walk::decode(&[&good[..], &[0]].concat(), None).is_err());
}
