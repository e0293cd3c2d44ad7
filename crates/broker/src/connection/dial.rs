//! How a connection comes to be: TCP, TLS, versions, credentials.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::ApiVersionsRequest;
use kafka_protocol::protocol::{Request, StrBytes};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::versions::Versions;
use super::{Connection, Inner, QUEUE_MAX, sasl, task, wire};
use crate::config::Kafka;
use crate::error::Error;

/// A socket of any kind.
pub(super) trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Socket for S {}

/// A fresh connection on which one request after the other is exchanged.
pub(super) struct Hello<'dial> {
    pub(super) address: &'dial str,
    socket: Box<dyn Socket>,
    client_id: &'dial str,
}

/// Connects to `address` and makes the connection ready; `on_close` is told once, when it has closed.
///
/// # Errors
/// Says what failed: the way there, TLS, the protocol or the credentials.
pub(crate) async fn dial(
    kafka: &Kafka,
    tls: Option<&Arc<rustls::ClientConfig>>,
    address: &str,
    on_close: impl FnOnce(task::End) + Send + 'static,
) -> Result<Connection, Error> {
    let timeout = kafka.connect_timeout();
    let (connection, task) = tokio::time::timeout(timeout, make(kafka, tls, address))
        .await
        .map_err(|_| Error::Unreachable {
            address: address.to_owned(),
            reason: format!("no connection within {timeout:?}"),
        })??;
    tokio::spawn(async move {
        on_close(task.await);
    });
    Ok(connection)
}

async fn make(
    kafka: &Kafka,
    tls: Option<&Arc<rustls::ClientConfig>>,
    address: &str,
) -> Result<(Connection, impl Future<Output = task::End> + Send + use<>), Error> {
    let socket = open(tls, address).await?;
    let mut hello = Hello {
        address,
        socket,
        client_id: &kafka.client_id,
    };
    let versions = hello.versions().await?;
    let lifetime = match &kafka.sasl {
        Some(settings) => sasl::authenticate(&mut hello, kafka, settings).await?,
        None => None,
    };
    let (sender, commands) = mpsc::channel(QUEUE_MAX);
    let give_up = Arc::new(Notify::new());
    let born = Instant::now();
    let inner = Inner {
        address: address.to_owned(),
        client_id: kafka.client_id.clone(),
        versions,
        commands: sender,
        give_up: give_up.clone(),
        born,
        // A sixth is left for what is under way, as the broker closes the connection when the time is over.
        expires: lifetime.map(|lifetime| born + lifetime * 5 / 6),
        throttled_until_ms: AtomicU64::new(0),
        answered: AtomicBool::new(false),
    };
    let connection = Connection {
        inner: Arc::new(inner),
    };
    Ok((connection, task::run(hello.socket, commands, give_up)))
}

async fn open(tls: Option<&Arc<rustls::ClientConfig>>, address: &str) -> Result<Box<dyn Socket>, Error> {
    let unreachable = |reason: String| Error::Unreachable {
        address: address.to_owned(),
        reason,
    };
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| unreachable(error.to_string()))?;
    stream
        .set_nodelay(true)
        .map_err(|error| unreachable(error.to_string()))?;
    let Some(tls) = tls else {
        return Ok(Box::new(stream));
    };
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(host.clone())
        .map_err(|_| Error::Config(format!("\"{host}\" is not a host name that TLS can check")))?;
    let stream = tokio_rustls::TlsConnector::from(tls.clone())
        .connect(name, stream)
        .await
        .map_err(|error| Error::Tls {
            address: address.to_owned(),
            reason: super::tls::explain(&error),
        })?;
    Ok(Box::new(stream))
}

impl Hello<'_> {
    /// What the broker offers (KIP-511: one that does not know our version answers in the oldest one).
    async fn versions(&mut self) -> Result<Versions, Error> {
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str("evenkeel"))
            .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
        let name = "ApiVersions";
        let frame = self.exchange(&request, 3, name).await?;
        if frame.get(4..6) == Some(&35_i16.to_be_bytes()) {
            return Versions::read_oldest(frame.slice(4..))
                .ok_or_else(|| self.protocol(name, "an answer that cannot be read".to_owned()));
        }
        let response =
            wire::decode::<ApiVersionsRequest>(frame, 3).map_err(|reason| self.protocol(name, reason))?;
        Error::check(response.error_code, name, self.address, None)?;
        let offered = response
            .api_keys
            .iter()
            .map(|api| (api.api_key, api.min_version, api.max_version))
            .collect();
        Ok(Versions::new(offered))
    }

    pub(super) async fn call<R: Request>(
        &mut self,
        request: &R,
        version: i16,
        name: &'static str,
    ) -> Result<R::Response, Error> {
        let frame = self.exchange(request, version, name).await?;
        wire::decode::<R>(frame, version).map_err(|reason| self.protocol(name, reason))
    }

    async fn exchange<R: Request>(
        &mut self,
        request: &R,
        version: i16,
        name: &'static str,
    ) -> Result<Bytes, Error> {
        let frame =
            wire::encode(request, version, self.client_id).map_err(|reason| self.protocol(name, reason))?;
        self.send(&frame, name).await
    }

    /// Exchanges a request of a non-flexible version by hand; gives the body of the answer.
    pub(super) async fn exchange_plain(
        &mut self,
        key: i16,
        version: i16,
        name: &'static str,
        body: &[u8],
    ) -> Result<Bytes, Error> {
        let client_id = self.client_id.as_bytes();
        let mut rest = BytesMut::with_capacity(16 + client_id.len() + body.len());
        rest.put_i16(key);
        rest.put_i16(version);
        rest.put_i32(0);
        rest.put_i16(i16::try_from(client_id.len()).unwrap_or(0));
        rest.put_slice(client_id);
        rest.put_slice(body);
        let mut frame = BytesMut::with_capacity(4 + rest.len());
        frame.put_i32(i32::try_from(rest.len()).unwrap_or(0));
        frame.put_slice(&rest);
        let answer = self.send(&frame, name).await?;
        Ok(answer.slice(4..))
    }

    async fn send(&mut self, frame: &[u8], name: &'static str) -> Result<Bytes, Error> {
        let exchanged = async {
            self.socket.write_all(frame).await?;
            self.socket.flush().await?;
            task::read_frame(&mut self.socket).await
        };
        exchanged.await.map_err(|error| self.failed(name, &error))
    }

    fn failed(&self, request: &'static str, error: &std::io::Error) -> Error {
        let address = self.address.to_owned();
        // With TLS 1.3 a broker that wants a certificate says so only after the handshake.
        if error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) {
            let reason = super::tls::explain(error);
            return Error::Tls { address, reason };
        }
        Error::Disconnected {
            address,
            request,
            reason: error.to_string(),
            written: true,
        }
    }

    pub(super) fn protocol(&self, request: &'static str, reason: String) -> Error {
        Error::Protocol {
            address: self.address.to_owned(),
            request,
            reason,
        }
    }
}
