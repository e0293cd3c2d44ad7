//! Compares two schemas as a graph of pairs of types, without recursion, so that neither depth nor cycles can exhaust the stack.
//!
//! Every pair that can be reached is noted once with what it needs of other pairs. All are taken to agree until proven
//! otherwise, disagreement spreads to the pairs that need it, and what then still agrees agrees: that gives recursive schemas
//! their meaning. Findings are collected last, along the pairs that disagree.

use std::collections::{HashMap, HashSet};

use super::report::Report;
use super::rules::{missing_symbols, name_mismatch, size_mismatch, type_mismatch};
use super::{Incompatibility, IncompatibilityKind};
use crate::avro::{Field, Kind, Record, Schema, TypeId};

/// Pairs of types that one comparison may look at. Honest schemas need about as many as they have types.
pub const PAIRS_MAX: usize = 200_000;

/// Two schemas whose comparison was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the schemas are too complex to compare: more than {PAIRS_MAX} pairs of types")]
pub struct TooComplex;

/// Checks whether data written with `writer` can be read with `reader`. Empty: it can.
///
/// The rules are those of Java's `SchemaCompatibility.checkReaderWriterCompatibility`. Findings come in the order of the
/// reader's text; a pair of types that is met at many places is reported at the first.
///
/// # Errors
/// [`TooComplex`] beyond [`PAIRS_MAX`] pairs of types.
pub fn check_pair(reader: &Schema, writer: &Schema) -> Result<Vec<Incompatibility>, TooComplex> {
    let mut comparison = Comparison {
        reader,
        writer,
        nodes: Vec::new(),
        known: HashMap::new(),
    };
    let root = comparison.explore()?;
    let bad = comparison.disagreeing();
    Ok(Report::new(&comparison, &bad).findings(root))
}

/// Index of a pair in [`Comparison::nodes`].
pub(super) type PairId = usize;

/// One reader type against one writer type.
pub(super) struct Node {
    pub(super) reader: TypeId,
    pub(super) writer: TypeId,
    pub(super) own: Vec<Own>,
    pub(super) needs: Needs,
}

/// A finding of the pair itself, `at` a step below it.
pub(super) struct Own {
    pub(super) kind: IncompatibilityKind,
    pub(super) at: &'static str,
    pub(super) field: Option<usize>,
    pub(super) detail: String,
}

/// What a pair needs of other pairs to agree.
pub(super) enum Needs {
    /// Each of these, reached by these steps.
    Each(Vec<(Step, PairId)>),
    /// One of these: a type of the writer against the branches of the reader's union.
    One(Vec<PairId>),
    /// Each of these, the branches of the writer's union against the whole union of the reader.
    Branches(Vec<PairId>),
}

impl Needs {
    fn pairs(&self) -> Vec<PairId> {
        match self {
            Self::Each(pairs) => pairs.iter().map(|(_, pair)| *pair).collect(),
            Self::One(pairs) | Self::Branches(pairs) => pairs.clone(),
        }
    }
}

/// How a path goes on from one pair to the next.
#[derive(Clone, Copy)]
pub(super) enum Step {
    Items,
    Values,
    Field(usize),
    Branch(usize),
}

pub(super) struct Comparison<'a> {
    pub(super) reader: &'a Schema,
    pub(super) writer: &'a Schema,
    pub(super) nodes: Vec<Node>,
    known: HashMap<(TypeId, TypeId), PairId>,
}

impl Comparison<'_> {
    /// Notes every pair that can be reached from the two roots.
    fn explore(&mut self) -> Result<PairId, TooComplex> {
        let root = self.pair(self.reader.root_id(), self.writer.root_id())?;
        let mut next = 0;
        while let Some((reader, writer)) = self.nodes.get(next).map(|node| (node.reader, node.writer)) {
            let mut own = Vec::new();
            let needs = self.needs(reader, writer, &mut own)?;
            if let Some(node) = self.nodes.get_mut(next) {
                node.own = own;
                node.needs = needs;
            }
            next += 1;
        }
        Ok(root)
    }

    fn pair(&mut self, reader: TypeId, writer: TypeId) -> Result<PairId, TooComplex> {
        if let Some(&id) = self.known.get(&(reader, writer)) {
            return Ok(id);
        }
        let id = self.nodes.len();
        if id >= PAIRS_MAX {
            return Err(TooComplex);
        }
        self.nodes.push(Node {
            reader,
            writer,
            own: Vec::new(),
            needs: Needs::Each(Vec::new()),
        });
        self.known.insert((reader, writer), id);
        Ok(id)
    }

    /// What two types need to agree; what disagrees already is put into `own`.
    fn needs(
        &mut self,
        reader_id: TypeId,
        writer_id: TypeId,
        own: &mut Vec<Own>,
    ) -> Result<Needs, TooComplex> {
        let (reader, writer) = (self.reader, self.writer);
        let (reads, writes) = (reader.get(reader_id), writer.get(writer_id));
        Ok(match (reads.kind(), writes.kind()) {
            (Kind::Union(_), Kind::Union(branches)) => {
                let pairs = branches.iter().map(|&branch| self.pair(reader_id, branch));
                Needs::Branches(pairs.collect::<Result<_, _>>()?)
            }
            (_, Kind::Union(branches)) => {
                let pairs = branches.iter().enumerate();
                let pairs =
                    pairs.map(|(index, &branch)| Ok((Step::Branch(index), self.pair(reader_id, branch)?)));
                Needs::Each(pairs.collect::<Result<_, TooComplex>>()?)
            }
            (Kind::Union(branches), _) => {
                let pairs = branches.iter().map(|&branch| self.pair(branch, writer_id));
                Needs::One(pairs.collect::<Result<_, _>>()?)
            }
            (Kind::Array(items), Kind::Array(written)) => {
                Needs::Each(vec![(Step::Items, self.pair(*items, *written)?)])
            }
            (Kind::Map(values), Kind::Map(written)) => {
                Needs::Each(vec![(Step::Values, self.pair(*values, *written)?)])
            }
            (Kind::Record(record), Kind::Record(written)) => {
                own.extend(name_mismatch(reads, writes));
                Needs::Each(self.fields(record, written, own)?)
            }
            (Kind::Enum(symbols), Kind::Enum(written)) => {
                own.extend(name_mismatch(reads, writes));
                own.extend(missing_symbols(symbols, written));
                Needs::Each(Vec::new())
            }
            (Kind::Fixed(fixed), Kind::Fixed(written)) => {
                own.extend(name_mismatch(reads, writes));
                own.extend(size_mismatch(fixed, written));
                Needs::Each(Vec::new())
            }
            (to, from) => {
                own.extend(type_mismatch(to, from));
                Needs::Each(Vec::new())
            }
        })
    }

    fn fields(
        &mut self,
        reads: &Record,
        writes: &Record,
        own: &mut Vec<Own>,
    ) -> Result<Vec<(Step, PairId)>, TooComplex> {
        let mut pairs = Vec::new();
        let by_name: HashMap<&str, &Field> = writes
            .fields()
            .iter()
            .map(|field| (field.name(), field))
            .collect();
        for (index, field) in reads.fields().iter().enumerate() {
            let names = std::iter::once(field.name()).chain(field.aliases().iter().map(String::as_str));
            let mut seen = HashSet::new();
            let matches: Vec<&Field> = names
                .filter(|&name| seen.insert(name))
                .filter_map(|name| by_name.get(name).copied())
                .collect();
            match matches.as_slice() {
                [] if field.default().is_none() => own.push(Own {
                    kind: IncompatibilityKind::ReaderFieldMissingDefaultValue,
                    at: "",
                    field: Some(index),
                    detail: field.name().to_owned(),
                }),
                [] => {}
                [written] => pairs.push((Step::Field(index), self.pair(field.ty(), written.ty())?)),
                several => {
                    let names: Vec<&str> = several.iter().map(|field| field.name()).collect();
                    let detail = format!("field \"{}\" matches several: {}", field.name(), names.join(", "));
                    own.push(Own {
                        kind: IncompatibilityKind::NameMismatch,
                        at: "",
                        field: Some(index),
                        detail,
                    });
                }
            }
        }
        Ok(pairs)
    }

    /// The pairs that disagree: those with findings of their own, and what needs them, until nothing more follows.
    fn disagreeing(&self) -> Vec<bool> {
        let mut needed_by: Vec<Vec<PairId>> = vec![Vec::new(); self.nodes.len()];
        let mut losses_left = Vec::new();
        let mut spreading = Vec::new();
        for (id, node) in self.nodes.iter().enumerate() {
            for pair in node.needs.pairs() {
                if let Some(users) = needed_by.get_mut(pair) {
                    users.push(id);
                }
            }
            let losses = if let Needs::One(pairs) = &node.needs {
                pairs.len()
            } else {
                1
            };
            losses_left.push(losses);
            if losses == 0 || !node.own.is_empty() {
                spreading.push(id);
            }
        }
        let mut bad = vec![false; self.nodes.len()];
        while let Some(lost) = spreading.pop() {
            match bad.get_mut(lost) {
                Some(flag) if !*flag => *flag = true,
                _ => continue,
            }
            for &user in needed_by.get(lost).into_iter().flatten() {
                if let Some(losses) = losses_left.get_mut(user) {
                    *losses = losses.saturating_sub(1);
                    if *losses == 0 {
                        spreading.push(user);
                    }
                }
            }
        }
        bad
    }
}
