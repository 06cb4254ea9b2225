//! The files of escrow keys: one for each epoch, beside the key file, readable by their owner only.
//!
//! ```text
//!  arbiter.key   arbiter.key.escrow-1   arbiter.key.escrow-2   …          create ─▶ live ─▶ retire: no seed any more
//! ```
//! ```toml
//! version = 1
//! epoch = 1
//! arbiter = "…64 hexadecimal digits…"      # whose key it is
//! key = "…"                                # public half
//! from = "2026-11-20T00:00:00.000Z"
//! until = "2036-11-17T00:00:00.000Z"
//! seed = "…"                               # secret; zeros once the key is destroyed
//! ```
//!
//! Invariants
//! - A file appears whole, with mode 0600, and is never replaced: two rotations at one time make two epochs or fail.
//! - The file of a destroyed key stays, so that no epoch has two keys.
//! - A seed that does not give its public key is refused, unless its epoch has ended: then it is destroyed again.
//!
//! Destroying overwrites the digits of the seed where they are. Disks with wear levelling, snapshots and backups may
//! keep what was there: an operator who needs more destroys those too, or keeps the folder on an encrypted volume.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use arbiter_protocol::crypto::Signer;
use arbiter_protocol::ids::PublicKey;
use arbiter_protocol::limits;
use arbiter_protocol::time::{DurationMillis, UnixMillis};
use serde::Deserialize;
use zeroize::{Zeroize as _, Zeroizing};

use super::escrow::{EpochSeed, EscrowKeys};
use super::file::{KeyFileError, parent, random, read_private, seed};

/// One epoch as its file has it.
pub struct EpochFile {
    /// The file.
    pub path: PathBuf,
    /// The number.
    pub epoch: u64,
    /// The public key.
    pub key: PublicKey,
    /// Agreements name it from then on.
    pub from: UnixMillis,
    /// It opens before then.
    pub until: UnixMillis,
    secret: Secret,
}

enum Secret {
    Live(Zeroizing<[u8; 32]>),
    Destroyed,
    /// Not the seed of the key.
    Damaged,
}

impl EpochFile {
    /// Whether the seed is gone.
    pub const fn is_destroyed(&self) -> bool {
        matches!(self.secret, Secret::Destroyed)
    }
}

/// Where the file of an epoch is.
pub fn path(key_file: &Path, epoch: u64) -> PathBuf {
    parent(key_file).join(format!("{}{epoch}", prefix(key_file)))
}

/// Every epoch of an arbiter, ascending.
pub fn list(key_file: &Path, arbiter: &PublicKey) -> Result<Vec<EpochFile>, KeyFileError> {
    let (folder, start) = (parent(key_file), prefix(key_file));
    let failed = |source| KeyFileError::Io { verb: "read", path: folder.to_owned(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().into_string().unwrap_or_default();
        let number = name.strip_prefix(&start).and_then(|digits| digits.parse::<u64>().ok());
        // Only the names that `create` gives: no sign, no leading zero.
        let Some(epoch) = number.filter(|epoch| *epoch > 0 && name == format!("{start}{epoch}")) else {
            continue;
        };
        found.push(read(entry.path(), epoch, arbiter)?);
    }
    found.sort_by_key(|it| it.epoch);
    Ok(found)
}

/// Epochs below the newest whose file is not there: nothing that names them can be opened.
pub fn missing(files: &[EpochFile]) -> Vec<u64> {
    let newest = files.last().map_or(0, |it| it.epoch);
    (1..newest).filter(|epoch| files.iter().all(|it| it.epoch != *epoch)).collect()
}

/// The keys of every epoch that is not destroyed. Epochs that have ended are left out: nothing is opened for them.
pub fn load(key_file: &Path, arbiter: &dyn Signer, now: UnixMillis) -> Result<EscrowKeys, KeyFileError> {
    let mut seeds = Vec::new();
    let mut newest = None;
    for file in list(key_file, &arbiter.public_key())?.into_iter().filter(|it| now < it.until) {
        let malformed = |problem| KeyFileError::Malformed { path: file.path.clone(), problem };
        match file.secret {
            Secret::Live(seed) => {
                seeds.push(EpochSeed { epoch: file.epoch, seed, from: file.from, until: file.until });
            }
            Secret::Destroyed => {}
            Secret::Damaged => return Err(malformed("its seed is not that of its key; restore a copy")),
        }
        newest = Some(file.path);
    }
    EscrowKeys::new(arbiter, &seeds).map_err(|_| KeyFileError::Malformed {
        path: newest.unwrap_or_else(|| key_file.to_owned()),
        problem: "an epoch with these fields cannot be published",
    })
}

/// Makes the next epoch: from `now`, or from when the newest begins if that is later. With `number` it gets that one,
/// which must be above all that are there: for who lost the files of newer epochs. No epoch may ever have two keys.
pub fn create(
    key_file: &Path,
    arbiter: &PublicKey,
    now: UnixMillis,
    opens_for: DurationMillis,
    number: Option<u64>,
) -> Result<EpochFile, KeyFileError> {
    let files = list(key_file, arbiter)?;
    let (next, from) =
        files.last().map_or((1, now), |newest| (newest.epoch.saturating_add(1), now.max(newest.from)));
    let (epoch, until) = (number.unwrap_or(next), from.after(opens_for));
    let path = path(key_file, epoch);
    if epoch < next {
        return Err(KeyFileError::Exists { path });
    }
    if epoch > next.saturating_add(MOST_SKIPPED) {
        return Err(KeyFileError::Malformed { path, problem: "its number skips more than 100 epochs" });
    }
    if until <= from || until.0 > limits::TIME_MILLIS || UnixMillis::parse(&until.to_string()) != Some(until)
    {
        return Err(KeyFileError::Malformed {
            path,
            problem: "it would end at a time that cannot be written",
        });
    }
    let secret = EpochSeed { epoch, seed: random()?, from, until };
    let malformed = |_| KeyFileError::Malformed { path: path.clone(), problem: "its seed gives no key" };
    let key =
        PublicKey::from_bytes(*secret.secret(arbiter.as_bytes()).map_err(malformed)?.public().as_bytes());
    let digits = Zeroizing::new(hex::encode(secret.seed.as_slice()));
    let text = Zeroizing::new(format!(
        "# Secret key that opens the escrows of one epoch of an arbiter. Keep a copy offline: without it nothing of this\n\
         # epoch can be opened. Never change it. When the epoch has ended, destroy every copy.\n\
         version = {VERSION}\nepoch = {epoch}\narbiter = \"{arbiter}\"\nkey = \"{key}\"\nfrom = \"{from}\"\n\
         until = \"{until}\"\nseed = \"{}\"\n",
        digits.as_str()
    ));
    write(&path, &text)?;
    Ok(EpochFile { path, epoch, key, from, until, secret: Secret::Live(secret.seed) })
}

/// Destroys the seed of every epoch that has ended. Gives their files.
pub fn retire(key_file: &Path, arbiter: &PublicKey, now: UnixMillis) -> Result<Vec<EpochFile>, KeyFileError> {
    let mut retired = Vec::new();
    for mut file in list(key_file, arbiter)? {
        if now < file.until || file.is_destroyed() {
            continue;
        }
        destroy(&file.path)?;
        file.secret = Secret::Destroyed;
        retired.push(file);
    }
    Ok(retired)
}

const VERSION: u32 = 1;
/// More is a slip of the hand.
const MOST_SKIPPED: u64 = 100;
/// 32 bytes as digits, all zero.
const DESTROYED: &str = "0000000000000000000000000000000000000000000000000000000000000000";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    epoch: u64,
    arbiter: String,
    key: String,
    from: String,
    until: String,
    seed: String,
}

impl Drop for Stored {
    fn drop(&mut self) {
        self.seed.zeroize();
    }
}

/// The name of a file of epochs, without its number.
fn prefix(key_file: &Path) -> String {
    let name = key_file.file_name().unwrap_or_default().to_string_lossy();
    format!("{name}.escrow-")
}

fn read(path: PathBuf, epoch: u64, arbiter: &PublicKey) -> Result<EpochFile, KeyFileError> {
    let text = read_private(&path)?;
    let malformed = |problem| KeyFileError::Malformed { path: path.clone(), problem };
    let stored: Stored =
        toml::from_str(&text).map_err(|_| malformed("unknown, missing or malformed keys"))?;
    if stored.version != VERSION || stored.epoch != epoch {
        return Err(malformed("another version, or another epoch than its name says"));
    }
    if PublicKey::parse_hex(&stored.arbiter, "arbiter").ok().as_ref() != Some(arbiter) {
        return Err(malformed("it belongs to another arbiter"));
    }
    let key = PublicKey::parse_hex(&stored.key, "key").map_err(|_| malformed("key is not a key"))?;
    let time = |text: &str| UnixMillis::parse(text).ok_or_else(|| malformed("from or until is not a time"));
    let (from, until) = (time(&stored.from)?, time(&stored.until)?);
    let seed = seed(&stored.seed).ok_or_else(|| malformed("seed is not 64 hexadecimal digits"))?;
    let secret = if stored.seed == DESTROYED {
        Secret::Destroyed
    } else {
        let seed = EpochSeed { epoch, seed, from, until };
        let gives = seed.secret(arbiter.as_bytes()).ok();
        let same = gives.is_some_and(|it| it.public().as_bytes() == key.as_bytes());
        if same { Secret::Live(seed.seed) } else { Secret::Damaged }
    };
    Ok(EpochFile { path, epoch, key, from, until, secret })
}

/// Writes beside, then links: the name is there only with all of the text, and never means another text.
fn write(path: &Path, text: &str) -> Result<(), KeyFileError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AlreadyExists => KeyFileError::Exists { path: path.to_owned() },
        _ => KeyFileError::Io { verb: "write", path: path.to_owned(), source },
    };
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.new", std::process::id()));
    let beside = PathBuf::from(beside);
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::hard_link(&beside, path)
    })();
    // A name that nobody reads; what is left of it after a crash is a copy for nobody.
    let removed = fs::remove_file(&beside);
    written.and(removed).map_err(failed)?;
    File::open(parent(path)).and_then(|folder| folder.sync_all()).map_err(failed)
}

/// Overwrites the digits of the seed where they are.
fn destroy(path: &Path) -> Result<(), KeyFileError> {
    let failed = |source| KeyFileError::Io { verb: "overwrite", path: path.to_owned(), source };
    let text = read_private(path)?;
    let digits = text.rfind("seed = \"").and_then(|at| at.checked_add("seed = \"".len()));
    let place = digits.and_then(|at| u64::try_from(at).ok());
    let not_there =
        KeyFileError::Malformed { path: path.to_owned(), problem: "its last line is not the seed" };
    let place = place.ok_or(not_there)?;
    let file = OpenOptions::new().write(true).open(path).map_err(failed)?;
    file.write_all_at(DESTROYED.as_bytes(), place).and_then(|()| file.sync_all()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use arbiter_protocol::crypto::MemorySigner;

    use super::*;

    const DAY: DurationMillis = DurationMillis(86_400_000);
    const NOW: UnixMillis = UnixMillis(1_795_132_800_000);

    fn arbiter() -> MemorySigner {
        MemorySigner::from_seed(&Zeroizing::new([1; 32]))
    }

    fn numbers(files: &[EpochFile]) -> Vec<u64> {
        files.iter().map(|it| it.epoch).collect()
    }

    /// R-412: an epoch has one statement for ever, and its own key.
    #[test]
    fn epochs_are_made_one_after_the_other_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let key_file = folder.path().join("arbiter.key");
        let key = arbiter().public_key();
        assert!(list(&key_file, &key).unwrap().is_empty());
        let one = create(&key_file, &key, NOW, DAY, None).unwrap();
        assert_eq!(one.path, folder.path().join("arbiter.key.escrow-1"));
        assert_eq!(fs::metadata(&one.path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!((one.from, one.until), (NOW, NOW.after(DAY)));
        // A clock that went back must not make the newest epoch begin before the one before it.
        let two = create(&key_file, &key, NOW.before(DAY), DAY, None).unwrap();
        assert_eq!((two.epoch, two.from), (2, NOW));
        assert_ne!(one.key, two.key);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left beside");

        let load = || load(&key_file, &arbiter(), NOW).unwrap();
        let (again, keys) = (load(), load());
        let signed: Vec<_> = keys.epochs().map(|it| it.envelope().encode()).collect();
        assert_eq!(signed, again.epochs().map(|it| it.envelope().encode()).collect::<Vec<_>>());
        assert_eq!(
            keys.epochs().map(|it| it.key).collect::<Vec<_>>(),
            [*one.key.as_bytes(), *two.key.as_bytes()]
        );
        for epoch in keys.epochs() {
            assert!(keys.secret(&epoch.escrow_key()).is_some());
        }
        fs::remove_file(&one.path).unwrap();
        let left = list(&key_file, &key).unwrap();
        assert_eq!((numbers(&left), missing(&left)), (vec![2], vec![1]));
        // The operator knows of newer ones that are lost, too: their numbers are not used again.
        assert!(matches!(create(&key_file, &key, NOW, DAY, Some(2)), Err(KeyFileError::Exists { .. })));
        assert!(matches!(
            create(&key_file, &key, NOW, DAY, Some(u64::MAX)),
            Err(KeyFileError::Malformed { .. })
        ));
        assert_eq!(create(&key_file, &key, NOW, DAY, Some(5)).unwrap().epoch, 5);
        let left = list(&key_file, &key).unwrap();
        assert_eq!((numbers(&left), missing(&left)), (vec![2, 5], vec![1, 3, 4]));
    }

    /// R-411, R-412: the seed is gone, the number is not free again.
    #[test]
    fn a_seed_is_destroyed_when_its_epoch_has_ended_and_not_before() {
        let folder = tempfile::tempdir().unwrap();
        let key_file = folder.path().join("arbiter.key");
        let key = arbiter().public_key();
        let one = create(&key_file, &key, NOW, DAY, None).unwrap();
        let digits = fs::read_to_string(&one.path).unwrap().rsplit('"').nth(1).unwrap().to_owned();
        assert!(retire(&key_file, &key, UnixMillis(one.until.0 - 1)).unwrap().is_empty());
        assert!(load(&key_file, &arbiter(), NOW).unwrap().secret(&escrow_key(&one)).is_some());
        // Cut off in the middle, or damaged: it counts no more, and it is destroyed all the same.
        let text = fs::read_to_string(&one.path).unwrap().replace(&digits[..30], &DESTROYED[..30]);
        fs::write(&one.path, text).unwrap();
        assert!(matches!(load(&key_file, &arbiter(), NOW), Err(KeyFileError::Malformed { .. })));
        assert!(load(&key_file, &arbiter(), one.until).is_ok());
        assert_eq!(numbers(&retire(&key_file, &key, one.until).unwrap()), [1]);
        let text = fs::read_to_string(&one.path).unwrap();
        assert!(!text.contains(&digits) && !text.contains(&digits[32..]) && text.contains(DESTROYED));
        assert!(retire(&key_file, &key, one.until).unwrap().is_empty(), "once");
        assert!(load(&key_file, &arbiter(), NOW).unwrap().epochs().next().is_none());
        assert!(list(&key_file, &key).unwrap()[0].is_destroyed());
        assert_eq!(create(&key_file, &key, one.until, DAY, None).unwrap().epoch, 2);
    }

    fn escrow_key(file: &EpochFile) -> arbiter_protocol::escrow::EscrowKey {
        let arbiter = *arbiter().public_key().as_bytes();
        arbiter_protocol::escrow::EscrowKey::from_bytes(arbiter, file.epoch, *file.key.as_bytes()).unwrap()
    }

    #[test]
    fn what_is_not_the_file_of_this_epoch_and_arbiter_is_refused_without_showing_the_seed() {
        let folder = tempfile::tempdir().unwrap();
        let key_file = folder.path().join("arbiter.key");
        let key = arbiter().public_key();
        let one = create(&key_file, &key, NOW, DAY, None).unwrap();
        let good = fs::read_to_string(&one.path).unwrap();
        let digits = good.rsplit('"').nth(1).unwrap().to_owned();
        let other = MemorySigner::from_seed(&Zeroizing::new([2; 32])).public_key();
        for bad in [
            good.replace("version = 1", "version = 2"),
            good.replace("epoch = 1", "epoch = 2"),
            good.replace(&key.to_string(), &other.to_string()),
            good.replace(&digits, &digits[1..]),
            good.replace("from = \"2026", "from = \"26"),
            format!("{good}more = 1\n"),
            String::new(),
        ] {
            assert_ne!(bad, good);
            fs::write(&one.path, bad).unwrap();
            let Err(error) = list(&key_file, &key) else { panic!("taken") };
            assert!(matches!(error, KeyFileError::Malformed { .. }), "{error}");
            assert!(!format!("{error} {error:?}").contains(&digits[1..]));
        }
        fs::write(&one.path, &good).unwrap();
        fs::set_permissions(&one.path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(list(&key_file, &key), Err(KeyFileError::Permissions { .. })));
        fs::set_permissions(&one.path, fs::Permissions::from_mode(0o600)).unwrap();
        // Names that `create` does not give are not looked at.
        for name in [
            "arbiter.key.escrow-01",
            "arbiter.key.escrow-+1",
            "arbiter.key.escrow-2.77.new",
            "other.escrow-1",
        ] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        assert_eq!(numbers(&list(&key_file, &key).unwrap()), [1]);
        for opens_for in [0, u64::MAX] {
            let made = create(&key_file, &key, NOW, DurationMillis(opens_for), None);
            assert!(matches!(made, Err(KeyFileError::Malformed { .. })));
        }
        assert_eq!(numbers(&list(&key_file, &key).unwrap()), [1]);
    }
}
