//! What both sides give and take, and what that leads to.
//!
//! ```text
//!  fairx capabilities ─▶ our list ─▶ the other party
//!  --peer-capabilities ─▶ their list ─┬─ offer: accounts, keys, formats that both lead to
//!                                     └─ accept: declined if the offer is another
//! ```

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use arbiter_client::OfferTerms;
use arbiter_client::module::{
    Capabilities, Capability, Demand, Detached, Means, Module, Pair, What, check_negotiated, negotiate,
};
use arbiter_client::protocol::exchange::item::Description;
use arbiter_client::protocol::exchange::property::Properties;
use arbiter_client::protocol::exchange::selection::Role;
use arbiter_client::protocol::ids::PublicKey;
use arbiter_client::protocol::message::agreement::Offer;
use arbiter_client::signing::{Algorithm, Certificate, PrivateKey};

use crate::args;
use crate::failure::Failure;
use crate::files;
use crate::home::Home;
use crate::party::Party;

/// `fairx capabilities`.
pub async fn run(home: &Home, options: &args::Capabilities) -> Result<u8, Failure> {
    let certificate = options.cert.as_deref().map(Certificate::read).transpose()?;
    let key = signer(options.key.as_deref(), options.algorithm, certificate.as_ref())?;
    let text = Party::capabilities(home, key).await?.to_json();
    match &options.out {
        Some(path) => files::write_new(path, text.as_bytes())?,
        None => {
            // A reader that closes the pipe early has seen enough.
            let _ = std::io::stdout().write_all(text.as_bytes());
        }
    }
    Ok(0)
}

/// The key of `--key` as a module.
fn signer(
    path: Option<&Path>,
    algorithm: Option<Algorithm>,
    certificate: Option<&Certificate>,
) -> Result<Option<Arc<dyn Module>>, Failure> {
    let Some(path) = path else { return Ok(None) };
    let key = PrivateKey::read(path, algorithm)?;
    if certificate.is_some_and(|it| !it.matches(key.public())) {
        return Err(Failure::usage("the certificate is of another key than the one that signs"));
    }
    Ok(Some(Arc::new(Detached::with_key("key", key, certificate))))
}

/// An offer that came is what our list and theirs, if there is one, lead to. `key`: what we sign with, as it was listed.
pub async fn check(
    home: &Home,
    offer: &Offer,
    theirs: Option<&Path>,
    key: Option<&Path>,
) -> Result<(), Failure> {
    let Some(theirs) = theirs else { return Ok(()) };
    let asked = offer.responder_item.description.detached_leaves();
    let asked = asked.first().map(|it| Algorithm::of(&it.key));
    let key = signer(key, asked, None)?;
    let both = Both::read(home, theirs, offer.originator.signing_key, key).await?;
    for role in Role::BOTH {
        let (giver, taker) = both.by_giver(role == Role::Responder);
        check_negotiated(offer.item(role), giver, taker).map_err(|error| {
            Failure::bad(format!("the offer is not what was negotiated: {error}")).next(
                "nothing was signed; exchange the lists of `fairx capabilities` again, both may have changed",
            )
        })?;
    }
    Ok(())
}

/// Both lists.
pub struct Both {
    ours: Capabilities,
    theirs: Capabilities,
}

impl Both {
    /// Ours as it is now, theirs from a file. `peer`: whose it must be.
    pub async fn read(
        home: &Home,
        path: &Path,
        peer: PublicKey,
        key: Option<Arc<dyn Module>>,
    ) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path).map_err(|error| Failure::file(path, &error))?;
        let theirs = Capabilities::parse(&text).map_err(|error| Failure::bad(error.to_string()))?;
        if theirs.party != peer {
            return Err(Failure::bad(format!("{}: this list is of another party", path.display()))
                .next("ask the other party for what its `fairx capabilities` prints"));
        }
        Ok(Self { ours: Party::capabilities(home, key).await?, theirs })
    }

    /// Ours first, if we give.
    const fn by_giver(&self, we_give: bool) -> (&Capabilities, &Capabilities) {
        if we_give { (&self.ours, &self.theirs) } else { (&self.theirs, &self.ours) }
    }

    /// What both lists lead to.
    pub fn choose(&self, we_give: bool, what: What, needs: Properties) -> Result<Pair<'_>, Failure> {
        let (giver, taker) = self.by_giver(we_give);
        negotiate(giver, taker, &Demand { what, needs }).map_err(|error| {
            Failure::bad(error.to_string()).next("nothing was signed; agree with the other party on a means")
        })
    }

    /// With the purses of ours left out that the user did not mean.
    #[must_use]
    pub fn only_account(&self, account: PublicKey) -> Self {
        let ours =
            |it: &&Capability| !matches!(it.means, Means::Payment { account: other, .. } if other != account);
        let modules = self.ours.modules.iter().filter(ours).cloned().collect();
        Self { ours: Capabilities { modules, ..self.ours.clone() }, theirs: self.theirs.clone() }
    }

    /// Whether the files of an offer of ours can be given and taken.
    pub fn check_files(&self, terms: &OfferTerms) -> Result<(), Failure> {
        for (we_give, item) in [(true, &terms.originator_item), (false, &terms.responder_item)] {
            if let Description::Information(it) = &item.description {
                let (size_bytes, media_type) = (it.size_bytes, it.media_type.clone());
                self.choose(we_give, What::Information { size_bytes, media_type }, item.properties.clone())?;
            }
        }
        Ok(())
    }
}
