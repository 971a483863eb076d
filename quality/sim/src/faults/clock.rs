//! Clocks that are wrong: a proxy's by an offset that drifts and jumps, a Worker's because it stands still while the Worker computes.

use super::draw::Draws;
use super::options::ClockFaults;
use crate::records::WorkerEvent;
use serde::Serialize;

/// How wrong a proxy's clock is, and when: what it shows is the true time plus the offset.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProxyClock {
    pub proxy: String,
    /// In order of time; each holds until the next begins, the first from ever.
    pub pieces: Vec<ClockPiece>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ClockPiece {
    /// True time, microseconds since the epoch.
    pub from_us: i64,
    /// At that moment; positive: the clock is fast.
    pub offset_us: f64,
    pub drift_ppm: f64,
}

impl ClockPiece {
    fn offset_at(&self, true_us: i64) -> f64 {
        self.offset_us + (true_us - self.from_us) as f64 * self.drift_ppm / 1e6
    }
}

impl ProxyClock {
    /// A clock of its own for a proxy that logs from `from_us` to `to_us`.
    pub fn draw(proxy: &str, faults: &ClockFaults, (from_us, to_us): (i64, i64), draws: &Draws) -> Self {
        let offset_us = draws.of("clock_offset", proxy).around_zero(faults.offset_max_s) * 1e6;
        let drift_ppm = draws.of("clock_drift", proxy).around_zero(faults.drift_max_ppm);
        let mut pieces = vec![ClockPiece { from_us, offset_us, drift_ppm }];
        let mut steps = draws.of("clock_steps", proxy);
        let drawn =
            (0..faults.steps).map(|_| (steps.between(from_us, to_us), steps.around_zero(faults.step_max_s)));
        let mut drawn: Vec<(i64, f64)> = drawn.collect();
        drawn.sort_by_key(|(at_us, _)| *at_us);
        for (at_us, jump_s) in drawn {
            let before_us = pieces[pieces.len() - 1].offset_at(at_us);
            pieces.push(ClockPiece { from_us: at_us, offset_us: before_us + jump_s * 1e6, drift_ppm });
        }
        ProxyClock { proxy: proxy.to_owned(), pieces }
    }

    pub fn offset_us(&self, true_us: i64) -> i64 {
        let begun = self.pieces.partition_point(|piece| piece.from_us <= true_us);
        self.pieces[begun.saturating_sub(1)].offset_at(true_us).round() as i64
    }

    pub fn shows(&self, true_us: i64) -> i64 {
        true_us + self.offset_us(true_us)
    }
}

/// Lets a Worker's clock go on only when an answer from outside arrives, so that what follows one is dated by it.
pub fn freeze(event: &mut WorkerEvent) {
    let answers = event.records.iter().map(|record| record.start_us + record.duration_us);
    let mut moments: Vec<i64> = std::iter::once(event.start_us).chain(answers).collect();
    moments.sort_unstable();
    let frozen = |at_us: i64| moments[moments.partition_point(|m| *m <= at_us).saturating_sub(1)];
    for record in &mut event.records {
        let end_us = record.start_us + record.duration_us;
        record.start_us = frozen(record.start_us);
        record.duration_us = end_us - record.start_us;
    }
    event.head.iter_mut().for_each(|head| head.at_us = frozen(head.at_us));
    event.chatter.iter_mut().for_each(|(_, at_us)| *at_us = frozen(*at_us));
    event.exceptions.iter_mut().for_each(|(_, _, at_us)| *at_us = frozen(*at_us));
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_US: i64 = 3_600_000_000;

    fn clock(faults: ClockFaults) -> ProxyClock {
        ProxyClock::draw("web-sidecar-proxy", &faults, (0, HOUR_US), &Draws::new(7))
    }

    #[test]
    fn a_right_clock_shows_the_true_time() {
        assert_eq!(clock(ClockFaults::default()).shows(1_795_489_010_676_173), 1_795_489_010_676_173);
    }

    #[test]
    fn a_wrong_clock_keeps_its_offset_and_drifts_from_it() {
        let fixed = clock(ClockFaults { offset_max_s: 300.0, ..Default::default() });
        assert_eq!(fixed.offset_us(5), fixed.offset_us(HOUR_US));
        assert!(fixed.offset_us(0) != 0 && fixed.offset_us(0).abs() <= 300_000_000);
        let both = clock(ClockFaults { offset_max_s: 300.0, drift_max_ppm: 200.0, ..Default::default() });
        assert_eq!(both.offset_us(0), fixed.offset_us(0), "drift does not change the draw of the offset");
        let gained_us = both.offset_us(HOUR_US) - both.offset_us(0);
        assert!(gained_us != 0 && gained_us.abs() <= 720_000, "{gained_us}");
    }

    #[test]
    fn a_step_changes_the_offset_at_once_and_for_good() {
        let stepping = clock(ClockFaults { steps: 1, step_max_s: 10.0, ..Default::default() });
        let at_us = stepping.pieces[1].from_us;
        assert_eq!(stepping.offset_us(at_us - 1), 0);
        assert!(stepping.offset_us(at_us) != 0);
        assert_eq!(stepping.offset_us(at_us), stepping.offset_us(HOUR_US));
    }
}
