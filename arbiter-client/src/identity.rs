//! Who a party is, as a file and as a single line of text. Which arbiter it trusts is in [`crate::pin`].
//!
//! ```text
//!  ~/.fairx/identity.toml   secret seeds, mode 0600          ─▶ KeyFile
//!  fairx-id:v1:...          public half, one line            ◀─▶ PublicIdentity   the peer's `offer --to`
//! ```
//!
//! Invariants
//! - Seeds are wiped when dropped; nothing here prints or copies them; the file is never overwritten.
//! - A file that others may read or write is refused: its secret may be known already.
//! - A line has exactly one form: what parses prints as the same bytes.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use arbiter_protocol::crypto::{self, MemorySigner, SealingSecret, Signer as _};
use arbiter_protocol::error::Invalid;
use arbiter_protocol::exchange::item::check_line;
use arbiter_protocol::ids::{Digest, PublicKey, SealingKey};
use arbiter_protocol::limits;
use arbiter_protocol::message::agreement::Party;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use thiserror::Error;
use zeroize::{Zeroize as _, Zeroizing};

use crate::fingerprint::Fingerprint;
pub use crate::pin::ArbiterPin;

/// What goes wrong with identities and pins, and what to do about it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// There is a file already; it is never overwritten.
    #[error("{0} exists already and is never overwritten; use another --home, or move it away yourself")]
    Exists(PathBuf),
    /// There is no such file.
    #[error("{0} does not exist; make it with `fairx init`")]
    Missing(PathBuf),
    /// Others can read or write the file.
    #[error("{path} can be used by others (mode {mode:o}); if it never left your control: chmod 600 {path}")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file or line does not have the expected form.
    #[error("{what} is not in the form this program writes: {why}")]
    Malformed {
        /// What was read.
        what: &'static str,
        /// What is wrong.
        why: &'static str,
    },
    /// A field of it is not acceptable.
    #[error("{what}: {source}")]
    Field {
        /// What was read.
        what: &'static str,
        /// What is wrong.
        source: Invalid,
    },
    /// The file system.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

/// A party's keys and name. It has no `Debug` and no `Clone`.
pub struct KeyFile {
    signer: MemorySigner,
    sealing: SealingSecret,
    public: PublicIdentity,
}

impl KeyFile {
    /// Makes an identity from two 32-byte seeds of fresh randomness.
    pub fn from_seeds(
        name: &str,
        signing: &Zeroizing<[u8; 32]>,
        sealing: &Zeroizing<[u8; 32]>,
    ) -> Result<Self, IdentityError> {
        check_name(name)?;
        let (signer, sealing) = (MemorySigner::from_seed(signing), SealingSecret::from_seed(sealing));
        let public = PublicIdentity(Party {
            signing_key: signer.public_key(),
            sealing_key: sealing.public_key(),
            name: name.to_owned(),
        });
        Ok(Self { signer, sealing, public })
    }

    /// Makes an identity and writes it to a new file that only its owner can read.
    pub fn create(
        path: &Path,
        name: &str,
        signing: &Zeroizing<[u8; 32]>,
        sealing: &Zeroizing<[u8; 32]>,
    ) -> Result<Self, IdentityError> {
        let identity = Self::from_seeds(name, signing, sealing)?;
        let mut text = Zeroizing::new(String::with_capacity(FILE_BYTES));
        text.push_str(
            "# A fairx identity. Who has this file can sign in your name: keep it, never share it.\n",
        );
        text.push_str("version = 1\nname = \"");
        text.push_str(name);
        for (key, seed) in [("\"\nsigning_seed = \"", signing), ("\"\nsealing_seed = \"", sealing)] {
            text.push_str(key);
            text.push_str(&Zeroizing::new(hex::encode(seed.as_slice())));
        }
        text.push_str("\"\n");
        write_new(path, text.as_bytes(), 0o600)?;
        Ok(identity)
    }

    /// Reads an identity file; refuses one that others can use.
    pub fn load(path: &Path) -> Result<Self, IdentityError> {
        let io = |source| io_error(path, source);
        let mut file = std::fs::File::open(path).map_err(io)?;
        let mode = file.metadata().map_err(io)?.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(IdentityError::Exposed { path: path.to_owned(), mode });
        }
        // Large enough that the buffer never moves and leaves no copy behind.
        let mut bytes = Zeroizing::new([0u8; FILE_BYTES]);
        let mut length = 0;
        while let Some(rest) = bytes.get_mut(length..).filter(|rest| !rest.is_empty()) {
            match file.read(rest).map_err(io)? {
                0 => break,
                count => length = length.saturating_add(count),
            }
        }
        let malformed = |why| IdentityError::Malformed { what: "the identity file", why };
        if length >= FILE_BYTES {
            return Err(malformed("it is too long"));
        }
        let text = std::str::from_utf8(bytes.get(..length).unwrap_or_default())
            .map_err(|_| malformed("it is not UTF-8"))?;
        let mut fields = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let mut next = |prefix: &str| fields.next().and_then(|line| line.strip_prefix(prefix));
        let quoted = |text: &'static str| malformed(text);
        if next("version = ") != Some("1") {
            return Err(malformed("its version is not 1"));
        }
        let unquote = |value: Option<&'_ str>| -> Option<String> {
            value?.strip_prefix('"')?.strip_suffix('"').map(str::to_owned)
        };
        let name = unquote(next("name = ")).ok_or_else(|| quoted("the name is missing"))?;
        let signing =
            seed(next("signing_seed = ")).ok_or_else(|| quoted("signing_seed is not 64 hex digits"))?;
        let sealing =
            seed(next("sealing_seed = ")).ok_or_else(|| quoted("sealing_seed is not 64 hex digits"))?;
        if fields.next().is_some() {
            return Err(malformed("there are unknown lines after sealing_seed"));
        }
        Self::from_seeds(&name, &signing, &sealing)
    }

    /// The public half.
    pub const fn public(&self) -> &PublicIdentity {
        &self.public
    }

    /// The party as offers name it.
    pub const fn party(&self) -> &Party {
        &self.public.0
    }

    /// Gives up the keys: what signs, and what opens sealed content.
    pub fn into_keys(self) -> (MemorySigner, SealingSecret) {
        (self.signer, self.sealing)
    }
}

/// The public half of an identity. Prints as one line and reads back from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicIdentity(Party);

impl PublicIdentity {
    /// The party as offers name it.
    pub const fn party(&self) -> &Party {
        &self.0
    }

    /// A short name of the keys for comparing: of the signing key, sealing key and name together.
    pub fn fingerprint(&self) -> Fingerprint {
        let digest = Digest::of(&[b"fairx id v1\0", &self.bytes()]);
        Fingerprint::of(digest.as_bytes())
    }

    fn bytes(&self) -> Vec<u8> {
        let party = &self.0;
        [party.signing_key.as_bytes(), party.sealing_key.as_bytes(), party.name.as_bytes()].concat()
    }
}

impl fmt::Display for PublicIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ID_PREFIX}{}", URL_SAFE_NO_PAD.encode(self.bytes()))
    }
}

impl FromStr for PublicIdentity {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let what = "a fairx-id line";
        let bytes = decode(text, ID_PREFIX, what)?;
        let (signing, rest) = bytes.split_at_checked(32).ok_or(cut_off(what))?;
        let (sealing, name) = rest.split_at_checked(32).ok_or(cut_off(what))?;
        let field = |source| IdentityError::Field { what, source };
        let signing_key = PublicKey::parse(signing, "signing_key").map_err(field)?;
        crypto::check_key(&signing_key, "signing_key").map_err(field)?;
        let sealing_key = SealingKey::parse(sealing, "sealing_key").map_err(field)?;
        crypto::check_sealing_key(&sealing_key, "sealing_key").map_err(field)?;
        let name = std::str::from_utf8(name).map_err(|_| field(Invalid::FieldValue { field: "name" }))?;
        check_name(name)?;
        Ok(Self(Party { signing_key, sealing_key, name: name.to_owned() }))
    }
}

/// Writes a file that must not exist yet, durably.
pub(crate) fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), IdentityError> {
    let io = |source| io_error(path, source);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(io)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io)
}

fn io_error(path: &Path, source: std::io::Error) -> IdentityError {
    match source.kind() {
        std::io::ErrorKind::AlreadyExists => IdentityError::Exists(path.to_owned()),
        std::io::ErrorKind::NotFound => IdentityError::Missing(path.to_owned()),
        _ => IdentityError::Io { path: path.to_owned(), source },
    }
}

/// The one form: prefix, base64url without padding, nothing else.
pub(crate) fn decode(text: &str, prefix: &str, what: &'static str) -> Result<Vec<u8>, IdentityError> {
    let malformed = |why| IdentityError::Malformed { what, why };
    if text.len() > LINE_BYTES {
        return Err(malformed("it is too long"));
    }
    let data = text.strip_prefix(prefix).ok_or(malformed("it starts with something else"))?;
    URL_SAFE_NO_PAD.decode(data).map_err(|_| malformed("it is cut off or altered (not base64url)"))
}

pub(crate) const fn cut_off(what: &'static str) -> IdentityError {
    IdentityError::Malformed { what, why: "it is cut off or has too many parts" }
}

/// A name that can stand in the file between quotes and on a screen.
fn check_name(name: &str) -> Result<(), IdentityError> {
    let field = |source| IdentityError::Field { what: "the party's name", source };
    check_line(name, limits::NAME_BYTES, "name").map_err(field)?;
    if name.trim().is_empty() || name.trim() != name || name.contains(['"', '\\']) {
        return Err(field(Invalid::FieldValue { field: "name" }));
    }
    Ok(())
}

fn seed(value: Option<&str>) -> Option<Zeroizing<[u8; 32]>> {
    let digits = value?.strip_prefix('"')?.strip_suffix('"')?;
    let mut seed = Zeroizing::new([0u8; 32]);
    match hex::decode_to_slice(digits, seed.as_mut_slice()) {
        Ok(()) => Some(seed),
        Err(_) => {
            seed.zeroize();
            None
        }
    }
}

const ID_PREFIX: &str = "fairx-id:v1:";
/// Larger than any file written here.
const FILE_BYTES: usize = 4096;
/// Larger than any line written here.
const LINE_BYTES: usize = 2048;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn seeds() -> (Zeroizing<[u8; 32]>, Zeroizing<[u8; 32]>) {
        (Zeroizing::new([1; 32]), Zeroizing::new([2; 32]))
    }

    #[test]
    fn an_identity_file_is_private_never_overwritten_and_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity.toml");
        let (signing, sealing) = seeds();
        assert!(matches!(KeyFile::load(&path), Err(IdentityError::Missing(_))));
        let made = KeyFile::create(&path, "Zażółć & Sons", &signing, &sealing).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(KeyFile::load(&path).unwrap().public(), made.public());
        let again = KeyFile::create(&path, "Eve", &signing, &sealing);
        assert!(matches!(again, Err(IdentityError::Exists(_))));

        for mode in [0o640, 0o604, 0o620, 0o602, 0o610] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert!(matches!(KeyFile::load(&path), Err(IdentityError::Exposed { .. })), "{mode:o}");
        }
    }

    /// Every cut and every altered character of the file is an error or another identity, never a panic.
    #[test]
    fn damaged_identity_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity.toml");
        let (signing, sealing) = seeds();
        let made = KeyFile::create(&path, "Alice", &signing, &sealing).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let start = text.find("version").unwrap();
        for cut in start..text.len() - 1 {
            std::fs::write(&path, &text[..cut]).unwrap();
            assert!(KeyFile::load(&path).is_err(), "cut at {cut}");
        }
        for position in start..text.len() - 1 {
            let mut bytes = text.clone().into_bytes();
            bytes[position] = if bytes[position] == b'7' { b'8' } else { b'7' };
            std::fs::write(&path, &bytes).unwrap();
            if let Ok(other) = KeyFile::load(&path) {
                assert_ne!(other.public(), made.public(), "position {position}");
            }
        }
        std::fs::write(&path, vec![b'#'; 10_000]).unwrap();
        assert!(KeyFile::load(&path).is_err());
        std::fs::write(&path, format!("{text}extra = 1\n")).unwrap();
        assert!(KeyFile::load(&path).is_err());
    }

    /// One form only: every altered character is refused or is another identity.
    #[test]
    fn lines_have_one_form() {
        let (signing, sealing) = seeds();
        let id = KeyFile::from_seeds("Alice", &signing, &sealing).unwrap().public().clone();
        let line = id.to_string();
        assert!(line.starts_with("fairx-id:v1:"));
        assert_eq!(line.parse::<PublicIdentity>().unwrap(), id);
        for position in 0..line.len() {
            let mut other = line.clone().into_bytes();
            other[position] = if other[position] == b'A' { b'B' } else { b'A' };
            let other = String::from_utf8(other).unwrap();
            if let Ok(parsed) = other.parse::<PublicIdentity>() {
                assert_ne!(parsed, id);
                assert_eq!(parsed.to_string(), other);
            }
        }
        for bad in
            ["", "fairx-id:v1:", "fairx-id:v2:AAAA", &line[..60], &format!("{line}="), &format!(" {line}")]
        {
            assert!(bad.parse::<PublicIdentity>().is_err(), "{bad}");
        }
    }

    #[test]
    fn names_that_cannot_be_shown_or_stored_are_refused() {
        let (signing, sealing) = seeds();
        for bad in ["", " ", "a\nb", "a\"b", "a\\b", " a", "a\u{202e}b", &"x".repeat(201)] {
            assert!(KeyFile::from_seeds(bad, &signing, &sealing).is_err(), "{bad:?}");
        }
    }
}
