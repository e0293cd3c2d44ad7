//! The part of encoding that JSON and serde share: output, records in any field order, blocks, unions, limits.

use crate::limits::Limits;
use crate::violation::{Violation, ViolationKind, excerpt};

use super::model::TypeId;
use super::program::{Fields, Owner, Program, Shape, Step, Union};
use super::scalar::{self, Given};
use super::varint;

/// Writes one value. Fields that come out of order are encoded as they come and put in order at the record's end, so
/// that the input is gone through once.
pub(super) struct Encoder<'p> {
    pub(super) program: &'p Program,
    limits: Limits,
    pub(super) out: Vec<u8>,
    /// Pieces of all records that are open, those of the innermost last.
    pieces: Vec<Piece>,
    /// A record's fields as they came, while they are put in order.
    disorder: Vec<u8>,
    depth: usize,
    empty_left: usize,
    /// A default with parts went in: its levels and items are not counted here.
    pub(super) unchecked: bool,
}

#[derive(Debug, Clone, Copy)]
struct Piece {
    field: usize,
    from: usize,
}

/// Memory that encoding uses again from value to value, so that an event costs no allocation. What one large value took
/// is not kept.
#[derive(Debug, Default)]
pub struct Scratch {
    out: Vec<u8>,
    pieces: Vec<Piece>,
    disorder: Vec<u8>,
}

impl Scratch {
    /// Most bytes that are kept for the next value.
    const KEPT_BYTES_MAX: usize = 64 << 10;

    /// Memory for a value that has `prefix` before it and probably `capacity` bytes.
    pub(crate) fn beginning(mut self, prefix: &[u8], capacity: usize) -> Self {
        for buffer in [&mut self.out, &mut self.disorder] {
            if buffer.capacity() > Self::KEPT_BYTES_MAX {
                *buffer = Vec::new();
            }
        }
        self.out.clear();
        self.out.reserve(prefix.len() + capacity);
        self.out.extend_from_slice(prefix);
        self
    }

    /// What was written last.
    pub(crate) fn written(&self) -> &[u8] {
        &self.out
    }

    /// What was written last, taken out.
    pub(crate) fn into_written(self) -> Vec<u8> {
        self.out
    }
}

/// A finished value.
pub(super) struct Encoded {
    /// The value's bytes, behind those that were there.
    pub(super) scratch: Scratch,
    /// Defaults with parts are in it that may break a limit.
    pub(super) unchecked: bool,
}

/// An open record.
pub(super) struct OpenRecord {
    from: usize,
    first_piece: usize,
    next: usize,
    in_order: bool,
}

/// An open array or map.
pub(super) struct OpenBlock {
    from: usize,
    count: usize,
    empty_weight: usize,
}

impl<'p> Encoder<'p> {
    /// The value is appended to what `scratch` begins with.
    pub(super) fn new(program: &'p Program, limits: Limits, scratch: Scratch) -> Self {
        let Scratch {
            out,
            mut pieces,
            disorder,
        } = scratch;
        pieces.clear();
        Self {
            program,
            limits,
            out,
            pieces,
            disorder,
            depth: 0,
            empty_left: limits.empty_items_max,
            unchecked: false,
        }
    }

    /// Goes one level deeper; each [`Encoder::ascend`] undoes one.
    #[inline]
    fn descend(&mut self) -> Result<(), Violation> {
        self.depth += 1;
        if self.depth > self.limits.depth_max {
            let message = format!("nested deeper than {} levels", self.limits.depth_max);
            return Err(Violation::new(ViolationKind::Depth, message));
        }
        self.check_size()
    }

    #[inline]
    fn ascend(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    #[inline]
    fn check_size(&self) -> Result<(), Violation> {
        if self.out.len() > self.limits.content_bytes_max {
            let message = format!("encoded larger than {} bytes", self.limits.content_bytes_max);
            return Err(Violation::new(ViolationKind::Size, message));
        }
        Ok(())
    }

    /// The finished bytes, and whether they have to be checked once more.
    pub(super) fn finish(self) -> Result<Encoded, Violation> {
        self.check_size()?;
        Ok(Encoded {
            scratch: Scratch {
                out: self.out,
                pieces: self.pieces,
                disorder: self.disorder,
            },
            unchecked: self.unchecked,
        })
    }

    /// Writes a value without parts, through the union's branch if the type is one.
    #[inline]
    pub(super) fn scalar(&mut self, ty: TypeId, given: Given<'_>) -> Result<(), Violation> {
        match self.program.step(ty) {
            Step::Scalar(scalar) => scalar::put(*scalar, given, &mut self.out),
            Step::Enum(symbols) => {
                let Given::Text(text) = given else {
                    return Err(scalar::mismatch(&format!("enum {}", symbols.name), given));
                };
                let Some(index) = symbols.find(text) else {
                    let known = symbols.symbols.iter().map(String::as_str);
                    let message = format!(
                        "{} is not a symbol of enum {}{}",
                        excerpt(text),
                        symbols.name,
                        near(text, known)
                    );
                    return Err(Violation::new(ViolationKind::Symbol, message));
                };
                varint::put(&mut self.out, i64::from(index));
                Ok(())
            }
            Step::Union(union) => {
                let branch = self.branch(union, given)?;
                let inner = self.put_branch(union, branch)?;
                self.scalar(inner, given)
            }
            other => Err(scalar::mismatch(&name_of(other), given)),
        }
    }

    /// The branch for a value without parts. Raw bytes look for bytes or fixed first.
    fn branch(&self, union: &Union, given: Given<'_>) -> Result<usize, Violation> {
        if let Given::Bytes(_) = given {
            let takes = |id: &TypeId| {
                use super::program::Scalar::{Bytes, Duration, Fixed, UuidFixed};
                matches!(
                    self.program.step(*id),
                    Step::Scalar(Bytes | Fixed(_) | UuidFixed | Duration)
                )
            };
            let mut found = union
                .branches
                .iter()
                .enumerate()
                .filter(|(_, id)| takes(id))
                .map(|(index, _)| index);
            if let (Some(branch), None) = (found.next(), found.next()) {
                return Ok(branch);
            }
        }
        self.owner(union, given.shape(), || given.describe())
    }

    /// The branch that takes untagged values of a shape.
    pub(super) fn owner(
        &self,
        union: &Union,
        shape: Shape,
        found: impl Fn() -> String,
    ) -> Result<usize, Violation> {
        match union.owner(shape) {
            Owner::One(branch) => Ok(branch),
            Owner::Nobody => {
                let expected: Vec<String> = union
                    .branches
                    .iter()
                    .map(|branch| name_of(self.program.step(*branch)))
                    .collect();
                let kind = if expected.iter().any(|name| name != "null") {
                    ViolationKind::Type
                } else {
                    ViolationKind::Branch
                };
                Err(Violation::new(
                    kind,
                    format!("expected {}, found {}", expected.join(" or "), found()),
                ))
            }
            Owner::Several => {
                let message = format!(
                    "more than one branch of the union takes a {}: write {{\"<branch>\": ...}} with one of {}",
                    shape.name(),
                    union.names()
                );
                Err(Violation::new(ViolationKind::Ambiguous, message))
            }
        }
    }

    /// Writes a branch's index; gives the branch.
    pub(super) fn put_branch(&mut self, union: &Union, branch: usize) -> Result<TypeId, Violation> {
        let Some(inner) = union.branches.get(branch) else {
            return Err(Violation::new(
                ViolationKind::Branch,
                format!("the union has no branch {branch}"),
            ));
        };
        varint::put(&mut self.out, i64::try_from(branch).unwrap_or(i64::MAX));
        Ok(*inner)
    }

    pub(super) fn open_record(&mut self) -> Result<OpenRecord, Violation> {
        self.descend()?;
        Ok(OpenRecord {
            from: self.out.len(),
            first_piece: self.pieces.len(),
            next: 0,
            in_order: true,
        })
    }

    /// Makes room for the field called `name`; gives its index and type. Its value is written next.
    #[inline]
    pub(super) fn open_field(
        &mut self,
        record: &mut OpenRecord,
        fields: &Fields,
        name: &str,
    ) -> Result<(usize, TypeId), Violation> {
        let expected = fields.fields.get(record.next).filter(|field| field.name == name);
        let (index, ty) = match expected {
            Some(field) => (record.next, field.ty),
            None => {
                let Some(index) = fields.find(name) else {
                    return Err(unknown(fields, name));
                };
                let ty = fields.fields.get(index).map_or(TypeId(0), |field| field.ty);
                record.in_order = false;
                (index, ty)
            }
        };
        record.next = index + 1;
        self.pieces.push(Piece {
            field: index,
            from: self.out.len(),
        });
        Ok((index, ty))
    }

    /// Ends a record: fields in schema order, defaults for those that are missing.
    pub(super) fn close_record(&mut self, record: &OpenRecord, fields: &Fields) -> Result<(), Violation> {
        self.ascend();
        let given = self.pieces.len() - record.first_piece;
        if !record.in_order || given < fields.fields.len() {
            self.arrange(record, fields)?;
        }
        self.pieces.truncate(record.first_piece);
        Ok(())
    }

    fn arrange(&mut self, record: &OpenRecord, fields: &Fields) -> Result<(), Violation> {
        self.disorder.clear();
        self.disorder
            .extend_from_slice(self.out.get(record.from..).unwrap_or_default());
        self.out.truncate(record.from);
        let pieces = self.pieces.get(record.first_piece..).unwrap_or_default();
        let end_of = |at: usize| {
            pieces
                .get(at + 1)
                .map_or(self.disorder.len() + record.from, |next| next.from)
        };
        let mut order: Vec<Option<(usize, usize)>> = vec![None; fields.fields.len()];
        for (at, piece) in pieces.iter().enumerate() {
            let Some(slot) = order.get_mut(piece.field) else {
                continue;
            };
            if slot.is_some() {
                let name = fields.fields.get(piece.field).map_or("", |field| &field.name);
                return Err(Violation::new(
                    ViolationKind::Repeated,
                    format!("field {name:?} is there twice"),
                ));
            }
            *slot = Some((piece.from - record.from, end_of(at) - record.from));
        }
        for (field, place) in fields.fields.iter().zip(order) {
            let bytes = match (place, &field.default) {
                (Some((from, to)), _) => self.disorder.get(from..to).unwrap_or_default(),
                (None, Some(Ok(default))) => {
                    self.unchecked |= field.default_has_parts;
                    default
                }
                (None, Some(Err(reason))) => {
                    let message = format!(
                        "field {:?} is missing and its default cannot be used: {reason}",
                        field.name
                    );
                    return Err(Violation::new(ViolationKind::Missing, message));
                }
                (None, None) => {
                    let message = format!("field {:?} is missing and has no default", field.name);
                    return Err(Violation::new(ViolationKind::Missing, message));
                }
            };
            self.out.extend_from_slice(bytes);
        }
        self.check_size()
    }

    pub(super) fn open_array(&mut self, items: TypeId) -> Result<OpenBlock, Violation> {
        let measure = self.program.measure(items);
        self.open_block(if measure.empty { measure.weight } else { 0 })
    }

    pub(super) fn open_map(&mut self) -> Result<OpenBlock, Violation> {
        self.open_block(0)
    }

    fn open_block(&mut self, empty_weight: usize) -> Result<OpenBlock, Violation> {
        self.descend()?;
        let from = self.out.len();
        // The count goes here once it is known; nearly always one byte is enough.
        self.out.push(0);
        Ok(OpenBlock {
            from,
            count: 0,
            empty_weight,
        })
    }

    /// Before each item; gives its index.
    #[inline]
    pub(super) fn open_item(&mut self, block: &mut OpenBlock) -> Result<usize, Violation> {
        block.count += 1;
        self.empty_left = self.empty_left.checked_sub(block.empty_weight).ok_or_else(|| {
            let message = format!(
                "more than {} items that take no bytes",
                self.limits.empty_items_max
            );
            Violation::new(ViolationKind::Size, message)
        })?;
        self.check_size()?;
        Ok(block.count - 1)
    }

    pub(super) fn close_block(&mut self, block: &OpenBlock) {
        self.ascend();
        if block.count == 0 {
            return;
        }
        let mut count = Vec::with_capacity(10);
        varint::put(&mut count, i64::try_from(block.count).unwrap_or(i64::MAX));
        match (self.out.get_mut(block.from), count.as_slice()) {
            (Some(place), [only]) => *place = *only,
            _ => drop(self.out.splice(block.from..=block.from, count)),
        }
        self.out.push(0);
    }
}

fn unknown(fields: &Fields, name: &str) -> Violation {
    let known = fields.fields.iter().map(|field| field.name.as_str());
    let message = format!(
        "field {} is not in record {}{}",
        excerpt(name),
        fields.name,
        near(name, known)
    );
    Violation::new(ViolationKind::Unknown, message)
}

/// `; did you mean "quantity"?` when a known name is near.
pub(super) fn near<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    if name.len() > 64 {
        return String::new();
    }
    let nearest = known
        .filter(|other| other.len() <= 64)
        .map(|other| (distance(name, other), other))
        .min();
    match nearest {
        Some((steps, other)) if steps <= 1 + name.len() / 4 => format!("; did you mean {other:?}?"),
        _ => String::new(),
    }
}

/// Letters to insert, remove or replace, without regard to case.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (at, c) in a.to_lowercase().chars().enumerate() {
        let mut left = at + 1;
        let mut diagonal = at;
        for (other, slot) in b.iter().zip(row.iter_mut().skip(1)) {
            let above = *slot;
            *slot = (diagonal + usize::from(c != *other)).min(above + 1).min(left + 1);
            diagonal = above;
            left = *slot;
        }
        if let Some(first) = row.first_mut() {
            *first = at + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

/// What an error calls a type.
pub(super) fn name_of(step: &Step) -> String {
    match step {
        Step::Scalar(scalar) => scalar.name().to_owned(),
        Step::Enum(symbols) => format!("enum {}", symbols.name),
        Step::Array(_) => "array".to_owned(),
        Step::Map(_) => "map".to_owned(),
        Step::Union(union) => format!("one of {}", union.names()),
        Step::Record(fields) => format!("record {}", fields.name),
    }
}
