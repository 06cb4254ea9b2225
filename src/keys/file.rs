//! The key file: three secret seeds in a small TOML file that only its owner can read.
//!
//! ```toml
//! version = 1
//! arbiter_seed = "…64 hexadecimal digits…"
//! log_seed = "…"
//! veil_seed = "…"
//! ```
//!
//! Invariants
//! - The file is created with mode 0600 and never overwritten.
//! - A file that anybody but its owner may read or write is refused.
//! - Unknown keys are refused; no error shows a secret.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

use super::{Keys, Seeds};

/// Why a key file cannot be made or used. The operator is at fault.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// There is a file already.
    #[error("{} exists already: keys are never overwritten; move it away if it is really not needed", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Reading or writing failed.
    #[error("cannot {verb} key file {}: {source}", path.display())]
    Io {
        /// `read`, `write` or `overwrite`.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The content is not a key file.
    #[error("{} is not a key file of this version: {problem}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Which part, without its value.
        problem: &'static str,
    },
    /// Others than the owner have access.
    #[error("{} has mode {mode:03o}: others could read the keys; run: chmod 600 {}", path.display(), path.display())]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The system gives no randomness.
    #[error("the system gives no randomness: {0}")]
    Randomness(getrandom::Error),
}

/// Makes new keys and writes them to `path`, which must not exist.
pub fn create(path: &Path) -> Result<Keys, KeyFileError> {
    let seeds = Seeds { arbiter: random()?, log: random()?, veil: random()? };
    let about =
        "# Secret keys of an arbiter. Keep a copy offline: without them no ruling can be signed again.\n";
    let Seeds { arbiter, log, veil } = &seeds;
    write(path, about, &[("arbiter_seed", arbiter), ("log_seed", log), ("veil_seed", veil)])?;
    Ok(Keys::from_seeds(&seeds))
}

/// The text of a small file that only its owner can read.
pub(super) fn read_private(path: &Path) -> Result<Zeroizing<String>, KeyFileError> {
    let failed = |source| KeyFileError::Io { verb: "read", path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed)?;
    // Asked of the open file, so it cannot be exchanged in between.
    let about = file.metadata().map_err(failed)?;
    let mode = about.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Permissions { path: path.to_owned(), mode });
    }
    let size = usize::try_from(about.len()).unwrap_or(usize::MAX);
    if !about.is_file() || size > MAXIMUM_BYTES {
        let problem = "not a small regular file";
        return Err(KeyFileError::Malformed { path: path.to_owned(), problem });
    }
    // Room for all of it from the start: a buffer that moves would leave secrets behind.
    let mut text = Zeroizing::new(String::with_capacity(size.saturating_add(1)));
    file.read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

/// What a key file of this version holds.
pub(super) fn stored<S: DeserializeOwned>(
    path: &Path,
    version: impl Fn(&S) -> u32,
) -> Result<S, KeyFileError> {
    let text = read_private(path)?;
    let malformed = |problem| KeyFileError::Malformed { path: path.to_owned(), problem };
    let stored = toml::from_str(&text).map_err(|_| malformed("unknown, missing or malformed keys"))?;
    if version(&stored) == VERSION { Ok(stored) } else { Err(malformed("another version")) }
}

/// Reads the keys.
pub fn load(path: &Path) -> Result<Keys, KeyFileError> {
    let stored = stored(path, |it: &Stored| it.version)?;
    let malformed = |problem| KeyFileError::Malformed { path: path.to_owned(), problem };
    let seed = |text: &str, problem| seed(text).ok_or_else(|| malformed(problem));
    Ok(Keys::from_seeds(&Seeds {
        arbiter: seed(&stored.arbiter_seed, "arbiter_seed is not 64 hexadecimal digits")?,
        log: seed(&stored.log_seed, "log_seed is not 64 hexadecimal digits")?,
        veil: seed(&stored.veil_seed, "veil_seed is not 64 hexadecimal digits")?,
    }))
}

const VERSION: u32 = 1;
const MAXIMUM_BYTES: usize = 4096;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    arbiter_seed: String,
    log_seed: String,
    veil_seed: String,
}

impl Drop for Stored {
    fn drop(&mut self) {
        self.arbiter_seed.zeroize();
        self.log_seed.zeroize();
        self.veil_seed.zeroize();
    }
}

/// Writes a new file that only its owner can read: a line for people, the version, and the seeds.
pub(super) fn write(
    path: &Path,
    about: &str,
    seeds: &[(&str, &Zeroizing<[u8; 32]>)],
) -> Result<(), KeyFileError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AlreadyExists => KeyFileError::Exists { path: path.to_owned() },
        _ => KeyFileError::Io { verb: "write", path: path.to_owned(), source },
    };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    let mut put = |text: &str| file.write_all(text.as_bytes()).map_err(failed);
    put(about)?;
    put(&format!("version = {VERSION}\n"))?;
    for (name, seed) in seeds {
        let digits = Zeroizing::new(hex::encode(seed.as_slice()));
        put(&Zeroizing::new(format!("{name} = \"{}\"\n", digits.as_str())))?;
    }
    file.sync_all().map_err(failed)?;
    sync_folder(path).map_err(failed)
}

/// Makes the name of a new file durable.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(parent(path)).and_then(|folder| folder.sync_all())
}

/// The folder of a file.
pub(super) fn parent(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

pub(super) fn random() -> Result<Zeroizing<[u8; 32]>, KeyFileError> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut_slice()).map_err(KeyFileError::Randomness)?;
    Ok(seed)
}

pub(super) fn seed(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let mut seed = Zeroizing::new([0; 32]);
    hex::decode_to_slice(text, seed.as_mut_slice()).ok()?;
    Some(seed)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn keys_are_made_once_private_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        let made = create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let read = load(&path).unwrap();
        assert_eq!(made.arbiter().public_key(), read.arbiter().public_key());
        assert_eq!(made.log().public_key(), read.log().public_key());
        assert_ne!(made.arbiter().public_key(), made.log().public_key());
        let before = fs::read(&path).unwrap();
        assert!(matches!(create(&path), Err(KeyFileError::Exists { .. })));
        assert_eq!(fs::read(&path).unwrap(), before);
        assert!(matches!(load(&folder.path().join("absent")), Err(KeyFileError::Io { verb: "read", .. })));
        let nowhere = folder.path().join("absent").join("keys");
        assert!(matches!(create(&nowhere), Err(KeyFileError::Io { verb: "write", .. })));
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        create(&path).unwrap();
        for mode in [0o640, 0o604, 0o660, 0o601] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert!(
                matches!(load(&path), Err(KeyFileError::Permissions { mode: found, .. }) if found == mode)
            );
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        assert!(load(&path).is_ok());
    }

    #[test]
    fn another_content_is_refused_and_no_error_shows_a_secret() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        create(&path).unwrap();
        let good = fs::read_to_string(&path).unwrap();
        let secret: String = good.split('"').nth(1).unwrap().to_owned();
        for bad in [
            good.replace("version = 1", "version = 2"),
            good.replace("log_seed", "lag_seed"),
            format!("{good}more = 1\n"),
            good.replace(&secret, &secret[1..]),
            good.replace(&secret, &format!("{}g", &secret[1..])),
            good.replace('"', ""),
            String::new(),
            format!("{good}{}", "#".repeat(5000)),
        ] {
            fs::write(&path, bad).unwrap();
            let Err(error) = load(&path) else { panic!("taken") };
            assert!(matches!(error, KeyFileError::Malformed { .. }), "{error}");
            assert!(!format!("{error} {error:?}").contains(&secret[1..]));
        }
    }
}
