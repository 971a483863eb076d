//! An explanation as a page: the join and how sure it is, the lines side by side, the next best, the parent, the principal hop
//! by hop, the findings. What every pair of the call says alike is said once.

use super::paint::Paint;
use super::phrase;
use super::prose::{PAGE, Prose, sentence, wrapped};
use crate::api::dto_why::{
    AlternativesDto, CallRefDto, EvidenceItemDto, FindingWhyDto, LegRefDto, PairDto, RowLegDto, RowPairDto,
    SaidDto, WhyDto,
};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Columns of a label.
const LABEL: usize = 11;
/// Columns of what is said of a finding.
const SAYS: usize = 14;
/// Places of a row that are shown before and after the call's own.
const AROUND: usize = 4;
/// Columns of the name of a piece of evidence.
const KIND: usize = 13;

pub fn why(why: &WhyDto, paint: Paint) -> String {
    let mut page = Page { prose: Prose::new(paint, LABEL), names: names(why), why };
    page.title();
    page.joined();
    page.lines();
    page.pairs();
    page.row();
    page.next_best();
    page.parent();
    page.principal();
    page.decisions();
    page.findings();
    page.prose.text
}

/// A letter for each leg: the call's own first.
fn names(why: &WhyDto) -> BTreeMap<String, String> {
    let letter = |i: usize| match i {
        0..26 => char::from(b'A' + i as u8).to_string(),
        _ => format!("L{}", i + 1),
    };
    why.legs.iter().enumerate().map(|(i, leg)| (leg.id.clone(), letter(i))).collect()
}

struct Page<'a> {
    prose: Prose,
    names: BTreeMap<String, String>,
    why: &'a WhyDto,
}

impl Page<'_> {
    fn name(&self, leg: &str) -> String {
        self.names.get(leg).cloned().unwrap_or_else(|| phrase::short(leg))
    }

    fn paragraph(&mut self, label: &str, text: &str) {
        self.prose.paragraph(label, &phrase::printable(text));
    }

    fn title(&mut self) {
        let call = &self.why.call;
        let line = format!("{}  {}  {}", phrase::parties(call), phrase::request(call), phrase::outcome(call));
        let mut ids = format!("call {}", call.id);
        if let Some(trace) = &call.trace_id {
            let _ = write!(ids, "  trace {trace}");
        }
        let _ = write!(ids, "  {} UTC", call.start.get(..10).unwrap_or_default());
        let paint = self.prose.paint;
        wrapped(&line, PAGE).iter().for_each(|line| self.prose.line(&paint.bold(line)));
        self.prose.line(&paint.dim(&ids));
        if let Some(now) = &call.superseded_by {
            let note = format!("the id that was asked for is not this call's own any more: it is {now} now");
            self.prose.line(&paint.yellow(&note));
        }
        for note in self.why.note.iter() {
            wrapped(note, PAGE).iter().for_each(|line| self.prose.line(&paint.yellow(line)));
        }
        self.prose.line("");
    }

    fn joined(&mut self) {
        let basis = &self.why.basis;
        let by = match basis.by.as_str() {
            "nothing" => String::new(),
            by => format!(", by {}", by.replace('_', " ")),
        };
        self.paragraph(
            "Joined",
            &format!("{}{by}. {}", phrase::basis(&self.why.call), sentence(&basis.sentence)),
        );
        if let Some(why) = &basis.not_stronger {
            self.paragraph("", &sentence(&format!("no surer: {why}")));
        }
    }

    fn lines(&mut self) {
        let own: Vec<&LegRefDto> = self.why.legs.iter().filter(|l| l.call_id == self.why.call.id).collect();
        for (i, leg) in own.into_iter().enumerate() {
            let text = self.leg(leg);
            let name = self.name(&leg.id);
            self.prose.item(if i == 0 { "Lines" } else { "" }, 3, &name, &text);
        }
    }

    fn leg(&self, leg: &LegRefDto) -> String {
        let took = leg.duration_us.map_or_else(String::new, |us| format!(" for {}", phrase::duration(us)));
        let status = leg.status.map_or_else(String::new, |s| format!(", status {s}"));
        let when = leg.start.get(11..26).unwrap_or(&leg.start);
        let text = format!(
            "{} line of {}, {when}{took}{status} ({} delivery {} line {})",
            leg.side, leg.observer.name, leg.source, leg.delivery, leg.line
        );
        phrase::printable(&text)
    }

    /// Pairs of one client line with several attempts: what all say alike first, then what each says besides.
    fn pairs(&mut self) {
        let why = self.why;
        let is_server = |p: &&PairDto| why.legs.iter().any(|l| l.id == p.server && l.side == "server");
        let (attempts, witnesses): (Vec<&PairDto>, Vec<&PairDto>) = why.pairs.iter().partition(is_server);
        match &attempts[..] {
            [] => {}
            [only] => self.pair(only, &|_| false),
            [first, ..] => {
                let says = |p: &PairDto, item: &EvidenceItemDto| {
                    p.said.all().any(|(_, i)| i.kind == item.kind && i.sentence == item.sentence)
                };
                let alike = |item: &EvidenceItemDto| attempts.iter().all(|p| says(p, item));
                let others: Vec<String> = attempts.iter().map(|p| self.name(&p.server)).collect();
                let label = format!("{} with each of {}", self.name(&first.client), others.join(", "));
                self.said(&label, &first.said.only(&alike));
                attempts.iter().for_each(|pair| self.pair(pair, &alike));
            }
        }
        witnesses.into_iter().for_each(|pair| self.pair(pair, &|_| false));
    }

    fn pair(&mut self, pair: &PairDto, alike: &dyn Fn(&EvidenceItemDto) -> bool) {
        let label = format!("{} and {}", self.name(&pair.client), self.name(&pair.server));
        self.said(&label, &pair.said.only(&|item| !alike(item)));
    }

    fn said(&mut self, label: &str, said: &SaidDto) {
        let paint = self.prose.paint;
        if !label.is_empty() {
            self.prose.line("");
            self.prose.line(&paint.bold(label));
        }
        let mut heading = "";
        for (group, item) in said.all() {
            let label = if heading == group { "" } else { group };
            heading = group;
            let weight = match item.weight.as_str() {
                "decisive" | "explained" | "excluding" => format!(" ({})", item.weight),
                _ => String::new(),
            };
            let text = phrase::printable(&format!("{}{weight}", item.sentence));
            self.prose.item(&format!("  {label}"), KIND, &item.kind.replace('_', " "), &text);
        }
    }

    /// The rows in which order decided, around this call's own place.
    fn row(&mut self) {
        let row = &self.why.row;
        let of = |p: &RowPairDto| p.client.iter().chain(&p.server).any(|l| self.is_own(&l.leg));
        let Some(own) = row.iter().position(of) else { return };
        let from = own.saturating_sub(AROUND);
        let shown = row.iter().enumerate().skip(from).take(2 * AROUND + 1);
        let lines: Vec<(String, String)> = shown.map(|(i, pair)| self.place(i, pair, i == own)).collect();
        self.prose.line("");
        for (i, (place, text)) in lines.iter().enumerate() {
            self.prose.item(if i == 0 { "In a row" } else { "" }, 6, place, text);
        }
        if lines.len() < row.len() {
            let text = format!("{} in all.", phrase::count(row.len() as u64, "place", "places"));
            self.prose.item("", 6, "", &text);
        }
    }

    fn is_own(&self, leg: &str) -> bool {
        self.why.legs.iter().any(|l| l.id == leg && l.call_id == self.why.call.id)
    }

    fn place(&self, i: usize, pair: &RowPairDto, own: bool) -> (String, String) {
        let leg = |leg: &Option<RowLegDto>| match leg {
            Some(l) => {
                let name = self.names.get(&l.leg).map(|n| format!("{n} ")).unwrap_or_default();
                let took =
                    l.duration_us.map_or_else(String::new, |us| format!(" for {}", phrase::duration(us)));
                format!("{name}{}{took}", l.start.get(11..26).unwrap_or(&l.start))
            }
            None => "no line".to_owned(),
        };
        let fits = match pair.outside_us {
            None => String::new(),
            Some(..1_001) => ", inside".to_owned(),
            Some(us) => format!(", {} outside", phrase::duration(us)),
        };
        let mark = if own { " ←" } else { "" };
        (format!("{}.", i + 1), format!("{} → {}{fits}{mark}", leg(&pair.client), leg(&pair.server)))
    }

    fn next_best(&mut self) {
        self.prose.line("");
        // Lines of one call are often held against the same others.
        let mut told: Vec<(Vec<String>, String)> = Vec::new();
        for other in &self.why.alternatives {
            let (name, text) = (self.name(&other.of), self.alternative(other));
            match told.iter_mut().find(|(_, known)| *known == text) {
                Some((names, _)) => names.push(name),
                None => told.push((vec![name], text)),
            }
        }
        let width = told.iter().map(|(names, _)| names.join(", ").len() + 6).max().unwrap_or(0);
        for (i, (names, text)) in told.iter().enumerate() {
            let label = if i == 0 { "Next best" } else { "" };
            self.prose.item(label, width, &format!("for {}", names.join(", ")), text);
        }
    }

    fn alternative(&self, other: &AlternativesDto) -> String {
        let Some(rival) = &other.runner_up else {
            return "no other line shares an id or a connection with it.".to_owned();
        };
        let excluded: Vec<String> =
            other.excluded.iter().map(|(kind, n)| format!("{n} by {}", kind.replace('_', " "))).collect();
        let excluded = match excluded.is_empty() {
            true => String::new(),
            false => format!("; excluded: {}", excluded.join(", ")),
        };
        let field = match other.fitting {
            0 => format!("nothing else fits{excluded}."),
            n => format!(
                "{} would fit as well{excluded}.",
                phrase::count(n as u64, "other line", "other lines")
            ),
        };
        let leg = self.why.legs.iter().find(|l| l.id == rival.leg);
        let leg = leg.map_or_else(String::new, |l| self.leg(l));
        let text = format!("{field} The nearest is {}, the {leg}: {}", self.name(&rival.leg), rival.sentence);
        phrase::printable(&format!("{}.", text.trim_end_matches('.')))
    }

    fn parent(&mut self) {
        let parent = &self.why.parent;
        self.prose.line("");
        let text = match &parent.call {
            Some(call) => {
                format!("{} ({}). {}", named(call), phrase::short(&call.id), sentence(&parent.sentence))
            }
            None => sentence(&parent.sentence),
        };
        self.paragraph("Parent", &text);
        if parent.call.is_some() && parent.others == 0 {
            self.paragraph("", "No other call came near.");
        }
        for other in &parent.runners_up {
            let text = format!(
                "not {} ({}): {}.",
                named(&other.call),
                phrase::short(&other.call.id),
                other.sentence
            );
            self.paragraph("", &text);
        }
        if parent.others > parent.runners_up.len() {
            let more = (parent.others - parent.runners_up.len()) as u64;
            self.paragraph("", &format!("and {} further away.", phrase::count(more, "call", "calls")));
        }
    }

    fn principal(&mut self) {
        self.prose.line("");
        let who = match &self.why.call.principal {
            Some(p) => format!("{} {}, {}:", p.kind, p.subject, p.attribution),
            None => "nobody that is proven:".to_owned(),
        };
        self.paragraph("For whom", &who);
        let steps: Vec<(String, String)> = self
            .why
            .principal
            .iter()
            .map(|step| {
                let how = step.principal.as_ref().map_or("nobody", |p| p.attribution.as_str());
                let call = named(&step.call);
                (how.to_owned(), phrase::printable(&format!("{call}: {}.", step.sentence)))
            })
            .collect();
        for (how, text) in steps {
            self.prose.item("", 11, &how, &text);
        }
    }

    /// Each verdict once, with the lines that carry it.
    fn decisions(&mut self) {
        let mut verdicts: Vec<(String, Vec<String>)> = Vec::new();
        for decision in &self.why.call.decisions {
            let (text, line) = (phrase::decision(decision), self.name(&decision.leg_id));
            match verdicts.iter_mut().find(|(known, _)| *known == text) {
                Some((_, lines)) => lines.push(line),
                None => verdicts.push((text, vec![line])),
            }
        }
        for (i, (text, lines)) in verdicts.iter().enumerate() {
            if i == 0 {
                self.prose.line("");
            }
            let says = if lines.len() == 1 { "says" } else { "say" };
            let text = format!("{text}, as {} {says}.", lines.join(", "));
            self.prose.item(if i == 0 { "Decided" } else { "" }, 0, "", &text);
        }
    }

    fn findings(&mut self) {
        for finding in &self.why.findings {
            self.prose.line("");
            self.finding(finding);
        }
    }

    fn finding(&mut self, f: &FindingWhyDto) {
        let paint = self.prose.paint;
        let holds = if f.holds { "" } else { ", does not count now" };
        let lines: Vec<String> = f.evidence.iter().map(|id| self.name(id)).collect();
        self.prose.line(&paint.severity(&f.severity, &format!("{} ({}{holds})", f.kind, f.severity)));
        self.prose.item("", SAYS, "says", &phrase::printable(&f.sentence));
        let since = phrase::when(&f.raised_at);
        self.prose.item("", SAYS, "raised by", &format!("{}, since {since}.", lines.join(", ")));
        for (i, also) in f.also.iter().enumerate() {
            self.prose.item(
                "",
                SAYS,
                if i == 0 { "besides" } else { "" },
                &phrase::printable(&sentence(also)),
            );
        }
        if let Some(counts) = &f.counts {
            self.prose.item("", SAYS, "counts", &phrase::printable(&sentence(counts)));
        }
        self.prose.item("", SAYS, "withdrawn by", &phrase::printable(&format!("{}.", f.withdrawn_by)));
    }
}

/// `gw → web GET /orders/1`.
fn named(call: &CallRefDto) -> String {
    let request = match (&call.method, &call.path) {
        (Some(method), Some(path)) => format!("{method} {path}"),
        (Some(text), None) | (None, Some(text)) => text.clone(),
        (None, None) => call.protocol.clone(),
    };
    let party = |name: &str, kind: &str| if kind == "user" { phrase::short(name) } else { name.to_owned() };
    let caller = party(&call.caller.name, &call.caller.kind);
    phrase::printable(&format!("{caller} → {} {request}", call.callee.name))
}

impl SaidDto {
    fn all(&self) -> impl Iterator<Item = (&'static str, &EvidenceItemDto)> {
        let tag = |group: &'static str| move |item| (group, item);
        let in_favour = self.in_favour.iter().map(tag("for"));
        in_favour
            .chain(self.against.iter().map(tag("against")))
            .chain(self.not_said.iter().map(tag("not said")))
    }

    fn only(&self, wanted: &dyn Fn(&EvidenceItemDto) -> bool) -> SaidDto {
        let those = |items: &[EvidenceItemDto]| items.iter().filter(|i| wanted(i)).cloned().collect();
        SaidDto {
            in_favour: those(&self.in_favour),
            against: those(&self.against),
            not_said: those(&self.not_said),
        }
    }
}
