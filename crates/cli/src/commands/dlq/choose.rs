//! Which contract a letter is judged by: the chosen version of the subject that its schema is registered under.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use evenkeel_schema::Contract;
use evenkeel_schema::wire::{self, SchemaId, SchemaRef};
use evenkeel_worker::redrive::{Data, Letter};
use serde::Deserialize;

use crate::decode::Decoder;
use crate::registry::{Refused, Registry, encoded};

/// A version of a subject, as the user names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    Latest,
    Number(u32),
}

/// The contract, or why there is none for this letter.
pub(super) type Choice = Result<Arc<Contract>, String>;

/// Asks the registry, each thing once.
pub(super) struct Chooser {
    registry: Arc<Registry>,
    decoder: Decoder,
    version: Version,
    uses: HashMap<i32, Vec<Use>>,
    contracts: HashMap<String, Choice>,
}

/// Where a schema is registered.
#[derive(Deserialize)]
struct Use {
    subject: String,
    version: u32,
}

#[derive(Deserialize)]
struct Registered {
    id: i32,
}

impl std::str::FromStr for Version {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == "latest" {
            return Ok(Self::Latest);
        }
        let number = text.parse().ok().filter(|number| *number > 0);
        number
            .map(Self::Number)
            .ok_or_else(|| anyhow!("expected latest or a number from 1"))
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Latest => formatter.write_str("latest"),
            Self::Number(number) => write!(formatter, "{number}"),
        }
    }
}

impl Chooser {
    pub(super) fn new(registry: Registry, version: Version) -> Self {
        let registry = Arc::new(registry);
        Self {
            decoder: Decoder::new(Arc::clone(&registry)),
            registry,
            version,
            uses: HashMap::new(),
            contracts: HashMap::new(),
        }
    }

    /// The letter's subject and contract. Fails only when the registry cannot be asked. Waits for the registry.
    pub(super) fn choose(&mut self, letter: &Letter) -> Result<(String, Choice)> {
        let subject = match self.subject(letter)? {
            Ok(subject) => subject,
            Err(reason) => return Ok((reason.clone(), Err(reason))),
        };
        let choice = match self.contracts.get(&subject) {
            Some(choice) => choice.clone(),
            None => {
                let choice = self.contract(&subject)?;
                self.contracts.insert(subject.clone(), choice.clone());
                choice
            }
        };
        if let (Ok(contract), Some(own)) = (&choice, encoded_by(letter))
            && contract.id().0 != own
        {
            let reason = self.bound(&subject, own);
            return Ok((reason.clone(), Err(reason)));
        }
        Ok((subject, choice))
    }

    /// What lies encoded in a letter goes by the schema that it was encoded with, and by no other version.
    fn bound(&self, subject: &str, id: i32) -> String {
        let own = self.uses.get(&id).into_iter().flatten();
        let versions = own.filter(|own| own.subject == subject).map(|own| own.version);
        match versions.max() {
            Some(version) => {
                format!("it is encoded by version {version} of {subject}: use --version {version}")
            }
            None => format!("it is encoded by schema {id}, which is no version of {subject}"),
        }
    }

    fn subject(&mut self, letter: &Letter) -> Result<Result<String, String>> {
        let topic = letter.event.topic.as_str();
        let Some(id) = schema_id(letter) else {
            return Ok(Ok(format!("{topic}-value")));
        };
        if !self.uses.contains_key(&id) {
            let uses = self.registry.get(&format!("/schemas/ids/{id}/versions"));
            self.uses.insert(id, found(uses)?.unwrap_or_default());
        }
        let uses = self.uses.get(&id).into_iter().flatten();
        let mut subjects: Vec<String> = uses.map(|one| one.subject.clone()).collect();
        subjects.sort();
        subjects.dedup();
        Ok(fitting(&subjects, topic).map_err(|reason| format!("its schema {id} {reason}")))
    }

    fn contract(&mut self, subject: &str) -> Result<Choice> {
        let version = self.version;
        let path = format!("/subjects/{}/versions/{version}", encoded(subject));
        let Some(registered) = found(self.registry.get::<Registered>(&path))? else {
            return Ok(Err(format!("the subject {subject} has no version {version}")));
        };
        let contract = self.decoder.contract(SchemaId(registered.id));
        contract
            .map(Ok)
            .with_context(|| format!("version {version} of {subject}"))
    }
}

/// The subject under which events of `topic` are registered. A letter's headers are not trusted: one that names a
/// schema of another topic is not judged by it.
fn fitting(subjects: &[String], topic: &str) -> Result<String, String> {
    let prefix = format!("{topic}-");
    let own: Vec<&String> = subjects
        .iter()
        .filter(|subject| subject.starts_with(&prefix))
        .collect();
    // A record's name by itself (RecordNameStrategy) holds no hyphen.
    let shared = || subjects.iter().filter(|subject| !subject.contains('-')).collect();
    let candidates: Vec<&String> = if own.is_empty() { shared() } else { own };
    match candidates.as_slice() {
        [subject] => Ok((*subject).clone()),
        [] if subjects.is_empty() => Err("is not registered (any more)".to_owned()),
        [] => Err(format!(
            "is registered under {} and not for {topic}",
            subjects.join(", ")
        )),
        several => {
            let names: Vec<&str> = several.iter().map(|subject| subject.as_str()).collect();
            Err(format!(
                "is registered under {}, and nothing says which one is meant",
                names.join(", ")
            ))
        }
    }
}

/// What the letter says of its schema, else what its bytes say.
fn schema_id(letter: &Letter) -> Option<i32> {
    let said = letter.diagnosis.schema_id.and_then(|id| i32::try_from(id).ok());
    said.or_else(|| encoded_by(letter))
}

/// The schema that the letter's data is encoded by, where its bytes name it.
fn encoded_by(letter: &Letter) -> Option<i32> {
    match &letter.data {
        Data::Json(_) => None,
        Data::Framed(bytes) => match wire::read(bytes, None).ok()?.schema {
            SchemaRef::Id(id) => Some(id.0),
            SchemaRef::Guid(_) => None,
        },
    }
}

/// `None` where the registry says that there is no such thing (404).
fn found<T>(answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Err(error)
            if error
                .downcast_ref::<Refused>()
                .is_some_and(|refused| (40_400..40_500).contains(&refused.code)) =>
        {
            Ok(None)
        }
        other => other.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_is_judged_by_a_subject_of_its_topic() {
        let check = |subjects: &[&str], expected: Result<&str, &str>| {
            let subjects: Vec<String> = subjects.iter().map(|subject| (*subject).to_owned()).collect();
            match (fitting(&subjects, "orders"), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected),
                (Err(found), Err(expected)) => assert!(found.contains(expected), "{found}"),
                other => panic!("{other:?}"),
            }
        };
        check(&["orders-value"], Ok("orders-value"));
        check(
            &["orders-shop.Placed", "old-shop.Placed"],
            Ok("orders-shop.Placed"),
        );
        check(&["payments-value", "shop.Placed"], Ok("shop.Placed"));
        check(
            &["payments-value"],
            Err("under payments-value and not for orders"),
        );
        check(
            &["orders-a", "orders-b"],
            Err("orders-a, orders-b, and nothing says"),
        );
        check(&[], Err("is not registered"));
    }

    #[test]
    fn versions_are_read() {
        assert_eq!("latest".parse::<Version>().unwrap(), Version::Latest);
        assert_eq!("3".parse::<Version>().unwrap(), Version::Number(3));
        for text in ["0", "-1", "newest", ""] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
    }
}
