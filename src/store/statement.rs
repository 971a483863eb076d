//! A statement with its values, the same for both databases, and the only places where a driver's type is named.
//!
//! Values take their places as `?`, in the order of the text: SQLite binds these fastest (a numbered parameter is looked up by
//! name there, at a cost that grows with the square of their number), and [`dialect`](super::dialect) numbers them for Postgres.

use super::{Db, Store, StoreError, dialect};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments, AssertSqlSafe, FromRow, Postgres, Sqlite, Transaction};
use std::borrow::Cow;

/// A value; an absent one keeps its column's type, which Postgres must know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Bind {
    Int(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
}

impl Bind {
    pub(super) fn int(value: i64) -> Self {
        Bind::Int(Some(value))
    }

    /// Postgres' text refuses NUL: it is replaced, alike for what is stored and for what is asked for.
    pub(super) fn text(value: &str) -> Self {
        Bind::Text(Some(without_nul(value).into_owned()))
    }

    pub(super) fn maybe_text(value: Option<&str>) -> Self {
        Bind::Text(value.map(|v| without_nul(v).into_owned()))
    }

    pub(super) fn bytes(value: impl Into<Vec<u8>>) -> Self {
        Bind::Bytes(Some(value.into()))
    }

    /// About what it takes on the way.
    pub(super) fn bytes_long(&self) -> usize {
        match self {
            Bind::Int(_) => 8,
            Bind::Text(text) => text.as_ref().map_or(0, String::len),
            Bind::Bytes(bytes) => bytes.as_ref().map_or(0, Vec::len),
        }
    }

    fn add_to<A: Arguments>(self, arguments: &mut A) -> Result<(), sqlx::error::BoxDynError>
    where
        for<'q> Option<i64>: sqlx::Encode<'q, A::Database> + sqlx::Type<A::Database>,
        for<'q> Option<String>: sqlx::Encode<'q, A::Database> + sqlx::Type<A::Database>,
        for<'q> Option<Vec<u8>>: sqlx::Encode<'q, A::Database> + sqlx::Type<A::Database>,
    {
        match self {
            Bind::Int(value) => arguments.add(value),
            Bind::Text(value) => arguments.add(value),
            Bind::Bytes(value) => arguments.add(value),
        }
    }
}

pub(super) fn without_nul(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stmt {
    sql: Cow<'static, str>,
    binds: Vec<Bind>,
}

pub(super) fn stmt(sql: impl Into<Cow<'static, str>>) -> Stmt {
    Stmt { sql: sql.into(), binds: Vec::new() }
}

impl Stmt {
    pub(super) fn new(sql: String, binds: Vec<Bind>) -> Self {
        Stmt { sql: sql.into(), binds }
    }

    #[cfg(test)]
    pub(super) fn sql(&self) -> &str {
        &self.sql
    }

    #[cfg(test)]
    pub(super) fn binds(&self) -> &[Bind] {
        &self.binds
    }

    pub(super) fn int(self, value: i64) -> Self {
        self.bind(Bind::int(value))
    }

    pub(super) fn text(self, value: &str) -> Self {
        self.bind(Bind::text(value))
    }

    pub(super) fn bytes(self, value: impl Into<Vec<u8>>) -> Self {
        self.bind(Bind::bytes(value))
    }

    pub(super) fn bind(mut self, value: Bind) -> Self {
        self.binds.push(value);
        self
    }

    /// More text, and the values of the `?` in it.
    pub(super) fn push(&mut self, sql: &str, binds: impl IntoIterator<Item = Bind>) {
        self.sql.to_mut().push_str(sql);
        self.binds.extend(binds);
    }

    /// `(?, ?, ...)` for an `in`. Filled up to a power of two by repeating the last value, so that few texts are prepared.
    pub(super) fn push_list(&mut self, mut values: Vec<Bind>) {
        let length = values.len().next_power_of_two();
        if let Some(last) = values.last().cloned() {
            values.resize(length, last);
        }
        self.sql.to_mut().push_str(&places(length));
        self.binds.extend(values);
    }

    fn sqlite(self) -> Result<(AssertSqlSafe<Cow<'static, str>>, SqliteArguments), StoreError> {
        let mut arguments = SqliteArguments::default();
        add_all(self.binds, &mut arguments)?;
        Ok((AssertSqlSafe(self.sql), arguments))
    }

    fn postgres(self) -> Result<(AssertSqlSafe<String>, PgArguments), StoreError> {
        let mut arguments = PgArguments::default();
        add_all(self.binds, &mut arguments)?;
        Ok((AssertSqlSafe(dialect::numbered(&self.sql)), arguments))
    }
}

fn add_all<A: Arguments>(binds: Vec<Bind>, arguments: &mut A) -> Result<(), StoreError>
where
    for<'q> Option<i64>: sqlx::Encode<'q, A::Database> + sqlx::Type<A::Database>,
    for<'q> Option<String>: sqlx::Encode<'q, A::Database> + sqlx::Type<A::Database>,
    for<'q> Option<Vec<u8>>: sqlx::Encode<'q, A::Database> + sqlx::Type<A::Database>,
{
    arguments.reserve(binds.len(), 0);
    binds.into_iter().try_for_each(|b| b.add_to(arguments)).map_err(|e| StoreError::Other(e.to_string()))
}

/// `(?, ?, ?)`.
pub(super) fn places(count: usize) -> String {
    let mut text = String::with_capacity(3 * count + 2);
    text.push('(');
    for i in 0..count {
        text.push_str(if i == 0 { "?" } else { ", ?" });
    }
    text.push(')');
    text
}

/// What a query answers with: `derive(FromRow)` or a tuple.
pub(super) trait Row:
    for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin
{
}
impl<T> Row for T where T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}

impl Store {
    pub(super) async fn rows<T: Row>(&self, stmt: Stmt) -> Result<Vec<T>, StoreError> {
        Ok(match &self.db {
            Db::Sqlite { read, .. } => {
                let (sql, arguments) = stmt.sqlite()?;
                sqlx::query_as_with::<Sqlite, T, _>(sql, arguments).fetch_all(read).await?
            }
            Db::Postgres(pool) => {
                let (sql, arguments) = stmt.postgres()?;
                sqlx::query_as_with::<Postgres, T, _>(sql, arguments).fetch_all(pool).await?
            }
        })
    }

    pub(super) async fn row<T: Row>(&self, stmt: Stmt) -> Result<Option<T>, StoreError> {
        Ok(self.rows(stmt).await?.into_iter().next())
    }

    /// A row that a migration put there.
    pub(super) async fn only_row<T: Row>(&self, table: &str, stmt: Stmt) -> Result<T, StoreError> {
        self.row(stmt).await?.ok_or_else(|| super::error::inconsistent(table, "its only row is missing"))
    }

    /// Starts a write transaction that is on disk when its commit returns. On SQLite it takes the write lock at once, so that it
    /// never fails half-way for having read first. Dropped without [`Tx::commit`], it has done nothing.
    pub(super) async fn begin(&self) -> Result<Tx, StoreError> {
        self.begin_as(dialect::SQLITE_DURABLE, dialect::POSTGRES_DURABLE).await
    }

    /// The same for what can be derived again: a power cut may undo the last of these transactions, whole and in order, together
    /// with the correlator's position. It does not wait for the disk. `Fenced` when whoever derives has been followed.
    pub(super) async fn begin_derived(&self) -> Result<Tx, StoreError> {
        let mut tx = self.begin_as(dialect::SQLITE_DERIVED, dialect::POSTGRES_DERIVED).await?;
        self.enter_office(&mut tx).await?;
        Ok(tx)
    }

    /// A durable one of whoever holds the correlator's office.
    pub(super) async fn begin_in_office(&self) -> Result<Tx, StoreError> {
        let mut tx = self.begin_as(dialect::SQLITE_DURABLE, dialect::POSTGRES_IN_OFFICE).await?;
        self.enter_office(&mut tx).await?;
        Ok(tx)
    }

    async fn begin_as(&self, sqlite: &'static str, postgres: &'static str) -> Result<Tx, StoreError> {
        Ok(match &self.db {
            Db::Sqlite { write, .. } => Tx::Sqlite(write.begin_with(sqlite).await?),
            Db::Postgres(pool) => Tx::Postgres(pool.begin_with(postgres).await?),
        })
    }

    /// Starts reading: all statements see the database as it was at the first one. Ends when it is dropped.
    pub(super) async fn snapshot(&self) -> Result<Tx, StoreError> {
        Ok(match &self.db {
            Db::Sqlite { read, .. } => Tx::Sqlite(read.begin().await?),
            Db::Postgres(pool) => Tx::Postgres(pool.begin_with(dialect::POSTGRES_SNAPSHOT).await?),
        })
    }
}

/// A transaction on either database.
pub(super) enum Tx {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

impl Tx {
    pub(super) async fn rows<T: Row>(&mut self, stmt: Stmt) -> Result<Vec<T>, StoreError> {
        Ok(match self {
            Tx::Sqlite(tx) => {
                let (sql, arguments) = stmt.sqlite()?;
                sqlx::query_as_with::<Sqlite, T, _>(sql, arguments).fetch_all(&mut **tx).await?
            }
            Tx::Postgres(tx) => {
                let (sql, arguments) = stmt.postgres()?;
                sqlx::query_as_with::<Postgres, T, _>(sql, arguments).fetch_all(&mut **tx).await?
            }
        })
    }

    /// Number of rows that it changed.
    pub(super) async fn execute(&mut self, stmt: Stmt) -> Result<u64, StoreError> {
        Ok(match self {
            Tx::Sqlite(tx) => {
                let (sql, arguments) = stmt.sqlite()?;
                sqlx::query_with::<Sqlite, _>(sql, arguments).execute(&mut **tx).await?.rows_affected()
            }
            Tx::Postgres(tx) => {
                let (sql, arguments) = stmt.postgres()?;
                sqlx::query_with::<Postgres, _>(sql, arguments).execute(&mut **tx).await?.rows_affected()
            }
        })
    }

    /// In order; the number of rows that they changed together.
    pub(super) async fn execute_all(&mut self, stmts: Vec<Stmt>) -> Result<u64, StoreError> {
        let mut changed = 0;
        for stmt in stmts {
            changed += self.execute(stmt).await?;
        }
        Ok(changed)
    }

    /// Durable when it returns.
    pub(super) async fn commit(self) -> Result<(), StoreError> {
        match self {
            Tx::Sqlite(tx) => tx.commit().await?,
            Tx::Postgres(tx) => tx.commit().await?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_three_is_filled_up_to_four() {
        let mut list = stmt("select 1 where 1 in ");
        list.push_list((1..=3).map(Bind::int).collect());
        assert_eq!(list.sql, "select 1 where 1 in (?, ?, ?, ?)");
        assert_eq!(list.binds.last(), Some(&Bind::int(3)));
    }
}
