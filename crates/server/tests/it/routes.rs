//! Every route and every refusal, as clients see them.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::json;
use tower::ServiceExt as _;

use crate::api::{Api, MEDIA_TYPE, order};

#[tokio::test]
async fn an_empty_registry() {
    let mut api = Api::dev().await;
    for path in [
        "/",
        "/schemas/types",
        "/subjects",
        "/subjects/orders-value/versions",
        "/subjects/orders-value/versions/1",
        "/schemas/ids/1",
        "/schemas/ids/1/subjects",
        "/schemas/ids/one",
        "/config",
        "/config/orders-value",
        "/config/orders-value?defaultToGlobal=true",
        "/mode",
        "/mode/orders-value",
        "/mode/orders-value?defaultToGlobal=true",
        "/nowhere",
    ] {
        api.get(path).await;
    }
    api.call("DELETE", "/subjects/orders-value", None).await;
    api.call("DELETE", "/subjects/orders-value/versions/1", None)
        .await;
    api.call("DELETE", "/config/orders-value", None).await;
    api.call("DELETE", "/mode", None).await;
    insta::assert_snapshot!(api.transcript());
}

#[tokio::test]
async fn registering_and_reading() {
    let mut api = Api::dev().await;
    let (v1, v2) = (order(&["id"]), order(&["id", "total?"]));
    api.register("orders-value", &v1).await;
    api.register("orders-value", &v2).await;
    // The same text with other white space, under the same subject and another.
    api.register("orders-value", &v1.replace(',', " ,\n")).await;
    api.register("archive-value", &v1).await;
    api.register("payments-value", r#""string""#).await;
    for path in [
        "/subjects",
        "/subjects?subjectPrefix=or",
        "/subjects?subjectPrefix=:*:pay",
        "/subjects/orders-value/versions",
        "/subjects/orders-value/versions/1",
        "/subjects/orders-value/versions/latest",
        "/subjects/orders-value/versions/-1",
        "/subjects/orders-value/versions/2/schema",
        "/subjects/orders-value/versions/3",
        "/subjects/orders-value/versions/0",
        "/subjects/orders-value/versions/newest",
        "/subjects/:.:orders-value/versions/1/schema",
        "/subjects/:.other:orders-value/versions",
        "/schemas/ids/1",
        "/schemas/ids/1?fetchMaxId=true",
        "/schemas/ids/1/schema",
        "/schemas/ids/1/subjects",
        "/schemas/ids/1/subjects?subject=archive-value",
        "/schemas/ids/1/versions",
        "/schemas/ids/9",
        "/schemas/ids/9/schema",
        "/schemas/ids/9/versions",
    ] {
        api.get(path).await;
    }
    insta::assert_snapshot!(api.transcript());
}

#[tokio::test]
async fn looking_up() {
    let mut api = Api::dev().await;
    api.register("orders-value", &order(&["id"])).await;
    api.call(
        "POST",
        "/subjects/orders-value",
        Some(json!({"schema": order(&["id"])})),
    )
    .await;
    api.call(
        "POST",
        "/subjects/orders-value",
        Some(json!({"schema": order(&["no"])})),
    )
    .await;
    api.call(
        "POST",
        "/subjects/nobody",
        Some(json!({"schema": order(&["id"])})),
    )
    .await;
    api.call("POST", "/subjects/orders-value", Some(json!({"schema": "{"})))
        .await;
    insta::assert_snapshot!(api.transcript());
}

#[tokio::test]
async fn refusing_what_is_no_schema_or_not_for_here() {
    let mut api = Api::dev().await;
    let path = "/subjects/orders-value/versions";
    let string = r#""string""#;
    for body in [
        json!({}),
        json!({"schema": ""}),
        json!({"schema": "{"}),
        json!({"schema": r#"{"type":"record","name":"R","fields":[{"name":"a","type":"Unknown"}]}"#}),
        json!({"schema": r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int","default":"x"}]}"#}),
        json!({"schema": string, "schemaType": "PROTOBUF"}),
        json!({"schema": string, "id": 5, "version": 1}),
        json!({"schema": string, "metadata": {"properties": {"a": "b"}}}),
        json!({"schema": string, "references": [{"name": "x.Y", "subject": "nobody", "version": 1}]}),
        json!({"schema": 7}),
        json!([]),
    ] {
        api.call("POST", path, Some(body)).await;
    }
    api.call(
        "POST",
        "/subjects/a%0Ab/versions",
        Some(json!({"schema": string})),
    )
    .await;
    api.call(
        "POST",
        "/subjects/:.ctx:orders/versions",
        Some(json!({"schema": string})),
    )
    .await;
    // Nothing came of it, and what means nothing is taken.
    api.get("/subjects").await;
    let harmless = json!({"schema": string, "schemaType": "avro", "references": [], "id": -1, "version": 0, "metadata": null});
    api.call("POST", path, Some(harmless)).await;
    insta::assert_snapshot!(api.transcript());
}

#[tokio::test]
async fn compatibility() {
    let mut api = Api::dev().await;
    api.register("orders-value", &order(&["id"])).await;
    let incompatible = json!({"schema": order(&["id", "total"])});
    let fine = json!({"schema": order(&["id", "total?"])});
    let base = "/compatibility/subjects/orders-value/versions";
    api.call(
        "POST",
        "/subjects/orders-value/versions",
        Some(incompatible.clone()),
    )
    .await;
    for path in [
        format!("{base}/latest"),
        format!("{base}/latest?verbose=true"),
        format!("{base}/1?verbose=true"),
        format!("{base}?verbose=true"),
        format!("{base}/7"),
        format!("{base}/x"),
        "/compatibility/subjects/nobody/versions/latest".to_owned(),
        "/compatibility/subjects/nobody/versions".to_owned(),
        "/compatibility/subjects/nobody/versions/1".to_owned(),
    ] {
        api.call("POST", &path, Some(incompatible.clone())).await;
    }
    api.call("POST", &format!("{base}/latest?verbose=true"), Some(fine))
        .await;
    api.call("POST", &format!("{base}/latest"), Some(json!({"schema": "{"})))
        .await;
    insta::assert_snapshot!(api.transcript());
}

#[tokio::test]
async fn compatibility_levels() {
    let mut api = Api::dev().await;
    api.register("orders-value", &order(&["id"])).await;
    api.call(
        "PUT",
        "/config/orders-value",
        Some(json!({"compatibility": "none"})),
    )
    .await;
    api.get("/config/orders-value").await;
    api.register("orders-value", r#""string""#).await;
    api.call(
        "PUT",
        "/config",
        Some(json!({"compatibility": "FULL_TRANSITIVE"})),
    )
    .await;
    api.get("/config").await;
    api.get("/config/orders-value").await;
    api.call("DELETE", "/config/orders-value", None).await;
    api.get("/config/orders-value").await;
    api.get("/config/orders-value?defaultToGlobal=true").await;
    api.register("orders-value", r#""bytes""#).await;
    api.call("DELETE", "/config/orders-value", None).await;
    api.call("DELETE", "/config", None).await;
    api.get("/config").await;
    api.call("PUT", "/config", Some(json!({"compatibility": "SIDEWARD"})))
        .await;
    api.call("PUT", "/config", Some(json!({}))).await;
    api.call(
        "PUT",
        "/config",
        Some(json!({"compatibility": "FULL", "normalize": true})),
    )
    .await;
    // A level may be set before there is a version.
    api.call(
        "PUT",
        "/config/later-value",
        Some(json!({"compatibility": "FORWARD"})),
    )
    .await;
    api.get("/config/later-value").await;
    api.get("/subjects").await;
    insta::assert_snapshot!(api.transcript());
}

#[tokio::test]
async fn deletion() {
    let mut api = Api::dev().await;
    let versions = "/subjects/orders-value/versions";
    for fields in [&["id"][..], &["id", "a?"], &["id", "a?", "b?"]] {
        api.register("orders-value", &order(fields)).await;
    }
    for (method, path) in [
        ("DELETE", format!("{versions}/9")),
        ("DELETE", format!("{versions}/1?permanent=true")),
        ("DELETE", format!("{versions}/1")),
        ("DELETE", format!("{versions}/1")),
        ("GET", versions.to_owned()),
        ("GET", format!("{versions}?deleted=true")),
        ("GET", format!("{versions}?deletedOnly=true")),
        ("GET", format!("{versions}/1")),
        ("GET", format!("{versions}/1?deleted=true")),
        ("GET", "/schemas/ids/1".to_owned()),
        ("GET", "/schemas/ids/1/subjects".to_owned()),
        ("GET", "/schemas/ids/1/subjects?deleted=true".to_owned()),
        ("DELETE", format!("{versions}/1?permanent=true")),
        ("GET", "/schemas/ids/1".to_owned()),
        ("DELETE", format!("{versions}/latest")),
        ("DELETE", "/subjects/orders-value?permanent=true".to_owned()),
        ("DELETE", "/subjects/orders-value".to_owned()),
        ("DELETE", "/subjects/orders-value".to_owned()),
        ("GET", "/subjects".to_owned()),
        ("GET", "/subjects?deleted=true".to_owned()),
        ("GET", "/subjects?deletedOnly=true".to_owned()),
        ("GET", versions.to_owned()),
    ] {
        api.call(method, &path, None).await;
    }
    // What was only soft-deleted keeps its id and gets a new version.
    api.register("orders-value", &order(&["id", "a?"])).await;
    api.call("DELETE", "/subjects/orders-value", None).await;
    api.call("DELETE", "/subjects/orders-value?permanent=true", None)
        .await;
    api.get("/subjects?deleted=true").await;
    // What is gone for good never gives its id to another.
    api.register("orders-value", &order(&["other"])).await;
    api.get(&format!("{versions}/latest")).await;
    insta::assert_snapshot!(api.transcript());
}

#[tokio::test]
async fn references() {
    let mut api = Api::dev().await;
    let money = r#"{"type":"record","name":"shop.Money","fields":[{"name":"cents","type":"long"}]}"#;
    let line = r#"{"type":"record","name":"shop.Line","fields":[{"name":"price","type":"Money"}]}"#;
    let order = r#"{"type":"record","name":"shop.Order","fields":[{"name":"total","type":"Money"},{"name":"lines","type":{"type":"array","items":"shop.Line"}}]}"#;
    let to_money = json!({"name": "shop.Money", "subject": "money", "version": -1});
    api.register("money", money).await;
    api.call("POST", "/subjects/line/versions", Some(json!({"schema": line})))
        .await;
    api.call(
        "POST",
        "/subjects/line/versions",
        Some(json!({"schema": line, "references": [to_money]})),
    )
    .await;
    let references = json!([to_money, {"name": "shop.Line", "subject": "line", "version": 1}]);
    api.call(
        "POST",
        "/subjects/order/versions",
        Some(json!({"schema": order, "references": references})),
    )
    .await;
    api.call(
        "POST",
        "/subjects/order",
        Some(json!({"schema": order, "references": references})),
    )
    .await;
    api.call(
        "POST",
        "/subjects/order",
        Some(json!({"schema": order, "references": []})),
    )
    .await;
    for path in [
        "/subjects/order/versions/1",
        "/subjects/money/versions/1/referencedby",
        "/subjects/line/versions/latest/referencedby",
        "/subjects/order/versions/1/referencedby",
        "/subjects/nobody/versions/1/referencedby",
    ] {
        api.get(path).await;
    }
    let changed = order.replace("\"total\"", "\"sum\"");
    let body = json!({"schema": changed, "references": references});
    api.call(
        "POST",
        "/compatibility/subjects/order/versions/latest?verbose=true",
        Some(body),
    )
    .await;
    api.call("DELETE", "/subjects/money", None).await;
    api.call("DELETE", "/subjects/line/versions/1", None).await;
    api.call("DELETE", "/subjects/order", None).await;
    api.call("DELETE", "/subjects/line", None).await;
    insta::assert_snapshot!(api.transcript());
}

async fn answer(api: &Api, request: Request<Body>) -> (StatusCode, String) {
    let response = api.router.clone().oneshot(request).await.unwrap();
    (
        response.status(),
        response.headers()["content-type"].to_str().unwrap().to_owned(),
    )
}

#[tokio::test]
async fn media_types() {
    let api = Api::dev().await;
    for (accept, expected) in [
        ("*/*", MEDIA_TYPE),
        ("application/json", "application/json"),
        (
            "application/vnd.schemaregistry+json; q=0.9, application/json",
            "application/vnd.schemaregistry+json",
        ),
        ("text/html", MEDIA_TYPE),
    ] {
        let request = Request::get("/subjects")
            .header("accept", accept)
            .body(Body::empty())
            .unwrap();
        assert_eq!(
            answer(&api, request).await,
            (StatusCode::OK, expected.to_owned()),
            "{accept}"
        );
    }
    for (kind, expected) in [
        ("application/json; charset=utf-8", StatusCode::OK),
        ("application/vnd.schemaregistry+json", StatusCode::OK),
        ("application/octet-stream", StatusCode::OK),
        (
            "application/x-www-form-urlencoded",
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ),
    ] {
        let body = r#"{"schema":"\"int\""}"#;
        let request = Request::post("/subjects/s/versions").header("content-type", kind);
        let request = request
            .header("content-length", body.len())
            .body(Body::from(body))
            .unwrap();
        assert_eq!(answer(&api, request).await.0, expected, "{kind}");
    }
    let huge = Body::from(vec![b' '; 4 << 20]);
    let request = Request::post("/subjects/s/versions")
        .header("content-type", MEDIA_TYPE)
        .body(huge)
        .unwrap();
    assert_eq!(answer(&api, request).await.0, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn health_and_metrics() {
    let mut api = Api::dev().await;
    api.register("orders-value", &order(&["id"])).await;
    api.get("/schemas/ids/7").await;
    for path in ["/health/live", "/health/ready"] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        assert_eq!(answer(&api, request).await.0, StatusCode::OK, "{path}");
    }
    let request = Request::get("/metrics").body(Body::empty()).unwrap();
    let response = api.router.clone().oneshot(request).await.unwrap();
    let text = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    insta::assert_snapshot!(String::from_utf8(text.to_vec()).unwrap());
}
