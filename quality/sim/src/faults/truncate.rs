//! Logpush's limit on a Worker's event: names of exceptions, their messages and the log share 16,384 characters, counted in that order.
//!
//! The text that passes the limit is cut and marked, and everything after it is left out.
//! <https://developers.cloudflare.com/workers/observability/logs/logpush/#limits>

use crate::lines::{MESSAGES_TRUNCATED, WireEvent};

const EXCEPTIONS_TRUNCATED: &str = "<<<Logpush: exception messages truncated>>>";

/// Whether anything was cut.
pub fn truncate(event: &mut WireEvent<'_>, limit_chars: usize) -> bool {
    let names: usize = event.exceptions.iter().map(|e| e.name.chars().count()).sum();
    let mut left = limit_chars.saturating_sub(names);
    for at in 0..event.exceptions.len() {
        if !take(&mut event.exceptions[at].message, EXCEPTIONS_TRUNCATED, &mut left) {
            event.exceptions.truncate(at + 1);
            event.logs.truncate(1);
            event.logs.iter_mut().for_each(|entry| entry.message = vec![MESSAGES_TRUNCATED.to_owned()]);
            return true;
        }
    }
    for at in 0..event.logs.len() {
        let arguments = &mut event.logs[at].message;
        if let Some(cut) = arguments.iter_mut().position(|text| !take(text, MESSAGES_TRUNCATED, &mut left)) {
            arguments.truncate(cut + 1);
            event.logs.truncate(at + 1);
            return true;
        }
    }
    false
}

/// Takes the text's length from what is left; `false` where it does not fit whole: then it is cut and marked.
fn take(text: &mut String, mark: &str, left: &mut usize) -> bool {
    if let Some((end, _)) = text.char_indices().nth(*left) {
        text.truncate(end);
        text.push_str(mark);
        *left = 0;
        return false;
    }
    *left -= text.chars().count();
    true
}

/// Spans of the records that can still be read.
pub fn records_left<'a>(event: &'a WireEvent<'_>) -> impl Iterator<Item = &'a str> {
    let whole = |text: &String| !text.ends_with(MESSAGES_TRUNCATED);
    event
        .logs
        .iter()
        .filter(move |entry| entry.message.iter().all(whole))
        .filter_map(|entry| entry.record.as_deref())
}
