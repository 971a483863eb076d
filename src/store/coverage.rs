//! How completely a party's own proxy reported in an hour, as `apply` has added it up.

use super::statement::stmt;
use super::{Store, StoreError, index_text};
use crate::model::Timestamp;

impl Store {
    /// Inbound expected and seen, outbound expected and seen, of an identity key and an hour; `None` where nothing was measured.
    pub async fn coverage(&self, identity: &str, hour: Timestamp) -> Result<Option<[i64; 4]>, StoreError> {
        let select = "select inbound_expected, inbound_seen, outbound_expected, outbound_seen from coverage \
                      where identity = ? and hour_us = ?";
        let select = stmt(select).text(&index_text(identity)).int(hour.micros());
        let row: Option<(i64, i64, i64, i64)> = self.row(select).await?;
        Ok(row.map(|(a, b, c, d)| [a, b, c, d]))
    }
}
