//! All tables in one list: where their rows come from, and how they would be spread over the nodes of a Citus cluster.
//!
//! By where rows come from they are thrown away, or carried to another database. How they would be spread does nothing at run
//! time. A test holds the schema (each unique key contains the column by which a table is spread) and our
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

/// Where the rows of a table come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// From the lines: thrown away when these are derived again, and carried where that cannot be.
    Derived,
    /// Written on the way and kept when what is derived is thrown away; carried with it.
    Carried,
    /// Evidence, and what belongs to this database alone.
    Own,
}

/// A table, where its rows are, where they come from, and why they are there.
pub type Choice = (&'static str, Spread, Origin, &'static str);

pub const DISTRIBUTION: &[Choice] = &[
    ("block", Spread::By("delivery_id"), Origin::Own, "the lines of one upload stand together"),
    (
        "delivery",
        Spread::Coordinator,
        Origin::Own,
        "one row per upload; both its id and its number are unique",
    ),
    (
        "log_head",
        Spread::Coordinator,
        Origin::Own,
        "one row: numbers without gaps need one place that gives them",
    ),
    ("call", Spread::By("number"), Origin::Derived, "every other row that belongs to a call has its number"),
    ("finding", Spread::By("number"), Origin::Derived, "with its call"),
    ("key_run", Spread::By("id"), Origin::Derived, "read by id, remembered by each process"),
    ("key_chunk", Spread::By("place"), Origin::Derived, "read by place"),
    ("key_filter", Spread::By("place"), Origin::Derived, "read by place"),
    ("reject", Spread::By("delivery"), Origin::Derived, "written and read by delivery"),
    ("connection", Spread::By("socket"), Origin::Derived, "written and read by socket"),
    (
        "statistic",
        Spread::By("at_us"),
        Origin::Derived,
        "each question sums over many minutes, hours or days",
    ),
    ("bucket", Spread::Everywhere, Origin::Derived, "one row per 65,536 calls"),
    ("party", Spread::Everywhere, Origin::Carried, "one row per service and user"),
    ("coverage", Spread::Everywhere, Origin::Derived, "one row per party and hour"),
    ("pulse", Spread::Everywhere, Origin::Derived, "one row per observer and hour"),
    ("blind_window", Spread::Everywhere, Origin::Derived, "one row per silence"),
    ("reporter", Spread::Everywhere, Origin::Derived, "one row per party and source"),
    ("source", Spread::Everywhere, Origin::Derived, "one row per source"),
    ("observer", Spread::Coordinator, Origin::Derived, "one row per observer"),
    ("journal", Spread::Coordinator, Origin::Own, "one row per belief that was taken back, in one order"),
    ("journal_head", Spread::Coordinator, Origin::Own, "one row"),
    ("correlator", Spread::Coordinator, Origin::Own, "one row"),
    ("lease", Spread::Coordinator, Origin::Own, "one row"),
    ("dictionary", Spread::Coordinator, Origin::Carried, "at most 255 rows, remembered by each process"),
    ("token", Spread::Coordinator, Origin::Own, "one row per token"),
    ("retention", Spread::Coordinator, Origin::Carried, "one row per class, rule and day"),
    ("removed", Spread::Coordinator, Origin::Carried, "one row per class"),
    ("measured", Spread::Coordinator, Origin::Carried, "one row per table"),
];

/// Tables whose rows come from there.
pub(super) fn tables_of(origin: Origin) -> impl Iterator<Item = &'static str> {
    DISTRIBUTION.iter().filter(move |(_, _, of, _)| *of == origin).map(|(table, ..)| *table)
}
