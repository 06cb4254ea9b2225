//! The files of `fairx escrow`: secret key, public line, and reading and writing with limits.
//!
//! ```text
//!  fairx-escrow-key:v1:<arbiter, 64 hex digits>:<epoch, decimal>:<key, 64 hex digits>
//! ```

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use arbiter_client::identity::IdentityError;
use arbiter_protocol::escrow::{EscrowKey, EscrowSecret};
use zeroize::Zeroizing;

use crate::failure::Failure;

const PREFIX: &str = "fairx-escrow-key:v1:";
/// Larger than a secret file or a key file.
const KEY_FILE_BYTES: usize = 4096;

/// 32 bytes in hex, lower case: one form.
pub fn bytes_32(text: &str) -> Result<[u8; 32], String> {
    let mut bytes = [0; 32];
    let good =
        hex::decode_to_slice(text, &mut bytes).is_ok() && !text.contains(|c: char| c.is_ascii_uppercase());
    if good { Ok(bytes) } else { Err("say 64 hex digits, lower case".to_owned()) }
}

/// 32 fresh secret bytes.
pub fn random() -> Result<Zeroizing<[u8; 32]>, Failure> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(bytes.as_mut_slice()).map_err(|error| Failure::bad(format!("no randomness: {error}")))?;
    Ok(bytes)
}

/// Reads a file, which must not have more bytes than `most`.
pub fn read(path: &Path, most: usize) -> Result<Vec<u8>, Failure> {
    let bytes = read_at_most(path, most.saturating_add(1))?;
    if bytes.len() > most {
        return Err(Failure::usage(format!("{} has more than {most} bytes", path.display())));
    }
    Ok(bytes)
}

/// Reads the first bytes of a file.
pub fn read_at_most(path: &Path, most: usize) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX);
    let read = File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes));
    read.map_err(|error| Failure::file(path, &error))?;
    Ok(bytes)
}

/// Says so early if the file is there already.
pub fn must_be_new(path: &Path) -> Result<(), Failure> {
    if path.symlink_metadata().is_ok() { Err(exists(path)) } else { Ok(()) }
}

/// Writes a file that must not be there yet. What could not be written whole is removed.
pub fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Failure> {
    let mut file = match OpenOptions::new().write(true).create_new(true).mode(mode).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Err(exists(path)),
        Err(error) => return Err(Failure::file(path, &error)),
    };
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|error| {
        let _ = std::fs::remove_file(path);
        Failure::file(path, &error)
    })
}

fn exists(path: &Path) -> Failure {
    Failure::usage(format!("{} exists already and is never overwritten; say another --out", path.display()))
}

/// The public line of an escrow key.
pub fn public_line(key: &EscrowKey) -> String {
    format!("{PREFIX}{}:{}:{}", hex::encode(key.arbiter()), key.epoch(), hex::encode(key.as_bytes()))
}

/// Reads a public line, or a file with one and comments.
pub fn key(line_or_file: &str) -> Result<EscrowKey, Failure> {
    if line_or_file.starts_with(PREFIX) {
        return parse_line(line_or_file);
    }
    let path = Path::new(line_or_file);
    let bytes = read(path, KEY_FILE_BYTES)?;
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    match (lines.next(), lines.next()) {
        (Some(line), None) => parse_line(line),
        _ => Err(Failure::usage(format!("{} must hold one {PREFIX}... line", path.display()))),
    }
}

fn parse_line(line: &str) -> Result<EscrowKey, Failure> {
    let malformed = || {
        Failure::usage(format!("this is no escrow key line; it looks like {PREFIX}ARBITER:EPOCH:KEY"))
            .next("copy the line that `fairx escrow keygen` printed, whole")
    };
    let rest = line.strip_prefix(PREFIX).ok_or_else(malformed)?;
    let [arbiter, epoch, key] =
        <[&str; 3]>::try_from(rest.split(':').collect::<Vec<_>>()).map_err(|_| malformed())?;
    let arbiter = bytes_32(arbiter).map_err(|_| malformed())?;
    let epoch = number(epoch).ok_or_else(malformed)?;
    let key = bytes_32(key).map_err(|_| malformed())?;
    EscrowKey::from_bytes(arbiter, epoch, key).map_err(|error| Failure::bad(error.to_string()))
}

/// A number without sign or leading zeros.
fn number(text: &str) -> Option<u64> {
    text.parse::<u64>().ok().filter(|number| number.to_string() == text)
}

/// Writes a secret file.
pub fn write_secret(path: &Path, secret: &EscrowSecret, seed: &Zeroizing<[u8; 32]>) -> Result<(), Failure> {
    let key = secret.public();
    let digits = Zeroizing::new(hex::encode(seed.as_slice()));
    // Large enough that the buffer never moves and leaves no copy behind.
    let mut text = Zeroizing::new(String::with_capacity(KEY_FILE_BYTES));
    text.push_str("# The secret of an arbiter's escrow key. Who has this file opens every escrow to it: never share it.\n# ");
    text.push_str(&public_line(key));
    text.push_str("\nversion = 1\narbiter = \"");
    text.push_str(&hex::encode(key.arbiter()));
    text.push_str("\"\nepoch = ");
    text.push_str(&key.epoch().to_string());
    text.push_str("\nseed = \"");
    text.push_str(&digits);
    text.push_str("\"\n");
    write_new(path, text.as_bytes(), 0o600)
}

/// Reads a secret file; refuses one that others can use.
pub fn read_secret(path: &Path) -> Result<EscrowSecret, Failure> {
    let io = |error: std::io::Error| Failure::file(path, &error);
    let malformed =
        || Failure::usage(format!("{} is no secret file as `fairx escrow keygen` writes it", path.display()));
    let mut file = File::open(path).map_err(io)?;
    let mode = file.metadata().map_err(io)?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(IdentityError::Exposed { path: path.to_owned(), mode }.into());
    }
    let mut bytes = Zeroizing::new([0; KEY_FILE_BYTES]);
    let mut length = 0usize;
    while let Some(rest) = bytes.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read(rest).map_err(io)? {
            0 => break,
            count => length = length.saturating_add(count),
        }
    }
    if length >= KEY_FILE_BYTES {
        return Err(malformed());
    }
    let text = std::str::from_utf8(bytes.get(..length).unwrap_or_default()).map_err(|_| malformed())?;
    let mut lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut next = |name: &str| lines.next().and_then(|line| line.strip_prefix(name)?.strip_prefix(" = "));
    let quoted = |text: Option<&'_ str>| -> Option<Zeroizing<[u8; 32]>> {
        let digits = text?.strip_prefix('"')?.strip_suffix('"')?;
        let mut bytes = Zeroizing::new([0; 32]);
        hex::decode_to_slice(digits, bytes.as_mut_slice()).ok()?;
        Some(bytes)
    };
    if next("version") != Some("1") {
        return Err(malformed());
    }
    let arbiter = quoted(next("arbiter")).ok_or_else(malformed)?;
    let epoch = next("epoch").and_then(number).ok_or_else(malformed)?;
    let seed = quoted(next("seed")).ok_or_else(malformed)?;
    if lines.next().is_some() {
        return Err(malformed());
    }
    EscrowSecret::from_seed(&seed, *arbiter, epoch).map_err(|error| Failure::bad(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_line_has_one_form() {
        let secret = EscrowSecret::from_seed(&Zeroizing::new([7; 32]), [0xab; 32], 40).unwrap();
        let line = public_line(secret.public());
        assert_eq!(parse_line(&line).unwrap(), *secret.public());
        for (position, byte) in line.bytes().enumerate() {
            for other in [b'0', b'A', b':', b'+', byte.to_ascii_uppercase()] {
                let mut bytes = line.clone().into_bytes();
                bytes[position] = other;
                let other = String::from_utf8(bytes).unwrap();
                if let Ok(parsed) = parse_line(&other) {
                    assert_eq!(public_line(&parsed), other);
                }
            }
        }
        for bad in [
            "",
            PREFIX,
            &line[..80],
            &format!("{line}:"),
            &format!("{line} "),
            &line.replace(":40:", ":040:"),
        ] {
            assert!(parse_line(bad).is_err(), "{bad}");
        }
    }
}
