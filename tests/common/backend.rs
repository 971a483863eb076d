//! Where the data of a test lives: a directory of its own, or a Postgres database of its own. Both are gone with the test.

use super::required;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

pub struct Backend {
    directory: TempDir,
    database: Option<Database>,
}

impl Backend {
    pub fn sqlite() -> Backend {
        Backend { directory: tempfile::tempdir().unwrap(), database: None }
    }

    /// A new, empty database on the server of `TEST_DATABASE_URL`.
    pub fn postgres() -> Backend {
        Backend { directory: tempfile::tempdir().unwrap(), database: Some(Database::create()) }
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// The same data, for whoever opens them without a command.
    pub fn location(&self) -> calltrail::store::Location {
        match &self.database {
            Some(database) => calltrail::store::Location::Postgres(database.url.clone()),
            None => calltrail::store::Location::Directory(self.data()),
        }
    }

    /// The same, as `calltrail migrate` names it.
    pub fn url(&self) -> String {
        match &self.database {
            Some(database) => database.url.clone(),
            None => format!("sqlite://{}", self.data().display()),
        }
    }

    /// Points a command of calltrail at these data. What the developer has in the environment has no say here.
    pub fn point(&self, command: &mut Command) {
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CALLTRAIL_")) {
            command.env_remove(name);
        }
        command.arg("--data-dir").arg(self.data());
        if let Some(database) = &self.database {
            command.env("CALLTRAIL_DATABASE_URL", &database.url);
        }
    }

    /// Runs a command to its end and gives what it printed; fails the test when it fails.
    pub fn run(&self, words: &[&str]) -> String {
        let output = self.output(words);
        assert!(
            output.status.success(),
            "calltrail {words:?} ended with {}:\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// The sentence with which a command fails; fails the test when it succeeds.
    pub fn fail(&self, words: &[&str]) -> String {
        let output = self.output(words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "calltrail {words:?} succeeded:\n{said}");
        assert!(!said.contains("panicked"), "{said}");
        said
    }

    fn output(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_calltrail"));
        command.args(words);
        self.point(&mut command);
        command.output().unwrap()
    }

    /// Past the program, as nobody should: one statement on the database itself.
    pub fn alter(&self, sql: &str) {
        match &self.database {
            Some(database) => execute(&database.url, sql.to_owned()),
            None => alter_sqlite(self.data().join("calltrail.db"), sql.to_owned()),
        }
    }
}

fn alter_sqlite(file: PathBuf, sql: String) {
    on_a_thread(async move {
        use sqlx::{Connection, Executor};
        let url = format!("sqlite://{}", file.display());
        let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
        connection.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
        connection.close().await.unwrap();
    });
}

struct Database {
    name: String,
    url: String,
    server: String,
}

impl Database {
    fn create() -> Database {
        let server = required("TEST_DATABASE_URL");
        let name = format!("calltrail_test_{}_{:08x}", std::process::id(), rand::random::<u32>());
        execute(&server, format!("create database {name}"));
        Database { url: with_database(&server, &name), name, server }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        execute(&self.server, format!("drop database if exists {} with (force)", self.name));
    }
}

fn execute(url: &str, sql: String) {
    let url = url.to_owned();
    on_a_thread(async move {
        use sqlx::{Connection, Executor};
        let mut connection = sqlx::PgConnection::connect(&url)
            .await
            .unwrap_or_else(|error| panic!("TEST_DATABASE_URL names no Postgres that answers: {error}"));
        connection.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
        connection.close().await.unwrap();
    });
}

/// So that it works inside and outside a runtime.
fn on_a_thread(work: impl Future<Output = ()> + Send + 'static) {
    let work = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(work);
    };
    std::thread::spawn(work).join().expect("the statement went through");
}

fn with_database(server: &str, name: &str) -> String {
    let (base, parameters) = server.split_once('?').map_or((server, None), |(base, p)| (base, Some(p)));
    let authority = base.find("://").map_or(0, |at| at + 3);
    let end = base[authority..].find('/').map_or(base.len(), |at| authority + at);
    let parameters = parameters.map(|p| format!("?{p}")).unwrap_or_default();
    format!("{}/{name}{parameters}", &base[..end])
}
