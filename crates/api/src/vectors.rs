//! Vectors as they are written: numbers, or little-endian f32 in base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{SeqAccess, Visitor};
use std::fmt;
use utoipa::PartialSchema;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, OneOfBuilder, Schema, Type};

/// Reads a vector of numbers, or of little-endian f32 in base64, which is a third of the bytes and many times faster
/// to read.
pub(crate) fn vector<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<f32>>, D::Error> {
    struct Vector;

    impl<'de> Visitor<'de> for Vector {
        type Value = Option<Vec<f32>>;

        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("a list of numbers, or little-endian f32 in base64")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut numbers: A) -> Result<Self::Value, A::Error> {
            let mut vector = Vec::with_capacity(numbers.size_hint().unwrap_or(384));
            while let Some(number) = numbers.next_element()? {
                vector.push(number);
            }
            Ok(Some(vector))
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
            let bytes = STANDARD.decode(text).map_err(|e| E::custom(format!("the vector is not base64: {e}")))?;
            let (numbers, rest) = bytes.as_chunks::<4>();
            if !rest.is_empty() {
                return Err(E::custom(format!("{} bytes of base64 are no sequence of f32", bytes.len())));
            }
            Ok(Some(numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()))
        }
    }

    deserializer.deserialize_any(Vector)
}

/// What [`vector`] reads.
pub(crate) fn vector_schema() -> Schema {
    let numbers = f32::schema();
    let form = |kind: Type, text: &str| ObjectBuilder::new().schema_type(kind).description(Some(text));
    let forms = OneOfBuilder::new()
        .item(ArrayBuilder::new().items(numbers).description(Some("its numbers")))
        .item(form(Type::String, "little-endian f32 in base64"))
        .item(form(Type::Null, "as if it were left out"))
        .description(Some("A vector: numbers, or little-endian f32 in base64."))
        .build();
    forms.into()
}
