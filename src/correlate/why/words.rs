//! How numbers and names stand in a sentence of an explanation.

use crate::model::{Identity, Leg, SocketPair};

/// `812 us`, `12.3 ms`, `1.24 s`, `12.5 min`, `26.0 h`.
pub fn span(us: i64) -> String {
    match us {
        ..1_000 => format!("{us} us"),
        1_000..1_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        1_000_000..120_000_000 => format!("{:.2} s", us as f64 / 1e6),
        120_000_000..7_200_000_000 => format!("{:.1} min", us as f64 / 6e7),
        _ => format!("{:.1} h", us as f64 / 3.6e9),
    }
}

pub fn connection(socket: &SocketPair) -> String {
    format!("{} → {}", socket.client, socket.server)
}

/// What identifies a party to whoever compares two of them.
pub fn party(identity: &Identity) -> String {
    identity.spiffe_id.as_ref().map_or_else(|| identity.name.clone(), |id| id.as_str().to_owned())
}

/// `GET /orders/1`, or the protocol where there is no method.
pub fn request(leg: &Leg) -> String {
    match (&leg.method, &leg.path) {
        (Some(method), Some(path)) => format!("{method} {path}"),
        (Some(text), None) | (None, Some(text)) => text.clone(),
        (None, None) => leg.protocol.to_string(),
    }
}

/// `first`, `second`, then `5th`.
pub fn ordinal(n: usize) -> String {
    match n {
        1 => "first".to_owned(),
        2 => "second".to_owned(),
        3 => "third".to_owned(),
        4 => "fourth".to_owned(),
        n => {
            let end = match (n % 10, n % 100) {
                (1, r) if r != 11 => "st",
                (2, r) if r != 12 => "nd",
                (3, r) if r != 13 => "rd",
                _ => "th",
            };
            format!("{n}{end}")
        }
    }
}

/// `1 line`, `3 lines`.
pub fn count(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// `a, b and c`.
pub fn listed(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
