//! Progress bars, on the terminal only, and counts in words.

use super::phrase::count;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;

fn bar(length: Option<u64>, template: &str) -> ProgressBar {
    let bar = match length {
        Some(length) => ProgressBar::new(length),
        None => ProgressBar::no_length(),
    };
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

/// Over the bytes of files; the message says lines and lines per second. Without a length for a stream.
pub fn bytes(total_bytes: Option<u64>) -> ProgressBar {
    match total_bytes {
        Some(total) => bar(Some(total), "{wide_bar} {percent}%  {msg}  {eta} left"),
        None => bar(None, "{spinner} {bytes}  {msg}  {elapsed}"),
    }
}

/// Over deliveries.
pub fn deliveries(what: &'static str, total: u64) -> ProgressBar {
    let bar = bar(Some(total), "{msg} {wide_bar} {pos}/{len} deliveries  {eta} left");
    bar.set_message(what);
    bar
}

pub fn calls(number: u64) -> String {
    count(number, "call", "calls")
}

pub fn lines(number: u64) -> String {
    count(number, "line", "lines")
}

pub fn rate(lines: u64, elapsed: std::time::Duration) -> String {
    let per_second = lines as f64 / elapsed.as_secs_f64().max(0.001);
    format!("{}/s", count(per_second.round() as u64, "line", "lines"))
}
