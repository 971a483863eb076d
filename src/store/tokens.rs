//! Bearer tokens, by name. Only the hash of a secret ever comes here.

use super::error::inconsistent;
use super::statement::stmt;
use super::{Store, StoreError, TokenRow};
use crate::model::Timestamp;

impl Store {
    /// A name is taken once; the error says so.
    pub async fn add_token(&self, token: &TokenRow) -> Result<(), StoreError> {
        let add = "insert into token (name, sha256, scopes, created_at_us) values (?, ?, ?, ?) on conflict do nothing";
        let add = stmt(add).text(&token.name).bytes(token.sha256).text(&token.scopes.join(" "));
        let mut tx = self.begin().await?;
        if tx.execute(add.int(token.created_at.micros())).await? == 0 {
            let name = &token.name;
            return Err(StoreError::Other(format!(
                "there is a token named {name:?} already: choose another name, or revoke that one first"
            )));
        }
        tx.commit().await
    }

    /// By name.
    pub async fn tokens(&self) -> Result<Vec<TokenRow>, StoreError> {
        let select = "select name, sha256, scopes, created_at_us from token order by name";
        let rows: Vec<(String, Vec<u8>, String, i64)> = self.rows(stmt(select)).await?;
        rows.into_iter()
            .map(|(name, sha256, scopes, created_at_us)| {
                let wrong = |_| inconsistent("token", format!("the hash of {name:?} is not 32 bytes long"));
                Ok(TokenRow {
                    sha256: sha256.try_into().map_err(wrong)?,
                    scopes: scopes.split_whitespace().map(str::to_owned).collect(),
                    created_at: Timestamp(created_at_us),
                    name,
                })
            })
            .collect()
    }

    /// True when there was one of that name.
    pub async fn revoke_token(&self, name: &str) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let removed = tx.execute(stmt("delete from token where name = ?").text(name)).await?;
        tx.commit().await?;
        Ok(removed > 0)
    }
}
