//! Evidence out: committed deliveries, byte for byte.

use super::block;
use super::error::inconsistent;
use super::statement::{Bind, stmt};
use super::{DeliveryHead, Store, StoreError, StoredDelivery};
use crate::model::{Delivery, DeliveryId, Timestamp};
use std::collections::HashMap;

/// Deliveries looked at in one read, however small they are.
const MAX_DELIVERIES: i64 = 1_000;

#[derive(sqlx::FromRow)]
struct DeliveryRow {
    number: i64,
    id: Vec<u8>,
    source: String,
    proxy: Option<String>,
    received_at_us: i64,
    line_count: i64,
}

#[derive(sqlx::FromRow)]
struct BlockRow {
    delivery_id: Vec<u8>,
    line_count: i64,
    packed: Vec<u8>,
}

impl Store {
    /// Committed deliveries with numbers above `after`, in order, until about `max_lines` lines are read (at least one
    /// delivery when there is one).
    pub async fn deliveries_after(
        &self,
        after: u64,
        max_lines: usize,
    ) -> Result<Vec<StoredDelivery>, StoreError> {
        let heads = self.delivery_heads_after(after, max_lines).await?;
        self.with_lines(heads).await
    }

    /// The same without their lines; those whose lines have been removed are passed over.
    pub async fn delivery_heads_after(
        &self,
        after: u64,
        max_lines: usize,
    ) -> Result<Vec<DeliveryHead>, StoreError> {
        let select = "select number, id, source, proxy, received_at_us, line_count from delivery \
                      where number > ? and secret is not null order by number limit ?";
        let rows = self.rows(stmt(select).int(after as i64).int(MAX_DELIVERIES)).await?;
        first_lines(rows, max_lines).into_iter().map(head).collect()
    }

    /// Deliveries with their lines, in the order asked.
    pub async fn with_lines(&self, heads: Vec<DeliveryHead>) -> Result<Vec<StoredDelivery>, StoreError> {
        if heads.is_empty() {
            return Ok(Vec::new());
        }
        let mut select = stmt("select delivery_id, line_count, packed from block where delivery_id in ");
        select.push_list(heads.iter().map(|head| Bind::bytes(head.id.0)).collect());
        select.push(" order by delivery_id, part", []);
        let blocks = self.rows(select).await?;
        unpacking(move || assemble(heads, blocks)).await
    }

    /// One raw line of the evidence; lines are counted from 1.
    pub async fn raw_line(&self, delivery: u64, line: u32) -> Result<Option<Vec<u8>>, StoreError> {
        let select = stmt("select id from delivery where number = ?").int(delivery as i64);
        let Some((id,)) = self.row::<(Vec<u8>,)>(select).await? else { return Ok(None) };
        let select = "select first_line, line_count, packed from block where delivery_id = ? and first_line <= ? \
                      order by first_line desc limit 1";
        let row: Option<(i64, i64, Vec<u8>)> = self.row(stmt(select).bytes(id).int(line.into())).await?;
        let Some((first, count, packed)) = row else { return Ok(None) };
        let index = (i64::from(line) - first) as usize;
        let mut lines = unpacking(move || block::unpack(&packed, count as usize)).await?;
        Ok((index < lines.len()).then(|| lines.swap_remove(index)))
    }

    /// Number of the last committed delivery; 0 when there is none.
    pub async fn head(&self) -> Result<u64, StoreError> {
        let (next,): (i64,) = self.only_row("log_head", stmt("select next_number from log_head")).await?;
        Ok(next as u64 - 1)
    }
}

/// Decompressing takes long enough to be kept off the threads that serve requests.
pub(super) async fn unpacking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|e| StoreError::Other(format!("reading lines failed: {e}")))?
}

fn first_lines(mut rows: Vec<DeliveryRow>, max_lines: usize) -> Vec<DeliveryRow> {
    let mut lines = 0;
    let enough = rows.iter().position(|row| {
        lines += row.line_count as usize;
        lines >= max_lines
    });
    rows.truncate(enough.map_or(rows.len(), |last| last + 1));
    rows
}

fn assemble(heads: Vec<DeliveryHead>, blocks: Vec<BlockRow>) -> Result<Vec<StoredDelivery>, StoreError> {
    let mut lines: HashMap<Vec<u8>, Vec<Vec<u8>>> = HashMap::with_capacity(heads.len());
    for block in blocks {
        let unpacked = block::unpack(&block.packed, block.line_count as usize)?;
        lines.entry(block.delivery_id).or_default().extend(unpacked);
    }
    heads
        .into_iter()
        .map(|head| {
            let lines = lines.remove(&head.id.0[..]).unwrap_or_default();
            let (number, wanted) = (head.number, head.line_count as usize);
            if lines.len() != wanted {
                let what = format!("number {number} has {} lines in its blocks, not {wanted}", lines.len());
                return Err(inconsistent("delivery", what));
            }
            Ok(StoredDelivery { number, delivery: delivery(head, lines) })
        })
        .collect()
}

fn head(row: DeliveryRow) -> Result<DeliveryHead, StoreError> {
    let id = row.id.try_into().map_err(|_| inconsistent("delivery", "an id is not 32 bytes long"))?;
    Ok(DeliveryHead {
        number: row.number as u64,
        id: DeliveryId(id),
        source: row.source,
        proxy: row.proxy,
        received_at: Timestamp(row.received_at_us),
        line_count: u32::try_from(row.line_count).map_err(|e| inconsistent("delivery", e))?,
    })
}

fn delivery(head: DeliveryHead, lines: Vec<Vec<u8>>) -> Delivery {
    let DeliveryHead { id, source, proxy, received_at, .. } = head;
    Delivery { id, source, proxy, received_at, lines }
}
