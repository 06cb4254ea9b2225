//! RSA: Y = EM, ψ(σ) = σ^e mod n, and σ is the signature.
//!
//! Nothing about n is assumed but that it is odd and of a sensible size: a signer may choose its key as badly as it
//! likes, what the arbiter opens still satisfies σ^e = EM, and a verifier asks for nothing else. Masks come from 128
//! bits more than the modulus has, so they are uniform but for 2^-128.

use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, MontyForm, MontyMultiplier as _};
use zeroize::Zeroizing;

use super::emsa::{RsaHash, RsaPadding, encode, pss_salt};
use super::encoding::{Hidden, MODULUS_BYTES};
use super::error::EscrowError;
use super::proof::Homomorphism;
use super::transcript::Hash;
use super::tree::Seed;

type Multiplier<'a> = <BoxedMontyForm as MontyForm>::Multiplier<'a>;

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
        let field = BoxedMontyParams::new_vartime(odd);
        Ok(Self { modulus, exponent, padding, hash, digest: hash.digest(&[message]), bits, field })
    }

    pub(super) fn width(&self) -> usize {
        self.modulus.len()
    }

    /// The statement that belongs to a salt.
    pub(super) fn with_salt(&self, salt: &[u8]) -> Result<Power<'_>, EscrowError> {
        let em = encode(self.padding, self.hash, &self.digest, salt, self.bits)?;
        let target = self.element(&em).ok_or(EscrowError::EncodedMessage)?;
        // Also refuses EM = 0 and an EM that shares a factor with n.
        let inverse = Option::from(target.invert_vartime()).ok_or(EscrowError::EncodedMessage)?;
        Ok(Power { statement: self, target, inverse })
    }

    /// The salt and σ of a finished signature, when it is one.
    pub(super) fn split(&self, signature: &[u8]) -> Option<(Vec<u8>, Zeroizing<BoxedMontyForm>)> {
        if signature.len() != self.width() {
            return None;
        }
        let sigma = Zeroizing::new(self.element(signature)?);
        let em = self.bytes(&self.power(&sigma));
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

    /// A number below n from exactly as many bytes as n has.
    fn element(&self, bytes: &[u8]) -> Option<BoxedMontyForm> {
        if bytes.len() != self.width() {
            return None;
        }
        let integer = Zeroizing::new(BoxedUint::from_be_slice(bytes, self.precision()).ok()?);
        // Whether the number is in range is public: the bytes come from the peer, or are refused.
        let below = *integer < **self.field.modulus();
        below.then(|| BoxedMontyForm::new((*integer).clone(), &self.field))
    }

    /// x^e, in time that depends on e alone.
    fn power(&self, base: &BoxedMontyForm) -> BoxedMontyForm {
        let mut multiplier = Multiplier::from(&self.field);
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
    fn bytes(&self, element: &BoxedMontyForm) -> Vec<u8> {
        let integer = Zeroizing::new(element.retrieve());
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
    inverse: BoxedMontyForm,
}

impl Homomorphism for Power<'_> {
    type Element = Zeroizing<BoxedMontyForm>;

    fn statement(&self) -> Vec<u8> {
        self.statement.bytes(&self.target)
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
        let precision = u32::try_from(8 * length).unwrap_or(u32::MAX);
        let wide = Zeroizing::new(BoxedUint::from_be_slice_truncated(&bytes, precision));
        let field = &self.statement.field;
        Zeroizing::new(BoxedMontyForm::new(wide.rem(field.modulus().as_nz_ref()), field))
    }

    fn images(&self, masks: &[Self::Element]) -> Vec<Vec<u8>> {
        masks.iter().map(|mask| self.statement.bytes(&self.statement.power(mask))).collect()
    }

    fn blind(&self, mask: &Self::Element, witness: &Self::Element) -> Vec<u8> {
        self.statement.bytes(&mask.mul(witness))
    }

    fn encode(&self, witness: &Self::Element) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.statement.bytes(witness))
    }

    fn responses(&self, hidden: &[Hidden]) -> Result<Vec<Self::Element>, EscrowError> {
        let read = |(position, it): (usize, &Hidden)| {
            let element = self.statement.element(&it.response).filter(|it| bool::from(it.is_nonzero()));
            element.map(Zeroizing::new).ok_or(EscrowError::Response { position })
        };
        let responses = hidden.iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?;
        // The product is a unit exactly when every factor is: one inversion for all.
        let one = BoxedMontyForm::one(&self.statement.field);
        let product = responses.iter().fold(one, |product, it| product.mul(it));
        if bool::from(product.invert_vartime().is_some()) {
            Ok(responses)
        } else {
            Err(EscrowError::ResponseFactor)
        }
    }

    fn hidden_images(&self, responses: &[Self::Element]) -> Vec<Vec<u8>> {
        let image = |z: &Self::Element| self.statement.bytes(&self.statement.power(z).mul(&self.inverse));
        responses.iter().map(image).collect()
    }

    fn finish(&self, response: &Self::Element, mask: &Self::Element) -> Option<Zeroizing<Vec<u8>>> {
        let inverse = Zeroizing::new(Option::<BoxedMontyForm>::from(mask.invert())?);
        let sigma = Zeroizing::new(response.mul(&inverse));
        // EM as a whole is compared, so this is the strict check: σ < n, and its length is that of n.
        (self.statement.power(&sigma) == self.target).then(|| self.encode(&sigma))
    }
}
