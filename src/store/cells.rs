//! Rows as they are, whatever their columns: for carrying tables of ours from one database to another.

use super::statement::Bind;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Column, Decode, FromRow, Row, Type, TypeInfo};

/// The values of a row, in the order in which they were asked for. Only columns of tables: an expression has no type that SQLite
/// knows.
pub(super) struct Cells(pub Vec<Bind>);

impl<'r> FromRow<'r, SqliteRow> for Cells {
    fn from_row(row: &'r SqliteRow) -> Result<Self, sqlx::Error> {
        cells(row)
    }
}

impl<'r> FromRow<'r, PgRow> for Cells {
    fn from_row(row: &'r PgRow) -> Result<Self, sqlx::Error> {
        cells(row)
    }
}

fn cells<'r, R: Row>(row: &'r R) -> Result<Cells, sqlx::Error>
where
    usize: sqlx::ColumnIndex<R>,
    Option<i64>: Decode<'r, R::Database> + Type<R::Database>,
    Option<String>: Decode<'r, R::Database> + Type<R::Database>,
    Option<Vec<u8>>: Decode<'r, R::Database> + Type<R::Database>,
{
    let cell = |(at, column): (usize, &<R::Database as sqlx::Database>::Column)| {
        Ok(match column.type_info().name() {
            "INTEGER" | "INT8" => Bind::Int(row.try_get(at)?),
            "TEXT" => Bind::Text(row.try_get(at)?),
            "BLOB" | "BYTEA" => Bind::Bytes(row.try_get(at)?),
            other => return Err(sqlx::Error::Decode(format!("a column of type {other}").into())),
        })
    };
    row.columns().iter().enumerate().map(cell).collect::<Result<_, _>>().map(Cells)
}
