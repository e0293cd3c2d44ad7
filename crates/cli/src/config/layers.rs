//! Merges the layers: file over defaults, environment over file. Flags are applied by each command.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use toml::{Table, Value};

use super::Settings;
use super::check::check;

/// Every setting with its unit and meaning; also the source of the default values.
pub(crate) const DEFAULTS: &str = include_str!("defaults.toml");

const FILE: &str = "evenkeel.toml";
const ENVIRONMENT: &str = "EVENKEEL_";

/// Reads the settings. `file` is the one that the user named; without one `evenkeel.toml` is read where it exists.
pub(crate) fn load(
    file: Option<&Path>,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Settings> {
    let mut merged: Table = DEFAULTS
        .parse()
        .context("the built-in defaults are not valid TOML")?;
    let path = file.unwrap_or(Path::new(FILE));
    if file.is_some() || path.exists() {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("the configuration file {} cannot be read", path.display()))?;
        let given: Table = text
            .parse()
            .with_context(|| format!("the configuration file {} is not valid TOML", path.display()))?;
        overlay(&mut merged, given, "")
            .with_context(|| format!("the configuration file {}", path.display()))?;
    }
    for (name, value) in environment {
        if let Some(keys) = name.strip_prefix(ENVIRONMENT).filter(|keys| keys.contains("__")) {
            let keys: Vec<String> = keys.split("__").map(str::to_lowercase).collect();
            set(&mut merged, &keys, &value).with_context(|| format!("the environment variable {name}"))?;
        } else if let Some(meant) = meant(&merged, &name) {
            bail!("the environment variable {name} names no setting; did you mean {meant}?");
        }
    }
    let settings: Settings = Value::Table(merged)
        .try_into()
        .context("a setting has a value that cannot be used")?;
    check(&settings)?;
    Ok(settings)
}

/// The variable that is meant by one with too few underscores between a section and its key.
fn meant(settings: &Table, name: &str) -> Option<String> {
    let (section, key) = name.strip_prefix(ENVIRONMENT)?.split_once('_')?;
    let known = settings.get(&section.to_lowercase())?.as_table()?;
    let key = key.trim_start_matches('_');
    known
        .contains_key(&key.to_lowercase())
        .then(|| format!("{ENVIRONMENT}{section}__{key}"))
}

fn overlay(base: &mut Table, given: Table, path: &str) -> Result<()> {
    for (key, value) in given {
        let full = if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        let known: Vec<String> = base.keys().cloned().collect();
        let slot = base.get_mut(&key).ok_or_else(|| unknown(&full, &key, &known))?;
        match (slot, value) {
            (Value::Table(inner), Value::Table(value)) => overlay(inner, value, &full)?,
            (slot, value) if slot.same_type(&value) => *slot = value,
            (slot, value) => {
                bail!(
                    "sets {full} to {}; it is {}",
                    article(value.type_str()),
                    article(slot.type_str())
                )
            }
        }
    }
    Ok(())
}

fn article(noun: &str) -> String {
    let article = if noun.starts_with(['a', 'e', 'i', 'o', 'u']) {
        "an"
    } else {
        "a"
    };
    format!("{article} {noun}")
}

fn set(base: &mut Table, keys: &[String], text: &str) -> Result<()> {
    let Some((first, rest)) = keys.split_first() else {
        bail!("names no setting");
    };
    let known: Vec<String> = base.keys().cloned().collect();
    let slot = base.get_mut(first).ok_or_else(|| unknown(first, first, &known))?;
    if let (Value::Table(inner), false) = (&mut *slot, rest.is_empty()) {
        return set(inner, rest, text);
    }
    *slot = match slot {
        Value::String(_) => Value::String(text.to_owned()),
        Value::Integer(_) => Value::Integer(text.parse().map_err(|_| anyhow!("is not a whole number"))?),
        Value::Boolean(_) => Value::Boolean(text.parse().map_err(|_| anyhow!("is neither true nor false"))?),
        Value::Array(_) => Value::Array(
            text.split(',')
                .map(|part| Value::String(part.trim().to_owned()))
                .collect(),
        ),
        _ => bail!("names a section; add __KEY with one of its keys"),
    };
    Ok(())
}

fn unknown(full: &str, key: &str, known: &[String]) -> anyhow::Error {
    let nearest = known
        .iter()
        .min_by_key(|candidate| strsim::levenshtein(candidate, key));
    let hint = nearest
        .map(|name| format!("; did you mean \"{name}\"?"))
        .unwrap_or_default();
    anyhow!("sets \"{full}\", which is no setting{hint} (evenkeel config default lists them)")
}

#[cfg(test)]
mod tests {
    use super::super::Mechanism;
    use super::*;

    fn with(variables: &[(&str, &str)]) -> Result<Settings> {
        let missing = tempfile::tempdir()?;
        let empty = missing.path().join("empty.toml");
        std::fs::write(&empty, "")?;
        load(
            Some(&empty),
            variables
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        )
    }

    #[test]
    fn what_no_type_refuses_is_refused_without_showing_a_secret() {
        for (name, value, expected) in [
            ("REGISTRY__URL", "http://orders:hunter2@a:8081/", "registry.token"),
            ("REGISTRY__TOKEN", "hunter2", "registry.domain"),
            ("TOPICS__PARTITIONS", "0", "at least 1"),
            ("TOPICS__REPLICATION", "0", "-1"),
            ("KAFKA__BROKERS", "", "\"\", which is no HOST:PORT"),
            ("KAFKA__BROKERS", "a:1,b:99999", "\"b:99999\""),
            ("KAFKA__BROKERS", "localhost", "\"localhost\""),
            ("KAFKA__REQUEST_TIMEOUT_MS", "0", "request_timeout_ms"),
            ("KAFKA__TLS__CA_FILE", "ca.pem", "kafka.tls.enabled is false"),
            ("KAFKA__SASL__PASSWORD", "hunter2", "name the mechanism"),
            ("KAFKA__SASL__MECHANISM", "plain", "kafka.sasl.username"),
            ("KAFKA__SASL__MECHANISM", "oauthbearer", "token"),
            ("PUBLISH__APPLICATION", "", "publish.application"),
            ("PUBLISH__APPLICATION", "..", "publish.application"),
            ("PUBLISH__APPLICATION", "../../x", "holds '/'"),
            ("PUBLISH__PARK_AFTER_MS", "0", "park_after_ms"),
            ("PUBLISH__BUFFER_BYTES_MAX", "5", "buffer_bytes_max is 5"),
            ("STANDBY__BYTES_MAX", "5", "standby.bytes_max is 5"),
            ("STANDBY__URL", "mysql://orders:hunter2@db/orders", "postgres://"),
            ("STANDBY__WITHOUT_STORE", "hope", "`hope`"),
            ("DATA__DIRECTORY", "", "data.directory is empty"),
        ] {
            let name = format!("EVENKEEL_{name}");
            let error = format!("{:#}", with(&[(&name, value)]).expect_err(&name));
            assert!(error.contains(expected) && !error.contains("hunter2"), "{error}");
        }
        assert!(with(&[("EVENKEEL_REGISTRY__URL", "http://a:8081/@")]).is_ok());
        assert!(with(&[("EVENKEEL_KAFKA__BROKERS", "[::1]:9092")]).is_ok());
        let half = [
            ("EVENKEEL_KAFKA__TLS__ENABLED", "true"),
            ("EVENKEEL_KAFKA__TLS__KEY_FILE", "key.pem"),
        ];
        let error = with(&half).unwrap_err().to_string();
        assert!(error.contains("go together"), "{error}");
    }

    #[test]
    fn amazons_mechanism_needs_a_build_that_knows_it() {
        let loaded = with(&[("EVENKEEL_KAFKA__SASL__MECHANISM", "aws-msk-iam")]);
        if cfg!(feature = "aws") {
            assert_eq!(loaded.unwrap().kafka.sasl.mechanism, Mechanism::AwsMskIam);
        } else {
            let error = loaded.unwrap_err().to_string();
            assert!(error.contains("--features aws"), "{error}");
        }
    }

    fn file(text: &str) -> Result<Settings> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("evenkeel.toml");
        std::fs::write(&path, text)?;
        load(
            Some(&path),
            [("EVENKEEL_PUBLISH__APPLICATION".to_owned(), "from-env".to_owned())].into_iter(),
        )
    }

    #[test]
    fn the_environment_wins_over_the_file_and_the_file_over_defaults() {
        let settings = file("[publish]\napplication = \"from-file\"\npark_after_ms = 900\n").unwrap();
        assert_eq!(settings.publish.application, "from-env");
        assert_eq!(settings.publish.park_after_ms, 900);
        assert_eq!(settings.kafka.brokers, ["127.0.0.1:9092"]);
    }

    #[test]
    fn lists_and_nested_keys_come_from_the_environment() {
        let settings = with(&[
            ("EVENKEEL_KAFKA__BROKERS", "a:1, b:2"),
            ("EVENKEEL_KAFKA__TLS__ENABLED", "true"),
        ])
        .unwrap();
        assert_eq!(settings.kafka.brokers, ["a:1", "b:2"]);
        assert!(settings.kafka.tls.enabled);
    }

    #[test]
    fn wrong_keys_and_values_are_refused_by_name() {
        let check = |result: Result<Settings>, expected: &str| {
            let message = format!("{:#}", result.unwrap_err());
            assert!(message.contains(expected), "{message}");
        };
        check(file("[kafka]\nbroker = []\n"), "did you mean \"brokers\"");
        check(
            file("[publish]\npark_after_ms = \"soon\"\n"),
            "publish.park_after_ms to a string; it is an integer",
        );
        check(
            with(&[("EVENKEEL_PUBLISH__PARK_AFTER_MS", "soon")]),
            "is not a whole number",
        );
        check(
            with(&[("EVENKEEL_KAFKA__BROKRES", "x")]),
            "did you mean \"brokers\"",
        );
        check(
            with(&[("EVENKEEL_KAFKA_BROKERS", "x")]),
            "did you mean EVENKEEL_KAFKA__BROKERS",
        );
        assert!(
            with(&[("EVENKEEL_KAFKA_VERSION", "x")]).is_ok(),
            "it is nobody's setting"
        );
        check(
            load(Some(Path::new("/nowhere/x.toml")), std::iter::empty()),
            "/nowhere/x.toml cannot be read",
        );
    }

    #[test]
    fn secrets_are_not_printed() {
        let settings = with(&[
            ("EVENKEEL_KAFKA__SASL__MECHANISM", "plain"),
            ("EVENKEEL_KAFKA__SASL__USERNAME", "me"),
            ("EVENKEEL_KAFKA__SASL__PASSWORD", "hunter2"),
        ])
        .unwrap();
        assert!(!format!("{settings:?}").contains("hunter2"));
        assert!(!toml::to_string(&settings).unwrap().contains("hunter2"));
        assert_eq!(settings.kafka.sasl.password.reveal(), "hunter2");
    }
}
