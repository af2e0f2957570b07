//! Encoding: a serde `Serializer` that writes what `json.dumps` writes with its defaults.

use std::fmt::{Display, Write};

use serde::ser::{
    Error, Impossible, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
    SerializeTuple, SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::{JsonError, MAX_WRITE_DEPTH, float, quote};

/// Room for most values: grown from nothing, a text of a kilobyte is moved seven times.
const USUAL: usize = 256;

type Written = Result<(), JsonError>;

pub(super) fn to_text<T: Serialize + ?Sized>(value: &T) -> Result<String, JsonError> {
    let mut writer = Writer { out: String::with_capacity(USUAL), depth: 0 };
    value.serialize(&mut writer)?;
    Ok(writer.out)
}

impl Error for JsonError {
    fn custom<T: Display>(reason: T) -> Self {
        Self::refused(&reason)
    }
}

struct Writer {
    out: String,
    depth: usize,
}

impl Writer {
    fn open(&mut self, bracket: char) -> Written {
        if self.depth == MAX_WRITE_DEPTH {
            return Err(JsonError::TooDeep { at: None, limit: MAX_WRITE_DEPTH });
        }
        self.depth += 1;
        self.out.push(bracket);
        Ok(())
    }

    fn close(&mut self, bracket: char) {
        self.depth -= 1;
        self.out.push(bracket);
    }

    /// `{"Variant": `
    fn open_variant(&mut self, variant: &str) -> Written {
        self.open('{')?;
        quote(variant, &mut self.out);
        self.out.push_str(": ");
        Ok(())
    }

    fn display(&mut self, value: impl Display) -> Written {
        // Writing to a String cannot fail.
        let _ = write!(self.out, "{value}");
        Ok(())
    }
}

macro_rules! display {
    ($($method:ident: $type:ty),* $(,)?) => {$(
        fn $method(self, value: $type) -> Written {
            self.display(value)
        }
    )*};
}

macro_rules! floats {
    ($($method:ident: $type:ty),* $(,)?) => {$(
        fn $method(self, value: $type) -> Written {
            if value.is_finite() {
                float::push_finite(value, &mut self.out);
            } else {
                self.out.push_str(float::not_finite(value.is_nan(), value < 0.0));
            }
            Ok(())
        }
    )*};
}

impl<'w> Serializer for &'w mut Writer {
    type Ok = ();
    type Error = JsonError;
    type SerializeSeq = Compound<'w>;
    type SerializeTuple = Compound<'w>;
    type SerializeTupleStruct = Compound<'w>;
    type SerializeTupleVariant = Compound<'w>;
    type SerializeMap = Compound<'w>;
    type SerializeStruct = Compound<'w>;
    type SerializeStructVariant = Compound<'w>;

    display! {
        serialize_bool: bool,
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64, serialize_i128: i128,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_u128: u128,
    }

    floats! { serialize_f32: f32, serialize_f64: f64 }

    fn serialize_char(self, value: char) -> Written {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Written {
        quote(value, &mut self.out);
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Written {
        self.collect_seq(value)
    }

    fn serialize_none(self) -> Written {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Written {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Written {
        self.out.push_str("null");
        Ok(())
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Written {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _name: &'static str, _index: u32, variant: &'static str) -> Written {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _name: &'static str, value: &T) -> Written {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Written {
        self.open_variant(variant)?;
        value.serialize(&mut *self)?;
        self.close('}');
        Ok(())
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<Compound<'w>, JsonError> {
        self.open('[')?;
        Ok(Compound { writer: self, first: true, variant: false })
    }

    fn serialize_tuple(self, len: usize) -> Result<Compound<'w>, JsonError> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_struct(self, _name: &'static str, len: usize) -> Result<Compound<'w>, JsonError> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Compound<'w>, JsonError> {
        self.open_variant(variant)?;
        self.open('[')?;
        Ok(Compound { writer: self, first: true, variant: true })
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Compound<'w>, JsonError> {
        self.open('{')?;
        Ok(Compound { writer: self, first: true, variant: false })
    }

    fn serialize_struct(self, _name: &'static str, len: usize) -> Result<Compound<'w>, JsonError> {
        self.serialize_map(Some(len))
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Compound<'w>, JsonError> {
        self.open_variant(variant)?;
        self.open('{')?;
        Ok(Compound { writer: self, first: true, variant: true })
    }
}

/// An open array or object.
struct Compound<'w> {
    writer: &'w mut Writer,
    first: bool,
    /// Whether it stands in a variant's object, which closes with it.
    variant: bool,
}

impl Compound<'_> {
    fn separate(&mut self) {
        if !std::mem::replace(&mut self.first, false) {
            self.writer.out.push_str(", ");
        }
    }

    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Written {
        self.separate();
        value.serialize(&mut *self.writer)
    }

    fn field<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Written {
        self.separate();
        quote(name, &mut self.writer.out);
        self.writer.out.push_str(": ");
        value.serialize(&mut *self.writer)
    }

    fn finish(self, bracket: char) -> Written {
        self.writer.close(bracket);
        if self.variant {
            self.writer.close('}');
        }
        Ok(())
    }
}

macro_rules! sequences {
    ($($trait:ident: $method:ident),*) => {$(
        impl $trait for Compound<'_> {
            type Ok = ();
            type Error = JsonError;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Written {
                self.element(value)
            }

            fn end(self) -> Written {
                self.finish(']')
            }
        }
    )*};
}

sequences! {
    SerializeSeq: serialize_element, SerializeTuple: serialize_element,
    SerializeTupleStruct: serialize_field, SerializeTupleVariant: serialize_field
}

macro_rules! structures {
    ($($trait:ident),*) => {$(
        impl $trait for Compound<'_> {
            type Ok = ();
            type Error = JsonError;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Written {
                self.field(name, value)
            }

            fn end(self) -> Written {
                self.finish('}')
            }
        }
    )*};
}

structures! { SerializeStruct, SerializeStructVariant }

impl SerializeMap for Compound<'_> {
    type Ok = ();
    type Error = JsonError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Written {
        self.separate();
        key.serialize(Key(&mut *self.writer))
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Written {
        self.writer.out.push_str(": ");
        value.serialize(&mut *self.writer)
    }

    fn end(self) -> Written {
        self.finish('}')
    }
}

/// A map's key: strings as they are, other scalars as `json.dumps` spells them.
struct Key<'w>(&'w mut Writer);

impl Key<'_> {
    /// A scalar whose spelling needs no escapes.
    fn quoted<T: Serialize>(self, value: T) -> Written {
        self.0.out.push('"');
        value.serialize(&mut *self.0)?;
        self.0.out.push('"');
        Ok(())
    }
}

macro_rules! quoted {
    ($($method:ident: $type:ty),* $(,)?) => {$(
        fn $method(self, value: $type) -> Written {
            self.quoted(value)
        }
    )*};
}

type NoKey = Impossible<(), JsonError>;

impl Serializer for Key<'_> {
    type Ok = ();
    type Error = JsonError;
    type SerializeSeq = NoKey;
    type SerializeTuple = NoKey;
    type SerializeTupleStruct = NoKey;
    type SerializeTupleVariant = NoKey;
    type SerializeMap = NoKey;
    type SerializeStruct = NoKey;
    type SerializeStructVariant = NoKey;

    quoted! {
        serialize_bool: bool,
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64, serialize_i128: i128,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_u128: u128,
        serialize_f32: f32, serialize_f64: f64,
    }

    fn serialize_char(self, value: char) -> Written {
        self.0.serialize_char(value)
    }

    fn serialize_str(self, value: &str) -> Written {
        self.0.serialize_str(value)
    }

    fn serialize_none(self) -> Written {
        self.quoted(())
    }

    fn serialize_unit(self) -> Written {
        self.quoted(())
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Written {
        self.quoted(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Written {
        value.serialize(self)
    }

    fn serialize_unit_variant(self, _name: &'static str, _index: u32, variant: &'static str) -> Written {
        self.0.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _name: &'static str, value: &T) -> Written {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _value: &T,
    ) -> Written {
        Err(JsonError::Key { found: "a variant with a value" })
    }

    fn serialize_bytes(self, _value: &[u8]) -> Written {
        Err(JsonError::Key { found: "bytes" })
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<NoKey, JsonError> {
        Err(JsonError::Key { found: "a list" })
    }

    fn serialize_tuple(self, _len: usize) -> Result<NoKey, JsonError> {
        Err(JsonError::Key { found: "a tuple" })
    }

    fn serialize_tuple_struct(self, _name: &'static str, _len: usize) -> Result<NoKey, JsonError> {
        Err(JsonError::Key { found: "a tuple" })
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<NoKey, JsonError> {
        Err(JsonError::Key { found: "a variant with a value" })
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<NoKey, JsonError> {
        Err(JsonError::Key { found: "a map" })
    }

    fn serialize_struct(self, _name: &'static str, _len: usize) -> Result<NoKey, JsonError> {
        Err(JsonError::Key { found: "a structure" })
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<NoKey, JsonError> {
        Err(JsonError::Key { found: "a variant with a value" })
    }
}
