//! Flags and environment variables of `serve`, with their defaults on the field. Typed text only: what belongs together is
//! checked in [`super::Config::check`].

use clap::{Args, ValueEnum};
use std::path::PathBuf;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Clone, Args)]
pub struct ServeOptions {
    /// Address and port to listen on. Any address but loopback needs tokens (`calltrail token create`)
    #[arg(long, value_name = "ADDRESS:PORT", env = "CALLTRAIL_LISTEN", default_value = "127.0.0.1:7311")]
    pub listen: String,
    /// Rules file: header keys, grace, edge-fronted services [default: calltrail.toml in the data directory, if it exists]
    #[arg(long, value_name = "FILE", env = "CALLTRAIL_RULES")]
    pub rules: Option<PathBuf>,
    /// Largest upload as it comes over the wire; larger ones are answered 413
    #[arg(long, value_name = "SIZE", env = "CALLTRAIL_MAX_BODY_BYTES", default_value = "64MiB", value_parser = bytes)]
    pub max_body_bytes: usize,
    /// Largest upload after decompression; decompression stops there with 413
    #[arg(
        long,
        value_name = "SIZE",
        env = "CALLTRAIL_MAX_DECOMPRESSED_BYTES",
        default_value = "512MiB",
        value_parser = bytes
    )]
    pub max_decompressed_bytes: usize,
    /// Most lines in one upload; more are answered 413. An upload is joined in one transaction, for which others wait
    #[arg(long, value_name = "N", env = "CALLTRAIL_MAX_LINES", default_value_t = 100_000)]
    pub max_lines: usize,
    /// How long a sender may take to send one body before 408
    #[arg(long, value_name = "SECONDS", env = "CALLTRAIL_BODY_TIMEOUT_SECONDS", default_value_t = 60)]
    pub body_timeout_seconds: u64,
    /// Bytes of all uploads that are being received, as they come over the wire; who finds no room within a few seconds is told
    /// 503 and to come back
    #[arg(long, value_name = "SIZE", env = "CALLTRAIL_UPLOAD_MEMORY_BYTES", default_value = "512MiB", value_parser = bytes)]
    pub upload_memory_bytes: usize,
    /// How long a client may take to send the head of a request, and how long a connection may say nothing at all
    #[arg(long, value_name = "SECONDS", env = "CALLTRAIL_HEAD_TIMEOUT_SECONDS", default_value_t = 15)]
    pub head_timeout_seconds: u64,
    /// Uploads that are decompressed and decoded at the same time; the others wait a few seconds. Bounds the memory together with
    /// --max-decompressed-bytes
    #[arg(long, value_name = "N", env = "CALLTRAIL_UPLOADS_AT_ONCE", default_value_t = 4)]
    pub uploads_at_once: usize,
    /// Bytes of lines that may wait for the commit; above it senders are told 503 and to come back
    #[arg(long, value_name = "SIZE", env = "CALLTRAIL_QUEUE_BYTES", default_value = "1GiB", value_parser = bytes)]
    pub queue_bytes: usize,
    /// Bytes of the filters by which calls are found under their ids that are held in memory (about 9 per call); of the others pieces are
    /// read when they are asked for. Whoever joins holds up to 16 times as much
    #[arg(long, value_name = "SIZE", env = "CALLTRAIL_KEY_MEMORY_BYTES", default_value = "64MiB", value_parser = bytes)]
    pub key_memory_bytes: usize,
    /// Connections that are open at the same time; the others wait to be accepted
    #[arg(long, value_name = "N", env = "CALLTRAIL_MAX_CONNECTIONS", default_value_t = 1024)]
    pub max_connections: usize,
    /// How long requests in flight may take after SIGTERM
    #[arg(long, value_name = "SECONDS", env = "CALLTRAIL_DRAIN_SECONDS", default_value_t = 30)]
    pub drain_seconds: u64,
    /// Form of our own log
    #[arg(long, value_name = "FORM", env = "CALLTRAIL_LOG_FORMAT", default_value = "text")]
    pub log_format: LogFormat,
    /// What our own log holds: error, warn, info, debug, or target=level pairs
    #[arg(long = "log", value_name = "FILTER", env = "CALLTRAIL_LOG", default_value = "info")]
    pub log_filter: String,
}

/// `64MiB`, `1GiB`, `512KiB`, `64M` (the same as MiB) or a plain number of bytes.
fn bytes(text: &str) -> Result<usize, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => Some(0),
        "k" | "kib" => Some(10),
        "m" | "mib" => Some(20),
        "g" | "gib" => Some(30),
        _ => None,
    };
    let size = number.parse::<usize>().ok().zip(shift).and_then(|(n, s)| n.checked_mul(1 << s));
    size.ok_or_else(|| "write a size as 64MiB, 1GiB or 1048576".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        assert_eq!(bytes("64MiB"), Ok(64 << 20));
        assert_eq!(bytes("1g"), Ok(1 << 30));
        assert_eq!(bytes("12"), Ok(12));
        assert!(bytes("-1").is_err() && bytes("1.5GiB").is_err() && bytes("").is_err());
    }
}
