//! Domains, their tokens and the owners of subjects, made of the records of `_evenkeel` and of nothing else.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;

use super::records::{DomainValue, IdFloorValue, Key, OwnerValue, TokenValue};
use super::token::TokenHash;
use crate::journal::{Machine, Record};

/// What `_evenkeel` says.
#[derive(Debug, Clone, Default)]
pub struct State {
    domains: BTreeMap<String, Domain>,
    owners: BTreeMap<String, String>,
    id_floor: u32,
    skipped: u64,
}

/// A domain.
#[derive(Debug, Clone)]
pub struct Domain {
    created_at_ms: i64,
    admin: bool,
    tokens: BTreeMap<String, TokenHash>,
}

impl Domain {
    /// When it was created, in milliseconds since 1970.
    #[must_use]
    pub fn created_at_ms(&self) -> i64 {
        self.created_at_ms
    }

    /// True if it may change what belongs to no domain, such as the global compatibility level.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.admin
    }

    /// The public names of its tokens.
    pub fn tokens(&self) -> impl Iterator<Item = &str> {
        self.tokens.keys().map(String::as_str)
    }
}

impl State {
    /// All domains by name.
    pub fn domains(&self) -> impl Iterator<Item = (&str, &Domain)> {
        self.domains.iter().map(|(name, domain)| (name.as_str(), domain))
    }

    /// A domain by name.
    #[must_use]
    pub fn domain(&self, name: &str) -> Option<&Domain> {
        self.domains.get(name)
    }

    /// The domain that owns a subject.
    #[must_use]
    pub fn owner(&self, subject: &str) -> Option<&str> {
        self.owners.get(subject).map(String::as_str)
    }

    /// Subjects that a domain owns.
    pub fn subjects<'a>(&'a self, domain: &'a str) -> impl Iterator<Item = &'a str> {
        self.owners
            .iter()
            .filter(move |(_, owner)| *owner == domain)
            .map(|(subject, _)| subject.as_str())
    }

    /// The domain that a token belongs to; with a name, only if it is that domain. All tokens are compared, each in constant time.
    #[must_use]
    pub fn authenticate(&self, name: Option<&str>, token: &str) -> Option<&str> {
        let hash = TokenHash::of(token);
        let domains = self
            .domains
            .iter()
            .filter(|(domain, _)| name.is_none_or(|name| name == *domain));
        let mut found = None;
        for (domain, details) in domains {
            let matching = details
                .tokens
                .values()
                .filter(|known| known.matches(&hash))
                .count();
            if matching > 0 {
                found = Some(domain.as_str());
            }
        }
        found
    }

    /// Schema ids up to this one have been given out before.
    #[must_use]
    pub fn id_floor(&self) -> u32 {
        self.id_floor
    }

    /// Records that were not understood and left aside: of a later version, or not ours.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    fn take(&mut self, record: &Record) -> Option<()> {
        match serde_json::from_slice(record.key.as_ref()?).ok()? {
            Key::Domain { domain, .. } => {
                let DomainValue { created_at_ms, admin } = value(record)?;
                let tokens = BTreeMap::new();
                self.domains.entry(domain).or_insert(Domain {
                    created_at_ms,
                    admin,
                    tokens,
                });
            }
            Key::Token { domain, token } => {
                let tokens = &mut self.domains.get_mut(&domain)?.tokens;
                if record.value.is_none() {
                    tokens.remove(&token);
                    return Some(());
                }
                let TokenValue { sha256, .. } = value(record)?;
                tokens.insert(token, TokenHash::from_hex(&sha256)?);
            }
            Key::Owner { subject, .. } => {
                let OwnerValue { domain, .. } = value(record)?;
                self.owners.entry(subject).or_insert(domain);
            }
            Key::Fence | Key::Audit { .. } => {}
            Key::IdFloor { id } => {
                let IdFloorValue { .. } = value(record)?;
                self.id_floor = self.id_floor.max(id);
            }
        }
        Some(())
    }
}

fn value<T: DeserializeOwned>(record: &Record) -> Option<T> {
    serde_json::from_slice(record.value.as_ref()?).ok()
}

impl Machine for State {
    fn apply(&mut self, record: &Record) {
        if self.take(record).is_none() {
            self.skipped += 1;
        }
    }
}
