//! Puts the parts together and stops them in order: connections, then the writer, then the correlator, then the store.
//!
//! The caller owns the listener and the stop signal, so that a test binds port 0 and stops when it likes.

mod opening;

use crate::api::auth::Gate;
use crate::api::{self, Context};
use crate::config::Config;
use crate::correlate::{Rules, task};
use crate::handover::Handover;
use crate::ingest::http::{self, Uploads};
use crate::ingest::room::Room;
use crate::ingest::writer::Writer;
use crate::model::{Clock, RetentionRules, SystemClock};
use crate::store::{RemovedStep, Store, create_directory};
use crate::telemetry::Metrics;
use anyhow::{Context as _, bail};
use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use opening::Opening;
use std::fs::{File, TryLockError};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::JoinSet;

/// Between two attempts to accept when the machine has no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often what other processes commit is looked for.
const LOOK_ROUND: Duration = Duration::from_secs(1);

/// Held by whoever may write to a data directory; the lock goes with the process.
#[derive(Debug)]
pub struct DataLock {
    _file: File,
}

impl DataLock {
    /// Creates the directory where it is missing. One process at a time: the second is told what to do instead.
    pub fn take(directory: &Path) -> anyhow::Result<DataLock> {
        let shown = directory.display();
        let advice = "choose another with --data-dir, or make it writable for this user";
        create_directory(directory)?;
        let file = File::create(directory.join("lock"))
            .with_context(|| format!("the data directory {shown} cannot be written; {advice}"))?;
        match file.try_lock() {
            Ok(()) => Ok(DataLock { _file: file }),
            Err(TryLockError::WouldBlock) => bail!(
                "another calltrail is using the data directory {shown}: use --server http://127.0.0.1:7311 (the address \
                 it listens on) to go through it, or stop it first"
            ),
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("the data directory {shown} cannot be locked; {advice}"))
            }
        }
    }
}

/// Binds the address of the configuration; the error says what to do.
pub async fn bind(listen: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(listen).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => anyhow::anyhow!(
            "{listen} is in use, perhaps by another calltrail: stop it, or choose another port with --listen {}:{}",
            listen.ip(),
            listen.port().saturating_add(1)
        ),
        std::io::ErrorKind::PermissionDenied => {
            anyhow::anyhow!("this user may not listen on {listen}: choose a port above 1023 with --listen")
        }
        std::io::ErrorKind::AddrNotAvailable => anyhow::anyhow!(
            "{} is no address of this machine: use --listen 127.0.0.1:{} or 0.0.0.0:{}",
            listen.ip(),
            listen.port(),
            listen.port()
        ),
        _ => anyhow::anyhow!("cannot listen on {listen}: {error}"),
    })
}

/// Serves until `shutdown` resolves, then drains: finishes the requests in flight, commits what is queued, lets the correlator
/// finish its transaction.
pub async fn run(
    config: Config,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let _lock = config.data_dir.as_deref().map(DataLock::take).transpose()?;
    let store = Store::open(&config.location).await.context("cannot open the store")?;
    store.hold_keys(config.key_memory_bytes);
    let listen = listener.local_addr().context("the listener has no address")?;
    let gate = Arc::new(Gate::new(store.clone(), listen.ip()));
    if !gate.may_start().await.context("cannot read the tokens")? {
        store.close().await;
        bail!(
            "{listen} can be reached by others, and there is no token yet: create one with `calltrail token create --scope \
             admin`, or listen on loopback with --listen 127.0.0.1:{}",
            listen.port()
        );
    }
    let handover = Handover::here();
    let (writer, committed, writer_task) = Writer::start(store.clone(), config.queue_bytes);
    let writer = writer.handing_over(handover.clone());
    let (stop_correlator, stopped) = oneshot::channel::<()>();
    let correlator = tokio::spawn(correlate(
        store.clone(),
        config.rules.clone(),
        config.retention.clone(),
        committed,
        handover,
        stopped,
    ));
    let router = routes(&config, &store, gate, writer);
    tracing::info!("listening on http://{listen}");
    serve(listener, router, &config, shutdown).await;
    tracing::info!("stopping: committing what is queued");
    writer_task.await.context("the writer stopped with a fault")?;
    let _ = stop_correlator.send(());
    correlator.await.context("the correlator stopped with a fault")?;
    store.close().await;
    tracing::info!("stopped");
    Ok(())
}

/// Derives while this process holds the correlator's office. In Postgres another process may hold it: this one then waits, and
/// takes over when the other has ended.
async fn correlate(
    store: Store,
    rules: Rules,
    retention: RetentionRules,
    committed: watch::Receiver<u64>,
    handover: Handover,
    stop: oneshot::Receiver<()>,
) {
    let (heard, head) = watch::channel(0);
    let hearing = tokio::spawn(hear(store.clone(), committed, heard));
    let mut stop = std::pin::pin!(async { drop(stop.await) });
    let mut stopping = false;
    while !stopping {
        let mut office = tokio::select! {
            office = store.office() => office,
            () = &mut stop => break,
        };
        let (store, rules) = (store.in_office(&office), rules.clone());
        let until_stopped_or_lost = async {
            tokio::select! {
                () = &mut stop => stopping = true,
                () = office.lost() => tracing::warn!("the correlator's office was lost: it is asked for again"),
            }
        };
        let removing = tokio::spawn(retain(store.clone(), retention.clone()));
        task::run(store, rules, SystemClock, head.clone(), handover.clone(), until_stopped_or_lost).await;
        // What it has not committed it has not removed.
        removing.abort();
        office.leave().await;
    }
    hearing.abort();
}

/// Removes what need not be kept any longer, again and again. Whoever derives does, so that of several processes one does.
async fn retain(store: Store, rules: RetentionRules) {
    let every = Duration::from_micros(rules.every_us.unsigned_abs());
    loop {
        let removed = AtomicU64::new(0);
        let count = |_, step: RemovedStep| {
            removed.fetch_add(step.items.unsigned_abs(), Ordering::Relaxed);
        };
        match store.retain(&rules, SystemClock.now(), count).await {
            Ok(()) if removed.load(Ordering::Relaxed) == 0 => {}
            Ok(()) => {
                tracing::info!(items = removed.into_inner(), "removed what need not be kept any longer")
            }
            Err(error) => {
                tracing::warn!(%error, "what need not be kept any longer is not all removed; the next pass goes on")
            }
        }
        tokio::time::sleep(every).await;
    }
}

/// Tells how far the evidence goes: at once of what this process commits, within a second of what others do. Ends with the
/// writer.
async fn hear(store: Store, mut committed: watch::Receiver<u64>, heard: watch::Sender<u64>) {
    loop {
        let head = tokio::select! {
            changed = committed.changed() => match changed {
                Ok(()) => *committed.borrow_and_update(),
                Err(_) => return,
            },
            () = tokio::time::sleep(LOOK_ROUND), if store.is_shared() => store.head().await.unwrap_or(0),
        };
        heard.send_if_modified(|known| std::mem::replace(known, head.max(*known)) < head);
    }
}

fn routes(config: &Config, store: &Store, gate: Arc<Gate>, writer: Writer) -> Router {
    let metrics = Arc::new(Metrics::new());
    let uploads = Uploads {
        writer,
        limits: Arc::new(config.limits.clone()),
        formats: config.rules.formats.clone().into(),
        gate: gate.clone(),
        metrics: metrics.clone(),
        clock: Arc::new(SystemClock),
        room: Room::new(config.limits.upload_memory_bytes),
        in_work: Arc::new(Semaphore::new(config.limits.uploads_at_once)),
    };
    let (clock, rules) = (Arc::new(SystemClock), Arc::new(config.rules.clone()));
    let context = Context { store: store.clone(), gate, metrics, clock, rules };
    api::router(context, http::router(uploads))
}

/// Accepts until the signal, then waits for the connections, at most as long as the configuration says. Nothing that holds a
/// writer is left when it returns.
async fn serve(listener: TcpListener, router: Router, config: &Config, shutdown: impl Future<Output = ()>) {
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let room = Arc::new(Semaphore::new(config.max_connections));
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        // Ended connections are collected on the way, so that the set does not grow.
        while connections.try_join_next().is_some() {}
        let accepted = async {
            let permit = room.clone().acquire_owned().await;
            (permit, listener.accept().await)
        };
        tokio::select! {
            () = &mut shutdown => break,
            (permit, accepted) = accepted => match accepted {
                Ok((stream, _)) => {
                    let connection = connection(stream, router.clone(), config.head_timeout, graceful.watcher());
                    connections.spawn(async move { connection.await; drop(permit) });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(config.drain, graceful.shutdown()).await.is_err() {
        tracing::warn!(connections = connections.len(), "requests took too long to finish and were cut off");
    }
    connections.shutdown().await;
}

/// A client that says nothing, or stops in the middle of a head, must not hold its place longer than `head_timeout`.
async fn connection(stream: TcpStream, router: Router, head_timeout: Duration, watcher: Watcher) {
    let _ = stream.set_nodelay(true);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(head_timeout);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(head_timeout)
        .keep_alive_timeout(head_timeout);
    let stream = Opening::new(stream, head_timeout);
    let served = watcher
        .watch(builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).into_owned());
    if let Err(error) = served.await {
        tracing::debug!(error = %error, "a connection ended early");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_process_on_the_same_directory_is_told_to_go_through_the_first() {
        let directory = tempfile::tempdir().unwrap();
        let held = DataLock::take(directory.path()).unwrap();
        let error = DataLock::take(directory.path()).unwrap_err().to_string();
        assert!(error.contains("--server"), "{error}");
        drop(held);
        DataLock::take(directory.path()).unwrap();
    }

    #[test]
    fn a_path_that_is_no_directory_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "x").unwrap();
        let error = DataLock::take(&file).unwrap_err().to_string();
        assert!(error.contains("--data-dir"), "{error}");
    }

    #[tokio::test]
    async fn a_port_that_is_taken_says_what_to_do() {
        let first = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let error = bind(first.local_addr().unwrap()).await.unwrap_err().to_string();
        assert!(error.contains("--listen"), "{error}");
    }
}
