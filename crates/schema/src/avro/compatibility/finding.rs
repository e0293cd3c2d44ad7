//! What is wrong between two schemas, where, and in words.

use std::fmt;

/// The kinds of incompatibility, named as Java's `SchemaIncompatibilityType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IncompatibilityKind {
    /// Records, enums or fixeds of different names, and no alias of the reader helps; or a field with more than one match.
    NameMismatch,
    /// Fixeds of different sizes.
    FixedSizeMismatch,
    /// The writer's enum has symbols that the reader does not know, and the reader's has no default.
    MissingEnumSymbols,
    /// The reader has a field that the writer does not write, and no default for it.
    ReaderFieldMissingDefaultValue,
    /// Types between which Avro promotes nothing.
    TypeMismatch,
    /// A type that the writer may write is readable by no branch of the reader's union.
    MissingUnionBranch,
}

impl IncompatibilityKind {
    /// The name that Java and Confluent's registry use: `TYPE_MISMATCH`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NameMismatch => "NAME_MISMATCH",
            Self::FixedSizeMismatch => "FIXED_SIZE_MISMATCH",
            Self::MissingEnumSymbols => "MISSING_ENUM_SYMBOLS",
            Self::ReaderFieldMissingDefaultValue => "READER_FIELD_MISSING_DEFAULT_VALUE",
            Self::TypeMismatch => "TYPE_MISMATCH",
            Self::MissingUnionBranch => "MISSING_UNION_BRANCH",
        }
    }
}

/// One reason why data of the writer's schema cannot be read with the reader's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incompatibility {
    pub(super) kind: IncompatibilityKind,
    pub(super) pointer: String,
    pub(super) place: String,
    pub(super) reader: String,
    pub(super) writer: String,
    pub(super) detail: String,
    pub(super) because: Vec<String>,
}

impl Incompatibility {
    /// What kind it is.
    pub fn kind(&self) -> IncompatibilityKind {
        self.kind
    }

    /// Where it is, as the JSON pointer that Java gives: `/fields/2/type/symbols`; field numbers are the reader's,
    /// branch numbers the writer's. `/` is the whole schema.
    pub fn pointer(&self) -> &str {
        &self.pointer
    }

    /// Where it is, by the reader's field names: `lines[].unit_price`, `[]` for the items of an array and `{}` for the
    /// values of a map; empty for the whole schema.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The reader's side in short: `enum shop.Colour {RED, GREEN}`.
    pub fn reader(&self) -> &str {
        &self.reader
    }

    /// The writer's side in short.
    pub fn writer(&self) -> &str {
        &self.writer
    }

    /// The particular that Confluent's registry answers as `additionalInfo`: the field's name, the missing symbols, both sizes.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// For [`IncompatibilityKind::MissingUnionBranch`]: what keeps the reader's branch of the same type from reading it.
    pub fn because(&self) -> &[String] {
        &self.because
    }

    /// The whole finding as a sentence in which the two sides are called `reader` and `writer`
    /// (`"new schema"`, `"schema of version 3"`).
    pub fn describe(&self, reader: &str, writer: &str) -> String {
        let place = if self.place.is_empty() {
            String::new()
        } else {
            format!("{}: ", self.place)
        };
        let (reads, writes) = (&self.reader, &self.writer);
        let sentence = match self.kind {
            IncompatibilityKind::NameMismatch if !self.detail.starts_with("expected") => {
                format!(
                    "the {writer} has several fields for one of the {reader}: {}",
                    self.detail
                )
            }
            IncompatibilityKind::NameMismatch => {
                format!("the {reader} has {reads}, the {writer} has {writes}, and no alias joins the two")
            }
            IncompatibilityKind::FixedSizeMismatch => {
                format!("the {reader} has {reads}, the {writer} has {writes}")
            }
            IncompatibilityKind::MissingEnumSymbols => {
                format!(
                    "the {reader} does not know the symbols {} of the {writer} and has no default symbol",
                    self.detail
                )
            }
            IncompatibilityKind::ReaderFieldMissingDefaultValue => {
                format!(
                    "the field \"{}\" of the {reader} has no default and is not in the {writer}",
                    self.detail
                )
            }
            IncompatibilityKind::TypeMismatch => {
                format!("the {reader} has {reads}, which cannot read {writes} of the {writer}")
            }
            IncompatibilityKind::MissingUnionBranch => {
                format!("no branch of {reads} in the {reader} can read {writes} of the {writer}")
            }
        };
        let because = if self.because.is_empty() {
            String::new()
        } else {
            format!(" ({})", self.because.join("; "))
        };
        format!("{place}{sentence}{because}")
    }
}

impl fmt::Display for Incompatibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.describe("reader's schema", "writer's schema"))
    }
}
