//! Which arbiter a party trusts, as a file and as a single line of text.
//!
//! ```text
//!  ~/.fairx/arbiter         lines                             ◀─▶ ArbiterPin
//!  fairx-arbiter:v1:...     keys, log, rules │ URL, largest deposit
//!                           proven           │ the operator's word: only ways to use it
//!  fairx-ledgers:v2:...     how long holds must last, which ledgers it reaches, and what it can do there: its operator's word;
//!                           at most one line (v1, from before: it can do everything there)
//!  fairx-escrow:v1:...      an escrow key for one epoch, signed by the arbiter; any number of lines, ascending
//! ```
//!
//! Invariants
//! - A line has exactly one form: what parses prints as the same bytes.
//! - An escrow key is kept only if the pinned key signed it, and it never changes: another key for the same epoch is
//!   the arbiter's fault and is said so.

use std::fmt;
use std::io::Read as _;
use std::path::Path;
use std::str::FromStr;

use arbiter_protocol::crypto;
use arbiter_protocol::error::{Invalid, Rejected};
use arbiter_protocol::evidence::checkpoint::Origin;
use arbiter_protocol::exchange::item::check_line;
use arbiter_protocol::ids::PublicKey;
use arbiter_protocol::limits;
use arbiter_protocol::message::agreement::ArbiterIdentity;
use arbiter_protocol::message::escrow_epoch::EscrowEpoch;
use arbiter_protocol::message::succession::SignedSuccession;
use arbiter_protocol::ruling::sequencer::genesis_token;
use arbiter_protocol::statement::{Envelope, Signed, Verified};
use arbiter_protocol::time::{DurationMillis, UnixMillis};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::fingerprint::Fingerprint;
use crate::identity::{IdentityError, cut_off, decode, write_new};
use crate::ledger::Powers;
use crate::{durable, plain};

/// Where an arbiter is found that was started on this computer without any settings.
pub const DEFAULT_URL: &str = "http://127.0.0.1:7373";

/// An arbiter that a party decided to trust: its identity, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArbiterPin {
    /// Keys, log and rules: what agreements name.
    pub identity: ArbiterIdentity,
    /// Where to reach it, e.g. [`DEFAULT_URL`]. Only a way to reach the keys above, so it needs no proof.
    pub url: String,
    /// Largest deposit that it takes in bytes, if it says so. Its operator's word, as the URL is.
    pub deposit_bytes: Option<u64>,
    /// What it says about money, if it says so. Its operator's word, as the URL is.
    pub money: Option<MoneyWord>,
    epochs: Vec<Verified<EscrowEpoch>>,
}

/// What an arbiter says about ledgers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MoneyWord {
    /// A hold must outlast its last decision by this much (R5).
    pub hold_allowance: DurationMillis,
    /// The ledgers that it reaches.
    pub ledgers: Vec<Powers>,
}

impl ArbiterPin {
    /// Makes a pin; the fields must be such as an offer may hold.
    pub fn new(identity: ArbiterIdentity, url: &str) -> Result<Self, IdentityError> {
        let what = "an arbiter";
        let field = |source| IdentityError::Field { what, source };
        crypto::check_key(&identity.key, "key").map_err(field)?;
        crypto::check_key(&identity.log_key, "log_key").map_err(field)?;
        check_line(&identity.rules, limits::NAME_BYTES, "rules").map_err(field)?;
        check_line(url, limits::NAME_BYTES, "url").map_err(field)?;
        if identity.rules.is_empty() {
            return Err(field(Invalid::FieldMissing { field: "rules" }));
        }
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(field(Invalid::FieldValue { field: "url" }));
        }
        Ok(Self { identity, url: url.to_owned(), deposit_bytes: None, money: None, epochs: Vec::new() })
    }

    /// With the largest deposit that the arbiter takes; 0 if it does not say.
    #[must_use]
    pub fn with_deposit_bytes(self, bytes: u64) -> Self {
        Self { deposit_bytes: (bytes > 0).then_some(bytes.min(limits::ITEM_BYTES)), ..self }
    }

    /// With what the arbiter says about money; nothing if it reaches no ledger.
    #[must_use]
    pub fn with_money(self, hold_allowance: DurationMillis, ledgers: Vec<Powers>) -> Self {
        let ledgers: Vec<_> = ledgers.into_iter().take(LEDGERS).collect();
        Self { money: (!ledgers.is_empty()).then_some(MoneyWord { hold_allowance, ledgers }), ..self }
    }

    /// With more of the arbiter's escrow keys. Those known stay as they are; how many are new is said.
    ///
    /// Refuses a key that another arbiter signed, and one that contradicts a known key of the same epoch.
    pub fn with_epochs(
        mut self,
        epochs: impl IntoIterator<Item = Verified<EscrowEpoch>>,
    ) -> Result<(Self, usize), IdentityError> {
        let mut new = 0usize;
        for epoch in epochs {
            if epoch.signer() != self.identity.key {
                return Err(IdentityError::Malformed {
                    what: "an escrow key",
                    why: "it is not signed by the pinned arbiter",
                });
            }
            match self.epochs.binary_search_by_key(&epoch.epoch, |known| known.epoch) {
                Ok(place) if self.epochs.get(place).is_some_and(|known| **known == *epoch) => {}
                Ok(_) => {
                    return Err(IdentityError::Malformed {
                        what: "an escrow key",
                        why: "the arbiter signed two different keys for the same epoch: do not use it any more, and \
                              keep this pin file as proof",
                    });
                }
                Err(place) => {
                    self.epochs.insert(place, epoch);
                    new = new.saturating_add(1);
                }
            }
        }
        // Old ones are in the offers that name them; the pin needs the newest.
        let old = self.epochs.len().saturating_sub(EPOCHS);
        self.epochs.drain(..old);
        Ok((self, new))
    }

    /// The escrow keys that are pinned, by ascending epoch.
    pub fn epochs(&self) -> &[Verified<EscrowEpoch>] {
        &self.epochs
    }

    /// The escrow key that a new offer names: the newest that has begun and is not over.
    pub fn epoch_at(&self, now: UnixMillis) -> Option<&Verified<EscrowEpoch>> {
        self.epochs.iter().rev().find(|epoch| epoch.from <= now && now < epoch.until)
    }

    /// The pin of the arbiter that goes on for this one (R-537), from the line `fairx-succession:v1:…` that both print. Nothing
    /// else has to be believed: the pinned key and the new one have signed it. `url` is where the new one is.
    pub fn successor(&self, line: &str, url: &str) -> Result<Self, IdentityError> {
        let what = "a succession";
        let malformed = |why| IdentityError::Malformed { what, why };
        let rest = line.strip_prefix(SUCCESSION_PREFIX).ok_or(malformed("it does not begin as one"))?;
        let (by_old, by_new) = rest.split_once('.').ok_or(malformed("it does not hold two statements"))?;
        let envelope = |text: &str| {
            if text.len() > limits::ENVELOPE_BYTES.saturating_mul(2) {
                return Err(malformed("it is too long"));
            }
            let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| malformed("it was cut off or altered"))?;
            Envelope::decode(&bytes).map_err(|source| IdentityError::Field { what, source })
        };
        let signed = SignedSuccession::after(&self.identity, envelope(by_old)?, envelope(by_new)?);
        let signed = signed.map_err(|rejected| match rejected {
            Rejected::Invalid(source) => IdentityError::Field { what, source },
            Rejected::Refused(_) => malformed("it is of another arbiter than the pinned one"),
        })?;
        Self::new(signed.statement().to.clone(), url)
    }

    /// What to compare with the operator by another channel. The same hash is in leaf 0 of its log (R-502).
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(genesis_token(&self.identity).as_bytes())
    }

    /// Reads a pin file: one arbiter, then its escrow keys; comments allowed.
    pub fn load(path: &Path) -> Result<Self, IdentityError> {
        let malformed = |why| IdentityError::Malformed { what: "the arbiter file", why };
        let io = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::NotFound => IdentityError::Missing(path.to_owned()),
            std::io::ErrorKind::InvalidData => malformed("it is not text"),
            _ => IdentityError::Io { path: path.to_owned(), source },
        };
        let mut text = String::new();
        let limit = u64::try_from(FILE_BYTES).unwrap_or(u64::MAX).saturating_add(1);
        std::fs::File::open(path).map_err(io)?.take(limit).read_to_string(&mut text).map_err(io)?;
        if text.len() > FILE_BYTES {
            return Err(malformed("it is too long"));
        }
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let pin: Self = lines.next().ok_or(malformed("it holds no fairx-arbiter line"))?.parse()?;
        let (mut epochs, mut money) = (Vec::new(), None);
        for line in lines {
            let ledgers = [LEDGERS_PREFIX, EARLIER_LEDGERS_PREFIX];
            if ledgers.iter().any(|prefix| line.starts_with(prefix)) && money.is_none() {
                money = Some(money_from_line(line)?);
                continue;
            }
            if line.starts_with(ARBITER_PREFIX) {
                return Err(malformed("it must hold exactly one fairx-arbiter line"));
            }
            epochs.push(epoch_from_line(line, &pin.identity)?);
        }
        let count = epochs.len();
        let ascending = epochs.windows(2).all(|pair| matches!(pair, [a, b] if a.epoch < b.epoch));
        if count > EPOCHS || !ascending {
            return Err(malformed("its escrow keys are too many or out of order"));
        }
        Ok(Self { money, ..pin }.with_epochs(epochs)?.0)
    }

    /// Reads `text` as a line if it looks like one, and else as the name of a pin file.
    pub fn line_or_file(text: &str) -> Result<Self, IdentityError> {
        if text.starts_with(ARBITER_PREFIX) { text.parse() } else { Self::load(Path::new(text)) }
    }

    /// Writes the pin to a new file.
    pub fn create(&self, path: &Path) -> Result<(), IdentityError> {
        write_new(path, self.file().as_bytes(), 0o644)
    }

    /// Writes the pin over a file of the same arbiter: after a crash there is the old file or the new one.
    pub fn replace(&self, path: &Path) -> Result<(), IdentityError> {
        if Self::load(path)?.identity != self.identity {
            return Err(IdentityError::Exists(path.to_owned()));
        }
        let io = |source| IdentityError::Io { path: path.to_owned(), source };
        durable::replace(path, self.file().as_bytes(), 0o644).map_err(io)
    }

    fn file(&self) -> String {
        let mut text = format!(
            "# The arbiter that this party trusts. Fingerprint: {}\n# At {}\n{self}\n",
            self.fingerprint(),
            self.url
        );
        if let Some(money) = &self.money {
            text.push_str(&format!(
                "# It reaches {} ledgers; a hold must last {} longer than it decides\n{}\n",
                money.ledgers.len(),
                plain::span(money.hold_allowance),
                money_line(money)
            ));
        }
        for epoch in &self.epochs {
            text.push_str(&format!(
                "# Escrow key {}: the arbiter can open until {}\n{}\n",
                epoch.epoch,
                epoch.until,
                epoch_line(epoch)
            ));
        }
        text
    }
}

/// What an arbiter says about money, as a line.
fn money_line(money: &MoneyWord) -> String {
    let mut bytes = money.hold_allowance.0.to_be_bytes().to_vec();
    for powers in &money.ledgers {
        bytes.extend_from_slice(powers.ledger.as_bytes());
        bytes.push(flags(*powers));
    }
    format!("{LEDGERS_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
}

fn flags(powers: Powers) -> u8 {
    u8::from(powers.revokes) | u8::from(powers.generates) << 1
}

fn money_from_line(line: &str) -> Result<MoneyWord, IdentityError> {
    let what = "a fairx-ledgers line";
    let field = |source| IdentityError::Field { what, source };
    let whole = |bytes: &[u8]| PublicKey::parse(bytes, "ledger").map(Powers::all).map_err(field);
    let powers = |bytes: &[u8]| {
        let (known, key) = bytes.split_last().ok_or(cut_off(what))?;
        let (revokes, generates) = (known & 1 != 0, known & 2 != 0);
        let powers = Powers { revokes, generates, ..whole(key)? };
        if flags(powers) == *known { Ok(powers) } else { Err(field(Invalid::FieldValue { field: "ledger" })) }
    };
    let earlier = line.starts_with(EARLIER_LEDGERS_PREFIX);
    let bytes = decode(line, if earlier { EARLIER_LEDGERS_PREFIX } else { LEDGERS_PREFIX }, what)?;
    let (allowance, keys) = bytes.split_first_chunk::<8>().ok_or(cut_off(what))?;
    let ledgers: Result<Vec<_>, _> =
        if earlier { keys.chunks(32).map(whole).collect() } else { keys.chunks(33).map(powers).collect() };
    let ledgers = ledgers?;
    if ledgers.is_empty() || ledgers.len() > LEDGERS {
        return Err(cut_off(what));
    }
    Ok(MoneyWord { hold_allowance: DurationMillis(u64::from_be_bytes(*allowance)), ledgers })
}

/// One escrow key as a line.
fn epoch_line(epoch: &Verified<EscrowEpoch>) -> String {
    format!("{EPOCH_PREFIX}{}", URL_SAFE_NO_PAD.encode(epoch.envelope().encode()))
}

fn epoch_from_line(line: &str, arbiter: &ArbiterIdentity) -> Result<Verified<EscrowEpoch>, IdentityError> {
    let what = "a fairx-escrow line";
    let field = |source| IdentityError::Field { what, source };
    let envelope = Envelope::decode(&decode(line, EPOCH_PREFIX, what)?).map_err(field)?;
    Signed::<EscrowEpoch>::parse(envelope).and_then(|signed| signed.verify(&arbiter.key)).map_err(field)
}

impl fmt::Display for ArbiterPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arbiter = &self.identity;
        let mut text = format!("{}\n{}\n{}", arbiter.log_origin, arbiter.rules, self.url);
        if let Some(bytes) = self.deposit_bytes {
            text.push_str(&format!("\n{bytes}"));
        }
        let bytes = [arbiter.key.as_bytes(), arbiter.log_key.as_bytes(), text.as_bytes()].concat();
        write!(f, "{ARBITER_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for ArbiterPin {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let what = "a fairx-arbiter line";
        let bytes = decode(text, ARBITER_PREFIX, what)?;
        let (key, rest) = bytes.split_at_checked(32).ok_or(cut_off(what))?;
        let (log_key, text) = rest.split_at_checked(32).ok_or(cut_off(what))?;
        let field = |field| IdentityError::Field { what, source: Invalid::FieldValue { field } };
        let text = std::str::from_utf8(text).map_err(|_| field("text"))?;
        let lines: Vec<_> = text.split('\n').collect();
        let (origin, rules, url, deposit) = match lines.as_slice() {
            [origin, rules, url] => (origin, rules, url, None),
            [origin, rules, url, deposit] => (origin, rules, url, Some(*deposit)),
            _ => return Err(cut_off(what)),
        };
        let parse = |bytes, name| PublicKey::parse(bytes, name).map_err(|_| field(name));
        let identity = ArbiterIdentity {
            key: parse(key, "key")?,
            log_key: parse(log_key, "log_key")?,
            log_origin: Origin::parse(origin).map_err(|_| field("log_origin"))?,
            rules: (*rules).to_owned(),
        };
        let pin = Self::new(identity, url)?;
        let Some(text) = deposit else { return Ok(pin) };
        let pin = pin.with_deposit_bytes(text.parse().unwrap_or(0));
        // One form only: no sign, no leading zero, nothing larger than any file.
        let same = pin.deposit_bytes.is_some_and(|bytes| bytes.to_string() == text);
        if same { Ok(pin) } else { Err(field("deposit_bytes")) }
    }
}

const ARBITER_PREFIX: &str = "fairx-arbiter:v1:";
/// How the line of a succession begins.
const SUCCESSION_PREFIX: &str = "fairx-succession:v1:";
const EPOCH_PREFIX: &str = "fairx-escrow:v1:";
const LEDGERS_PREFIX: &str = "fairx-ledgers:v2:";
const EARLIER_LEDGERS_PREFIX: &str = "fairx-ledgers:v1:";
/// Most ledgers in a pin: so many fit a line.
const LEDGERS: usize = 40;
/// Most escrow keys in a pin: of many, the newest.
const EPOCHS: usize = 32;
/// Larger than any file written here.
const FILE_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use arbiter_protocol::crypto::{MemorySigner, Signer as _};
    use arbiter_protocol::escrow::EscrowSecret;
    use zeroize::Zeroizing;

    use super::*;

    fn pin() -> ArbiterPin {
        let key = |byte| MemorySigner::from_seed(&Zeroizing::new([byte; 32])).public_key();
        let identity = ArbiterIdentity {
            key: key(3),
            log_key: key(4),
            log_origin: Origin::parse("arbiter.example/evidence").unwrap(),
            rules: "arbiter/rules/v1".into(),
        };
        ArbiterPin::new(identity, DEFAULT_URL).unwrap()
    }

    #[test]
    fn lines_have_one_form() {
        for pin in [pin(), pin().with_deposit_bytes(1), pin().with_deposit_bytes(u64::MAX)] {
            assert_eq!(pin.to_string().parse::<ArbiterPin>().unwrap(), pin);
            assert_eq!(pin.fingerprint(), self::pin().fingerprint(), "the keys, not the way to them");
        }
        assert_eq!(pin().with_deposit_bytes(0), pin());
        assert_eq!(pin().with_deposit_bytes(u64::MAX).deposit_bytes, Some(limits::ITEM_BYTES));
        assert!(pin().to_string()[..100].parse::<ArbiterPin>().is_err());
        assert!(pin().to_string().replace("fairx-arbiter", "fairx-id").parse::<ArbiterPin>().is_err());
        let bytes = URL_SAFE_NO_PAD.decode(pin().to_string().strip_prefix(ARBITER_PREFIX).unwrap()).unwrap();
        for (more, good) in
            [("7", true), ("", false), ("07", false), ("+7", false), ("x", false), ("7\n7", false)]
        {
            let text = format!("\n{more}");
            let line = URL_SAFE_NO_PAD.encode([&bytes[..], text.as_bytes()].concat());
            assert_eq!(format!("{ARBITER_PREFIX}{line}").parse::<ArbiterPin>().is_ok(), good, "{more:?}");
        }
    }

    fn epoch(signer: u8, epoch: u64, seed: u8) -> Verified<EscrowEpoch> {
        let signer = MemorySigner::from_seed(&Zeroizing::new([signer; 32]));
        let secret =
            EscrowSecret::from_seed(&Zeroizing::new([seed; 32]), *signer.public_key().as_bytes(), epoch);
        let key = *secret.unwrap().public().as_bytes();
        let (from, until) = (UnixMillis(epoch * 1000), UnixMillis(epoch * 1000 + 5000));
        Verified::sign(EscrowEpoch { epoch, key, from, until }, &signer)
    }

    /// Issue 3, 5: keys are kept if the pinned arbiter signed them, newer ones are added, none ever changes.
    #[test]
    fn escrow_keys_are_kept_with_the_pin_and_never_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("arbiter");
        pin().create(&path).unwrap();
        let old = std::fs::read_to_string(&path).unwrap();
        assert!(!old.contains(EPOCH_PREFIX) && ArbiterPin::load(&path).unwrap().epochs().is_empty());

        let (one, new) = pin().with_epochs([epoch(3, 2, 7), epoch(3, 1, 7)]).unwrap();
        assert_eq!((one.epochs().len(), new), (2, 2));
        one.replace(&path).unwrap();
        assert_eq!(ArbiterPin::load(&path).unwrap(), one);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no part is left");
        let (two, new) =
            ArbiterPin::load(&path).unwrap().with_epochs([epoch(3, 2, 7), epoch(3, 3, 7)]).unwrap();
        assert_eq!((two.epochs().len(), new), (3, 1));

        let at = |time| two.epoch_at(UnixMillis(time)).map(|it| it.epoch);
        assert_eq!(
            [at(999), at(1000), at(2000), at(3500), at(7999), at(8000)],
            [None, Some(1), Some(2), Some(3), Some(3), None]
        );

        let foreign = two.clone().with_epochs([epoch(4, 4, 7)]).unwrap_err().to_string();
        assert!(foreign.contains("not signed by the pinned arbiter"), "{foreign}");
        let changed = two.clone().with_epochs([epoch(3, 2, 8)]).unwrap_err().to_string();
        assert!(changed.contains("two different keys"), "{changed}");
        let many = (10..100).map(|number| epoch(3, number, 7));
        let (many, _) = two.with_epochs(many).unwrap();
        assert_eq!((many.epochs().len(), many.epochs()[0].epoch), (EPOCHS, 68));
        many.replace(&path).unwrap();
        assert_eq!(ArbiterPin::load(&path).unwrap(), many);
        let other = ArbiterIdentity { rules: "arbiter/rules/v2".into(), ..pin().identity };
        let other = ArbiterPin::new(other, DEFAULT_URL).unwrap();
        assert!(matches!(other.replace(&path), Err(IdentityError::Exists(_))));

        let line = epoch_line(&epoch(3, 1, 7));
        for bad in [
            format!("{line}\n{line}"),
            epoch_line(&epoch(4, 1, 7)),
            line[..100].to_owned(),
            line.replace("fairx-escrow:v1", "fairx-escrow:v2"),
            "something else".to_owned(),
            format!("{}\n{line}", epoch_line(&epoch(3, 2, 7))),
        ] {
            std::fs::write(&path, format!("{}\n{bad}\n", pin())).unwrap();
            assert!(ArbiterPin::load(&path).is_err(), "{bad}");
        }
        for position in EPOCH_PREFIX.len()..line.len() {
            let mut altered = line.clone().into_bytes();
            altered[position] = if altered[position] == b'A' { b'B' } else { b'A' };
            std::fs::write(&path, [pin().to_string().as_bytes(), b"\n", &altered].concat()).unwrap();
            assert!(ArbiterPin::load(&path).is_err(), "position {position}");
        }
    }

    /// R5: what the arbiter says about money is kept with the pin, in one form.
    #[test]
    fn what_is_said_about_money_is_kept_with_the_pin() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("arbiter");
        let key = |byte| MemorySigner::from_seed(&Zeroizing::new([byte; 32])).public_key();
        assert_eq!(pin().with_money(DurationMillis(5), Vec::new()).money, None);
        let pin = pin().with_money(
            DurationMillis(90_000),
            vec![Powers::all(key(5)), Powers { generates: false, ..Powers::all(key(6)) }],
        );
        pin.create(&path).unwrap();
        assert_eq!(ArbiterPin::load(&path).unwrap(), pin);
        let line = money_line(pin.money.as_ref().unwrap());
        // A power that nobody knows; a power more would be another arbiter's word.
        let mut unknown = URL_SAFE_NO_PAD.decode(line.strip_prefix(LEDGERS_PREFIX).unwrap()).unwrap();
        *unknown.last_mut().unwrap() |= 4;
        let unknown = format!("{LEDGERS_PREFIX}{}", URL_SAFE_NO_PAD.encode(unknown));
        for bad in [format!("{line}\n{line}"), line[..30].to_owned(), format!("{line}AA"), unknown] {
            std::fs::write(&path, format!("{pin}\n{bad}\n")).unwrap();
            assert!(ArbiterPin::load(&path).is_err(), "{bad}");
        }
        // A line of before says nothing of powers.
        let keys = [&90_000u64.to_be_bytes()[..], key(5).as_bytes(), key(6).as_bytes()].concat();
        let earlier = format!("{EARLIER_LEDGERS_PREFIX}{}", URL_SAFE_NO_PAD.encode(keys));
        std::fs::write(&path, format!("{pin}\n{earlier}\n")).unwrap();
        let all = vec![Powers::all(key(5)), Powers::all(key(6))];
        assert_eq!(ArbiterPin::load(&path).unwrap(), pin.with_money(DurationMillis(90_000), all));
    }

    /// R-537: who pinned the old arbiter pins the new one by two signatures, and by nothing less.
    #[test]
    fn a_successor_is_pinned_by_proof() {
        use arbiter_protocol::message::succession::Succession;
        let key = |byte| MemorySigner::from_seed(&Zeroizing::new([byte; 32]));
        let identity = |byte: u8, origin: &str| ArbiterIdentity {
            key: key(byte).public_key(),
            log_key: key(byte + 1).public_key(),
            log_origin: Origin::parse(origin).unwrap(),
            rules: "arbiter/rules/v1".into(),
        };
        let (old, new) = (identity(1, "old.test/log"), identity(5, "new.test/log"));
        let statement = Succession { from: old.clone(), to: new.clone(), time: UnixMillis(7) };
        let sign =
            |by| URL_SAFE_NO_PAD.encode(Verified::sign(statement.clone(), &key(by)).envelope().encode());
        let line = format!("{SUCCESSION_PREFIX}{}.{}", sign(1), sign(5));
        let pinned = ArbiterPin::new(old, DEFAULT_URL).unwrap();
        assert_eq!(pinned.successor(&line, "https://new.test").unwrap().identity, new);
        let other = ArbiterPin::new(identity(9, "old.test/log"), DEFAULT_URL).unwrap();
        assert!(other.successor(&line, DEFAULT_URL).unwrap_err().to_string().contains("another arbiter"));
        for bad in [
            format!("{SUCCESSION_PREFIX}{}.{}", sign(1), sign(1)),
            format!("{SUCCESSION_PREFIX}{}.{}", sign(5), sign(1)),
            format!("{SUCCESSION_PREFIX}{}.{}", sign(1), sign(9)),
            format!("{SUCCESSION_PREFIX}{}", sign(1)),
            line.replace(":v1:", ":v2:"),
            line[..line.len() - 4].to_owned(),
        ] {
            assert!(pinned.successor(&bad, DEFAULT_URL).is_err(), "{bad}");
        }
        assert!(pinned.successor(&line, "new.test").is_err());
    }

    #[test]
    fn a_pin_file_holds_one_arbiter() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("arbiter");
        pin().create(&path).unwrap();
        assert_eq!(ArbiterPin::load(&path).unwrap(), pin());
        assert_eq!(ArbiterPin::line_or_file(&pin().to_string()).unwrap(), pin());
        assert!(matches!(pin().create(&path), Err(IdentityError::Exists(_))));
        std::fs::write(&path, format!("{0}\n{0}\n", pin())).unwrap();
        assert!(ArbiterPin::load(&path).is_err());
    }
}
