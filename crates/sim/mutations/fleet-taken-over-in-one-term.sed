# once: a drain is taken over without a new term, so that both store stamps
# crates/flow/src/diversion/line.rs
s/term: record.term + 1,/term: record.term,/
