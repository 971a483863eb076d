-- Who derives does so for a time, by this server's clock, unless it is renewed. Each time that somebody new takes it is a term.
create table lease (
    singleton bigint primary key check (singleton = 1),
    term      bigint      not null,
    until     timestamptz not null
);
insert into lease values (1, 0, '-infinity');

-- The last term in which anything was written: an earlier one writes nothing any more.
alter table correlator add column term bigint not null default 0;
