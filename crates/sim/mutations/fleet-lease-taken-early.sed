# in-order: a lease is taken from its holder before it has run out
# crates/flow/src/diversion/watch.rs
s/now >= entry.since + settings.outlasts(lease.duration)/true/
