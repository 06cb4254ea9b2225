//! The stage of one run: its folder, its arbiter, its two parties.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use arbiter_client::arbiter::grpc::GrpcArbiter;
use arbiter_client::bundle::Bundle;
use arbiter_client::identity::{ArbiterPin, KeyFile};
use arbiter_client::protocol::crypto::Signer as _;
use arbiter_client::protocol::escrow::SignatureKey;
use arbiter_client::protocol::exchange::item::DetachedSignature;
use arbiter_client::protocol::exchange::selection::Role;
use arbiter_client::protocol::ids::PaymentId;
use arbiter_client::protocol::message::agreement::Offer;
use arbiter_client::protocol::message::payment::{PaymentReceipt, PaymentTerms};
use arbiter_client::protocol::statement::{Signed, Verified};
use nix::fcntl::{Flock, FlockArg};
use tokio::time::sleep;

use crate::bank::Bank;
use crate::document;
use crate::outsider::Outsider;
use crate::paper::{Actor, Paper, now};
use crate::process::{self, Process, Said};
use crate::runs::Run;

/// What can be damaged to see whether the judge notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Sabotage {
    /// Every received file gets another byte.
    File,
    /// The bundles are deleted.
    Bundle,
    /// A statement in the bundles is altered.
    Statement,
    /// The arbiter is called once more.
    Call,
    /// Every received signature has one bit changed.
    Signature,
}

/// The programs, and where runs are kept.
pub struct Tools {
    arbiter: PathBuf,
    fairx: PathBuf,
    demo: PathBuf,
    folder: PathBuf,
    /// Two demos in one folder would play havoc with each other.
    _lock: Flock<std::fs::File>,
    /// What to damage.
    pub sabotage: Option<Sabotage>,
}

impl Tools {
    /// The programs beside this one: in `target/debug`, if this is `target/debug/examples/demo`.
    pub fn find(sabotage: Option<Sabotage>, keep: Option<PathBuf>) -> Result<Self> {
        let demo = std::env::current_exe().context("where is this program?")?;
        let built =
            demo.parent().and_then(Path::parent).context("the demo must be in target/debug/examples")?;
        let target = built.parent().context("the demo must be in target/debug/examples")?;
        // Programs are started with these paths, and bundles are named by them.
        let folder = std::path::absolute(keep.unwrap_or_else(|| target.join("demo")))?;
        let (arbiter, fairx) = (built.join("arbiter"), built.join("fairx"));
        for program in [&arbiter, &fairx] {
            if !program.is_file() {
                bail!("{} is missing: build it with `make build`", program.display());
            }
        }
        std::fs::create_dir_all(&folder)?;
        let lock = std::fs::File::create(folder.join("lock"))?;
        let Ok(lock) = Flock::lock(lock, FlockArg::LockExclusiveNonblock) else {
            bail!("another demo plays in {}: wait for it, or use --keep DIR", folder.display());
        };
        Ok(Self { arbiter, fairx, demo, folder, _lock: lock, sabotage })
    }

    /// Where all runs are kept.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// `fairx describe`: the line that describes a file.
    pub async fn describe(&self, file: &Path) -> Result<String> {
        let line = process::run_well(&self.fairx, &["describe".as_ref(), file.as_os_str()]).await?;
        Ok(line.trim().to_owned())
    }

    /// The arbiter's program, which is the ledger's, too.
    pub fn arbiter_program(&self) -> PathBuf {
        self.arbiter.clone()
    }

    /// The same with a media type that the first bytes do not show.
    pub async fn describe_as(&self, file: &Path, media_type: &str) -> Result<String> {
        let arguments = ["describe".as_ref(), "--type".as_ref(), media_type.as_ref(), file.as_os_str()];
        Ok(process::run_well(&self.fairx, &arguments).await?.trim().to_owned())
    }

    /// `fairx verify --offline`: the exit code and the last line.
    pub async fn verify(
        &self,
        bundle: &Path,
        pin: &Path,
        file: Option<&Path>,
    ) -> Result<(Option<i32>, String)> {
        let mut arguments: Vec<&std::ffi::OsStr> = vec![
            "verify".as_ref(),
            bundle.as_ref(),
            "--offline".as_ref(),
            "--arbiter".as_ref(),
            pin.as_ref(),
        ];
        if let Some(file) = file {
            arguments.extend(["--file".as_ref(), file.as_os_str()]);
        }
        let (code, output) = process::run(&self.fairx, &arguments).await?;
        Ok((code, output.lines().last().unwrap_or("it said nothing").to_owned()))
    }
}

/// Calls by method, as the arbiter counts them.
pub type Calls = BTreeMap<String, u64>;

/// One of the two parties.
pub struct Player {
    /// How it appears.
    pub actor: Actor,
    /// Its home folder.
    pub home: PathBuf,
    /// Its public line.
    pub id: String,
    /// The line of its account, where there is money.
    pub account: String,
    /// The same for other money.
    pub foreign_account: String,
    /// Another for the same money, in runs in which that is paid in parts.
    pub tax_account: String,
}

/// A run's folder, arbiter and parties.
pub struct Stage {
    /// Where everything of this run is.
    pub folder: PathBuf,
    /// Where to tell.
    pub paper: Paper,
    /// The programs.
    pub tools: Arc<Tools>,
    /// The two parties.
    pub players: [Player; 2],
    /// The document.
    pub document: PathBuf,
    only_money: bool,
    arbiter: Option<Process>,
    address: String,
    /// Where the evidence log is published.
    pub log_url: String,
    /// Who looks on from outside, where somebody does.
    pub outsider: Option<Outsider>,
    before: Calls,
    /// How often the arbiter was killed.
    pub killed: u32,
    /// The ledger, where there is money.
    pub bank: Option<Bank>,
    /// How the payments of the run stand in the end, by the ledger's own word.
    pub payments: BTreeMap<PaymentId, Verified<PaymentReceipt>>,
}

/// The arbiter in event lines.
pub const ARBITER: Actor = Actor { name: "arbiter", short: "arbiter", cheats: false };

impl Stage {
    /// An empty folder, a new arbiter, two parties that pinned it.
    pub async fn set(run: &Run, tools: &Arc<Tools>, paper: Paper) -> Result<Self> {
        let folder = tools.folder.join(format!("{}-{}", run.story, run.cheat));
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        std::fs::create_dir_all(&folder)?;
        let names = match run.story {
            "contract" => [("Northwind Machines", "Northwind"), ("Tailspin Tooling", "Tailspin")],
            "payment" => [("Humongous Retail", "Humongous"), ("Adatum Power", "Adatum")],
            "purchase" => [("Wide World Maps", "WideWorld"), ("Fabrikam Data", "Fabrikam")],
            "transfer" => [("Fourth Coffee", "Fourth"), ("Litware Archive", "Litware")],
            "change" | "swap" => [("Trey Research", "Trey"), ("Woodgrove Bank", "Woodgrove")],
            _ => [("Adler & Partner", "Adler"), ("Contoso Logistics", "Contoso")],
        };
        let file = match run.story {
            "contract" => "contract.pdf",
            "payment" => "invoice.pdf",
            "purchase" => "zone1970.tab",
            _ => "termination-notice.pdf",
        };
        let players = names.map(|(name, short)| Player {
            actor: Actor { name, short, cheats: false },
            home: folder.join(short.to_lowercase()),
            id: String::new(),
            account: String::new(),
            foreign_account: String::new(),
            tax_account: String::new(),
        });
        let home = folder.join("arbiter");
        let init = [
            "init".as_ref(),
            "--dir".as_ref(),
            home.as_os_str(),
            "--origin".as_ref(),
            "demo.example/log".as_ref(),
        ];
        process::run_well(&tools.arbiter, &init).await?;
        let mut stage = Self {
            folder,
            paper,
            tools: tools.clone(),
            players,
            document: document(file),
            only_money: run.story == "change" || run.cheat == "money",
            arbiter: None,
            address: "127.0.0.1:0".to_owned(),
            log_url: String::new(),
            outsider: None,
            before: Calls::new(),
            killed: 0,
            bank: None,
            payments: BTreeMap::new(),
        };
        if matches!(run.story, "change" | "payment" | "purchase") || run.cheat == "money" {
            let bank = Bank::open(&stage.folder, &tools.arbiter, &stage.paper).await?;
            bank.introduce_to(&home)?;
            stage.bank = Some(bank);
        }
        if run.cheat == "witnessed" {
            let info = ["info".as_ref(), "--json".as_ref(), "--config".as_ref(), home.as_os_str()];
            let info = process::run_well(&tools.arbiter, &info).await?;
            let info: serde_json::Value = serde_json::from_str(&info)?;
            let log_key = info.get("log_key").and_then(|it| it.as_str()).context("no log key")?;
            let programs = [tools.arbiter.as_path(), tools.fairx.as_path()];
            stage.outsider = Some(Outsider::set(&stage.folder, programs, log_key, &stage.paper).await?);
        }
        stage.start_arbiter().await?;
        for player in &mut stage.players {
            let url = format!("http://{}", stage.address);
            let home = player.home.as_os_str();
            let init = [
                "--home".as_ref(),
                home,
                "init".as_ref(),
                "--name".as_ref(),
                player.actor.name.as_ref(),
                "--arbiter".as_ref(),
                url.as_ref(),
            ];
            process::run_well(&tools.fairx, &init).await?;
            let id = process::run_well(&tools.fairx, &["--home".as_ref(), home, "id".as_ref()]).await?;
            player.id = id.trim().to_owned();
        }
        if let Some(bank) = &stage.bank {
            for player in &mut stage.players {
                player.account = bank.purse(&tools.fairx, &player.home, "main", "EUR/2").await?;
                player.foreign_account = bank.purse(&tools.fairx, &player.home, "foreign", "USD/2").await?;
            }
            if run.cheat.contains("parts") {
                let [_, seller] = &mut stage.players;
                seller.tax_account = bank.purse(&tools.fairx, &seller.home, "tax", "EUR/2").await?;
            }
            bank.issue(&tools.arbiter, &stage.player(0)?.account, "1000.00 EUR").await?;
            bank.issue(&tools.arbiter, &stage.player(1)?.foreign_account, "1000.00 USD").await?;
        }
        // Pinning asks the arbiter who it is. What counts is what comes after.
        stage.before = stage.counters().await?;
        Ok(stage)
    }

    /// Starts the arbiter, always on the same port.
    pub async fn start_arbiter(&mut self) -> Result<()> {
        let home = self.folder.join("arbiter");
        let arguments = [
            "serve".as_ref(),
            "--config".as_ref(),
            home.as_os_str(),
            "--listen".as_ref(),
            self.address.as_ref(),
            "--listen-log".as_ref(),
            "127.0.0.1:0".as_ref(),
        ];
        let witnessed =
            self.outsider.as_ref().map(|it| ["--witness-policy".as_ref(), it.policy().as_os_str()]);
        let arguments: Vec<&std::ffi::OsStr> =
            arguments.into_iter().chain(witnessed.into_iter().flatten()).collect();
        let log = self.folder.join("arbiter.log");
        let (paper, again) = (self.paper.clone(), self.killed > 0);
        let listen = move |said: &Said| paper.logged(&ARBITER, again, said);
        let mut arbiter = Process::start("arbiter", &self.tools.arbiter, &arguments, &log, listen).await?;
        let ready = arbiter.until("arbiter ready").await?;
        let address = ready.split_whitespace().find_map(|word| word.strip_prefix("address="));
        self.address = address.context("the arbiter does not say where it listens")?.to_owned();
        let log = ready.split_whitespace().find_map(|word| word.strip_prefix("log_address="));
        self.log_url = format!("http://{}", log.context("the arbiter does not say where its log is")?);
        self.arbiter = Some(arbiter);
        Ok(())
    }

    /// SIGSTOP for the arbiter: what is asked now waits in front of it.
    pub fn pause_arbiter(&self) -> Result<()> {
        self.arbiter.as_ref().context("the arbiter does not run")?.pause()?;
        self.paper.act(&ARBITER, "paused (SIGSTOP): what it is asked now waits in front of it");
        Ok(())
    }

    /// SIGKILL for the arbiter, and a new one on the same data after a while: when that was.
    pub async fn kill_arbiter(&mut self) -> Result<String> {
        let mut arbiter = self.arbiter.take().context("the arbiter does not run")?;
        ensure!(
            arbiter.kill()?,
            "the arbiter ended by itself; see {}",
            self.folder.join("arbiter.log").display()
        );
        self.killed += 1;
        self.paper.act(&ARBITER, "KILLED (SIGKILL)");
        arbiter.gone().await?;
        // Long enough that its clients notice.
        sleep(Duration::from_millis(100)).await;
        let again = now();
        self.paper.act(&ARBITER, "started again");
        self.start_arbiter().await?;
        // A new process counts from zero.
        self.before.clear();
        Ok(again)
    }

    /// SIGTERM: requests in flight end first.
    pub async fn stop_arbiter(&mut self) -> Result<()> {
        let Some(mut arbiter) = self.arbiter.take() else { return Ok(()) };
        arbiter.stop().await
    }

    /// Calls since the parties were ready, from the arbiter's own counters; after a kill, since its start.
    pub async fn calls(&self) -> Result<Calls> {
        let now = self.counters().await?;
        let since = |name: &String| self.before.get(name).copied().unwrap_or_default();
        let calls = now.iter().map(|(name, count)| (name.clone(), count.saturating_sub(since(name))));
        Ok(calls.filter(|(_, count)| *count > 0).collect())
    }

    async fn counters(&self) -> Result<Calls> {
        let counters = GrpcArbiter::new(&format!("http://{}", self.address), None)?.counters().await?;
        let calls = counters
            .into_iter()
            .filter_map(|(name, count)| Some((name.strip_prefix("calls/")?.to_owned(), count)));
        // Asking for the counters is the judge's own call.
        Ok(calls.filter(|(name, _)| name != "GetCounters").collect())
    }

    /// `fsck` on the arbiter's data; it must be stopped.
    pub async fn fsck(&self) -> Result<(Option<i32>, String)> {
        let home = self.folder.join("arbiter");
        let (code, output) =
            process::run(&self.tools.arbiter, &["fsck".as_ref(), "--config".as_ref(), home.as_os_str()])
                .await?;
        Ok((code, output.lines().last().unwrap_or("it said nothing").to_owned()))
    }

    /// The file that every agreement of the run is about; none where money is changed for money.
    pub fn agreed_file(&self) -> Option<&Path> {
        (!self.only_money).then_some(&self.document)
    }

    /// Whether both know the document before.
    pub fn is_known(&self) -> bool {
        self.document.ends_with("contract.pdf") || self.document.ends_with("invoice.pdf")
    }

    /// Asks the ledger about the payments of these bundles, until they are final.
    pub async fn ask_ledger<'a>(&mut self, bundles: impl Iterator<Item = &'a PathBuf>) -> Result<()> {
        let Some(bank) = &self.bank else { return Ok(()) };
        for bundle in bundles.filter(|bundle| bundle.is_file()) {
            // A damaged bundle is the judge's to find.
            let Ok(read) = Bundle::read(bundle) else { continue };
            let offer = Signed::<Offer>::parse(read.offer.clone()).ok().and_then(|it| it.verify_offer().ok());
            let Some(offer) = offer else { continue };
            for terms in Role::BOTH.into_iter().flat_map(|role| PaymentTerms::all(&offer, role)) {
                self.payments.insert(terms.id(), bank.stands(&terms).await?);
            }
        }
        Ok(())
    }

    /// Where a party's evidence goes.
    pub fn bundle(&self, player: usize, label: &str) -> Result<PathBuf> {
        let short = self.player(player)?.actor.short.to_lowercase();
        Ok(self.folder.join(format!("{short}{label}.fxe")))
    }

    /// A party.
    pub fn player(&self, player: usize) -> Result<&Player> {
        self.players.get(player).context("invariant: there are two parties")
    }

    /// From now on this party's lines are marked.
    pub fn cheats(&mut self, player: usize) {
        if let Some(player) = self.players.get_mut(player) {
            player.actor.cheats = true;
        }
    }

    /// The arbiter that everybody pinned.
    pub fn pin(&self) -> Result<ArbiterPin> {
        Ok(ArbiterPin::load(&self.pin_file())?)
    }

    /// The pin of the first party.
    pub fn pin_file(&self) -> PathBuf {
        let short = self.players.first().map(|player| player.actor.short.to_lowercase());
        self.folder.join(short.unwrap_or_default()).join("arbiter")
    }

    /// Makes an RSA key with OpenSSL and signs the contract's document with it, as a party would that keeps its key
    /// elsewhere. Gives the files of the public key and of the signature.
    pub async fn sign_elsewhere(&self, player: usize) -> Result<(String, String)> {
        let short = self.player(player)?.actor.short.to_lowercase();
        let path = |end: &str| self.folder.join(format!("{short}.{end}")).display().to_string();
        let (private, public, document, signature) =
            (path("key"), path("pem"), path("document.txt"), path("sig"));
        let contract = self.document.display().to_string();
        let openssl = Path::new("openssl");
        let make =
            ["genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", &private];
        process::run_well(openssl, &make.map(std::ffi::OsStr::new)).await?;
        let show = ["pkey", "-in", &private, "-pubout", "-out", &public];
        process::run_well(openssl, &show.map(std::ffi::OsStr::new)).await?;
        let write =
            ["document", "contract", "--file", &contract, "--title", "Contract of sale", "--out", &document];
        process::run_well(&self.tools.fairx, &write.map(std::ffi::OsStr::new)).await?;
        let sign = ["dgst", "-sha256", "-sign", &private, "-out", &signature, &document];
        process::run_well(openssl, &sign.map(std::ffi::OsStr::new)).await?;
        let actor = &self.player(player)?.actor;
        self.paper.act(actor, "openssl genpkey -algorithm RSA ...");
        self.paper.act(actor, "fairx document contract --file contract.pdf --out document.txt ...");
        self.paper.act(actor, "openssl dgst -sha256 -sign tailspin.key -out tailspin.sig document.txt");
        Ok((public, signature))
    }

    /// The signature that the party of this name made: by its identity, or elsewhere.
    pub fn own_signature(&self, name: &str, item: &DetachedSignature) -> Result<Vec<u8>> {
        let player =
            self.players.iter().find(|player| player.actor.name == name).context("a stranger signed")?;
        let (signer, _) = KeyFile::load(&player.home.join("identity.toml"))?.into_keys();
        let by_identity = SignatureKey::ed25519(signer.public_key())? == item.key;
        if by_identity {
            return Ok(signer.sign(item.statement.document().as_bytes()).to_vec());
        }
        let elsewhere = self.folder.join(format!("{}.sig", player.actor.short.to_lowercase()));
        Ok(std::fs::read(elsewhere)?)
    }

    /// Starts `fairx` for an honest party.
    pub async fn fairx(&self, player: usize, arguments: &[&str]) -> Result<Process> {
        self.start(player, &self.tools.fairx, arguments).await
    }

    /// Starts this program once more for a party that cheats.
    pub async fn cheater(&self, player: usize, arguments: &[&str]) -> Result<Process> {
        self.start(player, &self.tools.demo, &[&["peer"], arguments].concat()).await
    }

    async fn start(&self, player: usize, program: &Path, arguments: &[&str]) -> Result<Process> {
        let player = self.player(player)?;
        let home = player.home.display().to_string();
        let (paper, by) = (self.paper.clone(), player.actor.clone());
        let mut known: Vec<Actor> = self.players.iter().map(|player| player.actor.clone()).collect();
        known.push(ARBITER);
        let log = self.folder.join(format!("{}.log", by.short.to_lowercase()));
        let all: Vec<&str> = match program == self.tools.fairx {
            true => [&["--home", &home], arguments].concat(),
            false => [arguments, &["--home", &home]].concat(),
        };
        Process::start(by.name, program, &all, &log, move |line| paper.said(&by, &known, line)).await
    }
}
