//! Text that others chose, for a log line or a terminal.

use std::fmt::{self, Write as _};

/// Text on one line without anything that a log or a terminal would obey: control characters, line separators and
/// marks that turn the direction of writing are shown as `\u{1b}`.
///
/// ```
/// use sessile::record::Visible;
///
/// assert_eq!(Visible("cart").to_string(), "cart");
/// assert_eq!(Visible("x\nINFO admin signed in").to_string(), r"x\u{a}INFO admin signed in");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Visible<'a>(pub &'a str);

impl Visible<'_> {
    /// Whether the character is shown as its number.
    pub fn hides(character: char) -> bool {
        character.is_control()
            || matches!(character, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{61c}'
                | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    }
}

impl fmt::Display for Visible<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some((at, character)) =
            rest.char_indices().find(|(_, character)| Visible::hides(*character))
        {
            f.write_str(&rest[..at])?;
            for escaped in character.escape_unicode() {
                f.write_char(escaped)?;
            }
            rest = &rest[at + character.len_utf8()..];
        }
        f.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [S24] No character that ends a line, begins a terminal's command or turns the direction of writing.
    #[test]
    fn shows_what_a_terminal_would_obey() {
        assert_eq!(Visible("grüße 日本 'a\\b'").to_string(), "grüße 日本 'a\\b'");
        assert_eq!(
            Visible("\ra\x1b[2Jb\n\u{202e}\u{9b}\u{2028}").to_string(),
            r"\u{d}a\u{1b}[2Jb\u{a}\u{202e}\u{9b}\u{2028}"
        );
    }
}
