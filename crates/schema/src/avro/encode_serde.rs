//! Rust values to Avro bytes through `serde`, by the same rules as JSON.

use serde::ser::{self, Serialize};

use crate::limits::Limits;
use crate::violation::{Violation, ViolationKind};

use super::encode::{Encoded, Encoder, OpenBlock, OpenRecord, Scratch, name_of};
use super::model::TypeId;
use super::program::{Fields, Program, Shape, Step, Union};
use super::scalar::{self, Given};

/// Appends a value to what `scratch` begins with.
pub(super) fn encode<T: Serialize + ?Sized>(
    program: &Program,
    limits: Limits,
    value: &T,
    scratch: Scratch,
) -> Result<Encoded, Violation> {
    let mut encoder = Encoder::new(program, limits, scratch);
    value.serialize(At::new(&mut encoder, program.root))?;
    encoder.finish()
}

impl ser::Error for Violation {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self::new(ViolationKind::Custom, message.to_string())
    }
}

/// A place of a type where one value goes.
struct At<'e, 'p> {
    encoder: &'e mut Encoder<'p>,
    ty: TypeId,
    /// A text that comes next is a number as `serde_json` keeps it.
    number: bool,
}

/// How `serde_json` calls the struct that stands for a number kept digit by digit.
const NUMBER: &str = "$serde_json::private::Number";

impl<'e, 'p> At<'e, 'p> {
    fn new(encoder: &'e mut Encoder<'p>, ty: TypeId) -> Self {
        Self {
            encoder,
            ty,
            number: false,
        }
    }

    #[inline]
    fn scalar(self, given: Given<'_>) -> Result<(), Violation> {
        match given {
            Given::Text(text) if self.number => self.encoder.scalar(self.ty, Given::Literal(text)),
            given => self.encoder.scalar(self.ty, given),
        }
    }

    #[inline]
    fn step(&self) -> &'p Step {
        self.encoder.program.step(self.ty)
    }

    /// Goes into the branch of a union that takes this shape.
    fn into_owner(self, shape: Shape) -> Result<Self, Violation> {
        let Step::Union(union) = self.step() else {
            return Ok(self);
        };
        let branch = self.encoder.owner(union, shape, || shape.name().to_owned())?;
        self.into_branch(union, branch)
    }

    fn into_branch(self, union: &Union, branch: usize) -> Result<Self, Violation> {
        let ty = self.encoder.put_branch(union, branch)?;
        Ok(Self::new(self.encoder, ty))
    }

    /// Goes into the branch of a union that is called like a Rust struct, else into the one that takes objects.
    fn into_named(self, name: &str) -> Result<Self, Violation> {
        match self.step() {
            Step::Union(union) => match named(union, name) {
                Some(branch) => self.into_branch(union, branch),
                None => self.into_owner(Shape::Object),
            },
            _ => Ok(self),
        }
    }

    fn list(self) -> Result<List<'e, 'p>, Violation> {
        let at = self.into_owner(Shape::List)?;
        let Step::Array(items) = at.step() else {
            return Err(found(at.step(), "a sequence"));
        };
        let block = at.encoder.open_array(*items)?;
        Ok(List {
            encoder: at.encoder,
            items: *items,
            block,
        })
    }

    fn object(self, name: &str) -> Result<Object<'e, 'p>, Violation> {
        if name == NUMBER {
            let parts = Parts::Number(self.ty);
            return Ok(Object {
                encoder: self.encoder,
                parts,
                key: None,
            });
        }
        let at = self.into_named(name)?;
        match at.step() {
            Step::Record(fields) => {
                let record = at.encoder.open_record()?;
                Ok(Object {
                    encoder: at.encoder,
                    parts: Parts::Record { fields, record },
                    key: None,
                })
            }
            Step::Map(values) => {
                let block = at.encoder.open_map()?;
                Ok(Object {
                    encoder: at.encoder,
                    parts: Parts::Map {
                        values: *values,
                        block,
                    },
                    key: None,
                })
            }
            other => Err(found(other, "a struct or map")),
        }
    }

    fn variant(self, variant: &str) -> Result<Self, Violation> {
        let Step::Union(union) = self.step() else {
            return Err(found(self.step(), &format!("variant {variant}")));
        };
        match named(union, variant) {
            Some(branch) => self.into_branch(union, branch),
            None => {
                let message = format!("variant {variant} is no branch of the union of {}", union.names());
                Err(Violation::new(ViolationKind::Branch, message))
            }
        }
    }
}

fn found(step: &Step, found: &str) -> Violation {
    Violation::new(
        ViolationKind::Type,
        format!("expected {}, found {found}", name_of(step)),
    )
}

/// The branch with this full name, or with this name when namespaces and case are left out: `OrderPlaced`, `Int`.
fn named(union: &Union, name: &str) -> Option<usize> {
    union.tagged(name).or_else(|| {
        union.tags.iter().position(|tag| {
            let simple = tag.rsplit_once('.').map_or(tag.as_str(), |(_, simple)| simple);
            simple.eq_ignore_ascii_case(name)
        })
    })
}

struct List<'e, 'p> {
    encoder: &'e mut Encoder<'p>,
    items: TypeId,
    block: OpenBlock,
}

impl List<'_, '_> {
    fn item<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Violation> {
        let index = self.encoder.open_item(&mut self.block)?;
        let at = At::new(self.encoder, self.items);
        value.serialize(at).map_err(|violation| violation.in_item(index))
    }

    fn close(self) {
        self.encoder.close_block(&self.block);
    }
}

/// A record or a map that is being written.
struct Object<'e, 'p> {
    encoder: &'e mut Encoder<'p>,
    parts: Parts<'p>,
    key: Option<String>,
}

enum Parts<'p> {
    Record { fields: &'p Fields, record: OpenRecord },
    Map { values: TypeId, block: OpenBlock },
    Number(TypeId),
}

impl Object<'_, '_> {
    #[inline]
    fn member<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<(), Violation> {
        match &mut self.parts {
            Parts::Record { fields, record } => {
                let (_, ty) = self.encoder.open_field(record, fields, key)?;
                let at = At::new(self.encoder, ty);
                value.serialize(at).map_err(|violation| violation.in_field(key))
            }
            Parts::Number(ty) => value.serialize(At {
                number: true,
                ..At::new(self.encoder, *ty)
            }),
            Parts::Map { values, block } => {
                self.encoder.open_item(block)?;
                scalar::put_bytes(&mut self.encoder.out, key.as_bytes());
                let at = At::new(self.encoder, *values);
                value.serialize(at).map_err(|violation| violation.in_key(key))
            }
        }
    }

    fn close(self) -> Result<(), Violation> {
        match &self.parts {
            Parts::Record { fields, record } => self.encoder.close_record(record, fields),
            Parts::Map { block, .. } => {
                self.encoder.close_block(block);
                Ok(())
            }
            Parts::Number(_) => Ok(()),
        }
    }
}

impl<'e, 'p> ser::Serializer for At<'e, 'p> {
    type Ok = ();
    type Error = Violation;
    type SerializeSeq = List<'e, 'p>;
    type SerializeTuple = List<'e, 'p>;
    type SerializeTupleStruct = List<'e, 'p>;
    type SerializeTupleVariant = List<'e, 'p>;
    type SerializeMap = Object<'e, 'p>;
    type SerializeStruct = Object<'e, 'p>;
    type SerializeStructVariant = Object<'e, 'p>;

    fn serialize_bool(self, value: bool) -> Result<(), Violation> {
        self.scalar(Given::Boolean(value))
    }

    fn serialize_i8(self, value: i8) -> Result<(), Violation> {
        self.scalar(Given::Integer(value.into()))
    }

    fn serialize_i16(self, value: i16) -> Result<(), Violation> {
        self.scalar(Given::Integer(value.into()))
    }

    fn serialize_i32(self, value: i32) -> Result<(), Violation> {
        self.scalar(Given::Integer(value.into()))
    }

    fn serialize_i64(self, value: i64) -> Result<(), Violation> {
        self.scalar(Given::Integer(value.into()))
    }

    fn serialize_i128(self, value: i128) -> Result<(), Violation> {
        self.scalar(Given::Integer(value))
    }

    fn serialize_u8(self, value: u8) -> Result<(), Violation> {
        self.scalar(Given::Integer(value.into()))
    }

    fn serialize_u16(self, value: u16) -> Result<(), Violation> {
        self.scalar(Given::Integer(value.into()))
    }

    fn serialize_u32(self, value: u32) -> Result<(), Violation> {
        self.scalar(Given::Integer(value.into()))
    }

    fn serialize_u64(self, value: u64) -> Result<(), Violation> {
        self.scalar(Given::Integer(value.into()))
    }

    fn serialize_f32(self, value: f32) -> Result<(), Violation> {
        self.scalar(Given::Float(value.into()))
    }

    fn serialize_f64(self, value: f64) -> Result<(), Violation> {
        self.scalar(Given::Float(value))
    }

    fn serialize_char(self, value: char) -> Result<(), Violation> {
        self.scalar(Given::Text(value.encode_utf8(&mut [0; 4])))
    }

    fn serialize_str(self, value: &str) -> Result<(), Violation> {
        self.scalar(Given::Text(value))
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), Violation> {
        self.scalar(Given::Bytes(value))
    }

    fn serialize_none(self) -> Result<(), Violation> {
        self.scalar(Given::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Violation> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Violation> {
        self.scalar(Given::Null)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Violation> {
        self.scalar(Given::Null)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), Violation> {
        self.scalar(Given::Text(variant))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Violation> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Violation> {
        value.serialize(self.variant(variant)?)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<List<'e, 'p>, Violation> {
        self.list()
    }

    fn serialize_tuple(self, _: usize) -> Result<List<'e, 'p>, Violation> {
        self.list()
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<List<'e, 'p>, Violation> {
        self.list()
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<List<'e, 'p>, Violation> {
        self.variant(variant)?.list()
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Object<'e, 'p>, Violation> {
        self.object("")
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Object<'e, 'p>, Violation> {
        self.object(name)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Object<'e, 'p>, Violation> {
        self.variant(variant)?.object(variant)
    }
}

impl ser::SerializeSeq for List<'_, '_> {
    type Ok = ();
    type Error = Violation;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Violation> {
        self.item(value)
    }

    fn end(self) -> Result<(), Violation> {
        self.close();
        Ok(())
    }
}

impl ser::SerializeTuple for List<'_, '_> {
    type Ok = ();
    type Error = Violation;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Violation> {
        self.item(value)
    }

    fn end(self) -> Result<(), Violation> {
        self.close();
        Ok(())
    }
}

impl ser::SerializeTupleStruct for List<'_, '_> {
    type Ok = ();
    type Error = Violation;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Violation> {
        self.item(value)
    }

    fn end(self) -> Result<(), Violation> {
        self.close();
        Ok(())
    }
}

impl ser::SerializeTupleVariant for List<'_, '_> {
    type Ok = ();
    type Error = Violation;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Violation> {
        self.item(value)
    }

    fn end(self) -> Result<(), Violation> {
        self.close();
        Ok(())
    }
}

impl ser::SerializeMap for Object<'_, '_> {
    type Ok = ();
    type Error = Violation;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Violation> {
        self.key = Some(key_text(key)?);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Violation> {
        let key = self.key.take().unwrap_or_default();
        self.member(&key, value)
    }

    fn end(self) -> Result<(), Violation> {
        self.close()
    }
}

impl ser::SerializeStruct for Object<'_, '_> {
    type Ok = ();
    type Error = Violation;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), Violation> {
        self.member(key, value)
    }

    fn end(self) -> Result<(), Violation> {
        self.close()
    }
}

impl ser::SerializeStructVariant for Object<'_, '_> {
    type Ok = ();
    type Error = Violation;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), Violation> {
        self.member(key, value)
    }

    fn end(self) -> Result<(), Violation> {
        self.close()
    }
}

/// A map key as JSON would write it: Avro's keys are texts.
fn key_text<T: Serialize + ?Sized>(key: &T) -> Result<String, Violation> {
    match serde_json::to_value(key) {
        Ok(serde_json::Value::String(text)) => Ok(text),
        Ok(value @ (serde_json::Value::Number(_) | serde_json::Value::Bool(_))) => Ok(value.to_string()),
        _ => Err(Violation::new(ViolationKind::Type, "a map key that is no text")),
    }
}
