//! What a database holds as evidence, proven from the lines up to the head of the log. It only reads.

use super::commit::log_head;
use super::kept;
use super::statement::{Tx, stmt};
use super::{Store, StoreError};
use crate::evidence::ledger::{Ledger, LogHead};
use crate::evidence::tree::Hash;

/// Evidence that was proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holdings {
    pub deliveries: u64,
    pub lines: u64,
    pub blocks: u64,
    /// Deliveries whose lines have been removed, as is recorded; they are counted among the others.
    pub forgotten: u64,
    /// Of the tree over all deliveries.
    pub root: Hash,
}

impl Store {
    /// Makes each delivery's line root and leaf again from its lines, and the log's head from the leaves. `Inconsistent` names the
    /// first delivery that is not what was committed. `proven` is told the number of the last that was, again and again.
    pub async fn verify(&self, proven: impl Fn(u64)) -> Result<Holdings, StoreError> {
        let mut tx = self.snapshot().await?;
        let head = read_head(&mut tx).await?;
        let (mut ledger, mut blocks, mut forgotten) = (Ledger::default(), 0, Forgotten::default());
        loop {
            let step = kept::after(&mut tx, ledger.deliveries()).await?;
            if step.is_empty() {
                break;
            }
            let (past, step) = kept::prove(ledger, step).await?;
            ledger = past;
            blocks += step.iter().map(kept::Kept::block_count).sum::<u64>();
            step.iter().filter(|delivery| delivery.is_forgotten()).for_each(|d| forgotten.add(d.number()));
            proven(ledger.deliveries());
        }
        ledger.ends_at(&head)?;
        no_stray_blocks(&mut tx, blocks).await?;
        drop(tx);
        // Asked last: what is removed meanwhile is recorded no later than it goes.
        forgotten.is_recorded(self.evidence_removed_through().await?)?;
        let forgotten = forgotten.deliveries;
        let (deliveries, lines) = (ledger.deliveries(), ledger.lines());
        Ok(Holdings { deliveries, lines, blocks, forgotten, root: head.frontier.root() })
    }

    /// What the log says of itself, taken at its word.
    pub async fn log_head(&self) -> Result<LogHead, StoreError> {
        read_head(&mut self.snapshot().await?).await
    }
}

/// Deliveries whose lines are gone.
#[derive(Default)]
struct Forgotten {
    deliveries: u64,
    last: u64,
}

impl Forgotten {
    fn add(&mut self, number: u64) {
        self.deliveries += 1;
        self.last = number;
    }

    fn is_recorded(&self, removed_through: u64) -> Result<(), StoreError> {
        if self.last <= removed_through {
            return Ok(());
        }
        Err(StoreError::Inconsistent(format!(
            "delivery {} has no lines, and nothing is recorded that removed them",
            self.last
        )))
    }
}

pub(super) async fn read_head(tx: &mut Tx) -> Result<LogHead, StoreError> {
    log_head(tx.rows(stmt("select next_number, line_count, tree_size, frontier from log_head")).await?)
}

/// Lines that no delivery answers for are not evidence.
async fn no_stray_blocks(tx: &mut Tx, proven: u64) -> Result<(), StoreError> {
    let rows: Vec<(i64,)> = tx.rows(stmt("select count(*) from block")).await?;
    let held = rows.first().map_or(0, |(count,)| *count as u64);
    if held == proven {
        return Ok(());
    }
    Err(StoreError::Inconsistent(format!("there are {held} blocks, and the deliveries have {proven}")))
}
