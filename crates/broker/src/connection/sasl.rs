//! SASL: who we are (KIP-43, KIP-152, KIP-368).

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{SaslAuthenticateRequest, SaslAuthenticateResponse};

use super::dial::Hello;
use super::scram::{Hash, Scram};
use crate::config::{Kafka, Mechanism, Sasl, Secret};
use crate::error::Error;

/// `SaslHandshake`, whose only versions are not flexible.
const HANDSHAKE_KEY: i16 = 17;
const HANDSHAKE_VERSION: i16 = 1;

/// Shows our credentials on a fresh connection. Gives how long they hold; `None` means for ever.
///
/// # Errors
/// When the mechanism or the credentials are refused, or the broker cannot show that it knows the password.
pub(super) async fn authenticate(
    hello: &mut Hello<'_>,
    kafka: &Kafka,
    sasl: &Sasl,
) -> Result<Option<Duration>, Error> {
    let mechanism = sasl.mechanism.name();
    handshake(hello, mechanism).await?;
    let refused = |reason: String, address: &str| Error::AuthenticationRefused {
        address: address.to_owned(),
        mechanism: mechanism.to_owned(),
        reason,
    };
    let last = match sasl.mechanism {
        Mechanism::Plain => {
            let message = format!("\0{}\0{}", sasl.username, sasl.password.reveal());
            step(hello, mechanism, message).await?
        }
        Mechanism::ScramSha256 | Mechanism::ScramSha512 => {
            let hash = if sasl.mechanism == Mechanism::ScramSha256 {
                Hash::Sha256
            } else {
                Hash::Sha512
            };
            let nonce = uuid::Uuid::new_v4().simple().to_string();
            let (scram, first) = Scram::begin(hash, &sasl.username, nonce);
            let challenge = step(hello, mechanism, first).await?;
            let (proof, expected) = scram
                .prove(sasl.password.reveal(), &text(&challenge.auth_bytes))
                .map_err(|reason| refused(reason, hello.address))?;
            let last = step(hello, mechanism, proof).await?;
            expected
                .check(&text(&last.auth_bytes))
                .map_err(|reason| refused(reason, hello.address))?;
            last
        }
        Mechanism::OauthBearer => {
            let token = token(kafka, sasl)
                .await
                .map_err(|reason| refused(reason, hello.address))?;
            let message = format!("n,,\u{1}auth=Bearer {}\u{1}\u{1}", token.reveal());
            step(hello, mechanism, message).await?
        }
    };
    let lifetime = u64::try_from(last.session_lifetime_ms).unwrap_or(0);
    Ok((lifetime > 0).then(|| Duration::from_millis(lifetime)))
}

async fn token(kafka: &Kafka, sasl: &Sasl) -> Result<Secret, String> {
    match (&kafka.token_provider, &sasl.token) {
        (Some(provider), _) => provider.token().await.map_err(|error| error.to_string()),
        (None, Some(token)) => Ok(token.clone()),
        (None, None) => Err("OAUTHBEARER needs a token provider or kafka.sasl.token".to_owned()),
    }
}

async fn handshake(hello: &mut Hello<'_>, mechanism: &str) -> Result<(), Error> {
    let mut body = BytesMut::new();
    body.put_i16(i16::try_from(mechanism.len()).unwrap_or(0));
    body.put_slice(mechanism.as_bytes());
    let mut answer = hello
        .exchange_plain(HANDSHAKE_KEY, HANDSHAKE_VERSION, "SaslHandshake", &body)
        .await?;
    let code = answer
        .try_get_i16()
        .map_err(|error| hello.protocol("SaslHandshake", error.to_string()))?;
    if code == 0 {
        return Ok(());
    }
    Err(Error::AuthenticationRefused {
        address: hello.address.to_owned(),
        mechanism: mechanism.to_owned(),
        reason: if code == 33 {
            format!("it offers only {}", offered(answer).join(", "))
        } else {
            format!("SaslHandshake failed with code {code}")
        },
    })
}

/// The mechanisms that the broker offers, at most ten.
fn offered(mut answer: Bytes) -> Vec<String> {
    let count = answer.try_get_i32().unwrap_or(0).clamp(0, 10);
    let mut list = Vec::new();
    for _ in 0..count {
        let length = usize::try_from(answer.try_get_i16().unwrap_or(0)).unwrap_or(0);
        if length == 0 || length > answer.remaining() {
            break;
        }
        list.push(text(&answer.split_to(length)));
    }
    list
}

async fn step(
    hello: &mut Hello<'_>,
    mechanism: &str,
    message: String,
) -> Result<SaslAuthenticateResponse, Error> {
    let request = SaslAuthenticateRequest::default().with_auth_bytes(Bytes::from(message));
    let response = hello.call(&request, 2, "SaslAuthenticate").await?;
    if response.error_code == 0 {
        return Ok(response);
    }
    Err(Error::AuthenticationRefused {
        address: hello.address.to_owned(),
        mechanism: mechanism.to_owned(),
        reason: response.error_message.map_or_else(
            || format!("code {}", response.error_code),
            |message| message.to_string(),
        ),
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
