//! What the event of a number is: publishers make it, the judge expects it.

/// The contract of the events.
pub(super) const SCHEMA: &str = r#"{"type":"record","name":"Checked","namespace":"evenkeel.verify","fields":[
{"name":"number","type":"long"},{"name":"filler","type":"string"}]}"#;

/// How a run's events are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Recipe {
    /// Tells this run's events from those of others.
    pub(super) run: u32,
    pub(super) publishers: u64,
    /// Of each publisher, or of all together.
    pub(super) keys: u64,
    /// Publishers share the keys.
    pub(super) shared: bool,
    pub(super) bytes: usize,
    pub(super) wrong_every: u64,
    pub(super) oversize_every: u64,
    /// Bytes of what is too large.
    pub(super) oversize_bytes: usize,
}

impl Recipe {
    /// The publisher that owns an event's key, and so the event.
    pub(super) const fn publisher(&self, number: u64) -> u64 {
        number % self.publishers
    }

    pub(super) fn id(&self, number: u64) -> String {
        format!("{:08x}-{number}", self.run)
    }

    /// The number of an id of this run.
    pub(super) fn number(&self, id: &[u8]) -> Option<u64> {
        let (run, number) = std::str::from_utf8(id).ok()?.split_once('-')?;
        (u32::from_str_radix(run, 16).ok()? == self.run).then_some(())?;
        number.parse().ok()
    }

    /// Keys are drawn, so that they do not come in turns.
    pub(super) fn key(&self, number: u64) -> String {
        match self.shared {
            true => format!("k{}", mixed(number) % self.keys),
            false => self.lane(number),
        }
    }

    /// Names the events of one key that one publisher published, one behind the other.
    pub(super) fn lane(&self, number: u64) -> String {
        let publisher = self.publisher(number);
        format!("p{publisher}-k{}", mixed(number) % self.keys)
    }

    /// The event violates its contract.
    pub(super) const fn is_wrong(&self, number: u64) -> bool {
        self.wrong_every > 0 && number % self.wrong_every == self.wrong_every - 1
    }

    /// The event is larger than its topic takes.
    pub(super) const fn is_oversize(&self, number: u64) -> bool {
        self.oversize_every > 0 && number % self.oversize_every == self.oversize_every - 1
    }

    /// The event's data as JSON.
    pub(super) fn data(&self, number: u64) -> String {
        let bytes = match self.is_oversize(number) {
            true => self.oversize_bytes,
            false => self.bytes.saturating_sub(10),
        };
        let mut text = String::with_capacity(bytes + 64);
        if self.is_wrong(number) {
            text.push_str("{\"number\":\"none\",\"filler\":\"");
        } else {
            text.push_str(&format!("{{\"number\":{number},\"filler\":\""));
        }
        let mut state = mixed(number);
        for place in 0..bytes {
            if place % 8 == 0 {
                state = mixed(state);
            }
            let [byte, ..] = (state >> (place % 8 * 8)).to_le_bytes();
            text.push(char::from(b'a' + byte % 26));
        }
        text.push_str("\"}");
        text
    }
}

/// A number that tells nothing of the one that it is made from (the finalizer of `MurmurHash3`).
const fn mixed(number: u64) -> u64 {
    let mut state = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    state = (state ^ (state >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    state = (state ^ (state >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    state ^ (state >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_known_by_its_id() {
        let recipe = Recipe {
            run: 0xab,
            publishers: 2,
            keys: 3,
            shared: false,
            bytes: 100,
            wrong_every: 5,
            oversize_every: 0,
            oversize_bytes: 0,
        };
        assert_eq!(recipe.number(recipe.id(17).as_bytes()), Some(17));
        assert_eq!(recipe.number(b"000000ac-17"), None);
        assert_eq!(recipe.number(b"17"), None);
        assert_eq!(recipe.key(17), recipe.key(17));
        assert!(recipe.key(17).starts_with("p1-"));
        assert!(recipe.is_wrong(4) && !recipe.is_wrong(5));
        let value: serde_json::Value = serde_json::from_str(&recipe.data(17)).unwrap();
        assert_eq!(value.get("number").and_then(serde_json::Value::as_u64), Some(17));
    }
}
