//! The one task that writes: decide, claim, append, read back, answer. One write after the other.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::decide::{Answer, Decision, Write, decide, done_already};
use super::error::Error;
use super::state::State;
use crate::domains::{self, Caller, Domains};
use crate::journal::{self, Replica};

/// Writes that may wait for their turn.
pub(super) const WAITING_MAX: usize = 256;
/// How often a write is decided anew because another registry's record came first.
const ATTEMPTS_MAX: usize = 5;

/// A write with who asks for it and who waits for the answer.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) write: Write,
    pub(super) caller: Caller,
    pub(super) reply: oneshot::Sender<Result<Answer, Error>>,
}

/// What the writing task works on.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) schemas: Replica<State>,
    pub(super) domains: Arc<Domains>,
    /// How long a record whose answer was lost is looked for.
    pub(super) patience: Duration,
}

/// Runs until nobody can ask any more.
pub(super) async fn run(core: Arc<Core>, mut commands: mpsc::Receiver<Command>) {
    core.schemas.loaded().await;
    core.domains.loaded().await;
    while let Some(Command { write, caller, reply }) = commands.recv().await {
        // Whoever asked for this gave up before it began.
        if reply.is_closed() {
            continue;
        }
        let answer = core.perform(&write, &caller).await;
        // Whoever asked may have given up meanwhile: the write stands, and asking again tells.
        drop(reply.send(answer));
    }
}

impl Core {
    async fn perform(&self, write: &Write, caller: &Caller) -> Result<Answer, Error> {
        for _ in 0..ATTEMPTS_MAX {
            self.schemas.settle().await.map_err(|error| failed(&error))?;
            if let Some(answer) = self.schemas.read(|state| done_already(state, write))? {
                return Ok(answer);
            }
            let claims = self.authorise(write, caller)?;
            let floor = self.domains.read(domains::State::id_floor);
            let decision = self.schemas.read(|state| decide(state, write, floor))?;
            if let (Some(subject), Caller::Domain { name, .. }) = (write.subject().filter(|_| claims), caller)
            {
                self.claim(subject, name).await?;
            }
            if let Some(answer) = self.carry_out(write, decision).await? {
                self.write_down(write, caller, &answer).await;
                return Ok(answer);
            }
        }
        Err(Error::timed_out("other writers came first each time"))
    }

    /// Who may do this; true if the subject has no owner yet and the caller becomes it.
    fn authorise(&self, write: &Write, caller: &Caller) -> Result<bool, Error> {
        let Caller::Domain { name, admin } = caller else {
            return Err(Error::credentials_needed(write.subject()));
        };
        let Some(subject) = write.subject() else {
            return if *admin {
                Ok(false)
            } else {
                Err(Error::not_admin(name))
            };
        };
        let owner = self.domains.read(|state| state.owner(subject).map(str::to_owned));
        match owner {
            Some(owner) if owner == *name => Ok(false),
            Some(owner) => Err(Error::owned(subject, &owner, name)),
            // What another registry left behind belongs to nobody: only a new version or a claim makes a domain its owner.
            None => {
                let registers = matches!(write, Write::Register { .. });
                let is_new = self.schemas.read(|state| state.subject(subject).is_none());
                let settles = is_new && matches!(write, Write::SetLevel { .. });
                if registers || settles || is_new {
                    Ok(registers || settles)
                } else {
                    Err(Error::unowned(subject))
                }
            }
        }
    }

    async fn claim(&self, subject: &str, domain: &str) -> Result<(), Error> {
        match self.domains.claim(subject, domain).await {
            Ok(()) => Ok(()),
            Err(domains::Error::Owned { owner, .. }) => Err(Error::owned(subject, &owner, domain)),
            Err(domains::Error::Journal(error)) => Err(failed(&error)),
            Err(error) => Err(Error::timed_out(error)),
        }
    }

    /// The audit. The write stands whether or not it can be written down.
    async fn write_down(&self, write: &Write, caller: &Caller, answer: &Answer) {
        let Caller::Domain { name, .. } = caller else {
            return;
        };
        let written = self
            .domains
            .audit(name, write.action(), write.subject(), answer.detail())
            .await;
        if let Err(error) = written {
            tracing::error!(%error, domain = %name, action = write.action(), subject = ?write.subject(), "done, but not in the audit");
        }
    }

    /// Writes the records. `None`: they were read back, but another writer's came before them and counts.
    async fn carry_out(&self, write: &Write, decision: Decision) -> Result<Option<Answer>, Error> {
        if let Some(id) = decision.id_floor {
            match self.domains.raise_id_floor(id).await {
                Ok(()) => {}
                Err(domains::Error::Journal(error)) => return Err(failed(&error)),
                Err(error) => return Err(Error::timed_out(error)),
            }
        }
        for entry in decision.entries {
            self.schemas
                .write(entry, self.patience)
                .await
                .map_err(|error| failed(&error))?;
        }
        if let Write::Register { .. } = write {
            return self.schemas.read(|state| done_already(state, write));
        }
        Ok(Some(decision.answer))
    }
}

fn failed(error: &journal::Error) -> Error {
    match error {
        journal::Error::Unknown { .. } => Error::timed_out(error),
        other => Error::store(other),
    }
}
