//! Ids as they are written: texts, or integers, which are the texts of their digits.

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};
use std::fmt;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, OneOfBuilder, Schema, Type};

/// An id.
struct Id(String);

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;

        impl Visitor<'_> for Written {
            type Value = Id;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a string, or an integer of 64 bits")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Id, E> {
                Ok(Id(text.to_owned()))
            }

            fn visit_string<E: Error>(self, text: String) -> Result<Id, E> {
                Ok(Id(text))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Id, E> {
                Ok(Id(number.to_string()))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Id, E> {
                Ok(Id(number.to_string()))
            }
        }

        deserializer.deserialize_any(Written)
    }
}

/// Reads an id, which may be left out.
pub(crate) fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<Id>::deserialize(deserializer)?.map(|Id(text)| text))
}

/// Reads ids.
pub(crate) fn ids<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Vec::<Id>::deserialize(deserializer)?.into_iter().map(|Id(text)| text).collect())
}

/// Reads ids, which may be left out.
pub(crate) fn some_ids<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    let ids = Option::<Vec<Id>>::deserialize(deserializer)?;
    Ok(ids.map(|ids| ids.into_iter().map(|Id(text)| text).collect()))
}

fn forms(is_optional: bool) -> OneOfBuilder {
    let text = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(512));
    let number = ObjectBuilder::new().schema_type(Type::Integer).description(Some("the text of its digits"));
    let forms = OneOfBuilder::new().item(text).item(number);
    if is_optional { forms.item(ObjectBuilder::new().schema_type(Type::Null)) } else { forms }
}

/// What [`id`] reads.
pub(crate) fn id_schema() -> Schema {
    let text = "The caller's id, 1 to 512 bytes; a UUIDv7 when left out. An id that exists is given a new version. An \
                integer of 64 bits is the text of its digits.";
    forms(true).description(Some(text)).build().into()
}

/// What [`ids`] reads.
pub(crate) fn ids_schema() -> Schema {
    let text = "1 to 2 048 ids; an integer of 64 bits is the text of its digits.";
    let all = ArrayBuilder::new().items(forms(false)).min_items(Some(1)).max_items(Some(2048));
    all.description(Some(text)).build().into()
}
