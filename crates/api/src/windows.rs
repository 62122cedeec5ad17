//! How many vectors a long text gets.

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use utoipa::openapi::schema::{AdditionalProperties, Object, OneOfBuilder, Schema, Type};
use utoipa::openapi::{ObjectBuilder, RefOr};
use utoipa::{PartialSchema, ToSchema};

/// Windows that a text has at most, and where nothing else is said.
pub const MAX_WINDOWS: usize = 16;
const OFF: &str = "off";

/// The windows of texts that a model embeds and that are longer than it reads at once: `{"max": 16}`, or `"off"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Windows {
    /// A text has one vector, that of its beginning.
    Off,
    /// Each window has one.
    On {
        /// Windows of a text that have one, 1 to 16, from its beginning.
        max: usize,
    },
}

impl Default for Windows {
    fn default() -> Self {
        Self::On { max: MAX_WINDOWS }
    }
}

/// How it is written where it is on.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    max: Option<usize>,
}

impl Serialize for Windows {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::Off => serializer.serialize_str(OFF),
            Self::On { max } => Fields { max: Some(max) }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Windows {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;

        impl<'de> Visitor<'de> for Written {
            type Value = Windows;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("\"off\" or {\"max\": …}")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Windows, E> {
                match text {
                    OFF => Ok(Windows::Off),
                    _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Windows, A::Error> {
                let Fields { max } = Fields::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Windows::On { max: max.unwrap_or(MAX_WINDOWS) })
            }
        }

        deserializer.deserialize_any(Written)
    }
}

impl PartialSchema for Windows {
    fn schema() -> RefOr<Schema> {
        let string = || ObjectBuilder::new().schema_type(Type::String);
        let max: Object =
            ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1)).maximum(Some(MAX_WINDOWS)).build();
        let on = ObjectBuilder::new()
            .schema_type(Type::Object)
            .property("max", max)
            .additional_properties(Some(AdditionalProperties::FreeForm(false)));
        OneOfBuilder::new().item(string().enum_values(Some([OFF]))).item(on).into()
    }
}

impl ToSchema for Windows {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_as_it_is_written_and_nothing_else() {
        let read = |text: &str| serde_json::from_str::<Windows>(text).map_err(|error| error.to_string());
        for (text, wanted) in [
            (r#""off""#, Windows::Off),
            (r#"{"max":4}"#, Windows::On { max: 4 }),
            (r"{}", Windows::default()),
            (r#"{"max":null}"#, Windows::default()),
        ] {
            assert_eq!(read(text), Ok(wanted), "{text}");
            assert_eq!(read(&serde_json::to_string(&wanted).expect("JSON")), Ok(wanted));
        }
        for wrong in [r#""on""#, "true", "4", "[]", r#"{"most":4}"#] {
            let error = read(wrong).expect_err(wrong);
            assert!(error.contains("max"), "{wrong}: {error}");
        }
        assert!(read(r#"{"max":-1}"#).is_err(), "the place of a wrong number is said by who reads the request");
    }
}
