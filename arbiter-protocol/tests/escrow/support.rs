//! What the escrow tests share: one arbiter, one label, keys and finished signatures.

use arbiter_protocol::escrow::{
    Escrow, EscrowError, EscrowKey, EscrowSecret, Label, RsaHash, RsaPadding, Side, Statement, Suite,
    Verified, check, make, open,
};
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::Value;
use zeroize::Zeroizing;

pub const MESSAGE: &[u8] = b"I sell my bicycle to Bob for 200 euro.";

/// The arbiter's escrow key of epoch 7.
pub fn arbiter() -> EscrowSecret {
    EscrowSecret::from_seed(&Zeroizing::new([0x41; 32]), [0x42; 32], 7).unwrap()
}

pub fn label(suite: Suite) -> Label {
    Label {
        suite,
        arbiter: [0x42; 32],
        epoch: 7,
        exchange: [0x43; 32],
        protocol: 1,
        first: Side::Originator,
        signer: Side::Originator,
        originator: [0x44; 32],
        responder: [0x45; 32],
        agreement: [0x46; 32],
        item: [0x47; 32],
        counter_item: [0x48; 32],
        expires: 1_795_132_800_000,
        complain_by: 1_795_219_200_000,
    }
}

/// A statement that owns what it is made from.
#[derive(Clone, Debug, PartialEq)]
pub enum Owned {
    Ed25519 { key: [u8; 32], message: Vec<u8> },
    Rsa { modulus: Vec<u8>, exponent: Vec<u8>, padding: RsaPadding, hash: RsaHash, message: Vec<u8> },
}

impl Owned {
    pub fn statement(&self) -> Result<Statement<'_>, EscrowError> {
        match self {
            Self::Ed25519 { key, message } => Statement::ed25519(*key, message),
            Self::Rsa { modulus, exponent, padding, hash, message } => {
                Statement::rsa(modulus, exponent, *padding, *hash, message)
            }
        }
    }

    /// Bytes before the context in an escrow of PKCS#1 or Ed25519.
    pub fn header(&self) -> usize {
        if matches!(self, Self::Ed25519 { .. }) { 3 + 32 } else { 3 + 4 }
    }

    /// Bytes of one response.
    pub fn width(&self) -> usize {
        if let Self::Rsa { modulus, .. } = self { modulus.len() } else { 32 }
    }
}

/// A finished signature with all that is needed to put it into escrow, check it and open it.
#[derive(Clone)]
pub struct Case {
    pub statement: Owned,
    pub signature: Vec<u8>,
    pub label: Label,
    pub key: EscrowKey,
}

impl Case {
    pub fn ed25519(suite: Suite) -> Self {
        Self::signed(suite, 0x51, MESSAGE)
    }

    pub fn signed(suite: Suite, seed: u8, message: &[u8]) -> Self {
        let signer = SigningKey::from_bytes(&[seed; 32]);
        Self {
            statement: Owned::Ed25519 { key: signer.verifying_key().to_bytes(), message: message.to_vec() },
            signature: signer.sign(message).to_bytes().to_vec(),
            label: label(suite),
            key: arbiter().public().clone(),
        }
    }

    /// One of the signatures that OpenSSL made.
    pub fn rsa(suite: Suite, name: &str) -> Self {
        let all = rsa_signatures();
        let found = all.iter().find(|it| it["name"] == name).unwrap_or_else(|| panic!("no key {name}"));
        Self {
            statement: rsa_statement(found),
            signature: bytes(&found["signature"]),
            label: label(suite),
            key: arbiter().public().clone(),
        }
    }

    pub fn make(&self, randomness: u8) -> Escrow {
        let statement = self.statement.statement().unwrap();
        make(&self.signature, &statement, &self.label, &self.key, &Zeroizing::new([randomness; 32])).unwrap()
    }

    pub fn check(&self, escrow: &[u8]) -> Result<Verified, EscrowError> {
        check(Escrow::from_bytes(escrow)?, &self.statement.statement()?, &self.label, &self.key)
    }

    pub fn open(&self, escrow: &[u8]) -> Result<Vec<u8>, EscrowError> {
        let statement = self.statement.statement()?;
        open(&Escrow::from_bytes(escrow)?, &statement, &self.label, &arbiter()).map(|it| it.to_vec())
    }
}

pub fn rsa_signatures() -> Vec<Value> {
    let all: Value = serde_json::from_str(include_str!("../vectors/escrow/rsa-signatures.json")).unwrap();
    all["signatures"].as_array().unwrap().clone()
}

pub fn rsa_statement(it: &Value) -> Owned {
    Owned::Rsa {
        modulus: bytes(&it["modulus"]),
        exponent: bytes(&it["exponent"]),
        padding: if it["padding"] == "pss" { RsaPadding::Pss } else { RsaPadding::Pkcs1 },
        hash: match it["hash"].as_str().unwrap() {
            "sha256" => RsaHash::Sha256,
            "sha384" => RsaHash::Sha384,
            _ => RsaHash::Sha512,
        },
        message: bytes(&it["message"]),
    }
}

pub fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().expect("hexadecimal digits")).expect("hexadecimal digits")
}

/// Replaces `remove` bytes at `at`.
pub fn splice(escrow: &[u8], at: usize, remove: usize, insert: &[u8]) -> Vec<u8> {
    let mut out = escrow.to_vec();
    out.splice(at..at + remove, insert.iter().copied());
    out
}

/// a + b modulo 2^(8·len), little endian.
pub fn add_le(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut carry = 0u16;
    let sum = a.iter().zip(b).map(|(a, b)| {
        carry += u16::from(*a) + u16::from(*b);
        let low = u8::try_from(carry & 0xff).unwrap();
        carry >>= 8;
        low
    });
    sum.collect()
}

/// The order of the group, little endian.
pub fn order() -> Vec<u8> {
    hex::decode("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010").unwrap()
}

/// All eight torsion points, canonical.
pub fn torsion() -> Vec<[u8; 32]> {
    [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    ]
    .iter()
    .map(|it| hex::decode(it).unwrap().try_into().unwrap())
    .collect()
}
