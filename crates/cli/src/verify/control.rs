//! How nodes of a cluster are killed, paused, and started again: by commands that a file names.
//!
//! ```toml
//! kill = "docker kill kafka-{node}"
//! start = "docker start kafka-{node}"
//! pause = "docker pause kafka-{node}"
//! resume = "docker unpause kafka-{node}"
//! # Only for the scenarios that need them:
//! limit = "kafka-configs ... --alter --entity-type clients --entity-default --add-config producer_byte_rate=20000"
//! unlimit = "kafka-configs ... --alter --entity-type clients --entity-default --delete-config producer_byte_rate"
//! revoke = "kafka-configs ... --alter --entity-type users --entity-name shop --delete-config SCRAM-SHA-512"
//! grant = "kafka-configs ... --alter --entity-type users --entity-name shop --add-config SCRAM-SHA-512=[password=...]"
//! ```

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use tokio::process::Command;

use super::process;
use super::scenario::Doing;

/// The commands, in which `{node}` stands for the node's id. Each is run by `sh -c`, and has done its work when it ends.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Commands {
    kill: String,
    start: String,
    pause: String,
    resume: String,
    limit: Option<String>,
    unlimit: Option<String>,
    revoke: Option<String>,
    grant: Option<String>,
}

/// The nodes of a cluster, and what was done to them.
#[derive(Debug)]
pub(super) struct Control {
    commands: Commands,
    /// In the order in which they were killed.
    killed: Vec<i32>,
    paused: BTreeSet<i32>,
    is_limited: bool,
    is_revoked: bool,
}

impl Control {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let shown = path.display();
        let text = std::fs::read_to_string(path).with_context(|| format!("{shown} cannot be read"))?;
        let commands: Commands = toml::from_str(&text).with_context(|| {
            format!(
                "{shown} must hold four commands: kill, start, pause, resume, with {{node}} for the node's id"
            )
        })?;
        for command in [&commands.kill, &commands.start, &commands.pause, &commands.resume] {
            if !command.contains("{node}") {
                bail!(
                    "{shown}: the command \"{command}\" does not say where the node's id belongs: {{node}}"
                );
            }
        }
        Ok(Self {
            commands,
            killed: Vec::new(),
            paused: BTreeSet::new(),
            is_limited: false,
            is_revoked: false,
        })
    }

    pub(super) async fn kill(&mut self, nodes: &[i32]) -> Result<()> {
        for node in nodes {
            command(&self.commands.kill, *node).await?;
            self.killed.push(*node);
        }
        Ok(())
    }

    pub(super) async fn pause(&mut self, nodes: &[i32]) -> Result<()> {
        for node in nodes {
            command(&self.commands.pause, *node).await?;
            self.paused.insert(*node);
        }
        Ok(())
    }

    /// Starts every node that was killed: all at once, because some need each other to come up.
    pub(super) async fn start(&mut self) -> Result<()> {
        let killed = std::mem::take(&mut self.killed);
        let starts = killed.iter().map(|node| command(&self.commands.start, *node));
        futures_util::future::try_join_all(starts).await.map(drop)
    }

    /// Starts every node that was killed before the last one.
    pub(super) async fn start_earlier(&mut self) -> Result<()> {
        let last = self.killed.pop();
        let started = self.start().await;
        self.killed.extend(last);
        started
    }

    /// The command for a measure.
    ///
    /// # Errors
    /// When the file does not name it.
    pub(super) fn measure(&self, what: &Doing) -> Result<&str> {
        let (name, command) = match what {
            Doing::Limit => ("limit", &self.commands.limit),
            Doing::Unlimit => ("unlimit", &self.commands.unlimit),
            Doing::Revoke => ("revoke", &self.commands.revoke),
            Doing::Grant => ("grant", &self.commands.grant),
            other => bail!("{other:?} is done by no command of its own"),
        };
        let missing = || format!("the control file names no command `{name}`, which the scenario needs");
        command.as_deref().with_context(missing)
    }

    pub(super) async fn take(&mut self, what: &Doing) -> Result<()> {
        let command = self.measure(what)?;
        process::run(Command::new("sh").args(["-c", command])).await?;
        match what {
            Doing::Limit | Doing::Unlimit => self.is_limited = *what == Doing::Limit,
            _ => self.is_revoked = *what == Doing::Revoke,
        }
        Ok(())
    }

    /// Ends everything that was done.
    pub(super) async fn mend(&mut self) -> Result<()> {
        self.resume().await?;
        self.start().await?;
        if self.is_limited {
            self.take(&Doing::Unlimit).await?;
        }
        if self.is_revoked {
            self.take(&Doing::Grant).await?;
        }
        Ok(())
    }

    /// Lets every node go on that was paused.
    pub(super) async fn resume(&mut self) -> Result<()> {
        for node in std::mem::take(&mut self.paused) {
            command(&self.commands.resume, node).await?;
        }
        Ok(())
    }
}

async fn command(template: &str, node: i32) -> Result<()> {
    let text = template.replace("{node}", &node.to_string());
    process::run(Command::new("sh").args(["-c", &text])).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_does_not_say_how_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.toml");
        for (text, expected) in [
            ("kill = 'x {node}'", "must hold four commands"),
            (
                "kill = 'x'\nstart = 'x {node}'\npause = 'x {node}'\nresume = 'x {node}'",
                "\"x\" does not say",
            ),
        ] {
            std::fs::write(&path, text).unwrap();
            let said = format!("{:#}", Control::read(&path).unwrap_err());
            assert!(said.contains(expected), "{said}");
        }
    }

    #[tokio::test]
    async fn what_was_done_is_ended_and_nodes_are_started_in_the_order_that_is_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        let (path, log) = (
            directory.path().join("control.toml"),
            directory.path().join("log"),
        );
        let say = |word: &str| format!("echo {word} >> {}", log.display());
        let lines = ["kill", "start", "pause", "resume"].map(|name| {
            let command = say(&format!("{name}-{{node}}"));
            format!("{name} = '{command}'")
        });
        let limits = ["limit", "unlimit"].map(|name| format!("{name} = '{}'", say(name)));
        std::fs::write(&path, [lines.as_slice(), limits.as_slice()].concat().join("\n")).unwrap();
        let mut control = Control::read(&path).unwrap();
        let missing = control.take(&Doing::Revoke).await.unwrap_err().to_string();
        assert!(missing.contains("names no command `revoke`"), "{missing}");
        control.take(&Doing::Limit).await.unwrap();
        control.kill(&[2]).await.unwrap();
        control.kill(&[1]).await.unwrap();
        control.start_earlier().await.unwrap();
        control.mend().await.unwrap();
        let said = std::fs::read_to_string(log).unwrap();
        assert_eq!(
            said.lines().collect::<Vec<_>>(),
            ["limit", "kill-2", "kill-1", "start-2", "start-1", "unlimit"]
        );
    }
}
