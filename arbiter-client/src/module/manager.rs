//! The managers: one for each service, each with its modules in order of preference.
//!
//! ```text
//!  item ─▶ service ─▶ modules within whose limits it is (R-713) ─▶ the first that prepares it ─▶ gives ─▶ checked (R-714)
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arbiter_protocol::exchange::item::{Description, DetachedSignature, Information, Item};
use arbiter_protocol::exchange::kind::Unfit;
use arbiter_protocol::exchange::kind::content::ContentCheck;
use arbiter_protocol::exchange::selection::Role;
use arbiter_protocol::ids::PublicKey;
use arbiter_protocol::limits;
use tokio::fs::{self, File};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::capability::{Capability, Means, Misfit, Service};
use super::list::Capabilities;
use super::negotiation::Demand;
use super::{Arrived, Given, Module, ModuleError, Order, ask};
use crate::arbiter::upload_time;
use crate::error::{Error, ModuleFault, Usage};
use crate::{items, package};

/// How long a module may look at what has arrived: it is prudence, not fairness. And how long one that is ready waits for
/// one that is liked better and says nothing.
const LOOK: Duration = Duration::from_secs(3);

/// The modules of one service, the one that is liked best first. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Manager(Arc<Vec<Entry>>);

/// A module, with what it said of itself when it was added: it cannot say something else later.
pub(crate) struct Entry {
    pub module: Arc<dyn Module>,
    pub capability: Capability,
}

/// All managers. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Managers {
    pub payment: Manager,
    signature: Manager,
    information: Manager,
    /// Whether there is information that no file was named for: only modules of the application bring it.
    brings: bool,
    time: Duration,
}

impl Managers {
    /// The application's modules, then those built in, each in order of preference. None is waited for longer than `time`.
    pub(crate) fn new(own: Vec<Arc<dyn Module>>, built_in: Vec<Arc<dyn Module>>, time: Duration) -> Self {
        let brings = own.iter().any(|it| it.capability().service() == Service::Information);
        let modules = own.into_iter().chain(built_in);
        let mut entries: Vec<_> =
            modules.into_iter().map(|module| Entry { capability: module.capability(), module }).collect();
        let mut of = |service| {
            let (these, others) = std::mem::take(&mut entries)
                .into_iter()
                .partition(|it: &Entry| it.capability.service() == service);
            entries = others;
            Manager(Arc::new(these))
        };
        Self {
            payment: of(Service::Payment),
            signature: of(Service::Signature),
            information: of(Service::Information),
            brings,
            time,
        }
    }

    /// Whether information can be given that no file was named for.
    pub(crate) const fn brings(&self) -> bool {
        self.brings
    }

    /// How long a module is waited for.
    pub(crate) const fn time(&self) -> Duration {
        self.time
    }

    /// R-711: what is handed to a peer.
    pub(crate) fn capabilities(&self, party: PublicKey) -> Capabilities {
        let all = [&self.payment, &self.signature, &self.information];
        let modules = all.into_iter().flat_map(|it| it.0.iter()).map(|it| it.capability.clone());
        let modules = modules.filter(|it| it.gives || it.takes);
        Capabilities { party, modules: modules.collect() }
    }

    fn of(&self, service: Service) -> &Manager {
        match service {
            Service::Information => &self.information,
            Service::Payment => &self.payment,
            Service::Signature => &self.signature,
        }
    }

    /// R-713: whether some module gives this item, of a package each leaf, within its limits.
    pub(crate) fn check_given(&self, item: &Item) -> Result<(), ModuleFault> {
        self.check_leaves(item, true)
    }

    /// R-713: whether some module takes this item, within its limits.
    pub(crate) fn check_taken(&self, item: &Item) -> Result<(), ModuleFault> {
        self.check_leaves(item, false)
    }

    fn check_leaves(&self, item: &Item, gives: bool) -> Result<(), ModuleFault> {
        for leaf in item.leaves() {
            if let Some(demand) = Demand::of(leaf) {
                self.of(demand.service()).within(leaf, demand.service(), gives)?;
            }
        }
        Ok(())
    }

    /// The module liked best that gives this item and is ready to. All are asked at once: one that hangs keeps no other
    /// waiting for long. Of what was agreed before the limits changed, and is begun
    /// again, any that is ready.
    pub(crate) async fn prepare(&self, item: &Item, source: Option<&Path>) -> Result<&Entry, Error> {
        let demand = Demand::of(item).ok_or(Error::Bug("a module is asked for what is no lone item"))?;
        let manager = self.of(demand.service());
        let entries = manager.within(item, demand.service(), true);
        let entries = entries.or_else(|why| match manager.0.is_empty() {
            true => Err(Usage::Module(why)),
            false => Ok(manager.0.iter().collect()),
        })?;
        let mut asked = JoinSet::new();
        for (place, entry) in entries.iter().enumerate() {
            let (module, item) = (entry.module.clone(), item.clone());
            let source = source.map(Path::to_owned);
            let prepared = ask(self.time, async move { module.prepare(&item, source.as_deref()).await });
            asked.spawn(async move { (place, prepared.await.and_then(|it| it)) });
        }
        // Who is ready waits only so long for one that is liked better.
        let (mut answers, mut wait) = (BTreeMap::new(), Duration::MAX);
        let ready = |answers: &BTreeMap<usize, Result<(), ModuleError>>| {
            answers.iter().find(|(_, it)| it.is_ok()).map(|(place, _)| *place)
        };
        while let Ok(Some(Ok((place, answer)))) = timeout(wait, asked.join_next()).await {
            answers.insert(place, answer);
            match ready(&answers) {
                Some(place) if answers.range(..place).count() == place => break,
                Some(_) => wait = LOOK,
                None => {}
            }
        }
        match ready(&answers).and_then(|place| entries.get(place).copied()) {
            Some(entry) => Ok(entry),
            None => Err(answers
                .into_iter()
                .find_map(|(place, answer)| Some(entries.get(place)?.failed(answer.err()?)))
                .unwrap_or(Error::Bug("no module was asked"))),
        }
    }

    /// Brings a file of ours, checked against the agreement (R-714): where it is, until the exchange has ended. What a module
    /// hands over is copied into `folder`.
    pub(crate) async fn bring(
        &self,
        item: &Item,
        described: &Information,
        source: Option<&Path>,
        folder: &Path,
    ) -> Result<PathBuf, Error> {
        let entry = self.prepare(item, source).await?;
        let order = Order::Content { described: described.clone(), source: source.map(Path::to_owned) };
        match entry.give(order, self.time).await? {
            Given::File(path) => {
                items::check_file(&path, described).await?;
                std::path::absolute(&path).map_err(|error| Error::file(&path, error))
            }
            Given::Content(content) => {
                let upload = Duration::from_millis(upload_time(described.size_bytes).0);
                let copy = copy(content, described.clone(), folder.join("given"));
                let copied = ask(self.time.saturating_add(upload), copy);
                copied.await.and_then(|it| it).map_err(|error| entry.failed(error))
            }
            _ => Err(entry.failed(ModuleError::Wrong("something else than content".to_owned()))),
        }
    }

    /// A detached signature of ours, verified (R-714).
    pub(crate) async fn sign(
        &self,
        item: &Item,
        agreed: &DetachedSignature,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let entry = self.prepare(item, None).await?;
        match entry.give(Order::Signature(agreed.clone()), self.time).await? {
            Given::Signature(signature)
                if agreed.key.verify(agreed.statement.document().as_bytes(), &signature) =>
            {
                Ok(signature)
            }
            _ => Err(entry.failed(ModuleError::Wrong("no signature by the agreed key".to_owned()))),
        }
    }

    /// What our module says to what has arrived from `sender`; of a package to each file and each signature.
    pub(crate) async fn check(&self, arrived: Arrived, sender: Role) -> Result<(), Unfit> {
        let Description::Package(_) = &arrived.item.description else { return self.check_one(arrived).await };
        let kept = package::kept(&arrived.item, sender).unwrap_or_default();
        for (leaf, (name, _)) in arrived.item.leaves().into_iter().zip(kept) {
            let path = arrived.path.join(name);
            self.check_one(Arrived { item: leaf.clone(), terms: None, path }).await?;
        }
        Ok(())
    }

    /// One that says nothing in time has nothing to say.
    async fn check_one(&self, arrived: Arrived) -> Result<(), Unfit> {
        let Some(demand) = Demand::of(&arrived.item) else { return Ok(()) };
        let manager = self.of(demand.service());
        let Some(entry) = manager.0.iter().find(|it| it.capability.takes(&arrived.item).is_ok()) else {
            return Ok(()); // The limits have changed since: what was agreed is taken.
        };
        let module = entry.module.clone();
        match ask(LOOK, async move { module.check(&arrived).await }).await {
            Ok(said) => said,
            Err(error) => {
                tracing::warn!(module = entry.module.name(), %error, "a module did not look at what arrived");
                Ok(())
            }
        }
    }
}

impl Manager {
    /// Whether an account on this rail is ours, or any.
    pub(crate) fn on(&self, ledger: PublicKey, account: Option<PublicKey>) -> Option<&Entry> {
        self.0.iter().find(|it| match &it.capability.means {
            Means::Payment { ledger: theirs, account: ours, .. } => {
                *theirs == ledger && account.is_none_or(|account| account == *ours)
            }
            _ => false,
        })
    }

    /// The modules that give an item, or take it, within their limits; never none.
    fn within(&self, item: &Item, service: Service, gives: bool) -> Result<Vec<&Entry>, ModuleFault> {
        let mut why = Vec::new();
        let mut fit = Vec::new();
        for entry in self.0.iter() {
            let fits = if gives { entry.capability.gives(item) } else { entry.capability.takes(item) };
            match fits {
                Ok(()) => fit.push(entry),
                Err(misfit) => why.push((entry.module.name().to_owned(), misfit)),
            }
        }
        if fit.is_empty() {
            // Who is closest to it says why: a limit, rather than another account.
            why.sort_by_key(|(_, misfit)| matches!(misfit, Misfit::Other(_)));
            return Err(ModuleFault { service, gives, why });
        }
        Ok(fit)
    }
}

impl Entry {
    pub(crate) async fn give(&self, order: Order, time: Duration) -> Result<Given, Error> {
        self.ask_to_give(order, time).await.map_err(|error| self.failed(error))
    }

    /// The same, for who knows what to do about an error.
    pub(crate) async fn ask_to_give(&self, order: Order, time: Duration) -> Result<Given, ModuleError> {
        let module = self.module.clone();
        ask(time, async move { module.give(&order).await }).await?
    }

    fn failed(&self, error: ModuleError) -> Error {
        Error::Module { module: self.module.name().to_owned(), error }
    }
}

/// Copies what a module hands over, while it is checked: the file has its name only when all of it fits and is durable.
async fn copy(
    mut content: Box<dyn AsyncRead + Send + Unpin>,
    described: Information,
    folder: PathBuf,
) -> Result<PathBuf, ModuleError> {
    let here = |error: std::io::Error| ModuleError::unavailable(format!("{}: {error}", folder.display()));
    let unfit = |unfit: Unfit| ModuleError::Wrong(unfit.to_string());
    fs::create_dir_all(&folder).await.map_err(here)?;
    let path = folder.join(described.sha256.to_string());
    let part = folder.join(format!(".{}.part", described.sha256));
    let mut file = File::create(&part).await.map_err(here)?;
    let mut check = ContentCheck::file(described);
    let mut buffer = vec![0; limits::CHUNK_BYTES];
    loop {
        let read = content.read(&mut buffer).await;
        let read = read.map_err(|error| ModuleError::unavailable(format!("its content: {error}")))?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        check.update(bytes).map_err(unfit)?;
        file.write_all(bytes).await.map_err(here)?;
    }
    check.finish().map_err(unfit)?;
    file.flush().await.map_err(here)?;
    file.sync_all().await.map_err(here)?;
    fs::rename(&part, &path).await.map_err(here)?;
    File::open(&folder).await.map_err(here)?.sync_all().await.map_err(here)?;
    std::path::absolute(&path).map_err(here)
}
