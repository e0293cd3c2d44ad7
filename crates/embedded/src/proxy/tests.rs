//! The proxy before a pretended cluster, which answers every version that can carry an address.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::fetch_response;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::metadata_response::MetadataResponseBroker;
use kafka_protocol::messages::produce_response;
use kafka_protocol::messages::{
    ApiVersionsResponse, BrokerId, DescribeClusterResponse, FetchResponse, FindCoordinatorResponse,
    MetadataResponse, ProduceResponse, ResponseHeader,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message, StrBytes, VersionRange};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::{Api, Proxy, frame};

/// Long enough for a loaded machine; nothing waits this long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the pretended broker takes and does not answer.
const UNANSWERED: Api = Api(36);

/// A broker that knows itself and one more, and tells which requests reach it.
struct Pretended {
    nodes: [SocketAddr; 2],
    reached: mpsc::UnboundedReceiver<i32>,
}

async fn pretend() -> Pretended {
    let (first, second) = (bound().await, bound().await);
    let nodes = [first.local_addr().unwrap(), second.local_addr().unwrap()];
    let (tell, reached) = mpsc::unbounded_channel();
    for listener in [first, second] {
        let tell = tell.clone();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(serve(connection, nodes, tell.clone()));
            }
        });
    }
    Pretended { nodes, reached }
}

/// A proxy that was told of the first broker alone.
async fn proxied() -> (Pretended, Proxy) {
    let cluster = pretend().await;
    let proxy = Proxy::start(&cluster.nodes[0].to_string()).unwrap();
    (cluster, proxy)
}

async fn bound() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

async fn serve(mut connection: TcpStream, nodes: [SocketAddr; 2], reached: mpsc::UnboundedSender<i32>) {
    while let Some(mut request) = frame::read(&mut connection).await {
        let (api, version, correlation) = (request.get_i16(), request.get_i16(), request.get_i32());
        reached.send(correlation).ok();
        if Api(api) == UNANSWERED {
            continue;
        }
        if !frame::write(&mut connection, answer(Api(api), version, correlation, nodes)).await {
            return;
        }
    }
}

/// Where the brokers are, as answers name them: id, host and port.
fn named(nodes: [SocketAddr; 2]) -> [(BrokerId, StrBytes, i32); 2] {
    let named = |id, node: SocketAddr| {
        (
            BrokerId(id),
            StrBytes::from_string(node.ip().to_string()),
            i32::from(node.port()),
        )
    };
    [named(1, nodes[0]), named(2, nodes[1])]
}

fn answer(api: Api, version: i16, correlation: i32, nodes: [SocketAddr; 2]) -> Bytes {
    let ids = named(nodes);
    match api {
        Api::METADATA => {
            let broker = |(id, host, port)| {
                MetadataResponseBroker::default()
                    .with_node_id(id)
                    .with_host(host)
                    .with_port(port)
            };
            encoded(
                correlation,
                version,
                MetadataResponse::default().with_brokers(ids.map(broker).into()),
            )
        }
        Api::FIND_COORDINATOR if version < 4 => {
            let [_, (id, host, port)] = ids;
            let found = FindCoordinatorResponse::default()
                .with_node_id(id)
                .with_host(host)
                .with_port(port);
            encoded(correlation, version, found)
        }
        Api::FIND_COORDINATOR => {
            let found = |(id, host, port)| {
                Coordinator::default()
                    .with_node_id(id)
                    .with_host(host)
                    .with_port(port)
            };
            encoded(
                correlation,
                version,
                FindCoordinatorResponse::default().with_coordinators(ids.map(found).into()),
            )
        }
        Api::DESCRIBE_CLUSTER => {
            let broker = |(id, host, port)| {
                DescribeClusterBroker::default()
                    .with_broker_id(id)
                    .with_host(host)
                    .with_port(port)
            };
            encoded(
                correlation,
                version,
                DescribeClusterResponse::default().with_brokers(ids.map(broker).into()),
            )
        }
        Api::API_VERSIONS => {
            let newest = |key| ApiVersion::default().with_api_key(key).with_max_version(i16::MAX);
            encoded(
                correlation,
                version,
                ApiVersionsResponse::default().with_api_keys((0..90).map(newest).collect()),
            )
        }
        _ => answer_with_leaders(api, version, correlation, nodes),
    }
}

fn answer_with_leaders(api: Api, version: i16, correlation: i32, nodes: [SocketAddr; 2]) -> Bytes {
    match api {
        Api::PRODUCE if version >= 10 => {
            let endpoint = produce_response::NodeEndpoint::default();
            let leader = |(id, host, port)| endpoint.clone().with_node_id(id).with_host(host).with_port(port);
            let nodes = named(nodes).map(leader).into();
            encoded(
                correlation,
                version,
                ProduceResponse::default().with_node_endpoints(nodes),
            )
        }
        Api::FETCH if version >= 16 => {
            let endpoint = fetch_response::NodeEndpoint::default();
            let leader = |(id, host, port)| endpoint.clone().with_node_id(id).with_host(host).with_port(port);
            let nodes = named(nodes).map(leader).into();
            encoded(
                correlation,
                version,
                FetchResponse::default().with_node_endpoints(nodes),
            )
        }
        _ => Bytes::copy_from_slice(&correlation.to_be_bytes()),
    }
}

fn encoded<R: Encodable + HeaderVersion>(correlation: i32, version: i16, body: R) -> Bytes {
    let mut bytes = BytesMut::new();
    ResponseHeader::default()
        .with_correlation_id(correlation)
        .encode(&mut bytes, R::header_version(version))
        .unwrap();
    body.encode(&mut bytes, version).unwrap();
    bytes.freeze()
}

fn decoded<R: Decodable + HeaderVersion>(version: i16, mut answer: Bytes) -> R {
    ResponseHeader::decode(&mut answer, R::header_version(version)).unwrap();
    let body = R::decode(&mut answer, version).unwrap();
    assert!(answer.is_empty(), "bytes are left over");
    body
}

async fn connect(address: &str) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

/// Sends a request; its body does not matter here.
async fn send(connection: &mut TcpStream, api: Api, version: i16, correlation: i32) {
    let mut request = BytesMut::new();
    request.extend_from_slice(&api.0.to_be_bytes());
    request.extend_from_slice(&version.to_be_bytes());
    request.extend_from_slice(&correlation.to_be_bytes());
    assert!(frame::write(connection, request.freeze()).await);
}

/// The next answer, or nothing when the connection is closed.
async fn receive(connection: &mut TcpStream) -> Option<Bytes> {
    tokio::time::timeout(PATIENCE, frame::read(connection))
        .await
        .expect("an answer or a close")
}

/// Waits until the connection is closed.
async fn closed(connection: &mut TcpStream) -> bool {
    receive(connection).await.is_none()
}

async fn ask(connection: &mut TcpStream, api: Api, version: i16) -> Bytes {
    send(connection, api, version, 7).await;
    receive(connection).await.expect("an answer")
}

/// Asks in every version, and judges the addresses that each answer names.
async fn ask_in_all<R>(
    between: &(Pretended, Proxy),
    api: Api,
    versions: VersionRange,
    ports: impl Fn(R) -> Vec<i32>,
) where
    R: Decodable + HeaderVersion,
{
    let (cluster, proxy) = between;
    let mut connection = connect(proxy.bootstrap()).await;
    for version in versions.min..=versions.max {
        let found = ports(decoded::<R>(version, ask(&mut connection, api, version).await));
        assert!(!found.is_empty(), "{api:?} v{version} names no broker");
        for port in found {
            let own = cluster.nodes.iter().any(|node| i32::from(node.port()) == port);
            assert!(!own, "{api:?} v{version} names a broker's own port");
            connect(&format!("127.0.0.1:{port}")).await;
        }
    }
}

#[tokio::test]
async fn no_answer_names_a_brokers_own_address() {
    let between = proxied().await;
    ask_in_all(
        &between,
        Api::METADATA,
        MetadataResponse::VERSIONS,
        |answer: MetadataResponse| answer.brokers.iter().map(|node| node.port).collect(),
    )
    .await;
    ask_in_all(
        &between,
        Api::FIND_COORDINATOR,
        FindCoordinatorResponse::VERSIONS,
        |answer: FindCoordinatorResponse| {
            let single = Some(answer.port).filter(|_| answer.coordinators.is_empty());
            answer
                .coordinators
                .iter()
                .map(|node| node.port)
                .chain(single)
                .collect()
        },
    )
    .await;
    ask_in_all(
        &between,
        Api::DESCRIBE_CLUSTER,
        DescribeClusterResponse::VERSIONS,
        |answer: DescribeClusterResponse| answer.brokers.iter().map(|node| node.port).collect(),
    )
    .await;
    let with_leaders = VersionRange {
        min: 10,
        ..ProduceResponse::VERSIONS
    };
    ask_in_all(&between, Api::PRODUCE, with_leaders, |answer: ProduceResponse| {
        answer.node_endpoints.iter().map(|node| node.port).collect()
    })
    .await;
    let with_leaders = VersionRange {
        min: 16,
        ..FetchResponse::VERSIONS
    };
    ask_in_all(&between, Api::FETCH, with_leaders, |answer: FetchResponse| {
        answer.node_endpoints.iter().map(|node| node.port).collect()
    })
    .await;
}

#[tokio::test]
async fn versions_that_cannot_be_rewritten_are_not_offered() {
    let (_cluster, proxy) = proxied().await;
    let mut connection = connect(proxy.bootstrap()).await;
    let offered: ApiVersionsResponse = decoded(3, ask(&mut connection, Api::API_VERSIONS, 3).await);
    let max = |api: Api| {
        offered
            .api_keys
            .iter()
            .find(|offer| offer.api_key == api.0)
            .map(|offer| offer.max_version)
    };
    assert_eq!(max(Api::METADATA), Some(MetadataResponse::VERSIONS.max));
    assert_eq!(max(Api::FETCH), Some(FetchResponse::VERSIONS.max));
    assert_eq!(max(Api::HEARTBEAT), Some(i16::MAX));
    let share_fetch = Api(78);
    assert_eq!(max(share_fetch), None);
}

#[tokio::test]
async fn a_cut_closes_and_refuses_until_it_is_restored() {
    let (_cluster, proxy) = proxied().await;
    let mut connection = connect(proxy.bootstrap()).await;
    ask(&mut connection, Api::HEARTBEAT, 0).await;
    proxy.cut().await;
    assert!(closed(&mut connection).await);
    let refused = TcpStream::connect(proxy.bootstrap()).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    proxy.restore().await;
    ask(&mut connect(proxy.bootstrap()).await, Api::HEARTBEAT, 0).await;
}

#[tokio::test]
async fn one_broker_is_cut_off_alone() {
    let (_cluster, proxy) = proxied().await;
    let mut first = connect(proxy.bootstrap()).await;
    let metadata: MetadataResponse = decoded(12, ask(&mut first, Api::METADATA, 12).await);
    let second = format!("127.0.0.1:{}", metadata.brokers[1].port);
    ask(&mut connect(&second).await, Api::HEARTBEAT, 0).await;
    proxy.cut_broker(2).await;
    assert!(TcpStream::connect(&second).await.is_err());
    ask(&mut first, Api::HEARTBEAT, 0).await;
    proxy.restore_broker(2).await;
    ask(&mut connect(&second).await, Api::HEARTBEAT, 0).await;
}

#[tokio::test]
async fn a_swallowed_answer_belongs_to_a_request_that_arrived() {
    let (mut cluster, proxy) = proxied().await;
    proxy.drop_responses(Api::PRODUCE, 1).await;
    let mut connection = connect(proxy.bootstrap()).await;
    send(&mut connection, Api::HEARTBEAT, 0, 1).await;
    send(&mut connection, Api::PRODUCE, 9, 2).await;
    assert_eq!(receive(&mut connection).await.unwrap().get_i32(), 1);
    assert!(closed(&mut connection).await);
    assert_eq!(
        (cluster.reached.recv().await, cluster.reached.recv().await),
        (Some(1), Some(2))
    );
    assert_eq!(proxy.dropped(), 1);
    ask(&mut connect(proxy.bootstrap()).await, Api::PRODUCE, 9).await;
}

#[tokio::test]
async fn a_hang_takes_connections_and_passes_nothing() {
    let (mut cluster, proxy) = proxied().await;
    let mut waiting = connect(proxy.bootstrap()).await;
    ask(&mut waiting, Api::HEARTBEAT, 0).await;
    assert_eq!(cluster.reached.recv().await, Some(7));
    proxy.hang().await;
    send(&mut waiting, Api::HEARTBEAT, 0, 1).await;
    let mut left = connect(proxy.bootstrap()).await;
    send(&mut left, Api::HEARTBEAT, 0, 2).await;
    drop(left);
    let nothing = tokio::time::timeout(Duration::from_millis(200), cluster.reached.recv()).await;
    assert!(nothing.is_err(), "request {nothing:?} passed a hung proxy");
    proxy.restore().await;
    assert_eq!(receive(&mut waiting).await.unwrap().get_i32(), 1);
    // The client of the other one has gone, and its request lands all the same.
    let mut landed = [cluster.reached.recv().await, cluster.reached.recv().await];
    landed.sort();
    assert_eq!(landed, [Some(1), Some(2)]);
}

#[tokio::test]
async fn a_delay_keeps_the_order() {
    let (_cluster, proxy) = proxied().await;
    let mut connection = connect(proxy.bootstrap()).await;
    proxy.delay(Duration::from_millis(100)).await;
    send(&mut connection, Api::HEARTBEAT, 0, 1).await;
    proxy.restore().await;
    send(&mut connection, Api::HEARTBEAT, 0, 2).await;
    assert_eq!(receive(&mut connection).await.unwrap().get_i32(), 1);
    assert_eq!(receive(&mut connection).await.unwrap().get_i32(), 2);
}

/// A produce request with acks=0 gets no answer; the next answer belongs to the next request.
#[tokio::test]
async fn an_unanswered_request_does_not_shift_the_others() {
    let (_cluster, proxy) = proxied().await;
    let mut connection = connect(proxy.bootstrap()).await;
    send(&mut connection, UNANSWERED, 9, 1).await;
    let metadata: MetadataResponse = decoded(12, ask(&mut connection, Api::METADATA, 12).await);
    assert_eq!(
        format!("127.0.0.1:{}", metadata.brokers[0].port),
        proxy.bootstrap()
    );
}

#[tokio::test]
async fn what_is_no_address_is_refused() {
    assert!(matches!(
        Proxy::start("nowhere"),
        Err(super::Error::Address { .. })
    ));
}
