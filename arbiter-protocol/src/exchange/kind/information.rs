//! Information: a file, checked chunk by chunk in bounded memory. Re-sendable through the arbiter.

use sha2::{Digest as _, Sha256};

use crate::exchange::item::Information;
use crate::exchange::kind::Unfit;
use crate::ids::Digest;

/// Magic bytes are looked for in this many first bytes.
const HEAD_BYTES: usize = 512;

/// Checks the bytes of a file against its description.
pub struct FileCheck {
    agreed: Information,
    hasher: Sha256,
    head: Vec<u8>,
    found: u64,
}

impl FileCheck {
    /// Starts checking against `agreed`.
    pub fn new(agreed: Information) -> Self {
        Self { agreed, hasher: Sha256::new(), head: Vec::new(), found: 0 }
    }

    /// Takes the next bytes; fails as soon as there are too many (no need to read on).
    pub fn update(&mut self, bytes: &[u8]) -> Result<(), Unfit> {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.found = self.found.saturating_add(length);
        if self.found > self.agreed.size_bytes {
            return Err(self.wrong_size());
        }
        let wanted = HEAD_BYTES.saturating_sub(self.head.len());
        self.head.extend(bytes.iter().take(wanted));
        self.hasher.update(bytes);
        Ok(())
    }

    /// Bytes taken so far.
    pub const fn found(&self) -> u64 {
        self.found
    }

    /// Ends the check: size, then hash, then media type.
    pub fn finish(self) -> Result<Information, Unfit> {
        if self.found != self.agreed.size_bytes {
            return Err(self.wrong_size());
        }
        if Digest::from_bytes(self.hasher.finalize().into()) != self.agreed.sha256 {
            return Err(Unfit::Hash);
        }
        if !plausible(&self.head, &self.agreed.media_type) {
            return Err(Unfit::Type);
        }
        Ok(self.agreed)
    }

    const fn wrong_size(&self) -> Unfit {
        Unfit::Size { found: self.found, agreed: self.agreed.size_bytes }
    }
}

/// Whether content that starts with `head` may be called `media_type`. Types without magic bytes are taken
/// as declared; types with magic bytes must show them; content that shows another type is refused.
pub fn plausible(head: &[u8], media_type: &str) -> bool {
    let shown = infer::get(head).map(|kind| kind.mime_type());
    // "Just bytes" (RFC 2046 section 4.5.1) claims nothing, although the library files a kind of image under it.
    if media_type != "application/octet-stream" && infer::is_mime_supported(media_type) {
        return shown == Some(media_type);
    }
    // Container formats (an OpenDocument file is a ZIP) show less than they are: only exact claims are tested.
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn describe(content: &[u8], media_type: &str) -> Information {
        Information {
            sha256: Digest::of(&[content]),
            size_bytes: u64::try_from(content.len()).unwrap(),
            media_type: media_type.into(),
            name: "file".into(),
        }
    }

    fn check(agreed: &Information, content: &[u8], step: usize) -> Result<Information, Unfit> {
        let mut check = FileCheck::new(agreed.clone());
        for part in content.chunks(step) {
            let before = check.found();
            check.update(part)?;
            assert_eq!(check.found(), before + u64::try_from(part.len()).unwrap());
        }
        assert_eq!(check.found(), u64::try_from(content.len()).unwrap());
        check.finish()
    }

    /// R-305, S16: one byte, one size, one type away.
    #[test]
    fn content_fits_only_its_own_description() {
        let content = b"%PDF-1.7\nexample".repeat(100);
        let agreed = describe(&content, "application/pdf");
        for step in [1, 7, 4096] {
            assert!(check(&agreed, &content, step).is_ok());
        }
        for position in [0, 700, content.len() - 1] {
            let mut altered = content.clone();
            altered[position] ^= 1;
            assert_eq!(check(&agreed, &altered, 64), Err(Unfit::Hash));
        }
        let size = Err(Unfit::Size { found: 1599, agreed: 1600 });
        assert_eq!(check(&agreed, &content[..1599], 64), size);
        let longer = [&content[..], b"x"].concat();
        assert!(matches!(check(&agreed, &longer, 64), Err(Unfit::Size { .. })));

        let text = b"not a pdf at all";
        assert_eq!(check(&describe(text, "application/pdf"), text, 64), Err(Unfit::Type));
        assert_eq!(check(&describe(&content, "image/png"), &content, 64), Err(Unfit::Type));
        assert!(check(&describe(text, "text/plain"), text, 64).is_ok());
        assert!(check(&describe(text, "application/octet-stream"), text, 64).is_ok());
    }
}
