//! The settings: environment variables by the names that `evenkeel` has for them.

use std::collections::BTreeMap;
use std::str::FromStr;

use anyhow::{Context as _, Result, anyhow, bail};
use evenkeel_broker::Secret;
use evenkeel_broker::config::{Kafka, Mechanism, Sasl, Tls};
use evenkeel_event::TopicName;

const PREFIX: &str = "EVENKEEL_";
const APPLICATION: &str = "EVENKEEL_PUBLISH__APPLICATION";
const BROKERS: &str = "EVENKEEL_KAFKA__BROKERS";
const CLIENT_ID: &str = "EVENKEEL_KAFKA__CLIENT_ID";
const REQUEST_TIMEOUT_MS: &str = "EVENKEEL_KAFKA__REQUEST_TIMEOUT_MS";
const TLS_ENABLED: &str = "EVENKEEL_KAFKA__TLS__ENABLED";
const TLS_CA: &str = "EVENKEEL_KAFKA__TLS__CA_FILE";
const TLS_CERTIFICATE: &str = "EVENKEEL_KAFKA__TLS__CERTIFICATE_FILE";
const TLS_KEY: &str = "EVENKEEL_KAFKA__TLS__KEY_FILE";
const MECHANISM: &str = "EVENKEEL_KAFKA__SASL__MECHANISM";
const USERNAME: &str = "EVENKEEL_KAFKA__SASL__USERNAME";
const PASSWORD: &str = "EVENKEEL_KAFKA__SASL__PASSWORD";
const STORE: &str = "EVENKEEL_STANDBY__URL";
const LOG: &str = "EVENKEEL_LOG";

/// Every variable that is read; any other of the prefix is refused.
const KNOWN: [&str; 13] = [
    APPLICATION,
    BROKERS,
    CLIENT_ID,
    REQUEST_TIMEOUT_MS,
    TLS_ENABLED,
    TLS_CA,
    TLS_CERTIFICATE,
    TLS_KEY,
    MECHANISM,
    USERNAME,
    PASSWORD,
    STORE,
    LOG,
];

/// What the function is told.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Whose parked events are sent on.
    pub(crate) application: String,
    /// Where they are.
    pub(crate) store: Secret,
    /// Where they go.
    pub(crate) kafka: Kafka,
}

impl Settings {
    /// Reads them. Of variables that are not Evenkeel's nothing is taken.
    ///
    /// # Errors
    /// Names the variable that is missing, not known or cannot be meant, and never a secret.
    pub(crate) fn read(environment: impl Iterator<Item = (String, String)>) -> Result<Self> {
        let variables = Variables::of(environment)?;
        let application =
            variables.needed(APPLICATION, "the name of the application whose events are parked")?;
        TopicName::publish_letters(&application)
            .with_context(|| format!("{APPLICATION} also names a dead-letter topic"))?;
        let store = variables.needed(
            STORE,
            "where its processes park: postgres://USER:PASSWORD@HOST/DATABASE or dynamodb:TABLE",
        )?;
        let is_known = ["postgres://", "postgresql://", "dynamodb:"];
        if !is_known.iter().any(|start| store.starts_with(start)) {
            bail!(
                "{STORE} begins with neither postgres:// nor dynamodb:: only a store that processes share outlives them"
            );
        }
        if store.starts_with("dynamodb:") && !cfg!(feature = "aws") {
            bail!(
                "{STORE} names a table of DynamoDB, which this build does not know: build evenkeel-lambda with --features aws"
            );
        }
        Ok(Self {
            application,
            store: Secret::new(store),
            kafka: kafka(&variables)?,
        })
    }
}

fn kafka(variables: &Variables) -> Result<Kafka> {
    let mut kafka = Kafka {
        brokers: brokers(variables)?,
        ..Kafka::default()
    };
    if let Some(client_id) = variables.text(CLIENT_ID) {
        client_id.clone_into(&mut kafka.client_id);
    }
    if let Some(timeout) =
        variables.parsed(REQUEST_TIMEOUT_MS, "a whole number of milliseconds, 1 or more")?
    {
        kafka.request_timeout_ms = std::num::NonZeroU64::get(timeout);
    }
    kafka.tls = tls(variables)?;
    sasl(variables, &mut kafka)?;
    Ok(kafka)
}

fn brokers(variables: &Variables) -> Result<Vec<String>> {
    let all = variables.needed(
        BROKERS,
        "HOST:PORT of one of the cluster's brokers at least, by commas",
    )?;
    let all: Vec<String> = all.split(',').map(|one| one.trim().to_owned()).collect();
    for address in &all {
        let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty());
        let port = port.and_then(|(_, port)| port.parse::<u16>().ok());
        if port.is_none_or(|port| port == 0) {
            bail!("{BROKERS} holds \"{address}\", which is no HOST:PORT with a port from 1 to 65535");
        }
    }
    Ok(all)
}

fn tls(variables: &Variables) -> Result<Option<Tls>> {
    let is_enabled = variables.parsed(TLS_ENABLED, "true or false")?.unwrap_or(false);
    let file = |name| variables.text(name).map(Into::into);
    let tls = Tls {
        ca_file: file(TLS_CA),
        cert_file: file(TLS_CERTIFICATE),
        key_file: file(TLS_KEY),
    };
    if !is_enabled {
        let set = [TLS_CA, TLS_CERTIFICATE, TLS_KEY]
            .into_iter()
            .find(|name| variables.text(name).is_some());
        if let Some(name) = set {
            bail!("{name} is set, but {TLS_ENABLED} is not true, so that connections would not be encrypted");
        }
        return Ok(None);
    }
    if tls.cert_file.is_some() != tls.key_file.is_some() {
        bail!("{TLS_CERTIFICATE} and {TLS_KEY} go together: set both or none");
    }
    Ok(Some(tls))
}

fn sasl(variables: &Variables, kafka: &mut Kafka) -> Result<()> {
    let (username, password) = (variables.text(USERNAME), variables.text(PASSWORD));
    let mechanism = match variables.text(MECHANISM).unwrap_or("none") {
        "none" if username.or(password).is_some() => {
            bail!("{USERNAME} or {PASSWORD} is set, but {MECHANISM} is none: name the mechanism")
        }
        "none" => return Ok(()),
        "aws-msk-iam" => return msk_iam(kafka),
        "plain" => Mechanism::Plain,
        "scram-sha-256" => Mechanism::ScramSha256,
        "scram-sha-512" => Mechanism::ScramSha512,
        "oauthbearer" => Mechanism::OauthBearer,
        other => bail!(
            "{MECHANISM} is \"{other}\": it is none, plain, scram-sha-256, scram-sha-512, oauthbearer or aws-msk-iam"
        ),
    };
    match mechanism {
        Mechanism::OauthBearer if password.is_none() => {
            bail!("{MECHANISM} oauthbearer needs the token in {PASSWORD}")
        }
        Mechanism::OauthBearer => {}
        _ if username.is_none() || password.is_none() => bail!("{MECHANISM} needs {USERNAME} and {PASSWORD}"),
        _ => {}
    }
    kafka.sasl = Some(Sasl {
        mechanism,
        username: username.unwrap_or_default().to_owned(),
        password: Secret::new(password.unwrap_or_default()),
        token: password.map(Secret::new),
    });
    Ok(())
}

/// Amazon's mechanism: OAUTHBEARER with tokens that are made of the function's role.
#[cfg(feature = "aws")]
fn msk_iam(kafka: &mut Kafka) -> Result<()> {
    if kafka.tls.is_none() {
        bail!("{MECHANISM} aws-msk-iam needs {TLS_ENABLED} true: Amazon MSK takes no token without TLS");
    }
    kafka.sasl = Some(Sasl {
        mechanism: Mechanism::OauthBearer,
        username: String::new(),
        password: Secret::default(),
        token: None,
    });
    kafka.token_provider = Some(std::sync::Arc::new(evenkeel_broker::aws::MskIam::new(None)));
    Ok(())
}

#[cfg(not(feature = "aws"))]
fn msk_iam(_: &mut Kafka) -> Result<()> {
    bail!(
        "{MECHANISM} is aws-msk-iam, which this build does not know: build evenkeel-lambda with --features aws"
    )
}

/// Evenkeel's variables that are set.
struct Variables(BTreeMap<String, String>);

impl Variables {
    fn of(environment: impl Iterator<Item = (String, String)>) -> Result<Self> {
        let all: BTreeMap<String, String> =
            environment.filter(|(name, _)| name.starts_with(PREFIX)).collect();
        let unknown = all.keys().find(|name| !KNOWN.contains(&name.as_str()));
        match unknown {
            Some(name) => Err(anyhow!(
                "the environment variable {name} is no setting of this function: remove it, or set the one that is meant of {}",
                KNOWN.join(", ")
            )),
            None => Ok(Self(all)),
        }
    }

    /// Its text, unless that is empty.
    fn text(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|text| !text.is_empty())
    }

    fn needed(&self, name: &str, what: &str) -> Result<String> {
        let text = self.text(name).map(ToOwned::to_owned);
        text.with_context(|| format!("the environment variable {name} is not set: it is {what}"))
    }

    fn parsed<T: FromStr>(&self, name: &str, what: &str) -> Result<Option<T>> {
        let parsed = self.text(name).map(str::parse).transpose();
        parsed.map_err(|_| anyhow!("the environment variable {name} is not {what}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variables: &[(&str, &str)]) -> Result<Settings> {
        let mut all = BTreeMap::from([
            (APPLICATION, "orders-api"),
            (BROKERS, "a:1, [::1]:2"),
            (STORE, "postgres://me:hunter2@db/orders"),
            ("PATH", "/bin"),
        ]);
        all.extend(variables.iter().copied());
        let all = all
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        Settings::read(all)
    }

    #[test]
    fn settings_are_read_and_secrets_are_not_shown() {
        let settings = with(&[
            (MECHANISM, "scram-sha-512"),
            (USERNAME, "me"),
            (PASSWORD, "hunter2"),
        ])
        .unwrap();
        assert_eq!(settings.application, "orders-api");
        assert_eq!(settings.kafka.brokers, ["a:1", "[::1]:2"]);
        assert_eq!(settings.store.reveal(), "postgres://me:hunter2@db/orders");
        let sasl = settings.kafka.sasl.as_ref().unwrap();
        assert_eq!(
            (sasl.mechanism, sasl.password.reveal()),
            (Mechanism::ScramSha512, "hunter2")
        );
        assert!(!format!("{settings:?}").contains("hunter2"), "{settings:?}");
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_the_variables_name() {
        for (name, value, expected) in [
            (APPLICATION, "", "EVENKEEL_PUBLISH__APPLICATION is not set"),
            (APPLICATION, "../x", "EVENKEEL_PUBLISH__APPLICATION"),
            (BROKERS, "", "EVENKEEL_KAFKA__BROKERS is not set"),
            (BROKERS, "a:1,b:99999", "\"b:99999\""),
            (BROKERS, "localhost", "\"localhost\""),
            (
                REQUEST_TIMEOUT_MS,
                "0",
                "EVENKEEL_KAFKA__REQUEST_TIMEOUT_MS is not a whole number",
            ),
            (
                TLS_ENABLED,
                "yes",
                "EVENKEEL_KAFKA__TLS__ENABLED is not true or false",
            ),
            (TLS_CA, "/var/task/ca.pem", "EVENKEEL_KAFKA__TLS__CA_FILE is set"),
            (MECHANISM, "kerberos", "\"kerberos\""),
            (MECHANISM, "plain", "needs EVENKEEL_KAFKA__SASL__USERNAME"),
            (
                MECHANISM,
                "oauthbearer",
                "the token in EVENKEEL_KAFKA__SASL__PASSWORD",
            ),
            (PASSWORD, "hunter2", "name the mechanism"),
            (STORE, "", "EVENKEEL_STANDBY__URL is not set"),
            (
                STORE,
                "mysql://me:hunter2@db/orders",
                "neither postgres:// nor dynamodb:",
            ),
            (
                "EVENKEEL_KAFKA_BROKERS",
                "a:1",
                "EVENKEEL_KAFKA_BROKERS is no setting",
            ),
            (
                "EVENKEEL_REGISTRY__URL",
                "http://a",
                "EVENKEEL_REGISTRY__URL is no setting",
            ),
        ] {
            let error = format!("{:#}", with(&[(name, value)]).unwrap_err());
            assert!(error.contains(expected) && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn amazons_servers_need_a_build_that_knows_them_and_its_mechanism_tls() {
        let dynamo = with(&[(STORE, "dynamodb:parked")]);
        let iam = with(&[(MECHANISM, "aws-msk-iam"), (TLS_ENABLED, "true")]);
        if cfg!(feature = "aws") {
            assert!(dynamo.is_ok() && iam.unwrap().kafka.token_provider.is_some());
            let bare = with(&[(MECHANISM, "aws-msk-iam")]).unwrap_err().to_string();
            assert!(bare.contains(TLS_ENABLED), "{bare}");
        } else {
            for refused in [dynamo, iam] {
                let error = refused.unwrap_err().to_string();
                assert!(error.contains("--features aws"), "{error}");
            }
        }
    }
}
