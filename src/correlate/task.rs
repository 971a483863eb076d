//! Carries the pure join along the committed evidence: reads deliveries, widens to everything that they can touch, assembles,
//! writes the difference with the new position. The only stateful file here, and its state can be lost at any moment.

use super::Rules;
use crate::store::{Store, StoreError};
use tokio::sync::watch;

/// Derives until `head` has been reached, then returns. For `import`, `rebuild` and tests.
pub async fn catch_up(store: &Store, rules: &Rules) -> Result<(), StoreError> {
    let _ = (store, rules);
    todo!()
}

/// Runs until `stop` says so: derives whenever `committed` moves on; retries when the database is not available; starts again
/// when fenced.
pub async fn run(
    store: Store,
    rules: Rules,
    committed: watch::Receiver<u64>,
    stop: impl Future<Output = ()>,
) {
    let _ = (store, rules, committed);
    stop.await;
}
