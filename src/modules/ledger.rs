//! A ledger over gRPC (`proto/arbiter/ledger/v1`).
//!
//! ```text
//!  order ─▶ OrderPayment ─┬─ receipt, final ─▶ done
//!                         ├─ receipt, not final, or refused ─▶ GetPayment: how it stands now
//!                         └─ out of reach ─▶ told again
//! ```

use std::sync::Arc;

use arbiter_protocol::ids::PublicKey;
use arbiter_protocol::message::payment::{PaymentOrder, PaymentReceipt, PaymentTerms};
use arbiter_protocol::message::wire;
use arbiter_protocol::statement::{Envelope, Signed, Verified};
use arbiter_protocol::wire::ledger as proto;
use arbiter_protocol::wire::ledger::ledger_service_client::LedgerServiceClient;
use tonic::{Code, Status};

use super::about::words;
use super::reach::{Connection, Link, Reach};
use super::{About, ModuleError, PaymentModule};

/// A ledger over gRPC. Connects when it is first needed, and again after an outage.
#[derive(Clone)]
pub struct GrpcLedger {
    key: PublicKey,
    link: Arc<Link>,
}

impl GrpcLedger {
    /// Prepares the connection to the ledger with this key; the text of an error says what is wrong with how it is reached.
    pub fn new(key: PublicKey, reach: &Reach) -> Result<Self, String> {
        Ok(Self { key, link: Arc::new(reach.link()?) })
    }

    fn client(&self) -> LedgerServiceClient<Connection> {
        let client = LedgerServiceClient::new(self.link.connection());
        client.max_decoding_message_size(self.link.max_message_bytes)
    }

    async fn order(&self, order: &Verified<PaymentOrder>) -> Result<Envelope, ModuleError> {
        let request = proto::OrderPaymentRequest { order: Some(order.envelope().to_wire()) };
        let answer = self.client().order_payment(request).await;
        let answer = answer.map(|answer| answer.into_inner().receipt);
        final_state(self, &order.terms, answer).await
    }
}

#[async_trait::async_trait]
impl PaymentModule for GrpcLedger {
    async fn about(&self) -> Result<About, ModuleError> {
        let answer = self.client().get_ledger_info(proto::GetLedgerInfoRequest {}).await;
        About::of_ledger(answer.map_err(|status| unheard(&status))?.into_inner(), &self.key)
    }

    async fn verify(&self, terms: &PaymentTerms) -> Result<Envelope, ModuleError> {
        let request = proto::GetPaymentRequest { terms: Some(terms.to_wire()) };
        let answer = self.client().get_payment(request).await.map_err(|status| unheard(&status))?;
        envelope(answer.into_inner().receipt)
    }

    async fn revoke(&self, order: &Verified<PaymentOrder>) -> Result<Envelope, ModuleError> {
        self.order(order).await
    }

    async fn generate(&self, order: &Verified<PaymentOrder>) -> Result<Envelope, ModuleError> {
        self.order(order).await
    }
}

/// The envelope in an answer.
pub(super) fn envelope(wire: Option<wire::Envelope>) -> Result<Envelope, ModuleError> {
    let wire = wire.ok_or_else(|| ModuleError::Nonsense(String::from("an answer without a receipt")))?;
    Envelope::from_wire(wire).map_err(|error| ModuleError::Nonsense(error.to_string()))
}

/// How a payment stands after an order: what was answered, if it is final, else the module is asked again. An order that was
/// refused came too late, most likely.
pub(super) async fn final_state(
    module: &dyn PaymentModule,
    terms: &PaymentTerms,
    answer: Result<Option<wire::Envelope>, Status>,
) -> Result<Envelope, ModuleError> {
    match answer {
        Ok(receipt) => {
            let receipt = envelope(receipt)?;
            let is_final = Signed::<PaymentReceipt>::parse(receipt.clone())
                .is_ok_and(|receipt| receipt.unverified().is_final());
            if is_final { Ok(receipt) } else { module.verify(terms).await }
        }
        Err(status) if matches!(status.code(), Code::FailedPrecondition | Code::NotFound) => {
            module.verify(terms).await
        }
        Err(status) => Err(unheard(&status)),
    }
}

/// What the operator reads: the code and the module's words, cut to a line.
pub(super) fn unheard(status: &Status) -> ModuleError {
    let text = format!("{:?}: {}", status.code(), words(status.message()));
    match status.code() {
        // Also what the gRPC library says about an answer that is too large.
        Code::OutOfRange => ModuleError::Nonsense(text),
        Code::FailedPrecondition
        | Code::InvalidArgument
        | Code::NotFound
        | Code::PermissionDenied
        | Code::Unauthenticated
        | Code::Unimplemented => ModuleError::Refused(text),
        _ => ModuleError::Unreachable(text),
    }
}
