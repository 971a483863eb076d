//! How long things take, fitted to the real captures. The measured quantiles stand beside each (`fullstack-a` unless another is
//! named; microseconds); `quality/sim/README.md` has the table, and a test holds the draws to the quantiles.

/// Median and the standard deviation of the logarithm.
#[derive(Debug, Clone, Copy)]
pub struct LogNormal {
    pub median_us: f64,
    pub sigma: f64,
}

pub const fn log_normal(median_us: f64, sigma: f64) -> LogNormal {
    LogNormal { median_us, sigma }
}

/// Several ways in which a time comes about, each with its share.
#[derive(Debug)]
pub struct Mixture {
    pub parts: &'static [(f64, LogNormal)],
    pub min_us: i64,
    pub max_us: i64,
}

/// Place in `Mixture::parts` of a delay that held a TLS handshake: the connection was new.
pub const HANDSHAKE: usize = 2;

/// Start at the caller's sidecar → start at the callee's, HTTP/1.1 (n = 917): min 78, p5 154, p25 222, p50 317, p75 760,
/// p95 2,514, p99 8,733, max 14,126.
pub const ARRIVAL_HTTP1: Mixture = Mixture {
    parts: &[
        (0.68, log_normal(262.0, 0.36)),
        (0.29, log_normal(1_000.0, 0.55)),
        (0.03, log_normal(8_000.0, 0.3)),
    ],
    min_us: 78,
    max_us: 20_000,
};

/// The same from the gateway (n = 335): min 144, p5 221, p25 297, p50 381, p75 488, p95 817, p99 6,945.
pub const ARRIVAL_GATEWAY: Mixture = Mixture {
    parts: &[
        (0.94, log_normal(375.0, 0.34)),
        (0.04, log_normal(800.0, 0.3)),
        (0.02, log_normal(6_500.0, 0.2)),
    ],
    min_us: 110,
    max_us: 15_000,
};

/// The same over HTTP/2 (`hop`, n = 1,189, many streams at once): min 155, p5 265, p25 896, p50 1,961, p75 3,236, p95 7,431,
/// p99 13,086. The streams of a fan-out wait for each other.
pub const ARRIVAL_HTTP2: Mixture = Mixture {
    parts: &[
        (0.2, log_normal(380.0, 0.5)),
        (0.78, log_normal(2_300.0, 0.65)),
        (0.02, log_normal(13_000.0, 0.2)),
    ],
    min_us: 155,
    max_us: 20_000,
};

/// The same for gRPC (n = 54): min 251, p25 485, p50 573, p75 613, p95 11,315.
pub const ARRIVAL_GRPC: Mixture = Mixture {
    parts: &[
        (0.8, log_normal(530.0, 0.22)),
        (0.14, log_normal(900.0, 0.3)),
        (0.06, log_normal(11_500.0, 0.2)),
    ],
    min_us: 251,
    max_us: 20_000,
};

/// The same for TCP (n = 18): min 227, p50 313, max 620. A connection that is new is told of when it is up.
pub const ARRIVAL_TCP: LogNormal = log_normal(316.0, 0.21);

/// End at the callee's sidecar → end at the caller's (n = 993, measured in whole milliseconds): p5 0, p50 0, p75 1 ms, p95 1 ms,
/// p99 4 ms; `hop` (n = 1,414): p50 1, p95 4, p99 11 ms.
pub const RETURN: Mixture = Mixture {
    parts: &[(0.96, log_normal(330.0, 0.6)), (0.04, log_normal(2_500.0, 0.5))],
    min_us: 30,
    max_us: 12_000,
};

/// Time at the sidecar of a service that calls nobody (n = 618, milliseconds): p5 1, p25 4, p50 7, p75 9, p95 12, p99 15, max 18.
pub const LEAF_SERVICE: Mixture = Mixture {
    parts: &[(0.2, log_normal(2_300.0, 0.5)), (0.8, log_normal(7_900.0, 0.28)), (0.0, log_normal(1.0, 0.0))],
    min_us: 900,
    max_us: 40_000,
};

/// Start of a call at the callee's sidecar → start of the first call that it causes (n = 595): min 517, p5 686, p25 876, p50 1,092,
/// p75 1,499, p95 5,627, p99 7,798.
pub const FIRST_CHILD: Mixture = Mixture {
    parts: &[
        (0.86, log_normal(1_050.0, 0.27)),
        (0.14, log_normal(4_200.0, 0.4)),
        (0.0, log_normal(1.0, 0.0)),
    ],
    min_us: 500,
    max_us: 15_000,
};

/// End of a call → start of the next of a sequence (n = 146): min 452, p5 605, p25 856, p50 1,146, p75 1,437, p95 3,307, measured from
/// ends that are cut to the millisecond, so half a millisecond too long.
pub const THINK: LogNormal = log_normal(620.0, 0.6);

/// Start → start of calls made at the same time (n = 215): p5 21, p25 27, p50 32, p75 94, p95 296, p99 1,574.
pub const FAN_OUT: Mixture = Mixture {
    parts: &[
        (0.65, log_normal(28.0, 0.16)),
        (0.33, log_normal(120.0, 0.6)),
        (0.02, log_normal(1_800.0, 0.7)),
    ],
    min_us: 13,
    max_us: 14_000,
};

/// End of the last call caused → end of the call that caused it (n = 595, milliseconds): p50 1, p75 1, p95 2, p99 4.
pub const WIND_UP: LogNormal = log_normal(650.0, 0.6);

/// Envoy's retry: end of the failed attempt → start of the next at the callee (n = 24): p5 4,376, p25 10,172, p50 15,566,
/// p75 23,160, p95 44,093.
pub const RETRY_BACK_OFF: LogNormal = log_normal(14_828.0, 0.72);

/// An application that answers 503 at once, at its sidecar (n = 12, milliseconds): 1 to 5.
pub const QUICK_FAILURE: LogNormal = log_normal(1_900.0, 0.5);

/// A request refused by RBAC, at the callee's sidecar (n = 30, milliseconds): 0.
pub const REFUSAL: LogNormal = log_normal(120.0, 0.4);

/// Visitor's request → next visitor's request (n = 335, milliseconds): p25 7, p50 16, p75 31, p95 58, p99 89. Scaled to the
/// configured rate.
pub const BETWEEN_VISITORS_SIGMA: f64 = 0.95;

/// Zone has the subrequest → gateway's start (n = 322): min 247, p5 378, p25 614, p50 864, p75 1,093, p95 1,506, p99 3,735, measured
/// from starts that are cut to the millisecond, so half a millisecond too long.
pub const ZONE_TO_GATEWAY: LogNormal = log_normal(380.0, 0.45);
/// Gateway's end → zone's end (n = 322, from whole milliseconds): p25 254, p50 634, p75 1,091, p95 2,279, p99 4,188.
pub const GATEWAY_TO_ZONE: LogNormal = log_normal(560.0, 0.8);
/// The Worker's clock at the subrequest → zone has it (n = 322, whole milliseconds): p25 0, p50 1, p75 1, p95 2, p99 3.
pub const WORKER_TO_ZONE: LogNormal = log_normal(780.0, 0.6);
/// Zone's end → the Worker has the response (n = 322, whole milliseconds): p5 -1, p50 0, p75 1, p95 1.
pub const ZONE_TO_WORKER: LogNormal = log_normal(450.0, 0.5);
/// Visitor's request at the zone → the Worker's event, and from there to its decision (n = 336, whole milliseconds): 0 to 5.
pub const VISITOR_TO_WORKER: LogNormal = log_normal(900.0, 0.6);
pub const DECIDING: LogNormal = log_normal(600.0, 0.7);
/// The Worker's last subrequest → its response.
pub const ANSWERING: LogNormal = log_normal(500.0, 0.6);

/// A websocket (n = 4, milliseconds): 162 to 164 in the lab. Real ones live for seconds to minutes: not fitted.
pub const WEBSOCKET: LogNormal = log_normal(4_000_000.0, 1.2);
/// A streamed upload. The capture has one of 200 kB: not fitted.
pub const STREAM: LogNormal = log_normal(6_000_000.0, 0.9);
/// Work put off until its request has been answered: not fitted.
pub const PUT_OFF: LogNormal = log_normal(400_000.0, 1.0);
/// The route's timeout in both captures (n = 12): 500 to 504 ms.
pub const ROUTE_TIMEOUT_US: i64 = 500_000;
/// A TCP conversation at the callee's sidecar (n = 18, milliseconds): p50 2, p75 3, p95 6.
pub const TCP_CONVERSATION: LogNormal = log_normal(1_900.0, 0.58);

/// Ids in paths: 40 of them in `fullstack-a`; `calls per callee and path` p50 1, p75 2, p95 7, p99 13, max 272.
pub const PATH_IDS: u32 = 40;
/// Requests per upstream connection (n = 71): p25 3, p50 11, p75 26, p95 67, max 111, cut by the end of the capture.
pub const REQUESTS_PER_CONNECTION: LogNormal = log_normal(60.0, 1.0);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::dice::Dice;

    /// Quantiles 5, 25, 50, 75 and 95 as measured.
    type Quantiles = [f64; 5];

    fn assert_fits(name: &str, mut draw: impl FnMut(&mut Dice) -> i64, measured: Quantiles) {
        let mut dice = Dice::new(1);
        let mut drawn: Vec<i64> = (0..20_000).map(|_| draw(&mut dice)).collect();
        drawn.sort_unstable();
        for (share, measured) in [0.05, 0.25, 0.5, 0.75, 0.95].into_iter().zip(measured) {
            let drawn = drawn[(share * drawn.len() as f64) as usize] as f64;
            let ratio = drawn / measured;
            assert!(
                (0.7..1.4).contains(&ratio),
                "{name}, quantile {share}: drawn {drawn}, measured {measured}"
            );
        }
    }

    #[test]
    fn the_draws_have_the_quantiles_of_the_captures() {
        let of = |mixture: &'static Mixture| move |dice: &mut Dice| dice.mixture(mixture).0;
        assert_fits("HTTP/1.1", of(&ARRIVAL_HTTP1), [154.0, 222.0, 317.0, 760.0, 2_514.0]);
        assert_fits("gateway", of(&ARRIVAL_GATEWAY), [221.0, 297.0, 381.0, 488.0, 817.0]);
        assert_fits("HTTP/2", of(&ARRIVAL_HTTP2), [265.0, 896.0, 1_961.0, 3_236.0, 7_431.0]);
        assert_fits("first child", of(&FIRST_CHILD), [686.0, 876.0, 1_092.0, 1_499.0, 5_627.0]);
        assert_fits("fan-out", of(&FAN_OUT), [21.0, 27.0, 32.0, 94.0, 296.0]);
        let retry = [4_376.0, 10_172.0, 15_566.0, 23_160.0, 44_093.0];
        assert_fits("retry", |dice| dice.log_normal(RETRY_BACK_OFF), retry);
    }
}
