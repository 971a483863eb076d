//! The limit: the same number of rows into a bare table, with nothing read, joined or checked. Rows are as wide as a joined request:
//! 24 columns of numbers and short texts.

use crate::bench::Bench;
use crate::figures::{Sample, sample};
use anyhow::{Context, Result};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection};
use std::time::Instant;

const NUMBERS: usize = 20;
const TEXTS: usize = 4;
/// As many as one statement may bind.
const ROWS_PER_STATEMENT: u64 = 1_000;
const ROWS_PER_COMMIT: u64 = 20_000;

pub async fn sqlite(bench: &Bench) -> Result<Sample> {
    let path = bench.scratch.join("bare.sqlite");
    let _ = std::fs::remove_file(&path);
    let options = SqliteConnectOptions::new()
        .filename(&path)
        .create_if_missing(true)
        .page_size(16_384)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    let mut connection = SqliteConnection::connect_with(&options).await?;
    connection.execute(AssertSqlSafe(table())).await?;
    let (rows, began) = (bench.files().recipe.requests, Instant::now());
    let mut done = 0;
    while done < rows {
        let mut transaction = connection.begin().await?;
        let end = (done + ROWS_PER_COMMIT).min(rows);
        while done < end {
            let here = ROWS_PER_STATEMENT.min(end - done);
            let mut query = sqlx::query(AssertSqlSafe(insert(here)));
            for row in done..done + here {
                for column in 0..NUMBERS as u64 {
                    query = query.bind((row * 31 + column) as i64);
                }
                for column in 0..TEXTS {
                    query = query.bind(text(row, column));
                }
            }
            query.execute(&mut *transaction).await?;
            done += here;
        }
        transaction.commit().await?;
    }
    let took_s = began.elapsed().as_secs_f64();
    connection.close().await?;
    Ok(sample("sqlite-bare", [("rows_per_s", rows as f64 / took_s)]))
}

pub async fn postgres(bench: &Bench) -> Result<Sample> {
    let url = bench.postgres_url.as_deref().context("there is no Postgres: run it by `cargo xtask bench`")?;
    let mut connection = PgConnection::connect(url).await?;
    connection.execute("drop table if exists bare").await?;
    connection.execute(AssertSqlSafe(table())).await?;
    let (rows, began) = (bench.files().recipe.requests, Instant::now());
    let mut done = 0;
    while done < rows {
        let end = (done + ROWS_PER_COMMIT).min(rows);
        let mut copy = connection.copy_in_raw("copy bare from stdin").await?;
        let mut lines = String::new();
        for row in done..end {
            let numbers = (0..NUMBERS as u64).map(|column| (row * 31 + column).to_string());
            let texts = (0..TEXTS).map(|column| text(row, column));
            lines.push_str(&numbers.chain(texts).collect::<Vec<_>>().join("\t"));
            lines.push('\n');
        }
        copy.send(lines.into_bytes()).await?;
        copy.finish().await?;
        done = end;
    }
    let took_s = began.elapsed().as_secs_f64();
    connection.execute("drop table bare").await?;
    Ok(sample("postgres-bare", [("rows_per_s", rows as f64 / took_s)]))
}

fn table() -> String {
    let numbers = (0..NUMBERS).map(|i| format!("n{i} bigint not null"));
    let texts = (0..TEXTS).map(|i| format!("t{i} text not null"));
    format!("create table bare ({})", numbers.chain(texts).collect::<Vec<_>>().join(", "))
}

fn insert(rows: u64) -> String {
    let row = format!("({})", vec!["?"; NUMBERS + TEXTS].join(","));
    format!("insert into bare values {}", vec![row; rows as usize].join(","))
}

fn text(row: u64, column: usize) -> String {
    format!("{:016x}-{column}", row.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}
