//! The log as the world sees it: published checkpoint, tile API, static export, mirror.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may fail")]

#[path = "../arbiter-client/tests/authority/mod.rs"]
mod authority;
#[path = "publish/checkpoint.rs"]
mod checkpoint;
mod common;
#[path = "publish/decimal.rs"]
mod decimal;
#[path = "publish/export.rs"]
mod export;
#[path = "publish/http.rs"]
mod http;
#[path = "common/issuer.rs"]
mod issuer;
#[path = "publish/mirror.rs"]
mod mirror;
#[path = "publish/program.rs"]
mod program;
#[path = "publish/queries.rs"]
mod queries;
#[path = "publish/stamps.rs"]
mod stamps;
#[path = "publish/tls.rs"]
mod tls;
