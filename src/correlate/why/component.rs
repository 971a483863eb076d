//! Brings a call's component together as the task does, and joins it again off the threads that serve requests.

use super::{Joined, Why, alike};
use crate::correlate::assemble::pairing_slack_us;
use crate::correlate::closure::Closure;
use crate::correlate::rules::Rules;
use crate::correlate::task::gather_facts;
use crate::model::Call;
use crate::store::{Store, StoreError};

/// Explains a stored call. `None` when the evidence that it was derived from gives no such call any more.
pub async fn explain(store: &Store, rules: &Rules, call: &Call) -> Result<Option<Why>, StoreError> {
    let mut closure = Closure::around(store, call.legs.clone(), pairing_slack_us(rules)).await?;
    for near in store.calls_by_key(&alike::neighbours(call)).await? {
        closure.legs.extend(near.legs.iter().cloned());
        closure.replaced.insert(near.id, near);
    }
    let facts = gather_facts(store, &closure).await?;
    // A parent across traces is no part of the component; its legs stand apart from everything in it.
    let inferred = call.parent_id.filter(|_| call.parent_inferred);
    if let Some(parent) = inferred
        && let Some(parent) = store.call_by_leg(&parent, crate::model::Timestamp::MAX).await?
    {
        closure.legs.extend(parent.legs);
    }
    let (rules, leg) = (rules.clone(), call.id);
    let joined = tokio::task::spawn_blocking(move || {
        Joined::new(closure.legs, &facts, &rules).with_alike(&closure.replaced).explain(&leg, inferred)
    });
    joined.await.map_err(|e| StoreError::Other(format!("the explanation ended early: {e}")))
}
