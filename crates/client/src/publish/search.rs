//! Searches a partition for events whose stamp cannot decide.

use std::collections::HashMap;

use evenkeel_broker::fetch::At;
use evenkeel_broker::{Cluster, Error};
use evenkeel_event::clock::Timestamp;
use evenkeel_event::{TopicPartition, headers};
use evenkeel_flow::session::{Input, SearchResult};

use super::batch::Batch;
use super::done::Done;
use super::engine::Engine;

impl Engine {
    pub(super) fn order_search(
        &mut self,
        id: u32,
        search: u64,
        payload: &Batch,
        from: Option<i64>,
        since: Timestamp,
    ) {
        let Some(line) = self.lines.get(&id) else {
            return;
        };
        let (cluster, partition) = (self.cluster.clone(), line.partition.clone());
        let ids = payload.ids();
        self.work.push(Box::pin(async move {
            let result = match ids {
                Ok(ids) if ids.iter().all(|id| !id.is_empty()) => {
                    find(&cluster, &partition, &ids, from, since).await
                }
                // Records without an id cannot be told from others.
                _ => SearchResult::NotSearchable,
            };
            let input = Input::Searched { search, result };
            Done::Told { line: id, input }
        }));
    }
}

async fn find(
    cluster: &Cluster,
    partition: &TopicPartition,
    ids: &[String],
    from: Option<i64>,
    since: Timestamp,
) -> SearchResult {
    match try_find(cluster, partition, ids, from, since).await {
        Ok(found) => found,
        Err(error) if error.is_access_refused() => SearchResult::NotSearchable,
        // Retention took what would have to be read, or it cannot be read.
        Err(Error::OutOfRange { .. } | Error::Batch(_)) => SearchResult::NotSearchable,
        Err(error) => {
            tracing::debug!(%partition, %error, "the partition cannot be searched yet");
            SearchResult::Failed
        }
    }
}

async fn try_find(
    cluster: &Cluster,
    partition: &TopicPartition,
    ids: &[String],
    from: Option<i64>,
    since: Timestamp,
) -> Result<SearchResult, Error> {
    if cluster.is_compacted(&partition.topic).await? {
        return Ok(SearchResult::NotSearchable);
    }
    let end = cluster.offset(partition, At::Latest).await?.offset.unwrap_or(0);
    let begin = match from.filter(|from| *from <= end) {
        Some(from) => from,
        None => cluster
            .offset(partition, At::Time(since))
            .await?
            .offset
            .unwrap_or(end),
    };
    let mut first = HashMap::<&str, Option<i64>>::new();
    for id in ids {
        first.insert(id, None);
    }
    cluster
        .search(partition, begin, usize::MAX, |record| {
            let id = record
                .header(headers::CE_ID)
                .and_then(|id| std::str::from_utf8(id).ok());
            let place = id.and_then(|id| first.get_mut(id));
            if let Some(place @ None) = place {
                *place = Some(record.offset);
            }
            false
        })
        .await?;
    let found = ids
        .iter()
        .map(|id| first.get(id.as_str()).copied().flatten())
        .collect();
    Ok(SearchResult::Found(found))
}
