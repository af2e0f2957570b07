//! Random JSON texts, spelled in ways that no writer would choose, and damaged ones.

use std::fmt::Write as _;

/// xorshift64*: the same cases every time.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        // The high bits are the good ones.
        (self.roll() >> 11) % bound
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len() as u64) as usize]
    }

    /// A literal in one of many spellings, some of which json.dumps would never write.
    fn string(&mut self, out: &mut String) {
        out.push('"');
        for _ in 0..self.below(8) {
            let piece = self.pick(&[
                "a",
                "B",
                " ",
                "/",
                "\\/",
                "<",
                "é",
                "日本",
                "🦀",
                "\u{7f}",
                "\u{80}",
                "\u{2028}",
                "\u{feff}",
                "\\\"",
                "\\\\",
                "\\b\\f\\n\\r\\t",
                "\\u0000",
                "\\u001F",
                "\\u00e9",
                "\\ud83e\\udd80",
                "\\uD83E\\uDD80",
                "\\ud800",
                "\\udfff",
                "\\ud800\\ud800",
                "\\udc00\\ud800",
                "\\ud800\\n",
                "\\ud800\\u0041",
                "\\uffff",
                "key",
                "plain text of some length",
            ]);
            out.push_str(piece);
        }
        out.push('"');
    }

    fn number(&mut self, out: &mut String) {
        match self.below(6) {
            0 => write!(out, "{}", self.roll() as i64 >> self.below(64)).unwrap(),
            1 => write!(out, "{}{:030}", self.pick(&["1", "-9"]), self.roll()).unwrap(),
            2 => write!(out, "{:?}", f64::from_bits(self.finite_bits())).unwrap(),
            3 => write!(out, "{}.{}", self.below(1000), self.roll()).unwrap(),
            4 => {
                write!(out, "{}e{}{}", self.below(100), self.pick(&["", "+", "-"]), self.below(340)).unwrap()
            }
            _ => out.push_str(self.pick(&[
                "0",
                "-0",
                "-0.0",
                "0e0",
                "0.0E-0",
                "1e999",
                "-1e999",
                "1e-999",
                "NaN",
                "Infinity",
                "-Infinity",
                "9007199254740993",
                "18446744073709551616",
                "1.0",
                "1E5",
            ])),
        }
    }

    fn finite_bits(&mut self) -> u64 {
        loop {
            let bits = self.roll();
            if f64::from_bits(bits).is_finite() {
                return bits;
            }
        }
    }

    fn blanks(&mut self, out: &mut String) {
        if self.below(4) == 0 {
            out.push_str(self.pick(&[" ", "\t", "\n", "\r", " \r\n\t ", "   "]));
        }
    }

    pub(super) fn value(&mut self, levels: u64, out: &mut String) {
        self.blanks(out);
        match self.below(if levels == 0 { 4 } else { 7 }) {
            0 => out.push_str(self.pick(&["null", "true", "false"])),
            1 | 2 => self.number(out),
            3 => self.string(out),
            4 | 5 => self.object(levels - 1, out),
            _ => {
                out.push('[');
                for element in 0..self.below(5) {
                    out.push_str(if element == 0 { "" } else { "," });
                    self.value(levels - 1, out);
                }
                self.blanks(out);
                out.push(']');
            }
        }
        self.blanks(out);
    }

    /// Keys are few, so that duplicates are many.
    pub(super) fn object(&mut self, levels: u64, out: &mut String) {
        out.push('{');
        for member in 0..self.below(7) {
            out.push_str(if member == 0 { "" } else { "," });
            self.blanks(out);
            match self.below(4) {
                0 => self.string(out),
                _ => out.push_str(self.pick(&[
                    "\"a\"",
                    "\"\\u0061\"",
                    "\"b\"",
                    "\"é\"",
                    "\"\\u00E9\"",
                    "\"\\ud800\"",
                    "\"\\uD800\"",
                    "\"\"",
                ])),
            }
            self.blanks(out);
            out.push(':');
            self.value(levels, out);
        }
        self.blanks(out);
        out.push('}');
    }

    /// The text with one or two characters deleted, doubled or replaced.
    pub(super) fn damaged(&mut self, text: &str) -> String {
        let mut characters: Vec<char> = text.chars().collect();
        for _ in 0..=self.below(2) {
            if characters.is_empty() {
                break;
            }
            let at = self.below(characters.len() as u64) as usize;
            match self.below(4) {
                0 => drop(characters.remove(at)),
                1 => characters.insert(at, characters[at]),
                2 => characters.truncate(at),
                _ => {
                    let other = "{}[],:\"\\/ue+-.0159aAnN\u{feff}\u{a0}\u{b}\u{c}\0\u{1f}\u{7f}\n ٣";
                    let other: Vec<char> = other.chars().collect();
                    characters[at] = other[self.below(other.len() as u64) as usize];
                }
            }
        }
        characters.into_iter().collect()
    }
}
