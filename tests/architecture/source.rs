//! One source file as the rules see it: comments and strings blanked, test modules left out, line numbers kept.

/// A file and its code.
pub struct Source {
    /// Path from the project's root.
    pub name: String,
    pub text: String,
    code: String,
}

pub struct Function {
    pub name: String,
    pub line: usize,
    pub lines: usize,
}

impl Source {
    pub fn new(name: String, text: String) -> Source {
        let mut code = blank_comments_and_strings(&text);
        if let Some(at) = test_module(&code) {
            code.truncate(at);
        }
        Source { name, text, code }
    }

    /// Lines of the file that are not its tests.
    pub fn program_lines(&self) -> usize {
        self.code.lines().count()
    }

    /// Paths below `crate`, with the line on which they stand: `use crate::a::b` gives `a::b`, a group gives its first names,
    /// `super::` is resolved by the file's place.
    pub fn own_imports(&self) -> Vec<(usize, String)> {
        let module = self.module();
        let mut found = Vec::new();
        for at in word_starts(&self.code, "crate") {
            let names = names_below(&self.code[at + "crate".len()..]);
            found.extend(names.into_iter().map(|name| (self.line_of(at), name)));
        }
        for at in word_starts(&self.code, "super").filter(|at| !self.code[..*at].ends_with("super::")) {
            let chain = &self.code[at..];
            let steps = chain.split("super::").take_while(|between| between.is_empty()).count();
            if steps == 0 {
                continue; // pub(super)
            }
            let above = &module[..module.len().saturating_sub(steps)];
            let names = names_below(&chain[steps * "super::".len() - 2..]);
            let absolute = names.into_iter().map(|name| [above.join("::"), name].join("::"));
            found.extend(absolute.map(|path| (self.line_of(at), path.trim_start_matches(':').to_owned())));
        }
        found
    }

    /// `["a", "b"]` for `src/a/b.rs`.
    fn module(&self) -> Vec<&str> {
        let path = self.name.trim_start_matches("src/").trim_end_matches(".rs");
        let parts = path.split('/').filter(|part| !["mod", "lib", "main"].contains(part));
        parts.collect()
    }

    /// Lines that name an external crate: `krate::` or `use krate;`.
    pub fn names_crate(&self, krate: &str) -> Vec<usize> {
        let used = word_starts(&self.code, krate).filter(|at| {
            let rest = &self.code[at + krate.len()..];
            rest.starts_with("::") || ident_before(&self.code, *at) == "use"
        });
        used.map(|at| self.line_of(at)).collect()
    }

    pub fn lines_with(&self, text: &str) -> Vec<usize> {
        self.code.match_indices(text).map(|(at, _)| self.line_of(at)).collect()
    }

    pub fn functions(&self) -> Vec<Function> {
        let starts = word_starts(&self.code, "fn");
        starts.filter_map(|at| self.function(at)).collect()
    }

    fn function(&self, at: usize) -> Option<Function> {
        let name = path(self.code[at + 2..].trim_start());
        let body = at + opening_brace(&self.code[at..])?;
        let end = body + closing_brace(&self.code[body..])?;
        let (line, last) = (self.line_of(at), self.line_of(end));
        (!name.is_empty()).then_some(Function { name, line, lines: last - line + 1 })
    }

    /// Names that the file gives to things, with their lines.
    pub fn declared(&self) -> Vec<(usize, String)> {
        const KEYWORDS: &[&str] = &["fn", "struct", "enum", "trait", "mod", "type", "const", "static"];
        let mut found = Vec::new();
        for keyword in KEYWORDS {
            for at in word_starts(&self.code, keyword) {
                let name = path(self.code[at + keyword.len()..].trim_start());
                found.push((self.line_of(at), name));
            }
        }
        found
    }

    fn line_of(&self, at: usize) -> usize {
        self.code[..at].matches('\n').count() + 1
    }
}

/// Where `word` stands as a word of its own.
pub fn word_starts<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let before = code[..*at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

/// The word that ends before `at`, spaces aside.
pub fn ident_before(code: &str, at: usize) -> &str {
    let code = code[..at].trim_end();
    &code[code.rfind(|c| !is_word(c)).map_or(0, |i| i + 1)..]
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The names after a `::`: one, or those of a group.
fn names_below(text: &str) -> Vec<String> {
    match text.strip_prefix("::") {
        Some(group_text) if group_text.starts_with('{') => group(group_text),
        Some(rest) => vec![path(rest)],
        None => Vec::new(),
    }
}

/// `a::b` at the start of the text; no generics, no glob.
fn path(text: &str) -> String {
    let end = text.find(|c: char| !is_word(c) && c != ':').unwrap_or(text.len());
    text[..end].trim_end_matches(':').to_owned()
}

/// First names in `{a, b::{c, d}}`.
fn group(text: &str) -> Vec<String> {
    let mut depth = 0;
    let mut names = vec![String::new()];
    for c in text.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => names.push(String::new()),
            c if depth == 1 && !c.is_whitespace() => names.last_mut().expect("never empty").push(c),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    names.iter().map(|name| path(name)).filter(|name| !name.is_empty()).collect()
}

/// Of a function's body; `None` for one that ends in a semicolon.
fn opening_brace(code: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            ';' if depth == 0 => return None,
            '{' if depth == 0 => return Some(at),
            _ => {}
        }
    }
    None
}

fn closing_brace(code: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, c) in code.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// Where the module of tests begins that closes the file.
fn test_module(code: &str) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = code[from..].find("#[cfg(test)]").map(|i| i + from) {
        let rest = code[at + "#[cfg(test)]".len()..].trim_start();
        if rest.starts_with("mod ") && rest[..rest.find(['{', ';'])? + 1].ends_with('{') {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

/// Replaces what is no code by spaces, keeps the newlines.
fn blank_comments_and_strings(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = skip(rest, code.chars().next_back());
        if skipped == 0 {
            code.push(c);
            rest = &rest[c.len_utf8()..];
        } else {
            code.extend(rest[..skipped].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = &rest[skipped..];
        }
    }
    code
}

/// Bytes of the comment, string or character at the start of the text; 0 where code goes on.
fn skip(text: &str, before: Option<char>) -> usize {
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if text.starts_with("/*") {
        return text.find("*/").map_or(text.len(), |i| i + 2);
    }
    if let Some(rest) = text.strip_prefix('"') {
        return 1 + quoted(rest, '"');
    }
    if text.starts_with('r') && !before.is_some_and(is_word) {
        let hashes = text[1..].bytes().take_while(|b| *b == b'#').count();
        if text[1 + hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let open = 2 + hashes;
            return text[open..].find(&end).map_or(text.len(), |i| open + i + end.len());
        }
    }
    character(text)
}

/// A character literal; 0 for a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text.char_indices();
    match (chars.next(), chars.next(), chars.next()) {
        (Some((_, '\'')), Some((_, '\\')), _) => 1 + quoted(&text[1..], '\''),
        (Some((_, '\'')), Some(_), Some((at, '\''))) => at + 1,
        _ => 0,
    }
}

/// Up to and with the closing quote; a backslash takes the next character with it.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}
