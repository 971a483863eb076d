//! The only place that knows SQL. One suite and, wherever possible, one statement text for SQLite and Postgres.
//!
//! Evidence (deliveries, blocks of lines, leaves) is written by `commit` and never changed; everything else is derived from it
//! by the correlator and written by `apply`, together with the correlator's position, or not at all.
//!
//! | file | what it holds |
//! |---|---|
//! | `shapes` | what goes in and comes out |
//! | `open`, `location`, `error` | opening, and what can go wrong |
//! | `commit`, `block`, `deliveries` | evidence in and out |
//! | `kept`, `verify`, `carry` | evidence as it is kept: proven, and carried to another database |
//! | `carry_derived`, `cells` | what was derived, carried where it cannot be derived again |
//! | `backup`, `seal` | a data directory as one file, and back |
//! | `office` | who may derive |
//! | `apply`, `call_rows`, `connections`, `derived` | what the correlator writes, and what it asks for |
//! | `key_index`, `key_run`, `key_held` | which calls stand under which keys |
//! | `party`, `remembered` | texts as numbers; what a process keeps in memory of what never changes |
//! | `calls`, `findings`, `coverage` | questions |
//! | `places`, `select` | where calls stand that match a filter, and the filters as SQL |
//! | `journal` | what had been believed and is no longer |
//! | `heard`, `sources` | who was heard, when and how completely: written, and asked for |
//! | `statistics`, `bucket_text`, `statistic_series` | sums by minute, hour and day: written, and asked for |
//! | `summary` | counts and quantiles for dashboards |
//! | `packed`, `packed_leg`, `packed_text`, `dictionary` | the whole call as bytes, compressed |
//! | `retention*`, `space` | what is removed, in steps, and what is written down of that |
//! | `tokens` | bearer tokens |
//! | `distribution` | all tables: where their rows come from, how they would be spread over several machines |
//! | `statement`, `bulk`, `dialect` | the drivers, many rows at once, and where they differ |

mod apply;
mod backup;
mod block;
mod bucket_text;
mod bulk;
mod call_rows;
mod calls;
mod carry;
mod carry_derived;
mod cells;
mod commit;
mod connections;
mod coverage;
mod deliveries;
mod derived;
mod dialect;
mod dictionary;
mod distribution;
mod error;
mod findings;
mod heard;
mod journal;
mod kept;
mod key_held;
mod key_index;
mod key_run;
mod location;
mod office;
mod open;
mod packed;
mod packed_leg;
mod packed_text;
mod party;
mod places;
mod recent;
mod remembered;
mod retention;
mod retention_calls;
mod retention_evidence;
mod retention_keys;
mod retention_look;
mod retention_measures;
mod seal;
mod select;
mod shapes;
mod sources;
mod space;
mod statement;
mod statistic_series;
mod statistics;
mod summary;
mod tokens;
mod underway;
mod verify;

pub use backup::{Backup, holds_no_data};
pub use carry_derived::derived_tables;
pub use distribution::{Choice, DISTRIBUTION, Origin, Spread};
pub use error::StoreError;
pub use heard::{Heard, Pulse, Silences};
pub use location::Location;
pub use office::Office;
pub use open::create_directory;
pub use retention::{Bygone, RemovedStep};
pub use retention_look::ClassHoldings;
pub use shapes::{
    Change, Commit, Connection, CoverageDelta, DeliveryHead, IndexedCall, Order, Page, Position,
    StoredDelivery, StoredReject, TokenRow, Totals,
};
pub use statistic_series::{StatisticRow, StatisticScope};
pub use summary::{CallCount, CallGroup, CallTotals, CountScope, Quantile};
pub use verify::Holdings;

use sqlx::{PgPool, SqlitePool};
use std::sync::{Arc, Mutex};

/// The database. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    db: Db,
    remembered: Arc<remembered::Remembered>,
    /// Only where it derives.
    recent: Option<Arc<Mutex<recent::Recent>>>,
    /// Under which it derives, where others may take that over.
    term: Option<i64>,
    /// Each store that derives has its own.
    underway: Arc<Mutex<Option<Arc<underway::Underway>>>>,
}

#[derive(Clone)]
enum Db {
    Sqlite { read: SqlitePool, write: SqlitePool },
    Postgres(PgPool),
}

/// A key by which a text column that is indexed is stored and asked for: as it is, or, when it is so long that an index would
/// refuse it, its beginning and its hash.
fn index_text(text: &str) -> std::borrow::Cow<'_, str> {
    use sha2::{Digest, Sha256};
    const LONGEST: usize = 512;
    let text = statement::without_nul(text);
    if text.len() <= LONGEST {
        return text;
    }
    let hash = hex::encode(Sha256::digest(text.as_bytes()));
    let beginning: String = text.chars().take(LONGEST / 8).collect();
    format!("{beginning}#{hash}").into()
}
