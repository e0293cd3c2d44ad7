//! JSON text to Avro bytes in one pass.

use std::collections::HashSet;

use crate::limits::Limits;
use crate::violation::{Violation, ViolationKind, excerpt};

use super::encode::{Encoded, Encoder, Scratch, name_of};
use super::json_text::JsonText;
use super::model::TypeId;
use super::program::{Fields, Program, Shape, Step, Union};
use super::scalar::Given;

/// Appends the value in `json` to what `scratch` begins with.
pub(super) fn encode_json(
    program: &Program,
    limits: Limits,
    json: &[u8],
    scratch: Scratch,
) -> Result<Encoded, Violation> {
    let text = std::str::from_utf8(json).map_err(|error| {
        Violation::new(
            ViolationKind::Json,
            format!("not JSON: not UTF-8 from byte {}", error.valid_up_to()),
        )
    })?;
    let mut text = JsonText::new(text);
    let mut encoder = Encoder::new(program, limits, scratch);
    encoder.json(program.root, &mut text)?;
    text.end()?;
    encoder.finish()
}

impl Encoder<'_> {
    fn json(&mut self, ty: TypeId, text: &mut JsonText<'_>) -> Result<(), Violation> {
        let program = self.program;
        let step = program.step(ty);
        let shape = text.shape()?;
        match (step, shape) {
            (Step::Record(fields), Shape::Object) => self.json_record(fields, text),
            (Step::Array(items), Shape::List) => self.json_array(*items, text),
            (Step::Map(values), Shape::Object) => self.json_map(*values, text),
            (Step::Union(union), Shape::Object | Shape::List) => self.json_union(union, shape, text),
            (_, Shape::Object | Shape::List) => {
                let message = format!("expected {}, found {}", name_of(step), shape.name());
                Err(Violation::new(ViolationKind::Type, message))
            }
            (_, Shape::Null) => {
                text.null()?;
                self.scalar(ty, Given::Null)
            }
            (_, Shape::Boolean) => {
                let value = text.boolean()?;
                self.scalar(ty, Given::Boolean(value))
            }
            (_, Shape::Number) => {
                let literal = text.number()?;
                self.scalar(ty, Given::Literal(literal))
            }
            (_, Shape::Text) => {
                let value = text.string()?;
                self.scalar(ty, Given::Text(&value))
            }
        }
    }

    fn json_record(&mut self, fields: &Fields, text: &mut JsonText<'_>) -> Result<(), Violation> {
        let mut record = self.open_record()?;
        let mut more = text.open(b'{', b'}')?;
        while more {
            let name = text.key()?;
            let (index, ty) = self.open_field(&mut record, fields, &name)?;
            self.json(ty, text).map_err(|violation| {
                let name = fields.fields.get(index).map_or("", |field| &field.name);
                violation.in_field(name)
            })?;
            more = text.more(b'}')?;
        }
        self.close_record(&record, fields)
    }

    fn json_array(&mut self, items: TypeId, text: &mut JsonText<'_>) -> Result<(), Violation> {
        let mut block = self.open_array(items)?;
        let mut more = text.open(b'[', b']')?;
        while more {
            let index = self.open_item(&mut block)?;
            self.json(items, text)
                .map_err(|violation| violation.in_item(index))?;
            more = text.more(b']')?;
        }
        self.close_block(&block);
        Ok(())
    }

    fn json_map(&mut self, values: TypeId, text: &mut JsonText<'_>) -> Result<(), Violation> {
        let mut block = self.open_map()?;
        let mut more = text.open(b'{', b'}')?;
        let mut seen = HashSet::new();
        while more {
            self.open_item(&mut block)?;
            let key = text.key()?;
            super::scalar::put_bytes(&mut self.out, key.as_bytes());
            self.json(values, text)
                .map_err(|violation| violation.in_key(&key))?;
            if let Some(key) = seen.replace(key) {
                let message = format!("key {} is there twice", excerpt(&key));
                return Err(Violation::new(ViolationKind::Repeated, message));
            }
            more = text.more(b'}')?;
        }
        self.close_block(&block);
        Ok(())
    }

    /// An object whose first member is called like a branch is a tagged value; all else goes to the branch that owns
    /// the shape.
    fn json_union(&mut self, union: &Union, shape: Shape, text: &mut JsonText<'_>) -> Result<(), Violation> {
        if shape == Shape::Object
            && let Some((branch, mut inside)) = tag(union, *text)
        {
            let inner = self.put_branch(union, branch)?;
            self.json(inner, &mut inside)?;
            if inside.more(b'}')? {
                let tag = union.tags.get(branch).map_or("", String::as_str);
                let message = format!("the member {tag:?} tags a value of that branch and must stand alone");
                return Err(Violation::new(ViolationKind::Ambiguous, message));
            }
            *text = inside;
        } else {
            let branch = self.owner(union, shape, || shape.name().to_owned())?;
            let inner = self.put_branch(union, branch)?;
            self.json(inner, text)?;
        }
        Ok(())
    }
}

/// The branch that the first member's name tags, and the place after the colon.
fn tag<'a>(union: &Union, mut text: JsonText<'a>) -> Option<(usize, JsonText<'a>)> {
    if !text.open(b'{', b'}').ok()? {
        return None;
    }
    let key = text.key().ok()?;
    union.tagged(&key).map(|branch| (branch, text))
}
