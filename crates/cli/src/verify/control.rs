//! How nodes of a cluster are killed, paused, and started again: by commands that a file names.
//!
//! ```toml
//! kill = "docker kill kafka-{node}"
//! start = "docker start kafka-{node}"
//! pause = "docker pause kafka-{node}"
//! resume = "docker unpause kafka-{node}"
//! ```

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use tokio::process::Command;

use super::process;

/// The commands, in which `{node}` stands for the node's id. Each is run by `sh -c`, and has done its work when it ends.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Commands {
    kill: String,
    start: String,
    pause: String,
    resume: String,
}

/// The nodes of a cluster, and what was done to them.
#[derive(Debug)]
pub(super) struct Control {
    commands: Commands,
    killed: BTreeSet<i32>,
    paused: BTreeSet<i32>,
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
            killed: BTreeSet::new(),
            paused: BTreeSet::new(),
        })
    }

    pub(super) async fn kill(&mut self, nodes: &[i32]) -> Result<()> {
        for node in nodes {
            command(&self.commands.kill, *node).await?;
            self.killed.insert(*node);
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
}
