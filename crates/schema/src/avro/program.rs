//! A schema compiled for the work on values: one step per type, at the type's own index.

use std::collections::HashMap;

use super::decimal::Decimal;
use super::default;
use super::measure::{self, Measure};
use super::model::{Enum, Kind, Logical, Record, Schema, Type, TypeId};
use super::time::Unit;

/// What [`Schema`] is compiled to for encoding; the other programs are made from it.
#[derive(Debug)]
pub(crate) struct Program {
    pub(super) steps: Vec<Step>,
    pub(super) measures: Vec<Measure>,
    pub(super) root: TypeId,
}

#[derive(Debug)]
pub(super) enum Step {
    Scalar(Scalar),
    Enum(Symbols),
    Array(TypeId),
    Map(TypeId),
    Union(Union),
    Record(Fields),
}

/// A type without parts: how it is encoded and what its values mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scalar {
    Null,
    Boolean,
    Int,
    Date,
    TimeMillis,
    Long,
    TimeMicros,
    Timestamp { unit: Unit, local: bool },
    Float,
    Double,
    Bytes,
    Text,
    Uuid,
    Decimal(Decimal),
    Fixed(usize),
    UuidFixed,
    Duration,
}

impl Scalar {
    /// What an error calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "boolean",
            Self::Int => "int",
            Self::Date => "date",
            Self::TimeMillis | Self::TimeMicros => "time",
            Self::Long => "long",
            Self::Timestamp { local: false, .. } => "timestamp",
            Self::Timestamp { local: true, .. } => "local timestamp",
            Self::Float => "float",
            Self::Double => "double",
            Self::Bytes => "bytes",
            Self::Text => "string",
            Self::Uuid | Self::UuidFixed => "uuid",
            Self::Decimal(_) => "decimal",
            Self::Fixed(_) => "fixed",
            Self::Duration => "duration",
        }
    }

    /// What the plain JSON form of the type is, and what else is read when no other branch wants it.
    fn shapes(self) -> Shapes {
        match self {
            Self::Null => (Shape::Null, None),
            Self::Boolean => (Shape::Boolean, None),
            Self::Int | Self::Long => (Shape::Number, None),
            Self::Float | Self::Double => (Shape::Number, Some(Shape::Text)),
            Self::Date | Self::TimeMillis | Self::TimeMicros | Self::Timestamp { .. } | Self::Decimal(_) => {
                (Shape::Text, Some(Shape::Number))
            }
            Self::Bytes | Self::Text | Self::Uuid | Self::Fixed(_) | Self::UuidFixed | Self::Duration => {
                (Shape::Text, None)
            }
        }
    }
}

#[derive(Debug)]
pub(super) struct Symbols {
    pub(super) name: String,
    pub(super) symbols: Vec<String>,
    index: HashMap<String, u32>,
}

impl Symbols {
    fn new(symbols: &Enum) -> Self {
        let index = (0..)
            .zip(symbols.symbols())
            .map(|(index, symbol)| (symbol.clone(), index))
            .collect();
        Self {
            name: symbols.name().full().to_owned(),
            symbols: symbols.symbols().to_vec(),
            index,
        }
    }

    pub(super) fn find(&self, symbol: &str) -> Option<u32> {
        // Few symbols are compared faster than hashed.
        if self.symbols.len() <= 8 {
            let index = self.symbols.iter().position(|own| own == symbol)?;
            return u32::try_from(index).ok();
        }
        self.index.get(symbol).copied()
    }
}

#[derive(Debug)]
pub(super) struct Fields {
    pub(super) name: String,
    pub(super) fields: Vec<FieldStep>,
    index: HashMap<String, usize>,
}

impl Fields {
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.index.get(name).copied()
    }
}

#[derive(Debug)]
pub(super) struct FieldStep {
    pub(super) name: String,
    pub(super) ty: TypeId,
    /// The default, encoded. Java accepts defaults that cannot be encoded; such a one is an error once it is needed.
    pub(super) default: Option<Result<Vec<u8>, String>>,
    /// The default is a record, array or map, or a union's value that is one.
    pub(super) default_has_parts: bool,
}

/// The six shapes of a JSON value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Null,
    Boolean,
    Number,
    Text,
    List,
    Object,
}

impl Shape {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "boolean",
            Self::Number => "number",
            Self::Text => "string",
            Self::List => "array",
            Self::Object => "object",
        }
    }
}

/// The shape of a type's plain form, and one that it reads besides.
type Shapes = (Shape, Option<Shape>);

/// Which branch takes the untagged values of a shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Nobody,
    One(usize),
    Several,
}

#[derive(Debug)]
pub(super) struct Union {
    pub(super) branches: Vec<TypeId>,
    /// What tags a branch in Avro's JSON: the full name of a named type, else the kind.
    pub(super) tags: Vec<String>,
    owners: [Owner; 6],
}

impl Union {
    pub(super) fn owner(&self, shape: Shape) -> Owner {
        self.owners.get(shape as usize).copied().unwrap_or(Owner::Nobody)
    }

    pub(super) fn tagged(&self, tag: &str) -> Option<usize> {
        self.tags.iter().position(|own| own == tag)
    }

    /// The branches other than null as an error lists them.
    pub(super) fn names(&self) -> String {
        self.tags.join(", ")
    }
}

impl Program {
    pub(crate) fn compile(schema: &Schema) -> Self {
        let steps = schema.types().map(|(_, ty)| step(schema, ty)).collect();
        Self {
            steps,
            measures: measure::measure(schema),
            root: schema.root_id(),
        }
    }

    #[inline]
    pub(super) fn step(&self, id: TypeId) -> &Step {
        self.steps.get(id.index()).unwrap_or(&Step::Scalar(Scalar::Null))
    }

    pub(super) fn measure(&self, id: TypeId) -> Measure {
        self.measures.get(id.index()).copied().unwrap_or_default()
    }
}

fn step(schema: &Schema, ty: &Type) -> Step {
    match ty.kind() {
        Kind::Array(items) => Step::Array(*items),
        Kind::Map(values) => Step::Map(*values),
        Kind::Union(branches) => Step::Union(union(schema, branches)),
        Kind::Record(record) => Step::Record(fields(schema, record)),
        Kind::Enum(symbols) => Step::Enum(Symbols::new(symbols)),
        _ => Step::Scalar(scalar(ty)),
    }
}

/// The meaning of a type without parts; null for one with parts.
pub(super) fn scalar(ty: &Type) -> Scalar {
    let timestamp = |unit, local| Scalar::Timestamp { unit, local };
    let plain = match ty.kind() {
        Kind::Boolean => Scalar::Boolean,
        Kind::Int => Scalar::Int,
        Kind::Long => Scalar::Long,
        Kind::Float => Scalar::Float,
        Kind::Double => Scalar::Double,
        Kind::Bytes => Scalar::Bytes,
        Kind::String => Scalar::Text,
        Kind::Fixed(fixed) => Scalar::Fixed(fixed.size()),
        _ => Scalar::Null,
    };
    match (ty.logical(), plain) {
        (Some(Logical::Decimal { precision, scale }), Scalar::Fixed(size)) => Scalar::Decimal(Decimal {
            precision: *precision,
            scale: *scale,
            size: Some(size),
        }),
        (Some(Logical::Decimal { precision, scale }), _) => Scalar::Decimal(Decimal {
            precision: *precision,
            scale: *scale,
            size: None,
        }),
        (Some(Logical::Uuid), Scalar::Text) => Scalar::Uuid,
        (Some(Logical::Uuid), _) => Scalar::UuidFixed,
        (Some(Logical::Date), _) => Scalar::Date,
        (Some(Logical::TimeMillis), _) => Scalar::TimeMillis,
        (Some(Logical::TimeMicros), _) => Scalar::TimeMicros,
        (Some(Logical::TimestampMillis), _) => timestamp(Unit::Millis, false),
        (Some(Logical::TimestampMicros), _) => timestamp(Unit::Micros, false),
        (Some(Logical::TimestampNanos), _) => timestamp(Unit::Nanos, false),
        (Some(Logical::LocalTimestampMillis), _) => timestamp(Unit::Millis, true),
        (Some(Logical::LocalTimestampMicros), _) => timestamp(Unit::Micros, true),
        (Some(Logical::LocalTimestampNanos), _) => timestamp(Unit::Nanos, true),
        (Some(Logical::Duration), _) => Scalar::Duration,
        (Some(Logical::BigDecimal) | None, plain) => plain,
    }
}

fn fields(schema: &Schema, record: &Record) -> Fields {
    let fields = record.fields().iter().map(|field| FieldStep {
        name: field.name().to_owned(),
        ty: field.ty(),
        default: field
            .default()
            .map(|value| default::encode(schema, field.ty(), value)),
        default_has_parts: field
            .default()
            .is_some_and(|value| value.is_array() || value.is_object()),
    });
    let index = record
        .fields()
        .iter()
        .enumerate()
        .map(|(index, field)| (field.name().to_owned(), index))
        .collect();
    Fields {
        name: record.name().full().to_owned(),
        fields: fields.collect(),
        index,
    }
}

/// A shape belongs to the one branch whose plain form it is; if there is none, to the one that also reads it.
pub(super) fn union(schema: &Schema, branches: &[TypeId]) -> Union {
    let tags: Vec<String> = branches
        .iter()
        .map(|branch| schema.get(*branch).fullname().to_owned())
        .collect();
    let shapes: Vec<Shapes> = branches
        .iter()
        .map(|branch| shapes(schema.get(*branch)))
        .collect();
    let sole = |matches: &dyn Fn(&Shapes) -> bool| {
        let mut found = shapes
            .iter()
            .enumerate()
            .filter(|(_, shapes)| matches(shapes))
            .map(|(index, _)| index);
        match (found.next(), found.next()) {
            (None, _) => Owner::Nobody,
            (Some(only), None) => Owner::One(only),
            _ => Owner::Several,
        }
    };
    let all = [
        Shape::Null,
        Shape::Boolean,
        Shape::Number,
        Shape::Text,
        Shape::List,
        Shape::Object,
    ];
    let owners = all.map(|shape| match sole(&|(plain, _)| *plain == shape) {
        Owner::Nobody => sole(&|(_, also)| *also == Some(shape)),
        owner => owner,
    });
    Union {
        owners: without_look_alikes(schema, branches, &tags, owners),
        branches: branches.to_vec(),
        tags,
    }
}

fn shapes(ty: &Type) -> Shapes {
    match ty.kind() {
        Kind::Array(_) => (Shape::List, None),
        Kind::Map(_) | Kind::Record(_) => (Shape::Object, None),
        Kind::Enum(_) => (Shape::Text, None),
        _ => scalar(ty).shapes(),
    }
}

/// A record with a field that is called like a branch could be taken for a tagged value, so its values are always
/// tagged.
fn without_look_alikes(
    schema: &Schema,
    branches: &[TypeId],
    tags: &[String],
    mut owners: [Owner; 6],
) -> [Owner; 6] {
    let [.., object] = &mut owners;
    if let Owner::One(branch) = *object
        && let Some(Kind::Record(record)) = branches.get(branch).map(|branch| schema.get(*branch).kind())
        && record
            .fields()
            .iter()
            .any(|field| tags.iter().any(|tag| tag == field.name()))
    {
        *object = Owner::Several;
    }
    owners
}
