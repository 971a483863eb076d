-- Evidence: written by commit, never changed. Times are microseconds since 1970 in UTC.

-- One row: the next gap-free number and the frontier of the Merkle tree (the roots of its full subtrees, largest first).
create table log_head (
    singleton   bigint primary key check (singleton = 1),
    next_number bigint not null,
    line_count  bigint not null,
    tree_size   bigint not null,
    frontier    bytea  not null
);
insert into log_head values (1, 1, 0, 0, ''::bytea);

create table delivery (
    number         bigint primary key,
    id             bytea  not null unique,
    source         text   collate "C" not null,
    proxy          text   collate "C",
    received_at_us bigint not null,
    line_count     bigint not null,
    body_bytes     bigint not null,
    line_root      bytea  not null,
    leaf_hash      bytea  not null,
    -- Erased together with the lines when they must be forgotten: the place in the tree stays provable.
    secret         bytea
);

-- Raw lines, compressed, about 1 MiB each before compression. Keyed by the delivery's id and not by its number, so that they
-- can be written before the number is taken.
create table block (
    delivery_id bytea  not null,
    part        bigint not null,
    first_line  bigint not null,
    line_count  bigint not null,
    packed      bytea  not null,
    primary key (delivery_id, part)
);
-- The bytes are compressed already.
alter table block alter column packed set storage external;
