//! A ledger to talk to, and people who do.

#![allow(dead_code, reason = "each test uses a part")]

use arbiter_protocol::crypto::{MemorySigner, Signer as _};
use arbiter_protocol::exchange::payment::{Amount, Currency, Hold, Payment, Timeout};
use arbiter_protocol::ids::{Digest, PublicKey};
use arbiter_protocol::message::account::{AccountAction, AccountOrder, AccountQuery, AccountStatement};
use arbiter_protocol::message::payment::{PaymentAction, PaymentOrder, PaymentReceipt, PaymentTerms};
use arbiter_protocol::message::wire;
use arbiter_protocol::statement::{Envelope, Payload, Signed, Verified};
use arbiter_protocol::time::UnixMillis;
use arbiter_protocol::wire::ledger as proto;
use arbiter_protocol::wire::ledger::ledger_service_client::LedgerServiceClient;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use zeroize::Zeroizing;

pub type Client = LedgerServiceClient<Channel>;

pub fn signer(byte: u8) -> MemorySigner {
    MemorySigner::from_seed(&Zeroizing::new([byte; 32]))
}

pub fn key(byte: u8) -> PublicKey {
    signer(byte).public_key()
}

pub fn euro() -> Currency {
    Currency::new("EUR", 2).unwrap()
}

pub async fn client(address: &str) -> Client {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    LedgerServiceClient::new(endpoint.connect().await.unwrap())
}

/// People who use the ledger with this key.
#[derive(Clone, Copy)]
pub struct Cast {
    pub ledger: PublicKey,
}

pub const ALICE: u8 = 11;
pub const BOB: u8 = 12;
pub const ARBITER: u8 = 13;

impl Cast {
    /// Alice pays Bob under the authority of the arbiter.
    pub fn held(&self, units: u64, until: UnixMillis, timeout: Timeout, reference: &str) -> PaymentTerms {
        let hold = Some(Hold { until, timeout });
        PaymentTerms { authority: Some(key(ARBITER)), ..self.terms(ALICE, BOB, units, hold, reference) }
    }

    pub fn at_once(&self, payer: u8, payee: u8, units: u64, reference: &str) -> PaymentTerms {
        self.terms(payer, payee, units, None, reference)
    }

    fn terms(&self, payer: u8, payee: u8, units: u64, hold: Option<Hold>, reference: &str) -> PaymentTerms {
        let (payer, payee) = (key(payer), key(payee));
        let amount = Amount::new(units, euro()).unwrap();
        let payment = Payment { ledger: self.ledger, payer, payee, amount, hold };
        PaymentTerms { payment, authority: None, reference: Digest::of(&[reference.as_bytes()]) }
    }

    /// The ledger's own payment, signed by its key.
    pub fn issue(&self, ledger: &MemorySigner, payee: u8, units: u64, reference: &str) -> Envelope {
        let mut terms = self.at_once(payee, 99, units, reference);
        (terms.payment.payer, terms.payment.payee) = (self.ledger, key(payee));
        Verified::sign(PaymentOrder { terms, action: PaymentAction::Make }, ledger).envelope().clone()
    }

    pub fn account_order(&self, account: u8, currency: Currency, action: AccountAction) -> Envelope {
        let order = AccountOrder { ledger: self.ledger, account: key(account), currency, action };
        Verified::sign(order, &signer(account)).envelope().clone()
    }

    pub fn query(&self, account: u8, time: UnixMillis) -> Envelope {
        let query = AccountQuery { ledger: self.ledger, account: key(account), time };
        Verified::sign(query, &signer(account)).envelope().clone()
    }
}

pub fn order(terms: &PaymentTerms, action: PaymentAction, by: u8) -> Envelope {
    Verified::sign(PaymentOrder { terms: terms.clone(), action }, &signer(by)).envelope().clone()
}

fn verified<T: Payload>(wire: Option<wire::Envelope>, ledger: &PublicKey) -> Verified<T> {
    Signed::parse(Envelope::from_wire(wire.unwrap()).unwrap()).unwrap().verify(ledger).unwrap()
}

/// What a caller does with every answer: checks it.
pub struct Caller {
    pub client: Client,
    pub ledger: PublicKey,
}

impl Caller {
    pub async fn order(&mut self, order: Envelope) -> Result<Verified<PaymentReceipt>, Status> {
        let request = proto::OrderPaymentRequest { order: Some(order.to_wire()) };
        let receipt = self.client.order_payment(request).await?.into_inner().receipt;
        Ok(verified(receipt, &self.ledger))
    }

    pub async fn payment(&mut self, terms: &PaymentTerms) -> Result<Verified<PaymentReceipt>, Status> {
        let request = proto::GetPaymentRequest { terms: Some(terms.to_wire()) };
        let receipt = self.client.get_payment(request).await?.into_inner().receipt;
        let receipt: Verified<PaymentReceipt> = verified(receipt, &self.ledger);
        assert_eq!(receipt.terms, *terms);
        Ok(receipt)
    }

    pub async fn order_account(&mut self, order: Envelope) -> Result<Verified<AccountStatement>, Status> {
        let request = proto::OrderAccountRequest { order: Some(order.to_wire()) };
        let statement = self.client.order_account(request).await?.into_inner().statement;
        Ok(verified(statement, &self.ledger))
    }

    pub async fn account(&mut self, query: Envelope) -> Result<Verified<AccountStatement>, Status> {
        let request = proto::GetAccountRequest { query: Some(query.to_wire()) };
        let statement = self.client.get_account(request).await?.into_inner().statement;
        Ok(verified(statement, &self.ledger))
    }

    pub async fn page(
        &mut self,
        query: Envelope,
        page_size: i32,
        page_token: &str,
    ) -> Result<(Vec<Verified<PaymentReceipt>>, String), Status> {
        let page_token = page_token.to_owned();
        let request = proto::ListPaymentsRequest { query: Some(query.to_wire()), page_size, page_token };
        let answer = self.client.list_payments(request).await?.into_inner();
        let receipts = answer.receipts.into_iter().map(|it| verified(Some(it), &self.ledger));
        Ok((receipts.collect(), answer.next_page_token))
    }
}

/// The error must have this code and exactly this reason of our domain.
#[track_caller]
pub fn assert_reason<T>(result: Result<T, Status>, code: Code, expected: &str) -> Status {
    let Err(status) = result else { panic!("accepted instead of {expected}") };
    let info = status.get_details_error_info().unwrap_or_else(|| panic!("no reason in {status:?}"));
    assert_eq!((status.code(), info.reason.as_str()), (code, expected), "{}", status.message());
    assert_eq!(info.domain, "arbiter.v1");
    assert!(!status.message().is_empty());
    status
}
