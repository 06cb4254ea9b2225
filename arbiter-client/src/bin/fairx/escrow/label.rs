//! The label file: every field of a label by name, in TOML. `docs/escrow.md` describes it.

use std::path::Path;

use arbiter_protocol::escrow::{Label, Side, Suite};
use arbiter_protocol::time::UnixMillis;
use toml::{Table, Value};

use super::files;
use crate::failure::Failure;

/// A label to fill in.
pub const EXAMPLE: &str = r#"# What an escrow is for. Signer, peer and arbiter each write this from the agreement that they hold.
# All fields must be there. 64 digits stand for 32 bytes in hex, lower case.

# How much work, how many bytes: "132/64" (least work), "247/30" (the default), "711/20" (fewest bytes).
suite = "247/30"
# The arbiter and the epoch of its escrow key, as in the fairx-escrow-key line.
arbiter = "1111111111111111111111111111111111111111111111111111111111111111"
epoch = 1
# A name for this exchange that is used once: 32 fresh random bytes will do (openssl rand -hex 32).
exchange = "2222222222222222222222222222222222222222222222222222222222222222"
# The number of the exchange protocol, as the parties and the arbiter number theirs: 0 to 255.
protocol = 1
# Who sends first, and whose signature is in escrow: "originator" or "responder".
first = "originator"
signer = "originator"
# The identity keys of both parties.
originator = "3333333333333333333333333333333333333333333333333333333333333333"
responder = "4444444444444444444444444444444444444444444444444444444444444444"
# Hashes: of the agreement, of what the signer gives, of what the signer expects (e.g. sha256sum of a file).
agreement = "5555555555555555555555555555555555555555555555555555555555555555"
item = "6666666666666666666666666666666666666666666666666666666666666666"
counter_item = "7777777777777777777777777777777777777777777777777777777777777777"
# Until when the exchange can be committed to, and until when somebody can complain, on the arbiter's clock:
# a time in UTC like "2026-11-20T12:00:00Z", or milliseconds since 1970; 0 for no limit.
expires = "2026-12-20T12:00:00Z"
complain_by = 0
"#;

/// Larger than any label file.
const FILE_BYTES: usize = 16 * 1024;

/// Reads a label file.
pub fn read(path: &Path) -> Result<Label, Failure> {
    let bytes = files::read(path, FILE_BYTES)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| "it is not UTF-8".to_owned());
    text.and_then(parse).map_err(|why| {
        Failure::usage(format!("{}: {why}", path.display()))
            .next("`fairx escrow label --example` prints a label with every field")
    })
}

/// Reads the text of a label. An error names the field.
pub fn parse(text: &str) -> Result<Label, String> {
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        let line =
            error.span().and_then(|span| text.get(..span.start)).map_or(0, |it| it.split('\n').count());
        format!("line {line}: {}", error.message().lines().next().unwrap_or_default())
    })?;
    let mut fields = Fields(table);
    let label = Label {
        suite: fields.suite("suite")?,
        arbiter: fields.bytes("arbiter")?,
        epoch: fields.number("epoch")?,
        exchange: fields.bytes("exchange")?,
        protocol: u8::try_from(fields.number("protocol")?)
            .map_err(|_| "protocol must be a number from 0 to 255".to_owned())?,
        first: fields.side("first")?,
        signer: fields.side("signer")?,
        originator: fields.bytes("originator")?,
        responder: fields.bytes("responder")?,
        agreement: fields.bytes("agreement")?,
        item: fields.bytes("item")?,
        counter_item: fields.bytes("counter_item")?,
        expires: fields.time("expires")?,
        complain_by: fields.time("complain_by")?,
    };
    match fields.0.keys().next() {
        Some(name) => Err(format!("there is no field `{}` in a label", name.escape_debug())),
        None => Ok(label),
    }
}

/// What has not been read yet.
struct Fields(Table);

impl Fields {
    fn take(&mut self, name: &str) -> Result<Value, String> {
        self.0.remove(name).ok_or_else(|| format!("the field `{name}` is missing"))
    }

    fn text(&mut self, name: &str) -> Result<String, String> {
        match self.take(name)? {
            Value::String(text) => Ok(text),
            _ => Err(format!("{name} must be text between quotes")),
        }
    }

    fn bytes(&mut self, name: &str) -> Result<[u8; 32], String> {
        files::bytes_32(&self.text(name)?).map_err(|_| format!("{name} must be 64 hex digits, lower case"))
    }

    /// TOML has numbers below 2^63; a larger one stands between quotes.
    fn number(&mut self, name: &str) -> Result<u64, String> {
        let number = match self.take(name)? {
            Value::Integer(number) => u64::try_from(number).ok(),
            Value::String(text) => text.parse().ok().filter(|number: &u64| number.to_string() == text),
            _ => None,
        };
        number.ok_or_else(|| format!("{name} must be a number, not negative"))
    }

    fn suite(&mut self, name: &str) -> Result<Suite, String> {
        let text = self.text(name)?;
        let found = Suite::ALL.into_iter().find(|suite| suite.name() == text);
        found.ok_or_else(|| format!("{name} must be {}", Suite::ALL.map(Suite::name).join(", ")))
    }

    fn side(&mut self, name: &str) -> Result<Side, String> {
        match self.text(name)?.as_str() {
            "originator" => Ok(Side::Originator),
            "responder" => Ok(Side::Responder),
            _ => Err(format!("{name} must be \"originator\" or \"responder\"")),
        }
    }

    fn time(&mut self, name: &str) -> Result<u64, String> {
        let time = match self.take(name)? {
            Value::Integer(millis) => u64::try_from(millis).ok(),
            Value::String(text) => time(&text),
            Value::Datetime(value) => time(&value.to_string()),
            _ => None,
        };
        time.ok_or_else(|| {
            format!(
                "{name} must be a time in UTC like \"2026-11-20T12:00:00Z\", or milliseconds since 1970, or 0"
            )
        })
    }
}

/// RFC 3339 in UTC, with or without milliseconds.
fn time(text: &str) -> Option<u64> {
    let parsed =
        UnixMillis::parse(text).or_else(|| UnixMillis::parse(&format!("{}.000Z", text.strip_suffix('Z')?)));
    parsed.map(|time| time.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_a_label() {
        let label = parse(EXAMPLE).unwrap();
        assert_eq!((label.suite, label.epoch, label.protocol), (Suite::DEFAULT, 1, 1));
        assert_eq!((label.first, label.signer), (Side::Originator, Side::Originator));
        assert_eq!((label.arbiter, label.exchange, label.originator), ([0x11; 32], [0x22; 32], [0x33; 32]));
        assert_eq!((label.responder, label.agreement), ([0x44; 32], [0x55; 32]));
        assert_eq!((label.item, label.counter_item), ([0x66; 32], [0x77; 32]));
        assert_eq!((label.expires, label.complain_by), (1_797_768_000_000, 0));
    }

    #[test]
    fn a_missing_an_unknown_and_a_repeated_field_are_named() {
        for line in EXAMPLE.lines().filter(|line| line.contains(" = ")) {
            let name = line.split(' ').next().unwrap();
            let without = EXAMPLE.replace(&format!("\n{line}\n"), "\n");
            assert_eq!(parse(&without), Err(format!("the field `{name}` is missing")));
            let renamed = EXAMPLE.replace(&format!("\n{line}\n"), &format!("\n{line}\n{name}s = 1\n"));
            assert_eq!(parse(&renamed), Err(format!("there is no field `{name}s` in a label")));
            let error = parse(&format!("{EXAMPLE}{line}\n")).unwrap_err();
            assert!(error.starts_with("line ") && error.contains("duplicate key"), "{error}");
        }
    }

    #[test]
    fn every_wrong_value_is_refused_by_name() {
        for (name, bad) in [
            ("suite", "\"6/3\""),
            ("suite", "247"),
            ("arbiter", "\"11\""),
            ("exchange", "\"222222222222222222222222222222222222222222222222222222222222222G\""),
            ("item", "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\""),
            ("agreement", "5"),
            ("epoch", "-1"),
            ("epoch", "\"01\""),
            ("epoch", "1.0"),
            ("protocol", "256"),
            ("first", "\"alice\""),
            ("signer", "1"),
            ("expires", "\"2026-13-20T12:00:00Z\""),
            ("expires", "2026-11-20T12:00:00+01:00"),
            ("complain_by", "\"tomorrow\""),
            ("complain_by", "-5"),
        ] {
            let line = EXAMPLE.lines().find(|line| line.starts_with(&format!("{name} = "))).unwrap();
            let error = parse(&EXAMPLE.replace(line, &format!("{name} = {bad}"))).unwrap_err();
            assert!(error.starts_with(name), "{name} = {bad}: {error}");
        }
    }

    #[test]
    fn times_have_three_spellings_and_large_epochs_fit() {
        let with = |line: &str, other: &str| parse(&EXAMPLE.replace(line, other)).unwrap();
        let line = "expires = \"2026-12-20T12:00:00Z\"";
        let expected = parse(EXAMPLE).unwrap();
        for same in ["1797768000000", "2026-12-20T12:00:00Z", "\"2026-12-20T12:00:00.000Z\""] {
            assert_eq!(with(line, &format!("expires = {same}")), expected, "{same}");
        }
        assert_eq!(with("epoch = 1", "epoch = \"18446744073709551615\"").epoch, u64::MAX);
    }
}
