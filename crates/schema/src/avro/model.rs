//! The parsed schema: every type in one list, referred to by index, so that recursive schemas are plain data.

use serde_json::Value;

/// Index of a type within its [`Schema`]. Only meaningful for the schema it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TypeId(pub(crate) u32);

impl TypeId {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// A parsed Avro schema (Avro 1.12 specification, "Schema Declaration"). Made by [`Schema::parse`].
///
/// ```
/// use evenkeel_schema::avro::{Kind, Schema};
/// let schema = Schema::parse(r#"{"type": "array", "items": "string"}"#)?;
/// let Kind::Array(items) = schema.root().kind() else { panic!() };
/// assert_eq!(schema.get(*items).kind(), &Kind::String);
/// # Ok::<(), evenkeel_schema::avro::ParseError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Schema {
    pub(super) types: Vec<Type>,
    pub(super) root: TypeId,
}

impl Schema {
    /// The outermost type.
    pub fn root(&self) -> &Type {
        self.get(self.root)
    }

    /// Index of the outermost type.
    pub fn root_id(&self) -> TypeId {
        self.root
    }

    /// The type at an index. An index of another schema gives `null` or an unrelated type, never a panic.
    pub fn get(&self, id: TypeId) -> &Type {
        self.types.get(id.index()).unwrap_or(&NULL)
    }

    /// All types with their indices, in the order in which their definitions begin. Types of references are among them.
    pub fn types(&self) -> impl Iterator<Item = (TypeId, &Type)> {
        (0..).map(TypeId).zip(&self.types)
    }

    /// The named type (record, enum, fixed) with this full name.
    pub fn named(&self, fullname: &str) -> Option<TypeId> {
        self.types()
            .find(|(_, ty)| ty.name().is_some_and(|n| n.full() == fullname))
            .map(|(id, _)| id)
    }
}

static NULL: Type = Type::plain(Kind::Null);

/// One type of a schema.
#[derive(Debug, Clone, PartialEq)]
pub struct Type {
    pub(super) kind: Kind,
    pub(super) logical: Option<Logical>,
    pub(super) props: Props,
    pub(super) external: bool,
}

impl Type {
    pub(super) const fn plain(kind: Kind) -> Self {
        Self {
            kind,
            logical: None,
            props: Props(Vec::new()),
            external: false,
        }
    }

    /// What the type is, with its parts.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// The logical type, when it is one that the specification knows and is valid for this type.
    /// An invalid or unknown one is ignored, as the specification asks, and stays in [`Type::props`].
    pub fn logical(&self) -> Option<&Logical> {
        self.logical.as_ref()
    }

    /// Attributes that the specification does not reserve, `logicalType` and its parameters among them, in text order.
    pub fn props(&self) -> &Props {
        &self.props
    }

    /// True for a type that a schema reference brought in, not the schema's own text.
    pub fn is_external(&self) -> bool {
        self.external
    }

    /// Name of a record, enum or fixed.
    pub fn name(&self) -> Option<&Name> {
        match &self.kind {
            Kind::Record(record) => Some(&record.name),
            Kind::Enum(symbols) => Some(&symbols.name),
            Kind::Fixed(fixed) => Some(&fixed.name),
            _ => None,
        }
    }

    /// Aliases of a record, enum or fixed; empty for all else.
    pub fn aliases(&self) -> &[Name] {
        match &self.kind {
            Kind::Record(record) => &record.aliases,
            Kind::Enum(symbols) => &symbols.aliases,
            Kind::Fixed(fixed) => &fixed.aliases,
            _ => &[],
        }
    }

    /// The full name of a named type, else the name of the kind (`"int"`, `"array"`): what names it as a union branch.
    pub fn fullname(&self) -> &str {
        self.name().map_or(self.kind.name(), Name::full)
    }
}

/// The fourteen kinds of Avro types.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// No value.
    Null,
    /// One byte, 0 or 1.
    Boolean,
    /// 32-bit signed integer.
    Int,
    /// 64-bit signed integer.
    Long,
    /// 32-bit IEEE 754.
    Float,
    /// 64-bit IEEE 754.
    Double,
    /// Any bytes.
    Bytes,
    /// UTF-8 text.
    String,
    /// A list of items of this type.
    Array(TypeId),
    /// Text keys with values of this type.
    Map(TypeId),
    /// One of these branches.
    Union(Vec<TypeId>),
    /// Named fields.
    Record(Record),
    /// One of some symbols.
    Enum(Enum),
    /// A fixed number of bytes.
    Fixed(Fixed),
}

impl Kind {
    /// The word that a schema text uses for the kind; a record declared as `error` is a `record` here.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "boolean",
            Self::Int => "int",
            Self::Long => "long",
            Self::Float => "float",
            Self::Double => "double",
            Self::Bytes => "bytes",
            Self::String => "string",
            Self::Array(_) => "array",
            Self::Map(_) => "map",
            Self::Union(_) => "union",
            Self::Record(_) => "record",
            Self::Enum(_) => "enum",
            Self::Fixed(_) => "fixed",
        }
    }
}

/// A record type.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub(super) name: Name,
    pub(super) aliases: Vec<Name>,
    pub(super) doc: Option<String>,
    pub(super) fields: Vec<Field>,
    pub(super) is_error: bool,
}

impl Record {
    /// The record's name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Other names by which a reader finds it.
    pub fn aliases(&self) -> &[Name] {
        &self.aliases
    }

    /// The `doc` attribute.
    pub fn doc(&self) -> Option<&str> {
        self.doc.as_deref()
    }

    /// Fields in the order in which they are encoded.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The field of this name (aliases are not looked at).
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// Declared with `"type": "error"` instead of `"record"`.
    pub fn is_error(&self) -> bool {
        self.is_error
    }
}

/// A field of a record.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    pub(super) name: String,
    pub(super) aliases: Vec<String>,
    pub(super) doc: Option<String>,
    pub(super) ty: TypeId,
    pub(super) default: Option<Value>,
    pub(super) order: Order,
    pub(super) props: Props,
}

impl Field {
    /// The field's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Other names by which a reader finds it in a writer's record.
    pub fn aliases(&self) -> &[String] {
        &self.aliases
    }

    /// The `doc` attribute.
    pub fn doc(&self) -> Option<&str> {
        self.doc.as_deref()
    }

    /// Index of the field's type.
    pub fn ty(&self) -> TypeId {
        self.ty
    }

    /// The default in Avro's JSON form; `Some(Value::Null)` is a default of null, `None` is no default.
    pub fn default(&self) -> Option<&Value> {
        self.default.as_ref()
    }

    /// How the field takes part in sorting.
    pub fn order(&self) -> Order {
        self.order
    }

    /// Attributes that the specification does not reserve.
    pub fn props(&self) -> &Props {
        &self.props
    }
}

/// How a field takes part in sorting (Avro specification, "Sort Order").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// Small first; the default.
    #[default]
    Ascending,
    /// Large first.
    Descending,
    /// Not compared.
    Ignore,
}

impl Order {
    /// The word in schema texts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ascending => "ascending",
            Self::Descending => "descending",
            Self::Ignore => "ignore",
        }
    }
}

/// An enum type.
#[derive(Debug, Clone, PartialEq)]
pub struct Enum {
    pub(super) name: Name,
    pub(super) aliases: Vec<Name>,
    pub(super) doc: Option<String>,
    pub(super) symbols: Vec<String>,
    pub(super) default: Option<String>,
}

impl Enum {
    /// The enum's name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Other names by which a reader finds it.
    pub fn aliases(&self) -> &[Name] {
        &self.aliases
    }

    /// The `doc` attribute.
    pub fn doc(&self) -> Option<&str> {
        self.doc.as_deref()
    }

    /// Symbols; the encoded value is the index.
    pub fn symbols(&self) -> &[String] {
        &self.symbols
    }

    /// What a reader takes for a symbol that it does not know; one of the symbols.
    pub fn default(&self) -> Option<&str> {
        self.default.as_deref()
    }
}

/// A fixed type.
#[derive(Debug, Clone, PartialEq)]
pub struct Fixed {
    pub(super) name: Name,
    pub(super) aliases: Vec<Name>,
    pub(super) doc: Option<String>,
    pub(super) size: usize,
}

impl Fixed {
    /// The fixed's name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Other names by which a reader finds it.
    pub fn aliases(&self) -> &[Name] {
        &self.aliases
    }

    /// The `doc` attribute.
    pub fn doc(&self) -> Option<&str> {
        self.doc.as_deref()
    }

    /// Bytes of each value, 0 to 2^31 - 9.
    pub fn size(&self) -> usize {
        self.size
    }
}

/// The name of a record, enum or fixed, resolved against the namespace it stands in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Name {
    full: String,
    simple_at: usize,
}

impl Name {
    /// A name as written, in the namespace around it. A dot in `written` overrides `namespace`; `".X"` has none.
    pub(super) fn new(written: &str, namespace: Option<&str>) -> Self {
        let (space, simple) = match written.rsplit_once('.') {
            Some((space, simple)) => (space, simple),
            None => (namespace.unwrap_or(""), written),
        };
        if space.is_empty() {
            return Self {
                full: simple.to_owned(),
                simple_at: 0,
            };
        }
        Self {
            full: format!("{space}.{simple}"),
            simple_at: space.len() + 1,
        }
    }

    /// Namespace and name: `com.example.Order`.
    pub fn full(&self) -> &str {
        &self.full
    }

    /// The name without its namespace: `Order`.
    pub fn simple(&self) -> &str {
        self.full.get(self.simple_at..).unwrap_or(&self.full)
    }

    /// The namespace, `com.example`, if there is one.
    pub fn namespace(&self) -> Option<&str> {
        self.full.get(..self.simple_at.checked_sub(1)?)
    }
}

/// Attributes in the order of the text; names are unique.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Props(pub(super) Vec<(String, Value)>);

impl Props {
    /// The value of an attribute.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// All attributes in the order of the text.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// True without attributes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A logical type (Avro 1.12 specification, "Logical Types") that is valid for the type it stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Logical {
    /// Big-endian two's-complement unscaled value on bytes or fixed.
    Decimal {
        /// Most digits of a value, at least 1.
        precision: u32,
        /// Digits after the point, at most `precision`.
        scale: u32,
    },
    /// A decimal on bytes that carries its own scale.
    BigDecimal,
    /// RFC 9562 identifier, as text or as fixed of 16 bytes.
    Uuid,
    /// Days since 1970-01-01 on int.
    Date,
    /// Milliseconds after midnight on int.
    TimeMillis,
    /// Microseconds after midnight on long.
    TimeMicros,
    /// An instant in milliseconds since 1970-01-01T00:00:00Z on long.
    TimestampMillis,
    /// An instant in microseconds.
    TimestampMicros,
    /// An instant in nanoseconds.
    TimestampNanos,
    /// Date and time without a zone, in milliseconds.
    LocalTimestampMillis,
    /// Date and time without a zone, in microseconds.
    LocalTimestampMicros,
    /// Date and time without a zone, in nanoseconds.
    LocalTimestampNanos,
    /// Months, days and milliseconds on fixed of 12 bytes.
    Duration,
}
