//! The validator: a schema as a flat list of checks, run over encoded bytes without making values of them.

use crate::limits::Limits;

use super::decimal::Decimal;
use super::model::TypeId;
use super::program::{Program, Scalar, Step};
use super::scalar::{in_range, uuid};
use super::varint;

/// One check. Jumps are absolute.
#[derive(Debug, Clone, Copy)]
enum Op {
    Skip(usize),
    Boolean,
    Int,
    Long,
    Ranged(Scalar),
    Bytes,
    Text,
    Uuid,
    Decimal(Decimal),
    /// Index below this.
    Enum(u32),
    /// `["null", T]` or `[T, "null"]`: past the inner code for null, else on.
    Optional {
        null: u8,
        past: usize,
    },
    /// Index into the branch entries from `first`.
    Union {
        first: usize,
        count: usize,
    },
    Jump(usize),
    /// Blocks of items whose code follows and ends with [`Op::Return`].
    Blocks {
        past: usize,
        levels: u16,
        items: Items,
    },
    Call {
        entry: usize,
        levels: u16,
    },
    /// A record written out in place: that many levels below the last call or item.
    Level(u16),
    Return,
}

/// What the items of an array or map need.
#[derive(Debug, Clone, Copy)]
struct Items {
    keyed: bool,
    /// Levels that each item adds: one for a record.
    levels: u16,
    /// What an item that may take no bytes costs; 0 for all others.
    empty_weight: u32,
}

/// A validator program.
#[derive(Debug)]
pub(crate) struct Code {
    ops: Vec<Op>,
    branches: Vec<usize>,
}

/// Bytes that do not obey the schema. Why and where is found by decoding them; that is slower and has the words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Invalid;

impl From<varint::Bad> for Invalid {
    fn from(_: varint::Bad) -> Self {
        Self
    }
}

impl Code {
    pub(crate) fn compile(program: &Program) -> Self {
        Compiler::new(program).compile()
    }

    /// Whether `bytes` are exactly one value.
    pub(crate) fn run(&self, bytes: &[u8], limits: Limits) -> Result<(), Invalid> {
        if bytes.len() > limits.content_bytes_max {
            return Err(Invalid);
        }
        let mut run = Run {
            code: self,
            empty_left: limits.empty_items_max,
        };
        let rest = run.from(0, bytes, limits.depth_max)?;
        if rest.is_empty() { Ok(()) } else { Err(Invalid) }
    }
}

struct Run<'c> {
    code: &'c Code,
    empty_left: usize,
}

impl Run<'_> {
    /// Runs from `at` to the next return; gives the bytes that are left.
    fn from<'b>(&mut self, mut at: usize, mut bytes: &'b [u8], depth: usize) -> Result<&'b [u8], Invalid> {
        let ops = self.code.ops.as_slice();
        loop {
            let op = ops.get(at).ok_or(Invalid)?;
            at += 1;
            match *op {
                Op::Skip(length) => bytes = bytes.get(length..).ok_or(Invalid)?,
                Op::Boolean => match bytes.split_first() {
                    Some((0 | 1, rest)) => bytes = rest,
                    _ => return Err(Invalid),
                },
                Op::Int => {
                    let (value, rest) = varint::get(bytes)?;
                    i32::try_from(value).map_err(|_| Invalid)?;
                    bytes = rest;
                }
                Op::Long => bytes = varint::get(bytes)?.1,
                Op::Text => {
                    let (text, rest) = counted(bytes)?;
                    if !text.is_ascii() {
                        std::str::from_utf8(text).map_err(|_| Invalid)?;
                    }
                    bytes = rest;
                }
                Op::Bytes => bytes = counted(bytes)?.1,
                Op::Optional { null, past } => match bytes.split_first() {
                    Some((&index @ (0 | 2), rest)) => {
                        bytes = rest;
                        if index == null {
                            at = past;
                        }
                    }
                    _ => return Err(Invalid),
                },
                Op::Union { first, count } => {
                    let (index, rest) = index(bytes, count)?;
                    bytes = rest;
                    at = *self.code.branches.get(first + index).ok_or(Invalid)?;
                }
                Op::Jump(to) => at = to,
                Op::Return => return Ok(bytes),
                Op::Blocks { past, levels, items } => {
                    bytes = self.blocks(at, bytes, deeper(depth, levels)?, items)?;
                    at = past;
                }
                Op::Call { entry, levels } => bytes = self.from(entry, bytes, deeper(depth, levels)?)?,
                Op::Level(levels) => {
                    deeper(depth, levels)?;
                }
                other => bytes = particular(other, bytes)?,
            }
        }
    }

    fn blocks<'b>(
        &mut self,
        item: usize,
        mut bytes: &'b [u8],
        depth: usize,
        items: Items,
    ) -> Result<&'b [u8], Invalid> {
        loop {
            let (count, rest) = varint::get(bytes)?;
            bytes = rest;
            if count == 0 {
                return Ok(bytes);
            }
            let mut left_after = None;
            if count < 0 {
                let (size, rest) = varint::get(bytes)?;
                let size = usize::try_from(size).map_err(|_| Invalid)?;
                left_after = Some(rest.len().checked_sub(size).ok_or(Invalid)?);
                bytes = rest;
            }
            let count = count.unsigned_abs();
            if items.empty_weight > 0 {
                let cost = usize::try_from(count)
                    .ok()
                    .and_then(|n| n.checked_mul(items.empty_weight as usize));
                self.empty_left = cost
                    .and_then(|cost| self.empty_left.checked_sub(cost))
                    .ok_or(Invalid)?;
            }
            let depth = deeper(depth, items.levels)?;
            for _ in 0..count {
                if items.keyed {
                    let (key, rest) = counted(bytes)?;
                    std::str::from_utf8(key).map_err(|_| Invalid)?;
                    bytes = rest;
                }
                bytes = self.from(item, bytes, depth)?;
            }
            if left_after.is_some_and(|left| left != bytes.len()) {
                return Err(Invalid);
            }
        }
    }
}

fn deeper(depth: usize, levels: u16) -> Result<usize, Invalid> {
    depth.checked_sub(usize::from(levels)).ok_or(Invalid)
}

/// The rarer checks, kept out of the loop.
fn particular(op: Op, bytes: &[u8]) -> Result<&[u8], Invalid> {
    match op {
        Op::Ranged(ty) => {
            let (value, rest) = varint::get(bytes)?;
            if in_range(ty, value) {
                Ok(rest)
            } else {
                Err(Invalid)
            }
        }
        Op::Enum(count) => Ok(index(bytes, count as usize)?.1),
        Op::Uuid => {
            let (text, rest) = counted(bytes)?;
            std::str::from_utf8(text).ok().and_then(uuid).ok_or(Invalid)?;
            Ok(rest)
        }
        Op::Decimal(decimal) => {
            let (unscaled, rest) = match decimal.size {
                Some(size) => bytes.split_at_checked(size).ok_or(Invalid)?,
                None => counted(bytes)?,
            };
            if decimal.holds(unscaled) {
                Ok(rest)
            } else {
                Err(Invalid)
            }
        }
        _ => Err(Invalid),
    }
}

/// A length and so many bytes.
#[inline]
fn counted(bytes: &[u8]) -> Result<(&[u8], &[u8]), Invalid> {
    let (length, rest) = varint::get(bytes)?;
    let length = usize::try_from(length).map_err(|_| Invalid)?;
    rest.split_at_checked(length).ok_or(Invalid)
}

fn index(bytes: &[u8], count: usize) -> Result<(usize, &[u8]), Invalid> {
    let (index, rest) = varint::get(bytes)?;
    let index = usize::try_from(index).map_err(|_| Invalid)?;
    if index < count {
        Ok((index, rest))
    } else {
        Err(Invalid)
    }
}

struct Compiler<'p> {
    program: &'p Program,
    code: Code,
    /// Where the code of a record that is called begins.
    entries: Vec<Option<usize>>,
    /// Calls to records whose code is still to come.
    calls: Vec<(usize, TypeId, u16)>,
    /// Records around the present place, since the last call or item.
    level: u16,
    /// The last place that something jumps to: checks before it and after it must not be joined.
    target: usize,
}

/// Most checks of a program. Records used in many places are called instead of written out beyond it.
const INLINE_OPS_MAX: usize = 4_096;

impl<'p> Compiler<'p> {
    fn new(program: &'p Program) -> Self {
        let code = Code {
            ops: Vec::new(),
            branches: Vec::new(),
        };
        let entries = vec![None; program.steps.len()];
        Self {
            program,
            code,
            entries,
            calls: Vec::new(),
            level: 0,
            target: 0,
        }
    }

    fn compile(mut self) -> Code {
        self.put(self.program.root);
        self.code.ops.push(Op::Return);
        while let Some((call, ty, levels)) = self.calls.pop() {
            let entry = match self.entries.get(ty.index()).copied().flatten() {
                Some(entry) => entry,
                None => self.subroutine(ty),
            };
            self.patch(call, Op::Call { entry, levels });
        }
        self.code
    }

    fn subroutine(&mut self, ty: TypeId) -> usize {
        let entry = self.target();
        if let Some(slot) = self.entries.get_mut(ty.index()) {
            *slot = Some(entry);
        }
        self.level = 0;
        self.put_fields(ty);
        self.code.ops.push(Op::Return);
        entry
    }

    /// Marks the present place as one that is jumped to.
    fn target(&mut self) -> usize {
        self.target = self.code.ops.len();
        self.target
    }

    /// Leaves room for a check that is known later.
    fn reserve(&mut self) -> usize {
        self.code.ops.push(Op::Return);
        self.code.ops.len() - 1
    }

    fn patch(&mut self, at: usize, op: Op) {
        if let Some(slot) = self.code.ops.get_mut(at) {
            *slot = op;
        }
    }

    fn put(&mut self, ty: TypeId) {
        match self.program.step(ty) {
            Step::Scalar(scalar) => self.put_scalar(*scalar),
            Step::Enum(symbols) => {
                self.code
                    .ops
                    .push(Op::Enum(u32::try_from(symbols.symbols.len()).unwrap_or(u32::MAX)));
            }
            Step::Array(items) => self.put_blocks(*items, false),
            Step::Map(values) => self.put_blocks(*values, true),
            Step::Union(union) => self.put_union(&union.branches),
            Step::Record(_) if self.is_called(ty) => {
                let at = self.reserve();
                self.calls.push((at, ty, self.level + 1));
            }
            Step::Record(_) => {
                self.level += 1;
                self.code.ops.push(Op::Level(self.level));
                self.put_fields(ty);
                self.level -= 1;
            }
        }
    }

    /// Records that contain themselves are called, all others are written out in place.
    fn is_called(&self, ty: TypeId) -> bool {
        self.program.measure(ty).recursive || self.code.ops.len() > INLINE_OPS_MAX
    }

    fn put_fields(&mut self, ty: TypeId) {
        if let Step::Record(fields) = self.program.step(ty) {
            fields.fields.iter().for_each(|field| self.put(field.ty));
        }
    }

    fn put_scalar(&mut self, scalar: Scalar) {
        let op = match scalar {
            Scalar::Null => return,
            Scalar::Boolean => Op::Boolean,
            Scalar::Int | Scalar::Date => Op::Int,
            Scalar::Long | Scalar::Timestamp { .. } => Op::Long,
            Scalar::TimeMillis | Scalar::TimeMicros => Op::Ranged(scalar),
            Scalar::Float => Op::Skip(4),
            Scalar::Double => Op::Skip(8),
            Scalar::Bytes => Op::Bytes,
            Scalar::Text => Op::Text,
            Scalar::Uuid => Op::Uuid,
            Scalar::Decimal(decimal) => Op::Decimal(decimal),
            Scalar::Fixed(size) => Op::Skip(size),
            Scalar::UuidFixed => Op::Skip(16),
            Scalar::Duration => Op::Skip(12),
        };
        let free = self.code.ops.len() > self.target;
        match (self.code.ops.last_mut(), op) {
            // Neighbours of fixed width are skipped in one step.
            (Some(Op::Skip(before)), Op::Skip(more)) if free => *before = before.saturating_add(more),
            _ => self.code.ops.push(op),
        }
    }

    fn put_blocks(&mut self, item: TypeId, keyed: bool) {
        let at = self.reserve();
        let outer = std::mem::replace(&mut self.level, 0);
        let measure = self.program.measure(item);
        self.target();
        let inline = matches!(self.program.step(item), Step::Record(_)) && !self.is_called(item);
        if inline {
            self.put_fields(item)
        } else {
            self.put(item)
        }
        self.code.ops.push(Op::Return);
        self.level = outer;
        let empty_weight = if measure.empty && !keyed {
            u32::try_from(measure.weight).unwrap_or(u32::MAX)
        } else {
            0
        };
        let items = Items {
            keyed,
            levels: u16::from(inline),
            empty_weight,
        };
        let past = self.target();
        self.patch(
            at,
            Op::Blocks {
                past,
                levels: outer + 1,
                items,
            },
        );
    }

    fn put_union(&mut self, branches: &[TypeId]) {
        let null = |id: &TypeId| matches!(self.program.step(*id), Step::Scalar(Scalar::Null));
        if let [first, second] = branches
            && (null(first) || null(second))
        {
            let at = self.reserve();
            self.target();
            self.put(if null(first) { *second } else { *first });
            let past = self.target();
            return self.patch(
                at,
                Op::Optional {
                    null: if null(first) { 0 } else { 2 },
                    past,
                },
            );
        }
        let first = self.code.branches.len();
        self.code.branches.extend(std::iter::repeat_n(0, branches.len()));
        self.code.ops.push(Op::Union {
            first,
            count: branches.len(),
        });
        let mut ends = Vec::with_capacity(branches.len());
        for (index, branch) in branches.iter().enumerate() {
            let entry = self.target();
            if let Some(slot) = self.code.branches.get_mut(first + index) {
                *slot = entry;
            }
            self.put(*branch);
            ends.push(self.reserve());
        }
        let past = self.target();
        ends.into_iter().for_each(|end| self.patch(end, Op::Jump(past)));
    }
}
