//! Settings of topics and brokers.

use std::time::Duration;

use evenkeel_event::TopicName;
use kafka_protocol::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use kafka_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use kafka_protocol::protocol::StrBytes;

use crate::cluster::Cluster;
use crate::error::Error;

/// What has settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resource {
    /// A topic.
    Topic(TopicName),
    /// A node.
    Broker(i32),
}

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its name.
    pub name: String,
    /// Its value; `None` when the broker does not show it.
    pub value: Option<String>,
    /// True when it was set for this resource and is no default.
    pub own: bool,
    /// True for a secret.
    pub sensitive: bool,
}

impl Resource {
    /// Kafka's resource type: 2 topic, 4 broker.
    const fn kind(&self) -> i8 {
        match self {
            Self::Topic(_) => 2,
            Self::Broker(_) => 4,
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Topic(name) => name.to_string(),
            Self::Broker(node) => node.to_string(),
        }
    }
}

impl Cluster {
    /// The settings of `resource`: all of them, or those in `names`.
    ///
    /// # Errors
    /// When it is not there, may not be seen, or no answer could be had.
    pub async fn settings(&self, resource: &Resource, names: &[&str]) -> Result<Vec<Setting>, Error> {
        let keys = names
            .iter()
            .map(|name| StrBytes::from_string((*name).to_owned()))
            .collect();
        let wanted = DescribeConfigsResource::default()
            .with_resource_type(resource.kind())
            .with_resource_name(StrBytes::from_string(resource.name()))
            .with_configuration_keys((!names.is_empty()).then_some(keys));
        let request = DescribeConfigsRequest::default().with_resources(vec![wanted]);
        let response = match resource {
            Resource::Broker(node) => self.ask_node(*node, &request).await?,
            Resource::Topic(_) => self.ask(&request).await?,
        };
        let Some(result) = response.results.into_iter().next() else {
            return Err(Error::Refused {
                request: "DescribeConfigs",
                subject: resource.name(),
                code: -1,
                message: "an empty answer".to_owned(),
            });
        };
        Error::check(
            result.error_code,
            "DescribeConfigs",
            resource.name(),
            result.error_message.as_deref(),
        )?;
        let settings = result.configs.into_iter().map(|config| Setting {
            name: config.name.to_string(),
            value: config.value.map(|value| value.to_string()),
            // 1: set for the topic, 2: for the broker at run time, 3: for all brokers.
            own: matches!(config.config_source, 1..=3),
            sensitive: config.is_sensitive,
        });
        Ok(settings.collect())
    }

    /// Changes settings of a topic; `None` goes back to the default.
    ///
    /// # Errors
    /// Why the cluster refused, or gave no answer.
    pub async fn change_settings(
        &self,
        topic: &TopicName,
        changes: &[(&str, Option<&str>)],
    ) -> Result<(), Error> {
        let configs = changes.iter().map(|(name, value)| {
            AlterableConfig::default()
                .with_name(StrBytes::from_string((*name).to_owned()))
                // 0 sets, 1 deletes.
                .with_config_operation(i8::from(value.is_none()))
                .with_value(value.map(|value| StrBytes::from_string(value.to_owned())))
        });
        let resource = AlterConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(StrBytes::from_string(topic.to_string()))
            .with_configs(configs.collect());
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
        let response = self.ask_controller(&request).await?;
        let answered = response.responses.first();
        let (code, message) = answered.map_or((-1, None), |answered| {
            (answered.error_code, answered.error_message.as_deref())
        });
        Error::check(
            code,
            "IncrementalAlterConfigs",
            format_args!("topic {topic}"),
            message,
        )
    }

    /// How long the brokers remember a producer that writes nothing (`producer.id.expiration.ms`); 24 h, Kafka's
    /// default, where it may not be read. The shortest of all brokers that answer counts; `None` when none can be asked now.
    pub async fn producer_expiry(&self) -> Option<Duration> {
        let answered = self.of_each_node(|node| self.expiry_at(node)).await;
        answered.into_iter().flatten().min()
    }

    /// `None` when the node cannot be asked now.
    async fn expiry_at(&self, node: i32) -> Option<Duration> {
        const DEFAULT: Duration = Duration::from_hours(24);
        let (broker, name) = (Resource::Broker(node), "producer.id.expiration.ms");
        let expiry = match self.settings(&broker, &[name]).await {
            Ok(settings) => millis_of(settings, name),
            Err(error) if error.is_outage() => return None,
            Err(_) => None,
        };
        Some(expiry.unwrap_or(DEFAULT))
    }

    /// Largest batch that a topic takes (`max.message.bytes`), bytes.
    ///
    /// # Errors
    /// When the topic is not there, its settings may not be seen, or no answer could be had.
    pub async fn batch_bytes_max(&self, topic: &TopicName) -> Result<usize, Error> {
        const DEFAULT: usize = 1_048_588;
        let value = self.topic_setting(topic, "max.message.bytes").await?;
        Ok(value.and_then(|bytes| bytes.parse().ok()).unwrap_or(DEFAULT))
    }

    /// True when records of a topic go once there are younger ones of their keys (`cleanup.policy`): what is not there
    /// may have been.
    ///
    /// # Errors
    /// When the topic is not there, its settings may not be seen, or no answer could be had.
    pub async fn is_compacted(&self, topic: &TopicName) -> Result<bool, Error> {
        let policy = self.topic_setting(topic, "cleanup.policy").await?;
        Ok(policy.is_some_and(|policy| policy.contains("compact")))
    }

    async fn topic_setting(&self, topic: &TopicName, name: &str) -> Result<Option<String>, Error> {
        let settings = self.settings(&Resource::Topic(topic.clone()), &[name]).await?;
        let setting = settings.into_iter().find(|setting| setting.name == name);
        Ok(setting.and_then(|setting| setting.value))
    }
}

/// The setting `name` as a time.
fn millis_of(settings: Vec<Setting>, name: &str) -> Option<Duration> {
    let setting = settings.into_iter().find(|setting| setting.name == name)?;
    setting.value?.parse().ok().map(Duration::from_millis)
}
