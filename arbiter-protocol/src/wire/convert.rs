//! Receipts and cases between gRPC and domain types: the only place where both are named.

use crate::error::{Invalid, Rejected};
use crate::exchange::kind::pledge::Pledge;
use crate::exchange::selection::Role;
use crate::ids::Digest;
use crate::limits;
use crate::message::agreement::{Acceptance, ArbiterIdentity, Offer};
use crate::message::request::Request;
use crate::role::arbiter::{Case, Escrows};
use crate::ruling::receipt::{Receipt, sort_evidence};
use crate::statement::{Envelope, Signed, Verified};
use crate::wire::arbiter as proto;

impl proto::Case {
    /// What a party files.
    pub fn file(
        request: &Verified<Request>,
        offer: &Verified<Offer>,
        acceptance: Option<&Verified<Acceptance>>,
        escrows: &Escrows,
    ) -> Self {
        Self {
            request: Some(request.envelope().to_wire()),
            offer: Some(offer.envelope().to_wire()),
            acceptance: acceptance.map(|it| it.envelope().to_wire()),
            originator_escrow: escrow_to_wire(escrows, Role::Originator),
            responder_escrow: escrow_to_wire(escrows, Role::Responder),
            assurance: proto::Assurance::Unspecified.into(),
        }
    }

    /// Verifies what a party filed with the arbiter `this`.
    pub fn admit(self, this: &ArbiterIdentity) -> Result<Case, Rejected> {
        let request = self.request.ok_or(Invalid::FieldMissing { field: "request" })?;
        let offer = self.offer.ok_or(Invalid::FieldMissing { field: "offer" })?;
        let acceptance = self.acceptance.map(Envelope::from_wire).transpose()?;
        Case::admit(
            this,
            Signed::parse(Envelope::from_wire(request)?)?,
            Signed::parse(Envelope::from_wire(offer)?)?,
            acceptance.map(Signed::parse).transpose()?,
            escrows_from_wire(&self.originator_escrow, &self.responder_escrow)?,
        )
    }
}

/// Empty where there is none.
fn escrow_to_wire(escrows: &Escrows, role: Role) -> Vec<u8> {
    escrows.of(role).as_ref().map(Pledge::to_bytes).unwrap_or_default()
}

fn escrows_from_wire(originator: &[u8], responder: &[u8]) -> Result<Escrows, Invalid> {
    let read = |bytes: &[u8], role: Role| match bytes {
        [] => Ok(None),
        bytes => Pledge::from_bytes(bytes).map(Some).map_err(|malformed| malformed.of(role)),
    };
    let originator = read(originator, Role::Originator)?;
    Ok(Escrows { originator, responder: read(responder, Role::Responder)? })
}

impl From<&Receipt> for proto::Receipt {
    fn from(receipt: &Receipt) -> Self {
        let evidence = &receipt.evidence;
        Self {
            statement: Some(receipt.statement.to_wire()),
            answer: Some(receipt.answer.to_wire()),
            leaf: receipt.leaf.clone(),
            inclusion_proof: receipt.inclusion_proof.iter().map(Digest::to_vec).collect(),
            checkpoint: receipt.checkpoint.clone(),
            evidence: [Some(&evidence.request), evidence.acceptance.as_ref()]
                .into_iter()
                .chain(evidence.attestations.iter().map(|(_, it)| it.as_ref()))
                .flatten()
                .map(Envelope::to_wire)
                .collect(),
            record_salts: receipt.record_salts.iter().map(|salt| salt.to_vec()).collect(),
            originator_escrow: escrow_to_wire(&evidence.escrows, Role::Originator),
            responder_escrow: escrow_to_wire(&evidence.escrows, Role::Responder),
        }
    }
}

impl TryFrom<proto::Receipt> for Receipt {
    type Error = Rejected;

    /// Counts are checked before anything is parsed.
    fn try_from(wire: proto::Receipt) -> Result<Self, Rejected> {
        if wire.inclusion_proof.len() > limits::PROOF_HASHES {
            return Err(Invalid::FieldLength { field: "inclusion_proof" }.into());
        }
        let escrows = escrows_from_wire(&wire.originator_escrow, &wire.responder_escrow)?;
        let envelopes = wire.evidence.into_iter().map(Envelope::from_wire).collect::<Result<_, _>>()?;
        let salts = wire
            .record_salts
            .into_iter()
            .map(|salt| salt.try_into().map_err(|_| Invalid::FieldLength { field: "record_salts" }))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            statement: Envelope::from_wire(
                wire.statement.ok_or(Invalid::FieldMissing { field: "statement" })?,
            )?,
            answer: Envelope::from_wire(wire.answer.ok_or(Invalid::FieldMissing { field: "answer" })?)?,
            leaf: wire.leaf,
            inclusion_proof: wire
                .inclusion_proof
                .iter()
                .map(|hash| Digest::parse(hash, "inclusion_proof"))
                .collect::<Result<_, _>>()?,
            checkpoint: wire.checkpoint,
            evidence: sort_evidence(envelopes, escrows)?,
            record_salts: salts,
        })
    }
}
