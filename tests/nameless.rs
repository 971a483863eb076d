//! Calls whose lines share no key at all: how many are paired, how many rightly, and whether the confidence says so.

#[path = "nameless/traffic.rs"]
mod traffic;

use calltrail::correlate::likeness::{Alike, LEAST, alike};
use calltrail::model::{Leg, Side};
use std::collections::BTreeSet;
use traffic::{Traffic, Wire};

/// Two clocks, each at most 2.5 s off.
const SLACK_US: i64 = 5_000_000;
/// Classes of confidence.
const CLASSES: usize = 20;

/// What came of one run.
struct Measure {
    /// Calls with both lines.
    whole: usize,
    paired: usize,
    right: usize,
    /// Per class of confidence: pairs, the sum of their confidence, how many are right.
    classes: Vec<(usize, f64, usize)>,
}

impl Measure {
    fn of(traffic: &Traffic, least: f64) -> Measure {
        let legs = traffic::legs(&traffic.lines());
        let row = |side: Side| legs.iter().filter(move |(leg, _)| leg.side == side);
        let (clients, servers): (Vec<_>, Vec<_>) = (row(Side::Client).collect(), row(Side::Server).collect());
        let sent: BTreeSet<u32> = clients.iter().map(|(_, call)| *call).collect();
        let whole = servers.iter().filter(|(_, call)| sent.contains(call)).count();
        let mut measure = Measure { whole, paired: 0, right: 0, classes: vec![(0, 0.0, 0); CLASSES] };
        for Alike { client, server, confidence_ppm, .. } in
            alike(&only(&clients), &only(&servers), SLACK_US, least)
        {
            let right = usize::from(clients[client].1 == servers[server].1);
            measure.paired += 1;
            measure.right += right;
            let confidence = f64::from(confidence_ppm) / 1e6;
            let class = &mut measure.classes[((confidence * CLASSES as f64) as usize).min(CLASSES - 1)];
            *class = (class.0 + 1, class.1 + confidence, class.2 + right);
        }
        measure
    }

    fn precision(&self) -> f64 {
        self.right as f64 / self.paired.max(1) as f64
    }

    fn recall(&self) -> f64 {
        self.right as f64 / self.whole.max(1) as f64
    }

    /// Expected calibration error: how far what is said is from what is right, class by class.
    fn calibration_error(&self) -> f64 {
        let off = |(_, said, right): &(usize, f64, usize)| (said - *right as f64).abs();
        self.classes.iter().map(off).sum::<f64>() / self.paired.max(1) as f64
    }
}

fn only<'a>(row: &[&'a (Leg, u32)]) -> Vec<&'a Leg> {
    row.iter().map(|(leg, _)| leg).collect()
}

#[test]
fn a_stripped_mesh_behind_nat_is_paired_rightly_and_says_how_surely() {
    for (name, wire) in [("HTTP/1.1", Wire::Http1), ("HTTP/2", Wire::Http2)] {
        let traffic = Traffic { calls_per_second: 150.0, seconds: 20.0, wire, ..Traffic::default() };
        let measure = Measure::of(&traffic, LEAST);
        assert!(measure.precision() >= 0.995, "{name}: precision {}", measure.precision());
        assert!(measure.recall() >= 0.9, "{name}: recall {}", measure.recall());
        assert!(measure.calibration_error() <= 0.01, "{name}: off by {}", measure.calibration_error());
    }
}

#[test]
fn two_meshes_that_never_met_are_not_paired() {
    let ours = traffic::legs(&Traffic { seed: 1, ..Traffic::default() }.lines());
    let theirs = traffic::legs(&Traffic { seed: 2, ..Traffic::default() }.lines());
    let row = |legs: &'static [(Leg, u32)], side: Side| {
        legs.iter().map(|(leg, _)| leg).filter(|l| l.side == side).collect::<Vec<_>>()
    };
    let (ours, theirs) = (Vec::leak(ours), Vec::leak(theirs));
    let found = alike(&row(ours, Side::Client), &row(theirs, Side::Server), SLACK_US, LEAST);
    assert_eq!(found, [], "lines of different calls");
}
