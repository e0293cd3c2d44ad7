//! TLS and SASL on Apache Kafka: who is let in, and how a refusal reads.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use evenkeel_broker::config::{Mechanism, Sasl, Tls};
use evenkeel_broker::token::{TokenError, TokenFuture, TokenProvider};
use evenkeel_broker::{Cluster, Error, Kafka, Leader, Secret};
use evenkeel_event::clock::{Clock, SystemClock};
use evenkeel_flow::{Answer, Trouble};
use evenkeel_testkit::Listener;

use crate::brokers::{Bench, apache, block_on, settings};

/// Settings for a TLS listener of the shared Kafka.
pub(crate) fn secured(kafka: &evenkeel_testkit::Kafka, listener: Listener) -> Kafka {
    Kafka {
        tls: Some(trusting(&kafka.tls().unwrap().ca)),
        ..settings(kafka.bootstrap_of(listener))
    }
}

fn trusting(authority: &Path) -> Tls {
    Tls {
        ca_file: Some(authority.to_owned()),
        ..Tls::default()
    }
}

pub(crate) fn user(kafka: &evenkeel_testkit::Kafka, mechanism: Mechanism) -> Sasl {
    let known = kafka.sasl().unwrap();
    Sasl {
        mechanism,
        username: known.user.clone(),
        password: Secret::new(known.password.clone()),
        token: None,
    }
}

/// Unsigned tokens for a user, as the test's listener accepts them (RFC 7519, section 6), until the issuer is away.
#[derive(Debug)]
pub(crate) struct Unsigned {
    user: String,
    away: AtomicBool,
}

impl Unsigned {
    pub(crate) fn new(kafka: &evenkeel_testkit::Kafka, away: bool) -> Arc<Self> {
        Arc::new(Self {
            user: kafka.sasl().unwrap().user.clone(),
            away: AtomicBool::new(away),
        })
    }
}

impl TokenProvider for Unsigned {
    fn token(&self) -> TokenFuture<'_> {
        use base64::Engine as _;
        let encode = |text: String| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
        let (user, away) = (self.user.clone(), self.away.load(Ordering::Relaxed));
        Box::pin(async move {
            if away {
                return Err(TokenError("the issuer is away".to_owned()));
            }
            let now = SystemClock::default().now().millis() / 1000;
            let claims = format!(r#"{{"sub":"{user}","iat":{now},"exp":{}}}"#, now + 3600);
            let header = r#"{"alg":"none"}"#.to_owned();
            Ok(Secret::new(format!("{}.{}.", encode(header), encode(claims))))
        })
    }
}

#[test]
fn every_mechanism_lets_us_in() {
    let Some(kafka) = apache() else { return };
    block_on(async {
        for mechanism in [Mechanism::Plain, Mechanism::ScramSha256, Mechanism::ScramSha512] {
            let mut settings = secured(kafka, Listener::SaslSsl);
            settings.sasl = Some(user(kafka, mechanism));
            let cluster = Cluster::connect(settings).await.unwrap();
            cluster.topics().await.unwrap();
        }
        let mut settings = secured(kafka, Listener::SaslSsl);
        settings.sasl = Some(user(kafka, Mechanism::OauthBearer));
        settings.token_provider = Some(Unsigned::new(kafka, false));
        Cluster::connect(settings).await.unwrap().topics().await.unwrap();
    });
}

#[test]
fn wrong_credentials_are_refused_and_no_outage() {
    let Some(kafka) = apache() else { return };
    block_on(async {
        for mechanism in [Mechanism::Plain, Mechanism::ScramSha256, Mechanism::ScramSha512] {
            let mut settings = secured(kafka, Listener::SaslSsl);
            let mut sasl = user(kafka, mechanism);
            sasl.password = Secret::new("not-the-password");
            settings.sasl = Some(sasl);
            let error = Cluster::connect(settings).await.unwrap_err();
            assert!(error.is_access_refused() && !error.is_outage(), "{error}");
            let text = error.to_string();
            assert!(
                text.contains(mechanism.name()) && text.contains("127.0.0.1:"),
                "{text}"
            );
            assert!(!text.contains("not-the-password"), "{text}");
        }
        let mut settings = secured(kafka, Listener::SaslSsl);
        settings.sasl = Some(user(kafka, Mechanism::OauthBearer));
        settings.token_provider = Some(Unsigned::new(kafka, true));
        let error = Cluster::connect(settings).await.unwrap_err();
        assert!(error.is_access_refused(), "{error}");
        assert!(error.to_string().contains("the issuer is away"), "{error}");
    });
}

#[test]
fn tls_lets_us_in_with_and_without_a_certificate_of_ours() {
    let Some(kafka) = apache() else { return };
    block_on(async {
        let cluster = Cluster::connect(secured(kafka, Listener::Ssl)).await.unwrap();
        cluster.topics().await.unwrap();
        let mut settings = secured(kafka, Listener::Mtls);
        let files = kafka.tls().unwrap();
        let tls = settings.tls.as_mut().unwrap();
        tls.cert_file = Some(files.client_certificate.clone());
        tls.key_file = Some(files.client_key.clone());
        let cluster = Cluster::connect(settings).await.unwrap();
        cluster.topics().await.unwrap();
    });
}

async fn refusal(settings: Kafka) -> Error {
    Cluster::connect(settings).await.unwrap_err()
}

#[test]
fn tls_that_cannot_be_agreed_on_says_why() {
    let Some(kafka) = apache() else { return };
    block_on(async {
        let mut stranger = secured(kafka, Listener::Ssl);
        stranger.tls = Some(trusting(&kafka.tls().unwrap().stranger_ca));
        let error = refusal(stranger).await;
        assert!(error.is_tls() && !error.is_outage(), "{error}");
        assert!(error.to_string().contains("kafka.tls.ca_file"), "{error}");

        let mut plain_port = secured(kafka, Listener::Ssl);
        plain_port.brokers = vec![kafka.bootstrap().to_owned()];
        let error = refusal(plain_port).await;
        assert!(error.is_tls(), "{error}");
        assert!(error.to_string().contains("may not speak TLS"), "{error}");

        let error = refusal(settings(kafka.bootstrap_of(Listener::Ssl))).await;
        assert!(error.to_string().contains("set kafka.tls"), "{error}");

        let mut no_file = secured(kafka, Listener::Ssl);
        no_file.tls = Some(trusting(Path::new("/nowhere/ca.pem")));
        let error = refusal(no_file).await;
        assert!(matches!(error, Error::Config(_)), "{error}");
        assert!(error.to_string().contains("/nowhere/ca.pem"), "{error}");
    });
}

#[test]
fn a_listener_that_wants_a_certificate_or_credentials_refuses_without() {
    let Some(kafka) = apache() else { return };
    block_on(async {
        let error = refusal(secured(kafka, Listener::Mtls)).await;
        assert!(error.is_tls() && !error.is_outage(), "{error}");
        assert!(error.to_string().contains("kafka.tls.cert_file"), "{error}");
        let error = refusal(secured(kafka, Listener::SaslSsl)).await;
        assert!(error.to_string().contains("check kafka.sasl"), "{error}");
    });
}

/// Invariant **told-apart**: a credential that expires in the middle of work parks with an alarm. It is neither an
/// outage nor the event's fault.
#[test]
fn credentials_that_are_refused_later_do_not_look_like_an_outage() {
    let Some(kafka) = apache() else { return };
    block_on(async {
        let bench = Bench::new(kafka.bootstrap(), "expired").await;
        let mut settings = secured(kafka, Listener::SaslSsl);
        settings.sasl = Some(user(kafka, Mechanism::OauthBearer));
        let provider = Unsigned::new(kafka, false);
        settings.token_provider = Some(provider.clone());
        let cluster = Cluster::connect(settings).await.unwrap();
        let leader = cluster.leader(&bench.partition(0)).await.unwrap();
        provider.away.store(true, Ordering::Relaxed);
        // The first produce request makes a connection of its own.
        let refused = Answer::Unanswered {
            trouble: Trouble::AuthenticationRefused,
            may_have_landed: false,
        };
        assert_eq!(
            bench.send_over(&cluster, &bench.batch(0, 0, &["one"])).await,
            refused
        );
        let known = cluster.metadata().leader(&bench.partition(0));
        assert!(
            matches!(known, Leader::At { node, .. } if node == leader),
            "{known:?}"
        );
        provider.away.store(false, Ordering::Relaxed);
        let answer = bench.send_over(&cluster, &bench.batch(0, 0, &["one"])).await;
        assert!(
            matches!(answer, Answer::Appended { offset: Some(0) }),
            "{answer:?}"
        );
    });
}
