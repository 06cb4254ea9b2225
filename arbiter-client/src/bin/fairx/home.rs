//! The home folder: who we are and whom we trust.
//!
//! ```text
//!  identity.toml   secret, 0600      journal and received/   the client's own
//!  arbiter         one pin line      evidence/               bundles
//! ```

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use arbiter_client::arbiter::PortError;
use arbiter_client::arbiter::grpc::GrpcArbiter;
use arbiter_client::identity::{ArbiterPin, IdentityError, KeyFile};
use arbiter_client::plain;
use zeroize::Zeroizing;

use crate::args::Init;
use crate::failure::Failure;
use crate::out::say;

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
        pin.create(&home.arbiter_path())?;
        say!("arbiter     {} at {}", pin.identity.log_origin, pin.url);
        say!("fingerprint {}", pin.fingerprint());
        if let Some(bytes) = pin.deposit_bytes {
            say!("deposits    files of at most {}", plain::size(bytes));
        }
        if let Some(terms) = terms {
            say!("its terms, in its own words:");
            plain::wrap(&terms, 100).iter().take(TERMS_LINES).for_each(|line| say!("  | {line}"));
        }
        say!(
            "Compare this fingerprint with the arbiter's operator by another channel before you rely on it."
        );
        say!("pin line, the same for both parties:\n{pin}");
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

/// An arbiter's terms are a few sentences; what is longer does not push our own words off the screen.
const TERMS_LINES: usize = 40;

/// The arbiter that the user means, and what it says about its terms if it was asked itself.
async fn find_arbiter(text: &str, ca: Option<&Path>) -> Result<(ArbiterPin, Option<String>), Failure> {
    if !text.starts_with("http://") && !text.starts_with("https://") {
        return Ok((ArbiterPin::line_or_file(text)?, None));
    }
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
            .next("start the arbiter there, or correct the URL, and run `fairx init` again"));
        }
        Err(other) => {
            return Err(Failure::bad(format!(
                "what answers at {text} is no arbiter that fairx knows: {other}"
            ))
            .next("nothing was made; ask the arbiter's operator for its URL"));
        }
    };
    let pin = ArbiterPin::new(info.identity, text)?.with_deposit_bytes(info.deposit_bytes);
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
