//! How two lines of one call lie to each other in time: a distribution that starts from what was measured and is fitted
//! to the legs at hand.
//!
//! Two quantities, independent enough of each other to be multiplied:
//!
//! * **late**: start at the callee's proxy less start at the caller's, less the usual difference of that pair of proxies
//!   (which holds the clocks' offset and the network). Microseconds.
//! * **longer**: duration at the caller's proxy less duration at the callee's, less what **late** explains beyond 1 ms (a
//!   connection that had to be made first). Milliseconds, as Envoy logs durations.
//!
//! The prior was read off the captures `fullstack-a` (1,256 HTTP/1.1, 54 HTTP/2 and 18 TCP calls) and `hop` (212, 1,352 and 4),
//! whose truth is known, with starts cut to the millisecond as Consul's default format prints them:
//!
//! | capture, protocol | late: 0, 1, 2, 3-5, 6 ms and more | longer: -1, 0, 1, 2, 3-4, 5-10, more |
//! |---|---|---|
//! | fullstack-a HTTP/1.1 | 53, 38, 5, 2, 2 % | 0.2, 29, 60, 8, 1.4, 1.2, 0 % |
//! | fullstack-a HTTP/2 | 67, 28, 0, 0, 6 % | 0, 22, 61, 13, 0, 4, 0 % |
//! | hop HTTP/1.1 | 63, 28, 1, 3, 5 % | 0.5, 38, 54, 4, 1, 3, 0 % |
//! | hop HTTP/2 (fan-out of 30, two busy cores) | 12, 31, 20, 28, 10 % | 0.2, 9, 45, 28, 13, 3, 2 % |
//! | both, TCP | 68, 32, 0, 0, 0 % | 0, 36, 64, 0, 0, 0, 0 % |
//!
//! Uncut, the HTTP/1.1 start comes 0.08 ms later at least, 0.32 ms in the median, 1.5 ms at 90 %, 8.7 ms at 99 %, 14 ms at most;
//! the end 0.5 ms earlier in the median. A mesh with longer ways has other figures: a few dozen sure pairs outweigh the prior.

/// Upper edges of the places of `late`, in microseconds, with the prior's share of each; the first begins at [`EARLIEST_US`].
#[rustfmt::skip]
const LATE: &[(i64, f64)] = &[
    (-3_000, 0.001), (-2_000, 0.002), (-1_500, 0.004), (-1_000, 0.025), (-500, 0.115), (0, 0.25), (500, 0.25), (1_000, 0.14),
    (1_500, 0.07), (2_000, 0.035), (2_500, 0.02), (3_000, 0.018), (4_000, 0.018), (5_000, 0.011), (7_000, 0.012), (10_000, 0.012),
    (15_000, 0.01), (25_000, 0.004), (50_000, 0.001), (100_000, 0.0006), (250_000, 0.0003), (500_000, 0.0002), (1_000_000, 0.0001),
];
/// Before the usual moment by more than this, no server leg is a client leg's.
pub const EARLIEST_US: i64 = -6_000;
/// Later by more than this, none is.
pub const LATEST_US: i64 = 1_000_000;

/// Upper edges of the places of `longer`, in milliseconds and inclusive, with the prior's share; the first begins at -3.
#[rustfmt::skip]
const LONGER: &[(i64, f64)] = &[
    (-2, 0.0005), (-1, 0.004), (0, 0.29), (1, 0.55), (2, 0.095), (3, 0.02), (4, 0.008), (5, 0.006), (6, 0.005), (8, 0.007),
    (10, 0.005), (13, 0.004), (16, 0.002), (25, 0.001), (50, 0.001), (100, 0.0005), (250, 0.0003), (1_000, 0.0002), (100_000, 0.0002),
];
const SHORTEST_MS: i64 = -3;
/// `late` up to this is jitter and does not lengthen the caller's side.
const JITTER_US: f64 = 1_000.0;
/// How many pairs the prior counts for.
const PRIOR: f64 = 30.0;

/// How many pairs the rule that holds for all counts for, against what is seen at one place of `late`.
const RULE: f64 = 20.0;

#[derive(Debug, Clone)]
pub struct Delays {
    late: Vec<f64>,
    longer: Vec<f64>,
    /// Per place of `late`, how much longer (unexplained) the caller's side took: `late * LONGER.len() + longer`.
    together: Vec<f64>,
}

impl Delays {
    /// What the captures say.
    pub fn prior() -> Self {
        let row = |shares: &[(i64, f64)]| {
            let all: f64 = shares.iter().map(|(_, share)| share).sum();
            shares.iter().map(|(_, share)| PRIOR * share / all).collect()
        };
        Delays { late: row(LATE), longer: row(LONGER), together: vec![0.0; LATE.len() * LONGER.len()] }
    }

    /// Counts a pair with its probability.
    pub fn learn(&mut self, late_us: f64, longer_ms: i64, probability: f64) {
        let (late, longer) = places(late_us, longer_ms);
        self.late[late] += probability;
        self.longer[longer] += probability;
        self.together[late * LONGER.len() + longer] += probability;
    }

    pub fn logarithms(&self) -> Logarithms {
        let late: Vec<f64> = shares(&self.late);
        let longer: Vec<f64> = shares(&self.longer);
        let (wide_us, wide_ms) = (widths(LATE, EARLIEST_US), widths(LONGER, SHORTEST_MS));
        let mut densities = Vec::with_capacity(self.together.len());
        for (seen, (late, us)) in self.together.chunks(LONGER.len()).zip(late.iter().zip(&wide_us)) {
            let all: f64 = seen.iter().sum();
            for ((seen, longer), ms) in seen.iter().zip(&longer).zip(&wide_ms) {
                let here = (seen + RULE * longer) / (all + RULE);
                densities.push((late / us * here / ms).ln());
            }
        }
        Logarithms(densities)
    }
}

/// Densities as natural logarithms, per microsecond and millisecond.
pub struct Logarithms(Vec<f64>);

impl Logarithms {
    /// Of a server leg that starts `late_us` after the usual moment and is shorter by `longer_ms`.
    pub fn of(&self, late_us: f64, longer_ms: i64) -> f64 {
        let (late, longer) = places(late_us, longer_ms);
        self.0[late * LONGER.len() + longer]
    }
}

fn places(late_us: f64, longer_ms: i64) -> (usize, usize) {
    let explained_ms = ((late_us - JITTER_US).max(0.0) / 1_000.0) as i64;
    let place = |edges: &[(i64, f64)], value: i64| {
        edges.partition_point(|(edge, _)| *edge < value).min(edges.len() - 1)
    };
    (place(LATE, late_us as i64), place(LONGER, longer_ms - explained_ms))
}

fn shares(counts: &[f64]) -> Vec<f64> {
    let all: f64 = counts.iter().sum();
    counts.iter().map(|n| n / all).collect()
}

fn widths(edges: &[(i64, f64)], first: i64) -> Vec<f64> {
    let from = std::iter::once(first).chain(edges.iter().map(|(edge, _)| *edge));
    from.zip(edges).map(|(from, (to, _))| to.saturating_sub(from).clamp(1, 10_000_000) as f64).collect()
}
