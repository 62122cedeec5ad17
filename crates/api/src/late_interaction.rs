//! Whether a collection keeps a small vector for each token of its texts.

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use utoipa::openapi::schema::{Object, OneOfBuilder, Schema, Type};
use utoipa::openapi::{ObjectBuilder, RefOr};
use utoipa::{PartialSchema, ToSchema};

/// Numbers of a token's vector where nothing else is said.
pub const DEFAULT_TOKEN_DIMENSION: usize = 48;
/// Numbers that a token's vector may have.
pub const TOKEN_DIMENSIONS: [usize; 3] = [32, 48, 64];
const OFF: &str = "off";

/// Late interaction of a collection whose texts a model embeds: `{"dimension": 48}`, or `"off"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LateInteraction {
    /// No vectors of tokens are kept.
    Off,
    /// One of so many numbers is kept for each token.
    On {
        /// 32, 48 or 64.
        dimension: usize,
    },
}

impl Default for LateInteraction {
    fn default() -> Self {
        Self::On { dimension: DEFAULT_TOKEN_DIMENSION }
    }
}

/// How it is written where it is on.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    dimension: Option<usize>,
}

impl Serialize for LateInteraction {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::Off => serializer.serialize_str(OFF),
            Self::On { dimension } => Fields { dimension: Some(dimension) }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for LateInteraction {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;

        impl<'de> Visitor<'de> for Written {
            type Value = LateInteraction;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("\"off\" or {\"dimension\": …}")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<LateInteraction, E> {
                match text {
                    OFF => Ok(LateInteraction::Off),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<LateInteraction, A::Error> {
                let Fields { dimension } = Fields::deserialize(MapAccessDeserializer::new(map))?;
                Ok(LateInteraction::On { dimension: dimension.unwrap_or(DEFAULT_TOKEN_DIMENSION) })
            }
        }

        deserializer.deserialize_any(Written)
    }
}

impl PartialSchema for LateInteraction {
    fn schema() -> RefOr<Schema> {
        let string = || ObjectBuilder::new().schema_type(Type::String);
        let dimension: Object =
            ObjectBuilder::new().schema_type(Type::Integer).enum_values(Some(TOKEN_DIMENSIONS)).build();
        let on = ObjectBuilder::new()
            .schema_type(Type::Object)
            .property("dimension", dimension)
            .additional_properties(Some(utoipa::openapi::schema::AdditionalProperties::FreeForm(false)));
        OneOfBuilder::new().item(string().enum_values(Some([OFF]))).item(on).into()
    }
}

impl ToSchema for LateInteraction {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_as_it_is_written_and_nothing_else() {
        let read = |text: &str| serde_json::from_str::<LateInteraction>(text).map_err(|error| error.to_string());
        for (text, wanted) in [
            (r#""off""#, LateInteraction::Off),
            (r#"{"dimension":32}"#, LateInteraction::On { dimension: 32 }),
            (r"{}", LateInteraction::default()),
            (r#"{"dimension":null}"#, LateInteraction::default()),
        ] {
            assert_eq!(read(text), Ok(wanted), "{text}");
            assert_eq!(read(&serde_json::to_string(&wanted).expect("JSON")), Ok(wanted));
        }
        for wrong in [r#""on""#, "true", "48", "[]", r#"{"dimensions":48}"#, r#"{"dimension":-1}"#] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
