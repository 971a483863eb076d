//! The texts of SQL in the store's source, and which tables they name. A small reader of string literals, no parser of SQL: our
//! statements are written in one style, lower case, each table with an alias where there is more than one.

use crate::common::project_file;
use std::collections::BTreeSet;
use std::fs;

pub struct Statement {
    /// File and line.
    pub place: String,
    pub text: String,
}

/// How a table comes into a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// It is what is asked, itself or as a table that is made of it.
    First,
    Joined,
    /// By a select within a condition.
    Within,
}

pub struct Used {
    pub name: String,
    pub alias: String,
    pub how: How,
    /// What stands behind it.
    pub rest: String,
}

/// Every literal of `src/store` in which a table is named; tests are left out.
pub fn of_the_store() -> Vec<Statement> {
    let mut files: Vec<_> =
        fs::read_dir(project_file("src/store")).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let mut statements = Vec::new();
    for path in files {
        let source = fs::read_to_string(&path).unwrap();
        let program = source.split("#[cfg(test)]\nmod tests").next().unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let of_file = literals(program).into_iter().map(|(line, text)| (format!("{name}:{line}"), text));
        statements.extend(of_file.map(|(place, text)| Statement { place, text }));
    }
    statements.retain(|statement| statement.tables().iter().any(|used| crate::spread(&used.name).is_some()));
    statements
}

/// Line and text of each string literal, with what a backslash at the end of a line leaves out.
fn literals(source: &str) -> Vec<(usize, String)> {
    let (mut found, mut line) = (Vec::new(), 1);
    let mut rest = source.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\n' => line += 1,
            '/' if rest.peek() == Some(&'/') => while rest.next_if(|c| *c != '\n').is_some() {},
            // A quotation mark as a character.
            '\'' if rest.peek() == Some(&'"') => drop(rest.next()),
            '"' => {
                let (began, mut text) = (line, String::new());
                while let Some(c) = rest.next().filter(|c| *c != '"') {
                    match c {
                        '\\' if rest.peek() == Some(&'\n') => {
                            while let Some(space) = rest.next_if(|c| c.is_whitespace()) {
                                line += usize::from(space == '\n');
                            }
                        }
                        '\\' => text.extend(rest.next()),
                        '\n' => line += 1,
                        c => text.push(c),
                    }
                }
                found.push((began, text));
            }
            _ => {}
        }
    }
    found
}

/// The tables that are called so anywhere.
pub fn tables_called(alias: &str, statements: &[Statement]) -> BTreeSet<String> {
    let used = statements.iter().flat_map(Statement::tables).filter(|used| used.alias == alias);
    used.map(|used| used.name).collect()
}

impl Statement {
    /// Those of others, too: a list of values that was given a name.
    pub fn tables(&self) -> Vec<Used> {
        let text = format!(" {}", self.text);
        let mut used = Vec::new();
        for (word, joined) in [(" from ", false), (" join ", true)] {
            for (at, _) in text.match_indices(word) {
                let (before, behind) = (&text[..at], &text[at + word.len()..]);
                for (n, named) in list(behind).into_iter().enumerate() {
                    let mut words = named.split_whitespace();
                    let name = words.next().unwrap_or("").to_owned();
                    let how = match joined || n > 0 {
                        true => How::Joined,
                        false if is_within(before) => How::Within,
                        false => How::First,
                    };
                    if !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
                        let alias = words.next().unwrap_or("").to_owned();
                        used.push(Used { name, alias, how, rest: behind.to_owned() });
                    }
                }
            }
        }
        used
    }
}

impl Used {
    /// `a.x = b.y` by which it is joined or asked, or nothing where there is none.
    pub fn joined_by(&self) -> Option<[&str; 2]> {
        let word = if self.how == How::Within { " where " } else { " on " };
        let mut words = self.rest.split_once(word)?.1.split_whitespace();
        let (left, equals, right) = (words.next()?, words.next()?, words.next()?);
        (equals == "=").then_some([left, right.trim_end_matches(')')])
    }
}

/// Whether the last select that is still open stands in a condition, and not where a table stands.
fn is_within(before: &str) -> bool {
    let opened = before.match_indices("(select").filter(|(at, _)| {
        let since = &before[*at..];
        since.matches('(').count() > since.matches(')').count()
    });
    opened.last().is_some_and(|(at, _)| !before[..at].ends_with("from "))
}

/// What stands after `from`: a table and its alias, or several with commas between them.
fn list(rest: &str) -> Vec<&str> {
    const ENDS: [&str; 7] = [" where", " join", " left", " order", " group", " on ", ")"];
    let end = ENDS.iter().filter_map(|word| rest.find(word)).min().unwrap_or(rest.len());
    rest[..end].split(", ").collect()
}
