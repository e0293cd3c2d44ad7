use std::net::SocketAddr;

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsResponse, DescribeClusterResponse, FetchResponse, FindCoordinatorResponse,
    MetadataResponse, ProduceResponse, ResponseHeader,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message, StrBytes};

use super::Error;

/// From these versions on, Produce and Fetch name new leaders with their addresses (KIP-951).
const PRODUCE_WITH_ADDRESSES: i16 = 10;
const FETCH_WITH_ADDRESSES: i16 = 16;

/// Answers an address with the one that clients are told instead.
pub(super) type Advertise<'a> = dyn FnMut(i32, &str, i32) -> Result<SocketAddr, Error> + 'a;

/// An answer that could carry an address and cannot be rewritten.
#[derive(Debug, thiserror::Error)]
#[error("the answer of API {api}, version {version}, cannot be rewritten: {reason}")]
pub(super) struct Unreadable {
    api: i16,
    version: i16,
    reason: String,
}

/// An answer as the client may see it: without any broker's own address.
pub(super) fn answer(
    api: i16,
    version: i16,
    frame: Bytes,
    advertise: &mut Advertise,
) -> Result<Bytes, Unreadable> {
    let edited = match ApiKey::try_from(api) {
        Ok(ApiKey::ApiVersions) => limit_versions(version, frame),
        Ok(ApiKey::Metadata) => edit(version, frame, |answer: &mut MetadataResponse| {
            each(&mut answer.brokers, |node| {
                readdress(node.node_id.0, &mut node.host, &mut node.port, advertise)
            })
        }),
        Ok(ApiKey::FindCoordinator) => edit(version, frame, |answer: &mut FindCoordinatorResponse| {
            readdress(answer.node_id.0, &mut answer.host, &mut answer.port, advertise)?;
            each(&mut answer.coordinators, |node| {
                readdress(node.node_id.0, &mut node.host, &mut node.port, advertise)
            })
        }),
        Ok(ApiKey::DescribeCluster) => edit(version, frame, |answer: &mut DescribeClusterResponse| {
            each(&mut answer.brokers, |node| {
                readdress(node.broker_id.0, &mut node.host, &mut node.port, advertise)
            })
        }),
        Ok(ApiKey::Produce) if version >= PRODUCE_WITH_ADDRESSES => {
            edit(version, frame, |answer: &mut ProduceResponse| {
                let nodes = &mut answer.node_endpoints;
                each(nodes, |node| {
                    readdress(node.node_id.0, &mut node.host, &mut node.port, advertise)
                })
            })
        }
        Ok(ApiKey::Fetch) if version >= FETCH_WITH_ADDRESSES => {
            edit(version, frame, |answer: &mut FetchResponse| {
                let nodes = &mut answer.node_endpoints;
                each(nodes, |node| {
                    readdress(node.node_id.0, &mut node.host, &mut node.port, advertise)
                })
            })
        }
        _ => Ok(frame),
    };
    edited.map_err(|reason| Unreadable { api, version, reason })
}

/// Takes out what cannot be rewritten, so that no client uses it.
fn limit_versions(version: i16, frame: Bytes) -> Result<Bytes, String> {
    // A version of ApiVersions that the broker does not know is answered in version 0, with an error (KIP-511).
    let mut body = frame.as_ref();
    body.try_get_i32().map_err(|error| error.to_string())?;
    let version = if body.try_get_i16().is_ok_and(|code| code != 0) {
        0
    } else {
        version
    };
    edit(version, frame, |answer: &mut ApiVersionsResponse| {
        answer.api_keys.retain_mut(|api| {
            api.max_version = api.max_version.min(version_max(api.api_key));
            api.max_version >= api.min_version
        });
        Ok(())
    })
}

/// The newest version that can be rewritten; -1 for an API that never can.
fn version_max(api: i16) -> i16 {
    match ApiKey::try_from(api) {
        Ok(ApiKey::ApiVersions) => ApiVersionsResponse::VERSIONS.max,
        Ok(ApiKey::Metadata) => MetadataResponse::VERSIONS.max,
        Ok(ApiKey::FindCoordinator) => FindCoordinatorResponse::VERSIONS.max,
        Ok(ApiKey::DescribeCluster) => DescribeClusterResponse::VERSIONS.max,
        Ok(ApiKey::Produce) => ProduceResponse::VERSIONS.max,
        Ok(ApiKey::Fetch) => FetchResponse::VERSIONS.max,
        // Share groups name new leaders too; nothing here reads them.
        Ok(ApiKey::ShareFetch | ApiKey::ShareAcknowledge) => -1,
        _ => i16::MAX,
    }
}

/// Decodes an answer, changes it and encodes it again.
fn edit<R>(
    version: i16,
    frame: Bytes,
    change: impl FnOnce(&mut R) -> Result<(), Error>,
) -> Result<Bytes, String>
where
    R: Decodable + Encodable + HeaderVersion + Message,
{
    if version < R::VERSIONS.min || version > R::VERSIONS.max {
        return Err(format!(
            "only versions {} to {} are known",
            R::VERSIONS.min,
            R::VERSIONS.max
        ));
    }
    let header_version = R::header_version(version);
    let mut rest = frame;
    let mut edited = BytesMut::with_capacity(rest.len() + 64);
    let header = ResponseHeader::decode(&mut rest, header_version).map_err(|error| error.to_string())?;
    let mut body = R::decode(&mut rest, version).map_err(|error| error.to_string())?;
    change(&mut body).map_err(|error| error.to_string())?;
    header
        .encode(&mut edited, header_version)
        .map_err(|error| error.to_string())?;
    body.encode(&mut edited, version)
        .map_err(|error| error.to_string())?;
    Ok(edited.freeze())
}

fn each<N>(nodes: &mut [N], readdress: impl FnMut(&mut N) -> Result<(), Error>) -> Result<(), Error> {
    nodes.iter_mut().try_for_each(readdress)
}

/// Puts the proxy's address in the place of a broker's. An answer without a broker has an empty host.
fn readdress(
    node_id: i32,
    host: &mut StrBytes,
    port: &mut i32,
    advertise: &mut Advertise,
) -> Result<(), Error> {
    if !host.is_empty() && *port >= 0 {
        let local = advertise(node_id, host, *port)?;
        *host = StrBytes::from_string(local.ip().to_string());
        *port = i32::from(local.port());
    }
    Ok(())
}
