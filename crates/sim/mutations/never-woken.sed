# restartable: nothing is sent again after a failure
# crates/flow/src/session/partition.rs
s/Some(self.health.retry_at),/None,/
