//! `/compatibility`: could a schema be registered?

use std::sync::Arc;

use axum::extract::{Path, State};
use serde::Serialize;

use super::Json;
use super::request::{self, By, Params, Sent};
use super::versions::find;
use crate::registry::candidate::{self, conflicts};
use crate::registry::content::Content;
use crate::registry::decide::VersionName;
use crate::registry::{Error, Registry};

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
    registry.read(|state| {
        let candidate = sent.parse(state)?;
        let live = state
            .subject(&subject)
            .into_iter()
            .flat_map(|known| known.versions(false));
        let live: Vec<(u32, &Content)> = live
            .map(|(number, version)| (number, version.content.as_ref()))
            .collect();
        let found = conflicts(state, &subject, &candidate, &live, state.level(&subject))?;
        Ok(Verdict::of(found, &params))
    })
}

pub(super) async fn with_one(
    State(registry): State<Arc<Registry>>,
    _: By,
    Path((subject, version)): Path<(String, String)>,
    params: Params,
    Sent(sent): Sent<candidate::Sent>,
) -> Result<Json<Verdict>, Error> {
    let (subject, version) = (request::subject(subject)?, VersionName::parse(&version)?);
    registry.read(|state| {
        let candidate = sent.parse(state)?;
        let version = match (find(state, &subject, version, false), version) {
            (Ok((number, found)), _) => Some((number, found.content.as_ref())),
            // The latest of nothing asks nothing of a schema.
            (Err(_), VersionName::Latest) => None,
            (Err(error), VersionName::Number(_)) => return Err(error),
        };
        let found = conflicts(
            state,
            &subject,
            &candidate,
            version.as_slice(),
            state.level(&subject),
        )?;
        Ok(Verdict::of(found, &params))
    })
}
