-- A data directory has one process at a time, by the lock of a file: nothing is leased here, and the term stays 0.
alter table correlator add column term integer not null default 0;
