-- What had been believed of calls and is no longer. Written once, with the change that takes it back; it is no derived data and
-- stays when these are thrown away.
create table journal (
    number   integer primary key autoincrement,
    call_id  blob    not null,
    now_id   blob    not null,
    at_us    integer not null,
    delivery integer not null,
    what     text    not null,
    finding  text,
    before   text,
    after    text,
    since_us integer
) strict;
create index journal_by_call on journal (call_id, number);

-- One row: the last delivery at which everything that was committed had been derived. What was derived on the way there was told
-- to nobody as complete.
create table journal_head (
    singleton integer primary key check (singleton = 1),
    believed  integer not null
) strict;
insert into journal_head select 1, position from correlator;
