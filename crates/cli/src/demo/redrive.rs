//! Step 4's redrive: a plan, shown before it runs, then the redrive itself.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use evenkeel::Publisher;
use evenkeel_event::TopicName;
use evenkeel_event::clock::SystemClock;
use evenkeel_schema::wire::SchemaId;
use evenkeel_worker::redrive::{Judgement, Ledger, Options, Plan, Who, execute, plan, read};
use serde_json::Value;

use super::contracts::KINDS;
use super::narrator::Narrator;
use super::stage::Stage;
use crate::decode::Decoder;
use crate::registry::{Registry, encoded};

/// Letters that one redrive of the demo takes.
const LETTERS_MAX: usize = 1_000_000;

/// Redrives every letter of the publisher against the newest version of its contract.
pub(super) async fn redrive(
    stage: &Stage,
    publisher: &Publisher,
    registry: Arc<Registry>,
    constructed: &str,
    narrator: &Narrator,
) -> Result<()> {
    let letters = TopicName::publish_letters(&stage.application)?;
    let cluster = publisher.cluster();
    let (letters, _) = read(cluster, &letters, LETTERS_MAX)
        .await
        .context("the dead letters cannot be read")?;
    let mut decoder = Decoder::new(Arc::clone(&registry));
    let mut contracts = HashMap::new();
    for kind in KINDS {
        let path = format!(
            "/subjects/{}/versions/latest",
            encoded(&kind.subject(stage.topic.as_str()))
        );
        let contract = tokio::task::block_in_place(|| {
            let latest: Value = registry.get(&path)?;
            let id = latest
                .get("id")
                .and_then(Value::as_i64)
                .and_then(|id| i32::try_from(id).ok());
            decoder.contract(SchemaId(id.context("the registry names no id")?))
        })?;
        contracts.insert(kind.event_type.to_owned(), contract);
    }
    let mut ledger = Ledger::read(cluster, stage.internal.evenkeel.clone()).await?;
    let plan = plan(
        cluster,
        letters,
        &contracts,
        std::slice::from_ref(&stage.topic),
        &ledger,
        None,
    )
    .await?;
    show(&plan, constructed, narrator)?;
    let who = Who {
        by: "evenkeel demo".to_owned(),
        reason: "version 2 allows orders without customer".to_owned(),
        store: stage.application.clone(),
    };
    let clock = SystemClock::default();
    let options = Options::default();
    let redriven = execute(plan, publisher, &mut ledger, &clock, &who, options, |_| {}).await?;
    narrator.tell(&format!(
        "{} letters sent on; the letters themselves stay as they are",
        redriven.sent
    ));
    Ok(())
}

fn show(plan: &Plan, constructed: &str, narrator: &Narrator) -> Result<()> {
    narrator.tell(&format!(
        "the plan: {} of {} letters obey version 2",
        plan.ready(),
        plan.entries.len()
    ));
    for entry in &plan.entries {
        let id = &entry.letter.event.id;
        if let Judgement::Refused(reason) = &entry.judgement {
            bail!("letter {id} would be refused: {reason}");
        }
        if entry.younger > 0 {
            let key =
                String::from_utf8_lossy(entry.letter.event.key.as_deref().unwrap_or_default()).into_owned();
            narrator.tell(&format!(
                "the plan: {id} will land behind {} younger events of its key {key}",
                entry.younger
            ));
        }
    }
    let warned = plan
        .entries
        .iter()
        .any(|entry| entry.letter.event.id.as_str() == constructed && entry.younger > 0);
    if !warned {
        bail!("the plan does not say that younger events of the constructed order's key are on the topic");
    }
    Ok(())
}
