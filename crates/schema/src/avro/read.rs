//! Going through encoded bytes by a reading program: positions, limits, and values without parts.

use std::borrow::Cow;

use crate::limits::Limits;
use crate::violation::{Violation, ViolationKind, excerpt};

use super::program::Scalar;
use super::resolve::{ReadId, ReadProgram, ReadRecord, ReadStep};
use super::scalar::{in_range, uuid, uuid_text};
use super::time::{self, Unit};
use super::varint;

/// A value without parts, as a JSON writer or a Rust type takes it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Taken<'a> {
    Null,
    Boolean(bool),
    Integer(i64),
    /// A date or time: its integer, and its text where it has one.
    Time(i64, Scalar),
    Single(f32),
    Double(f64),
    Bytes(&'a [u8]),
    Text(Cow<'a, str>),
}

/// The bytes that are left, with what is left of the limits.
pub(super) struct Cursor<'a> {
    pub(super) bytes: &'a [u8],
    depth_left: usize,
    empty_left: usize,
}

/// Where a block of items stands.
#[derive(Debug, Default)]
pub(super) struct Block {
    left: u64,
    /// Bytes that will be left when the block ends, if it says so.
    ends_at: Option<usize>,
    done: bool,
    pub(super) index: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8], limits: Limits) -> Result<Self, Violation> {
        if bytes.len() > limits.content_bytes_max {
            let message = format!(
                "{} bytes are more than the limit of {}",
                bytes.len(),
                limits.content_bytes_max
            );
            return Err(Violation::new(ViolationKind::Size, message));
        }
        Ok(Self {
            bytes,
            depth_left: limits.depth_max,
            empty_left: limits.empty_items_max,
        })
    }

    /// Goes on with other bytes (a default's) under the same limits; gives those to come back to.
    pub(super) fn swap<'b>(&self, bytes: &'b [u8]) -> Cursor<'b> {
        Cursor {
            bytes,
            depth_left: self.depth_left,
            empty_left: self.empty_left,
        }
    }

    pub(super) fn end(&self) -> Result<(), Violation> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        Err(Violation::new(
            ViolationKind::Trailing,
            format!("{} bytes follow the value", self.bytes.len()),
        ))
    }

    pub(super) fn descend(&mut self) -> Result<(), Violation> {
        self.depth_left = self
            .depth_left
            .checked_sub(1)
            .ok_or_else(|| Violation::new(ViolationKind::Depth, "nested deeper than the limit"))?;
        Ok(())
    }

    pub(super) fn ascend(&mut self) {
        self.depth_left += 1;
    }

    #[inline]
    pub(super) fn long(&mut self) -> Result<i64, Violation> {
        let (value, rest) = varint::get(self.bytes).map_err(|bad| match bad {
            varint::Bad::Truncated => truncated("an integer"),
            varint::Bad::Form => Violation::new(
                ViolationKind::Varint,
                "an integer is not in its shortest form or has more than 64 bits",
            ),
        })?;
        self.bytes = rest;
        Ok(value)
    }

    #[inline]
    pub(super) fn take(&mut self, length: usize, what: &str) -> Result<&'a [u8], Violation> {
        let (taken, rest) = self
            .bytes
            .split_at_checked(length)
            .ok_or_else(|| truncated(what))?;
        self.bytes = rest;
        Ok(taken)
    }

    #[inline]
    fn counted(&mut self, what: &str) -> Result<&'a [u8], Violation> {
        let length = self.long()?;
        let length = usize::try_from(length)
            .map_err(|_| Violation::new(ViolationKind::Range, format!("{what} has the length {length}")))?;
        self.take(length, what)
    }

    #[inline]
    pub(super) fn text(&mut self, what: &str) -> Result<&'a str, Violation> {
        let bytes = self.counted(what)?;
        std::str::from_utf8(bytes).map_err(|error| {
            Violation::new(
                ViolationKind::Utf8,
                format!("{what} is not UTF-8 from its byte {}", error.valid_up_to()),
            )
        })
    }

    /// Before each item: whether there is one.
    #[inline]
    pub(super) fn item(&mut self, block: &mut Block, empty_weight: usize) -> Result<bool, Violation> {
        if block.done {
            return Ok(false);
        }
        if block.left == 0 {
            if block.ends_at.is_some_and(|left| left != self.bytes.len()) {
                return Err(Violation::new(
                    ViolationKind::Range,
                    "a block of items has another size than it says",
                ));
            }
            let count = self.long()?;
            if count == 0 {
                block.done = true;
                return Ok(false);
            }
            block.ends_at = if count < 0 { Some(self.block_end()?) } else { None };
            block.left = count.unsigned_abs();
            let cost = block.left.saturating_mul(empty_weight as u64);
            let left = (self.empty_left as u64)
                .checked_sub(cost)
                .and_then(|left| usize::try_from(left).ok());
            self.empty_left = left.ok_or_else(|| {
                Violation::new(
                    ViolationKind::Size,
                    "more items that take no bytes than the limit",
                )
            })?;
        } else {
            block.index += 1;
        }
        block.left -= 1;
        Ok(true)
    }

    fn block_end(&mut self) -> Result<usize, Violation> {
        let size = self.long()?;
        let left = usize::try_from(size)
            .ok()
            .and_then(|size| self.bytes.len().checked_sub(size));
        left.ok_or_else(|| truncated("a block of items"))
    }

    /// The step of the branch that was written.
    #[inline]
    pub(super) fn branch(&mut self, branches: &[ReadId]) -> Result<ReadId, Violation> {
        let index = self.long()?;
        let branch = usize::try_from(index).ok().and_then(|index| branches.get(index));
        branch.copied().ok_or_else(|| {
            let message = format!("branch {index} of a union of {}", branches.len());
            Violation::new(ViolationKind::Branch, message)
        })
    }

    #[inline]
    pub(super) fn symbol<'p>(
        &mut self,
        name: &str,
        symbols: &'p [Result<String, String>],
    ) -> Result<&'p str, Violation> {
        let index = self.long()?;
        match usize::try_from(index).ok().and_then(|index| symbols.get(index)) {
            Some(Ok(symbol)) => Ok(symbol),
            Some(Err(symbol)) => {
                let message = format!("enum {name} has no symbol {symbol:?} and no default");
                Err(Violation::new(ViolationKind::Unreadable, message))
            }
            None => {
                let message = format!("symbol {index} of enum {name}, which has {}", symbols.len());
                Err(Violation::new(ViolationKind::Symbol, message))
            }
        }
    }

    /// Reads a value without parts and checks it by the writer's type; gives it in the reader's meaning.
    #[inline]
    pub(super) fn scalar(&mut self, wire: Scalar, form: Scalar) -> Result<Taken<'a>, Violation> {
        match wire {
            Scalar::Null => Ok(Taken::Null),
            Scalar::Boolean => match self.take(1, "a boolean")? {
                [0] => Ok(Taken::Boolean(false)),
                [1] => Ok(Taken::Boolean(true)),
                other => Err(Violation::new(
                    ViolationKind::Range,
                    format!("a boolean is encoded as {other:?}"),
                )),
            },
            Scalar::Float => {
                let bytes = self.take(4, "a float")?;
                let value = f32::from_le_bytes(bytes.try_into().unwrap_or_default());
                Ok(if form == Scalar::Double {
                    Taken::Double(f64::from(value))
                } else {
                    Taken::Single(value)
                })
            }
            Scalar::Double => {
                let bytes = self.take(8, "a double")?;
                Ok(Taken::Double(f64::from_le_bytes(
                    bytes.try_into().unwrap_or_default(),
                )))
            }
            Scalar::Text | Scalar::Uuid => {
                let text = self.text("a string")?;
                if wire == Scalar::Uuid && uuid(text).is_none() {
                    let message = format!("expected uuid, found string {}", excerpt(text));
                    return Err(Violation::new(ViolationKind::Format, message));
                }
                given_bytes(text.as_bytes(), form)
            }
            Scalar::Bytes => given_bytes(self.counted("bytes")?, form),
            Scalar::Decimal(decimal) => {
                let bytes = match decimal.size {
                    Some(size) => self.take(size, "a decimal")?,
                    None => self.counted("a decimal")?,
                };
                if !decimal.holds(bytes) {
                    let message = format!(
                        "{} bytes are no decimal of at most {} digits",
                        bytes.len(),
                        decimal.precision
                    );
                    return Err(Violation::new(ViolationKind::Range, message));
                }
                given_bytes(bytes, form)
            }
            Scalar::Fixed(size) => given_bytes(self.take(size, "a fixed")?, form),
            Scalar::UuidFixed => given_bytes(self.take(16, "a uuid")?, form),
            Scalar::Duration => given_bytes(self.take(12, "a duration")?, form),
            _ => self.integer(wire, form),
        }
    }

    fn integer(&mut self, wire: Scalar, form: Scalar) -> Result<Taken<'a>, Violation> {
        let value = self.long()?;
        if !in_range(wire, value) {
            return Err(Violation::new(
                ViolationKind::Range,
                format!("{value} is out of range for {}", wire.name()),
            ));
        }
        Ok(match form {
            Scalar::Float => Taken::Single(value as f32),
            Scalar::Double => Taken::Double(value as f64),
            Scalar::Int | Scalar::Long => Taken::Integer(value),
            form if in_range(form, value) => Taken::Time(value, form),
            form => {
                let message = format!("{value} is out of range for {}", form.name());
                return Err(Violation::new(ViolationKind::Unreadable, message));
            }
        })
    }
}

/// Bytes in the meaning that the reader gives them.
#[inline]
fn given_bytes(bytes: &[u8], form: Scalar) -> Result<Taken<'_>, Violation> {
    let unreadable = || {
        let message = format!("{} bytes were written that are no {}", bytes.len(), form.name());
        Violation::new(ViolationKind::Unreadable, message)
    };
    let text = || std::str::from_utf8(bytes).map_err(|_| unreadable());
    Ok(match form {
        Scalar::Text => Taken::Text(Cow::Borrowed(text()?)),
        Scalar::Uuid => {
            let text = text()?;
            uuid(text).ok_or_else(unreadable)?;
            Taken::Text(Cow::Borrowed(text))
        }
        Scalar::Decimal(decimal) => Taken::Text(Cow::Owned(decimal.text(bytes).map_err(|_| unreadable())?)),
        Scalar::UuidFixed => Taken::Text(Cow::Owned(uuid_text(bytes))),
        Scalar::Duration => Taken::Text(Cow::Owned(time::duration_text(bytes))),
        _ => Taken::Bytes(bytes),
    })
}

/// The text of a date or time; none outside the years that four digits write.
pub(super) fn time_text(value: i64, form: Scalar) -> Option<String> {
    match form {
        Scalar::Date => time::date_text(value),
        Scalar::TimeMillis => time::time_text(value, Unit::Millis),
        Scalar::TimeMicros => time::time_text(value, Unit::Micros),
        Scalar::Timestamp { unit, local } => time::timestamp_text(value, unit, local),
        _ => None,
    }
}

pub(super) fn truncated(what: &str) -> Violation {
    Violation::new(ViolationKind::Truncated, format!("the bytes end within {what}"))
}

/// Reads past a value, with all its checks. It finds why and where bytes are invalid, and skips fields that the reader
/// does not have.
pub(super) fn skip(program: &ReadProgram, id: ReadId, cursor: &mut Cursor<'_>) -> Result<(), Violation> {
    match program.step(id) {
        ReadStep::Scalar { wire, form } => cursor.scalar(*wire, *form).map(drop),
        ReadStep::Enum { name, symbols } => cursor.symbol(name, symbols).map(drop),
        ReadStep::Union(branches) => {
            let branch = cursor.branch(branches)?;
            skip(program, branch, cursor)
        }
        ReadStep::Branch(branch) => skip(program, branch.step, cursor),
        ReadStep::Record(record) => skip_record(program, record, cursor),
        ReadStep::Array { items, empty_weight } => {
            cursor.descend()?;
            let mut block = Block::default();
            while cursor.item(&mut block, *empty_weight)? {
                skip(program, *items, cursor).map_err(|violation| violation.in_item(block.index))?;
            }
            cursor.ascend();
            Ok(())
        }
        ReadStep::Map(values) => {
            cursor.descend()?;
            let mut block = Block::default();
            while cursor.item(&mut block, 0)? {
                let key = cursor.text("a map key")?;
                skip(program, *values, cursor).map_err(|violation| violation.in_key(key))?;
            }
            cursor.ascend();
            Ok(())
        }
        ReadStep::Refuse(reason) => Err(Violation::new(ViolationKind::Unreadable, reason)),
    }
}

fn skip_record(program: &ReadProgram, record: &ReadRecord, cursor: &mut Cursor<'_>) -> Result<(), Violation> {
    cursor.descend()?;
    for field in &record.fields {
        skip(program, field.step, cursor).map_err(|violation| violation.in_field(&field.name))?;
    }
    cursor.ascend();
    Ok(())
}
