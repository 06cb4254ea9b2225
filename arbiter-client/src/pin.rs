//! Which arbiter a party trusts, as a file and as a single line of text.
//!
//! ```text
//!  ~/.fairx/arbiter         one line                          ◀─▶ ArbiterPin
//!  fairx-arbiter:v1:...     keys, log, rules │ URL, largest deposit
//!                           proven           │ the operator's word: only ways to use it
//! ```
//!
//! Invariant: a line has exactly one form: what parses prints as the same bytes.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use arbiter_protocol::crypto;
use arbiter_protocol::error::Invalid;
use arbiter_protocol::evidence::checkpoint::Origin;
use arbiter_protocol::exchange::item::check_line;
use arbiter_protocol::ids::PublicKey;
use arbiter_protocol::limits;
use arbiter_protocol::message::agreement::ArbiterIdentity;
use arbiter_protocol::ruling::sequencer::genesis_token;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::fingerprint::Fingerprint;
use crate::identity::{IdentityError, cut_off, decode, read_small, write_new};

/// Where an arbiter is found that was started on this computer without any settings.
pub const DEFAULT_URL: &str = "http://127.0.0.1:7373";

/// An arbiter that a party decided to trust: its identity, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArbiterPin {
    /// Keys, log and rules: what agreements name.
    pub identity: ArbiterIdentity,
    /// Where to reach it, e.g. [`DEFAULT_URL`]. Only a way to reach the keys above, so it needs no proof.
    pub url: String,
    /// Largest deposit that it takes in bytes, if it says so. Its operator's word, as the URL is.
    pub deposit_bytes: Option<u64>,
}

impl ArbiterPin {
    /// Makes a pin; the fields must be such as an offer may hold.
    pub fn new(identity: ArbiterIdentity, url: &str) -> Result<Self, IdentityError> {
        let what = "an arbiter";
        let field = |source| IdentityError::Field { what, source };
        crypto::check_key(&identity.key, "key").map_err(field)?;
        crypto::check_key(&identity.log_key, "log_key").map_err(field)?;
        check_line(&identity.rules, limits::NAME_BYTES, "rules").map_err(field)?;
        check_line(url, limits::NAME_BYTES, "url").map_err(field)?;
        if identity.rules.is_empty() {
            return Err(field(Invalid::FieldMissing { field: "rules" }));
        }
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(field(Invalid::FieldValue { field: "url" }));
        }
        Ok(Self { identity, url: url.to_owned(), deposit_bytes: None })
    }

    /// With the largest deposit that the arbiter takes; 0 if it does not say.
    #[must_use]
    pub fn with_deposit_bytes(self, bytes: u64) -> Self {
        Self { deposit_bytes: (bytes > 0).then_some(bytes.min(limits::ITEM_BYTES)), ..self }
    }

    /// What to compare with the operator by another channel. The same hash is in leaf 0 of its log (R-502).
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(genesis_token(&self.identity).as_bytes())
    }

    /// Reads a pin file: one line, comments allowed.
    pub fn load(path: &Path) -> Result<Self, IdentityError> {
        let text = read_small(path)?;
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        match (lines.next(), lines.next()) {
            (Some(line), None) => line.parse(),
            _ => Err(IdentityError::Malformed {
                what: "the arbiter file",
                why: "it must hold exactly one fairx-arbiter line",
            }),
        }
    }

    /// Reads `text` as a line if it looks like one, and else as the name of a pin file.
    pub fn line_or_file(text: &str) -> Result<Self, IdentityError> {
        if text.starts_with(ARBITER_PREFIX) { text.parse() } else { Self::load(Path::new(text)) }
    }

    /// Writes the pin to a new file.
    pub fn create(&self, path: &Path) -> Result<(), IdentityError> {
        let text = format!(
            "# The arbiter that this party trusts. Fingerprint: {}\n# At {}\n{self}\n",
            self.fingerprint(),
            self.url
        );
        write_new(path, text.as_bytes(), 0o644)
    }
}

impl fmt::Display for ArbiterPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arbiter = &self.identity;
        let mut text = format!("{}\n{}\n{}", arbiter.log_origin, arbiter.rules, self.url);
        if let Some(bytes) = self.deposit_bytes {
            text.push_str(&format!("\n{bytes}"));
        }
        let bytes = [arbiter.key.as_bytes(), arbiter.log_key.as_bytes(), text.as_bytes()].concat();
        write!(f, "{ARBITER_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for ArbiterPin {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let what = "a fairx-arbiter line";
        let bytes = decode(text, ARBITER_PREFIX, what)?;
        let (key, rest) = bytes.split_at_checked(32).ok_or(cut_off(what))?;
        let (log_key, text) = rest.split_at_checked(32).ok_or(cut_off(what))?;
        let field = |field| IdentityError::Field { what, source: Invalid::FieldValue { field } };
        let text = std::str::from_utf8(text).map_err(|_| field("text"))?;
        let lines: Vec<_> = text.split('\n').collect();
        let (origin, rules, url, deposit) = match lines.as_slice() {
            [origin, rules, url] => (origin, rules, url, None),
            [origin, rules, url, deposit] => (origin, rules, url, Some(*deposit)),
            _ => return Err(cut_off(what)),
        };
        let parse = |bytes, name| PublicKey::parse(bytes, name).map_err(|_| field(name));
        let identity = ArbiterIdentity {
            key: parse(key, "key")?,
            log_key: parse(log_key, "log_key")?,
            log_origin: Origin::parse(origin).map_err(|_| field("log_origin"))?,
            rules: (*rules).to_owned(),
        };
        let pin = Self::new(identity, url)?;
        let Some(text) = deposit else { return Ok(pin) };
        let pin = pin.with_deposit_bytes(text.parse().unwrap_or(0));
        // One form only: no sign, no leading zero, nothing larger than any file.
        let same = pin.deposit_bytes.is_some_and(|bytes| bytes.to_string() == text);
        if same { Ok(pin) } else { Err(field("deposit_bytes")) }
    }
}

const ARBITER_PREFIX: &str = "fairx-arbiter:v1:";

#[cfg(test)]
mod tests {
    use arbiter_protocol::crypto::{MemorySigner, Signer as _};
    use zeroize::Zeroizing;

    use super::*;

    fn pin() -> ArbiterPin {
        let key = |byte| MemorySigner::from_seed(&Zeroizing::new([byte; 32])).public_key();
        let identity = ArbiterIdentity {
            key: key(3),
            log_key: key(4),
            log_origin: Origin::parse("arbiter.example/evidence").unwrap(),
            rules: "arbiter/rules/v1".into(),
        };
        ArbiterPin::new(identity, DEFAULT_URL).unwrap()
    }

    #[test]
    fn lines_have_one_form() {
        for pin in [pin(), pin().with_deposit_bytes(1), pin().with_deposit_bytes(u64::MAX)] {
            assert_eq!(pin.to_string().parse::<ArbiterPin>().unwrap(), pin);
            assert_eq!(pin.fingerprint(), self::pin().fingerprint(), "the keys, not the way to them");
        }
        assert_eq!(pin().with_deposit_bytes(0), pin());
        assert_eq!(pin().with_deposit_bytes(u64::MAX).deposit_bytes, Some(limits::ITEM_BYTES));
        assert!(pin().to_string()[..100].parse::<ArbiterPin>().is_err());
        assert!(pin().to_string().replace("fairx-arbiter", "fairx-id").parse::<ArbiterPin>().is_err());
        let bytes = URL_SAFE_NO_PAD.decode(pin().to_string().strip_prefix(ARBITER_PREFIX).unwrap()).unwrap();
        for (more, good) in
            [("7", true), ("", false), ("07", false), ("+7", false), ("x", false), ("7\n7", false)]
        {
            let text = format!("\n{more}");
            let line = URL_SAFE_NO_PAD.encode([&bytes[..], text.as_bytes()].concat());
            assert_eq!(format!("{ARBITER_PREFIX}{line}").parse::<ArbiterPin>().is_ok(), good, "{more:?}");
        }
    }

    #[test]
    fn a_pin_file_holds_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("arbiter");
        pin().create(&path).unwrap();
        assert_eq!(ArbiterPin::load(&path).unwrap(), pin());
        assert_eq!(ArbiterPin::line_or_file(&pin().to_string()).unwrap(), pin());
        assert!(matches!(pin().create(&path), Err(IdentityError::Exists(_))));
        std::fs::write(&path, format!("{0}\n{0}\n", pin())).unwrap();
        assert!(ArbiterPin::load(&path).is_err());
    }
}
