//! Signatures as modules: one for each format and key.

use std::path::Path;
use std::sync::Arc;

use arbiter_protocol::crypto::Signer;
use arbiter_protocol::escrow::{EscrowError, SignatureKey};
use arbiter_protocol::exchange::item::{Description, DetachedSignature, Item};
use arbiter_protocol::exchange::property::{Properties, Property};
use async_trait::async_trait;
use zeroize::Zeroizing;

use super::capability::{Capability, Format, Means};
use super::{Given, Module, ModuleError, Order};
use crate::signing::{Algorithm, Certificate, PrivateKey};

/// Detached signatures of one algorithm: takes them, and gives those of its key, if it has one.
#[derive(Clone)]
pub struct Detached {
    name: String,
    algorithm: Algorithm,
    key: Option<SignatureKey>,
    certificate: Vec<u8>,
    secret: Secret,
}

#[derive(Clone)]
enum Secret {
    None,
    Ed25519(Arc<dyn Signer>),
    File(Arc<PrivateKey>),
}

impl Detached {
    /// Only takes: every signature of this algorithm can be verified.
    pub fn takes(algorithm: Algorithm) -> Self {
        let name = format!("any {algorithm} key");
        Self { name, algorithm, key: None, certificate: Vec::new(), secret: Secret::None }
    }

    /// Signs with a key of the standard formats. `certificate` is shown to the peer, if there is one.
    pub fn with_key(
        name: impl Into<String>,
        key: impl Into<Arc<PrivateKey>>,
        certificate: Option<&Certificate>,
    ) -> Self {
        let secret = key.into();
        let key = secret.public().clone();
        let certificate = certificate.map_or_else(Vec::new, |it| it.der().to_vec());
        let (name, algorithm) = (name.into(), Algorithm::of(&key));
        Self { name, algorithm, key: Some(key), certificate, secret: Secret::File(secret) }
    }

    /// Signs with an Ed25519 signer. Refuses a key with torsion: such a key is no honest one.
    pub fn with_signer(name: impl Into<String>, signer: Arc<dyn Signer>) -> Result<Self, EscrowError> {
        let key = Some(SignatureKey::ed25519(signer.public_key())?);
        let (algorithm, certificate) = (Algorithm::Ed25519, Vec::new());
        Ok(Self { name: name.into(), algorithm, key, certificate, secret: Secret::Ed25519(signer) })
    }
}

#[async_trait]
impl Module for Detached {
    fn name(&self) -> &str {
        &self.name
    }

    fn capability(&self) -> Capability {
        Capability {
            gives: self.key.is_some(),
            takes: true,
            properties: Properties::new([Property::GeneratableByEscrow]),
            means: Means::Signature {
                format: Format::Detached(self.algorithm),
                key: self.key.clone(),
                certificate: self.certificate.clone(),
            },
        }
    }

    async fn prepare(&self, item: &Item, source: Option<&Path>) -> Result<(), ModuleError> {
        match (&item.description, source) {
            (Description::DetachedSignature(it), None) => self.is_ours(it),
            _ => Err(no_signature()),
        }
    }

    async fn give(&self, order: &Order) -> Result<Given, ModuleError> {
        let Order::Signature(it) = order else { return Err(no_signature()) };
        self.is_ours(it)?;
        let document = it.statement.document();
        let signature = match &self.secret {
            Secret::None => return Err(no_signature()),
            Secret::Ed25519(signer) => Zeroizing::new(signer.sign(document.as_bytes()).to_vec()),
            Secret::File(key) => key
                .sign(document.as_bytes())
                .map_err(|error| ModuleError::refused("KEY_DOES_NOT_SIGN", error.to_string()))?,
        };
        Ok(Given::Signature(signature))
    }
}

impl Detached {
    fn is_ours(&self, item: &DetachedSignature) -> Result<(), ModuleError> {
        match &self.key {
            Some(key) if *key == item.key => Ok(()),
            _ => Err(ModuleError::refused("OTHER_KEY", "this module signs with another key, or with none")),
        }
    }
}

fn no_signature() -> ModuleError {
    ModuleError::refused("NO_SIGNATURE", "this module gives detached signatures of one key")
}

/// Signed transfers, which the arbiter's verdict can replace: the identity's key makes them with every exchange, so there is
/// nothing to give beside.
#[derive(Clone, Copy, Debug, Default)]
pub struct Replacement;

#[async_trait]
impl Module for Replacement {
    fn name(&self) -> &'static str {
        "replacement"
    }

    fn capability(&self) -> Capability {
        Capability {
            gives: true,
            takes: true,
            properties: Properties::new([Property::GeneratableByReplacement]),
            means: Means::Signature { format: Format::Replacement, key: None, certificate: Vec::new() },
        }
    }

    async fn prepare(&self, item: &Item, source: Option<&Path>) -> Result<(), ModuleError> {
        match (&item.description, source) {
            (Description::Signature(_), None) => Ok(()),
            _ => Err(ModuleError::refused("NO_STATEMENT", "the signed transfer is the item here")),
        }
    }

    async fn give(&self, _order: &Order) -> Result<Given, ModuleError> {
        Err(ModuleError::refused(
            "NOTHING_BESIDE",
            "the signed transfer is the item: nothing is given beside it",
        ))
    }
}
