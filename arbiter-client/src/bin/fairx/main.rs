//! `fairx`: one party of fair exchanges, as a program.
//!
//! ```text
//!  purse ─▶ purses.toml, ledgers
//!  init, id, pin ─▶ home folder   offer, accept, resume, complain ─▶ Client ─▶ events, outcome, evidence bundle
//!  audit ───▶ tiles of a log       (HTTP or a folder)
//!  status ──▶ journal             verify, disclose, explain, describe, document, escrow ─▶ files only: no network
//!                                 bundle ─▶ tiles of a log, a time-stamping authority ─▶ files
//! ```
//!
//! Exit codes: 0 done and good · 1 bad, refused or failed · 2 wrong usage · 3 ended without items (aborted) ·
//! 4 the arbiter is out of reach, resume later · 5 `verify`: nothing is wrong, but what was asked for is not there ·
//! 10 the file convicts the arbiter (`verify`). `audit` has codes of its own.

mod approval;
mod args;
mod audit;
mod capabilities;
mod charges;
mod escrow;
mod events;
mod evidence;
mod exchange;
mod failure;
mod files;
mod home;
mod keys;
mod out;
mod party;
mod preferences;
mod purses;
mod report;
mod terms;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::{Arguments, Command, PinCommand};
use crate::failure::Failure;
use crate::home::Home;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_env("FAIRX_LOG"))
        .with_writer(std::io::stderr)
        .init();
    match run(arguments).await {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            eprintln!("fairx: {failure}");
            ExitCode::from(failure.code())
        }
    }
}

async fn run(arguments: Arguments) -> Result<u8, Failure> {
    if let Command::Escrow { command } = &arguments.command {
        return escrow::run(command); // Works where there is no home folder at all.
    }
    let home = Home::locate(arguments.home)?;
    match arguments.command {
        Command::Init(init) => home::init(&home, init).await,
        Command::Id => home::id(&home),
        Command::Pin { command: None } => home::show_pin(&home),
        Command::Pin { command: Some(PinCommand::Refresh { arbiter_url, arbiter_ca }) } => {
            home::refresh_pin(&home, arbiter_url.as_deref(), arbiter_ca.as_deref()).await
        }
        Command::Document(document) => terms::document(&document).await,
        Command::Capabilities(options) => capabilities::run(&home, &options).await,
        Command::Describe { file, media_type } => report::describe(&file, media_type.as_deref()).await,
        Command::Offer { template } => exchange::offer(&home, template).await,
        Command::Accept(accept) => exchange::accept(&home, accept).await,
        Command::Status { id } => exchange::status(&home, id.as_deref()).await,
        Command::Complain { id, import, give, conduct } => {
            exchange::complain(
                &home,
                id.as_deref(),
                import.as_deref().map(|it| (it, give.as_deref())),
                &conduct,
            )
            .await
        }
        Command::Resume { id, connect, listen, conduct } => {
            exchange::resume(&home, &id, connect, listen, &conduct).await
        }
        Command::Purse { command } => purses::run(&home, command).await,
        Command::Bundle { command } => evidence::run(command),
        Command::Disclose(disclose) => evidence::disclose(&disclose),
        Command::Verify(verify) => report::verify(&home, &verify),
        // Blocking for as long as the log is long: not on a thread that others wait for.
        Command::Audit(arguments) => tokio::task::block_in_place(|| audit::audit(&home, &arguments)),
        Command::Escrow { command } => escrow::run(&command),
        Command::Explain { file, arbiter } => report::explain(&home, &file, arbiter.as_deref()),
    }
}
