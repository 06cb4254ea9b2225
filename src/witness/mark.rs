//! The mark: a number that grows with every batch of cosignatures, kept outside the data. Data that is older than the
//! mark is not served: a witness that has forgotten what it signed could sign another history (R-552).
//!
//! ```text
//!  batch n:  data says n ──sync──▶ mark says n ──sync──▶ sign
//!            ▲ a crash here leaves the mark one behind: good        mark ahead of the data: the data was rolled back
//!
//!  file:  [ line, zeroes: 4096 bytes ][ line, zeroes: 4096 bytes ]      n is written to slot n mod 2
//!  line:  arbiter/witness-mark/v1 <key, hex> <n, 20 digits> <CRC-32C, hex>
//! ```
//!
//! Invariants
//! - A write that was cut destroys the older slot only, and nothing was signed for it.
//! - The mark belongs to one key; a file of another witness is refused.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use arbiter_protocol::ids::PublicKey;
use crc::{CRC_32_ISCSI, Crc};
use thiserror::Error;

use crate::keys::file::sync_folder;

/// Why the mark cannot be used. The operator or the machine is at fault.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MarkError {
    /// The system.
    #[error("cannot {verb} the mark {}: {source}", path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Neither slot can be read.
    #[error(
        "the mark {} is damaged, or of another witness: nobody knows what was signed; make a new witness with a new key",
        path.display()
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
    },
}

/// An open mark.
pub struct Mark {
    file: File,
    path: PathBuf,
    key: PublicKey,
    value: u64,
}

impl Mark {
    /// Makes the mark of a new witness, with the value 0. The file must not exist.
    pub fn create(path: &Path, key: PublicKey) -> Result<Self, MarkError> {
        let failed = |source| MarkError::Io { verb: "make", path: path.to_owned(), source };
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create_new(true).mode(0o600);
        let file = options.open(path).map_err(failed)?;
        let mut mark = Self { file, path: path.to_owned(), key, value: 0 };
        mark.set(0)?;
        sync_folder(path).map_err(failed)?;
        Ok(mark)
    }

    /// Opens a mark that must be there.
    pub fn open(path: &Path, key: PublicKey) -> Result<Self, MarkError> {
        let failed = |source| MarkError::Io { verb: "read", path: path.to_owned(), source };
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(failed)?;
        let mut value = None;
        for slot in 0..2_u64 {
            let mut line = [0; LINE];
            match file.read_exact_at(&mut line, slot.saturating_mul(SLOT)) {
                Ok(()) => value = value.max(parse(&line, key).filter(|value| value % 2 == slot)),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
                Err(error) => return Err(failed(error)),
            }
        }
        let value = value.ok_or_else(|| MarkError::Unreadable { path: path.to_owned() })?;
        Ok(Self { file, path: path.to_owned(), key, value })
    }

    /// The newest value.
    pub const fn value(&self) -> u64 {
        self.value
    }

    /// Writes a value and syncs. After an error nobody knows which value is there: the process must end.
    pub fn set(&mut self, value: u64) -> Result<(), MarkError> {
        let failed = |source| MarkError::Io { verb: "write", path: self.path.clone(), source };
        let place = (value % 2).saturating_mul(SLOT);
        self.file.write_all_at(line(self.key, value).as_bytes(), place).map_err(failed)?;
        self.file.sync_data().map_err(failed)?;
        self.value = value;
        Ok(())
    }
}

fn line(key: PublicKey, value: u64) -> String {
    let text = format!("arbiter/witness-mark/v1 {key} {value:020}");
    let sum = CRC.checksum(text.as_bytes());
    format!("{text} {sum:08x}\n")
}

fn parse(bytes: &[u8], key: PublicKey) -> Option<u64> {
    let text = std::str::from_utf8(bytes).ok()?;
    let value = text.split(' ').nth(2)?.parse().ok()?;
    (line(key, value) == text).then_some(value)
}

const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);
/// Bytes of a line: prefix, key, number, sum.
const LINE: usize = 23 + 1 + 64 + 1 + 20 + 1 + 8 + 1;
/// Where the second slot begins: no disk writes both together.
const SLOT: u64 = 4096;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const KEY: PublicKey = PublicKey::from_bytes([7; 32]);

    /// R-552.
    #[test]
    fn a_mark_is_read_back_and_a_cut_write_loses_at_most_one_step() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mark");
        let mut mark = Mark::create(&path, KEY).unwrap();
        assert!(Mark::create(&path, KEY).is_err());
        for value in [1, 2, 3, 4, u64::MAX - 1, u64::MAX] {
            mark.set(value).unwrap();
            assert_eq!(Mark::open(&path, KEY).unwrap().value(), value);
        }
        mark.set(10).unwrap();
        mark.set(11).unwrap();
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, &bad).unwrap();
            let read = Mark::open(&path, KEY).unwrap().value();
            let newest = (4096..4096 + LINE).contains(&at);
            assert_eq!(read, if newest { 10 } else { 11 }, "byte {at}");
        }
        assert!(matches!(
            Mark::open(&path, PublicKey::from_bytes([8; 32])),
            Err(MarkError::Unreadable { .. })
        ));
        for cut in [0, 1, LINE - 1] {
            fs::write(&path, &good[..cut]).unwrap();
            assert!(matches!(Mark::open(&path, KEY), Err(MarkError::Unreadable { .. })), "{cut}");
        }
        fs::write(&path, &good[..LINE]).unwrap();
        assert_eq!(Mark::open(&path, KEY).unwrap().value(), 10);
        fs::remove_file(&path).unwrap();
        assert!(matches!(Mark::open(&path, KEY), Err(MarkError::Io { .. })));
    }
}
