//! Real processes: started, listened to, killed, and never waited for without a bound.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// No process of the demo is silent or alive for longer than this.
const LONGEST: Duration = Duration::from_secs(25);

/// A line that a process said, and whether on stderr.
#[derive(Clone, Debug)]
pub struct Said {
    /// The line.
    pub text: String,
    /// On stderr.
    pub failure: bool,
}

/// A running process. Dropping it kills it.
pub struct Process {
    name: String,
    log: PathBuf,
    child: Child,
    said: mpsc::UnboundedReceiver<Said>,
}

impl Process {
    /// Starts a program. Everything that it says goes to `log`, to `listen`, and to [`Process::until`].
    pub async fn start(
        name: &str,
        program: &Path,
        arguments: &[impl AsRef<OsStr>],
        log: &Path,
        listen: impl Fn(&Said) + Send + 'static,
    ) -> Result<Self> {
        let mut child = Command::new(program)
            .args(arguments)
            // What a party refused or ignored is told as a warning.
            .env("FAIRX_LOG", "arbiter_client=warn")
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let output = child.stdout.take().context("invariant: stdout is piped")?;
        let errors = child.stderr.take().context("invariant: stderr is piped")?;
        let file = File::options().create(true).append(true).open(log).await;
        let file = file.with_context(|| format!("cannot write {}", log.display()))?;
        let (sender, said) = mpsc::unbounded_channel();
        let lines = (BufReader::new(output).lines(), BufReader::new(errors).lines());
        tokio::spawn(read(lines, file, move |line| {
            listen(&line);
            // Nobody needs to wait for lines.
            let _ = sender.send(line);
        }));
        Ok(Self { name: name.to_owned(), log: log.to_owned(), child, said })
    }

    /// Waits for a line that holds `what`, and gives it.
    pub async fn until(&mut self, what: &str) -> Result<String> {
        self.until_any(&[what]).await?.ok_or_else(|| self.fault(&format!("ended without saying \"{what}\"")))
    }

    /// Waits for a line that holds one of these; `None` if the process ends before.
    pub async fn until_any(&mut self, what: &[&str]) -> Result<Option<String>> {
        let found = async {
            while let Some(line) = self.said.recv().await {
                if what.iter().any(|what| line.text.contains(what)) {
                    return Some(line.text);
                }
            }
            None
        };
        match timeout(LONGEST, found).await {
            Ok(found) => Ok(found),
            Err(_) => Err(self.fault(&format!("hangs: waited for \"{}\"", what.join("\" or \"")))),
        }
    }

    /// Waits for the end. The exit code; a process that was killed has none.
    pub async fn end(&mut self) -> Result<Option<i32>> {
        let ended = async {
            while self.said.recv().await.is_some() {}
            self.child.wait().await
        };
        match timeout(LONGEST, ended).await {
            Ok(status) => Ok(status.context("cannot wait")?.code()),
            Err(_) => Err(self.fault("hangs: it does not end")),
        }
    }

    /// Waits for the end, which must have this exit code.
    pub async fn end_with(&mut self, code: i32) -> Result<()> {
        match self.end().await? {
            Some(found) if found == code => Ok(()),
            found => Err(self.fault(&format!("ended with exit code {found:?}, not {code}"))),
        }
    }

    /// SIGSTOP: what is sent to it waits in its queue.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// SIGKILL. Whether it still ran.
    pub fn kill(&mut self) -> Result<bool> {
        let running = self.child.try_wait()?.is_none();
        if running {
            self.child.start_kill()?;
        }
        Ok(running)
    }

    /// After a kill: waits until it is gone.
    pub async fn gone(&mut self) -> Result<()> {
        self.child.wait().await?;
        Ok(())
    }

    /// SIGTERM, and waits for the end, which must be clean.
    pub async fn stop(&mut self) -> Result<()> {
        self.signal(Signal::SIGTERM)?;
        self.end_with(0).await
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.child.id().ok_or_else(|| self.fault("has ended by itself"))?;
        Ok(kill(Pid::from_raw(i32::try_from(pid)?), signal)?)
    }

    fn fault(&self, what: &str) -> anyhow::Error {
        anyhow!("{} {what}; see {}", self.name, self.log.display())
    }
}

type Output = (Lines<BufReader<ChildStdout>>, Lines<BufReader<ChildStderr>>);

async fn read(lines: Output, mut log: File, tell: impl Fn(Said)) {
    let (mut output, mut errors) = lines;
    let (mut output_open, mut errors_open) = (true, true);
    while output_open || errors_open {
        let (line, failure) = tokio::select! {
            line = output.next_line(), if output_open => (line, false),
            line = errors.next_line(), if errors_open => (line, true),
        };
        match line {
            Ok(Some(text)) => {
                tell(Said { text: text.clone(), failure });
                // A log that cannot be written is no reason to stop.
                let _ = log.write_all(format!("{text}\n").as_bytes()).await;
            }
            Ok(None) | Err(_) if failure => errors_open = false,
            Ok(None) | Err(_) => output_open = false,
        }
    }
    let _ = log.flush().await;
}

/// Runs a program to its end: its exit code and what it wrote to stdout.
pub async fn run(program: &Path, arguments: &[impl AsRef<OsStr>]) -> Result<(Option<i32>, String)> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(LONGEST, command.output()).await;
    let output = output.map_err(|_| anyhow!("{} hangs", program.display()))?;
    let output = output.with_context(|| format!("cannot start {}", program.display()))?;
    Ok((output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned()))
}

/// Runs a program that must succeed.
pub async fn run_well(program: &Path, arguments: &[impl AsRef<OsStr>]) -> Result<String> {
    let (code, output) = run(program, arguments).await?;
    if code != Some(0) {
        bail!("{} failed with exit code {code:?}", program.display());
    }
    Ok(output)
}
