//! What a file on disk is: hash, size and first bytes, read in bounded memory.

use std::fmt;
use std::io::Read;

use arbiter_protocol::exchange::item::Information;
use arbiter_protocol::exchange::kind::information::plausible;
use arbiter_protocol::ids::Digest;
use arbiter_protocol::limits;
use sha2::{Digest as _, Sha256};

use crate::plain;

/// What a file on disk is, for comparing with what the agreement describes.
#[derive(Clone, PartialEq, Eq)]
pub struct FileFacts {
    /// How to call it in the report.
    pub label: String,
    pub(super) sha256: Digest,
    size_bytes: u64,
    head: Vec<u8>,
}

/// Nothing of the file's content: it may be secret.
impl fmt::Debug for FileFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileFacts")
            .field("label", &self.label)
            .field("sha256", &self.sha256)
            .field("size_bytes", &self.size_bytes)
            .finish_non_exhaustive()
    }
}

impl FileFacts {
    /// Reads a file to its end in bounded memory.
    pub fn read(label: &str, mut content: impl Read) -> std::io::Result<Self> {
        let (mut hasher, mut head, mut size_bytes) = (Sha256::new(), Vec::new(), 0u64);
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let count = match content.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let bytes = buffer.get(..count).unwrap_or_default();
            hasher.update(bytes);
            head.extend(bytes.iter().take(HEAD_BYTES.saturating_sub(head.len())));
            size_bytes = size_bytes.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        }
        let sha256 = Digest::from_bytes(hasher.finalize().into());
        Ok(Self { label: plain::clip(label, 80), sha256, size_bytes, head })
    }

    /// The whole file, if it is small enough to be a signature or the text that one signs.
    pub(super) fn small(&self) -> Option<&[u8]> {
        let whole = u64::try_from(self.head.len()).is_ok_and(|length| length == self.size_bytes);
        whole.then_some(self.head.as_slice())
    }

    /// Whether the file is what `described` says: hash, size and media type.
    pub fn is(&self, described: &Information) -> bool {
        self.sha256 == described.sha256
            && self.size_bytes == described.size_bytes
            && plausible(self.head.get(..MAGIC_BYTES).unwrap_or(&self.head), &described.media_type)
    }
}

/// Magic bytes are looked for in this many first bytes.
const MAGIC_BYTES: usize = 512;
/// As many first bytes are kept: enough for magic bytes, and for every signature and every text that one signs.
const HEAD_BYTES: usize = 16 * 1024;
const _: () = assert!(HEAD_BYTES > limits::MODULUS_BYTES && HEAD_BYTES > limits::TEXT_BYTES + 2048);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_about_a_file_show_none_of_it() {
        let facts = FileFacts::read("secret.txt", &b"attack at dawn"[..]).unwrap();
        let shown = format!("{facts:?}");
        assert!(shown.contains("secret.txt") && !shown.contains("attack"), "{shown}");
        assert!(!shown.contains(&format!("{:?}", b"attack")[1..10]), "{shown}");
    }
}
