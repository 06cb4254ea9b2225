//! The command line.

mod evidence;
mod money;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use arbiter_client::pin::DEFAULT_URL;
use arbiter_client::signing::Algorithm;
use clap::{Args, Parser, Subcommand, ValueEnum};

pub use evidence::{BundleCommand, Disclose, RulingKind};
pub use money::{FromPurse, LedgerCa, MoneyDeadlines, PurseCommand, Reserve, Weak};

/// Fair exchange between two parties: both get what was agreed, or neither does.
#[derive(Parser)]
#[command(name = "fairx", version, about, after_help = examples())]
pub struct Arguments {
    /// Folder with the identity, the arbiter's pin, the journal, received files and evidence.
    #[arg(long, global = true, env = "FAIRX_HOME", value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

fn examples() -> String {
    format!(
        "\
Sign a contract with somebody:
  fairx init --name Alice --arbiter {DEFAULT_URL}
  fairx id                                             # give this line to the other party
  fairx accept --listen 127.0.0.1:7801 --file contract.pdf                     (the other party, first)
  fairx offer contract --file contract.pdf --title \"Contract of sale\" --to fairx-id:v1:... --connect 127.0.0.1:7801

Deliver a file against a signed receipt:
  fairx offer delivery --file notice.pdf --to fairx-id:v1:... --connect 127.0.0.1:7801 --complain-by 10m

Sell a file, buy one, pay for a receipt, swap files, change money:
  fairx purse create main --ledger http://127.0.0.1:7374
  fairx purse account main                             # give this line to the other party
  fairx offer sale --file song.flac --price \"9.00 EUR\" --from-account fairx-account:v1:... --to ... --connect ...
  fairx accept --listen 127.0.0.1:7801 --purse main                            (who pays)

Sign with a key of your own, or elsewhere (by a token, or with OpenSSL):
  fairx offer contract --file contract.pdf --key key.pem --cert certificate.pem --to ... --connect ...
  fairx document contract --file contract.pdf --out statement.txt              # exactly what is signed
  fairx offer contract --file contract.pdf --signature-from statement.sig --public key.pub --to ... --connect ...

Check what somebody shows you:
  fairx verify evidence.fxe --arbiter arbiter.pin --file contract.pdf

Make it stand without the arbiter, and show a court only a part:
  fairx bundle upgrade evidence.fxe --from https://log.example/
  fairx bundle timestamp evidence.fxe --tsa https://tsa.example/
  fairx verify evidence.fxe --arbiter arbiter.pin --policy policy.txt --tsa-ca tsa.pem
  fairx disclose evidence.fxe --field statement --out verdict.fxd"
    )
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Make an identity and pin an arbiter. Nothing that exists is overwritten.
    Init(Init),
    /// Print the public line of this identity, for the other party.
    Id,
    /// Show the pinned arbiter and its escrow keys, or ask it for newer ones.
    Pin {
        /// What to do; without anything: show.
        #[command(subcommand)]
        command: Option<PinCommand>,
    },
    /// Write the exact text that a detached signature signs, e.g. to sign it elsewhere. The same on both sides.
    Document(Document),
    /// Print what you can give and take, for the other party: it hands it to `offer --peer-capabilities`, and you its own.
    Capabilities(Capabilities),
    /// Print the line that describes a file, for `offer request --want`.
    Describe {
        /// The file.
        file: PathBuf,
        /// Media type, if the file's first bytes do not show it.
        #[arg(long = "type", value_name = "TYPE")]
        media_type: Option<String>,
    },
    /// Offer an exchange to somebody who waits with `accept`, and carry it out.
    Offer {
        /// What is exchanged.
        #[command(subcommand)]
        template: Template,
    },
    /// Wait for one offer, show it, and carry it out if it is approved.
    Accept(Accept),
    /// Show the exchanges in the journal, or one of them.
    Status {
        /// The exchange: its id or the first digits of it.
        id: Option<String>,
    },
    /// Stop waiting for the other party and turn to the arbiter.
    Complain {
        /// The exchange: its id or the first digits of it.
        #[arg(required_unless_present = "import")]
        id: Option<String>,
        /// Take the exchange from this evidence bundle: for a home that lost its journal. Never while another
        /// home still carries the exchange out.
        #[arg(long, value_name = "BUNDLE", conflicts_with = "id")]
        import: Option<PathBuf>,
        /// With --import: the file to give, if the exchange asks for one; of a package every file, in any order.
        #[arg(long, value_name = "FILE", requires = "import")]
        give: Vec<PathBuf>,
        #[command(flatten)]
        conduct: Conduct,
    },
    /// Go on with an exchange after a crash or an interruption.
    Resume {
        /// The exchange: its id or the first digits of it.
        id: String,
        /// Connect to the other party there; for who made the offer.
        #[arg(long, value_name = "ADDRESS")]
        connect: Option<String>,
        /// Listen for the other party there; for who accepted.
        #[arg(long, value_name = "ADDRESS", conflicts_with = "connect")]
        listen: Option<SocketAddr>,
        #[command(flatten)]
        conduct: Conduct,
    },
    /// Purses: accounts on ledgers, with what is in them and what was paid.
    Purse {
        /// What to do.
        #[command(subcommand)]
        command: PurseCommand,
    },
    /// Check the log of an arbiter from its tiles, as a stranger. Exit 0 good, 1 the log is at fault, 2 usage or policy, 3 out of
    /// reach, 4 too few witnesses, 5 what is served is not what was signed, 6 a newer fairx is needed, 7 a record is bad.
    Audit(Audit),
    /// Verify an evidence bundle, a disclosure or a proof of misbehaviour, without any network. Exit 0 good, 1 bad, 2 usage,
    /// 5 not bad, but without the cosignatures or time-stamps that --policy and --tsa-ca ask for, 10 the file convicts the arbiter.
    Verify(Verify),
    /// Add proofs from outside to an evidence bundle: cosignatures of witnesses, time-stamps.
    Bundle {
        /// What to do.
        #[command(subcommand)]
        command: BundleCommand,
    },
    /// Write a file that shows single fields of what the arbiter recorded, and proves them, without the rest.
    Disclose(Disclose),
    /// Tell in plain words what an evidence bundle or an offer says.
    Explain {
        /// The bundle.
        file: PathBuf,
        /// The arbiter to trust: a pin file or a fairx-arbiter line.
        #[arg(long, value_name = "FILE|LINE")]
        arbiter: Option<String>,
    },
    /// Put a finished signature into escrow, check an escrow, open one. Files only: for use by other systems.
    #[command(after_help = crate::escrow::EXAMPLES)]
    Escrow {
        /// What to do.
        #[command(subcommand)]
        command: crate::escrow::EscrowCommand,
    },
}

/// What to do with the pin.
#[derive(Subcommand)]
pub enum PinCommand {
    /// Ask the arbiter for its escrow keys. Its identity must be the one pinned; known keys stay, newer are added.
    Refresh {
        /// Where to find the arbiter now, if it moved. Its keys stay those pinned.
        #[arg(long, value_name = "URL")]
        arbiter_url: Option<String>,
        /// PEM certificates that an https arbiter's certificate must come from.
        #[arg(long, value_name = "FILE")]
        arbiter_ca: Option<PathBuf>,
    },
}

/// What to list.
#[derive(Args)]
pub struct Capabilities {
    /// A key that you sign with, liked better than this identity's: PKCS#8 PEM, Ed25519 or RSA, not encrypted.
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// X.509 certificate of the key.
    #[arg(long, value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,
    /// How an RSA key signs, e.g. rsa-pss-sha256. Default: rsa-pkcs1-sha256.
    #[arg(long, value_name = "NAME", requires = "key")]
    pub algorithm: Option<Algorithm>,
    /// Where to write it. Default: the output. What is there is not overwritten.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Which text to write.
#[derive(Args)]
pub struct Document {
    /// What is signed: `contract`, the receipt of a `delivery`, `request` or `payment`, or what a `transfer` gives. Decides
    /// title and text where none are given.
    pub kind: DocumentKind,
    /// The file that the statement is about.
    #[arg(long, value_name = "FILE", required_unless_present = "want")]
    pub file: Option<PathBuf>,
    /// The same as a description, as `fairx describe` prints it: sha256:HEX,SIZE,TYPE,NAME.
    #[arg(long, value_name = "DESCRIPTION", conflicts_with = "file")]
    pub want: Option<String>,
    #[command(flatten)]
    pub words: Words,
    /// Where to write it. Default: the output. What is there is not overwritten.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// What is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DocumentKind {
    /// A contract.
    Contract,
    /// The receipt for a delivery.
    Delivery,
    /// The receipt for a payment.
    Payment,
    /// The receipt for a requested file.
    Request,
    /// A statement that is signed for nothing.
    Transfer,
}

/// What is exchanged.
#[derive(Subcommand)]
pub enum Template {
    /// Both sign the same statement about a file: a contract.
    Contract {
        /// The contract. Several: each is signed, all or none.
        #[arg(long, value_name = "FILE", required = true)]
        file: Vec<PathBuf>,
        #[command(flatten)]
        words: Words,
        #[command(flatten)]
        ours: SigningKey,
        #[command(flatten)]
        theirs: TheirKey,
        #[command(flatten)]
        seal: Seal,
        #[command(flatten)]
        deal: Deal,
    },
    /// You give a file, they sign a receipt for it.
    Delivery {
        /// The file. Several: all or none, with a receipt for each.
        #[arg(long, value_name = "FILE", required = true)]
        file: Vec<PathBuf>,
        #[command(flatten)]
        words: Words,
        #[command(flatten)]
        deadline: Deadline,
        #[command(flatten)]
        theirs: TheirKey,
        #[command(flatten)]
        seal: Seal,
        #[command(flatten)]
        deal: Deal,
    },
    /// You sign a receipt, they give the file that you describe.
    Request {
        /// The file wanted, as `fairx describe` prints it: sha256:HEX,SIZE,TYPE,NAME. Several: all or none.
        #[arg(long, value_name = "DESCRIPTION", required = true)]
        want: Vec<String>,
        #[command(flatten)]
        words: Words,
        #[command(flatten)]
        deadline: Deadline,
        #[command(flatten)]
        ours: SigningKey,
        #[command(flatten)]
        seal: Seal,
        #[command(flatten)]
        deal: Deal,
    },
    /// You give a file, they give money: held first, yours when they have the file.
    Sale {
        /// The file. Several: all or none, for one price.
        #[arg(long, value_name = "FILE", required = true)]
        file: Vec<PathBuf>,
        /// Media type of the file, if its first bytes do not show it.
        #[arg(long = "type", value_name = "TYPE")]
        media_type: Option<String>,
        /// What they pay, e.g. "9.00 EUR".
        #[arg(long, value_name = "AMOUNT")]
        price: String,
        /// The account that pays: the line that their `fairx purse account` prints.
        #[arg(long, value_name = "FAIRX-ACCOUNT", required_unless_present = "peer_capabilities")]
        from_account: Option<String>,
        #[command(flatten)]
        purse: FromPurse,
        #[command(flatten)]
        weak: Weak,
        #[command(flatten)]
        reserve: Reserve,
        #[command(flatten)]
        deadline: MoneyDeadlines,
        #[command(flatten)]
        deal: Deal,
    },
    /// You give money, held first; they give the file that you describe.
    Purchase {
        /// The file wanted, as `fairx describe` prints it: sha256:HEX,SIZE,TYPE,NAME. Several: all or none.
        #[arg(long, value_name = "DESCRIPTION", required = true)]
        want: Vec<String>,
        /// What you pay, e.g. "9.00 EUR". Several, e.g. price and tax: each to an account of its own, all or none.
        #[arg(long, value_name = "AMOUNT", required = true)]
        price: Vec<String>,
        /// The account that is paid: the line that their `fairx purse account` prints. Of several prices one for each.
        #[arg(long, value_name = "FAIRX-ACCOUNT", required_unless_present = "peer_capabilities")]
        to_account: Vec<String>,
        #[command(flatten)]
        purse: FromPurse,
        #[command(flatten)]
        weak: Weak,
        #[command(flatten)]
        reserve: Reserve,
        #[command(flatten)]
        deadline: MoneyDeadlines,
        #[command(flatten)]
        deal: Deal,
    },
    /// You pay at once, they sign a receipt about a file, e.g. the invoice.
    Payment {
        /// The file that the receipt is about. Several: a receipt for each, all or none.
        #[arg(long, value_name = "FILE", required = true)]
        file: Vec<PathBuf>,
        /// What you pay, e.g. "9.00 EUR".
        #[arg(long, value_name = "AMOUNT")]
        amount: String,
        /// The account that is paid: the line that their `fairx purse account` prints.
        #[arg(long, value_name = "FAIRX-ACCOUNT", required_unless_present = "peer_capabilities")]
        to_account: Option<String>,
        #[command(flatten)]
        purse: FromPurse,
        #[command(flatten)]
        reserve: Reserve,
        #[command(flatten)]
        words: Words,
        #[command(flatten)]
        deadline: Deadline,
        #[command(flatten)]
        theirs: TheirKey,
        #[command(flatten)]
        seal: Seal,
        #[command(flatten)]
        deal: Deal,
    },
    /// You give a file, a signature or money, and get nothing for it. No arbiter is needed.
    Transfer {
        /// The file, or with --sign what your signature is about. Several times: all of them or none.
        #[arg(long, value_name = "FILE", required_unless_present = "amount")]
        file: Vec<PathBuf>,
        /// Give your signature about the file, and not the file.
        #[arg(long, requires = "file")]
        sign: bool,
        /// Give money, e.g. "9.00 EUR".
        #[arg(long, value_name = "AMOUNT", conflicts_with = "file", requires = "to_account")]
        amount: Option<String>,
        /// The account that is paid: the line that their `fairx purse account` prints.
        #[arg(long, value_name = "FAIRX-ACCOUNT", requires = "amount")]
        to_account: Option<String>,
        #[command(flatten)]
        purse: FromPurse,
        #[command(flatten)]
        words: Words,
        #[command(flatten)]
        ours: SigningKey,
        #[command(flatten)]
        deal: Deal,
    },
    /// You give a file, they give the file that you describe. Both go through the arbiter, which sees both.
    Swap {
        /// Your file. Several: all or none.
        #[arg(long, value_name = "FILE", required = true)]
        file: Vec<PathBuf>,
        /// Media type of your file, if its first bytes do not show it.
        #[arg(long = "type", value_name = "TYPE")]
        media_type: Option<String>,
        /// The file wanted, as `fairx describe` prints it: sha256:HEX,SIZE,TYPE,NAME. Several: all or none.
        #[arg(long, value_name = "DESCRIPTION", required = true)]
        want: Vec<String>,
        #[command(flatten)]
        deadline: Deadline,
        #[command(flatten)]
        deal: Deal,
    },
    /// You give money, held first; they give other money, paid at once.
    Change {
        /// What you give, e.g. "10.00 EUR".
        #[arg(long, value_name = "AMOUNT")]
        amount: String,
        /// What you get, e.g. "11.00 USD".
        #[arg(long, value_name = "AMOUNT")]
        want: String,
        /// Their account for what you give.
        #[arg(long, value_name = "FAIRX-ACCOUNT", required_unless_present = "peer_capabilities")]
        to_account: Option<String>,
        /// Their account for what you get.
        #[arg(long, value_name = "FAIRX-ACCOUNT", required_unless_present = "peer_capabilities")]
        from_account: Option<String>,
        #[command(flatten)]
        purse: FromPurse,
        /// Your purse for what you get. Default: the preferred one that fits.
        #[arg(long, value_name = "NAME")]
        into: Option<String>,
        #[command(flatten)]
        reserve: Reserve,
        #[command(flatten)]
        deadline: MoneyDeadlines,
        #[command(flatten)]
        deal: Deal,
    },
}

impl Template {
    /// With whom, and how.
    pub const fn deal(&self) -> &Deal {
        match self {
            Self::Change { deal, .. }
            | Self::Contract { deal, .. }
            | Self::Delivery { deal, .. }
            | Self::Payment { deal, .. }
            | Self::Purchase { deal, .. }
            | Self::Request { deal, .. }
            | Self::Sale { deal, .. }
            | Self::Swap { deal, .. }
            | Self::Transfer { deal, .. } => deal,
        }
    }
}

/// The statement to sign.
#[derive(Args)]
pub struct Words {
    /// What the statement is called, one line.
    #[arg(long)]
    pub title: Option<String>,
    /// What it says, beside the file.
    #[arg(long, conflicts_with = "text_file")]
    pub text: Option<String>,
    /// A file with what it says.
    #[arg(long, value_name = "FILE")]
    pub text_file: Option<PathBuf>,
    /// Media type of the file, if its first bytes do not show it.
    #[arg(long = "type", value_name = "TYPE")]
    pub media_type: Option<String>,
}

/// With which key we sign. Without anything: the Ed25519 key of this identity.
#[derive(Args, Default)]
#[command(next_help_heading = "Your key")]
pub struct SigningKey {
    /// Sign with this private key: PKCS#8 PEM, Ed25519 or RSA, not encrypted.
    #[arg(long, value_name = "FILE", conflicts_with = "signature_from")]
    pub key: Option<PathBuf>,
    /// The signature was made elsewhere, over the text that `fairx document` writes. Needs --public or --cert.
    #[arg(long, value_name = "FILE")]
    pub signature_from: Option<PathBuf>,
    /// The public key (PEM) of --signature-from.
    #[arg(long, value_name = "FILE", requires = "signature_from")]
    pub public: Option<PathBuf>,
    /// X.509 certificate of the key, shown to the other party. Nobody's name is checked by it.
    #[arg(long, value_name = "FILE")]
    pub cert: Option<PathBuf>,
    /// How an RSA key signs, e.g. rsa-pss-sha256. Default: rsa-pkcs1-sha256.
    #[arg(long, value_name = "NAME")]
    pub algorithm: Option<Algorithm>,
}

/// With which key they sign. Without anything: the Ed25519 key of their identity.
#[derive(Args, Default)]
#[command(next_help_heading = "Their key")]
pub struct TheirKey {
    /// They sign with this key: public key (PEM) or certificate.
    #[arg(long, value_name = "FILE")]
    pub their_key: Option<PathBuf>,
    /// How their RSA key signs, e.g. rsa-pss-sha256. Default: rsa-pkcs1-sha256.
    #[arg(long, value_name = "NAME", requires = "their_key")]
    pub their_algorithm: Option<Algorithm>,
}

/// How signatures are made safe.
#[derive(Args, Default)]
pub struct Seal {
    /// No escrow: if somebody stops, the arbiter's verdict stands for the signature. For keys that have no escrow.
    #[arg(long)]
    pub replacement: bool,
    /// Size of the escrows: fast makes large ones, compact small ones with more work.
    #[arg(long, value_enum, default_value = "balanced", value_name = "SUITE")]
    pub suite: SuiteName,
}

/// A suite of the escrow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum SuiteName {
    /// 132 instances, 64 hidden.
    Fast,
    /// 247 instances, 30 hidden.
    #[default]
    Balanced,
    /// 711 instances, 20 hidden.
    Compact,
}

/// When complaints end.
#[derive(Args)]
pub struct Deadline {
    /// Until when the sender of the file may complain, from now on: 90s, 10m, 2h, 3d.
    #[arg(long, value_parser = duration, default_value = "1h", value_name = "TIME")]
    pub complain_by: Duration,
}

/// With whom, and how.
#[derive(Args)]
pub struct Deal {
    /// The other party: the line that its `fairx id` prints.
    #[arg(long, value_name = "FAIRX-ID")]
    pub to: String,
    /// Where the other party listens, e.g. 127.0.0.1:7801.
    #[arg(long, value_name = "ADDRESS")]
    pub connect: String,
    /// What the other party gives and takes, as its `fairx capabilities` prints it: where nothing is said here, accounts, keys
    /// and formats are those that both lists lead to.
    #[arg(long, value_name = "FILE")]
    pub peer_capabilities: Option<PathBuf>,
    #[command(flatten)]
    pub conduct: Conduct,
}

/// How to accept.
#[derive(Args)]
pub struct Accept {
    /// Where to wait for the offer, e.g. 127.0.0.1:7801.
    #[arg(long, value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// The file to give, if the offer asks for one; of a package every file, in any order.
    #[arg(long, value_name = "FILE")]
    pub give: Vec<PathBuf>,
    /// A file that the offer must be about, e.g. your copy of the contract: compared byte for byte.
    #[arg(long = "file", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The purse that the offer must pay from or into. Default: any of yours that it names.
    #[arg(long, value_name = "NAME")]
    pub purse: Option<String>,
    /// Take offers only from this party.
    #[arg(long, value_name = "FAIRX-ID")]
    pub from: Option<String>,
    /// What the other party gives and takes, as its `fairx capabilities` prints it: an offer that is not what both lists lead
    /// to is declined.
    #[arg(long, value_name = "FILE")]
    pub peer_capabilities: Option<PathBuf>,
    /// Sign with this private key, which the offer must name: PKCS#8 PEM, Ed25519 or RSA, not encrypted. Default: the
    /// key of this identity.
    #[arg(long, value_name = "FILE", conflicts_with = "signature_from")]
    pub key: Option<PathBuf>,
    /// The signature was made elsewhere by the key that the offer names, over the text that `fairx document` writes.
    #[arg(long, value_name = "FILE")]
    pub signature_from: Option<PathBuf>,
    /// Write the exact text that is to be signed there as soon as an offer comes. What is there is not overwritten.
    #[arg(long, value_name = "FILE")]
    pub document_out: Option<PathBuf>,
    #[command(flatten)]
    pub conduct: Conduct,
}

/// How to carry an exchange out.
#[derive(Args)]
pub struct Conduct {
    /// Approve without a person: for programs that decided already. Said so in the output.
    #[arg(long)]
    pub yes: bool,
    /// Turn to the arbiter after this long without progress by the other party.
    #[arg(long, value_parser = duration, default_value = "10m", value_name = "TIME")]
    pub patience: Duration,
    /// Complain this long before the deadline, and 1 s more for each MiB that is to be deposited: enough for slow
    /// networks and clocks that differ.
    #[arg(long, value_parser = duration, default_value = "30s", value_name = "TIME")]
    pub margin: Duration,
    /// Having finished, stay this long for a party that lost the connection.
    #[arg(long, value_parser = duration, default_value = "10s", value_name = "TIME")]
    pub linger: Duration,
    /// Go on asking an arbiter that is out of reach for this long, then stop; `resume` goes on. A complaint about a
    /// file that has left is not given up before its deadline is over, whatever this says.
    #[arg(long, value_parser = duration, default_value = "5m", value_name = "TIME")]
    pub retry_for: Duration,
    /// Where the evidence bundle goes. Default: the evidence folder in the home folder.
    #[arg(long, value_name = "FILE")]
    pub bundle: Option<PathBuf>,
    /// Where signatures go in the end, with the text that is signed and the public keys. Default: beside what was
    /// received in the home folder.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Show the exact text that is signed on the screen as well. In a terminal it can also be asked for there.
    #[arg(long)]
    pub show_document: bool,
    /// Where to find the arbiter now, if it moved. Its keys stay those pinned.
    #[arg(long, value_name = "URL")]
    pub arbiter_url: Option<String>,
    /// PEM certificates that an https arbiter's certificate must come from.
    #[arg(long, value_name = "FILE")]
    pub arbiter_ca: Option<PathBuf>,
    #[command(flatten)]
    pub ledger: LedgerCa,
}

impl Default for Conduct {
    /// For commands that neither wait nor ask.
    fn default() -> Self {
        let none = Duration::ZERO;
        Self {
            yes: false,
            patience: none,
            margin: none,
            linger: none,
            retry_for: none,
            bundle: None,
            out: None,
            show_document: false,
            arbiter_url: None,
            arbiter_ca: None,
            ledger: LedgerCa::default(),
        }
    }
}

/// How to make a home.
#[derive(Args)]
pub struct Init {
    /// What you call yourself; the other party sees it, nobody verifies it.
    #[arg(long)]
    pub name: Option<String>,
    /// The arbiter to trust: its URL, a pin file, or a fairx-arbiter line.
    #[arg(long, value_name = "URL|FILE|LINE")]
    pub arbiter: Option<String>,
    /// PEM certificates that an https arbiter's certificate must come from.
    #[arg(long, value_name = "FILE")]
    pub arbiter_ca: Option<PathBuf>,
}

/// Which log to audit, against what.
#[derive(Args)]
pub struct Audit {
    /// Where its tiles are: the URL of a tile server, or a folder with the same files.
    #[arg(value_name = "URL|DIR")]
    pub place: String,
    /// The log's key and whose cosignatures it needs, as a C2SP tlog-policy. Without it: the log of the arbiter that is
    /// pinned, and no witness.
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// The arbiter whose log it must be: a pin file or a fairx-arbiter line. Default: the one pinned in the home folder, if the
    /// policy names its log.
    #[arg(long, value_name = "FILE|LINE")]
    pub arbiter: Option<String>,
    /// What is remembered between two audits, made if it is not there. Without it nothing is compared with earlier ones.
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// Write the report there as JSON, and as text beside it (.txt).
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// A folder with evidence bundles (.fxe) of chosen exchanges, whose rulings are made again, and with single fields (.fxd, or
    /// .json from `arbiter open --field`). All of it is found in the log.
    #[arg(long, value_name = "DIR")]
    pub records: Option<PathBuf>,
    /// Where a proof of misbehaviour (.fxp) goes, if there is one to write. Default: here.
    #[arg(long, value_name = "DIR")]
    pub proofs: Option<PathBuf>,
    /// Print the report as JSON.
    #[arg(long)]
    pub json: bool,
}

/// What to verify, against what.
#[derive(Args)]
pub struct Verify {
    /// The bundle.
    pub file: PathBuf,
    /// Verification never uses a network; this flag only says so.
    #[arg(long)]
    pub offline: bool,
    /// The arbiter to trust: a pin file or a fairx-arbiter line. Default: the one pinned in the home folder.
    #[arg(long, value_name = "FILE|LINE")]
    pub arbiter: Option<String>,
    /// A file to compare with the agreement: what it describes, a signature file, or the text that one signs.
    #[arg(long = "file", value_name = "FILE", id = "content")]
    pub files: Vec<PathBuf>,
    /// The logs and witnesses to trust (C2SP tlog-policy): every ruling must have cosignatures that make its quorum.
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// The certificates (PEM) of time-stamping authorities to trust: every ruling must have a time-stamp by one of them.
    #[arg(long, value_name = "FILE")]
    pub tsa_ca: Option<PathBuf>,
    /// Apply the rules to the evidence again and compare. This is always done; the flag only says so.
    #[arg(long)]
    pub rerun: bool,
    /// Print the report as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Reads `90s`, `10m`, `2h`, `3d`, `500ms`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let millis: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err("say a number and ms, s, m, h or d, e.g. 10m".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "say a number and a unit, e.g. 10m".to_owned())?;
    let span = number.checked_mul(millis).filter(|span| *span <= LONGEST);
    span.map(Duration::from_millis).ok_or_else(|| "at most 3650d".to_owned())
}

/// Ten years.
const LONGEST: u64 = 3650 * 86_400_000;

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        for bad in ["", "10", "m", "-1s", "1.5h", "1w", "3651d", "99999999999999999999s", "é"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
