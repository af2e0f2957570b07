//! String literals: decoding their escapes, and writing them as `json.dumps` does.

/// What to do with half of a surrogate pair, which UTF-8 cannot hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lone {
    /// Give up.
    Refuse,
    /// Put U+FFFD there: for display only.
    Replace,
    /// Encode it as if it were a character (WTF-8): for comparing.
    Keep,
}

/// Appends what a checked literal's content stands for. False when a lone surrogate was refused. The bytes are
/// UTF-8, unless lone surrogates are kept.
pub(crate) fn unescape(content: &str, out: &mut Vec<u8>, lone: Lone) -> bool {
    let mut rest = content.as_bytes();
    while let Some(backslash) = rest.iter().position(|&byte| byte == b'\\') {
        out.extend_from_slice(&rest[..backslash]);
        rest = &rest[backslash + 1..];
        let Some((&kind, after)) = rest.split_first() else { break };
        rest = after;
        match kind {
            b'b' => out.push(0x08),
            b'f' => out.push(0x0c),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'u' => {
                let (point, after) = code_point(rest);
                rest = after;
                if !push_point(point, out, lone) {
                    return false;
                }
            }
            other => out.push(other),
        }
    }
    out.extend_from_slice(rest);
    true
}

/// The code point whose first four digits stand here, joined with the escape after it when the two are a pair.
fn code_point(rest: &[u8]) -> (u32, &[u8]) {
    let (high, after) = four_digits(rest);
    if (0xd800..0xdc00).contains(&high)
        && let Some(second) = after.strip_prefix(b"\\u")
    {
        let (low, after_low) = four_digits(second);
        if (0xdc00..0xe000).contains(&low) {
            return (0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00), after_low);
        }
    }
    (high, after)
}

fn four_digits(rest: &[u8]) -> (u32, &[u8]) {
    let (digits, after) = rest.split_at(rest.len().min(4));
    let value =
        digits.iter().fold(0, |value, &digit| value << 4 | char::from(digit).to_digit(16).unwrap_or(0));
    (value, after)
}

fn push_point(point: u32, out: &mut Vec<u8>, lone: Lone) -> bool {
    let character = match (char::from_u32(point), lone) {
        (Some(character), _) => character,
        (None, Lone::Replace) => char::REPLACEMENT_CHARACTER,
        (None, Lone::Refuse) => return false,
        (None, Lone::Keep) => {
            // A surrogate lies in the range of three-byte forms; the masks keep each part in its byte.
            let part = |shift: u32| (point >> shift & 0x3f) as u8 | 0x80;
            out.extend_from_slice(&[0xe0 | (point >> 12 & 0x0f) as u8, part(6), part(0)]);
            return true;
        }
    };
    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    true
}

/// Appends a string as a literal: ASCII only, short escapes where there are any, otherwise `\uxxxx`.
pub(crate) fn quote(string: &str, out: &mut String) {
    out.reserve(string.len() + 2);
    out.push('"');
    let mut rest = string;
    while let Some(plain) =
        rest.bytes().position(|byte| !matches!(byte, b' '..=b'~') || matches!(byte, b'"' | b'\\'))
    {
        // Never inside a character: every byte before this one is ASCII.
        let (run, special) = rest.split_at(plain);
        out.push_str(run);
        let mut characters = special.chars();
        match characters.next() {
            Some('"') => out.push_str("\\\""),
            Some('\\') => out.push_str("\\\\"),
            Some('\u{08}') => out.push_str("\\b"),
            Some('\u{0c}') => out.push_str("\\f"),
            Some('\n') => out.push_str("\\n"),
            Some('\r') => out.push_str("\\r"),
            Some('\t') => out.push_str("\\t"),
            Some(other) => other.encode_utf16(&mut [0; 2]).iter().for_each(|&unit| push_unit(unit, out)),
            None => {}
        }
        rest = characters.as_str();
    }
    out.push_str(rest);
    out.push('"');
}

/// The length of the literal that [`quote`] writes.
pub(crate) fn quoted_len(string: &str) -> usize {
    let escaped = |c: char| match c {
        '"' | '\\' | '\u{08}' | '\u{0c}' | '\n' | '\r' | '\t' => 2,
        ' '..='~' => 1,
        other => 6 * other.len_utf16(),
    };
    2 + string.chars().map(escaped).sum::<usize>()
}

fn push_unit(unit: u16, out: &mut String) {
    out.push_str("\\u");
    for shift in [12, 8, 4, 0] {
        out.push(char::from_digit(u32::from(unit >> shift & 0xf), 16).unwrap_or('0'));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_length_is_that_of_the_literal(string in any::<String>()) {
            let mut literal = String::new();
            quote(&string, &mut literal);
            prop_assert_eq!(quoted_len(&string), literal.len());
        }
    }
}
