//! `LedgerService`: what account holders and arbiters ask of a ledger. Decode, ask, encode; no rule is decided here.
//!
//! ```text
//!  Envelope ─▶ ledger::Handle ─▶ signed receipt or statement ─▶ Envelope
//! ```
//!
//! Invariants
//! - Who may order or ask is decided by the signature inside the envelope, never by the connection.
//! - Nothing is logged about accounts or amounts: payments by their ids, refusals by their reasons.

use arbiter_protocol::error::Invalid;
use arbiter_protocol::ledger::LedgerRefused;
use arbiter_protocol::limits;
use arbiter_protocol::message::payment::PaymentTerms;
use arbiter_protocol::message::wire;
use arbiter_protocol::statement::{Envelope, Payload, Verified};
use arbiter_protocol::wire::ledger as proto;
use arbiter_protocol::wire::ledger::ledger_service_server::LedgerService;
use tonic::{Code, Request, Response, Status};

use super::log::page_size;
use super::status::{self, Problem, reason};
use crate::ledger::{Handle, LedgerError};

/// The services whose health is reported one by one.
pub(super) const SERVICES: [&str; 1] = ["arbiter.ledger.v1.LedgerService"];

/// Every method that is counted.
pub(super) const METHODS: [&str; 6] = [
    "/arbiter.ledger.v1.LedgerService/GetAccount",
    "/arbiter.ledger.v1.LedgerService/GetLedgerInfo",
    "/arbiter.ledger.v1.LedgerService/GetPayment",
    "/arbiter.ledger.v1.LedgerService/ListPayments",
    "/arbiter.ledger.v1.LedgerService/OrderAccount",
    "/arbiter.ledger.v1.LedgerService/OrderPayment",
];

/// What a page token starts with; a change of its meaning changes it.
const TOKEN_PREFIX: &str = "payments/1/";

/// The service of one ledger. Clones are the same service.
#[derive(Clone)]
pub struct Service(Handle);

impl Service {
    /// Serves `ledger`.
    pub const fn new(ledger: Handle) -> Self {
        Self(ledger)
    }

    fn info(&self) -> proto::GetLedgerInfoResponse {
        let options = self.0.options();
        let mut currencies = options.currencies.clone();
        currencies.sort();
        let currencies = currencies.into_iter().map(|it| {
            let (code, scale) = (it.code().to_owned(), it.scale().into());
            proto::Currency { code, scale }
        });
        proto::GetLedgerInfoResponse {
            key: self.0.key().to_vec(),
            name: options.name.clone(),
            terms: options.terms.clone(),
            currencies: currencies.collect(),
            limits: Some(proto::Limits {
                longest_hold_ms: options.longest_hold.0,
                grace_ms: options.grace.0,
                statement_bytes: u32::try_from(limits::STATEMENT_BYTES).unwrap_or(u32::MAX),
            }),
            clock: self.0.now().0,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

#[tonic::async_trait]
impl LedgerService for Service {
    async fn get_ledger_info(
        &self,
        _request: Request<proto::GetLedgerInfoRequest>,
    ) -> Result<Response<proto::GetLedgerInfoResponse>, Status> {
        Ok(Response::new(self.info()))
    }

    async fn order_account(
        &self,
        request: Request<proto::OrderAccountRequest>,
    ) -> Result<Response<proto::OrderAccountResponse>, Status> {
        let order = envelope(request.into_inner().order, "order")?;
        let statement = answer(self.0.order_account(order).await)?;
        Ok(Response::new(proto::OrderAccountResponse { statement }))
    }

    async fn get_account(
        &self,
        request: Request<proto::GetAccountRequest>,
    ) -> Result<Response<proto::GetAccountResponse>, Status> {
        let query = envelope(request.into_inner().query, "query")?;
        let statement = answer(self.0.account(query).await)?;
        Ok(Response::new(proto::GetAccountResponse { statement }))
    }

    async fn order_payment(
        &self,
        request: Request<proto::OrderPaymentRequest>,
    ) -> Result<Response<proto::OrderPaymentResponse>, Status> {
        let order = envelope(request.into_inner().order, "order")?;
        let told = self.0.order_payment(order).await;
        if let Ok(receipt) = &told {
            let (payment, entry) = (receipt.terms.id(), receipt.entry);
            tracing::debug!(%payment, entry, "answered");
        }
        let receipt = answer(told)?;
        Ok(Response::new(proto::OrderPaymentResponse { receipt }))
    }

    async fn get_payment(
        &self,
        request: Request<proto::GetPaymentRequest>,
    ) -> Result<Response<proto::GetPaymentResponse>, Status> {
        let terms = request.into_inner().terms.ok_or(Invalid::FieldMissing { field: "terms" });
        let terms = terms.and_then(PaymentTerms::from_wire).map_err(|invalid| status::invalid(&invalid))?;
        let receipt = answer(self.0.payment(terms).await)?;
        Ok(Response::new(proto::GetPaymentResponse { receipt }))
    }

    async fn list_payments(
        &self,
        request: Request<proto::ListPaymentsRequest>,
    ) -> Result<Response<proto::ListPaymentsResponse>, Status> {
        let proto::ListPaymentsRequest { query, page_size: size, page_token } = request.into_inner();
        let count = usize::try_from(page_size(size)?).unwrap_or(usize::MAX);
        let before = before(&page_token)?;
        let query = envelope(query, "query")?;
        let page = self.0.payments(query, before, count).await.map_err(|error| ledger(&error))?;
        let receipts = page.receipts.iter().map(|receipt| receipt.envelope().to_wire()).collect();
        let next_page_token = page.before.map_or_else(String::new, |entry| format!("{TOKEN_PREFIX}{entry}"));
        Ok(Response::new(proto::ListPaymentsResponse { receipts, next_page_token }))
    }
}

fn envelope(wire: Option<wire::Envelope>, field: &'static str) -> Result<Envelope, Status> {
    let wire = wire.ok_or(Invalid::FieldMissing { field });
    wire.and_then(Envelope::from_wire).map_err(|invalid| status::invalid(&invalid))
}

fn answer<T: Payload>(told: Result<Verified<T>, LedgerError>) -> Result<Option<wire::Envelope>, Status> {
    match told {
        Ok(statement) => Ok(Some(statement.envelope().to_wire())),
        Err(error) => Err(ledger(&error)),
    }
}

/// The entry before which a page begins.
fn before(token: &str) -> Result<u64, Status> {
    if token.is_empty() {
        return Ok(u64::MAX);
    }
    let entry = token.strip_prefix(TOKEN_PREFIX).and_then(|entry| entry.parse::<u64>().ok());
    entry.filter(|entry| format!("{TOKEN_PREFIX}{entry}") == token).ok_or_else(|| {
        let message = "page_token is not from an earlier answer; start again without one";
        Problem::new(Code::InvalidArgument, reason::PAGE_TOKEN_INVALID, message).field("page_token").status()
    })
}

/// What a ledger answers.
fn ledger(error: &LedgerError) -> Status {
    match error {
        LedgerError::Invalid(it) => status::invalid(it),
        LedgerError::Overloaded => status::overloaded(),
        LedgerError::Refused(it) => refused(it),
        LedgerError::Stopped => status::stopped(),
        LedgerError::Unreadable => {
            Problem::new(Code::Internal, reason::STORE_FAILED, error.to_string()).status()
        }
    }
}

/// A rule forbids what the caller asks.
fn refused(refused: &LedgerRefused) -> Status {
    use LedgerRefused as R;
    tracing::debug!(reason = refused.reason(), "refused");
    let code = match refused {
        R::AccountUnknown { .. } | R::PaymentAbsent => Code::NotFound,
        R::SignerNotEntitled => Code::PermissionDenied,
        _ => Code::FailedPrecondition,
    };
    let problem = Problem::new(code, refused.reason(), refused.to_string());
    let (subject, problem) = match refused {
        R::AccountClosed { party } | R::AccountUnknown { party } => ("account", problem.with("party", party)),
        R::AccountNotEmpty => ("account", problem),
        R::CurrencyMismatch { party, held } | R::ScaleMismatch { party, held } => {
            ("account", problem.with("party", party).with("held", held))
        }
        R::CurrencyUnknown { currency } => ("account", problem.with("currency", currency)),
        R::HoldOver { now, until } => ("payment", problem.with("now", now.0).with("until", until.0)),
        R::HoldTooLong { until, latest } => {
            ("payment", problem.with("until", until.0).with("latest", latest.0))
        }
        R::PaymentPosted { units } => ("payment", problem.with("units", units)),
        R::QueryStale { now, time } => ("query", problem.with("now", now.0).with("time", time.0)),
        _ => ("payment", problem),
    };
    problem.precondition(refused.reason(), subject).status()
}
