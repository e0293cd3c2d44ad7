# once: what may have landed counts as not landed
# crates/flow/src/session/answered.rs
s/batch.uncertain |= may_have_landed;/batch.uncertain = false; let _ = may_have_landed;/
