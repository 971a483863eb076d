-- What is derived, laid out so that a call costs little to write however many there are: what comes at random is led by a bucket of
-- calls that were written together, texts that come again are numbers, keys stand in sorted runs.

drop table call;
drop table call_key;
drop table finding;

-- `next_call` and `next_run` only ever grow: what was once read under a number is never another thing.
alter table correlator add column next_call integer not null default 1;
alter table correlator add column next_run integer not null default 1;

-- Texts that calls repeat. A principal has a key of its own, so that no service is taken for it. Kept when calls are thrown away.
create table party (
    id   integer primary key,
    key  text not null,
    name text not null
) strict;
create index party_by_key on party (key);
create index party_by_name on party (name);

-- Dictionaries by which calls are compressed. Kept when calls are thrown away.
create table dictionary (
    id    integer primary key,
    bytes blob not null
) strict;

-- A call that changes gets a new number. `bucket` is number >> 16; `packed` is the whole call with its legs, the other columns are what
-- is filtered, ordered and counted by: `effect`, `basis` and the first digit of the status as small numbers.
create table call (
    number       integer primary key,
    bucket       integer not null,
    id           blob    not null,
    start_us     integer not null,
    lasted_us    integer not null,
    caller       integer not null,
    callee       integer not null,
    principal    integer,
    effect       integer,
    basis        integer not null,
    status_class integer not null,
    failed       integer not null,
    duration_us  integer,
    orphan       integer not null,
    packed       blob    not null
) strict;
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
    bucket         integer primary key,
    first_start_us integer not null,
    last_start_us  integer not null
) strict;

-- Under which keys calls are found: runs of (key, call number), sorted, written once and merged into longer ones. `base` is the lowest
-- number; `dead` are numbers of calls that are gone and may stand in older runs; `firsts` holds the first key of each chunk; `filter`
-- says of nearly all keys that are not there that they are not.
create table key_run (
    id     integer primary key,
    pairs  integer not null,
    base   integer not null,
    dead   blob    not null,
    firsts blob    not null,
    filter blob    not null
) strict;
-- `place` is the run's id << 20 and the chunk's place in it.
create table key_chunk (
    place integer primary key,
    bytes blob not null
) strict;

-- Where a finding stands in its call's list is its ordinal; its words are in the packed call.
create table finding (
    number          integer not null,
    ordinal         integer not null,
    call_id         blob    not null,
    kind            integer not null,
    severity        integer not null,
    caller          integer not null,
    callee          integer not null,
    start_us        integer not null,
    hour_us         integer not null,
    end_us          integer not null,
    raised_at_us    integer not null,
    absent_observer text,
    absent_instance text,
    primary key (number, ordinal)
) strict, without rowid;
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
