//! `calltrail import`: log files to deliveries, into the data itself or to a server.
//!
//! Safe to repeat and to break off: the same files give the same deliveries, and one that is known is not stored again.

use super::Place;
use super::cut::Cutter;
use super::input::{self, Input};
use super::paint::emit;
use super::rebuild::{RulesArg, derive};
use super::remote::Remote;
use super::{phrase, progress};
use crate::correlate::{Rules, task};
use crate::decode::frame;
use crate::evidence::delivery_id;
use crate::handover::{Handover, Room};
use crate::ingest::http::{Account, Receipt};
use crate::ingest::writer::Writer;
use crate::model::delivery::is_source_name;
use crate::model::{Clock, CustomFormat, Delivery, SystemClock};
use crate::store::{Commit, Store};
use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use futures_util::{Stream, StreamExt, stream};
use indicatif::ProgressBar;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

#[derive(Debug, Args)]
pub struct ImportArgs {
    /// Name of the source that these lines come from, as the URL of an upload would name it
    #[arg(long, value_name = "NAME")]
    pub source: String,
    /// The proxy that wrote these lines, where they do not say so themselves (Consul's default log format) [default: the
    /// file's name without its endings]
    #[arg(long, value_name = "NAME")]
    pub proxy: Option<String>,
    /// Files and directories, plain, gzip or zstd; `-` reads standard input
    #[arg(required = true, value_name = "FILE|DIR|-")]
    pub paths: Vec<PathBuf>,
    #[command(flatten)]
    pub rules: RulesArg,
}

/// One piece of a file on its way.
struct Piece {
    body: Vec<u8>,
    proxy: Option<String>,
    origin: Arc<str>,
}

#[derive(Default)]
struct Summary {
    lines: u64,
    legs: u64,
    rejected: u64,
    deliveries: u64,
    duplicates: u64,
    /// The first rejects with the file that they stand in.
    examples: Vec<String>,
    /// Inputs that could not be read to their end.
    broken: Vec<String>,
}

const EXAMPLES: usize = 5;
/// Lines are cut into pieces before; only a document over many lines can hold as many.
const MAX_ELEMENTS: usize = 2_000_000;
/// Pieces on their way at the same time: enough that reading, committing and answering overlap.
const IN_FLIGHT: usize = 8;

/// Where pieces go.
enum Target {
    Data(Writer, Arc<[CustomFormat]>),
    Server(Remote),
}

pub async fn run(args: ImportArgs, place: &Place) -> Result<()> {
    check_source(&args.source)?;
    let found = input::find(&args.paths)?;
    let rules = args.rules.load(place)?;
    let started = Instant::now();
    if let Some(url) = &place.server {
        let target = Target::Server(Remote::new(url, place.token.as_deref())?);
        let summary = send_all(&args, found.inputs, &target).await?;
        return summary.finish(found.skipped_files, started.elapsed());
    }
    let _lock = place.lock()?;
    let store = Store::open(&place.location()).await.context("cannot open the data")?;
    let summary = into_data(&args, found.inputs, &store, &rules).await?;
    store.close().await;
    summary.finish(found.skipped_files, started.elapsed())
}

/// Commits all inputs and sees to it that they are derived: meanwhile, if nobody else does.
async fn into_data(args: &ImportArgs, inputs: Vec<Input>, store: &Store, rules: &Rules) -> Result<Summary> {
    let (writer, committed, task) = Writer::start(store.clone(), 64 * 1024 * 1024);
    let office = store.try_office().await?;
    let handover = if office.is_some() { Handover::here() } else { Handover::default() };
    let target = Target::Data(writer.handing_over(handover.clone()), rules.formats.as_slice().into());
    let sending = async {
        let sent = send_all(args, inputs, &target).await;
        drop(target);
        task.await.context("the writer stopped")?;
        sent
    };
    let Some(office) = office else {
        let sent = sending.await?;
        derive(store, rules).await?;
        return Ok(sent);
    };
    let store = &store.in_office(&office);
    let deriving = async {
        let derived = task::keep_up(store, rules, &SystemClock, committed, &handover).await;
        // Should that have failed, what is left to be sent is stored all the same and waits for nobody.
        handover.close();
        derived
    };
    let (sent, derived) = tokio::join!(sending, deriving);
    office.leave().await;
    derived.context("cannot derive the calls; `calltrail rebuild` derives them from what was stored")?;
    sent
}

/// The name stands in a URL and in metrics.
fn check_source(name: &str) -> Result<()> {
    if !is_source_name(name) {
        bail!(
            "--source {name:?}: a source's name holds 1 to 64 letters, digits, '-', '_' and '.', as logpush-workers"
        );
    }
    Ok(())
}

async fn send_all(args: &ImportArgs, inputs: Vec<Input>, target: &Target) -> Result<Summary> {
    let total_bytes: u64 = inputs.iter().map(Input::size_bytes).sum();
    let bar = progress::bytes((total_bytes > 0).then_some(total_bytes));
    let read_bytes: Arc<AtomicU64> = Arc::default();
    let (sender, receiver) = mpsc::channel(2);
    let (counter, proxy) = (read_bytes.clone(), args.proxy.clone());
    // Reading and decompressing is blocking work: a thread of its own, held back by the small channel.
    let reader = tokio::task::spawn_blocking(move || read_all(&inputs, proxy.as_deref(), &counter, &sender));
    let pieces = stream::unfold(receiver, async |mut r| r.recv().await.map(|piece: Piece| (piece, r)));
    let mut answers = match target {
        Target::Data(writer, formats) => into_store(pieces, &args.source, writer, formats).boxed_local(),
        Target::Server(remote) => to_server(pieces, &args.source, remote).boxed_local(),
    };
    let (mut summary, started) = (Summary::default(), Instant::now());
    while let Some(answer) = answers.next().await {
        let (origin, receipt) = answer?;
        summary.add(&origin, receipt);
        show(&bar, &summary, read_bytes.load(Ordering::Relaxed), started.elapsed());
    }
    bar.finish_and_clear();
    summary.broken = reader.await.context("the reader stopped")?;
    Ok(summary)
}

fn show(bar: &ProgressBar, summary: &Summary, read_bytes: u64, elapsed: Duration) {
    bar.set_position(read_bytes);
    let lines = summary.lines;
    bar.set_message(format!("{}  {}", progress::lines(lines), progress::rate(lines, elapsed)));
}

/// Reads every input to its end, and tells of each that broke half way.
fn read_all(
    inputs: &[Input],
    proxy: Option<&str>,
    read_bytes: &Arc<AtomicU64>,
    sender: &mpsc::Sender<Piece>,
) -> Vec<String> {
    let mut broken = Vec::new();
    for input in inputs {
        if let Err(error) = read_one(input, proxy, read_bytes, sender) {
            broken.push(format!("{}: {error:#}", input.name()));
        }
    }
    broken
}

fn read_one(
    input: &Input,
    named_proxy: Option<&str>,
    read_bytes: &Arc<AtomicU64>,
    sender: &mpsc::Sender<Piece>,
) -> Result<()> {
    let origin: Arc<str> = input.name().into();
    let mut proxy: Option<Option<String>> = None;
    for body in Cutter::new(input::open(input, read_bytes.clone())?) {
        let body = body?;
        let of_this_file = || {
            named_proxy
                .map(str::to_owned)
                .or_else(|| input.stem().filter(|_| is_anonymous(&body)).map(str::to_owned))
        };
        let proxy = proxy.get_or_insert_with(of_this_file).clone();
        if sender.blocking_send(Piece { body, proxy, origin: origin.clone() }).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Envoy's lines in Consul's default format: they do not say which proxy wrote them.
fn is_anonymous(body: &[u8]) -> bool {
    let first = body.split(|b| *b == b'\n').find(|line| !line.trim_ascii().is_empty()).unwrap_or_default();
    let Ok(line) = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(first) else {
        return false;
    };
    line.contains_key("response_flags")
        && line.contains_key("upstream_cluster")
        && !line.contains_key("node_id")
}

/// Where a piece came from, and what became of it.
type Answer = Result<(Arc<str>, Receipt)>;

fn into_store<'a>(
    pieces: impl Stream<Item = Piece> + 'a,
    source: &'a str,
    writer: &'a Writer,
    formats: &'a Arc<[CustomFormat]>,
) -> impl Stream<Item = Answer> + 'a {
    let handover = writer.handover();
    let take_up = move |piece: Piece| async move {
        let (source, origin) = (source.to_owned(), piece.origin.clone());
        let delivery = on_another_core(move || delivery(source, piece)).await??;
        let room = handover.room(delivery.lines.len()).await;
        Ok::<_, anyhow::Error>((origin, delivery, room))
    };
    let decode = move |taken_up: Result<(Arc<str>, Delivery, Room)>| async move {
        let (origin, delivery, room) = taken_up?;
        let (formats, handover) = (formats.clone(), handover.clone());
        let account = move || (account(&delivery, &formats, &handover), delivery);
        let (receipt, delivery) = on_another_core(account).await?;
        drop(room);
        Ok::<_, anyhow::Error>((origin, delivery, receipt))
    };
    let commit = move |decoded: Result<(Arc<str>, Delivery, Receipt)>| async move {
        let (origin, delivery, receipt) = decoded?;
        Ok((origin, commit(writer, delivery, receipt).await?))
    };
    pieces
        // One after the other: what comes later must not take the room that an earlier one waits for.
        .then(take_up)
        .map(decode)
        .buffered(IN_FLIGHT)
        // In the order of the files, however long each took: the same files give the same deliveries under the same numbers.
        .map(commit)
        .buffered(IN_FLIGHT)
}

fn to_server<'a>(
    pieces: impl Stream<Item = Piece> + 'a,
    source: &'a str,
    remote: &'a Remote,
) -> impl Stream<Item = Answer> + 'a {
    let send = move |piece: Piece| async move {
        let parameters: Vec<_> = piece.proxy.map(|p| ("proxy", p)).into_iter().collect();
        let body = on_another_core(move || gzip(&piece.body)).await??;
        Ok((piece.origin, remote.post_gzip(&format!("/ingest/{source}"), &parameters, body).await?))
    };
    pieces.map(send).buffered(IN_FLIGHT)
}

/// A body as an upload carries it.
pub(super) fn gzip(body: &[u8]) -> std::io::Result<Vec<u8>> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body)?;
    encoder.finish()
}

async fn commit(writer: &Writer, delivery: Delivery, mut receipt: Receipt) -> Result<Receipt> {
    if !delivery.lines.is_empty() {
        let committed = writer.write_when_there_is_room(delivery).await;
        let committed = committed.map_err(|e| anyhow!("{e}; import again to go on where it stopped"))?;
        receipt.duplicate = matches!(committed, Commit::Duplicate { .. });
    }
    Ok(receipt)
}

/// Pieces are cut and decoded side by side, and beside the joining of those before them.
async fn on_another_core<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.context("decoding stopped")
}

fn delivery(source: String, piece: Piece) -> Result<Delivery> {
    Ok(Delivery {
        id: delivery_id(&source, piece.proxy.as_deref(), &piece.body),
        lines: frame::split(&piece.body, MAX_ELEMENTS).map_err(|_| {
            anyhow!(
                "a JSON document of more than {MAX_ELEMENTS} elements: write one JSON object per line, as `jq -c .[]` does"
            )
        })?,
        source,
        proxy: piece.proxy,
        received_at: SystemClock.now(),
    })
}

/// What the delivery holds, in the words of the answer to an upload.
fn account(delivery: &Delivery, formats: &[CustomFormat], handover: &Handover) -> Receipt {
    let account = Account::of(delivery, formats, handover);
    Receipt {
        delivery: None,
        duplicate: false,
        lines: delivery.lines.len() as u64,
        legs: account.legs,
        duplicates: 0,
        rejected: account.rejected(),
    }
}

impl Summary {
    fn add(&mut self, origin: &str, receipt: Receipt) {
        if receipt.lines == 0 {
            return;
        }
        self.deliveries += 1;
        self.duplicates += u64::from(receipt.duplicate);
        self.lines += receipt.lines;
        self.legs += receipt.legs;
        self.rejected += receipt.rejected.count;
        let room = EXAMPLES - self.examples.len();
        self.examples.extend(receipt.rejected.first.iter().take(room).map(|r| {
            let (reason, detail) = (&r.reason, phrase::printable(&r.detail));
            format!("{origin}, line {} of its delivery: {reason}: {detail}", r.line)
        }));
    }

    /// Prints what was imported; an error when not everything could be read.
    fn finish(&self, skipped_files: u64, elapsed: Duration) -> Result<()> {
        self.print(skipped_files, elapsed)?;
        if !self.broken.is_empty() {
            bail!(
                "not everything could be read; what could be was imported:\n  {}",
                self.broken.join("\n  ")
            );
        }
        Ok(())
    }

    fn print(&self, skipped_files: u64, elapsed: Duration) -> Result<()> {
        let mut text = format!(
            "{} in {}, {} of them known before\n{}\n{}\n",
            progress::lines(self.lines),
            phrase::count(self.deliveries, "delivery", "deliveries"),
            self.duplicates,
            phrase::count(self.legs, "leg", "legs"),
            phrase::count(self.rejected, "reject", "rejects"),
        );
        for example in &self.examples {
            text.push_str(&format!("  {example}\n"));
        }
        if self.rejected > self.examples.len() as u64 {
            text.push_str("  ... `calltrail rejects` lists them all\n");
        }
        if skipped_files > 0 {
            let files = phrase::count(skipped_files, "file", "files");
            text.push_str(&format!("{files} left alone in the directories: not named like a log\n"));
        }
        eprintln!("{:.1} s, {}", elapsed.as_secs_f64(), progress::rate(self.lines, elapsed));
        emit(&text)
    }
}
