//! Where calltrail keeps its data in a measure: a new directory, or a new database of the testbed's Postgres.

use crate::bench::Bench;
use anyhow::{Context, Result};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

pub enum Place {
    Sqlite(PathBuf),
    Postgres { directory: PathBuf, url: String },
}

impl Place {
    /// Nothing is in it.
    pub fn sqlite(bench: &Bench, name: &str) -> Result<Place> {
        let directory = bench.scratch.join(name);
        empty(&directory)?;
        Ok(Place::Sqlite(directory))
    }

    pub async fn postgres(bench: &Bench, name: &str) -> Result<Place> {
        let server =
            bench.postgres_url.as_deref().context("there is no Postgres: run it by `cargo xtask bench`")?;
        let mut connection = PgConnection::connect(server).await.context("cannot reach Postgres")?;
        for statement in
            [format!("drop database if exists {name} with (force)"), format!("create database {name}")]
        {
            connection.execute(AssertSqlSafe(statement)).await?;
        }
        let directory = bench.scratch.join(name);
        empty(&directory)?;
        let (base, _) = server.rsplit_once('/').context("the URL of Postgres names no database")?;
        Ok(Place::Postgres { directory, url: format!("{base}/{name}") })
    }

    pub fn command(&self, bench: &Bench) -> Command {
        let mut command = Command::new(&bench.program);
        match self {
            Place::Sqlite(directory) => command.arg("--data-dir").arg(directory),
            Place::Postgres { directory, url } => {
                command.arg("--data-dir").arg(directory).env("CALLTRAIL_DATABASE_URL", url)
            }
        };
        command
    }

    /// What it takes on the disk.
    pub async fn stored_bytes(&self) -> Result<u64> {
        match self {
            Place::Sqlite(directory) => size_of(directory),
            Place::Postgres { url, .. } => {
                let mut connection = PgConnection::connect(url).await?;
                let size: i64 = sqlx::query_scalar("select pg_database_size(current_database())")
                    .fetch_one(&mut connection)
                    .await?;
                Ok(size as u64)
            }
        }
    }
}

fn empty(directory: &Path) -> Result<()> {
    let _ = fs::remove_dir_all(directory);
    fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))
}

pub fn size_of(path: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(path)? {
        let (path, about) = entry.and_then(|entry| Ok((entry.path(), entry.metadata()?)))?;
        bytes += if about.is_dir() { size_of(&path)? } else { about.len() };
    }
    Ok(bytes)
}
