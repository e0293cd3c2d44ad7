//! Could a schema be registered beside those that are?

use std::sync::Arc;

use evenkeel_schema::avro::Schema;
use evenkeel_schema::avro::compatibility::{Conflict, Direction, Level, check_level};

use super::candidate::{Candidate, parse, referred};
use super::content::Content;
use super::error::Error;
use super::records::AVRO;
use super::state::{State, Version};

/// An earlier version with what it refers to. Comparing, which may take long, needs the state no more.
#[derive(Debug)]
pub(crate) struct Earlier {
    number: u32,
    content: Arc<Content>,
    needed: Vec<Arc<Content>>,
}

impl Earlier {
    fn schema(&self) -> Result<Schema, Error> {
        parse(&self.content.text, &self.needed).map_err(|error| {
            let number = self.number;
            Error::invalid_schema(format!(
                "version {number} is registered but cannot be parsed: {error}"
            ))
        })
    }
}

/// The versions that a level compares with, of all that are given, oldest first.
pub(crate) fn earlier<'a>(
    state: &State,
    level: Level,
    versions: impl DoubleEndedIterator<Item = (u32, &'a Version)>,
) -> Result<Vec<Earlier>, Error> {
    let most = match level {
        Level::None => 0,
        level if level.is_transitive() => usize::MAX,
        _ => 1,
    };
    let latest_first = versions.rev().take(most).map(|(number, version)| {
        let content = Arc::clone(&version.content);
        let needed = referred(state, &content.references)?;
        Ok(Earlier {
            number,
            content,
            needed,
        })
    });
    let mut earlier = latest_first.collect::<Result<Vec<Earlier>, Error>>()?;
    earlier.reverse();
    Ok(earlier)
}

/// What the candidate and the latest version that it does not agree with have against each other, in the form of Confluent's
/// registry. Empty: compatible.
pub(crate) fn conflicts(
    candidate: &Candidate,
    earlier: &[Earlier],
    level: Level,
) -> Result<Vec<String>, Error> {
    for version in earlier.iter().rev() {
        let (number, content) = (version.number, &version.content);
        if content.kind != AVRO {
            let kind = &content.kind;
            return Ok(vec![format!(
                "Incompatible because of different schema type: version {number} is {kind}"
            )]);
        }
        let schema = version.schema()?;
        let found = check_level(level, &candidate.schema, &[&schema]).map_err(Error::invalid_schema)?;
        if !found.is_empty() {
            let mut messages: Vec<String> = found.iter().flat_map(findings).collect();
            messages.push(format!("{{oldSchemaVersion: {number}}}"));
            messages.push(format!("{{oldSchema: '{}'}}", content.text));
            messages.push(format!("{{compatibility: '{level}'}}"));
            return Ok(messages);
        }
    }
    Ok(Vec::new())
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
