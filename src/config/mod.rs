//! Configuration: flags and environment ([`options`]) and the rules file (`rules_file`), checked once at start. After
//! [`Config::check`] nothing can be malformed, and nobody reads the environment again.

mod advice;
mod header_key;
pub mod options;
mod retention;
mod rules_file;
mod schema;

pub use advice::advice;
pub use options::{LogFormat, ServeOptions};
pub use rules_file::{RulesError, load_retention, load_rules, parse_retention, parse_rules};

use crate::correlate::Rules;
use crate::ingest::http::Limits;
use crate::model::RetentionRules;
use crate::store::Location;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Name of the rules file that is read from the data directory when no other is named.
pub const RULES_FILE: &str = "calltrail.toml";

/// Everything that `serve` needs, checked.
#[derive(Debug, Clone)]
pub struct Config {
    pub location: Location,
    /// Holds the lock; with Postgres there is none.
    pub data_dir: Option<PathBuf>,
    pub listen: SocketAddr,
    pub rules: Rules,
    pub retention: RetentionRules,
    pub limits: Limits,
    pub queue_bytes: usize,
    /// See [`ServeOptions`].
    pub key_memory_bytes: usize,
    pub max_connections: usize,
    /// How long a client may take to send the head of a request, and how long a connection may say nothing at all.
    pub head_timeout: Duration,
    /// How long requests in flight may take after a signal to stop.
    pub drain: Duration,
}

/// Why the server does not start: one sentence that says what to write instead.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error(
        "--listen {0:?} is no address and port: write for example 127.0.0.1:7311, [::1]:7311 or 0.0.0.0:7311"
    )]
    Listen(String),
    #[error(
        "--max-decompressed-bytes ({decompressed}) is less than --max-body-bytes ({body}): an uncompressed body must fit \
         into both; raise the first or lower the second"
    )]
    BodyLargerThanDecompressed { body: usize, decompressed: usize },
    #[error(
        "--queue-bytes ({queue}) is less than --max-decompressed-bytes ({decompressed}): the largest upload would never \
         find room; raise the first or lower the second"
    )]
    QueueTooSmall { queue: usize, decompressed: usize },
    #[error(
        "--upload-memory-bytes ({memory}) is less than --max-body-bytes ({body}): the largest upload would never find room; \
         raise the first or lower the second"
    )]
    UploadMemoryTooSmall { memory: usize, body: usize },
    #[error("{0} must be at least 1")]
    Zero(&'static str),
    #[error(transparent)]
    Rules(#[from] RulesError),
}

impl Config {
    pub fn check(options: &ServeOptions, location: Location) -> Result<Config, ConfigError> {
        let listen = options.listen.parse().map_err(|_| ConfigError::Listen(options.listen.clone()))?;
        let data_dir = match &location {
            Location::Directory(directory) => Some(directory.clone()),
            Location::Postgres(_) => None,
        };
        check_sizes(options)?;
        Ok(Config {
            rules: rules(options.rules.as_deref(), data_dir.as_deref())?,
            retention: retention(options.rules.as_deref(), data_dir.as_deref())?,
            location,
            data_dir,
            listen,
            limits: Limits {
                max_body_bytes: options.max_body_bytes,
                max_decompressed_bytes: options.max_decompressed_bytes,
                max_lines: options.max_lines,
                body_timeout: Duration::from_secs(options.body_timeout_seconds),
                uploads_at_once: options.uploads_at_once,
                upload_memory_bytes: options.upload_memory_bytes,
            },
            queue_bytes: options.queue_bytes,
            key_memory_bytes: options.key_memory_bytes,
            max_connections: options.max_connections,
            head_timeout: Duration::from_secs(options.head_timeout_seconds),
            drain: Duration::from_secs(options.drain_seconds),
        })
    }
}

fn check_sizes(options: &ServeOptions) -> Result<(), ConfigError> {
    let counts = [
        ("--max-body-bytes", options.max_body_bytes),
        ("--max-lines", options.max_lines),
        ("--uploads-at-once", options.uploads_at_once),
        ("--max-connections", options.max_connections),
    ];
    if options.head_timeout_seconds == 0 {
        return Err(ConfigError::Zero("--head-timeout-seconds"));
    }
    if let Some((flag, _)) = counts.iter().find(|(_, n)| *n == 0) {
        return Err(ConfigError::Zero(flag));
    }
    let (body, decompressed) = (options.max_body_bytes, options.max_decompressed_bytes);
    if decompressed < body {
        return Err(ConfigError::BodyLargerThanDecompressed { body, decompressed });
    }
    if options.queue_bytes < decompressed {
        return Err(ConfigError::QueueTooSmall { queue: options.queue_bytes, decompressed });
    }
    if options.upload_memory_bytes < body {
        return Err(ConfigError::UploadMemoryTooSmall { memory: options.upload_memory_bytes, body });
    }
    Ok(())
}

/// The rules of the file that is named, else of `calltrail.toml` in the data directory if there is one, else the defaults.
pub fn rules(named: Option<&Path>, data_dir: Option<&Path>) -> Result<Rules, RulesError> {
    if let Some(path) = named {
        return load_rules(path);
    }
    match rules_file(data_dir) {
        Some(path) => load_rules(&path),
        None => Ok(Rules::default()),
    }
}

/// For how long what is kept, by the same file; without one, everything for ever.
pub fn retention(named: Option<&Path>, data_dir: Option<&Path>) -> Result<RetentionRules, RulesError> {
    match named.map(Path::to_owned).or_else(|| rules_file(data_dir)) {
        Some(path) => load_retention(&path),
        None => Ok(RetentionRules::default()),
    }
}

/// The rules file of a data directory, if it has one.
pub fn rules_file(data_dir: Option<&Path>) -> Option<PathBuf> {
    data_dir.map(|d| d.join(RULES_FILE)).filter(|p| p.exists())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: ServeOptions,
    }

    fn check(flags: &[&str]) -> Result<Config, String> {
        let line = Line::try_parse_from([&["x"], flags].concat()).map_err(|e| e.to_string())?;
        let nowhere = Location::Directory("/nowhere-at-all".into());
        Config::check(&line.options, nowhere).map_err(|e| e.to_string())
    }

    #[test]
    fn the_defaults_listen_on_loopback_and_hold_together() {
        let config = check(&[]).unwrap();
        assert!(config.listen.ip().is_loopback());
        assert_eq!(config.listen.port(), 7311);
        assert_eq!(config.limits.max_body_bytes, 64 << 20);
        assert_eq!(config.limits.max_lines, 100_000, "an upload is one transaction of the correlator");
    }

    #[test]
    fn each_mistake_says_what_to_write_instead() {
        for (flags, hint) in [
            (&["--listen", "localhost"][..], "127.0.0.1:7311"),
            (&["--max-body-bytes", "lots"], "64MiB"),
            (&["--max-body-bytes", "0"], "at least 1"),
            (&["--max-decompressed-bytes", "1KiB"], "raise the first"),
            (&["--queue-bytes", "1MiB"], "raise the first"),
            (&["--upload-memory-bytes", "1MiB"], "raise the first"),
            (&["--head-timeout-seconds", "0"], "at least 1"),
            (&["--rules", "/nowhere-at-all/rules.toml"], "/nowhere-at-all/rules.toml"),
        ] {
            let error = check(flags).unwrap_err();
            assert!(error.contains(hint), "{flags:?}: {error}");
        }
    }
}
