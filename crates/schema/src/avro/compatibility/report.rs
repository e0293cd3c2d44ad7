//! From pairs that disagree to findings that a person understands.

use std::collections::HashSet;

use super::pairs::{Comparison, Needs, Node, Own, PairId, Step};
use super::rules::java_type;
use super::{Incompatibility, IncompatibilityKind};
use crate::avro::{Field, Kind, Schema, Type};

/// Findings that one comparison lists; what is wrong beyond them is not said.
pub(super) const FINDINGS_MAX: usize = 500;
/// Findings listed as the reasons why a union's branch does not read a type.
const REASONS_MAX: usize = 3;
/// Steps of a path that are written out; of a longer one, the outermost and the innermost.
const STEPS_MAX: usize = 128;

/// Walks the pairs that disagree. Places are kept as links to their parents, so that deep schemas cost no long texts.
pub(super) struct Report<'a> {
    comparison: &'a Comparison<'a>,
    bad: &'a [bool],
    trail: Vec<Place>,
}

/// Where a pair was met: a step below a parent, whose reader's type the step belongs to.
struct Place {
    parent: usize,
    step: Option<(Step, PairId)>,
}

impl<'a> Report<'a> {
    pub(super) fn new(comparison: &'a Comparison<'a>, bad: &'a [bool]) -> Self {
        Self {
            comparison,
            bad,
            trail: vec![Place {
                parent: 0,
                step: None,
            }],
        }
    }

    /// What is wrong at a pair and below it, each pair once.
    pub(super) fn findings(mut self, root: PairId) -> Vec<Incompatibility> {
        self.walk(root, 0, FINDINGS_MAX, true)
    }

    fn walk(&mut self, root: PairId, place: usize, most: usize, explain: bool) -> Vec<Incompatibility> {
        let mut findings = Vec::new();
        let mut walked = HashSet::new();
        let mut ahead = vec![(root, place)];
        while let Some((id, place)) = ahead.pop().filter(|_| findings.len() < most) {
            let Some(node) = self
                .comparison
                .nodes
                .get(id)
                .filter(|_| self.is_bad(id) && walked.insert(id))
            else {
                continue;
            };
            findings.extend(node.own.iter().map(|own| self.finding(node, own, place)));
            match &node.needs {
                Needs::Each(pairs) => {
                    let below = pairs
                        .iter()
                        .rev()
                        .filter(|(_, pair)| self.is_bad(*pair) && !walked.contains(pair));
                    let below: Vec<(Step, PairId)> = below.copied().collect();
                    ahead.extend(
                        below
                            .into_iter()
                            .map(|(step, pair)| (pair, self.step(place, step, id))),
                    );
                }
                Needs::One(_) => findings.extend(self.missing_branch(node, place, explain)),
                Needs::Branches(pairs) => {
                    for (index, pair) in pairs.iter().enumerate() {
                        if let Some(branch) = self.comparison.nodes.get(*pair).filter(|_| self.is_bad(*pair))
                        {
                            let place = self.step(place, Step::Branch(index), id);
                            findings.extend(self.missing_branch(branch, place, explain));
                        }
                    }
                }
            }
        }
        findings.truncate(most);
        findings
    }

    fn is_bad(&self, id: PairId) -> bool {
        self.bad.get(id) == Some(&true)
    }

    fn step(&mut self, parent: usize, step: Step, pair: PairId) -> usize {
        self.trail.push(Place {
            parent,
            step: Some((step, pair)),
        });
        self.trail.len() - 1
    }

    fn finding(&self, node: &Node, own: &Own, place: usize) -> Incompatibility {
        let (reads, writes) = self.sides(node);
        let (mut pointer, mut place) = self.path(place);
        if let (Some(index), Kind::Record(record)) = (own.field, reads.kind()) {
            pointer = format!("{pointer}/fields/{index}");
            join(&mut place, record.fields().get(index).map_or("", Field::name));
        }
        pointer.push_str(own.at);
        Incompatibility {
            kind: own.kind,
            pointer: if pointer.is_empty() {
                "/".to_owned()
            } else {
                pointer
            },
            place,
            reader: brief(self.comparison.reader, reads),
            writer: brief(self.comparison.writer, writes),
            detail: own.detail.clone(),
            because: Vec::new(),
        }
    }

    /// The finding for a type of the writer that no branch of the reader's union reads. None if the branch that was meant is one
    /// of the types around the union: then it fails for what is reported there.
    fn missing_branch(&mut self, node: &Node, place: usize, explain: bool) -> Option<Incompatibility> {
        let (reads, writes) = self.sides(node);
        let nearest = self.nearest(node);
        if nearest.is_some_and(|branch| self.is_around(branch, place)) {
            return None;
        }
        let because = match nearest.filter(|_| explain) {
            Some(branch) => self
                .walk(branch, place, REASONS_MAX, false)
                .iter()
                .map(Incompatibility::to_string)
                .collect(),
            None => Vec::new(),
        };
        let (pointer, place) = self.path(place);
        Some(Incompatibility {
            kind: IncompatibilityKind::MissingUnionBranch,
            pointer: if pointer.is_empty() {
                "/".to_owned()
            } else {
                pointer
            },
            place,
            reader: brief(self.comparison.reader, reads),
            writer: brief(self.comparison.writer, writes),
            detail: format!("reader union lacking writer type: {}", java_type(writes.kind())),
            because,
        })
    }

    /// True if the place lies inside this pair. Looks no further out than [`STEPS_MAX`] steps: beyond, a consequence is reported too.
    fn is_around(&self, pair: PairId, place: usize) -> bool {
        let mut at = place;
        for _ in 0..STEPS_MAX {
            match self.trail.get(at) {
                Some(Place {
                    step: Some((_, around)),
                    ..
                }) if *around == pair => return true,
                Some(Place {
                    parent,
                    step: Some(_),
                }) => at = *parent,
                _ => return false,
            }
        }
        false
    }

    fn sides(&self, node: &Node) -> (&'a Type, &'a Type) {
        (
            self.comparison.reader.get(node.reader),
            self.comparison.writer.get(node.writer),
        )
    }

    /// The branch of the reader's union that was most likely meant: the same kind of record, enum, fixed, array or map, by name if it can be.
    fn nearest(&self, node: &Node) -> Option<PairId> {
        let Needs::One(pairs) = &node.needs else {
            return None;
        };
        let same_kind = pairs.iter().copied().filter(|&pair| {
            self.comparison.nodes.get(pair).is_some_and(|branch| {
                let (reads, writes) = self.sides(branch);
                std::mem::discriminant(reads.kind()) == std::mem::discriminant(writes.kind())
            })
        });
        same_kind.min_by_key(|&pair| {
            let same_name = self.comparison.nodes.get(pair).map(|branch| {
                let (reads, writes) = self.sides(branch);
                reads.fullname() == writes.fullname()
            });
            same_name != Some(true)
        })
    }

    /// A place as Java's pointer and by field names.
    fn path(&self, place: usize) -> (String, String) {
        let mut steps = Vec::new();
        let mut at = place;
        while let Some(Place {
            parent,
            step: Some(step),
        }) = self.trail.get(at)
        {
            steps.push(*step);
            at = *parent;
        }
        steps.reverse();
        let (mut pointer, mut place) = (String::new(), String::new());
        let cut = steps.len().saturating_sub(STEPS_MAX);
        for (index, (step, pair)) in steps.into_iter().enumerate() {
            if (STEPS_MAX / 2..STEPS_MAX / 2 + cut).contains(&index) {
                if index == STEPS_MAX / 2 {
                    pointer.push_str("/...");
                    place.push_str("...");
                }
                continue;
            }
            self.write_step(step, pair, &mut pointer, &mut place);
        }
        (pointer, place)
    }

    fn write_step(&self, step: Step, pair: PairId, pointer: &mut String, place: &mut String) {
        match step {
            Step::Items => {
                pointer.push_str("/items");
                place.push_str("[]");
            }
            Step::Values => {
                pointer.push_str("/values");
                place.push_str("{}");
            }
            Step::Branch(index) => pointer.push_str(&format!("/{index}")),
            Step::Field(index) => {
                pointer.push_str(&format!("/fields/{index}/type"));
                let reads = self
                    .comparison
                    .nodes
                    .get(pair)
                    .map(|node| self.sides(node).0.kind());
                if let Some(Kind::Record(record)) = reads {
                    join(place, record.fields().get(index).map_or("", Field::name));
                }
            }
        }
    }
}

fn join(place: &mut String, field: &str) {
    if !place.is_empty() {
        place.push('.');
    }
    place.push_str(field);
}

/// Symbols or branches that a message lists before it says how many more there are.
const LISTED_MAX: usize = 12;

/// A type in a few words.
fn brief(schema: &Schema, ty: &Type) -> String {
    match ty.kind() {
        Kind::Record(record) => format!("record {}", record.name().full()),
        Kind::Enum(symbols) => format!(
            "enum {} {{{}}}",
            symbols.name().full(),
            list(symbols.symbols().iter().map(String::as_str))
        ),
        Kind::Fixed(fixed) => format!("fixed {} of {} bytes", fixed.name().full(), fixed.size()),
        Kind::Union(branches) => format!(
            "union [{}]",
            list(branches.iter().map(|&branch| schema.get(branch).fullname()))
        ),
        Kind::Array(items) => format!("array of {}", schema.get(*items).fullname()),
        Kind::Map(values) => format!("map of {}", schema.get(*values).fullname()),
        other => other.name().to_owned(),
    }
}

fn list<'a>(items: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = items.len().saturating_sub(LISTED_MAX);
    let mut listed: Vec<&str> = items.take(LISTED_MAX).collect();
    let rest = format!("{more} more");
    if more > 0 {
        listed.push(&rest);
    }
    listed.join(", ")
}
