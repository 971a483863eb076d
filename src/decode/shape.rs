//! Which format a line has, told by the first of its keys that only one format uses.
//!
//! Looks at the keys of the outermost object without parsing values, so that each line is parsed once, by the right struct.
//! It does not judge whether the line is valid: that is the parser's word.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// An Envoy access log line as JSON.
    Envoy,
    /// `{"proxy": .., "line": ..}` around an Envoy line that does not say who wrote it.
    Wrapped,
    /// `workers_trace_events` or a tail Worker's TraceItem.
    WorkerEvent,
    /// Cloudflare's `http_requests`.
    HttpRequest,
    Unknown,
}

pub fn of(text: &str) -> Shape {
    TopLevelKeys::new(text).find_map(told_by).unwrap_or(Shape::Unknown)
}

fn told_by(key: &str) -> Option<Shape> {
    match key {
        "ct"
        | "access_log_type"
        | "bytes_received"
        | "bytes_sent"
        | "connection_termination_details"
        | "downstream_direct_remote_address"
        | "downstream_local_address"
        | "downstream_remote_address"
        | "requested_server_name"
        | "response_code_details"
        | "response_flags"
        | "upstream_cluster"
        | "upstream_host"
        | "upstream_local_address" => Some(Shape::Envoy),
        "line" => Some(Shape::Wrapped),
        "ClientRequestHost"
        | "ClientRequestMethod"
        | "ClientRequestPath"
        | "ClientRequestSource"
        | "EdgeStartTimestamp"
        | "EdgeEndTimestamp"
        | "WorkerSubrequest"
        | "ParentRayID" => Some(Shape::HttpRequest),
        // Logpush writes PascalCase and TraceItem camelCase; a transformer may have changed the case again.
        _ if [
            "eventTimestampMs",
            "eventTimestamp",
            "wallTimeMs",
            "wallTime",
            "cpuTimeMs",
            "cpuTime",
            "scriptName",
        ]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(key)) =>
        {
            Some(Shape::WorkerEvent)
        }
        _ => None,
    }
}

/// Keys of the outermost object, in order, as they stand in the text; ends silently where the text stops being JSON.
pub struct TopLevelKeys<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> TopLevelKeys<'a> {
    pub fn new(text: &'a str) -> Self {
        let start = text.bytes().take_while(u8::is_ascii_whitespace).count();
        let at = if text.as_bytes().get(start) == Some(&b'{') { start + 1 } else { text.len() };
        TopLevelKeys { text, at }
    }

    fn skip_while(&mut self, accept: impl Fn(u8) -> bool) {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += rest.iter().take_while(|b| accept(**b)).count();
    }

    /// Moves behind the string that starts at `at`; its content without the quotes.
    fn string(&mut self) -> Option<&'a str> {
        let bytes = self.text.as_bytes();
        if bytes.get(self.at) != Some(&b'"') {
            return None;
        }
        let start = self.at + 1;
        let mut end = start;
        loop {
            match bytes.get(end)? {
                b'"' => break,
                b'\\' => end += 2,
                _ => end += 1,
            }
        }
        self.at = end + 1;
        self.text.get(start..end)
    }

    /// Moves behind the value that starts at `at`.
    fn value(&mut self) -> Option<()> {
        let bytes = self.text.as_bytes();
        let mut depth = 0usize;
        loop {
            match bytes.get(self.at)? {
                b'"' => {
                    self.string()?;
                    if depth == 0 {
                        return Some(());
                    }
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' if depth <= 1 => {
                    self.at += depth;
                    return Some(());
                }
                b'}' | b']' => depth -= 1,
                b',' if depth == 0 => return Some(()),
                _ => {}
            }
            self.at += 1;
        }
    }
}

impl<'a> Iterator for TopLevelKeys<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        self.skip_while(|b| b.is_ascii_whitespace() || b == b',');
        let key = self.string()?;
        self.skip_while(|b| b.is_ascii_whitespace() || b == b':');
        if self.value().is_none() {
            self.at = self.text.len();
        }
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Vec<&str> {
        TopLevelKeys::new(text).collect()
    }

    #[test]
    fn only_the_outermost_keys_count() {
        let text = r#" {"a": {"x":[1,{"y":"}"}]}, "b":"\"c\":" ,"d":[],"e":12,"f":null}"#;
        assert_eq!(keys(text), ["a", "b", "d", "e", "f"]);
    }

    #[test]
    fn broken_text_ends_the_search_without_harm() {
        for text in ["", "{", "{\"", "{\"a", "{\"a\\", "{\"a\":", "{\"a\":\"", "[1]", "{\"é\\", "nul"] {
            let _ = keys(text);
        }
        assert_eq!(keys("{\"a\":1,\"b\":{\"c\":"), ["a", "b"]);
    }

    #[test]
    fn a_format_named_inside_a_value_is_not_taken_for_the_lines_own() {
        assert_eq!(
            of(r#"{"message":"{\"upstream_cluster\":1}","x":{"EventTimestampMs":1}}"#),
            Shape::Unknown
        );
        assert_eq!(of(r#"{"authority":"a","upstream_cluster":"x"}"#), Shape::Envoy);
        assert_eq!(of(r#"{"outcome":"ok","EVENTTIMESTAMPMS":1}"#), Shape::WorkerEvent);
    }
}
