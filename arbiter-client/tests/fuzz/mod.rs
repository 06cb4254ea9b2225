//! Fuzz targets of the client: everything that it reads from files, from lines that people paste, and from its peer's
//! offer onto a screen. `fuzz/` looks for bytes that break one, `fuzz_corpus.rs` replays those that were kept.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::str::FromStr;

use arbiter_client::bundle::{BUNDLE_BYTES, Bundle};
use arbiter_client::charge::{CHARGE_BYTES, ChargeFile, Finding};
use arbiter_client::consent::Screen;
use arbiter_client::disclosure::Disclosure;
use arbiter_client::identity::{KeyFile, PublicIdentity};
use arbiter_client::module::{Capabilities, Demand, LIST_BYTES, LIST_MODULES, What, negotiate};
use arbiter_client::pin::ArbiterPin;
use arbiter_client::protocol::escrow::SignatureKey;
use arbiter_client::protocol::evidence::policy::Policy;
use arbiter_client::protocol::exchange::payment::{Amount, Currency};
use arbiter_client::protocol::exchange::property::Properties;
use arbiter_client::protocol::exchange::selection::Role;
use arbiter_client::protocol::message::agreement::{ArbiterIdentity, Offer};
use arbiter_client::protocol::statement::Payload;
use arbiter_client::protocol::time::UnixMillis;
use arbiter_client::purse::{AccountLine, Purse, PurseBook};
use arbiter_client::signing::{Algorithm, Certificate, PrivateKey, Public, public_der, public_pem};
use arbiter_client::testing::files;
use arbiter_client::timestamp::{Authorities, Token};
use arbiter_client::verify::{self, Report, Trust, Verifier};
use arbiter_client::{explain, plain};
use prost::Message as _;

/// Takes any bytes. True if they were accepted; panics if something is wrong with us.
pub type Target = fn(&[u8]) -> bool;

/// All targets by name; each has a folder in `fuzz/corpus`.
pub const ALL: [(&str, Target); 18] = [
    ("account-line", account_line),
    ("bundle", bundle),
    ("capabilities", capabilities),
    ("certificate", certificate),
    ("charge", charge),
    ("disclosure", disclosure),
    ("fairx-arbiter", fairx_arbiter),
    ("fairx-id", fairx_id),
    ("identity-file", identity_file),
    ("journal-exchange", journal_exchange),
    ("journal-misbehaviour", journal_misbehaviour),
    ("offer-shown", offer_shown),
    ("openings", openings),
    ("pin-file", pin_file),
    ("private-key", private_key),
    ("public-key", public_key),
    ("purses-file", purses_file),
    ("timestamp", timestamp),
];

/// An evidence bundle: what is read is written again, and any of it can be verified and explained.
fn bundle(bytes: &[u8]) -> bool {
    let Ok(bundle) = Bundle::parse(bytes) else { return false };
    assert!(bytes.len() <= BUNDLE_BYTES);
    let written = bundle.to_json();
    assert_eq!(Bundle::parse(&written).as_ref().ok(), Some(&bundle), "a bundle survives the round trip");
    let report = reported(|verifier| verifier.verify(&bundle));
    assert!(!report.good || report.outcome == Some(bundle.outcome));
    explain::summary(&bundle).iter().for_each(|line| shown(line));
    report.good
}

/// A list of capabilities: it has one form, can be negotiated with, and is told without harm.
fn capabilities(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Ok(list) = Capabilities::parse(text) else { return false };
    assert!(bytes.len() <= LIST_BYTES && list.modules.len() <= LIST_MODULES);
    assert_eq!(
        Capabilities::parse(&list.to_json()).as_ref().ok(),
        Some(&list),
        "a list survives the round trip"
    );
    let euro = Currency::new("EUR", 2).unwrap();
    for what in [
        What::Payment(Amount::new(900, euro).unwrap()),
        What::Signature(None),
        What::Information { size_bytes: 1_000, media_type: "text/plain".to_owned() },
    ] {
        let demand = Demand { what, needs: Properties::default() };
        match negotiate(&list, &list, &demand) {
            Ok(pair) => assert!(pair.giver.gives && pair.taker.takes && pair.giver.meets(&demand).is_ok()),
            Err(none) => shown(&none.to_string()),
        }
    }
    list.modules.iter().for_each(|it| shown(&it.to_string()));
    !list.modules.is_empty()
}

/// Some fields of a record: the same.
fn disclosure(bytes: &[u8]) -> bool {
    let Ok(disclosure) = Disclosure::parse(bytes) else { return false };
    assert!(bytes.len() <= BUNDLE_BYTES);
    assert_eq!(Disclosure::parse(&disclosure.to_json()).as_ref().ok(), Some(&disclosure));
    reported(|verifier| verifier.disclosed(&disclosure)).good
}

/// What a verifier says that trusts nobody outside; one that names a policy and authorities never finds more good.
fn reported(judge: impl Fn(Verifier<'_>) -> Report) -> Report {
    let report = judge(Verifier::new(Trust::BundleOnly));
    assert!(!report.arbiter_pinned);
    assert_eq!(report.good, report.finding == verify::Finding::Good);
    let lines = report.checks.iter().map(|it| &it.detail).chain(&report.proves).chain(&report.does_not_prove);
    lines.for_each(|line| shown(line));
    let policy = Policy::parse(POLICY).unwrap();
    let trusted = Authorities::parse(AUTHORITY.as_bytes()).unwrap();
    let verifier =
        Verifier { policy: Some(&policy), authorities: Some(&trusted), ..Verifier::new(Trust::BundleOnly) };
    let strict = judge(verifier);
    assert!(!strict.good || report.good);
    report
}

/// A token that an authority made over this text; what verifies says nothing but what was signed.
fn timestamp(der: &[u8]) -> bool {
    let trusted = Authorities::parse(AUTHORITY.as_bytes()).unwrap();
    let Ok(token) = Token::parse(der) else { return false };
    let Ok(said) = token.verify(STAMPED.as_bytes(), &trusted) else { return false };
    assert!(token.is_over(STAMPED.as_bytes()) && !token.is_over(b"another text"));
    assert_eq!((said.time, said.authority.as_str()), (token.claimed_time(), "CN=tsa"));
    true
}

/// The text under the token in the corpus.
const STAMPED: &str = "arbiter.example/evidence\n8\nXcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=\n";
/// Who signed it.
const AUTHORITY: &str = include_str!("authority.pem");
/// A log and a witness that are in the corpus of bundles.
const POLICY: &str = include_str!("policy.txt");

/// A proof of misbehaviour: what is read is written again, and can be judged against whom it names. Accepted if it convicts.
fn charge(bytes: &[u8]) -> bool {
    let Ok(file) = ChargeFile::parse(bytes) else { return false };
    assert!(bytes.len() <= CHARGE_BYTES && ChargeFile::is_one(bytes));
    assert_eq!(
        ChargeFile::parse(&file.to_json()).ok().as_ref(),
        Some(&file),
        "a charge survives the round trip"
    );
    let Some(arbiter) = file.accused.identity() else { return false };
    let judgement = file.charge.judge(&arbiter);
    let failed = judgement.steps.iter().filter(|step| !step.passed).count();
    assert_eq!(failed, usize::from(judgement.finding == Finding::NotProven), "it ends where a check fails");
    explain::judgement(&judgement).iter().for_each(|line| shown(line));
    // Keys that signed none of it are not convicted by it.
    let (key, log_key) = (arbiter.log_key, arbiter.key);
    let turned = ArbiterIdentity { key, log_key, ..arbiter.clone() };
    assert!(key == log_key || !file.charge.judge(&turned).is_guilty());
    judgement.is_guilty()
}

/// A line of ours on a screen: nothing that moves the cursor or turns text around.
fn shown(line: &str) {
    let bad = line.chars().find(|c| c.is_control() || ('\u{202a}'..='\u{202e}').contains(c));
    assert_eq!(bad, None, "{line:?}");
}

/// The payload of an offer, as it is shown before anybody signs.
fn offer_shown(payload: &[u8]) -> bool {
    if let Ok(text) = std::str::from_utf8(payload) {
        shown(&plain::clip(text, 60));
        let columns = 1 + payload.len() % 80;
        for line in plain::wrap(text, columns) {
            shown(&line);
            assert!(line.chars().count() <= columns);
        }
        let _ = plain::mixed_scripts(text);
    }
    let Ok(wire) = <Offer as Payload>::Wire::decode(payload) else { return false };
    let Ok(offer) = Offer::from_wire(wire) else { return false };
    explain::offer(&offer).iter().for_each(|line| shown(line));
    for role in Role::BOTH {
        for now in [1, 1_799_990_000_000, 1 << 53] {
            let screen = Screen::new(&offer, role, &[], UnixMillis(now));
            screen.to_string().lines().for_each(shown);
            assert!(screen.refusal.is_some() || screen.approves(screen.word()));
        }
    }
    true
}

/// A `fairx-id` line has one form.
fn fairx_id(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Ok(id) = PublicIdentity::from_str(text) else { return false };
    assert_eq!(id.to_string(), text);
    let _ = id.fingerprint();
    true
}

/// A `fairx-arbiter` line has one form.
fn fairx_arbiter(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Ok(pin) = ArbiterPin::from_str(text) else { return false };
    assert_eq!(pin.to_string(), text);
    let _ = pin.fingerprint();
    true
}

/// A file of ours for one input at a time, in this thread.
fn file(bytes: &[u8], name: &str) -> PathBuf {
    thread_local! {
        static FOLDER: tempfile::TempDir = tempfile::tempdir().unwrap();
    }
    let path = FOLDER.with(|folder| folder.path().join(name));
    std::fs::write(&path, bytes).unwrap();
    path
}

/// A pin file: what is read is written as a file that reads the same.
fn pin_file(bytes: &[u8]) -> bool {
    let Ok(pin) = ArbiterPin::load(&file(bytes, "pin")) else { return false };
    let again = file(&[], "pin-again");
    std::fs::remove_file(&again).unwrap();
    pin.create(&again).unwrap();
    assert_eq!(ArbiterPin::load(&again).as_ref().ok(), Some(&pin));
    assert!(pin.epochs().iter().all(|epoch| epoch.signer() == pin.identity.key));
    true
}

/// The file with a party's keys.
fn identity_file(bytes: &[u8]) -> bool {
    let path = file(bytes, "identity");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let Ok(identity) = KeyFile::load(&path) else { return false };
    let line = identity.public().to_string();
    assert_eq!(PublicIdentity::from_str(&line).as_ref().ok(), Some(identity.public()));
    true
}

/// A `fairx-account` line has one form.
fn account_line(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Ok(line) = AccountLine::from_str(text) else { return false };
    assert_eq!(line.to_string(), text);
    true
}

/// The file with a party's purses: no two have one name or one key.
fn purses_file(bytes: &[u8]) -> bool {
    let path = file(bytes, "purses");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let Ok(book) = PurseBook::load(&path) else { return false };
    for purse in book.purses() {
        assert_eq!(book.find(&purse.name).map(Purse::account).ok(), Some(purse.account()));
        let line = book.line(purse).to_string();
        assert!(AccountLine::from_str(&line).is_ok());
    }
    !book.purses().is_empty()
}

/// An exchange in the journal: what is read is written as something that reads the same.
fn journal_exchange(bytes: &[u8]) -> bool {
    let Some(written) = files::journal_exchange(bytes) else { return false };
    assert_eq!(files::journal_exchange(&written).as_ref(), Some(&written));
    true
}

/// A proof against an arbiter in the journal: the same.
fn journal_misbehaviour(bytes: &[u8]) -> bool {
    let Some(written) = files::journal_misbehaviour(bytes) else { return false };
    assert_eq!(files::journal_misbehaviour(&written).as_ref(), Some(&written));
    true
}

/// Fields of records that an operator opened, beside an audit.
fn openings(bytes: &[u8]) -> bool {
    let Some(fields) = files::openings(bytes) else { return false };
    assert!(fields > 0);
    true
}

/// What was asked for: nothing, or any algorithm.
fn asked() -> impl Iterator<Item = Option<Algorithm>> {
    [None].into_iter().chain(Algorithm::ALL.map(Some))
}

fn one_form(key: &SignatureKey) {
    let again = Public::parse(public_pem(key).as_bytes(), Some(Algorithm::of(key)));
    assert_eq!(again.ok().map(|it| it.key).as_ref(), Some(key));
    shown(&plain::key(key));
}

/// A public key or certificate, PEM or DER.
fn public_key(bytes: &[u8]) -> bool {
    let mut good = false;
    for algorithm in asked() {
        let Ok(public) = Public::parse(bytes, algorithm) else { continue };
        one_form(&public.key);
        assert!(algorithm.is_none_or(|it| it == Algorithm::of(&public.key)));
        assert!(public.certificate.is_none_or(|it| it.matches(&public.key)));
        good = true;
    }
    good
}

/// A certificate in DER.
fn certificate(der: &[u8]) -> bool {
    let Ok(certificate) = Certificate::parse(der) else { return false };
    assert_eq!(certificate.der(), der);
    shown(certificate.subject());
    shown(certificate.issuer());
    let _ = certificate.fingerprint();
    assert!(!certificate.is_valid_at(UnixMillis(u64::MAX)));
    let Ok(key) = certificate.signature_key(None) else { return false };
    assert_eq!(certificate.public_der(), public_der(&key));
    assert!(certificate.matches(&key));
    one_form(&key);
    true
}

/// A private key in PEM: it signs, or it is refused when it is read.
fn private_key(bytes: &[u8]) -> bool {
    let Ok(key) = PrivateKey::from_pem(bytes, None) else { return false };
    one_form(key.public());
    if let Ok(signature) = key.sign(b"message") {
        assert!(key.public().verify(b"message", &signature));
    }
    true
}
