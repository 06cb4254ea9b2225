//! `docs/scenarios.md` says which tests try which scenario and break which rule. Here it is held to that.
//!
//! ```text
//!  docs/scenarios.md ── row ──▶ file::test ──▶ a test function of that name, which cites the row's number
//!                      └──────▶ S1 to S45 once each; the rules of SPEC.md once each, and no others
//! ```

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may fail by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// How many scenarios there are.
const SCENARIOS: u32 = 45;
/// What the last column of a scenario may begin with.
const REASONS: [&str; 4] = ["Assumed", "Cannot occur", "Not built", "Open"];

fn read(path: &str) -> Result<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in the repository");
    fs::read_to_string(root.join(path)).map_err(|why| format!("{path}: {why}"))
}

/// A row of one of the first two tables.
#[derive(Clone, Debug)]
struct Row {
    id: String,
    /// Pairs of file and function.
    tests: Vec<(String, String)>,
    reason: String,
}

/// The page: its rows, and the paths behind the names of files.
#[derive(Default)]
struct Page {
    rows: Vec<Row>,
    files: BTreeMap<String, String>,
    problems: Vec<String>,
}

impl Page {
    fn parse(text: &str) -> Self {
        let mut page = Self::default();
        let mut table = "";
        for line in text.lines() {
            if let Some(title) = line.strip_prefix("## ") {
                table = title;
            }
            let Some(cells) = line.strip_prefix("| ").and_then(|it| it.strip_suffix(" |")) else { continue };
            let cells: Vec<_> = cells.split(" | ").map(str::trim).collect();
            match (table, &cells[..]) {
                (_, ["id" | "rule" | "file", ..] | ["---", ..]) => {}
                ("Scenarios", [id, what, tests, reason]) if !what.is_empty() => page.row(id, tests, reason),
                ("Rules", [id, what, tests]) if !what.is_empty() => page.row(id, tests, "–"),
                ("Files", [name, path]) => {
                    let before = page.files.insert((*name).to_owned(), path.trim_matches('`').to_owned());
                    page.problems.extend(before.map(|path| format!("{name} is two files, one is {path}")));
                }
                _ => page.problems.push(format!("in {table:?}, not a row of it: {line}")),
            }
        }
        page
    }

    fn row(&mut self, id: &str, tests: &str, reason: &str) {
        let listed = tests.split(", ").filter(|it| *it != "–");
        let mut list = Vec::new();
        for it in listed {
            match it.strip_prefix('`').and_then(|it| it.strip_suffix('`')).and_then(|it| it.split_once("::"))
            {
                Some((file, test)) => list.push((file.to_owned(), test.to_owned())),
                None => self.problems.push(format!("{id}: {it} is not `file::test`")),
            }
        }
        let reason = if reason == "–" { "" } else { reason };
        self.rows.push(Row { id: id.to_owned(), tests: list, reason: reason.to_owned() });
    }

    /// Everything that is wrong with the page, given the rules of the specification and the sources.
    fn check(
        &self,
        rules: &BTreeSet<String>,
        source: &dyn Fn(&str) -> Result<String, String>,
    ) -> Vec<String> {
        let mut problems = self.problems.clone();
        let mut wanted: BTreeSet<String> = (1..=SCENARIOS).map(|number| format!("S{number}")).collect();
        wanted.extend(rules.iter().cloned());
        let mut seen = BTreeSet::new();
        for row in &self.rows {
            if !wanted.contains(&row.id) {
                problems.push(format!("{} is neither a scenario nor a rule", row.id));
            }
            if !seen.insert(row.id.clone()) {
                problems.push(format!("{} has two rows", row.id));
            }
            let why_not = REASONS.iter().any(|it| row.reason.starts_with(it)) && row.reason.ends_with('.');
            if !why_not && !row.reason.is_empty() {
                problems.push(format!("{} gives no reason of the four", row.id));
            } else if row.tests.is_empty() && !why_not {
                problems.push(format!("{} has neither a test nor a reason", row.id));
            }
            let unique: BTreeSet<_> = row.tests.iter().collect();
            if unique.len() != row.tests.len() {
                problems.push(format!("{} lists a test twice", row.id));
            }
        }
        problems.extend(wanted.difference(&seen).map(|id| format!("{id} has no row")));
        problems.extend(self.check_tests(source));
        problems
    }

    fn check_tests(&self, source: &dyn Fn(&str) -> Result<String, String>) -> Vec<String> {
        let mut problems = Vec::new();
        let mut tests = BTreeMap::new();
        for (name, path) in &self.files {
            match source(path) {
                Ok(text) => drop(tests.insert(name.as_str(), functions(&text))),
                Err(why) => problems.push(why),
            }
            if !self.rows.iter().flat_map(|row| &row.tests).any(|(file, _)| file == name) {
                problems.push(format!("{name} is used by no row"));
            }
        }
        for row in &self.rows {
            for (file, test) in &row.tests {
                match tests.get(file.as_str()).map(|all| all.get(test)) {
                    None => problems.push(format!("{}: there is no file {file}", row.id)),
                    Some(None) => problems.push(format!("{}: {file} has no test {test}", row.id)),
                    Some(Some(cited)) if !cited.contains(&row.id) => {
                        problems.push(format!("{file}::{test} does not cite {}", row.id));
                    }
                    Some(Some(_)) => {}
                }
            }
        }
        problems
    }
}

/// The test functions of a file that always run, with everything that comment, attributes and body cite.
fn functions(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let lines: Vec<_> = text.lines().collect();
    let mut found = BTreeMap::new();
    for (at, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let indent = &line[..line.len() - code.len()];
        let code = code.strip_prefix("async ").unwrap_or(code);
        let Some(name) = code.strip_prefix("fn ") else { continue };
        let name = name.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap();
        let above = lines[..at].iter().rev().take_while(|it| {
            let it = it.trim_start();
            it.starts_with("///") || it.starts_with("#[")
        });
        let start = at - above.count();
        let is_test = |it: &&str| {
            let it = it.trim_start();
            it == "#[test]" || it.starts_with("#[tokio::test]") || it.starts_with("#[tokio::test(")
        };
        let seldom = |it: &&str| it.trim_start().starts_with("#[ignore");
        if !lines[start..at].iter().any(is_test) || lines[start..at].iter().any(seldom) {
            continue; // A helper, or a test that runs only when it is asked for.
        }
        // rustfmt puts the end of a function under its beginning.
        let end = format!("{indent}}}");
        let length = lines[at..].iter().position(|it| *it == end).expect("a function ends");
        let cited = cited(&lines[start..=at + length].join("\n"));
        assert!(found.insert(name.to_owned(), cited).is_none(), "two tests are called {name}");
    }
    found
}

/// The scenarios and rules in a text; `S21 to S31` are eleven.
fn cited(text: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let mut last: Option<(&str, u32, usize)> = None;
    for (at, letter) in text.char_indices().filter(|(_, c)| ['R', 'S'].contains(c)) {
        if text[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
            continue;
        }
        let kind = if letter == 'R' { "R-" } else { "S" };
        let Some(tail) = text[at..].strip_prefix(kind) else { continue };
        let digits = tail.bytes().take_while(u8::is_ascii_digit).count();
        let whole = !tail[digits..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        let (true, Ok(number)) = (whole, tail[..digits].parse::<u32>()) else { continue };
        let first = match last {
            Some((before, from, end)) if before == kind && text[end..at].trim() == "to" => from,
            _ => number,
        };
        all.extend((first..=number).map(|number| format!("{kind}{number}")));
        last = Some((kind, number, at + kind.len() + digits));
    }
    all
}

/// What `SPEC.md` defines.
fn rules() -> BTreeSet<String> {
    let spec = read("SPEC.md").unwrap();
    let defined = spec.split("**R-").skip(1).map(|it| format!("R-{}", it.split("**").next().unwrap()));
    let defined: BTreeSet<_> = defined.collect();
    assert!(defined.len() > 30, "SPEC.md defines its rules in bold");
    defined
}

#[test]
fn every_scenario_and_every_rule_has_its_tests() {
    let page = Page::parse(&read("docs/scenarios.md").unwrap());
    let problems = page.check(&rules(), &read);
    assert!(problems.is_empty(), "docs/scenarios.md:\n{}", problems.join("\n"));
    for reason in REASONS {
        let rows = page.rows.iter().filter(|row| row.reason.contains(reason));
        println!("{reason}: {}", rows.map(|row| row.id.as_str()).collect::<Vec<_>>().join(", "));
    }
}

#[test]
fn citations_are_numbers_of_their_own_and_ranges() {
    let list = |text: &str| cited(text).into_iter().collect::<Vec<_>>().join(" ");
    assert_eq!(list("S3, (S4). S5: \"S6\" XS7 S8a S9_b S S10"), "S10 S3 S4 S5 S6");
    assert_eq!(list("S28 to S31, S1"), "S1 S28 S29 S30 S31");
    assert_eq!(list("R-98 to R-99 and R-97, R98"), "R-97 R-98 R-99");
}

/// A page with one fault each: every one is named.
#[test]
fn a_page_that_is_not_true_is_noticed() {
    let source = |path: &str| match path {
        "one.rs" => Ok("/// S1 to S45.\n#[test]\nfn good() {\n    let rule = \"R-7\";\n}\n\n\
                        /// S7.\nfn helper() {\n}\n\n#[tokio::test]\nasync fn other() {\n    // R-7\n}\n\n\
                        /// S7.\n#[test]\n#[ignore = \"slow\"]\nfn seldom() {\n}\n"
            .to_owned()),
        _ => Err(format!("{path}: not there")),
    };
    let scenarios: String =
        (1..=SCENARIOS).map(|number| format!("| S{number} | what | `one::good` | – |\n")).collect();
    let good = format!(
        "## Scenarios\n| id | scenario | tests | not covered |\n| --- | --- | --- | --- |\n{scenarios}\
         ## Rules\n| R-7 | what | `one::good`, `one::other` |\n## Files\n| one | `one.rs` |\n"
    );
    let rules = BTreeSet::from(["R-7".to_owned()]);
    let problems = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        Page::parse(&good.replacen(from, to, 1)).check(&rules, &source).join("; ")
    };
    assert_eq!(problems("", ""), "");
    let row = "| S7 | what | `one::good` | – |";
    assert_eq!(problems(row, "| S7 | what | – | Not built: nothing of it. |"), "");
    for (to, expected) in [
        ("", "S7 has no row"),
        ("| S8 | what | `one::good` | – |", "S8 has two rows; S7 has no row"),
        ("| S7 | what | – | – |", "S7 has neither a test nor a reason"),
        ("| S7 | what | `one::good` | Whatever. |", "S7 gives no reason of the four"),
        ("| S7 | what | `one::absent` | – |", "S7: one has no test absent"),
        ("| S7 | what | `one::helper` | – |", "S7: one has no test helper"),
        ("| S7 | what | `one::seldom` | – |", "S7: one has no test seldom"),
        ("| S7 | what | `two::good` | – |", "S7: there is no file two"),
        ("| S7 | what | `one::other` | – |", "one::other does not cite S7"),
        ("| S7 | what | `one::good`, `one::good` | – |", "S7 lists a test twice"),
        ("| S7 | what | good | – |", "S7: good is not `file::test`; S7 has neither a test nor a reason"),
    ] {
        assert_eq!(problems(row, to), expected, "{to}");
    }
    assert!(problems(row, "| S7 | `one::good` | – |").contains("not a row of it"));
    let rule = "| R-7 | what | `one::good`, `one::other` |";
    assert_eq!(problems(rule, ""), "R-7 has no row");
    assert_eq!(
        problems(rule, &format!("{rule}\n| R-8 | what | `one::good` |")),
        "R-8 is neither a scenario nor a rule; one::good does not cite R-8"
    );
    assert!(problems("`one.rs`", "`absent.rs`").contains("absent.rs: not there"));
    assert_eq!(
        problems("| one | `one.rs` |", "| one | `one.rs` |\n| more | `one.rs` |"),
        "more is used by no row"
    );
}
