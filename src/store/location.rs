//! Where the data lives, spelled so that it can be logged.

use super::open::DATABASE_FILE;
use std::fmt;
use std::path::{Path, PathBuf};

/// Where the data lives. Debug and Display never print a password.
#[derive(Clone, PartialEq, Eq)]
pub enum Location {
    /// A directory of ours; the database is `calltrail.db` in it.
    Directory(PathBuf),
    /// `postgres://...`.
    Postgres(String),
}

impl Location {
    /// The directory whose database this file is; none for a file of another name.
    pub fn of_database_file(file: &Path) -> Option<Location> {
        let directory =
            file.parent().filter(|_| file.file_name().is_some_and(|name| name == DATABASE_FILE))?;
        let here = directory.as_os_str().is_empty();
        Some(Location::Directory(if here { PathBuf::from(".") } else { directory.to_owned() }))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Directory(path) => write!(f, "{}", path.display()),
            Location::Postgres(url) => f.write_str(&redacted(url)),
        }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The url without what may be a secret: the password before the host, and every parameter after the `?`.
fn redacted(url: &str) -> String {
    let (address, parameters) = match url.split_once('?') {
        Some((address, _)) => (address, "?[redacted]"),
        None => (url, ""),
    };
    let Some((scheme, rest)) = address.split_once("://") else { return "[redacted]".to_owned() };
    match rest.rsplit_once('@') {
        Some((user_info, host)) => {
            let user = user_info.split(':').next().unwrap_or("");
            let password = if user_info.contains(':') { ":[redacted]" } else { "" };
            format!("{scheme}://{user}{password}@{host}{parameters}")
        }
        None => format!("{scheme}://{rest}{parameters}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_printed() {
        for url in [
            "postgres://trail:hunter2@db:5432/calltrail",
            "postgres://trail:p@hunter2@db/calltrail",
            "postgres://db/calltrail?user=trail&password=hunter2",
            "trail:hunter2@db",
        ] {
            let location = Location::Postgres(url.to_owned());
            assert!(!format!("{location:?} {location}").contains("hunter2"), "{location}");
        }
    }

    #[test]
    fn what_is_no_secret_is_printed() {
        let location = Location::Postgres("postgres://trail:x@db:5432/calltrail".to_owned());
        assert_eq!(location.to_string(), "postgres://trail:[redacted]@db:5432/calltrail");
        assert_eq!(Location::Directory("data".into()).to_string(), "data");
    }
}
