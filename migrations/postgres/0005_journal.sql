-- What had been believed of calls and is no longer. Written once, with the change that takes it back; it is no derived data and
-- stays when these are thrown away.
create table journal (
    number   bigint generated always as identity primary key,
    call_id  bytea  not null,
    now_id   bytea  not null,
    at_us    bigint not null,
    delivery bigint not null,
    what     text collate "C" not null,
    finding  text collate "C",
    before   text collate "C",
    after    text collate "C",
    since_us bigint
);
create index journal_by_call on journal (call_id, number);

-- One row: the last delivery at which everything that was committed had been derived. What was derived on the way there was told
-- to nobody as complete.
create table journal_head (
    singleton bigint primary key check (singleton = 1),
    believed  bigint not null
);
insert into journal_head select 1, position from correlator;
