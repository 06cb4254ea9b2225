//! A party's request to the arbiter.
//!
//! A request carries no nonce and no time: asking twice for the same thing is the same request, so a retry
//! gets the same answer (F6, R19). The request's digest is in the verdict it causes and in every answer (K3).

use crate::error::Invalid;
use crate::exchange::selection::Role;
use crate::ids::{AgreementId, ExchangeId};
use crate::message::{VERSION, check_version, role_from_wire, role_to_wire, wire};
use crate::statement::Payload;

/// What a party asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// End the exchange without items (`AbortExchange`).
    Abort,
    /// Check and keep my item for the peer (`VerifyTransfer`).
    Deposit,
    /// Give me what the peer deposited (`FetchDeposit`).
    Fetch,
    /// Tell me the verdict, if there is one (`GetVerdict`).
    Query,
    /// Replace what the peer withholds (`GenerateItem`).
    Resolve,
    /// Undo what was transferred (`RevokeTransfer`).
    Revoke,
}

/// A request for one exchange by the party in one role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The exchange.
    pub exchange_id: ExchangeId,
    /// The agreement; absent while the requester knows no acceptance.
    pub agreement_id: Option<AgreementId>,
    /// The requester's role: its key must have signed.
    pub role: Role,
    /// What is asked.
    pub action: Action,
}

impl Payload for Request {
    const TYPE: &'static str = "application/vnd.arbiter.request.v1+protobuf";
    const NAME: &'static str = "request";
    type Wire = wire::Request;

    fn from_wire(wire: wire::Request) -> Result<Self, Invalid> {
        check_version(wire.version, Self::NAME)?;
        let agreement_id = match wire.agreement_id.as_slice() {
            [] => None,
            bytes => Some(AgreementId::parse(bytes, "agreement_id")?),
        };
        let action = match wire::Action::try_from(wire.action) {
            Ok(wire::Action::Abort) => Action::Abort,
            Ok(wire::Action::Deposit) => Action::Deposit,
            Ok(wire::Action::Fetch) => Action::Fetch,
            Ok(wire::Action::Query) => Action::Query,
            Ok(wire::Action::Resolve) => Action::Resolve,
            Ok(wire::Action::Revoke) => Action::Revoke,
            Ok(wire::Action::Unspecified) | Err(_) => return Err(Invalid::FieldValue { field: "action" }),
        };
        Ok(Self {
            exchange_id: ExchangeId::parse(&wire.exchange_id, "exchange_id")?,
            agreement_id,
            role: role_from_wire(wire.role, "role")?,
            action,
        })
    }

    fn to_wire(&self) -> wire::Request {
        let action = match self.action {
            Action::Abort => wire::Action::Abort,
            Action::Deposit => wire::Action::Deposit,
            Action::Fetch => wire::Action::Fetch,
            Action::Query => wire::Action::Query,
            Action::Resolve => wire::Action::Resolve,
            Action::Revoke => wire::Action::Revoke,
        };
        wire::Request {
            version: VERSION,
            exchange_id: self.exchange_id.to_vec(),
            agreement_id: self.agreement_id.map_or_else(Vec::new, |id| id.to_vec()),
            role: role_to_wire(self.role),
            action: action.into(),
        }
    }
}
