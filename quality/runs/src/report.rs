//! The table on the terminal and in `docs/join-quality.md`. The prose of the document stands in `join-quality.md` beside this file; only
//! what is measured is filled in.

use crate::figures::{Figures, Row, Settings, percent, thousands};
use calltrail_score::Score;
use std::fmt::Write;

const TEMPLATE: &str = include_str!("join-quality.md");

pub fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| measure | figure to reach | reached | | OpenTelemetry-style pairing | trace-id group-by |\n|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let mark = if row.met { "yes" } else { "**no**" };
        let or_dash = |t: &str| if t.is_empty() { "—".to_owned() } else { t.to_owned() };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {mark} | {} | {} |",
            row.measure,
            row.figure,
            row.reached,
            or_dash(&row.by_span),
            or_dash(&row.by_trace)
        );
    }
    text
}

pub fn document(figures: &Figures, settings: &Settings) -> String {
    let filled = [
        ("{{table}}", table(&figures.rows)),
        (
            "{{command}}",
            format!("cargo xtask join-quality --calls {} --seed {}", settings.calls, settings.seed),
        ),
        ("{{seed}}", settings.seed.to_string()),
        ("{{calls}}", thousands(figures.plans.iter().map(|(_, v)| v.ours.real_calls).sum())),
        ("{{worlds}}", worlds(figures)),
        ("{{curve}}", curves(figures)),
        ("{{calibration}}", calibration(figures)),
        ("{{fullstack-exceptions}}", exceptions(&figures.fullstack)),
        ("{{hop-exceptions}}", exceptions(&figures.hop)),
    ];
    filled.iter().fold(TEMPLATE.to_owned(), |text, (name, value)| text.replace(name, value.trim_end()))
}

fn worlds(figures: &Figures) -> String {
    let mut text = String::from(
        "| world | calls | pairs missed | wrong `proven` | wrong `keyed` | wrong `inferred` (of these among equals) | parents wrong, missed | principals wrong, provable missed | false accusations |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    for (plan, verdict) in &figures.plans {
        let s = &verdict.ours;
        let of = |basis: &str| s.by_basis.get(basis).copied().unwrap_or_default();
        let wrong = |basis: &str| of(basis).wrong + of(basis).swapped;
        let accusations: Vec<String> =
            s.false_accusations.iter().map(|(k, n)| format!("`{k}` {n}")).collect();
        let accusations = if accusations.is_empty() { "0".to_owned() } else { accusations.join(", ") };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} ({}) of {} | {}, {} of {} | {}, {} | {accusations} |",
            plan.name,
            thousands(s.real_calls),
            percent(1.0 - s.pairs.recall()),
            wrong("proven"),
            wrong("keyed"),
            thousands(wrong("inferred")),
            thousands(of("inferred").swapped),
            thousands(wrong("inferred") + of("inferred").right),
            s.parents.wrong,
            s.parents.missed,
            thousands(s.parents.right + s.parents.wrong + s.parents.missed),
            s.principals.wrong,
            s.provable_principals.missed,
        );
    }
    text
}

fn curves(figures: &Figures) -> String {
    let mut text = String::from("| shape | legs | took | per leg | times n log n |\n|---|---|---|---|---|\n");
    for curve in &figures.curves {
        for point in &curve.points {
            let per_leg_us = point.took.as_secs_f64() * 1e6 / point.legs as f64;
            let over = curve.over_n_log_n(point);
            let legs = thousands(point.legs);
            let _ = writeln!(
                text,
                "| {} | {legs} | {:.1?} | {per_leg_us:.1} µs | {over:.2} |",
                curve.shape, point.took
            );
        }
    }
    text
}

fn calibration(figures: &Figures) -> String {
    let mut text = String::from("| world | said | was right | calls |\n|---|---|---|---|\n");
    for (plan, verdict) in &figures.plans {
        let buckets = verdict.ours.calibration.buckets.iter().filter(|b| b.calls > 0);
        for bucket in buckets {
            let calls = bucket.calls as f64;
            let (said, was) = (bucket.confidence_sum / calls, bucket.right as f64 / calls);
            let _ = writeln!(text, "| {} | {said:.3} | {was:.3} | {} |", plan.name, thousands(bucket.calls));
        }
    }
    text
}

/// What is not as it truly was, one by one.
fn exceptions(score: &Score) -> String {
    let harmless = |text: &str| text.contains("unexplained");
    let lines: Vec<String> =
        score.cases.iter().filter(|c| !harmless(&c.text)).map(|c| format!("* {}", c.text)).collect();
    if lines.is_empty() { "None.".to_owned() } else { lines.join("\n") }
}
