//! Decoding a map's keys, which are strings whatever the Rust type.

use std::borrow::Cow;

use serde::de::{Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::{parse_float, unsigned_zero, visit_number};
use crate::record::json::JsonError;
use crate::record::json::scan::{NumberToken, Scanner};

/// A map's key: a string, or what the type reads out of it.
pub(super) struct Key<'de> {
    pub(super) text: Cow<'de, str>,
    /// Where it stands.
    pub(super) at: usize,
}

impl Key<'_> {
    /// The whole key as a number.
    fn number(&self) -> Option<NumberToken<'_>> {
        let mut scanner = Scanner::new(&self.text);
        let token = scanner.number().ok()?;
        (scanner.position() == self.text.len()).then_some(token)
    }
}

macro_rules! key_integers {
    ($($method:ident: $type:ident => $visit:ident),* $(,)?) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
            let Some(NumberToken::Integer(digits)) = self.number() else { return self.deserialize_any(visitor) };
            let wanted = stringify!($type);
            visitor.$visit(unsigned_zero(digits).parse().map_err(|_| JsonError::IntegerRange { at: self.at, wanted })?)
        }
    )*};
}

impl<'de> Deserializer<'de> for Key<'de> {
    type Error = JsonError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        match self.text {
            Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
            Cow::Owned(text) => visitor.visit_string(text),
        }
    }

    key_integers! {
        deserialize_i8: i8 => visit_i8, deserialize_i16: i16 => visit_i16, deserialize_i32: i32 => visit_i32,
        deserialize_i64: i64 => visit_i64, deserialize_i128: i128 => visit_i128,
        deserialize_u8: u8 => visit_u8, deserialize_u16: u16 => visit_u16, deserialize_u32: u32 => visit_u32,
        deserialize_u64: u64 => visit_u64, deserialize_u128: u128 => visit_u128,
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        match self.number() {
            None => self.deserialize_any(visitor),
            Some(NumberToken::NotFinite(value)) => visitor.visit_f32(value as f32),
            Some(NumberToken::Integer(text) | NumberToken::Float(text)) => {
                visitor.visit_f32(parse_float(text, self.at)?)
            }
        }
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        match self.number() {
            None => self.deserialize_any(visitor),
            Some(token) => visit_number(token, self.at, visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        match &*self.text {
            "true" => visitor.visit_bool(true),
            "false" => visitor.visit_bool(false),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, JsonError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, JsonError> {
        self.text.into_deserializer().deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}
