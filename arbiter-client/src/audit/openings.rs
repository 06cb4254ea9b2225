//! Openings as an operator hands them over: `arbiter open --field`. Fields of a record and its leaf; no proof that the leaf
//! is in the log, and no signature: an audit has the log itself.
//!
//! Invariant: parsing proves nothing, and everything has one form.

use std::path::Path;

use arbiter_protocol::evidence::leaf::Leaf;
use arbiter_protocol::evidence::record::{FIELDS, Opening};
use arbiter_protocol::limits;
use serde::Deserialize;

use crate::bundle::{self, BundleError};
use crate::texts::{decoded, hashes, lower_hex};

/// The media type of openings, also their `format` field.
const MEDIA_TYPE: &str = "application/vnd.arbiter.openings.v1+json";
/// The extension of files with them.
pub(super) const EXTENSION: &str = "json";
/// Most leaves of one exchange that have a record: two attestations, a verdict, for each party an answer for each payment.
const LEAVES: usize = 3 + 2 * limits::PACKAGE_LEAVES;
/// Hashes in the path of a field.
const PATH_HASHES: usize = 4;

/// The opened fields of one leaf.
pub(crate) struct Opened {
    pub(super) bytes: Vec<u8>,
    pub(super) leaf: Leaf,
    pub(crate) openings: Vec<Opening>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    leaf: String,
    openings: Vec<FieldFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FieldFile {
    field: String,
    index: u64,
    fields: u64,
    salt: String,
    value: String,
    path: Vec<String>,
}

/// Reads a file of openings.
pub(super) fn read(path: &Path) -> Result<Vec<Opened>, BundleError> {
    parse(&bundle::read_file(path)?)
}

/// Reads the bytes of such a file.
pub(crate) fn parse(bytes: &[u8]) -> Result<Vec<Opened>, BundleError> {
    let files: Vec<File> = bundle::from_json(bytes)?;
    if files.is_empty() || files.len() > LEAVES {
        return Err(BundleError::Field("openings"));
    }
    files.into_iter().map(opened).collect()
}

fn opened(file: File) -> Result<Opened, BundleError> {
    if file.format != MEDIA_TYPE {
        return Err(BundleError::Format);
    }
    let bytes = file.leaf.into_bytes();
    let leaf = Leaf::decode(&bytes).map_err(|_| BundleError::Field("leaf"))?;
    if file.openings.is_empty() || file.openings.len() > limits::RECORD_FIELDS {
        return Err(BundleError::Field("openings"));
    }
    let opening = |it: FieldFile| {
        Ok(Opening {
            leaf: leaf.index,
            index: it.index,
            fields: it.fields,
            salt: lower_hex(&it.salt, "salt")?,
            value: decoded(&it.value, limits::ESCROW_BYTES, "value")?,
            path: hashes(&it.path, PATH_HASHES, "path")?,
            name: Some(it.field)
                .filter(|it| FIELDS.contains(&it.as_str()))
                .ok_or(BundleError::Field("field"))?,
        })
    };
    let openings = file.openings.into_iter().map(opening).collect::<Result<_, BundleError>>()?;
    Ok(Opened { bytes, leaf, openings })
}
