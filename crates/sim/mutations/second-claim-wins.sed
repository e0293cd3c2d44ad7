# once: a letter that another redrive claimed is sent
# crates/flow/src/redrive.rs
s/Claim::Anothers => State::Over/Claim::Anothers => State::Claimed/
