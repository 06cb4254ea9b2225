//! What needs the inside of the module: forgers, and a suite so small that forgers succeed.

mod bad_input;
mod rsa_numbers;

use std::collections::BTreeMap;

use ed25519_dalek::Signer as _;

use super::ed25519::{Opening, Secret};
use super::encoding::Hidden;
use super::proof::instances;
use super::transcript::{challenge, hidden_set};
use super::tree::{Tree, cover, regrow};
use super::*;

const MESSAGE: &[u8] = b"the statement that both sign";

struct World {
    secret: EscrowSecret,
    label: Label,
    key: [u8; 32],
    signature: [u8; 64],
}

impl World {
    fn new(suite: Suite) -> Self {
        let signer = ed25519_dalek::SigningKey::from_bytes(&[12; 32]);
        let label = Label {
            suite,
            arbiter: [2; 32],
            epoch: 3,
            exchange: [4; 32],
            protocol: 1,
            first: Side::Originator,
            signer: Side::Responder,
            originator: [5; 32],
            responder: [6; 32],
            agreement: [7; 32],
            item: [8; 32],
            counter_item: [9; 32],
            expires: 10,
            complain_by: 11,
        };
        Self {
            secret: EscrowSecret::from_seed(&Zeroizing::new([1; 32]), [2; 32], 3).unwrap(),
            label,
            key: signer.verifying_key().to_bytes(),
            signature: signer.sign(MESSAGE).to_bytes(),
        }
    }

    fn statement(&self) -> Statement<'static> {
        Statement::ed25519(self.key, MESSAGE).unwrap()
    }

    fn opening(&self) -> (Opening<'static>, Secret) {
        let statement = self.statement();
        let Kind::Ed25519(it) = statement.kind() else { panic!("made as Ed25519") };
        let (nonce, s) = it.split(&self.signature).unwrap();
        (it.with_nonce(nonce).unwrap(), s)
    }

    fn check(&self, escrow: &Escrow) -> Result<Verified, EscrowError> {
        check(escrow.clone(), &self.statement(), &self.label, self.secret.public())
    }

    fn open(&self, escrow: &Escrow) -> Result<Zeroizing<Vec<u8>>, EscrowError> {
        open(escrow, &self.statement(), &self.label, &self.secret)
    }

    /// A forger's escrow. `bad` instances cannot be opened by the arbiter. A forger without the signature guesses
    /// that exactly the bad ones stay hidden, chooses their z and computes C backwards; with it, C is honest and
    /// the ciphertext is garbage.
    fn forge(&self, salt: u32, bad: &[u16], knows_signature: bool) -> Escrow {
        let (map, s) = self.opening();
        let nonce = *self.signature.first_chunk().unwrap();
        let public = PublicPart::Ed25519 { nonce };
        let context = context(&map, &public, &self.statement(), &self.label, self.secret.public());
        let salt = *Hash::new("test").number(salt).short();
        let session = Session::new(&context, &salt, self.label.suite);
        let tree = Tree::grow(&session.id, &Zeroizing::new([3; 16]), self.label.suite);
        let mut made = instances(&map, &session, self.secret.public().table(), &tree.leaves());
        for it in made.iter_mut().filter(|it| bad.contains(&it.index)) {
            it.sealed[0] ^= 1;
            let image = if knows_signature {
                map.images(std::slice::from_ref(&it.mask))
            } else {
                map.hidden_images(std::slice::from_ref(&it.mask), &map.divisor(&[]).unwrap())
            };
            it.digest = session.digest(it.index, &image[0], &it.point, &it.sealed);
        }
        let challenge = challenge(&session.id, made.iter().map(|it| &it.digest));
        let chosen = hidden_set(&challenge, self.label.suite);
        let hidden = || made.iter().filter(|it| chosen.contains(&it.index));
        let responses = if knows_signature {
            map.blind(hidden().map(|it| &it.mask), &s)
        } else {
            hidden().map(|it| map.encode(&it.mask).to_vec()).collect()
        };
        let hidden = hidden().zip(responses);
        let hidden = hidden.map(|(it, response)| Hidden { response, point: it.point, sealed: it.sealed });
        let hidden = hidden.collect();
        let nodes = tree.cover(&chosen);
        Escrow { suite: self.label.suite, public, context, salt, challenge, nodes, hidden }
    }
}

fn subsets(total: u16) -> impl Iterator<Item = Vec<u16>> {
    (0..1u16 << total).map(move |bits| (0..total).filter(|index| bits >> index & 1 == 1).collect())
}

#[test]
fn what_goes_in_comes_out() {
    for suite in [Suite::TOY, Suite::FAST, Suite::BALANCED, Suite::COMPACT] {
        let it = World::new(suite);
        let randomness = Zeroizing::new([13; 32]);
        let made = make(&it.signature, &it.statement(), &it.label, it.secret.public(), &randomness).unwrap();
        let bytes = made.to_bytes();
        let escrow = Escrow::from_bytes(&bytes).unwrap();
        assert_eq!(escrow, made);
        assert_eq!(escrow.to_bytes(), bytes);
        it.check(&escrow).unwrap();
        assert_eq!(*it.open(&escrow).unwrap(), it.signature);
    }
}

/// S21: a signer that makes any set of instances bad passes when all of them stay hidden, but cheats the arbiter
/// only when they are exactly the hidden ones.
#[test]
fn only_the_exact_hidden_set_cheats_the_arbiter() {
    let it = World::new(Suite::TOY);
    let mut cheats = 0;
    for bad in subsets(Suite::TOY.total()) {
        for salt in 0..12 {
            let escrow = it.forge(salt, &bad, true);
            let hidden = hidden_set(&escrow.challenge, Suite::TOY);
            let accepted = it.check(&escrow);
            assert_eq!(
                accepted.is_ok(),
                bad.iter().all(|index| hidden.contains(index)),
                "{bad:?} {hidden:?}"
            );
            if let Err(error) = accepted {
                assert_eq!(error, EscrowError::Challenge);
                continue;
            }
            let opened = it.open(&escrow);
            assert_eq!(opened.is_err(), bad == hidden, "{bad:?} {hidden:?}");
            match opened {
                Ok(signature) => assert_eq!(*signature, it.signature),
                Err(error) => {
                    assert_eq!(error, EscrowError::Unopenable);
                    cheats += 1;
                }
            }
        }
    }
    assert!(cheats > 0, "the toy suite is there to see cheats succeed");
}

/// S21 in a real suite: any number of bad instances, forged as well as can be, is found or does no harm.
#[test]
fn no_number_of_bad_instances_cheats_a_real_suite() {
    let it = World::new(Suite::FAST);
    for count in 0..=Suite::FAST.total() {
        // A different place for every count.
        let bad: Vec<u16> = (0..count).map(|step| (step + 7 * count) % Suite::FAST.total()).collect();
        let escrow = it.forge(count.into(), &bad, true);
        let hidden = hidden_set(&escrow.challenge, Suite::FAST);
        match it.check(&escrow) {
            Ok(_) => {
                assert!(bad.iter().all(|index| hidden.contains(index)));
                assert_eq!(*it.open(&escrow).unwrap(), it.signature, "{count} bad");
            }
            Err(error) => {
                assert_eq!(error, EscrowError::Challenge);
                assert!(bad.iter().any(|index| !hidden.contains(index)), "{count} bad");
            }
        }
    }
}

/// S27: a ciphertext with coins of the forger's choice decrypts to the right seed, and is refused all the same: answers
/// to such questions would tell a forger about ciphertexts of others (F11).
#[test]
fn coins_that_do_not_come_from_the_seed_are_refused() {
    use curve25519_dalek::{RistrettoPoint, Scalar};
    let it = World::new(Suite::TOY);
    let good = it.forge(0, &[], true);
    let session = Session::new(&good.context, &good.salt, Suite::TOY);
    let tree = Tree::grow(&session.id, &Zeroizing::new([3; 16]), Suite::TOY);
    let mut forged = good.clone();
    let chosen = hidden_set(&good.challenge, Suite::TOY);
    for (index, hidden) in chosen.iter().zip(&mut forged.hidden) {
        let coins = Scalar::from(u64::from(*index) + 99);
        let shared = (&coins * it.secret.public().table()).compress();
        hidden.point = RistrettoPoint::mul_base(&coins).compress().to_bytes();
        let (_, seed) = &tree.leaves()[usize::from(*index)];
        hidden.sealed = *session.pad(*index, &hidden.point, shared.as_bytes(), seed);
        // The forgery is what it should be: it decrypts to the seed.
        let point = super::key::element(&hidden.point).unwrap();
        let opened = session.pad(*index, &hidden.point, &it.secret.agree(&point), &hidden.sealed);
        assert!(opened == *seed);
    }
    assert_eq!(*it.open(&good).unwrap(), it.signature);
    assert_eq!(it.open(&forged).unwrap_err(), EscrowError::Unopenable);
}

/// S21: a forger that has no signature passes only when its guess is exactly the hidden set.
#[test]
fn without_a_signature_only_the_exact_guess_passes() {
    let it = World::new(Suite::TOY);
    let mut accepted = 0;
    for guess in subsets(Suite::TOY.total()) {
        for salt in 0..12 {
            let escrow = it.forge(salt, &guess, false);
            let hidden = hidden_set(&escrow.challenge, Suite::TOY);
            assert_eq!(it.check(&escrow).is_ok(), guess == hidden, "{guess:?} {hidden:?}");
            assert_eq!(it.open(&escrow).err(), Some(EscrowError::Unopenable));
            accepted += u32::from(guess == hidden);
        }
    }
    assert!(accepted > 0);
}

/// S22: grinding over salts succeeds once in C(6, 3) = 20 attempts, for forgers of both kinds.
#[test]
fn grinding_follows_the_law() {
    let it = World::new(Suite::TOY);
    let guess = [0, 2, 5];
    for knows_signature in [true, false] {
        let mut passed = 0;
        for salt in 0..4000 {
            let escrow = it.forge(salt, &guess, knows_signature);
            if hidden_set(&escrow.challenge, Suite::TOY) == guess {
                it.check(&escrow).unwrap();
                assert_eq!(it.open(&escrow).err(), Some(EscrowError::Unopenable));
                passed += 1;
            }
        }
        // 200 expected, standard deviation 13.8: four of them.
        assert!((145..=255).contains(&passed), "{passed} of 4000 passed");
    }
}

/// Every subset is equally likely: no draw is favoured by the rejection rule.
#[test]
fn hidden_sets_are_uniform() {
    let mut counts = BTreeMap::new();
    for draw in 0..20_000u32 {
        let challenge = *Hash::new("test").number(draw).short();
        *counts.entry(hidden_set(&challenge, Suite::TOY)).or_insert(0u32) += 1;
    }
    assert_eq!(counts.len(), 20);
    // 1000 expected each; 19 degrees of freedom, 43.8 is passed once in a thousand times.
    let squares: f64 = counts.values().map(|it| (f64::from(*it) - 1000.0).powi(2) / 1000.0).sum();
    assert!(squares < 43.8, "{counts:?}");
}

/// Values above the largest multiple of N are thrown away: they would favour small indices.
#[test]
fn draws_above_the_limit_are_thrown_away() {
    let suite = Suite::COMPACT;
    let mut thrown = 0;
    for draw in 0..300 {
        let challenge = *Hash::new("test").number(draw).short();
        let mut expected = Vec::new();
        let blocks = (0..).map(|block| Hash::new("subset").part(&challenge).number(block).wide().to_vec());
        let mut values = blocks.flatten();
        while expected.len() < 20 {
            let (high, low) = (values.next().unwrap(), values.next().unwrap());
            let value = u32::from(high) * 256 + u32::from(low);
            // 92 · 711 = 65412
            if value >= 65_412 {
                thrown += 1;
            } else if !expected.contains(&(value % 711)) {
                expected.push(value % 711);
            }
        }
        expected.sort_unstable();
        let found: Vec<u32> = hidden_set(&challenge, suite).into_iter().map(u32::from).collect();
        assert_eq!(found, expected);
    }
    assert!(thrown > 3, "the rule was never needed");
}

#[test]
fn hidden_sets_are_sorted_and_complete() {
    for suite in Suite::ALL {
        for draw in 0..50 {
            let hidden = hidden_set(&Hash::new("test").number(draw).short(), suite);
            assert_eq!(hidden.len(), usize::from(suite.hidden()));
            assert!(hidden.windows(2).all(|pair| pair[0] < pair[1]));
            assert!(*hidden.last().unwrap() < suite.total());
        }
    }
}

/// The number of subsets of each suite is at least 2^128: log2 C(N, n), exactly computed as a product.
#[test]
fn every_suite_has_128_bits() {
    for suite in Suite::ALL {
        let (total, hidden) = (f64::from(suite.total()), u32::from(suite.hidden()));
        let bits: f64 = (0..hidden).map(f64::from).map(|i| ((total - i) / (i + 1.0)).log2()).sum();
        assert!((128.0..128.2).contains(&bits), "{} has {bits}", suite.name());
    }
}

/// The cover gives back every seed but the hidden ones, and leaving out any node loses some.
#[test]
fn a_cover_opens_exactly_the_rest() {
    let session = [7; 32];
    for suite in [Suite::TOY, Suite::FAST, Suite::BALANCED, Suite::COMPACT] {
        let tree = Tree::grow(&session, &Zeroizing::new([9; 16]), suite);
        let leaves = tree.leaves();
        assert_eq!(leaves.len(), usize::from(suite.total()));
        for draw in 0..10 {
            let hidden = hidden_set(&Hash::new("test").number(draw).short(), suite);
            let nodes = tree.cover(&hidden);
            assert_eq!(nodes.len(), cover(&hidden, suite).len());
            let expected: Vec<_> =
                leaves.iter().filter(|(index, _)| !hidden.contains(index)).cloned().collect();
            assert!(regrow(&session, &hidden, &nodes, suite) == expected);
            let fewer = regrow(&session, &hidden, &nodes[1..], suite);
            assert!(fewer != expected);
        }
    }
}

/// S23: an escrow whose hidden set is not the one of its challenge, with the nodes that belong to it.
#[test]
fn a_chosen_hidden_set_is_refused() {
    let it = World::new(Suite::TOY);
    let good = it.forge(0, &[], true);
    it.check(&good).unwrap();
    let refused = (1..200u8).all(|byte| {
        let mut other = good.clone();
        other.challenge[0] ^= byte;
        it.check(&other).err() == Some(EscrowError::Challenge)
    });
    assert!(refused);
}

/// One decryptable instance is enough for the arbiter, whatever is wrong with the others.
#[test]
fn one_good_instance_opens() {
    let it = World::new(Suite::FAST);
    let good = it.forge(1, &[], true);
    for left in [0, 31, 63] {
        let mut bad = good.clone();
        for (position, hidden) in bad.hidden.iter_mut().enumerate().filter(|(at, _)| *at != left) {
            match position % 4 {
                0 => hidden.sealed[3] ^= 1,
                1 => hidden.point = [0xff; 32],
                2 => hidden.response = vec![0xff; 32],
                _ => hidden.response = vec![0; 32],
            }
        }
        assert_eq!(*it.open(&bad).unwrap(), it.signature);
        assert!(it.check(&bad).is_err());
    }
}

/// The secret never shows in what a peer gets: same signature, different randomness, nothing in common.
#[test]
fn randomness_goes_into_everything() {
    let it = World::new(Suite::FAST);
    let made = |byte, label: &Label| {
        make(&it.signature, &it.statement(), label, it.secret.public(), &Zeroizing::new([byte; 32])).unwrap()
    };
    let first = made(1, &it.label);
    assert_eq!(first, made(1, &it.label), "randomness is an argument");
    let mut label = it.label.clone();
    label.exchange[0] ^= 1;
    for other in [made(2, &it.label), made(1, &label)] {
        assert_ne!(first.salt, other.salt);
        assert!(first.nodes.iter().all(|node| !other.nodes.contains(node)));
        for hidden in &first.hidden {
            assert!(other.hidden.iter().all(|it| it.response != hidden.response && it.point != hidden.point));
        }
    }
}
