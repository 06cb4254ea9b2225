//! What we give: checked before anybody is asked, signed only after the approval, in escrow before it is kept.
//!
//! ```text
//!  Give ──check──▶ module ──▶ Own { files, signature } ──approved──▶ sign ──▶ nonce is new (S29) ──▶ put into escrow ──▶ record
//!                                                                                money that is reserved: by the driver
//! ```
//!
//! Invariants
//! - A signature that was made elsewhere is verified against the item before anything else.
//! - A detached signature is a secret until it leaves: it is wiped when dropped, and has no `Debug`.
//! - Work with escrows takes milliseconds, so it is done on threads that may block.

use std::fmt;
use std::path::PathBuf;

use arbiter_protocol::error::Rejected;
use arbiter_protocol::escrow::NonceUse;
use arbiter_protocol::exchange::item::{Description, DetachedSignature, Item};
use arbiter_protocol::exchange::kind::detached::Place;
use arbiter_protocol::exchange::kind::package as frames;
use arbiter_protocol::exchange::kind::pledge::{Malformed, Pledge, Pledged};
use arbiter_protocol::exchange::selection::Role;
use arbiter_protocol::ids::AgreementId;
use arbiter_protocol::message::agreement::Offer;
use arbiter_protocol::message::payment::PaymentReceipt;
use arbiter_protocol::statement::Verified;
use zeroize::Zeroizing;

use crate::client::Client;
use crate::error::{Error, ModuleFault, Usage};
use crate::module::ModuleError;
use crate::{package, random};

/// What we give, beside our word.
#[derive(Clone, PartialEq, Eq)]
pub enum Give {
    /// Nothing from outside: our item is what a module of this client gives (see [`crate::module`]), a signature by one of
    /// its keys or a payment from one of its purses.
    Nothing,
    /// The file at this path: our item is that file.
    File(PathBuf),
    /// The files at these paths, in any order: our item is a package of them.
    Files(Vec<PathBuf>),
    /// A finished signature over [`Statement::document`], made elsewhere: our item is that detached signature.
    ///
    /// [`Statement::document`]: arbiter_protocol::exchange::item::Statement::document
    Signature(Zeroizing<Vec<u8>>),
    /// The same for each detached signature of a package, in the order of its leaves.
    Signatures(Vec<Zeroizing<Vec<u8>>>),
}

/// Never shows the signature.
impl fmt::Debug for Give {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("Nothing"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Files(paths) => f.debug_tuple("Files").field(paths).finish(),
            Self::Signature(bytes) => write!(f, "Signature({} bytes)", bytes.len()),
            Self::Signatures(all) => write!(f, "Signatures({})", all.len()),
        }
    }
}

const PAID: Usage =
    Usage::Content("the item to give is a payment: it is made from a purse, there is nothing else to give");

impl Give {
    /// Whether it is what the item says, as far as that shows without reading a file.
    fn check(&self, item: &Item) -> Result<(), Usage> {
        let leaves = item.description.detached_leaves();
        match (&item.description, self) {
            (it, Self::Nothing) if !it.payments().is_empty() => Ok(()),
            (it, _) if !it.payments().is_empty() => Err(PAID),
            (Description::Package(_), Self::Nothing) if !leaves.is_empty() => Ok(()),
            (Description::Package(_), Self::Signatures(all)) if leaves.len() == all.len() => {
                let mut both = leaves.into_iter().zip(all);
                if both.all(|(it, bytes)| is_signed(it, bytes)) { Ok(()) } else { Err(Usage::SignatureUnfit) }
            }
            (Description::Package(_), _) if !leaves.is_empty() => Err(ALL_SIGNATURES),
            (_, Self::Signatures(_)) => Err(Usage::Content(
                "several signatures are given, and the item to give is no package of detached signatures",
            )),
            (Description::Package(_), Self::Nothing) if item.description.is_content() => Err(ALL_FILES),
            (Description::Information(_), Self::File(_)) | (_, Self::Nothing) => Ok(()),
            (Description::Nothing, _) => Err(Usage::Content("nothing is to be given: leave it out")),
            (Description::Package(_), Self::Files(paths)) if item.description.is_content() => {
                if paths.len() == item.leaves().len() { Ok(()) } else { Err(ALL_FILES) }
            }
            (Description::Package(_), _) if item.description.is_content() => Err(ALL_FILES),
            (Description::Package(_), _) => Err(Usage::Content(
                "the item to give is a package of signatures that this program makes: there is nothing else to give",
            )),
            (_, Self::Files(_)) => {
                Err(Usage::Content("several files are given, and the item to give is no package of files"))
            }
            (Description::Payment(_), _) => Err(PAID),
            (Description::Information(_), _) => Err(NO_FILE),
            (Description::Signature(_), Self::File(_)) => {
                Err(Usage::Content("the item to give is a signature: there is no file to send"))
            }
            (Description::Signature(_), Self::Signature(_)) => Err(Usage::Content(
                "the item to give is the signed statement of transfer itself: a signature made elsewhere needs an item \
                 of the kind detached signature",
            )),
            (Description::DetachedSignature(_), Self::File(_)) => Err(Usage::Content(
                "the item to give is a detached signature: give the signature, not a file",
            )),
            (Description::DetachedSignature(it), Self::Signature(bytes)) => {
                if is_signed(it, bytes) {
                    Ok(())
                } else {
                    Err(Usage::SignatureUnfit)
                }
            }
        }
    }
}

/// Our side of what is exchanged, as the journal keeps it. It has no `Debug`: the signature is a secret.
#[derive(Clone, Default)]
pub(crate) struct Own {
    /// The file that we give; of a package each, in the order of its leaves.
    pub files: Vec<PathBuf>,
    /// The detached signature that we give; of a package all of them, as its content (R-320).
    pub signature: Option<Zeroizing<Vec<u8>>>,
    /// The same in escrow, or the ledger's word that our payment is reserved.
    pub pledge: Option<Pledge>,
    /// Whether an order of our payment may have left.
    pub ordered: bool,
    /// The ledger's receipt for our payment, once it took effect.
    pub receipts: Vec<Verified<PaymentReceipt>>,
}

impl Client {
    /// Refuses what does not fit the item, or what no module of ours gives, before anything else is done with it.
    pub(crate) fn check_give(&self, item: &Item, give: &Give) -> Result<(), Usage> {
        give.check(item)?;
        match (&item.description, give) {
            (Description::Information(_), Give::Nothing) if !self.0.managers.brings() => Err(NO_FILE),
            (it, Give::Nothing) if !it.detached_leaves().is_empty() => {
                self.0.managers.check_given(item).map_err(|_| Usage::SignatureNeeded)
            }
            _ => Ok(()),
        }
    }

    /// R-713: what we give is within the limits of a module that gives it, what we get of one that takes it. A signature
    /// that was made elsewhere needs no module.
    pub(crate) fn check_modules(&self, offer: &Offer, role: Role, give: &Give) -> Result<(), ModuleFault> {
        if !matches!(give, Give::Signature(_) | Give::Signatures(_)) {
            self.0.managers.check_given(offer.item(role))?;
        }
        self.0.managers.check_taken(offer.item(role.peer()))
    }

    /// Whether the module that gives a payment or a signature of ours is ready to. A file is brought at once instead.
    pub(crate) async fn prepare(&self, item: &Item, give: &Give) -> Result<(), Error> {
        for leaf in item.leaves() {
            match (&leaf.description, give) {
                (Description::Information(_) | Description::Nothing, _)
                | (_, Give::Signature(_) | Give::Signatures(_)) => {}
                _ => self.0.managers.prepare(leaf, None).await.map(|_| ())?,
            }
        }
        Ok(())
    }

    /// What we give, checked against what the offer says. A detached signature by a key of ours is not made yet.
    pub(crate) async fn own(&self, item: &Item, give: Give) -> Result<Own, Error> {
        self.check_give(item, &give)?;
        match (&item.description, give) {
            (Description::Information(described), give) => {
                let source = if let Give::File(path) = &give { Some(path.as_path()) } else { None };
                let brought = self.0.managers.bring(item, described, source, &self.0.folder).await;
                match (brought, source) {
                    (Ok(path), _) => Ok(Own { files: vec![path], ..Own::default() }),
                    (Err(Error::Module { error: ModuleError::Refused { .. }, .. }), None) => {
                        Err(NO_FILE.into())
                    }
                    (Err(error), _) => Err(error),
                }
            }
            (Description::Package(agreed), Give::Files(paths)) => {
                Ok(Own { files: package::arrange(agreed, &paths).await?, ..Own::default() })
            }
            (_, Give::Signature(signature)) => self.made_elsewhere(item, &[signature]).await,
            (_, Give::Signatures(all)) => self.made_elsewhere(item, &all).await,
            _ => Ok(Own::default()),
        }
    }

    async fn made_elsewhere(&self, item: &Item, all: &[Zeroizing<Vec<u8>>]) -> Result<Own, Error> {
        let both = item.description.detached_leaves().into_iter().zip(all);
        let used: Vec<_> = both.filter_map(|(it, signature)| nonce_of(it, signature)).collect();
        if !self.0.journal.nonces_are_new(&used).await? {
            return Err(Usage::NonceReused.into());
        }
        Ok(Own { signature: Some(Zeroizing::new(frames::joined(&slices(all)))), ..Own::default() })
    }

    /// Makes the detached signatures that we owe, unless they were made elsewhere, and takes note of their nonces. Only after
    /// the approval.
    pub(crate) async fn sign(&self, item: &Item, own: Own) -> Result<Own, Error> {
        let leaves = item.leaves().into_iter();
        let leaves: Vec<_> = leaves.filter_map(|leaf| Some((leaf, leaf.description.detached()?))).collect();
        if leaves.is_empty() {
            return Ok(own);
        }
        let signature = match own.signature {
            Some(signature) => signature,
            None => {
                let mut all = Vec::with_capacity(leaves.len());
                for (leaf, it) in &leaves {
                    all.push(self.0.managers.sign(leaf, it).await?);
                }
                Zeroizing::new(frames::joined(&slices(&all)))
            }
        };
        let parts =
            frames::split(&signature, leaves.len()).ok_or(Error::Bug("a signature of ours is missing"))?;
        let both = || leaves.iter().map(|(_, it)| *it).zip(&parts);
        if !both().all(|(it, part)| is_signed(it, part)) {
            return Err(Error::Bug("a signature of ours does not verify"));
        }
        let used: Vec<_> = both().filter_map(|(it, part)| nonce_of(it, part)).collect();
        if !self.0.journal.observe_nonces(used).await? {
            return Err(Usage::NonceReused.into());
        }
        Ok(Own { signature: Some(signature), ..own })
    }

    /// Puts our signatures, if we give some, into escrow: the originator's for the offer alone, the responder's for an
    /// agreement.
    pub(crate) async fn put_into_escrow(
        &self,
        offer: &Verified<Offer>,
        agreement: Option<AgreementId>,
        own: Own,
    ) -> Result<Own, Error> {
        let role = if agreement.is_some() { Role::Responder } else { Role::Originator };
        let Some(signature) = own.signature.clone().filter(|_| offer.is_escrowed(role)) else {
            return Ok(own);
        };
        let leaves = offer.item(role).description.detached_leaves().len();
        let (offer, randomness) = (offer.clone(), random::secrets(leaves)?);
        let escrows = aside(move || {
            let (place, parts) = (place(&offer, agreement), frames::split(&signature, leaves)?);
            let each = parts.into_iter().zip(&randomness).enumerate();
            let put = |(leaf, (part, randomness))| place.put_leaf(leaf, part, randomness).ok();
            each.map(put).collect::<Option<Vec<_>>>()
        });
        let escrows = escrows.await?.ok_or(Error::Bug("a signature of ours cannot be put into escrow"))?;
        Ok(Own { pledge: Some(Pledge::Escrows(escrows)), ..own })
    }
}

/// Whether the signature is the one described: strictly valid by its key over its text.
fn is_signed(item: &DetachedSignature, signature: &[u8]) -> bool {
    item.key.verify(item.statement.document().as_bytes(), signature)
}

fn slices(all: &[Zeroizing<Vec<u8>>]) -> Vec<&[u8]> {
    all.iter().map(|it| it.as_slice()).collect()
}

const NO_FILE: Usage = Usage::Content("the item to give is a file: name it");
const ALL_FILES: Usage =
    Usage::Content("the item to give is a package of files: name every one of them, and no other");
const ALL_SIGNATURES: Usage = Usage::Content(
    "the item to give is a package of detached signatures: give every one of them in its order, or let a key of this program \
     make them",
);

/// Which nonces the signatures in the peer's escrows use.
pub(crate) fn nonces(pledge: Option<&Pledged>) -> Vec<NonceUse> {
    let verified = pledge.map_or(&[][..], Pledged::verified);
    verified.iter().filter_map(|it| it.nonce_use().cloned()).collect()
}

/// Which nonce a valid signature uses.
fn nonce_of(item: &DetachedSignature, signature: &[u8]) -> Option<NonceUse> {
    let document = item.statement.document();
    let statement = item.key.statement(document.as_bytes()).ok()?;
    NonceUse::of(signature, &statement)
}

/// R-310: reads and fully checks the peer's pledge.
pub(crate) async fn check_pledge(
    offer: &Verified<Offer>,
    agreement: Option<AgreementId>,
    bytes: Vec<u8>,
) -> Result<Result<Pledged, Rejected>, Error> {
    let offer = offer.clone();
    aside(move || {
        let role = if agreement.is_some() { Role::Responder } else { Role::Originator };
        let pledge = Pledge::from_bytes(&bytes).map_err(|malformed: Malformed| malformed.of(role))?;
        place(&offer, agreement).check(pledge)
    })
    .await
}

/// Without an agreement it is the originator's signature.
const fn place(offer: &Verified<Offer>, agreement: Option<AgreementId>) -> Place<'_> {
    match agreement {
        None => Place::originator(offer),
        Some(id) => Place::responder(offer, id),
    }
}

/// On a thread that may block.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::Bug("the thread for escrows stopped"))
}
