//! PEM (RFC 7468): text around DER. Read here, since buffers with private keys must be wiped and since an error must
//! name what was found instead.

use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use super::error::KeyError;

/// Larger than the PEM of any key or certificate that is taken, with text around it.
pub(super) const FILE_BYTES: usize = 16 * 1024;

/// The text marks of one kind of block.
const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";

/// A block: its label and what is inside.
pub(super) struct Block {
    pub(super) label: String,
    pub(super) der: Zeroizing<Vec<u8>>,
}

/// Reads a whole small file. With `private`, refuses one that others can use.
pub(super) fn read_file(path: &Path, private: bool) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let io = |error| KeyError::Io(error).at(path);
    let mut file = std::fs::File::open(path).map_err(io)?;
    let mode = file.metadata().map_err(io)?.mode() & 0o777;
    if private && mode & 0o077 != 0 {
        return Err(KeyError::Exposed { mode }.at(path));
    }
    // One buffer that never moves: no copy of a secret stays behind.
    let mut bytes = Zeroizing::new(vec![0; FILE_BYTES + 1]);
    let mut length = 0usize;
    while let Some(rest) = bytes.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read(rest).map_err(io)? {
            0 => break,
            count => length = length.saturating_add(count),
        }
    }
    if length > FILE_BYTES {
        return Err(KeyError::TooLong { most: FILE_BYTES }.at(path));
    }
    bytes.truncate(length);
    Ok(bytes)
}

/// Whether there is a PEM block, well formed or not.
pub(super) fn is_pem(text: &[u8]) -> bool {
    lines(text).any(|line| line.starts_with(BEGIN))
}

/// The only block of a text. Text outside of it is skipped, as other programs do.
pub(super) fn only_block(text: &[u8]) -> Result<Block, KeyError> {
    if text.len() > FILE_BYTES {
        return Err(KeyError::TooLong { most: FILE_BYTES });
    }
    let labels: Vec<&[u8]> = lines(text).filter_map(|line| between(line, BEGIN)).collect();
    if labels.iter().any(|label| label.starts_with(b"EC ")) {
        return Err(KeyError::Elliptic);
    }
    let [label] = labels.as_slice() else {
        let count = labels.len();
        return Err(if count == 0 { KeyError::NoPem } else { KeyError::ManyBlocks { count } });
    };
    let mut body = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut inside = lines(text).skip_while(|line| !line.starts_with(BEGIN)).skip(1);
    loop {
        let line = inside.next().ok_or(KeyError::BadPem)?;
        if line.starts_with(b"Proc-Type:") {
            return Err(KeyError::Encrypted);
        }
        if line.starts_with(END) {
            if between(line, END) != Some(*label) {
                return Err(KeyError::BadPem);
            }
            break;
        }
        body.extend_from_slice(line);
    }
    // Room for the last group even when it is padded.
    let mut der = Zeroizing::new(vec![0; body.len() / 4 * 3 + 3]);
    let length = STANDARD.decode_slice(body.as_slice(), &mut der).map_err(|_| KeyError::BadPem)?;
    der.truncate(length);
    Ok(Block { label: String::from_utf8_lossy(label).into_owned(), der })
}

/// Writes a block.
pub(super) fn write(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    let body = STANDARD.encode(der);
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at_checked(64).unwrap_or((rest, ""));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii)
}

fn between<'a>(line: &'a [u8], start: &[u8]) -> Option<&'a [u8]> {
    line.strip_prefix(start)?.strip_suffix(DASHES)
}
