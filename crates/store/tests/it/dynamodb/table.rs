//! The table: made once, and used only where it is ours.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use evenkeel_store::Error;
use evenkeel_store::dynamodb::{Config, DynamoKeeper};

use super::{create, endpoint, fresh, keeper, settings};

#[tokio::test]
async fn a_table_is_made_once_by_any_number() {
    let Some(endpoint) = endpoint() else { return };
    let config = fresh();
    tokio::join!(
        create(endpoint, &config),
        create(endpoint, &config),
        create(endpoint, &config)
    );
    create(endpoint, &config).await;
    let (one, other) = tokio::join!(
        DynamoKeeper::connect_with(&config, settings(endpoint)),
        DynamoKeeper::connect_with(&config, settings(endpoint))
    );
    assert!(one.is_ok() && other.is_ok(), "{one:?} {other:?}");
}

#[tokio::test]
async fn a_missing_table_is_refused() {
    let Some(endpoint) = endpoint() else { return };
    let config = fresh();
    let refused = DynamoKeeper::connect_with(&config, settings(endpoint))
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::Refused { .. }), "{refused}");
    let said = refused.to_string();
    assert!(
        said.contains(&config.table) && said.contains("create the table"),
        "{said}"
    );
}

#[tokio::test]
async fn a_table_of_something_else_is_refused() {
    let Some(endpoint) = endpoint() else { return };
    let config = fresh();
    make_other(endpoint, &config).await;
    let refused = DynamoKeeper::create_table_with(&config, settings(endpoint))
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("name another table"), "{refused}");
    let refused = DynamoKeeper::connect_with(&config, settings(endpoint))
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::Refused { .. }), "{refused}");
    assert!(refused.to_string().contains("pk and sk"), "{refused}");
}

async fn make_other(endpoint: &str, config: &Config) {
    let id = KeySchemaElement::builder()
        .attribute_name("id")
        .key_type(KeyType::Hash);
    let attribute = AttributeDefinition::builder()
        .attribute_name("id")
        .attribute_type(ScalarAttributeType::S);
    Client::from_conf(settings(endpoint).build())
        .create_table()
        .table_name(&config.table)
        .key_schema(id.build().unwrap())
        .attribute_definitions(attribute.build().unwrap())
        .billing_mode(BillingMode::PayPerRequest)
        .send()
        .await
        .unwrap();
}

#[tokio::test]
async fn a_table_of_another_version_is_refused() {
    let Some(endpoint) = endpoint() else { return };
    let (config, _) = keeper(endpoint).await;
    Client::from_conf(settings(endpoint).build())
        .put_item()
        .table_name(&config.table)
        .item("pk", AttributeValue::S("format".to_owned()))
        .item("sk", AttributeValue::S("format".to_owned()))
        .item("rev", AttributeValue::N("2".to_owned()))
        .send()
        .await
        .unwrap();
    let refused = DynamoKeeper::connect_with(&config, settings(endpoint))
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::Foreign { .. }), "{refused}");
    let said = refused.to_string();
    assert!(said.contains("format is 2") && said.contains("knows 1"), "{said}");
}
