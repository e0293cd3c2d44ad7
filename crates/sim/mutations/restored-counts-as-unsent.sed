# once: a stored stamp counts as never sent
# crates/flow/src/session/drain.rs
s/uncertain: true,/uncertain: false,/
