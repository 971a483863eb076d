//! Statistics as rows: sums by minute, hour and day, for each pair of parties, each callee, each caller and all together, brought up
//! to date by differences in the transaction that writes the calls.
//!
//! Only the correlator writes them, so that the rows of the places that a change touches can be read, added to and written back; a
//! row whose sums become nothing is gone. All could be made of the minutes of the pairs, but not in the time that a dashboard has.

use super::bucket_text;
use super::bulk::Target;
use super::party::Party;
use super::retention::{Marks, marks};
use super::statement::{Bind, Stmt, Tx, stmt};
use super::{Store, StoreError};
use crate::model::statistic::{DAY_US, HOUR_US, MINUTE_US};
use crate::model::{CountedParty, EffectClass, Figures, StatisticDelta, StatusClass};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Rows per statement.
const ROWS: usize = 512;
const GRAINS_US: [i64; 3] = [MINUTE_US, HOUR_US, DAY_US];
/// Stands for all parties.
const ALL: i64 = 0;

/// The rows of one grain that tell callers apart, or callees, or both, or neither.
pub(super) fn level(grain_us: i64, by_caller: bool, by_callee: bool) -> i64 {
    let nth = GRAINS_US.iter().position(|g| *g == grain_us).unwrap_or(0) as i64;
    let apart = match (by_caller, by_callee) {
        (true, true) => 0,
        (false, false) => 1,
        (false, true) => 2,
        (true, false) => 3,
    };
    1 + nth + apart * GRAINS_US.len() as i64
}

pub(super) fn effect_code(effect: EffectClass) -> i64 {
    EffectClass::ALL.iter().position(|e| *e == effect).unwrap_or(0) as i64
}

pub(super) fn status_code(class: StatusClass) -> i64 {
    StatusClass::ALL.iter().position(|c| *c == class).unwrap_or(0) as i64
}

/// Where a row stands: level, start, caller, callee, effect, status class.
type Place = [i64; PLACE];
const PLACE: usize = 6;
const WIDTH: usize = PLACE + 6;
const COLUMNS: &str = "level, at_us, caller, callee, effect, status_class, calls, failed, request_body_bytes, \
     response_body_bytes, duration_sum_us, durations";

#[derive(sqlx::FromRow)]
struct StoredRow {
    level: i64,
    #[sqlx(flatten)]
    sums: SumsRow,
}

/// Of one row, or of several that are summed.
#[derive(sqlx::FromRow)]
pub(super) struct SumsRow {
    pub at_us: i64,
    pub caller: i64,
    pub callee: i64,
    pub effect: i64,
    pub status_class: i64,
    pub calls: i64,
    pub failed: i64,
    pub request_body_bytes: i64,
    pub response_body_bytes: i64,
    pub duration_sum_us: i64,
    pub durations: String,
}

impl Store {
    /// Adds differences to what is stored.
    pub(super) async fn add_statistics(
        &self,
        tx: &mut Tx,
        deltas: &[StatisticDelta],
    ) -> Result<(), StoreError> {
        if deltas.is_empty() {
            return Ok(());
        }
        let marks = marks(tx).await?;
        let parties: BTreeSet<Party> =
            deltas.iter().flat_map(|(key, _)| [&key.caller, &key.callee]).map(party).collect();
        let parties = self.numbered(tx, &Vec::from_iter(parties)).await?;
        let changes: Vec<(Place, Figures)> = spread(deltas, &parties, &marks).into_iter().collect();
        for changes in changes.chunks(ROWS) {
            let mut stored = stored(tx, changes).await?;
            let (mut rows, mut gone) = (Vec::with_capacity(changes.len() * WIDTH), Vec::new());
            for (place, change) in changes {
                let mut figures = stored.remove(place).unwrap_or_default();
                figures.merge(change);
                match figures.are_nothing() {
                    true => gone.push(delete(place)),
                    false => rows.extend(row(place, &figures)),
                }
            }
            tx.insert(&SUMS, rows).await?;
            tx.execute_all(gone).await?;
        }
        Ok(())
    }
}

fn party(counted: &CountedParty) -> Party {
    Party {
        key: super::index_text(&counted.key).into_owned(),
        name: super::index_text(&counted.name).into_owned(),
    }
}

/// What changes in the rows of every level, but where the sums of a grain have been removed: a difference to what is gone is no sum.
/// In the order of the table.
fn spread(
    deltas: &[StatisticDelta],
    parties: &HashMap<Party, i64>,
    marks: &Marks,
) -> BTreeMap<Place, Figures> {
    let gone_before = |grain_us| {
        let of_grain = marks.iter().find(|(class, _)| class.grain_us() == Some(grain_us));
        of_grain.map_or(i64::MIN, |(_, mark)| mark.through_us)
    };
    let gone_before = GRAINS_US.map(gone_before);
    let number = |counted| parties.get(&party(counted)).copied().unwrap_or(ALL);
    let mut changes: BTreeMap<Place, Figures> = BTreeMap::new();
    for (key, figures) in deltas {
        let (caller, callee) = (number(&key.caller), number(&key.callee));
        let outcome = [effect_code(key.effect), status_code(key.status_class)];
        for (grain_us, gone_before) in GRAINS_US.into_iter().zip(gone_before) {
            let at_us = key.minute.micros().saturating_sub(key.minute.micros().rem_euclid(grain_us));
            if at_us < gone_before {
                continue;
            }
            for (caller, callee) in [(caller, callee), (ALL, ALL), (ALL, callee), (caller, ALL)] {
                let level = level(grain_us, caller != ALL, callee != ALL);
                let place = [level, at_us, caller, callee, outcome[0], outcome[1]];
                changes.entry(place).or_default().merge(figures);
            }
        }
    }
    changes.retain(|_, figures| !figures.are_nothing());
    changes
}

/// A join, since an `in` over several columns would make SQLite walk the table.
async fn stored(tx: &mut Tx, changes: &[(Place, Figures)]) -> Result<HashMap<Place, Figures>, StoreError> {
    let mut places: Vec<&Place> = changes.iter().map(|(place, _)| place).collect();
    // Filled up to a power of two, so that few texts are prepared.
    let (length, last) = (places.len().next_power_of_two(), *places.last().unwrap_or(&&[0; PLACE]));
    places.resize(length, last);
    let mut select = stmt(
        "with wanted (level, at_us, caller, callee, effect, status_class) as (values (?, ?, ?, ?, ?, ?)",
    );
    select.push(&", (?, ?, ?, ?, ?, ?)".repeat(length - 1), []);
    select.push("", places.into_iter().flatten().copied().map(Bind::int));
    let columns = COLUMNS.replace(", ", ", s.");
    select.push(
        &format!(
            ") select s.{columns} from wanted w join statistic s on s.level = w.level and s.at_us = w.at_us and \
             s.caller = w.caller and s.callee = w.callee and s.effect = w.effect and s.status_class = w.status_class"
        ),
        [],
    );
    tx.rows::<StoredRow>(select).await?.into_iter().map(figures).collect()
}

fn figures(StoredRow { level, sums: row }: StoredRow) -> Result<(Place, Figures), StoreError> {
    let place = [level, row.at_us, row.caller, row.callee, row.effect, row.status_class];
    let figures = Figures {
        calls: row.calls,
        failed: row.failed,
        request_body_bytes: row.request_body_bytes,
        response_body_bytes: row.response_body_bytes,
        duration_sum_us: row.duration_sum_us,
        durations: bucket_text::read(&row.durations)?,
    };
    Ok((place, figures))
}

const SUMS: Target = Target { table: "statistic", columns: COLUMNS, on_conflict: REPLACE };
const REPLACE: &str = " on conflict (level, at_us, caller, callee, effect, status_class) do update set \
     calls = excluded.calls, failed = excluded.failed, request_body_bytes = excluded.request_body_bytes, \
     response_body_bytes = excluded.response_body_bytes, duration_sum_us = excluded.duration_sum_us, \
     durations = excluded.durations";

fn row(place: &Place, figures: &Figures) -> impl Iterator<Item = Bind> {
    let sums = [
        figures.calls,
        figures.failed,
        figures.request_body_bytes,
        figures.response_body_bytes,
        figures.duration_sum_us,
    ];
    let durations = Bind::Text(Some(bucket_text::write(&figures.durations)));
    place.iter().copied().chain(sums).map(Bind::int).collect::<Vec<_>>().into_iter().chain([durations])
}

fn delete(place: &Place) -> Stmt {
    let delete = "delete from statistic where level = ? and at_us = ? and caller = ? and callee = ? and effect = ? \
                  and status_class = ?";
    place.iter().fold(stmt(delete), |delete, n| delete.int(*n))
}
