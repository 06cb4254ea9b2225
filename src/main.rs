//! The program: parse, run, exit code.

use std::process::ExitCode;

use arbiter::cli::Cli;
use clap::Parser as _;

fn main() -> ExitCode {
    match Cli::parse().run(&mut std::io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("arbiter: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
