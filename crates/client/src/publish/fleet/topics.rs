//! By how many partitions a topic's keys are placed: processes that share a store place them alike.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evenkeel_event::{TopicId, TopicName};
use evenkeel_flow::diversion::{Diversion, Placed};
use evenkeel_flow::session;
use evenkeel_store::{Lane, Place, SharedStandby};

use super::Fleet;
use crate::publish::done::Done;
use crate::publish::engine::Engine;

/// Longest wait for a topic's partitions, from Kafka or from the store.
const PLACED_WITHIN: Duration = Duration::from_secs(10);

impl Fleet {
    /// True while some partition of a topic is not open.
    pub(in crate::publish) fn is_diverted(&self, topic: &TopicName) -> bool {
        self.diverted().any(|(place, _)| place.topic == *topic)
    }

    /// Places that are not open, with their records.
    fn diverted(&self) -> impl Iterator<Item = (&Place, Diversion)> {
        let records = self.member.records();
        records.filter(|(_, record)| record.phase.takes_appends())
    }
}

impl Engine {
    /// How long events wait under a topic. In a shared store lanes are partitions', so that they wait for these.
    pub(in crate::publish) fn settings_under_topics(&self) -> session::Settings {
        match self.fleet {
            None => self.settings,
            Some(_) => session::Settings {
                out_after: self.settings.out_after.max(PLACED_WITHIN),
                ..self.settings
            },
        }
    }

    /// Asks the store by how many partitions a topic's keys are placed, for when Kafka does not tell.
    pub(in crate::publish) fn ask_record(&mut self, id: u32) {
        let (Some(fleet), Some(place)) = (&self.fleet, self.topic_place(id)) else {
            return;
        };
        let (store, patience) = (fleet.store(), self.settings.out_after / 2);
        self.work.push(Box::pin(async move {
            let asked = store.lane(&place).await;
            tokio::time::sleep(patience).await;
            let partitions = asked.map_or(0, |lane| lane.diversion.record.partition_count);
            Done::TopicRecord {
                topic: id,
                partitions,
            }
        }));
    }

    pub(in crate::publish) fn record_told(&mut self, id: u32, partitions: i32) {
        let is_unplaced = self.unplaced_topics().any(|(unplaced, _)| unplaced == id);
        if let Some(count) = usize::try_from(partitions)
            .ok()
            .filter(|count| *count > 0 && is_unplaced)
        {
            self.adopt(id, count);
        }
    }

    /// Lets the store remember by how many partitions a topic's keys are placed.
    pub(in crate::publish) fn remember_record(
        &mut self,
        topic: &TopicName,
        topic_id: TopicId,
        partitions: usize,
    ) {
        let (Some(fleet), Ok(partition_count)) = (&mut self.fleet, i32::try_from(partitions)) else {
            return;
        };
        let placed = Placed {
            topic_id,
            partition_count,
        };
        fleet.unremembered.insert(topic.clone(), placed);
        let (store, topic) = (fleet.store(), topic.clone());
        self.work.push(Box::pin(async move {
            let is_there = remember(&*store, &topic, placed).await;
            Done::TopicRemembered { topic, is_there }
        }));
    }

    pub(in crate::publish) fn topic_is_remembered(&mut self, topic: &TopicName, is_there: bool) {
        if let Some(fleet) = self.fleet.as_mut().filter(|_| is_there) {
            fleet.unremembered.remove(topic);
        }
    }

    /// Takes up the topics of which something is parked, whoever parked it: somebody has to send it on.
    pub(in crate::publish) fn follow_diverted(&mut self) {
        let Some(fleet) = &self.fleet else { return };
        let topics = fleet.diverted().map(|(place, _)| &place.topic);
        let new: BTreeSet<TopicName> = topics
            .filter(|topic| !self.topic_ids.contains_key(*topic))
            .cloned()
            .collect();
        for topic in new {
            self.topic_line(&topic);
        }
    }

    /// Places the events of topics of which something is diverted by the partitions that this was placed by, so that they follow
    /// what any process has parked of their key: also where Kafka does not tell of the topic, and where it was given more
    /// partitions, of which not every process had heard. Called before this process acknowledges what is diverted.
    pub(in crate::publish) fn place_by_records(&mut self) {
        let Some(fleet) = &self.fleet else { return };
        let mut counts = BTreeMap::<&TopicName, usize>::new();
        for (place, record) in fleet
            .diverted()
            .filter(|(place, record)| record.partition_count > 0 && self.is_of_topic(place, record))
        {
            let count = usize::try_from(record.partition_count).unwrap_or(usize::MAX);
            let fewest = counts.entry(&place.topic).or_insert(count);
            *fewest = count.min(*fewest);
        }
        let other: Vec<(u32, usize)> = counts
            .into_iter()
            .filter(|(topic, count)| *count != self.partitions_used(topic))
            .filter_map(|(topic, count)| Some((*self.topic_ids.get(topic)?, count)))
            .collect();
        for (id, count) in other {
            self.place_anew(id, count);
        }
    }

    /// False for a record of a topic that was deleted, where one of its name was created since.
    fn is_of_topic(&self, place: &Place, record: &Diversion) -> bool {
        let now = self.metadata.topic(&place.topic).map(|topic| topic.id);
        let ids = [now.unwrap_or(TopicId::UNKNOWN), record.topic_id];
        ids.contains(&TopicId::UNKNOWN) || ids[0] == ids[1]
    }
}

/// Writes by how many partitions a topic's keys are placed, where the store says something else. False: it could not be
/// asked, which costs only those who start while Kafka is gone. Others write the same.
pub(super) async fn remember(store: &dyn SharedStandby, topic: &TopicName, placed: Placed) -> bool {
    let place = Place {
        topic: topic.clone(),
        partition: None,
    };
    let Ok(Lane { diversion, .. }) = store.lane(&place).await else {
        return false;
    };
    let Placed {
        topic_id,
        partition_count,
    } = placed;
    if (diversion.record.topic_id, diversion.record.partition_count) == (topic_id, partition_count) {
        return true;
    }
    let record = Diversion {
        topic_id,
        partition_count,
        ..diversion.record
    };
    store
        .put_diversion(&place, diversion.version, None, record)
        .await
        .is_ok()
}
