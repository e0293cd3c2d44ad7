//! Domains and what they own, kept in the topic `_evenkeel`.

mod caller;
mod records;
mod state;
mod token;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use evenkeel_event::clock::Clock;
use uuid::Uuid;

pub use caller::{Caller, Unauthenticated};
pub use state::{Domain, State};
pub use token::{PREFIX, Token, TokenHash};

use crate::journal::{self, Journal, Replica};
use records::{AuditValue, DomainValue, IdFloorValue, Key, OwnerValue, TokenValue};

/// The domain of writes without credentials in `dev` mode.
pub const ANONYMOUS: &str = "anonymous";
/// Longest name of a domain, bytes.
pub const NAME_BYTES_MAX: usize = 100;
/// Tokens that one domain may have at a time.
pub const TOKENS_MAX: usize = 20;

/// Domains, followed from `_evenkeel` and changed through it.
#[derive(Debug)]
pub struct Domains {
    replica: Replica<State>,
    clock: Arc<dyn Clock>,
    patience: Duration,
}

/// Why a domain was not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not a name for a domain.
    #[error(
        "\"{name}\" cannot name a domain: lower-case letters, digits, - and _, 1 to {NAME_BYTES_MAX} of them, a letter first, and not \"{ANONYMOUS}\""
    )]
    InvalidName {
        /// The name.
        name: String,
    },
    /// A domain of that name is there already.
    #[error(
        "the domain \"{name}\" is there already; make another token for it instead (evenkeel domain token {name})"
    )]
    Exists {
        /// The name.
        name: String,
    },
    /// No domain of that name.
    #[error("there is no domain \"{name}\"; create it first")]
    NoSuchDomain {
        /// The name.
        name: String,
    },
    /// The domain has as many tokens as it may have.
    #[error("the domain \"{name}\" has {TOKENS_MAX} tokens already; revoke one first")]
    TooManyTokens {
        /// The name.
        name: String,
    },
    /// The subject has an owner.
    #[error("the subject \"{subject}\" is owned by the domain \"{owner}\"")]
    Owned {
        /// The subject.
        subject: String,
        /// Its owner.
        owner: String,
    },
    /// No random numbers could be had.
    #[error("no random numbers for a token: {0}")]
    Random(rand::rand_core::OsError),
    /// The topic did not take the record.
    #[error(transparent)]
    Journal(#[from] journal::Error),
}

impl Domains {
    /// Begins to follow the topic. `patience`: how long a write whose answer was lost is looked for. Needs a tokio runtime.
    #[must_use]
    pub fn follow(journal: Arc<dyn Journal>, clock: Arc<dyn Clock>, patience: Duration) -> Self {
        Self {
            replica: Replica::follow(journal),
            clock,
            patience,
        }
    }

    /// Waits until everything that was in the topic at the start is known.
    pub async fn loaded(&self) {
        self.replica.loaded().await;
    }

    /// True once everything that was in the topic at the start is known.
    #[must_use]
    pub fn is_loaded(&self) -> bool {
        self.replica.is_loaded()
    }

    /// Looks at the present state.
    pub fn read<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        self.replica.read(look)
    }

    /// Creates a domain and its first token, which is shown here and never again.
    ///
    /// # Errors
    /// A name that is taken or cannot be one; or the topic's.
    pub async fn create(&self, name: &str, admin: bool) -> Result<Token, Error> {
        if !is_name(name) || name == ANONYMOUS {
            return Err(Error::InvalidName {
                name: name.to_owned(),
            });
        }
        self.replica.settle().await?;
        if self.read(|state| state.domain(name).is_some()) {
            return Err(Error::Exists {
                name: name.to_owned(),
            });
        }
        let key = Key::Domain {
            domain: name.to_owned(),
            record: Uuid::new_v4().to_string(),
        };
        let value = DomainValue {
            created_at_ms: self.now(),
            admin,
        };
        self.replica
            .write(records::entry(&key, &value), self.patience)
            .await?;
        self.add_token(name).await
    }

    /// Makes another token for a domain; shown here and never again.
    ///
    /// # Errors
    /// No such domain, too many tokens; or the topic's.
    pub async fn add_token(&self, name: &str) -> Result<Token, Error> {
        let Some(tokens) = self.read(|state| Some(state.domain(name)?.tokens().count())) else {
            return Err(Error::NoSuchDomain {
                name: name.to_owned(),
            });
        };
        if tokens >= TOKENS_MAX {
            return Err(Error::TooManyTokens {
                name: name.to_owned(),
            });
        }
        let token = Token::random().map_err(Error::Random)?;
        let key = Key::Token {
            domain: name.to_owned(),
            token: Uuid::new_v4().to_string(),
        };
        let value = TokenValue {
            created_at_ms: self.now(),
            sha256: token.hash().to_hex(),
        };
        self.replica
            .write(records::entry(&key, &value), self.patience)
            .await?;
        Ok(token)
    }

    /// Revokes a token by its public name. One that is not there is revoked already.
    ///
    /// # Errors
    /// The topic's.
    pub async fn revoke_token(&self, name: &str, token: &str) -> Result<(), Error> {
        let key = Key::Token {
            domain: name.to_owned(),
            token: token.to_owned(),
        };
        if self.read(|state| {
            state
                .domain(name)
                .is_some_and(|domain| domain.tokens().any(|known| known == token))
        }) {
            self.replica
                .write(records::tombstone(&key), self.patience)
                .await?;
        }
        Ok(())
    }

    /// Makes a domain the owner of a subject that has none. Several may try at once: the log's order decides.
    ///
    /// # Errors
    /// [`Error::Owned`] if another domain is the owner, also if it came first just now; or the topic's.
    pub async fn claim(&self, subject: &str, domain: &str) -> Result<(), Error> {
        self.replica.settle().await?;
        if self.read(|state| state.owner(subject).is_none()) {
            let key = Key::Owner {
                subject: subject.to_owned(),
                record: Uuid::new_v4().to_string(),
            };
            let value = OwnerValue {
                domain: domain.to_owned(),
                claimed_at_ms: self.now(),
            };
            self.replica
                .write(records::entry(&key, &value), self.patience)
                .await?;
        }
        self.read(|state| match state.owner(subject) {
            Some(owner) if owner != domain => Err(Error::Owned {
                subject: subject.to_owned(),
                owner: owner.to_owned(),
            }),
            _ => Ok(()),
        })
    }

    /// Notes that schema ids up to this one were given out, so that none is given out twice after the last trace of one is deleted.
    ///
    /// # Errors
    /// The topic's.
    pub async fn raise_id_floor(&self, id: u32) -> Result<(), Error> {
        if self.read(State::id_floor) < id {
            let value = IdFloorValue { at_ms: self.now() };
            self.replica
                .write(records::entry(&Key::IdFloor { id }, &value), self.patience)
                .await?;
        }
        Ok(())
    }

    /// Writes down what a domain did to a subject, or to the global settings. `action` is noun and verb: `subject.delete`.
    ///
    /// # Errors
    /// The topic's.
    pub async fn audit(
        &self,
        domain: &str,
        action: &str,
        subject: Option<&str>,
        detail: String,
    ) -> Result<(), Error> {
        let key = Key::Audit {
            record: Uuid::new_v4().to_string(),
        };
        let value = AuditValue {
            at_ms: self.now(),
            domain: domain.to_owned(),
            action: action.to_owned(),
            subject: subject.map(str::to_owned),
            detail,
        };
        self.replica
            .write(records::entry(&key, &value), self.patience)
            .await?;
        Ok(())
    }

    fn now(&self) -> i64 {
        self.clock.now().millis()
    }
}

/// The key of records that mean nothing.
pub(crate) fn fence_key() -> Bytes {
    records::tombstone(&Key::Fence).key
}

fn is_name(name: &str) -> bool {
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(allowed)
        && name
            .bytes()
            .next()
            .is_some_and(|first| first.is_ascii_lowercase())
}
