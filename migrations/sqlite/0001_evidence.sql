-- Evidence: written by commit, never changed. Times are microseconds since 1970 in UTC.

-- One row: the next gap-free number and the frontier of the Merkle tree (the roots of its full subtrees, largest first).
create table log_head (
    singleton   integer primary key check (singleton = 1),
    next_number integer not null,
    line_count  integer not null,
    tree_size   integer not null,
    frontier    blob    not null
) strict;
insert into log_head values (1, 1, 0, 0, x'');

create table delivery (
    number         integer primary key,
    id             blob    not null unique,
    source         text    not null,
    proxy          text,
    received_at_us integer not null,
    line_count     integer not null,
    body_bytes     integer not null,
    line_root      blob    not null,
    leaf_hash      blob    not null,
    -- Erased together with the lines when they must be forgotten: the place in the tree stays provable.
    secret         blob
) strict;

-- Raw lines, compressed, about 1 MiB each before compression. Keyed by the delivery's id and not by its number, so that they
-- can be written before the number is taken.
create table block (
    delivery_id blob    not null,
    part        integer not null,
    first_line  integer not null,
    line_count  integer not null,
    packed      blob    not null,
    primary key (delivery_id, part)
) strict;
