//! Whether evidence that was kept somewhere is still what was committed: lines against the line root and the leaf of their
//! delivery, the deliveries against the head of the log. Pure; whoever copies, restores or moves evidence asks here.
//!
//! It proves that nothing was changed or lost up to a root. That the root itself is the one of old only somebody can tell who
//! wrote it down.

use super::commitment::{DeliveryLeaf, line_root};
use super::tree::{Frontier, Hash};

/// What the log says of itself: the next number to be given, and the tree of all deliveries before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogHead {
    pub next_number: u64,
    pub line_count: u64,
    pub frontier: Frontier,
}

/// What is recorded of a delivery besides its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'a> {
    pub number: u64,
    pub leaf: DeliveryLeaf<'a>,
    pub body_bytes: u64,
    pub leaf_hash: Hash,
    /// None once the lines had to be forgotten.
    pub secret: Option<[u8; 32]>,
}

/// Where evidence is not what was committed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("delivery {0} is missing")]
    Missing(u64),
    #[error("delivery {number} should hold {recorded} lines and holds {held}")]
    LineCount { number: u64, recorded: u64, held: u64 },
    #[error("the lines of delivery {0} are not those that were committed")]
    Lines(u64),
    #[error(
        "what is recorded of delivery {0} (source, proxy, time, number and root of its lines) is not what was committed"
    )]
    Leaf(u64),
    #[error("delivery {0} has lines and no secret: they cannot be proven")]
    Unprovable(u64),
    #[error("the head of the log does not fit the {0} deliveries before it")]
    Head(u64),
}

/// Goes along the deliveries in the order of their numbers, from the first, and knows the log's head at each.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    frontier: Frontier,
    lines: u64,
}

impl Ledger {
    /// Deliveries so far; the number of the last.
    pub fn deliveries(&self) -> u64 {
        self.frontier.size()
    }

    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// The head of a log that holds these deliveries and no others.
    pub fn head(&self) -> LogHead {
        LogHead {
            next_number: self.deliveries() + 1,
            line_count: self.lines,
            frontier: self.frontier.clone(),
        }
    }

    /// The next delivery, with the lines that are kept of it: none where they were forgotten.
    pub fn prove(&mut self, record: &Record, lines: &[Vec<u8>]) -> Result<(), Fault> {
        prove_lines(record, lines)?;
        if record.leaf.hash() != record.leaf_hash {
            return Err(Fault::Leaf(record.number));
        }
        self.take(record.number, record.leaf.line_count, record.leaf_hash)
    }

    /// The next delivery as it is recorded, without a look at what it holds.
    pub fn take(&mut self, number: u64, line_count: u64, leaf_hash: Hash) -> Result<(), Fault> {
        let expected = self.deliveries() + 1;
        if number != expected {
            return Err(Fault::Missing(expected));
        }
        self.frontier.append(leaf_hash);
        self.lines += line_count;
        Ok(())
    }

    /// Whether the log ends here.
    pub fn ends_at(&self, head: &LogHead) -> Result<(), Fault> {
        if self.deliveries() + 1 < head.next_number {
            return Err(Fault::Missing(self.deliveries() + 1));
        }
        if self.head() != *head {
            return Err(Fault::Head(self.deliveries()));
        }
        Ok(())
    }
}

fn prove_lines(record: &Record, lines: &[Vec<u8>]) -> Result<(), Fault> {
    let (number, recorded, held) = (record.number, record.leaf.line_count, lines.len() as u64);
    let Some(secret) = record.secret else {
        return if lines.is_empty() { Ok(()) } else { Err(Fault::Unprovable(number)) };
    };
    if held != recorded {
        return Err(Fault::LineCount { number, recorded, held });
    }
    let bytes: u64 = lines.iter().map(|line| line.len() as u64).sum();
    if bytes != record.body_bytes
        || line_root(&secret, lines.iter().map(Vec::as_slice)) != record.leaf.line_root
    {
        return Err(Fault::Lines(number));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    const SECRET: [u8; 32] = [7; 32];

    fn lines() -> Vec<Vec<u8>> {
        vec![b"one".to_vec(), b"two".to_vec()]
    }

    fn record(number: u64) -> Record<'static> {
        let leaf = DeliveryLeaf {
            source: "mesh",
            proxy: None,
            received_at: Timestamp(5),
            line_count: 2,
            line_root: line_root(&SECRET, lines().iter().map(Vec::as_slice)),
        };
        Record { number, leaf_hash: leaf.hash(), leaf, body_bytes: 6, secret: Some(SECRET) }
    }

    #[test]
    fn what_was_committed_is_proven_up_to_the_head() {
        let mut ledger = Ledger::default();
        for number in 1..=3 {
            ledger.prove(&record(number), &lines()).unwrap();
        }
        let mut head = ledger.head();
        assert_eq!((head.next_number, head.line_count), (4, 6));
        assert_eq!(ledger.ends_at(&head), Ok(()));
        head.line_count = 7;
        assert_eq!(ledger.ends_at(&head), Err(Fault::Head(3)));
        head.next_number = 5;
        assert_eq!(ledger.ends_at(&head), Err(Fault::Missing(4)));
    }

    #[test]
    fn each_change_is_named() {
        let prove = |record: &Record, lines: &[Vec<u8>]| Ledger::default().prove(record, lines);
        let (whole, lines) = (record(1), lines());
        assert_eq!(prove(&record(2), &lines), Err(Fault::Missing(1)));
        assert_eq!(prove(&whole, &lines[..1]), Err(Fault::LineCount { number: 1, recorded: 2, held: 1 }));
        assert_eq!(prove(&whole, &[b"one".to_vec(), b"twO".to_vec()]), Err(Fault::Lines(1)));
        // The same bytes, cut elsewhere.
        assert_eq!(prove(&whole, &[b"onet".to_vec(), b"wo".to_vec()]), Err(Fault::Lines(1)));
        assert_eq!(prove(&Record { body_bytes: 5, ..whole.clone() }, &lines), Err(Fault::Lines(1)));
        assert_eq!(prove(&Record { secret: Some([8; 32]), ..whole.clone() }, &lines), Err(Fault::Lines(1)));
        let elsewhere = DeliveryLeaf { source: "edge", ..whole.leaf.clone() };
        assert_eq!(prove(&Record { leaf: elsewhere, ..whole.clone() }, &lines), Err(Fault::Leaf(1)));
    }

    #[test]
    fn lines_that_were_forgotten_leave_a_place_that_is_still_proven() {
        let forgotten = Record { secret: None, ..record(1) };
        let mut ledger = Ledger::default();
        assert_eq!(ledger.prove(&forgotten, &lines()), Err(Fault::Unprovable(1)));
        assert_eq!(ledger.prove(&forgotten, &[]), Ok(()));
        assert_eq!(ledger.lines(), 2);
    }
}
