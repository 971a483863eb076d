//! The same lines in any order, with any repeated: the same calls, to the last byte.
//!
//! This part of the promise needs no store, so that a hundred thousand cases take seconds. What needs one (any partition into steps and
//! restarts between them) is tested by `tests/correlate_props.rs` over SQLite and Postgres.

use crate::derive;
use crate::worlds::Plan;
use calltrail::model::{Call, Leg};
use calltrail_sim::faults::Faults;
use calltrail_sim::world::Config;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Calls of a case's world, about.
const CALLS: usize = 12;
/// Cases per world.
const SHUFFLES: usize = 20;

/// How many of `cases` gave other calls than the lines in their own order.
pub fn count_differences(cases: usize, seed: u64) -> usize {
    let plan = Plan {
        config: Config { calls: CALLS, ..Config::preset("attacks").unwrap_or_default() },
        faults: Faults::default(),
        declares_outages: false,
        skew_bound_us: None,
    };
    let mut chance = ChaCha8Rng::seed_from_u64(seed);
    let mut different = 0;
    for world in 0..cases.div_ceil(SHUFFLES) {
        let input = plan.world(seed, world as u32);
        let (legs, _) = derive::decode(&input.deliveries);
        let join = |legs: Vec<Leg>| -> Vec<Call> { derive::join(legs, &input.rules).calls };
        let expected = join(legs.clone());
        for _ in 0..SHUFFLES.min(cases - world * SHUFFLES) {
            let mut shuffled = legs.clone();
            for leg in &legs {
                if chance.random_range(0..4) == 0 {
                    let mut copy = leg.clone();
                    copy.line.received_at =
                        copy.line.received_at.plus_us(chance.random_range(1..86_400_000_000));
                    copy.line.delivery += 1_000;
                    shuffled.push(copy);
                }
            }
            shuffled.shuffle(&mut chance);
            different += usize::from(join(shuffled) != expected);
        }
    }
    different
}
