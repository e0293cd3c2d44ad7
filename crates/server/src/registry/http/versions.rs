//! `/subjects/{subject}/versions`: the versions of a subject.

use std::sync::Arc;

use axum::extract::{Path, State};
use serde::Serialize;

use super::Json;
use super::request::{self, By, Params, Sent};
use super::schemas::Body;
use crate::registry::decide::{Answer, VersionName, Write};
use crate::registry::state::{self, Version};
use crate::registry::{Error, Registry, candidate};

/// A version as it is shown.
#[derive(Debug, Serialize)]
pub(super) struct Registered {
    subject: String,
    version: u32,
    id: u32,
    #[serde(flatten)]
    body: Body,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    deleted: bool,
}

impl Registered {
    pub(super) fn of(subject: &str, number: u32, version: &Version) -> Self {
        Self {
            subject: subject.to_owned(),
            version: number,
            id: version.id,
            body: Body::of(&version.content),
            deleted: version.deleted,
        }
    }
}

/// Finds a version of a subject, or says what of the two is missing.
pub(super) fn find<'a>(
    state: &'a state::State,
    subject: &str,
    version: VersionName,
    deleted: bool,
) -> Result<(u32, &'a Version), Error> {
    let known = state
        .subject(subject)
        .filter(|known| known.versions(deleted).next().is_some());
    let known = known.ok_or_else(|| Error::subject_not_found(subject))?;
    let mut versions = known.versions(deleted);
    match version {
        VersionName::Latest => versions
            .next_back()
            .ok_or_else(|| Error::subject_not_found(subject)),
        VersionName::Number(number) => versions
            .find(|(known, _)| *known == number)
            .ok_or_else(|| Error::version_not_found(number)),
    }
}

pub(super) async fn list(
    State(registry): State<Arc<Registry>>,
    _: By,
    Path(subject): Path<String>,
    params: Params,
) -> Result<Json<Vec<u32>>, Error> {
    let subject = request::subject(subject)?;
    let only_deleted = params.flag("deletedOnly");
    let deleted = only_deleted || params.flag("deleted");
    registry.read(|state| {
        let known = state
            .subject(&subject)
            .filter(|known| known.versions(deleted).next().is_some());
        let known = known.ok_or_else(|| Error::subject_not_found(&subject))?;
        let versions = known
            .versions(deleted)
            .filter(|(_, version)| !only_deleted || version.deleted);
        Ok(Json(versions.map(|(number, _)| number).collect()))
    })
}

#[derive(Debug, Serialize)]
pub(super) struct Id {
    id: u32,
}

pub(super) async fn register(
    State(registry): State<Arc<Registry>>,
    By(caller): By,
    Path(subject): Path<String>,
    Sent(sent): Sent<candidate::Sent>,
) -> Result<Json<Id>, Error> {
    let write = Write::Register {
        subject: request::subject(subject)?,
        sent: Box::new(sent),
    };
    match registry.write(write, caller).await? {
        Answer::Registered { id } => Ok(Json(Id { id })),
        other => Err(Error::mixed_up(&other)),
    }
}

pub(super) async fn show(
    State(registry): State<Arc<Registry>>,
    _: By,
    Path((subject, version)): Path<(String, String)>,
    params: Params,
) -> Result<Json<Registered>, Error> {
    let (subject, version) = (request::subject(subject)?, VersionName::parse(&version)?);
    registry.read(|state| {
        let (number, version) = find(state, &subject, version, params.flag("deleted"))?;
        Ok(Json(Registered::of(&subject, number, version)))
    })
}

pub(super) async fn text(
    State(registry): State<Arc<Registry>>,
    _: By,
    Path((subject, version)): Path<(String, String)>,
    params: Params,
) -> Result<String, Error> {
    let (subject, version) = (request::subject(subject)?, VersionName::parse(&version)?);
    registry.read(|state| {
        let (_, version) = find(state, &subject, version, params.flag("deleted"))?;
        Ok(version.content.text.clone())
    })
}

pub(super) async fn referenced_by(
    State(registry): State<Arc<Registry>>,
    _: By,
    Path((subject, version)): Path<(String, String)>,
) -> Result<Json<Vec<u32>>, Error> {
    let (subject, version) = (request::subject(subject)?, VersionName::parse(&version)?);
    registry.read(|state| {
        let (number, _) = find(state, &subject, version, true)?;
        Ok(Json(state.referenced_by(&subject, number)))
    })
}

pub(super) async fn delete(
    State(registry): State<Arc<Registry>>,
    By(caller): By,
    Path((subject, version)): Path<(String, String)>,
    params: Params,
) -> Result<Json<u32>, Error> {
    let (subject, version) = (request::subject(subject)?, VersionName::parse(&version)?);
    let write = Write::DeleteVersion {
        subject,
        version,
        permanent: params.flag("permanent"),
    };
    match registry.write(write, caller).await? {
        Answer::Version(number) => Ok(Json(number)),
        other => Err(Error::mixed_up(&other)),
    }
}
