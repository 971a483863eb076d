//! Text set in two columns, a label and what it says, broken at the width of a page.

use super::paint::Paint;
use std::fmt::Write;

/// Columns of a page: what fits beside another window.
pub const PAGE: usize = 100;
/// Words in lines of at most `width` columns. A word that is longer stands alone.
pub fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// A sentence as a person begins and ends one.
pub fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    let end = if text.ends_with(['.', '?', '!']) { "" } else { "." };
    format!("{first}{}{end}", letters.as_str())
}

/// A page that is being written.
pub struct Prose {
    pub text: String,
    pub paint: Paint,
    /// Columns of a label.
    label_width: usize,
}

impl Prose {
    pub fn new(paint: Paint, label_width: usize) -> Self {
        Prose { text: String::new(), paint, label_width }
    }

    pub fn line(&mut self, text: &str) {
        let _ = writeln!(self.text, "{text}");
    }

    /// A paragraph with its label to the left of its first line.
    pub fn paragraph(&mut self, label: &str, text: &str) {
        self.item(label, 0, "", text);
    }

    /// A line of a list: `lead` stands in a column of `lead_width`, the text beside it.
    pub fn item(&mut self, label: &str, lead_width: usize, lead: &str, text: &str) {
        let label_width = self.label_width;
        let mut label = self.paint.bold(&format!("{label:<label_width$}"));
        let mut lead = self.paint.dim(&format!("{lead:<lead_width$}"));
        for line in wrapped(text, PAGE - label_width - lead_width) {
            let full = format!("{label}{lead}{line}");
            let _ = writeln!(self.text, "{}", full.trim_end());
            (label, lead) = (" ".repeat(label_width), " ".repeat(lead_width));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_between_words_and_never_inside_one() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("a-very-long-id and", 5), ["a-very-long-id", "and"]);
        assert_eq!(sentence("the zone saw it"), "The zone saw it.");
    }
}
