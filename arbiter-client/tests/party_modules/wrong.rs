//! Modules that lie, hang, panic and return rubbish: a good one with a fault.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arbiter_client::module::{Arrived, Capability, Given, Module, ModuleError, Order};
use arbiter_client::protocol::exchange::item::Item;
use arbiter_client::protocol::exchange::kind::Unfit;
use arbiter_client::protocol::exchange::property::{Properties, Property};
use arbiter_client::protocol::message::payment::PaymentTerms;
use arbiter_client::protocol::statement::Envelope;
use async_trait::async_trait;
use tokio::io::AsyncReadExt as _;
use zeroize::Zeroizing;

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It can do something else each time that it is asked.
    Changes,
    /// It claims that the arbiter can do everything with its items.
    Claims,
    /// It prepares nothing.
    PreparesNothing,
    HangsPreparing,
    HangsGiving,
    HangsChecking,
    HangsWatching,
    PanicsPreparing,
    PanicsGiving,
    PanicsChecking,
    /// The last byte of what it gives is another one.
    GivesWrong,
    /// It gives a file, whatever is ordered: the wrong kind for a purse and for a key.
    GivesOtherKind,
    /// It gives once and then no more.
    GivesOnce,
    /// It obeys orders that are not for it.
    Obeys,
    /// It takes nothing of what fits.
    ChecksNothing,
    /// It sees every payment as the one that it saw first.
    Blind,
}

pub struct Wrong {
    inner: Arc<dyn Module>,
    fault: Fault,
    used: AtomicBool,
    seen: std::sync::Mutex<Option<Envelope>>,
}

impl Wrong {
    pub fn new(inner: Arc<dyn Module>, fault: Fault) -> Self {
        Self { inner, fault, used: AtomicBool::new(false), seen: std::sync::Mutex::default() }
    }

    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }
}

async fn for_ever<T>() -> T {
    std::future::pending().await
}

#[async_trait]
impl Module for Wrong {
    fn name(&self) -> &'static str {
        "wrong"
    }

    fn capability(&self) -> Capability {
        let capability = self.inner.capability();
        if self.is(Fault::Claims) {
            return Capability { properties: Properties::new(Property::ALL), ..capability };
        }
        let takes = if self.is(Fault::Changes) {
            self.used.fetch_xor(true, Ordering::SeqCst)
        } else {
            capability.takes
        };
        Capability { takes, ..capability }
    }

    async fn prepare(&self, item: &Item, source: Option<&Path>) -> Result<(), ModuleError> {
        match self.fault {
            Fault::HangsPreparing => for_ever().await,
            Fault::PanicsPreparing => panic!("prepares no more"),
            Fault::PreparesNothing => Err(ModuleError::refused("NOTHING", "nothing is prepared")),
            _ => self.inner.prepare(item, source).await,
        }
    }

    async fn give(&self, order: &Order) -> Result<Given, ModuleError> {
        match self.fault {
            Fault::HangsGiving => return for_ever().await,
            Fault::PanicsGiving => panic!("gives no more"),
            Fault::GivesOtherKind => return Ok(Given::File("/dev/null".into())),
            Fault::GivesOnce if self.used.swap(true, Ordering::SeqCst) => {
                return Err(ModuleError::refused("ONLY_ONCE", "given"));
            }
            _ => {}
        }
        let given = self.inner.give(order).await;
        if self.is(Fault::Obeys) && given.is_err() {
            return Ok(Given::Signature(Zeroizing::new(vec![0; 64])));
        }
        if !self.is(Fault::GivesWrong) {
            return given;
        }
        Ok(match given? {
            Given::Signature(mut signature) => {
                *signature.last_mut().unwrap() ^= 1;
                Given::Signature(signature)
            }
            Given::Content(mut content) => {
                let mut bytes = Vec::new();
                content.read_to_end(&mut bytes).await.unwrap();
                *bytes.last_mut().unwrap() ^= 1;
                Given::Content(Box::new(std::io::Cursor::new(bytes)))
            }
            Given::File(path) => {
                let mut bytes = std::fs::read(&path).unwrap();
                *bytes.last_mut().unwrap() ^= 1;
                Given::Content(Box::new(std::io::Cursor::new(bytes)))
            }
            Given::Receipt(envelope) => {
                let mut bytes = envelope.encode();
                *bytes.last_mut().unwrap() ^= 1;
                Given::Receipt(Envelope::decode(&bytes).unwrap())
            }
        })
    }

    async fn check(&self, arrived: &Arrived) -> Result<(), Unfit> {
        match self.fault {
            Fault::HangsChecking => for_ever().await,
            Fault::PanicsChecking => panic!("looks no more"),
            Fault::ChecksNothing => Err(Unfit::Kind),
            _ => self.inner.check(arrived).await,
        }
    }

    async fn watch(&self, terms: &PaymentTerms) -> Result<Envelope, ModuleError> {
        if self.is(Fault::HangsWatching) {
            return for_ever().await;
        }
        let told = self.inner.watch(terms).await;
        let mut seen = self.seen.lock().unwrap();
        if self.is(Fault::Blind) {
            return Ok(seen.get_or_insert(told?).clone());
        }
        told
    }
}
