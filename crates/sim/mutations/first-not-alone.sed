# in-order: the first batch under an epoch does not go alone
# crates/flow/src/session/identity.rs
s/.is_some_and(|at| wall.since(at) <= fresh_for)/.is_none_or(|at| wall.since(at) <= fresh_for)/
