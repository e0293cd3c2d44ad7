//! `/schemas`: schemas by id.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::Json;
use super::request::{self, By, Params};
use crate::registry::content::Content;
use crate::registry::records::{AVRO, Reference};
use crate::registry::{Error, Registry};

/// What every answer with a schema says of it.
#[derive(Debug, Serialize)]
pub(super) struct Body {
    #[serde(rename = "schemaType", skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    schema: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    references: Vec<Reference>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl Body {
    pub(super) fn of(content: &Content) -> Self {
        let shown = |name: &&String| matches!(name.as_str(), "metadata" | "ruleSet");
        let rest = content
            .rest
            .iter()
            .filter(|(name, value)| shown(name) && !value.is_null());
        Self {
            kind: (content.kind != AVRO).then(|| content.kind.clone()),
            schema: content.text.clone(),
            references: content.references.clone(),
            rest: rest.map(|(name, value)| (name.clone(), value.clone())).collect(),
        }
    }
}

pub(super) async fn root(_: By) -> Json<Value> {
    Json(json!({}))
}

pub(super) async fn types(_: By) -> Json<[&'static str; 1]> {
    Json([AVRO])
}

#[derive(Serialize)]
struct ById {
    #[serde(flatten)]
    body: Body,
    #[serde(rename = "maxId", skip_serializing_if = "Option::is_none")]
    id_max: Option<u32>,
}

pub(super) async fn by_id(
    State(registry): State<Arc<Registry>>,
    _: By,
    Path(id): Path<String>,
    params: Params,
) -> Result<Response, Error> {
    let id = request::id(&id)?;
    registry.read(|state| {
        let content = state.schema(id).ok_or_else(|| Error::id_not_found(id))?;
        let id_max = params.flag("fetchMaxId").then(|| state.id_max());
        Ok(Json(ById {
            body: Body::of(content),
            id_max,
        })
        .into_response())
    })
}

pub(super) async fn text_by_id(
    State(registry): State<Arc<Registry>>,
    _: By,
    Path(id): Path<String>,
) -> Result<String, Error> {
    let id = request::id(&id)?;
    registry.read(|state| {
        state
            .schema(id)
            .map(|content| content.text.clone())
            .ok_or_else(|| Error::id_not_found(id))
    })
}

#[derive(Debug, Serialize)]
pub(super) struct Use {
    subject: String,
    version: u32,
}

fn uses(registry: &Registry, id: &str, params: &Params) -> Result<Vec<Use>, Error> {
    let id = request::id(id)?;
    let of = params
        .get("subject")
        .map(|subject| request::subject(subject.to_owned()))
        .transpose()?;
    registry.read(|state| {
        state.schema(id).ok_or_else(|| Error::id_not_found(id))?;
        let uses = state.uses(id, params.flag("deleted"));
        let uses = uses.filter(|(subject, _)| of.as_deref().is_none_or(|of| of == *subject));
        Ok(uses
            .map(|(subject, version)| Use {
                subject: subject.to_owned(),
                version,
            })
            .collect())
    })
}

pub(super) async fn subjects(
    State(registry): State<Arc<Registry>>,
    _: By,
    Path(id): Path<String>,
    params: Params,
) -> Result<Json<Vec<String>>, Error> {
    let mut subjects: Vec<String> = uses(&registry, &id, &params)?
        .into_iter()
        .map(|one| one.subject)
        .collect();
    subjects.dedup();
    Ok(Json(subjects))
}

pub(super) async fn versions(
    State(registry): State<Arc<Registry>>,
    _: By,
    Path(id): Path<String>,
    params: Params,
) -> Result<Json<Vec<Use>>, Error> {
    uses(&registry, &id, &params).map(Json)
}
