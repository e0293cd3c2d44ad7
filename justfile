# Everything that a change must pass; `just check lint tests` runs only these steps.
check *steps:
    ./test {{steps}}

# The platform and its story on real orders, in a temporary directory.
demo *arguments:
    cargo run --release -- demo {{arguments}}

# Apache Kafka on free ports; prints where, and the folder that `scripts/kafka/stop` takes.
kafka *arguments:
    scripts/kafka/start {{arguments}}

# The fault scenarios with many seeds; `just soak 100` for longer.
soak seeds="20":
    scripts/reliability --seeds {{seeds}}

# What a shared standby store costs, in one run: appends by store and writers, the first park of a partition, drains, the function.
bench-standby *addresses:
    cargo bench -p evenkeel-store --features aws,postgres --bench stores
    cargo bench -p evenkeel --features evenkeel-store/postgres --bench fleet -- {{addresses}}
    cargo bench -p evenkeel-lambda --bench function
