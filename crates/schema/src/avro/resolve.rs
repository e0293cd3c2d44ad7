//! Reading with another schema than the one that wrote (Avro specification, "Schema Resolution"), compiled once.

use std::collections::HashMap;

use super::measure;
use super::model::{Enum, Field, Kind, Name, Record, Schema, Type, TypeId};
use super::program::{self, Owner, Scalar, Shape};
use super::{default, resolve_scalar};

/// Most steps of a reading program: a guard against unions that multiply.
const STEPS_MAX: usize = 200_000;

/// Index of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ReadId(u32);

/// How to read what a writer wrote as what a reader expects. Step 0 is the whole value.
#[derive(Debug)]
pub(super) struct ReadProgram {
    steps: Vec<ReadStep>,
}

#[derive(Debug)]
pub(super) enum ReadStep {
    /// Bytes as `wire` says, a value as `form` says.
    Scalar {
        wire: Scalar,
        form: Scalar,
    },
    /// The reader's symbol for each of the writer's; none if it has no such symbol and no default.
    Enum {
        name: String,
        symbols: Vec<Result<String, String>>,
    },
    /// `empty_weight` is the cost of an item that may take no bytes, else 0.
    Array {
        items: ReadId,
        empty_weight: usize,
    },
    Map(ReadId),
    Record(ReadRecord),
    /// The writer's branches.
    Union(Vec<ReadId>),
    /// A value within a union of the reader.
    Branch(ReadBranch),
    /// What was written here cannot be read.
    Refuse(String),
}

#[derive(Debug)]
pub(super) struct ReadRecord {
    /// In the writer's order.
    pub(super) fields: Vec<ReadField>,
    /// The reader's fields that the writer does not have.
    pub(super) defaults: Vec<ReadDefault>,
}

#[derive(Debug)]
pub(super) struct ReadField {
    /// The reader's name, or the writer's where the reader does not want it.
    pub(super) name: String,
    pub(super) step: ReadId,
    pub(super) wanted: bool,
}

#[derive(Debug)]
pub(super) struct ReadDefault {
    pub(super) name: String,
    pub(super) step: ReadId,
    pub(super) bytes: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct ReadBranch {
    pub(super) step: ReadId,
    /// What names the branch in JSON.
    pub(super) tag: String,
    /// The name without namespace: what names a variant of a Rust enum.
    pub(super) simple: String,
    /// Shapes, as bits, in which a value of this branch is written without a tag.
    untagged: u8,
    /// The tags of all branches: a map whose first key is one of them is written with its tag.
    pub(super) tags: Vec<String>,
}

impl ReadBranch {
    pub(super) fn is_tagged(&self, shape: Shape) -> bool {
        self.untagged & (1 << shape as u8) == 0
    }
}

impl ReadProgram {
    pub(super) const ROOT: ReadId = ReadId(0);

    #[inline]
    pub(super) fn step(&self, id: ReadId) -> &ReadStep {
        self.steps.get(id.0 as usize).unwrap_or(&ReadStep::Scalar {
            wire: Scalar::Null,
            form: Scalar::Null,
        })
    }

    /// Compiles a pair of schemas. What cannot be resolved becomes [`ReadStep::Refuse`] and is told when data reaches
    /// it, as the Java library does it: other branches and empty arrays stay readable.
    pub(super) fn compile(writer: &Schema, reader: &Schema) -> Self {
        let mut compiler = Compiler {
            sides: [writer, reader],
            measures: [measure::measure(writer), measure::measure(reader)],
            steps: Vec::new(),
            known: HashMap::new(),
            open: Vec::new(),
        };
        compiler.pair(
            Ref(Side::Writer, writer.root_id()),
            Ref(Side::Reader, reader.root_id()),
        );
        while let Some((id, written, wanted)) = compiler.open.pop() {
            let step = compiler.resolve(written, wanted);
            compiler.set(id, step);
        }
        Self {
            steps: compiler.steps,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Side {
    Writer,
    Reader,
}

/// A type of one of the two schemas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Ref(Side, TypeId);

struct Compiler<'a> {
    sides: [&'a Schema; 2],
    measures: [Vec<measure::Measure>; 2],
    steps: Vec<ReadStep>,
    known: HashMap<(Ref, Ref), ReadId>,
    open: Vec<(ReadId, Ref, Ref)>,
}

impl<'a> Compiler<'a> {
    fn schema(&self, side: Side) -> &'a Schema {
        let [writer, reader] = self.sides;
        match side {
            Side::Writer => writer,
            Side::Reader => reader,
        }
    }

    fn ty(&self, Ref(side, id): Ref) -> &'a Type {
        self.schema(side).get(id)
    }

    fn push(&mut self, step: ReadStep) -> ReadId {
        let id = ReadId(u32::try_from(self.steps.len()).unwrap_or(u32::MAX));
        self.steps.push(step);
        id
    }

    fn set(&mut self, id: ReadId, step: ReadStep) {
        if let Some(slot) = self.steps.get_mut(id.0 as usize) {
            *slot = step;
        }
    }

    /// The step for a pair of types; resolved later, so that recursive schemas and deep ones need no recursion here.
    fn pair(&mut self, written: Ref, wanted: Ref) -> ReadId {
        if let Some(id) = self.known.get(&(written, wanted)) {
            return *id;
        }
        let id = self.push(ReadStep::Refuse(
            "the schemas are too large to be resolved".to_owned(),
        ));
        if self.steps.len() <= STEPS_MAX {
            self.known.insert((written, wanted), id);
            self.open.push((id, written, wanted));
        }
        id
    }

    fn resolve(&mut self, written: Ref, wanted: Ref) -> ReadStep {
        let (from, to) = (self.ty(written), self.ty(wanted));
        match (from.kind(), to.kind()) {
            (Kind::Union(branches), _) => self.written_union(written.0, branches, wanted),
            (_, Kind::Union(branches)) => self.wanted_union(written, wanted.0, branches),
            (Kind::Array(items), Kind::Array(wanted_items)) => {
                let side = match written.0 {
                    Side::Writer => 0,
                    Side::Reader => 1,
                };
                let measure = self
                    .measures
                    .get(side)
                    .and_then(|all| all.get(items.index()))
                    .copied()
                    .unwrap_or_default();
                let empty_weight = if measure.empty { measure.weight } else { 0 };
                ReadStep::Array {
                    items: self.pair(Ref(written.0, *items), Ref(wanted.0, *wanted_items)),
                    empty_weight,
                }
            }
            (Kind::Map(values), Kind::Map(wanted_values)) => {
                ReadStep::Map(self.pair(Ref(written.0, *values), Ref(wanted.0, *wanted_values)))
            }
            (Kind::Record(record), Kind::Record(wanted_record)) if same_name(from, to) => {
                self.record(written.0, record, wanted.0, wanted_record)
            }
            (Kind::Enum(symbols), Kind::Enum(wanted_symbols)) if same_name(from, to) => {
                enumeration(symbols, wanted_symbols)
            }
            _ => match resolve_scalar::resolve(from, to) {
                Some((wire, form)) if same_name(from, to) => ReadStep::Scalar { wire, form },
                _ => refuse(from, to),
            },
        }
    }

    /// Each branch against the whole of what is wanted. Two unions with the same branches tag alike.
    fn written_union(&mut self, side: Side, branches: &[TypeId], wanted: Ref) -> ReadStep {
        ReadStep::Union(
            branches
                .iter()
                .map(|branch| self.pair(Ref(side, *branch), wanted))
                .collect(),
        )
    }

    fn wanted_union(&mut self, written: Ref, side: Side, branches: &[TypeId]) -> ReadStep {
        let from = self.ty(written);
        let schema = self.schema(side);
        let matching = best_branch(from, schema, branches);
        let Some((index, branch)) =
            matching.and_then(|index| branches.get(index).map(|branch| (index, *branch)))
        else {
            let names: Vec<&str> = branches
                .iter()
                .map(|branch| schema.get(*branch).fullname())
                .collect();
            return ReadStep::Refuse(format!(
                "a {} was written, one of {} is expected",
                from.fullname(),
                names.join(", ")
            ));
        };
        let step = self.pair(written, Ref(side, branch));
        let union = program::union(schema, branches);
        let shapes = [
            Shape::Null,
            Shape::Boolean,
            Shape::Number,
            Shape::Text,
            Shape::List,
            Shape::Object,
        ];
        let owned = shapes
            .into_iter()
            .filter(|shape| union.owner(*shape) == Owner::One(index));
        let target = schema.get(branch);
        ReadStep::Branch(ReadBranch {
            step,
            untagged: owned.fold(0, |bits, shape| bits | 1 << shape as u8),
            tag: target.fullname().to_owned(),
            simple: target.name().map_or(target.fullname(), Name::simple).to_owned(),
            tags: union.tags,
        })
    }

    fn record(&mut self, from: Side, written: &'a Record, to: Side, wanted: &'a Record) -> ReadStep {
        let mut sources: Vec<Option<&Field>> = Vec::with_capacity(wanted.fields().len());
        for field in wanted.fields() {
            let by_alias = || field.aliases().iter().find_map(|alias| written.field(alias));
            sources.push(written.field(field.name()).or_else(by_alias));
        }
        let mut fields = Vec::with_capacity(written.fields().len());
        for field in written.fields() {
            let target = wanted
                .fields()
                .iter()
                .zip(&sources)
                .find(|(_, source)| source.is_some_and(|source| std::ptr::eq(source, field)));
            let own = Ref(from, field.ty());
            fields.push(match target {
                Some((target, _)) => {
                    let step = self.pair(own, Ref(to, target.ty()));
                    ReadField {
                        name: target.name().to_owned(),
                        step,
                        wanted: true,
                    }
                }
                None => ReadField {
                    name: field.name().to_owned(),
                    step: self.pair(own, own),
                    wanted: false,
                },
            });
        }
        let mut defaults = Vec::new();
        for (field, _) in wanted
            .fields()
            .iter()
            .zip(&sources)
            .filter(|(_, source)| source.is_none())
        {
            match self.default(to, field) {
                Ok(default) => defaults.push(default),
                Err(reason) => {
                    let name = wanted.name().full();
                    return ReadStep::Refuse(format!(
                        "field {:?} of record {name} was not written and {reason}",
                        field.name()
                    ));
                }
            }
        }
        ReadStep::Record(ReadRecord { fields, defaults })
    }

    fn default(&mut self, side: Side, field: &Field) -> Result<ReadDefault, String> {
        let Some(value) = field.default() else {
            return Err("has no default".to_owned());
        };
        let bytes = default::encode(self.schema(side), field.ty(), value)
            .map_err(|reason| format!("its default cannot be used: {reason}"))?;
        let own = Ref(side, field.ty());
        Ok(ReadDefault {
            name: field.name().to_owned(),
            step: self.pair(own, own),
            bytes,
        })
    }
}

fn enumeration(written: &Enum, wanted: &Enum) -> ReadStep {
    let symbols = written.symbols().iter().map(|symbol| {
        if wanted.symbols().contains(symbol) {
            return Ok(symbol.clone());
        }
        wanted.default().map(str::to_owned).ok_or_else(|| symbol.clone())
    });
    ReadStep::Enum {
        name: wanted.name().full().to_owned(),
        symbols: symbols.collect(),
    }
}

fn refuse(from: &Type, to: &Type) -> ReadStep {
    ReadStep::Refuse(format!(
        "a {} was written, a {} is expected",
        from.fullname(),
        to.fullname()
    ))
}

/// Names match without their namespaces, or by one of the reader's aliases. Unnamed types match.
fn same_name(from: &Type, to: &Type) -> bool {
    let (Some(written), Some(wanted)) = (from.name(), to.name()) else {
        return true;
    };
    written.simple() == wanted.simple() || to.aliases().iter().any(|alias| alias == written)
}

/// The first branch of the same kind and full name, else of the same kind and simple name or alias, else the first to
/// which the written type can be promoted.
fn best_branch(from: &Type, schema: &Schema, branches: &[TypeId]) -> Option<usize> {
    let same_kind = |to: &Type| std::mem::discriminant(from.kind()) == std::mem::discriminant(to.kind());
    let ranks: [&dyn Fn(&Type) -> bool; 3] = [
        &|to| same_kind(to) && from.fullname() == to.fullname(),
        &|to| same_kind(to) && same_name(from, to),
        &|to| !same_kind(to) && resolve_scalar::resolve(from, to).is_some(),
    ];
    ranks
        .iter()
        .find_map(|fits| branches.iter().position(|branch| fits(schema.get(*branch))))
}
