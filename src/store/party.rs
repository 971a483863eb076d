//! Texts that calls repeat, as numbers: the parties of a call, and principals, which have keys of their own so that no service is
//! taken for one. A text keeps its number for ever.

use super::bulk::Target;
use super::statement::{Bind, Tx, stmt};
use super::{Store, StoreError, index_text};
use crate::model::Identity;
use std::collections::{BTreeSet, HashMap};

/// Keys per `in` list.
const ROWS: usize = 512;
const PARTIES: Target = Target { table: "party", columns: "id, key, name", on_conflict: "" };

/// By its key, and by the name for people.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Party {
    pub key: String,
    pub name: String,
}

impl Party {
    pub(super) fn of(identity: &Identity) -> Party {
        Party { key: index_text(&identity.key()).into_owned(), name: index_text(&identity.name).into_owned() }
    }

    pub(super) fn of_principal(subject: &str) -> Party {
        let subject = index_text(subject);
        Party { key: format!("{PRINCIPAL}{subject}"), name: subject.into_owned() }
    }
}

/// No key of an identity begins so: a kind or a scheme is followed by a colon.
const PRINCIPAL: &str = "principal ";

impl Store {
    /// Numbers for all of them; those that have none yet get one. Only whoever holds the correlator's row may.
    pub(super) async fn numbered(
        &self,
        tx: &mut Tx,
        wanted: &[Party],
    ) -> Result<HashMap<Party, i64>, StoreError> {
        let mut known = self.remembered.parties(wanted);
        let missing: Vec<&Party> = wanted.iter().filter(|party| !known.contains_key(*party)).collect();
        for missing in missing.chunks(ROWS) {
            let mut select = stmt("select id, key, name from party where key in ");
            select.push_list(missing.iter().map(|party| Bind::text(&party.key)).collect());
            for (id, key, name) in tx.rows::<(i64, String, String)>(select).await? {
                known.insert(Party { key, name }, id);
            }
        }
        let new: BTreeSet<&Party> = missing.into_iter().filter(|party| !known.contains_key(*party)).collect();
        if new.is_empty() {
            return Ok(known);
        }
        let last: Vec<(i64,)> = tx.rows(stmt("select coalesce(max(id), 0) from party")).await?;
        let first = last.first().map_or(0, |(id,)| *id) + 1;
        let rows = (first..)
            .zip(&new)
            .flat_map(|(id, party)| [Bind::int(id), Bind::text(&party.key), Bind::text(&party.name)]);
        tx.insert(&PARTIES, rows.collect()).await?;
        known.extend(new.into_iter().cloned().zip(first..));
        Ok(known)
    }

    /// Those that bear the numbers.
    pub(super) async fn parties_numbered(
        &self,
        tx: &mut Tx,
        numbers: &[i64],
    ) -> Result<HashMap<i64, Party>, StoreError> {
        let mut parties = HashMap::new();
        for numbers in numbers.chunks(ROWS) {
            let mut select = stmt("select id, key, name from party where id in ");
            select.push_list(numbers.iter().copied().map(Bind::int).collect());
            let rows: Vec<(i64, String, String)> = tx.rows(select).await?;
            parties.extend(rows.into_iter().map(|(id, key, name)| (id, Party { key, name })));
        }
        Ok(parties)
    }

    /// The parties that somebody asks for: by SPIFFE id, else by short name.
    pub(super) async fn parties_called(&self, tx: &mut Tx, asked: &str) -> Result<Vec<i64>, StoreError> {
        if asked.starts_with("spiffe://") {
            return self.parties_of_key(tx, asked).await;
        }
        let select = stmt("select id, key from party where name = ?").text(&index_text(asked));
        let rows: Vec<(i64, String)> = tx.rows(select).await?;
        Ok(rows.into_iter().filter(|(_, key)| !key.starts_with(PRINCIPAL)).map(|(id, _)| id).collect())
    }

    /// The parties with a key, whatever they are called.
    pub(super) async fn parties_of_key(&self, tx: &mut Tx, key: &str) -> Result<Vec<i64>, StoreError> {
        let select = stmt("select id from party where key = ?").text(&index_text(key));
        Ok(tx.rows::<(i64,)>(select).await?.into_iter().map(|(id,)| id).collect())
    }

    /// The same for all of the keys together, at most [`ROWS`].
    pub(super) async fn parties_of_keys(
        &self,
        tx: &mut Tx,
        keys: impl Iterator<Item = &str>,
    ) -> Result<Vec<i64>, StoreError> {
        let keys: BTreeSet<_> = keys.map(index_text).collect();
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut select = stmt("select id from party where key in ");
        select.push_list(keys.iter().map(|key| Bind::text(key)).collect());
        Ok(tx.rows::<(i64,)>(select).await?.into_iter().map(|(id,)| id).collect())
    }

    pub(super) async fn principals_called(&self, tx: &mut Tx, subject: &str) -> Result<Vec<i64>, StoreError> {
        let select = stmt("select id from party where key = ?").text(&Party::of_principal(subject).key);
        Ok(tx.rows::<(i64,)>(select).await?.into_iter().map(|(id,)| id).collect())
    }
}
