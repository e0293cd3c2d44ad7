//! `/subjects`: which there are, is a schema among a subject's, delete one.

use std::sync::Arc;

use axum::extract::{Path, State};

use super::Json;
use super::request::{self, By, Params, Sent};
use super::versions::Registered;
use crate::registry::decide::{Answer, Write};
use crate::registry::{Error, Registry, candidate};

/// Asks for the subjects of every context; there is only the default one.
const ALL_CONTEXTS: &str = ":*:";

pub(super) async fn list(State(registry): State<Arc<Registry>>, _: By, params: Params) -> Json<Vec<String>> {
    let prefix = params.get("subjectPrefix").unwrap_or_default();
    let prefix = prefix
        .strip_prefix(ALL_CONTEXTS)
        .or_else(|| prefix.strip_prefix(":.:"))
        .unwrap_or(prefix);
    let only_deleted = params.flag("deletedOnly");
    let deleted = only_deleted || params.flag("deleted");
    registry.read(|state| {
        let subjects = state
            .subjects(deleted)
            .filter(|(name, _)| name.starts_with(prefix));
        let subjects =
            subjects.filter(|(_, subject)| !only_deleted || subject.versions(false).next().is_none());
        Json(subjects.map(|(name, _)| name.to_owned()).collect())
    })
}

pub(super) async fn look_up(
    State(registry): State<Arc<Registry>>,
    _: By,
    Path(subject): Path<String>,
    params: Params,
    Sent(sent): Sent<candidate::Sent>,
) -> Result<Json<Registered>, Error> {
    let subject = request::subject(subject)?;
    let deleted = params.flag("deleted");
    let unparsed = registry.read(|state| {
        let known = state.subject(&subject);
        let known = known.filter(|known| known.versions(deleted).next().is_some());
        known.ok_or_else(|| Error::subject_not_found(&subject))?;
        sent.resolve(state)
    })?;
    let identity = registry
        .compute(move || Ok(unparsed.parse()?.content.identity()))
        .await??;
    registry.read(|state| {
        let found = state.find(&subject, identity, deleted);
        let (number, version) = found.ok_or_else(Error::schema_not_found)?;
        Ok(Json(Registered::of(&subject, number, version)))
    })
}

pub(super) async fn delete(
    State(registry): State<Arc<Registry>>,
    By(caller): By,
    Path(subject): Path<String>,
    params: Params,
) -> Result<Json<Vec<u32>>, Error> {
    let write = Write::DeleteSubject {
        subject: request::subject(subject)?,
        permanent: params.flag("permanent"),
    };
    match registry.write(write, caller).await? {
        Answer::Versions(versions) => Ok(Json(versions)),
        other => Err(Error::mixed_up(&other)),
    }
}
