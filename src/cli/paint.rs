//! Colour and room on the terminal, decided once: colour only on a terminal and never with `NO_COLOR` set, width only where
//! there is one to keep to.

use std::io::{IsTerminal, Write};

/// What the reader's end of standard output can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paint {
    pub colour: bool,
    /// Columns of the terminal; `None` when the output goes elsewhere.
    pub width: Option<u16>,
}

impl Paint {
    /// For files, pipes and tests.
    pub const PLAIN: Paint = Paint { colour: false, width: None };

    pub fn of_stdout() -> Self {
        if !std::io::stdout().is_terminal() {
            return Paint::PLAIN;
        }
        let set = |name| std::env::var_os(name).is_some_and(|v| !v.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|v| v == "dumb");
        let width = console::Term::stdout().size_checked().map(|(_, columns)| columns);
        Paint { colour: !set("NO_COLOR") && !dumb, width }
    }

    fn wrap(self, code: &str, text: &str) -> String {
        if self.colour && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }

    pub fn dim(self, text: &str) -> String {
        self.wrap("2", text)
    }

    pub fn red(self, text: &str) -> String {
        self.wrap("31", text)
    }

    pub fn green(self, text: &str) -> String {
        self.wrap("32", text)
    }

    pub fn yellow(self, text: &str) -> String {
        self.wrap("33", text)
    }

    /// By the effect that a decision phrase carries.
    pub fn effect(self, phrase: &str) -> String {
        if phrase.contains(" deny") { self.red(phrase) } else { self.green(phrase) }
    }

    pub fn severity(self, severity: &str, text: &str) -> String {
        match severity {
            "high" => self.wrap("1;31", text),
            "medium" => self.red(text),
            "low" => self.yellow(text),
            _ => text.to_owned(),
        }
    }
}

/// Writes to standard output. A reader that has gone away (`| head`) has what it wanted: that is no error.
pub fn emit(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(|e| anyhow::anyhow!("cannot write to standard output: {e}")),
    }
}
