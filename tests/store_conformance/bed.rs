//! A store of its own for each story.

use calltrail::store::{Location, Store};
use sqlx::{Connection, Decode, Executor, PgConnection, Postgres, Row, Sqlite, SqliteConnection, Type};

pub struct Bed {
    pub location: Location,
    pub store: Store,
}

pub async fn on_sqlite(story: impl AsyncFnOnce(&Bed)) {
    let directory = tempfile::tempdir().unwrap();
    run(Location::Directory(directory.path().join("data")), story).await;
}

pub async fn on_postgres(story: impl AsyncFnOnce(&Bed)) {
    let server = std::env::var("TEST_DATABASE_URL").expect(
        "this half needs a Postgres: run `cargo xtask test`, which brings one, or set TEST_DATABASE_URL to a server on which \
         databases may be created",
    );
    let name = format!("calltrail_{:032x}", rand::random::<u128>());
    let mut admin = PgConnection::connect(&server).await.unwrap();
    admin.execute(sqlx::AssertSqlSafe(format!("create database {name}"))).await.unwrap();
    run(Location::Postgres(with_database(&server, &name)), story).await;
    admin.execute(sqlx::AssertSqlSafe(format!("drop database {name} with (force)"))).await.unwrap();
}

async fn run(location: Location, story: impl AsyncFnOnce(&Bed)) {
    let store = Store::open(&location).await.unwrap();
    let bed = Bed { location, store };
    story(&bed).await;
    bed.store.close().await;
}

/// The url with another database name: what stands between the host and the parameters.
fn with_database(url: &str, name: &str) -> String {
    let (address, parameters) =
        url.split_once('?').map_or((url, String::new()), |(a, p)| (a, format!("?{p}")));
    let (scheme, rest) = address.split_once("://").unwrap();
    let host = rest.split('/').next().unwrap();
    format!("{scheme}://{host}/{name}{parameters}")
}

impl Bed {
    /// A second process on the same database.
    pub async fn another(&self) -> Store {
        Store::open(&self.location).await.unwrap()
    }

    pub fn is_sqlite(&self) -> bool {
        matches!(self.location, Location::Directory(_))
    }

    /// Past the store, as nobody should.
    pub async fn alter(&self, sql: &'static str) {
        match &self.location {
            Location::Directory(directory) => {
                let url = format!("sqlite://{}", directory.join("calltrail.db").display());
                SqliteConnection::connect(&url).await.unwrap().execute(sql).await.unwrap();
            }
            Location::Postgres(url) => {
                PgConnection::connect(url).await.unwrap().execute(sql).await.unwrap();
            }
        }
    }

    /// Past the store, as an auditor with SQL would: rows of one column of bytes.
    pub async fn bytes(&self, sql: &'static str) -> Vec<Vec<u8>> {
        self.column(sql).await
    }

    /// The same of a column of texts.
    pub async fn texts(&self, sql: &'static str) -> Vec<String> {
        self.column(sql).await
    }

    async fn column<T>(&self, sql: &'static str) -> Vec<T>
    where
        T: for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres>,
    {
        match &self.location {
            Location::Directory(directory) => {
                let url = format!("sqlite://{}", directory.join("calltrail.db").display());
                let mut db = SqliteConnection::connect(&url).await.unwrap();
                db.fetch_all(sql).await.unwrap().iter().map(|row| row.get(0)).collect()
            }
            Location::Postgres(url) => {
                let mut db = PgConnection::connect(url).await.unwrap();
                db.fetch_all(sql).await.unwrap().iter().map(|row| row.get(0)).collect()
            }
        }
    }
}
