//! Goes past JSON text as `json.dumps` and this crate write it, quickly.
//!
//! It runs over nearly every byte of nearly every session that is read. Whatever is unusual it leaves to the
//! scanner, which looks closely and says what is wrong: escapes, other blanks than one after a comma
//! or a colon, exponents, long numbers, `NaN`, deep nesting, and every mistake.

/// How deep it goes: one bit of a word for each container.
pub(super) const DEPTH: usize = 60;

/// Digits of a plain number before and after its point, at most.
const DIGITS: usize = 20;

/// Where the plain value that begins here ends.
pub(super) fn value(bytes: &[u8], mut at: usize) -> Option<usize> {
    // The containers that are open, the innermost one in the lowest bit, set for an object; above them a one.
    let mut open = 1u64;
    loop {
        at = match *bytes.get(at)? {
            b'"' => string(bytes, at)?,
            b'-' | b'0'..=b'9' => number(bytes, at)?,
            bracket @ (b'{' | b'[') => {
                let object = bracket == b'{';
                let end = if object { b'}' } else { b']' };
                if *bytes.get(at + 1)? == end {
                    at + 2
                } else {
                    if open >> DEPTH != 0 {
                        return None;
                    }
                    open = open << 1 | u64::from(object);
                    at = if object { key(bytes, at + 1)? } else { at + 1 };
                    continue;
                }
            }
            b't' => word(bytes, at, b"true")?,
            b'f' => word(bytes, at, b"false")?,
            b'n' => word(bytes, at, b"null")?,
            _ => return None,
        };
        // A value ends here, and perhaps the containers around it.
        loop {
            if open == 1 {
                return Some(at);
            }
            match (*bytes.get(at)?, open & 1) {
                (b',', object) => {
                    at = after_blank(bytes, at + 1);
                    if object == 1 {
                        at = key(bytes, at)?;
                    }
                    break;
                }
                (b'}', 1) | (b']', 0) => {
                    open >>= 1;
                    at += 1;
                }
                _ => return None,
            }
        }
    }
}

/// Where the value of the key that stands here begins.
#[inline]
fn key(bytes: &[u8], at: usize) -> Option<usize> {
    let end = string(bytes, at)?;
    (*bytes.get(end)? == b':').then(|| after_blank(bytes, end + 1))
}

/// Where the string literal that stands here ends, if it has no escapes.
#[inline]
pub(super) fn string(bytes: &[u8], at: usize) -> Option<usize> {
    if *bytes.get(at)? != b'"' {
        return None;
    }
    let end = run(bytes, at + 1);
    (*bytes.get(end)? == b'"').then_some(end + 1)
}

#[inline]
fn after_blank(bytes: &[u8], at: usize) -> usize {
    at + usize::from(bytes.get(at) == Some(&b' '))
}

#[inline]
fn word(bytes: &[u8], at: usize, word: &[u8]) -> Option<usize> {
    bytes.get(at..)?.starts_with(word).then_some(at + word.len())
}

/// Where the number that stands here ends: an integer or a decimal fraction inside a container.
#[inline]
fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let start = at + usize::from(bytes.get(at) == Some(&b'-'));
    let mut end = digits(bytes, start)?;
    if bytes.get(start) == Some(&b'0') && end != start + 1 {
        return None;
    }
    if bytes.get(end) == Some(&b'.') {
        end = digits(bytes, end + 1)?;
    }
    matches!(bytes.get(end), Some(b',' | b'}' | b']')).then_some(end)
}

/// Where the digits end that begin here: at least one, and not too many.
#[inline]
fn digits(bytes: &[u8], start: usize) -> Option<usize> {
    let mut end = start;
    while bytes.get(end).is_some_and(u8::is_ascii_digit) {
        end += 1;
    }
    (end > start && end - start <= DIGITS).then_some(end)
}

/// The first place from here on that holds a quote, a backslash or a control character: eight bytes at a
/// time, then one by one.
#[inline]
pub(super) fn run(bytes: &[u8], mut position: usize) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    let has_zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    while let Some((chunk, _)) = bytes.get(position..).and_then(|rest| rest.split_first_chunk::<8>()) {
        let word = u64::from_le_bytes(*chunk);
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        // Borrows can only blur the bytes above the first hit, and the first is all that counts.
        let hits =
            control | has_zero(word ^ (ONES * u64::from(b'"'))) | has_zero(word ^ (ONES * u64::from(b'\\')));
        if hits != 0 {
            return position + hits.trailing_zeros() as usize / 8;
        }
        position += 8;
    }
    while bytes.get(position).is_some_and(|byte| !matches!(byte, b'"' | b'\\' | 0..=0x1f)) {
        position += 1;
    }
    position
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::json::scan::Scanner;

    /// JSON as Python and as this crate write it, and not quite so.
    fn text() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            Just("true".to_owned()),
            Just("false".to_owned()),
            Just("NaN".to_owned()),
            any::<i64>().prop_map(|number| number.to_string()),
            any::<f64>().prop_map(|number| format!("{number:?}")),
            "-?0?[0-9]{1,23}(\\.[0-9]{0,3})?",
            "\"([a-zé ]|\\\\n|\\\\u00e9|\\\\x){0,20}\"",
        ];
        let separators = prop_oneof![Just((", ", ": ")), Just((",", ":")), Just((" ,", "  : "))];
        leaf.prop_recursive(6, 40, 5, move |inner| {
            (prop::collection::vec(("[a-z]{0,12}", inner), 0..5), separators.clone(), any::<bool>()).prop_map(
                |(items, (comma, colon), object)| {
                    let items: Vec<String> = items
                        .into_iter()
                        .map(|(key, item)| if object { format!("\"{key}\"{colon}{item}") } else { item })
                        .collect();
                    let (open, close) = if object { ('{', '}') } else { ('[', ']') };
                    format!("{open}{}{close}", items.join(comma))
                },
            )
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1_500, ..ProptestConfig::default() })]

        /// [S22] It goes past nothing that the close look would refuse, and ends where that ends.
        #[test]
        fn the_quick_look_agrees_with_the_close_one(
            text in text(),
            spoilt in prop::option::of((any::<prop::sample::Index>(), prop::sample::select(b" ,:]}[{\"\\0e.\n-t".to_vec()))),
        ) {
            let mut bytes = text.into_bytes();
            if let Some((at, byte)) = spoilt {
                let at = at.index(bytes.len());
                if bytes[at].is_ascii() {
                    bytes[at] = byte;
                }
            }
            let text = String::from_utf8(bytes).unwrap();
            if let Some(end) = value(text.as_bytes(), 0) {
                let mut scanner = Scanner::new(&text);
                prop_assert!(scanner.look_closely(0, super::super::MAX_DEPTH).is_ok(), "{text}");
                prop_assert_eq!((scanner.position(), scanner.is_finite()), (end, true), "{}", text);
            }
        }
    }

    /// A quick look that gives up would go unnoticed, but for its time.
    #[test]
    fn what_python_writes_is_plain() {
        for text in [
            r#"{"user": "ada", "n": 0, "cart": [{"sku": "SKU-1", "qty": 12, "price": 12.99}, []], "é": null}"#,
            r#"[true, false, null, {}, [[-1], [0.5]], {"a":{"b":[1,2]}}]"#,
            r#""a string that is longer than eight bytes""#,
        ] {
            assert_eq!(value(text.as_bytes(), 0), Some(text.len()), "{text}");
        }
        let deep = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(value(deep(DEPTH).as_bytes(), 0).is_some());
        assert!(value(deep(DEPTH + 3).as_bytes(), 0).is_none());
    }
}
