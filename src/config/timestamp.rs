//! The time-stamping authority in the configuration.
//!
//! ```text
//!  [timestamp] url ─▶ whom to ask      authority ─▶ whose certificates count      interval_seconds ─▶ how often
//! ```

use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;

use arbiter_protocol::timestamp::Authorities;
use serde::{Deserialize, Serialize};

use super::{ConfigError, check_ranges};

/// Largest file of certificates: a system's whole collection has about 250 KB.
const CA_BYTES: u64 = 2 * 1024 * 1024;

/// The authority that stamps the log, under `[timestamp]` (RFC 3161).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimestampSettings {
    /// Where it is asked: `http://` or `https://`. Its tokens are signed, so plaintext will do.
    pub url: String,
    /// The certificates (PEM) that its tokens must lead to. Tokens of anybody else are not logged.
    pub authority: PathBuf,
    /// At least so many seconds from one time-stamp to the next: 1 to 86400.
    #[serde(default = "interval")]
    pub interval_seconds: u64,
}

/// An hour: a ruling is stamped within it, and an authority that asks for money has 24 requests a day.
const fn interval() -> u64 {
    60 * 60
}

impl TimestampSettings {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if !["http://", "https://"].iter().any(|scheme| self.url.starts_with(scheme)) {
            let expected = "it must begin with http:// or https://";
            return Err(ConfigError::Value { setting: "timestamp.url", found: self.url.clone(), expected });
        }
        check_ranges(&[(
            "timestamp.interval_seconds",
            self.interval_seconds,
            86_400,
            "it must be 1 to 86400",
        )])
    }

    /// Reads the certificates.
    pub fn authorities(&self) -> Result<Authorities, ConfigError> {
        let mut pem = Vec::new();
        let read = File::open(&self.authority).and_then(|file| file.take(CA_BYTES).read_to_end(&mut pem));
        let reason = match read.map(|_| Authorities::parse(&pem)) {
            Ok(Ok(authorities)) => return Ok(authorities),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        let path = self.authority.clone();
        Err(ConfigError::Timestamp { path, reason })
    }
}
