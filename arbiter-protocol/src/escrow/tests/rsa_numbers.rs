//! RSA's arithmetic against plain arithmetic, and the statements that only a malicious signer makes (S28).

use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, ConcatenatingMul as _, Gcd as _, Odd};

use super::*;
use crate::escrow::tree::Seed;

/// As long as there is, with bits set all over: squares and products in an order of their own.
const EXPONENT: u32 = 0xa901_0305;

/// The first number from here on, up or down, that has no odd prime factor below 300: with small factors, too many
/// numbers are not invertible.
fn rough(start: BoxedUint, up: bool) -> BoxedUint {
    let primes = (3u32..300).filter(|it| it % 2 == 1 && (3..*it).all(|divisor| it % divisor != 0));
    let primes =
        primes.fold(BoxedUint::one_with_precision(2048), |all, it| all.wrapping_mul(BoxedUint::from(it)));
    let two = BoxedUint::from(2u32);
    let mut number = start;
    while !bool::from(number.clone().to_odd().unwrap().gcd_vartime(&primes).is_one()) {
        number = if up { number.wrapping_add(&two) } else { number.wrapping_sub(&two) };
    }
    number
}

/// Moduli of `width` bytes: near the largest there is, near the smallest, and between.
fn moduli(width: usize) -> Vec<Vec<u8>> {
    let of = |first: u8, middle: u8, last: u8, up| {
        let mut bytes = vec![middle; width];
        (bytes[0], bytes[width - 1]) = (first, last);
        encoded(&rough(BoxedUint::from_be_slice_vartime(&bytes), up), width)
    };
    let first = if width == 256 { 0x80 } else { 1 };
    vec![of(0xff, 0xff, 0xff, false), of(first, 0, 1, true), of(0xc5, 0x3a, 0x6b, true)]
}

fn integer(bytes: &[u8], precision: u32) -> BoxedUint {
    BoxedUint::from_be_slice(bytes, precision).unwrap()
}

fn rsa<'a>(modulus: &'a [u8], exponent: &[u8]) -> rsa::Rsa<'a> {
    rsa::Rsa::new(modulus, exponent, RsaPadding::Pkcs1, RsaHash::Sha256, MESSAGE).unwrap()
}

/// x^e mod n by the library's own ways: a division, then a power.
fn plain_power(x: &BoxedUint, exponent: u32, n: &Odd<BoxedUint>) -> BoxedMontyForm {
    let field = BoxedMontyParams::new_vartime(n.clone());
    BoxedMontyForm::new(x.rem(n.as_nz_ref()), &field).pow(&BoxedUint::from(exponent))
}

fn encoded(x: &BoxedUint, width: usize) -> Vec<u8> {
    let all = x.to_be_bytes().into_vec();
    all[all.len() - width..].to_vec()
}

/// Masks, images, responses and what is left when they are taken apart, for moduli at the edges of their sizes.
#[test]
fn scaled_numbers_are_the_numbers() {
    for width in [256, 257, 263, 264, 384, 1024] {
        for modulus in moduli(width) {
            let n = BoxedUint::from_be_slice_vartime(&modulus).to_odd().unwrap();
            let field = BoxedMontyParams::new_vartime(n.clone());
            let it = rsa(&modulus, &EXPONENT.to_be_bytes());
            let map = it.with_salt(&[]).unwrap();
            let em = integer(&map.statement(), field.bits_precision());
            let mut elements = Vec::new();
            for seed in 0..3u8 {
                let mask = map.mask(&[seed; 32], u16::from(seed), &Seed::new([seed; 16]));
                // The specification's own words: blocks of the hash, big endian, modulo n.
                let block = |number: u32| {
                    let hash = Hash::new("mask").part(&[seed; 32]).number(seed.into());
                    hash.part(&[seed; 16]).number(number).wide().to_vec()
                };
                let bytes: Vec<u8> = (0..).flat_map(block).take(width + 16).collect();
                let wide = BoxedUint::from_be_slice_vartime(&bytes);
                let image = plain_power(&wide, EXPONENT, &n).retrieve();
                assert_eq!(map.images(std::slice::from_ref(&mask))[0], encoded(&image, width));
                // z = r · w, for w = EM, as good a number as any.
                let witness = BoxedMontyForm::new(em.clone(), &field);
                let r = BoxedMontyForm::new(wide.rem(n.as_nz_ref()), &field);
                let z = map.blind([&mask].into_iter(), &Zeroizing::new(witness.clone()));
                assert_eq!(z[0], encoded(&r.mul(&witness).retrieve(), width));
                elements.push((z[0].clone(), r.mul(&witness)));
            }
            let mut largest = modulus.clone();
            largest[width - 1] -= 1;
            let mut one = vec![0; width];
            one[width - 1] = 1;
            for bytes in [largest, one] {
                let element = BoxedMontyForm::new(integer(&bytes, field.bits_precision()), &field);
                elements.push((bytes, element));
            }
            let read: Vec<_> = elements.iter().filter_map(|(bytes, _)| map.response(bytes)).collect();
            let Ok(divisor) = map.divisor(&read) else { panic!("all of them are units") };
            let inverse = BoxedMontyForm::new(em, &field).invert_vartime().unwrap();
            let images = map.hidden_images(&read, &divisor);
            assert_eq!(images.len(), 5);
            for (image, (_, z)) in images.iter().zip(&elements) {
                let expected = z.pow(&BoxedUint::from(EXPONENT)).mul(&inverse);
                assert_eq!(*image, encoded(&expected.retrieve(), width));
            }
        }
    }
}

/// The last subtraction of the reduction, which a hash asks for once in 2^64 times.
#[test]
fn the_reduction_is_complete() {
    for width in [256, 257, 264, 1024] {
        for modulus in moduli(width) {
            let it = rsa(&modulus, &[3]);
            let n = BoxedUint::from_be_slice_vartime(&modulus).to_odd().unwrap();
            let field = BoxedMontyParams::new_vartime(n.clone());
            let shift = BoxedUint::one_with_precision(field.bits_precision()).unbounded_shl_vartime(192);
            let mut wide = vec![0xff; width + 16];
            let mut subtracted = wide.clone();
            // Then (2^192 - 1)·n is added to more than n.
            subtracted[width - 8..].copy_from_slice(&modulus[width - 24..]);
            let mut all = vec![subtracted, vec![0; width + 16], modulus.clone(), vec![0xff; width]];
            for at in [0, width / 2, width + 15] {
                wide[at] = 0x7f;
                all.push(wide.clone());
            }
            for bytes in all {
                let reduced = it.scaled(&bytes).as_montgomery().clone();
                assert!(reduced < *n);
                let back =
                    BoxedMontyForm::new(reduced, &field).mul(&BoxedMontyForm::new(shift.clone(), &field));
                let expected = BoxedUint::from_be_slice_vartime(&bytes).rem(n.as_nz_ref());
                assert_eq!(encoded(&back.retrieve(), width), encoded(&expected, width));
            }
        }
    }
}

/// S28: z = 0, z = n and z of another length are no responses; e = 1, even and huge, n even are no keys.
#[test]
fn numbers_out_of_range_are_refused() {
    let modulus = &moduli(256)[2];
    let it = rsa(modulus, &[3]);
    let map = it.with_salt(&[]).unwrap();
    for z in [&vec![0; 256], modulus, &vec![0xff; 256], &vec![1; 255], &vec![1; 257], &vec![]] {
        assert!(map.response(z).is_none());
    }
    assert!(map.response(&vec![1; 256]).is_some());
    let refused = |modulus: &[u8], exponent: &[u8]| {
        let made = rsa::Rsa::new(modulus, exponent, RsaPadding::Pkcs1, RsaHash::Sha256, MESSAGE);
        made.err().expect("no key")
    };
    assert_eq!(refused(modulus, &[1]), EscrowError::Exponent(1));
    assert_eq!(refused(modulus, &[4]), EscrowError::Exponent(4));
    assert_eq!(refused(modulus, &[0xff; 5]), EscrowError::ExponentSize);
    let mut even = modulus.clone();
    even[255] ^= 1;
    assert_eq!(refused(&even, &[3]), EscrowError::ModulusEven);
}

/// S28: n and EM with a common factor, and n and z with one: neither is a unit, and each has its own answer.
#[test]
fn common_factors_are_refused() {
    let remainder = |bytes: &[u8]| bytes.iter().fold(0, |rest, byte| (rest * 256 + u32::from(*byte)) % 3);
    // A third of the largest number, times three.
    let third = rough(BoxedUint::from_be_slice_vartime(&[0x55; 256]), false);
    let modulus = encoded(&third.concatenating_mul(BoxedUint::from(3u32)), 256);
    let like = &moduli(256)[0];
    let mut seen = [false; 2];
    for number in 0..40u8 {
        let message = [number];
        let it = rsa::Rsa::new(&modulus, &[3], RsaPadding::Pkcs1, RsaHash::Sha256, &message).unwrap();
        // EM from a modulus of the same length.
        let other = rsa::Rsa::new(like, &[3], RsaPadding::Pkcs1, RsaHash::Sha256, &message).unwrap();
        let em = other.with_salt(&[]).unwrap().statement();
        let divisible = remainder(&em) == 0;
        seen[usize::from(divisible)] = true;
        match it.with_salt(&[]) {
            Err(error) => assert!(divisible && error == EscrowError::EncodedMessage),
            Ok(map) => {
                assert!(!divisible);
                let mut three = vec![0; 256];
                three[255] = 3;
                let three = map.response(&three).expect("in range");
                assert_eq!(
                    map.divisor(std::slice::from_ref(&three)).err(),
                    Some(EscrowError::ResponseFactor)
                );
                // What the arbiter makes of it: nothing.
                assert!(map.finish(&three, &map.mask(&[0; 32], 0, &Seed::new([0; 16]))).is_none());
            }
        }
    }
    assert_eq!(seen, [true, true]);
}
