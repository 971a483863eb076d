//! Evidence in: deliveries, their blocks and their leaves, in one durable transaction.
//!
//! Everything that takes time (compressing, hashing, writing the blocks) comes before the row of the log's head is locked, so
//! that several processes can commit side by side; the numbers are then taken in commit order and without gaps.

use super::block::{self, Block};
use super::bulk::Target;
use super::error::inconsistent;
use super::statement::{Bind, Tx, stmt, without_nul};
use super::{Commit, Store, StoreError};
use crate::evidence::commitment::{DeliveryLeaf, line_root};
use crate::evidence::ledger::LogHead;
use crate::evidence::tree::{Frontier, Hash};
use crate::model::{Delivery, DeliveryId};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

pub(super) const BLOCKS: Target = Target {
    table: "block",
    columns: "delivery_id, part, first_line, line_count, packed",
    // A block of the same delivery is the same block: another process is committing it, and one of us will be the first.
    on_conflict: " on conflict do nothing",
};
pub(super) const DELIVERIES: Target = Target {
    table: "delivery",
    columns: "number, id, source, proxy, received_at_us, line_count, body_bytes, line_root, leaf_hash, secret",
    on_conflict: "",
};

/// A delivery made ready: all that is written but its number.
struct Prepared {
    id: DeliveryId,
    source: String,
    proxy: Option<String>,
    received_at_us: i64,
    line_count: usize,
    body_bytes: usize,
    secret: [u8; 32],
    line_root: Hash,
    leaf_hash: Hash,
    blocks: Vec<Block>,
}

impl Store {
    /// Commits the deliveries in one durable transaction and answers for each, in order.
    pub async fn commit(&self, deliveries: &[Delivery]) -> Result<Vec<Commit>, StoreError> {
        self.commit_shared(Arc::new(deliveries.to_vec())).await
    }

    /// [`Store::commit`] without a copy of the lines.
    pub async fn commit_shared(&self, deliveries: Arc<Vec<Delivery>>) -> Result<Vec<Commit>, StoreError> {
        let ids: Vec<DeliveryId> = deliveries.iter().map(|d| d.id).collect();
        let prepared = tokio::task::spawn_blocking(move || prepare(&deliveries)).await;
        let prepared =
            prepared.map_err(|e| StoreError::Other(format!("preparing a commit failed: {e}")))??;
        let numbers = self.write(prepared).await?;
        answers(&ids, &numbers)
    }

    async fn write(&self, mut new: Vec<Prepared>) -> Result<HashMap<DeliveryId, Numbered>, StoreError> {
        let mut numbers = HashMap::with_capacity(new.len());
        if new.is_empty() {
            return Ok(numbers);
        }
        let mut tx = self.begin().await?;
        take_known(&mut tx, &mut new, &mut numbers).await?;
        if new.is_empty() {
            return Ok(numbers);
        }
        tx.insert(&BLOCKS, block_rows(&mut new)).await?;
        let head = lock_head(&mut tx).await?;
        // Whoever held the head before us may have committed some of them.
        take_known(&mut tx, &mut new, &mut numbers).await?;
        if new.is_empty() {
            return Ok(numbers);
        }
        append(&mut tx, head, new, &mut numbers).await?;
        tx.commit().await?;
        Ok(numbers)
    }
}

struct Numbered {
    number: u64,
    is_new: bool,
}

/// In the order asked; a delivery that stands twice in a batch is stored once.
fn answers(ids: &[DeliveryId], numbers: &HashMap<DeliveryId, Numbered>) -> Result<Vec<Commit>, StoreError> {
    let mut answered = HashSet::new();
    ids.iter()
        .map(|id| {
            let numbered =
                numbers.get(id).ok_or_else(|| inconsistent("delivery", format!("{id} has no number")))?;
            let number = numbered.number;
            let first = answered.insert(id);
            Ok(if numbered.is_new && first {
                Commit::Stored { number }
            } else {
                Commit::Duplicate { number }
            })
        })
        .collect()
}

fn prepare(deliveries: &[Delivery]) -> Result<Vec<Prepared>, StoreError> {
    let mut seen = HashSet::with_capacity(deliveries.len());
    deliveries.iter().filter(|d| seen.insert(d.id)).map(prepare_one).collect()
}

fn prepare_one(delivery: &Delivery) -> Result<Prepared, StoreError> {
    let secret: [u8; 32] = rand::random();
    // As the row will say it, so that the leaf can be made again from the row.
    let source = without_nul(&delivery.source).into_owned();
    let proxy = delivery.proxy.as_deref().map(|p| without_nul(p).into_owned());
    let line_root = line_root(&secret, delivery.lines.iter().map(Vec::as_slice));
    let leaf = DeliveryLeaf {
        source: &source,
        proxy: proxy.as_deref(),
        received_at: delivery.received_at,
        line_count: delivery.lines.len() as u64,
        line_root,
    };
    Ok(Prepared {
        leaf_hash: leaf.hash(),
        id: delivery.id,
        received_at_us: delivery.received_at.micros(),
        line_count: delivery.lines.len(),
        body_bytes: delivery.lines.iter().map(Vec::len).sum(),
        secret,
        line_root,
        blocks: block::pack(&delivery.lines)
            .map_err(|e| StoreError::Other(format!("compressing lines: {e}")))?,
        source,
        proxy,
    })
}

/// Moves those that are committed already from `new` to `numbers`.
async fn take_known(
    tx: &mut Tx,
    new: &mut Vec<Prepared>,
    numbers: &mut HashMap<DeliveryId, Numbered>,
) -> Result<(), StoreError> {
    let mut query = stmt("select id, number from delivery where id in ");
    query.push_list(new.iter().map(|p| Bind::bytes(p.id.0)).collect());
    for (id, number) in tx.rows::<(Vec<u8>, i64)>(query).await? {
        let id = id.try_into().map_err(|_| inconsistent("delivery", "an id is not 32 bytes long"))?;
        numbers.insert(DeliveryId(id), Numbered { number: number as u64, is_new: false });
    }
    new.retain(|p| !numbers.contains_key(&p.id));
    Ok(())
}

/// By id, so that two processes that write the same deliveries wait for each other in one order only.
fn block_rows(new: &mut [Prepared]) -> Vec<Bind> {
    let mut by_id: Vec<&mut Prepared> = new.iter_mut().collect();
    by_id.sort_by_key(|p| p.id);
    let mut rows = Vec::new();
    for prepared in by_id {
        for (part, block) in (0..).zip(prepared.blocks.drain(..)) {
            rows.extend([
                Bind::bytes(prepared.id.0),
                Bind::int(part),
                Bind::int(block.first_line.into()),
                Bind::int(block.line_count.into()),
                Bind::bytes(block.packed),
            ]);
        }
    }
    rows
}

/// An update that changes nothing: it locks the row on both databases, until the transaction ends.
pub(super) async fn lock_head(tx: &mut Tx) -> Result<LogHead, StoreError> {
    let lock =
        "update log_head set singleton = singleton returning next_number, line_count, tree_size, frontier";
    log_head(tx.rows(stmt(lock)).await?)
}

/// From the only row: next number, lines, size and frontier of the tree.
pub(super) fn log_head(rows: Vec<(i64, i64, i64, Vec<u8>)>) -> Result<LogHead, StoreError> {
    let (next_number, lines, size, frontier) =
        rows.into_iter().next().ok_or_else(|| inconsistent("log_head", "its only row is missing"))?;
    let frontier = Frontier::from_bytes(size as u64, &frontier).map_err(|e| inconsistent("log_head", e))?;
    Ok(LogHead { next_number: next_number as u64, line_count: lines as u64, frontier })
}

pub(super) async fn write_head(tx: &mut Tx, head: &LogHead) -> Result<(), StoreError> {
    let update = "update log_head set next_number = ?, line_count = ?, tree_size = ?, frontier = ?";
    let update = stmt(update).int(head.next_number as i64).int(head.line_count as i64);
    let update = update.int(head.frontier.size() as i64).bytes(head.frontier.to_bytes());
    tx.execute(update).await.map(|_| ())
}

/// Numbers and leaves, in the order in which they were handed over.
async fn append(
    tx: &mut Tx,
    mut head: LogHead,
    new: Vec<Prepared>,
    numbers: &mut HashMap<DeliveryId, Numbered>,
) -> Result<(), StoreError> {
    let mut rows = Vec::with_capacity(new.len() * 10);
    for prepared in new {
        let number = head.next_number;
        head.next_number += 1;
        head.frontier.append(prepared.leaf_hash);
        head.line_count += prepared.line_count as u64;
        numbers.insert(prepared.id, Numbered { number, is_new: true });
        rows.extend(delivery_row(number as i64, prepared));
    }
    tx.insert(&DELIVERIES, rows).await?;
    write_head(tx, &head).await
}

fn delivery_row(number: i64, prepared: Prepared) -> [Bind; 10] {
    [
        Bind::int(number),
        Bind::bytes(prepared.id.0),
        Bind::text(&prepared.source),
        Bind::maybe_text(prepared.proxy.as_deref()),
        Bind::int(prepared.received_at_us),
        Bind::int(prepared.line_count as i64),
        Bind::int(prepared.body_bytes as i64),
        Bind::bytes(prepared.line_root),
        Bind::bytes(prepared.leaf_hash),
        Bind::bytes(prepared.secret),
    ]
}
