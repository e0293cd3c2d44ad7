//! Encoded bytes to Rust values through `serde`.

use serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use crate::limits::Limits;
use crate::violation::{Violation, ViolationKind};

use super::program::Scalar;
use super::read::{Block, Cursor, Taken, skip, time_text};
use super::resolve::{ReadId, ReadProgram, ReadRecord, ReadStep};

/// The value in `bytes`.
pub(super) fn decode<T: DeserializeOwned>(
    program: &ReadProgram,
    limits: Limits,
    bytes: &[u8],
) -> Result<T, Violation> {
    let mut cursor = Cursor::new(bytes, limits)?;
    let value = T::deserialize(At {
        program,
        cursor: &mut cursor,
        id: ReadProgram::ROOT,
    })?;
    cursor.end()?;
    Ok(value)
}

impl de::Error for Violation {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self::new(ViolationKind::Custom, message.to_string())
    }
}

/// A place in the bytes where a value of a step begins.
struct At<'r, 'c, 'b> {
    program: &'r ReadProgram,
    cursor: &'c mut Cursor<'b>,
    id: ReadId,
}

impl<'r> At<'r, '_, '_> {
    #[inline]
    fn step(&self) -> &'r ReadStep {
        self.program.step(self.id)
    }

    /// Reads the writer's choice of a branch, so that the step is no longer a union of the writer.
    #[inline]
    fn settle(mut self) -> Result<Self, Violation> {
        while let ReadStep::Union(branches) = self.step() {
            self.id = self.cursor.branch(branches)?;
        }
        Ok(self)
    }

    /// Goes inside a union of the reader, too.
    #[inline]
    fn inside(self) -> Result<Self, Violation> {
        let mut at = self.settle()?;
        while let ReadStep::Branch(branch) = at.step() {
            at.id = branch.step;
            at = at.settle()?;
        }
        Ok(at)
    }

    #[inline]
    fn is_null(&self) -> bool {
        let inner = match self.step() {
            ReadStep::Branch(branch) => self.program.step(branch.step),
            step => step,
        };
        matches!(
            inner,
            ReadStep::Scalar {
                wire: Scalar::Null,
                ..
            }
        )
    }

    fn parts<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Violation> {
        let program = self.program;
        match self.step() {
            ReadStep::Array { items, empty_weight } => {
                self.cursor.descend()?;
                let block = Block::default();
                let mut items = Items {
                    program,
                    cursor: self.cursor,
                    items: *items,
                    empty_weight: *empty_weight,
                    block,
                };
                let value = visitor.visit_seq(&mut items)?;
                while de::SeqAccess::next_element::<de::IgnoredAny>(&mut items)?.is_some() {}
                items.cursor.ascend();
                Ok(value)
            }
            ReadStep::Map(values) => {
                self.cursor.descend()?;
                let mut entries = Entries {
                    program,
                    cursor: self.cursor,
                    values: *values,
                    block: Block::default(),
                    key: String::new(),
                };
                let value = visitor.visit_map(&mut entries)?;
                while de::MapAccess::next_entry::<de::IgnoredAny, de::IgnoredAny>(&mut entries)?.is_some() {}
                entries.cursor.ascend();
                Ok(value)
            }
            ReadStep::Record(record) => {
                self.cursor.descend()?;
                let mut fields = Fields {
                    program,
                    cursor: self.cursor,
                    record,
                    next: 0,
                };
                let value = visitor.visit_map(&mut fields)?;
                while de::MapAccess::next_entry::<de::IgnoredAny, de::IgnoredAny>(&mut fields)?.is_some() {}
                fields.cursor.ascend();
                Ok(value)
            }
            ReadStep::Enum { name, symbols } => visitor.visit_str(self.cursor.symbol(name, symbols)?),
            ReadStep::Refuse(reason) => Err(Violation::new(ViolationKind::Unreadable, reason)),
            ReadStep::Scalar { wire, form } => visit(self.cursor.scalar(*wire, *form)?, visitor),
            ReadStep::Union(_) | ReadStep::Branch(_) => self.inside()?.parts(visitor),
        }
    }

    /// As [`At::parts`], but a value without parts goes through `convert` first.
    fn converted<'de, V: Visitor<'de>>(
        self,
        visitor: V,
        convert: impl FnOnce(Taken<'_>, V) -> Result<V::Value, Violation>,
    ) -> Result<V::Value, Violation> {
        let at = self.inside()?;
        match at.step() {
            ReadStep::Scalar { wire, form } => convert(at.cursor.scalar(*wire, *form)?, visitor),
            _ => at.parts(visitor),
        }
    }

    fn integer<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Violation> {
        self.converted(visitor, |taken, visitor| match taken {
            Taken::Time(value, _) => visitor.visit_i64(value),
            other => visit(other, visitor),
        })
    }
}

/// A value as JSON would describe it: dates and times as text, bytes as a text of their code points.
fn visit<'de, V: Visitor<'de>>(taken: Taken<'_>, visitor: V) -> Result<V::Value, Violation> {
    match taken {
        Taken::Null => visitor.visit_unit(),
        Taken::Boolean(value) => visitor.visit_bool(value),
        Taken::Integer(value) => visitor.visit_i64(value),
        Taken::Time(value, form) => match time_text(value, form) {
            Some(text) => visitor.visit_string(text),
            None => visitor.visit_i64(value),
        },
        Taken::Single(value) => visitor.visit_f32(value),
        Taken::Double(value) => visitor.visit_f64(value),
        Taken::Bytes(bytes) => visitor.visit_string(bytes.iter().map(|byte| char::from(*byte)).collect()),
        Taken::Text(text) => visitor.visit_str(&text),
    }
}

fn visit_bytes<'de, V: Visitor<'de>>(taken: Taken<'_>, visitor: V) -> Result<V::Value, Violation> {
    match taken {
        Taken::Bytes(bytes) => visitor.visit_bytes(bytes),
        other => visit(other, visitor),
    }
}

impl<'de> Deserializer<'de> for At<'_, '_, '_> {
    type Error = Violation;

    forward_to_deserialize_any! {
        bool f32 f64 char str string unit unit_struct seq tuple tuple_struct map struct identifier
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Violation> {
        self.inside()?.parts(visitor)
    }

    fn deserialize_i8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Violation> {
        self.integer(visitor)
    }

    fn deserialize_i16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Violation> {
        self.integer(visitor)
    }

    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Violation> {
        self.integer(visitor)
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Violation> {
        self.integer(visitor)
    }

    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Violation> {
        self.integer(visitor)
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Violation> {
        self.integer(visitor)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Violation> {
        self.integer(visitor)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Violation> {
        self.integer(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Violation> {
        self.converted(visitor, visit_bytes)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Violation> {
        self.converted(visitor, visit_bytes)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Violation> {
        let at = self.settle()?;
        if at.is_null() {
            visitor.visit_none()
        } else {
            visitor.visit_some(at)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Violation> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Violation> {
        let at = self.settle()?;
        if let ReadStep::Branch(branch) = at.step() {
            let name =
                |variant: &&&str| **variant == branch.tag || variant.eq_ignore_ascii_case(&branch.simple);
            if let Some(variant) = variants.iter().find(name) {
                let At { program, cursor, .. } = at;
                return visitor.visit_enum(Variant {
                    variant,
                    content: At {
                        program,
                        cursor,
                        id: branch.step,
                    },
                });
            }
        }
        let at = at.inside()?;
        match at.step() {
            ReadStep::Enum { name, symbols } => {
                let symbol = at.cursor.symbol(name, symbols)?;
                visitor.visit_enum(de::value::StrDeserializer::new(symbol))
            }
            ReadStep::Scalar { wire, form } => match at.cursor.scalar(*wire, *form)? {
                Taken::Text(text) => visitor.visit_enum(de::value::StrDeserializer::new(&text)),
                other => visit(other, visitor),
            },
            _ => at.parts(visitor),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Violation> {
        skip(self.program, self.id, self.cursor)?;
        visitor.visit_unit()
    }
}

struct Items<'r, 'c, 'b> {
    program: &'r ReadProgram,
    cursor: &'c mut Cursor<'b>,
    items: ReadId,
    empty_weight: usize,
    block: Block,
}

impl<'de> de::SeqAccess<'de> for Items<'_, '_, '_> {
    type Error = Violation;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Violation> {
        if !self.cursor.item(&mut self.block, self.empty_weight)? {
            return Ok(None);
        }
        let at = At {
            program: self.program,
            cursor: self.cursor,
            id: self.items,
        };
        seed.deserialize(at)
            .map(Some)
            .map_err(|violation| violation.in_item(self.block.index))
    }
}

struct Entries<'r, 'c, 'b> {
    program: &'r ReadProgram,
    cursor: &'c mut Cursor<'b>,
    values: ReadId,
    block: Block,
    key: String,
}

impl<'de> de::MapAccess<'de> for Entries<'_, '_, '_> {
    type Error = Violation;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Violation> {
        if !self.cursor.item(&mut self.block, 0)? {
            return Ok(None);
        }
        let key = self.cursor.text("a map key")?;
        key.clone_into(&mut self.key);
        seed.deserialize(key.into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Violation> {
        let at = At {
            program: self.program,
            cursor: self.cursor,
            id: self.values,
        };
        seed.deserialize(at)
            .map_err(|violation| violation.in_key(&self.key))
    }
}

/// The fields of a record, then those that take their defaults.
struct Fields<'r, 'c, 'b> {
    program: &'r ReadProgram,
    cursor: &'c mut Cursor<'b>,
    record: &'r ReadRecord,
    next: usize,
}

impl<'r> Fields<'r, '_, '_> {
    /// Reads past fields that the reader does not have; gives the name of the next that it has.
    #[inline]
    fn name(&mut self) -> Result<Option<&'r str>, Violation> {
        while let Some(field) = self.record.fields.get(self.next) {
            if field.wanted {
                return Ok(Some(&field.name));
            }
            skip(self.program, field.step, self.cursor)
                .map_err(|violation| violation.in_field(&field.name))?;
            self.next += 1;
        }
        let default = self.record.defaults.get(self.next - self.record.fields.len());
        Ok(default.map(|default| default.name.as_str()))
    }
}

impl<'de> de::MapAccess<'de> for Fields<'_, '_, '_> {
    type Error = Violation;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Violation> {
        let Some(name) = self.name()? else { return Ok(None) };
        seed.deserialize(name.into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Violation> {
        let at = self.next;
        self.next += 1;
        if let Some(field) = self.record.fields.get(at) {
            let at = At {
                program: self.program,
                cursor: self.cursor,
                id: field.step,
            };
            return seed
                .deserialize(at)
                .map_err(|violation| violation.in_field(&field.name));
        }
        let Some(default) = self.record.defaults.get(at - self.record.fields.len()) else {
            return Err(Violation::new(
                ViolationKind::Custom,
                "a value was asked for after the last field",
            ));
        };
        let mut own = self.cursor.swap(&default.bytes);
        let at = At {
            program: self.program,
            cursor: &mut own,
            id: default.step,
        };
        seed.deserialize(at)
            .map_err(|violation| violation.in_field(&default.name))
    }
}

/// A branch of a union as a variant of a Rust enum.
struct Variant<'r, 'c, 'b> {
    variant: &'static str,
    content: At<'r, 'c, 'b>,
}

impl<'de> de::EnumAccess<'de> for Variant<'_, '_, '_> {
    type Error = Violation;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Violation> {
        let name = de::value::StrDeserializer::<Violation>::new(self.variant);
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> de::VariantAccess<'de> for Variant<'_, '_, '_> {
    type Error = Violation;

    fn unit_variant(self) -> Result<(), Violation> {
        skip(self.content.program, self.content.id, self.content.cursor)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Violation> {
        seed.deserialize(self.content)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Violation> {
        self.content.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Violation> {
        self.content.deserialize_any(visitor)
    }
}
