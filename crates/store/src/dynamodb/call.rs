//! One request, made until it is answered or its time is up.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{BuildError, ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::types::TransactWriteItem;
use evenkeel_event::backoff::Backoff;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};

use super::failure::{Verdict, judge, judge_transaction};
use crate::Error;

/// Between two attempts of one request.
const BETWEEN_ATTEMPTS: Backoff = Backoff {
    first: Duration::from_millis(20),
    longest: Duration::from_secs(1),
};

/// Makes requests of one table.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) client: Client,
    pub(super) table: String,
    /// Table and region, for errors.
    pub(super) name: String,
    /// Most time of one request, its repetitions included.
    pub(super) timeout: Duration,
    /// Most time of one attempt.
    pub(super) attempt_timeout: Duration,
    /// Requests that may be under way at once: each takes a connection.
    pub(super) permits: Arc<Semaphore>,
}

/// Requests of one process that are under way at once, at most. The others wait for their turns, within their time.
pub(super) const REQUESTS_MAX: usize = 64;

/// Whether a request changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Read,
    Write,
}

/// What a transaction does when another one is at the same items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnConflict {
    /// It is made again: its condition may hold still.
    Again,
    /// Its condition is taken not to hold: the other one replaces what it asks for.
    Yield,
}

/// What is known of a request that is made again and again.
pub(super) struct Course<'call> {
    caller: &'call Caller,
    kind: Kind,
    action: &'static str,
    deadline: Instant,
    failures: u32,
    may_have_been_made: bool,
}

impl Caller {
    /// Makes a request until it is answered. `None`: its condition does not hold.
    pub(super) async fn ask<T, E, R, Answer>(
        &self,
        kind: Kind,
        action: &'static str,
        attempt: impl Fn() -> Answer,
    ) -> Result<Option<T>, Error>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug + 'static,
        Answer: Future<Output = Result<T, SdkError<E, R>>>,
    {
        let mut course = self.course(kind, action);
        loop {
            let turn = async {
                let _permit = self.permits.acquire().await;
                attempt().await
            };
            match timeout_at(course.deadline, turn).await {
                Ok(Ok(answer)) => return Ok(Some(answer)),
                Ok(Err(error)) => match judge(&error) {
                    Verdict::ConditionFailed => return Ok(None),
                    verdict => course.go_on(verdict).await?,
                },
                Err(_) => return Err(course.end(Verdict::Lost("no answer in time".to_owned()))),
            }
        }
    }

    /// Makes a request that has no condition.
    pub(super) async fn get<T, E, R, Answer>(
        &self,
        kind: Kind,
        action: &'static str,
        attempt: impl Fn() -> Answer,
    ) -> Result<T, Error>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug + 'static,
        Answer: Future<Output = Result<T, SdkError<E, R>>>,
    {
        let answer = self.ask(kind, action, attempt).await?;
        answer.ok_or_else(|| self.failed(action, Verdict::ConditionFailed))
    }

    /// Writes all items or none. False: a condition does not hold. The token makes one transaction of all attempts, also
    /// where the first was made and its answer was lost.
    pub(super) async fn transact(
        &self,
        action: &'static str,
        items: Vec<TransactWriteItem>,
        on_conflict: OnConflict,
    ) -> Result<bool, Error> {
        let token = format!("{:032x}", rand::random::<u128>());
        let mut course = self.course(Kind::Write, action);
        loop {
            let attempt = self
                .client
                .transact_write_items()
                .client_request_token(&token)
                .set_transact_items(Some(items.clone()));
            let turn = async {
                let _permit = self.permits.acquire().await;
                attempt.send().await
            };
            match timeout_at(course.deadline, turn).await {
                Ok(Ok(_)) => return Ok(true),
                Ok(Err(error)) => match judge_transaction(&error) {
                    Verdict::ConditionFailed => return Ok(false),
                    // Unless an attempt before it is the other one.
                    Verdict::Conflict(_)
                        if on_conflict == OnConflict::Yield && !course.may_have_been_made =>
                    {
                        return Ok(false);
                    }
                    verdict => course.go_on(verdict).await?,
                },
                Err(_) => return Err(course.end(Verdict::Lost("no answer in time".to_owned()))),
            }
        }
    }

    /// What a verdict means to whoever asked.
    pub(super) fn failed(&self, action: &'static str, verdict: Verdict) -> Error {
        self.error(action, verdict, false)
    }

    fn error(&self, action: &'static str, verdict: Verdict, may_have_been_made: bool) -> Error {
        let server = self.name.clone();
        match verdict {
            Verdict::Throttled(reason) | Verdict::Conflict(reason) => Error::Throttled {
                server,
                action,
                reason,
                may_have_been_made,
            },
            Verdict::Refused { reason, remedy } => Error::Refused {
                server,
                action,
                reason,
                remedy: remedy.to_owned(),
                may_have_been_made,
            },
            Verdict::NotReached(reason) | Verdict::Lost(reason) => Error::Unreachable {
                server,
                action,
                reason,
                may_have_been_made,
            },
            Verdict::ConditionFailed => Error::Unreachable {
                server,
                action,
                reason: "a condition failed where none was asked".to_owned(),
                may_have_been_made,
            },
        }
    }

    /// An item that this version does not write.
    pub(super) fn foreign(&self, what: &str) -> Error {
        Error::Foreign {
            server: self.name.clone(),
            what: what.to_owned(),
            reason: "attributes are missing or of another type".to_owned(),
        }
    }

    /// A table that another version has written.
    pub(super) fn other_format(&self, found: Option<u64>, known: u64) -> Error {
        let found = found.map_or_else(|| "none".to_owned(), |found| found.to_string());
        Error::Foreign {
            server: self.name.clone(),
            what: "items".to_owned(),
            reason: format!("their format is {found}, this version knows {known}"),
        }
    }

    /// A request that could not be put together.
    pub(super) fn defect(&self, error: &BuildError) -> Error {
        self.failed(
            "make a request",
            Verdict::Refused {
                reason: error.to_string(),
                remedy: "this is a defect: report it",
            },
        )
    }

    pub(super) fn course(&self, kind: Kind, action: &'static str) -> Course<'_> {
        Course {
            caller: self,
            kind,
            action,
            deadline: Instant::now() + self.timeout,
            failures: 0,
            may_have_been_made: false,
        }
    }
}

impl Course<'_> {
    /// Waits before the next attempt, or says why there is none.
    pub(super) async fn go_on(&mut self, verdict: Verdict) -> Result<(), Error> {
        self.failures = self.failures.saturating_add(1);
        self.may_have_been_made |= self.kind == Kind::Write && matches!(verdict, Verdict::Lost(_));
        let next = Instant::now() + BETWEEN_ATTEMPTS.wait(self.failures, rand::random());
        // An attempt has its whole time, or its end would be taken for an answer that was lost.
        if matches!(verdict, Verdict::Refused { .. }) || next + self.caller.attempt_timeout > self.deadline {
            return Err(self.end(verdict));
        }
        sleep(next - Instant::now()).await;
        Ok(())
    }
}

impl Course<'_> {
    fn end(&self, verdict: Verdict) -> Error {
        let lost = self.kind == Kind::Write && matches!(verdict, Verdict::Lost(_));
        self.caller
            .error(self.action, verdict, self.may_have_been_made || lost)
    }
}
