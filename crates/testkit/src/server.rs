use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use serde::de::DeserializeOwned;

use crate::tools::{runs, script};

/// A server that one of the repository's scripts started in the foreground, with what the script said of it. It ends when
/// this value is dropped, or when the process that holds it ends in whatever way.
#[derive(Debug)]
pub(crate) struct Server<Described> {
    pub(crate) described: Described,
    name: &'static str,
    /// The watcher ends the server when this pipe is closed.
    pipe: Option<ChildStdin>,
    watcher: Child,
}

impl<Described: DeserializeOwned> Server<Described> {
    /// Runs `scripts/{folder}/start` with these arguments and returns when the server `name` answers.
    ///
    /// # Panics
    /// When it does not start; the script says why.
    pub(crate) fn start(name: &'static str, folder: &str, arguments: &[String]) -> Self {
        let mut command = Command::new(script(&format!("{folder}/start")));
        // A Ctrl-C ends the test process; the watcher must outlive it to clean up.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut watcher = command
            .arg("--foreground")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("scripts/{folder}/start does not run: {error}"));
        let pipe = watcher.stdin.take();
        let mut line = String::new();
        BufReader::new(watcher.stdout.take().expect("stdout is piped"))
            .read_line(&mut line)
            .expect("the script prints one line");
        let described = serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("{name} did not start, its complaint is above: {error}"));
        Self {
            described,
            name,
            pipe,
            watcher,
        }
    }
}

impl<Described> Server<Described> {
    /// Runs a script on the server's folder, which is its last argument.
    pub(crate) fn run(&self, script_name: &str, arguments: &[&str], folder: &Path) {
        let status = Command::new(script(script_name))
            .args(arguments)
            .arg(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .unwrap_or_else(|error| panic!("the scripts of {} do not run: {error}", self.name));
        assert!(status.success(), "scripts/{script_name} {arguments:?} failed");
    }
}

impl<Described> Drop for Server<Described> {
    fn drop(&mut self) {
        drop(self.pipe.take());
        // The server is gone when the watcher is; that it ended badly changes nothing here.
        drop(self.watcher.wait());
    }
}

/// The first of these programs that does not run here with its argument.
pub(crate) fn lacking(programs: &[(&str, &str)]) -> Option<String> {
    let (missing, _) = programs
        .iter()
        .find(|(program, argument)| !runs(program, argument))?;
    Some(format!("{missing} is not installed"))
}
