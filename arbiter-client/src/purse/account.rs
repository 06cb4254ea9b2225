//! Where somebody can be paid, or is asked to pay from, as one line of text.

use std::fmt;
use std::str::FromStr;

use arbiter_protocol::crypto;
use arbiter_protocol::error::Invalid;
use arbiter_protocol::exchange::item::check_line;
use arbiter_protocol::exchange::payment::Currency;
use arbiter_protocol::ids::PublicKey;
use arbiter_protocol::limits;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::PurseError;

const PREFIX: &str = "fairx-account:v1:";
const LINE_BYTES: usize = 1024;

/// An account: which ledger, which key, which currency, and where the ledger is. Nothing of it is secret or verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountLine {
    /// The ledger's key.
    pub ledger: PublicKey,
    /// Names the account.
    pub account: PublicKey,
    /// What is in it.
    pub currency: Currency,
    /// Where the ledger is, for who has no purse there yet.
    pub url: String,
}

impl fmt::Display for AccountLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}\n{}\n{}", self.currency.code(), self.currency.scale(), self.url);
        let bytes = [self.ledger.as_bytes(), self.account.as_bytes(), text.as_bytes()].concat();
        write!(f, "{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for AccountLine {
    type Err = PurseError;

    fn from_str(text: &str) -> Result<Self, PurseError> {
        let what = "a fairx-account line";
        let malformed = |why| PurseError::Malformed { what, why };
        let field = |source| PurseError::Field { what, source };
        if text.len() > LINE_BYTES {
            return Err(malformed("it is too long"));
        }
        let data = text.strip_prefix(PREFIX).ok_or(malformed("it starts with something else"))?;
        let bytes = URL_SAFE_NO_PAD
            .decode(data)
            .map_err(|_| malformed("it is cut off or altered (not base64url)"))?;
        let cut_off = malformed("it is cut off or has too many parts");
        let Some((ledger, rest)) = bytes.split_at_checked(32) else { return Err(cut_off) };
        let Some((account, rest)) = rest.split_at_checked(32) else { return Err(cut_off) };
        let words = std::str::from_utf8(rest).map_err(|_| malformed("it is not text"))?;
        let [code, scale, url] = words.split('\n').collect::<Vec<_>>()[..] else { return Err(cut_off) };
        let digits = scale.parse().map_err(|_| malformed("its scale is no number"))?;
        let line = Self {
            ledger: PublicKey::parse(ledger, "ledger").map_err(field)?,
            account: PublicKey::parse(account, "account").map_err(field)?,
            currency: Currency::new(code, digits).map_err(field)?,
            url: url.to_owned(),
        };
        crypto::check_key(&line.ledger, "ledger").map_err(field)?;
        crypto::check_key(&line.account, "account").map_err(field)?;
        check_line(&line.url, limits::NAME_BYTES, "url").map_err(field)?;
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(field(Invalid::FieldValue { field: "url" }));
        }
        if line.to_string() == text { Ok(line) } else { Err(malformed("it has another form")) }
    }
}

#[cfg(test)]
mod tests {
    use arbiter_protocol::crypto::{MemorySigner, Signer as _};
    use zeroize::Zeroizing;

    use super::*;

    /// One form only: every altered character is refused or is another account.
    #[test]
    fn lines_have_one_form() {
        let key = |byte| MemorySigner::from_seed(&Zeroizing::new([byte; 32])).public_key();
        let currency = Currency::new("EUR", 2).unwrap();
        let url = "http://127.0.0.1:7474".to_owned();
        let account = AccountLine { ledger: key(1), account: key(2), currency, url };
        let line = account.to_string();
        assert_eq!(line.parse::<AccountLine>().unwrap(), account);
        for position in 0..line.len() {
            let mut other = line.clone().into_bytes();
            other[position] = if other[position] == b'A' { b'B' } else { b'A' };
            let other = String::from_utf8(other).unwrap();
            if let Ok(parsed) = other.parse::<AccountLine>() {
                assert_ne!(parsed, account);
                assert_eq!(parsed.to_string(), other);
            }
        }
        for bad in ["", PREFIX, &line[..60], &format!("{line}="), &format!(" {line}")] {
            assert!(bad.parse::<AccountLine>().is_err(), "{bad}");
        }
    }
}
