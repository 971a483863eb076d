-- What has been removed, and by which rule: written with each removal, so that nobody takes what is gone for what never was. One row
-- for each class, rule and day of removing; `first_` and `last_delivery` are of evidence.
create table retention (
    class          text    not null,
    rule           text    not null,
    day_us         integer not null,
    first_at_us    integer not null,
    last_at_us     integer not null,
    through_us     integer not null,
    items          integer not null,
    lines          integer not null,
    bytes          integer not null,
    first_delivery integer,
    last_delivery  integer,
    primary key (class, rule, day_us)
) strict, without rowid;

-- How far each class has been removed: everything before `through_us` may be gone; of evidence, the lines of all deliveries up to
-- `through_number`; of calls, those of before `through_us` whose number is below `through_number` have been looked at.
create table removed (
    class          text    primary key not null,
    through_us     integer not null,
    through_number integer not null
) strict, without rowid;

-- `removals`: how often calls have been removed. `removed_before_us`: calls that started before may be gone, and what is summed of
-- that time stays as it was. `counted`: up to this delivery sources and observers are counted, although the position stands before it.
alter table correlator add column removals integer not null default 0;
alter table correlator add column removed_before_us integer not null default -9000000000000000000;
alter table correlator add column counted integer not null default 0;

-- The highest number; null where an older calltrail wrote the run.
alter table key_run add column top integer;

-- Up to when connections and measures of hours of which no call is left have been removed, by table.
create table measured (
    name       text    primary key not null,
    through_us integer not null
) strict, without rowid;
