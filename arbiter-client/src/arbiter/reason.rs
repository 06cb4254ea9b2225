//! The arbiter's reasons as an enum, `ErrorInfo.reason` of domain `arbiter.v1`.

use std::fmt;

macro_rules! reasons {
    ($($variant:ident $text:literal $doc:literal),* $(,)?) => {
        /// Why the arbiter refused.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Reason {
            $(#[doc = $doc] $variant,)*
            /// A reason that this version does not know.
            Unknown(String),
        }

        impl Reason {
            /// Reads the stable upper-case name.
            pub fn parse(text: &str) -> Self {
                match text {
                    $($text => Self::$variant,)*
                    other => Self::Unknown(other.chars().take(63).collect()),
                }
            }

            /// The stable upper-case name.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Unknown(text) => text,
                }
            }
        }

        #[cfg(test)]
        const ALL: &[&str] = &[$($text),*];
    };
}

reasons! {
    AbortNotAllowed "ABORT_NOT_ALLOWED" "R-403: this role may not abort.",
    AbortTooEarly "ABORT_TOO_EARLY" "R-405: not before the complaint deadline.",
    AcceptanceMismatch "ACCEPTANCE_MISMATCH" "R-205: another agreement.",
    AcceptanceRequired "ACCEPTANCE_REQUIRED" "The responder's acceptance is needed.",
    ActionMismatch "ACTION_MISMATCH" "The request names another action than the call.",
    AffidavitTooEarly "AFFIDAVIT_TOO_EARLY" "R-426: not before the deadline, unless both items are there.",
    AlreadyRuled "ALREADY_RULED" "R-407: there is a verdict already.",
    ComplaintTooLate "COMPLAINT_TOO_LATE" "R-406, R-407: at or after the deadline.",
    DeadlineMismatch "DEADLINE_MISMATCH" "R-201: deadlines do not fit the protocol.",
    DepositTooLate "DEPOSIT_TOO_LATE" "R-415: at or after `send_by`.",
    DepositIncomplete "DEPOSIT_INCOMPLETE" "The deposit broke off midway.",
    DepositNotAllowed "DEPOSIT_NOT_ALLOWED" "R-407: nothing to deposit in this role.",
    DepositNotReleased "DEPOSIT_NOT_RELEASED" "R-408: no verdict releases the deposit.",
    DepositRequired "DEPOSIT_REQUIRED" "R-406: deposit the item first.",
    EscrowArbiterMismatch "ESCROW_ARBITER_MISMATCH" "The escrow is for another arbiter.",
    EscrowEpochMismatch "ESCROW_EPOCH_MISMATCH" "The escrow is for another epoch of the key.",
    Erased "ERASED" "The exchange was over, and what the arbiter had about it was erased.",
    EscrowKeyRetired "ESCROW_KEY_RETIRED" "R-411: the epoch of the escrow key is over.",
    EscrowKeyUnknown "ESCROW_KEY_UNKNOWN" "R-411: the arbiter has lost the escrow key. Its fault.",
    EscrowKindMismatch "ESCROW_KIND_MISMATCH" "The escrow is of a signature by another kind of key.",
    EscrowNotAgreed "ESCROW_NOT_AGREED" "R-411: nothing is to be opened in this case.",
    EscrowOfSomethingElse "ESCROW_OF_SOMETHING_ELSE" "R-411: the escrow is of another exchange, agreement or role.",
    EscrowRequired "ESCROW_REQUIRED" "R-411: the escrow that is to be opened was not filed.",
    EscrowSuiteMismatch "ESCROW_SUITE_MISMATCH" "The escrow is of another suite than agreed.",
    EscrowTermsMismatch "ESCROW_TERMS_MISMATCH" "R-208: escrow terms without a detached signature, or the reverse.",
    EscrowsTooLarge "ESCROWS_TOO_LARGE" "R-208: the escrows of a package could be more than one escrow can be.",
    EscrowUnopenable "ESCROW_UNOPENABLE" "R-411: the escrow is false; who filed it did not check it.",
    ItemHashMismatch "ITEM_HASH_MISMATCH" "The item differs by at least a byte.",
    ItemKindMismatch "ITEM_KIND_MISMATCH" "The item is of another kind.",
    ItemNotAReceipt "ITEM_NOT_A_RECEIPT" "R-305: the deposit is no ledger's receipt.",
    ItemNotPaid "ITEM_NOT_PAID" "R-305: by the receipt the payment did not take effect.",
    ItemOfOtherLedger "ITEM_OF_OTHER_LEDGER" "R-305: another ledger signed the receipt.",
    ItemOtherPayment "ITEM_OTHER_PAYMENT" "R-305: the receipt is for another payment.",
    ItemNotGeneratable "ITEM_NOT_GENERATABLE" "No method to replace the item is agreed.",
    ItemNotTheOneInEscrow "ITEM_NOT_THE_ONE_IN_ESCROW" "R-311: a valid signature, but another one is in escrow.",
    ItemSignatureInvalid "ITEM_SIGNATURE_INVALID" "R-311: the signature does not verify.",
    ItemSizeMismatch "ITEM_SIZE_MISMATCH" "The item has another size.",
    ItemTypeMismatch "ITEM_TYPE_MISMATCH" "The item is of another media type.",
    Internal "INTERNAL" "A fault of the arbiter.",
    NotAParty "NOT_A_PARTY" "R-402: not signed by a party.",
    OtherArbiter "OTHER_ARBITER" "R-204: the agreement names another arbiter.",
    OtherExchange "OTHER_EXCHANGE" "The request names another exchange.",
    PackageItemUnfit "PACKAGE_ITEM_UNFIT" "R-320: one item of the package does not fit: nothing of it counts.",
    PartiesNotDistinct "PARTIES_NOT_DISTINCT" "R-202: one key in two roles.",
    PaymentNotEffective "PAYMENT_NOT_EFFECTIVE" "R-209: a held payment that goes back unless somebody acts.",
    QuotaExceeded "QUOTA_EXCEEDED" "Larger than the largest deposit that the arbiter takes, or all its room for deposits is taken.",
    ResolveNotAllowed "RESOLVE_NOT_ALLOWED" "R-406: only the first sender complains.",
    RevokeNotAllowed "REVOKE_NOT_ALLOWED" "R-416: this role, or this protocol, revokes nothing.",
    RevokeTooEarly "REVOKE_TOO_EARLY" "R-417: not before `send_by`.",
    SelectionMismatch "SELECTION_MISMATCH" "R-201: not what the matrix selects.",
    SignatureInvalid "SIGNATURE_INVALID" "A signature does not verify.",
    TooLarge "TOO_LARGE" "Larger than a maximum.",
    VerdictNotFound "VERDICT_NOT_FOUND" "There is no verdict yet.",
}

impl Reason {
    /// Whether the refusal is an answer about the state of the exchange, which the protocol goes on from;
    /// anything else is a fault in the request or the service.
    pub(crate) const fn decides(&self) -> bool {
        matches!(
            self,
            Self::AbortTooEarly
                | Self::AffidavitTooEarly
                | Self::AlreadyRuled
                | Self::ComplaintTooLate
                | Self::DepositRequired
                | Self::DepositTooLate
                | Self::ItemNotPaid
                | Self::RevokeTooEarly
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_one_name() {
        for text in ALL {
            let reason = Reason::parse(text);
            assert_eq!(reason.as_str(), *text);
            assert!(!matches!(reason, Reason::Unknown(_)));
        }
        assert_eq!(Reason::parse("X"), Reason::Unknown("X".into()));
        assert_eq!(Reason::parse(&"X".repeat(1000)).as_str().len(), 63);
    }
}
