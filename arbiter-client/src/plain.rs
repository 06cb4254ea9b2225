//! Text of others on our screen: made harmless, shortened visibly, and suspicious letters pointed out.
//!
//! Statements cannot hold control, bidirectional or zero-width characters at all, so what is left to do
//! here is little: escape what a file name or an unverified text may still hold, cut what is too long so that
//! one sees the cut, and flag words that mix alphabets (`рay` with a Cyrillic `р`).

use arbiter_protocol::escrow::signature_key::Kind;
use arbiter_protocol::escrow::{RsaHash, RsaPadding, SignatureKey};
use arbiter_protocol::exchange::item::{Description, Information, Item, Statement, check_line};
use arbiter_protocol::time::{DurationMillis, UnixMillis};

/// One line of foreign text, at most `columns` characters; the cut is visible.
pub fn clip(text: &str, columns: usize) -> String {
    let harmless: String = text.chars().map(harmless).collect();
    let length = harmless.chars().count();
    if length <= columns {
        return harmless;
    }
    let kept = columns.saturating_sub(24);
    let start: String = harmless.chars().take(kept).collect();
    format!("{start}[... {} more characters]", length.saturating_sub(kept))
}

/// The lines of a foreign text, none longer than `columns`, each to be printed behind a mark of ours.
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for line in text.split('\n') {
        let mut current = String::new();
        for word in line.split(' ') {
            let mut word: Vec<char> = word.chars().map(harmless).collect();
            let room = columns.saturating_sub(current.chars().count());
            if !current.is_empty() && word.len().saturating_add(1) > room {
                lines.push(std::mem::take(&mut current));
            }
            while word.len() > columns {
                let rest = word.split_off(columns);
                lines.push(word.into_iter().collect());
                word = rest;
            }
            if !current.is_empty() {
                current.push(' ');
            }
            current.extend(word);
        }
        lines.push(current);
    }
    lines
}

/// Words of a text that mix alphabets which are easily taken for one another.
pub fn mixed_scripts(text: &str) -> Vec<String> {
    let mut words: Vec<_> = text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| {
            let mut scripts: Vec<_> = word.chars().filter_map(script).collect();
            scripts.sort_unstable();
            scripts.dedup();
            scripts.len() > 1
        })
        .map(|word| clip(word, 40))
        .collect();
    words.dedup();
    words
}

/// A file: name, size, type and whole hash on two lines.
pub fn file(information: &Information) -> [String; 2] {
    [
        format!(
            "{} ({}, {})",
            clip(&information.name, 60),
            size(information.size_bytes),
            information.media_type
        ),
        format!("SHA-256 {}", information.sha256),
    ]
}

/// What an item is, in a few words.
pub fn item(item: &Item) -> String {
    match &item.description {
        Description::Information(it) => format!("the file {} ({})", clip(&it.name, 60), size(it.size_bytes)),
        Description::Package(_) => {
            let leaves = item.leaves();
            format!(
                "{} items together: {}",
                leaves.len(),
                leaves.into_iter().map(self::item).collect::<Vec<_>>().join(", ")
            )
        }
        Description::DetachedSignature(it) => signature(&it.statement),
        Description::Nothing => "nothing".to_owned(),
        Description::Payment(it) => format!("a payment of {}", it.amount),
        Description::Signature(it) => signature(it),
    }
}

fn signature(statement: &Statement) -> String {
    format!("a signature on \"{}\"", clip(&statement.title, 60))
}

/// What the giver of an item signs, as far as it is signatures of either kind.
pub fn signed(item: &Item) -> Vec<&Statement> {
    let leaves = item.leaves().into_iter();
    leaves
        .filter_map(|leaf| match &leaf.description {
            Description::DetachedSignature(it) => Some(&it.statement),
            Description::Information(_)
            | Description::Nothing
            | Description::Package(_)
            | Description::Payment(_) => None,
            Description::Signature(it) => Some(it),
        })
        .collect()
}

/// The files that the giver of an item hands over.
pub fn files(item: &Item) -> Vec<&Information> {
    let leaves = item.leaves().into_iter();
    leaves
        .filter_map(|leaf| match &leaf.description {
            Description::Information(it) => Some(it),
            _ => None,
        })
        .collect()
}

/// What somebody gives, in a word or a few, without its name.
pub fn thing(item: &Item) -> &'static str {
    match &item.description {
        Description::Information(_) => "file",
        Description::Nothing => "nothing",
        Description::Package(_) if !item.description.payments().is_empty() => "money",
        Description::Package(_) if !files(item).is_empty() => "package of files",
        Description::Package(_) => "package of signatures",
        Description::Payment(_) => "money",
        Description::DetachedSignature(_) | Description::Signature(_) => "signature",
    }
}

/// What kind of key it is and how it signs.
pub fn key(key: &SignatureKey) -> String {
    match key.kind() {
        Kind::Ed25519(_) => "Ed25519".to_owned(),
        Kind::Rsa { modulus, padding, hash, .. } => {
            let zeros = modulus.first().map_or(0, |first| first.leading_zeros());
            let bits = modulus.len().saturating_mul(8).saturating_sub(usize::try_from(zeros).unwrap_or(0));
            let padding = match padding {
                RsaPadding::Pkcs1 => "PKCS#1 v1.5",
                RsaPadding::Pss => "PSS",
            };
            let hash = match hash {
                RsaHash::Sha256 => "SHA-256",
                RsaHash::Sha384 => "SHA-384",
                RsaHash::Sha512 => "SHA-512",
            };
            format!("RSA of {bits} bits, {padding} with {hash}")
        }
    }
}

/// A size in bytes with groups of three digits.
pub fn size(bytes: u64) -> String {
    let digits = bytes.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && digits.len().saturating_sub(place) % 3 == 0 {
            out.push(' ');
        }
        out.push(digit);
    }
    format!("{out} bytes")
}

/// A time to the second, in UTC.
pub fn time(time: UnixMillis) -> String {
    let text = time.to_string();
    match text.split_once('T') {
        Some((day, clock)) => format!("{day} {} UTC", clock.get(..8).unwrap_or(clock)),
        None => text,
    }
}

/// A span in its two largest units.
pub fn span(span: DurationMillis) -> String {
    let seconds = span.0 / 1000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        (_, _, _) => format!("{days} d {hours} h"),
    }
}

fn harmless(c: char) -> char {
    if c.is_control() || deceptive(c) { '\u{fffd}' } else { c }
}

/// Not allowed in statements, so seen only in text that is not one.
fn deceptive(c: char) -> bool {
    let mut buffer = [0; 4];
    check_line(c.encode_utf8(&mut buffer), 4, "text").is_err()
}

/// The alphabet of a letter, as far as telling look-alikes apart needs it.
fn script(c: char) -> Option<&'static str> {
    match u32::from(c) {
        _ if !c.is_alphabetic() => None,
        0x41..=0x5a | 0x61..=0x7a | 0xaa | 0xba | 0xc0..=0x24f | 0x1e00..=0x1eff | 0xff21..=0xff5a => {
            Some("Latin")
        }
        0x370..=0x3ff | 0x1f00..=0x1fff => Some("Greek"),
        0x400..=0x52f | 0x1c80..=0x1c8f | 0x2de0..=0x2dff | 0xa640..=0xa69f => Some("Cyrillic"),
        0x530..=0x58f => Some("Armenian"),
        0x13a0..=0x13ff | 0xab70..=0xabbf => Some("Cherokee"),
        0x10a0..=0x10ff | 0x2d00..=0x2d2f => Some("Georgian"),
        _ => Some("other"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_is_visible_and_nothing_active_gets_through() {
        assert_eq!(clip("short", 30), "short");
        let long = clip(&"x".repeat(100), 40);
        assert!(long.ends_with("[... 84 more characters]"), "{long}");
        assert_eq!(wrap("a\u{1b}[31m\nb\u{202e}", 40), ["a\u{fffd}[31m", "b\u{fffd}"]);
        assert_eq!(clip("a\u{1b}[31m\nb\u{202e}", 40), "a\u{fffd}[31m\u{fffd}b\u{fffd}");
    }

    #[test]
    fn wrapping_loses_nothing_but_spaces_at_breaks() {
        let text = "one two three\nfour  five sixsevenheightnineten";
        let lines = wrap(text, 8);
        assert!(lines.iter().all(|line| line.chars().count() <= 8), "{lines:?}");
        let strip = |text: &str| text.replace([' ', '\n'], "");
        assert_eq!(strip(&lines.concat()), strip(text));
    }

    #[test]
    fn words_of_two_alphabets_are_flagged() {
        assert_eq!(mixed_scripts("pay \u{440}ay now"), ["\u{440}ay"]);
        assert_eq!(mixed_scripts("\u{391}lice"), ["\u{391}lice"]);
        for fine in ["Zażółć gęślą jaźń", "Привет world", "Ελλάδα 2026", "contract-v2.pdf", "合同"]
        {
            assert!(mixed_scripts(fine).is_empty(), "{fine}");
        }
    }

    #[test]
    fn sizes_times_and_spans_read_well() {
        assert_eq!(size(1_048_576), "1 048 576 bytes");
        assert_eq!(size(999), "999 bytes");
        assert_eq!(time(UnixMillis(951_782_399_999)), "2000-02-28 23:59:59 UTC");
        assert_eq!(span(DurationMillis(599_999)), "9 min 59 s");
        assert_eq!(span(DurationMillis(90_000_000)), "1 d 1 h");
    }
}
