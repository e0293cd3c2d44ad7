//! What a run stands on: a cluster with a fault proxy before it, a topic of its own, a registry.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use evenkeel_broker::admin::NewTopic;
use evenkeel_broker::config::Kafka;
use evenkeel_broker::{Cluster, Leader};
use evenkeel_embedded::faults::{Fault, Requests};
use evenkeel_embedded::proxy::{Api, Proxy};
use evenkeel_event::clock::SystemClock;
use evenkeel_event::{TopicName, TopicPartition};
use evenkeel_server::platform::Topics;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;

use super::control::Control;
use super::event::SCHEMA;
use super::process;
use super::scenario::{Doing, Nodes, Workload};
use crate::hosted_registry::HostedRegistry;
use crate::registry::Registry;

/// Longest wait for a broker or a topic.
const PATIENCE: Duration = Duration::from_secs(120);

/// See the module.
pub(super) struct Ground {
    /// Past the proxy.
    pub(super) direct: Cluster,
    pub(super) topic: TopicName,
    /// Copies of its topics.
    pub(super) replication: i16,
    /// What publishers connect to.
    pub(super) brokers: Vec<String>,
    pub(super) registry_url: String,
    /// `None` where publishers connect to the cluster itself.
    proxy: Option<Proxy>,
    registry: HostedRegistry,
    internal: Topics,
    power: Power,
    workload: Workload,
}

/// What can be done to nodes.
enum Power {
    Embedded(Box<Embedded>),
    /// The embedded broker in this process, to be broken from within.
    Within(evenkeel_embedded::Broker),
    Controlled(Box<Control>),
    None,
}

/// The embedded broker in a process of its own.
struct Embedded {
    directory: PathBuf,
    address: SocketAddr,
    child: Child,
}

/// Where a run is to stand.
pub(super) struct Site<'run> {
    /// Where the publishers park together; `None` where each has a store of its own.
    pub(super) standby: Option<String>,
    pub(super) directory: &'run Path,
    /// How to reach a running cluster; `None` starts the embedded broker.
    pub(super) cluster: Option<Kafka>,
    pub(super) control: Option<Control>,
    /// No proxy: somebody else breaks things.
    pub(super) attach: bool,
    /// The embedded broker is broken from within.
    pub(super) within: bool,
    /// The network between publishers and Kafka is broken.
    pub(super) breaks_network: bool,
    /// Names topics.
    pub(super) prefix: String,
}

impl Ground {
    pub(super) async fn set(site: Site<'_>, workload: &Workload) -> Result<Self> {
        let (power, kafka) = match (site.cluster, site.control) {
            (Some(kafka), Some(control)) => (Power::Controlled(Box::new(control)), kafka),
            (Some(kafka), None) => (Power::None, kafka),
            (None, _) if site.within => {
                let mut config = evenkeel_embedded::Config::new(site.directory.join("broker"));
                config.listen = SocketAddr::from(([127, 0, 0, 1], 0));
                if workload.producer_expiry > 0.0 {
                    config.producer_id_expiration = Duration::from_secs_f64(workload.producer_expiry);
                }
                let started = evenkeel_embedded::start(config).await;
                let broker = started.context("the embedded broker did not start")?;
                let kafka = Kafka::at(broker.address().to_string());
                (Power::Within(broker), kafka)
            }
            (None, _) => {
                let embedded = Embedded::start(&site.directory.join("broker")).await?;
                let kafka = Kafka::at(embedded.address.to_string());
                (Power::Embedded(Box::new(embedded)), kafka)
            }
        };
        let bootstrap = kafka.brokers.join(",");
        let proxy = match site.attach {
            true => None,
            false if !site.breaks_network && (kafka.tls.is_some() || kafka.sasl.is_some()) => None,
            false if kafka.tls.is_some() || kafka.sasl.is_some() => bail!(
                "faults of the network are made by a proxy that speaks to plaintext listeners only: name one in \
                 kafka.brokers, or use --attach and break things yourself"
            ),
            false => Some(
                Proxy::start(&bootstrap)
                    .with_context(|| format!("no fault proxy can stand before {bootstrap}"))?,
            ),
        };
        let brokers = match &proxy {
            Some(proxy) => proxy.bootstrap().split(',').map(str::to_owned).collect(),
            None => kafka.brokers.clone(),
        };
        let direct = Cluster::connect(kafka)
            .await
            .with_context(|| format!("Kafka at {bootstrap} cannot be reached"))?;
        let replication = match workload.replication {
            -1 if direct.metadata().nodes.len() >= 3 => 3,
            given => given,
        };
        let internal = Topics::with_prefix(&site.prefix, -1)?;
        let clock = Arc::new(SystemClock::default());
        let domains = evenkeel_server::platform::domains(&direct, &internal, clock).await?;
        // Publishers of a run need no names.
        let config = evenkeel_server::registry::Config {
            dev: true,
            ..evenkeel_server::registry::Config::default()
        };
        let registry = HostedRegistry::serve(&direct, &internal, domains, config).await?;
        let ground = Self {
            topic: TopicName::new(&format!("{}events", site.prefix))?,
            replication,
            registry_url: registry.url(),
            direct,
            brokers,
            proxy,
            registry,
            internal,
            power,
            workload: workload.clone(),
        };
        ground.create_topic().await?;
        ground.register().await?;
        Ok(ground)
    }

    async fn create_topic(&self) -> Result<()> {
        let mut configs = vec![("retention.ms".to_owned(), "-1".to_owned())];
        if self.replication == 3 {
            configs.push(("min.insync.replicas".to_owned(), "2".to_owned()));
        }
        configs.extend(self.workload.settings.clone());
        let topic = NewTopic {
            name: self.topic.clone(),
            partitions: self.workload.partitions,
            replication: self.replication,
            configs,
        };
        let begun = Instant::now();
        // A topic of this name that was deleted a moment ago may still be going.
        while let Err(error) = self.direct.create_topic(&topic).await {
            if begun.elapsed() > PATIENCE {
                return Err(anyhow!(error).context(format!("the topic {} was not created", self.topic)));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        self.answering().await
    }

    async fn register(&self) -> Result<()> {
        let (url, subject) = (self.registry_url.clone(), format!("{}-value", self.topic));
        let body = serde_json::json!({ "schema": SCHEMA });
        let registered = tokio::task::spawn_blocking(move || {
            let path = format!("/subjects/{}/versions", crate::registry::encoded(&subject));
            Registry::at(&url, "", "").post::<serde_json::Value>(&path, &body)
        });
        registered
            .await
            .context("the registry was not asked")?
            .context("the contract of the events was not registered")?;
        Ok(())
    }

    /// Waits until every partition has a leader.
    pub(super) async fn answering(&self) -> Result<()> {
        let begun = Instant::now();
        loop {
            let led = match self.direct.topic_anew(&self.topic).await {
                Ok(topic) => topic.partitions.iter().all(|partition| {
                    let place = TopicPartition::new(self.topic.clone(), partition.index);
                    matches!(self.direct.metadata().leader(&place), Leader::At { .. })
                }),
                Err(_) => false,
            };
            if led {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                bail!(
                    "the topic {} has no leaders after {} s",
                    self.topic,
                    PATIENCE.as_secs()
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Does it, as far as it is done to Kafka or the registry.
    pub(super) async fn act(&mut self, what: &Doing) -> Result<()> {
        match what {
            Doing::Cut => self.proxy()?.cut().await,
            Doing::Hang => self.proxy()?.hang().await,
            Doing::Delay(millis) => self.proxy()?.delay(Duration::from_millis(*millis)).await,
            Doing::DropAnswers(count) => self.proxy()?.drop_responses(Api::PRODUCE, *count).await,
            Doing::Restore => self.proxy()?.restore().await,
            Doing::KillNode(nodes) => self.kill(*nodes).await?,
            Doing::PauseNode(nodes) => self.pause(*nodes).await?,
            Doing::StartNodes => self.start_nodes().await?,
            Doing::StartEarlierNodes => self.controlled()?.start_earlier().await?,
            measure if measure.is_measure() => self.controlled()?.take(measure).await?,
            Doing::ResumeNodes => self.resume_nodes().await?,
            Doing::SetTopic(name, value) => {
                let value = (!value.is_empty()).then_some(value.as_str());
                self.direct.change_settings(&self.topic, &[(name, value)]).await?;
            }
            Doing::AddPartitions(total) => self.direct.create_partitions(&self.topic, *total).await?,
            Doing::RecreateTopic => {
                self.direct.delete_topic(&self.topic).await?;
                self.create_topic().await?;
            }
            Doing::StopRegistry => self.registry.stop(),
            Doing::StartRegistry => self.registry.start().await?,
            within if within.is_within() => self.break_within(within).await?,
            // The rest is done to publishers, or is nothing.
            _ => {}
        }
        Ok(())
    }

    fn proxy(&self) -> Result<&Proxy> {
        self.proxy.as_ref().context("there is no proxy between")
    }

    /// The nodes that are meant, as they stand now.
    fn nodes(&self, nodes: Nodes) -> Result<Vec<i32>> {
        let metadata = self.direct.metadata();
        let first = TopicPartition::new(self.topic.clone(), 0);
        let leader = match metadata.leader(&first) {
            Leader::At { node, .. } => Some(node),
            Leader::Gone | Leader::Unknown => None,
        };
        let all = metadata.nodes.keys().copied();
        let meant: Vec<i32> = match nodes {
            Nodes::All => all.collect(),
            Nodes::Leader => leader.into_iter().collect(),
            Nodes::Copy => {
                let known = metadata.topic(&self.topic);
                let copies = known
                    .and_then(|topic| topic.partitions.first())
                    .map(|first| &first.replicas);
                let others = copies.into_iter().flatten().copied();
                others.filter(|node| Some(*node) != leader).take(1).collect()
            }
            Nodes::Followers => all.filter(|node| Some(*node) != leader).collect(),
        };
        if meant.is_empty() {
            bail!("the cluster has no such node now: {nodes:?}");
        }
        Ok(meant)
    }

    fn controlled(&mut self) -> Result<&mut Control> {
        match &mut self.power {
            Power::Controlled(control) => Ok(control),
            _ => bail!("no file with commands is known (--control)"),
        }
    }

    async fn kill(&mut self, nodes: Nodes) -> Result<()> {
        // A leader may have moved since it was last heard of; when nobody answers, it is taken as it was.
        drop(self.direct.refresh().await);
        let nodes = self.nodes(nodes)?;
        match &mut self.power {
            Power::Embedded(embedded) => embedded.child.kill().await.context("the broker cannot be killed"),
            Power::Controlled(control) => control.kill(&nodes).await,
            Power::Within(_) | Power::None => bail!("no command is known that kills a node"),
        }
    }

    async fn pause(&mut self, nodes: Nodes) -> Result<()> {
        drop(self.direct.refresh().await);
        let nodes = self.nodes(nodes)?;
        match &mut self.power {
            Power::Embedded(embedded) => embedded.signal("STOP").await,
            Power::Controlled(control) => control.pause(&nodes).await,
            Power::Within(_) | Power::None => bail!("no command is known that pauses a node"),
        }
    }

    async fn start_nodes(&mut self) -> Result<()> {
        match &mut self.power {
            Power::Embedded(embedded) => embedded.restart().await,
            Power::Controlled(control) => control.start().await,
            Power::Within(_) | Power::None => bail!("no command is known that starts a node"),
        }
    }

    async fn resume_nodes(&mut self) -> Result<()> {
        match &mut self.power {
            Power::Embedded(embedded) => embedded.signal("CONT").await,
            Power::Controlled(control) => control.resume().await,
            Power::Within(_) | Power::None => bail!("no command is known that lets a node go on"),
        }
    }

    /// Deletes the topics of the run, of which nobody else knows.
    pub(super) async fn clear(self, letters: &TopicName) -> Result<()> {
        drop(self.registry);
        let internal = [&self.internal.schemas, &self.internal.evenkeel];
        let there: Vec<TopicName> = self
            .direct
            .topics()
            .await?
            .iter()
            .map(|topic| topic.name.clone())
            .collect();
        for topic in [&self.topic, letters].into_iter().chain(internal) {
            if there.contains(topic) {
                let deleted = self.direct.delete_topic(topic).await;
                deleted.with_context(|| format!("the topic {topic} of the run cannot be deleted"))?;
            }
        }
        Ok(())
    }

    async fn break_within(&self, what: &Doing) -> Result<()> {
        let Power::Within(broker) = &self.power else {
            bail!("only the embedded broker can be broken from within");
        };
        let (faults, topic) = (broker.faults(), self.topic.as_str());
        match what {
            Doing::AnswerWith(code) => {
                drop(faults.inject(Requests::of(Api::PRODUCE).about(topic), Fault::Error(*code)));
            }
            Doing::Throttle(millis) => {
                let wait = Duration::from_millis(*millis);
                drop(faults.inject(Requests::of(Api::PRODUCE).about(topic), Fault::Throttle(wait)));
            }
            Doing::TakeLeader(partition) => faults.take_leader(topic, *partition, true),
            Doing::TakeReplicas => {
                for partition in 0..self.workload.partitions {
                    faults.take_replicas(topic, partition, true);
                }
            }
            Doing::ForgetProducers => {
                for partition in 0..self.workload.partitions {
                    faults.forget_producers(topic, partition).await;
                }
            }
            Doing::FillBrokersDisk => faults.fill_disk(true),
            Doing::SlowBrokersDisk(millis) => faults.slow_disk(Duration::from_millis(*millis)),
            _ => faults.clear(),
        }
        Ok(())
    }

    /// Mends whatever is still broken, so that a run that was broken off leaves nothing behind.
    pub(super) async fn mend(&mut self) -> Result<()> {
        if let Some(proxy) = &self.proxy {
            proxy.restore().await;
        }
        match &mut self.power {
            Power::Controlled(control) => control.mend().await,
            Power::Within(broker) => {
                broker.faults().clear();
                Ok(())
            }
            Power::Embedded(_) | Power::None => Ok(()),
        }
    }
}

impl Embedded {
    async fn start(directory: &Path) -> Result<Self> {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (child, address) = Self::spawn(directory, any).await?;
        Ok(Self {
            directory: directory.to_owned(),
            address,
            child,
        })
    }

    /// Starts it, and returns when it says where it listens.
    async fn spawn(directory: &Path, listen: SocketAddr) -> Result<(Child, SocketAddr)> {
        let mut child = process::evenkeel()?
            .args(["broker", "--listen", &listen.to_string(), "--data-dir"])
            .arg(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("the embedded broker cannot be started")?;
        let stderr = child.stderr.take().context("the embedded broker has no output")?;
        let mut lines = BufReader::new(stderr).lines();
        let mut said = String::new();
        while let Ok(Some(line)) = lines.next_line().await {
            let address = line
                .strip_prefix("embedded broker on ")
                .and_then(|rest| rest.split(',').next())
                .and_then(|address| address.parse().ok());
            if let Some(address) = address {
                // It must be able to go on writing.
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                return Ok((child, address));
            }
            said = line;
        }
        bail!("the embedded broker did not start: {said}")
    }

    async fn restart(&mut self) -> Result<()> {
        let begun = Instant::now();
        loop {
            match Self::spawn(&self.directory, self.address).await {
                Ok((child, _)) => {
                    self.child = child;
                    return Ok(());
                }
                // Connections of the last one may hold the port for a moment.
                Err(error) if begun.elapsed() > PATIENCE => return Err(error),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    async fn signal(&self, name: &str) -> Result<()> {
        let pid = self.child.id().context("the embedded broker is not running")?;
        process::signal(pid, name).await
    }
}
