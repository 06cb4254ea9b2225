//! The home folder: who we are and whom we trust.
//!
//! ```text
//!  identity.toml   secret, 0600      journal and received/   the client's own
//!  arbiter         pin, escrow keys  evidence/               bundles
//!  purses.toml     secret, 0600      paid/                   ledgers' receipts
//!  preferences.toml, if there is one
//! ```

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use arbiter_client::arbiter::PortError;
use arbiter_client::arbiter::grpc::GrpcArbiter;
use arbiter_client::clock::{Clock as _, SystemClock};
use arbiter_client::identity::{ArbiterPin, IdentityError, KeyFile};
use arbiter_client::plain;
use arbiter_client::protocol::message::escrow_epoch::EscrowEpoch;
use arbiter_client::protocol::statement::Verified;
use arbiter_client::purse::PurseBook;
use zeroize::Zeroizing;

use crate::args::Init;
use crate::failure::Failure;
use crate::out::say;
use crate::preferences::Preferences;

/// Where everything of one party is.
pub struct Home(PathBuf);

impl Home {
    /// The folder named, or `~/.fairx`.
    pub fn locate(named: Option<PathBuf>) -> Result<Self, Failure> {
        if let Some(folder) = named {
            return Ok(Self(folder));
        }
        let home = std::env::home_dir().filter(|home| !home.as_os_str().is_empty());
        let home =
            home.ok_or_else(|| Failure::usage("there is no home folder here: name one with --home"))?;
        Ok(Self(home.join(".fairx")))
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// Our keys.
    pub fn identity(&self) -> Result<KeyFile, Failure> {
        KeyFile::load(&self.identity_path()).map_err(Failure::from)
    }

    /// The arbiter that we trust.
    pub fn arbiter(&self) -> Result<ArbiterPin, Failure> {
        match ArbiterPin::load(&self.arbiter_path()) {
            Err(IdentityError::Missing(_)) => Err(Failure::usage("no arbiter is pinned in this home")
                .next("fairx init --arbiter URL, a pin file, or a fairx-arbiter line")),
            other => other.map_err(Failure::from),
        }
    }

    /// The folder for bundles, made if it is not there.
    pub fn evidence(&self) -> Result<PathBuf, Failure> {
        let folder = self.0.join("evidence");
        private_folder(&folder)?;
        Ok(folder)
    }

    /// Our purses.
    pub fn purses(&self) -> Result<PurseBook, Failure> {
        Ok(PurseBook::load(&self.0.join("purses.toml"))?)
    }

    /// What we take and give beside.
    pub fn preferences(&self) -> Result<Preferences, Failure> {
        Preferences::load(&self.0.join("preferences.toml"))
    }

    /// Makes the folder if it is not there.
    pub fn prepare(&self) -> Result<(), Failure> {
        private_folder(&self.0)
    }

    fn identity_path(&self) -> PathBuf {
        self.0.join("identity.toml")
    }

    fn arbiter_path(&self) -> PathBuf {
        self.0.join("arbiter")
    }
}

/// `fairx init`.
pub async fn init(home: &Home, init: Init) -> Result<u8, Failure> {
    // The arbiter first: if it cannot be had, nothing is made yet.
    let found = match &init.arbiter {
        Some(text) => Some(find_arbiter(text, init.arbiter_ca.as_deref()).await?),
        None => None,
    };
    private_folder(home.folder())?;
    let known = match KeyFile::load(&home.identity_path()) {
        Ok(known) => Some(known),
        Err(IdentityError::Missing(_)) => None,
        Err(other) => return Err(other.into()),
    };
    let identity = match (known, init.name) {
        (Some(_), Some(_)) => return Err(IdentityError::Exists(home.identity_path()).into()),
        (Some(_), None) if found.is_none() => {
            return Err(Failure::usage(format!(
                "there is an identity in {} already",
                home.folder().display()
            ))
            .next("`fairx id` prints it; `fairx init --arbiter ...` pins an arbiter for it"));
        }
        (Some(known), None) => known,
        (None, Some(name)) => KeyFile::create(&home.identity_path(), &name, &seed()?, &seed()?)?,
        (None, None) => return Err(Failure::usage("say what you call yourself: --name NAME")),
    };
    say!("identity    {}", home.identity_path().display());
    say!("fingerprint {}", identity.public().fingerprint());
    say!("public line, for the other party:\n{}", identity.public());
    if let Some((pin, terms)) = found {
        let pin = match ArbiterPin::load(&home.arbiter_path()) {
            // The same arbiter again: only its newer escrow keys are added.
            Ok(known) if known.identity == pin.identity => refreshed(home, known, pin.epochs().to_vec())?.0,
            Ok(_) => return Err(IdentityError::Exists(home.arbiter_path()).into()),
            Err(IdentityError::Missing(_)) => {
                pin.create(&home.arbiter_path())?;
                pin
            }
            Err(other) => return Err(other.into()),
        };
        say!("arbiter     {} at {}", pin.identity.log_origin, pin.url);
        say!("fingerprint {}", pin.fingerprint());
        if let Some(bytes) = pin.deposit_bytes {
            say!("deposits    files of at most {}", plain::size(bytes));
        }
        show_epochs(&pin);
        if let Some(terms) = terms {
            say!("its terms, in its own words:");
            plain::wrap(&terms, 100).iter().take(TERMS_LINES).for_each(|line| say!("  | {line}"));
        }
        say!(
            "Compare this fingerprint with the arbiter's operator by another channel before you rely on it."
        );
        say!("pin line, the same for both parties:\n{pin}");
        if !pin.epochs().is_empty() {
            say!("The file {} has the escrow keys as well.", home.arbiter_path().display());
        }
    } else {
        say!("No arbiter is pinned yet: fairx init --arbiter URL|FILE|LINE");
    }
    Ok(0)
}

/// `fairx id`.
pub fn id(home: &Home) -> Result<u8, Failure> {
    say!("{}", home.identity()?.public());
    Ok(0)
}

/// `fairx pin`.
pub fn show_pin(home: &Home) -> Result<u8, Failure> {
    let pin = home.arbiter()?;
    say!("arbiter     {} at {}", pin.identity.log_origin, pin.url);
    say!("fingerprint {}", pin.fingerprint());
    show_epochs(&pin);
    say!("{pin}");
    Ok(0)
}

/// `fairx pin refresh`: the arbiter must be the one pinned; only newer escrow keys are added.
pub async fn refresh_pin(home: &Home, url: Option<&str>, ca: Option<&Path>) -> Result<u8, Failure> {
    let mut known = home.arbiter()?;
    let (now, _) = ask_arbiter(url.unwrap_or(&known.url), ca).await?;
    if now.identity != known.identity {
        return Err(Failure::bad(format!(
            "what answers at {} is ANOTHER arbiter than the one pinned: its key, log or rules differ",
            now.url
        ))
        .next("nothing was changed; ask the operator; a new arbiter needs a new home"));
    }
    known.money.clone_from(&now.money);
    known.replace(&home.arbiter_path())?;
    let (pin, new) = refreshed(home, known, now.epochs().to_vec())?;
    say!(
        "{}",
        match new {
            0 => "no new escrow key".to_owned(),
            1 => "1 new escrow key".to_owned(),
            new => format!("{new} new escrow keys"),
        }
    );
    show_epochs(&pin);
    Ok(0)
}

fn refreshed(
    home: &Home,
    known: ArbiterPin,
    epochs: Vec<Verified<EscrowEpoch>>,
) -> Result<(ArbiterPin, usize), Failure> {
    let (pin, new) = known.with_epochs(epochs)?;
    if new > 0 {
        pin.replace(&home.arbiter_path())?;
    }
    Ok((pin, new))
}

fn show_epochs(pin: &ArbiterPin) {
    let now = SystemClock.now();
    let used = pin.epoch_at(now).map(|epoch| epoch.epoch);
    for epoch in pin.epochs().iter().filter(|epoch| now < epoch.until) {
        let offers = if used == Some(epoch.epoch) { "; new offers name it" } else { "" };
        say!("escrow key  {} until {}{offers}", epoch.epoch, plain::time(epoch.until));
    }
    if used.is_none() {
        say!("escrow key  none: offers of signatures need one; `fairx pin refresh` asks the arbiter");
    }
}

/// An arbiter's terms are a few sentences; what is longer does not push our own words off the screen.
const TERMS_LINES: usize = 40;

/// The arbiter that the user means, and what it says about its terms if it was asked itself.
async fn find_arbiter(text: &str, ca: Option<&Path>) -> Result<(ArbiterPin, Option<String>), Failure> {
    if !text.starts_with("http://") && !text.starts_with("https://") {
        return Ok((ArbiterPin::line_or_file(text)?, None));
    }
    ask_arbiter(text, ca).await
}

async fn ask_arbiter(text: &str, ca: Option<&Path>) -> Result<(ArbiterPin, Option<String>), Failure> {
    let ca = ca
        .map(std::fs::read)
        .transpose()
        .map_err(|error| Failure::usage(format!("--arbiter-ca: {error}")))?;
    let info = match GrpcArbiter::new(text, ca)?.info().await {
        Ok(info) => info,
        Err(PortError::Unavailable { message, .. }) => {
            return Err(Failure::later(format!(
                "no arbiter answers at {text} ({message}); nothing was made"
            ))
            .next(
                "start the arbiter there, or correct the URL, and run `fairx init` again, or what you ran",
            ));
        }
        Err(other) => {
            return Err(Failure::bad(format!(
                "what answers at {text} is no arbiter that fairx knows: {other}"
            ))
            .next("nothing was made; ask the arbiter's operator for its URL"));
        }
    };
    let pin = ArbiterPin::new(info.identity, text)?.with_deposit_bytes(info.deposit_bytes);
    let pin = pin.with_money(info.hold_allowance, info.ledgers);
    let (pin, _) = pin.with_epochs(info.escrow_epochs)?;
    Ok((pin, Some(info.terms).filter(|terms| !terms.is_empty())))
}

fn private_folder(folder: &Path) -> Result<(), Failure> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| Failure::file(folder, &error))
}

fn seed() -> Result<Zeroizing<[u8; 32]>, Failure> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut_slice()).map_err(|error| Failure::bad(format!("no randomness: {error}")))?;
    Ok(seed)
}
