//! Encoded bytes to JSON text in the plain form.

use std::fmt::Write as _;

use crate::limits::Limits;
use crate::violation::{Violation, ViolationKind};

use super::program::Shape;
use super::read::{Block, Cursor, Taken, skip, time_text};
use super::resolve::{ReadBranch, ReadId, ReadProgram, ReadRecord, ReadStep};

/// The value in `bytes` as JSON.
pub(super) fn decode_json(program: &ReadProgram, limits: Limits, bytes: &[u8]) -> Result<String, Violation> {
    let mut cursor = Cursor::new(bytes, limits)?;
    let mut writer = Writer {
        program,
        out: String::with_capacity(bytes.len() * 2),
        bytes_max: limits.json_bytes_max,
    };
    writer.value(ReadProgram::ROOT, &mut cursor)?;
    cursor.end()?;
    Ok(writer.out)
}

struct Writer<'p> {
    program: &'p ReadProgram,
    out: String,
    bytes_max: usize,
}

impl Writer<'_> {
    fn value(&mut self, id: ReadId, cursor: &mut Cursor<'_>) -> Result<(), Violation> {
        if self.out.len() > self.bytes_max {
            let message = format!("the JSON form is larger than {} bytes", self.bytes_max);
            return Err(Violation::new(ViolationKind::Size, message));
        }
        let program = self.program;
        match program.step(id) {
            ReadStep::Scalar { wire, form } => {
                let taken = cursor.scalar(*wire, *form)?;
                self.scalar(&taken);
                Ok(())
            }
            ReadStep::Enum { name, symbols } => {
                let symbol = cursor.symbol(name, symbols)?;
                self.text(symbol);
                Ok(())
            }
            ReadStep::Array { items, empty_weight } => self.array(*items, *empty_weight, cursor),
            ReadStep::Map(values) => self.map(*values, cursor),
            ReadStep::Record(record) => self.record(record, cursor),
            ReadStep::Union(branches) => {
                let branch = cursor.branch(branches)?;
                self.value(branch, cursor)
            }
            ReadStep::Branch(branch) => self.branch(branch, cursor),
            ReadStep::Refuse(reason) => Err(Violation::new(ViolationKind::Unreadable, reason)),
        }
    }

    fn record(&mut self, record: &ReadRecord, cursor: &mut Cursor<'_>) -> Result<(), Violation> {
        cursor.descend()?;
        self.out.push('{');
        let mut first = true;
        for field in &record.fields {
            let in_field = |violation: Violation| violation.in_field(&field.name);
            if !field.wanted {
                skip(self.program, field.step, cursor).map_err(in_field)?;
                continue;
            }
            self.key(&field.name, std::mem::replace(&mut first, false));
            self.value(field.step, cursor).map_err(in_field)?;
        }
        for default in &record.defaults {
            self.key(&default.name, std::mem::replace(&mut first, false));
            let mut own = cursor.swap(&default.bytes);
            self.value(default.step, &mut own)
                .map_err(|violation| violation.in_field(&default.name))?;
        }
        self.out.push('}');
        cursor.ascend();
        Ok(())
    }

    fn array(
        &mut self,
        items: ReadId,
        empty_weight: usize,
        cursor: &mut Cursor<'_>,
    ) -> Result<(), Violation> {
        cursor.descend()?;
        self.out.push('[');
        let mut block = Block::default();
        let mut first = true;
        while cursor.item(&mut block, empty_weight)? {
            if !std::mem::replace(&mut first, false) {
                self.out.push(',');
            }
            self.value(items, cursor)
                .map_err(|violation| violation.in_item(block.index))?;
        }
        self.out.push(']');
        cursor.ascend();
        Ok(())
    }

    fn map(&mut self, values: ReadId, cursor: &mut Cursor<'_>) -> Result<(), Violation> {
        cursor.descend()?;
        self.out.push('{');
        let mut block = Block::default();
        let mut first = true;
        while cursor.item(&mut block, 0)? {
            let key = cursor.text("a map key")?;
            self.key(key, std::mem::replace(&mut first, false));
            self.value(values, cursor)
                .map_err(|violation| violation.in_key(key))?;
        }
        self.out.push('}');
        cursor.ascend();
        Ok(())
    }

    /// A tag is written where an untagged value would be read as another branch, or as several.
    fn branch(&mut self, branch: &ReadBranch, cursor: &mut Cursor<'_>) -> Result<(), Violation> {
        let from = self.out.len();
        self.value(branch.step, cursor)?;
        let written = self.out.get(from..).unwrap_or_default();
        if branch.is_tagged(shape_of(written))
            || (written.starts_with('{') && looks_tagged(written, &branch.tags))
        {
            let mut opening = String::from("{");
            push_text(&mut opening, &branch.tag);
            opening.push(':');
            self.out.insert_str(from, &opening);
            self.out.push('}');
        }
        Ok(())
    }

    fn scalar(&mut self, taken: &Taken<'_>) {
        match taken {
            Taken::Null => self.out.push_str("null"),
            Taken::Boolean(value) => self.out.push_str(if *value { "true" } else { "false" }),
            Taken::Integer(value) => self.number(value),
            Taken::Time(value, form) => match time_text(*value, *form) {
                Some(text) => self.text(&text),
                None => self.number(value),
            },
            Taken::Single(value) if value.is_finite() => self.number(&format_args!("{value:?}")),
            Taken::Single(value) => self.text(not_finite(f64::from(*value))),
            Taken::Double(value) if value.is_finite() => self.number(&format_args!("{value:?}")),
            Taken::Double(value) => self.text(not_finite(*value)),
            Taken::Bytes(bytes) => {
                let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
                self.text(&text);
            }
            Taken::Text(text) => self.text(text),
        }
    }

    fn number(&mut self, number: &dyn std::fmt::Display) {
        // Writing to a string cannot fail.
        if write!(self.out, "{number}").is_err() {
            self.out.push('0');
        }
    }

    fn key(&mut self, key: &str, first: bool) {
        if !first {
            self.out.push(',');
        }
        self.text(key);
        self.out.push(':');
    }

    fn text(&mut self, text: &str) {
        push_text(&mut self.out, text);
    }
}

/// How a float that JSON cannot write is called.
pub(super) fn not_finite(value: f64) -> &'static str {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}

fn shape_of(json: &str) -> Shape {
    match json.as_bytes().first() {
        Some(b'{') => Shape::Object,
        Some(b'[') => Shape::List,
        Some(b'"') => Shape::Text,
        Some(b't' | b'f') => Shape::Boolean,
        Some(b'n') => Shape::Null,
        _ => Shape::Number,
    }
}

/// Whether the first member of an object is called like a branch.
fn looks_tagged(object: &str, tags: &[String]) -> bool {
    tags.iter().any(|tag| {
        let mut quoted = String::from("{");
        push_text(&mut quoted, tag);
        object.starts_with(&quoted)
    })
}

fn push_text(out: &mut String, text: &str) {
    out.push('"');
    let mut plain_from = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.push_str(text.get(plain_from..at).unwrap_or_default());
        plain_from = at + 1;
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            _ => out.push_str(&format!("\\u{byte:04x}")),
        }
    }
    out.push_str(text.get(plain_from..).unwrap_or_default());
    out.push('"');
}
