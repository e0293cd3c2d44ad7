//! Which requests are taken, in which versions (KIP-35, KIP-511).

use kafka_protocol::{
    ResponseError,
    messages::{ApiKey, ApiVersionsResponse, api_versions_response::ApiVersion},
};

use crate::wire::shapes::{SHAPES, Shape};

/// Everything that is taken.
pub(super) fn answer() -> ApiVersionsResponse {
    ApiVersionsResponse::default().with_api_keys(SHAPES.iter().map(|shape| advertised(shape)).collect())
}

/// A client that asks in a version of its own time is answered in version 0, and told so.
pub(super) fn unsupported() -> ApiVersionsResponse {
    answer().with_error_code(ResponseError::UnsupportedVersion.code())
}

fn advertised(shape: &Shape) -> ApiVersion {
    let (least, most) = shape.versions;
    // librdkafka takes compression for granted only where Produce version 0 is advertised, as Apache Kafka 4 does
    // for its sake (KAFKA-18659); neither takes it.
    let least = if shape.key == ApiKey::Produce { 0 } else { least };
    ApiVersion::default()
        .with_api_key(shape.key as i16)
        .with_min_version(least)
        .with_max_version(most)
}
