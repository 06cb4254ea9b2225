//! Time-stamps of others (RFC 3161). They are checked by `arbiter_protocol::timestamp`; here is what touches files and the
//! network.

#[cfg(feature = "audit")]
mod ask;

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

pub use arbiter_protocol::timestamp::{
    Authorities, QUERY, REPLY, REPLY_BYTES, Stamped, TimestampError, Token, granted, query,
};

#[cfg(feature = "audit")]
pub use ask::{AskError, ask};

/// Largest file of trusted certificates: a system's whole collection has about 250 KB.
const CA_BYTES: u64 = 2 * 1024 * 1024;

/// Reads the certificates (PEM) of the authorities that are trusted. The file is the user's; an error says what is wrong with it.
pub fn read_authorities(path: &Path) -> io::Result<Authorities> {
    let mut text = Vec::new();
    File::open(path)?.take(CA_BYTES).read_to_end(&mut text)?;
    Authorities::parse(&text).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
