-- What has been removed, and by which rule: written with each removal, so that nobody takes what is gone for what never was. One row
-- for each class, rule and day of removing; `first_` and `last_delivery` are of evidence.
create table retention (
    class          text collate "C" not null,
    rule           text collate "C" not null,
    day_us         bigint not null,
    first_at_us    bigint not null,
    last_at_us     bigint not null,
    through_us     bigint not null,
    items          bigint not null,
    lines          bigint not null,
    bytes          bigint not null,
    first_delivery bigint,
    last_delivery  bigint,
    primary key (class, rule, day_us)
);

-- How far each class has been removed: everything before `through_us` may be gone; of evidence, the lines of all deliveries up to
-- `through_number`; of calls, those of before `through_us` whose number is below `through_number` have been looked at.
create table removed (
    class          text collate "C" primary key,
    through_us     bigint not null,
    through_number bigint not null
);

-- `removals`: how often calls have been removed. `removed_before_us`: calls that started before may be gone, and what is summed of
-- that time stays as it was. `counted`: up to this delivery sources and observers are counted, although the position stands before it.
alter table correlator add column removals bigint not null default 0;
alter table correlator add column removed_before_us bigint not null default -9000000000000000000;
alter table correlator add column counted bigint not null default 0;

-- The highest number; null where an older calltrail wrote the run.
alter table key_run add column top bigint;

-- Up to when connections and measures of hours of which no call is left have been removed, by table.
create table measured (
    name       text collate "C" primary key,
    through_us bigint not null
);
