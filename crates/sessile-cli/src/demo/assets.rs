//! The shop's own files: the style sheet, at an address that changes with its content so that browsers may keep it for good.

use std::sync::LazyLock;

/// The style sheet's text.
pub(crate) const STYLE: &str = include_str!("style.css");

/// Where the style sheet is served: `/style-<hash>.css`.
pub(crate) static STYLE_PATH: LazyLock<String> =
    LazyLock::new(|| format!("/style-{:016x}.css", fingerprint(STYLE.as_bytes())));

/// FNV-1a, 64 bits: tells versions of our own files apart; guards nothing.
fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_the_style_sheet_changes_with_its_content() {
        // The published test vectors of FNV-1a.
        assert_eq!(fingerprint(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fingerprint(b"foobar"), 0x8594_4171_f739_67e8);
        assert!(STYLE_PATH.ends_with(&format!("{:016x}.css", fingerprint(STYLE.as_bytes()))));
    }

    #[test]
    fn the_style_sheet_needs_no_other_file() {
        assert!(!STYLE.contains("@import") && !STYLE.contains("url("));
    }
}
