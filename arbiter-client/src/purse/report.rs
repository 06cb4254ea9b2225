//! What was paid and why, for other programs: CSV (RFC 4180) and JSON.
//!
//! Invariant: no cell begins with a character that a spreadsheet takes for a formula: names come from others.

use arbiter_protocol::time::UnixMillis;
use serde_json::{Value, json as value};

use super::Entry;

const COLUMNS: [&str; 17] = [
    "payment_id",
    "direction",
    "amount",
    "units",
    "currency",
    "scale",
    "state",
    "time",
    "entry",
    "ledger",
    "from_account",
    "to_account",
    "exchange_id",
    "fingerprint",
    "peer",
    "for",
    "verdict",
];

/// One line a payment, with a line of headings; lines end as RFC 4180 says.
pub fn csv(entries: &[Entry]) -> String {
    let mut text = COLUMNS.join(",");
    text.push_str("\r\n");
    for entry in entries {
        let row = cells(entry).map(|cell| quoted(&cell)).join(",");
        text.push_str(&row);
        text.push_str("\r\n");
    }
    text
}

/// The same as a JSON array of objects.
pub fn json(entries: &[Entry]) -> String {
    let object = |entry: &Entry| {
        let cells = COLUMNS.into_iter().zip(cells(entry));
        Value::Object(cells.map(|(name, cell)| (name.to_owned(), value!(cell))).collect())
    };
    let list: Vec<_> = entries.iter().map(object).collect();
    let mut text = serde_json::to_string_pretty(&list).expect("invariant: strings always serialize");
    text.push('\n');
    text
}

fn cells(entry: &Entry) -> [String; 17] {
    let payment = &entry.terms.payment;
    let why = entry.exchange.as_ref();
    let of = |get: fn(&super::history::Why) -> String| why.map_or_else(String::new, get);
    [
        entry.terms.id().to_string(),
        if entry.pays { "out" } else { "in" }.to_owned(),
        payment.amount.to_string(),
        payment.amount.units.to_string(),
        payment.amount.currency.code().to_owned(),
        payment.amount.currency.scale().to_string(),
        entry.stand.name().to_owned(),
        entry.time.as_ref().map_or_else(String::new, UnixMillis::to_string),
        entry.entry.as_ref().map_or_else(String::new, u64::to_string),
        payment.ledger.to_string(),
        payment.payer.to_string(),
        payment.payee.to_string(),
        of(|it| it.exchange_id.to_string()),
        of(|it| it.fingerprint.clone()),
        of(|it| it.peer.clone()),
        of(|it| format!("{} for {}: {}", it.given, it.got, it.outcome)),
        of(|it| it.verdict.clone().unwrap_or_default()),
    ]
}

fn quoted(cell: &str) -> String {
    let safe = match cell.chars().next() {
        Some('=' | '+' | '-' | '@' | '\t' | '\r') => format!("'{cell}"),
        _ => cell.to_owned(),
    };
    if safe.contains([',', '"', '\r', '\n']) { format!("\"{}\"", safe.replace('"', "\"\"")) } else { safe }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_of_others_are_no_formulas_and_break_no_line() {
        assert_eq!(quoted("plain"), "plain");
        assert_eq!(quoted("=SUM(A1)"), "'=SUM(A1)");
        assert_eq!(quoted("a \"b\", c"), "\"a \"\"b\"\", c\"");
        assert_eq!(quoted("-1\n+2"), "\"'-1\n+2\"");
        assert_eq!(csv(&[]), format!("{}\r\n", COLUMNS.join(",")));
        assert_eq!(json(&[]), "[]\n");
    }
}
