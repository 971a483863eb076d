use calltrail::correlate::{adopt, assemble, facts::Facts, rules::*};
use calltrail::decode::{decode_delivery, frame};
use calltrail::model::*;
fn main() {
    let dir = std::env::args().nth(1).unwrap();
    let mut legs = vec![];
    let mut n = 0;
    let mut files: Vec<_> = vec![];
    for sub in ["", "mesh", "worker"] {
        if let Ok(rd) = std::fs::read_dir(format!("{dir}/{sub}")) {
            for e in rd {
                let p = e.unwrap().path();
                if p.is_file() {
                    files.push(p);
                }
            }
        }
    }
    files.sort();
    for p in files {
        let name = p.file_name().unwrap().to_str().unwrap().to_owned();
        if !(name.ends_with("jsonl") || name.ends_with("ndjson")) || name == "truth.jsonl" {
            continue;
        }
        n += 1;
        let body = std::fs::read(&p).unwrap();
        let stem = name.split('.').next().unwrap().to_owned();
        let d = Delivery {
            id: DeliveryId([0; 32]),
            source: "s".into(),
            proxy: Some(stem).filter(|_| p.to_str().unwrap().contains("/mesh/")),
            received_at: Timestamp(1_795_600_000_000_000),
            lines: frame::split(&body),
        };
        let r = decode_delivery(&d, n);
        if !r.rejects.is_empty() {
            eprintln!("{name}: {} rejects {:?}", r.rejects.len(), r.rejects[0]);
        }
        legs.extend(r.legs);
    }
    let mut rules = Rules::default();
    if std::env::var("NOKEY").is_err() {
        rules.header_keys.push(HeaderKey {
            key_id: None,
            secret: KeyMaterial::HmacSha256(b"trail-key-fullstack-a".to_vec()),
        });
    }
    let mut facts = Facts::default();
    facts.add_legs(&legs);
    let t = std::time::Instant::now();
    let mut calls = assemble(legs, &facts, &rules);
    eprintln!("{} calls in {:?}", calls.len(), t.elapsed());
    let all = calls.clone();
    for c in calls.iter_mut() {
        if adopt::is_orphan(c) {
            c.parent_id = adopt::adopt(c, &all);
            c.parent_inferred = c.parent_id.is_some();
        }
    }
    let mut cov = Default::default();
    for c in &calls {
        calltrail::correlate::coverage::count(&mut cov, c, 1);
    }
    let q = |s: &str| format!("{s:?}");
    for c in &calls {
        let fs: Vec<String> = c
            .findings
            .iter()
            .filter(|f| match &f.absent_observer {
                None => true,
                Some(o) => cov.get(&(o.clone(), c.start.hour())).is_some_and(|x| {
                    if x[0] > 0 { x[1] * 100 >= x[0] * 99 } else { x[3] >= 1 && x[3] * 100 >= x[2] * 99 }
                }),
            })
            .map(|f| q(f.kind.as_str()))
            .collect();
        let legs: Vec<String> = c
            .legs
            .iter()
            .map(|l| {
                format!(
                    "{{\"source\":\"{}\",\"sha256\":\"{}\"{}}}",
                    l.observer.kind,
                    l.line.line_sha256,
                    l.span_id.map(|s| format!(",\"span\":\"{s}\"")).unwrap_or_default()
                )
            })
            .collect();
        println!(
            "{{\"id\":\"{}\",\"caller\":{{\"name\":{}}},\"callee\":{{\"name\":{}}},\"principal\":{},\"legs\":[{}],\"basis\":\"{}\",\"ambiguous\":{},\"findings\":[{}],\"parent\":{},\"claimed\":{},\"path\":{}}}",
            c.id,
            q(&c.caller.name),
            q(&c.callee.name),
            c.principal.as_ref().map_or("null".into(), |p| format!(
                "{{\"subject\":{},\"attr\":\"{}\"}}",
                q(&p.principal.subject),
                p.attribution
            )),
            legs.join(","),
            c.basis,
            c.ambiguous,
            fs.join(","),
            c.parent_id.map_or("null".into(), |p| q(&p.to_string())),
            c.claimed.is_some(),
            c.path.as_ref().map_or("null".into(), |p| q(p))
        );
    }
}
