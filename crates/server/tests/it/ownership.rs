//! The invariant sole-writer: on every path that writes, only the owner does.

use axum::http::StatusCode;
use evenkeel_server::registry::Config;
use serde_json::{Value, json};

use crate::api::{Api, Topics, basic, order};

/// A registry that is not in `dev` mode, with the domains orders and loyalty, and a subject of orders.
async fn platform() -> (Api, Option<String>, Option<String>) {
    let mut api = Api::start(&Topics::default(), Config::default()).await;
    let orders = basic(
        "orders",
        api.domains.create("orders", false).await.unwrap().reveal(),
    );
    let loyalty = basic(
        "loyalty",
        api.domains.create("loyalty", false).await.unwrap().reveal(),
    );
    api.act_as(orders.clone());
    assert_eq!(
        api.register("orders-value", &order(&["id"])).await.0,
        StatusCode::OK
    );
    api.call(
        "PUT",
        "/config/orders-value",
        Some(json!({"compatibility": "FULL"})),
    )
    .await;
    api.transcript();
    (api, orders, loyalty)
}

/// Every request that changes the subject.
fn writes() -> Vec<(&'static str, &'static str, Option<Value>)> {
    vec![
        (
            "POST",
            "/subjects/orders-value/versions",
            Some(json!({"schema": order(&["id", "a?"])})),
        ),
        (
            "POST",
            "/subjects/orders-value/versions?normalize=true",
            Some(json!({"schema": r#""int""#})),
        ),
        (
            "POST",
            "/subjects/:.:orders-value/versions",
            Some(json!({"schema": order(&["id", "a?"])})),
        ),
        (
            "PUT",
            "/config/orders-value",
            Some(json!({"compatibility": "NONE"})),
        ),
        ("DELETE", "/config/orders-value", None),
        ("DELETE", "/subjects/orders-value/versions/1", None),
        ("DELETE", "/subjects/orders-value/versions/latest", None),
        ("DELETE", "/subjects/orders-value", None),
        ("DELETE", "/subjects/orders-value/versions/1?permanent=true", None),
        ("DELETE", "/subjects/orders-value?permanent=true", None),
    ]
}

#[tokio::test]
async fn others_are_refused_on_every_path_and_told_who_the_owner_is() {
    let (mut api, _, loyalty) = platform().await;
    api.act_as(loyalty);
    for (method, path, body) in writes() {
        let (status, answer) = api.call(method, path, body).await;
        assert_eq!(
            (status, &answer["error_code"]),
            (StatusCode::FORBIDDEN, &json!(40301)),
            "{method} {path}"
        );
        assert!(
            answer["message"]
                .as_str()
                .unwrap()
                .contains("owned by the domain 'orders'"),
            "{answer}"
        );
    }
    insta::assert_snapshot!(api.transcript().lines().nth(1).unwrap());
}

#[tokio::test]
async fn the_nameless_are_sent_for_credentials_on_every_path() {
    let (mut api, ..) = platform().await;
    api.act_as(None);
    for (method, path, body) in writes() {
        let (status, answer) = api.call(method, path, body).await;
        assert_eq!(
            (status, &answer["error_code"]),
            (StatusCode::UNAUTHORIZED, &json!(401)),
            "{method} {path}"
        );
    }
    let (status, _) = api.register("new-value", r#""int""#).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn reading_is_open_to_all() {
    let (mut api, _, loyalty) = platform().await;
    for caller in [None, loyalty] {
        api.act_as(caller);
        for path in [
            "/subjects",
            "/subjects/orders-value/versions/1",
            "/schemas/ids/1",
            "/config/orders-value",
        ] {
            assert_eq!(api.get(path).await.0, StatusCode::OK, "{path}");
        }
        let schema = json!({"schema": order(&["id"])});
        // Registering what is there is a read.
        let (status, answer) = api
            .call("POST", "/subjects/orders-value/versions", Some(schema.clone()))
            .await;
        assert_eq!((status, answer), (StatusCode::OK, json!({"id": 1})));
        assert_eq!(
            api.call("POST", "/subjects/orders-value", Some(schema.clone()))
                .await
                .0,
            StatusCode::OK
        );
        let path = "/compatibility/subjects/orders-value/versions/latest";
        assert_eq!(api.call("POST", path, Some(schema)).await.0, StatusCode::OK);
    }
}

#[tokio::test]
async fn others_may_refer_to_a_subject() {
    let (mut api, _, loyalty) = platform().await;
    api.act_as(loyalty);
    let schema = r#"{"type":"record","name":"loyalty.Points","fields":[{"name":"for","type":"shop.Order"}]}"#;
    let references = json!([{"name": "shop.Order", "subject": "orders-value", "version": 1}]);
    let body = json!({"schema": schema, "references": references});
    assert_eq!(
        api.call("POST", "/subjects/points-value/versions", Some(body))
            .await
            .0,
        StatusCode::OK
    );
}

#[tokio::test]
async fn the_global_settings_are_for_admins() {
    let (mut api, orders, _) = platform().await;
    let admin = basic(
        "platform",
        api.domains.create("platform", true).await.unwrap().reveal(),
    );
    let level = || Some(json!({"compatibility": "FULL"}));
    for (caller, expected) in [
        (None, StatusCode::UNAUTHORIZED),
        (orders, StatusCode::FORBIDDEN),
        (admin, StatusCode::OK),
    ] {
        api.act_as(caller);
        assert_eq!(api.call("PUT", "/config", level()).await.0, expected);
        assert_eq!(api.call("DELETE", "/config", None).await.0, expected);
    }
    insta::assert_snapshot!(api.transcript());
}

#[tokio::test]
async fn a_refused_schema_claims_nothing() {
    let (mut api, _, loyalty) = platform().await;
    api.act_as(loyalty);
    assert_eq!(
        api.register("fresh-value", "{").await.0,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    assert_eq!(
        api.domains
            .read(|state| state.owner("fresh-value").map(str::to_owned)),
        None
    );
    assert_eq!(api.register("fresh-value", r#""int""#).await.0, StatusCode::OK);
    assert_eq!(
        api.domains
            .read(|state| state.owner("fresh-value").map(str::to_owned)),
        Some("loyalty".to_owned())
    );
}

#[tokio::test]
async fn wrong_credentials_are_refused_whatever_is_asked() {
    let (mut api, orders, _) = platform().await;
    let bearer = orders.clone().unwrap().replace("Basic", "Bearer");
    for wrong in [
        basic("orders", "evk_guess"),
        basic("nobody", "evk_guess"),
        Some("Basic !".to_owned()),
        Some("Digest x".to_owned()),
        Some("Bearer".to_owned()),
        Some(bearer),
    ] {
        api.act_as(wrong);
        assert_eq!(api.get("/subjects").await.0, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn a_bearer_token_tells_its_domain() {
    let (mut api, ..) = platform().await;
    let token = api.domains.add_token("orders").await.unwrap();
    api.act_as(Some(format!("Bearer {}", token.reveal())));
    assert_eq!(
        api.register("orders-value", &order(&["id", "a?"])).await.0,
        StatusCode::OK
    );
}

#[tokio::test]
async fn in_dev_mode_the_nameless_are_anonymous() {
    let mut api = Api::dev().await;
    assert_eq!(
        api.register("orders-value", &order(&["id"])).await.0,
        StatusCode::OK
    );
    assert_eq!(
        api.domains
            .read(|state| state.owner("orders-value").map(str::to_owned)),
        Some("anonymous".to_owned())
    );
    let orders = basic(
        "orders",
        api.domains.create("orders", false).await.unwrap().reveal(),
    );
    api.act_as(orders);
    assert_eq!(
        api.register("orders-value", &order(&["id", "a?"])).await.0,
        StatusCode::FORBIDDEN
    );
}

#[tokio::test]
async fn what_another_registry_left_is_claimed_before_it_is_changed() {
    let topics = Topics::default();
    topics.schemas.push(evenkeel_server::journal::Entry {
        key: r#"{"keytype":"SCHEMA","subject":"old-value","version":1,"magic":1}"#.into(),
        value: Some(
            r#"{"subject":"old-value","version":1,"id":12,"schema":"\"int\"","deleted":false}"#.into(),
        ),
    });
    let mut api = Api::start(&topics, Config::default()).await;
    let orders = basic(
        "orders",
        api.domains.create("orders", false).await.unwrap().reveal(),
    );
    api.act_as(orders);
    assert_eq!(
        api.call("DELETE", "/subjects/old-value", None).await.0,
        StatusCode::FORBIDDEN
    );
    api.domains.claim("old-value", "orders").await.unwrap();
    assert_eq!(
        api.call("DELETE", "/subjects/old-value", None).await.0,
        StatusCode::OK
    );
    insta::assert_snapshot!(api.transcript());
}

#[tokio::test]
async fn what_domains_do_is_written_down() {
    let topics = Topics::default();
    let mut api = Api::start(&topics, Config::default()).await;
    let orders = basic(
        "orders",
        api.domains.create("orders", true).await.unwrap().reveal(),
    );
    api.act_as(orders);
    api.register("orders-value", &order(&["id"])).await;
    api.register("orders-value", &order(&["id"])).await;
    api.register("orders-value", "{").await;
    api.call(
        "PUT",
        "/config/orders-value",
        Some(json!({"compatibility": "FULL"})),
    )
    .await;
    api.call("DELETE", "/config/orders-value", None).await;
    api.call("PUT", "/config", Some(json!({"compatibility": "NONE"})))
        .await;
    api.call("DELETE", "/subjects/orders-value/versions/1", None)
        .await;
    api.call("DELETE", "/subjects/orders-value/versions/1?permanent=true", None)
        .await;
    let audit: Vec<String> = topics
        .evenkeel
        .records()
        .iter()
        .filter(|record| {
            record
                .key
                .as_ref()
                .is_some_and(|key| key.starts_with(br#"{"type":"audit""#))
        })
        .map(|record| {
            let value: Value = serde_json::from_slice(record.value.as_ref().unwrap()).unwrap();
            format!(
                "{} {} {} {}",
                value["domain"], value["action"], value["subject"], value["detail"]
            )
        })
        .collect();
    insta::assert_snapshot!(audit.join("\n"));
}
