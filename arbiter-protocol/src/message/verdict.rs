//! What the arbiter signs: verdicts, attestations of deposits, and answers that bind them to requests.

use crate::error::Invalid;
use crate::exchange::item::{Item, check_line};
use crate::exchange::selection::Role;
use crate::ids::{AgreementId, Digest, ExchangeId, LeafIndex, PublicKey};
use crate::limits;
use crate::message::{
    VERSION, check_version, digests_from_wire, role_from_wire, role_to_wire, time_from_wire, wire,
};
use crate::statement::Payload;
use crate::time::UnixMillis;

/// How an exchange was ruled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// The abort token: the arbiter never replaces an item of this exchange.
    Aborted,
    /// The arbiter's signature on the verdict counts as the named parties' signatures (decision D5).
    Replaced(Vec<Replacement>),
    /// P6: the arbiter had these parties' items in time, and the others' not; ascending, may be none. It blames nobody: what
    /// went directly from peer to peer it has not seen.
    Affidavit(Vec<Role>),
    /// The arbiter undoes the transfers of these parties' items; ascending, one or two.
    Revoked(Vec<Role>),
}

/// One item that the verdict replaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replacement {
    /// Whose item.
    pub role: Role,
    /// The item.
    pub item: Item,
}

/// The one verdict of an exchange, with everything that decided it (requirement R4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The exchange.
    pub exchange_id: ExchangeId,
    /// The agreement; absent if the originator aborted before it saw an acceptance.
    pub agreement_id: Option<AgreementId>,
    /// The originator's signing key.
    pub originator: PublicKey,
    /// The responder's signing key.
    pub responder: PublicKey,
    /// [`Item::digest`] of the originator's item.
    pub originator_item: Digest,
    /// [`Item::digest`] of the responder's item.
    pub responder_item: Digest,
    /// The ruling.
    pub ruling: Ruling,
    /// The rule that decided, an id of `SPEC.md`, e.g. `R-404`.
    pub rule: String,
    /// The rule version, e.g. `arbiter/rules/v1`.
    pub rules: String,
    /// Who asked.
    pub requested_by: Role,
    /// Digest of the request that caused the verdict.
    pub request: Digest,
    /// Digests of the statements relied on: offer, acceptance, attestation, as far as there are.
    pub evidence: Vec<Digest>,
    /// The verdict's leaf in the evidence log.
    pub leaf_index: LeafIndex,
    /// The arbiter's time.
    pub time: UnixMillis,
}

impl Payload for Verdict {
    const TYPE: &'static str = "application/vnd.arbiter.verdict.v1+protobuf";
    const NAME: &'static str = "verdict";
    type Wire = wire::Verdict;

    fn from_wire(wire: wire::Verdict) -> Result<Self, Invalid> {
        check_version(wire.version, Self::NAME)?;
        let replacements = wire
            .replacements
            .into_iter()
            .map(|it| {
                let item = it.item.ok_or(Invalid::FieldMissing { field: "item" })?;
                Ok(Replacement {
                    role: role_from_wire(it.role, "role")?,
                    item: Item::from_wire(item, "item")?,
                })
            })
            .collect::<Result<Vec<_>, Invalid>>()?;
        let ascending = replacements.windows(2).all(|pair| matches!(pair, [a, b] if a.role < b.role));
        let revoked = roles_from_wire(&wire.revoked, "revoked")?;
        let performed = roles_from_wire(&wire.performed, "performed")?;
        let empty = (replacements.is_empty(), revoked.is_empty(), performed.is_empty());
        let ruling = match (wire::Ruling::try_from(wire.ruling), empty) {
            (Ok(wire::Ruling::Aborted), (true, true, true)) => Ruling::Aborted,
            (Ok(wire::Ruling::Affidavit), (true, true, _)) => Ruling::Affidavit(performed),
            (Ok(wire::Ruling::Replaced), (false, true, true)) if ascending => Ruling::Replaced(replacements),
            (Ok(wire::Ruling::Revoked), (true, false, true)) => Ruling::Revoked(revoked),
            _ => return Err(Invalid::FieldValue { field: "ruling" }),
        };
        check_line(&wire.rule, limits::NAME_BYTES, "rule")?;
        check_line(&wire.rules, limits::NAME_BYTES, "rules")?;
        let agreement_id = match wire.agreement_id.as_slice() {
            [] => None,
            bytes => Some(AgreementId::parse(bytes, "agreement_id")?),
        };
        Ok(Self {
            exchange_id: ExchangeId::parse(&wire.exchange_id, "exchange_id")?,
            agreement_id,
            originator: PublicKey::parse(&wire.originator_key, "originator_key")?,
            responder: PublicKey::parse(&wire.responder_key, "responder_key")?,
            originator_item: Digest::parse(&wire.originator_item, "originator_item")?,
            responder_item: Digest::parse(&wire.responder_item, "responder_item")?,
            ruling,
            rule: wire.rule,
            rules: wire.rules,
            requested_by: role_from_wire(wire.requested_by, "requested_by")?,
            request: Digest::parse(&wire.request, "request")?,
            evidence: digests_from_wire(&wire.evidence, "evidence")?,
            leaf_index: LeafIndex(wire.leaf_index),
            time: time_from_wire(wire.time, "time")?,
        })
    }

    fn to_wire(&self) -> wire::Verdict {
        let replacement = |it: &Replacement| wire::Replacement {
            role: role_to_wire(it.role),
            item: Some(it.item.to_wire()),
        };
        let roles = |list: &[Role]| list.iter().map(|role| role_to_wire(*role)).collect();
        let (mut replacements, mut revoked, mut performed) = (Vec::new(), Vec::new(), Vec::new());
        let ruling = match &self.ruling {
            Ruling::Aborted => wire::Ruling::Aborted,
            Ruling::Affidavit(list) => {
                performed = roles(list);
                wire::Ruling::Affidavit
            }
            Ruling::Replaced(list) => {
                replacements = list.iter().map(replacement).collect();
                wire::Ruling::Replaced
            }
            Ruling::Revoked(list) => {
                revoked = roles(list);
                wire::Ruling::Revoked
            }
        };
        wire::Verdict {
            version: VERSION,
            exchange_id: self.exchange_id.to_vec(),
            agreement_id: self.agreement_id.map_or_else(Vec::new, |id| id.to_vec()),
            originator_key: self.originator.to_vec(),
            responder_key: self.responder.to_vec(),
            originator_item: self.originator_item.to_vec(),
            responder_item: self.responder_item.to_vec(),
            ruling: ruling.into(),
            rule: self.rule.clone(),
            rules: self.rules.clone(),
            requested_by: role_to_wire(self.requested_by),
            request: self.request.to_vec(),
            evidence: self.evidence.iter().map(Digest::to_vec).collect(),
            replacements,
            leaf_index: self.leaf_index.0,
            time: self.time.0,
            revoked,
            performed,
        }
    }
}

/// Ascending, without repetition.
fn roles_from_wire(numbers: &[i32], field: &'static str) -> Result<Vec<Role>, Invalid> {
    let roles = numbers.iter().map(|role| role_from_wire(*role, field)).collect::<Result<Vec<_>, _>>()?;
    let ascending = roles.windows(2).all(|pair| matches!(pair, [a, b] if a < b));
    if ascending { Ok(roles) } else { Err(Invalid::FieldValue { field }) }
}

/// "I hold this item for the peer, and it fits its description": the answer to a deposit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attestation {
    /// The exchange.
    pub exchange_id: ExchangeId,
    /// The agreement.
    pub agreement_id: AgreementId,
    /// Who deposited.
    pub depositor: Role,
    /// [`Item::digest`] of the item deposited.
    pub item: Digest,
    /// Digest of the deposit request.
    pub request: Digest,
    /// The attestation's leaf in the evidence log.
    pub leaf_index: LeafIndex,
    /// The arbiter's time.
    pub time: UnixMillis,
    /// The rule version.
    pub rules: String,
}

impl Payload for Attestation {
    const TYPE: &'static str = "application/vnd.arbiter.attestation.v1+protobuf";
    const NAME: &'static str = "attestation";
    type Wire = wire::Attestation;

    fn from_wire(wire: wire::Attestation) -> Result<Self, Invalid> {
        check_version(wire.version, Self::NAME)?;
        check_line(&wire.rules, limits::NAME_BYTES, "rules")?;
        Ok(Self {
            exchange_id: ExchangeId::parse(&wire.exchange_id, "exchange_id")?,
            agreement_id: AgreementId::parse(&wire.agreement_id, "agreement_id")?,
            depositor: role_from_wire(wire.depositor, "depositor")?,
            item: Digest::parse(&wire.item, "item")?,
            request: Digest::parse(&wire.request, "request")?,
            leaf_index: LeafIndex(wire.leaf_index),
            time: time_from_wire(wire.time, "time")?,
            rules: wire.rules,
        })
    }

    fn to_wire(&self) -> wire::Attestation {
        wire::Attestation {
            version: VERSION,
            exchange_id: self.exchange_id.to_vec(),
            agreement_id: self.agreement_id.to_vec(),
            depositor: role_to_wire(self.depositor),
            item: self.item.to_vec(),
            request: self.request.to_vec(),
            leaf_index: self.leaf_index.0,
            time: self.time.0,
            rules: self.rules.clone(),
        }
    }
}

/// "This statement, in this tree, answers your request" (R-410, attack K3).
///
/// The tree is the one of the statement's own batch, so the same request gets the same answer for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Digest of the request answered.
    pub request: Digest,
    /// Digest of the verdict or attestation.
    pub statement: Digest,
    /// The statement's leaf.
    pub leaf_index: LeafIndex,
    /// Size of the tree to which the inclusion proof leads.
    pub tree_size: u64,
    /// Root of that tree.
    pub root: Digest,
}

impl Payload for Answer {
    const TYPE: &'static str = "application/vnd.arbiter.answer.v1+protobuf";
    const NAME: &'static str = "answer";
    type Wire = wire::Answer;

    fn from_wire(wire: wire::Answer) -> Result<Self, Invalid> {
        check_version(wire.version, Self::NAME)?;
        Ok(Self {
            request: Digest::parse(&wire.request, "request")?,
            statement: Digest::parse(&wire.statement, "statement")?,
            leaf_index: LeafIndex(wire.leaf_index),
            tree_size: wire.tree_size,
            root: Digest::parse(&wire.root, "root")?,
        })
    }

    fn to_wire(&self) -> wire::Answer {
        wire::Answer {
            version: VERSION,
            request: self.request.to_vec(),
            statement: self.statement.to_vec(),
            leaf_index: self.leaf_index.0,
            tree_size: self.tree_size,
            root: self.root.to_vec(),
        }
    }
}
