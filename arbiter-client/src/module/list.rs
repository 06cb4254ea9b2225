//! The list of capabilities that one side hands to the other (R-711), as JSON.
//!
//! ```json
//! {"version":1,"party":"3b…","modules":[
//!   {"service":"payment","gives":true,"takes":true,"properties":["observable","revocable"],
//!    "ledger":"9f…","account":"a0…","url":"https://ledger.example","currency":"EUR","scale":2,"largest":10000},
//!   {"service":"signature","gives":true,"takes":true,"properties":["generatable-by-escrow"],
//!    "format":"detached/ed25519","key":"MCowBQYDK2VwAyEA…"},
//!   {"service":"information","gives":true,"takes":true,"properties":["re-sendable"],"largest":1099511627776}]}
//! ```
//!
//! The order is the order of preference. The list is not signed: nothing is owed because of it, and what an altered one leads
//! to is an offer that its party refuses. It says who it is of, so that two lists are not mixed up.

use arbiter_protocol::crypto;
use arbiter_protocol::error::Invalid;
use arbiter_protocol::exchange::item::check_line;
use arbiter_protocol::exchange::payment::Currency;
use arbiter_protocol::exchange::property::{Properties, Property};
use arbiter_protocol::ids::PublicKey;
use arbiter_protocol::limits;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use super::capability::{Capability, Format, Means, Service, name};
use crate::plain;
use crate::signing::{Certificate, KeyError, from_spki, public_der};

/// Largest list, in bytes.
pub const LIST_BYTES: usize = 256 * 1024;
/// Most modules in a list.
pub const LIST_MODULES: usize = 256;
/// Media types of one module.
const MEDIA_TYPES: usize = 64;

/// What one party gives and takes, in order of preference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Whose: its signing key.
    pub party: PublicKey,
    /// Its modules, the one that it likes best first.
    pub modules: Vec<Capability>,
}

/// What is wrong with a list.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ListError {
    /// A field is not acceptable.
    #[error("module {module} of the list: {source}")]
    Field {
        /// Which, from 1 on.
        module: usize,
        /// What is wrong.
        source: Invalid,
    },
    /// A key cannot be used.
    #[error("module {module} of the list: {source}")]
    Key {
        /// Which, from 1 on.
        module: usize,
        /// What is wrong.
        source: KeyError,
    },
    /// The text does not have the expected form.
    #[error("this is no list of capabilities: {0}")]
    Malformed(String),
    /// More than anybody has.
    #[error("the list is too long: at most {LIST_BYTES} bytes and {LIST_MODULES} modules")]
    TooLong,
    /// Of another version.
    #[error("the list is of version {0}; this program reads version 1")]
    Version(u32),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    party: String,
    modules: Vec<Value>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "service", rename_all = "lowercase", deny_unknown_fields)]
enum Row {
    Information {
        gives: bool,
        takes: bool,
        properties: Vec<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        largest: Option<u64>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        media_types: Vec<String>,
    },
    Payment {
        gives: bool,
        takes: bool,
        properties: Vec<String>,
        ledger: String,
        account: String,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        url: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        currency: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scale: Option<u8>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        largest: Option<u64>,
    },
    Signature {
        gives: bool,
        takes: bool,
        properties: Vec<String>,
        format: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        certificate: Option<String>,
    },
}

impl Capabilities {
    /// The list as text, in one form.
    pub fn to_json(&self) -> String {
        let modules = self.modules.iter().map(|it| serde_json::to_value(row(it)).unwrap_or_default());
        let file = File { version: 1, party: self.party.to_string(), modules: modules.collect() };
        let text = serde_json::to_string_pretty(&file).unwrap_or_default();
        text + "\n"
    }

    /// Reads a list (R-711). A module of a service or format that is not known here is left out: it can meet nothing of ours.
    pub fn parse(text: &str) -> Result<Self, ListError> {
        if text.len() > LIST_BYTES {
            return Err(ListError::TooLong);
        }
        let malformed = |why: serde_json::Error| ListError::Malformed(plain::clip(&why.to_string(), 200));
        let file: File = serde_json::from_str(text).map_err(malformed)?;
        if file.version != 1 {
            return Err(ListError::Version(file.version));
        }
        if file.modules.len() > LIST_MODULES {
            return Err(ListError::TooLong);
        }
        let party = key(&file.party, "party");
        let party = party.map_err(|_| ListError::Malformed("its party is no key".to_owned()))?;
        let mut modules = Vec::new();
        for (place, value) in file.modules.into_iter().enumerate() {
            let module = place.saturating_add(1);
            let known = value.get("service").and_then(Value::as_str).is_some_and(is_known);
            if !known && value.get("service").is_some_and(Value::is_string) {
                continue;
            }
            let row = serde_json::from_value(value).map_err(malformed)?;
            match capability(row) {
                Ok(capability) => modules.extend(capability),
                Err(Fault::Field(source)) => return Err(ListError::Field { module, source }),
                Err(Fault::Key(source)) => return Err(ListError::Key { module, source }),
            }
        }
        Ok(Self { party, modules })
    }
}

fn is_known(service: &str) -> bool {
    [Service::Information, Service::Payment, Service::Signature].iter().any(|it| it.name() == service)
}

enum Fault {
    Field(Invalid),
    Key(KeyError),
}

impl From<Invalid> for Fault {
    fn from(invalid: Invalid) -> Self {
        Self::Field(invalid)
    }
}

impl From<KeyError> for Fault {
    fn from(error: KeyError) -> Self {
        Self::Key(error)
    }
}

fn row(it: &Capability) -> Row {
    let (gives, takes) = (it.gives, it.takes);
    let properties = it.properties.iter().map(|it| name(it).to_owned()).collect();
    match &it.means {
        Means::Information { largest, media_types } => {
            Row::Information { gives, takes, properties, largest: *largest, media_types: media_types.clone() }
        }
        Means::Payment { ledger, account, url, currency, largest } => Row::Payment {
            gives,
            takes,
            properties,
            ledger: ledger.to_string(),
            account: account.to_string(),
            url: url.clone(),
            currency: currency.as_ref().map(|it| it.code().to_owned()),
            scale: currency.as_ref().map(Currency::scale),
            largest: *largest,
        },
        Means::Signature { format, key, certificate } => Row::Signature {
            gives,
            takes,
            properties,
            format: format.to_string(),
            key: key.as_ref().map(|key| STANDARD.encode(public_der(key))),
            certificate: (!certificate.is_empty()).then(|| STANDARD.encode(certificate)),
        },
    }
}

/// `None`: a format that is not known here.
fn capability(row: Row) -> Result<Option<Capability>, Fault> {
    let (gives, takes, properties, means) = match row {
        Row::Information { gives, takes, properties, largest, media_types } => {
            if media_types.len() > MEDIA_TYPES {
                return Err(Invalid::FieldLength { field: "media_types" }.into());
            }
            for media_type in &media_types {
                check_line(media_type, limits::MEDIA_TYPE_BYTES, "media_types")?;
            }
            (gives, takes, properties, Means::Information { largest, media_types })
        }
        Row::Payment { gives, takes, properties, ledger, account, url, currency, scale, largest } => {
            check_line(&url, limits::NAME_BYTES, "url")?;
            if !url.is_empty() && !url.starts_with("http://") && !url.starts_with("https://") {
                return Err(Invalid::FieldValue { field: "url" }.into());
            }
            let currency = match (currency, scale) {
                (Some(code), Some(scale)) => Some(Currency::new(&code, scale)?),
                (None, None) => None,
                _ => return Err(Invalid::FieldMissing { field: "currency" }.into()),
            };
            let (ledger, account) = (key(&ledger, "ledger")?, key(&account, "account")?);
            (gives, takes, properties, Means::Payment { ledger, account, url, currency, largest })
        }
        Row::Signature { gives, takes, properties, format, key, certificate } => {
            let Ok(format) = format.parse() else { return Ok(None) };
            let means = signature(format, key.as_deref(), certificate.as_deref())?;
            (gives, takes, properties, means)
        }
    };
    let known = Property::ALL.into_iter().filter(|it| properties.iter().any(|text| text == name(*it)));
    Ok(Some(Capability { gives, takes, properties: Properties::new(known), means }))
}

fn signature(format: Format, key: Option<&str>, certificate: Option<&str>) -> Result<Means, Fault> {
    let algorithm = match format {
        Format::Detached(algorithm) => Some(algorithm),
        Format::Replacement => None,
    };
    let key = match (key, algorithm) {
        (None, _) => None,
        (Some(_), None) => return Err(Invalid::FieldValue { field: "key" }.into()),
        (Some(text), algorithm) => Some(from_spki(&base64(text, "key")?, algorithm)?),
    };
    let certificate = match (certificate, &key) {
        (None, _) => Vec::new(),
        (Some(text), Some(key)) => {
            let read = Certificate::parse(&base64(text, "certificate")?)?;
            if !read.matches(key) {
                return Err(Invalid::FieldValue { field: "certificate" }.into());
            }
            read.der().to_vec()
        }
        (Some(_), None) => return Err(Invalid::FieldMissing { field: "key" }.into()),
    };
    Ok(Means::Signature { format, key, certificate })
}

fn key(text: &str, field: &'static str) -> Result<PublicKey, Invalid> {
    let key = PublicKey::parse_hex(text, field)?;
    crypto::check_key(&key, field)?;
    Ok(key)
}

fn base64(text: &str, field: &'static str) -> Result<Vec<u8>, Invalid> {
    if text.len() > 2 * limits::CERTIFICATE_BYTES {
        return Err(Invalid::FieldLength { field });
    }
    STANDARD.decode(text).map_err(|_| Invalid::FieldValue { field })
}
