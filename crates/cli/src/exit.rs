//! Exit codes: 0 fine, 1 error, 2 usage (as clap's own), 100 findings.

use std::process::ExitCode;

use crate::output::say;

/// How a command that did its work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing to report.
    Fine,
    /// The command looked for something wrong and found it.
    Findings,
}

/// A command was asked for what it does not take; says what it takes.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

/// The error as one about the command's usage.
pub(crate) fn usage(error: impl Into<anyhow::Error>) -> anyhow::Error {
    Usage(sentence(&error.into())).into()
}

/// Prints an error as one sentence and gives the code.
pub(crate) fn code(result: anyhow::Result<Outcome>) -> ExitCode {
    match result {
        Ok(Outcome::Fine) => ExitCode::SUCCESS,
        Ok(Outcome::Findings) => ExitCode::from(100),
        Err(error) => {
            say!("error: {}", sentence(&error));
            match error.is::<Usage>() {
                true => ExitCode::from(2),
                false => ExitCode::FAILURE,
            }
        }
    }
}

/// The error and its causes, but for those that the text before them says already.
fn sentence(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_said_once() {
        let cause = std::io::Error::other("no room");
        let error = anyhow::Error::new(cause)
            .context("cannot write: no room")
            .context("it failed");
        assert_eq!(sentence(&error), "it failed: cannot write: no room");
        let plain = anyhow::anyhow!("no room").context("it failed");
        assert_eq!(sentence(&plain), "it failed: no room");
    }
}
