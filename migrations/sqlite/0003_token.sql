-- Bearer tokens: only the SHA-256 of the secret is kept. Scopes are separated by spaces.
create table token (
    name          text    primary key not null,
    sha256        blob    not null unique,
    scopes        text    not null,
    created_at_us integer not null
) strict;
