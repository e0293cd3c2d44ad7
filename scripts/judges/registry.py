"""Judge of the registry: Confluent's own Python client and serializers against it.

Usage: registry.py URL OWNER:TOKEN OTHER:TOKEN
Ends with "judged" when everything went as with Confluent's registry.
"""

import sys
from urllib.parse import urlsplit

from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.serialization import MessageField, SerializationContext

V1 = '{"type":"record","name":"shop.Order","fields":[{"name":"id","type":"string"}]}'
V2 = (
    '{"type":"record","name":"shop.Order","fields":[{"name":"id","type":"string"},'
    '{"name":"customer","type":["null","string"],"default":null}]}'
)
BREAKING = '{"type":"record","name":"shop.Order","fields":[{"name":"number","type":"int"}]}'
LINE = '{"type":"record","name":"shop.Line","fields":[{"name":"of","type":"shop.Order"}]}'


def refused(code, call, *arguments, **options):
    """The call is refused with this error code."""
    try:
        call(*arguments, **options)
    except SchemaRegistryError as error:
        assert error.error_code == code, f"{error.error_code} instead of {code}: {error}"
        return error
    raise AssertionError(f"{call.__name__}{arguments} was not refused")


def registering(client):
    first = client.register_schema("orders-value", Schema(V1, "AVRO"))
    assert client.register_schema("orders-value", Schema(V1, "AVRO"), normalize_schemas=True) == first
    assert client.register_schema("copy-value", Schema(V1, "AVRO")) == first
    second = client.register_schema("orders-value", Schema(V2, "AVRO"))
    assert second > first
    refused(409, client.register_schema, "orders-value", Schema(BREAKING, "AVRO"))
    refused(42201, client.register_schema, "orders-value", Schema("{", "AVRO"))
    return first, second


def reading(client, first, second):
    assert client.get_schema(first).schema_type == "AVRO"
    assert client.get_schema_types() == ["AVRO"]
    assert client.get_subjects() == ["copy-value", "orders-value"]
    assert client.get_subjects(subject_prefix="or") == ["orders-value"]
    assert client.get_subjects_by_schema_id(first) == ["copy-value", "orders-value"]
    assert sorted(use.subject for use in client.get_schema_versions(first)) == ["copy-value", "orders-value"]
    assert client.get_versions("orders-value") == [1, 2]
    latest = client.get_latest_version("orders-value")
    assert (latest.version, latest.schema_id) == (2, second)
    assert client.get_version("orders-value", 1).schema_id == first
    found = client.lookup_schema("orders-value", Schema(V2, "AVRO"))
    assert (found.version, found.schema_id) == (2, second)
    refused(40401, client.get_latest_version, "nobody-value")
    refused(40402, client.get_version, "orders-value", 9)
    refused(40403, client.get_schema, 999)
    refused(40403, client.lookup_schema, "orders-value", Schema(BREAKING, "AVRO"))


def comparing(client):
    assert client.test_compatibility("orders-value", Schema(V1, "AVRO"))
    assert not client.test_compatibility("orders-value", Schema(BREAKING, "AVRO"))
    assert not client.test_compatibility_all_versions("orders-value", Schema(BREAKING, "AVRO"))
    assert client.get_compatibility() == "BACKWARD"
    client.set_compatibility("orders-value", level="FULL")
    assert client.get_compatibility("orders-value") == "FULL"
    assert client.get_config("orders-value").compatibility_level == "FULL"
    client.delete_config("orders-value")
    refused(40408, client.get_config, "orders-value")
    assert client.get_global_mode() == "READWRITE"


def serializing(client):
    context = SerializationContext("orders", MessageField.VALUE)
    serializer = AvroSerializer(client, V2)
    data = serializer({"id": "A-1", "customer": "C-7"}, context)
    assert data[0] == 0 and int.from_bytes(data[1:5], "big") == client.get_latest_version("orders-value").schema_id
    deserializer = AvroDeserializer(client)
    assert deserializer(data, context) == {"id": "A-1", "customer": "C-7"}


def referring(client):
    references = [SchemaReference("shop.Order", "orders-value", 2)]
    number = client.register_schema("lines-value", Schema(LINE, "AVRO", references))
    assert client.get_referenced_by("orders-value", 2) == [number]
    context = SerializationContext("lines", MessageField.VALUE)
    serializer = AvroSerializer(client, Schema(LINE, "AVRO", references))
    data = serializer({"of": {"id": "A-1", "customer": None}}, context)
    assert AvroDeserializer(client)(data, context) == {"of": {"id": "A-1", "customer": None}}
    refused(42206, client.delete_version, "orders-value", 2)
    client.delete_subject("lines-value")


def owning(other):
    refused(40301, other.register_schema, "orders-value", Schema('"int"', "AVRO"))
    refused(40301, other.delete_subject, "orders-value")
    assert other.register_schema("orders-value", Schema(V1, "AVRO")) == 1


def deleting(client):
    refused(40407, client.delete_version, "orders-value", 1, permanent=True)
    assert client.delete_version("orders-value", 1) == 1
    assert client.delete_version("orders-value", 1, permanent=True) == 1
    assert client.delete_subject("orders-value") == [2]
    assert client.get_subjects(deleted=True) == ["copy-value", "lines-value", "orders-value"]
    assert client.get_subjects() == ["copy-value"]


def client_of(url, credentials):
    return SchemaRegistryClient({"url": url, "basic.auth.user.info": credentials})


def main():
    url, owner, other = sys.argv[1:]
    assert urlsplit(url).hostname == "127.0.0.1"
    client = client_of(url, owner)
    first, second = registering(client)
    # Clients keep what they have seen: a fresh one asks.
    reading(client_of(url, owner), first, second)
    comparing(client)
    serializing(client_of(url, owner))
    referring(client_of(url, owner))
    owning(client_of(url, other))
    deleting(client_of(url, owner))
    print("judged")


main()
