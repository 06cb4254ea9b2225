//! `fairx escrow`: the scheme of `SPEC.md` section 11 alone, for other systems. Files in, files out: no home folder, no
//! network, no signing key.
//!
//! ```text
//!  arbiter  keygen ─▶ secret file, public line        label --example ─▶ label file, the same for all three
//!  signer   make   ─▶ escrow file ──▶ peer  check     arbiter  open ─▶ detached signature file
//! ```
//!
//! Nothing is overwritten. Secrets and recovered signatures go to files of mode 0600 and are never printed.

mod files;
mod label;

use std::path::{Path, PathBuf};

use arbiter_client::explain::keys::fingerprint;
use arbiter_client::plain;
use arbiter_client::signing::{Algorithm, Public, openssl_public_key_command, openssl_verify_command};
use arbiter_protocol::escrow::{self, Escrow, EscrowError, EscrowKey, EscrowSecret, Label, Side, Statement};
use arbiter_protocol::limits::ESCROW_BYTES;
use clap::{Args, Subcommand};
use sha2::{Digest as _, Sha256};

use crate::failure::Failure;
use crate::out::say;

/// What to do with escrows.
#[derive(Subcommand)]
pub enum EscrowCommand {
    /// The arbiter: make an escrow key. Prints the public line.
    Keygen {
        /// The arbiter's identity: 64 hex digits.
        #[arg(long, value_name = "HEX", value_parser = files::bytes_32)]
        arbiter: [u8; 32],
        /// The number of this key among the arbiter's keys. A new key has a new number.
        #[arg(long, value_name = "NUMBER")]
        epoch: u64,
        /// Where the secret half goes: a new file, for the arbiter alone.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Print a label to fill in, or show what a label file says.
    ///
    /// The label is what the escrow is for. Signer, peer and arbiter each write it from the agreement that they hold;
    /// it never travels with the escrow.
    Label {
        /// Print a label to fill in.
        #[arg(long, conflicts_with = "file", required_unless_present = "file")]
        example: bool,
        /// Check this label file and show its encoding and hash, to compare with others.
        file: Option<PathBuf>,
    },
    /// The signer: put a finished signature into escrow.
    ///
    /// The signature may come from any program or token. A signature that is not valid is refused.
    Make {
        /// The detached signature, as OpenSSL writes it.
        #[arg(long, value_name = "FILE")]
        signature: PathBuf,
        #[command(flatten)]
        terms: Terms,
        #[command(flatten)]
        key: Key,
        /// Where the escrow goes: a new file.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// The peer: check that the arbiter can open an escrow. Exit 0 good, 1 bad, 2 usage.
    Check {
        /// The escrow.
        #[arg(long, value_name = "FILE")]
        escrow: PathBuf,
        #[command(flatten)]
        terms: Terms,
        #[command(flatten)]
        key: Key,
    },
    /// The arbiter: open an escrow. Exit 0 opened, 1 cannot be opened and who is at fault, 2 usage.
    ///
    /// Open only after you found that the label is that of the agreement which you resolve. Give the signature only
    /// to the party entitled to it.
    Open {
        /// The escrow.
        #[arg(long, value_name = "FILE")]
        escrow: PathBuf,
        #[command(flatten)]
        terms: Terms,
        /// The secret file that `keygen` wrote.
        #[arg(long, value_name = "FILE")]
        secret: PathBuf,
        /// Where the signature goes: a new file.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

/// What all three must have alike.
#[derive(Args)]
pub struct Terms {
    /// The file that was signed.
    #[arg(long, value_name = "FILE")]
    message: PathBuf,
    /// The signer's public key (PEM) or certificate (PEM or DER).
    #[arg(long, value_name = "FILE")]
    public: PathBuf,
    /// How an RSA key signs: rsa-pkcs1- or rsa-pss- with sha256, sha384 or sha512. Default: rsa-pkcs1-sha256.
    #[arg(long, value_name = "NAME")]
    algorithm: Option<Algorithm>,
    /// The label file; `fairx escrow label --example` prints one to fill in.
    #[arg(long, value_name = "FILE")]
    label: PathBuf,
}

/// Whose escrow.
#[derive(Args)]
pub struct Key {
    /// The arbiter's escrow key: the line that `keygen` printed, or a file with it. Take it from the arbiter itself.
    #[arg(long, value_name = "LINE|FILE")]
    key: String,
}

/// Where to begin.
pub const EXAMPLES: &str = "\
All of it, from key to recovered signature:
  openssl genpkey -algorithm ed25519 -out signer.pem && openssl pkey -in signer.pem -pubout -out signer.pub.pem
  openssl pkeyutl -sign -inkey signer.pem -rawin -in contract.pdf -out contract.sig
  fairx escrow keygen --arbiter 11..11 --epoch 1 --out arbiter.secret > arbiter.key     (64 digits)
  fairx escrow label --example > label.toml            # then fill it in
  fairx escrow make --signature contract.sig --message contract.pdf --public signer.pub.pem \\
                    --label label.toml --key arbiter.key --out contract.escrow
  fairx escrow check --escrow contract.escrow --message contract.pdf --public signer.pub.pem \\
                    --label label.toml --key arbiter.key
  fairx escrow open --escrow contract.escrow --message contract.pdf --public signer.pub.pem \\
                    --label label.toml --secret arbiter.secret --out recovered.sig

recovered.sig has the bytes of contract.sig. docs/escrow.md describes the files, SPEC.md section 11 the scheme.";

/// `fairx escrow`.
pub fn run(command: &EscrowCommand) -> Result<u8, Failure> {
    match command {
        EscrowCommand::Keygen { arbiter, epoch, out } => keygen(*arbiter, *epoch, out),
        EscrowCommand::Label { file: Some(file), .. } => show_label(file),
        EscrowCommand::Label { file: None, .. } => {
            say!("{}", label::EXAMPLE.trim_end());
            Ok(0)
        }
        EscrowCommand::Make { signature, terms, key, out } => make(signature, terms, key, out),
        EscrowCommand::Check { escrow, terms, key } => check(escrow, terms, key),
        EscrowCommand::Open { escrow, terms, secret, out } => open(escrow, terms, secret, out),
    }
}

fn keygen(arbiter: [u8; 32], epoch: u64, out: &Path) -> Result<u8, Failure> {
    files::must_be_new(out)?;
    let seed = files::random()?;
    let secret = EscrowSecret::from_seed(&seed, arbiter, epoch).map_err(refused)?;
    files::write_secret(out, &secret, &seed)?;
    // Every line but the last is a comment, so that the output can be kept as a key file.
    say!("# Escrow key of an arbiter, epoch {epoch}. The secret half is in {}.", out.display());
    say!("# Who has that file opens every escrow to this key: keep it, and keep a copy in a safe place.");
    say!("{}", files::public_line(secret.public()));
    Ok(0)
}

fn show_label(file: &Path) -> Result<u8, Failure> {
    let bytes = label::read(file)?.to_bytes();
    say!("encoding  {}", hex::encode(&bytes));
    say!("sha256    {}", hex::encode(Sha256::digest(&bytes)));
    Ok(0)
}

fn make(signature: &Path, terms: &Terms, key: &Key, out: &Path) -> Result<u8, Failure> {
    files::must_be_new(out)?;
    let (agreed, key) = (Agreed::read(terms)?, files::key(&key.key)?);
    let signature = zeroize::Zeroizing::new(files::read(signature, SIGNATURE_BYTES)?);
    let need = agreed.public.key.signature_bytes();
    if signature.len() != need {
        return Err(Failure::bad(format!(
            "the signature file has {} bytes, a signature by this key has {need}",
            signature.len()
        ))
        .next("give the detached signature itself, in binary, as `openssl dgst -sign` or `pkeyutl -sign` write it"));
    }
    let randomness = files::random()?;
    let made = escrow::make(&signature, &agreed.statement()?, &agreed.label, &key, &randomness);
    let made = made.map_err(|error| match error {
        EscrowError::Signature => Failure::bad(error.to_string())
            .next("compare message file and public key; for RSA say --algorithm as it was signed"),
        other => refused(other),
    })?;
    // A fault of the machine must not leave here as an escrow that nobody can open.
    escrow::check(made.clone(), &agreed.statement()?, &agreed.label, &key).map_err(refused)?;
    let bytes = made.to_bytes();
    files::write_new(out, &bytes, 0o644)?;
    say!("MADE: {}, {}, suite {}", shown(out), plain::size(size(&bytes)), made.suite().name());
    agreed.say(&key);
    say!("Give the escrow to the peer. It holds no secret; it shows that the signer was willing to sign.");
    Ok(0)
}

fn check(file: &Path, terms: &Terms, key: &Key) -> Result<u8, Failure> {
    let (agreed, key) = (Agreed::read(terms)?, files::key(&key.key)?);
    let escrow = read_escrow(file)?;
    escrow::check(escrow, &agreed.statement()?, &agreed.label, &key).map_err(refused)?;
    say!("GOOD: the holder of the arbiter's secret can open this escrow to a valid signature.");
    agreed.say(&key);
    say!("  strength   a false escrow passes once in 2^128 attempts");
    say!(
        "Not checked here: that the escrow key is the arbiter's, that the public key is the signer's, and that the"
    );
    say!(
        "label is your agreement's. An Ed25519 key that used its nonce twice is not noticed either: no memory."
    );
    Ok(0)
}

fn open(file: &Path, terms: &Terms, secret: &Path, out: &Path) -> Result<u8, Failure> {
    files::must_be_new(out)?;
    let (agreed, secret) = (Agreed::read(terms)?, files::read_secret(secret)?);
    let escrow = read_escrow(file)?;
    let statement = agreed.statement()?;
    let signature = match escrow::open(&escrow, &statement, &agreed.label, &secret) {
        Ok(signature) => signature,
        Err(EscrowError::Unopenable) => {
            return Err(blame(escrow, &statement, &agreed.label, secret.public()));
        }
        Err(other) => return Err(refused(other)),
    };
    files::write_new(out, &signature, 0o600)?;
    say!("OPENED: {}, {}: the signature that was put into escrow", shown(out), plain::size(size(&signature)));
    agreed.say(secret.public());
    say!("Anybody can verify it, with OpenSSL:");
    let mut public = terms.public.clone();
    if agreed.public.certificate.is_some() {
        public.set_extension("pubkey.pem");
        say!("  {}", openssl_public_key_command(&terms.public, &public));
    }
    say!("  {}", openssl_verify_command(&agreed.public.key, &public, &terms.message, out));
    Ok(0)
}

/// Who is at fault that an escrow cannot be opened.
fn blame(escrow: Escrow, statement: &Statement<'_>, label: &Label, key: &EscrowKey) -> Failure {
    match escrow::check(escrow, statement, label, key) {
        Err(reason) => Failure::bad(format!("the escrow cannot be opened, and it is false: {reason}")).next(
            "at fault is who made or changed it, and who accepted it: `fairx escrow check` would have refused it",
        ),
        Ok(_) => Failure::bad("the escrow passes its check and still cannot be opened: that must not happen")
            .next("nobody who checked is at fault; keep all files and report it: program, machine or scheme is broken"),
    }
}

/// Everything that a signer, a peer and an arbiter must have alike.
struct Agreed {
    public: Public,
    message: Vec<u8>,
    name: String,
    label: Label,
}

impl Agreed {
    fn read(terms: &Terms) -> Result<Self, Failure> {
        Ok(Self {
            public: Public::read(&terms.public, terms.algorithm)?,
            label: label::read(&terms.label)?,
            name: shown(&terms.message),
            message: files::read(&terms.message, MESSAGE_BYTES)?,
        })
    }

    fn statement(&self) -> Result<Statement<'_>, Failure> {
        self.public.key.statement(&self.message).map_err(refused)
    }

    fn say(&self, key: &EscrowKey) {
        let (signer, label) = (&self.public.key, &self.label);
        say!("  signature  {}, {} bytes", Algorithm::of(signer), signer.signature_bytes());
        say!("  signer     key with sha256 {}", fingerprint(signer));
        if let Some(it) = &self.public.certificate {
            say!("             certificate of {}", plain::clip(it.subject(), 200));
            say!("             by {} (not verified)", plain::clip(it.issuer(), 200));
            say!("             {} to {}", plain::time(it.not_before()), plain::time(it.not_after()));
        }
        let bytes = plain::size(size(&self.message));
        say!("  message    {}, {bytes}, sha256 {}", self.name, hex::encode(Sha256::digest(&self.message)));
        say!("  arbiter    {}, epoch {}", hex::encode(key.arbiter()), key.epoch());
        say!("             escrow key {}", hex::encode(key.as_bytes()));
        let side = match label.signer {
            Side::Originator => "originator",
            Side::Responder => "responder",
        };
        say!("  label      exchange {}, signer: {side}", hex::encode(label.exchange));
        say!("             sha256 {}", hex::encode(Sha256::digest(label.to_bytes())));
    }
}

fn read_escrow(file: &Path) -> Result<Escrow, Failure> {
    // One byte more than allowed, so that the reason is the true one.
    let bytes = files::read_at_most(file, ESCROW_BYTES.saturating_add(1))?;
    Escrow::from_bytes(&bytes).map_err(refused)
}

/// The one reason, and what a person can do about it.
fn refused(error: EscrowError) -> Failure {
    let failure = Failure::bad(error.to_string());
    match error {
        EscrowError::Context => failure.next(
            "compare with the signer: message file, public key, --algorithm, arbiter's key, and the label's hash (`fairx escrow label FILE`)",
        ),
        EscrowError::WrongEpoch { .. } | EscrowError::WrongArbiter | EscrowError::WrongSuite => {
            failure.next("one of label, key and escrow belongs to another agreement: find out which")
        }
        _ => failure,
    }
}

fn shown(path: &Path) -> String {
    plain::clip(&path.display().to_string(), 200)
}

fn size(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// Larger than any signature.
const SIGNATURE_BYTES: usize = 4096;
/// A message is held in memory.
const MESSAGE_BYTES: usize = 1 << 30;
