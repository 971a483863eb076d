-- Filters of long runs in pieces, so that of one that is not held in memory only the piece of a key is read: `place` is the run's id << 20
-- and the piece's place in it.
create table key_filter (
    place integer primary key,
    bytes blob not null
) strict;

-- `blocks`: of the filter that stands in pieces; 0 where it stands in the row. Between which times the run's calls began and ended; null
-- where an older calltrail wrote it.
alter table key_run add column blocks integer not null default 0;
alter table key_run add column first_us integer;
alter table key_run add column last_us integer;
