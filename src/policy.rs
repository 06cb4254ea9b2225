//! What the operator declares, as one text whose hash is in the log (R-535).
//!
//! ```text
//! arbiter/policy/v1
//! build <sha256>            of the program that decides
//! clock 500                 declared uncertainty, milliseconds
//! rules arbiter/rules/v1
//! terms <sha256>            of the words that GetArbiterInfo shows
//! witnesses <sha256>        of the witness policy file, or `-`
//! ```
//! One form, no words of the operator in it. A change of any line is a leaf before anything else is answered.

use std::fmt::Write as _;

use arbiter_protocol::ids::Digest;
use arbiter_protocol::ruling::sequencer::Desk;

/// The text that is declared. `witnesses` is the content of the witness policy file, if there is one.
pub fn declared(desk: &Desk, terms: &str, witnesses: Option<&[u8]>) -> String {
    let witnesses = witnesses.map_or_else(|| "-".to_owned(), |file| Digest::of(&[file]).to_string());
    let lines = [
        ("build", desk.build.to_string()),
        ("clock", desk.clock_uncertainty.0.to_string()),
        ("rules", desk.arbiter.rules.clone()),
        ("terms", Digest::of(&[terms.as_bytes()]).to_string()),
        ("witnesses", witnesses),
    ];
    let mut text = String::from("arbiter/policy/v1\n");
    for (key, value) in lines {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{key} {value}");
    }
    text
}

#[cfg(test)]
mod tests {
    use arbiter_protocol::evidence::checkpoint::Origin;
    use arbiter_protocol::ids::PublicKey;
    use arbiter_protocol::message::agreement::ArbiterIdentity;
    use arbiter_protocol::time::DurationMillis;

    use super::*;

    /// R-535: everything that is declared changes the text, and nothing else does.
    #[test]
    fn every_declaration_is_in_the_text() {
        let arbiter = ArbiterIdentity {
            key: PublicKey::from_bytes([1; 32]),
            log_key: PublicKey::from_bytes([2; 32]),
            log_origin: Origin::parse("arbiter.test/log").unwrap(),
            rules: "arbiter/rules/v1".into(),
        };
        let desk = Desk { arbiter, build: Digest::of(&[b"b"]), clock_uncertainty: DurationMillis(500) };
        let text = declared(&desk, "terms", None);
        assert!(text.starts_with("arbiter/policy/v1\nbuild ") && text.ends_with("\nwitnesses -\n"));
        assert_eq!(text.lines().count(), 6);
        let others = [
            declared(&Desk { build: Digest::of(&[b"c"]), ..desk.clone() }, "terms", None),
            declared(&Desk { clock_uncertainty: DurationMillis(501), ..desk.clone() }, "terms", None),
            declared(&desk, "other terms\nwitnesses none", None),
            declared(&desk, "terms", Some(b"quorum none")),
        ];
        assert!(others.iter().all(|other| *other != text && other.lines().count() == 6));
    }
}
