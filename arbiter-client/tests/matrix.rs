//! The exchange matrix: every pair of items, in the protocol that it selects, against every cheat by either party, with the
//! arbiter or the ledger away for a while, by the built-in modules and by an application's own. Prints a table of endings, and fails on
//! one that is unfair.
//!
//! ```text
//!  cells (144 pairs) ─▶ plays (honest, cheats x outages) ─▶ two clients, arbiter and ledger in the process, paused time
//!                                                               │ judged by files, signatures and the ledger's books
//!                                                               ▼
//!                                             one line a cell: calls, endings, unfair
//! ```
//! Run it with `make matrix`. Not a program of the test harness, so that the table is always seen.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A test may stop where it likes.

#[path = "matrix/cells.rs"]
mod cells;
mod common;
#[path = "matrix/outside.rs"]
mod outside;
#[path = "matrix/play.rs"]
mod play;
mod trades;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;

use arbiter_client::protocol::exchange::selection::Protocol;
use cells::{Cell, cells};
use play::{Ending, plays};

/// What all plays of one cell gave.
#[derive(Default)]
struct Row {
    honest_calls: u64,
    endings: BTreeMap<&'static str, u64>,
    weak: u64,
    unfair: Vec<String>,
}

fn main() -> ExitCode {
    let filter: Vec<String> = std::env::args().skip(1).filter(|it| !it.starts_with('-')).collect();
    let chosen =
        |cell: &Cell| filter.is_empty() || filter.iter().any(|it| cell.to_string().contains(it.as_str()));
    let cells: Vec<Cell> = cells().into_iter().filter(chosen).collect();
    let rows: Mutex<BTreeMap<Cell, Row>> = Mutex::default();
    let queue: Mutex<Vec<Cell>> = Mutex::new(cells.iter().rev().copied().collect());
    // A play that panics is one more unfair ending; one line says why.
    std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let Some(cell) = queue.lock().unwrap().pop() else { return };
                    let row = run(cell);
                    rows.lock().unwrap().insert(cell, row);
                }
            });
        }
    });
    print(&rows.into_inner().unwrap())
}

fn run(cell: Cell) -> Row {
    let mut row = Row::default();
    for play in plays(cell) {
        let Ending { name, calls, weak, unfair } = play.run();
        if play.is_plain() {
            row.honest_calls = calls;
        }
        *row.endings.entry(name).or_default() += 1;
        row.weak += u64::from(weak);
        row.unfair.extend(unfair);
    }
    row
}

fn print(rows: &BTreeMap<Cell, Row>) -> ExitCode {
    let count = |row: &Row, name: &str| row.endings.get(name).copied().unwrap_or_default();
    println!(
        "\n  {:<12} {:<12} {:<3} {:<10}  {:>6}  {:>5}  {:>9} {:>8} {:>7} {:>9} {:>9}  {:>4} {:>6}",
        "originator",
        "responder",
        "",
        "first",
        "honest",
        "plays",
        "completed",
        "resolved",
        "aborted",
        "affidavit",
        "abandoned",
        "weak",
        "unfair"
    );
    let (mut plays, mut weak, mut unfair) = (0, 0, 0);
    for (cell, row) in rows {
        let total: u64 = row.endings.values().sum();
        let Ok(selection) = cell.selection() else {
            println!(
                "  {:<12} {:<12} {:<3} no exchange: {}",
                cell.originator,
                cell.responder,
                "-",
                cell.why()
            );
            continue;
        };
        println!(
            "  {:<12} {:<12} {:<3} {:<10}  {:>6}  {:>5}  {:>9} {:>8} {:>7} {:>9} {:>9}  {:>4} {:>6}",
            cell.originator,
            cell.responder,
            match selection.protocol {
                Protocol::Transfer => "T".to_owned(),
                other => format!("P{}", other.number()),
            },
            selection.first_sender.name(),
            row.honest_calls,
            total,
            count(row, "completed"),
            count(row, "resolved"),
            count(row, "aborted"),
            count(row, "affidavit"),
            count(row, "abandoned"),
            row.weak,
            row.unfair.len(),
        );
        plays += total;
        weak += row.weak;
        unfair += row.unfair.len();
    }
    println!(
        "\n  honest: calls to the arbiter if both behave. weak: endings of P6 in which one party has only an affidavit.\n"
    );
    for line in rows.values().flat_map(|row| &row.unfair) {
        println!("  UNFAIR {line}");
    }
    let passed = plays - u64::try_from(unfair).unwrap();
    println!("  {plays} plays of {} pairs, {weak} weak by agreement, {unfair} unfair", rows.len());
    println!("{passed} passed, {unfair} failed");
    if unfair == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
