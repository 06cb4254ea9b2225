//! Errors that say whose fault it is: [`Invalid`] bytes, or a request [`Refused`] by a rule.
//!
//! Each has a `reason()`: the stable upper-case name that travels in `google.rpc.ErrorInfo`
//! and that programs match on. The text is for people and may change.

use thiserror::Error;

use crate::time::UnixMillis;

/// The bytes are not a valid statement, key, item or log object. The sender of the bytes is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Invalid {
    /// An escrow is false, damaged, or made for something else.
    #[error("the escrow of the {signer}'s signature is not good: {reason}")]
    Escrow {
        /// Whose signature should be in it: originator or responder.
        signer: &'static str,
        /// The stable reason for programs, e.g. `ESCROW_FALSE`.
        reason: &'static str,
    },
    /// A field has the wrong number of bytes, or exceeds its maximum.
    #[error("field {field} has the wrong length")]
    FieldLength {
        /// The field's name in the `.proto` file.
        field: &'static str,
    },
    /// A required field is absent.
    #[error("field {field} is missing")]
    FieldMissing {
        /// The field's name in the `.proto` file.
        field: &'static str,
    },
    /// A field holds a value outside its range, an unknown enum number, or forbidden characters.
    #[error("field {field} has a value that is not allowed")]
    FieldValue {
        /// The field's name in the `.proto` file.
        field: &'static str,
    },
    /// The items do not make a package.
    #[error("these items do not make a package: {why}")]
    Package {
        /// The stable reason for programs, e.g. `PACKAGE_ITEM_REPEATED`.
        reason: &'static str,
        /// The same for people.
        why: &'static str,
    },
    /// The payload is not valid protobuf.
    #[error("the payload of a {what} is not valid protobuf")]
    Malformed {
        /// The statement expected.
        what: &'static str,
    },
    /// Decoding and encoding again gives other bytes: unknown fields, another order, trailing bytes.
    #[error("the payload of a {what} is not in canonical form (unknown fields, order or trailing bytes)")]
    NotCanonical {
        /// The statement expected.
        what: &'static str,
    },
    /// The envelope holds a statement of another type.
    #[error("expected a {expected}, got another payload type")]
    PayloadType {
        /// The statement expected.
        expected: &'static str,
    },
    /// The signature does not verify strictly under the key named.
    #[error("the signature on the {what} does not verify")]
    Signature {
        /// The statement.
        what: &'static str,
    },
    /// There is not exactly one signature.
    #[error("a {what} needs exactly one signature")]
    SignatureCount {
        /// The statement.
        what: &'static str,
    },
    /// The statement is signed by a key that is not entitled to make it.
    #[error("the {what} is not signed by the key that must sign it")]
    Signer {
        /// The statement.
        what: &'static str,
    },
    /// The key is of small order or not a curve point (R-104, attack K23).
    #[error("field {field} is a weak key or not a key at all")]
    WeakKey {
        /// The field's name.
        field: &'static str,
    },
    /// The statement's format version is not 1.
    #[error("the {what} has format version {version}, this software reads version 1")]
    Version {
        /// The statement.
        what: &'static str,
        /// The version found.
        version: u32,
    },
    /// The message is larger than its maximum.
    #[error("{what} is larger than {maximum} bytes")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its maximum in bytes.
        maximum: usize,
    },
    /// Sealed content does not open: wrong key, wrong exchange, or altered bytes.
    #[error("the sealed content does not open with this key for this exchange")]
    Seal,
}

impl Invalid {
    /// The stable reason for programs.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Escrow { reason, .. } => reason,
            Self::FieldLength { .. } => "FIELD_LENGTH_INVALID",
            Self::FieldMissing { .. } => "FIELD_MISSING",
            Self::FieldValue { .. } => "FIELD_VALUE_INVALID",
            Self::Malformed { .. } => "STATEMENT_MALFORMED",
            Self::NotCanonical { .. } => "STATEMENT_NOT_CANONICAL",
            Self::Package { reason, .. } => reason,
            Self::PayloadType { .. } => "PAYLOAD_TYPE_UNEXPECTED",
            Self::Seal => "SEAL_INVALID",
            Self::Signature { .. } => "SIGNATURE_INVALID",
            Self::SignatureCount { .. } => "SIGNATURE_COUNT_INVALID",
            Self::Signer { .. } => "SIGNER_NOT_ENTITLED",
            Self::TooLarge { .. } => "TOO_LARGE",
            Self::Version { .. } => "VERSION_UNSUPPORTED",
            Self::WeakKey { .. } => "KEY_WEAK",
        }
    }

    /// The field at fault, where there is one.
    pub const fn field(&self) -> Option<&'static str> {
        match self {
            Self::FieldLength { field }
            | Self::FieldMissing { field }
            | Self::FieldValue { field }
            | Self::WeakKey { field } => Some(field),
            _ => None,
        }
    }
}

/// The statements are well formed, but a rule of `SPEC.md` forbids what is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refused {
    /// the acceptance answers another offer, or another agreement is named in the request.
    #[error("the acceptance does not belong to this offer, or the request names another agreement")]
    AcceptanceMismatch,
    /// this action needs the acceptance of the responder.
    #[error("this request needs the responder's acceptance: without it there is no agreement")]
    AcceptanceRequired,
    /// only the originator may abort this protocol, as long as the arbiter can restore fairness.
    #[error("only the originator may abort in this protocol; the responder may resolve or do nothing")]
    AbortNotAllowed,
    /// there is a verdict already; ask for it.
    #[error("the exchange is ruled already; ask for the verdict")]
    AlreadyRuled,
    /// who did not send first may not abort before the deadline of the other's claim.
    #[error("the second sender may not abort before {complain_by}; ask again from then on")]
    AbortTooEarly {
        /// The complaint deadline in the agreement, or in P1 without one the end of the escrow key.
        complain_by: UnixMillis,
    },
    /// the peer still has time to deposit its item.
    #[error("the peer may deposit its item until {complain_by}: the affidavit is signed then")]
    AffidavitTooEarly {
        /// The deadline in the agreement.
        complain_by: UnixMillis,
    },
    /// the second sender of P3 deposited too late: from then on the first sender may revoke.
    #[error("the deposit came at {now}, the agreement allowed it before {send_by}")]
    DepositTooLate {
        /// The arbiter's time.
        now: UnixMillis,
        /// The send-by deadline in the agreement.
        send_by: UnixMillis,
    },
    /// nothing can be revoked in this protocol, or not by this party.
    #[error("only the first sender of P3 and the parties of P4 can ask to revoke")]
    RevokeNotAllowed,
    /// the peer still has time to send its item.
    #[error("the peer may send its item until {send_by}: ask again then")]
    RevokeTooEarly {
        /// The send-by deadline in the agreement.
        send_by: UnixMillis,
    },
    /// the complaint came at or after the deadline on the arbiter's clock.
    #[error("the complaint came at {now}, the agreement allowed it before {complain_by}")]
    ComplaintTooLate {
        /// The arbiter's time.
        now: UnixMillis,
        /// The complaint deadline in the agreement.
        complain_by: UnixMillis,
    },
    /// the deadlines do not fit the protocol, or leave too little time.
    #[error(
        "the deadlines do not fit the protocol (P1 has none unless money is reserved, P2 needs complain_by, before the \
         escrow key's end), or leave too little time"
    )]
    DeadlineMismatch,
    /// no accepted deposit of the item that was to be sent.
    #[error("deposit the item first (VerifyTransfer): the peer must be able to fetch it")]
    DepositRequired,
    /// the role that asks has no externally verifiable item to deposit.
    #[error("this role has no item that can be re-sent through the arbiter")]
    DepositNotAllowed,
    /// the deposit is released only after a verdict that replaces the peer's item.
    #[error(
        "nothing can be fetched: the deposit is released only by a verdict that replaces the peer's item"
    )]
    DepositNotReleased,
    /// the epoch of the arbiter's escrow key is over; nothing can be opened with it any more.
    #[error("the arbiter could open escrows of this epoch before {until}, and now it is {now}")]
    EscrowKeyRetired {
        /// The arbiter's time.
        now: UnixMillis,
        /// When the epoch ended.
        until: UnixMillis,
    },
    /// the arbiter has no such escrow key. It signed for one, so this is its fault.
    #[error("the arbiter has lost the escrow key of this epoch: its operator must restore the key file")]
    EscrowKeyUnknown,
    /// the offer names no such escrow.
    #[error("this item is not handed over in escrow")]
    EscrowNotAgreed,
    /// the escrow of an item that is to be generated is not filed.
    #[error("file the escrow of the {signer}'s signature, which came with its offer or acceptance")]
    EscrowRequired {
        /// Whose signature is in it: originator or responder.
        signer: &'static str,
    },
    /// the escrows of a package of signatures could be longer together than an escrow can be.
    #[error(
        "the escrows of so many signatures by such keys are too large: offer fewer together, or use another suite"
    )]
    EscrowsTooLarge,
    /// escrow terms without a detached signature, or the other way round.
    #[error("an offer has escrow terms exactly if an item is a detached signature")]
    EscrowTermsMismatch,
    /// nothing in the escrow opens to the signature. It does not pass the check of R-310 either: who filed it
    /// has accepted or made a false escrow.
    #[error(
        "the escrow of the {signer}'s signature cannot be opened, and its proof is false: who accepted it did not check it"
    )]
    EscrowUnopenable {
        /// Whose signature should be in it: originator or responder.
        signer: &'static str,
    },
    /// the exchange was over, and what the arbiter had about it is erased. There is no second verdict.
    #[error("what the arbiter had about this exchange was erased; its log says when")]
    Erased,
    /// no method is agreed by which the arbiter could produce the item.
    #[error("the parties agreed on no method by which the arbiter can produce this item")]
    ItemNotGeneratable,
    /// a held payment would go back to the payer by itself.
    #[error(
        "money that is held must go to the payee unless somebody acts: agree on the time-out `post`, or in P1 and P2 on \
         money that the arbiter can post"
    )]
    PaymentNotEffective,
    /// the roles of this exchange are not held by different parties.
    #[error("originator, responder and arbiter must have different keys")]
    PartiesNotDistinct,
    /// the payment agreed is none that the arbiter can post.
    #[error("this item is no payment that is reserved beforehand")]
    ReservationNotAgreed,
    /// the ledger's receipt for money that is to be generated is not there.
    #[error(
        "file the ledger's receipt that the {payer}'s payment is reserved, which came with its offer or acceptance"
    )]
    ReservationRequired {
        /// Who pays: originator or responder.
        payer: &'static str,
    },
    /// the receipt shown as a reservation is none of the payment agreed.
    #[error("the receipt is no reservation of the {payer}'s payment: {reason}")]
    ReservationUnfit {
        /// Who pays: originator or responder.
        payer: &'static str,
        /// The stable reason for programs, e.g. `RESERVATION_OF_OTHER_LEDGER`.
        reason: &'static str,
    },
    /// the request is not signed by the party whose role it names.
    #[error("the request is not signed by a party to this exchange")]
    NotAParty,
    /// the offer names another arbiter, another log, or another rule version.
    #[error("the agreement names another arbiter, log or rule version")]
    OtherArbiter,
    /// The request belongs to another exchange than the offer beside it.
    #[error("the request names another exchange than the offer beside it")]
    OtherExchange,
    /// only the first sender can resolve this protocol.
    #[error("only the first sender, who deposited its item, can ask for the replacement")]
    ResolveNotAllowed,
    /// the protocol in the offer is not the one that the property sets select.
    #[error("the protocol, sender order or properties in the offer are not what the property sets select")]
    SelectionMismatch,
    /// There is no verdict yet.
    #[error("the arbiter has no verdict on this exchange")]
    VerdictNotFound,
}

impl Refused {
    /// The stable reason for programs.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::AbortNotAllowed => "ABORT_NOT_ALLOWED",
            Self::AbortTooEarly { .. } => "ABORT_TOO_EARLY",
            Self::AlreadyRuled => "ALREADY_RULED",
            Self::Erased => "ERASED",
            Self::EscrowKeyRetired { .. } => "ESCROW_KEY_RETIRED",
            Self::EscrowKeyUnknown => "ESCROW_KEY_UNKNOWN",
            Self::EscrowNotAgreed => "ESCROW_NOT_AGREED",
            Self::EscrowRequired { .. } => "ESCROW_REQUIRED",
            Self::EscrowTermsMismatch => "ESCROW_TERMS_MISMATCH",
            Self::EscrowsTooLarge => "ESCROWS_TOO_LARGE",
            Self::EscrowUnopenable { .. } => "ESCROW_UNOPENABLE",
            Self::ItemNotGeneratable => "ITEM_NOT_GENERATABLE",
            Self::AcceptanceMismatch => "ACCEPTANCE_MISMATCH",
            Self::AcceptanceRequired => "ACCEPTANCE_REQUIRED",
            Self::ComplaintTooLate { .. } => "COMPLAINT_TOO_LATE",
            Self::DeadlineMismatch => "DEADLINE_MISMATCH",
            Self::AffidavitTooEarly { .. } => "AFFIDAVIT_TOO_EARLY",
            Self::DepositTooLate { .. } => "DEPOSIT_TOO_LATE",
            Self::RevokeNotAllowed => "REVOKE_NOT_ALLOWED",
            Self::RevokeTooEarly { .. } => "REVOKE_TOO_EARLY",
            Self::DepositNotAllowed => "DEPOSIT_NOT_ALLOWED",
            Self::DepositNotReleased => "DEPOSIT_NOT_RELEASED",
            Self::DepositRequired => "DEPOSIT_REQUIRED",
            Self::NotAParty => "NOT_A_PARTY",
            Self::OtherArbiter => "OTHER_ARBITER",
            Self::OtherExchange => "OTHER_EXCHANGE",
            Self::PaymentNotEffective => "PAYMENT_NOT_EFFECTIVE",
            Self::PartiesNotDistinct => "PARTIES_NOT_DISTINCT",
            Self::ReservationNotAgreed => "RESERVATION_NOT_AGREED",
            Self::ReservationRequired { .. } => "RESERVATION_REQUIRED",
            Self::ReservationUnfit { reason, .. } => reason,
            Self::ResolveNotAllowed => "RESOLVE_NOT_ALLOWED",
            Self::SelectionMismatch => "SELECTION_MISMATCH",
            Self::VerdictNotFound => "VERDICT_NOT_FOUND",
        }
    }
}

impl Refused {
    /// When the same request will not be too early any more.
    pub const fn until(&self) -> Option<UnixMillis> {
        match self {
            Self::AbortTooEarly { complain_by: until }
            | Self::AffidavitTooEarly { complain_by: until }
            | Self::RevokeTooEarly { send_by: until } => Some(*until),
            _ => None,
        }
    }
}

/// Statements that cannot be used: bad bytes, or against a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Rejected {
    /// The bytes or a signature.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// A rule.
    #[error(transparent)]
    Refused(#[from] Refused),
}

impl Rejected {
    /// The stable reason for programs.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Invalid(invalid) => invalid.reason(),
            Self::Refused(refused) => refused.reason(),
        }
    }
}
