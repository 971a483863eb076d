//! A body to lines: newline-delimited JSON, a JSON array of objects, or a single object, also printed over many lines.
//!
//! The bytes of each element are kept exactly, since they are the evidence. It never refuses: what is broken becomes a line of
//! its own, which the decoder rejects with a reason, and its neighbours are kept.

use serde::de::IgnoredAny;
use std::ops::Range;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
/// Cloudflare's is 19 bytes; a longer body is not worth a second parse.
const VALIDATION_UPLOAD_MAX_BYTES: usize = 1024;

/// A body of more lines than are allowed. Looking for lines stops there: a body of newlines costs no more than the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyLines;

/// The lines of a body, without newlines, commas and brackets between them. Blank ones are left out.
pub fn split(body: &[u8], max_lines: usize) -> Result<Vec<Vec<u8>>, TooManyLines> {
    Ok(ranges(body, max_lines)?.into_iter().map(|range| body[range].to_vec()).collect())
}

/// The same as positions in the body.
pub fn ranges(body: &[u8], max_lines: usize) -> Result<Vec<Range<usize>>, TooManyLines> {
    let mut lines = Lines { found: Vec::new(), max: max_lines };
    find(body, &mut lines)?;
    Ok(lines.found)
}

/// What was found so far; takes no more than the limit.
struct Lines {
    found: Vec<Range<usize>>,
    max: usize,
}

impl Lines {
    fn push(&mut self, line: Range<usize>) -> Result<(), TooManyLines> {
        if self.found.len() >= self.max {
            return Err(TooManyLines);
        }
        self.found.push(line);
        Ok(())
    }
}

fn find(body: &[u8], lines: &mut Lines) -> Result<(), TooManyLines> {
    let start = if body.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
    let whole = trim(body, start..body.len());
    let first_line = trim(body, whole.start..line_end(body, whole.clone()));
    // A body is newline-delimited if its first line is a complete value; else it may be one value over many lines.
    if !is_json(&body[first_line]) {
        match body.get(whole.start) {
            Some(b'[') => return array(body, whole, lines),
            Some(b'{') => {
                let rest = printed_objects(body, whole, lines)?;
                return by_line(body, rest, lines);
            }
            _ => {}
        }
    }
    by_line(body, whole, lines)
}

/// Logpush tests a destination with one object whose only key is `content`. Source: "Enable HTTP destination".
pub fn is_validation_upload(body: &[u8]) -> bool {
    if body.len() > VALIDATION_UPLOAD_MAX_BYTES {
        return false;
    }
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    let object: Result<std::collections::BTreeMap<String, IgnoredAny>, _> = serde_json::from_slice(body);
    object.is_ok_and(|keys| keys.len() == 1 && keys.contains_key("content"))
}

fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(text).is_ok()
}

/// Length of the JSON value at the start of the text; `None` where there is none, or a broken one.
fn value_length(text: &[u8]) -> Option<usize> {
    let mut values = serde_json::Deserializer::from_slice(text).into_iter::<IgnoredAny>();
    values.next()?.ok()?;
    Some(values.byte_offset())
}

fn by_line(body: &[u8], range: Range<usize>, lines: &mut Lines) -> Result<(), TooManyLines> {
    let mut at = range.start;
    while at < range.end {
        let end = line_end(body, at..range.end);
        let line = trim(body, at..end);
        at = end + 1;
        match body.get(line.start) {
            _ if line.is_empty() => {}
            // A tail Worker posts an array of events per line.
            Some(b'[') if is_json(&body[line.clone()]) => array(body, line, lines)?,
            _ => lines.push(line)?,
        }
    }
    Ok(())
}

/// Objects printed over several lines, one after the other. Returns what is left where the text stops being that.
fn printed_objects(
    body: &[u8],
    range: Range<usize>,
    lines: &mut Lines,
) -> Result<Range<usize>, TooManyLines> {
    let mut rest = range;
    while let Some(length) = value_length(&body[rest.clone()]) {
        lines.push(rest.start..rest.start + length)?;
        rest = trim(body, rest.start + length..rest.end);
    }
    Ok(rest)
}

/// Elements of the array that begins at the range's start. Behind its end, or where it is no array any more: by line.
fn array(body: &[u8], range: Range<usize>, lines: &mut Lines) -> Result<(), TooManyLines> {
    let mut rest = trim(body, range.start + 1..range.end);
    // Once an element was broken, each is looked for in its own line only: a long row of brackets that never close would
    // otherwise be read to its end again and again. The line's end is kept, for the same reason.
    let mut line: Option<usize> = None;
    loop {
        rest = trim(body, rest);
        match body.get(rest.start) {
            _ if rest.is_empty() => return Ok(()),
            Some(b',') => rest.start += 1,
            Some(b']') => return by_line(body, rest.start + 1..rest.end, lines),
            _ => {
                line = line.map(|end| if end > rest.start { end } else { line_end(body, rest.clone()) });
                let end = line.unwrap_or(rest.end);
                let length = value_length(&body[rest.start..end]).unwrap_or_else(|| {
                    line = line.or(Some(rest.start));
                    broken_element_length(&body[rest.clone()])
                });
                lines.push(trim(body, rest.start..rest.start + length))?;
                rest.start += length;
            }
        }
    }
}

/// How far a broken element reaches: to the comma or bracket that ends it if its brackets match, else to the end of its line.
fn broken_element_length(text: &[u8]) -> usize {
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            // No JSON string holds a raw newline: whatever was open is broken, and the next line may be whole.
            b'\n' if in_string || depth > 0 => return at,
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth > 0 => depth -= 1,
            b',' | b']' if depth == 0 && at > 0 => return at,
            _ => {}
        }
    }
    text.len()
}

fn line_end(body: &[u8], range: Range<usize>) -> usize {
    let newline = body[range.clone()].iter().position(|b| *b == b'\n');
    newline.map_or(range.end, |at| range.start + at)
}

/// Without JSON's whitespace around it.
fn trim(body: &[u8], range: Range<usize>) -> Range<usize> {
    let is_space = |b: &u8| matches!(b, b' ' | b'\t' | b'\r' | b'\n');
    let text = &body[range.clone()];
    let Some(first) = text.iter().position(|b| !is_space(b)) else { return range.end..range.end };
    let last = text.iter().rposition(|b| !is_space(b)).unwrap_or(first);
    range.start + first..range.start + last + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(body: &str) -> Vec<String> {
        split(body.as_bytes(), usize::MAX)
            .unwrap()
            .into_iter()
            .map(|line| String::from_utf8(line).unwrap())
            .collect()
    }

    #[test]
    fn each_shape_of_a_body_gives_its_lines_byte_for_byte() {
        let (a, b) = (r#"{ "a":1 ,"s":"x\"}]\n"}"#, r#"{"b":[{"c":"é"}]}"#);
        let both = vec![a.to_owned(), b.to_owned()];
        for body in [
            format!("{a}\n{b}\n"),
            format!("{a}\n{b}"),
            format!("{a}\r\n{b}\r\n"),
            format!("\u{feff}{a}\n{b}\n"),
            format!("\n\n{a}\n  \n\t{b}  \n\n"),
            format!("[{a},{b}]"),
            format!("[{a},{b}]\n"),
            format!("[{a}\n,\n{b}\n]\n"),
            format!(" [ {a} , {b} ] "),
            format!("[{a}]\n[{b}]\n"),
            format!("\u{feff}[{a},{b}"),
        ] {
            assert_eq!(lines(&body), both, "{body}");
        }
    }

    #[test]
    fn an_object_printed_over_many_lines_is_one_line_of_evidence() {
        let printed = "{\n  \"a\": 1,\n  \"b\": {\n    \"c\": 2\n  }\n}";
        assert_eq!(lines(printed), [printed]);
        assert_eq!(lines(&format!("{printed}\n{printed}\n")), [printed, printed]);
    }

    #[test]
    fn what_is_broken_is_a_line_of_its_own_and_its_neighbours_are_kept() {
        for (body, expected) in [
            ("{\"a\":1}\n{\"b\":\n{\"c\":3}\n", vec!["{\"a\":1}", "{\"b\":", "{\"c\":3}"]),
            ("{\"a\":\n{\"b\":2}\n{\"c\":3}", vec!["{\"a\":", "{\"b\":2}", "{\"c\":3}"]),
            ("{\"a\":1}\n{\"b\":2", vec!["{\"a\":1}", "{\"b\":2"]),
            ("[{\"a\":1},{\"b\":tru},{\"c\":3}]", vec!["{\"a\":1}", "{\"b\":tru}", "{\"c\":3}"]),
            ("[{\"a\":1},{\"b\":", vec!["{\"a\":1}", "{\"b\":"]),
            ("[{\"a\":1},\n{\"b\":\"x\n,{\"c\":3}]", vec!["{\"a\":1}", "{\"b\":\"x", "{\"c\":3}"]),
            ("[{\"a\":1}]}{\"b\":2}", vec!["{\"a\":1}", "}{\"b\":2}"]),
            ("no json\n{\"a\":1}\n", vec!["no json", "{\"a\":1}"]),
            ("[}]", vec!["}"]),
            ("{\"a\":1}{\"b\":2}", vec!["{\"a\":1}", "{\"b\":2}"]),
        ] {
            assert_eq!(lines(body), expected, "{body}");
        }
    }

    #[test]
    fn brackets_that_never_close_cost_no_more_than_their_length() {
        let body = format!("[{}", "{\"a\":[\n".repeat(300_000));
        assert_eq!(ranges(body.as_bytes(), usize::MAX).unwrap().len(), 300_000);
    }

    #[test]
    fn broken_elements_in_one_long_line_cost_no_more_than_its_length() {
        let body = format!("[{}", "x,".repeat(1_000_000));
        assert_eq!(ranges(body.as_bytes(), usize::MAX).unwrap().len(), 1_000_000);
    }

    #[test]
    fn no_more_lines_than_the_limit_are_ever_held() {
        const MAX: usize = 1_000;
        for (what, one) in [
            ("lines", "1\n"),
            ("objects on one line", "{}"),
            ("arrays", "[1]\n"),
            ("printed objects", "{\n}\n"),
            ("elements", "1,"),
            ("broken elements", "x,"),
        ] {
            let open = if what.contains("element") { "[" } else { "" };
            let body = |count: usize| format!("{open}{}", one.repeat(count)).into_bytes();
            assert_eq!(ranges(&body(MAX), MAX).map(|r| r.len()), Ok(MAX), "{what}");
            let mut lines = Lines { found: Vec::new(), max: MAX };
            assert_eq!(find(&body(1_000_000), &mut lines), Err(TooManyLines), "{what}");
            assert!(lines.found.capacity() <= 2 * MAX, "{what}: room for {}", lines.found.capacity());
        }
    }

    #[test]
    fn an_empty_body_has_no_lines() {
        for body in ["", "\n", " \r\n", "\u{feff}", "[]", "[\n]\n"] {
            assert_eq!(lines(body), [""; 0], "{body:?}");
        }
    }

    #[test]
    fn only_the_validation_upload_is_taken_for_one() {
        for (body, is_one) in [
            (r#"{"content":"tests"}"#, true),
            ("\u{feff} {\"content\":\"test\"}\n", true),
            (r#"{"content":{"any":"thing"}}"#, true),
            (r#"{"content":"tests","x":1}"#, false),
            (r#"{"contents":"tests"}"#, false),
            ("{\"content\":1}\n{\"content\":2}", false),
            (r#"["content"]"#, false),
            ("", false),
        ] {
            assert_eq!(is_validation_upload(body.as_bytes()), is_one, "{body}");
        }
    }
}
