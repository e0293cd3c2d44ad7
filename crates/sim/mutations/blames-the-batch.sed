# told-apart: a refused batch is not split
# crates/flow/src/session/decide.rs
s/front.payload.count() > 1 =>/front.payload.count() > 1_000 =>/
