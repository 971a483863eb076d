//! What a step takes back: the beliefs about settled calls that its lines change, and the findings that they refute.
//!
//! A call that is completed before it settles takes nothing back: more lines were expected. What is settled is believed.

use crate::model::{
    Believed, Call, CallId, CallPrincipal, Finding, JournalDraft, JournalEntry, Leg, LegId, Timestamp,
};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// What is to be written when `calls` take the place of `replaced` at `now`, as of the delivery `to`.
pub fn taken_back(
    replaced: &BTreeMap<CallId, Arc<Call>>,
    calls: &[Call],
    now: Timestamp,
    to: u64,
) -> Vec<JournalDraft> {
    let same: HashMap<CallId, &Call> =
        calls.iter().filter(|c| replaced.contains_key(&c.id)).map(|c| (c.id, c)).collect();
    let changed: Vec<&Call> = replaced
        .values()
        .map(|old| &**old)
        .filter(|old| same.get(&old.id).is_none_or(|new| new != old))
        .collect();
    let wanted: HashSet<LegId> = changed.iter().flat_map(|old| old.legs.iter().map(|l| l.id)).collect();
    let legs = calls.iter().flat_map(|call| call.legs.iter().map(move |leg| (leg.id, call)));
    let call_of: HashMap<LegId, &Call> = legs.filter(|(id, _)| wanted.contains(id)).collect();
    let mut drafts = Vec::new();
    for old in changed {
        if let Some(new) = call_of.get(&old.id) {
            let step = Step { old, new, call_of: &call_of, now, to };
            drafts.extend(step.findings());
            if old.settles_at <= now {
                drafts.extend(step.facts());
                drafts.extend(step.legs());
            }
        }
    }
    drafts
}

struct Step<'a> {
    old: &'a Call,
    /// The call that has the old one's canonical leg now.
    new: &'a Call,
    call_of: &'a HashMap<LegId, &'a Call>,
    now: Timestamp,
    to: u64,
}

impl Step<'_> {
    fn draft(&self, what: Believed, before: Option<String>, after: Option<String>) -> JournalDraft {
        let known: BTreeSet<LegId> = self.old.legs.iter().map(|l| l.id).collect();
        let added = self.new.legs.iter().filter(|l| !known.contains(&l.id));
        let delivery = |legs: &mut dyn Iterator<Item = &Leg>| legs.map(|l| l.line.delivery).max();
        JournalDraft {
            entry: JournalEntry {
                call: self.old.id,
                now: self.new.id,
                at: self.now,
                delivery: delivery(&mut added.into_iter()).unwrap_or(self.to),
                what,
                finding: None,
                before,
                after,
                since: None,
            },
            known_by: delivery(&mut self.old.legs.iter()).unwrap_or(0),
            of_absence: false,
        }
    }

    fn findings(&self) -> Vec<JournalDraft> {
        let kinds = |call: &Call| call.findings.iter().map(|f| f.kind).collect::<BTreeSet<_>>();
        let (before, after) = (kinds(self.old), kinds(self.new));
        let held = |f: &&Finding| f.raised_at <= self.now;
        let gone = self.old.findings.iter().filter(|f| !after.contains(&f.kind)).filter(held);
        let settled = self.old.settles_at <= self.now;
        let come = self.new.findings.iter().filter(|f| settled && !before.contains(&f.kind)).filter(held);
        let about = |f: &Finding, what, before, after| {
            let mut draft = self.draft(what, before, after);
            (draft.entry.finding, draft.entry.since) = (Some(f.kind), Some(f.raised_at));
            draft.of_absence = what == Believed::FindingWithdrawn && f.absent_observer.is_some();
            draft
        };
        let sentence = |f: &Finding| Some(format!("{} ({}): {}", f.kind, f.severity, f.sentence));
        let withdrawn = gone.map(|f| about(f, Believed::FindingWithdrawn, sentence(f), None));
        withdrawn.chain(come.map(|f| about(f, Believed::FindingRaised, None, sentence(f)))).collect()
    }

    fn facts(&self) -> Vec<JournalDraft> {
        let (old, new) = (self.old, self.new);
        // An inferred parent says nothing that a principal or a finding rests on.
        let parent = |c: &Call| c.parent_id.filter(|_| !c.parent_inferred).map(|id| id.to_string());
        let facts = [
            (Believed::Basis, Some(basis(old)), Some(basis(new))),
            (Believed::Principal, principal(old), principal(new)),
            (Believed::Caller, Some(old.caller.key()), Some(new.caller.key())),
            (Believed::Callee, Some(old.callee.key()), Some(new.callee.key())),
            (Believed::Parent, parent(old), parent(new)),
            (Believed::Decision, old.effect().map(|e| e.to_string()), new.effect().map(|e| e.to_string())),
        ];
        let differ = facts.into_iter().filter(|(_, before, after)| before != after);
        differ.map(|(what, before, after)| self.draft(what, before, after)).collect()
    }

    /// Legs that went to another call, told of both; and the id, where it is the call's own no more.
    fn legs(&self) -> Vec<JournalDraft> {
        let mut drafts = Vec::new();
        for leg in &self.old.legs {
            let Some(elsewhere) = self.call_of.get(&leg.id).filter(|c| c.id != self.new.id) else { continue };
            let (before, after) = (Some(self.old.id.to_string()), Some(elsewhere.id.to_string()));
            let draft = self.draft(Believed::Legs, before, after);
            let of_leg = JournalEntry { call: leg.id, now: elsewhere.id, ..draft.entry.clone() };
            drafts.push(JournalDraft { entry: of_leg, ..draft.clone() });
            drafts.push(draft);
        }
        if self.new.id != self.old.id {
            let (before, after) = (Some(self.old.id.to_string()), Some(self.new.id.to_string()));
            drafts.push(self.draft(Believed::Superseded, before, after));
        }
        drafts
    }
}

/// `inferred 0.95 of 5`.
fn basis(call: &Call) -> String {
    let mut text = call.basis.to_string();
    if call.confidence_ppm < super::group::CERTAIN_PPM {
        text.push_str(&format!(" {:.2}", f64::from(call.confidence_ppm) / 1e6));
    }
    if call.ambiguous > 1 {
        text.push_str(&format!(" of {}", call.ambiguous));
    }
    text
}

fn principal(call: &Call) -> Option<String> {
    let text = |p: &CallPrincipal| format!("{} {}, {}", p.principal.kind, p.principal.subject, p.attribution);
    call.principal.as_ref().map(text)
}
