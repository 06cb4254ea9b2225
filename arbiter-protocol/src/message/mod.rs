//! Statements: what parties and arbiter sign. `SPEC.md` section 3 lists every field.
//!
//! ```text
//! originator ──Offer──▶ responder ──Acceptance──▶ originator      both: Transfer
//! party ──Request──▶ arbiter ──Verdict | Attestation, and an Answer that binds it to the request──▶ party
//! ```
//! The generated protobuf types of payloads stay in this module and in `statement`.

pub mod account;
pub mod agreement;
pub mod escrow_epoch;
pub mod payment;
pub mod request;
pub mod succession;
pub mod transfer;
pub mod verdict;

/// The generated protobuf messages of `proto/arbiter/statement/v1`.
#[allow(missing_docs, clippy::all, clippy::pedantic, clippy::as_conversions)]
#[rustfmt::skip]
#[path = "../wire/gen/arbiter.statement.v1.rs"]
pub mod wire;

use crate::error::Invalid;
use crate::exchange::selection::Role;
use crate::ids::Digest;
use crate::limits;
use crate::time::UnixMillis;

/// R-103: every statement has format version 1.
const VERSION: u32 = 1;

fn check_version(version: u32, what: &'static str) -> Result<(), Invalid> {
    if version == VERSION { Ok(()) } else { Err(Invalid::Version { what, version }) }
}

/// Reads a role from its protobuf number.
pub(crate) fn role_from_wire(number: i32, field: &'static str) -> Result<Role, Invalid> {
    match wire::Role::try_from(number) {
        Ok(wire::Role::Originator) => Ok(Role::Originator),
        Ok(wire::Role::Responder) => Ok(Role::Responder),
        _ => Err(Invalid::FieldValue { field }),
    }
}

pub(crate) fn role_to_wire(role: Role) -> i32 {
    match role {
        Role::Originator => wire::Role::Originator.into(),
        Role::Responder => wire::Role::Responder.into(),
    }
}

pub(crate) fn time_from_wire(millis: u64, field: &'static str) -> Result<UnixMillis, Invalid> {
    if millis == 0 || millis > limits::TIME_MILLIS {
        return Err(Invalid::FieldValue { field });
    }
    Ok(UnixMillis(millis))
}

fn digests_from_wire(list: &[Vec<u8>], field: &'static str) -> Result<Vec<Digest>, Invalid> {
    if list.len() > limits::EVIDENCE_HASHES {
        return Err(Invalid::FieldLength { field });
    }
    list.iter().map(|bytes| Digest::parse(bytes, field)).collect()
}
