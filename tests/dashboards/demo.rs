//! The demo's data in a running `calltrail serve`, once for all tests of this file.

use crate::bundle::Query;
use crate::common::{Backend, Calltrail, Serve, http};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, Weak};

/// All of the demo, as Grafana's `from` and `to`.
pub const RANGE: &str = "from=1795489005000&to=1795489025000";

pub struct Demo {
    pub server: Calltrail,
    _backend: Backend,
}

/// Ends with the last test that holds it: what is in a static is never dropped, and the server would stay.
static RUNNING: Mutex<Weak<Demo>> = Mutex::new(Weak::new());

impl Demo {
    pub fn start() -> Arc<Demo> {
        let mut running = RUNNING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        running.upgrade().unwrap_or_else(|| {
            let demo = Arc::new(Demo::feed());
            *running = Arc::downgrade(&demo);
            demo
        })
    }

    fn feed() -> Demo {
        let backend = Backend::sqlite();
        let server = Serve::on(&backend).arg("--rules").arg("demo/calltrail.toml").start();
        for (folder, source) in [("worker", "logpush-workers"), ("zone", "logpush-zone"), ("mesh", "mesh")] {
            let entries = std::fs::read_dir(format!("demo/{folder}")).unwrap();
            let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
            files.sort();
            for file in files {
                let (body, path) = (std::fs::read(&file).unwrap(), format!("/ingest/{source}"));
                let headers = [("content-encoding", "gzip")];
                let answer = http::send(server.address, "POST", &path, &headers, &body).unwrap();
                assert_eq!(answer.status, 200, "{}: {}", file.display(), answer.text());
            }
        }
        server.wait_for("/v1/calls?limit=1", |page| page["complete"] == true);
        Demo { server, _backend: backend }
    }

    /// The rows that the query gets with these variables set, at its root selector.
    pub fn rows(&self, query: &Query, variables: &[(&str, &str)]) -> Vec<Value> {
        let path = query.path(variables);
        let body = self.server.json(&path);
        let rows = body.get(&query.root).and_then(Value::as_array);
        rows.unwrap_or_else(|| panic!("{}: no list at {:?} in {body}", query.place, query.root)).clone()
    }
}
