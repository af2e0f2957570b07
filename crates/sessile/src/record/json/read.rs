//! Decoding: a serde `Deserializer` over one value's text.
//!
//! Strings are lent where they hold no escapes. What a type skips is checked without recursion; only what it
//! takes uses the stack, and no more than [`MAX_DECODE_DEPTH`] levels of it.

mod key;
mod mismatch;

use std::borrow::Cow;

use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, Unexpected,
    VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use self::key::Key;
use super::scan::{Kind, NumberToken, Scanner, StringToken};
use super::{JsonError, Lone, MAX_DEPTH, unescape};

/// The deepest nesting that decodes into a Rust type, each level of which costs stack.
///
/// Measured without optimisation, a level of `serde_json::Value` takes 2.5 KiB and one of a recursive structure
/// with flattened fields 7 KiB; both fit the 2 MiB that a thread or a tokio worker has. Deeper values are
/// still carried along and can be had as raw text.
pub const MAX_DECODE_DEPTH: usize = 256;

pub(super) fn from_text<T: DeserializeOwned>(text: &str) -> Result<T, JsonError> {
    let mut reader = Reader { scanner: Scanner::new(text), depth: 0 };
    reader.scanner.skip_blanks();
    let value = T::deserialize(&mut reader)?;
    reader.scanner.end()?;
    Ok(value)
}

struct Reader<'de> {
    scanner: Scanner<'de>,
    depth: usize,
}

impl<'de> Reader<'de> {
    /// A string token's content, decoded.
    fn decode(&self, token: &StringToken) -> Result<Cow<'de, str>, JsonError> {
        let content = self.scanner.slice(token.content.clone());
        if !token.escaped {
            return Ok(Cow::Borrowed(content));
        }
        let at = token.content.start - 1;
        let mut decoded = Vec::with_capacity(content.len());
        if !unescape(content, &mut decoded, Lone::Refuse) {
            return Err(JsonError::LoneSurrogate { at });
        }
        String::from_utf8(decoded).map(Cow::Owned).map_err(|_| JsonError::LoneSurrogate { at })
    }

    fn string(&mut self) -> Result<Cow<'de, str>, JsonError> {
        let token = self.scanner.string()?;
        self.decode(&token)
    }

    /// Steps into a container, whose bracket stands here.
    fn enter(&mut self) -> Result<(), JsonError> {
        if self.depth == MAX_DECODE_DEPTH {
            return Err(JsonError::TooDeep { at: Some(self.scanner.position()), limit: MAX_DECODE_DEPTH });
        }
        self.depth += 1;
        self.scanner.advance();
        Ok(())
    }

    /// Steps out of a container, of which nothing may be left.
    fn leave(&mut self, bracket: u8) -> Result<(), JsonError> {
        self.scanner.skip_blanks();
        match self.scanner.peek() {
            Some(byte) if byte == bracket => {
                self.scanner.advance();
                self.depth -= 1;
                Ok(())
            }
            Some(b',') => Err(JsonError::Mismatch {
                at: Some(self.scanner.position()),
                found: "more elements",
                expected: "as many as the type takes".into(),
            }),
            _ => Err(self.scanner.unexpected("`,` or the closing bracket")),
        }
    }

    /// Whether another element begins here; its comma and blanks are passed.
    fn next_element(&mut self, first: &mut bool, bracket: u8) -> Result<bool, JsonError> {
        self.scanner.skip_blanks();
        let initial = std::mem::replace(first, false);
        match self.scanner.peek() {
            Some(byte) if byte == bracket => Ok(false),
            Some(b',') if !initial => {
                self.scanner.advance();
                self.scanner.skip_blanks();
                Ok(true)
            }
            _ if initial => Ok(true),
            _ => Err(self.scanner.unexpected("`,` or the closing bracket")),
        }
    }

    #[inline(never)]
    fn array<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, JsonError> {
        let at = self.scanner.position();
        self.enter()?;
        let value =
            visitor.visit_seq(Elements { reader: self, first: true }).map_err(|error| error.or_at(at))?;
        self.leave(b']')?;
        Ok(value)
    }

    #[inline(never)]
    fn object<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, JsonError> {
        let at = self.scanner.position();
        self.enter()?;
        let value =
            visitor.visit_map(Elements { reader: self, first: true }).map_err(|error| error.or_at(at))?;
        self.leave(b'}')?;
        Ok(value)
    }

    /// Everything but arrays and objects; apart, so that their frames stay small.
    #[inline(never)]
    fn scalar<V: Visitor<'de>>(&mut self, kind: Kind, visitor: V) -> Result<V::Value, JsonError> {
        let at = self.scanner.position();
        match kind {
            Kind::Null => {
                self.scanner.literal("null")?;
                visitor.visit_unit()
            }
            Kind::Boolean => visitor.visit_bool(self.scanner.boolean()?),
            Kind::String => match self.string()? {
                Cow::Borrowed(string) => visitor.visit_borrowed_str(string),
                Cow::Owned(string) => visitor.visit_string(string),
            },
            Kind::Number | Kind::Array | Kind::Object => visit_number(self.scanner.number()?, at, visitor),
        }
        .map_err(|error: JsonError| error.or_at(at))
    }

    /// The digits of the integer that stands here, if it is one.
    fn integer(&mut self) -> Result<Option<&'de str>, JsonError> {
        if self.scanner.kind()? != Kind::Number {
            return Ok(None);
        }
        let mut ahead = self.scanner.clone();
        match ahead.number()? {
            NumberToken::Integer(digits) => {
                self.scanner = ahead;
                Ok(Some(unsigned_zero(digits)))
            }
            NumberToken::Float(_) | NumberToken::NotFinite(_) => Ok(None),
        }
    }
}

/// A number for a type that takes whatever comes.
fn visit_number<'de, V: Visitor<'de>>(
    token: NumberToken<'_>,
    at: usize,
    visitor: V,
) -> Result<V::Value, JsonError> {
    match token {
        NumberToken::NotFinite(value) => visitor.visit_f64(value),
        NumberToken::Float(text) => visitor.visit_f64(parse_float(text, at)?),
        NumberToken::Integer(text) => {
            if let Ok(value) = text.parse::<u64>() {
                visitor.visit_u64(value)
            } else if let Ok(value) = text.parse::<i64>() {
                visitor.visit_i64(value)
            } else {
                visitor.visit_f64(integer_as_float(text, at)?)
            }
        }
    }
}

/// `-0` is the integer 0, also for types without a sign.
fn unsigned_zero(digits: &str) -> &str {
    if digits == "-0" { "0" } else { digits }
}

fn parse_float<F: std::str::FromStr>(text: &str, at: usize) -> Result<F, JsonError> {
    // Every JSON number is a Rust number.
    text.parse().map_err(|_| JsonError::IntegerRange { at, wanted: "a float" })
}

/// As Python's `float(int)`: too large is an error, not infinity.
fn integer_as_float(text: &str, at: usize) -> Result<f64, JsonError> {
    parse_float(text, at)
        .ok()
        .filter(|value: &f64| value.is_finite())
        .ok_or(JsonError::IntegerRange { at, wanted: "f64" })
}

macro_rules! integers {
    ($($method:ident: $type:ident => $visit:ident),* $(,)?) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
            let at = self.scanner.position();
            match self.integer()? {
                Some(digits) => {
                    let wanted = stringify!($type);
                    let value = digits.parse().map_err(|_| JsonError::IntegerRange { at, wanted })?;
                    visitor.$visit(value).map_err(|error: JsonError| error.or_at(at))
                }
                None => self.deserialize_any(visitor),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = JsonError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        match self.scanner.kind()? {
            Kind::Array => self.array(visitor),
            Kind::Object => self.object(visitor),
            kind => self.scalar(kind, visitor),
        }
    }

    integers! {
        deserialize_i8: i8 => visit_i8, deserialize_i16: i16 => visit_i16, deserialize_i32: i32 => visit_i32,
        deserialize_i64: i64 => visit_i64, deserialize_i128: i128 => visit_i128,
        deserialize_u8: u8 => visit_u8, deserialize_u16: u16 => visit_u16, deserialize_u32: u32 => visit_u32,
        deserialize_u64: u64 => visit_u64, deserialize_u128: u128 => visit_u128,
    }

    /// Rounded once, from the digits: through `f64` would be twice.
    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        let at = self.scanner.position();
        if self.scanner.kind()? != Kind::Number {
            return self.deserialize_any(visitor);
        }
        let value = match self.scanner.number()? {
            NumberToken::NotFinite(value) => value as f32,
            NumberToken::Float(text) => parse_float(text, at)?,
            NumberToken::Integer(text) => parse_float(text, at)
                .ok()
                .filter(|value: &f32| value.is_finite())
                .ok_or(JsonError::IntegerRange { at, wanted: "f32" })?,
        };
        visitor.visit_f32(value).map_err(|error: JsonError| error.or_at(at))
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        if self.scanner.kind()? != Kind::String {
            return self.deserialize_any(visitor);
        }
        let at = self.scanner.position();
        match self.string()? {
            Cow::Borrowed(string) => visitor.visit_borrowed_bytes(string.as_bytes()),
            Cow::Owned(string) => visitor.visit_byte_buf(string.into_bytes()),
        }
        .map_err(|error: JsonError| error.or_at(at))
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        if self.scanner.kind()? != Kind::Null {
            return visitor.visit_some(self);
        }
        self.scanner.literal("null")?;
        visitor.visit_none()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, JsonError> {
        visitor.visit_newtype_struct(self)
    }

    /// `"Variant"` or `{"Variant": content}`.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, JsonError> {
        let at = self.scanner.position();
        match self.scanner.kind()? {
            Kind::String => visitor.visit_enum(UnitVariant(self)).map_err(|error| error.or_at(at)),
            Kind::Object => {
                self.enter()?;
                self.scanner.skip_blanks();
                if self.scanner.peek() == Some(b'}') {
                    let expected = "an object with one key".into();
                    return Err(JsonError::Mismatch { at: Some(at), found: "an empty object", expected });
                }
                let value = visitor.visit_enum(Variant(self)).map_err(|error| error.or_at(at))?;
                self.leave(b'}')?;
                Ok(value)
            }
            kind => Err(JsonError::Mismatch {
                at: Some(at),
                found: kind.name(),
                expected: "a variant's name, or an object with that one key".into(),
            }),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        self.scanner.skip_value(self.depth, MAX_DEPTH)?;
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool f64 char str string unit unit_struct seq tuple tuple_struct map struct identifier
    }
}

/// What is inside an array or an object.
struct Elements<'r, 'de> {
    reader: &'r mut Reader<'de>,
    first: bool,
}

impl<'de> SeqAccess<'de> for Elements<'_, 'de> {
    type Error = JsonError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, JsonError> {
        if !self.reader.next_element(&mut self.first, b']')? {
            return Ok(None);
        }
        seed.deserialize(&mut *self.reader).map(Some)
    }
}

impl<'de> MapAccess<'de> for Elements<'_, 'de> {
    type Error = JsonError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, JsonError> {
        if !self.reader.next_element(&mut self.first, b'}')? {
            return Ok(None);
        }
        let at = self.reader.scanner.position();
        let token = self.reader.scanner.key()?;
        let key = self.reader.decode(&token)?;
        seed.deserialize(Key { text: key, at }).map(Some).map_err(|error| error.or_at(at))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, JsonError> {
        seed.deserialize(&mut *self.reader)
    }
}

/// `"Variant"`
struct UnitVariant<'r, 'de>(&'r mut Reader<'de>);

impl<'de> EnumAccess<'de> for UnitVariant<'_, 'de> {
    type Error = JsonError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), JsonError> {
        Ok((seed.deserialize(&mut *self.0)?, self))
    }
}

impl<'de> VariantAccess<'de> for UnitVariant<'_, 'de> {
    type Error = JsonError;

    fn unit_variant(self) -> Result<(), JsonError> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _seed: T) -> Result<T::Value, JsonError> {
        Err(Error::invalid_type(Unexpected::UnitVariant, &"a variant with a value"))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, _visitor: V) -> Result<V::Value, JsonError> {
        Err(Error::invalid_type(Unexpected::UnitVariant, &"a variant with a list"))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, JsonError> {
        Err(Error::invalid_type(Unexpected::UnitVariant, &"a variant with fields"))
    }
}

/// `"Variant": content}`
struct Variant<'r, 'de>(&'r mut Reader<'de>);

impl<'de> EnumAccess<'de> for Variant<'_, 'de> {
    type Error = JsonError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), JsonError> {
        let at = self.0.scanner.position();
        let token = self.0.scanner.key()?;
        let text = self.0.decode(&token)?;
        Ok((seed.deserialize(Key { text, at })?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, 'de> {
    type Error = JsonError;

    fn unit_variant(self) -> Result<(), JsonError> {
        serde::Deserialize::deserialize(self.0)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, JsonError> {
        seed.deserialize(self.0)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, JsonError> {
        self.0.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, JsonError> {
        self.0.deserialize_any(visitor)
    }
}
