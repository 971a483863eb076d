//! Opening: the directory, the pools, the schema. Errors here are read by whoever has just typed a path or a url.

use super::{Db, Location, Store, StoreError, dialect, statement::stmt};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection, Executor};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

static SQLITE_MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES_MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

pub(super) const DATABASE_FILE: &str = "calltrail.db";
const READERS: u32 = 8;
const POSTGRES_CONNECTIONS: u32 = 16;
/// How long a statement waits for a connection or for another process that writes. Senders wait 10 s.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a commit waits for the only connection that writes: the correlator may hold it for the calls of a large upload, and
/// a late answer is worth more to the sender than a refusal.
const COMMIT_PATIENCE: Duration = Duration::from_secs(9);

impl Store {
    /// Opens (and creates or migrates) the database. Errors say what to do: a path that is no directory, one that cannot be
    /// written, a newer schema than this program knows.
    pub async fn open(location: &Location) -> Result<Store, StoreError> {
        if let Location::Directory(directory) = location {
            create_directory(directory)?;
        }
        let store = connect(location, true).await?;
        let migrated = match &store.db {
            Db::Sqlite { write, .. } => SQLITE_MIGRATIONS.run(write).await,
            Db::Postgres(pool) => POSTGRES_MIGRATIONS.run(pool).await,
        };
        migrated.map_err(|error| migration_error(location, error))?;
        Ok(store)
    }

    /// Opens only what exists, for reading: never creates a directory, never migrates.
    pub async fn open_existing(location: &Location) -> Result<Store, StoreError> {
        let store = Store::open_unmigrated(location).await?;
        if store.is_older(location).await? { Err(too_old(location)) } else { Ok(store) }
    }

    /// The same also of what an older program wrote: for whoever looks at the evidence alone, whose tables stay as they are.
    pub async fn open_unmigrated(location: &Location) -> Result<Store, StoreError> {
        if let Location::Directory(directory) = location
            && !directory.join(DATABASE_FILE).is_file()
        {
            return Err(StoreError::Other(format!(
                "there is no calltrail data in {location}: name the directory with --data-dir, or make one with \
                 `calltrail serve` or `calltrail import`"
            )));
        }
        let store = connect(location, false).await?;
        store.is_older(location).await?;
        Ok(store)
    }

    /// Whether an older program wrote it; what a newer one wrote is an error.
    async fn is_older(&self, location: &Location) -> Result<bool, StoreError> {
        let known = match &self.db {
            Db::Sqlite { .. } => &SQLITE_MIGRATIONS,
            Db::Postgres(_) => &POSTGRES_MIGRATIONS,
        };
        let newest = known.iter().map(|m| m.version).max().unwrap_or(0);
        let applied: Result<Option<(i64,)>, _> =
            self.row(stmt("select version from _sqlx_migrations order by version desc limit 1")).await;
        match applied {
            Ok(Some((version,))) if version > newest => Err(too_new(location)),
            Ok(Some((version,))) => Ok(version < newest),
            Ok(None) => Ok(true),
            // There is no such table.
            Err(StoreError::Other(_)) => Ok(true),
            Err(error) => Err(error),
        }
    }

    pub async fn close(&self) {
        match &self.db {
            Db::Sqlite { read, write } => {
                read.close().await;
                write.close().await;
            }
            Db::Postgres(pool) => pool.close().await,
        }
    }

    /// A statement that touches the database, for `/readyz`.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.head().await.map(|_| ())
    }
}

/// Makes a data directory, with those above it, for its owner only: lines hold who did what.
pub fn create_directory(directory: &Path) -> Result<(), StoreError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    let shown = directory.display();
    match builder.create(directory) {
        Ok(()) => Ok(()),
        Err(error) if matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::NotADirectory) => {
            Err(StoreError::Other(format!(
                "{shown} is not a directory: name one with --data-dir, or a path that does not exist yet"
            )))
        }
        Err(error) => Err(StoreError::Other(format!(
            "the data directory {shown} cannot be made ({error}): name one that you may write to with --data-dir"
        ))),
    }
}

async fn connect(location: &Location, create: bool) -> Result<Store, StoreError> {
    let db = match location {
        Location::Directory(directory) => connect_sqlite(directory.join(DATABASE_FILE), create).await,
        Location::Postgres(url) => connect_postgres(url).await,
    };
    let db = db.map_err(|error| {
        let advice = match location {
            Location::Directory(_) => {
                "check that you may write to the directory and that the disk is not full"
            }
            Location::Postgres(_) => "check the url, that the server runs and that the user may log in",
        };
        match StoreError::from(error) {
            StoreError::Unavailable(why) => {
                StoreError::Unavailable(format!("{location} cannot be opened ({why}): {advice}"))
            }
            error => StoreError::Other(format!("{location} cannot be opened ({error}): {advice}")),
        }
    })?;
    Ok(Store { db, remembered: Default::default(), recent: None, underway: Default::default(), term: None })
}

/// Makes the file before SQLite would, which asks the umask who may read it. Its other files take over the mode of this one.
fn create_file(file: &Path) -> std::io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(file).map(|_| ())
}

/// Readers share one pool; whoever writes has the only connection of another, so that writers queue in order instead of
/// finding the file busy.
async fn connect_sqlite(file: PathBuf, create: bool) -> Result<Db, sqlx::Error> {
    if create {
        create_file(&file)?;
    }
    let mut options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(create)
        .page_size(16_384)
        .journal_mode(SqliteJournalMode::Wal)
        // Acknowledged means on disk: with NORMAL, a commit may return before it is.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(PATIENCE);
    for (name, value) in dialect::SQLITE_PRAGMAS {
        options = options.pragma(name, value);
    }
    let pool = |patience| {
        SqlitePoolOptions::new().acquire_timeout(patience).before_acquire(|connection, _| {
            // A full disk ends a transaction on its own, and the driver, whose rollback then fails, would count it as open for
            // ever: such a connection is thrown away.
            Box::pin(async move { Ok(!connection.is_in_transaction()) })
        })
    };
    let write = pool(COMMIT_PATIENCE).max_connections(1).connect_with(options.clone()).await?;
    let read = pool(PATIENCE).max_connections(READERS).connect_with(options).await?;
    Ok(Db::Sqlite { read, write })
}

/// Opens a copy that nobody writes to, without leaving anything beside it.
pub(super) async fn open_copy(file: &Path) -> Result<Store, StoreError> {
    let mut options = SqliteConnectOptions::new().filename(file).read_only(true).immutable(true);
    for (name, value) in dialect::SQLITE_PRAGMAS {
        options = options.pragma(name, value);
    }
    let pool = SqlitePoolOptions::new().max_connections(READERS).connect_with(options).await?;
    let db = Db::Sqlite { read: pool.clone(), write: pool };
    let store =
        Store { db, remembered: Default::default(), recent: None, underway: Default::default(), term: None };
    store.is_older(&Location::Directory(file.to_owned())).await?;
    Ok(store)
}

async fn connect_postgres(url: &str) -> Result<Db, sqlx::Error> {
    let options: PgConnectOptions = url.parse()?;
    let pool = PgPoolOptions::new()
        .max_connections(POSTGRES_CONNECTIONS)
        .acquire_timeout(PATIENCE)
        .after_connect(|connection, _| {
            Box::pin(async move { connection.execute(dialect::POSTGRES_SETTINGS).await.map(|_| ()) })
        })
        .connect_with(options.application_name("calltrail"))
        .await?;
    Ok(Db::Postgres(pool))
}

fn migration_error(location: &Location, error: MigrateError) -> StoreError {
    match error {
        MigrateError::VersionMissing(_) | MigrateError::VersionTooNew(..) => too_new(location),
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => match error.into() {
            StoreError::Other(why) => {
                StoreError::Other(format!("the schema of {location} cannot be brought up to date: {why}"))
            }
            error => error,
        },
        error => StoreError::Other(format!(
            "{location} does not hold a calltrail database that this program can use ({error}): name another one, or restore \
             it from a backup"
        )),
    }
}

fn too_new(location: &Location) -> StoreError {
    StoreError::Other(format!(
        "{location} was written by a newer calltrail than this one ({}): use that version, or another data directory",
        env!("CARGO_PKG_VERSION")
    ))
}

fn too_old(location: &Location) -> StoreError {
    StoreError::Other(format!(
        "{location} was written by an older calltrail than this one ({}): bring it up to date by starting `calltrail serve` on \
         it once",
        env!("CARGO_PKG_VERSION")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Delivery, DeliveryId, Timestamp};
    use crate::store::{Change, Commit};

    fn delivery(n: u8, bytes: usize) -> Delivery {
        // Random, so that compression does not make it small.
        let line = (0..bytes).map(|_| rand::random()).collect();
        Delivery {
            id: DeliveryId([n; 32]),
            source: "mesh".to_owned(),
            proxy: None,
            received_at: Timestamp(0),
            lines: vec![line],
        }
    }

    async fn limit_pages(store: &Store, pages: &'static str) {
        let Db::Sqlite { write, .. } = &store.db else { panic!("not SQLite") };
        write.execute(pages).await.unwrap();
    }

    #[tokio::test]
    async fn a_full_disk_is_unavailable_and_writing_goes_on_when_there_is_room_again() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&Location::Directory(directory.path().to_owned())).await.unwrap();
        assert_eq!(store.commit(&[delivery(1, 10)]).await.unwrap(), [Commit::Stored { number: 1 }]);
        for _ in 0..3 {
            limit_pages(&store, "pragma max_page_count = 1").await;
            let error = store.commit(&[delivery(2, 3 << 20)]).await.unwrap_err();
            assert!(matches!(&error, StoreError::Unavailable(why) if why.contains("full")), "{error:?}");
            assert_eq!(store.deliveries_after(0, 9).await.unwrap().len(), 1, "reading goes on");
        }
        limit_pages(&store, "pragma max_page_count = 4294967294").await;
        assert_eq!(store.commit(&[delivery(2, 3 << 20)]).await.unwrap(), [Commit::Stored { number: 2 }]);
    }

    #[tokio::test]
    async fn acknowledged_means_synced() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&Location::Directory(directory.path().to_owned())).await.unwrap();
        let Db::Sqlite { write, .. } = &store.db else { panic!("not SQLite") };
        let setting = async |pragma: &'static str| {
            let (value,): (String,) = sqlx::query_as(pragma).fetch_one(write).await.unwrap();
            value
        };
        let synchronous = "select cast(synchronous as text) from pragma_synchronous";
        assert_eq!(setting("select journal_mode from pragma_journal_mode").await, "wal");
        assert_eq!(setting(synchronous).await, "2");

        // What is derived need not wait for the disk; the evidence after it does again.
        let at = store.take_correlator().await.unwrap();
        let change = Change { epoch: at.epoch, from: 0, to: 1, ..Change::default() };
        store.apply(&change).await.unwrap();
        assert_eq!(setting(synchronous).await, "1");
        store.commit(&[delivery(1, 10)]).await.unwrap();
        assert_eq!(setting(synchronous).await, "2");
    }

    #[tokio::test]
    async fn a_commit_waits_for_the_correlator_longer_than_a_question_and_answers_while_the_sender_listens() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&Location::Directory(directory.path().to_owned())).await.unwrap();
        let Db::Sqlite { read, write } = &store.db else { panic!("not SQLite") };
        let patience = write.options().get_acquire_timeout();
        assert!(patience > read.options().get_acquire_timeout());
        assert!(patience < Duration::from_secs(10), "then Logpush gives up");
    }
}
