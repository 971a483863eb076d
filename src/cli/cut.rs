//! Cuts what is read into bodies at fixed places, so that importing a file again gives the same deliveries again.
//!
//! That makes an import idempotent and resumable with no file that says how far it got: what was committed is answered as a
//! duplicate, and the rest is new. A body never spans two files, and holds exactly the bytes that an upload of it would.

use std::io::{BufRead, Read};

/// Small enough for one transaction and for a server's limit on a body, large enough that neither is felt.
pub const MAX_LINES: usize = 5_000;
pub const MAX_BYTES: usize = 4 * 1024 * 1024;
/// A JSON array, or objects printed over many lines, cannot be cut by line and must fit into memory.
const MAX_DOCUMENT_BYTES: u64 = 256 * 1024 * 1024;

/// Yields bodies of whole lines; one is full when it holds `max_lines` lines or `max_bytes` bytes.
pub struct Cutter<R> {
    reader: R,
    max_lines: usize,
    max_bytes: usize,
    started: bool,
    /// What went wrong after bytes had been read: they are handed out first.
    failure: Option<std::io::Error>,
    done: bool,
}

impl<R: BufRead> Cutter<R> {
    pub fn new(reader: R) -> Self {
        Cutter {
            reader,
            max_lines: MAX_LINES,
            max_bytes: MAX_BYTES,
            started: false,
            failure: None,
            done: false,
        }
    }

    /// Appends the next line; whatever stands before the place where a file breaks is evidence all the same.
    fn line(&mut self, body: &mut Vec<u8>) {
        match self.reader.read_until(b'\n', body) {
            Ok(0) => self.done = true,
            Ok(_) => {}
            Err(error) => self.failure = Some(error),
        }
    }

    fn document(&mut self, body: &mut Vec<u8>) {
        self.done = true;
        match (&mut self.reader).take(MAX_DOCUMENT_BYTES).read_to_end(body) {
            Err(error) => self.failure = Some(error),
            Ok(read) if read as u64 == MAX_DOCUMENT_BYTES => {
                body.clear();
                let limit = MAX_DOCUMENT_BYTES >> 20;
                self.failure = Some(std::io::Error::other(format!(
                    "a JSON document of more than {limit} MiB: write one JSON object per line, as `jq -c .[]` does"
                )));
            }
            Ok(_) => {}
        }
    }
}

/// The first line opens a value that it does not close: the file is one document, not a line per record.
fn opens_a_document(first_line: &[u8]) -> bool {
    let text = first_line.trim_ascii();
    let opens = matches!(text.first(), Some(b'[' | b'{'));
    opens && serde_json::from_slice::<serde::de::IgnoredAny>(text).is_err_and(|e| e.is_eof())
}

impl<R: BufRead> Iterator for Cutter<R> {
    type Item = std::io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        let (mut body, mut lines) = (Vec::new(), 0);
        while !self.done && self.failure.is_none() && lines < self.max_lines && body.len() < self.max_bytes {
            self.line(&mut body);
            lines += 1;
            if !self.started && !body.trim_ascii().is_empty() {
                self.started = true;
                if opens_a_document(&body) {
                    self.document(&mut body);
                }
            }
        }
        if !body.is_empty() {
            return Some(Ok(body));
        }
        self.done = true;
        self.failure.take().map(Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    fn cut(text: &str, max_lines: usize, max_bytes: usize) -> Vec<String> {
        let cutter = Cutter { max_lines, max_bytes, ..Cutter::new(text.as_bytes()) };
        cutter.map(|body| String::from_utf8(body.unwrap()).unwrap()).collect()
    }

    #[test]
    fn a_body_ends_at_the_bound_that_is_reached_first() {
        assert_eq!(cut("a\nb\nc\n", 2, 100), ["a\nb\n", "c\n"]);
        assert_eq!(cut("aaaa\nb\nc", 9, 5), ["aaaa\n", "b\nc"]);
        assert!(cut("", 2, 100).is_empty());
    }

    #[test]
    fn a_file_that_has_grown_keeps_the_bodies_that_were_full() {
        assert_eq!(cut("a\nb\nc\n", 2, 100)[0], cut("a\nb\nc\nd\ne\n", 2, 100)[0]);
    }

    #[test]
    fn a_document_over_many_lines_is_one_body() {
        for document in ["[\n{},\n{}\n]\n", "\n{\n \"a\": 1\n}\n{\n}\n"] {
            assert_eq!(cut(document, 1, 100).concat(), document);
            assert_eq!(cut(document, 1, 100).iter().filter(|b| !b.trim().is_empty()).count(), 1);
        }
        assert_eq!(cut("{\"a\":1}\n{\"a\":2}\n", 1, 100).len(), 2);
        assert_eq!(cut("{not json\n{\"a\":2}\n", 1, 100).len(), 2);
    }

    #[test]
    fn what_stands_before_the_place_where_a_file_breaks_is_handed_out_before_the_error() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
                Err(std::io::Error::other("corrupt gzip stream"))
            }
        }
        let mut cutter = Cutter::new(BufReader::new((&b"whole\nhal"[..]).chain(Broken)));
        assert_eq!(cutter.next().unwrap().unwrap(), b"whole\nhal");
        assert!(cutter.next().unwrap().unwrap_err().to_string().contains("corrupt"));
        assert!(cutter.next().is_none());
    }
}
