-- Derived: written by the correlator, together with its position or not at all; can be thrown away and derived again.

-- One row: how far the evidence has been derived, under whose epoch, and how much there is.
create table correlator (
    singleton     bigint primary key check (singleton = 1),
    position      bigint not null,
    epoch         bigint not null,
    call_count    bigint not null,
    finding_count bigint not null,
    reject_count  bigint not null
);
insert into correlator values (1, 0, 0, 0, 0, 0);

-- `packed` is the whole call with its legs; the other columns are what is filtered, ordered and counted by. `keys` are the keys under
-- which it stands in call_key, so that they are found again when it is replaced.
create table call (
    id                bytea primary key not null,
    start_us          bigint not null,
    end_us            bigint not null,
    settles_at_us     bigint not null,
    trace_id          bytea,
    caller_key        text collate "C" not null,
    caller_name       text collate "C" not null,
    callee_key        text collate "C" not null,
    callee_name       text collate "C" not null,
    principal_subject text collate "C",
    effect            text collate "C",
    basis             text collate "C" not null,
    status_class      text collate "C" not null,
    failed            bigint not null,
    duration_us       bigint,
    orphan            bigint not null,
    keys              bytea not null,
    packed            bytea not null
);
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
    key     bigint not null,
    call_id bytea not null,
    primary key (key, call_id)
);

-- Where a finding stands in its call's list is its ordinal; its words are in the packed call.
create table finding (
    call_id         bytea not null,
    ordinal         bigint not null,
    kind            text collate "C" not null,
    severity        text collate "C" not null,
    start_us        bigint not null,
    hour_us         bigint not null,
    raised_at_us    bigint not null,
    absent_observer text collate "C",
    primary key (call_id, ordinal)
);
create index finding_by_start on finding (start_us, call_id, ordinal);
create index finding_by_kind on finding (kind, start_us, call_id, ordinal);

create table reject (
    delivery       bigint not null,
    line           bigint not null,
    source         text collate "C" not null,
    received_at_us bigint not null,
    reason         text collate "C" not null,
    detail         text collate "C" not null,
    primary key (delivery, line)
);

-- `socket` is a hash of the two ends. A pair of ends is used again by later connections: each row is one span of use by one proxy (its
-- observer's name, and the identity key of its workload), and the spans of a proxy's socket lie further apart than the gap that parts
-- two connections.
create table connection (
    socket   bytea  not null,
    first_us bigint not null,
    proxy    text collate "C" not null,
    party    text collate "C" not null,
    last_us  bigint not null,
    primary key (socket, first_us, proxy, party)
);

create table coverage (
    identity          text collate "C" not null,
    hour_us           bigint not null,
    inbound_expected  bigint not null,
    inbound_seen      bigint not null,
    outbound_expected bigint not null,
    outbound_seen     bigint not null,
    primary key (identity, hour_us)
);
