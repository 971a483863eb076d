//! One thing that two lines say about each other, with its weight in words and the values of both.

use crate::model::identity::words;

/// What the two lines are compared by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Hop,
    Span,
    Connection,
    RequestId,
    Ray,
    Caller,
    Callee,
    Trace,
    Header,
    Request,
    Protocol,
    Status,
    Bytes,
    Time,
    Attempts,
    Order,
}
words!(Kind {
    Hop => "hop", Span => "span", Connection => "connection", RequestId => "request_id", Ray => "ray", Caller => "caller",
    Callee => "callee", Trace => "trace", Header => "header", Request => "request", Protocol => "protocol", Status => "status",
    Bytes => "bytes", Time => "time", Attempts => "attempts", Order => "order",
});

/// How much it says. The first three speak for a pair, the last three against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// A fresh random value that only the two sides know.
    Decisive,
    /// Few others could say the same.
    Strong,
    /// Many others say the same.
    Supporting,
    /// One of the lines does not say it.
    Silent,
    /// They differ, and something else on the lines says why.
    Explained,
    /// They differ.
    Doubtful,
    /// They differ, and no two sides of one call can.
    Excluding,
}
words!(Weight {
    Decisive => "decisive", Strong => "strong", Supporting => "supporting", Silent => "silent", Explained => "explained",
    Doubtful => "doubtful", Excluding => "excluding",
});

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    pub kind: Kind,
    pub weight: Weight,
    /// As the client side's line says it.
    pub client: Option<String>,
    pub server: Option<String>,
    pub sentence: String,
}

impl Evidence {
    pub fn is_for(&self) -> bool {
        self.weight <= Weight::Supporting
    }

    pub fn is_against(&self) -> bool {
        self.weight >= Weight::Explained
    }
}

/// What is known of a server leg's place among the attempts of its call: which of how many.
#[derive(Debug, Clone, Copy)]
pub struct Attempt {
    pub number: usize,
    pub of: usize,
}

impl Attempt {
    pub const ONLY: Attempt = Attempt { number: 1, of: 1 };

    pub fn is_last(self) -> bool {
        self.number == self.of
    }
}
