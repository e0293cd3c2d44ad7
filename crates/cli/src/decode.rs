//! Reads records by the schema that they name: from the registry, or as an application kept it on disk.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use bytes::Bytes;
use evenkeel::SchemaCache;
use evenkeel_broker::batch::RecordView;
use evenkeel_schema::Contract;
use evenkeel_schema::avro::Schema;
use evenkeel_schema::wire::{self, SchemaId, SchemaRef, VALUE_SCHEMA_HEADER};
use evenkeel_worker::applications::Application;
use serde::Deserialize;

use crate::registry::Registry;

/// Most schemas that are kept; a topic with more than that pays for asking again.
const CONTRACTS_MAX: usize = 10_000;

/// Decodes values, and keeps the schemas that it has asked for.
pub(crate) struct Decoder {
    registry: Arc<Registry>,
    contracts: HashMap<SchemaId, Arc<Contract>>,
    /// Where an application keeps schemas, which are looked at before the registry is asked.
    kept: Option<PathBuf>,
    /// What was said of schemas that could not be had, when they are asked for once only.
    missing: Option<HashMap<SchemaId, String>>,
}

/// A decoded value.
pub(crate) struct Decoded {
    pub(crate) schema_id: SchemaId,
    /// The value in plain JSON.
    pub(crate) json: String,
}

#[derive(Deserialize)]
struct SchemaText {
    schema: String,
    #[serde(default)]
    references: Vec<Reference>,
}

#[derive(Deserialize)]
struct Reference {
    subject: String,
    version: i32,
}

impl Decoder {
    /// A decoder that asks `registry`.
    pub(crate) fn new(registry: Arc<Registry>) -> Self {
        Self {
            registry,
            contracts: HashMap::new(),
            kept: None,
            missing: None,
        }
    }

    /// A decoder for what `application` has parked. It has the schemas on disk; what it has not is asked for once, so
    /// that a registry that is away does not keep each event waiting.
    pub(crate) fn of_parked(application: &Application, registry: Arc<Registry>) -> Self {
        Self {
            kept: Some(application.schemas()),
            missing: Some(HashMap::new()),
            ..Self::new(registry)
        }
    }

    /// The record's value in plain JSON. Fails for what is not framed, whose schema is not known, or that does not
    /// obey it. Waits for the registry when the schema is new, so call it where waiting is allowed.
    pub(crate) fn decode(&mut self, record: &RecordView<'_>) -> Result<Decoded> {
        let value = Bytes::copy_from_slice(record.value.ok_or_else(|| anyhow!("the record is a tombstone"))?);
        self.decode_framed(&value, record.header(VALUE_SCHEMA_HEADER))
    }

    /// As [`Decoder::decode`], for a value by itself and the header that names its schema, if it has one.
    pub(crate) fn decode_framed(&mut self, value: &Bytes, header: Option<&[u8]>) -> Result<Decoded> {
        let framed = wire::read(value, header).map_err(|violation| anyhow!("{violation}"))?;
        let SchemaRef::Id(schema_id) = framed.schema else {
            return Err(anyhow!(
                "its schema is named by GUID, which this command cannot look up yet"
            ));
        };
        if let Some(said) = self.missing.as_ref().and_then(|missing| missing.get(&schema_id)) {
            return Err(anyhow!("{said}"));
        }
        let contract = match self.contract(schema_id) {
            Ok(contract) => contract,
            Err(error) => {
                if let Some(missing) = self
                    .missing
                    .as_mut()
                    .filter(|missing| missing.len() < CONTRACTS_MAX)
                {
                    missing.insert(schema_id, format!("{error:#}"));
                }
                return Err(error);
            }
        };
        let json = contract
            .own_reader()
            .to_json(&framed.content)
            .map_err(|violation| anyhow!("{violation}"))?;
        Ok(Decoded { schema_id, json })
    }

    /// The contract with this id.
    pub(crate) fn contract(&mut self, id: SchemaId) -> Result<Arc<Contract>> {
        if let Some(contract) = self.contracts.get(&id) {
            return Ok(Arc::clone(contract));
        }
        let kept = self.kept.as_ref().and_then(|kept| SchemaCache::kept(kept, id));
        let contract = kept.map_or_else(|| self.ask(id), Ok)?;
        if self.contracts.len() < CONTRACTS_MAX {
            self.contracts.insert(id, Arc::clone(&contract));
        }
        Ok(contract)
    }

    fn ask(&self, id: SchemaId) -> Result<Arc<Contract>> {
        let text: SchemaText = self
            .registry
            .get(&format!("/schemas/ids/{id}"))
            .with_context(|| format!("schema {id}"))?;
        let mut references = Vec::new();
        self.collect(&text.references, &mut references)?;
        let references: Vec<&str> = references.iter().map(String::as_str).collect();
        let schema = Schema::parse_with(&text.schema, &references)
            .map_err(|error| anyhow!("schema {id} of the registry cannot be read: {error}"))?;
        Ok(Arc::new(Contract::new(id, Arc::new(schema))))
    }

    /// Texts of the referenced schemas, those that they refer to first.
    fn collect(&self, references: &[Reference], texts: &mut Vec<String>) -> Result<()> {
        for reference in references {
            let subject = crate::registry::encoded(&reference.subject);
            let text: SchemaText = self
                .registry
                .get(&format!("/subjects/{subject}/versions/{}", reference.version))?;
            self.collect(&text.references, texts)?;
            if !texts.contains(&text.schema) {
                texts.push(text.schema);
            }
        }
        Ok(())
    }
}
