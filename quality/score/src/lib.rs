//! Holds calls that somebody joined against the calls that truly were. Knows nothing of how they were joined: it reads an export.
