//! `/config` and `/mode`: compatibility levels and modes, of a subject or of all.

use std::sync::Arc;

use axum::extract::{Path, State};
use evenkeel_schema::avro::compatibility::Level;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Json;
use super::request::{self, By, Params, Sent};
use crate::domains::Caller;
use crate::registry::decide::{Answer, Write};
use crate::registry::state::Mode;
use crate::registry::{Error, Registry};

#[derive(Debug, Serialize)]
pub(super) struct Shown {
    #[serde(rename = "compatibilityLevel")]
    level: &'static str,
}

#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    compatibility: Option<String>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Debug, Serialize)]
pub(super) struct Set {
    compatibility: &'static str,
}

#[derive(Debug, Serialize)]
pub(super) struct Moded {
    mode: &'static str,
}

impl Wanted {
    fn level(&self) -> Result<Level, Error> {
        if let Some((name, _)) = self.rest.iter().find(|(_, value)| !value.is_null()) {
            return Err(Error::unsupported_setting(name));
        }
        let word = self.compatibility.as_deref().ok_or_else(Error::invalid_level)?;
        word.parse().map_err(|_| Error::invalid_level())
    }
}

fn shown(level: Level) -> Json<Shown> {
    Json(Shown {
        level: level.as_str(),
    })
}

pub(super) async fn global(State(registry): State<Arc<Registry>>, _: By) -> Json<Shown> {
    shown(registry.read(|state| state.global().level.unwrap_or_default()))
}

pub(super) async fn show(
    State(registry): State<Arc<Registry>>,
    _: By,
    Path(subject): Path<String>,
    params: Params,
) -> Result<Json<Shown>, Error> {
    let subject = request::subject(subject)?;
    registry.read(|state| {
        let own = state.subject(&subject).and_then(|known| known.settings().level);
        let level = if params.flag("defaultToGlobal") {
            Some(state.level(&subject))
        } else {
            own
        };
        level.map(shown).ok_or_else(|| Error::no_level(&subject))
    })
}

pub(super) async fn set_global(
    State(registry): State<Arc<Registry>>,
    By(caller): By,
    Sent(wanted): Sent<Wanted>,
) -> Result<Json<Set>, Error> {
    put(&registry, None, &wanted, caller).await
}

pub(super) async fn set(
    State(registry): State<Arc<Registry>>,
    By(caller): By,
    Path(subject): Path<String>,
    Sent(wanted): Sent<Wanted>,
) -> Result<Json<Set>, Error> {
    put(&registry, Some(request::subject(subject)?), &wanted, caller).await
}

async fn put(
    registry: &Registry,
    subject: Option<String>,
    wanted: &Wanted,
    caller: Caller,
) -> Result<Json<Set>, Error> {
    match registry
        .write(
            Write::SetLevel {
                subject,
                level: wanted.level()?,
            },
            caller,
        )
        .await?
    {
        Answer::Level(level) => Ok(Json(Set {
            compatibility: level.as_str(),
        })),
        other => Err(Error::mixed_up(&other)),
    }
}

pub(super) async fn unset_global(
    State(registry): State<Arc<Registry>>,
    By(caller): By,
) -> Result<Json<Shown>, Error> {
    take_away(&registry, None, caller).await
}

pub(super) async fn unset(
    State(registry): State<Arc<Registry>>,
    By(caller): By,
    Path(subject): Path<String>,
) -> Result<Json<Shown>, Error> {
    take_away(&registry, Some(request::subject(subject)?), caller).await
}

async fn take_away(
    registry: &Registry,
    subject: Option<String>,
    caller: Caller,
) -> Result<Json<Shown>, Error> {
    match registry.write(Write::UnsetLevel { subject }, caller).await? {
        Answer::Level(level) => Ok(shown(level)),
        other => Err(Error::mixed_up(&other)),
    }
}

pub(super) async fn global_mode(State(registry): State<Arc<Registry>>, _: By) -> Json<Moded> {
    let mode = registry.read(|state| state.global().mode.unwrap_or(Mode::ReadWrite));
    Json(Moded { mode: mode.as_str() })
}

pub(super) async fn mode(
    State(registry): State<Arc<Registry>>,
    _: By,
    Path(subject): Path<String>,
    params: Params,
) -> Result<Json<Moded>, Error> {
    let subject = request::subject(subject)?;
    registry.read(|state| {
        let own = state.subject(&subject).and_then(|known| known.settings().mode);
        let mode = if params.flag("defaultToGlobal") {
            Some(state.mode(&subject))
        } else {
            own
        };
        mode.map(|mode| Json(Moded { mode: mode.as_str() }))
            .ok_or_else(|| Error::no_mode(&subject))
    })
}
