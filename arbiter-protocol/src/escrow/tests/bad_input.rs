//! S23 to S28 and S31 inside the module, where every part of an escrow can be set: each fault has its own answer, from
//! the peer's check and from the arbiter.

use curve25519_dalek::constants::EIGHT_TORSION;
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use sha2::{Digest as _, Sha512};

use super::*;

impl World {
    /// What the escrow gets when its forger writes the right context for `statement` and `label` into it.
    fn moved(&self, escrow: &Escrow, statement: &Statement<'_>, label: &Label) -> Escrow {
        let (Kind::Ed25519(it), PublicPart::Ed25519 { nonce }) = (statement.kind(), &escrow.public) else {
            panic!("made as Ed25519")
        };
        let map = it.with_nonce(*nonce).unwrap();
        let context = context(&map, &escrow.public, statement, label, self.secret.public());
        Escrow { context, suite: label.suite, ..escrow.clone() }
    }

    /// Refused for another statement or label at once, and also when its context is rewritten.
    fn refused_elsewhere(&self, escrow: &Escrow, statement: &Statement<'_>, label: &Label) {
        let key = self.secret.public();
        assert_eq!(check(escrow.clone(), statement, label, key).unwrap_err(), EscrowError::Context);
        assert_eq!(open(escrow, statement, label, &self.secret).unwrap_err(), EscrowError::Context);
        let moved = self.moved(escrow, statement, label);
        assert_eq!(check(moved.clone(), statement, label, key).unwrap_err(), EscrowError::Challenge);
        assert_eq!(open(&moved, statement, label, &self.secret).unwrap_err(), EscrowError::Unopenable);
    }
}

/// S23: instances in another order or twice, another number of them, nodes in another order, seeds of hidden leaves.
#[test]
fn instances_and_nodes_have_one_order_and_one_number() {
    let it = World::new(Suite::FAST);
    let good = it.forge(0, &[], true);
    let challenge = |change: &dyn Fn(&mut Escrow)| {
        let mut bad = good.clone();
        change(&mut bad);
        assert_ne!(bad, good);
        assert_eq!(it.check(&bad).unwrap_err(), EscrowError::Challenge);
    };
    challenge(&|bad| bad.hidden.swap(0, 1));
    challenge(&|bad| bad.hidden.reverse());
    challenge(&|bad| bad.hidden[1] = bad.hidden[0].clone());
    challenge(&|bad| bad.hidden.rotate_left(1));
    challenge(&|bad| bad.nodes.swap(0, 1));
    challenge(&|bad| bad.nodes.reverse());
    challenge(&|bad| bad.nodes[1] = bad.nodes[0]);

    let chosen = hidden_set(&good.challenge, Suite::FAST);
    let session = Session::new(&good.context, &good.salt, Suite::FAST);
    let tree = Tree::grow(&session.id, &Zeroizing::new([3; 16]), Suite::FAST);
    let secret = *tree.leaves()[usize::from(chosen[0])].1;
    challenge(&|bad| bad.nodes[0] = secret);
    let length = |change: &dyn Fn(&mut Escrow)| {
        let mut bad = good.clone();
        change(&mut bad);
        Escrow::from_bytes(&bad.to_bytes()).unwrap_err()
    };
    assert_eq!(length(&|bad| bad.nodes.push(secret)), EscrowError::ExtraNodes { extra: 1 });
    assert_eq!(length(&|bad| bad.hidden.push(bad.hidden[0].clone())), EscrowError::ExtraNodes { extra: 5 });
    assert!(matches!(length(&|bad| bad.nodes.truncate(1)), EscrowError::Truncated { .. }));
    assert!(matches!(length(&|bad| bad.hidden.truncate(63)), EscrowError::Truncated { .. }));
}

/// S24: at every position, z not below ℓ, and E that is the identity or no element. The arbiter passes over them.
#[test]
fn every_response_and_point_is_canonical() {
    let it = World::new(Suite::FAST);
    let good = it.forge(0, &[], true);
    let order = (Scalar::ZERO - Scalar::ONE).to_bytes().map(u16::from);
    // ℓ - 1 is even in its last byte, so nothing carries.
    let order: [u8; 32] = std::array::from_fn(|at| u8::try_from(order[at] + u16::from(at == 0)).unwrap());
    for position in 0..good.hidden.len() {
        for z in [order, [0xff; 32]] {
            let mut bad = good.clone();
            bad.hidden[position].response = z.to_vec();
            assert_eq!(it.check(&bad).unwrap_err(), EscrowError::Response { position });
            assert_eq!(*it.open(&bad).unwrap(), it.signature);
        }
        for point in [[0; 32], [0xff; 32]] {
            let mut bad = good.clone();
            bad.hidden[position].point = point;
            assert_eq!(it.check(&bad).unwrap_err(), EscrowError::Ciphertext { position });
            assert_eq!(*it.open(&bad).unwrap(), it.signature);
        }
    }
}

/// S24: A and R of small order, and A and R with each of the seven torsion points added.
#[test]
fn torsion_is_refused_in_keys_and_nonces() {
    let it = World::new(Suite::TOY);
    let good = it.forge(0, &[], true);
    let with_nonce = |nonce| Escrow { public: PublicPart::Ed25519 { nonce }, ..good.clone() };
    let refused = |point: [u8; 32], fault: PointFault| {
        assert_eq!(Statement::ed25519(point, MESSAGE).err(), Some(EscrowError::Key(fault)));
        assert_eq!(it.check(&with_nonce(point)).unwrap_err(), EscrowError::Nonce(fault));
        assert_eq!(it.open(&with_nonce(point)).unwrap_err(), EscrowError::Nonce(fault));
    };
    let key = CompressedEdwardsY(it.key).decompress().unwrap();
    for torsion in EIGHT_TORSION {
        refused(torsion.compress().to_bytes(), PointFault::SmallOrder);
        if torsion != EIGHT_TORSION[0] {
            refused((key + torsion).compress().to_bytes(), PointFault::Torsion);
        }
    }
}

/// S24: V = R + cA is the neutral element. As c is a hash of R, nobody can make one, so c is chosen here.
#[test]
fn a_statement_without_content_is_refused() {
    let it = World::new(Suite::TOY);
    let statement = it.statement();
    let Kind::Ed25519(inner) = statement.kind() else { panic!("made as Ed25519") };
    let key = CompressedEdwardsY(it.key).decompress().unwrap();
    for c in [1u64, 2, 3, u64::MAX].map(Scalar::from) {
        let nonce = (key * -c).compress().to_bytes();
        assert_eq!(inner.with_challenge(nonce, &c).err(), Some(EscrowError::Trivial));
        // Only with this c.
        let other = c + Scalar::ONE;
        assert_eq!(inner.with_challenge(nonce, &other).unwrap().statement(), it.key);
    }
    // The signature's own statement is the one that its hash gives.
    let hash = Sha512::new().chain_update(&it.signature[..32]).chain_update(it.key).chain_update(MESSAGE);
    let nonce = *it.signature.first_chunk().unwrap();
    let c = Scalar::from_bytes_mod_order_wide(&hash.finalize().into());
    let s = Scalar::from_canonical_bytes(it.signature[32..].try_into().unwrap()).unwrap();
    let expected = EdwardsPoint::mul_base(&s).compress().to_bytes();
    assert_eq!(inner.with_challenge(nonce, &c).unwrap().statement(), expected);
    assert_eq!(inner.with_nonce(nonce).unwrap().statement(), expected);
}

/// S25: every field of the label.
#[test]
fn every_field_of_the_label_binds() {
    let it = World::new(Suite::FAST);
    let good = it.forge(0, &[], true);
    let statement = it.statement();
    let changes: [fn(&mut Label); 11] = [
        |it| it.exchange[0] ^= 1,
        |it| it.protocol += 1,
        |it| it.first = Side::Responder,
        |it| it.signer = Side::Originator,
        |it| it.originator[31] ^= 0x80,
        |it| it.responder[31] ^= 0x80,
        |it| it.agreement[0] ^= 1,
        |it| it.item[0] ^= 1,
        |it| it.counter_item[0] ^= 1,
        |it| it.expires += 1,
        |it| it.complain_by += 1,
    ];
    let mut encodings = std::collections::BTreeSet::from([it.label.to_bytes().to_vec()]);
    for change in changes {
        let mut label = it.label.clone();
        change(&mut label);
        assert!(encodings.insert(label.to_bytes().to_vec()));
        it.refused_elsewhere(&good, &statement, &label);
    }
    // The other fields have answers of their own.
    let answer = |change: fn(&mut Label)| {
        let mut label = it.label.clone();
        change(&mut label);
        let refused = check(good.clone(), &statement, &label, it.secret.public()).unwrap_err();
        assert_eq!(open(&good, &statement, &label, &it.secret).unwrap_err(), refused);
        refused
    };
    assert_eq!(answer(|it| it.suite = Suite::BALANCED), EscrowError::WrongSuite);
    assert_eq!(answer(|it| it.arbiter[0] ^= 1), EscrowError::WrongArbiter);
    assert_eq!(answer(|it| it.epoch += 1), EscrowError::WrongEpoch { label: 4, key: 3 });
    assert_eq!(answer(|it| it.epoch -= 1), EscrowError::WrongEpoch { label: 2, key: 3 });
}

/// S26: an escrow of a signature by A on M with R, presented as one by A', on M', or with R'.
#[test]
fn an_escrow_is_of_one_key_one_message_and_one_nonce() {
    let it = World::new(Suite::FAST);
    let good = it.forge(0, &[], true);
    let foreign = ed25519_dalek::SigningKey::from_bytes(&[13; 32]);
    let other_key = foreign.verifying_key().to_bytes();
    it.refused_elsewhere(&good, &Statement::ed25519(other_key, MESSAGE).unwrap(), &it.label);
    it.refused_elsewhere(&good, &Statement::ed25519(it.key, b"another message").unwrap(), &it.label);
    let nonce = *foreign.sign(MESSAGE).to_bytes().first_chunk().unwrap();
    let other = Escrow { public: PublicPart::Ed25519 { nonce }, ..good };
    it.refused_elsewhere(&other, &it.statement(), &it.label);
}

/// S27: instances of one true escrow in another true escrow, of the same signature and label: no mixture passes, and
/// none opens to anything but the signature.
#[test]
fn instances_cannot_be_mixed() {
    let it = World::new(Suite::TOY);
    let (one, two) = (it.forge(0, &[], true), it.forge(1, &[], true));
    for subset in 1..8u32 {
        let mut mixed = one.clone();
        for at in (0..3).filter(|at| subset >> at & 1 == 1) {
            mixed.hidden[at] = two.hidden[at].clone();
        }
        assert_eq!(it.check(&mixed).unwrap_err(), EscrowError::Challenge);
        let opened = it.open(&mixed);
        if subset == 7 {
            assert_eq!(opened.unwrap_err(), EscrowError::Unopenable);
        } else {
            assert_eq!(*opened.unwrap(), it.signature);
        }
    }
}

/// S31: a true proof over ciphertexts none of which opens. Whoever finds one has broken the scheme or guessed 128 bits;
/// with 20 subsets it is found by trying. Then `open` fails and `check` passes: the arbiter must raise an alarm and
/// blame nobody. When `check` fails as well, the peer accepted what it should have refused.
#[test]
fn a_true_proof_that_does_not_open_is_an_alarm() {
    let it = World::new(Suite::TOY);
    let bad = [1, 2, 4];
    let found = (0..400).find_map(|salt| {
        let escrow = it.forge(salt, &bad, true);
        (hidden_set(&escrow.challenge, Suite::TOY) == bad).then_some((salt, escrow))
    });
    let (salt, escrow) = found.expect("19/20 to the power of 400 is 10^-9");
    let escrow = Escrow::from_bytes(&escrow.to_bytes()).unwrap();
    assert_eq!(it.open(&escrow).unwrap_err(), EscrowError::Unopenable);
    let verified = it.check(&escrow).expect("the alarm: the proof is true");
    assert_eq!(verified.escrow(), &escrow);

    // The same signer without bad ciphertexts: opens. With a fault that shows: does not, and the check says so.
    assert_eq!(*it.open(&it.forge(salt, &[], true)).unwrap(), it.signature);
    let mut false_escrow = escrow.clone();
    false_escrow.hidden[0].sealed[0] ^= 2;
    assert_eq!(it.open(&false_escrow).unwrap_err(), EscrowError::Unopenable);
    assert_eq!(it.check(&false_escrow).unwrap_err(), EscrowError::Challenge);
}
