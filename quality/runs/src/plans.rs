//! The worlds that the figures are measured in, each with its share of the calls and with what its faults may excuse.

use crate::worlds::Plan;
use calltrail_sim::faults::{ClockFaults, Faults, Nat, PerSource, RandomOutages};
use calltrail_sim::world::Config;

/// What a plan is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// Every line arrives, within 24 hours, with its headers.
    None,
    /// Lines are missing, but the outages are declared and the loss can be measured.
    Loss,
    /// Lines say less than was there: headers stripped, Consul's default format, addresses rewritten.
    Blurred,
    /// Nothing but time is left to join by.
    Blind,
}

pub struct NamedPlan {
    pub name: &'static str,
    /// Of all calls, in parts of the sum.
    pub share: f64,
    pub damage: Damage,
    /// Header stripping loosens the promise for `keyed`.
    pub strips: bool,
    /// Whether the baselines run over the same lines.
    pub compared: bool,
    pub plan: Plan,
}

fn preset(name: &str) -> Config {
    Config::preset(name).unwrap_or_else(|| panic!("the simulator knows no preset {name}"))
}

fn named(name: &'static str, share: f64, damage: Damage, config: Config, faults: Faults) -> NamedPlan {
    let strips = faults.strip_headers_percent > 0.0;
    let skew_bound_us = if damage == Damage::Blind { Some(2_500_000) } else { None };
    let plan = Plan { config, faults, declares_outages: true, skew_bound_us };
    NamedPlan { name, share, damage, strips, compared: false, plan }
}

fn late() -> Faults {
    Faults {
        duplicate_lines_percent: 5.0,
        duplicate_deliveries_percent: 5.0,
        recut_deliveries_percent: 5.0,
        late_lines_percent: 10.0,
        late_max_s: 86_400,
        reorder_window_lines: 50,
        transit_max_s: 60.0,
        ..Faults::default()
    }
}

fn everything() -> Faults {
    Faults {
        loss_percent: PerSource::same(5.0),
        random_outages: RandomOutages { proxies: 1, sources: 1, seconds: 5 },
        clock: ClockFaults { offset_max_s: 2.0, drift_max_ppm: 50.0, steps: 1, step_max_s: 0.5 },
        frozen_worker_clocks: true,
        truncate_worker_logs_chars: Some(16_384),
        strip_headers_percent: 10.0,
        default_format_percent: 30.0,
        nat: Nat::PerConnection,
        ..late()
    }
}

/// All of them; worlds of `calls_per_world` calls.
pub fn all(calls_per_world: usize) -> Vec<NamedPlan> {
    use Damage::*;
    let base = || preset("default");
    let with = |f: fn(&mut Faults)| {
        let mut faults = Faults::default();
        f(&mut faults);
        faults
    };
    let mut plans = vec![
        NamedPlan { compared: true, ..named("as it is", 2.0, None, base(), Faults::default()) },
        named("many attacks", 2.0, None, preset("attacks"), late()),
        named("HTTP/1.1 only", 1.0, None, preset("http1"), Faults::default()),
        named("HTTP/2, identical requests, no hop id", 1.0, None, preset("http2-fanout"), Faults::default()),
        named("HTTP/2, identical requests, hop ids", 1.0, None, preset("hop"), late()),
        named("hop ids and tracing on half of the proxies", 1.0, None, preset("mixed"), late()),
        named("clocks off by up to 5 s, drifting, set anew; frozen Workers", 1.0, None, base(), clocks()),
        named("loss 2 %", 1.0, Loss, base(), with(|f| f.loss_percent = PerSource::same(2.0))),
        named("loss 20 %", 1.0, Loss, base(), with(|f| f.loss_percent = PerSource::same(20.0))),
        named("declared outages", 1.0, Loss, base(), with(|f| f.random_outages = outages())),
        named("loss and outages under attack", 1.0, Loss, preset("attacks"), {
            Faults { loss_percent: PerSource::same(5.0), random_outages: outages(), ..late() }
        }),
        named(
            "Workers' logs cut at 2,000 characters",
            1.0,
            Loss,
            base(),
            with(|f| {
                f.truncate_worker_logs_chars = Some(2_000);
            }),
        ),
        named(
            "headers stripped from 20 % of the lines",
            1.0,
            Blurred,
            base(),
            with(|f| f.strip_headers_percent = 20.0),
        ),
        named(
            "headers stripped from 50 % of the lines",
            1.0,
            Blurred,
            base(),
            with(|f| f.strip_headers_percent = 50.0),
        ),
        named(
            "30 % of the proxies in the default format",
            1.0,
            Blurred,
            base(),
            with(|f| f.default_format_percent = 30.0),
        ),
        named(
            "all proxies in the default format",
            1.0,
            Blurred,
            base(),
            with(|f| f.default_format_percent = 100.0),
        ),
        named("addresses rewritten", 1.0, Blurred, base(), with(|f| f.nat = Nat::PerConnection)),
        NamedPlan {
            compared: true,
            ..named("everything at once, under attack", 2.0, Blurred, preset("attacks"), everything())
        },
        named(
            "nothing but time",
            1.0,
            Blind,
            preset("stripped"),
            Faults {
                strip_headers_percent: 100.0,
                default_format_percent: 100.0,
                nat: Nat::PerConnection,
                clock: ClockFaults { offset_max_s: 5.0, ..ClockFaults::default() },
                ..Faults::default()
            },
        ),
    ];
    for plan in &mut plans {
        // A thousand calls a second need some seconds to tell of the clocks.
        let enough = if plan.damage == Damage::Blind { 10_000 } else { 0 };
        plan.plan.config.calls = calls_per_world.max(enough);
        // Not at a full minute: likeness is weighed minute by minute, and a world of seconds would lie at an edge more often than one
        // second in sixty does.
        plan.plan.config.start_us += 20_000_000;
    }
    plans
}

fn clocks() -> Faults {
    Faults {
        clock: ClockFaults { offset_max_s: 5.0, drift_max_ppm: 100.0, steps: 1, step_max_s: 1.0 },
        frozen_worker_clocks: true,
        ..Faults::default()
    }
}

fn outages() -> RandomOutages {
    RandomOutages { proxies: 3, sources: 1, seconds: 20 }
}
