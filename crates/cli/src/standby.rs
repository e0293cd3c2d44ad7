//! The standby stores of the applications that keep their data on this machine.

use std::path::PathBuf;

use anyhow::{Result, bail};
use evenkeel_worker::applications::{self, Application};

use crate::config::Settings;

/// One directory an application.
pub(crate) fn directory(settings: &Settings) -> PathBuf {
    settings.data.directory.join("applications")
}

/// The applications with a standby store, by name.
pub(crate) fn applications(settings: &Settings) -> Result<Vec<Application>> {
    applications::applications(&directory(settings))
}

/// The application `name`, or the one of the settings; an error names those that there are.
pub(crate) fn application(settings: &Settings, name: Option<String>) -> Result<Application> {
    let name = name.unwrap_or_else(|| settings.publish.application.clone());
    let all = applications(settings)?;
    if let Some(found) = all.iter().find(|application| application.name == name) {
        return Ok(found.clone());
    }
    let known: Vec<&str> = all.iter().map(|application| application.name.as_str()).collect();
    let known = match known.as_slice() {
        [] => "none".to_owned(),
        known => known.join(", "),
    };
    if !settings.standby.url.reveal().is_empty() {
        bail!(
            "{name} has no standby store under {} (data.directory; applications that have one: {known}), and the store of \
             standby.url is looked into for publish.application alone, which is {}: set EVENKEEL_PUBLISH__APPLICATION={name} to \
             look there",
            directory(settings).display(),
            settings.publish.application
        )
    }
    bail!(
        "{name} has no standby store under {} (data.directory); applications that have one: {known}",
        directory(settings).display()
    )
}
