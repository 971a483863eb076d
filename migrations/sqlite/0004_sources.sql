-- What is known of the sources, of those whose lines they carry, and of when these were not heard. Derived.

create table source (
    name              text    primary key not null,
    deliveries        integer not null,
    lines             integer not null,
    rejects           integer not null,
    first_received_us integer not null,
    last_received_us  integer not null
) strict, without rowid;

-- `format_fields` are the fields that the lines of `format_hour_us` had, as bits; null for what is no proxy.
create table observer (
    source            text    not null,
    kind              text    not null,
    name              text    not null,
    identity          text    not null,
    legs              integer not null,
    first_received_us integer not null,
    last_received_us  integer not null,
    format_hour_us    integer,
    format_fields     integer,
    primary key (source, kind, name, identity)
) strict, without rowid;

-- By which sources the proxies of a party report: how many legs of stored calls say so.
create table reporter (
    identity text    not null,
    source   text    not null,
    legs     integer not null,
    primary key (identity, source)
) strict, without rowid;

-- The minutes of an hour for which lines of an observer came, as bits. An observer is a party, an instance of it or `source:NAME`.
create table pulse (
    observer text    not null,
    hour_us  integer not null,
    minutes  integer not null,
    primary key (observer, hour_us)
) strict, without rowid;

-- Silences, derived from the pulses, and outages that an operator has declared. `after_us`: last heard; `known_us`: when it was clear.
create table blind_window (
    observer text    not null,
    reason   text    not null,
    after_us integer not null,
    from_us  integer not null,
    to_us    integer not null,
    known_us integer not null,
    primary key (observer, reason, after_us)
) strict, without rowid;

-- The hours in which somebody reported less than 99 %.
create index coverage_low on coverage (hour_us) where inbound_seen * 100 < inbound_expected * 99
    or (inbound_expected < 1 and outbound_seen * 100 < outbound_expected * 99);

alter table finding add column end_us integer not null default 0;
alter table finding add column absent_instance text;
alter table correlator add column heard_us integer not null default 0;
alter table correlator add column grace_us integer not null default 120000000;

-- Everything that was derived lacks what these tables hold: it is derived again.
delete from call;
delete from call_key;
delete from finding;
delete from reject;
delete from connection;
delete from coverage;
update correlator set epoch = epoch + 1, position = 0, call_count = 0, finding_count = 0, reject_count = 0;
