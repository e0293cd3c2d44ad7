//! The scenarios that the program has: name and text of each file.

/// In the order in which they are listed.
pub(super) const SCENARIOS: &[(&str, &str)] = &[
    ("calm", include_str!("scenarios/calm.toml")),
    ("outage", include_str!("scenarios/outage.toml")),
    ("outage-heavy", include_str!("scenarios/outage-heavy.toml")),
    ("flap", include_str!("scenarios/flap.toml")),
    ("slow", include_str!("scenarios/slow.toml")),
    ("late-landing", include_str!("scenarios/late-landing.toml")),
    ("answers-lost", include_str!("scenarios/answers-lost.toml")),
    (
        "answers-lost-and-killed",
        include_str!("scenarios/answers-lost-and-killed.toml"),
    ),
    (
        "answers-lost-then-refused",
        include_str!("scenarios/answers-lost-then-refused.toml"),
    ),
    ("kill-publisher", include_str!("scenarios/kill-publisher.toml")),
    (
        "kill-at-each-step",
        include_str!("scenarios/kill-at-each-step.toml"),
    ),
    ("kill-drain", include_str!("scenarios/kill-drain.toml")),
    (
        "worker-takes-over",
        include_str!("scenarios/worker-takes-over.toml"),
    ),
    ("kill-broker", include_str!("scenarios/kill-broker.toml")),
    (
        "kill-two-brokers",
        include_str!("scenarios/kill-two-brokers.toml"),
    ),
    (
        "kill-all-brokers",
        include_str!("scenarios/kill-all-brokers.toml"),
    ),
    ("kill-everything", include_str!("scenarios/kill-everything.toml")),
    ("pause-leader", include_str!("scenarios/pause-leader.toml")),
    ("pause-followers", include_str!("scenarios/pause-followers.toml")),
    ("elections", include_str!("scenarios/elections.toml")),
    ("leaderless", include_str!("scenarios/leaderless.toml")),
    ("leader-taken", include_str!("scenarios/leader-taken.toml")),
    (
        "unclean-election",
        include_str!("scenarios/unclean-election.toml"),
    ),
    ("too-few-in-sync", include_str!("scenarios/too-few-in-sync.toml")),
    (
        "too-few-replicas",
        include_str!("scenarios/too-few-replicas.toml"),
    ),
    ("access-revoked", include_str!("scenarios/access-revoked.toml")),
    (
        "credentials-revoked",
        include_str!("scenarios/credentials-revoked.toml"),
    ),
    ("throttled", include_str!("scenarios/throttled.toml")),
    ("quota", include_str!("scenarios/quota.toml")),
    (
        "producers-forgotten",
        include_str!("scenarios/producers-forgotten.toml"),
    ),
    (
        "producers-forgotten-and-killed",
        include_str!("scenarios/producers-forgotten-and-killed.toml"),
    ),
    (
        "brokers-disk-full",
        include_str!("scenarios/brokers-disk-full.toml"),
    ),
    (
        "brokers-disk-slow",
        include_str!("scenarios/brokers-disk-slow.toml"),
    ),
    ("topic-recreated", include_str!("scenarios/topic-recreated.toml")),
    ("more-partitions", include_str!("scenarios/more-partitions.toml")),
    ("oversize", include_str!("scenarios/oversize.toml")),
    ("oversize-later", include_str!("scenarios/oversize-later.toml")),
    ("wrong-events", include_str!("scenarios/wrong-events.toml")),
    ("no-registry", include_str!("scenarios/no-registry.toml")),
    (
        "no-kafka-at-start",
        include_str!("scenarios/no-kafka-at-start.toml"),
    ),
    ("standby-full", include_str!("scenarios/standby-full.toml")),
    ("disk-full", include_str!("scenarios/disk-full.toml")),
    ("standby-slow", include_str!("scenarios/standby-slow.toml")),
    ("standby-gone", include_str!("scenarios/standby-gone.toml")),
    (
        "standby-throttled",
        include_str!("scenarios/standby-throttled.toml"),
    ),
    ("clock-off", include_str!("scenarios/clock-off.toml")),
    ("suspend", include_str!("scenarios/suspend.toml")),
];
