//! The cursor that a page hands out for the next: opaque to the caller, versioned for us.
//!
//! It carries the order and the `as_of` of the first page, so that a walk answers one question from its first page to its last.

use super::error::ApiError;
use crate::model::{Cursor, LegId, Timestamp};
use crate::store::Order;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

const VERSION: u8 = 1;
const LENGTH: usize = 1 + 1 + 8 + 8 + 16;

/// Where the next page starts, and what the walk is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageCursor {
    pub order: Order,
    pub as_of: Timestamp,
    pub at: Cursor,
}

impl PageCursor {
    pub fn encode(&self) -> String {
        let mut bytes = Vec::with_capacity(LENGTH);
        bytes.push(VERSION);
        bytes.push(match self.order {
            Order::NewestFirst => b'n',
            Order::OldestFirst => b'o',
        });
        bytes.extend(self.as_of.micros().to_be_bytes());
        bytes.extend(self.at.start.micros().to_be_bytes());
        bytes.extend(self.at.id.0);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    pub fn decode(text: &str) -> Result<Self, ApiError> {
        Self::read(text).ok_or_else(|| {
            let what = "cursor is not one that this version handed out: take `next` of the page before, unchanged, \
                        or leave it out to start again";
            ApiError::BadParameter(what.to_owned())
        })
    }

    fn read(text: &str) -> Option<Self> {
        let bytes: [u8; LENGTH] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        let number = |at: usize| Some(i64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let order = match (bytes[0], bytes[1]) {
            (VERSION, b'n') => Order::NewestFirst,
            (VERSION, b'o') => Order::OldestFirst,
            _ => return None,
        };
        let id = LegId(bytes[18..].try_into().ok()?);
        let at = Cursor { start: Timestamp(number(10)?), id };
        Some(PageCursor { order, as_of: Timestamp(number(2)?), at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_went_out() {
        let at = Cursor { start: Timestamp(-5), id: LegId([9; 16]) };
        let cursor = PageCursor { order: Order::OldestFirst, as_of: Timestamp(77), at };
        assert_eq!(PageCursor::decode(&cursor.encode()), Ok(cursor));
    }

    #[test]
    fn anything_else_is_refused_with_what_to_do() {
        for bad in ["", "x", "AAAA", &URL_SAFE_NO_PAD.encode([2; LENGTH])] {
            let error = PageCursor::decode(bad).unwrap_err().to_string();
            assert!(error.contains("take `next`"), "{bad}: {error}");
        }
    }
}
