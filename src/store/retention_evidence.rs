//! Lines and sums that may go.
//!
//! Of a delivery only the lines go, with the secret without which nobody can tell from its hashes what they were. Its row, leaf
//! and number stay: the tree and all its proofs remain what they are, and whoever sends it again is told that it is known.

use super::retention::{Mark, Note, RemovedStep, marks, write_down};
use super::retention_calls::lock_correlator;
use super::statement::{Bind, Tx, stmt};
use super::statistics::level;
use super::{Store, StoreError};
use crate::model::{Cutoff, RetentionClass, Timestamp};

/// Deliveries that one step removes, at most, and bytes of their lines.
const DELIVERIES: i64 = 256;
const BODY_BYTES: i64 = 16 << 20;
/// Sums that one step removes, at most.
const SUMS: i64 = 4_096;

/// Number, id, when received, lines, bytes.
type Old = (i64, Vec<u8>, i64, i64, i64);

impl Store {
    /// In the order of their numbers, up to the first that is to be kept, and never beyond what has been derived: what is gone is
    /// one range from the beginning, whatever the clocks said.
    pub(super) async fn remove_evidence(
        &self,
        cutoff: &Cutoff,
        now: Timestamp,
    ) -> Result<Option<RemovedStep>, StoreError> {
        let mut snapshot = self.snapshot().await?;
        let known = marks(&mut snapshot).await?.get(&RetentionClass::Evidence).copied();
        let after = known.map_or(0, |mark| mark.through_number);
        let select = "select number, id, received_at_us, line_count, body_bytes from delivery where number > ? \
                      and number <= (select position from correlator) order by number limit ?";
        let mut old: Vec<Old> = snapshot.rows(stmt(select).int(after).int(DELIVERIES)).await?;
        old.truncate(how_many(&old, cutoff.before.micros()));
        let (Some(first), Some(last)) = (old.first(), old.last()) else { return Ok(None) };
        let bytes = packed_bytes(&mut snapshot, &old).await?;
        drop(snapshot);
        let (first, last, received) = (first.0, last.0, last.2);
        let lines = old.iter().map(|(_, _, _, lines, _)| lines).sum();
        let step = RemovedStep { items: old.len() as i64, lines, bytes };
        // Where clocks stood still or went back, the mark still says before what time lines may be gone.
        let latest = old.iter().map(|(_, _, received, _, _)| *received).max().unwrap_or(received);
        let mark = Mark { through_us: latest + 1, through_number: last };
        let mut tx = self.begin_derived().await?;
        lock_correlator(&mut tx).await?;
        if marks(&mut tx).await?.get(&RetentionClass::Evidence).copied() != known {
            // Somebody else removes, too.
            return Ok(Some(RemovedStep::default()));
        }
        let forget = "update delivery set secret = null where number >= ? and number <= ?";
        tx.execute(stmt(forget).int(first).int(last)).await?;
        let mut delete = stmt("delete from block where delivery_id in ");
        delete.push_list(old.into_iter().map(|(_, id, _, _, _)| Bind::bytes(id)).collect());
        tx.execute(delete).await?;
        let rejects = stmt("delete from reject where delivery >= ? and delivery <= ?").int(first).int(last);
        let rejects = tx.execute(rejects).await? as i64;
        tx.execute(stmt("update correlator set reject_count = reject_count - ?").int(rejects)).await?;
        let class = RetentionClass::Evidence;
        write_down(&mut tx, Note { class, cutoff, now, mark, step, deliveries: Some((first, last)) }).await?;
        tx.commit().await?;
        Ok(Some(step))
    }

    /// Of one grain: those of pairs, of single parties and of all together.
    pub(super) async fn remove_statistics(
        &self,
        class: RetentionClass,
        cutoff: &Cutoff,
        now: Timestamp,
    ) -> Result<Option<RemovedStep>, StoreError> {
        let Some(grain_us) = class.grain_us() else { return Ok(None) };
        let before = cutoff.before.micros();
        for (by_caller, by_callee) in [(true, true), (false, false), (false, true), (true, false)] {
            let level = level(grain_us, by_caller, by_callee);
            // By the whole key: of one time there may be as many sums as there are pairs of parties.
            let select = "select at_us, caller, callee, effect, status_class from statistic where level = ? and at_us < ? \
                          order by at_us, caller, callee, effect, status_class limit ?";
            let select = stmt(select).int(level).int(before).int(SUMS);
            let Some(last) = self.rows::<(i64, i64, i64, i64, i64)>(select).await?.pop() else { continue };
            let mut tx = self.begin_derived().await?;
            // Whoever adds to sums has read the marks under this lock.
            lock_correlator(&mut tx).await?;
            let delete = "delete from statistic where level = ? and (at_us, caller, callee, effect, status_class) \
                          <= (?, ?, ?, ?, ?)";
            let delete = stmt(delete).int(level).int(last.0).int(last.1).int(last.2).int(last.3).int(last.4);
            let items = tx.execute(delete).await? as i64;
            let step = RemovedStep { items, lines: 0, bytes: 0 };
            let mark = Mark { through_us: before, through_number: 0 };
            write_down(&mut tx, Note { class, cutoff, now, mark, step, deliveries: None }).await?;
            tx.commit().await?;
            return Ok(Some(step));
        }
        Ok(None)
    }
}

/// Those that are old enough, as many as fit into a step.
fn how_many(old: &[Old], before_us: i64) -> usize {
    let mut bytes = 0;
    let full = |(_, _, received, _, body_bytes): &Old| {
        let is_full = bytes >= BODY_BYTES;
        bytes += body_bytes;
        is_full || *received >= before_us
    };
    old.iter().position(full).unwrap_or(old.len())
}

async fn packed_bytes(tx: &mut Tx, old: &[Old]) -> Result<i64, StoreError> {
    let mut select =
        stmt("select cast(coalesce(sum(length(packed)), 0) as bigint) from block where delivery_id in ");
    select.push_list(old.iter().map(|(_, id, _, _, _)| Bind::bytes(id.clone())).collect());
    Ok(tx.rows::<(i64,)>(select).await?.first().map_or(0, |(bytes,)| *bytes))
}
