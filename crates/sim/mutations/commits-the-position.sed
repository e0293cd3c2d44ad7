# commit-last: what is delivered is committed
# crates/flow/src/commit.rs
s/.map_or(self.position, |(offset, _)| \*offset)/.map_or(self.position, |_| self.position)/
