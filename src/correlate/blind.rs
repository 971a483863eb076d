//! When an observer's silence must be taken for blindness: pure functions of the minutes for which it has delivered lines.
//!
//! What counts is the time that lines tell *of*, not the time at which they came: a silence whose lines are delivered later was
//! never one, so a window goes away by itself. Whoever reports without a rhythm (a nightly job) is never presumed blind.

use crate::model::{BlindReason, BlindWindow, Timestamp};
use std::collections::BTreeMap;

const MINUTE_US: i64 = 60_000_000;
const HOUR_US: i64 = 3_600_000_000;
const HOUR_MINUTES: i64 = 60;
/// With fewer minutes than this in the hour before, there is no rhythm that a silence could break.
const RHYTHM_MINUTES: usize = 10;
/// A silence that the rhythm of the hour before would make less often than this is none of its pauses.
const CHANCE: f64 = 1e-6;
/// How long after a minute the hours reach whose windows that minute can change.
const REACH_US: i64 = 2 * HOUR_US;

/// The minutes of each hour for which an observer has delivered lines, as bits: what is known of when it was heard.
pub type Minutes = BTreeMap<Timestamp, u64>;

pub fn add(minutes: &mut Minutes, at: Timestamp) {
    let minute = (at.micros() - at.hour().micros()) / MINUTE_US;
    *minutes.entry(at.hour()).or_default() |= 1 << minute;
}

/// The windows of one observer that lines in `first..=last` (hours) can have changed, and the range of their `after` (without its
/// end) that they replace.
///
/// `minutes` must reach from an hour before the last hour that was heard before `first` to the first one that was heard
/// [`reach`] after `last`.
pub fn windows(observer: &str, minutes: &Minutes, first: Timestamp, last: Timestamp) -> Replaced {
    let heard = in_order(minutes);
    let before = heard.partition_point(|m| *m < minute_of(first));
    let from = before.checked_sub(1).map_or(first, |i| at(heard[i]));
    let to = reach(last);
    let mut windows = Vec::new();
    let mut hour_begins = 0;
    for (i, minute) in heard.iter().enumerate() {
        while heard[hour_begins] <= minute - HOUR_MINUTES {
            hour_begins += 1;
        }
        let after = at(*minute);
        if after < from || after >= to {
            continue;
        }
        if let Some(pause) = longest_pause(i + 1 - hour_begins) {
            windows.extend(window(observer, *minute, heard.get(i + 1).copied(), pause));
        }
    }
    Replaced { observer: observer.to_owned(), from, to, windows }
}

/// Up to where windows can be changed by lines of an hour.
pub fn reach(last_hour: Timestamp) -> Timestamp {
    last_hour.plus_us(REACH_US)
}

/// Windows that take the place of all silences of the observer whose `after` is in `[from, to)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    pub observer: String,
    pub from: Timestamp,
    pub to: Timestamp,
    pub windows: Vec<BlindWindow>,
}

/// A silence that is over covers the minutes in which it began and ended: lines of parts of them may be missing. One that lasts is
/// counted from the next minute on until it is known for one.
fn window(observer: &str, heard: i64, again: Option<i64>, longest_pause: i64) -> Option<BlindWindow> {
    let window = |from, to, known| BlindWindow {
        observer: observer.to_owned(),
        reason: BlindReason::Silent,
        after: at(heard),
        from,
        to,
        known,
    };
    match again {
        Some(again) if again - heard - 1 > longest_pause => {
            Some(window(at(heard), at(again + 1), at(heard + 1 + longest_pause)))
        }
        Some(_) => None,
        None => Some(window(at(heard + 1), Timestamp::MAX, at(heard + 1 + longest_pause))),
    }
}

/// The longest pause, in whole minutes, that somebody makes who was heard in so many of the 60 minutes before; `None` where
/// that is no rhythm.
fn longest_pause(heard: usize) -> Option<i64> {
    if heard < RHYTHM_MINUTES {
        return None;
    }
    // The share of minutes without a line, with one more of each sort than was seen: nobody is known to be never silent.
    let idle = (HOUR_MINUTES + 1 - heard.min(60) as i64) as f64 / (HOUR_MINUTES + 2) as f64;
    Some((CHANCE.ln() / idle.ln()).ceil() as i64)
}

fn in_order(minutes: &Minutes) -> Vec<i64> {
    let of_hour = |(hour, bits): (&Timestamp, &u64)| {
        let (first, bits) = (minute_of(*hour), *bits);
        (0..HOUR_MINUTES).filter(move |m| bits >> m & 1 == 1).map(move |m| first + m)
    };
    minutes.iter().flat_map(of_hour).collect()
}

fn minute_of(time: Timestamp) -> i64 {
    time.micros().div_euclid(MINUTE_US)
}

fn at(minute: i64) -> Timestamp {
    Timestamp(minute * MINUTE_US)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DAY: i64 = 29_000_000;

    fn heard(minutes: impl IntoIterator<Item = i64>) -> Minutes {
        let mut all = Minutes::new();
        minutes.into_iter().for_each(|minute| add(&mut all, at(DAY + minute)));
        all
    }

    /// Windows as minutes: from, to (none while it lasts).
    fn told(minutes: &Minutes) -> Vec<(i64, Option<i64>)> {
        let (Some((first, _)), Some((last, _))) = (minutes.first_key_value(), minutes.last_key_value())
        else {
            return Vec::new();
        };
        let told =
            |w: BlindWindow| (minute_of(w.from) - DAY, Some(minute_of(w.to) - DAY).filter(|_| w.is_over()));
        windows("x", minutes, *first, *last).windows.into_iter().map(told).collect()
    }

    #[test]
    fn somebody_who_is_always_heard_is_missed_after_minutes() {
        assert_eq!(told(&heard((0..60).chain(64..70))), [(70, None)], "four minutes can be chance");
        let found = told(&heard((0..60).chain(65..70)));
        assert_eq!(
            found,
            [(59, Some(66)), (70, None)],
            "five cannot: with the minutes in which it began and ended"
        );
    }

    #[test]
    fn somebody_who_is_heard_now_and_then_may_pause_for_longer() {
        let every_fifth = |from: i64, to: i64| (from..to).step_by(5);
        assert_eq!(
            told(&heard(every_fifth(0, 300).chain(every_fifth(350, 400)))).len(),
            1,
            "only that it lasts"
        );
        let found = told(&heard(every_fifth(0, 300).chain(every_fifth(400, 500))));
        assert_eq!(found[0], (295, Some(401)));
    }

    #[test]
    fn a_job_without_a_rhythm_is_never_presumed_blind() {
        assert_eq!(told(&heard((0..9).chain(1440..1449).chain(9000..9003))), []);
        assert_eq!(told(&heard([])), []);
    }

    #[test]
    fn what_is_delivered_later_heals_the_silence() {
        let mut minutes = heard((0..60).chain(90..120));
        assert_eq!(told(&minutes).len(), 2);
        minutes.extend(heard(0..120));
        assert_eq!(told(&minutes), [(120, None)]);
    }

    proptest! {
        /// Whatever is stored after each step is what one look at everything gives.
        #[test]
        fn windows_do_not_depend_on_the_order_in_which_lines_come(
            steps in prop::collection::vec(prop::collection::vec(0i64..1500, 1..40), 1..12)
        ) {
            let mut all = Minutes::new();
            let mut stored: Vec<BlindWindow> = Vec::new();
            for step in &steps {
                let new = heard(step.iter().copied());
                for (hour, bits) in &new {
                    *all.entry(*hour).or_default() |= bits;
                }
                let (first, last) = (*new.first_key_value().unwrap().0, *new.last_key_value().unwrap().0);
                // Only as much as the store is asked for.
                let begin = all.range(..first).next_back().map_or(first, |(hour, _)| *hour).plus_us(-HOUR_US);
                let end = all.range(reach(last)..).next().map_or(reach(last), |(hour, _)| *hour);
                let around: Minutes = all.range(begin..=end).map(|(h, b)| (*h, *b)).collect();
                let replaced = windows("x", &around, first, last);
                stored.retain(|w| w.after < replaced.from || w.after >= replaced.to);
                stored.extend(replaced.windows);
            }
            stored.sort();
            let (first, last) = (*all.first_key_value().unwrap().0, *all.last_key_value().unwrap().0);
            let mut at_once = windows("x", &all, first, last).windows;
            at_once.sort();
            prop_assert_eq!(stored, at_once);
        }
    }
}
