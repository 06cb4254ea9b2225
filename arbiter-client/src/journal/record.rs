//! The entries of the journal and their bytes.

use std::ffi::OsStr;
use std::ops::RangeInclusive;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use arbiter_protocol::crypto::Signer;
use arbiter_protocol::exchange::kind::pledge::Pledge;
use arbiter_protocol::exchange::selection::{ByRole, Role};
use arbiter_protocol::ids::{Digest, ExchangeId, PublicKey};
use arbiter_protocol::message::agreement::{Acceptance, Agreement, Offer};
use arbiter_protocol::message::payment::{PaymentReceipt, PaymentTerms};
use arbiter_protocol::message::transfer::Transfer;
use arbiter_protocol::role::arbiter::Escrows;
use arbiter_protocol::role::{Ask, Outcome, Phase, Session, Timing};
use arbiter_protocol::ruling::receipt::Receipt;
use arbiter_protocol::statement::{Envelope, Payload, Signed, Verified};
use arbiter_protocol::time::{DurationMillis, UnixMillis};
use arbiter_protocol::wire::arbiter as proto;
use prost::Message as _;
use zeroize::{Zeroize as _, Zeroizing};

use crate::arbiter::{Misbehaviour, Offence};
use crate::bundle::BundledReceipt;
use crate::error::StoreError;
use crate::give::Own;
use crate::ledger::till;
use crate::outcome::{Evidence, Status};

/// Version 1 knew no detached signatures, version 2 no payments, version 3 no reservations: the new fields are empty there,
/// which is what they should be.
const RECORD_VERSIONS: RangeInclusive<u32> = 1..=4;
const MISBEHAVIOUR_VERSION: u32 = 1;

/// Everything that is kept about one exchange. It has no `Debug`: our signature is a secret until it leaves.
#[derive(Clone)]
pub(crate) struct Record {
    pub session: Session,
    pub own_transfer: Option<Verified<Transfer>>,
    pub peer_transfer: Option<Verified<Transfer>>,
    pub receipts: Vec<BundledReceipt>,
    pub own: Own,
    pub peer_pledge: Option<Pledge>,
    pub peer_signature: Option<Vec<u8>>,
    /// The newest receipts for the peer's payments: of all of them, or none.
    pub peer_receipts: Vec<Verified<PaymentReceipt>>,
    pub received_file: Option<PathBuf>,
    pub since: UnixMillis,
    pub remark: Option<String>,
}

impl Record {
    pub(crate) const fn new(session: Session, own: Own, since: UnixMillis) -> Self {
        Self {
            session,
            own_transfer: None,
            peer_transfer: None,
            receipts: Vec::new(),
            own,
            peer_pledge: None,
            peer_signature: None,
            peer_receipts: Vec::new(),
            received_file: None,
            since,
            remark: None,
        }
    }

    /// Signs our transfer as soon as the session says that it may leave.
    pub(crate) fn sign_transfer(&mut self, signer: &dyn Signer) {
        if self.session.sent()
            && self.own_transfer.is_none()
            && let Some(agreement) = self.session.agreement()
        {
            let transfer = Transfer::new(agreement, self.session.role());
            self.own_transfer = Some(Verified::sign(transfer, signer));
        }
    }

    /// Our signature will never leave: forget it.
    pub(crate) fn forget_if_aborted(&mut self) {
        if self.session.phase() == Phase::Done(Outcome::Aborted) {
            self.own.signature = None;
        }
    }

    /// Takes over the bytes of what the peer gave, checked: a detached signature, or a receipt.
    pub(crate) fn got(&mut self, bytes: Option<Vec<u8>>) {
        let peer = self.session.role().peer();
        let terms = PaymentTerms::all(self.session.offer(), peer);
        if terms.is_empty() {
            self.peer_signature = bytes;
            return;
        }
        // Final receipts are not replaced by older ones.
        if self.peer_receipts.is_empty() || self.peer_receipts.iter().any(|known| !known.is_final()) {
            self.peer_receipts = bytes.and_then(|bytes| till::receipts(&bytes, &terms)).unwrap_or_default();
        }
    }

    /// The newest receipts of the payments, as far as there are.
    pub(crate) fn payments(&self) -> ByRole<Vec<Verified<PaymentReceipt>>> {
        let role = self.session.role();
        let mut payments = ByRole::default();
        *payments.of_mut(role) = self.own.receipts.clone();
        *payments.of_mut(role.peer()) = self.peer_receipts.clone();
        payments
    }

    /// Both pledges, as far as they came.
    pub(crate) fn escrows(&self) -> Escrows {
        let role = self.session.role();
        let mut escrows = Escrows::default();
        *escrows.of_mut(role) = self.own.pledge.clone();
        *escrows.of_mut(role.peer()) = self.peer_pledge.clone();
        escrows
    }

    /// What may be shown: nothing before the end, and nothing of an aborted exchange.
    fn signatures(&self) -> ByRole<Option<Vec<u8>>> {
        let mut signatures = ByRole::default();
        if matches!(self.session.phase(), Phase::Done(Outcome::Completed | Outcome::Resolved)) {
            let role = self.session.role();
            *signatures.of_mut(role) = self.own.signature.as_ref().map(|signature| signature.to_vec());
            *signatures.of_mut(role.peer()) = self.peer_signature.clone();
        }
        signatures
    }

    /// The session with the timing of this client: the margin is a setting, not a promise.
    pub(crate) fn with_timing(self, timing: Timing) -> Self {
        Self { session: self.session.with_timing(timing), ..self }
    }

    /// Learns the acceptance from the arbiter, if the peer never sent it.
    pub(crate) fn adopt(&mut self, agreement: &Agreement) {
        self.session = self.session.clone().with_agreement(agreement);
    }

    /// Adds verified receipts; whether there was anything new. The arbiter answers a repeated question with a
    /// new receipt for the same statement: one is enough. The first proof under witnesses is kept with it.
    pub(crate) fn keep(&mut self, receipts: Vec<BundledReceipt>) -> bool {
        let mut learned = false;
        for receipt in receipts {
            match self.receipts.iter_mut().find(|known| known.statement == receipt.statement) {
                None => self.receipts.push(receipt),
                Some(known) if known.tlog_proof.is_none() && receipt.tlog_proof.is_some() => {
                    known.tlog_proof = receipt.tlog_proof;
                }
                Some(_) => continue,
            }
            learned = true;
        }
        learned
    }

    pub(crate) fn acceptance(&self) -> Option<Verified<Acceptance>> {
        self.session.agreement().map(|agreement| agreement.acceptance().clone())
    }

    pub(crate) fn status(&self) -> Status {
        Status {
            phase: self.session.phase(),
            sent: self.session.sent(),
            since: self.since,
            remark: self.remark.clone(),
            ordered: self.own.ordered,
            evidence: self.evidence(),
        }
    }

    pub(crate) fn evidence(&self) -> Evidence {
        Evidence {
            role: self.session.role(),
            offer: self.session.offer().clone(),
            acceptance: self.acceptance(),
            own_transfer: self.own_transfer.clone(),
            peer_transfer: self.peer_transfer.clone(),
            receipts: self.receipts.clone(),
            own_files: self.own.files.clone(),
            received_file: self.received_file.clone(),
            escrows: self.escrows(),
            signatures: self.signatures(),
            payments: self.payments(),
        }
    }

    pub(crate) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let envelope =
            |it: &Option<Verified<Transfer>>| it.as_ref().map_or_else(Vec::new, |it| it.envelope().encode());
        let pledge = |it: &Option<Pledge>| it.as_ref().map_or_else(Vec::new, Pledge::to_bytes);
        let mut wire = wire::Record {
            version: *RECORD_VERSIONS.end(),
            responder: self.session.role() == Role::Responder,
            offer: self.session.offer().envelope().encode(),
            acceptance: self.acceptance().map_or_else(Vec::new, |it| it.envelope().encode()),
            sent: self.session.sent(),
            phase: phase_to_wire(self.session.phase()),
            own_transfer: envelope(&self.own_transfer),
            peer_transfer: envelope(&self.peer_transfer),
            receipts: self.receipts.iter().map(|it| proto::Receipt::from(&it.receipt)).collect(),
            tlog_proofs: proofs(&self.receipts),
            own_file: self.own.files.iter().map(|path| path_to_wire(Some(path))).collect(),
            received_file: path_to_wire(self.received_file.as_deref()),
            since: self.since.0,
            remark: self.remark.clone().unwrap_or_default(),
            own_signature: self.own.signature.as_ref().map_or_else(Vec::new, |it| it.to_vec()),
            own_escrow: pledge(&self.own.pledge),
            peer_escrow: pledge(&self.peer_pledge),
            peer_signature: self.peer_signature.clone().unwrap_or_default(),
            checksum: Vec::new(),
            ordered: self.own.ordered,
            own_receipt: till::content(&self.own.receipts),
            peer_receipt: till::content(&self.peer_receipts),
        };
        wire.checksum = wire.sum();
        let bytes = Zeroizing::new(wire.encode_to_vec());
        wire.own_signature.zeroize();
        bytes
    }

    /// Reads and verifies again: damage shows here, not in a session.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        Self::decoded(bytes).ok_or_else(|| StoreError::Damaged("exchange".to_owned()))
    }

    fn decoded(bytes: &[u8]) -> Option<Self> {
        let wire = wire::Record::decode(bytes).ok().filter(|it| RECORD_VERSIONS.contains(&it.version))?;
        // Escrows and signatures cannot all be verified without a long calculation: a hash shows damage as well.
        if wire.checksum != wire.sum() {
            return None;
        }
        let own_signature = Zeroizing::new(wire.own_signature);
        let role = if wire.responder { Role::Responder } else { Role::Originator };
        let offer = signed::<Offer>(&wire.offer)?.verify_offer().ok()?;
        let acceptance = match wire.acceptance.as_slice() {
            [] => None,
            bytes => Some(signed::<Acceptance>(bytes)?.verify(&offer.responder.signing_key).ok()?),
        };
        let phase = phase_from_wire(wire.phase)?;
        let timing = Timing { complain_margin: DurationMillis(0) };
        let session = Session::restore(role, offer, acceptance, wire.sent, phase, timing).ok()?;
        let transfer = |bytes: &[u8], sender| match (bytes, session.agreement()) {
            ([], _) => Some(None),
            (_, None) => None,
            (bytes, Some(agreement)) => {
                signed::<Transfer>(bytes)?.verify_for(agreement, sender).ok().map(Some)
            }
        };
        let paid = |bytes: &[u8], payer| match bytes {
            [] => Some(Vec::new()),
            bytes => till::receipts(bytes, &PaymentTerms::all(session.offer(), payer)),
        };
        Some(Self {
            own_transfer: transfer(&wire.own_transfer, role)?,
            peer_transfer: transfer(&wire.peer_transfer, role.peer())?,
            receipts: bundled(wire.receipts, wire.tlog_proofs)?,
            own: Own {
                files: wire.own_file.iter().filter_map(|path| path_from_wire(path)).collect(),
                signature: (!own_signature.is_empty()).then_some(own_signature),
                pledge: pledge_from_wire(&wire.own_escrow)?,
                ordered: wire.ordered,
                receipts: paid(&wire.own_receipt, role)?,
            },
            peer_receipts: paid(&wire.peer_receipt, role.peer())?,
            peer_pledge: pledge_from_wire(&wire.peer_escrow)?,
            peer_signature: Some(wire.peer_signature).filter(|it| !it.is_empty()),
            received_file: path_from_wire(&wire.received_file),
            since: UnixMillis(wire.since),
            remark: Some(wire.remark).filter(|text| !text.is_empty()),
            session,
        })
    }
}

pub(crate) fn encode_misbehaviour(proof: &Misbehaviour) -> Vec<u8> {
    let (offence, detail) = match &proof.offence {
        Offence::InconsistentLog => (1, String::new()),
        Offence::TwoVerdicts => (2, String::new()),
        Offence::Unproven(why) => (3, why.clone()),
    };
    wire::Misbehaviour {
        version: MISBEHAVIOUR_VERSION,
        arbiter: proof.arbiter.to_vec(),
        exchange_id: proof.exchange_id.to_vec(),
        request: proof.request.to_vec(),
        offence,
        detail,
        receipts: proof.receipts.iter().map(proto::Receipt::from).collect(),
        checkpoints: proof.checkpoints.clone(),
        shown: proof.shown.iter().map(Digest::to_vec).collect(),
    }
    .encode_to_vec()
}

pub(crate) fn decode_misbehaviour(bytes: &[u8]) -> Result<Misbehaviour, StoreError> {
    let decoded = || {
        let wire =
            wire::Misbehaviour::decode(bytes).ok().filter(|wire| wire.version == MISBEHAVIOUR_VERSION)?;
        let offence = match wire.offence {
            1 => Offence::InconsistentLog,
            2 => Offence::TwoVerdicts,
            3 => Offence::Unproven(wire.detail),
            _ => return None,
        };
        Some(Misbehaviour {
            arbiter: PublicKey::parse(&wire.arbiter, "arbiter").ok()?,
            exchange_id: ExchangeId::parse(&wire.exchange_id, "exchange_id").ok()?,
            request: Digest::parse(&wire.request, "request").ok()?,
            offence,
            receipts: receipts(wire.receipts)?,
            checkpoints: wire.checkpoints,
            shown: wire.shown.iter().map(|it| Digest::parse(it, "shown").ok()).collect::<Option<_>>()?,
        })
    };
    decoded().ok_or_else(|| StoreError::Damaged("misbehaviour".to_owned()))
}

fn signed<T: Payload>(bytes: &[u8]) -> Option<Signed<T>> {
    Signed::parse(Envelope::decode(bytes).ok()?).ok()
}

fn receipts(wire: Vec<proto::Receipt>) -> Option<Vec<Receipt>> {
    wire.into_iter().map(|receipt| Receipt::try_from(receipt).ok()).collect()
}

/// The proofs beside receipts, the empty text where there is none; nothing if there are none at all, as before there were any.
fn proofs(receipts: &[BundledReceipt]) -> Vec<String> {
    let texts = receipts.iter().map(|it| it.tlog_proof.clone().unwrap_or_default());
    if receipts.iter().any(|it| it.tlog_proof.is_some()) { texts.collect() } else { Vec::new() }
}

fn bundled(wire: Vec<proto::Receipt>, proofs: Vec<String>) -> Option<Vec<BundledReceipt>> {
    let receipts = receipts(wire)?;
    if !proofs.is_empty() && proofs.len() != receipts.len() {
        return None;
    }
    let proofs = proofs.into_iter().map(|text| Some(text).filter(|it| !it.is_empty()));
    let both = receipts.into_iter().zip(proofs.chain(std::iter::repeat(None)));
    Some(both.map(|(receipt, tlog_proof)| BundledReceipt { tlog_proof, ..receipt.into() }).collect())
}

fn pledge_from_wire(bytes: &[u8]) -> Option<Option<Pledge>> {
    if bytes.is_empty() { Some(None) } else { Pledge::from_bytes(bytes).ok().map(Some) }
}

fn path_to_wire(path: Option<&Path>) -> Vec<u8> {
    path.map_or_else(Vec::new, |path| path.as_os_str().as_bytes().to_vec())
}

fn path_from_wire(bytes: &[u8]) -> Option<PathBuf> {
    (!bytes.is_empty()).then(|| PathBuf::from(OsStr::from_bytes(bytes)))
}

const PHASES: [(u32, Phase); 14] = [
    (1, Phase::Offered),
    (2, Phase::Waiting),
    (3, Phase::Asking(Ask::Abort)),
    (4, Phase::Asking(Ask::Complain)),
    (5, Phase::Asking(Ask::Fetch)),
    (6, Phase::Asking(Ask::Resolve)),
    (7, Phase::Done(Outcome::Aborted)),
    (8, Phase::Done(Outcome::Completed)),
    (9, Phase::Done(Outcome::Resolved)),
    (10, Phase::Settling),
    (11, Phase::Asking(Ask::Deposit)),
    (12, Phase::Asking(Ask::Revoke)),
    (13, Phase::Done(Outcome::Affidavit)),
    (14, Phase::Done(Outcome::Abandoned)),
];

fn phase_to_wire(phase: Phase) -> u32 {
    PHASES.iter().find(|(_, it)| *it == phase).map_or(0, |(number, _)| *number)
}

fn phase_from_wire(number: u32) -> Option<Phase> {
    PHASES.iter().find(|(it, _)| *it == number).map(|(_, phase)| *phase)
}

/// The journal's own messages.
mod wire {
    use arbiter_protocol::wire::arbiter::Receipt;
    use sha2::{Digest as _, Sha256};

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Record {
        #[prost(uint32, tag = "1")]
        pub version: u32,
        #[prost(bool, tag = "2")]
        pub responder: bool,
        #[prost(bytes = "vec", tag = "3")]
        pub offer: Vec<u8>,
        #[prost(bytes = "vec", tag = "4")]
        pub acceptance: Vec<u8>,
        #[prost(bool, tag = "5")]
        pub sent: bool,
        #[prost(uint32, tag = "6")]
        pub phase: u32,
        #[prost(bytes = "vec", tag = "7")]
        pub own_transfer: Vec<u8>,
        #[prost(bytes = "vec", tag = "8")]
        pub peer_transfer: Vec<u8>,
        #[prost(message, repeated, tag = "9")]
        pub receipts: Vec<Receipt>,
        /// One, or those of a package in the order of its leaves.
        #[prost(bytes = "vec", repeated, tag = "10")]
        pub own_file: Vec<Vec<u8>>,
        #[prost(bytes = "vec", tag = "11")]
        pub received_file: Vec<u8>,
        #[prost(uint64, tag = "12")]
        pub since: u64,
        #[prost(string, tag = "13")]
        pub remark: String,
        #[prost(bytes = "vec", tag = "14")]
        pub own_signature: Vec<u8>,
        #[prost(bytes = "vec", tag = "15")]
        pub own_escrow: Vec<u8>,
        #[prost(bytes = "vec", tag = "16")]
        pub peer_escrow: Vec<u8>,
        #[prost(bytes = "vec", tag = "17")]
        pub peer_signature: Vec<u8>,
        /// What is called an escrow here is a pledge. Over the four before, and the proofs if there are any; empty if they all are.
        #[prost(bytes = "vec", tag = "18")]
        pub checksum: Vec<u8>,
        #[prost(bool, tag = "19")]
        pub ordered: bool,
        #[prost(bytes = "vec", tag = "20")]
        pub own_receipt: Vec<u8>,
        #[prost(bytes = "vec", tag = "21")]
        pub peer_receipt: Vec<u8>,
        /// Beside the receipts: the same leaves under checkpoints that witnesses have cosigned.
        #[prost(string, repeated, tag = "22")]
        pub tlog_proofs: Vec<String>,
    }

    impl Record {
        pub(super) fn sum(&self) -> Vec<u8> {
            let four = [&self.own_signature, &self.own_escrow, &self.peer_escrow, &self.peer_signature];
            let parts =
                four.map(Vec::as_slice).into_iter().chain(self.tlog_proofs.iter().map(String::as_bytes));
            let parts: Vec<_> = parts.collect();
            if parts.iter().all(|part| part.is_empty()) {
                return Vec::new();
            }
            let mut hasher = Sha256::new();
            for part in parts {
                hasher.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
                hasher.update(part);
            }
            hasher.finalize().to_vec()
        }
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Misbehaviour {
        #[prost(uint32, tag = "1")]
        pub version: u32,
        #[prost(bytes = "vec", tag = "2")]
        pub arbiter: Vec<u8>,
        #[prost(bytes = "vec", tag = "3")]
        pub exchange_id: Vec<u8>,
        #[prost(bytes = "vec", tag = "4")]
        pub request: Vec<u8>,
        #[prost(uint32, tag = "5")]
        pub offence: u32,
        #[prost(string, tag = "6")]
        pub detail: String,
        #[prost(message, repeated, tag = "7")]
        pub receipts: Vec<Receipt>,
        #[prost(string, repeated, tag = "8")]
        pub checkpoints: Vec<String>,
        #[prost(bytes = "vec", repeated, tag = "9")]
        pub shown: Vec<Vec<u8>>,
    }
}
