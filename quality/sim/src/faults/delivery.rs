//! From lines to deliveries: when a line is sent, with which others, how often, and when it arrives.
//!
//! A proxy writes its buffer every ten seconds and a shipper sends what it finds; Logpush cuts the time into batches. Late lines go
//! with a later delivery of the same sender.

use super::draw::{Draws, Stream};
use super::options::{Faults, Source};
use super::outage::Outages;
use super::{Change, ReceivedLine, Tell};
use rand::seq::SliceRandom;
use std::collections::BTreeMap;
use std::sync::Arc;

const SECOND_US: i64 = 1_000_000;
/// A second copy of a line or a delivery follows within this.
const COPY_WITHIN_US: i64 = 3_600 * SECOND_US;

/// A line that is ready to be sent.
#[derive(Debug, Clone)]
pub struct Ready {
    pub record: usize,
    pub text: String,
    pub tells: Vec<Tell>,
    pub changed: Vec<Change>,
}

/// One sender: a proxy, or one of Cloudflare's jobs.
#[derive(Debug)]
pub struct Sender {
    pub source: Source,
    pub proxy: Option<Arc<str>>,
    timetable: Timetable,
}

#[derive(Debug)]
enum Timetable {
    Every {
        interval_us: i64,
        phase_us: i64,
    },
    /// Ends of batches so far, and what the next are drawn from.
    Batches {
        ends_us: Vec<i64>,
        lengths: Box<Stream>,
        length_us: (i64, i64),
    },
}

impl Sender {
    pub fn proxy(node_id: Arc<str>, faults: &Faults, draws: &Draws) -> Self {
        let interval_us = i64::from(faults.envoy_flush_s.max(1)) * SECOND_US;
        let phase_us = draws.of("flush_phase", &node_id).between(0, interval_us);
        Sender {
            source: Source::Mesh,
            proxy: Some(node_id),
            timetable: Timetable::Every { interval_us, phase_us },
        }
    }

    /// The first batch ends after `from_us`.
    pub fn logpush(source: Source, faults: &Faults, from_us: i64, draws: &Draws) -> Self {
        let (shortest, longest) = faults.logpush_batch_s;
        let length_us = (i64::from(shortest.max(1)) * SECOND_US, i64::from(longest.max(1)) * SECOND_US);
        let lengths = Box::new(draws.of("logpush_batches", source.name()));
        Sender {
            source,
            proxy: None,
            timetable: Timetable::Batches { ends_us: vec![from_us], lengths, length_us },
        }
    }

    /// When what was logged at this time is sent: strictly after it.
    pub fn sends_at(&mut self, logged_us: i64) -> i64 {
        match &mut self.timetable {
            Timetable::Every { interval_us, phase_us } => {
                (logged_us - *phase_us).div_euclid(*interval_us) * *interval_us + *interval_us + *phase_us
            }
            Timetable::Batches { ends_us, lengths, length_us: (shortest, longest) } => {
                while ends_us.last().is_some_and(|end| *end <= logged_us) {
                    ends_us.push(ends_us[ends_us.len() - 1] + lengths.between(*shortest, *longest));
                }
                ends_us[ends_us.partition_point(|end| *end <= logged_us)]
            }
        }
    }

    fn name(&self) -> &str {
        self.proxy.as_deref().unwrap_or_else(|| self.source.name())
    }
}

/// What each sender sends and when; turned into deliveries at the end.
pub struct Outbox<'a> {
    faults: &'a Faults,
    draws: Draws,
    late: Stream,
    copies: Stream,
    /// By sender and time of sending.
    waiting: BTreeMap<(usize, i64), Vec<Ready>>,
}

struct Parcel {
    received_at_us: i64,
    sender: usize,
    lines: Vec<Ready>,
}

impl<'a> Outbox<'a> {
    pub fn new(faults: &'a Faults, draws: Draws) -> Self {
        Outbox {
            faults,
            draws,
            late: draws.of("late_lines", ""),
            copies: draws.of("duplicate_lines", ""),
            waiting: BTreeMap::new(),
        }
    }

    /// Called for every record, also for lost ones, so that each has its own chance.
    pub fn put(&mut self, sender: usize, by: &mut Sender, sends_at_us: i64, line: Option<Ready>) {
        let is_late = self.late.hits(self.faults.late_lines_percent);
        let lateness_us = self.late.delay_us(SECOND_US, i64::from(self.faults.late_max_s) * SECOND_US);
        let has_copy = self.copies.hits(self.faults.duplicate_lines_percent);
        let copy_after_us = self.copies.delay_us(SECOND_US, COPY_WITHIN_US);
        let Some(line) = line else { return };
        let at_us = if is_late { by.sends_at(sends_at_us + lateness_us) } else { sends_at_us };
        if has_copy {
            let again_us = by.sends_at(at_us + copy_after_us);
            self.waiting.entry((sender, again_us)).or_default().push(line.clone());
        }
        self.waiting.entry((sender, at_us)).or_default().push(line);
    }

    /// All deliveries in the order of their arrival.
    pub fn send(mut self, senders: &[Sender], outages: &Outages) -> Vec<ReceivedLine> {
        let mut parcels = Vec::new();
        for ((sender, at_us), lines) in std::mem::take(&mut self.waiting) {
            self.send_one(sender, senders[sender].name(), at_us, lines, &mut parcels);
        }
        for parcel in &mut parcels {
            let by = &senders[parcel.sender];
            parcel.received_at_us = outages.over_at(by.source, by.proxy.as_deref(), parcel.received_at_us);
        }
        parcels.sort_by_key(|parcel: &Parcel| (parcel.received_at_us, parcel.sender));
        let received = |(delivery, parcel): (usize, Parcel)| {
            let sender = &senders[parcel.sender];
            parcel.lines.into_iter().map(move |line| ReceivedLine {
                source: sender.source.name(),
                proxy: sender.proxy.clone(),
                delivery,
                received_at_us: parcel.received_at_us,
                record: line.record,
                text: line.text,
                tells: line.tells,
                changed: line.changed,
            })
        };
        parcels.into_iter().enumerate().flat_map(received).collect()
    }

    /// What a sender sends at one time: shuffled, cut into deliveries, some of them sent again.
    fn send_one(&self, sender: usize, name: &str, at_us: i64, mut lines: Vec<Ready>, to: &mut Vec<Parcel>) {
        let draw = |kind: &str| self.draws.of(kind, &format!("{name}@{at_us}"));
        if self.faults.reorder_window_lines > 1 {
            let mut order = draw("reorder").0;
            lines.chunks_mut(self.faults.reorder_window_lines).for_each(|window| window.shuffle(&mut order));
        }
        let transit_max_us = (self.faults.transit_max_s * 1e6) as i64;
        let (mut transit, mut again, mut recut) =
            (draw("transit"), draw("duplicate_deliveries"), draw("recut"));
        let mut rest = lines.into_iter().peekable();
        while rest.peek().is_some() {
            let lines: Vec<Ready> = rest.by_ref().take(self.faults.max_lines_per_delivery.max(1)).collect();
            let received_at_us = at_us + transit.between(0, transit_max_us);
            let mut send = |received_at_us, lines| to.push(Parcel { received_at_us, sender, lines });
            let (is_repeated, repeat_us) =
                (again.hits(self.faults.duplicate_deliveries_percent), later(&mut again));
            if is_repeated {
                send(received_at_us + repeat_us, lines.clone());
            }
            let is_recut = recut.hits(self.faults.recut_deliveries_percent);
            let (recut_us, cut) = (later(&mut recut), recut.between(0, lines.len() as i64 + 1) as usize);
            if is_recut {
                let (first, second) = lines.split_at(cut.min(lines.len()));
                for (part, after_us) in
                    [(first, 0), (second, SECOND_US)].into_iter().filter(|(part, _)| !part.is_empty())
                {
                    send(received_at_us + recut_us + after_us, part.to_vec());
                }
            }
            send(received_at_us, lines);
        }
    }
}

fn later(stream: &mut Stream) -> i64 {
    stream.delay_us(SECOND_US, COPY_WITHIN_US)
}
