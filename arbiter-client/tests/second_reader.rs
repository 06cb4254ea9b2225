//! The second reader, `docs/verify.py`, has no code in common with ours: it must come to the same verdict on good
//! bundles of every outcome and on altered ones.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A test may stop where it likes.

mod fixture;
mod reader;

use arbiter_client::bundle::{Bundle, Claim};
use arbiter_client::verify::{Trust, verify};
use arbiter_protocol::crypto::Signer as _;
use arbiter_protocol::exchange::item::{Description, Item};
use arbiter_protocol::exchange::selection::{ByRole, Role, select_for};
use arbiter_protocol::message::agreement::Offer;
use fixture::*;
use serde_json::Value;

fn good(json: &[u8]) -> bool {
    Bundle::parse(json).is_ok_and(|it| verify(&it, Trust::Pinned(&arbiter()), &[]).good)
}

#[test]
fn the_second_reader_accepts_good_bundles_of_every_outcome() {
    if !reader::there() {
        return;
    }
    let all: Vec<_> = bundles().into_iter().map(|(_, bundle)| bundle.to_json()).collect();
    let (codes, said) = reader::judge(&all, Some(arbiter().key), None);
    assert!(codes.iter().all(|code| *code == 0), "{codes:?}\n{said}");
    // Another arbiter than the one that was pinned.
    let (codes, _) = reader::judge(&all, Some(key(77).public_key()), None);
    assert!(codes.iter().all(|code| *code == 1), "{codes:?}");
}

/// an item for nothing is complete when who gives has given.
#[test]
fn the_second_reader_accepts_items_for_nothing() {
    if !reader::there() {
        return;
    }
    let mut all = Vec::new();
    for (item, given) in [(file(), true), (detached(1, "Alice", Vec::new()), true), (file(), false)] {
        let nothing = Item::new(Description::Nothing);
        let selection = select_for(&item, &nothing).unwrap();
        let (originator_item, responder_item, complain_by) = (item, nothing, None);
        let terms = offer(file(), file());
        let deal = Deal::new(Offer { originator_item, responder_item, selection, complain_by, ..terms });
        let transfer = given.then(|| deal.transfer(Role::Originator));
        let acceptance = Some(deal.agreement.acceptance().envelope().clone());
        let bundle = Bundle::new(deal.offer.envelope().clone(), acceptance, [transfer, None], Vec::new());
        let bundle = bundle.with_signatures(ByRole::default(), deal.signatures());
        assert_eq!(bundle.outcome, if given { Claim::Completed } else { Claim::Open });
        assert!(good(&bundle.to_json()));
        all.push(bundle.to_json());
    }
    let (codes, said) = reader::judge(&all, Some(arbiter().key), None);
    assert!(codes.iter().all(|code| *code == 0), "{codes:?}\n{said}");
}

fn texts(value: &Value, path: String, out: &mut Vec<String>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, it)| texts(it, format!("{path}/{key}"), out)),
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(i, it)| texts(it, format!("{path}/{i}"), out))
        }
        _ => out.push(path),
    }
}

/// Every text of every bundle, altered at several places. The proofs of escrows are not read by the second reader.
#[test]
fn the_second_reader_and_ours_agree_on_altered_bundles() {
    if !reader::there() {
        return;
    }
    let (mut altered, mut names) = (Vec::new(), Vec::new());
    for (name, bundle) in bundles() {
        let whole: Value = serde_json::from_slice(&bundle.to_json()).unwrap();
        let mut paths = Vec::new();
        texts(&whole, String::new(), &mut paths);
        for path in paths.iter().filter(|path| !path.starts_with("/escrows")) {
            let text = whole.pointer(path).unwrap().as_str().unwrap();
            let step = (text.len() / 6).max(1);
            for position in (0..text.len()).step_by(step).chain([text.len() - 1]) {
                let Some(old) = text.get(position..=position) else { continue };
                let mut other = text.to_owned();
                other.replace_range(position..=position, if old == "A" { "B" } else { "A" });
                let mut bad = whole.clone();
                *bad.pointer_mut(path).unwrap() = Value::String(other);
                altered.push(serde_json::to_vec(&bad).unwrap());
                names.push(format!("{name}: {path} at {position}"));
            }
        }
        for field in whole.as_object().unwrap().keys().filter(|field| *field != "escrows") {
            let mut bad = whole.clone();
            bad.as_object_mut().unwrap().remove(field);
            altered.push(serde_json::to_vec(&bad).unwrap());
            names.push(format!("{name}: without {field}"));
        }
    }
    let (codes, _) = reader::judge(&altered, Some(arbiter().key), None);
    let mut refused = 0;
    for ((json, name), code) in altered.iter().zip(&names).zip(codes) {
        assert_eq!(code == 0, good(json), "{name}");
        refused += usize::from(code != 0);
    }
    assert!(refused > 2_000, "{refused} of {}", altered.len());
}
