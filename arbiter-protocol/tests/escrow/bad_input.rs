//! What the vectors cannot show: whole ranges of bad input, refusals before an escrow exists, and the arbiter's side.

use std::collections::BTreeSet;

use arbiter_protocol::escrow::{
    Escrow, EscrowError, EscrowKey, EscrowSecret, Label, NonceRegister, NonceUse, Suite, belongs, holds, make,
};
use arbiter_protocol::limits::ESCROW_BYTES;
use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::Scalar;
use proptest::prelude::*;
use sha2::{Digest as _, Sha512};
use zeroize::Zeroizing;

use crate::support::{Case, MESSAGE, Owned, add_le, arbiter, order, rsa_signatures, splice, torsion};

const RSA: &str = "rsa-2048 e=65537 pkcs1 sha256";

fn refused(case: &Case, signature: &[u8]) -> EscrowError {
    let statement = case.statement.statement().unwrap();
    make(signature, &statement, &case.label, &case.key, &Zeroizing::new([1; 32])).unwrap_err()
}

/// S28: every shorter escrow is cut off, whatever it was cut from.
#[test]
fn every_truncation_is_refused() {
    for case in [Case::ed25519(Suite::COMPACT), Case::rsa(Suite::COMPACT, RSA)] {
        let escrow = case.make(1).to_bytes();
        for length in 0..escrow.len() {
            let error = Escrow::from_bytes(&escrow[..length]).unwrap_err();
            assert!(
                matches!(error, EscrowError::Truncated { got, need } if got == length && (got + 1..=escrow.len()).contains(&need)),
                "{error:?}"
            );
        }
        let longer = [&escrow[..], &vec![0; ESCROW_BYTES]].concat();
        assert_eq!(
            Escrow::from_bytes(&longer[..=ESCROW_BYTES]),
            Err(EscrowError::TooLarge { got: ESCROW_BYTES + 1 })
        );
        assert!(!matches!(Escrow::from_bytes(&longer[..ESCROW_BYTES]), Err(EscrowError::TooLarge { .. })));
        for extra in [1, 15, 17] {
            let error = Escrow::from_bytes(&longer[..escrow.len() + extra]).unwrap_err();
            assert_eq!(error, EscrowError::Trailing { extra });
        }
        for extra in [1, 2, 100] {
            let error = Escrow::from_bytes(&longer[..escrow.len() + 16 * extra]).unwrap_err();
            assert_eq!(error, EscrowError::ExtraNodes { extra });
        }
    }
    let narrow = splice(&Case::rsa(Suite::COMPACT, RSA).make(1).to_bytes(), 3, 2, &255u16.to_be_bytes());
    assert_eq!(Escrow::from_bytes(&narrow), Err(EscrowError::ModulusSize { bits: 2040 }));
}

/// No bit of an escrow can be changed: whatever still has a valid form fails the proof.
#[test]
fn no_bit_can_be_changed() {
    let case = Case::ed25519(Suite::FAST);
    let escrow = case.make(1).to_bytes();
    let mut reasons = BTreeSet::new();
    for at in (0..140).chain((140..escrow.len()).step_by(37)) {
        let mut bad = escrow.clone();
        bad[at] ^= 1 << (at % 8);
        let error = case.check(&bad).unwrap_err();
        reasons.insert(format!("{error:?}").split([' ', '(']).next().unwrap().to_owned());
        // The arbiter opens it to the same signature, or not at all.
        assert!(
            case.open(&bad).is_ok_and(|it| it == case.signature) || case.open(&bad).is_err(),
            "byte {at}"
        );
    }
    assert!(reasons.contains("Challenge") && reasons.len() > 5, "{reasons:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(1), ..ProptestConfig::default() })]

    /// Nothing panics on noise, with a header that leads deep into the reader or without.
    #[test]
    fn noise_is_refused(kind in 0u8..4, suite in 0u8..5, noise in proptest::collection::vec(any::<u8>(), 0..9000)) {
        prop_assert!(Escrow::from_bytes(&noise).is_err());
        let headed = [&[1, kind, suite][..], &noise].concat();
        if let Ok(escrow) = Escrow::from_bytes(&headed) {
            prop_assert_eq!(escrow.to_bytes(), headed);
        }
    }

    /// A parsed escrow that is noise inside is refused by the check and by the arbiter.
    #[test]
    fn noise_in_the_right_length_is_refused(noise in proptest::collection::vec(any::<u8>(), 64 * 80), z in any::<bool>()) {
        let case = Case::ed25519(Suite::FAST);
        let mut escrow = Case::ed25519(Suite::FAST).make(1).to_bytes();
        let start = escrow.len() - noise.len();
        escrow[start..].copy_from_slice(&noise);
        if z {
            // Canonical responses, so that the noise in the points is reached.
            escrow[start..].chunks_mut(80).for_each(|it| it[31] = 0);
        }
        prop_assert!(case.check(&escrow).is_err());
        prop_assert_eq!(case.open(&escrow), Err(EscrowError::Unopenable));
    }
}

/// S24: as points of ciphertexts, none of the eight torsion points' encodings passes.
#[test]
fn torsion_points_are_no_ciphertexts() {
    let case = Case::ed25519(Suite::FAST);
    let escrow = case.make(1).to_bytes();
    let first = escrow.len() - 64 * 80;
    for point in torsion() {
        assert!(case.check(&splice(&escrow, first + 32, 32, &point)).is_err());
        assert!(EscrowKey::from_bytes([0; 32], 0, point).is_err() || point[0] == 0x26, "{point:x?}");
    }
}

/// Nothing is put into escrow that is not a valid signature of the statement (K22, S26, S17).
#[test]
fn only_a_valid_signature_goes_into_escrow() {
    let case = Case::ed25519(Suite::FAST);
    let mut bad = case.signature.clone();
    bad[40] ^= 1;
    assert_eq!(refused(&case, &bad), EscrowError::Signature);
    assert_eq!(refused(&case, &case.signature[..63]), EscrowError::Signature);
    assert_eq!(refused(&case, &[&case.signature[..], &[0]].concat()), EscrowError::Signature);
    let lax = [&case.signature[..32], &add_le(&case.signature[32..], &order())].concat();
    assert_eq!(refused(&case, &lax), EscrowError::Signature);
    let foreign = Case::signed(Suite::FAST, 0x77, MESSAGE);
    assert_eq!(refused(&case, &foreign.signature), EscrowError::Signature);
    let other = Case::signed(Suite::FAST, 0x51, b"another message");
    assert_eq!(refused(&case, &other.signature), EscrowError::Signature);

    let case = Case::rsa(Suite::FAST, RSA);
    let mut bad = case.signature.clone();
    bad[200] ^= 1;
    assert_eq!(refused(&case, &bad), EscrowError::Signature);
    assert_eq!(refused(&case, &case.signature[..255]), EscrowError::Signature);
    assert_eq!(refused(&case, &[&[0], &case.signature[..]].concat()), EscrowError::Signature);
    assert_eq!(refused(&case, &[0; 256]), EscrowError::Signature);
    assert_eq!(refused(&case, &[0xff; 256]), EscrowError::Signature);
    for other in ["rsa-2048 e=65537 pkcs1 sha384", "rsa-2048 e=65537 pss sha256 salt 32"] {
        assert_eq!(
            refused(&case, &Case::rsa(Suite::FAST, other).signature),
            EscrowError::Signature,
            "{other}"
        );
    }
}

/// S30: an escrow is made, checked and opened for one arbiter and one epoch; old epochs open what is theirs.
#[test]
fn epochs_are_kept_apart() {
    let seed = Zeroizing::new([0x41; 32]);
    let epoch = |number| EscrowSecret::from_seed(&seed, [0x42; 32], number).unwrap();
    let case = Case::ed25519(Suite::FAST);
    let escrow = case.make(1);
    let statement = case.statement.statement().unwrap();
    let open =
        |secret: &EscrowSecret| arbiter_protocol::escrow::open(&escrow, &statement, &case.label, secret);
    assert_eq!(*open(&epoch(7)).unwrap(), case.signature);
    assert_ne!(epoch(7).public().as_bytes(), epoch(8).public().as_bytes());
    assert_eq!(open(&epoch(8)).unwrap_err(), EscrowError::WrongEpoch { label: 7, key: 8 });
    assert_eq!(
        format!("{:?}", epoch(7).public()),
        format!(
            "EscrowKey {{ arbiter: {:?}, epoch: 7, bytes: {:?} }}",
            hex::encode([0x42; 32]),
            hex::encode(epoch(7).public().as_bytes())
        )
    );
    let other = EscrowSecret::from_seed(&seed, [0x99; 32], 7).unwrap();
    assert_eq!(open(&other).unwrap_err(), EscrowError::WrongArbiter);
    let other = EscrowSecret::from_seed(&Zeroizing::new([0x40; 32]), [0x42; 32], 7).unwrap();
    assert_eq!(open(&other).unwrap_err(), EscrowError::Context);
    let mut wrong = case.clone();
    wrong.key = epoch(8).public().clone();
    assert_eq!(refused(&wrong, &case.signature), EscrowError::WrongEpoch { label: 7, key: 8 });
    wrong.key = EscrowSecret::from_seed(&seed, [0x99; 32], 7).unwrap().public().clone();
    assert_eq!(refused(&wrong, &case.signature), EscrowError::WrongArbiter);
}

/// S27: the arbiter is no oracle. Ciphertexts that were moved to another label, with everything else rewritten to
/// fit, and responses that were changed, do not open.
#[test]
fn ciphertexts_cannot_be_moved_or_mauled() {
    for case in [Case::ed25519(Suite::FAST), Case::rsa(Suite::FAST, RSA)] {
        let escrow = case.make(1).to_bytes();
        let mut other = case.clone();
        other.label.exchange[0] ^= 1;
        let target = other.make(1).to_bytes();
        let header = case.statement.header();
        // All of the escrow but its context: salt, challenge, nodes and instances.
        let moved = splice(&escrow, header, 32, &target[header..header + 32]);
        assert_eq!(other.check(&escrow).unwrap_err(), EscrowError::Context);
        assert_eq!(other.open(&escrow).unwrap_err(), EscrowError::Context);
        assert_eq!(other.check(&moved).unwrap_err(), EscrowError::Challenge);
        assert_eq!(other.open(&moved).unwrap_err(), EscrowError::Unopenable);
        // Every response changed.
        let each = case.statement.width() + 48;
        let mut mauled = escrow.clone();
        let start = escrow.len() - 64 * each;
        for it in mauled[start..].chunks_mut(each) {
            // A low byte of a number of either order; the number stays in range.
            it[case.statement.width() / 2] ^= 1;
        }
        assert!(case.check(&mauled).is_err());
        assert_eq!(case.open(&mauled).unwrap_err(), EscrowError::Unopenable);
    }
}

/// An Ed25519 signature with a chosen nonce.
fn sign_with_nonce(secret: &Scalar, nonce: &Scalar, message: &[u8]) -> ([u8; 32], [u8; 64], Scalar) {
    let key = EdwardsPoint::mul_base(secret).compress().to_bytes();
    let point = EdwardsPoint::mul_base(nonce).compress().to_bytes();
    let hash = Sha512::new().chain_update(point).chain_update(key).chain_update(message);
    let c = Scalar::from_bytes_mod_order_wide(&hash.finalize().into());
    let s = (nonce + c * secret).to_bytes();
    (key, [point, s].concat().try_into().unwrap(), c)
}

/// S29: the same nonce for two messages gives the key away; it is detected and refused.
#[test]
fn a_reused_nonce_is_refused() {
    let (secret, nonce) = (Scalar::from(0x1234_5678_9abc_u64), Scalar::from(0xdef0_1234_u64));
    let verified = |message: &[u8], nonce: &Scalar, randomness| {
        let (key, signature, _) = sign_with_nonce(&secret, nonce, message);
        let mut case = Case::ed25519(Suite::FAST);
        case.statement = Owned::Ed25519 { key, message: message.to_vec() };
        case.signature = signature.to_vec();
        case.check(&case.make(randomness).to_bytes()).unwrap()
    };
    let (first, again, second) =
        (verified(b"1", &nonce, 1), verified(b"1", &nonce, 2), verified(b"2", &nonce, 3));
    let fresh = verified(b"2", &(nonce + Scalar::ONE), 4);
    assert!(first.reuses_nonce_of(&second) && second.reuses_nonce_of(&again));
    assert!(!first.reuses_nonce_of(&again) && !first.reuses_nonce_of(&fresh));
    let mut register = NonceRegister::default();
    for it in [&first, &again, &fresh, &first] {
        assert_eq!(register.observe(it), Ok(()));
    }
    assert_eq!(register.observe(&second), Err(EscrowError::NonceReused));
    assert_eq!(register.observe(&first), Ok(()), "a refused use is not remembered");

    // What a durable register keeps of it: the same from the finished signature as from the escrow.
    let (key, signature, _) = sign_with_nonce(&secret, &nonce, b"1");
    let statement = Owned::Ed25519 { key, message: b"1".to_vec() };
    let used = NonceUse::of(&signature, &statement.statement().unwrap()).unwrap();
    assert_eq!(first.nonce_use(), Some(&used));
    assert_eq!(used.place().to_vec(), [key, signature[..32].try_into().unwrap()].concat());
    assert_eq!(used.message().to_vec(), Sha512::digest(b"1").to_vec());
    let rsa = Case::rsa(Suite::FAST, RSA);
    assert_eq!(NonceUse::of(&rsa.signature, &rsa.statement.statement().unwrap()), None);

    // Why it must be refused: s1 - s2 = (c1 - c2)·a.
    let ((_, one, c1), (_, two, c2)) =
        (sign_with_nonce(&secret, &nonce, b"1"), sign_with_nonce(&secret, &nonce, b"2"));
    let s = |it: [u8; 64]| Scalar::from_canonical_bytes(it[32..].try_into().unwrap()).unwrap();
    assert_eq!((s(one) - s(two)) * (c1 - c2).invert(), secret);
}

/// S28: every RSA signature there is, the odd keys and 8192 bits included, comes back byte for byte.
#[test]
fn all_rsa_signatures_come_back() {
    let all = rsa_signatures();
    assert!(all.len() >= 17);
    for it in all {
        let name = it["name"].as_str().unwrap();
        let case = Case::rsa(Suite::FAST, name);
        if let Some(bits) = name.strip_prefix("rsa-").and_then(|it| it.split(' ').next()) {
            let Owned::Rsa { modulus, .. } = &case.statement else { panic!("{name}") };
            let first = u32::from(modulus[0]).ilog2() as usize;
            assert_eq!(bits, (8 * (modulus.len() - 1) + first + 1).to_string());
        }
        let escrow = case.make(1).to_bytes();
        assert!(escrow.len() < ESCROW_BYTES);
        case.check(&escrow).unwrap();
        assert_eq!(case.open(&escrow).unwrap(), case.signature, "{}", it["name"]);
    }
}

/// for every kind of key an escrow belongs to its own statement, holds its own signature and is known by
/// its own context, and by no other, whatever it was drawn from.
#[test]
fn an_escrow_belongs_to_one_statement_and_holds_one_signature() {
    let (suite, pss) = (Suite::FAST, "rsa-2048 e=65537 pss sha256 salt 32");
    let cases = [
        Case::ed25519(suite),
        Case::signed(suite, 0x52, MESSAGE),
        Case::rsa(suite, RSA),
        Case::rsa(suite, pss),
        Case::rsa(suite, "rsa-3072 e=65537 pkcs1 sha256"),
    ];
    for (number, case) in cases.iter().enumerate() {
        let escrow = case.make(1);
        let context =
            |case: &Case, randomness| *case.check(&case.make(randomness).to_bytes()).unwrap().context();
        let own = context(case, 1);
        assert_eq!(own, context(case, 2));
        for (other_number, other) in cases.iter().enumerate() {
            let (same, statement) = (number == other_number, other.statement.statement().unwrap());
            let place = format!("{number} and {other_number}");
            assert_eq!(belongs(&escrow, &statement, &other.label, &other.key).is_ok(), same, "{place}");
            assert_eq!(holds(&escrow, &other.signature, &statement), same, "{place}");
            assert_eq!(own == context(other, 1), same, "{place}");
        }
        assert!(!holds(&escrow, &[], &case.statement.statement().unwrap()));
    }
}

/// The sizes that the documentation names are the largest of many, and the goals of the design.
#[test]
fn sizes_are_those_of_the_design() {
    for (suite, ed25519, rsa) in
        [(Suite::FAST, 6200, 20_600), (Suite::BALANCED, 3900, 10_800), (Suite::COMPACT, 3400, 8_000)]
    {
        for randomness in 0..8 {
            assert!(Case::ed25519(suite).make(randomness).to_bytes().len() <= ed25519, "{}", suite.name());
        }
        assert!(Case::rsa(suite, RSA).make(1).to_bytes().len() <= rsa, "{}", suite.name());
    }
    assert_eq!(arbiter().public().epoch(), 7);
    assert_eq!(Case::ed25519(Suite::FAST).label.to_bytes().len(), Label::BYTES);
}
