//! The key file of a witness: one secret seed, or two, in a small TOML file that only its owner can read.
//!
//! ```toml
//! version = 1
//! witness_seed = "…64 hexadecimal digits…"
//! ml_dsa_seed = "…"                           only with ML-DSA-44
//! ```
//! The rules are those of the arbiter's key file ([`super::file`]).

use std::path::Path;

use arbiter_protocol::crypto::MemorySigner;
#[cfg(feature = "ml-dsa")]
use arbiter_protocol::evidence::cosignature::MlDsaSigner;
use serde::Deserialize;
use zeroize::{Zeroize, Zeroizing};

use super::file::{KeyFileError, random, seed, stored, write};

/// The secrets of a witness.
pub struct WitnessKeys {
    /// Signs cosignatures of type 4.
    pub ed25519: MemorySigner,
    /// Signs cosignatures of type 6.
    #[cfg(feature = "ml-dsa")]
    pub ml_dsa: Option<MlDsaSigner>,
}

impl WitnessKeys {
    /// Keys in memory.
    pub fn from_seeds(
        ed25519: &Zeroizing<[u8; 32]>,
        #[cfg(feature = "ml-dsa")] ml_dsa: Option<&Zeroizing<[u8; 32]>>,
    ) -> Self {
        Self {
            ed25519: MemorySigner::from_seed(ed25519),
            #[cfg(feature = "ml-dsa")]
            ml_dsa: ml_dsa.map(MlDsaSigner::from_seed),
        }
    }
}

/// Which keys are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kinds {
    /// Ed25519 only.
    Ed25519,
    /// Ed25519 and ML-DSA-44.
    #[cfg(feature = "ml-dsa")]
    Ed25519AndMlDsa,
}

/// Makes new keys and writes them to `path`, which must not exist.
pub fn create(path: &Path, kinds: Kinds) -> Result<WitnessKeys, KeyFileError> {
    let about = "# Secret keys of a witness. Never copy them to a second witness, and never use them with older data.\n";
    let ed25519 = random()?;
    match kinds {
        Kinds::Ed25519 => write(path, about, &[("witness_seed", &ed25519)])?,
        #[cfg(feature = "ml-dsa")]
        Kinds::Ed25519AndMlDsa => {
            write(path, about, &[("witness_seed", &ed25519), ("ml_dsa_seed", &random()?)])?;
        }
    }
    load(path)
}

/// Reads the keys.
pub fn load(path: &Path) -> Result<WitnessKeys, KeyFileError> {
    let stored = stored(path, |it: &Stored| it.version)?;
    let malformed = |problem| KeyFileError::Malformed { path: path.to_owned(), problem };
    let ed25519 =
        seed(&stored.witness_seed).ok_or_else(|| malformed("witness_seed is not 64 hexadecimal digits"))?;
    let read = |text| seed(text).ok_or_else(|| malformed("ml_dsa_seed is not 64 hexadecimal digits"));
    let ml_dsa = stored.ml_dsa_seed.as_deref().map(read).transpose()?;
    if ml_dsa.is_some() && !cfg!(feature = "ml-dsa") {
        return Err(malformed("it has an ML-DSA key, and this program is built without the feature ml-dsa"));
    }
    Ok(WitnessKeys::from_seeds(
        &ed25519,
        #[cfg(feature = "ml-dsa")]
        ml_dsa.as_ref(),
    ))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    witness_seed: String,
    #[serde(default)]
    ml_dsa_seed: Option<String>,
}

impl Drop for Stored {
    fn drop(&mut self) {
        self.witness_seed.zeroize();
        self.ml_dsa_seed.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use arbiter_protocol::crypto::Signer as _;

    use super::*;

    #[test]
    fn keys_are_made_once_private_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("one");
        let made = create(&path, Kinds::Ed25519).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(create(&path, Kinds::Ed25519), Err(KeyFileError::Exists { .. })));
        assert_eq!(load(&path).unwrap().ed25519.public_key(), made.ed25519.public_key());
        let with_two =
            format!("{}ml_dsa_seed = \"{}\"\n", fs::read_to_string(&path).unwrap(), "07".repeat(32));
        fs::write(&path, with_two).unwrap();
        assert_eq!(load(&path).is_ok(), cfg!(feature = "ml-dsa"));
    }

    #[cfg(feature = "ml-dsa")]
    #[test]
    fn another_content_is_refused_and_no_error_shows_a_secret() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("witness.key");
        create(&path, Kinds::Ed25519AndMlDsa).unwrap();
        let good = fs::read_to_string(&path).unwrap();
        let secrets: Vec<_> = good.split('"').skip(1).step_by(2).map(str::to_owned).collect();
        assert_eq!(secrets.len(), 2);
        assert_ne!(secrets[0], secrets[1]);
        for bad in [
            good.replace("version = 1", "version = 2"),
            good.replace("witness_seed", "ledger_seed"),
            good.replace(&secrets[0], &secrets[0][1..]),
            good.replace(&secrets[1], &secrets[1][1..]),
            format!("{good}more = 1\n"),
        ] {
            fs::write(&path, bad).unwrap();
            let Err(error) = load(&path) else { panic!("taken") };
            assert!(matches!(error, KeyFileError::Malformed { .. }), "{error}");
            assert!(secrets.iter().all(|it| !format!("{error} {error:?}").contains(&it[1..])));
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(load(&path), Err(KeyFileError::Permissions { mode: 0o644, .. })));
    }
}
