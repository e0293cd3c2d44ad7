# in-order: a process acknowledges a diversion and goes on directly
# crates/flow/src/diversion/line.rs
s/Phase::Diverting | Phase::Diverted => Way::Park { epoch },/Phase::Diverted => Way::Park { epoch }, Phase::Diverting => open_way,/
