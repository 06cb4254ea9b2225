//! The receipt: a ruling with everything that proves it, checked without a network.
//!
//! ```text
//!  statement (verdict | attestation) ◀─ answer ─▶ request
//!        │ digest = token
//!        ▼
//!      leaf ── inclusion proof ──▶ root in checkpoint ◀── log key
//!        └ record = root over salted request, offer, acceptance, attestations, pledges, statement
//! ```
//! [`Receipt::verify`] also decides the case again from the evidence and compares (requirement R17): a
//! verdict that the rules do not give is refused even though the arbiter signed it (F13).

use std::borrow::Cow;

use thiserror::Error;

use crate::error::{Refused, Rejected};
use crate::evidence::checkpoint::{CheckpointError, SignedCheckpoint};
use crate::evidence::leaf::{Event, Leaf, issuer_id};
use crate::evidence::merkle::{self, ProofError};
use crate::evidence::note::VerifierKey;
use crate::evidence::record::{RecordField, record_root};
use crate::exchange::kind::content::FitContent;
use crate::exchange::kind::pledge::Pledge;
use crate::exchange::selection::{ByRole, Protocol};
use crate::ids::{Digest, LeafIndex};
use crate::limits;
use crate::message::agreement::{Acceptance, Agreement, ArbiterIdentity, Offer};
use crate::message::request::Request;
use crate::message::verdict::{Answer, Attestation, Ruling, Verdict};
use crate::role::arbiter::{Case, Decision, Escrows, Known, decide};
use crate::statement::{Envelope, Payload, Signed, Verified};
use crate::time::UnixMillis;
use crate::weaken::{Countermeasure, off};

/// A reply of the arbiter: nothing in it has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// A verdict or an attestation.
    pub statement: Envelope,
    /// Binds the statement to the request that this replies to.
    pub answer: Envelope,
    /// The leaf, exactly as hashed.
    pub leaf: Vec<u8>,
    /// From the leaf's sibling to the root's child, at most [`limits::PROOF_HASHES`].
    pub inclusion_proof: Vec<Digest>,
    /// Signed note.
    pub checkpoint: String,
    /// What the statement rests on.
    pub evidence: Evidence,
    /// One salt for each present field of the sealed record, in schema order.
    pub record_salts: Vec<[u8; 16]>,
}

/// What a statement of the arbiter rests on, beside the offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The request that caused it; not always the one that this receipt answers.
    pub request: Envelope,
    /// The responder's acceptance.
    pub acceptance: Option<Envelope>,
    /// The attestations of deposits, for a verdict that relies on them, by depositor.
    pub attestations: ByRole<Option<Envelope>>,
    /// The escrows that were opened, and the reservations that were posted. Who wants to know whether an escrow was good
    /// checks it (R-310); what was in it is not here.
    pub escrows: Escrows,
}

/// What the arbiter said, proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ruled {
    /// A deposit is attested.
    Attestation(Verified<Attestation>),
    /// The exchange is ruled.
    Verdict(Verified<Verdict>),
}

/// A receipt whose every part was verified.
#[derive(Clone, Debug)]
pub struct Proven {
    /// What the arbiter said.
    pub ruled: Ruled,
    /// The agreement that it rests on, if there was one.
    pub agreement: Option<Agreement>,
    /// The public leaf.
    pub leaf: Leaf,
    /// The checkpoint that covers it.
    pub checkpoint: SignedCheckpoint,
    /// Digest of the request that the receipt answers.
    pub request: Digest,
}

/// Which check of a receipt failed. The arbiter, or who passed the receipt on, is at fault.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Unproven {
    /// The answer is for another request (attack K3).
    #[error("the answer is bound to another request")]
    OtherRequest,
    /// The answer names another statement, leaf or tree than the receipt holds.
    #[error("the answer does not match the statement, leaf or checkpoint beside it")]
    AnswerMismatch,
    /// The statement or its evidence is malformed, wrongly signed, or breaks a rule.
    #[error("statement or evidence: {0}")]
    Statement(#[from] Rejected),
    /// The rules do not give this verdict for this evidence.
    #[error("the rules give another decision for this evidence (F13)")]
    RuleNotFollowed,
    /// The leaf does not describe the statement.
    #[error("the leaf does not describe the statement")]
    LeafMismatch,
    /// The sealed record does not match the leaf's commitment.
    #[error("the sealed record does not match the commitment in the leaf")]
    RecordMismatch,
    /// The log's signature or the note's form.
    #[error("checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// The leaf is not proven to be in the tree.
    #[error("inclusion: {0}")]
    Inclusion(#[from] ProofError),
}

impl From<crate::error::Invalid> for Unproven {
    fn from(invalid: crate::error::Invalid) -> Self {
        Self::Statement(invalid.into())
    }
}

impl From<Refused> for Unproven {
    fn from(refused: Refused) -> Self {
        Self::Statement(refused.into())
    }
}

impl Receipt {
    /// Verifies everything, offline, against the arbiter named in the offer, in the order of R-506. With
    /// `request`, the receipt must answer that request.
    pub fn verify(&self, offer: &Verified<Offer>, request: Option<Digest>) -> Result<Proven, Unproven> {
        let arbiter = &offer.arbiter;
        let answer = Signed::<Answer>::parse(self.answer.clone())?.verify(&arbiter.key)?;
        let any_request = off(Countermeasure::AnswerForThisRequest);
        if request.is_some_and(|request| answer.request != request) && !any_request {
            return Err(Unproven::OtherRequest);
        }
        if answer.statement != self.statement.digest() {
            return Err(Unproven::AnswerMismatch);
        }
        let (ruled, agreement) = decided_again(&self.statement, &self.evidence, offer)?;
        let leaf = self.verify_leaf(offer, &ruled, &answer)?;
        let checkpoint = self.verify_log(arbiter, &answer)?;
        Ok(Proven { ruled, agreement, leaf, checkpoint, request: answer.request })
    }

    fn verify_leaf(&self, offer: &Verified<Offer>, ruled: &Ruled, answer: &Answer) -> Result<Leaf, Unproven> {
        let leaf = Leaf::decode(&self.leaf)?;
        let fits = leaf.index == ruled.leaf_index()
            && leaf.index == answer.leaf_index
            && leaf.event == ruled.event()
            && leaf.reason == ruled.rule(offer.selection.protocol)
            && leaf.time == ruled.time()
            && leaf.token == self.statement.digest()
            && leaf.policy == Digest::of(&[offer.arbiter.rules.as_bytes()])
            && leaf.issuer == issuer_id(&offer.arbiter.key);
        if !fits {
            return Err(Unproven::LeafMismatch);
        }
        let values = record_values(offer.envelope(), &self.evidence, &self.statement);
        if values.len() != self.record_salts.len() {
            return Err(Unproven::RecordMismatch);
        }
        let fields: Vec<_> = values
            .into_iter()
            .zip(&self.record_salts)
            .map(|((name, value), salt)| RecordField { name, salt: *salt, value })
            .collect();
        if record_root(&fields) != leaf.record {
            return Err(Unproven::RecordMismatch);
        }
        Ok(leaf)
    }

    /// Size and root come from the signed checkpoint alone, never from the proof.
    fn verify_log(&self, arbiter: &ArbiterIdentity, answer: &Answer) -> Result<SignedCheckpoint, Unproven> {
        let log_key = VerifierKey::new(arbiter.log_origin.as_str(), arbiter.log_key)
            .map_err(|_| crate::error::Invalid::FieldValue { field: "log_origin" })?;
        let signed = SignedCheckpoint::verify(&self.checkpoint, &log_key)?;
        let checkpoint = signed.checkpoint();
        if checkpoint.origin != arbiter.log_origin
            || checkpoint.size != answer.tree_size
            || checkpoint.root != answer.root
        {
            return Err(Unproven::AnswerMismatch);
        }
        let hash = merkle::leaf_hash(&self.leaf);
        merkle::verify_inclusion(
            &hash,
            answer.leaf_index.0,
            checkpoint.size,
            &self.inclusion_proof,
            &checkpoint.root,
        )?;
        Ok(signed)
    }
}

/// Signature, evidence, and the decision made again.
pub(super) fn decided_again(
    statement: &Envelope,
    evidence: &Evidence,
    offer: &Verified<Offer>,
) -> Result<(Ruled, Option<Agreement>), Unproven> {
    let arbiter = &offer.arbiter;
    let acceptance = evidence.acceptance.clone().map(Signed::<Acceptance>::parse).transpose()?;
    let request = Signed::<Request>::parse(evidence.request.clone())?;
    let case = Case::reopen(request, offer.clone(), acceptance, evidence.escrows.clone())?;
    let agreement = case.agreement().cloned();

    if statement.holds::<Attestation>() {
        let stated = Signed::<Attestation>::parse(statement.clone())?.verify(&arbiter.key)?;
        let again = decide(&case, Known::default(), stated.time, stated.leaf_index, NOTHING)?;
        if again != Decision::Attest((*stated).clone()) {
            return Err(Unproven::RuleNotFollowed);
        }
        return Ok((Ruled::Attestation(stated), agreement));
    }
    let verdict = Signed::<Verdict>::parse(statement.clone())?.verify(&arbiter.key)?;
    let mut attestations = ByRole::<Option<Verified<Attestation>>>::default();
    for (role, envelope) in evidence.attestations.iter() {
        let Some(envelope) = envelope else { continue };
        let deposit = Signed::<Attestation>::parse(envelope.clone())?.verify(&arbiter.key)?;
        if deposit.exchange_id != offer.exchange_id() {
            return Err(Refused::OtherExchange.into());
        }
        if deposit.depositor != role || !could_rest_on(&verdict, &deposit, offer) {
            return Err(Unproven::RuleNotFollowed);
        }
        *attestations.of_mut(role) = Some(deposit);
    }
    let known = Known {
        verdict: None,
        attestations: attestations.map(|_, it| it.as_ref().map(|deposit| (&**deposit, deposit.digest()))),
    };
    let again = decide(&case, known, verdict.time, verdict.leaf_index, NOTHING)?;
    if again != Decision::Rule((*verdict).clone()) {
        return Err(Unproven::RuleNotFollowed);
    }
    Ok((Ruled::Verdict(verdict), agreement))
}

/// A verifier holds neither deposits nor what was in escrow: it takes the arbiter's word that they were good.
const NOTHING: ByRole<Option<&FitContent>> = ByRole { originator: None, responder: None };

/// R-406, R-416, R-421: a verdict rests on a deposit of an agreed item, attested under the same rules before it.
fn could_rest_on(verdict: &Verdict, deposit: &Attestation, offer: &Offer) -> bool {
    deposit.item == offer.item(deposit.depositor).digest()
        && deposit.rules == verdict.rules
        && deposit.leaf_index < verdict.leaf_index
        && deposit.time <= verdict.time
}

/// The sealed record's fields in schema order: names and exact payloads, of an escrow its encoding.
/// A pledge is named after what it is.
pub fn record_values<'a>(
    offer: &'a Envelope,
    evidence: &'a Evidence,
    statement: &'a Envelope,
) -> Vec<(&'static str, Cow<'a, [u8]>)> {
    let payload = |envelope: &'a Envelope| Cow::Borrowed(envelope.payload());
    let pledge = |pledge: &'a Option<Pledge>, names: [&'static str; 2]| match (pledge, names) {
        (None, [name, _]) => (name, None),
        (Some(escrows @ Pledge::Escrows(_)), [name, _]) => (name, Some(Cow::Owned(escrows.to_bytes()))),
        (Some(Pledge::Reservation(receipt)), [_, name]) => (name, Some(payload(receipt))),
    };
    [
        ("request", Some(payload(&evidence.request))),
        ("offer", Some(payload(offer))),
        ("acceptance", evidence.acceptance.as_ref().map(payload)),
        ("originator-attestation", evidence.attestations.originator.as_ref().map(payload)),
        ("responder-attestation", evidence.attestations.responder.as_ref().map(payload)),
        pledge(&evidence.escrows.originator, ["originator-escrow", "originator-reservation"]),
        pledge(&evidence.escrows.responder, ["responder-escrow", "responder-reservation"]),
        ("statement", Some(payload(statement))),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect()
}

impl Ruled {
    /// The event that the leaf must name.
    pub fn event(&self) -> Event {
        match self {
            Self::Attestation(_) => Event::DepositAccepted,
            Self::Verdict(verdict) => Self::event_of(verdict),
        }
    }

    /// The event that a verdict is.
    pub const fn event_of(verdict: &Verdict) -> Event {
        match verdict.ruling {
            Ruling::Aborted => Event::VerdictAborted,
            Ruling::Affidavit(_) => Event::VerdictAffidavit,
            Ruling::Replaced(_) => Event::VerdictReplaced,
            Ruling::Revoked(_) => Event::VerdictRevoked,
        }
    }

    /// The rule that decided, in an exchange of this protocol.
    pub fn rule(&self, protocol: Protocol) -> &str {
        match self {
            Self::Attestation(_) => deposit_rule(protocol),
            Self::Verdict(verdict) => &verdict.rule,
        }
    }

    /// The arbiter's time.
    pub fn time(&self) -> UnixMillis {
        match self {
            Self::Attestation(attestation) => attestation.time,
            Self::Verdict(verdict) => verdict.time,
        }
    }

    /// The statement's leaf.
    pub fn leaf_index(&self) -> LeafIndex {
        match self {
            Self::Attestation(attestation) => attestation.leaf_index,
            Self::Verdict(verdict) => verdict.leaf_index,
        }
    }

    /// The verdict, if it is one.
    pub const fn verdict(&self) -> Option<&Verified<Verdict>> {
        match self {
            Self::Attestation(_) => None,
            Self::Verdict(verdict) => Some(verdict),
        }
    }
}

/// The rule by which a deposit is accepted.
pub const fn deposit_rule(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Affidavit => "R-425",
        Protocol::BothDeposited => "R-420",
        Protocol::RevokeOnSilence => "R-415",
        // The others take no deposit.
        Protocol::ContractSigning
        | Protocol::MutualRollback
        | Protocol::Transfer
        | Protocol::VerifyThenGenerate => "R-407",
    }
}

/// Two statements that an honest arbiter never both makes (F14, scenario S38).
///
/// Verdicts on one exchange must be the same bytes, and so must attestations of one depositor; a log must have one root at
/// one size and one leaf at one place. Both receipts were verified against the same arbiter.
pub fn contradict(one: &Proven, other: &Proven) -> bool {
    let statements = match (&one.ruled, &other.ruled) {
        (Ruled::Verdict(a), Ruled::Verdict(b)) => a.exchange_id == b.exchange_id && a.digest() != b.digest(),
        (Ruled::Attestation(a), Ruled::Attestation(b)) => {
            let same = a.exchange_id == b.exchange_id && a.depositor == b.depositor;
            same && a.digest() != b.digest()
        }
        _ => false,
    };
    let same_log = one.checkpoint.checkpoint().origin == other.checkpoint.checkpoint().origin;
    let leaves = same_log && one.leaf.index == other.leaf.index && one.leaf != other.leaf;
    statements || leaves || one.checkpoint.contradicts(&other.checkpoint)
}

/// The envelope kinds that can be evidence, told apart by payload type; used when reading one from outside.
pub fn sort_evidence(envelopes: Vec<Envelope>, escrows: Escrows) -> Result<Evidence, Rejected> {
    let (mut request, mut acceptance, mut attestations) = (None, None, ByRole::default());
    if envelopes.len() > limits::EVIDENCE_HASHES {
        return Err(crate::error::Invalid::FieldLength { field: "evidence" }.into());
    }
    for envelope in envelopes {
        let place = match envelope.payload_type() {
            Request::TYPE => &mut request,
            Acceptance::TYPE => &mut acceptance,
            Attestation::TYPE => {
                let depositor = Signed::<Attestation>::parse(envelope.clone())?.unverified().depositor;
                attestations.of_mut(depositor)
            }
            _ => return Err(crate::error::Invalid::PayloadType { expected: "piece of evidence" }.into()),
        };
        if place.replace(envelope).is_some() {
            return Err(crate::error::Invalid::FieldValue { field: "evidence" }.into());
        }
    }
    let request = request.ok_or(crate::error::Invalid::FieldMissing { field: "evidence" })?;
    Ok(Evidence { request, acceptance, attestations, escrows })
}
