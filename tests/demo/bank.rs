//! The ledger of a run: a process of its own, the accounts of both parties, and its word in the end.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use arbiter_client::ledger::LedgerPort as _;
use arbiter_client::ledger::grpc::GrpcLedger;
use arbiter_client::protocol::ids::PublicKey;
use arbiter_client::protocol::message::payment::{PaymentReceipt, PaymentState, PaymentTerms};
use arbiter_client::protocol::statement::{Signed, Verified};
use arbiter_client::purse::AccountLine;
use tokio::time::sleep;

use crate::paper::{Actor, Paper};
use crate::process::{self, Process};

/// The ledger in event lines.
pub const LEDGER: Actor = Actor { name: "ledger", short: "ledger", cheats: false };
/// How long the ledger may take to hear the arbiter and to come to an end: longer than the holds of every run.
const FINAL_WITHIN: Duration = Duration::from_secs(30);

/// The ledger.
pub struct Bank {
    home: PathBuf,
    log: PathBuf,
    paper: Paper,
    process: Option<Process>,
    address: String,
    key: String,
}

impl Bank {
    /// Makes a ledger in the run's folder and starts it.
    pub async fn open(folder: &Path, program: &Path, paper: &Paper) -> Result<Self> {
        let home = folder.join("ledger");
        let place = home.display().to_string();
        let name = ["ledger", "init", "--dir", &place, "--name", "Demo bank"];
        let init = [name.as_slice(), &["--currency", "EUR/2", "--currency", "USD/2"]].concat();
        let init: Vec<_> = init.into_iter().map(std::ffi::OsStr::new).collect();
        process::run_well(program, &init).await?;
        let mut bank = Self {
            home,
            log: folder.join("ledger.log"),
            paper: paper.clone(),
            process: None,
            address: "127.0.0.1:0".to_owned(),
            key: String::new(),
        };
        bank.start(program).await?;
        Ok(bank)
    }

    /// Starts it, always on the same port.
    pub async fn start(&mut self, program: &Path) -> Result<()> {
        let home = self.home.display().to_string();
        let serve = ["ledger", "serve", "--config", &home, "--listen", &self.address];
        let mut ledger =
            Process::start("ledger", program, &serve.map(std::ffi::OsStr::new), &self.log, |_| {}).await?;
        let ready = ledger.until("ledger ready").await?;
        let word = |name: &str| ready.split_whitespace().find_map(|word| word.strip_prefix(name));
        self.address = word("address=").context("the ledger does not say where it listens")?.to_owned();
        self.key = word("key=").context("the ledger does not say its key")?.to_owned();
        self.process = Some(ledger);
        Ok(())
    }

    /// SIGKILL.
    pub async fn kill(&mut self) -> Result<()> {
        let mut ledger = self.process.take().context("the ledger does not run")?;
        if !ledger.kill()? {
            bail!("the ledger ended by itself; see {}", self.log.display());
        }
        self.paper.act(&LEDGER, "KILLED (SIGKILL)");
        ledger.gone().await
    }

    /// Starts it after a kill.
    pub async fn start_again(&mut self, program: &Path) -> Result<()> {
        self.paper.act(&LEDGER, "started again");
        self.start(program).await
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Tells an arbiter, before it starts, where this ledger is.
    pub fn introduce_to(&self, arbiter: &Path) -> Result<()> {
        let file = arbiter.join("arbiter.toml");
        let text = std::fs::read_to_string(&file)?;
        let (key, url) = (&self.key, self.url());
        // A demo has no hour to wait for the end of a hold.
        let more = format!("\nhold_allowance_ms = 1000\n\n[[ledgers]]\nkey = \"{key}\"\nurl = \"{url}\"\n");
        Ok(std::fs::write(&file, text + &more)?)
    }

    /// Makes a party's purse, and gives the line of its account.
    pub async fn purse(&self, fairx: &Path, home: &Path, name: &str, currency: &str) -> Result<String> {
        let home = home.display().to_string();
        let (url, key) = (self.url(), &self.key);
        let create = ["--home", &home, "purse", "create", name, "--currency", currency, "--ledger", &url];
        let create = [create.as_slice(), &["--ledger-key", key]].concat();
        let create: Vec<_> = create.into_iter().map(std::ffi::OsStr::new).collect();
        process::run_well(fairx, &create).await?;
        let account = ["--home", &home, "purse", "account", name];
        Ok(process::run_well(fairx, &account.map(std::ffi::OsStr::new)).await?.trim().to_owned())
    }

    /// Puts money into an account.
    pub async fn issue(&self, program: &Path, account: &str, amount: &str) -> Result<()> {
        let home = self.home.display().to_string();
        let to = account.parse::<AccountLine>()?.account.to_string();
        let address = self.url();
        let issue =
            ["ledger", "issue", "--config", &home, "--to", &to, "--amount", amount, "--address", &address];
        process::run_well(program, &issue.map(std::ffi::OsStr::new)).await?;
        Ok(())
    }

    /// How a payment stands once it is final, by the ledger's signed word. One that was never made stays so: nobody is left
    /// who could make it.
    pub async fn stands(&self, terms: &PaymentTerms) -> Result<Verified<PaymentReceipt>> {
        let ledger = GrpcLedger::new(&self.url(), None)?;
        let key = PublicKey::parse_hex(&self.key, "key")?;
        let begun = tokio::time::Instant::now();
        loop {
            let receipt = Signed::<PaymentReceipt>::parse(ledger.payment(terms).await?)?.verify(&key)?;
            if receipt.state != PaymentState::Reserved || begun.elapsed() > FINAL_WITHIN {
                return Ok(receipt);
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
}
