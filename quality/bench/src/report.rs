//! The document: a template with the tables put in. Nobody edits the tables by hand.

use crate::bench::Bench;
use crate::figures::{Figures, Spread};
use crate::goals::{GOALS, Reach};
use crate::machine;
use std::fmt::Write;

const TEMPLATE: &str = include_str!("benchmarks.md");

pub fn document(bench: &Bench, figures: &Figures) -> String {
    let (options, rows) = (&bench.options, machine::describe(bench));
    let filled = [
        (
            "{machine}",
            rows.iter().fold(String::new(), |text, (what, which)| text + &format!("| {what} | {which} |\n")),
        ),
        ("{goals}", goals(figures)),
        ("{questions}", questions(figures)),
        ("{figures}", all(figures)),
        ("{failures}", failures(figures)),
        ("{rounds}", options.rounds.to_string()),
        ("{lines}", number(options.lines as f64)),
        ("{live_lines}", number(options.live_lines as f64)),
        ("{live_rate}", number(options.live_rate as f64)),
        ("{stored_lines}", number(options.stored_lines as f64)),
        ("{asked}", options.questions.to_string()),
        ("{plain}", figures.median("import.plain_bytes_per_line").map_or("?".to_owned(), number)),
        ("{gzip}", figures.median("import.gzip_bytes_per_request").map_or("?".to_owned(), number)),
    ];
    filled.into_iter().fold(TEMPLATE.to_owned(), |text, (mark, value)| text.replace(mark, value.trim_end()))
}

fn goals(figures: &Figures) -> String {
    let mut table = String::new();
    for goal in GOALS {
        let asked = match goal.reach {
            Reach::AtLeast(least) => format!("≥ {}", number(least)),
            Reach::AtMost(most) => format!("≤ {}", number(most)),
        };
        let (median, spread, is_met) = match goal.spread(figures) {
            Some(spread) => (number(spread.median), range(spread), yes(goal.reach.is_met(spread.median))),
            None => ("not measured".to_owned(), String::new(), ""),
        };
        let _ = writeln!(table, "| {} | {asked} | {median} | {spread} | {is_met} |", goal.what);
    }
    table
}

fn questions(figures: &Figures) -> String {
    let mut table = String::new();
    for name in figures.names().filter_map(|name| name.strip_prefix("query.")?.strip_suffix(".goal_ms")) {
        let of = |what: &str| figures.spread(&format!("query.{name}.{what}"));
        let at_most = of("goal_ms").map_or(0.0, |goal| goal.median);
        let _ = match (of("p50_ms"), of("p99_ms")) {
            (Some(p50), Some(p99)) => writeln!(
                table,
                "| {name} | {} | {} | {} | ≤ {} | {} |",
                number(p50.median),
                number(p99.median),
                range(p99),
                number(at_most),
                yes(p99.median <= at_most)
            ),
            _ => writeln!(table, "| {name} | not answered | | | ≤ {} | no |", number(at_most)),
        };
    }
    table
}

fn all(figures: &Figures) -> String {
    let mut table = String::new();
    for name in figures.names().filter(|name| !name.starts_with("query.")) {
        if let Some(spread) = figures.spread(name) {
            let (median, range, rounds) = (number(spread.median), range(spread), spread.rounds);
            let _ = writeln!(table, "| {name} | {median} | {range} | {rounds} |");
        }
    }
    table
}

fn failures(figures: &Figures) -> String {
    if figures.failures.is_empty() {
        return "Everything was measured.".to_owned();
    }
    let rows = figures.failures.iter().map(|(name, why)| format!("- {name}: {why}\n"));
    format!("Not measured:\n\n{}", rows.collect::<String>())
}

fn yes(is_met: bool) -> &'static str {
    if is_met { "yes" } else { "no" }
}

fn range(spread: Spread) -> String {
    format!("{} to {}", number(spread.low), number(spread.high))
}

/// Three digits that say something, thousands set apart.
pub fn number(value: f64) -> String {
    if value.abs() < 100.0 && value.fract() != 0.0 {
        let digits = if value.abs() < 10.0 { 2 } else { 1 };
        return format!("{value:.digits$}");
    }
    let digits = format!("{:.0}", value.abs());
    let mut text = if value < 0.0 { "-".to_owned() } else { String::new() };
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_read_easily() {
        let written: Vec<String> = [0.614, 12.34, 7.0, 1234.5, 1_000_000.0, -4.5].map(number).into();
        assert_eq!(written, ["0.61", "12.3", "7", "1,234", "1,000,000", "-4.50"]);
    }
}
