# in-order: callers are told Parked before every process knows of the diversion
# crates/flow/src/diversion/line.rs
s/let settled = matches!(record.phase, Phase::Diverted | Phase::Closing);/let settled = record.phase.takes_appends();/
