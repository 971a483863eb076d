//! Evidence as it is kept: deliveries with their secrets and packed blocks, to be proven or carried elsewhere unchanged.
//!
//! It refuses to write: whoever carries evidence does.

use super::StoreError;
use super::block;
use super::deliveries::unpacking;
use super::error::inconsistent;
use super::statement::{Bind, Tx, stmt};
use crate::evidence::commitment::DeliveryLeaf;
use crate::evidence::ledger::{Fault, Ledger, Record};
use crate::model::Timestamp;
use std::collections::HashMap;

/// How much is looked at, and written, in one step: a delivery that is larger stands alone in its own. Small uploads are many, and
/// each step waits for the disk.
const DELIVERIES: i64 = 512;
const BODY_BYTES: i64 = 16 << 20;

/// A delivery with its blocks.
pub(super) struct Kept {
    row: DeliveryRow,
    blocks: Vec<BlockRow>,
}

#[derive(sqlx::FromRow)]
struct DeliveryRow {
    number: i64,
    id: Vec<u8>,
    source: String,
    proxy: Option<String>,
    received_at_us: i64,
    line_count: i64,
    body_bytes: i64,
    line_root: Vec<u8>,
    leaf_hash: Vec<u8>,
    secret: Option<Vec<u8>>,
}

#[derive(sqlx::FromRow)]
struct BlockRow {
    delivery_id: Vec<u8>,
    part: i64,
    first_line: i64,
    line_count: i64,
    packed: Vec<u8>,
}

/// The deliveries after one, in order: as many as fit into a step; none where the log ends.
pub(super) async fn after(tx: &mut Tx, number: u64) -> Result<Vec<Kept>, StoreError> {
    let select = "select number, id, source, proxy, received_at_us, line_count, body_bytes, line_root, leaf_hash, secret \
                  from delivery where number > ? order by number limit ?";
    let mut rows: Vec<DeliveryRow> = tx.rows(stmt(select).int(number as i64).int(DELIVERIES)).await?;
    let mut bytes = 0;
    let full = rows.iter().position(|row| {
        bytes += row.body_bytes;
        bytes >= BODY_BYTES
    });
    rows.truncate(full.map_or(rows.len(), |last| last + 1));
    let mut blocks = blocks(tx, &rows).await?;
    let kept = |row: DeliveryRow| Kept { blocks: blocks.remove(&row.id).unwrap_or_default(), row };
    Ok(rows.into_iter().map(kept).collect())
}

/// By the deliveries' ids, each delivery's in order.
async fn blocks(tx: &mut Tx, rows: &[DeliveryRow]) -> Result<HashMap<Vec<u8>, Vec<BlockRow>>, StoreError> {
    let mut blocks: HashMap<Vec<u8>, Vec<BlockRow>> = HashMap::with_capacity(rows.len());
    if rows.is_empty() {
        return Ok(blocks);
    }
    let mut select =
        stmt("select delivery_id, part, first_line, line_count, packed from block where delivery_id in ");
    select.push_list(rows.iter().map(|row| Bind::bytes(row.id.clone())).collect());
    select.push(" order by delivery_id, part", []);
    for block in tx.rows::<BlockRow>(select).await? {
        blocks.entry(block.delivery_id.clone()).or_default().push(block);
    }
    Ok(blocks)
}

/// Proves each of them, from its lines up; gives them back with the ledger that has gone past them.
pub(super) async fn prove(mut ledger: Ledger, kept: Vec<Kept>) -> Result<(Ledger, Vec<Kept>), StoreError> {
    unpacking(move || {
        for delivery in &kept {
            delivery.prove(&mut ledger)?;
        }
        Ok((ledger, kept))
    })
    .await
}

impl Kept {
    pub(super) fn block_count(&self) -> u64 {
        self.blocks.len() as u64
    }

    pub(super) fn number(&self) -> u64 {
        self.row.number as u64
    }

    /// Its lines have been removed.
    pub(super) fn is_forgotten(&self) -> bool {
        self.row.secret.is_none()
    }

    fn prove(&self, ledger: &mut Ledger) -> Result<(), StoreError> {
        Ok(ledger.prove(&self.record()?, &self.lines()?)?)
    }

    fn record(&self) -> Result<Record<'_>, StoreError> {
        let row = &self.row;
        let leaf = DeliveryLeaf {
            source: &row.source,
            proxy: row.proxy.as_deref(),
            received_at: Timestamp(row.received_at_us),
            line_count: row.line_count as u64,
            line_root: self.hash(&row.line_root)?,
        };
        Ok(Record {
            number: row.number as u64,
            leaf,
            body_bytes: row.body_bytes as u64,
            leaf_hash: self.hash(&row.leaf_hash)?,
            secret: row.secret.as_deref().map(|secret| self.hash(secret)).transpose()?,
        })
    }

    fn hash(&self, bytes: &[u8]) -> Result<[u8; 32], StoreError> {
        let what = || format!("number {} has a hash that is not 32 bytes long", self.row.number);
        bytes.try_into().map_err(|_| inconsistent("delivery", what()))
    }

    fn lines(&self) -> Result<Vec<Vec<u8>>, StoreError> {
        let number = self.row.number;
        let mut lines = Vec::new();
        for (part, block) in (0..).zip(&self.blocks) {
            if block.part != part || block.first_line != lines.len() as i64 + 1 {
                let what = format!("part {} of delivery {number} does not follow the one before", block.part);
                return Err(inconsistent("block", what));
            }
            let unpacked = block::unpack(&block.packed, block.line_count as usize);
            lines.extend(unpacked.map_err(|error| {
                StoreError::Inconsistent(format!("part {part} of delivery {number} cannot be read: {error}"))
            })?);
        }
        Ok(lines)
    }
}

/// The values of the columns that `commit` inserts: of the deliveries and of their blocks.
pub(super) fn binds(kept: Vec<Kept>) -> (Vec<Bind>, Vec<Bind>) {
    let (mut deliveries, mut blocks) = (Vec::new(), Vec::new());
    for Kept { row, blocks: own } in kept {
        deliveries.extend([
            Bind::int(row.number),
            Bind::bytes(row.id),
            Bind::text(&row.source),
            Bind::maybe_text(row.proxy.as_deref()),
            Bind::int(row.received_at_us),
            Bind::int(row.line_count),
            Bind::int(row.body_bytes),
            Bind::bytes(row.line_root),
            Bind::bytes(row.leaf_hash),
            Bind::Bytes(row.secret),
        ]);
        for block in own {
            blocks.extend([
                Bind::bytes(block.delivery_id),
                Bind::int(block.part),
                Bind::int(block.first_line),
                Bind::int(block.line_count),
                Bind::bytes(block.packed),
            ]);
        }
    }
    (deliveries, blocks)
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        StoreError::Inconsistent(fault.to_string())
    }
}
