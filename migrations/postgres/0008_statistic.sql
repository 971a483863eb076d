-- Sums over the calls of a minute, an hour or a day that have the same caller, callee, effect and status class. `level` is 1, 2, 3 for
-- minute, hour, day; 4 to 6 for the same over all callers and callees (which then are 0), 7 to 9 over all callers, 10 to 12 over all
-- callees. `effect` is 0 none, 1 allow, 2 deny; `status_class` the
-- first digit of the status or 0. `durations` is a histogram as text: two such texts, one after the other, are that of both.
create table statistic (
    level               bigint not null,
    at_us               bigint not null,
    caller              bigint not null,
    callee              bigint not null,
    effect              bigint not null,
    status_class        bigint not null,
    calls               bigint not null,
    failed              bigint not null,
    request_body_bytes  bigint not null,
    response_body_bytes bigint not null,
    duration_sum_us     bigint not null,
    durations           text collate "C" not null,
    primary key (level, at_us, caller, callee, effect, status_class)
);

-- Everything is derived again, so that the calls that are there are counted.
delete from call;
delete from bucket;
delete from key_run;
delete from key_chunk;
delete from finding;
delete from reject;
delete from connection;
delete from coverage;
delete from source;
delete from observer;
delete from reporter;
delete from pulse;
delete from blind_window where reason = 'silent';
update correlator set epoch = epoch + 1, position = 0, call_count = 0, finding_count = 0, reject_count = 0, heard_us = 0;
