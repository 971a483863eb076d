//! How the tables would be spread over the nodes of a Citus cluster: the choice for each table, in one list.
//!
//! It does nothing at run time. A test holds the schema (each unique key contains the column by which a table is spread) and our
//! statements (they join spread tables by that column only, or with tables that are whole on each node) against it, and
//! `docs/scaling.md` shows it. So that the day on which one machine is not enough does not begin with another layout.

/// Where the rows of a table are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// On the node that a hash of this column says.
    By(&'static str),
    /// Whole on each node: it is joined with, and grows with how many there are of something, not with how much they call.
    Everywhere,
    /// On the coordinator alone: it is joined with nothing that is spread.
    Coordinator,
}

/// A table, where its rows are, and why so.
pub type Choice = (&'static str, Spread, &'static str);

pub const DISTRIBUTION: &[Choice] = &[
    ("block", Spread::By("delivery_id"), "the lines of one upload stand together"),
    ("delivery", Spread::Coordinator, "one row per upload; both its id and its number are unique"),
    ("log_head", Spread::Coordinator, "one row: numbers without gaps need one place that gives them"),
    ("call", Spread::By("number"), "every other row that belongs to a call has its number"),
    ("finding", Spread::By("number"), "with its call"),
    ("key_run", Spread::By("id"), "read by id, remembered by each process"),
    ("key_chunk", Spread::By("place"), "read by place"),
    ("reject", Spread::By("delivery"), "written and read by delivery"),
    ("connection", Spread::By("socket"), "written and read by socket"),
    ("statistic", Spread::By("at_us"), "each question sums over many minutes, hours or days"),
    ("bucket", Spread::Everywhere, "one row per 65,536 calls"),
    ("party", Spread::Everywhere, "one row per service and user"),
    ("coverage", Spread::Everywhere, "one row per party and hour"),
    ("pulse", Spread::Everywhere, "one row per observer and hour"),
    ("blind_window", Spread::Everywhere, "one row per silence"),
    ("reporter", Spread::Everywhere, "one row per party and source"),
    ("source", Spread::Everywhere, "one row per source"),
    ("observer", Spread::Coordinator, "one row per observer"),
    ("journal", Spread::Coordinator, "one row per belief that was taken back, in one order"),
    ("journal_head", Spread::Coordinator, "one row"),
    ("correlator", Spread::Coordinator, "one row"),
    ("lease", Spread::Coordinator, "one row"),
    ("dictionary", Spread::Coordinator, "at most 255 rows, remembered by each process"),
    ("token", Spread::Coordinator, "one row per token"),
    ("retention", Spread::Coordinator, "one row per class, rule and day"),
    ("removed", Spread::Coordinator, "one row per class"),
    ("measured", Spread::Coordinator, "one row per table"),
];
