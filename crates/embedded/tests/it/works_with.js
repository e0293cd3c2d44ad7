// Plays the rows of the README's table with kafkajs: a line for each, its name, a tab, what it did.
const { Kafka, CompressionTypes, logLevel } = require('kafkajs');

const broker = process.argv[process.argv.length - 1];
const kafka = new Kafka({ clientId: 'judge', brokers: [broker], logLevel: logLevel.NOTHING });
const done = (feature, cell = 'yes') => console.log(`${feature}\t${cell}`);
const check = (holds, what) => { if (!holds) throw new Error(what); };

async function consume(groupId, count) {
  const consumer = kafka.consumer({ groupId, sessionTimeout: 10000 });
  await consumer.connect();
  await consumer.subscribe({ topics: ['t'], fromBeginning: true });
  let seen = 0;
  await new Promise((resolve, reject) => {
    consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error));
    consumer.run({ eachMessage: async () => { if (++seen === count) resolve(); } }).catch(reject);
  });
  await consumer.stop();
  await consumer.disconnect();
}

async function play() {
  const admin = kafka.admin();
  await admin.connect();
  await admin.createTopics({ topics: [{ topic: 't', numPartitions: 1 }, { topic: 'gone' }] });
  await admin.deleteTopics({ topics: ['gone'] });
  check((await admin.listTopics()).join() === 't', 'topics');
  done('topics: list, create, delete');

  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 });
  await producer.connect();
  const messages = [1, 2, 3, 4, 5].map(number => ({ key: `k${number}`, value: `v${number}` }));
  await producer.send({ topic: 't', messages });
  await producer.send({ topic: 't', messages, compression: CompressionTypes.GZIP });
  await producer.disconnect();
  await consume('g', 10);
  done('produce and consume');
  done('compression', 'gzip');
  const [{ partitions }] = await admin.fetchOffsets({ groupId: 'g', topics: ['t'] });
  check(partitions[0].offset === '10', `committed ${partitions[0].offset}`);
  done('groups: join, commit, go on');

  await admin.createPartitions({ topicPartitions: [{ topic: 't', count: 3 }] });
  const [metadata] = (await admin.fetchTopicMetadata({ topics: ['t'] })).topics;
  check(metadata.partitions.length === 3, 'partitions');
  done('more partitions');
  const resource = { type: 2, name: 't' };
  await admin.alterConfigs({
    resources: [{ ...resource, configEntries: [{ name: 'retention.ms', value: '7777777' }] }],
  });
  const { resources } = await admin.describeConfigs({ resources: [{ ...resource, configNames: ['retention.ms'] }] });
  check(resources[0].configEntries[0].configValue === '7777777', 'settings');
  done('topic settings, read and changed');

  const first = (await admin.fetchTopicOffsets('t')).find(({ partition }) => partition === 0);
  check(first.low === '0' && first.high === '10', `offsets ${first.low} ${first.high}`);
  done('offsets: first, last, newest', 'first, last');
  await admin.deleteTopicRecords({ topic: 't', partitions: [{ partition: 0, offset: '5' }] });
  const after = (await admin.fetchTopicOffsets('t')).find(({ partition }) => partition === 0);
  check(after.low === '5', `first offset ${after.low}`);
  done('delete records');

  const { groups } = await admin.describeGroups(['g']);
  check(groups[0].state === 'Empty', groups[0].state);
  await admin.deleteGroups(['g']);
  done('groups: describe, delete');
  await admin.disconnect();

  const transactional = kafka.producer({ transactionalId: 'tx', maxInFlightRequests: 1, idempotent: true, retry: { retries: 1 } });
  await transactional.connect();
  const refused = await transactional.transaction().then(() => null, error => error);
  // kafkajs hides the reason behind its own words.
  check(refused && refused.name === 'KafkaJSGroupCoordinatorNotFound', `transactions: ${refused}`);
  done('transactions', 'refused');
  await transactional.disconnect();
}

play().then(() => process.exit(0), error => { console.error(error); process.exit(1); });
