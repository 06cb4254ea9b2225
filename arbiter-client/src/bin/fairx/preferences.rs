//! What a home takes and gives beside its purses: `preferences.toml`, if there is one.
//!
//! ```toml
//! signatures = ["detached/ed25519", "replacement"]  # no other formats, the one that is liked best first
//! largest_file = 1000000                            # bytes
//! media_types = ["application/pdf", "text/plain"]   # no other files
//! ```

use std::path::Path;
use std::sync::Arc;

use arbiter_client::ClientBuilder;
use arbiter_client::module::{Detached, Files, Format, Replacement, Service};
use arbiter_client::protocol::crypto::Signer;
use arbiter_client::protocol::limits;
use arbiter_client::signing::Algorithm;
use serde::Deserialize;

use crate::failure::Failure;

/// What is wanted; absent: everything.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preferences {
    signatures: Option<Vec<String>>,
    largest_file: Option<u64>,
    media_types: Option<Vec<String>>,
}

impl Preferences {
    /// Reads the file; none is no preferences.
    pub fn load(path: &Path) -> Result<Self, Failure> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(Failure::file(path, &error)),
        };
        toml::from_str(&text)
            .map_err(|error| Failure::usage(format!("{}: {}", path.display(), error.message())))
    }

    /// Modules that go by it. `signer`: the identity's.
    pub fn apply(
        self,
        mut builder: ClientBuilder,
        signer: &Arc<dyn Signer>,
    ) -> Result<ClientBuilder, Failure> {
        if let Some(formats) = self.signatures {
            builder = builder.only_own_modules(Service::Signature);
            for text in formats {
                builder = match text.parse() {
                    Ok(Format::Replacement) => builder.module(Arc::new(Replacement)),
                    Ok(Format::Detached(Algorithm::Ed25519)) => {
                        let own = Detached::with_signer("identity", signer.clone());
                        let own = own.map_err(|error| Failure::usage(error.to_string()))?;
                        builder.module(Arc::new(own))
                    }
                    Ok(Format::Detached(algorithm)) => builder.module(Arc::new(Detached::takes(algorithm))),
                    Err(()) => {
                        return Err(Failure::usage(format!(
                            "preferences.toml: {text:?} is no format of signatures"
                        ))
                        .next("`fairx capabilities` without preferences shows all formats"));
                    }
                };
            }
        }
        if self.largest_file.is_some() || self.media_types.is_some() {
            let files = Files::only(
                self.largest_file.unwrap_or(limits::ITEM_BYTES),
                self.media_types.unwrap_or_default(),
            );
            builder = builder.only_own_modules(Service::Information).module(Arc::new(files));
        }
        Ok(builder)
    }
}
