//! What the tool prints: tables for people, JSON for programs, both on standard output.
//!
//! Remarks and errors go to standard error. What a row holds was written by others, so nothing of it reaches
//! a terminal before [`plain`] has taken out what a terminal would obey.

pub(crate) mod json;
pub(crate) mod progress;
pub(crate) mod table;
pub(crate) mod time;

use std::borrow::Cow;
use std::io::{self, IsTerminal as _, Write as _};

use sessile::record::Visible;
use unicode_width::UnicodeWidthChar as _;

/// Standard output, and how it is to be written to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
    styles: bool,
    width: Option<usize>,
}

/// How a part of the text stands out on a terminal. It says nothing that the text does not say.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Style {
    Head,
    Good,
    Note,
    Wrong,
}

impl Output {
    /// Looks at what standard output is.
    pub(crate) fn new(json: bool) -> Output {
        let terminal = io::stdout().is_terminal();
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Output { json, styles: terminal && !no_color && !dumb, width: width(terminal) }
    }

    /// Whether a program reads it.
    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// Columns of the terminal; `None` where nothing has to fit.
    pub(crate) fn width(self) -> Option<usize> {
        self.width
    }

    /// The head of a table, made to stand out where that is possible.
    pub(crate) fn head(self, text: &str) -> Cow<'_, str> {
        self.styled(Style::Head, text)
    }

    /// The text in this style where that is possible.
    pub(crate) fn styled(self, style: Style, text: &str) -> Cow<'_, str> {
        let code = match style {
            Style::Head => "1",
            Style::Good => "32",
            Style::Note => "33",
            Style::Wrong => "1;31",
        };
        if self.styles { format!("\x1b[{code}m{text}\x1b[0m").into() } else { text.into() }
    }

    /// Writes text that ends its own lines.
    pub(crate) fn text(self, text: &str) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        stdout.flush()
    }

    /// Writes one line.
    pub(crate) fn line(self, line: &str) -> io::Result<()> {
        self.text(&format!("{line}\n"))
    }

    /// Writes the JSON text for programs, or what `table` makes for people.
    pub(crate) fn either(
        self,
        json: impl FnOnce() -> String,
        table: impl FnOnce() -> String,
    ) -> io::Result<()> {
        if self.json { self.line(&json()) } else { self.text(&table()) }
    }
}

/// A terminal's own width, or what `COLUMNS` says, so that a pager can be given one too.
fn width(terminal: bool) -> Option<usize> {
    let said = || std::env::var("COLUMNS").ok()?.parse().ok().filter(|&columns| columns > 0);
    let seen = || {
        let (width, _) = terminal_size::terminal_size()?;
        (terminal && width.0 > 0).then_some(usize::from(width.0))
    };
    said().or_else(seen)
}

/// Says something beside the result, on standard error. Nobody listening is no fault.
pub(crate) fn remark(text: &str) {
    let _ = writeln!(io::stderr(), "{}", plain(text));
}

/// The text on one line, without anything a terminal would obey: control characters and marks that turn
/// the direction of writing are shown as `\u{1b}`.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    if !text.chars().any(Visible::hides) {
        return text.into();
    }
    Visible(text).to_string().into()
}

/// The columns a text takes.
pub(crate) fn columns(text: &str) -> usize {
    text.chars().map(|character| character.width().unwrap_or(0)).sum()
}

/// The text in at most so many columns, with `…` where it was cut.
pub(crate) fn cut(text: &str, width: usize) -> Cow<'_, str> {
    if columns(text) <= width {
        return text.into();
    }
    let (head, _) = split(text, width.saturating_sub(1));
    format!("{head}…").into()
}

/// The text in pieces of at most so many columns, parted after a space where one is near.
pub(crate) fn pieces(text: &str, width: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while columns(rest) > width {
        let (head, _) = split(rest, width);
        let space = head.rfind(' ').map(|space| space + 1).filter(|after| after * 3 > head.len());
        let (head, tail) = rest.split_at(space.unwrap_or(head.len()));
        pieces.push(head);
        if tail.is_empty() {
            // The last character alone is too wide.
            return pieces;
        }
        rest = tail;
    }
    pieces.push(rest);
    pieces
}

/// The first `width` columns, at least one character, and what follows.
fn split(text: &str, width: usize) -> (&str, &str) {
    let mut taken = 0;
    for (at, character) in text.char_indices() {
        taken += character.width().unwrap_or(0);
        if taken > width && at > 0 {
            return text.split_at(at);
        }
    }
    (text, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A user id or data that somebody wrote into the table cannot speak to the terminal.
    #[test]
    fn shows_what_a_terminal_would_obey() {
        assert_eq!(plain("ada"), "ada");
        assert_eq!(plain("a\x1b[2Jb\n\u{202e}\u{9b}"), "a\\u{1b}[2Jb\\u{a}\\u{202e}\\u{9b}");
    }

    #[test]
    fn cuts_and_splits_by_columns_not_by_bytes() {
        assert_eq!(cut("grüße", 5), "grüße");
        assert_eq!(cut("grüße", 4), "grü…");
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!(pieces("日本語", 4), ["日本", "語"]);
        assert_eq!(pieces("", 4), [""]);
        assert_eq!(pieces("abcd", 4), ["abcd"]);
        assert_eq!(pieces("after the last request", 11), ["after the ", "last ", "request"]);
        assert_eq!(pieces("a bcdefghij", 6), ["a bcde", "fghij"]);
        assert_eq!(pieces("日本", 1), ["日", "本"]);
    }
}
