-- Bearer tokens: only the SHA-256 of the secret is kept. Scopes are separated by spaces.
create table token (
    name          text collate "C" primary key not null,
    sha256        bytea not null unique,
    scopes        text collate "C" not null,
    created_at_us bigint not null
);
