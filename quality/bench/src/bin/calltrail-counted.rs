//! One hot path, so many times and nothing else: what `cargo xtask bench --instructions` runs under callgrind.
//!
//! It is run with two numbers of lines; the difference is what the lines themselves cost, without starting and making them.

use anyhow::{Context, Result, bail};
use calltrail::correlate::facts::Facts;
use calltrail::correlate::{Rules, assemble};
use calltrail::decode::{decode_delivery, each_line, frame};
use calltrail::evidence::{commitment, delivery_id};
use calltrail::model::{Delivery, DeliveryId, Leg, Timestamp};
use calltrail_bench::data::Recipe;
use calltrail_bench::data::cast::Cast;
use calltrail_bench::data::request::{Request, Requests};
use calltrail_bench::data::tell::Teller;
use std::hint::black_box;

const SEED: u64 = 7;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [path, requests, times] = &args[..] else {
        bail!("calltrail-counted PATH REQUESTS TIMES");
    };
    let requests: u64 = requests.parse().context("how many requests?")?;
    let times: u64 = times.parse().context("how many times?")?;
    let made = Made::new(requests);
    // Made once whatever `times` is, so that two runs differ in the path alone.
    for _ in 0..times {
        made.walk(path)?;
    }
    Ok(())
}

struct Made {
    worker: Delivery,
    mesh: Delivery,
    body: Vec<u8>,
    traces: Vec<Vec<Leg>>,
}

impl Made {
    fn new(requests: u64) -> Made {
        let cast = Cast::new();
        let (teller, start_us) = (Teller::new(&cast), Recipe::START_US);
        let recipe = Recipe { seed: SEED, requests, start_us, requests_per_second: 1_000.0 };
        let requests: Vec<Request> = Requests::new(&cast, &recipe).collect();
        let worker = delivery(requests.iter().map(|r| teller.worker_line(r)).collect());
        let mesh = delivery(
            requests.iter().flat_map(|r| [teller.service_line(r), teller.gateway_line(r)]).collect(),
        );
        let (of_worker, of_mesh) = (decode_delivery(&worker, 1).legs, decode_delivery(&mesh, 2).legs);
        // Two legs of each event, three of each pair of lines, in the order of the requests.
        let traces =
            of_worker.chunks(2).zip(of_mesh.chunks(3)).map(|(edge, mesh)| [edge, mesh].concat()).collect();
        let body = mesh.lines.join(&b'\n');
        Made { worker, mesh, body, traces }
    }

    fn walk(&self, path: &str) -> Result<()> {
        match path {
            "decode-worker" => decode(&self.worker),
            "decode-mesh" => decode(&self.mesh),
            "split" => drop(black_box(frame::split(&self.body, usize::MAX))),
            "hash-delivery" => drop(black_box(delivery_id("bench", None, &self.body))),
            "hash-lines" => {
                black_box(commitment::line_root(&[7; 32], self.mesh.lines.iter().map(Vec::as_slice)));
            }
            "join" => self.join(),
            _ => bail!("there is no path named {path:?}"),
        }
        Ok(())
    }

    /// Trace by trace, as the correlator does; the legs are copied, since a join takes them.
    fn join(&self) {
        let rules = Rules::default();
        for legs in &self.traces {
            black_box(assemble(legs.clone(), &Facts::default(), &rules));
        }
    }
}

fn delivery(lines: Vec<String>) -> Delivery {
    Delivery {
        id: DeliveryId([0; 32]),
        source: "bench".to_owned(),
        proxy: None,
        received_at: Timestamp(Recipe::START_US),
        lines: lines.into_iter().map(String::into_bytes).collect(),
    }
}

fn decode(delivery: &Delivery) {
    each_line(delivery, 1, &[], |_, result| {
        let _ = black_box(result);
    });
}
