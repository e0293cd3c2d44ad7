"""Plays the rows of the README's table with Confluent's Python client: a line for each, its name, a tab, what it did."""

import sys

from confluent_kafka import (
    Consumer, KafkaException, Producer, TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic, OffsetSpec,
)

servers = {"bootstrap.servers": sys.argv[-1]}
admin = AdminClient(servers)


def done(feature, cell="yes"):
    print(f"{feature}\t{cell}", flush=True)


def wait(futures):
    return {key: future.result() for key, future in futures.items()}


def produce(topic, count, **settings):
    errors = []
    producer = Producer({**servers, "enable.idempotence": True, **settings})
    for number in range(count):
        producer.produce(topic, b"v%d" % number, key=b"k%d" % number, on_delivery=lambda e, m: e and errors.append(e))
    assert producer.flush(60) == 0 and not errors, errors


def consume(topic, group, count, **settings):
    consumer = Consumer({
        **servers, "group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False, **settings,
    })
    consumer.subscribe([topic])
    seen = 0
    while seen < count:
        for message in consumer.consume(count - seen, 1.0):
            assert not message.error(), message.error()
            seen += 1
    consumer.commit(asynchronous=False)
    consumer.close()


wait(admin.create_topics([NewTopic("t", 1, 1), NewTopic("gone", 1, 1)]))
wait(admin.delete_topics(["gone"]))
topics = admin.list_topics().topics
assert set(topics) == {"t"}, topics
done("topics: list, create, delete")

codecs = ["gzip", "snappy", "lz4", "zstd"]
for codec in codecs:
    produce("t", 10, **{"compression.type": codec})
consume("t", "g", 30)
done("produce and consume")
done("compression", ", ".join(codecs))
consume("t", "g", 10)
done("groups: join, commit, go on")
produce("t", 2)
for _ in range(2):
    consume("t", "static", 21, **{"group.instance.id": "one", "session.timeout.ms": 6000})
done("static members")

wait(admin.create_partitions([NewPartitions("t", 3)]))
while len(admin.list_topics("t").topics["t"].partitions) != 3:
    pass
done("more partitions")
entry = ConfigEntry("retention.ms", "7777777", incremental_operation=AlterConfigOpType.SET)
resource = ConfigResource("topic", "t", incremental_configs=[entry])
wait(admin.incremental_alter_configs([resource]))
resource = ConfigResource("topic", "t")
assert wait(admin.describe_configs([resource]))[resource]["retention.ms"].value == "7777777"
done("topic settings, read and changed")

partition = TopicPartition("t", 0)


def offset(spec):
    return wait(admin.list_offsets({partition: spec}))[partition].offset


assert (offset(OffsetSpec.earliest()), offset(OffsetSpec.latest())) == (0, 42)
assert 0 <= offset(OffsetSpec.max_timestamp()) < 42
done("offsets: first, last, newest")
wait(admin.delete_records([TopicPartition("t", 0, 5)]))
assert offset(OffsetSpec.earliest()) == 5
done("delete records")

description = wait(admin.describe_consumer_groups(["g"]))["g"]
assert str(description.state).endswith("EMPTY"), description.state
wait(admin.delete_consumer_groups(["g"]))
done("groups: describe, delete")

try:
    producer = Producer({**servers, "transactional.id": "tx"})
    producer.init_transactions(30)
    raise SystemExit("a transaction was begun")
except KafkaException as error:
    assert error.args[0].name() == "TRANSACTIONAL_ID_AUTHORIZATION_FAILED", error
done("transactions", "refused at once")
