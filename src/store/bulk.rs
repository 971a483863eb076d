//! Many rows of one table: the only place that knows how each database takes them.
//!
//! SQLite takes statements of many rows, with a place for each value. Postgres would have to parse and plan each of these texts: it
//! takes one array for each column, whatever their length, or, where no row can be there already and there are many, a stream (COPY).

use super::StoreError;
use super::statement::{Bind, Stmt, Tx, places};
use sqlx::postgres::PgArguments;
use sqlx::{Arguments, AssertSqlSafe, PgConnection, Postgres};

/// Most rows of one statement on SQLite: 512 take about two thirds of the time that 64 take.
const SQLITE_ROWS: usize = 512;
/// Most rows and bytes of one statement of arrays on Postgres: these are held in memory at both ends.
const ARRAY_ROWS: usize = 8_192;
const ARRAY_BYTES: usize = 16 << 20;
/// From so many rows on a stream is worth its additional round trip.
const COPY_FROM_ROWS: usize = 64;
/// Bytes of a stream that are sent together.
const COPY_CHUNK_BYTES: usize = 256 << 10;

/// Where rows go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    pub table: &'static str,
    /// With commas between them.
    pub columns: &'static str,
    /// `on conflict …`; or nothing: then none of the rows may be there already.
    pub on_conflict: &'static str,
}

impl Target {
    pub(super) fn width(&self) -> usize {
        self.columns.split(',').count()
    }

    fn insert(&self) -> String {
        format!("insert into {} ({})", self.table, self.columns)
    }

    /// Where no row can be there already, nothing of a statement need be undone alone: what fails takes the transaction with it.
    /// Said so, SQLite keeps no journal of the statement.
    fn insert_sqlite(&self) -> String {
        match self.on_conflict {
            "" => format!("insert or fail into {} ({})", self.table, self.columns),
            _ => self.insert(),
        }
    }
}

impl Tx {
    /// Inserts rows: the values of the first one in the order of the columns, then those of the next. How many were written.
    pub(super) async fn insert(&mut self, target: &Target, values: Vec<Bind>) -> Result<u64, StoreError> {
        debug_assert_eq!(values.len() % target.width(), 0, "{target:?}");
        match self {
            Tx::Sqlite(_) => self.execute_all(statements(target, values)).await,
            Tx::Postgres(tx) => insert_postgres(tx, target, values).await,
        }
    }
}

/// Sizes are powers of two, so that few texts are prepared.
fn statements(target: &Target, values: Vec<Bind>) -> Vec<Stmt> {
    let (width, head, row) = (target.width(), target.insert_sqlite(), places(target.width()));
    let (mut left, mut statements, mut values) = (values.len() / width, Vec::new(), values.into_iter());
    while left > 0 {
        let take = SQLITE_ROWS.min(1 << left.ilog2());
        let mut sql = String::with_capacity(head.len() + take * (row.len() + 2) + 64);
        sql.push_str(&head);
        sql.push_str(" values ");
        for i in 0..take {
            sql.push_str(if i == 0 { "" } else { ", " });
            sql.push_str(&row);
        }
        sql.push_str(target.on_conflict);
        statements.push(Stmt::new(sql, values.by_ref().take(take * width).collect()));
        left -= take;
    }
    statements
}

async fn insert_postgres(
    connection: &mut PgConnection,
    target: &Target,
    values: Vec<Bind>,
) -> Result<u64, StoreError> {
    let width = target.width();
    if target.on_conflict.is_empty() && values.len() >= COPY_FROM_ROWS * width {
        return copy(connection, target, values).await;
    }
    let mut written = 0;
    let mut columns = Columns::default();
    let mut values = values.into_iter();
    while values.len() > 0 {
        columns.push(values.by_ref().take(width));
        if columns.is_full() || values.len() == 0 {
            let (sql, arguments) = std::mem::take(&mut columns).statement(target)?;
            let query = sqlx::query_with::<Postgres, _>(AssertSqlSafe(sql), arguments);
            written += query.execute(&mut *connection).await?.rows_affected();
        }
    }
    Ok(written)
}

/// The values of one column.
enum Column {
    Ints(Vec<Option<i64>>),
    Texts(Vec<Option<String>>),
    Bytes(Vec<Option<Vec<u8>>>),
}

#[derive(Default)]
struct Columns {
    columns: Vec<Column>,
    rows: usize,
    bytes: usize,
}

impl Columns {
    fn push(&mut self, row: impl Iterator<Item = Bind>) {
        self.rows += 1;
        for (at, value) in row.enumerate() {
            self.bytes += value.bytes_long();
            match (self.columns.get_mut(at), value) {
                (Some(Column::Ints(column)), Bind::Int(value)) => column.push(value),
                (Some(Column::Texts(column)), Bind::Text(value)) => column.push(value),
                (Some(Column::Bytes(column)), Bind::Bytes(value)) => column.push(value),
                (_, Bind::Int(value)) => self.columns.push(Column::Ints(vec![value])),
                (_, Bind::Text(value)) => self.columns.push(Column::Texts(vec![value])),
                (_, Bind::Bytes(value)) => self.columns.push(Column::Bytes(vec![value])),
            }
        }
    }

    fn is_full(&self) -> bool {
        self.rows >= ARRAY_ROWS || self.bytes >= ARRAY_BYTES
    }

    fn statement(self, target: &Target) -> Result<(String, PgArguments), StoreError> {
        let (mut arguments, mut arrays) = (PgArguments::default(), Vec::with_capacity(self.columns.len()));
        for (at, column) in (1..).zip(self.columns) {
            let (kind, added) = match column {
                Column::Ints(column) => ("bigint", arguments.add(column)),
                Column::Texts(column) => ("text", arguments.add(column)),
                Column::Bytes(column) => ("bytea", arguments.add(column)),
            };
            added.map_err(|error| StoreError::Other(error.to_string()))?;
            arrays.push(format!("${at}::{kind}[]"));
        }
        let (insert, arrays, on_conflict) = (target.insert(), arrays.join(", "), target.on_conflict);
        Ok((format!("{insert} select * from unnest({arrays}){on_conflict}"), arguments))
    }
}

async fn copy(connection: &mut PgConnection, target: &Target, values: Vec<Bind>) -> Result<u64, StoreError> {
    let sql = format!("copy {} ({}) from stdin (format binary)", target.table, target.columns);
    let mut stream = connection.copy_in_raw(&sql).await?;
    let width = target.width();
    let mut bytes = COPY_HEADER.to_vec();
    for row in values.chunks(width) {
        bytes.extend((width as i16).to_be_bytes());
        row.iter().for_each(|value| put(&mut bytes, value));
        if bytes.len() >= COPY_CHUNK_BYTES {
            stream.send(bytes.as_slice()).await?;
            bytes.clear();
        }
    }
    bytes.extend(COPY_END);
    stream.send(bytes).await?;
    Ok(stream.finish().await?)
}

/// The binary format of COPY, <https://www.postgresql.org/docs/current/sql-copy.html>: its signature, no flags, no extension; each row
/// the number of its fields, each field the number of its bytes (-1: null) and these; at the end a row of -1 fields.
const COPY_HEADER: [u8; 19] = *b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const COPY_END: [u8; 2] = (-1_i16).to_be_bytes();

fn put(bytes: &mut Vec<u8>, value: &Bind) {
    match value {
        Bind::Int(Some(value)) => put_field(bytes, &value.to_be_bytes()),
        Bind::Text(Some(text)) => put_field(bytes, text.as_bytes()),
        Bind::Bytes(Some(value)) => put_field(bytes, value),
        Bind::Int(None) | Bind::Text(None) | Bind::Bytes(None) => bytes.extend((-1_i32).to_be_bytes()),
    }
}

fn put_field(bytes: &mut Vec<u8>, field: &[u8]) {
    bytes.extend((field.len() as i32).to_be_bytes());
    bytes.extend_from_slice(field);
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIRS: Target = Target { table: "t", columns: "a, b", on_conflict: " on conflict do nothing" };

    #[test]
    fn sqlite_is_given_seven_rows_by_statements_of_four_two_and_one() {
        let statements = statements(&PAIRS, (0..14).map(Bind::int).collect());
        let sizes: Vec<usize> = statements.iter().map(|s| s.binds().len() / 2).collect();
        assert_eq!(sizes, [4, 2, 1]);
        assert_eq!(statements[1].sql(), "insert into t (a, b) values (?, ?), (?, ?) on conflict do nothing");
        assert_eq!(statements[2].binds(), [Bind::int(12), Bind::int(13)]);
    }

    #[test]
    fn postgres_is_given_an_array_for_each_column_by_the_same_text_for_any_number_of_rows() {
        let text = |rows: i64| {
            let mut columns = Columns::default();
            (0..rows).for_each(|n| columns.push([Bind::int(n), Bind::maybe_text(None)].into_iter()));
            columns.statement(&PAIRS).unwrap().0
        };
        assert_eq!(
            text(1),
            "insert into t (a, b) select * from unnest($1::bigint[], $2::text[]) on conflict do nothing"
        );
        assert_eq!(text(1), text(1_000));
    }

    #[test]
    fn a_statement_of_arrays_is_full_by_rows_or_by_bytes() {
        let mut columns = Columns::default();
        columns.push([Bind::int(1), Bind::bytes(vec![0; 1 << 20])].into_iter());
        assert!(!columns.is_full());
        (0..15).for_each(|_| columns.push([Bind::int(1), Bind::bytes(vec![0; 1 << 20])].into_iter()));
        assert!(columns.is_full());
    }
}
