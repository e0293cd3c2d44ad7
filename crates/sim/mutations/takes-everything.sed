# bounded: what waits is not bounded
# crates/flow/src/session/append.rs
s/self.batches.len() < settings.waiting_batches_max/self.batches.len() < 1_000/
