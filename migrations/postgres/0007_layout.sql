-- What is derived, laid out so that a call costs little to write however many there are: what comes at random is led by a bucket of
-- calls that were written together, texts that come again are numbers, keys stand in sorted runs.

drop table call;
drop table call_key;
drop table finding;

-- `next_call` and `next_run` only ever grow: what was once read under a number is never another thing.
alter table correlator add column next_call bigint not null default 1;
alter table correlator add column next_run bigint not null default 1;

-- Texts that calls repeat. A principal has a key of its own, so that no service is taken for it. Kept when calls are thrown away.
create table party (
    id   bigint primary key,
    key  text collate "C" not null,
    name text collate "C" not null
);
create index party_by_key on party (key);
create index party_by_name on party (name);

-- Dictionaries by which calls are compressed. Kept when calls are thrown away.
create table dictionary (
    id    bigint primary key,
    bytes bytea not null
);

-- A call that changes gets a new number. `bucket` is number >> 16; `packed` is the whole call with its legs, the other columns are what
-- is filtered, ordered and counted by: `effect`, `basis` and the first digit of the status as small numbers.
create table call (
    number       bigint primary key,
    bucket       bigint not null,
    id           bytea    not null,
    start_us     bigint not null,
    lasted_us    bigint not null,
    caller       bigint not null,
    callee       bigint not null,
    principal    bigint,
    effect       bigint,
    basis        bigint not null,
    status_class bigint not null,
    failed       bigint not null,
    duration_us  bigint,
    orphan       bigint not null,
    packed       bytea    not null
);
create index call_by_start on call (start_us);
-- Callees are few and their newest calls are hot. With how long it lasted, so that what was served at a time is found without
-- looking at each call before it.
create index call_by_callee on call (callee, status_class, start_us, lasted_us);
-- Callers and principals may be as many as there are users.
create index call_by_caller on call (bucket, caller, callee, start_us);
create index call_by_principal on call (bucket, principal, callee, start_us) where principal is not null;
create index call_denied on call (start_us) where effect = 1;
create index call_inferred on call (start_us) where basis = 2;
create index call_orphan on call (caller, start_us) where orphan = 1;

-- Between which starts the calls of a bucket lie, so that a question need not look into each.
create table bucket (
    bucket         bigint primary key,
    first_start_us bigint not null,
    last_start_us  bigint not null
);

-- Under which keys calls are found: runs of (key, call number), sorted, written once and merged into longer ones. `base` is the lowest
-- number; `dead` are numbers of calls that are gone and may stand in older runs; `firsts` holds the first key of each chunk; `filter`
-- says of nearly all keys that are not there that they are not.
create table key_run (
    id     bigint primary key,
    pairs  bigint not null,
    base   bigint not null,
    dead   bytea    not null,
    firsts bytea    not null,
    filter bytea    not null
);
-- `place` is the run's id << 20 and the chunk's place in it.
create table key_chunk (
    place bigint primary key,
    bytes bytea not null
);

-- Where a finding stands in its call's list is its ordinal; its words are in the packed call.
create table finding (
    number          bigint not null,
    ordinal         bigint not null,
    call_id         bytea    not null,
    kind            bigint not null,
    severity        bigint not null,
    caller          bigint not null,
    callee          bigint not null,
    start_us        bigint not null,
    hour_us         bigint not null,
    end_us          bigint not null,
    raised_at_us    bigint not null,
    absent_observer text collate "C",
    absent_instance text collate "C",
    primary key (number, ordinal)
);
create index finding_by_start on finding (start_us, call_id, ordinal);
create index finding_by_kind on finding (kind, start_us, call_id, ordinal);
create index finding_by_callee on finding (callee, kind, start_us, call_id, ordinal);

-- Everything is derived again.
delete from reject;
delete from connection;
delete from coverage;
delete from source;
delete from observer;
delete from reporter;
delete from pulse;
delete from blind_window where reason = 'silent';
update correlator set epoch = epoch + 1, position = 0, call_count = 0, finding_count = 0, reject_count = 0, heard_us = 0;
