//! A ledger over gRPC. The only file that names its generated client.
//!
//! Invariant: no call waits for ever. A ledger that vanishes, or that only accepts connections, is out of reach; the
//! caller orders again.

use std::time::Duration;

use arbiter_protocol::error::{Invalid, Rejected};
use arbiter_protocol::exchange::payment::Currency;
use arbiter_protocol::ids::PublicKey;
use arbiter_protocol::message::payment::PaymentTerms;
use arbiter_protocol::statement::Envelope;
use arbiter_protocol::time::{DurationMillis, UnixMillis};
use arbiter_protocol::wire::ledger as proto;
use arbiter_protocol::wire::ledger::ledger_service_client::LedgerServiceClient;
use async_trait::async_trait;
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Code, Response, Status};
use tonic_types::StatusExt as _;

use crate::endpoint::endpoint;
use crate::error::Error;
use crate::ledger::{LedgerError, LedgerPort, Page};

/// How long a ledger may take for a whole call that should take milliseconds.
const CALL: Duration = Duration::from_secs(20);
/// Currencies of one ledger.
const CURRENCIES: usize = 1000;

/// A ledger at a URL. Connects when first used, and again after a loss.
#[derive(Clone, Debug)]
pub struct GrpcLedger {
    channel: Channel,
    call: Duration,
}

/// What a ledger says about itself. Nobody vouches for it yet.
#[derive(Clone, Debug)]
pub struct LedgerInfo {
    /// Signs its receipts: what agreements name.
    pub key: PublicKey,
    /// What its operator calls it.
    pub name: String,
    /// What its operator promises, in words.
    pub terms: String,
    /// The currencies that it issues.
    pub currencies: Vec<Currency>,
    /// No hold lasts longer.
    pub longest_hold: DurationMillis,
    /// Its clock.
    pub clock: UnixMillis,
    /// Its software.
    pub version: String,
}

impl GrpcLedger {
    /// For `http://…`, or `https://…` with the authority (PEM) that the certificate must come from.
    pub fn new(url: &str, ca: Option<Vec<u8>>) -> Result<Self, Error> {
        let endpoint = endpoint(url, ca)?
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(20));
        Ok(Self { channel: endpoint.connect_lazy(), call: CALL })
    }

    /// Waits at most this long for any answer. Default 20 s.
    #[must_use]
    pub fn answer_within(self, most: Duration) -> Self {
        Self { call: most, ..self }
    }

    /// Asks the ledger who it is, once. Its key is to be compared with its operator's word by another way, and kept.
    pub async fn info(&self) -> Result<LedgerInfo, LedgerError> {
        let wire = self.call(self.service().get_ledger_info(proto::GetLedgerInfoRequest {})).await?;
        if wire.currencies.len() > CURRENCIES {
            return Err(malformed(Invalid::FieldLength { field: "currencies" }));
        }
        let currency = |it: proto::Currency| {
            let scale = u8::try_from(it.scale).map_err(|_| Invalid::FieldValue { field: "scale" })?;
            Currency::new(&it.code, scale)
        };
        let currencies = wire.currencies.into_iter().map(currency).collect::<Result<_, _>>();
        Ok(LedgerInfo {
            key: PublicKey::parse(&wire.key, "key").map_err(malformed)?,
            name: wire.name,
            terms: wire.terms,
            currencies: currencies.map_err(malformed)?,
            longest_hold: DurationMillis(wire.limits.map_or(0, |it| it.longest_hold_ms)),
            clock: UnixMillis(wire.clock),
            version: wire.version,
        })
    }

    fn service(&self) -> LedgerServiceClient<Channel> {
        LedgerServiceClient::new(self.channel.clone())
    }

    async fn call<T>(
        &self,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, LedgerError> {
        match timeout(self.call, call).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(ledger_error(&status)),
            Err(_) => Err(LedgerError::Unavailable {
                message: "the ledger does not answer in time".to_owned(),
                retry_after: None,
            }),
        }
    }
}

type Wire = arbiter_protocol::message::wire::Envelope;

#[async_trait]
impl LedgerPort for GrpcLedger {
    async fn order(&self, order: &Envelope) -> Result<Envelope, LedgerError> {
        let request = proto::OrderPaymentRequest { order: Some(order.to_wire()) };
        envelope(self.call(self.service().order_payment(request)).await?.receipt)
    }

    async fn payment(&self, terms: &PaymentTerms) -> Result<Envelope, LedgerError> {
        let request = proto::GetPaymentRequest { terms: Some(terms.to_wire()) };
        envelope(self.call(self.service().get_payment(request)).await?.receipt)
    }

    async fn order_account(&self, order: &Envelope) -> Result<Envelope, LedgerError> {
        let request = proto::OrderAccountRequest { order: Some(order.to_wire()) };
        envelope(self.call(self.service().order_account(request)).await?.statement)
    }

    async fn account(&self, query: &Envelope) -> Result<Envelope, LedgerError> {
        let request = proto::GetAccountRequest { query: Some(query.to_wire()) };
        envelope(self.call(self.service().get_account(request)).await?.statement)
    }

    async fn payments(&self, query: &Envelope, page: &str) -> Result<Page, LedgerError> {
        let request = proto::ListPaymentsRequest {
            query: Some(query.to_wire()),
            page_size: 0,
            page_token: page.to_owned(),
        };
        let answer = self.call(self.service().list_payments(request)).await?;
        let receipts = answer.receipts.into_iter().map(Envelope::from_wire).collect::<Result<_, _>>();
        let next = Some(answer.next_page_token).filter(|token| !token.is_empty());
        Ok(Page { receipts: receipts.map_err(malformed)?, next })
    }
}

fn envelope(wire: Option<Wire>) -> Result<Envelope, LedgerError> {
    let wire = wire.ok_or_else(|| malformed(Invalid::FieldMissing { field: "envelope" }))?;
    Envelope::from_wire(wire).map_err(malformed)
}

const fn malformed(why: Invalid) -> LedgerError {
    LedgerError::Malformed(Rejected::Invalid(why))
}

/// Out of reach is what the codes for it say, and every failure that did not come from the ledger at all.
fn ledger_error(status: &Status) -> LedgerError {
    let message = status.message().to_owned();
    let local = std::error::Error::source(status).is_some();
    let transient = matches!(
        status.code(),
        Code::Unavailable
            | Code::ResourceExhausted
            | Code::DeadlineExceeded
            | Code::Cancelled
            | Code::Internal
    );
    match status.get_details_error_info() {
        Some(info) if !transient => LedgerError::Refused {
            reason: info.reason.chars().take(63).collect(),
            message,
            metadata: info.metadata.into_iter().collect(),
        },
        None if !transient && !local => LedgerError::Refused {
            reason: format!("{:?}", status.code()),
            message,
            metadata: std::collections::BTreeMap::new(),
        },
        _ => {
            let retry_after = status.get_details_retry_info().and_then(|info| info.retry_delay);
            LedgerError::Unavailable { message, retry_after }
        }
    }
}
