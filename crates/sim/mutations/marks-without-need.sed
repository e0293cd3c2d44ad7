# once: a lost answer is searched for instead of asked again
# crates/flow/src/session/answered.rs
s/if trouble.class() == Class::Decide/if may_have_landed/
