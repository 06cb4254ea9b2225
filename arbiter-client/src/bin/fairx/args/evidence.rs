//! What is done with evidence: more proofs from outside, and less shown.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// What to add to a bundle.
#[derive(Subcommand)]
pub enum BundleCommand {
    /// Add or renew the log's newest checkpoint with its cosignatures, and the proof that each ruling is in it.
    Upgrade {
        /// The bundle.
        bundle: PathBuf,
        /// Where the log is published: the URL of its tiles, or a folder with an export of it.
        #[arg(long, value_name = "URL|DIR")]
        from: String,
        /// Where to write the bundle. Default: in the place of the old one.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Ask a time-stamping authority (RFC 3161) to stamp the checkpoint of each ruling.
    Timestamp {
        /// The bundle.
        bundle: PathBuf,
        /// The authority.
        #[arg(long, value_name = "URL")]
        tsa: String,
        /// Where to write the bundle. Default: in the place of the old one.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// What to show of a record.
#[derive(Args)]
pub struct Disclose {
    /// The bundle.
    pub bundle: PathBuf,
    /// A field of the sealed record, e.g. offer, acceptance, statement. May be given several times.
    #[arg(long = "field", value_name = "NAME", required = true)]
    pub fields: Vec<String>,
    /// Of which ruling. Default: the verdict, or the attestation if there is no verdict.
    #[arg(long, value_enum, value_name = "KIND")]
    pub of: Option<RulingKind>,
    /// Where to write the disclosure.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// A kind of ruling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RulingKind {
    /// That the arbiter holds a deposit.
    Attestation,
    /// The verdict.
    Verdict,
}
