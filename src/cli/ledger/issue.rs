//! `ledger issue`: money comes into being by a payment from the ledger's own account. The order travels as any other one, so
//! there is one writer, and the book shows who ordered it.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use arbiter_protocol::crypto::Signer as _;
use arbiter_protocol::error::Invalid;
use arbiter_protocol::exchange::payment::{Amount, Payment};
use arbiter_protocol::ids::{Digest, PublicKey};
use arbiter_protocol::message::payment::{PaymentAction, PaymentOrder, PaymentReceipt, PaymentTerms};
use arbiter_protocol::statement::{Envelope, Signed, Verified};
use arbiter_protocol::wire::ledger as proto;
use arbiter_protocol::wire::ledger::ledger_service_client::LedgerServiceClient;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

use super::load_key;
use crate::cli::serve::block_on;
use crate::cli::{CliError, pem, print};
use crate::config::ConfigError;
use crate::config::ledger::Settings;

/// How long the ledger may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is to be issued.
pub(super) struct Issue {
    to: PublicKey,
    amount: Amount,
    reference: Digest,
}

impl Issue {
    /// Reads the command line.
    pub(super) fn read(to: &str, amount: &str, reference: Option<&str>) -> Result<Self, CliError> {
        let wrong = |setting, found: &str, expected| {
            let found = format!("{found:?}");
            move |_| ConfigError::Value { setting, found, expected }
        };
        let hex = "it must be 64 hexadecimal digits";
        let reference = match reference {
            Some(text) => Digest::parse_hex(text, "reference").map_err(wrong("--reference", text, hex))?,
            None => {
                let mut bytes = [0; 32];
                getrandom::fill(&mut bytes).map_err(crate::keys::file::KeyFileError::Randomness)?;
                Digest::from_bytes(bytes)
            }
        };
        let form = "it must be a number and a code, such as \"100.00 EUR\"";
        Ok(Self {
            to: PublicKey::parse_hex(to, "to").map_err(wrong("--to", to, hex))?,
            amount: Amount::parse(amount).map_err(wrong("--amount", amount, form))?,
            reference,
        })
    }
}

pub(super) fn issue(
    settings: &Settings,
    issue: &Issue,
    address: Option<String>,
    ca: Option<PathBuf>,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let signer = load_key(settings)?;
    let Issue { to: payee, amount, reference } = issue;
    let ledger = signer.public_key();
    let payment = Payment { ledger, payer: ledger, payee: *payee, amount: amount.clone(), hold: None };
    let terms = PaymentTerms { payment, authority: None, reference: *reference };
    let order = Verified::sign(PaymentOrder { terms, action: PaymentAction::Make }, &signer);
    let url = address.unwrap_or_else(|| default_url(settings));
    let ca = ca.map(|path| pem("--ca", &path)).transpose()?;
    print(out, &format!("reference {reference}\n"))?;
    block_on(async {
        let receipt = ask(&url, ca, &order).await.map_err(|problem| CliError::Unanswered { url, problem })?;
        let (entry, time) = (receipt.entry, receipt.time);
        print(out, &format!("issued   {amount} to {payee}\nentry    {entry} at {time}\n"))
    })
}

/// Where this machine reaches what it listens on.
fn default_url(settings: &Settings) -> String {
    let mut listen = settings.listen;
    if listen.ip().is_unspecified() {
        listen.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    let scheme = if settings.tls_cert.is_some() { "https" } else { "http" };
    format!("{scheme}://{listen}")
}

async fn ask(
    url: &str,
    ca: Option<Vec<u8>>,
    order: &Verified<PaymentOrder>,
) -> Result<Verified<PaymentReceipt>, String> {
    let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|error| error.to_string())?;
    let mut endpoint = endpoint.timeout(PATIENCE).connect_timeout(PATIENCE);
    if let Some(ca) = ca {
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca));
        endpoint = endpoint.tls_config(tls).map_err(|error| error.to_string())?;
    }
    let channel = endpoint.connect().await.map_err(|error| format!("{error}; is the ledger running?"))?;
    let request = proto::OrderPaymentRequest { order: Some(order.envelope().to_wire()) };
    let answer = LedgerServiceClient::new(channel).order_payment(request).await;
    let receipt = answer.map_err(|status| status.message().to_owned())?.into_inner().receipt;
    let verify = || {
        let envelope = Envelope::from_wire(receipt.ok_or(Invalid::FieldMissing { field: "receipt" })?)?;
        Signed::<PaymentReceipt>::parse(envelope)?.verify(&order.signer())
    };
    let receipt = verify().map_err(|invalid| invalid.to_string())?;
    if receipt.terms != order.terms || !receipt.is_effective() {
        return Err(String::from("the receipt is about another payment, or the payment is not posted"));
    }
    Ok(receipt)
}
