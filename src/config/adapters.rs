//! Adapters in the configuration, and secrets that it only refers to.
//!
//! ```text
//!  [[adapters]] kind, key, url ─┬─ ca, client_cert, client_key: files
//!                               └─ token = "file:card.token" | "env:CARD_TOKEN"      the reference is shown, never the secret
//! ```

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::net::IpAddr;
use std::path::PathBuf;

use arbiter_protocol::ids::PublicKey;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{ConfigError, Settings, check_ranges};
use crate::modules::{KIND_BYTES, MESSAGE_BYTES};

/// Longest secret that is read.
const SECRET_BYTES: u64 = 4096;

/// One adapter, under `[[adapters]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdapterSettings {
    /// What sort of rail it stands before, as it says itself, e.g. `card`.
    pub kind: String,
    /// The key that signs its receipts, 64 hexadecimal digits. Agreements name it as the ledger.
    pub key: String,
    /// Where it is: `http://` on loopback, else `https://`; host and port.
    pub url: String,
    /// The authority of its certificate (PEM), needed with `https://`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// The certificate to show to it (PEM). With `client_key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_cert: Option<PathBuf>,
    /// Its secret key (PEM).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_key: Option<PathBuf>,
    /// Where the bearer token is that it asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<SecretRef>,
    /// How long one call may take, in seconds: 1 to 60.
    #[serde(default = "timeout")]
    pub timeout_seconds: u64,
    /// How many questions of parties it is asked at one time: 1 to 1024. Never more than a quarter of `max_uploads`.
    #[serde(default = "calls")]
    pub max_calls: u32,
    /// Largest answer that is read: 40960 to 1048576.
    #[serde(default = "message_bytes")]
    pub max_message_bytes: u64,
}

const fn timeout() -> u64 {
    10
}

const fn calls() -> u32 {
    16
}

fn message_bytes() -> u64 {
    u64::try_from(MESSAGE_BYTES).unwrap_or(u64::MAX)
}

impl AdapterSettings {
    /// The key, parsed.
    pub fn public_key(&self) -> Result<PublicKey, ConfigError> {
        PublicKey::parse_hex(&self.key, "key").map_err(|_| ConfigError::Value {
            setting: "adapters.key",
            found: self.key.clone(),
            expected: "it must be the key that signs the adapter's receipts: 64 hexadecimal digits",
        })
    }

    pub(super) fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let token = self.token.as_mut().and_then(|token| match token {
            SecretRef::File(path) => Some(path),
            SecretRef::Env(_) => None,
        });
        [self.ca.as_mut(), self.client_cert.as_mut(), self.client_key.as_mut(), token].into_iter().flatten()
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.public_key()?;
        let value = |setting, found: &dyn fmt::Display, expected| {
            Err(ConfigError::Value { setting, found: found.to_string(), expected })
        };
        if !is_kind(&self.kind) {
            return value(
                "adapters.kind",
                &self.kind,
                "it must be 1 to 32 characters a-z, 0-9 and -, as the adapter says",
            );
        }
        check_ranges(&[
            ("adapters.timeout_seconds", self.timeout_seconds, 60, "it must be 1 to 60"),
            ("adapters.max_calls", self.max_calls.into(), 1024, "it must be 1 to 1024"),
        ])?;
        if !(40_960..=1 << 20).contains(&self.max_message_bytes) {
            return value(
                "adapters.max_message_bytes",
                &self.max_message_bytes,
                "it must be 40960 to 1048576",
            );
        }
        match (&self.client_cert, &self.client_key) {
            (Some(_), None) => Err(ConfigError::TlsIncomplete {
                given: "adapters.client_cert",
                missing: "adapters.client_key",
            }),
            (None, Some(_)) => Err(ConfigError::TlsIncomplete {
                given: "adapters.client_key",
                missing: "adapters.client_cert",
            }),
            _ => Ok(()),
        }
    }
}

impl Settings {
    /// Ledgers and adapters: each key once, plaintext on this machine only.
    pub(super) fn check_modules(&self) -> Result<(), ConfigError> {
        let mut keys = BTreeSet::new();
        let mut once = |setting, key: PublicKey| match keys.insert(key) {
            true => Ok(()),
            false => Err(ConfigError::Value {
                setting,
                found: key.to_string(),
                expected: "each ledger and each adapter can be there once",
            }),
        };
        for ledger in &self.ledgers {
            once("ledgers.key", ledger.public_key()?)?;
            self.check_url("ledgers.url", &ledger.url)?;
        }
        for adapter in &self.adapters {
            adapter.check()?;
            once("adapters.key", adapter.public_key()?)?;
            self.check_url("adapters.url", &adapter.url)?;
        }
        Ok(())
    }

    /// `http://` on this machine only, unless plaintext is allowed.
    pub(crate) fn check_url(&self, setting: &'static str, url: &str) -> Result<(), ConfigError> {
        let plain = url.strip_prefix("http://");
        let known = plain.or_else(|| url.strip_prefix("https://")).is_some();
        if known && (plain.is_none_or(is_loopback) || self.allow_plaintext) {
            return Ok(());
        }
        let expected =
            "it must begin with https://, or with http:// on this machine, unless allow_plaintext is set";
        Err(ConfigError::Value { setting, found: url.to_owned(), expected })
    }
}

/// Whether an address without its scheme is of this machine.
fn is_loopback(address: &str) -> bool {
    let authority = address.split('/').next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    };
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn is_kind(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    // "ledger" is what ledgers are shown as.
    (1..=KIND_BYTES).contains(&text.len()) && text.bytes().all(known) && text != "ledger"
}

/// Where a secret is. The configuration never holds one (R-710).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum SecretRef {
    /// In an environment variable.
    Env(String),
    /// In a file.
    File(PathBuf),
}

impl SecretRef {
    /// Reads the secret. The text of an error names the reference only.
    pub fn read(&self) -> Result<Zeroizing<String>, String> {
        let secret = match self {
            Self::Env(name) => {
                Zeroizing::new(std::env::var(name).map_err(|_| format!("{self} is not set, or not text"))?)
            }
            Self::File(path) => {
                let mut secret = Zeroizing::new(String::new());
                let file = File::open(path).map_err(|error| format!("{self}: {error}"))?;
                let read = file.take(SECRET_BYTES.saturating_add(1)).read_to_string(&mut secret);
                read.map_err(|error| format!("{self}: {error}"))?;
                secret
            }
        };
        let length = u64::try_from(secret.len()).unwrap_or(u64::MAX);
        if secret.trim().is_empty() || length > SECRET_BYTES {
            return Err(format!("{self} holds no secret of 1 to {SECRET_BYTES} bytes"));
        }
        Ok(secret)
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

impl From<SecretRef> for String {
    fn from(reference: SecretRef) -> Self {
        reference.to_string()
    }
}

impl TryFrom<String> for SecretRef {
    type Error = &'static str;

    /// What is found is not repeated: it may be the secret itself.
    fn try_from(text: String) -> Result<Self, &'static str> {
        match text.split_once(':') {
            Some(("env", name)) if !name.is_empty() => Ok(Self::Env(name.to_owned())),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(PathBuf::from(path))),
            _ => Err("a secret is only referred to: file:PATH or env:NAME"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail")]
mod tests {
    use super::*;

    /// R-710: a secret is named, and neither shown nor repeated.
    #[test]
    fn a_secret_is_only_referred_to() {
        let parse = |text: &str| SecretRef::try_from(String::from(text));
        for text in ["file:card.token", "env:CARD_TOKEN"] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
        for text in ["hunter2", "file:", "env:", "", "File:x", "token:hunter2"] {
            let error = parse(text).unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
        let missing = parse("env:ARBITER_TEST_NO_SUCH_VARIABLE").unwrap().read().unwrap_err();
        assert!(missing.contains("env:ARBITER_TEST_NO_SUCH_VARIABLE"), "{missing}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let reference = SecretRef::File(path.clone());
        assert!(reference.read().is_err());
        for (content, good) in [("", false), (" \n", false), ("hunter2\n", true)] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(reference.read().is_ok(), good, "{content:?}");
        }
        std::fs::write(&path, "x".repeat(5000)).unwrap();
        assert!(reference.read().is_err());
    }

    #[test]
    fn plaintext_stays_on_this_machine() {
        for address in ["127.0.0.1:1", "localhost:80", "[::1]:9", "localhost", "127.3.2.1/x"] {
            assert!(is_loopback(address), "{address}");
        }
        for address in
            ["10.0.0.1:1", "example.com:80", "127.0.0.1.example.com", "[::2]:9", "", "localhost.example"]
        {
            assert!(!is_loopback(address), "{address}");
        }
        for kind in ["card", "sepa-instant", "x2"] {
            assert!(is_kind(kind));
        }
        for kind in ["", "Card", "a b", "ledger", &"x".repeat(33)] {
            assert!(!is_kind(kind));
        }
    }
}
