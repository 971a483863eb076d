//! Questions about sources: how much came, by whom, how completely, and when nothing did. Judging is the asker's.

use super::error::inconsistent;
use super::statement::{Bind, Stmt, Tx, stmt};
use super::{Store, StoreError};
use crate::model::Timestamp;
use crate::model::source::{BlindWindow, CoverageOf, ObserverRecord, SeenFormat, Source, Sources, Withheld};

/// Most rows of each list of hours and windows, newest first: months of a mesh in trouble.
const MOST: i64 = 10_000;

type ObserverRow = (String, String, String, String, i64, i64, i64, Option<i64>, Option<i64>);

impl Store {
    /// Everything that is known of the sources, from one state of the database. `as_of` decides which findings are raised.
    pub async fn sources(&self, as_of: Timestamp) -> Result<Sources, StoreError> {
        let mut tx = self.snapshot().await?;
        let grace: Vec<(i64,)> = tx.rows(stmt("select grace_us from correlator")).await?;
        Ok(Sources {
            sources: sources(&mut tx).await?,
            observers: observers(&mut tx).await?,
            reporters: tx
                .rows(stmt("select identity, source from reporter where legs > 0 order by identity, source"))
                .await?,
            coverage: coverage(&mut tx, stmt(LAST_DAY)).await?,
            low: coverage(&mut tx, stmt(LOW).int(MOST)).await?,
            blind: windows(&mut tx).await?,
            withheld: withheld(&mut tx, as_of).await?,
            grace_us: grace.first().map_or(0, |(us,)| *us),
        })
    }
}

async fn sources(tx: &mut Tx) -> Result<Vec<Source>, StoreError> {
    let select = "select name, deliveries, lines, rejects, first_received_us, last_received_us from source order by name";
    let rows: Vec<(String, i64, i64, i64, i64, i64)> = tx.rows(stmt(select)).await?;
    let source = |(name, deliveries, lines, rejects, first, last)| Source {
        name,
        deliveries,
        lines,
        rejects,
        first_received: Timestamp(first),
        last_received: Timestamp(last),
    };
    Ok(rows.into_iter().map(source).collect())
}

async fn observers(tx: &mut Tx) -> Result<Vec<ObserverRecord>, StoreError> {
    let select = "select source, kind, name, identity, legs, first_received_us, last_received_us, format_hour_us, format_fields \
                  from observer order by source, kind, name, identity";
    let rows: Vec<ObserverRow> = tx.rows(stmt(select)).await?;
    let observer = |(source, kind, name, identity, legs, first, last, hour, fields): ObserverRow| {
        Ok(ObserverRecord {
            source,
            kind: kind.parse().map_err(|e| inconsistent("observer", e))?,
            name,
            identity,
            legs,
            first_received: Timestamp(first),
            last_received: Timestamp(last),
            format: hour.zip(fields).map(|(hour, fields)| SeenFormat { hour: Timestamp(hour), fields }),
        })
    };
    rows.into_iter().map(observer).collect()
}

/// Of each party that reports, the sums of the 24 hours up to the last one that says anything.
const LAST_DAY: &str = "select v.identity, m.latest, cast(sum(v.inbound_expected) as bigint), \
     cast(sum(v.inbound_seen) as bigint), cast(sum(v.outbound_expected) as bigint), cast(sum(v.outbound_seen) as bigint) \
     from coverage v join (select c.identity, max(c.hour_us) as latest from coverage c \
     where (c.inbound_expected > 0 or c.outbound_expected > 0) \
     and (c.identity = 'edge' or c.identity in (select r.identity from reporter r where r.legs > 0)) \
     group by c.identity) m on m.identity = v.identity \
     where v.hour_us > m.latest - 86400000000 group by v.identity, m.latest order by v.identity";

/// As the index `coverage_low` has it.
const LOW: &str = "select v.identity, v.hour_us, v.inbound_expected, v.inbound_seen, v.outbound_expected, v.outbound_seen \
     from coverage v where v.inbound_seen * 100 < v.inbound_expected * 99 \
     or (v.inbound_expected < 1 and v.outbound_seen * 100 < v.outbound_expected * 99) \
     order by v.hour_us desc, v.identity limit ?";

async fn coverage(tx: &mut Tx, select: Stmt) -> Result<Vec<CoverageOf>, StoreError> {
    let rows: Vec<(String, i64, i64, i64, i64, i64)> = tx.rows(select).await?;
    let row =
        |(observer, hour, inbound_expected, inbound_seen, outbound_expected, outbound_seen)| CoverageOf {
            observer,
            hour: Timestamp(hour),
            inbound_expected,
            inbound_seen,
            outbound_expected,
            outbound_seen,
        };
    Ok(rows.into_iter().map(row).collect())
}

async fn windows(tx: &mut Tx) -> Result<Vec<BlindWindow>, StoreError> {
    // Of instances alone none is told: they come and go with every deployment.
    let select = "select b.observer, b.reason, b.after_us, b.from_us, b.to_us, b.known_us from blind_window b \
         where b.reason = 'declared' or b.observer = 'edge' or b.observer in (select 'source:' || s.name from source s) \
         or b.observer in (select r.identity from reporter r where r.legs > 0) \
         order by b.from_us desc, b.observer limit ?";
    let rows: Vec<(String, String, i64, i64, i64, i64)> = tx.rows(stmt(select).int(MOST)).await?;
    let window = |(observer, reason, after, from, to, known): (String, String, i64, i64, i64, i64)| {
        Ok(BlindWindow {
            observer,
            reason: reason.parse().map_err(|e| inconsistent("blind_window", e))?,
            after: Timestamp(after),
            from: Timestamp(from),
            to: Timestamp(to),
            known: Timestamp(known),
        })
    };
    rows.into_iter().map(window).collect()
}

/// Findings of absence about somebody of whom the hour and the day before it say nothing at all.
async fn withheld(tx: &mut Tx, as_of: Timestamp) -> Result<Vec<Withheld>, StoreError> {
    let select = "select f.absent_observer, f.hour_us, cast(count(*) as bigint) from finding f \
         where f.absent_observer is not null and f.raised_at_us <= ? and not exists (select 1 from coverage v \
         where v.identity = f.absent_observer and (v.inbound_expected > 0 or v.outbound_expected > 0) \
         and v.hour_us <= f.hour_us and v.hour_us >= f.hour_us - 86400000000) \
         group by f.absent_observer, f.hour_us order by f.hour_us desc, f.absent_observer limit ?";
    let select = stmt(select).bind(Bind::int(as_of.micros())).int(MOST);
    let rows: Vec<(String, i64, i64)> = tx.rows(select).await?;
    let row = |(observer, hour, findings)| Withheld { observer, hour: Timestamp(hour), findings };
    Ok(rows.into_iter().map(row).collect())
}
