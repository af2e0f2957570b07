//! What a type's `Deserialize` refuses, told without the offending value.

use std::fmt;

use serde::de::{Error, Expected, Unexpected};

use crate::record::json::JsonError;

/// Serde's own constructors would quote the offending value; these tell its kind only.
impl Error for JsonError {
    fn custom<T: fmt::Display>(reason: T) -> Self {
        Self::refused(&reason)
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let expected = expected.to_string().into();
        Self::Mismatch { at: None, found: kind_of(&found), expected }
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn invalid_length(_length: usize, expected: &dyn Expected) -> Self {
        let expected = expected.to_string().into();
        Self::Mismatch { at: None, found: "another number of elements", expected }
    }

    fn unknown_variant(_variant: &str, known: &'static [&'static str]) -> Self {
        Self::Mismatch { at: None, found: "an unknown variant", expected: one_of(known) }
    }

    fn unknown_field(_field: &str, known: &'static [&'static str]) -> Self {
        Self::Mismatch { at: None, found: "an unknown field", expected: one_of(known) }
    }

    fn missing_field(field: &'static str) -> Self {
        let expected = format!("the field `{field}`").into();
        Self::Mismatch { at: None, found: "an object without it", expected }
    }

    fn duplicate_field(field: &'static str) -> Self {
        let expected = format!("the field `{field}` once").into();
        Self::Mismatch { at: None, found: "it again", expected }
    }
}

fn one_of(known: &[&str]) -> Box<str> {
    if known.is_empty() { "none".into() } else { format!("one of `{}`", known.join("`, `")).into() }
}

fn kind_of(found: &Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "a boolean",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "an integer",
        Unexpected::Float(_) => "a float",
        Unexpected::Char(_) | Unexpected::Str(_) | Unexpected::Bytes(_) => "a string",
        Unexpected::Unit | Unexpected::Option => "null",
        Unexpected::Seq => "an array",
        Unexpected::Map | Unexpected::NewtypeStruct => "an object",
        Unexpected::Enum
        | Unexpected::UnitVariant
        | Unexpected::NewtypeVariant
        | Unexpected::TupleVariant
        | Unexpected::StructVariant => "a variant's name alone",
        Unexpected::Other(_) => "another kind of value",
    }
}
