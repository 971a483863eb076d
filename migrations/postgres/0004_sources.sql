-- What is known of the sources, of those whose lines they carry, and of when these were not heard. Derived.

create table source (
    name              text collate "C" primary key not null,
    deliveries        bigint not null,
    lines             bigint not null,
    rejects           bigint not null,
    first_received_us bigint not null,
    last_received_us  bigint not null
);

-- `format_fields` are the fields that the lines of `format_hour_us` had, as bits; null for what is no proxy.
create table observer (
    source            text collate "C" not null,
    kind              text collate "C" not null,
    name              text collate "C" not null,
    identity          text collate "C" not null,
    legs              bigint not null,
    first_received_us bigint not null,
    last_received_us  bigint not null,
    format_hour_us    bigint,
    format_fields     bigint,
    primary key (source, kind, name, identity)
);

-- By which sources the proxies of a party report: how many legs of stored calls say so.
create table reporter (
    identity text collate "C" not null,
    source   text collate "C" not null,
    legs     bigint not null,
    primary key (identity, source)
);

-- The minutes of an hour for which lines of an observer came, as bits. An observer is a party, an instance of it or `source:NAME`.
create table pulse (
    observer text collate "C" not null,
    hour_us  bigint not null,
    minutes  bigint not null,
    primary key (observer, hour_us)
);

-- Silences, derived from the pulses, and outages that an operator has declared. `after_us`: last heard; `known_us`: when it was clear.
create table blind_window (
    observer text collate "C" not null,
    reason   text collate "C" not null,
    after_us bigint not null,
    from_us  bigint not null,
    to_us    bigint not null,
    known_us bigint not null,
    primary key (observer, reason, after_us)
);

-- The hours in which somebody reported less than 99 %.
create index coverage_low on coverage (hour_us) where inbound_seen * 100 < inbound_expected * 99
    or (inbound_expected < 1 and outbound_seen * 100 < outbound_expected * 99);

alter table finding add column end_us bigint not null default 0;
alter table finding add column absent_instance text collate "C";
alter table correlator add column heard_us bigint not null default 0;
alter table correlator add column grace_us bigint not null default 120000000;

-- Everything that was derived lacks what these tables hold: it is derived again.
delete from call;
delete from call_key;
delete from finding;
delete from reject;
delete from connection;
delete from coverage;
update correlator set epoch = epoch + 1, position = 0, call_count = 0, finding_count = 0, reject_count = 0;
