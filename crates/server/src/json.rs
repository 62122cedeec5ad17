//! JSON as the routes take it: serde_json's deserializer, with rules that no type can break.
//!
//! - A field that is null is as if it were not there, but for those few whose null says something
//!   ([`null_is_a_value`]).
//! - An object is an object: serde would read it from a list of its values too.
//! - A key stands once in an object.
//! - A whole number may be written as 5.0; for who writes all values as texts ([`Numbers::AlsoTexts`]) as "5", too.
//!
//! An error comes with a pointer to its place, which is put together only when there is one.

use membox_memory::string_end;
use serde::de::value::CowStrDeserializer;
use serde::de::{
    self, DeserializeSeed, EnumAccess, IgnoredAny, MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor,
};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;

/// Keys of an object that are compared one by one; of a larger one they are hashed.
const FEW_KEYS: usize = 16;

/// How numbers may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// As numbers.
    Plain,
    /// As texts as well, as language models do.
    AlsoTexts,
}

/// What is wrong, and where.
#[derive(Debug)]
pub struct Fault {
    /// A JSON pointer (RFC 6901).
    pub pointer: String,
    /// What is wrong.
    pub error: serde_json::Error,
}

/// Reads a document.
pub fn read<'de, T: Deserialize<'de>>(text: &'de str, numbers: Numbers) -> Result<T, Fault> {
    let document = Document { text, numbers, path: RefCell::default() };
    let mut inner = serde_json::Deserializer::from_str(text);
    let value = T::deserialize(Reader { inner: &mut inner, document: &document });
    value.and_then(|value| inner.end().map(|()| value)).map_err(|error| Fault { pointer: document.pointer(), error })
}

/// About how many bytes of memory the values of a document take, its texts aside: known before it is read. It is no
/// less than they take as [`serde_json::Value`]s.
pub fn memory_bytes(document: &[u8]) -> usize {
    /// A node of its map, which has room for eleven members.
    const OF_OBJECT: usize = 640;
    /// A part of such a node, of which half may be empty, and the allocation of a short key.
    const OF_MEMBER: usize = 160;
    /// In a list of numbers, as vectors are. Twice: a list grows by copying.
    const OF_NUMBER: usize = 2 * size_of::<Value>();
    let (mut bytes, mut at, mut of_next) = (0, 0, OF_MEMBER);
    while let Some(found) = document.get(at..).and_then(|rest| rest.iter().position(|b| b"\"{}[],".contains(b))) {
        let start = at + found;
        at = start + 1;
        match document[start] {
            b'"' => (at, of_next) = (string_end(document, start), OF_MEMBER),
            b'{' => (bytes, of_next) = (bytes + OF_OBJECT, OF_MEMBER),
            b'[' => (bytes, of_next) = (bytes + 4 * OF_NUMBER, OF_NUMBER),
            b',' => bytes += of_next,
            _ => of_next = OF_MEMBER,
        }
    }
    bytes
}

/// Entries of the longest list that is a document, or a member of it: what the request is about. Lists of numbers are
/// vectors, and lists within these lists are part of one entry.
pub fn longest_list(document: &[u8]) -> usize {
    const MAX_DEPTH: usize = 2;
    let (mut longest, mut depth, mut at) = (0, 0usize, 0);
    // Entries of the list at each depth; 0 where that is an object, or a list that does not count.
    let mut entries = [0; MAX_DEPTH];
    while let Some(found) = document.get(at..).and_then(|rest| rest.iter().position(|b| b"\"{}[],".contains(b))) {
        let start = at + found;
        at = start + 1;
        match document[start] {
            b'"' => at = string_end(document, start),
            open @ (b'{' | b'[') => {
                if let Some(entries) = entries.get_mut(depth) {
                    let first = document[at..].trim_ascii_start().first();
                    let counts = open == b'[' && first.is_some_and(|b| !b"-0123456789]".contains(b));
                    *entries = usize::from(counts);
                    longest = longest.max(*entries);
                }
                depth += 1;
            }
            b',' => {
                if let Some(entries) = depth.checked_sub(1).and_then(|at| entries.get_mut(at)).filter(|n| **n > 0) {
                    *entries += 1;
                    longest = longest.max(*entries);
                }
            }
            _ => depth = depth.saturating_sub(1),
        }
    }
    longest
}

/// Fields whose null is not the same as their absence: a patch takes a field away with it, and a state may be null.
fn null_is_a_value(of: &str, field: &str) -> bool {
    matches!((of, field), ("RecordPatch", _) | ("NewCheckpoint", "state") | ("TaskWrites", "writes"))
}

/// The document that is read.
struct Document<'de> {
    text: &'de str,
    numbers: Numbers,
    /// Where an error is, from within outwards.
    path: RefCell<Vec<String>>,
}

impl<'de> Document<'de> {
    fn pointer(&self) -> String {
        let path = self.path.borrow();
        path.iter().rev().map(|part| format!("/{}", part.replace('~', "~0").replace('/', "~1"))).collect()
    }

    /// The error, which came through this part of the path.
    fn within<E>(&self, part: impl fmt::Display) -> impl FnOnce(E) -> E {
        move |error| {
            self.path.borrow_mut().push(part.to_string());
            error
        }
    }

    /// Whether the value of a key is null. The key is a part of the text, so what follows it can be looked at
    /// before it is read. One that is written with escapes is not, and none of our fields needs any.
    fn null_follows(&self, Key(key): &Key<'de>) -> bool {
        let Cow::Borrowed(key) = key else { return false };
        let start = (key.as_ptr() as usize).wrapping_sub(self.text.as_ptr() as usize);
        let rest = self.text.as_bytes().get(start.wrapping_add(key.len())..).unwrap_or_default();
        let value = rest.strip_prefix(b"\"").and_then(|rest| rest.trim_ascii_start().strip_prefix(b":"));
        value.is_some_and(|value| value.trim_ascii_start().starts_with(b"null"))
    }
}

/// A deserializer, and all that it hands on.
struct Reader<'a, 'de, D> {
    inner: D,
    document: &'a Document<'de>,
}

/// What a visitor wants.
#[derive(Clone, Copy)]
enum Wanted {
    /// Whatever there is.
    Any,
    /// An object of this type with these fields.
    Object { of: &'static str, fields: &'static [&'static str] },
    /// A whole number.
    Whole,
    /// A number.
    Number,
    /// True or false.
    Truth,
}

impl<'a, 'de, D: Deserializer<'de>> Reader<'a, 'de, D> {
    fn watch<V>(&self, visitor: V, wanted: Wanted) -> Watch<'a, 'de, V> {
        Watch { visitor, wanted, document: self.document }
    }
}

/// What needs no watching: none of it has parts.
macro_rules! plain {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.inner.$method(visitor)
        })*
    };
}

/// What may have parts.
macro_rules! watched {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            let watch = self.watch(visitor, Wanted::Any);
            self.inner.$method(watch)
        })*
    };
}

/// Numbers, and what stands for one.
macro_rules! scalars {
    ($wanted:expr; $($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            let watch = self.watch(visitor, $wanted);
            match self.document.numbers {
                Numbers::Plain => self.inner.$method(watch),
                Numbers::AlsoTexts => self.inner.deserialize_any(watch),
            }
        })*
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Reader<'_, 'de, D> {
    type Error = D::Error;

    plain! {
        deserialize_char deserialize_str deserialize_string
        deserialize_bytes deserialize_byte_buf deserialize_unit deserialize_identifier
        deserialize_ignored_any
    }
    watched! { deserialize_any deserialize_option deserialize_seq deserialize_map }
    scalars! { Wanted::Truth; deserialize_bool }
    scalars! { Wanted::Number; deserialize_f32 deserialize_f64 }
    scalars! {
        Wanted::Whole;
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_unit_struct(name, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, D::Error> {
        let watch = self.watch(visitor, Wanted::Any);
        self.inner.deserialize_newtype_struct(name, watch)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, D::Error> {
        let watch = self.watch(visitor, Wanted::Any);
        self.inner.deserialize_tuple(len, watch)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let watch = self.watch(visitor, Wanted::Any);
        self.inner.deserialize_tuple_struct(name, len, watch)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let watch = self.watch(visitor, Wanted::Object { of: name, fields });
        self.inner.deserialize_struct(name, fields, watch)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let watch = self.watch(visitor, Wanted::Any);
        self.inner.deserialize_enum(name, variants, watch)
    }
}

/// A visitor whose parts are read by the same rules.
struct Watch<'a, 'de, V> {
    visitor: V,
    wanted: Wanted,
    document: &'a Document<'de>,
}

/// What is handed on as it is.
macro_rules! handed_on {
    ($($method:ident: $kind:ty),*) => {
        $(fn $method<E: de::Error>(self, value: $kind) -> Result<V::Value, E> {
            self.visitor.$method(value)
        })*
    };
}

impl<'de, V: Visitor<'de>> Watch<'_, 'de, V> {
    /// The number or truth value that a text stands for, where one is wanted and texts are taken for it.
    fn visit_text<E: de::Error>(self, text: &str) -> Result<V::Value, E> {
        let parsed = match (self.document.numbers, self.wanted) {
            (Numbers::AlsoTexts, Wanted::Number | Wanted::Whole) => serde_json::from_str(text.trim()).ok(),
            (Numbers::AlsoTexts, Wanted::Truth) => {
                text.trim().to_ascii_lowercase().parse().ok().map(serde_json::Value::Bool)
            }
            _ => None,
        };
        match parsed {
            Some(serde_json::Value::Number(number)) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(number), ..) => self.visit_u64(number),
                (_, Some(number), _) => self.visit_i64(number),
                (.., Some(number)) => self.visit_f64(number),
                _ => self.visitor.visit_str(text),
            },
            Some(serde_json::Value::Bool(truth)) => self.visitor.visit_bool(truth),
            _ => self.visitor.visit_str(text),
        }
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Watch<'_, 'de, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.visitor.expecting(f)
    }

    handed_on! {
        visit_bool: bool, visit_i64: i64, visit_i128: i128, visit_u64: u64, visit_u128: u128, visit_char: char,
            visit_bytes: &[u8],
        visit_borrowed_bytes: &'de [u8], visit_byte_buf: Vec<u8>
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<V::Value, E> {
        /// Up to here each whole number is one f64.
        const MAX_EXACT: f64 = 9_007_199_254_740_992.0;
        match self.wanted {
            Wanted::Whole if number.fract() == 0.0 && number.abs() <= MAX_EXACT => {
                if number >= 0.0 {
                    self.visitor.visit_u64(number as u64)
                } else {
                    self.visitor.visit_i64(number as i64)
                }
            }
            _ => self.visitor.visit_f64(number),
        }
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<V::Value, E> {
        self.visit_text(text)
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<V::Value, E> {
        match self.wanted {
            Wanted::Any => self.visitor.visit_borrowed_str(text),
            _ => self.visit_text(text),
        }
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<V::Value, E> {
        match self.wanted {
            Wanted::Any => self.visitor.visit_string(text),
            _ => self.visit_text(&text),
        }
    }

    fn visit_none<E: de::Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_none()
    }

    fn visit_unit<E: de::Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.visitor.visit_some(Reader { inner, document: self.document })
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.visitor.visit_newtype_struct(Reader { inner, document: self.document })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        match self.wanted {
            Wanted::Object { .. } => Err(de::Error::invalid_type(Unexpected::Seq, &"an object")),
            _ => self.visitor.visit_seq(Items { inner, document: self.document, index: 0 }),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        let members = Members {
            inner,
            document: self.document,
            wanted: self.wanted,
            key: Cow::Borrowed(""),
            few: Vec::new(),
            many: HashSet::new(),
        };
        self.visitor.visit_map(members)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_enum(Choice { inner, document: self.document })
    }
}

/// A seed that reads by the same rules.
struct Seed<'a, 'de, S> {
    inner: S,
    document: &'a Document<'de>,
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Seed<'_, 'de, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        self.inner.deserialize(Reader { inner, document: self.document })
    }
}

/// The items of a list.
struct Items<'a, 'de, A> {
    inner: A,
    document: &'a Document<'de>,
    index: usize,
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Items<'_, 'de, A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        let item = self.inner.next_element_seed(Seed { inner: seed, document: self.document });
        let item = item.map_err(self.document.within(self.index));
        self.index += 1;
        item
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

/// The members of an object.
struct Members<'a, 'de, A> {
    inner: A,
    document: &'a Document<'de>,
    wanted: Wanted,
    /// The key whose value comes next.
    key: Cow<'de, str>,
    /// The keys so far: here, and from [`FEW_KEYS`] on there.
    few: Vec<Cow<'de, str>>,
    many: HashSet<Cow<'de, str>>,
}

impl<'de, A: MapAccess<'de>> Members<'_, 'de, A> {
    /// Whether a key is there for the first time.
    fn is_new(&mut self, key: Cow<'de, str>) -> bool {
        let is_new = !self.few.contains(&key);
        if self.few.len() < FEW_KEYS {
            self.few.push(key);
            return is_new;
        }
        is_new && self.many.insert(key)
    }

    /// Whether a member is as if it were not there. A key that the type does not know is for the type to refuse.
    fn is_absent(&self, key: &Key<'de>) -> bool {
        match self.wanted {
            Wanted::Object { of, fields } => {
                self.document.null_follows(key) && fields.contains(&&*key.0) && !null_is_a_value(of, &key.0)
            }
            _ => false,
        }
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Members<'_, 'de, A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        while let Some(found) = self.inner.next_key::<Key>()? {
            let is_absent = self.is_absent(&found);
            let Key(key) = found;
            if !self.is_new(key.clone()) {
                let error = de::Error::custom(format_args!("the key `{key}` stands twice"));
                return Err(self.document.within(&key)(error));
            }
            if is_absent {
                self.inner.next_value::<IgnoredAny>()?;
                continue;
            }
            let field = seed.deserialize(CowStrDeserializer::new(key.clone()));
            self.key = key;
            return field.map(Some).map_err(self.document.within(&self.key));
        }
        Ok(None)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        let value = self.inner.next_value_seed(Seed { inner: seed, document: self.document });
        value.map_err(self.document.within(&self.key))
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

/// A key as it stands in the text, where it has no escapes.
struct Key<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl<'de> Visitor<'de> for Text {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(Text)
    }
}

/// One of several forms.
struct Choice<'a, 'de, A> {
    inner: A,
    document: &'a Document<'de>,
}

impl<'a, 'de, A: EnumAccess<'de>> EnumAccess<'de> for Choice<'a, 'de, A> {
    type Error = A::Error;
    type Variant = Choice<'a, 'de, A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), A::Error> {
        let (value, inner) = self.inner.variant_seed(seed)?;
        Ok((value, Choice { inner, document: self.document }))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Choice<'_, 'de, A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        self.inner.newtype_variant_seed(Seed { inner: seed, document: self.document })
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.inner.tuple_variant(len, Watch { visitor, wanted: Wanted::Any, document: self.document })
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        let wanted = Wanted::Object { of: "", fields };
        self.inner.struct_variant(fields, Watch { visitor, wanted, document: self.document })
    }
}

#[cfg(test)]
mod tests;
