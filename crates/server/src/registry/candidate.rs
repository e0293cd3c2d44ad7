//! Schemas as they are sent, and what they refer to.

use std::collections::HashSet;
use std::sync::Arc;

use evenkeel_schema::avro::{ParseError, Schema};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::content::Content;
use super::error::Error;
use super::records::{AVRO, Reference};
use super::state::State;

/// Schemas that one schema may refer to, directly and through others.
const REFERENCES_MAX: usize = 500;

/// The body of requests that send a schema.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Sent {
    schema: Option<String>,
    #[serde(rename = "schemaType")]
    kind: Option<String>,
    references: Option<Vec<Reference>>,
    id: Option<i64>,
    version: Option<i64>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// A schema that was sent, with what it refers to.
#[derive(Debug)]
pub(crate) struct Unparsed {
    text: String,
    references: Vec<Reference>,
    needed: Vec<Arc<Content>>,
}

/// A schema that could be registered.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) content: Content,
    pub(crate) schema: Schema,
}

impl Sent {
    /// True if the request asks for an id or a version of its own choice, which only an import may do.
    pub(crate) fn is_import(&self) -> bool {
        [self.id, self.version]
            .into_iter()
            .flatten()
            .any(|number| number > 0)
    }

    /// Finds what the schema refers to. Parsing, which may take long, needs the state no more.
    pub(crate) fn resolve(&self, state: &State) -> Result<Unparsed, Error> {
        let kind = self.kind.as_deref().unwrap_or(AVRO);
        if !kind.eq_ignore_ascii_case(AVRO) {
            return Err(Error::invalid_schema(format!(
                "the schema type {kind} is not served here, only {AVRO}"
            )));
        }
        if let Some((name, _)) = self.rest.iter().find(|(_, value)| !value.is_null()) {
            return Err(Error::invalid_schema(format!(
                "\"{name}\" is not supported beside a schema"
            )));
        }
        let text = self.schema.clone().filter(|text| !text.trim().is_empty());
        let text = text.ok_or_else(|| Error::invalid_schema("Empty schema"))?;
        let references = self.references.clone().unwrap_or_default();
        let references = references
            .into_iter()
            .map(|one| pin(state, one))
            .collect::<Result<Vec<_>, _>>()?;
        let needed = referred(state, &references)?;
        Ok(Unparsed {
            text,
            references,
            needed,
        })
    }
}

impl Unparsed {
    pub(crate) fn parse(self) -> Result<Candidate, Error> {
        let schema = parse(&self.text, &self.needed).map_err(Error::invalid_schema)?;
        Ok(Candidate {
            content: Content::avro(schema.to_json(), self.references),
            schema,
        })
    }
}

/// Parses a text with those that it needs.
pub(crate) fn parse(text: &str, needed: &[Arc<Content>]) -> Result<Schema, ParseError> {
    let needed: Vec<&str> = needed.iter().map(|content| content.text.as_str()).collect();
    Schema::parse_with(text, &needed)
}

/// A reference with the version that is meant now, if it is to the latest one. Soft-deleted versions are not referred to anew.
fn pin(state: &State, reference: Reference) -> Result<Reference, Error> {
    let mut live = state
        .subject(&reference.subject)
        .into_iter()
        .flat_map(|subject| subject.versions(false));
    let found = match reference.version {
        -1 => live.next_back(),
        version => live.find(|(number, _)| i64::from(*number) == version),
    };
    let (number, _) = found.ok_or_else(|| missing(&reference))?;
    Ok(Reference {
        version: i64::from(number),
        ..reference
    })
}

fn missing(reference: &Reference) -> Error {
    let Reference {
        name,
        subject,
        version,
    } = reference;
    Error::invalid_schema(format!(
        "No schema reference found for subject \"{subject}\" and version {version} (the name \"{name}\")"
    ))
}

/// What references lead to, those first that others need.
pub(crate) fn referred(state: &State, references: &[Reference]) -> Result<Vec<Arc<Content>>, Error> {
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    for reference in references {
        let mut path: Vec<(Arc<Content>, usize)> = Vec::new();
        path.extend(enter(state, reference, &mut seen)?.map(|content| (content, 0)));
        while let Some((content, next)) = path.last_mut() {
            let Some(inner) = content.references.get(*next) else {
                found.push(Arc::clone(content));
                path.pop();
                continue;
            };
            *next += 1;
            let inner = enter(state, inner, &mut seen)?;
            path.extend(inner.map(|content| (content, 0)));
        }
    }
    Ok(found)
}

/// What a reference leads to, if it was not met before.
fn enter(
    state: &State,
    reference: &Reference,
    seen: &mut HashSet<(String, i64)>,
) -> Result<Option<Arc<Content>>, Error> {
    if !seen.insert((reference.subject.clone(), reference.version)) {
        return Ok(None);
    }
    if seen.len() > REFERENCES_MAX {
        return Err(Error::invalid_schema(format!(
            "it refers to more than {REFERENCES_MAX} schemas"
        )));
    }
    let number = u32::try_from(reference.version).map_err(|_| missing(reference))?;
    let version = state
        .subject(&reference.subject)
        .and_then(|subject| subject.version(number));
    let version = version.ok_or_else(|| missing(reference))?;
    Ok(Some(Arc::clone(&version.content)))
}
