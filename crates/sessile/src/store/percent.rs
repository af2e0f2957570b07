//! Percent-encoding: what stands in a store URL may be any text. A `+` is a plus sign.

/// The text that these characters mean; `None` when it is not UTF-8. A `%` without two digits means itself.
pub(super) fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let code = tail.get(..2).filter(|code| *first == b'%' && code.iter().all(u8::is_ascii_hexdigit));
        let code = code.and_then(|code| str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

/// The text as the value of an option, so that [`decoded`] gives it back.
pub(super) fn encoded(text: &str) -> String {
    let is_special = |c: char| c.is_control() || "%&#?".contains(c);
    let mut encoded = String::with_capacity(text.len());
    for c in text.chars() {
        match is_special(c) {
            true => c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| encoded += &format!("%{byte:02X}")),
            false => encoded.push(c),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        for text in ["web", "a b", "a+b", "100%", "a%20b", "a&b=c", "x#y?z", "\u{85}é\n"] {
            assert_eq!(decoded(&encoded(text)).as_deref(), Some(text));
        }
        assert_eq!(encoded("a b+%41&\n"), "a b+%2541%26%0A");
    }

    #[test]
    fn only_two_hexadecimal_digits_are_a_code() {
        assert_eq!(decoded("p%40%3A%2F%25%20%C3%a9%00").as_deref(), Some("p@:/% é\0"));
        assert_eq!(decoded("100%, %4, %zz, %+4, %").as_deref(), Some("100%, %4, %zz, %+4, %"));
        assert_eq!(decoded("%ff"), None);
    }
}
