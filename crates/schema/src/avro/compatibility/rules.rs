//! The rules for two types taken by themselves, without their parts.

use std::collections::HashSet;

use super::IncompatibilityKind;
use super::pairs::Own;
use crate::avro::{Enum, Fixed, Kind, Type};

/// Names agree if the simple names do (Java compares no namespaces), or if an alias of the reader is the writer's full name.
pub(super) fn name_mismatch(reads: &Type, writes: &Type) -> Option<Own> {
    let (reader, writer) = (reads.name()?, writes.name()?);
    if reader.simple() == writer.simple() || reads.aliases().iter().any(|alias| alias.full() == writer.full())
    {
        return None;
    }
    let detail = format!("expected: {}", writer.full());
    Some(Own {
        kind: IncompatibilityKind::NameMismatch,
        at: "/name",
        field: None,
        detail,
    })
}

pub(super) fn missing_symbols(reads: &Enum, writes: &Enum) -> Option<Own> {
    if reads.default().is_some() {
        return None;
    }
    let known: HashSet<&String> = reads.symbols().iter().collect();
    let mut missing: Vec<&str> = writes
        .symbols()
        .iter()
        .filter(|symbol| !known.contains(symbol))
        .map(String::as_str)
        .collect();
    if missing.is_empty() {
        return None;
    }
    missing.sort_unstable();
    let detail = format!("[{}]", missing.join(", "));
    Some(Own {
        kind: IncompatibilityKind::MissingEnumSymbols,
        at: "/symbols",
        field: None,
        detail,
    })
}

/// Nothing for equal primitive types and for the promotions of the specification's "Schema Resolution".
pub(super) fn type_mismatch(to: &Kind, from: &Kind) -> Option<Own> {
    let promoted = match to {
        Kind::Long => matches!(from, Kind::Int),
        Kind::Float => matches!(from, Kind::Int | Kind::Long),
        Kind::Double => matches!(from, Kind::Int | Kind::Long | Kind::Float),
        Kind::Bytes => matches!(from, Kind::String),
        Kind::String => matches!(from, Kind::Bytes),
        _ => false,
    };
    if promoted || std::mem::discriminant(to) == std::mem::discriminant(from) {
        return None;
    }
    let detail = format!(
        "reader type: {} not compatible with writer type: {}",
        java_type(to),
        java_type(from)
    );
    Some(Own {
        kind: IncompatibilityKind::TypeMismatch,
        at: "",
        field: None,
        detail,
    })
}

pub(super) fn java_type(kind: &Kind) -> String {
    kind.name().to_uppercase()
}

pub(super) fn size_mismatch(reads: &Fixed, writes: &Fixed) -> Option<Own> {
    if reads.size() == writes.size() {
        return None;
    }
    let detail = format!("expected: {}, found: {}", writes.size(), reads.size());
    Some(Own {
        kind: IncompatibilityKind::FixedSizeMismatch,
        at: "/size",
        field: None,
        detail,
    })
}
