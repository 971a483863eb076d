//! The table `[retention]` of the rules file: for how long what is kept. What is hardly meant is refused, since what has been removed
//! does not come back.

use super::rules_file::RulesError;
use super::schema::Place;
use crate::model::{Keep, RetentionClass, RetentionRules};
use serde::Deserialize;
use std::collections::BTreeMap;
use toml::Spanned;

const SECOND_US: i64 = 1_000_000;
const HOUR_US: i64 = 3_600 * SECOND_US;
const DAY_US: i64 = 24 * HOUR_US;
/// Shorter than this no call is kept: what belongs to a trace, and what is weighed by likeness, must have come.
const SHORTEST_CALLS_US: i64 = DAY_US;
/// How often a server may look, at least and at most.
const EVERY_US: std::ops::RangeInclusive<i64> = SECOND_US..=7 * DAY_US;

/// The keys of the table that are no class.
pub(super) const EVERY: &str = "every";

#[derive(Default, Deserialize)]
#[serde(transparent)]
pub(super) struct Retention(BTreeMap<Spanned<String>, Spanned<String>>);

impl Retention {
    pub(super) fn read(self, place: &Place<'_>, longest_grace_us: i64) -> Result<RetentionRules, RulesError> {
        let mut rules = RetentionRules::default();
        let mut spans = BTreeMap::new();
        for (key, value) in self.0 {
            let error = |what: String| place.error(Some(value.span()), what);
            let us = duration_us(value.get_ref()).ok_or_else(|| {
                error(format!(
                    "{} of [retention] must be a time, as \"90d\", \"36h\" or \"13w\"",
                    key.get_ref()
                ))
            })?;
            if key.get_ref() == EVERY {
                rules.every_us = us;
                if !EVERY_US.contains(&us) {
                    return Err(error(
                        "every of [retention] must be between \"1s\" and \"7d\", as \"1h\"".to_owned(),
                    ));
                }
                continue;
            }
            let class: RetentionClass = key.get_ref().parse().map_err(error)?;
            let rule = format!("{class} = \"{}\"", value.get_ref());
            rules.keep.insert(class, Keep { us, rule });
            spans.insert(class, value.span());
        }
        check(&rules, longest_grace_us).map_err(|(class, what)| place.error(spans.remove(&class), what))?;
        fill_in(&mut rules);
        Ok(rules)
    }
}

/// What is refused, with the class whose line it is.
fn check(rules: &RetentionRules, longest_grace_us: i64) -> Result<(), (RetentionClass, String)> {
    use RetentionClass::{Calls, Denied, Evidence, Findings};
    let kept = |class| rules.keep.get(&class).map(|keep| keep.us);
    if let Some(us) = kept(Evidence)
        && us < longest_grace_us.max(HOUR_US)
    {
        let what = format!(
            "evidence must be kept for at least an hour and for as long as lines may take ({} s by [join]): what comes late is \
             joined with it, as evidence = \"30d\"",
            longest_grace_us / SECOND_US
        );
        return Err((Evidence, what));
    }
    if kept(Calls).is_some_and(|us| us < SHORTEST_CALLS_US) {
        let what = "calls must be kept for at least \"1d\": a call that is gone cannot be joined with what comes late".to_owned();
        return Err((Calls, what));
    }
    for class in [Denied, Findings] {
        let Some(us) = kept(class) else { continue };
        let Some(calls) = kept(Calls) else {
            let what = format!(
                "{class} says how much longer such calls are kept than the others, and no rule says how long these are: add \
                 calls = \"90d\""
            );
            return Err((class, what));
        };
        if us < calls {
            let what = format!(
                "{class} must be at least as long as calls: it is for calls that are kept longer than the others"
            );
            return Err((class, what));
        }
    }
    Ok(())
}

/// Calls of which nothing else is said are kept as all calls are.
fn fill_in(rules: &mut RetentionRules) {
    let Some(calls) = rules.keep.get(&RetentionClass::Calls).cloned() else { return };
    for class in [RetentionClass::Denied, RetentionClass::Findings] {
        rules.keep.entry(class).or_insert_with(|| calls.clone());
    }
}

/// `90d`, `36h`, `13w`, `45m`, `20s`. Above ten centuries nobody means it.
fn duration_us(text: &str) -> Option<i64> {
    let unit = text.chars().last()?;
    let unit_us = match unit {
        's' => SECOND_US,
        'm' => 60 * SECOND_US,
        'h' => HOUR_US,
        'd' => DAY_US,
        'w' => 7 * DAY_US,
        _ => return None,
    };
    let number: i64 = text.strip_suffix(unit)?.trim().parse().ok()?;
    let us = number.checked_mul(unit_us)?;
    (1..=365_250 * DAY_US).contains(&us).then_some(us)
}

#[cfg(test)]
mod tests {
    use crate::config::parse_retention;
    use crate::model::{RetentionClass, RetentionRules, Timestamp};
    use std::path::Path;

    fn parse(text: &str) -> Result<RetentionRules, String> {
        parse_retention(text, "rules.toml", Path::new(".")).map_err(|e| e.to_string())
    }

    #[test]
    fn without_a_rule_nothing_goes() {
        assert_eq!(parse("").unwrap(), RetentionRules::default());
        assert!(parse("[retention]\n").unwrap().cutoffs(Timestamp(0)).is_empty());
    }

    #[test]
    fn each_class_has_its_rule_and_denied_calls_go_with_the_others_unless_they_have_their_own() {
        let rules = parse(
            "[retention]\ncalls = \"90d\"\nfindings = \"400d\"\nevidence = \"30d\"\nstatistics_minute = \"2w\"\nevery = \"10m\"\n",
        )
        .unwrap();
        let days = |class| rules.keep[&class].us / super::DAY_US;
        use RetentionClass::*;
        assert_eq!([Evidence, Calls, Denied, Findings, StatisticsMinute].map(days), [30, 90, 90, 400, 14]);
        assert_eq!(
            rules.keep[&Denied].rule, "calls = \"90d\"",
            "whoever asks why is told the line that was written"
        );
        assert_eq!(rules.every_us, 600_000_000);
        assert!(!rules.keep.contains_key(&StatisticsDay));
    }

    #[test]
    fn what_is_hardly_meant_is_refused_with_its_line_and_what_to_write() {
        for (text, place, hint) in [
            ("[retention]\ncall = \"90d\"\n", "rules.toml:2:", "\"calls\""),
            ("[retention]\ncalls = 90\n", "rules.toml:2:", "in quotes"),
            ("[retention]\ncalls = \"90 days\"\n", "rules.toml:2:", "\"90d\""),
            ("[retention]\ncalls = \"0d\"\n", "rules.toml:2:", "\"90d\""),
            ("[retention]\ncalls = \"-1d\"\n", "rules.toml:2:", "\"90d\""),
            ("[retention]\ncalls = \"99999999999999w\"\n", "rules.toml:2:", "\"90d\""),
            ("[retention]\ncalls = \"12h\"\n", "rules.toml:2:", "at least \"1d\""),
            ("[retention]\nevidence = \"60s\"\n", "rules.toml:2:", "120 s by [join]"),
            ("[join]\ngrace_seconds = 172800\n[retention]\nevidence = \"1d\"\n", "rules.toml:4:", "172800 s"),
            (
                "[retention]\ncalls = \"90d\"\ndenied = \"30d\"\n",
                "rules.toml:3:",
                "at least as long as calls",
            ),
            ("[retention]\nfindings = \"400d\"\n", "rules.toml:2:", "add calls"),
            ("[retention]\nevery = \"8d\"\n", "rules.toml:2:", "between"),
            ("retention = 3\n", "rules.toml:1:", "square brackets"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(place) && error.contains(hint), "{text}: {error}");
        }
    }
}
