"""Judge of the demo: Confluent's Python client and Avro deserializer read its topic and add up revenue per country.

Usage: orders.py BROKERS TOPIC REGISTRY CONSTRUCTED CSV REPORT
CONSTRUCTED is the id of the order that the demo made up. Ends with "judged" when the topic agrees with the file and with
the demo's report.
"""

import csv
import json
import sys
from collections import defaultdict
from decimal import Decimal

from confluent_kafka import Consumer, KafkaError, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

PATIENCE_SECONDS = 120


def records(brokers, topic):
    """Every record of the topic, partition by partition in its order, up to the end."""
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": "judge",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    partitions = consumer.list_topics(topic, timeout=PATIENCE_SECONDS).topics[topic].partitions
    consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
    unfinished = set(partitions)
    while unfinished:
        record = consumer.poll(PATIENCE_SECONDS)
        assert record is not None, f"nothing came for {PATIENCE_SECONDS} s"
        if record.error() is None:
            yield record
        elif record.error().code() == KafkaError._PARTITION_EOF:
            unfinished.discard(record.partition())
        else:
            raise AssertionError(record.error())
    consumer.close()


def totals_of_topic(brokers, topic, registry, constructed):
    deserialize = AvroDeserializer(SchemaRegistryClient({"url": registry}))
    context = SerializationContext(topic, MessageField.VALUE)
    totals, ids = defaultdict(Decimal), set()
    for record in records(brokers, topic):
        headers = {name: value.decode() for name, value in record.headers()}
        if headers["ce_id"] == constructed:
            continue
        order = deserialize(record.value(), context)
        assert order["invoice_no"] == headers["ce_id"], headers
        assert record.key().decode() == (order["customer_id"] or order["invoice_no"]), headers
        assert order["invoice_no"] not in ids, f"{order['invoice_no']} is there twice"
        ids.add(order["invoice_no"])
        totals[order["country"]] += sum((line["quantity"] * line["unit_price"] for line in order["lines"]), Decimal(0))
    return ids, totals


def totals_of_file(path):
    totals, ids = defaultdict(Decimal), set()
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            ids.add(row["invoice_no"])
            totals[row["country"]] += int(row["quantity"]) * Decimal(row["unit_price"])
    return ids, totals


def main():
    brokers, topic, registry, constructed, path, report = sys.argv[1:]
    ids, totals = totals_of_topic(brokers, topic, registry, constructed)
    expected_ids, expected_totals = totals_of_file(path)
    assert ids == expected_ids, ids ^ expected_ids
    assert totals == expected_totals, (totals, expected_totals)
    with open(report, encoding="utf-8") as file:
        reported = json.load(file)["totals"]
    assert {country: Decimal(total) for country, total in reported.items()} == totals, (reported, totals)
    print("judged")


main()
