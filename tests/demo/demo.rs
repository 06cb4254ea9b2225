//! The demo: every story with real processes, honest and with every cheat.
//!
//! ```text
//!  demo ─┬─ arbiter serve ◀── asked only if somebody cheats ──┐        all on loopback
//!        ├─ fairx (honest) ◀═══════ exchange ═══════▶ fairx, or `demo peer` (cheats)
//!        ├─ arbiter ledger serve, where there is money
//!        └─ judge: bundles, files on disk, the arbiter's counters, fairx verify ─▶ FAIR | UNFAIR
//! ```
//!
//! Invariants
//! - Nothing is told that did not happen: event lines come from the processes that acted.
//! - The judge believes no process: it looks at verified bundles and at files by their SHA-256.
//! - Every wait is bounded, and what was started is ended.

mod bank;
mod judge;
mod outsider;
mod paper;
mod peer;
mod process;
mod runs;
mod stage;
mod stories;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use crate::judge::Findings;
use crate::paper::{Paper, Printed};
use crate::runs::{RUNS, Run};
use crate::stage::{Sabotage, Tools};

/// Plays fair exchanges with real processes, honest and with a peer that cheats.
#[derive(Parser)]
#[command(name = "demo")]
struct Arguments {
    /// List the runs.
    #[arg(long)]
    list: bool,
    /// change, contract, delivery, payment, purchase, swap or all.
    #[arg(long, default_value = "all")]
    story: String,
    /// A run of the story, or all.
    #[arg(long, default_value = "all")]
    cheat: String,
    /// Runs played at one time. They are printed one after another all the same.
    #[arg(long, default_value_t = 4)]
    jobs: usize,
    /// Where homes, logs and bundles are kept [default: target/demo]
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Damage what a party holds before the judge looks: the run must then end UNFAIR.
    #[arg(long, hide = true)]
    sabotage: Option<Sabotage>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// A party that cheats: the demo runs itself once more for it.
    #[command(hide = true)]
    Peer(peer::Peer),
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.command {
        Some(Command::Peer(peer)) => peer::play(peer).await.map(|()| true),
        None if arguments.list => {
            list();
            Ok(true)
        }
        None => demo(arguments).await,
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn list() {
    let paper = Paper::to_terminal();
    for run in RUNS {
        println!("{}", paper.listed(run));
    }
    println!("\n make demo STORY=contract CHEAT=quiet plays one, make demo plays all.");
}

/// Plays the runs, some at a time, and tells them in order. Whether all of them ended well.
async fn demo(arguments: Arguments) -> Result<bool> {
    let chosen: Vec<&'static Run> = RUNS
        .iter()
        .filter(|run| arguments.story == "all" || arguments.story == run.story)
        .filter(|run| arguments.cheat == "all" || arguments.cheat == run.cheat)
        .collect();
    if chosen.is_empty() {
        bail!("there is no run {} {}: demo --list", arguments.story, arguments.cheat);
    }
    let tools = Arc::new(Tools::find(arguments.sabotage, arguments.keep)?);
    let room = Arc::new(Semaphore::new(arguments.jobs.max(1)));
    let started = Instant::now();
    let mut playing = VecDeque::new();
    for run in chosen {
        let (lines, told) = mpsc::unbounded_channel();
        let (tools, room) = (tools.clone(), room.clone());
        let play = tokio::spawn(async move {
            let _room = room.acquire_owned().await.context("the demo is ending")?;
            stories::play(run, &tools, Paper::new(lines)).await
        });
        playing.push_back((run, told, play));
    }
    let paper = Paper::to_terminal();
    println!("{}", paper.legend());
    let mut rows = Vec::new();
    while let Some((run, mut told, play)) = playing.pop_front() {
        print(&mut told).await;
        let findings = play.await.context("a run broke off")??;
        rows.push((run, findings));
    }
    for line in paper.summary(&rows, started.elapsed()) {
        println!("{line}");
    }
    println!(" bundles and logs: {}", tools.folder().display());
    Ok(rows.iter().all(|(_, findings)| findings.fault.is_none()))
}

/// Prints a run as it goes on. The lines of later runs wait in their channels until it is their turn.
///
/// Events come from several processes: those of a moment are put in the order of their times.
async fn print(told: &mut mpsc::UnboundedReceiver<Printed>) {
    let mut events: Vec<(String, String)> = Vec::new();
    loop {
        let told = timeout(MOMENT, told.recv()).await;
        if let Ok(Some(Printed::Event(clock, text))) = told {
            events.push((clock, text));
            continue;
        }
        events.sort_by(|one, other| one.0.cmp(&other.0));
        events.drain(..).for_each(|(_, text)| println!("{text}"));
        match told {
            Ok(Some(Printed::Line(line))) => println!("{line}"),
            Ok(None) => return,
            Ok(Some(Printed::Event(..))) | Err(_) => {}
        }
    }
}

/// Events that come closer than this are put in order.
const MOMENT: Duration = Duration::from_millis(50);

type Rows = Vec<(&'static Run, Findings)>;

/// Where the documents are.
fn document(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "data", name].iter().collect()
}
