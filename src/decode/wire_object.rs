//! How the wire structs read JSON: leniently where senders differ, and with the *last* of several equal keys, as JSON parsers
//! commonly do (serde's derive would refuse the line).
//!
//! A field of a type that it cannot have counts as absent, so that one odd value does not cost the whole line.

use serde::Deserializer;
use serde::de::{Deserialize, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// Text, or a scalar written as text; borrowed from the line unless it holds escapes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Text<'a>(Option<Cow<'a, str>>);

impl<'a> Text<'a> {
    /// `None` also for what means "absent": the empty text and Envoy's `-`.
    pub fn get(&self) -> Option<&str> {
        self.0.as_deref().filter(|text| !text.is_empty() && *text != "-")
    }

    pub fn owned(&self) -> Option<String> {
        self.get().map(str::to_owned)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Scalar).map(Text)
    }
}

/// A whole number, also one written as text or with a fraction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Number(pub Option<i64>);

impl Number {
    pub fn unsigned(self) -> Option<u64> {
        self.0.and_then(|n| u64::try_from(n).ok())
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = deserializer.deserialize_any(Scalar)?;
        Ok(Number(text.as_deref().and_then(whole_number)))
    }
}

fn whole_number(text: &str) -> Option<i64> {
    let text = text.trim();
    text.parse().ok().or_else(|| {
        let number: f64 = text.parse().ok()?;
        (number.abs() < 9e18).then_some(number as i64)
    })
}

/// `true`, also as text; anything else is no.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flag(pub bool);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Flag(deserializer.deserialize_any(Scalar)?.as_deref() == Some("true")))
    }
}

/// The elements of an array; of null elements, what an empty object would be. Anything but an array has none.
#[derive(Debug, Clone, Default)]
pub struct List<T>(pub Vec<T>);

impl<'de, T: Deserialize<'de> + Default> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Elements(PhantomData))
    }
}

struct Elements<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de> + Default> Visitor<'de> for Elements<T> {
    type Value = List<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = seq.next_element::<Option<T>>()? {
            elements.push(element.unwrap_or_default());
        }
        Ok(List(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(List::default())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
        Ok(List::default())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(List::default())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
        Ok(List::default())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
        Ok(List::default())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(List::default())
    }
}

/// Reads any value; objects, arrays and null are nothing.
struct Scalar;

impl<'de> Visitor<'de> for Scalar {
    type Value = Option<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_borrowed_str<E: Error>(self, v: &'de str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Borrowed(v)))
    }

    fn visit_str<E: Error>(self, v: &str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(v.to_owned())))
    }

    fn visit_bool<E: Error>(self, v: bool) -> Result<Self::Value, E> {
        Ok(Some(Cow::Borrowed(if v { "true" } else { "false" })))
    }

    fn visit_i64<E: Error>(self, v: i64) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(v.to_string())))
    }

    fn visit_u64<E: Error>(self, v: u64) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(v.to_string())))
    }

    fn visit_f64<E: Error>(self, v: f64) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(v.to_string())))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

/// Keys as they are.
pub fn exact<'k>(key: &'k str, _: &'k mut [u8; 32]) -> &'k str {
    key
}

/// Keys in lower case, for formats whose carriers do not agree on it. No key that is read is longer than the buffer.
pub fn any_case<'k>(key: &'k str, buffer: &'k mut [u8; 32]) -> &'k str {
    match buffer.get_mut(..key.len()) {
        Some(lower) => {
            lower.copy_from_slice(key.as_bytes());
            lower.make_ascii_lowercase();
            std::str::from_utf8(lower).unwrap_or(key)
        }
        None => key,
    }
}

/// Defines a struct of optional fields read from an object: `field: Type = "key" | "other key"`. The last key wins, unknown
/// keys are skipped, null gives the default. `exact` or `any_case` says how keys are compared.
macro_rules! wire_object {
    ($(#[$meta:meta])* $name:ident, $case:ident {
        $($(#[$field_meta:meta])* $field:ident: $type:ty = $($key:literal)|+,)+
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default)]
        pub struct $name<'a> { $($(#[$field_meta])* pub $field: $type,)+ }

        const _: () = {
            use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

            #[allow(non_camel_case_types, reason = "named after the fields")]
            enum Key { $($field,)+ Other }

            impl<'de> Deserialize<'de> for Key {
                fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    struct Reader;
                    impl Visitor<'_> for Reader {
                        type Value = Key;
                        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                            f.write_str("a key")
                        }
                        fn visit_str<E: Error>(self, key: &str) -> Result<Key, E> {
                            Ok(match $crate::decode::wire_object::$case(key, &mut [0; 32]) {
                                $($($key)|+ => Key::$field,)+
                                _ => Key::Other,
                            })
                        }
                    }
                    deserializer.deserialize_identifier(Reader)
                }
            }

            impl<'de: 'a, 'a> Deserialize<'de> for $name<'a> {
                fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    struct Reader<'a>(std::marker::PhantomData<&'a ()>);
                    impl<'de: 'a, 'a> Visitor<'de> for Reader<'a> {
                        type Value = $name<'a>;
                        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                            f.write_str("an object")
                        }
                        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<$name<'a>, A::Error> {
                            let mut object = $name::default();
                            while let Some(key) = map.next_key()? {
                                match key {
                                    $(Key::$field => {
                                        object.$field = map.next_value::<Option<$type>>()?.unwrap_or_default();
                                    })+
                                    Key::Other => { map.next_value::<IgnoredAny>()?; }
                                }
                            }
                            Ok(object)
                        }
                        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<$name<'a>, A::Error> {
                            while seq.next_element::<IgnoredAny>()?.is_some() {}
                            Ok($name::default())
                        }
                        fn visit_str<E: Error>(self, _: &str) -> Result<$name<'a>, E> { Ok($name::default()) }
                        fn visit_bool<E: Error>(self, _: bool) -> Result<$name<'a>, E> { Ok($name::default()) }
                        fn visit_i64<E: Error>(self, _: i64) -> Result<$name<'a>, E> { Ok($name::default()) }
                        fn visit_u64<E: Error>(self, _: u64) -> Result<$name<'a>, E> { Ok($name::default()) }
                        fn visit_f64<E: Error>(self, _: f64) -> Result<$name<'a>, E> { Ok($name::default()) }
                    }
                    deserializer.deserialize_any(Reader(std::marker::PhantomData))
                }
            }
        };
    };
}
pub(super) use wire_object;
