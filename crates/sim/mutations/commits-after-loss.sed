# commit-last: a lost partition is committed
# crates/flow/src/commit.rs
s/(!self.lost \&\& /(/
