//! Those who look on from outside: a witness that cosigns the arbiter's log, and an auditor who reads all of it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::time::{Instant, sleep};

use crate::paper::{Actor, Paper};
use crate::process::{self, Process};

/// The witness in event lines.
const WITNESS: Actor = Actor { name: "witness", short: "witness", cheats: false };
/// The auditor in event lines.
const AUDITOR: Actor = Actor { name: "auditor", short: "auditor", cheats: false };
/// How long a published checkpoint may be without its cosignature.
const WITNESSED_WITHIN: Duration = Duration::from_secs(15);

/// A witness of the arbiter's log, and the policy that trusts it.
pub struct Outsider {
    folder: PathBuf,
    fairx: PathBuf,
    paper: Paper,
    policy: PathBuf,
    _witness: Process,
}

impl Outsider {
    /// Makes a witness that cosigns this log, and starts it.
    pub async fn set(folder: &Path, programs: [&Path; 2], log_key: &str, paper: &Paper) -> Result<Self> {
        let [arbiter, fairx] = programs;
        let home = folder.join("witness").display().to_string();
        let said =
            run(arbiter, &["witness", "init", "--dir", &home, "--name", "witness.example/demo"]).await?;
        run(arbiter, &["witness", "add-log", "--config", &home, log_key]).await?;
        let key = said.split_whitespace().find(|word| word.starts_with("witness.example/demo+"));
        let key = key.context("the witness does not say its key")?;
        let serve = ["witness", "serve", "--config", &home, "--listen", "127.0.0.1:0"].map(OsStr::new);
        let log = folder.join("witness.log");
        let mut witness = Process::start("witness", arbiter, &serve, &log, |_| {}).await?;
        let ready = witness.until("ready").await?;
        let address = ready.split_whitespace().find_map(|word| word.strip_prefix("address="));
        let address = address.context("the witness does not say where it listens")?;
        let policy = folder.join("log.policy");
        std::fs::write(&policy, format!("log {log_key}\nwitness w {key} http://{address}\nquorum w\n"))?;
        paper.act(&WITNESS, "cosigns the log of the arbiter from now on; it sees hashes only");
        let (folder, fairx) = (folder.to_owned(), fairx.to_owned());
        Ok(Self { folder, fairx, paper: paper.clone(), policy, _witness: witness })
    }

    /// Which log, and whose cosignature is asked for.
    pub fn policy(&self) -> &Path {
        &self.policy
    }

    /// Adds the cosigned checkpoint to a bundle, and verifies it with the policy and this pin: nothing of it needs the
    /// arbiter any more.
    pub async fn vouches(&self, bundle: &Path, pin: &Path, log_url: &str) -> Result<()> {
        let [bundle, pin, policy] = [bundle, pin, &self.policy].map(|path| path.display().to_string());
        let until = Instant::now() + WITNESSED_WITHIN;
        self.paper.act(&AUDITOR, "fairx bundle upgrade northwind.fxe --from the log's tiles");
        loop {
            // The newest checkpoint is published a second after the ruling, and cosigned a moment later.
            let upgrade = ["bundle", "upgrade", &bundle, "--from", log_url];
            let (upgraded, _) = process::run(&self.fairx, &upgrade.map(OsStr::new)).await?;
            let verify = ["verify", &bundle, "--offline", "--arbiter", &pin, "--policy", &policy];
            let (code, said) = process::run(&self.fairx, &verify.map(OsStr::new)).await?;
            if upgraded == Some(0) && code == Some(0) {
                let passed = said.lines().filter_map(|line| line.trim_start().strip_prefix("ok "));
                for line in passed.filter(|line| line.contains("-witness ") || line.contains("-quorum ")) {
                    self.paper.act(&AUDITOR, &line.split_whitespace().collect::<Vec<_>>().join(" "));
                }
                return Ok(());
            }
            if Instant::now() > until {
                bail!("the bundle is not good with the witness: exit code {code:?}\n{said}");
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Reads the whole log as a stranger: it must be good, and witnessed.
    pub async fn audits(&self, log_url: &str) -> Result<String> {
        let state = self.folder.join("log.state").display().to_string();
        let policy = self.policy.display().to_string();
        let audit = ["audit", log_url, "--policy", &policy, "--state", &state];
        self.paper.act(&AUDITOR, "fairx audit: fetches every tile of the log and checks every leaf");
        let (code, said) = process::run(&self.fairx, &audit.map(OsStr::new)).await?;
        if code != Some(0) {
            bail!("the audit of the log ended with exit code {code:?}\n{said}");
        }
        Ok(said)
    }
}

async fn run(program: &Path, arguments: &[&str]) -> Result<String> {
    let arguments: Vec<_> = arguments.iter().map(OsStr::new).collect();
    process::run_well(program, &arguments).await
}
