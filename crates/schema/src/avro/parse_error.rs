use super::parse::{NESTING_MAX, TEXT_BYTES_MAX, WEIGHT_MAX};

/// Why a text is not an Avro schema: where, what, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// Not JSON at all, or something follows the schema.
    #[error("the schema is not JSON: {reason}")]
    Json {
        /// What the JSON reader found, with line and column.
        reason: String,
    },
    /// JSON that breaks a rule of the specification.
    #[error("schema refused at {at}: {reason}")]
    Invalid {
        /// Path within the schema text: `fields[2] "price"`, or `the top`.
        at: String,
        /// The rule that is broken and how to keep it.
        reason: String,
    },
    /// A name that neither the text nor its references define.
    #[error(
        "schema refused at {at}: the name {name:?} is not defined; define it once, or add a reference to the schema that does"
    )]
    Unknown {
        /// Path within the schema text.
        at: String,
        /// The full name that was looked for.
        name: String,
    },
    /// Larger than [`TEXT_BYTES_MAX`].
    #[error(
        "the schema has {bytes} bytes, the limit is {TEXT_BYTES_MAX}; move parts into schemas of their own and refer to them"
    )]
    TooLarge {
        /// Size of the text.
        bytes: usize,
    },
    /// Deeper than [`NESTING_MAX`].
    #[error(
        "the schema nests deeper than {NESTING_MAX} levels of JSON; define inner types first and refer to them by name"
    )]
    TooDeep,
    /// More than [`WEIGHT_MAX`] fields in one value.
    #[error(
        "a value of the schema has more than {WEIGHT_MAX} fields, those of records within records counted each time; split it up"
    )]
    TooHeavy,
}
