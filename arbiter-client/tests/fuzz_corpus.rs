//! Every input of the client's targets that fuzzing kept is tried again: `fuzz/corpus`, one folder for each target. A
//! corpus that is missing, or in which nothing is accepted, tests nothing and fails.

#![cfg(feature = "audit")]
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may fail by panicking"
)]

mod fuzz;

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

#[test]
fn every_kept_input_is_harmless() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("fuzz/corpus");
    let mut problems = Vec::new();
    for (name, target) in fuzz::ALL {
        let folder = corpus.join(name);
        let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let files: BTreeSet<_> = files.map(|it| it.unwrap().path()).collect();
        let mut accepted = 0;
        for file in &files {
            let bytes = fs::read(file).unwrap();
            match catch_unwind(|| target(&bytes)) {
                Ok(all_the_way) => accepted += usize::from(all_the_way),
                Err(_) => problems.push(file.display().to_string()),
            }
        }
        println!("{name}: {} inputs, {accepted} accepted", files.len());
        if accepted == 0 || accepted == files.len() {
            problems.push(format!("{name}: {accepted} of {} inputs are accepted", files.len()));
        }
    }
    assert!(
        problems.is_empty(),
        "inputs that break something, and targets whose corpus tests nothing:\n{}",
        problems.join("\n")
    );
}
