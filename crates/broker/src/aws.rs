//! Tokens for the IAM listener of Amazon MSK, made from AWS credentials (feature `aws`).
//!
//! A token is a presigned URL that asks for `kafka-cluster:Connect`, encoded as base64url; it goes to the broker by
//! OAUTHBEARER. Its form is that of AWS's own signers (`aws-msk-iam-sasl-signer-*`), its signature is Signature Version 4
//! of AWS. Nothing is sent to that URL by us.

use std::time::{Duration, SystemTime};

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use evenkeel_event::clock::{Clock, SystemClock, Timestamp};
use tokio::sync::{Mutex, OnceCell};

use crate::config::Secret;
use crate::token::{TokenError, TokenFuture, TokenProvider};

/// How long a token holds: the longest that MSK takes. A broker asks for a new one before that (KIP-368).
const LIFETIME: Duration = Duration::from_mins(15);
/// Credentials that end sooner than this are fetched anew.
const CREDENTIALS_LEFT_MIN: Duration = Duration::from_mins(5);
/// The service that a token is signed for.
const SERVICE: &str = "kafka-cluster";

/// Gives tokens for Amazon MSK by the credentials that AWS's SDK finds: the environment, the profile, a web identity
/// (EKS), the container or the machine, in its order. They are asked for when the first connection is made.
#[derive(Debug)]
pub struct MskIam {
    region: Option<String>,
    source: OnceCell<Source>,
    /// The last credentials, while they hold.
    last: Mutex<Option<Credentials>>,
}

/// Where credentials come from, and the region that tokens are signed for.
#[derive(Debug)]
struct Source {
    region: String,
    credentials: SharedCredentialsProvider,
}

impl MskIam {
    /// For a cluster in `region`, for example `eu-west-1`; `None` means the region that AWS's SDK finds.
    #[must_use]
    pub const fn new(region: Option<String>) -> Self {
        Self {
            region,
            source: OnceCell::const_new(),
            last: Mutex::const_new(None),
        }
    }

    async fn make(&self) -> Result<Secret, TokenError> {
        let source = self.source.get_or_try_init(|| self.find()).await?;
        let now = SystemClock::default().now();
        let credentials = self.credentials(source, now).await?;
        token(&source.region, &credentials, now)
    }

    async fn find(&self) -> Result<Source, TokenError> {
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .build_https();
        let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http);
        if let Some(region) = &self.region {
            loader = loader.region(Region::new(region.clone()));
        }
        let found = loader.load().await;
        let region = found.region().map(ToString::to_string).ok_or_else(|| {
            TokenError("the AWS region is not known: set AWS_REGION or the region of the profile".to_owned())
        })?;
        let credentials = found.credentials_provider().ok_or_else(none_found)?;
        Ok(Source { region, credentials })
    }

    async fn credentials(&self, source: &Source, now: Timestamp) -> Result<Credentials, TokenError> {
        let mut last = self.last.lock().await;
        let needed_until = time(now) + CREDENTIALS_LEFT_MIN;
        if let Some(known) = last.as_ref()
            && known.expiry().is_some_and(|expiry| expiry > needed_until)
        {
            return Ok(known.clone());
        }
        // What the error holds besides its kind may be an answer of a token service: it stays out of our texts.
        let fresh = source
            .credentials
            .provide_credentials()
            .await
            .map_err(|error| TokenError(format!("no AWS credentials: {error}")))?;
        *last = Some(fresh.clone());
        Ok(fresh)
    }
}

fn none_found() -> TokenError {
    TokenError("no AWS credentials were found: set them in the environment, a profile or a role".to_owned())
}

impl TokenProvider for MskIam {
    fn token(&self) -> TokenFuture<'_> {
        Box::pin(self.make())
    }
}

/// The token of `credentials` for a cluster in `region`, beginning at `at`.
fn token(region: &str, credentials: &Credentials, at: Timestamp) -> Result<Secret, TokenError> {
    if region.is_empty()
        || !region
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    {
        return Err(TokenError(format!("\"{region}\" is no AWS region")));
    }
    let to_sign = ToSign {
        url: format!("https://kafka.{region}.amazonaws.com/?Action=kafka-cluster%3AConnect"),
        service: SERVICE,
        region,
        body: SignableBody::empty(),
        lifetime: LIFETIME,
    };
    let mut url = presign(to_sign, credentials, at)?;
    // Who asks, for the cluster's log; it is not signed, in AWS's signers neither.
    url.push_str(concat!("&User-Agent=evenkeel%2F", env!("CARGO_PKG_VERSION")));
    Ok(Secret::new(URL_SAFE_NO_PAD.encode(url)))
}

/// A GET that somebody else may make for a while.
struct ToSign<'a> {
    url: String,
    service: &'a str,
    region: &'a str,
    body: SignableBody<'a>,
    lifetime: Duration,
}

/// The URL with its signature as parameters (AWS's "authenticating requests: using query parameters").
fn presign(to_sign: ToSign<'_>, credentials: &Credentials, at: Timestamp) -> Result<String, TokenError> {
    let failed = |error: &dyn std::fmt::Display| TokenError(format!("it cannot be signed: {error}"));
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(to_sign.lifetime);
    let identity = credentials.clone().into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(to_sign.region)
        .name(to_sign.service)
        .time(time(at))
        .settings(settings)
        .build()
        .map_err(|error| failed(&error))?;
    let request = SignableRequest::new("GET", to_sign.url.as_str(), std::iter::empty(), to_sign.body)
        .map_err(|error| failed(&error))?;
    let (signature, _) = sign(request, &parameters.into())
        .map_err(|error| failed(&error))?
        .into_parts();
    let mut separator = if to_sign.url.contains('?') { '&' } else { '?' };
    let mut url = to_sign.url;
    for (name, value) in signature.params() {
        url.push(separator);
        url.push_str(name);
        url.push('=');
        escape(value, &mut url);
        separator = '&';
    }
    Ok(url)
}

/// Percent-encodes all but RFC 3986's unreserved characters, as AWS counts them.
fn escape(text: &str, into: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            into.push(char::from(byte));
        } else {
            into.push_str(&format!("%{byte:02X}"));
        }
    }
}

fn time(at: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(at.millis()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use hmac::{Hmac, Mac};
    use sha2::{Digest, Sha256};

    use super::*;

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    /// 2013-05-24T00:00:00Z.
    const AT: Timestamp = Timestamp::from_millis(1_369_353_600_000);

    fn credentials(session: Option<&str>) -> Credentials {
        Credentials::new(
            "AKIAIOSFODNN7EXAMPLE",
            SECRET,
            session.map(str::to_owned),
            None,
            "a test",
        )
    }

    /// The example in "Authenticating Requests: Using Query Parameters" of the Amazon S3 API Reference.
    #[test]
    fn signs_as_in_the_example_of_aws() {
        let to_sign = ToSign {
            url: "https://examplebucket.s3.amazonaws.com/test.txt".to_owned(),
            service: "s3",
            region: "us-east-1",
            body: SignableBody::UnsignedPayload,
            lifetime: Duration::from_secs(86_400),
        };
        let url = presign(to_sign, &credentials(None), AT).unwrap();
        assert_eq!(
            parameter(&url, "X-Amz-Signature"),
            "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
        );
        assert!(
            url.starts_with("https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-"),
            "{url}"
        );
    }

    #[test]
    fn a_token_is_the_signed_url_that_asks_to_connect() {
        let token = token("eu-west-1", &credentials(Some("session/+=")), AT).unwrap();
        let url = String::from_utf8(URL_SAFE_NO_PAD.decode(token.reveal()).unwrap()).unwrap();
        assert!(
            url.starts_with("https://kafka.eu-west-1.amazonaws.com/?Action=kafka-cluster%3AConnect&"),
            "{url}"
        );
        for (name, value) in [
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
            (
                "X-Amz-Credential",
                "AKIAIOSFODNN7EXAMPLE%2F20130524%2Feu-west-1%2Fkafka-cluster%2Faws4_request",
            ),
            ("X-Amz-Date", "20130524T000000Z"),
            ("X-Amz-Expires", "900"),
            ("X-Amz-SignedHeaders", "host"),
            ("X-Amz-Security-Token", "session%2F%2B%3D"),
        ] {
            assert_eq!(parameter(&url, name), value, "{url}");
        }
        assert!(parameter(&url, "User-Agent").starts_with("evenkeel%2F"), "{url}");
        assert_eq!(
            parameter(&url, "X-Amz-Signature"),
            signature_by_the_book(&url),
            "{url}"
        );
        assert!(
            !url.contains("wJalr") && !format!("{token:?}").contains("kafka"),
            "{url}"
        );
    }

    #[test]
    fn what_is_no_region_makes_no_url() {
        for region in ["", "eu-west-1.evil.example/", "eu west"] {
            assert!(token(region, &credentials(None), AT).is_err(), "{region}");
        }
    }

    fn parameter<'url>(url: &'url str, name: &str) -> &'url str {
        let mut pairs = url.split(['?', '&']).filter_map(|pair| pair.split_once('='));
        pairs
            .find(|(known, _)| *known == name)
            .map_or("", |(_, value)| value)
    }

    /// Signature Version 4 step by step, as the broker's side checks it: every parameter but the signature itself and
    /// what was added after it, sorted by name.
    fn signature_by_the_book(url: &str) -> String {
        let mut signed: Vec<&str> = url.split_once('?').unwrap().1.split('&').collect();
        signed.retain(|pair| !pair.starts_with("X-Amz-Signature=") && !pair.starts_with("User-Agent="));
        signed.sort_unstable();
        let empty = hex(&Sha256::digest(b""));
        let host = "host:kafka.eu-west-1.amazonaws.com\n\nhost";
        let canonical = format!("GET\n/\n{}\n{host}\n{empty}", signed.join("&"));
        let scope = "20130524/eu-west-1/kafka-cluster/aws4_request";
        let hash = hex(&Sha256::digest(canonical));
        let text = format!("AWS4-HMAC-SHA256\n20130524T000000Z\n{scope}\n{hash}");
        let mut key = format!("AWS4{SECRET}").into_bytes();
        for part in scope.split('/').chain([text.as_str()]) {
            let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&key).unwrap();
            mac.update(part.as_bytes());
            key = mac.finalize().into_bytes().to_vec();
        }
        hex(&key)
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
