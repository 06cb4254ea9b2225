//! A ledger over gRPC (`proto/arbiter/ledger/v1`): the one client that the arbiter has.
//!
//! ```text
//!  order ─▶ OrderPayment ─┬─ receipt, final ─▶ done
//!                         ├─ receipt, not final, or refused ─▶ GetPayment: how it stands now
//!                         └─ out of reach ─▶ told again
//! ```

use std::time::Duration;

use arbiter_protocol::message::payment::{PaymentOrder, PaymentReceipt};
use arbiter_protocol::statement::{Envelope, Payload as _, Signed, Verified};
use arbiter_protocol::wire::ledger as proto;
use arbiter_protocol::wire::ledger::ledger_service_client::LedgerServiceClient;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Status};

use super::{Ledger, Unheard};

/// How to reach a ledger.
#[derive(Clone, Debug)]
pub struct Reach {
    /// `http://` or `https://`, host and port.
    pub url: String,
    /// Authority of the ledger's certificate (PEM): needed with `https://`.
    pub ca: Option<Vec<u8>>,
    /// How long one call may take.
    pub timeout: Duration,
}

/// A ledger over gRPC. Connects when it is first needed, and again after an outage.
#[derive(Clone, Debug)]
pub struct GrpcLedger {
    client: LedgerServiceClient<Channel>,
}

impl GrpcLedger {
    /// Prepares the connection; the text of an error says what is wrong with the address or the certificate.
    pub fn new(reach: &Reach) -> Result<Self, String> {
        let endpoint = Endpoint::from_shared(reach.url.clone()).map_err(|error| error.to_string())?;
        let mut endpoint = endpoint.timeout(reach.timeout).connect_timeout(reach.timeout);
        if reach.url.starts_with("https://") {
            let ca = reach.ca.as_ref().ok_or("https needs the certificate of an authority (ca)")?;
            let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca));
            endpoint = endpoint.tls_config(tls).map_err(|error| error.to_string())?;
        }
        Ok(Self { client: LedgerServiceClient::new(endpoint.connect_lazy()) })
    }

    /// How the payment stands now.
    async fn payment(&self, order: &PaymentOrder) -> Result<Envelope, Unheard> {
        let terms = order.to_wire().terms;
        let request = proto::GetPaymentRequest { terms };
        let answer = self.client.clone().get_payment(request).await.map_err(|status| unreachable(&status))?;
        envelope(answer.into_inner().receipt)
    }
}

#[async_trait::async_trait]
impl Ledger for GrpcLedger {
    async fn order(&self, order: &Verified<PaymentOrder>) -> Result<Envelope, Unheard> {
        let request = proto::OrderPaymentRequest { order: Some(order.envelope().to_wire()) };
        match self.client.clone().order_payment(request).await {
            Ok(answer) => {
                let receipt = envelope(answer.into_inner().receipt)?;
                let is_final = Signed::<PaymentReceipt>::parse(receipt.clone())
                    .is_ok_and(|receipt| receipt.unverified().is_final());
                if is_final { Ok(receipt) } else { self.payment(order).await }
            }
            // Refused, most likely because the payment is final already.
            Err(status) if matches!(status.code(), Code::FailedPrecondition | Code::NotFound) => {
                self.payment(order).await
            }
            Err(status) => Err(unreachable(&status)),
        }
    }
}

fn envelope(wire: Option<arbiter_protocol::message::wire::Envelope>) -> Result<Envelope, Unheard> {
    let wire = wire.ok_or_else(|| Unheard::Nonsense(String::from("an answer without a receipt")))?;
    Envelope::from_wire(wire).map_err(|error| Unheard::Nonsense(error.to_string()))
}

/// What the operator reads: the code and the ledger's words, cut to a line.
fn unreachable(status: &Status) -> Unheard {
    let words: String = status.message().chars().filter(|c| !c.is_control()).take(200).collect();
    Unheard::Unreachable(format!("{:?}: {words}", status.code()))
}
