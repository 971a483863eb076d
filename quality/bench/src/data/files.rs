//! The requests as gzip files in a directory: `00000-mesh.jsonl.gz`, `00000-worker.ndjson.gz`, and so on, so that a call's lines
//! stand near each other though Worker and mesh write apart. A file that was made before with the same recipe is used again.

use super::Recipe;
use super::cast::Cast;
use super::request::{Request, Requests};
use super::tell::Teller;
use anyhow::{Context, Result};
use flate2::{Compression, write::GzEncoder};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Of one pair of files: 5,000 mesh lines, and 2,500 of the Worker.
const REQUESTS_PER_FILE: usize = 2_500;
/// Made, and whole.
const STAMP: &str = "made-of.txt";

pub struct Files {
    pub recipe: Recipe,
    /// Holds nothing but the lines.
    pub directory: PathBuf,
    /// calltrail's rules for these lines.
    pub rules: PathBuf,
    pub plain_bytes: u64,
    pub gzip_bytes: u64,
}

impl Files {
    pub fn make(cast: &Cast, recipe: Recipe, home: &Path) -> Result<Files> {
        let directory = home.join("lines");
        let wanted = format!("{recipe:?}");
        let stamp = fs::read_to_string(home.join(STAMP)).unwrap_or_default();
        let plain_bytes = match stamp.split_once('\n').filter(|(made_of, _)| *made_of == wanted) {
            Some((_, bytes)) => bytes.trim().parse().context("the stamp of the data is broken: remove it")?,
            None => {
                let _ = fs::remove_dir_all(home);
                fs::create_dir_all(&directory)
                    .with_context(|| format!("cannot create {}", directory.display()))?;
                fs::write(home.join("calltrail.toml"), Cast::rules_toml())?;
                let bytes = write_all(cast, &recipe, &directory)?;
                fs::write(home.join(STAMP), format!("{wanted}\n{bytes}\n"))?;
                bytes
            }
        };
        let gzip_bytes =
            paths(&directory)?.iter().map(|path| Ok(fs::metadata(path)?.len())).sum::<Result<u64>>()?;
        Ok(Files { recipe, rules: home.join("calltrail.toml"), directory, plain_bytes, gzip_bytes })
    }

    /// In the order in which they are read.
    pub fn paths(&self) -> Result<Vec<PathBuf>> {
        paths(&self.directory)
    }
}

fn paths(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries: std::io::Result<Vec<PathBuf>> =
        fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect();
    let mut paths = entries?;
    paths.sort();
    Ok(paths)
}

fn write_all(cast: &Cast, recipe: &Recipe, directory: &Path) -> Result<u64> {
    let mut requests = Requests::new(cast, recipe);
    let (mut number, mut bytes) = (0, 0);
    loop {
        // Two at a time: one thread compresses each.
        let chunks: Vec<Vec<Request>> =
            (0..cores()).map(|_| requests.by_ref().take(REQUESTS_PER_FILE).collect()).collect();
        if chunks[0].is_empty() {
            return Ok(bytes);
        }
        let written = std::thread::scope(|scope| {
            let threads: Vec<_> = (number..)
                .zip(&chunks)
                .filter(|(_, chunk)| !chunk.is_empty())
                .map(|(n, chunk)| scope.spawn(move || write_pair(cast, chunk, directory, n)))
                .collect();
            threads.into_iter().map(|t| t.join().expect("a writer does not panic")).sum::<Result<u64>>()
        })?;
        (number, bytes) = (number + chunks.len(), bytes + written);
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

fn write_pair(cast: &Cast, chunk: &[Request], directory: &Path, number: usize) -> Result<u64> {
    let teller = Teller::new(cast);
    // Proxies write a line when a request has ended, the Worker likewise: the service's before the gateway's.
    let mut mesh: Vec<(i64, String)> = chunk
        .iter()
        .flat_map(|r| {
            [(r.times.service_end, teller.service_line(r)), (r.times.gateway_end, teller.gateway_line(r))]
        })
        .collect();
    mesh.sort_by_key(|(at_us, _)| *at_us);
    let mut worker: Vec<(i64, String)> =
        chunk.iter().map(|r| (r.times.event_end, teller.worker_line(r))).collect();
    worker.sort_by_key(|(at_us, _)| *at_us);
    let mesh = write_gzip(&directory.join(format!("{number:05}-mesh.jsonl.gz")), &mesh)?;
    let worker = write_gzip(&directory.join(format!("{number:05}-worker.ndjson.gz")), &worker)?;
    Ok(mesh + worker)
}

fn write_gzip(path: &Path, lines: &[(i64, String)]) -> Result<u64> {
    let file = fs::File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
    let body = gzip(lines.iter().map(|(_, line)| line.as_str()))?;
    (&file).write_all(&body).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(lines.iter().map(|(_, line)| line.len() as u64 + 1).sum())
}

/// Lines as an upload carries them, compressed as shippers and Logpush do.
pub fn gzip<'l>(lines: impl Iterator<Item = &'l str>) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    for line in lines {
        encoder.write_all(line.as_bytes())?;
        encoder.write_all(b"\n")?;
    }
    Ok(encoder.finish()?)
}
