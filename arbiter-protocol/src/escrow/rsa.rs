//! RSA: Y = EM, ψ(σ) = σ^e mod n, and σ is the signature.
//!
//! Nothing about n is assumed but that it is odd and of a sensible size: a signer may choose its key as badly as it
//! likes, what the arbiter opens still satisfies σ^e = EM, and a verifier asks for nothing else. Masks come from 128
//! bits more than the modulus has, so they are uniform but for 2^-128.
//!
//! Masks r and responses z are kept *scaled*, as x / S with S = 2^192 · R, R being the radix of Montgomery's form: that
//! is x after three steps of Montgomery's reduction, which cost less than a division. One factor then does for all
//! instances what would be a conversion into his form and one out of it for each:
//!
//! ```text
//!   x ── 3 steps ──▶ x/S ── ^e ──▶ x^e/S^e ── · S^e/R ──▶ x^e/R, whose Montgomery form is x^e     (hidden: · S^e/(R·Y))
//! ```

use crypto_bigint::Resize as _;
use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{
    BoxedUint, ConcatenatingMul as _, CtAssign as _, Gcd as _, MontyForm, MontyMultiplier as _,
};
use zeroize::Zeroizing;

use super::emsa::{RsaHash, RsaPadding, encode, pss_salt};
use super::encoding::MODULUS_BYTES;
use super::error::EscrowError;
use super::proof::Homomorphism;
use super::transcript::Hash;
use super::tree::Seed;

type Multiplier<'a> = <BoxedMontyForm as MontyForm>::Multiplier<'a>;

/// Bits that the reduction takes off: 64 more than a mask has too many, so what is left is below 2n.
const SHIFT: u32 = 192;

/// Which key signs which message, and how.
#[derive(Clone)]
pub(super) struct Rsa<'a> {
    pub(super) modulus: &'a [u8],
    pub(super) exponent: u32,
    pub(super) padding: RsaPadding,
    pub(super) hash: RsaHash,
    pub(super) digest: Vec<u8>,
    bits: usize,
    field: BoxedMontyParams,
    /// -1/n modulo 2^192.
    negative_inverse: BoxedUint,
}

impl<'a> Rsa<'a> {
    /// Modulus and exponent are big endian without leading zero bytes.
    pub(super) fn new(
        modulus: &'a [u8],
        exponent: &[u8],
        padding: RsaPadding,
        hash: RsaHash,
        message: &[u8],
    ) -> Result<Self, EscrowError> {
        let zeros = modulus.first().map_or(8, |byte| byte.leading_zeros());
        let bits = (8 * modulus.len()).saturating_sub(usize::try_from(zeros).unwrap_or(8));
        if zeros == 8 || !(2048..=8192).contains(&bits) || !MODULUS_BYTES.contains(&modulus.len()) {
            return Err(EscrowError::ModulusSize { bits });
        }
        let exponent = exponent_of(exponent)?;
        let integer = BoxedUint::from_be_slice_vartime(modulus);
        let odd = Option::from(integer.to_odd()).ok_or(EscrowError::ModulusEven)?;
        let negative_inverse = integer.resize_unchecked(SHIFT).invert_mod2k_vartime(SHIFT).0.wrapping_neg();
        let field = BoxedMontyParams::new_vartime(odd);
        let digest = hash.digest(&[message]);
        Ok(Self { modulus, exponent, padding, hash, digest, bits, field, negative_inverse })
    }

    pub(super) fn width(&self) -> usize {
        self.modulus.len()
    }

    /// The statement that belongs to a salt.
    pub(super) fn with_salt(&self, salt: &[u8]) -> Result<Power<'_>, EscrowError> {
        let em = encode(self.padding, self.hash, &self.digest, salt, self.bits)?;
        let target = self.element(&em).ok_or(EscrowError::EncodedMessage)?;
        // Also refuses EM = 0.
        if !bool::from(self.field.modulus().gcd_vartime(target.as_montgomery()).is_one()) {
            return Err(EscrowError::EncodedMessage);
        }
        let shift = BoxedMontyForm::new(self.power_of_two(SHIFT), &self.field);
        let one = BoxedMontyForm::one(&self.field);
        let radix = BoxedMontyForm::new(one.to_montgomery(), &self.field);
        let radix_inverse = BoxedMontyForm::from_montgomery(self.power_of_two(0), &self.field);
        let factor = self.power(&mut self.multiplier(), &shift.mul(&radix)).mul(&radix_inverse);
        Ok(Power { statement: self, target, shift, factor })
    }

    /// The salt and σ of a finished signature, when it is one.
    pub(super) fn split(&self, signature: &[u8]) -> Option<(Vec<u8>, Zeroizing<BoxedMontyForm>)> {
        if signature.len() != self.width() {
            return None;
        }
        let sigma = Zeroizing::new(self.element(signature)?);
        let em = self.bytes(&self.power(&mut self.multiplier(), &sigma).retrieve());
        let salt = match self.padding {
            RsaPadding::Pkcs1 => Vec::new(),
            RsaPadding::Pss => pss_salt(self.hash, &em, self.bits)?,
        };
        let expected = encode(self.padding, self.hash, &self.digest, &salt, self.bits).ok()?;
        (em == expected).then_some((salt, sigma))
    }

    fn precision(&self) -> u32 {
        self.field.bits_precision()
    }

    fn multiplier(&self) -> Multiplier<'_> {
        Multiplier::from(&self.field)
    }

    /// 2^exponent, which is below n.
    fn power_of_two(&self, exponent: u32) -> BoxedUint {
        BoxedUint::one_with_precision(self.precision()).unbounded_shl_vartime(exponent)
    }

    /// A number below n from exactly as many bytes as n has.
    fn integer(&self, bytes: &[u8]) -> Option<Zeroizing<BoxedUint>> {
        if bytes.len() != self.width() {
            return None;
        }
        let integer = Zeroizing::new(BoxedUint::from_be_slice(bytes, self.precision()).ok()?);
        // Whether the number is in range is public: the bytes come from the peer, or are refused.
        (*integer < **self.field.modulus()).then_some(integer)
    }

    fn element(&self, bytes: &[u8]) -> Option<BoxedMontyForm> {
        self.integer(bytes).map(|it| BoxedMontyForm::new((*it).clone(), &self.field))
    }

    /// x / S, of a number with at most 16 bytes more than n, in time that depends on the lengths alone.
    pub(super) fn scaled(&self, bytes: &[u8]) -> Zeroizing<BoxedMontyForm> {
        let modulus = self.field.modulus().as_ref();
        // Room for x + (2^192 - 1)·n.
        let room = self.precision() + SHIFT + 64;
        let mut x = Zeroizing::new(BoxedUint::from_be_slice_truncated(bytes, room));
        // The multiple of n that makes the last 192 bits zero.
        let low = Zeroizing::new(BoxedUint::from_be_slice_truncated(bytes, SHIFT));
        let times = Zeroizing::new(low.wrapping_mul(&self.negative_inverse));
        x.wrapping_add_assign(&*Zeroizing::new(modulus.concatenating_mul(&*times)));
        x.unbounded_shr_assign_vartime(SHIFT);
        // n has all its bytes, so x < 2^(8·bytes - 64) + n < 2n.
        let (less, below) = x.underflowing_sub(modulus);
        let less = Zeroizing::new(less);
        x.ct_assign(&less, !below);
        let out = (&*x).resize_unchecked(self.precision());
        Zeroizing::new(BoxedMontyForm::from_montgomery(out, &self.field))
    }

    /// x^e, in time that depends on e alone.
    fn power(&self, multiplier: &mut Multiplier<'_>, base: &BoxedMontyForm) -> BoxedMontyForm {
        let mut out = base.clone();
        let length = u32::BITS - self.exponent.leading_zeros();
        for bit in (0..length.saturating_sub(1)).rev() {
            multiplier.square_assign(&mut out);
            if self.exponent >> bit & 1 == 1 {
                multiplier.mul_assign(&mut out, base);
            }
        }
        out
    }

    /// As many bytes as the modulus has.
    fn bytes(&self, integer: &BoxedUint) -> Vec<u8> {
        let all = Zeroizing::new(integer.to_be_bytes().into_vec());
        all.get(all.len().saturating_sub(self.width())..).unwrap_or_default().to_vec()
    }
}

/// An odd number from 3 to 2^32 - 1 without leading zero bytes.
fn exponent_of(bytes: &[u8]) -> Result<u32, EscrowError> {
    if bytes.len() > 4 {
        return Err(EscrowError::ExponentSize);
    }
    let value = bytes.iter().fold(0u32, |value, byte| value << 8 | u32::from(*byte));
    if value < 3 || value % 2 == 0 || bytes.first() == Some(&0) {
        return Err(EscrowError::Exponent(value.into()));
    }
    Ok(value)
}

/// The statement EM of one signature.
pub(super) struct Power<'a> {
    statement: &'a Rsa<'a>,
    target: BoxedMontyForm,
    /// 2^192.
    shift: BoxedMontyForm,
    /// S^e / R.
    factor: BoxedMontyForm,
}

impl Power<'_> {
    /// The bytes of x^e, or x^e / Y, from scaled x.
    fn powers(&self, scaled: &[Zeroizing<BoxedMontyForm>], factor: &BoxedMontyForm) -> Vec<Vec<u8>> {
        let mut multiplier = self.statement.multiplier();
        let image = |x: &Zeroizing<BoxedMontyForm>| {
            let mut out = self.statement.power(&mut multiplier, x);
            multiplier.mul_assign(&mut out, factor);
            self.statement.bytes(out.as_montgomery())
        };
        scaled.iter().map(image).collect()
    }
}

impl Homomorphism for Power<'_> {
    /// A witness as it is; masks and responses scaled.
    type Element = Zeroizing<BoxedMontyForm>;
    /// S^e / (R·Y).
    type Divisor = BoxedMontyForm;

    fn statement(&self) -> Vec<u8> {
        self.statement.bytes(&self.target.retrieve())
    }

    fn mask(&self, session: &[u8; 32], index: u16, seed: &Seed) -> Self::Element {
        let length = self.statement.width() + 16;
        // Room for whole blocks: the buffer never moves.
        let mut bytes = Zeroizing::new(Vec::with_capacity(length + 64));
        for block in 0u32.. {
            let hash = Hash::new("mask").part(session).number(index.into()).part(&**seed).number(block);
            bytes.extend_from_slice(&*hash.wide());
            if bytes.len() >= length {
                break;
            }
        }
        bytes.truncate(length);
        self.statement.scaled(&bytes)
    }

    fn images(&self, masks: &[Self::Element]) -> Vec<Vec<u8>> {
        self.powers(masks, &self.factor)
    }

    fn blind<'a>(
        &self,
        masks: impl Iterator<Item = &'a Self::Element>,
        witness: &Self::Element,
    ) -> Vec<Vec<u8>>
    where
        Self: 'a,
    {
        // r/S · 2^192·w = r·w/R, whose Montgomery form is r·w.
        let shifted = Zeroizing::new(witness.mul(&self.shift));
        masks.map(|mask| self.statement.bytes(mask.mul(&shifted).as_montgomery())).collect()
    }

    fn encode(&self, witness: &Self::Element) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.statement.bytes(&Zeroizing::new(witness.retrieve())))
    }

    fn response(&self, bytes: &[u8]) -> Option<Self::Element> {
        let integer = self.statement.integer(bytes)?;
        bool::from(integer.is_nonzero()).then(|| self.statement.scaled(bytes))
    }

    fn divisor(&self, responses: &[Self::Element]) -> Result<Self::Divisor, EscrowError> {
        // The product is a unit exactly when every factor is. EM is one, so one inversion serves the test and 1/Y.
        let one = BoxedMontyForm::one(&self.statement.field);
        let mut multiplier = self.statement.multiplier();
        let product = responses.iter().fold(one, |mut product, it| {
            multiplier.mul_assign(&mut product, it);
            product
        });
        let inverse: Option<BoxedMontyForm> = product.mul(&self.target).invert_vartime().into();
        let inverse = inverse.ok_or(EscrowError::ResponseFactor)?.mul(&product);
        Ok(self.factor.mul(&inverse))
    }

    fn hidden_images(&self, responses: &[Self::Element], divisor: &Self::Divisor) -> Vec<Vec<u8>> {
        self.powers(responses, divisor)
    }

    fn finish(&self, response: &Self::Element, mask: &Self::Element) -> Option<Zeroizing<Vec<u8>>> {
        // z/r = z·z / (z·r): the one inversion also finds out whether z is a unit.
        let product = Zeroizing::new(response.mul(mask));
        let inverse = Zeroizing::new(Option::<BoxedMontyForm>::from(product.invert())?);
        let sigma = Zeroizing::new(Zeroizing::new(inverse.mul(response)).mul(response));
        // EM as a whole is compared, so this is the strict check: σ < n, and its length is that of n.
        let image = self.statement.power(&mut self.statement.multiplier(), &sigma);
        (image == self.target).then(|| self.encode(&sigma))
    }
}
