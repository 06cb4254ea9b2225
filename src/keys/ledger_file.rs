//! The key file of a ledger: one secret seed, in a small TOML file that only its owner can read.
//!
//! ```toml
//! version = 1
//! ledger_seed = "…64 hexadecimal digits…"
//! ```
//! The rules are those of the arbiter's key file ([`super::file`]).

use std::path::Path;

use arbiter_protocol::crypto::MemorySigner;
use serde::Deserialize;
use zeroize::Zeroize;

use super::file::{KeyFileError, random, seed, stored, write};

/// Makes a new key and writes it to `path`, which must not exist.
pub fn create(path: &Path) -> Result<MemorySigner, KeyFileError> {
    let seed = random()?;
    let about = "# Secret key of a ledger. Keep a copy offline: without it no receipt can be signed again.\n";
    write(path, about, &[("ledger_seed", &seed)])?;
    Ok(MemorySigner::from_seed(&seed))
}

/// Reads the key.
pub fn load(path: &Path) -> Result<MemorySigner, KeyFileError> {
    let stored = stored(path, |it: &Stored| it.version)?;
    let malformed = |problem| KeyFileError::Malformed { path: path.to_owned(), problem };
    let seed =
        seed(&stored.ledger_seed).ok_or_else(|| malformed("ledger_seed is not 64 hexadecimal digits"))?;
    Ok(MemorySigner::from_seed(&seed))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    ledger_seed: String,
}

impl Drop for Stored {
    fn drop(&mut self) {
        self.ledger_seed.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use arbiter_protocol::crypto::Signer as _;

    use super::*;

    #[test]
    fn a_key_is_made_once_private_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.key");
        let made = create(&path).unwrap().public_key();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(load(&path).unwrap().public_key(), made);
        assert!(matches!(create(&path), Err(KeyFileError::Exists { .. })));
        let good = fs::read_to_string(&path).unwrap();
        let secret = good.split('"').nth(1).unwrap().to_owned();
        for bad in [
            good.replace("version = 1", "version = 2"),
            good.replace("ledger_seed", "arbiter_seed"),
            good.replace(&secret, &secret[1..]),
            format!("{good}more = 1\n"),
        ] {
            fs::write(&path, bad).unwrap();
            let Err(error) = load(&path) else { panic!("taken") };
            assert!(matches!(error, KeyFileError::Malformed { .. }), "{error}");
            assert!(!format!("{error} {error:?}").contains(&secret[1..]));
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(load(&path), Err(KeyFileError::Permissions { mode: 0o644, .. })));
    }
}
