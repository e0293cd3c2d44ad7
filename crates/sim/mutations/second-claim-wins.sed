# once: a letter that another redrive claimed is sent
# crates/flow/src/redrive.rs
s/if is_ours { State::Claimed } else { State::Over }/if is_ours { State::Claimed } else { State::Claimed }/
