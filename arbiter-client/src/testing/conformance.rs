//! The conformance suite for modules of the party's side: whatever [`Module`] passes it keeps R-715.
//!
//! ```text
//!  module, samples ─▶ conforms ─▶ Ok, or every promise that it breaks
//! ```
//!
//! Every answer is judged by the rules of the protocol, not by what the module says of itself. A call that hangs or panics
//! breaks the promise that it was made for, and the suite goes on. What it cannot see: whether the module keeps its promises
//! over a restart, and towards an owner who lies to it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arbiter_protocol::exchange::item::{Description, Item, check_line};
use arbiter_protocol::exchange::kind::content::ContentCheck;
use arbiter_protocol::exchange::payment::{Hold, Payment};
use arbiter_protocol::exchange::property::{Properties, Property};
use arbiter_protocol::ids::{Digest, PublicKey};
use arbiter_protocol::limits;
use arbiter_protocol::message::payment::{PaymentAction, PaymentReceipt, PaymentState, PaymentTerms};
use arbiter_protocol::statement::Verified;
use tokio::io::AsyncReadExt as _;

use crate::items;
use crate::ledger::till::receipt;
use crate::module::{
    Arrived, Capabilities, Given, Module, ModuleError, Order, Service, ask, payment_properties,
};
use crate::random;

/// What the suite tries a module with.
#[derive(Clone, Debug)]
pub struct Samples {
    /// Items that it gives, with the file that is to be named for each, if one is. None for a module that only takes. The
    /// payments are made, as often as the suite likes: a dozen times their amount must be there.
    pub gives: Vec<(Item, Option<PathBuf>)>,
    /// Items of its service that it does not give: of another key, from another account, of a file that it has not.
    pub others: Vec<Item>,
    /// The arbiter of the holds.
    pub authority: PublicKey,
    /// Where the suite may write.
    pub folder: PathBuf,
    /// Longer than any answer takes.
    pub patience: Duration,
}

/// A promise of [`Module`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// It says of itself what can be said: a name on one line, properties that the kind has, limits within which its samples
    /// are; it stays the same; and it can be written on a list.
    Capability,
    /// It prepares what it gives, as often as it is asked, and refuses what it does not.
    Prepare,
    /// What it gives is what was agreed.
    Give,
    /// The same order again, and many at once, give the same, and have one effect.
    Again,
    /// Orders for something else are refused, and have no effect.
    Refuse,
    /// It has nothing against what fits.
    Check,
    /// Looking tells how the payment stands, by the rail's word, and changes nothing.
    Watch,
}

/// A promise that was broken, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Which.
    pub promise: Promise,
    /// How.
    pub how: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.promise, self.how)
    }
}

/// Tries every promise of R-715. All that are broken, in the order tried.
pub async fn conforms(module: Arc<dyn Module>, samples: &Samples) -> Result<(), Vec<Broken>> {
    let mut suite = Suite { module, samples, broken: Vec::new() };
    let before = suite.module.capability();
    suite.says_what_can_be_said();
    for (number, (item, source)) in samples.gives.iter().enumerate() {
        suite.prepares(item, source.as_deref()).await;
        match &item.description {
            Description::Payment(payment) => suite.pays(item, payment).await,
            Description::Signature(_) => {}
            _ => suite.gives(item, source.clone(), number).await,
        }
    }
    for item in &samples.others {
        suite.refuses(item).await;
    }
    suite.sees_no_payment_of_others().await;
    suite.must(Promise::Capability, suite.module.capability() == before, "what it can do has changed");
    if suite.broken.is_empty() { Ok(()) } else { Err(suite.broken) }
}

struct Suite<'a> {
    module: Arc<dyn Module>,
    samples: &'a Samples,
    broken: Vec<Broken>,
}

impl Suite<'_> {
    fn must(&mut self, promise: Promise, kept: bool, how: &str) {
        if !kept {
            self.broken.push(Broken { promise, how: how.to_owned() });
        }
    }

    fn says_what_can_be_said(&mut self) {
        let capability = self.module.capability();
        let same = self.module.capability() == capability;
        self.must(Promise::Capability, same, "it says something else each time");
        let name = self.module.name();
        let one_line = !name.is_empty() && check_line(name, limits::NAME_BYTES, "name").is_ok();
        self.must(Promise::Capability, one_line, "its name is not one line");
        let kind = kind_of(capability.service());
        self.must(
            Promise::Capability,
            capability.properties.within(&kind),
            "it claims a property that no item of the kind has",
        );
        let all = capability.gives && self.samples.gives.is_empty();
        self.must(Promise::Capability, !all, "it gives, and there is no sample of what");
        let within = self.samples.gives.iter().all(|(item, _)| capability.gives(item).is_ok());
        self.must(Promise::Capability, within, "a sample of what it gives is outside of its limits");
        let others = self.samples.others.iter().all(|item| capability.gives(item).is_err())
            || capability.service() == Service::Information;
        self.must(Promise::Capability, others, "what it does not give is within its limits");
        let list = Capabilities { party: self.samples.authority, modules: vec![capability] };
        let read = Capabilities::parse(&list.to_json());
        self.must(
            Promise::Capability,
            read.is_ok_and(|read| read == list),
            "what it can do cannot be written on a list and read again",
        );
    }

    async fn prepare(&self, item: &Item, source: Option<&Path>) -> Result<(), ModuleError> {
        let (module, item, source) = (self.module.clone(), item.clone(), source.map(Path::to_owned));
        ask(self.samples.patience, async move { module.prepare(&item, source.as_deref()).await }).await?
    }

    async fn give(&self, order: &Order) -> Result<Given, ModuleError> {
        let (module, order) = (self.module.clone(), order.clone());
        ask(self.samples.patience, async move { module.give(&order).await }).await?
    }

    async fn prepares(&mut self, item: &Item, source: Option<&Path>) {
        for _ in 0..2 {
            let prepared = self.prepare(item, source).await;
            let how = format!("it does not prepare a sample: {prepared:?}");
            self.must(Promise::Prepare, prepared.is_ok(), &how);
        }
    }

    /// Content or a signature: it fits, twice and at once, and the module itself takes it.
    async fn gives(&mut self, item: &Item, source: Option<PathBuf>, number: usize) {
        let order = match &item.description {
            Description::DetachedSignature(it) => Order::Signature(it.clone()),
            Description::Information(it) => Order::Content { described: it.clone(), source },
            _ => return,
        };
        let first = match self.bytes(&order).await {
            Ok(bytes) => bytes,
            Err(how) => return self.must(Promise::Give, false, &how),
        };
        let fits = fits(item, &first);
        let how = format!("what it gives does not fit: {fits:?}");
        self.must(Promise::Give, fits.is_ok(), &how);
        let (a, b) = tokio::join!(self.bytes(&order), self.bytes(&order));
        for again in [a, b] {
            // A signature may be another one that is as good.
            let good = again.is_ok_and(|again| self::fits(item, &again).is_ok());
            self.must(Promise::Again, good, "the same order again does not give the same");
        }
        let path = self.samples.folder.join(format!("sample.{number}"));
        if std::fs::write(&path, &first).is_ok() && fits.is_ok() {
            self.checks(item, None, path).await;
        }
    }

    async fn bytes(&self, order: &Order) -> Result<Vec<u8>, String> {
        let patience = self.samples.patience;
        let read = |mut from: Box<dyn tokio::io::AsyncRead + Send + Unpin>| async move {
            let mut bytes = Vec::new();
            let read = async move { from.read_to_end(&mut bytes).await.map(|_| bytes) };
            let read = ask(patience, read).await.map_err(|error| error.to_string())?;
            read.map_err(|error| error.to_string())
        };
        match (self.give(order).await, order) {
            (Ok(Given::Content(content)), Order::Content { .. }) => read(content).await,
            (Ok(Given::File(path)), Order::Content { .. }) => {
                std::fs::read(&path).map_err(|error| error.to_string())
            }
            (Ok(Given::Signature(signature)), Order::Signature(_)) => Ok(signature.to_vec()),
            (Ok(other), _) => Err(format!("it gives {other:?}, which was not ordered")),
            (Err(error), _) => Err(format!("it does not give a sample: {error}")),
        }
    }

    async fn checks(&mut self, item: &Item, terms: Option<PaymentTerms>, path: PathBuf) {
        let arrived = Arrived { item: item.clone(), terms, path };
        let module = self.module.clone();
        let said = ask(self.samples.patience, async move { module.check(&arrived).await }).await;
        let how = format!("it does not take what fits: {said:?}");
        self.must(Promise::Check, matches!(said, Ok(Ok(()))), &how);
    }

    /// A payment: made once, however often and however many at once; told as it stands; posted, if it is held.
    async fn pays(&mut self, item: &Item, payment: &Payment) {
        let terms = self.terms(payment);
        let made = self.order(&terms, PaymentAction::Make).await;
        let receipt = match made {
            Ok(receipt) => receipt,
            Err(how) => return self.must(Promise::Give, false, &how),
        };
        let took_effect = receipt.is_effective() || payment.hold.is_some();
        self.must(Promise::Give, took_effect && receipt.entry > 0, "the payment did not take effect");
        let again = self.order(&terms, PaymentAction::Make).await;
        let same = again.is_ok_and(|again| again.envelope() == receipt.envelope());
        self.must(Promise::Again, same, "the same order again has another answer");
        let stands = self.watch(&terms).await;
        let how = format!("the payment stands otherwise than it was told: {stands:?}");
        self.must(Promise::Watch, stands == Ok(receipt.state), &how);

        let fresh = self.terms(payment);
        let make = || self.order(&fresh, PaymentAction::Make);
        let (a, b, c) = tokio::join!(make(), make(), make());
        let mut envelopes = Vec::new();
        for answer in [a, b, c] {
            match answer {
                Ok(receipt) => envelopes.push(receipt.envelope().clone()),
                Err(how) => self.must(Promise::Again, false, &how),
            }
        }
        envelopes.dedup();
        self.must(Promise::Again, envelopes.len() == 1, "the same order at once has several answers");

        if payment.hold.is_some() {
            let posted = self.order(&terms, PaymentAction::Post(payment.amount.units)).await;
            let all = matches!(&posted, Ok(it) if it.state == PaymentState::Posted(payment.amount.units));
            let how = format!("all of it cannot be posted: {:?}", posted.err());
            self.must(Promise::Give, all, &how);
        }
        if receipt.is_effective() {
            let path = self.samples.folder.join("sample.receipt");
            if std::fs::write(&path, receipt.envelope().encode()).is_ok() {
                self.checks(item, Some(terms.clone()), path).await;
            }
        }
        let other = Payment { payer: payment.payee, payee: payment.payer, ..payment.clone() };
        let others = self.terms(&other);
        let ordered = self.order(&others, PaymentAction::Make).await;
        self.must(Promise::Refuse, ordered.is_err(), "it pays from the account of somebody else");
        let stands = self.watch(&others).await;
        let nothing = !matches!(stands, Ok(state) if state != PaymentState::Absent);
        self.must(Promise::Refuse, nothing, "an order for another account had an effect");
    }

    /// The receipt for an order, by the rules (R-701).
    async fn order(
        &self,
        terms: &PaymentTerms,
        action: PaymentAction,
    ) -> Result<Verified<PaymentReceipt>, String> {
        match self.give(&Order::Payment { terms: terms.clone(), action }).await {
            Ok(Given::Receipt(envelope)) => receipt(envelope, terms).map_err(|error| error.to_string()),
            Ok(other) => Err(format!("it gives {other:?}, which was not ordered")),
            Err(error) => Err(format!("it does not carry out {action:?}: {error}")),
        }
    }

    async fn watch(&self, terms: &PaymentTerms) -> Result<PaymentState, String> {
        let (module, asked) = (self.module.clone(), terms.clone());
        let told = ask(self.samples.patience, async move { module.watch(&asked).await }).await;
        let envelope = told.and_then(|it| it).map_err(|error| error.to_string())?;
        receipt(envelope, terms).map(|it| it.state).map_err(|error| error.to_string())
    }

    /// What it does not give, it does not prepare and not give.
    async fn refuses(&mut self, item: &Item) {
        let prepared = self.prepare(item, None).await;
        let refused = matches!(&prepared, Err(error) if error.is_final());
        let declared = self.module.capability().gives(item).is_err();
        self.must(Promise::Prepare, refused || declared, "it prepares what it does not give");
        let order = match &item.description {
            Description::DetachedSignature(it) => Order::Signature(it.clone()),
            Description::Information(it) => Order::Content { described: it.clone(), source: None },
            Description::Payment(it) => Order::Payment { terms: self.terms(it), action: PaymentAction::Make },
            Description::Nothing | Description::Package(_) | Description::Signature(_) => return,
        };
        let answer = self.give(&order).await;
        let how = format!("an order that is not for it is not refused: {answer:?}");
        self.must(Promise::Refuse, matches!(&answer, Err(error) if error.is_final()), &how);
    }

    /// Who makes no payments sees none; who does says of an unknown one that it is absent.
    async fn sees_no_payment_of_others(&mut self) {
        let mut payments = self.samples.gives.iter().filter_map(|(item, _)| item.description.payment());
        if let Some(payment) = payments.next().cloned() {
            let terms = self.terms(&payment);
            for _ in 0..2 {
                let stands = self.watch(&terms).await;
                let how = format!("a payment that nobody made does not stand as absent: {stands:?}");
                self.must(Promise::Watch, stands == Ok(PaymentState::Absent), &how);
            }
        }
    }

    /// Terms that nobody had before.
    fn terms(&self, payment: &Payment) -> PaymentTerms {
        let reference = random::bytes().unwrap_or_default();
        let authority = payment.hold.map(|_| self.samples.authority);
        PaymentTerms { payment: payment.clone(), authority, reference: Digest::from_bytes(reference) }
    }
}

/// Whether bytes are what the item says, by the rules that everybody goes by.
fn fits(item: &Item, bytes: &[u8]) -> Result<(), String> {
    let mut check = match &item.description {
        Description::DetachedSignature(it) => ContentCheck::signature(it.clone(), None),
        Description::Information(it) => ContentCheck::file(it.clone()),
        _ => return Err("no content".to_owned()),
    };
    check.update(bytes).and_then(|()| check.finish()).map(|_| ()).map_err(|unfit| unfit.to_string())
}

/// Every property that items of a service can have.
fn kind_of(service: Service) -> Properties {
    use arbiter_protocol::exchange::payment::Timeout::{Post, Void};
    let until = arbiter_protocol::time::UnixMillis(u64::MAX);
    match service {
        Service::Information => Properties::new([Property::Resendable]),
        Service::Payment => {
            let holds = [None, Some(Post), Some(Void)].map(|it| it.map(|timeout| Hold { until, timeout }));
            let kinds = holds.map(payment_properties);
            Properties::new(kinds.iter().flat_map(Properties::iter))
        }
        Service::Signature => {
            Properties::new([Property::GeneratableByEscrow, Property::GeneratableByReplacement])
        }
    }
}

/// A file of a sample, written into `folder` and described.
pub async fn sample_file(folder: &Path, name: &str, content: &[u8]) -> Result<(Item, PathBuf), crate::Error> {
    let path = folder.join(name);
    std::fs::write(&path, content)
        .map_err(|error| crate::Error::File { path: path.clone(), what: error.to_string() })?;
    Ok((items::file(items::describe(&path, None).await?), path))
}
