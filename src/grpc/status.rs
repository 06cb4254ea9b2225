//! Errors as gRPC statuses: one table (`google.rpc.Status` with details, AIP-193).
//!
//! | what | code | beside `ErrorInfo` |
//! | --- | --- | --- |
//! | [`Invalid`] | INVALID_ARGUMENT | field violation, if a field is at fault |
//! | [`Refused::NotAParty`] | PERMISSION_DENIED | precondition |
//! | [`Refused::VerdictNotFound`] | NOT_FOUND | precondition |
//! | [`Refused::EscrowKeyUnknown`]: the arbiter's own fault | INTERNAL | precondition |
//! | other [`Refused`], [`Unfit`] | FAILED_PRECONDITION | precondition |
//! | no room for deposits and opened escrows | FAILED_PRECONDITION | precondition |
//! | overload | RESOURCE_EXHAUSTED | when to come back |
//! | too slow | DEADLINE_EXCEEDED | |
//! | no answer from a payment's rail | UNAVAILABLE | when to come back |
//! | a rail that this arbiter does not reach, or that does not serve the payment | FAILED_PRECONDITION | precondition |
//! | only reads are served | UNAVAILABLE | when to come back |
//! | draining, stopped | UNAVAILABLE | when to come back |
//! | outside a range of the log | OUT_OF_RANGE, NOT_FOUND | |
//! | the store, a damaged key, no randomness | INTERNAL | |
//! | the record of an exchange was lost, its leaf is there | DATA_LOSS | |
//!
//! Invariants
//! - Every error has exactly one `ErrorInfo` with a stable reason; programs match on it, never on the text.
//! - Every value that varies in the text is in the metadata too.
//! - RESOURCE_EXHAUSTED, UNAVAILABLE and DEADLINE_EXCEEDED mean: send the same request again. The first two say
//!   that it may succeed later; after DEADLINE_EXCEEDED, UNAVAILABLE and a lost connection a ruling may exist
//!   already, and the same request brings it. No other code means that.

use std::time::Duration;

use arbiter_protocol::error::{Invalid, Refused, Rejected};
use arbiter_protocol::exchange::kind::Unfit;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::engine::EngineError;
use crate::modules::Unobserved;

/// The domain of every reason.
pub const DOMAIN: &str = "arbiter.v1";

/// Reasons of this layer; the others are in `arbiter_protocol::error` and `Unfit`.
pub mod reason {
    /// The request inside the case asks for something else than the method does.
    pub const ACTION_MISMATCH: &str = "ACTION_MISMATCH";
    /// The upload ended before the agreed number of bytes.
    pub const DEPOSIT_INCOMPLETE: &str = "DEPOSIT_INCOMPLETE";
    /// The arbiter is about to stop; ask again.
    pub const DRAINING: &str = "DRAINING";
    /// No such leaf at this time.
    pub const ENTRY_NOT_FOUND: &str = "ENTRY_NOT_FOUND";
    /// A bug of the arbiter.
    pub const INTERNAL: &str = "INTERNAL";
    /// The gRPC message is not valid protobuf.
    pub const MESSAGE_MALFORMED: &str = "MESSAGE_MALFORMED";
    /// There is no such method.
    pub const METHOD_UNKNOWN: &str = "METHOD_UNKNOWN";
    /// More requests than can be served; ask again.
    pub const OVERLOADED: &str = "OVERLOADED";
    /// `page_size` is negative.
    pub const PAGE_SIZE_INVALID: &str = "PAGE_SIZE_INVALID";
    /// `page_token` is not from an earlier answer.
    pub const PAGE_TOKEN_INVALID: &str = "PAGE_TOKEN_INVALID";
    /// The item is larger than this arbiter takes as a deposit, or all deposits together take its room.
    pub const QUOTA_EXCEEDED: &str = "QUOTA_EXCEEDED";
    /// The payment's rail gave no answer that counts; ask again.
    pub const RAIL_UNAVAILABLE: &str = "RAIL_UNAVAILABLE";
    /// This arbiter does not reach the payment's rail: the depositor must bring the receipt itself.
    pub const RAIL_UNKNOWN: &str = "RAIL_UNKNOWN";
    /// The payment's rail does not serve such a payment.
    pub const RAIL_UNSERVED: &str = "RAIL_UNSERVED";
    /// The arbiter found that its log is damaged or older than what it has published: it decides and signs nothing before its
    /// operator has acted; ask again later.
    pub const READ_ONLY: &str = "READ_ONLY";
    /// The system gives no randomness to seal with.
    pub const RANDOMNESS_FAILED: &str = "RANDOMNESS_FAILED";
    /// The arbiter lost the record of this exchange; a leaf of its log shows that it ruled. The operator is at fault.
    pub const RULING_LOST: &str = "RULING_LOST";
    /// The range is not within the log.
    pub const RANGE_INVALID: &str = "RANGE_INVALID";
    /// The engine has stopped; the arbiter will be started again.
    pub const STOPPED: &str = "STOPPED";
    /// The arbiter cannot read what it stored.
    pub const STORE_FAILED: &str = "STORE_FAILED";
    /// The caller was silent for too long, or the arbiter took too long.
    pub const TIMED_OUT: &str = "TIMED_OUT";
    /// The message is larger than any valid one.
    pub const TOO_LARGE: &str = "TOO_LARGE";
    /// A deposit moved more slowly than this arbiter allows; what moved is not kept.
    pub const TOO_SLOW: &str = "TOO_SLOW";
}

/// One error on its way out.
pub struct Problem {
    code: Code,
    message: String,
    details: ErrorDetails,
}

impl Problem {
    /// An error with its reason.
    pub fn new(code: Code, reason: &'static str, message: impl Into<String>) -> Self {
        let mut details = ErrorDetails::new();
        details.set_error_info(reason, DOMAIN, std::collections::HashMap::<String, String>::new());
        Self { code, message: message.into(), details }
    }

    /// Adds a value that varies to the metadata.
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        if let Some(info) = self.details.error_info() {
            let mut info = info.clone();
            info.metadata.insert(name.to_owned(), value.to_string());
            self.details.set_error_info(info.reason, info.domain, info.metadata);
        }
        self
    }

    /// Names the field at fault.
    pub fn field(mut self, name: &str) -> Self {
        self.details.add_bad_request_violation(name, self.message.clone());
        self
    }

    /// Names the rule that refuses.
    pub(super) fn precondition(mut self, reason: &str, subject: &str) -> Self {
        self.details.add_precondition_failure_violation(reason, subject, self.message.clone());
        self
    }

    /// Says when to come back.
    fn retry(mut self, after: Duration) -> Self {
        self.details.set_retry_info(Some(after));
        self
    }

    /// The status.
    pub fn status(self) -> Status {
        Status::with_error_details(self.code, self.message, self.details)
    }
}

/// The caller sent bytes that are not valid.
pub fn invalid(invalid: &Invalid) -> Status {
    let message = format!("{invalid}; the caller must correct the message");
    let mut problem = Problem::new(Code::InvalidArgument, invalid.reason(), message);
    problem = match invalid {
        Invalid::Malformed { what }
        | Invalid::NotCanonical { what }
        | Invalid::Signature { what }
        | Invalid::SignatureCount { what }
        | Invalid::Signer { what } => problem.with("what", what),
        Invalid::Escrow { signer, .. } => problem.with("signer", signer),
        Invalid::PayloadType { expected } => problem.with("expected", expected),
        Invalid::TooLarge { what, maximum } => problem.with("what", what).with("maximum", maximum),
        Invalid::Version { what, version } => problem.with("what", what).with("version", version),
        _ => problem,
    };
    if let Some(field) = invalid.field() {
        problem = problem.with("field", field).field(field);
    }
    problem.status()
}

/// A rule forbids what the caller asks.
pub fn refused(refused: &Refused) -> Status {
    let code = match refused {
        Refused::NotAParty => Code::PermissionDenied,
        Refused::VerdictNotFound => Code::NotFound,
        Refused::EscrowKeyUnknown => Code::Internal,
        _ => Code::FailedPrecondition,
    };
    let problem = Problem::new(code, refused.reason(), refused.to_string());
    let problem = match refused {
        Refused::AbortTooEarly { complain_by } => problem.with("complain_by", complain_by.0),
        Refused::ComplaintTooLate { now, complain_by } => {
            problem.with("now", now.0).with("complain_by", complain_by.0)
        }
        Refused::EscrowKeyRetired { now, until } => problem.with("now", now.0).with("until", until.0),
        Refused::EscrowRequired { signer } | Refused::EscrowUnopenable { signer } => {
            problem.with("signer", signer)
        }
        _ => problem,
    };
    problem.precondition(refused.reason(), "exchange").status()
}

/// Either of the two.
pub fn rejected(rejected: &Rejected) -> Status {
    match rejected {
        Rejected::Invalid(it) => invalid(it),
        Rejected::Refused(it) => refused(it),
    }
}

/// The deposited item does not fit its description.
pub fn unfit(unfit: &Unfit) -> Status {
    let message = format!("{unfit}; the depositor must send the item that was agreed");
    let problem = Problem::new(Code::FailedPrecondition, unfit.reason(), message);
    let problem = match unfit {
        Unfit::Size { found, agreed } => problem.with("found", found).with("agreed", agreed),
        _ => problem,
    };
    problem.precondition(unfit.reason(), "item").status()
}

/// The upload ended early: nothing of it is kept.
pub fn incomplete(found: u64, agreed: u64) -> Status {
    let message = format!(
        "the upload ended after {found} of {agreed} bytes; nothing is kept, send it again from the start"
    );
    Problem::new(Code::FailedPrecondition, reason::DEPOSIT_INCOMPLETE, message)
        .with("found", found)
        .with("agreed", agreed)
        .precondition(reason::DEPOSIT_INCOMPLETE, "item")
        .status()
}

/// The item is too large for this arbiter. Not RESOURCE_EXHAUSTED: to ask again would not help.
pub fn quota(size_bytes: u64, maximum: u64) -> Status {
    let message =
        format!("the item has {size_bytes} bytes, this arbiter takes deposits up to {maximum} bytes");
    Problem::new(Code::FailedPrecondition, reason::QUOTA_EXCEEDED, message)
        .with("size_bytes", size_bytes)
        .with("maximum", maximum)
        .precondition(reason::QUOTA_EXCEEDED, "item")
        .status()
}

/// No room. To ask again does not help: what is held stays.
fn full(error: &EngineError, size_bytes: u64, held: u64, maximum: u64) -> Status {
    Problem::new(Code::FailedPrecondition, reason::QUOTA_EXCEEDED, error.to_string())
        .with("size_bytes", size_bytes)
        .with("held", held)
        .with("maximum", maximum)
        .precondition(reason::QUOTA_EXCEEDED, "deposits")
        .status()
}

/// The arbiter could not see a payment by itself. Whatever the reason: a receipt that is sent as content is taken.
pub fn unobserved(unobserved: &Unobserved) -> Status {
    let bring = "or send the rail's receipt as content";
    let lacks = |reason| {
        let message = format!("{unobserved}; choose another arbiter next time, {bring}");
        Problem::new(Code::FailedPrecondition, reason, message).precondition(reason, "payment").status()
    };
    match unobserved {
        Unobserved::Unknown => lacks(reason::RAIL_UNKNOWN),
        Unobserved::Unserved(_) => lacks(reason::RAIL_UNSERVED),
        // What a module said is for the operator, who was told: the caller can only ask again.
        Unobserved::Busy | Unobserved::Module(_) => {
            let message =
                format!("the payment's rail gave no usable answer; send the same request again, {bring}");
            Problem::new(Code::Unavailable, reason::RAIL_UNAVAILABLE, message)
                .retry(Duration::from_secs(2))
                .status()
        }
    }
}

/// The request in the case is for another method.
pub fn action_mismatch(method: &str) -> Status {
    let message = format!("the signed request in the case does not ask for {method}; sign one that does");
    Problem::new(Code::InvalidArgument, reason::ACTION_MISMATCH, message)
        .with("method", method)
        .field("case.request")
        .status()
}

/// Too much to do at this time.
pub fn overloaded() -> Status {
    let message = "the server has more requests than it can serve; send the same request again";
    Problem::new(Code::ResourceExhausted, reason::OVERLOADED, message)
        .retry(Duration::from_millis(250))
        .status()
}

/// About to stop.
pub fn draining() -> Status {
    let message = "the server is about to stop; send the same request again when it is back";
    Problem::new(Code::Unavailable, reason::DRAINING, message).retry(Duration::from_secs(2)).status()
}

/// Stopped under the caller's feet. Whether a ruling was made is known after the restart.
pub fn stopped() -> Status {
    let message = "the server has stopped; send the same request again when it is back";
    Problem::new(Code::Unavailable, reason::STOPPED, message).retry(Duration::from_secs(2)).status()
}

/// The request was not answered in time. Whose fault that is cannot be told from here.
pub fn timed_out(seconds: u64) -> Status {
    let message = format!(
        "the request did not arrive or was not answered within {seconds} s; send the same request again: if it \
         was decided meanwhile, that is the answer"
    );
    Problem::new(Code::DeadlineExceeded, reason::TIMED_OUT, message).with("seconds", seconds).status()
}

/// Nothing moved in a deposit: the caller, or the way to it, is too slow.
pub fn silent(seconds: u64) -> Status {
    let message = format!("no byte of the deposit moved for {seconds} s; start again");
    Problem::new(Code::DeadlineExceeded, reason::TIMED_OUT, message).with("seconds", seconds).status()
}

/// A deposit moves, but too slowly.
pub fn too_slow(moved: u64, minimum: u64) -> Status {
    let message = format!(
        "only {moved} bytes of the deposit moved so far, and it must be at least {minimum} bytes a second; start \
         again over a faster connection"
    );
    Problem::new(Code::DeadlineExceeded, reason::TOO_SLOW, message)
        .with("moved", moved)
        .with("minimum", minimum)
        .status()
}

/// What the engine answers. The cause of a damage is for the operator, who was told.
pub fn engine(error: &EngineError) -> Status {
    match error {
        EngineError::Damaged => {
            let message = "the arbiter cannot read what it stored or holds; its operator must look at the log and run fsck";
            Problem::new(Code::Internal, reason::STORE_FAILED, message).status()
        }
        // The API has no way to ask for an erasure.
        EngineError::NotErasable(_) => unexpected("erase"),
        EngineError::Full { size_bytes, held, maximum } => full(error, *size_bytes, *held, *maximum),
        EngineError::OutOfRange { size } => {
            Problem::new(Code::OutOfRange, reason::RANGE_INVALID, error.to_string())
                .with("size", size)
                .status()
        }
        EngineError::Overloaded => overloaded(),
        EngineError::ReadOnly => {
            let message = format!("{error}; send the same request again later");
            let problem = Problem::new(Code::Unavailable, reason::READ_ONLY, message);
            problem.retry(Duration::from_secs(60)).status()
        }
        EngineError::Refused(it) => refused(it),
        EngineError::RulingLost { leaf } => {
            Problem::new(Code::DataLoss, reason::RULING_LOST, error.to_string()).with("leaf", leaf).status()
        }
        EngineError::Unsealed => {
            Problem::new(Code::Internal, reason::RANDOMNESS_FAILED, error.to_string()).status()
        }
        EngineError::Stopped => stopped(),
    }
}

/// No randomness: nothing can be sealed.
pub fn randomness(error: &getrandom::Error) -> Status {
    tracing::error!(%error, "the system gives no randomness");
    let message = "the arbiter cannot seal a deposit now; its operator must look at the log";
    Problem::new(Code::Internal, reason::RANDOMNESS_FAILED, message).status()
}

/// The engine answered with what this method never gives: a bug of ours.
pub fn unexpected(method: &'static str) -> Status {
    tracing::error!(method, "the engine gave another kind of answer than the method has");
    let message = format!("a bug of the arbiter in {method}; its operator must report it");
    Problem::new(Code::Internal, reason::INTERNAL, message).with("method", method).status()
}

/// An error of the gRPC library in the middle of an upload.
pub fn enrich_upload(status: Status) -> Status {
    enrich(&status).unwrap_or(status)
}

/// Gives errors of the gRPC library, which know nothing of reasons, theirs. Others stay as they are.
pub fn enrich(status: &Status) -> Option<Status> {
    if status.get_details_error_info().is_some() {
        return None;
    }
    let problem = match status.code() {
        Code::OutOfRange => Problem::new(
            Code::InvalidArgument,
            reason::TOO_LARGE,
            "the message is larger than any valid one; the caller must correct it",
        )
        .with("maximum", super::MESSAGE_BYTES),
        Code::Internal => Problem::new(
            Code::InvalidArgument,
            reason::MESSAGE_MALFORMED,
            "the message is not a valid protobuf message of this method; the caller must correct it",
        ),
        Code::Unimplemented => Problem::new(
            Code::Unimplemented,
            reason::METHOD_UNKNOWN,
            "this server has no such method; server reflection lists what it has",
        ),
        _ => return None,
    };
    Some(problem.status())
}
