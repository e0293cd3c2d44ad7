//! Schemas as they are sent: parsed with what they refer to, and compared with what is registered.

use std::collections::HashSet;

use evenkeel_schema::avro::Schema;
use evenkeel_schema::avro::compatibility::{Conflict, Direction, Level, check_level};
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

    /// Parses the schema with what it refers to.
    pub(crate) fn parse(&self, state: &State) -> Result<Candidate, Error> {
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
        let text = self.schema.as_deref().filter(|text| !text.trim().is_empty());
        let text = text.ok_or_else(|| Error::invalid_schema("Empty schema"))?;
        let references = self.references.clone().unwrap_or_default();
        let references = references
            .into_iter()
            .map(|one| pin(state, one))
            .collect::<Result<Vec<_>, _>>()?;
        let texts = referred(state, &references)?;
        let schema = Schema::parse_with(text, &texts).map_err(Error::invalid_schema)?;
        Ok(Candidate {
            content: Content::avro(schema.to_json(), references),
            schema,
        })
    }
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

/// The texts that references lead to, those first that others need.
fn referred<'a>(state: &'a State, references: &[Reference]) -> Result<Vec<&'a str>, Error> {
    let mut texts = Vec::new();
    let mut seen = HashSet::new();
    for reference in references {
        let mut path: Vec<(&'a Content, usize)> = Vec::new();
        path.extend(enter(state, reference, &mut seen)?.map(|content| (content, 0)));
        while let Some((content, next)) = path.last_mut() {
            let Some(inner) = content.references.get(*next) else {
                texts.push(content.text.as_str());
                path.pop();
                continue;
            };
            *next += 1;
            path.extend(enter(state, inner, &mut seen)?.map(|content| (content, 0)));
        }
    }
    Ok(texts)
}

/// What a reference leads to, if it was not met before.
fn enter<'a>(
    state: &'a State,
    reference: &Reference,
    seen: &mut HashSet<(String, i64)>,
) -> Result<Option<&'a Content>, Error> {
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
    Ok(Some(version.ok_or_else(|| missing(reference))?.content.as_ref()))
}

/// Parses a registered schema.
fn registered(state: &State, subject: &str, number: u32, content: &Content) -> Result<Schema, Error> {
    let texts = referred(state, &content.references)?;
    Schema::parse_with(&content.text, &texts).map_err(|error| {
        Error::invalid_schema(format!(
            "version {number} of \"{subject}\" is registered but cannot be parsed: {error}"
        ))
    })
}

/// Compares a candidate with versions of a subject, oldest first. Empty: compatible. Otherwise messages in the form of
/// Confluent's registry, the first for each finding.
pub(crate) fn conflicts(
    state: &State,
    subject: &str,
    candidate: &Candidate,
    versions: &[(u32, &Content)],
    level: Level,
) -> Result<Vec<String>, Error> {
    let relevant = if level.is_transitive() {
        0
    } else {
        versions.len().saturating_sub(1)
    };
    let relevant = versions
        .get(relevant..)
        .filter(|_| level != Level::None)
        .unwrap_or_default();
    if let Some((number, other)) = relevant.iter().rev().find(|(_, content)| content.kind != AVRO) {
        let kind = &other.kind;
        return Ok(vec![format!(
            "Incompatible because of different schema type: version {number} is {kind}"
        )]);
    }
    let parsed = relevant
        .iter()
        .map(|(number, content)| registered(state, subject, *number, content));
    let parsed = parsed.collect::<Result<Vec<Schema>, Error>>()?;
    let earlier: Vec<&Schema> = parsed.iter().collect();
    let conflicts = check_level(level, &candidate.schema, &earlier).map_err(Error::invalid_schema)?;
    let Some(first) = conflicts.first() else {
        return Ok(Vec::new());
    };
    let mut messages: Vec<String> = conflicts
        .iter()
        .filter(|conflict| conflict.earlier == first.earlier)
        .flat_map(findings)
        .collect();
    if let Some((number, content)) = relevant.get(first.earlier) {
        messages.push(format!("{{oldSchemaVersion: {number}}}"));
        messages.push(format!("{{oldSchema: '{}'}}", content.text));
    }
    messages.push(format!("{{compatibility: '{level}'}}"));
    Ok(messages)
}

fn findings(conflict: &Conflict) -> Vec<String> {
    let direction = match conflict.direction {
        Direction::Backward => "the new schema cannot read data of the old one",
        Direction::Forward => "the old schema cannot read data of the new one",
    };
    let sentences = conflict.messages().into_iter().zip(&conflict.findings);
    let messages = sentences.map(|(sentence, finding)| {
        let (kind, path, detail) = (finding.kind().as_str(), finding.pointer(), finding.detail());
        format!("{{errorType:'{kind}', description:'{sentence} (at path {path}: {direction})', additionalInfo:'{detail}'}}")
    });
    messages.collect()
}
