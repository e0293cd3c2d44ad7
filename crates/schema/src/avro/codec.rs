//! A schema compiled for encoding and checking, and a pair of schemas compiled for reading.

use crate::limits::Limits;
use crate::violation::{Violation, ViolationKind};

use super::code::Code;
use super::encode::{Encoded, Scratch};
use super::model::Schema;
use super::program::Program;
use super::resolve::ReadProgram;
use super::{decode_json, decode_serde, encode_json, encode_serde, read, sample};

/// The programs of one schema.
#[derive(Debug)]
pub(crate) struct Codec {
    program: Program,
    code: Code,
}

impl Codec {
    pub(crate) fn compile(schema: &Schema) -> Self {
        let program = Program::compile(schema);
        let code = Code::compile(&program);
        Self { program, code }
    }

    pub(crate) fn encode_json(
        &self,
        json: &[u8],
        limits: Limits,
        scratch: Scratch,
    ) -> Result<Scratch, Violation> {
        let from = scratch.written().len();
        let encoded = encode_json::encode_json(&self.program, limits, json, scratch)?;
        self.checked(encoded, from, limits)
    }

    pub(crate) fn encode<T: serde::Serialize + ?Sized>(
        &self,
        value: &T,
        limits: Limits,
        scratch: Scratch,
    ) -> Result<Scratch, Violation> {
        let from = scratch.written().len();
        let encoded = encode_serde::encode(&self.program, limits, value, scratch)?;
        self.checked(encoded, from, limits)
    }

    /// A default may nest deeper, or repeat what takes no bytes more often, than content may.
    fn checked(&self, encoded: Encoded, from: usize, limits: Limits) -> Result<Scratch, Violation> {
        let content = encoded.scratch.written().get(from..).unwrap_or_default();
        if encoded.unchecked && !self.is_valid(content, limits) {
            let message =
                "the defaults of missing fields nest too deep or have too many items; give the fields";
            return Err(Violation::new(ViolationKind::Size, message));
        }
        Ok(encoded.scratch)
    }

    /// Tries a Rust type on samples of the schema, see [`Contract::check_type`](crate::Contract::check_type).
    pub(crate) fn check_type<T>(&self, reader: &Reader, limits: Limits) -> Result<(), Violation>
    where
        T: serde::Serialize + serde::de::DeserializeOwned,
    {
        let mut refused = None;
        let mut taken = false;
        for sample in
            (0..sample::count(&self.program)).filter_map(|number| sample::sample(&self.program, number))
        {
            match reader.read::<T>(&sample) {
                Ok(value) => {
                    taken = true;
                    self.encode(&value, limits, Scratch::default())?;
                }
                Err(violation) => refused = refused.or(Some(violation)),
            }
        }
        match refused {
            Some(violation) if !taken => Err(violation),
            _ => Ok(()),
        }
    }

    pub(crate) fn is_valid(&self, content: &[u8], limits: Limits) -> bool {
        self.code.run(content, limits).is_ok()
    }
}

/// Reads content that one schema wrote as another expects it. Made by [`Contract::reader`](crate::Contract::reader).
#[derive(Debug)]
pub struct Reader {
    program: ReadProgram,
    limits: Limits,
}

impl Reader {
    /// What the two schemas disagree on is told when data reaches it, so that data which does not is still read.
    pub(crate) fn compile(writer: &Schema, reader: &Schema, limits: Limits) -> Self {
        Self {
            program: ReadProgram::compile(writer, reader),
            limits,
        }
    }

    /// The content as JSON in the plain form that [`Contract::encode_json`](crate::Contract::encode_json) reads.
    ///
    /// Decimals, dates, times and timestamps are strings, the latter as ISO 8601; where the year would not have four
    /// digits the integer is written instead. Fractions of a second are written when they are not zero.
    /// Floats that JSON cannot write are the strings `NaN`, `Infinity` and `-Infinity`. Members are in the writer's
    /// order, then those from defaults.
    ///
    /// # Errors
    /// The first violation: bytes that do not obey the writer's schema, or [`ViolationKind::Unreadable`] for what the
    /// reader's schema cannot take.
    ///
    /// [`ViolationKind::Unreadable`]: crate::ViolationKind::Unreadable
    pub fn to_json(&self, content: &[u8]) -> Result<String, Violation> {
        decode_json::decode_json(&self.program, self.limits, content)
    }

    /// The content as a Rust value.
    ///
    /// # Errors
    /// As [`Reader::to_json`], or what the type refuses.
    pub fn read<T: serde::de::DeserializeOwned>(&self, content: &[u8]) -> Result<T, Violation> {
        decode_serde::decode(&self.program, self.limits, content)
    }

    /// The first violation of the writer's schema in the content.
    pub(crate) fn explain(&self, content: &[u8]) -> Result<(), Violation> {
        let mut cursor = read::Cursor::new(content, self.limits)?;
        read::skip(&self.program, ReadProgram::ROOT, &mut cursor)?;
        cursor.end()
    }
}
