//! A rail behind an adapter (`proto/arbiter/adapter/v1`).
//!
//! ```text
//!  first, and every minute ─▶ GetAdapterInfo ─▶ version, key, kind as configured? ─┬─ no ─▶ nothing is asked or ordered
//!                                                                                 └─ yes ─▶ VerifyPayment, RevokePayment, …
//! ```
//! An adapter of another version might understand an order differently: it is given none (R-707).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arbiter_protocol::ids::PublicKey;
use arbiter_protocol::message::payment::{PaymentOrder, PaymentTerms};
use arbiter_protocol::statement::{Envelope, Verified};
use arbiter_protocol::wire::adapter as proto;
use arbiter_protocol::wire::adapter::adapter_service_client::AdapterServiceClient;
use tonic::Code;

use super::ledger::{envelope, final_state, unheard};
use super::reach::{Connection, Link, Reach};
use super::{About, ModuleError, PaymentModule};

/// How long the answer to "who are you" counts.
const FRESH: Duration = Duration::from_secs(60);

/// An adapter over gRPC. Connects when it is first needed, and again after an outage.
#[derive(Clone)]
pub struct GrpcAdapter {
    key: PublicKey,
    kind: String,
    link: Arc<Link>,
    /// When it was last found to be the one in the configuration.
    known: Arc<Mutex<Option<Instant>>>,
}

impl GrpcAdapter {
    /// Prepares the connection to the adapter with this key and kind; the text of an error says what is wrong with how it
    /// is reached.
    pub fn new(key: PublicKey, kind: String, reach: &Reach) -> Result<Self, String> {
        Ok(Self { key, kind, link: Arc::new(reach.link()?), known: Arc::default() })
    }

    fn client(&self) -> AdapterServiceClient<Connection> {
        let client = AdapterServiceClient::new(self.link.connection());
        client.max_decoding_message_size(self.link.max_message_bytes)
    }

    /// Fails unless the adapter is the one in the configuration.
    async fn ready(&self) -> Result<(), ModuleError> {
        let known = *self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_some_and(|since| since.elapsed() < FRESH) {
            return Ok(());
        }
        self.about().await.map(drop)
    }
}

#[async_trait::async_trait]
impl PaymentModule for GrpcAdapter {
    async fn about(&self) -> Result<About, ModuleError> {
        let answer = self.client().get_adapter_info(proto::GetAdapterInfoRequest {}).await;
        let about = match answer {
            Ok(answer) => About::of_adapter(answer.into_inner(), &self.key, &self.kind),
            Err(status) if status.code() == Code::Unimplemented => {
                Err(ModuleError::Unfit(String::from("it does not speak arbiter.adapter.v1")))
            }
            Err(status) => Err(unheard(&status)),
        };
        let known = about.is_ok().then(Instant::now);
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = known;
        about
    }

    async fn verify(&self, terms: &PaymentTerms) -> Result<Envelope, ModuleError> {
        self.ready().await?;
        let request = proto::VerifyPaymentRequest { terms: Some(terms.to_wire()) };
        let answer = self.client().verify_payment(request).await.map_err(|status| unheard(&status))?;
        envelope(answer.into_inner().receipt)
    }

    async fn revoke(&self, order: &Verified<PaymentOrder>) -> Result<Envelope, ModuleError> {
        self.ready().await?;
        let request = proto::RevokePaymentRequest { order: Some(order.envelope().to_wire()) };
        let answer = self.client().revoke_payment(request).await;
        final_state(self, &order.terms, answer.map(|answer| answer.into_inner().receipt)).await
    }

    async fn generate(&self, order: &Verified<PaymentOrder>) -> Result<Envelope, ModuleError> {
        self.ready().await?;
        let request = proto::GeneratePaymentRequest { order: Some(order.envelope().to_wire()) };
        let answer = self.client().generate_payment(request).await;
        final_state(self, &order.terms, answer.map(|answer| answer.into_inner().receipt)).await
    }
}
