//! House rules that a compiler does not check, over the whole repository: who may import what, who may name
//! clocks and engines, how long a file may be, which words may not stay, and that every rule of `SPEC.md` is
//! enforced somewhere and tested somewhere.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may fail by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

struct File {
    path: String,
    text: String,
}

impl File {
    fn is_generated(&self) -> bool {
        self.path.contains("/wire/gen/")
    }

    /// Tests, and the helpers that exist only for tests.
    fn is_test(&self) -> bool {
        let place = format!("/{}", self.path);
        ["/tests/", "/testing/", "/benches/", "/suite.rs", "/suite/"].iter().any(|it| place.contains(it))
    }

    /// The code that ships: without unit tests and comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate();
        lines
            .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
            .map(|(number, line)| (number + 1, line))
    }

    fn unit_tests(&self) -> &str {
        self.text.split_once("\n#[cfg(test)]").map_or("", |(_, tests)| tests)
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in the repository").to_owned()
}

/// Every file of the repository with one of these endings, in a fixed order.
fn files(endings: &[&str]) -> Vec<File> {
    let root = root();
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a readable folder").map(Result::unwrap) {
            let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
            if path.is_dir() {
                if !name.starts_with('.') && name != "target" {
                    folders.push(path);
                }
            } else if endings.iter().any(|it| name.ends_with(it)) {
                let text = fs::read_to_string(&path).unwrap_or_default();
                let path = path.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
                found.push(File { path, text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(found.len() > 3, "the repository is not where the test looks");
    found
}

fn none(problems: &[String], rule: &str) {
    assert!(problems.is_empty(), "{rule}:\n{}", problems.join("\n"));
}

/// What each module of `arbiter-protocol` may import from its own crate. A module may only lose a line here.
const IMPORTS: [(&str, &[&str]); 16] = [
    ("error", &["time"]),
    ("ids", &["error"]),
    ("limits", &["time"]),
    ("time", &[]),
    ("timestamp", &["ids", "limits", "time"]),
    ("weaken", &[]),
    ("crypto", &["error", "ids", "limits"]),
    // The envelope is the one place below `message` that names generated types (decision D2).
    ("statement", &["crypto", "error", "ids", "limits", "message", "weaken"]),
    ("escrow", &["crypto", "ids", "limits"]),
    ("evidence", &["error", "ids", "limits", "time"]),
    // Items and statements describe each other: a transfer names an item, a signature item is a transfer.
    ("exchange", &["error", "escrow", "ids", "limits", "message", "statement", "time", "weaken"]),
    (
        "message",
        &[
            "crypto",
            "error",
            "escrow",
            "evidence",
            "exchange",
            "ids",
            "limits",
            "statement",
            "time",
            "weaken",
        ],
    ),
    ("ledger", &["crypto", "error", "exchange", "ids", "limits", "message", "statement", "time"]),
    ("role", &["error", "escrow", "exchange", "ids", "message", "statement", "time", "weaken"]),
    (
        "ruling",
        &[
            "crypto",
            "error",
            "escrow",
            "evidence",
            "exchange",
            "ids",
            "limits",
            "message",
            "role",
            "statement",
            "time",
            "weaken",
        ],
    ),
    ("wire", &["error", "escrow", "exchange", "ids", "limits", "message", "role", "ruling", "statement"]),
];

#[test]
fn modules_of_the_protocol_import_only_what_they_may() {
    let allowed: BTreeMap<_, BTreeSet<_>> =
        IMPORTS.iter().map(|(module, list)| (*module, list.iter().copied().collect())).collect();
    let mut problems = Vec::new();
    for file in files(&[".rs"]) {
        let Some(inside) = file.path.strip_prefix("arbiter-protocol/src/") else { continue };
        let module = inside.split(['/', '.']).next().unwrap();
        if module == "lib" || file.is_generated() {
            continue;
        }
        let list =
            allowed.get(module).unwrap_or_else(|| panic!("new module {module}: give it a line in IMPORTS"));
        for (line, code) in file.code() {
            for imported in code.split("crate::").skip(1) {
                let name = imported.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap();
                if !name.is_empty() && name != module && !list.contains(name) {
                    problems.push(format!("{}:{line} imports {name}", file.path));
                }
            }
        }
    }
    none(&problems, "imports point downwards (lib.rs)");
}

/// The pure core has no clock, no randomness, no input or output, no threads; only `wire` knows gRPC.
#[test]
fn the_protocol_is_pure() {
    let banned = [
        "tokio",
        "getrandom",
        "rocksdb",
        "redb",
        "std::fs",
        "std::net",
        "std::env",
        "std::process",
        "std::thread",
        "std::io",
        "SystemTime",
        "Instant",
        "HashMap",
        "HashSet",
        "OsRng",
        "thread_rng",
        "println!",
        "async fn",
    ];
    let mut problems = Vec::new();
    for file in files(&[".rs"]) {
        if !file.path.starts_with("arbiter-protocol/src/") || file.is_generated() {
            continue;
        }
        for (line, code) in file.code() {
            problems.extend(
                banned
                    .iter()
                    .filter(|it| code.contains(*it))
                    .map(|it| format!("{}:{line} names {it}", file.path)),
            );
            if code.contains("tonic") && !file.path.starts_with("arbiter-protocol/src/wire/") {
                problems.push(format!("{}:{line} names tonic outside wire/", file.path));
            }
        }
    }
    none(&problems, "arbiter-protocol is pure");
}

/// Engines and clocks have one door each.
#[test]
fn storage_engines_and_clocks_are_named_in_one_place() {
    let mut problems = Vec::new();
    for file in files(&[".rs"]) {
        if file.is_test() || file.is_generated() {
            continue;
        }
        for (line, code) in file.code() {
            let mut only = |word: &str, place: bool, where_: &str| {
                if code.contains(word) && !place {
                    problems.push(format!("{}:{line} names {word}; only {where_} may", file.path));
                }
            };
            only("rocksdb::", file.path == "src/store/rocks.rs", "src/store/rocks.rs");
            only("SystemTime", file.path.ends_with("/clock.rs"), "clock.rs");
            let books = ["src/ledger/store.rs", "src/witness/store.rs"].contains(&file.path.as_str());
            let journal = file.path.starts_with("arbiter-client/src/journal");
            only("redb::", journal || books, "arbiter-client/src/journal and src/{ledger,witness}/store.rs");
        }
        // The service never depends on the client.
        let service = file.path.starts_with("src/");
        if service && file.code().any(|(_, code)| code.contains("arbiter_client")) {
            problems.push(format!("{} names arbiter_client", file.path));
        }
        if file.path.starts_with("arbiter-client/src/") {
            let names = |(_, code): (usize, &str)| {
                code.contains("use arbiter::") || code.contains(" arbiter::engine")
            };
            if file.code().any(names) {
                problems.push(format!("{} names the service", file.path));
            }
        }
    }
    none(&problems, "one door each");
}

#[test]
fn files_stay_readable() {
    let mut problems = Vec::new();
    for file in files(&[".rs", ".proto"]) {
        let most = if file.is_test() { 1_200 } else { 800 };
        let lines = file.text.lines().count();
        if !file.is_generated() && lines > most {
            problems.push(format!("{} has {lines} lines, at most {most}", file.path));
        }
    }
    none(&problems, "file length");
}

#[test]
fn no_unfinished_words_and_no_unwrap_in_what_ships() {
    let words = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("HA", "CK:")];
    let panics = [".unwrap()", "unimplemented!(", "todo!(", "dbg!("];
    let mut problems = Vec::new();
    for file in files(&[".rs", ".proto", ".md", ".toml"]) {
        if file.is_generated() {
            continue;
        }
        for (number, line) in file.text.lines().enumerate() {
            let found = words.iter().filter(|word| line.contains(**word));
            problems.extend(found.map(|word| format!("{}:{} has {word}", file.path, number + 1)));
        }
        if file.path.ends_with(".rs") && !file.is_test() {
            for (line, code) in file.code() {
                let found = panics.iter().filter(|word| code.contains(**word));
                problems.extend(found.map(|word| format!("{}:{line} has {word}", file.path)));
            }
        }
    }
    none(&problems, "words that may not stay");
}

/// The rule ids in a text.
fn rules(text: &str) -> BTreeSet<String> {
    let digits = |tail: &str| tail.bytes().take_while(u8::is_ascii_digit).count();
    text.match_indices("R-")
        .filter(|(at, _)| !text[..*at].ends_with(|c: char| c.is_ascii_alphanumeric()))
        .filter(|(at, _)| digits(&text[at + 2..]) == 3)
        .map(|(at, _)| text[at..at + 5].to_owned())
        .collect()
}

/// Every rule is defined once, cited by code that enforces it and by a test that breaks it; and no rule is
/// cited that is not defined.
#[test]
fn every_rule_of_the_specification_is_enforced_and_tested() {
    let spec = fs::read_to_string(root().join("SPEC.md")).expect("SPEC.md");
    let mut defined = BTreeSet::new();
    let mut problems = Vec::new();
    for part in spec.split("**R-").skip(1) {
        let id = format!("R-{}", part.split("**").next().unwrap());
        if rules(&id).is_empty() || !defined.insert(id.clone()) {
            problems.push(format!("SPEC.md defines {id} twice, or it is no rule id"));
        }
    }
    let (mut in_source, mut in_tests) = (BTreeSet::new(), BTreeSet::new());
    for file in files(&[".rs", ".proto", ".md"]) {
        for id in rules(&file.text).difference(&defined) {
            problems.push(format!("{} cites {id}, which SPEC.md does not define", file.path));
        }
        if !file.path.ends_with(".rs") || file.is_generated() || file.path.ends_with("tidy.rs") {
            continue;
        }
        if file.is_test() {
            in_tests.extend(rules(&file.text));
        } else {
            let tests = file.unit_tests();
            in_source.extend(rules(&file.text[..file.text.len() - tests.len()]));
            in_tests.extend(rules(tests));
        }
    }
    problems.extend(defined.difference(&in_source).map(|id| format!("no source file cites {id}")));
    problems.extend(defined.difference(&in_tests).map(|id| format!("no test cites {id}")));
    assert!(defined.len() > 30, "SPEC.md defines its rules as **R-101**");
    none(&problems, "rules of SPEC.md");
}

/// A countermeasure that is named can be switched off, in what ships or, where a driver, engine or ledger keeps it, in the world of
/// a model; and is in the list that the models go through. So each is shown to be needed.
#[test]
fn every_countermeasure_can_be_switched_off() {
    let all = files(&[".rs"]);
    let of = |path: &str| all.iter().find(|it| it.path == path).map(|it| it.text.as_str()).expect("a file");
    let weaken = of("arbiter-protocol/src/weaken.rs");
    let (_, rest) = weaken.split_once("pub enum Countermeasure {").expect("the list");
    let (variants, rest) = rest.split_once("\n}").expect("its end");
    let variants = variants.lines().map(str::trim).filter(|it| !it.starts_with("//") && !it.is_empty());
    let named: BTreeSet<_> = variants.map(|it| it.trim_end_matches(',')).collect();
    let listed: BTreeSet<_> =
        rest.lines().filter_map(|it| it.trim().strip_prefix("Self::")?.strip_suffix(',')).collect();
    let apart: Vec<_> = named.symmetric_difference(&listed).collect();
    assert!(named.len() > 20 && apart.is_empty(), "not in both the list and Countermeasure::ALL: {apart:?}");
    let mut off = String::new();
    for file in &all {
        let world = file.path.starts_with("arbiter-protocol/tests/model") && file.path.ends_with("world.rs");
        let ships = file.path.starts_with("arbiter-protocol/src/") && !file.path.ends_with("weaken.rs");
        if ships || world {
            off.extend(file.code().map(|(_, line)| line.to_owned() + "\n"));
        }
    }
    let never = |it: &&&str| !off.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == **it);
    let never: Vec<_> = named.iter().filter(never).collect();
    assert!(never.is_empty(), "nothing is switched off by {never:?}");
}

/// The verdict table in `SPEC.md` is the one that `decisions.rs` tries cell by cell.
#[test]
fn the_verdict_table_in_the_specification_is_the_tested_one() {
    let spec = fs::read_to_string(root().join("SPEC.md")).expect("SPEC.md");
    let read = |name| fs::read_to_string(root().join("arbiter-protocol/tests").join(name)).expect(name);
    let tests = read("decisions.rs") + &read("reservations.rs") + &read("decisions_money.rs");
    let rows = |text: &str| -> Vec<Vec<String>> {
        text.lines()
            .map(str::trim)
            .filter(|line| {
                ["P1.", "P2.", "P1e.", "P2e.", "P1r.", "P3.", "P4.", "P5.", "P6."]
                    .iter()
                    .any(|it| line.starts_with(it))
                    && line.contains('|')
            })
            .map(|line| line.split_whitespace().map(str::to_owned).collect())
            .collect()
    };
    assert_eq!(rows(&tests).len(), 42 + 6 + 21 + 20 + 18 + 22);
    assert_eq!(rows(&spec), rows(&tests));
}

/// Every limit in `SPEC.md` has the number of `limits.rs`.
#[test]
fn the_limits_in_the_specification_are_those_of_the_code() {
    use arbiter_protocol::limits;
    let spec = fs::read_to_string(root().join("SPEC.md")).expect("SPEC.md");
    let number = |value: usize| value.to_string();
    for (name, value) in [
        ("STATEMENT_BYTES", number(limits::STATEMENT_BYTES)),
        ("ENVELOPE_BYTES", number(limits::ENVELOPE_BYTES)),
        ("PAYLOAD_TYPE_BYTES", number(limits::PAYLOAD_TYPE_BYTES)),
        ("NAME_BYTES", number(limits::NAME_BYTES)),
        ("MEDIA_TYPE_BYTES", number(limits::MEDIA_TYPE_BYTES)),
        ("TITLE_BYTES", number(limits::TITLE_BYTES)),
        ("TEXT_BYTES", number(limits::TEXT_BYTES)),
        ("CERTIFICATE_BYTES", number(limits::CERTIFICATE_BYTES)),
        ("MODULUS_BYTES", number(limits::MODULUS_BYTES)),
        ("ESCROW_BYTES", number(limits::ESCROW_BYTES)),
        ("ORIGIN_BYTES", number(limits::ORIGIN_BYTES)),
        ("ITEM_BYTES", limits::ITEM_BYTES.to_string()),
        ("CHUNK_BYTES", number(limits::CHUNK_BYTES)),
        ("SEALED_CHUNK_BYTES", number(limits::SEALED_CHUNK_BYTES)),
        ("CURRENCY_BYTES", number(limits::CURRENCY_BYTES)),
        ("CURRENCY_SCALE", limits::CURRENCY_SCALE.to_string()),
        ("AMOUNT_UNITS", limits::AMOUNT_UNITS.to_string()),
        ("HOLD_MARGIN", limits::HOLD_MARGIN.0.to_string()),
        ("PROPERTIES", number(limits::PROPERTIES)),
        ("EVIDENCE_HASHES", number(limits::EVIDENCE_HASHES)),
        ("PROOF_HASHES", number(limits::PROOF_HASHES)),
        ("LEAF_BYTES", number(limits::LEAF_BYTES)),
        ("TILE_WIDTH", limits::TILE_WIDTH.to_string()),
        ("WITNESS_PROOF_HASHES", number(limits::WITNESS_PROOF_HASHES)),
        ("ADD_CHECKPOINT_BYTES", number(limits::ADD_CHECKPOINT_BYTES)),
        ("TLOG_PROOF_BYTES", number(limits::TLOG_PROOF_BYTES)),
        ("TIMESTAMP_BYTES", number(limits::TIMESTAMP_BYTES)),
        ("ANCHOR_BYTES", number(limits::ANCHOR_BYTES)),
        ("PROOF_EXTRA_BYTES", number(limits::PROOF_EXTRA_BYTES)),
        ("POLICY_ENTRIES", number(limits::POLICY_ENTRIES)),
        ("POLICY_BYTES", number(limits::POLICY_BYTES)),
        ("NOTE_TEXT_BYTES", number(limits::NOTE_TEXT_BYTES)),
        ("NOTE_SIGNATURES", number(limits::NOTE_SIGNATURES)),
        ("NOTE_KEY_NAME_BYTES", number(limits::NOTE_KEY_NAME_BYTES)),
        ("CIRCULATION_UNITS", limits::CIRCULATION_UNITS.to_string()),
        ("QUERY_FRESH", limits::QUERY_FRESH.0.to_string()),
        ("TIME_MILLIS", limits::TIME_MILLIS.to_string()),
    ] {
        assert!(spec.contains(&format!("| {name} | {value} |")), "SPEC.md: | {name} | {value} |");
    }
}
