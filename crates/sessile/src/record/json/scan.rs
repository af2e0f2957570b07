//! Checks a text against the grammar of `json.loads` and finds where its values begin and end.
//!
//! One pass, no recursion, nothing allocated: it runs on every request that touches a session.

use std::ops::Range;

use super::{JsonError, MAX_DEPTH, MAX_INTEGER_DIGITS, plain};

/// The kinds of JSON value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    Boolean,
    Number,
    String,
    Array,
    Object,
}

impl Kind {
    /// For error messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "a boolean",
            Self::Number => "a number",
            Self::String => "a string",
            Self::Array => "an array",
            Self::Object => "an object",
        }
    }
}

/// One `"key": value` of an object, as offsets into the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// The key's literal, quotes included.
    pub(crate) key: Range<usize>,
    /// Whether that literal holds escapes.
    pub(crate) escaped: bool,
    pub(crate) value: Range<usize>,
    /// Whether the value is free of `NaN` and the infinities.
    pub(crate) finite: bool,
}

/// Checks a text that must hold one value and tells its kind.
pub(crate) fn whole_value(text: &str, max_depth: usize) -> Result<Kind, JsonError> {
    let mut scanner = Scanner::new(text);
    scanner.skip_blanks();
    let kind = scanner.kind()?;
    scanner.skip_value(0, max_depth)?;
    scanner.end()?;
    Ok(kind)
}

/// Checks a text and reports the members of the object it holds, in order, duplicates included. Gives
/// the kind: of anything but an object nothing is reported.
pub(crate) fn members(text: &str, mut report: impl FnMut(Member)) -> Result<Kind, JsonError> {
    let mut scanner = Scanner::new(text);
    scanner.skip_blanks();
    if scanner.peek() != Some(b'{') {
        return whole_value(text, MAX_DEPTH);
    }
    scanner.advance();
    scanner.skip_blanks();
    if scanner.peek() == Some(b'}') {
        scanner.advance();
        scanner.end()?;
        return Ok(Kind::Object);
    }
    loop {
        let key = scanner.key()?;
        let start = scanner.position();
        scanner.finite = true;
        scanner.skip_value(1, MAX_DEPTH)?;
        report(Member {
            key: key.content.start - 1..key.content.end + 1,
            escaped: key.escaped,
            value: start..scanner.position(),
            finite: scanner.finite,
        });
        scanner.skip_blanks();
        match scanner.peek() {
            Some(b',') => {
                scanner.advance();
                scanner.skip_blanks();
            }
            Some(b'}') => break,
            _ => return Err(scanner.unexpected("`,` or `}`")),
        }
    }
    scanner.advance();
    scanner.end()?;
    Ok(Kind::Object)
}

/// The texts of the elements of the list that a text holds, as they stand; an error for anything else.
pub(crate) fn elements(text: &str) -> Result<Vec<&str>, JsonError> {
    let mut scanner = Scanner::new(text);
    let mut elements = Vec::new();
    scanner.skip_blanks();
    if scanner.peek() != Some(b'[') {
        return Err(scanner.unexpected("a list"));
    }
    scanner.advance();
    scanner.skip_blanks();
    if scanner.peek() == Some(b']') {
        scanner.advance();
        scanner.end()?;
        return Ok(elements);
    }
    loop {
        scanner.skip_blanks();
        let start = scanner.position();
        scanner.skip_value(1, MAX_DEPTH)?;
        elements.push(scanner.slice(start..scanner.position()));
        scanner.skip_blanks();
        match scanner.peek() {
            Some(b',') => scanner.advance(),
            Some(b']') => {
                scanner.advance();
                scanner.end()?;
                return Ok(elements);
            }
            _ => return Err(scanner.unexpected("`,` or `]`")),
        }
    }
}

/// A string literal: what stands between its quotes.
pub(super) struct StringToken {
    pub(super) content: Range<usize>,
    pub(super) escaped: bool,
}

/// A number as it is written.
pub(super) enum NumberToken<'a> {
    Integer(&'a str),
    /// With a fraction or an exponent.
    Float(&'a str),
    /// `NaN`, `Infinity`, `-Infinity`.
    NotFinite(f64),
}

/// A place in a text, moved token by token.
#[derive(Clone)]
pub(super) struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    position: usize,
    /// Cleared when `NaN` or an infinity goes by.
    finite: bool,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, bytes: text.as_bytes(), position: 0, finite: true }
    }

    pub(super) fn position(&self) -> usize {
        self.position
    }

    #[cfg(test)]
    pub(super) fn is_finite(&self) -> bool {
        self.finite
    }

    pub(super) fn slice(&self, range: Range<usize>) -> &'a str {
        &self.text[range]
    }

    #[inline]
    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.position).copied()
    }

    #[inline]
    pub(super) fn advance(&mut self) {
        self.position += 1;
    }

    #[inline]
    pub(super) fn skip_blanks(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.position += 1;
        }
    }

    /// The error for what stands here.
    pub(super) fn unexpected(&self, expected: &'static str) -> JsonError {
        let found = match self.text.get(self.position..).and_then(|rest| rest.chars().next()) {
            None => "the end of the text",
            Some('\u{feff}') => "a byte-order mark",
            Some('\0'..='\u{1f}') => "a control character",
            Some('"') => "a double quote",
            Some('\'') => "a single quote",
            Some('{' | '}' | '[' | ']') => "a bracket",
            Some(',') => "a comma",
            Some(':') => "a colon",
            Some('0'..='9') => "a digit",
            Some('a'..='z' | 'A'..='Z') => "a letter",
            Some(_) => "another character",
        };
        JsonError::Syntax { at: self.position, found, expected }
    }

    /// Nothing but blanks may follow.
    pub(super) fn end(&mut self) -> Result<(), JsonError> {
        self.skip_blanks();
        if self.position == self.bytes.len() { Ok(()) } else { Err(self.unexpected("the end of the text")) }
    }

    /// What kind of value begins here, by its first byte.
    #[inline]
    pub(super) fn kind(&self) -> Result<Kind, JsonError> {
        match self.peek() {
            Some(b'"') => Ok(Kind::String),
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b'n') => Ok(Kind::Null),
            Some(b't' | b'f') => Ok(Kind::Boolean),
            Some(b'-' | b'0'..=b'9' | b'N' | b'I') => Ok(Kind::Number),
            _ => Err(self.unexpected("a value")),
        }
    }

    /// Goes past the value that begins here, which lies in `outer` containers already.
    #[inline]
    pub(super) fn skip_value(&mut self, outer: usize, max_depth: usize) -> Result<(), JsonError> {
        if outer + plain::DEPTH < max_depth
            && let Some(end) = plain::value(self.bytes, self.position)
        {
            self.position = end;
            return Ok(());
        }
        self.look_closely(outer, max_depth)
    }

    /// Goes past a value of which some part is unusual.
    pub(super) fn look_closely(&mut self, outer: usize, max_depth: usize) -> Result<(), JsonError> {
        let mut open = Open::default();
        loop {
            match self.kind()? {
                Kind::String => self.string().map(drop)?,
                Kind::Number => self.number().map(drop)?,
                Kind::Null => self.literal("null")?,
                Kind::Boolean => self.boolean().map(|_| ())?,
                kind => {
                    if outer + open.depth >= max_depth {
                        return Err(JsonError::TooDeep { at: Some(self.position), limit: max_depth });
                    }
                    let object = kind == Kind::Object;
                    self.advance();
                    self.skip_blanks();
                    if self.peek() == Some(if object { b'}' } else { b']' }) {
                        self.advance();
                    } else {
                        open.push(object);
                        if object {
                            self.key()?;
                        }
                        continue;
                    }
                }
            }
            if !self.close_finished(&mut open)? {
                return Ok(());
            }
        }
    }

    /// After a value: closes the containers that end here. False when the outermost value is done,
    /// true when the next value begins here.
    #[inline]
    fn close_finished(&mut self, open: &mut Open) -> Result<bool, JsonError> {
        while let Some(object) = open.innermost() {
            self.skip_blanks();
            match (self.peek(), object) {
                (Some(b','), _) => {
                    self.advance();
                    self.skip_blanks();
                    if object {
                        self.key()?;
                    }
                    return Ok(true);
                }
                (Some(b'}'), true) | (Some(b']'), false) => {
                    self.advance();
                    open.pop();
                }
                (_, true) => return Err(self.unexpected("`,` or `}`")),
                (_, false) => return Err(self.unexpected("`,` or `]`")),
            }
        }
        Ok(false)
    }

    /// A key, its colon, and the blanks up to the value.
    pub(super) fn key(&mut self) -> Result<StringToken, JsonError> {
        if self.peek() != Some(b'"') {
            return Err(self.unexpected("a key in double quotes"));
        }
        let key = self.string()?;
        self.skip_blanks();
        if self.peek() != Some(b':') {
            return Err(self.unexpected("`:`"));
        }
        self.advance();
        self.skip_blanks();
        Ok(key)
    }

    /// A string literal, whose opening quote stands here.
    pub(super) fn string(&mut self) -> Result<StringToken, JsonError> {
        self.advance();
        let start = self.position;
        let mut escaped = false;
        loop {
            self.position = plain::run(self.bytes, self.position);
            match self.peek() {
                Some(b'"') => {
                    let content = start..self.position;
                    self.advance();
                    return Ok(StringToken { content, escaped });
                }
                Some(b'\\') => {
                    escaped = true;
                    self.advance();
                    self.escape()?;
                }
                _ => return Err(self.unexpected("a string character or the closing quote")),
            }
        }
    }

    /// What follows a backslash.
    fn escape(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.advance(),
            Some(b'u') => {
                self.advance();
                for _ in 0..4 {
                    if !self.peek().is_some_and(|byte| byte.is_ascii_hexdigit()) {
                        return Err(self.unexpected("a hexadecimal digit"));
                    }
                    self.advance();
                }
            }
            _ => return Err(self.unexpected("one of `\"\\/bfnrtu`")),
        }
        Ok(())
    }

    /// Exactly this word. What follows is the caller's to judge.
    pub(super) fn literal(&mut self, word: &'static str) -> Result<(), JsonError> {
        if self.bytes[self.position..].starts_with(word.as_bytes()) {
            self.position += word.len();
            Ok(())
        } else {
            Err(self.unexpected("`null`, `true`, `false`, `NaN`, `Infinity` or another value"))
        }
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self) -> Result<bool, JsonError> {
        let value = self.peek() == Some(b't');
        self.literal(if value { "true" } else { "false" })?;
        Ok(value)
    }

    /// A number, whose first byte stands here.
    pub(super) fn number(&mut self) -> Result<NumberToken<'a>, JsonError> {
        let start = self.position;
        let negative = self.peek() == Some(b'-');
        if negative {
            self.advance();
        }
        let digits = self.position;
        match self.peek() {
            Some(b'0') => self.advance(),
            Some(b'1'..=b'9') => self.digits(),
            Some(b'I') => {
                self.literal("Infinity")?;
                self.finite = false;
                return Ok(NumberToken::NotFinite(if negative { f64::NEG_INFINITY } else { f64::INFINITY }));
            }
            Some(b'N') if !negative => {
                self.literal("NaN")?;
                self.finite = false;
                return Ok(NumberToken::NotFinite(f64::NAN));
            }
            _ => return Err(self.unexpected("a digit")),
        }
        let digits = self.position - digits;
        if !self.fraction_and_exponent()? {
            if digits > MAX_INTEGER_DIGITS {
                return Err(JsonError::LongInteger { at: start, digits });
            }
            return Ok(NumberToken::Integer(self.slice(start..self.position)));
        }
        Ok(NumberToken::Float(self.slice(start..self.position)))
    }

    /// Whether there was any of the two.
    fn fraction_and_exponent(&mut self) -> Result<bool, JsonError> {
        let start = self.position;
        if self.peek() == Some(b'.') {
            self.advance();
            self.some_digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.advance();
            if let Some(b'+' | b'-') = self.peek() {
                self.advance();
            }
            self.some_digits()?;
        }
        Ok(self.position > start)
    }

    fn some_digits(&mut self) -> Result<(), JsonError> {
        if !self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            return Err(self.unexpected("a digit"));
        }
        self.digits();
        Ok(())
    }

    fn digits(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.advance();
        }
    }
}

/// Which containers are open: one bit each, set for an object.
#[derive(Default)]
struct Open {
    bits: [u64; MAX_DEPTH.div_ceil(64)],
    depth: usize,
}

impl Open {
    fn push(&mut self, object: bool) {
        let (word, bit) = (self.depth / 64, 1 << (self.depth % 64));
        if object {
            self.bits[word] |= bit;
        } else {
            self.bits[word] &= !bit;
        }
        self.depth += 1;
    }

    fn pop(&mut self) {
        self.depth -= 1;
    }

    fn innermost(&self) -> Option<bool> {
        let last = self.depth.checked_sub(1)?;
        Some(self.bits[last / 64] & (1 << (last % 64)) != 0)
    }
}
