//! Schemas on disk: one file each, replaced as a whole.

use std::path::Path;

use evenkeel_schema::SchemaId;

use super::registry::Registered;
use crate::config::Version;

/// The name of a file for a subject's version. Subjects may hold any characters, files may not.
pub(super) fn by_subject(subject: &str, version: &Version) -> String {
    let version = match version {
        Version::Latest => "latest".to_owned(),
        Version::Number(number) => number.to_string(),
        Version::Text(text) => format!("text-{:08x}", checksum(text)),
    };
    let plain: String = subject
        .chars()
        .map(|character| match character {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '_' | '-' => character,
            _ => '_',
        })
        .take(150)
        .collect();
    format!("{plain}-{:08x}-{version}.json", checksum(subject))
}

pub(super) fn by_id(id: SchemaId) -> String {
    format!("id-{id}.json")
}

/// FNV-1a: it only keeps names apart.
fn checksum(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

pub(super) fn read(directory: &Path, name: &str) -> Option<Registered> {
    let bytes = std::fs::read(directory.join(name)).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Keeps a schema. Failing at it costs only a fetch later.
pub(super) fn write(directory: &Path, name: &str, registered: &Registered) {
    let written = serde_json::to_vec(registered)
        .map_err(std::io::Error::from)
        .and_then(|bytes| {
            // Processes that share a standby store may share a directory, and do so at the same time.
            let draft = directory.join(format!("{name}.{}.tmp", std::process::id()));
            std::fs::write(&draft, bytes)?;
            std::fs::rename(draft, directory.join(name))
        });
    if let Err(error) = written {
        tracing::warn!(name, %error, "a schema cannot be kept on disk");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_files_and_tell_subjects_apart() {
        let name = |subject: &str| by_subject(subject, &Version::Latest);
        assert_ne!(name("a/b"), name("a_b"));
        assert!(!name("../../x").contains('/'));
        assert!(name(&"x".repeat(500)).len() < 200);
    }
}
