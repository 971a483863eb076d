-- Derived: written by the correlator, together with its position or not at all; can be thrown away and derived again.

-- One row: how far the evidence has been derived, under whose epoch, and how much there is.
create table correlator (
    singleton     integer primary key check (singleton = 1),
    position      integer not null,
    epoch         integer not null,
    call_count    integer not null,
    finding_count integer not null,
    reject_count  integer not null
) strict;
insert into correlator values (1, 0, 0, 0, 0, 0);

-- `packed` is the whole call with its legs; the other columns are what is filtered, ordered and counted by. `keys` are the keys under
-- which it stands in call_key, so that they are found again when it is replaced.
create table call (
    id                blob    primary key not null,
    start_us          integer not null,
    end_us            integer not null,
    settles_at_us     integer not null,
    trace_id          blob,
    caller_key        text    not null,
    caller_name       text    not null,
    callee_key        text    not null,
    callee_name       text    not null,
    principal_subject text,
    effect            text,
    basis             text    not null,
    status_class      text    not null,
    failed            integer not null,
    duration_us       integer,
    orphan            integer not null,
    keys              blob    not null,
    packed            blob    not null
) strict;
create index call_by_start on call (start_us, id);
create index call_by_callee_name on call (callee_name, start_us, id);
-- With the end, so that what was served at a time is found without looking at each call before it.
create index call_by_callee_key on call (callee_key, start_us, id, end_us);
create index call_by_caller_name on call (caller_name, start_us, id);
create index call_by_caller_key on call (caller_key, start_us, id);
create index call_by_principal on call (principal_subject, start_us, id) where principal_subject is not null;
create index call_by_trace on call (trace_id, start_us, id) where trace_id is not null;
create index call_orphan on call (caller_key, start_us, id) where orphan = 1;

create table call_key (
    key     integer not null,
    call_id blob    not null,
    primary key (key, call_id)
) strict, without rowid;

-- Where a finding stands in its call's list is its ordinal; its words are in the packed call.
create table finding (
    call_id         blob    not null,
    ordinal         integer not null,
    kind            text    not null,
    severity        text    not null,
    start_us        integer not null,
    hour_us         integer not null,
    raised_at_us    integer not null,
    absent_observer text,
    primary key (call_id, ordinal)
) strict, without rowid;
create index finding_by_start on finding (start_us, call_id, ordinal);
create index finding_by_kind on finding (kind, start_us, call_id, ordinal);

create table reject (
    delivery       integer not null,
    line           integer not null,
    source         text    not null,
    received_at_us integer not null,
    reason         text    not null,
    detail         text    not null,
    primary key (delivery, line)
) strict, without rowid;

-- `socket` is a hash of the two ends. A pair of ends is used again by later connections: each row is one span of use by one proxy (its
-- observer's name, and the identity key of its workload), and the spans of a proxy's socket lie further apart than the gap that parts
-- two connections.
create table connection (
    socket   blob    not null,
    first_us integer not null,
    proxy    text    not null,
    party    text    not null,
    last_us  integer not null,
    primary key (socket, first_us, proxy, party)
) strict, without rowid;

create table coverage (
    identity          text    not null,
    hour_us           integer not null,
    inbound_expected  integer not null,
    inbound_seen      integer not null,
    outbound_expected integer not null,
    outbound_seen     integer not null,
    primary key (identity, hour_us)
) strict, without rowid;
