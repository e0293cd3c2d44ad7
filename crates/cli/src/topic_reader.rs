//! Reads a topic past the SDK: no group, no counters, nothing that a publisher shares.

use anyhow::{Context as _, Result, bail};
use evenkeel_broker::Cluster;
use evenkeel_broker::batch::RecordView;
use evenkeel_broker::fetch::{At, Piece, Until};
use evenkeel_event::{TopicName, TopicPartition};

/// Gives every record of a topic to `take`, partition after partition, in the order of each.
pub(crate) async fn read_all(
    cluster: &Cluster,
    topic: &TopicName,
    mut take: impl FnMut(&RecordView<'_>) -> Result<()>,
) -> Result<()> {
    for partition in &cluster.topic_anew(topic).await?.partitions {
        let place = TopicPartition::new(topic.clone(), partition.index);
        read(cluster, &place, &mut take).await?;
    }
    Ok(())
}

/// Gives every record of a partition to `take`, in order.
pub(crate) async fn read(
    cluster: &Cluster,
    place: &TopicPartition,
    mut take: impl FnMut(&RecordView<'_>) -> Result<()>,
) -> Result<()> {
    let mut range = cluster.read(place.clone(), At::Earliest, Until::End).await?;
    while let Some(piece) = range
        .next()
        .await
        .with_context(|| format!("{place} cannot be read"))?
    {
        if let Piece::Unreadable(unreadable) = &piece {
            bail!("{place} has a batch that cannot be read: {}", unreadable.reason);
        }
        piece.records().try_for_each(|record| take(&record))?;
    }
    Ok(())
}
