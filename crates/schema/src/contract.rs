//! A registered schema, ready to judge content.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::avro::{Codec, Reader, Schema, Scratch};
use crate::limits::Limits;
use crate::valid::{Payload, Valid};
use crate::violation::{Violation, ViolationKind};
use crate::wire::{self, SchemaId, SchemaRef};

/// What a Rust value's bytes are taken to need; most need less.
const CAPACITY_BYTES: usize = 256;

/// A schema with its id, compiled once. It encodes, checks and reads; to read with another schema, see [`Contract::reader`].
#[derive(Debug)]
pub struct Contract {
    id: SchemaId,
    schema: Arc<Schema>,
    codec: Codec,
    limits: Limits,
    own_reader: OnceLock<Reader>,
}

impl Contract {
    /// Compiles a schema under the default [`Limits`].
    pub fn new(id: SchemaId, schema: Arc<Schema>) -> Self {
        Self::with_limits(id, schema, Limits::default())
    }

    /// Compiles a schema under these limits.
    pub fn with_limits(id: SchemaId, schema: Arc<Schema>, limits: Limits) -> Self {
        let codec = Codec::compile(&schema);
        Self {
            id,
            schema,
            codec,
            limits,
            own_reader: OnceLock::new(),
        }
    }

    /// The schema's id in its registry.
    pub fn id(&self) -> SchemaId {
        self.id
    }

    /// The schema.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// Encodes a value given as JSON, in one pass that checks it too.
    ///
    /// The plain form: decimals as strings or numbers (read exactly, digit by digit), dates, times and timestamps as
    /// ISO 8601 strings or as the schema's integers, identifiers in their textual form, bytes as strings of the
    /// characters U+0000 to U+00FF, union values without a tag. Where several branches of a union take a value, it has
    /// to be tagged as in Avro's JSON (`{"com.example.Card": {...}}`); a tag is always accepted. Members may come in
    /// any order; a missing one takes its field's default.
    ///
    /// # Errors
    /// The first violation, with its path.
    pub fn encode_json(&self, json: &[u8]) -> Result<Valid<Payload>, Violation> {
        let scratch = self.begin(Scratch::default(), json.len());
        let scratch = self.codec.encode_json(json, self.limits, scratch)?;
        Ok(Valid::new(
            self.id,
            Payload::framed(scratch.into_written().into()),
        ))
    }

    /// Encodes a Rust value, in one pass that checks it too. Struct fields are found by name, `Option` is a union with
    /// null, unit variants are enum symbols, newtype variants are union branches by their name.
    ///
    /// # Errors
    /// The first violation, with its path.
    pub fn encode<T: serde::Serialize + ?Sized>(&self, value: &T) -> Result<Valid<Payload>, Violation> {
        let scratch = self.begin(Scratch::default(), CAPACITY_BYTES);
        let scratch = self.codec.encode(value, self.limits, scratch)?;
        Ok(Valid::new(
            self.id,
            Payload::framed(scratch.into_written().into()),
        ))
    }

    /// As [`Contract::encode`], into memory that is used again: the framed bytes lie in `scratch` until the next value.
    ///
    /// # Errors
    /// The first violation, with its path.
    pub fn encode_in<'scratch, T: serde::Serialize + ?Sized>(
        &self,
        value: &T,
        scratch: &'scratch mut Scratch,
    ) -> Result<Valid<&'scratch [u8]>, Violation> {
        let begun = self.begin(std::mem::take(scratch), CAPACITY_BYTES);
        *scratch = self.codec.encode(value, self.limits, begun)?;
        Ok(Valid::new(self.id, scratch.written()))
    }

    /// Tries a Rust type on this schema, once, before it publishes.
    ///
    /// Made-up values of the schema are read as `T` and encoded again. They show every branch of a union and every
    /// symbol of an enum (up to 32). `T` need not take all of them, an enum may know fewer symbols than the schema, but
    /// it has to take one, and what it takes has to encode. So a missing field, one too many, or a field of another
    /// type is found at start and not at the first event. What only some values violate, a decimal with too many
    /// digits or `None` for a field that is never null, is found when such a value is encoded.
    ///
    /// # Errors
    /// The violation that an event of this type would meet.
    pub fn check_type<T>(&self) -> Result<(), Violation>
    where
        T: serde::Serialize + serde::de::DeserializeOwned,
    {
        self.codec.check_type::<T>(self.own_reader(), self.limits)
    }

    fn begin(&self, scratch: Scratch, capacity: usize) -> Scratch {
        scratch.beginning(
            &wire::prefix(self.id),
            capacity.min(self.limits.content_bytes_max),
        )
    }

    /// Checks a record's value, prefix and all.
    ///
    /// # Errors
    /// [`ViolationKind::Frame`] when the prefix is missing or names another schema, else the first violation.
    pub fn check(&self, bytes: &Bytes) -> Result<Valid<Payload>, Violation> {
        let framed = wire::read(bytes, None)?;
        if framed.schema != SchemaRef::Id(self.id) {
            let message = format!("the bytes name another schema, not {}", self.id);
            return Err(Violation::new(ViolationKind::Frame, message));
        }
        self.check_content(&framed.content)?;
        Ok(Valid::new(self.id, Payload::framed(bytes.clone())))
    }

    /// Checks a record's value that has no prefix because a header names its schema, which the caller has seen to be
    /// this one.
    ///
    /// # Errors
    /// The first violation.
    pub fn check_bare(&self, bytes: &Bytes) -> Result<Valid<Payload>, Violation> {
        self.check_content(bytes)?;
        Ok(Valid::new(self.id, Payload::bare(bytes.clone())))
    }

    /// Checks encoded content, without frame and without making values of it. This is the fast path: only when it finds
    /// something wrong are the bytes gone through again, for the words.
    ///
    /// # Errors
    /// The first violation.
    pub fn check_content(&self, content: &[u8]) -> Result<(), Violation> {
        if self.codec.is_valid(content, self.limits) {
            return Ok(());
        }
        match self.own_reader().explain(content) {
            Err(violation) => Err(violation),
            Ok(()) => Err(Violation::new(
                ViolationKind::Range,
                "the bytes do not obey the schema",
            )),
        }
    }

    /// Reads content with this schema itself.
    pub fn own_reader(&self) -> &Reader {
        self.own_reader.get_or_init(|| self.reader(&self.schema))
    }

    /// Reads content that this schema wrote as `reader` sees it: defaults, promotions and aliases applied.
    pub fn reader(&self, reader: &Schema) -> Reader {
        Reader::compile(&self.schema, reader, self.limits)
    }
}
