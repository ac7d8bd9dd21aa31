//! JSON into types, by way of a tree.
//!
//! serde_json compiles a reader of texts for each type, with arrays in the place of objects, names
//! as bytes and as numbers, and the place of each error: 2 to 25 KB of program a type. Here it
//! reads one type, the tree below, and types are made of that by as little code as serde allows.
//! Writing is serde_json's own.

use std::cell::Cell;
use std::fmt;

use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error as _, Expected, MapAccess,
    SeqAccess, Unexpected, VariantAccess, Visitor,
};
use serde_json::Error;

/// How many values a text may have: a tree takes 32 bytes for each, a text as few as two. No
/// request or answer that means something has a hundredth of them for each of its functions.
const MAX_VALUES: usize = 1 << 20;

/// Reads a whole text. An error is one of data (`is_data`) where the text is JSON.
pub(crate) fn from_slice<T: DeserializeOwned>(text: &[u8]) -> Result<T, Error> {
    T::deserialize(Json::parse(text)?)
}

/// A value; the members of an object in their order.
enum Json {
    Null,
    Bool(bool),
    Whole(u64),
    Negative(i64),
    Float(f64),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    fn parse(text: &[u8]) -> Result<Json, Error> {
        let mut reader = serde_json::Deserializer::from_slice(text);
        let left = Cell::new(MAX_VALUES);
        let json = Tree { left: &left }.deserialize(&mut reader)?;
        reader.end()?;
        Ok(json)
    }

    fn unexpected(&self, expected: &dyn Expected) -> Error {
        let found = match self {
            Json::Null => Unexpected::Other("null"),
            Json::Bool(value) => Unexpected::Bool(*value),
            Json::Whole(value) => Unexpected::Unsigned(*value),
            Json::Negative(value) => Unexpected::Signed(*value),
            Json::Float(value) => Unexpected::Float(*value),
            Json::Text(value) => Unexpected::Str(value),
            Json::List(_) => Unexpected::Seq,
            Json::Object(_) => Unexpected::Map,
        };
        Error::invalid_type(found, expected)
    }
}

/// Makes the tree of what a reader has.
#[derive(Clone, Copy)]
struct Tree<'l> {
    /// How many values there may still be.
    left: &'l Cell<usize>,
}

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Json, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Whole(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Negative(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            self.count()?;
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let mut object = Vec::new();
        while let Some(name) = members.next_key()? {
            self.count()?;
            object.push((name, members.next_value_seed(self)?));
        }
        Ok(Json::Object(object))
    }
}

impl Tree<'_> {
    fn count<E: serde::de::Error>(self) -> Result<(), E> {
        let left = self.left.get().checked_sub(1);
        self.left.set(left.ok_or_else(|| E::custom("the JSON has too many values"))?);
        Ok(())
    }
}

macro_rules! as_u64 {
    ($($method:ident)+) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.deserialize_u64(visitor)
        }
    )+};
}

/// Answers only what derived readers ask, so that only that is compiled for each of them.
impl<'de> Deserializer<'de> for Json {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Json::Null => visitor.visit_unit(),
            Json::Bool(value) => visitor.visit_bool(value),
            Json::Whole(value) => visitor.visit_u64(value),
            Json::Negative(value) => visitor.visit_i64(value),
            Json::Float(value) => visitor.visit_f64(value),
            Json::Text(value) => visitor.visit_string(value),
            Json::List(items) => visitor.visit_seq(Items(items.into_iter())),
            Json::Object(members) => visitor.visit_map(Members::of(members)),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Json::Bool(value) => visitor.visit_bool(value),
            other => Err(other.unexpected(&visitor)),
        }
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Json::Whole(value) => visitor.visit_u64(value),
            Json::Negative(value) => visitor.visit_i64(value),
            other => Err(other.unexpected(&visitor)),
        }
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Json::Float(value) => visitor.visit_f64(value),
            other => other.deserialize_u64(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Json::Text(value) => visitor.visit_string(value),
            other => Err(other.unexpected(&visitor)),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self {
            Json::Text(value) => visitor.visit_str(value),
            other => Err(other.unexpected(&visitor)),
        }
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Json::Null => visitor.visit_none(),
            some => visitor.visit_some(some),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Json::Null => visitor.visit_unit(),
            other => Err(other.unexpected(&visitor)),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Json::List(items) => visitor.visit_seq(Items(items.into_iter())),
            other => Err(other.unexpected(&visitor)),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Json::Object(members) => visitor.visit_map(Members::of(members)),
            other => Err(other.unexpected(&visitor)),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self {
            Json::Text(name) => visitor.visit_enum(Variant { name, content: Json::Null }),
            Json::Object(members) if members.len() == 1 => match members.into_iter().next() {
                Some((name, content)) => visitor.visit_enum(Variant { name, content }),
                None => Err(Json::Null.unexpected(&visitor)),
            },
            other => Err(other.unexpected(&visitor)),
        }
    }

    as_u64! {
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_i8 deserialize_i16
        deserialize_i32 deserialize_i64
    }

    serde::forward_to_deserialize_any! {
        f32 char bytes byte_buf unit_struct tuple tuple_struct
    }
}

struct Items(std::vec::IntoIter<Json>);

impl<'de> SeqAccess<'de> for Items {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Error> {
        self.0.next().map(|item| seed.deserialize(item)).transpose()
    }
}

struct Members {
    rest: std::vec::IntoIter<(String, Json)>,
    value: Json,
}

impl Members {
    fn of(members: Vec<(String, Json)>) -> Members {
        Members { rest: members.into_iter(), value: Json::Null }
    }

    fn next_name(&mut self) -> Option<Json> {
        let (name, value) = self.rest.next()?;
        self.value = value;
        Some(Json::Text(name))
    }
}

impl<'de> MapAccess<'de> for Members {
    type Error = Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Error> {
        self.next_name().map(|name| seed.deserialize(name)).transpose()
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        seed.deserialize(std::mem::replace(&mut self.value, Json::Null))
    }
}

/// A variant by its name, alone or with what it holds.
struct Variant {
    name: String,
    content: Json,
}

impl<'de> EnumAccess<'de> for Variant {
    type Error = Error;
    type Variant = Content;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Content), Error> {
        Ok((seed.deserialize(Json::Text(self.name))?, Content(self.content)))
    }
}

struct Content(Json);

impl<'de> VariantAccess<'de> for Content {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        serde::Deserialize::deserialize(self.0)
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Error> {
        seed.deserialize(self.0)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.0.deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.deserialize_map(visitor)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Everything {
        text: String,
        small: u8,
        signed: i64,
        float: f64,
        flag: bool,
        absent: Option<String>,
        none: Option<String>,
        some: Option<Box<Everything>>,
        #[serde(default)]
        list: Vec<u32>,
        map: BTreeMap<String, Option<bool>>,
        kinds: Vec<Kind>,
        tagged: Tagged,
        either: Vec<Either>,
        ignored: Option<serde::de::IgnoredAny>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    enum Kind {
        Plain,
        Wrapped(String),
        Pair(u8, u8),
        Full { size: u64 },
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(tag = "is")]
    enum Tagged {
        A { n: i32 },
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(untagged)]
    enum Either {
        Text(String),
        Map(BTreeMap<String, String>),
    }

    const TEXT: &str = r#" {"Text": "a\"\u00e9", "Small": 255, "Signed": -5, "Float": 2, "Flag": true,
        "None": null, "Unknown": {"x": [1, {}]}, "List": [1, 4294967295], "Map": {"b": null, "a": false},
        "Kinds": ["Plain", {"Wrapped": "w"}, {"Pair": [1, 2]}, {"Full": {"size": 1}}],
        "Tagged": {"n": 7, "is": "A"}, "Either": ["t", {"k": "v"}], "Ignored": [1.5e3, null]} "#;

    #[test]
    fn types_are_read_as_serde_json_reads_them() {
        let ours: Everything = from_slice(TEXT.as_bytes()).unwrap();
        assert_eq!(ours, serde_json::from_str(TEXT).unwrap());
        assert_eq!(ours.text, "a\"é");
    }

    #[test]
    fn what_one_refuses_the_other_does_too() {
        for (from, to) in [
            ("255", "256"),
            ("255", "-1"),
            ("255", "1.0"),
            ("255", "\"1\""),
            ("-5", "-5.5"),
            ("-5", "9223372036854775808"),
            ("true", "1"),
            ("true", "null"),
            ("\"Float\": 2", "\"Float\": \"2\""),
            ("\"Text\": \"a", "\"Text\": 5, \"x\": \"a"),
            ("\"Flag\"", "\"Small\""),
            ("\"Flag\"", "\"flag\""),
            ("[1, 4294967295]", "{}"),
            ("[1, 4294967295]", "[1, 4294967296]"),
            ("{\"b\": null, \"a\": false}", "[]"),
            ("{\"b\": null, \"a\": false}", "{\"b\": 5}"),
            ("\"Plain\"", "\"Other\""),
            ("\"Plain\"", "\"Wrapped\""),
            ("\"Plain\"", "5"),
            ("\"Plain\"", "{}"),
            ("\"Plain\"", "{\"Plain\": 1}"),
            ("{\"Wrapped\": \"w\"}", "{\"Wrapped\": \"w\", \"Plain\": null}"),
            ("\"is\": \"A\"", "\"is\": \"B\""),
            ("[\"t\",", "[7,"),
            ("} ", "} x"),
            ("} ", "}}"),
            ("} ", ""),
            ("{\"x\": [1, {}]}", "{\"x\": [1, {]}"),
            ("\\u00e9", "\\x"),
        ] {
            assert!(TEXT.contains(from), "{from}");
            let text = TEXT.replacen(from, to, 1);
            assert!(serde_json::from_str::<Everything>(&text).is_err(), "{to}");
            let error = from_slice::<Everything>(text.as_bytes()).unwrap_err();
            let json = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
            assert_eq!(error.is_data(), json, "{to}: {error}");
        }
        assert!(from_slice::<String>(b"\"\xff\"").is_err());
        assert!(from_slice::<String>(b"").is_err());
        let deep = "[".repeat(100_000);
        assert!(from_slice::<serde::de::IgnoredAny>(deep.as_bytes()).is_err());
    }

    #[test]
    fn an_error_says_what_was_found_and_expected() {
        let error = from_slice::<Everything>(b"[1]").unwrap_err();
        assert_eq!(error.to_string(), "invalid type: sequence, expected struct Everything");
        let error = from_slice::<Vec<String>>(b"[null]").unwrap_err();
        assert_eq!(error.to_string(), "invalid type: null, expected a string");
    }

    #[test]
    fn values_are_bounded() {
        let list = |count: usize| format!("[{}0]", "0,".repeat(count - 1));
        assert_eq!(from_slice::<Vec<u8>>(list(MAX_VALUES).as_bytes()).unwrap().len(), MAX_VALUES);
        let error = from_slice::<Vec<u8>>(list(MAX_VALUES + 1).as_bytes()).unwrap_err();
        assert!(error.to_string().contains("too many values"), "{error}");
        let nested = format!("[{}]", vec![list(1 << 10); 1 << 10].join(","));
        assert!(from_slice::<serde::de::IgnoredAny>(nested.as_bytes()).is_err());
    }
}
