//! A scenario: a workload, and what is broken when. Each is a file under `scenarios/`.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use evenkeel::failpoint::Point;
use serde::{Deserialize, Serialize};

use super::scenarios::SCENARIOS;

/// A fault scenario as its file says it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scenario {
    /// The file's name without its end.
    #[serde(skip)]
    pub(super) name: String,
    /// What holds all through it, in one sentence.
    pub(super) promise: String,
    /// Where it can be played.
    #[serde(default = "Place::all")]
    pub(super) places: Vec<Place>,
    #[serde(default)]
    pub(super) workload: Workload,
    /// In the order of their times.
    #[serde(default, rename = "act")]
    pub(super) acts: Vec<Act>,
}

/// What a scenario is played on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Place {
    /// The embedded broker in a process of its own.
    Embedded,
    /// A running cluster.
    Cluster,
    /// The embedded broker, by processes that share a standby store and all keys.
    Shared,
}

impl Place {
    fn all() -> Vec<Self> {
        vec![Self::Embedded, Self::Cluster, Self::Shared]
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Cluster => "cluster",
            Self::Shared => "shared",
        }
    }
}

/// What is published meanwhile.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Workload {
    /// Processes, each with keys of its own.
    pub(super) publishers: u64,
    /// `evenkeel worker` beside them, so often.
    pub(super) workers: usize,
    /// Events a second, of all processes together.
    pub(super) rate: u64,
    /// Seconds of publishing.
    pub(super) seconds: f64,
    /// Keys of each process.
    pub(super) keys: u64,
    /// Bytes of an event's data, about.
    pub(super) bytes: usize,
    /// Partitions of the topic.
    pub(super) partitions: i32,
    /// Copies of the topic; -1 takes three where the cluster has three nodes.
    pub(super) replication: i16,
    /// Every so manieth event violates its contract; 0 for none.
    pub(super) wrong_every: u64,
    /// Every so manieth event is larger than the topic takes; 0 for none.
    pub(super) oversize_every: u64,
    /// Most bytes of the standby store; 0 for the default.
    pub(super) standby_bytes_max: u64,
    /// Points at which processes end, drawn by the seed at each start of one.
    pub(super) failpoints: Vec<String>,
    /// Seconds between kills of a random process by SIGKILL, about; 0 for none.
    pub(super) kill_every: f64,
    /// Settings of the topic.
    pub(super) settings: std::collections::BTreeMap<String, String>,
    /// Seconds after which the embedded broker forgets a producer that writes nothing; 0 for a day. It is broken from within.
    pub(super) producer_expiry: f64,
    /// The broker can lose what it acknowledged before some act of this scenario, what was parked and sent on among it: such
    /// losses are counted apart.
    pub(super) broker_may_lose: bool,
    /// The standby store can refuse in this scenario: refusals are counted, and none of those events may land.
    pub(super) may_refuse: bool,
    /// The broker can forget in this scenario: doubles are allowed when they are marked.
    pub(super) may_mark: bool,
}

impl Default for Workload {
    fn default() -> Self {
        Self {
            publishers: 2,
            workers: 0,
            rate: 1_000,
            seconds: 12.0,
            keys: 50,
            bytes: 200,
            partitions: 6,
            replication: -1,
            wrong_every: 0,
            oversize_every: 0,
            standby_bytes_max: 0,
            failpoints: Vec::new(),
            kill_every: 0.0,
            settings: std::collections::BTreeMap::new(),
            producer_expiry: 0.0,
            broker_may_lose: false,
            may_refuse: false,
            may_mark: false,
        }
    }
}

/// Something that is done to the system at a time.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Act {
    /// Seconds since the start.
    pub(super) at: f64,
    /// Done again after so many seconds, up to `until`.
    #[serde(default)]
    every: f64,
    #[serde(default)]
    until: f64,
    /// The part of the run that begins here: figures are given by part.
    pub(super) phase: Option<Phase>,
    #[serde(rename = "do")]
    pub(super) what: Doing,
}

/// A part of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Phase {
    /// Nothing was broken so far.
    Before,
    /// Something is broken.
    During,
    /// Nothing is broken any more.
    After,
}

/// What can be done to the system.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Doing {
    /// Closes every connection to Kafka and refuses new ones.
    Cut,
    /// Takes connections and passes nothing on, as half-open ones; what is held passes after `restore`.
    Hang,
    /// Holds every request and answer back for so many milliseconds each way.
    Delay(u64),
    /// Lets so many produce requests through and swallows their answers.
    DropAnswers(usize),
    /// Ends the network's faults.
    Restore,
    /// kill -9.
    KillNode(Nodes),
    /// SIGSTOP.
    PauseNode(Nodes),
    /// Starts every node that was killed.
    StartNodes,
    /// Starts those that were killed before the last one was.
    StartEarlierNodes,
    /// Lets every node go on that was paused.
    ResumeNodes,
    /// kill -9 of every publisher; each is started again.
    KillPublishers,
    /// SIGSTOP of every publisher, as a machine that sleeps.
    PausePublishers,
    /// Lets them go on.
    ResumePublishers,
    /// kill -9 of one worker, in turn; it is started again.
    KillWorker,
    /// Waits until nothing is parked in the store that is shared.
    AwaitDrained,
    /// No file of a publisher can grow any more, as on a full disk.
    FillDisk,
    /// Files can grow again.
    FreeDisk,
    /// The wall clocks of publishers are ahead by so many seconds; behind, when negative.
    SetClock(i64),
    /// Each sync of the standby stores, or each call of the server that keeps a shared one, takes so many milliseconds longer.
    SlowStandby(u64),
    /// Nothing can be read from the disk under the standby stores, or written to it; of a server no answer comes back.
    LoseStandby,
    /// The server of a shared standby store refuses so many of a hundred calls.
    ThrottleStandby(u32),
    /// What the standby stores lie on works as it should.
    MendStandby,
    /// Limits what clients may write, by the command `limit` of the control file.
    Limit,
    /// Ends that, by `unlimit`.
    Unlimit,
    /// Takes the publishers' credentials or rights away, by the command `revoke` of the control file.
    Revoke,
    /// Gives them back, by `grant`.
    Grant,
    /// Changes a setting of the topic; an empty value takes its default.
    SetTopic(String, String),
    /// Raises the count of the topic's partitions.
    AddPartitions(i32),
    /// Deletes the topic and creates it again.
    RecreateTopic,
    /// The embedded broker answers everything that is produced to the topic with this error code, and does not append it.
    AnswerWith(i16),
    /// The embedded broker asks for so many milliseconds of patience with each answer to what is produced to the topic.
    Throttle(u64),
    /// The embedded broker takes the leader from this partition.
    TakeLeader(i32),
    /// The embedded broker has too few replicas in sync for the topic.
    TakeReplicas,
    /// The embedded broker forgets every producer of the topic.
    ForgetProducers,
    /// The embedded broker's disk is full.
    FillBrokersDisk,
    /// The embedded broker's disk takes so many milliseconds longer.
    SlowBrokersDisk(u64),
    /// Ends what is broken in the embedded broker.
    MendBroker,
    /// Stops the registry.
    StopRegistry,
    /// Starts it again.
    StartRegistry,
    /// Nothing: a phase begins.
    Nothing,
}

impl Doing {
    /// True when what Kafka took before may be gone after it.
    pub(super) const fn loses_data(&self) -> bool {
        matches!(self, Self::RecreateTopic | Self::StartEarlierNodes)
    }

    /// True when it is done by a command of the control file that kills or pauses no node.
    pub(super) const fn is_measure(&self) -> bool {
        matches!(self, Self::Limit | Self::Unlimit | Self::Revoke | Self::Grant)
    }

    /// True when workers are needed for it.
    const fn is_of_workers(&self) -> bool {
        matches!(self, Self::KillWorker | Self::AwaitDrained)
    }

    /// True when it is done to the embedded broker from within.
    pub(super) const fn is_within(&self) -> bool {
        matches!(
            self,
            Self::AnswerWith(_)
                | Self::Throttle(_)
                | Self::TakeLeader(_)
                | Self::TakeReplicas
                | Self::ForgetProducers
                | Self::FillBrokersDisk
                | Self::SlowBrokersDisk(_)
                | Self::MendBroker
        )
    }
}

/// Nodes of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Nodes {
    /// The leader of the topic's first partition.
    Leader,
    /// All but that.
    Followers,
    /// One that holds another copy of the topic's first partition.
    Copy,
    /// All.
    All,
}

impl Scenario {
    /// The scenario of this name, or of this file.
    pub(super) fn find(wanted: &str) -> Result<Self> {
        if let Some((name, text)) = SCENARIOS.iter().find(|(name, _)| *name == wanted) {
            return Self::parse(name, text);
        }
        let path = Path::new(wanted);
        if path.extension().is_some_and(|end| end == "toml") {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("the scenario {wanted} cannot be read"))?;
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            return Self::parse(&name, &text);
        }
        let names: Vec<&str> = SCENARIOS.iter().map(|(name, _)| *name).collect();
        bail!(
            "there is no scenario \"{wanted}\"; there are {}, or give a file that ends with .toml",
            names.join(", ")
        )
    }

    /// All that the program has.
    pub(super) fn all() -> Result<Vec<Self>> {
        SCENARIOS
            .iter()
            .map(|(name, text)| Self::parse(name, text))
            .collect()
    }

    fn parse(name: &str, text: &str) -> Result<Self> {
        let mut scenario: Self =
            toml::from_str(text).with_context(|| format!("the scenario {name} is not understood"))?;
        name.clone_into(&mut scenario.name);
        scenario
            .check()
            .with_context(|| format!("the scenario {name} cannot be played"))?;
        scenario.acts = scenario.acts.iter().flat_map(Act::repeated).collect();
        scenario.acts.sort_by(|one, other| one.at.total_cmp(&other.at));
        Ok(scenario)
    }

    fn check(&self) -> Result<()> {
        self.workload.check()?;
        if self.breaks_within() && self.needs_control() {
            bail!("the embedded broker is either killed or broken from within, not both");
        }
        if self.breaks_within() && self.places.contains(&Place::Cluster) {
            bail!(
                "only the embedded broker can be broken from within: places must be [\"embedded\", \"shared\"]"
            );
        }
        if self.measures().next().is_some() && self.places != [Place::Cluster] {
            bail!("only a cluster has quotas and credentials: places must be [\"cluster\"]");
        }
        let has_workers = self.workload.workers > 0;
        if (has_workers || self.acts.iter().any(|act| act.what.is_of_workers()))
            && !(has_workers && self.places == [Place::Shared])
        {
            bail!("workers drain a store that is shared: workers must be 1 or more, and places [\"shared\"]");
        }
        for act in &self.acts {
            if !(act.at.is_finite() && act.at >= 0.0 && act.every.is_finite() && act.every >= 0.0) {
                bail!("an act's times are seconds from 0 on");
            }
            if act.every > 0.0 && act.until < act.at {
                bail!("an act that is repeated needs `until`, not before `at`");
            }
        }
        Ok(())
    }

    /// Multiplies every time.
    pub(super) fn stretch(&mut self, factor: f64) {
        self.workload.seconds *= factor;
        for act in &mut self.acts {
            act.at *= factor;
        }
    }

    /// True when it breaks the embedded broker from within.
    pub(super) fn breaks_within(&self) -> bool {
        self.workload.producer_expiry > 0.0 || self.acts.iter().any(|act| act.what.is_within())
    }

    /// True when it does something to nodes of the cluster.
    pub(super) fn needs_control(&self) -> bool {
        let is_node = |act: &Act| {
            matches!(
                act.what,
                Doing::KillNode(_)
                    | Doing::PauseNode(_)
                    | Doing::StartNodes
                    | Doing::StartEarlierNodes
                    | Doing::ResumeNodes
            )
        };
        self.acts.iter().any(is_node) || self.measures().next().is_some()
    }

    /// What of it is done by commands that only a cluster has.
    pub(super) fn measures(&self) -> impl Iterator<Item = &Doing> {
        self.acts
            .iter()
            .map(|act| &act.what)
            .filter(|what| what.is_measure())
    }

    /// True when it breaks the network between publishers and Kafka.
    pub(super) fn breaks_network(&self) -> bool {
        let is_network = |act: &Act| {
            matches!(
                act.what,
                Doing::Cut | Doing::Hang | Doing::Delay(_) | Doing::DropAnswers(_)
            )
        };
        self.acts.iter().any(is_network)
    }
}

impl Act {
    fn repeated(&self) -> Vec<Self> {
        let mut all = vec![self.clone()];
        let mut at = self.at + self.every;
        while self.every > 0.0 && at <= self.until {
            all.push(Self {
                at,
                phase: None,
                ..self.clone()
            });
            at += self.every;
        }
        all
    }
}

impl Workload {
    /// # Errors
    /// With the setting that makes no sense.
    pub(super) fn check(&self) -> Result<()> {
        let within = |name: &str, value: u64, low: u64, high: u64| match value {
            value if (low..=high).contains(&value) => Ok(()),
            value => Err(anyhow!("{name} is {value}; it must be {low} to {high}")),
        };
        within("publishers", self.publishers, 1, 64)?;
        within("workers", self.workers as u64, 0, 16)?;
        within("rate", self.rate, 1, 1_000_000)?;
        within("keys", self.keys, 1, 10_000_000)?;
        within("bytes", self.bytes as u64, 0, 512 << 10)?;
        within("partitions", self.partitions.try_into().unwrap_or(0), 1, 10_000)?;
        if !(self.seconds > 0.0 && self.seconds <= 86_400.0) {
            bail!(
                "seconds is {}; it must be more than 0, at most 86400",
                self.seconds
            );
        }
        for (name, seconds) in [
            ("kill_every", self.kill_every),
            ("producer_expiry", self.producer_expiry),
        ] {
            if !(0.0..=86_400.0).contains(&seconds) {
                bail!("{name} is {seconds}; it must be 0 to 86400");
            }
        }
        self.points().map(drop)
    }

    /// The points at which processes end.
    pub(super) fn points(&self) -> Result<Vec<Point>> {
        let parsed = self.failpoints.iter().map(|name| name.parse::<Point>());
        parsed
            .collect::<Result<_, String>>()
            .map_err(|error| anyhow!(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_of_the_program_can_be_played() {
        for scenario in Scenario::all().unwrap() {
            assert!(scenario.promise.ends_with('.'), "{}", scenario.name);
            assert!(!scenario.places.is_empty(), "{}", scenario.name);
            let last = scenario.acts.last().map_or(0.0, |act| act.at);
            assert!(
                last <= scenario.workload.seconds,
                "{}: an act comes after the end",
                scenario.name
            );
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        for (text, expected) in [
            ("promise = 'P.'\n[workload]\nrate = 0", "rate is 0"),
            (
                "promise = 'P.'\n[workload]\nfailpoints = ['x']",
                "\"x\" is no point",
            ),
            (
                "promise = 'P.'\n[[act]]\nat = -1\ndo = 'cut'",
                "seconds from 0 on",
            ),
            ("promise = 'P.'\n[[act]]\nat = 1\ndo = 'explode'", "explode"),
            ("promise = 'P.'\nspeed = 1", "speed"),
            ("promise = 'P.'\n[workload]\nworkers = 1", "places [\"shared\"]"),
            (
                "promise = 'P.'\n[workload]\nproducer_expiry = 1",
                "places must be [\"embedded\", \"shared\"]",
            ),
            (
                "promise = 'P.'\nplaces = ['shared']\n[[act]]\nat = 1\ndo = 'kill-worker'",
                "workers must be 1",
            ),
        ] {
            let said = format!("{:#}", Scenario::parse("test", text).unwrap_err());
            assert!(said.contains(expected), "{said}");
        }
    }

    #[test]
    fn repeated_acts_are_spread() {
        let text = "promise = 'P.'\n[[act]]\nat = 2\nevery = 2\nuntil = 6\ndo = 'cut'\n\
                    [[act]]\nat = 3\nevery = 2\nuntil = 7\ndo = 'restore'";
        let scenario = Scenario::parse("test", text).unwrap();
        let times: Vec<f64> = scenario.acts.iter().map(|act| act.at).collect();
        assert_eq!(times, [2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
    }
}
