//! Evidence, tokens and journal from one database to another of either kind, unchanged. The source is only read.
//!
//! Each step is proven before it is written, and written together with the log's head or not at all: whatever breaks it off, the
//! target's head tells where to go on. A target that holds anything else is refused.

use super::bulk::Target;
use super::commit::{BLOCKS, DELIVERIES, lock_head, write_head};
use super::kept::{self, Kept};
use super::statement::{Bind, Tx, stmt};
use super::{Store, StoreError, journal};
use crate::evidence::ledger::{Ledger, LogHead};

/// Leaves that are read at a time.
const LEAVES: i64 = 10_000;
const JOURNAL_ROWS: usize = 1_024;
const TOKENS: Target = Target {
    table: "token",
    columns: "name, sha256, scopes, created_at_us",
    on_conflict: " on conflict do nothing",
};

impl Store {
    /// Carries the deliveries that `target` does not hold yet, as far as the log goes when it gets there. `carried` is told the
    /// number of the last that is durable there, again and again; at the end it is the answer.
    pub async fn carry_evidence(&self, target: &Store, carried: impl Fn(u64)) -> Result<u64, StoreError> {
        let mut ledger = self.known_to(target).await?;
        carried(ledger.deliveries());
        loop {
            // A snapshot for each step: a long one would keep the source from tidying up.
            let step = kept::after(&mut self.snapshot().await?, ledger.deliveries()).await?;
            if step.is_empty() {
                return Ok(ledger.deliveries());
            }
            let before = ledger.head();
            let (past, step) = kept::prove(ledger, step).await?;
            target.append_kept(&before, step, &past.head()).await?;
            ledger = past;
            carried(ledger.deliveries());
        }
    }

    /// The ledger at the end of what the target holds, which must be the beginning of our log.
    async fn known_to(&self, target: &Store) -> Result<Ledger, StoreError> {
        let head = target.log_head().await?;
        let mut ledger = Ledger::default();
        let mut tx = self.snapshot().await?;
        loop {
            let select = "select number, line_count, leaf_hash from delivery where number > ? and number < ? \
                          order by number limit ?";
            let select =
                stmt(select).int(ledger.deliveries() as i64).int(head.next_number as i64).int(LEAVES);
            let leaves: Vec<(i64, i64, Vec<u8>)> = tx.rows(select).await?;
            if leaves.is_empty() {
                break;
            }
            for (number, lines, leaf) in leaves {
                let leaf = leaf.try_into().map_err(|_| other_evidence())?;
                ledger.take(number as u64, lines as u64, leaf)?;
            }
        }
        if ledger.head() == head { Ok(ledger) } else { Err(other_evidence()) }
    }

    async fn append_kept(&self, from: &LogHead, kept: Vec<Kept>, to: &LogHead) -> Result<(), StoreError> {
        let (deliveries, blocks) = kept::binds(kept);
        let mut tx = self.begin().await?;
        if lock_head(&mut tx).await? != *from {
            return Err(StoreError::Other(
                "somebody else commits to the target meanwhile: stop that, and take a new target".to_owned(),
            ));
        }
        tx.insert(&BLOCKS, blocks).await?;
        tx.insert(&DELIVERIES, deliveries).await?;
        write_head(&mut tx, to).await?;
        tx.commit().await
    }

    /// Carries the tokens whose names the target has not given itself, and what the journal has beyond the target's. The number
    /// of each.
    pub async fn carry_tokens_and_journal(&self, target: &Store) -> Result<(u64, u64), StoreError> {
        let mut from = self.snapshot().await?;
        let mut to = target.begin().await?;
        let tokens = carry_tokens(&mut from, &mut to).await?;
        let entries = carry_journal(&mut from, &mut to).await?;
        to.commit().await?;
        Ok((tokens, entries))
    }
}

fn other_evidence() -> StoreError {
    StoreError::Other(
        "the target holds other evidence than the source: take an empty one, or the one that an earlier run has begun"
            .to_owned(),
    )
}

async fn carry_tokens(from: &mut Tx, to: &mut Tx) -> Result<u64, StoreError> {
    let select = "select name, sha256, scopes, created_at_us from token order by name";
    let tokens: Vec<(String, Vec<u8>, String, i64)> = from.rows(stmt(select)).await?;
    let binds = tokens.into_iter().flat_map(|(name, sha256, scopes, created_at_us)| {
        [Bind::text(&name), Bind::bytes(sha256), Bind::text(&scopes), Bind::int(created_at_us)]
    });
    to.insert(&TOKENS, binds.collect()).await
}

/// What had been believed cannot be derived again: it is carried, and how far it goes with it, so that deriving old ground at the
/// target adds nothing.
async fn carry_journal(from: &mut Tx, to: &mut Tx) -> Result<u64, StoreError> {
    let (mut read, mut known, mut carried) = (0, 0, 0);
    loop {
        let rows = journal::after(from, read, JOURNAL_ROWS).await?;
        let Some(last) = rows.last() else { break };
        read = last.number;
        let there = if carried == 0 { journal::after(to, known, rows.len()).await? } else { Vec::new() };
        known = there.last().map_or(known, |row| row.number);
        if rows.iter().zip(&there).any(|(ours, theirs)| ours.entry != theirs.entry) {
            return Err(other_evidence());
        }
        let beyond = rows.into_iter().skip(there.len()).map(|row| row.entry);
        carried += journal::append(to, beyond).await?;
    }
    if carried == 0 && !journal::after(to, known, 1).await?.is_empty() {
        return Err(other_evidence());
    }
    let believed: Vec<(i64,)> = from.rows(stmt("select believed from journal_head")).await?;
    let believed = believed.first().map_or(0, |(number,)| *number);
    let update = stmt("update journal_head set believed = ? where believed < ?");
    to.execute(update.int(believed).int(believed)).await?;
    Ok(carried)
}
