//! `cargo xtask join-quality`.
use calltrail_quality::{baselines, captures, degrade, derive, judged};
use calltrail_score::score;

fn main() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (name, capture) in
        [("fullstack-a", captures::fullstack_a(&root).unwrap()), ("hop", captures::hop(&root).unwrap())]
    {
        for seed in 0..6 {
            let damage = if seed == 0 {
                Default::default()
            } else {
                degrade::Damage {
                    seed,
                    lost: 0.05,
                    twice: 0.05,
                    late: 0.1,
                    skew_us: 2_000_000,
                    default_format: 0.3,
                }
            };
            let (deliveries, truth) = degrade::degrade(&capture, damage);
            let derived = derive::derive(&deliveries, &capture.rules);
            let s = score(&truth, &judged::exported(&derived, judged::AS_OF), &capture.labels);
            println!("== {name} {seed} : {} rejects", derived.rejects);
            if std::env::args().nth(1) == Some(seed.to_string()) {
                println!("{s}");
            }
            println!(
                "pairs {}\n strict {}\n basis {:?}\nparents {}\nprincipals {} {}",
                s.pairs, s.pairs_strict, s.by_basis, s.parents, s.principals, s.provable_principals
            );
            println!("false {:?} {:?}", s.false_accusations, s.false_alarms);
            let legs = derive::decode(&deliveries).0;
            for e in [baselines::by_span(&legs), baselines::traces(&legs), baselines::users_of_traces(&legs)]
            {
                let s = score(&truth, &e, &capture.labels);
                println!("  baseline pairs {} principals {}", s.pairs, s.principals);
            }
        }
    }
}
