//! [`Schema`] back to text: with every attribute, and as Parsing Canonical Form.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::model::{Field, Kind, Name, Order, Props, Schema, Type, TypeId};

impl Schema {
    /// The schema as compact JSON with all its attributes, in the order in which the Java library prints them.
    /// Types that came from references stay names: parse the text again with the same references.
    pub fn to_json(&self) -> String {
        let seen = self
            .types()
            .filter(|(_, ty)| ty.external)
            .filter_map(|(_, ty)| ty.name());
        let seen = seen.map(Name::full).collect();
        Printer { schema: self, seen }
            .ty(self.root_id(), None)
            .to_string()
    }

    /// As [`Schema::to_json`], but with the types of references written out where they are first used, so that the
    /// text stands alone.
    pub fn to_json_standalone(&self) -> String {
        Printer {
            schema: self,
            seen: HashSet::new(),
        }
        .ty(self.root_id(), None)
        .to_string()
    }

    /// Parsing Canonical Form (Avro specification, "Transforming into Parsing Canonical Form"): equal for two schemas
    /// if the same bytes mean the same to both. Stands alone.
    pub fn canonical_form(&self) -> String {
        let mut out = String::new();
        canonical(self, self.root_id(), &mut HashSet::new(), &mut out);
        out
    }
}

struct Printer<'a> {
    schema: &'a Schema,
    seen: HashSet<&'a str>,
}

impl<'a> Printer<'a> {
    fn ty(&mut self, id: TypeId, namespace: Option<&str>) -> Value {
        let ty: &'a Type = self.schema.get(id);
        if let Some(name) = ty.name()
            && !self.seen.insert(name.full())
        {
            return Value::String(reference(name, namespace));
        }
        if let Kind::Union(branches) = ty.kind() {
            return Value::Array(
                branches
                    .iter()
                    .map(|branch| self.ty(*branch, namespace))
                    .collect(),
            );
        }
        if is_primitive(ty.kind()) && ty.props.is_empty() {
            return Value::String(ty.kind().name().to_owned());
        }
        Value::Object(self.object(ty, namespace))
    }

    fn object(&mut self, ty: &'a Type, namespace: Option<&str>) -> Map<String, Value> {
        let mut out = Map::new();
        put(&mut out, "type", ty.kind().name());
        if let Some(name) = ty.name() {
            put(&mut out, "name", name.simple());
            if name.namespace() != namespace {
                put(&mut out, "namespace", name.namespace().unwrap_or_default());
            }
        }
        match ty.kind() {
            Kind::Array(items) => {
                out.insert("items".to_owned(), self.ty(*items, namespace));
            }
            Kind::Map(values) => {
                out.insert("values".to_owned(), self.ty(*values, namespace));
            }
            Kind::Record(record) => {
                if record.is_error {
                    put(&mut out, "type", "error");
                }
                put_doc(&mut out, record.doc());
                let space = record.name.namespace();
                let fields = record
                    .fields
                    .iter()
                    .map(|field| self.field(field, space))
                    .collect();
                out.insert("fields".to_owned(), Value::Array(fields));
            }
            Kind::Enum(symbols) => {
                put_doc(&mut out, symbols.doc());
                out.insert("symbols".to_owned(), symbols.symbols.as_slice().into());
                if let Some(default) = symbols.default() {
                    put(&mut out, "default", default);
                }
            }
            Kind::Fixed(fixed) => {
                put_doc(&mut out, fixed.doc());
                out.insert("size".to_owned(), fixed.size.into());
            }
            _ => {}
        }
        put_props(&mut out, ty.props());
        if let Some(name) = ty.name().filter(|_| !ty.aliases().is_empty()) {
            let aliases: Vec<String> = ty.aliases().iter().map(|alias| alias_text(alias, name)).collect();
            out.insert("aliases".to_owned(), aliases.into());
        }
        out
    }

    fn field(&mut self, field: &'a Field, namespace: Option<&str>) -> Value {
        let mut out = Map::new();
        put(&mut out, "name", field.name());
        out.insert("type".to_owned(), self.ty(field.ty, namespace));
        put_doc(&mut out, field.doc());
        if let Some(default) = field.default() {
            out.insert("default".to_owned(), default.clone());
        }
        if field.order != Order::Ascending {
            put(&mut out, "order", field.order.name());
        }
        if !field.aliases.is_empty() {
            out.insert("aliases".to_owned(), field.aliases.as_slice().into());
        }
        put_props(&mut out, field.props());
        Value::Object(out)
    }
}

fn put(out: &mut Map<String, Value>, name: &str, text: &str) {
    out.insert(name.to_owned(), Value::String(text.to_owned()));
}

fn put_doc(out: &mut Map<String, Value>, doc: Option<&str>) {
    if let Some(doc) = doc {
        put(out, "doc", doc);
    }
}

fn put_props(out: &mut Map<String, Value>, props: &Props) {
    for (name, value) in props.iter() {
        out.insert(name.to_owned(), value.clone());
    }
}

/// A name that leads back to the type from within this namespace. The full one where the short one would be read as a
/// built-in type.
fn reference(name: &Name, namespace: Option<&str>) -> String {
    let built_in = [
        "null", "boolean", "int", "long", "float", "double", "bytes", "string", "array", "map", "union",
        "record", "enum", "fixed",
    ];
    if name.namespace().is_some() && name.namespace() == namespace && !built_in.contains(&name.simple()) {
        return name.simple().to_owned();
    }
    name.full().to_owned()
}

/// An alias without a namespace on a type with one is written with a leading dot: without it, it would be read as a
/// name in the type's namespace.
fn alias_text(alias: &Name, of: &Name) -> String {
    match (alias.namespace(), of.namespace()) {
        (None, Some(_)) => format!(".{}", alias.simple()),
        (alias_space, space) if alias_space == space => alias.simple().to_owned(),
        _ => alias.full().to_owned(),
    }
}

fn is_primitive(kind: &Kind) -> bool {
    use Kind::{Boolean, Bytes, Double, Float, Int, Long, Null, String};
    matches!(
        kind,
        Null | Boolean | Int | Long | Float | Double | Bytes | String
    )
}

fn canonical<'a>(schema: &'a Schema, id: TypeId, seen: &mut HashSet<&'a str>, out: &mut String) {
    let ty = schema.get(id);
    if let Some(name) = ty.name() {
        if !seen.insert(name.full()) {
            return quoted(out, name.full());
        }
        out.push_str("{\"name\":");
        quoted(out, name.full());
        out.push_str(",\"type\":");
        quoted(out, ty.kind().name());
    }
    match ty.kind() {
        Kind::Union(branches) => {
            out.push('[');
            separated(out, branches, |out, branch| canonical(schema, *branch, seen, out));
            out.push(']');
        }
        Kind::Array(inner) | Kind::Map(inner) => {
            let part = if matches!(ty.kind(), Kind::Array(_)) {
                "items"
            } else {
                "values"
            };
            out.push_str(&format!("{{\"type\":\"{}\",\"{part}\":", ty.kind().name()));
            canonical(schema, *inner, seen, out);
            out.push('}');
        }
        Kind::Record(record) => {
            out.push_str(",\"fields\":[");
            separated(out, &record.fields, |out, field| {
                out.push_str("{\"name\":");
                quoted(out, field.name());
                out.push_str(",\"type\":");
                canonical(schema, field.ty, seen, out);
                out.push('}');
            });
            out.push_str("]}");
        }
        Kind::Enum(symbols) => {
            out.push_str(",\"symbols\":[");
            separated(out, &symbols.symbols, |out, symbol| quoted(out, symbol));
            out.push_str("]}");
        }
        Kind::Fixed(fixed) => out.push_str(&format!(",\"size\":{}}}", fixed.size)),
        primitive => quoted(out, primitive.name()),
    }
}

/// Names hold no character that JSON would escape.
fn quoted(out: &mut String, name: &str) {
    out.push('"');
    out.push_str(name);
    out.push('"');
}

fn separated<T>(out: &mut String, items: &[T], mut each: impl FnMut(&mut String, &T)) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        each(out, item);
    }
}
