//! What is wrong with a value, and where in it.

use std::fmt;

/// Content that does not obey its contract.
///
/// It reads `lines[3].unit_price: expected decimal, found string "free"`. Of the content at most
/// [`Violation::EXCERPT_CHARS_MAX`] characters of the one offending value are quoted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation(Box<Inner>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Inner {
    kind: ViolationKind,
    message: String,
    /// Innermost first: each level adds its own on the way out.
    path: Vec<Segment>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Field(String),
    Item(usize),
    Key(String),
}

/// The ways in which content can violate its contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ViolationKind {
    /// The text is not JSON.
    Json,
    /// A value of another type than the schema asks for.
    Type,
    /// A field that has no default is missing.
    Missing,
    /// A field that the schema does not have.
    Unknown,
    /// A field is there twice.
    Repeated,
    /// A number, date, time or length outside what its type holds.
    Range,
    /// A text that is not in the form its type asks for: date, time, identifier, decimal.
    Format,
    /// Not a symbol of the enum.
    Symbol,
    /// No branch of the union takes the value, or there is no such branch.
    Branch,
    /// More than one branch of the union takes the value, and no tag says which.
    Ambiguous,
    /// The bytes end within the value.
    Truncated,
    /// Bytes are left after the value.
    Trailing,
    /// An integer is not encoded in the shortest form.
    Varint,
    /// A text is not UTF-8.
    Utf8,
    /// Nested deeper than the limit.
    Depth,
    /// Larger than the limit.
    Size,
    /// The bytes are not framed as a registry's clients frame them, or by another schema.
    Frame,
    /// The value cannot be read with the reader's schema.
    Unreadable,
    /// A Rust type refused or reported something of its own.
    Custom,
}

impl Violation {
    /// Most characters of a value that an error quotes.
    pub const EXCERPT_CHARS_MAX: usize = 40;

    pub(crate) fn new(kind: ViolationKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            path: Vec::new(),
        }))
    }

    /// What is wrong, for decisions.
    pub fn kind(&self) -> ViolationKind {
        self.0.kind
    }

    /// What is wrong, for people, without the path.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Where it is: `lines[3].unit_price`, `prices["GB"]`; empty for the whole value.
    pub fn path(&self) -> String {
        let mut path = String::new();
        for segment in self.0.path.iter().rev() {
            match segment {
                Segment::Field(name) if path.is_empty() => path.push_str(name),
                Segment::Field(name) => {
                    path.push('.');
                    path.push_str(name);
                }
                Segment::Item(index) => path.push_str(&format!("[{index}]")),
                Segment::Key(key) => path.push_str(&format!("[{}]", excerpt(key))),
            }
        }
        path
    }

    pub(crate) fn in_field(mut self, name: &str) -> Self {
        self.0.path.push(Segment::Field(name.to_owned()));
        self
    }

    pub(crate) fn in_item(mut self, index: usize) -> Self {
        self.0.path.push(Segment::Item(index));
        self
    }

    pub(crate) fn in_key(mut self, key: &str) -> Self {
        self.0.path.push(Segment::Key(key.to_owned()));
        self
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path();
        if path.is_empty() {
            f.write_str(self.message())
        } else {
            write!(f, "{path}: {}", self.message())
        }
    }
}

impl std::error::Error for Violation {}

/// A text in quotes, cut to what an error may quote.
pub(crate) fn excerpt(text: &str) -> String {
    let max = Violation::EXCERPT_CHARS_MAX;
    match text.char_indices().nth(max) {
        Some((end, _)) => format!("{:?}...", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}
