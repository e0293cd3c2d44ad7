# owned: a batch is removed as soon as it is sent
# crates/flow/src/session/send.rs
s/batch.attempt = Some(Attempt { number, alone });/batch.attempt = Some(Attempt { number, alone }); if matches!(batch.home, Home::Stored(_)) { batch.state = State::Done; }/
