//! Schema text to [`Schema`], as strict as `org.apache.avro.Schema.Parser` 1.12.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::model::{Enum, Field, Fixed, Kind, Name, Order, Props, Record, Schema, Type, TypeId};
use super::parse_error::ParseError;
use super::{check, comments, logical};

/// Longest schema text that is read, in bytes; references count one by one.
pub const TEXT_BYTES_MAX: usize = 1 << 20;

/// Deepest nesting of the printed schema, in JSON objects and arrays. A record in a record adds three.
pub const NESTING_MAX: usize = 120;

/// Most fields of one value, those of records within records counted each time, array items and map values once.
pub const WEIGHT_MAX: usize = 100_000;

impl Schema {
    /// Reads a schema that refers to no other.
    ///
    /// # Errors
    /// A text that the Java library would refuse, or one beyond the limits.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        Self::parse_with(text, &[])
    }

    /// Reads a schema whose names may be defined by `references`: the texts of the schemas referred to, those they
    /// refer to before them. The caller has resolved them; nothing is fetched.
    ///
    /// # Errors
    /// As [`Schema::parse`], for the references too.
    pub fn parse_with(text: &str, references: &[&str]) -> Result<Self, ParseError> {
        let mut parser = Parser::default();
        for (at, reference) in references.iter().enumerate() {
            if references
                .get(..at)
                .is_some_and(|before| before.contains(reference))
            {
                continue;
            }
            parser.external = true;
            parser.path = vec![format!("reference {at}")];
            parser.text(reference)?;
        }
        parser.external = false;
        parser.path.clear();
        let root = parser.text(text)?;
        parser.finish(root)
    }
}

/// Where a check that needs all names has to look, once they are known.
pub(super) struct Place<T> {
    pub(super) what: T,
    pub(super) at: String,
}

#[derive(Default)]
struct Parser {
    types: Vec<Type>,
    names: HashMap<String, TypeId>,
    /// Names used before (or without) their definition; each has a place holder among the types.
    forward: Vec<Place<(TypeId, String)>>,
    unions: Vec<Place<TypeId>>,
    defaults: Vec<Place<(TypeId, usize)>>,
    path: Vec<String>,
    external: bool,
}

type Object = Map<String, Value>;

const SCHEMA_RESERVED: &[&str] = &[
    "doc",
    "fields",
    "items",
    "name",
    "namespace",
    "size",
    "symbols",
    "values",
    "type",
    "aliases",
];
const ENUM_RESERVED: &[&str] = &[
    "doc",
    "fields",
    "items",
    "name",
    "namespace",
    "size",
    "symbols",
    "values",
    "type",
    "aliases",
    "default",
];
const FIELD_RESERVED: &[&str] = &["default", "doc", "name", "order", "type", "aliases"];

impl Parser {
    fn text(&mut self, text: &str) -> Result<TypeId, ParseError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(ParseError::TooLarge { bytes: text.len() });
        }
        let value: Value = serde_json::from_str(&comments::blanked(text)).map_err(|error| {
            if error.to_string().starts_with("recursion limit") {
                return ParseError::TooDeep;
            }
            ParseError::Json {
                reason: error.to_string(),
            }
        })?;
        self.schema(&value, None)
    }

    fn schema(&mut self, value: &Value, namespace: Option<&str>) -> Result<TypeId, ParseError> {
        match value {
            Value::String(name) => Ok(self.find(name, namespace)),
            Value::Array(branches) => self.union(branches, namespace),
            Value::Object(object) => {
                let Some(Value::String(ty)) = object.get("type") else {
                    return self.refuse("a schema object needs a \"type\" that is a string");
                };
                match ty.as_str() {
                    "record" | "error" => self.record(object, namespace, ty == "error"),
                    "enum" => self.symbols(object, namespace),
                    "fixed" => self.fixed(object, namespace),
                    "array" => self.container(object, "items", namespace, Kind::Array),
                    "map" => self.container(object, "values", namespace, Kind::Map),
                    name => match primitive(name) {
                        Some(kind) => Ok(self.attributed(kind, object, SCHEMA_RESERVED)),
                        None => Ok(self.find(name, namespace)),
                    },
                }
            }
            other => self.refuse(format!(
                "expected a type name, an object or a union, found {other}"
            )),
        }
    }

    fn find(&mut self, name: &str, namespace: Option<&str>) -> TypeId {
        if let Some(kind) = primitive(name) {
            return self.push(Type::plain(kind));
        }
        let full = match namespace {
            Some(space) if !name.contains('.') => format!("{space}.{name}"),
            _ => name.to_owned(),
        };
        if let Some(id) = self.names.get(&full).or_else(|| self.names.get(name)) {
            return *id;
        }
        let id = self.push(Type::plain(Kind::Null));
        self.forward.push(Place {
            what: (id, full),
            at: self.at(),
        });
        id
    }

    fn union(&mut self, branches: &[Value], namespace: Option<&str>) -> Result<TypeId, ParseError> {
        let id = self.push(Type::plain(Kind::Null));
        let mut ids = Vec::with_capacity(branches.len());
        for (index, branch) in branches.iter().enumerate() {
            ids.push(self.inside(format!("[{index}]"), |parser| parser.schema(branch, namespace))?);
        }
        self.set(id, Kind::Union(ids));
        self.unions.push(Place {
            what: id,
            at: self.at(),
        });
        Ok(id)
    }

    fn record(
        &mut self,
        object: &Object,
        namespace: Option<&str>,
        is_error: bool,
    ) -> Result<TypeId, ParseError> {
        let name = self.name(object, namespace)?;
        let space = name.namespace().map(str::to_owned);
        let record = Record {
            aliases: self.type_aliases(object, &name)?,
            doc: text_of(object, "doc"),
            fields: Vec::new(),
            is_error,
            name,
        };
        let id = self.define(Kind::Record(record.clone()), object, SCHEMA_RESERVED)?;
        let Some(Value::Array(texts)) = object.get("fields") else {
            return self.refuse("a record needs \"fields\", an array (it may be empty)");
        };
        let mut fields: Vec<Field> = Vec::with_capacity(texts.len());
        let mut seen = HashMap::with_capacity(texts.len());
        for (index, text) in texts.iter().enumerate() {
            let label = match text.get("name") {
                Some(Value::String(name)) => format!("fields[{index}] {name:?}"),
                _ => format!("fields[{index}]"),
            };
            let field = self.inside(label, |parser| parser.field(text, space.as_deref(), (id, index)))?;
            if let Some(first) = seen.insert(field.name.clone(), index) {
                return self.refuse(format!(
                    "fields[{index}] has the name {:?} of fields[{first}]; names are unique in a record",
                    field.name
                ));
            }
            fields.push(field);
        }
        self.set(id, Kind::Record(Record { fields, ..record }));
        Ok(id)
    }

    fn field(
        &mut self,
        text: &Value,
        space: Option<&str>,
        place: (TypeId, usize),
    ) -> Result<Field, ParseError> {
        let Value::Object(object) = text else {
            return self.refuse("a field is an object with \"name\" and \"type\"");
        };
        let Some(name) = text_of(object, "name") else {
            return self.refuse("a field needs a \"name\" that is a string");
        };
        self.check_name(&name, "field name")?;
        let Some(ty) = object.get("type") else {
            return self.refuse("a field needs a \"type\"");
        };
        let ty = self.schema(ty, space)?;
        let order = match object.get("order") {
            None => Order::Ascending,
            Some(word) => self.order(word)?,
        };
        let default = object
            .get("default")
            .map(|value| self.number_from_text(ty, value))
            .transpose()?;
        if default.is_some() {
            self.defaults.push(Place {
                what: place,
                at: self.at(),
            });
        }
        Ok(Field {
            aliases: self.texts(object, "aliases")?,
            doc: text_of(object, "doc"),
            props: props(object, FIELD_RESERVED),
            name,
            ty,
            default,
            order,
        })
    }

    fn order(&self, word: &Value) -> Result<Order, ParseError> {
        match word.as_str().map(str::to_ascii_lowercase).as_deref() {
            Some("ascending") => Ok(Order::Ascending),
            Some("descending") => Ok(Order::Descending),
            Some("ignore") => Ok(Order::Ignore),
            _ => self.refuse(format!(
                "\"order\" is {word}; it must be \"ascending\", \"descending\" or \"ignore\""
            )),
        }
    }

    /// A default for float or double may be a text that holds a number, as in the Java library.
    fn number_from_text(&self, ty: TypeId, value: &Value) -> Result<Value, ParseError> {
        let kind = self.types.get(ty.index()).map(Type::kind);
        let (Some(Kind::Float | Kind::Double), Value::String(text)) = (kind, value) else {
            return Ok(value.clone());
        };
        match text.trim() {
            "NaN" | "Infinity" | "+Infinity" | "-Infinity" => Ok(value.clone()),
            number => match number.parse::<f64>().ok().and_then(serde_json::Number::from_f64) {
                Some(number) => Ok(Value::Number(number)),
                None => self.refuse(format!("the default {text:?} is not a number")),
            },
        }
    }

    fn symbols(&mut self, object: &Object, namespace: Option<&str>) -> Result<TypeId, ParseError> {
        let name = self.name(object, namespace)?;
        let Some(Value::Array(texts)) = object.get("symbols") else {
            return self.refuse("an enum needs \"symbols\", an array of strings");
        };
        let mut symbols: Vec<String> = Vec::with_capacity(texts.len());
        let mut seen = HashMap::with_capacity(texts.len());
        for (index, text) in texts.iter().enumerate() {
            let Value::String(symbol) = text else {
                return self.refuse(format!("symbols[{index}] is {text}; symbols are strings"));
            };
            self.check_name(symbol, "symbol")?;
            if seen.insert(symbol.as_str(), index).is_some() {
                return self.refuse(format!(
                    "the symbol {symbol:?} is there twice; symbols are unique"
                ));
            }
            symbols.push(symbol.clone());
        }
        let default = text_of(object, "default");
        if let Some(default) = &default
            && !symbols.contains(default)
        {
            return self.refuse(format!("the enum default {default:?} is not one of its symbols"));
        }
        let aliases = self.type_aliases(object, &name)?;
        let kind = Kind::Enum(Enum {
            name,
            aliases,
            doc: text_of(object, "doc"),
            symbols,
            default,
        });
        self.define(kind, object, ENUM_RESERVED)
    }

    fn fixed(&mut self, object: &Object, namespace: Option<&str>) -> Result<TypeId, ParseError> {
        let name = self.name(object, namespace)?;
        let size = object
            .get("size")
            .and_then(Value::as_number)
            .and_then(|n| n.as_str().parse::<i32>().ok());
        let Some(size) = size
            .filter(|size| *size <= i32::MAX - 8)
            .and_then(|size| usize::try_from(size).ok())
        else {
            return self.refuse("a fixed needs a \"size\", a whole number of bytes from 0 to 2147483639");
        };
        let aliases = self.type_aliases(object, &name)?;
        let kind = Kind::Fixed(Fixed {
            name,
            aliases,
            doc: text_of(object, "doc"),
            size,
        });
        self.define(kind, object, SCHEMA_RESERVED)
    }

    fn container(
        &mut self,
        object: &Object,
        part: &str,
        namespace: Option<&str>,
        kind: fn(TypeId) -> Kind,
    ) -> Result<TypeId, ParseError> {
        let Some(inner) = object.get(part) else {
            return self.refuse(format!(
                "an array needs \"items\", a map needs \"values\": {part:?} is not there"
            ));
        };
        let id = self.attributed(Kind::Null, object, SCHEMA_RESERVED);
        let inner = self.inside(part.to_owned(), |parser| parser.schema(inner, namespace))?;
        self.set(id, kind(inner));
        Ok(id)
    }

    /// Enters a named type. An enum or fixed may be defined again with equal symbols or size, as in the Java library,
    /// as long as the first has no attributes of its own.
    fn define(
        &mut self,
        kind: Kind,
        object: &Object,
        reserved: &'static [&'static str],
    ) -> Result<TypeId, ParseError> {
        let id = self.attributed(kind, object, reserved);
        let Some(name) = self.types.get(id.index()).and_then(Type::name).cloned() else {
            return Ok(id);
        };
        if primitive(name.full()).is_some() {
            return self.refuse(format!(
                "{:?} is the name of a primitive type; take another",
                name.full()
            ));
        }
        let Some(first) = self.names.get(name.full()) else {
            self.names.insert(name.full().to_owned(), id);
            return Ok(id);
        };
        let first = self.types.get(first.index());
        let second = self.types.get(id.index());
        let same = match (first.map(Type::kind), second.map(Type::kind)) {
            (Some(Kind::Enum(first)), Some(Kind::Enum(second))) => first.symbols == second.symbols,
            (Some(Kind::Fixed(first)), Some(Kind::Fixed(second))) => first.size == second.size,
            _ => false,
        };
        if same && first.is_some_and(|first| first.props.is_empty()) {
            return Ok(id);
        }
        self.refuse(format!(
            "{:?} is defined a second time; define it once and refer to it by name",
            name.full()
        ))
    }

    fn name(&self, object: &Object, namespace: Option<&str>) -> Result<Name, ParseError> {
        let Some(written) = text_of(object, "name") else {
            return self.refuse("a record, enum or fixed needs a \"name\" that is a string");
        };
        let own = text_of(object, "namespace");
        let name = Name::new(&written, own.as_deref().or(namespace));
        self.check_name(name.simple(), "name")?;
        for part in name.namespace().into_iter().flat_map(|space| space.split('.')) {
            self.check_name(part, "part of the namespace")?;
        }
        Ok(name)
    }

    fn type_aliases(&self, object: &Object, name: &Name) -> Result<Vec<Name>, ParseError> {
        let aliases = self.texts(object, "aliases")?;
        let names = aliases.iter().map(|alias| Name::new(alias, name.namespace()));
        names
            .map(|alias| self.check_name(alias.simple(), "alias").map(|()| alias))
            .collect()
    }

    /// A list of texts without repeats, as the Java library keeps aliases.
    fn texts(&self, object: &Object, attribute: &str) -> Result<Vec<String>, ParseError> {
        let Some(value) = object.get(attribute) else {
            return Ok(Vec::new());
        };
        let Value::Array(values) = value else {
            return self.refuse(format!("{attribute:?} must be an array of strings"));
        };
        let mut texts = Vec::with_capacity(values.len());
        for value in values {
            let Value::String(text) = value else {
                return self.refuse(format!(
                    "{attribute:?} holds {value}; it must be an array of strings"
                ));
            };
            if !texts.contains(text) {
                texts.push(text.clone());
            }
        }
        Ok(texts)
    }

    fn check_name(&self, name: &str, what: &str) -> Result<(), ParseError> {
        let letter = |c: char| c == '_' || (c.is_alphabetic() && (c as u32) < 0x1_0000);
        let mut chars = name.chars();
        if chars.next().is_some_and(letter) && chars.all(|c| letter(c) || c.is_ascii_digit()) {
            return Ok(());
        }
        self.refuse(format!(
            "the {what} {name:?} is not valid: a letter or underscore, then letters, digits or underscores"
        ))
    }

    fn attributed(&mut self, kind: Kind, object: &Object, reserved: &'static [&'static str]) -> TypeId {
        let props = props(object, reserved);
        let logical = logical::logical(&kind, &props);
        self.push(Type {
            logical,
            props,
            ..Type::plain(kind)
        })
    }

    fn push(&mut self, ty: Type) -> TypeId {
        // The text limit keeps the number of types far below 2^32.
        let id = TypeId(u32::try_from(self.types.len()).unwrap_or(u32::MAX));
        self.types.push(Type {
            external: self.external,
            ..ty
        });
        id
    }

    fn set(&mut self, id: TypeId, kind: Kind) {
        if let Some(ty) = self.types.get_mut(id.index()) {
            ty.kind = kind;
        }
    }

    fn inside<T>(
        &mut self,
        segment: String,
        step: impl FnOnce(&mut Self) -> Result<T, ParseError>,
    ) -> Result<T, ParseError> {
        self.path.push(segment);
        let done = step(self)?;
        self.path.pop();
        Ok(done)
    }

    fn at(&self) -> String {
        if self.path.is_empty() {
            "the top".to_owned()
        } else {
            self.path.join(".")
        }
    }

    fn refuse<T>(&self, reason: impl Into<String>) -> Result<T, ParseError> {
        Err(ParseError::Invalid {
            at: self.at(),
            reason: reason.into(),
        })
    }

    /// Ties names used before their definition, then makes the checks that need every name.
    fn finish(mut self, root: TypeId) -> Result<Schema, ParseError> {
        let mut ties = HashMap::with_capacity(self.forward.len());
        for Place { what: (id, name), at } in std::mem::take(&mut self.forward) {
            let Some(defined) = self.names.get(&name) else {
                return Err(ParseError::Unknown { at, name });
            };
            ties.insert(id, *defined);
        }
        let tied = |id: &mut TypeId| {
            if let Some(defined) = ties.get(id) {
                *id = *defined;
            }
        };
        for ty in &mut self.types {
            match &mut ty.kind {
                Kind::Array(inner) | Kind::Map(inner) => tied(inner),
                Kind::Union(branches) => branches.iter_mut().for_each(tied),
                Kind::Record(record) => record.fields.iter_mut().for_each(|field| tied(&mut field.ty)),
                _ => {}
            }
        }
        let mut root = root;
        tied(&mut root);
        let schema = Schema {
            types: self.types,
            root,
        };
        check::nesting(&schema)?;
        check::weight(&schema)?;
        check::unions(&schema, &self.unions)?;
        check::defaults(&schema, &self.defaults)?;
        Ok(schema)
    }
}

fn primitive(name: &str) -> Option<Kind> {
    Some(match name {
        "null" => Kind::Null,
        "boolean" => Kind::Boolean,
        "int" => Kind::Int,
        "long" => Kind::Long,
        "float" => Kind::Float,
        "double" => Kind::Double,
        "bytes" => Kind::Bytes,
        "string" => Kind::String,
        _ => return None,
    })
}

/// An attribute that is a string; any other value counts as absent, as in the Java library.
fn text_of(object: &Object, attribute: &str) -> Option<String> {
    object.get(attribute).and_then(Value::as_str).map(str::to_owned)
}

fn props(object: &Object, reserved: &[&str]) -> Props {
    let custom = object
        .iter()
        .filter(|(name, _)| !reserved.contains(&name.as_str()));
    Props(
        custom
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
    )
}
