"""A member of a group by librdkafka. Arguments: bootstrap, group, topic, assignor.

Tells what it reads, one line for each run of offsets: `@ read PARTITION FIRST LAST`. Closes when it is terminated."""

import signal
import sys

from confluent_kafka import Consumer, KafkaException

bootstrap, group, topic, assignor = sys.argv[1:]
stopping = []
signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
consumer = Consumer({
    "bootstrap.servers": bootstrap,
    "group.id": group,
    "partition.assignment.strategy": assignor,
    "session.timeout.ms": 6000,
    "heartbeat.interval.ms": 500,
    "auto.offset.reset": "earliest",
    "enable.auto.commit": False,
})
consumer.subscribe([topic])


def tell(runs):
    for partition, first, last in runs:
        sys.stdout.write(f"@ read {partition} {first} {last}\n")
    sys.stdout.flush()


while not stopping:
    runs = []
    for message in consumer.consume(500, 0.1):
        if message.error():
            continue
        partition, offset = message.partition(), message.offset()
        last = next((run for run in reversed(runs) if run[0] == partition), None)
        if last and last[2] + 1 == offset:
            last[2] = offset
        else:
            runs.append([partition, offset, offset])
    tell(runs)
    if runs:
        try:
            consumer.commit(asynchronous=False)
        except KafkaException:
            # A rebalance is under way: whoever gets the partitions reads them again.
            pass
consumer.close()
