//! What a type costs to go through, found once per schema.

use super::model::{Kind, Schema, TypeId};

/// Facts about one type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Measure {
    /// Types to go through for one value, array items and map values counted once; saturates.
    pub(super) weight: usize,
    /// A value may take no bytes.
    pub(super) empty: bool,
    /// A record that is reached again from within itself. At least one record of every cycle is marked.
    pub(super) recursive: bool,
    state: State,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    New,
    Open,
    Done,
}

/// Measures every type. The schema's nesting has been checked, which bounds the recursion.
pub(super) fn measure(schema: &Schema) -> Vec<Measure> {
    let mut all = vec![Measure::default(); schema.types.len()];
    for (id, _) in schema.types() {
        visit(schema, id, &mut all, 0);
    }
    all
}

/// Types that the root does not reach may nest deeper than it; they are never used.
const DEPTH_MAX: usize = 2 * super::parse::NESTING_MAX;

fn visit(schema: &Schema, id: TypeId, all: &mut [Measure], depth: usize) -> Measure {
    let Some(own) = all.get_mut(id.index()) else {
        return Measure::default();
    };
    match own.state {
        State::Done => return *own,
        State::Open => {
            own.recursive = true;
            return Measure {
                weight: 1,
                empty: true,
                ..*own
            };
        }
        State::New if depth > DEPTH_MAX => return *own,
        State::New => own.state = State::Open,
    }
    let mut weight = 1_usize;
    let mut empty = false;
    match schema.get(id).kind() {
        Kind::Null => empty = true,
        Kind::Fixed(fixed) => empty = fixed.size() == 0,
        Kind::Array(inner) | Kind::Map(inner) => {
            weight = weight.saturating_add(visit(schema, *inner, all, depth + 1).weight);
        }
        Kind::Union(branches) => {
            let heaviest = branches
                .iter()
                .map(|branch| visit(schema, *branch, all, depth + 1).weight)
                .max();
            weight = weight.saturating_add(heaviest.unwrap_or(0));
        }
        Kind::Record(record) => {
            empty = true;
            for field in record.fields() {
                let inner = visit(schema, field.ty(), all, depth + 1);
                weight = weight.saturating_add(inner.weight);
                empty &= inner.empty;
            }
        }
        _ => {}
    }
    let Some(own) = all.get_mut(id.index()) else {
        return Measure::default();
    };
    *own = Measure {
        weight,
        empty,
        state: State::Done,
        ..*own
    };
    *own
}
