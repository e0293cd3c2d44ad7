//! `/compatibility`: could a schema be registered?

use std::sync::Arc;

use axum::extract::{Path, State};
use serde::Serialize;

use super::Json;
use super::request::{self, By, Params, Sent};
use super::versions::find;
use crate::registry::compare::{conflicts, earlier};
use crate::registry::decide::VersionName;
use crate::registry::{Error, Registry, candidate};

#[derive(Debug, Serialize)]
pub(super) struct Verdict {
    is_compatible: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<Vec<String>>,
}

impl Verdict {
    fn of(conflicts: Vec<String>, params: &Params) -> Json<Self> {
        let is_compatible = conflicts.is_empty();
        Json(Self {
            is_compatible,
            messages: params.flag("verbose").then_some(conflicts),
        })
    }
}

pub(super) async fn with_all(
    State(registry): State<Arc<Registry>>,
    _: By,
    Path(subject): Path<String>,
    params: Params,
    Sent(sent): Sent<candidate::Sent>,
) -> Result<Json<Verdict>, Error> {
    let subject = request::subject(subject)?;
    let (unparsed, level, earlier) = registry.read(|state| {
        let level = state.level(&subject);
        let known = state.subject(&subject);
        let live = known.into_iter().flat_map(|known| known.versions(false));
        Ok((sent.resolve(state)?, level, earlier(state, level, live)?))
    })?;
    let found = registry
        .compute(move || conflicts(&unparsed.parse()?, &earlier, level))
        .await??;
    Ok(Verdict::of(found, &params))
}

pub(super) async fn with_one(
    State(registry): State<Arc<Registry>>,
    _: By,
    Path((subject, version)): Path<(String, String)>,
    params: Params,
    Sent(sent): Sent<candidate::Sent>,
) -> Result<Json<Verdict>, Error> {
    let (subject, version) = (request::subject(subject)?, VersionName::parse(&version)?);
    let (unparsed, level, earlier) = registry.read(|state| {
        let level = state.level(&subject);
        let version = match (find(state, &subject, version, false), version) {
            (Ok(found), _) => Some(found),
            // The latest of nothing asks nothing of a schema.
            (Err(_), VersionName::Latest) => None,
            (Err(error), VersionName::Number(_)) => return Err(error),
        };
        Ok((
            sent.resolve(state)?,
            level,
            earlier(state, level, version.into_iter())?,
        ))
    })?;
    let found = registry
        .compute(move || conflicts(&unparsed.parse()?, &earlier, level))
        .await??;
    Ok(Verdict::of(found, &params))
}
