//! Room in the file that holds nothing any more. SQLite uses it again for what comes: a file whose calls come and go stays as large
//! as it is. What is more than that is given back to the system where somebody has had the file made anew so that it can be
//! (`pragma auto_vacuum = incremental`); we do not make files so, since writing them costs some percent more. Postgres sees to it
//! itself.

use super::retention::pause;
use super::{Db, Store, StoreError};
use tokio::time::Instant;

/// Pages that one step gives back: 16 MiB.
const PAGES: i64 = 1_024;
/// One page in so many may hold nothing: what comes next needs them.
const SPARE: i64 = 8;

impl Store {
    pub(super) async fn give_back_pages(&self) -> Result<(), StoreError> {
        let Db::Sqlite { write, .. } = &self.db else { return Ok(()) };
        let pragma = async |name: &'static str| sqlx::query_scalar::<_, i64>(name).fetch_one(write).await;
        // 2 is `incremental`.
        if pragma("pragma auto_vacuum").await? != 2 {
            return Ok(());
        }
        while pragma("pragma freelist_count").await? > pragma("pragma page_count").await? / SPARE + PAGES {
            let began = Instant::now();
            sqlx::query("pragma incremental_vacuum(1024)").execute(write).await?;
            pause(began).await;
        }
        Ok(())
    }
}
