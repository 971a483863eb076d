//! The tables and statements of ours against the rules of a Postgres that is spread over several machines (Citus): each unique key
//! contains the column by which its table is spread, and spread tables are joined by that column only, or with what is whole on each
//! machine. The schema is that of a real Postgres, the statements are those of the source.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "distribution/statements.rs"]
mod statements;

use calltrail::store::{DISTRIBUTION, Spread, Store};
use common::Backend;
use sqlx::{Connection, PgConnection};
use statements::{How, Statement, Used};

/// Columns of each unique key, of each table that is no part of another.
const UNIQUE_KEYS: &str = "select t.relname::text, array(select a.attname::text from pg_attribute a \
     where a.attrelid = t.oid and a.attnum = any(i.indkey::smallint[])) \
     from pg_index i join pg_class t on t.oid = i.indrelid \
     where i.indisunique and t.relnamespace = 'public'::regnamespace and not t.relispartition \
     and t.relname <> '_sqlx_migrations'";
const TABLES: &str = "select t.relname::text from pg_class t where t.relnamespace = 'public'::regnamespace \
     and t.relkind in ('r', 'p') and not t.relispartition and t.relname <> '_sqlx_migrations' order by 1";
/// Columns that can be null, or that take their values from a sequence.
const LOOSE_COLUMNS: &str = "select t.relname::text, a.attname::text from pg_attribute a join pg_class t on t.oid = a.attrelid \
     where t.relnamespace = 'public'::regnamespace and a.attnum > 0 and (not a.attnotnull or a.attidentity <> '')";
const FOREIGN_KEYS: &str = "select conrelid::regclass::text from pg_constraint where contype = 'f'";

/// Selects from a spread table within a condition that are known to need another form first.
const TO_BE_CHANGED: &[&str] = &[
    // Leaps from callee to callee: docs/scaling.md says what becomes of it.
    "(select min(c.callee) from call c where c.{column} = ? and c.bucket = ",
    // Buckets of which no call is left: likewise.
    "not exists (select 1 from call c where c.bucket = b.bucket)",
];

struct Schema {
    tables: Vec<String>,
    unique_keys: Vec<(String, Vec<String>)>,
    loose: Vec<(String, String)>,
    foreign_keys: Vec<String>,
}

async fn schema() -> Schema {
    let backend = Backend::postgres();
    Store::open(&backend.location()).await.unwrap().close().await;
    let mut db = PgConnection::connect(&backend.url()).await.unwrap();
    let schema = Schema {
        tables: sqlx::query_scalar(TABLES).fetch_all(&mut db).await.unwrap(),
        unique_keys: sqlx::query_as(UNIQUE_KEYS).fetch_all(&mut db).await.unwrap(),
        loose: sqlx::query_as(LOOSE_COLUMNS).fetch_all(&mut db).await.unwrap(),
        foreign_keys: sqlx::query_scalar(FOREIGN_KEYS).fetch_all(&mut db).await.unwrap(),
    };
    db.close().await.unwrap();
    schema
}

fn spread(table: &str) -> Option<Spread> {
    DISTRIBUTION.iter().find(|(name, ..)| *name == table).map(|(_, spread, ..)| *spread)
}

#[tokio::test]
async fn every_table_is_spread_as_the_list_says_and_each_unique_key_contains_the_column() {
    let schema = schema().await;
    assert!(schema.tables.len() > 15, "{:?}", schema.tables);
    assert_eq!(schema.foreign_keys, Vec::<String>::new(), "a foreign key has to contain the column, too");
    for table in &schema.tables {
        let spread = spread(table).unwrap_or_else(|| panic!("{table} is not in store::DISTRIBUTION"));
        let Spread::By(column) = spread else { continue };
        let loose = schema.loose.iter().any(|(t, c)| t == table && c == column);
        assert!(!loose, "{table} is spread by {column}, which can be null or has a sequence");
        let keys: Vec<_> = schema.unique_keys.iter().filter(|(t, _)| t == table).collect();
        assert!(!keys.is_empty(), "{table} has no key at all");
        for (_, columns) in keys {
            assert!(columns.iter().any(|c| c == column), "{table} is spread by {column}, not in {columns:?}");
        }
    }
}

#[test]
fn spread_tables_are_joined_by_their_column_or_with_what_is_everywhere() {
    let all = statements::of_the_store();
    assert!(all.len() > 60, "{} texts with a table in them", all.len());
    assert!(all.iter().any(|s| s.text.contains("join call c on c.number = f.number")), "it is read");
    let faults: Vec<String> = all.iter().flat_map(|statement| faults(statement, &all)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_join_by_any_other_column_is_seen() {
    let all = statements::of_the_store();
    let faults = |text: &str| faults(&Statement { place: "here".to_owned(), text: text.to_owned() }, &all);
    for wrong in [
        "select 1 from finding f join call c on c.id = f.call_id",
        " join call c on c.number = f.ordinal where ",
        "select 1 from delivery d join block b on b.delivery_id = d.id",
        "select 1 from call c where c.id in (select f.call_id from finding f)",
        "select 1 from call c where exists (select 1 from reject r where r.delivery = 1)",
        "select 1 from log_head h, call c",
        "select 1 from call c where exists (select 1 from finding f where f.call_id = c.id)",
        "select 1 from call c join correlator o on true",
    ] {
        assert!(!faults(wrong).is_empty(), "{wrong}");
    }
    for right in [
        "select 1 from finding f join call c on c.number = f.number left join party p on p.id = c.caller",
        "select 1 from call c where c.number in (select f.number from finding f where f.kind = 1)",
        "select 1 from call c where exists (select 1 from finding f where f.number = c.number and f.kind = 1)",
        "select 1 from bucket b, correlator o where b.bucket < o.next_call",
        "select 1 from (select c.number from call c where c.bucket in (select b.bucket from bucket b)) s",
    ] {
        assert_eq!(faults(right), Vec::<String>::new());
    }
}

fn faults(statement: &Statement, all: &[Statement]) -> Vec<String> {
    let used = statement.tables();
    let first = used.iter().find(|table| table.how == How::First);
    let mut faults = Vec::new();
    for table in &used {
        let Some(own) = spread(&table.name) else { continue };
        let fits = match (table.how, own) {
            (How::First, _) | (How::Joined | How::Within, Spread::Everywhere) => true,
            // What is neither a table of ours nor asked of one is a list of values.
            (How::Joined, own) => match first.map(|first| spread(&first.name)) {
                Some(None) => true,
                Some(Some(Spread::Coordinator | Spread::Everywhere)) => own == Spread::Coordinator,
                Some(Some(Spread::By(_))) | None => {
                    matches!(own, Spread::By(column) if meets(table, column, all))
                }
            },
            // A question by itself: it depends on nothing outside, where no table has an alias.
            (How::Within, _) if table.alias.is_empty() => true,
            (How::Within, Spread::By(column)) => {
                let by = format!("{column} in (select {}.{column} from {}", table.alias, table.name);
                statement.text.contains(&by)
                    || meets(table, column, all)
                    || TO_BE_CHANGED.iter().any(|text| statement.text.contains(text))
            }
            (How::Within, Spread::Coordinator) => false,
        };
        if !fits {
            let (place, text) = (&statement.place, &statement.text);
            faults.push(format!("{place}: {} ({:?}, {own:?})\n    {text}", table.name, table.how));
        }
    }
    faults
}

/// Whether a table is joined, or asked within, by the column by which it is spread with one that is spread by what stands on the other side.
fn meets(table: &Used, column: &str, all: &[Statement]) -> bool {
    let Some([own, other]) = table.joined_by() else { return false };
    let Some((alias, other_column)) = other.split_once('.') else { return false };
    let others = statements::tables_called(alias, all);
    let mut spread_by = others.iter().filter_map(|name| match spread(name) {
        Some(Spread::By(column)) => Some(column),
        _ => None,
    });
    own == format!("{}.{column}", table.alias) && spread_by.any(|by| by == other_column)
}

#[test]
fn the_document_shows_the_list() {
    let document = std::fs::read_to_string(common::project_file("docs/scaling.md")).unwrap();
    for (table, spread, _, why) in DISTRIBUTION {
        let place = match spread {
            Spread::By(column) => format!("by `{column}`"),
            Spread::Everywhere => "whole on each node".to_owned(),
            Spread::Coordinator => "coordinator".to_owned(),
        };
        let row = format!("| `{table}` | {place} | {why} |");
        assert!(document.contains(&row), "docs/scaling.md lacks the line\n{row}");
    }
}
