//! Files, as a module.

use std::path::Path;

use arbiter_protocol::exchange::item::{Description, Item};
use arbiter_protocol::exchange::property::{Properties, Property};
use arbiter_protocol::limits;
use async_trait::async_trait;

use super::capability::{Capability, Means};
use super::{Given, Module, ModuleError, Order};

/// Gives the file that the caller names, and takes files.
#[derive(Clone, Debug)]
pub struct Files {
    largest: u64,
    media_types: Vec<String>,
}

impl Default for Files {
    /// Every file that an agreement can name.
    fn default() -> Self {
        Self { largest: limits::ITEM_BYTES, media_types: Vec::new() }
    }
}

impl Files {
    /// Only files of at most `largest` bytes, and of these media types; none means every type.
    pub fn only(largest: u64, media_types: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { largest, media_types: media_types.into_iter().map(Into::into).collect() }
    }
}

#[async_trait]
impl Module for Files {
    fn name(&self) -> &'static str {
        "files"
    }

    fn capability(&self) -> Capability {
        Capability {
            gives: true,
            takes: true,
            properties: Properties::new([Property::Resendable]),
            means: Means::Information { largest: Some(self.largest), media_types: self.media_types.clone() },
        }
    }

    async fn prepare(&self, item: &Item, source: Option<&Path>) -> Result<(), ModuleError> {
        match (&item.description, source) {
            (Description::Information(_), Some(_)) => Ok(()),
            (Description::Information(_), None) => Err(ModuleError::refused("NO_FILE", "no file was named")),
            _ => Err(ModuleError::refused("NO_INFORMATION", "files are information")),
        }
    }

    async fn give(&self, order: &Order) -> Result<Given, ModuleError> {
        match order {
            Order::Content { source: Some(path), .. } => Ok(Given::File(path.clone())),
            Order::Content { source: None, .. } => Err(ModuleError::refused("NO_FILE", "no file was named")),
            _ => Err(ModuleError::refused("NO_INFORMATION", "files are information")),
        }
    }
}
