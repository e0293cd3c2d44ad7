//! Walks a request by its shape before it is decoded.
//!
//! The decoder allocates for the counts that it is told. So every count, length and tag is first followed through the
//! bytes that are really there: what passes has all the elements it announces, and no more of them than the limit.
//! A tagged field that is known must be exactly as long as it says, for the decoder does not look at that.

use super::shapes::{Field, Kind, Shape};

/// Why a request is not decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("it ends in the middle of {0}")]
    Short(&'static str),
    #[error("the length of {0} cannot be")]
    Length(&'static str),
    #[error("it has more elements than the limit")]
    Elements,
    #[error("tag {0} is repeated or out of order")]
    Tag(u32),
}

/// What is left to read, and how many elements may still come.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Walk<'a> {
    bytes: &'a [u8],
    elements: u32,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(bytes: &'a [u8], elements: u32) -> Self {
        Self { bytes, elements }
    }

    /// The bytes that are left.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// Walks the header of a request: key, version, correlation id, client id, tagged fields.
    pub(crate) fn header(&mut self, flexible: bool) -> Result<(), Malformed> {
        self.skip(8, "the header")?;
        // The client id has a plain length in every version (KIP-482).
        self.text("client_id", false)?;
        if flexible { self.tags(&[], 0) } else { Ok(()) }
    }

    /// Walks a whole body. Bytes after its end are not looked at, as Apache Kafka does not: librdkafka 2 writes three after
    /// a Metadata request for all topics.
    pub(crate) fn body(&mut self, shape: &Shape, version: i16) -> Result<(), Malformed> {
        self.fields(shape.fields, version, version >= shape.flexible)
    }

    fn fields(&mut self, fields: &'static [Field], version: i16, flexible: bool) -> Result<(), Malformed> {
        for field in fields
            .iter()
            .filter(|field| field.tag.is_none() && field.is_in(version))
        {
            self.value(field.name, &field.kind, version, flexible)?;
        }
        if flexible {
            self.tags(fields, version)
        } else {
            Ok(())
        }
    }

    fn value(
        &mut self,
        name: &'static str,
        kind: &Kind,
        version: i16,
        flexible: bool,
    ) -> Result<(), Malformed> {
        match kind {
            Kind::Fixed(bytes) => self.skip(*bytes, name),
            Kind::Text => self.text(name, flexible),
            Kind::Blob => {
                let length = if flexible {
                    self.compact(name)?
                } else {
                    self.plain(name)?
                };
                self.skip(length.unwrap_or(0), name)
            }
            Kind::Nested(fields) => self.fields(fields, version, flexible),
            Kind::ListOf(element) => self.each(name, flexible, |walk| {
                walk.value(name, element, version, flexible)
            }),
        }
    }

    fn each(
        &mut self,
        name: &'static str,
        flexible: bool,
        mut element: impl FnMut(&mut Self) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        let count = if flexible {
            self.compact(name)?
        } else {
            self.plain(name)?
        };
        for _ in 0..count.unwrap_or(0) {
            self.elements = self.elements.checked_sub(1).ok_or(Malformed::Elements)?;
            element(self)?;
        }
        Ok(())
    }

    fn text(&mut self, name: &'static str, flexible: bool) -> Result<(), Malformed> {
        let length = if flexible {
            self.compact(name)?
        } else {
            self.short(name)?
        };
        self.skip(length.unwrap_or(0), name)
    }

    fn tags(&mut self, fields: &'static [Field], version: i16) -> Result<(), Malformed> {
        let count = self.varint("the tagged fields")?;
        let mut next = 0;
        for _ in 0..count {
            self.elements = self.elements.checked_sub(1).ok_or(Malformed::Elements)?;
            let tag = self.varint("a tag")?;
            if tag < next {
                return Err(Malformed::Tag(tag));
            }
            next = tag.checked_add(1).ok_or(Malformed::Tag(tag))?;
            let length = usize::try_from(self.varint("a tag")?).map_err(|_| Malformed::Length("a tag"))?;
            let Some((inside, rest)) = self.bytes.split_at_checked(length) else {
                return Err(Malformed::Short("a tagged field"));
            };
            if let Some(field) = fields.iter().find(|field| field.tag == Some(tag)) {
                let mut walk = Walk {
                    bytes: inside,
                    elements: self.elements,
                };
                walk.value(field.name, &field.kind, version, true)?;
                if !walk.bytes.is_empty() {
                    return Err(Malformed::Length(field.name));
                }
                self.elements = walk.elements;
            }
            self.bytes = rest;
        }
        Ok(())
    }

    fn skip(&mut self, count: usize, name: &'static str) -> Result<(), Malformed> {
        self.bytes = self.bytes.get(count..).ok_or(Malformed::Short(name))?;
        Ok(())
    }

    fn take<const N: usize>(&mut self, name: &'static str) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.bytes.split_first_chunk().ok_or(Malformed::Short(name))?;
        self.bytes = rest;
        Ok(*taken)
    }

    /// A length of 16 bits; -1 is null.
    fn short(&mut self, name: &'static str) -> Result<Option<usize>, Malformed> {
        length(i32::from(i16::from_be_bytes(self.take(name)?)), name)
    }

    /// A length of 32 bits; -1 is null.
    fn plain(&mut self, name: &'static str) -> Result<Option<usize>, Malformed> {
        length(i32::from_be_bytes(self.take(name)?), name)
    }

    /// A length plus one as a varint; 0 is null.
    fn compact(&mut self, name: &'static str) -> Result<Option<usize>, Malformed> {
        let value = self.varint(name)?;
        value
            .checked_sub(1)
            .map(|length| usize::try_from(length).map_err(|_| Malformed::Length(name)))
            .transpose()
    }

    /// An unsigned varint of 32 bits, in at most five bytes.
    fn varint(&mut self, name: &'static str) -> Result<u32, Malformed> {
        let mut value = 0_u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.take(name)?;
            let bits = u32::from(byte & 0x7f);
            if shift == 28 && bits > 0x0f {
                return Err(Malformed::Length(name));
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed::Length(name))
    }
}

fn length(value: i32, name: &'static str) -> Result<Option<usize>, Malformed> {
    match value {
        -1 => Ok(None),
        value => usize::try_from(value)
            .map(Some)
            .map_err(|_| Malformed::Length(name)),
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::ApiKey;
    use proptest::prelude::*;

    use super::super::shapes::SHAPES;
    use super::*;
    use crate::fuzzing::decode;

    const ELEMENTS: u32 = 10_000;

    /// Writes a body of a shape; what is free to choose is drawn from `choices`.
    struct Writer {
        bytes: Vec<u8>,
        choices: std::vec::IntoIter<u8>,
        version: i16,
        flexible: bool,
    }

    impl Writer {
        fn choose(&mut self, below: u8) -> u8 {
            self.choices.next().unwrap_or(1) % below
        }

        fn varint(&mut self, mut value: u32) {
            while value >= 0x80 {
                self.bytes.push((value & 0x7f) as u8 | 0x80);
                value >>= 7;
            }
            self.bytes.push(value as u8);
        }

        fn length(&mut self, length: u32, wide: bool) {
            match (self.flexible, wide) {
                (true, _) => self.varint(length + 1),
                (false, true) => self.bytes.extend(length.to_be_bytes()),
                (false, false) => self.bytes.extend((length as u16).to_be_bytes()),
            }
        }

        fn fields(&mut self, fields: &'static [Field]) {
            let version = self.version;
            for field in fields
                .iter()
                .filter(|field| field.tag.is_none() && field.is_in(version))
            {
                self.value(&field.kind);
            }
            if self.flexible {
                self.tags(fields);
            }
        }

        fn tags(&mut self, fields: &'static [Field]) {
            let known: Vec<_> = fields
                .iter()
                .filter(|field| field.tag.is_some() && field.is_in(self.version))
                .collect();
            let written: Vec<_> = known.into_iter().filter(|_| self.choose(2) == 1).collect();
            let unknown = u32::from(self.choose(2));
            self.varint(written.len() as u32 + unknown);
            for field in written {
                self.varint(field.tag.unwrap());
                let outside = std::mem::take(&mut self.bytes);
                self.value(&field.kind);
                let inside = std::mem::replace(&mut self.bytes, outside);
                self.varint(inside.len() as u32);
                self.bytes.extend(inside);
            }
            if unknown == 1 {
                self.bytes.extend([99, 2, 7, 7]);
            }
        }

        fn value(&mut self, kind: &'static Kind) {
            match kind {
                Kind::Fixed(size) => {
                    for place in 0..*size {
                        let byte = self.choose(2) * u8::from(place + 1 == *size);
                        self.bytes.push(byte);
                    }
                }
                Kind::Text | Kind::Blob => {
                    let length = u32::from(self.choose(4));
                    self.length(length, matches!(kind, Kind::Blob));
                    self.bytes.extend(vec![b'a'; length as usize]);
                }
                Kind::Nested(fields) => self.fields(fields),
                Kind::ListOf(element) => {
                    let count = u32::from(self.choose(3));
                    self.length(count, true);
                    for _ in 0..count {
                        self.value(element);
                    }
                }
            }
        }
    }

    fn body(shape: &Shape, version: i16, choices: Vec<u8>) -> Vec<u8> {
        let flexible = version >= shape.flexible;
        let mut writer = Writer {
            bytes: Vec::new(),
            choices: choices.into_iter(),
            version,
            flexible,
        };
        writer.fields(shape.fields);
        writer.bytes
    }

    /// How many bytes the walk leaves, or its refusal.
    fn scan(shape: &Shape, version: i16, bytes: &[u8]) -> Result<usize, Malformed> {
        let mut walk = Walk::new(bytes, ELEMENTS);
        walk.body(shape, version)?;
        Ok(walk.rest().len())
    }

    fn every_version() -> impl Strategy<Value = (&'static Shape, i16)> {
        let all: Vec<_> = SHAPES
            .iter()
            .flat_map(|shape| (shape.versions.0..=shape.versions.1).map(|version| (*shape, version)))
            .collect();
        prop::sample::select(all)
    }

    #[test]
    fn every_shape_in_every_version_is_what_the_decoder_reads() {
        for shape in SHAPES {
            for version in shape.versions.0..=shape.versions.1 {
                for choices in 0..=255_u8 {
                    let choices =
                        (0..100_u8).map(|place| place.wrapping_mul(choices).rotate_left(3) ^ choices);
                    let bytes = body(shape, version, choices.collect());
                    let place = format!("{:?} version {version}: {bytes:?}", shape.key);
                    assert_eq!(scan(shape, version, &bytes), Ok(0), "{place}");
                    assert_eq!(decode(shape.key, version, &bytes), Ok(0), "{place}");
                }
            }
        }
    }

    #[test]
    fn every_cut_is_refused() {
        for shape in SHAPES {
            for version in shape.versions.0..=shape.versions.1 {
                let bytes = body(shape, version, vec![1; 100]);
                for cut in 0..bytes.len() {
                    assert!(
                        scan(shape, version, &bytes[..cut]).is_err(),
                        "{:?} version {version}",
                        shape.key
                    );
                }
            }
        }
    }

    #[test]
    fn a_count_is_believed_only_with_the_bytes_behind_it() {
        let metadata = super::super::shapes::of(ApiKey::Metadata as i16).unwrap();
        assert_eq!(
            scan(metadata, 1, &[0x7f, 0xff, 0xff, 0xff]),
            Err(Malformed::Short("name"))
        );
        assert_eq!(
            scan(metadata, 9, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
            Err(Malformed::Short("name"))
        );
    }

    #[test]
    fn elements_are_counted() {
        let metadata = super::super::shapes::of(ApiKey::Metadata as i16).unwrap();
        let many = |count: u32| [count.to_be_bytes().to_vec(), vec![0; count as usize * 2]].concat();
        assert_eq!(scan(metadata, 1, &many(ELEMENTS)), Ok(0));
        assert_eq!(scan(metadata, 1, &many(ELEMENTS + 1)), Err(Malformed::Elements));
    }

    #[test]
    fn a_known_tag_must_be_as_long_as_it_says() {
        let fetch = super::super::shapes::of(ApiKey::Fetch as i16).unwrap();
        let mut bytes = body(fetch, 12, vec![0; 100]);
        bytes.pop();
        bytes.extend([1, 0, 2, 2, b'a']);
        assert_eq!(scan(fetch, 12, &bytes), Ok(0));
        let end = bytes.len();
        bytes[end - 2] = 1;
        assert_eq!(scan(fetch, 12, &bytes), Err(Malformed::Length("cluster_id")));
        bytes[end - 2] = 3;
        assert_eq!(scan(fetch, 12, &bytes), Err(Malformed::Short("cluster_id")));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

        /// What passes the scan is decoded to the same byte or refused by the decoder; it never walks another way.
        #[test]
        fn the_decoder_follows_the_scan(
            (shape, version) in every_version(),
            choices in prop::collection::vec(any::<u8>(), 0..60),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        ) {
            let mut bytes = body(shape, version, choices);
            for (place, byte) in changes {
                if !bytes.is_empty() {
                    let place = place.index(bytes.len());
                    bytes[place] = byte;
                }
            }
            if let Ok(walked) = scan(shape, version, &bytes) {
                let left = decode(shape.key, version, &bytes);
                prop_assert!(left.is_err() || left == Ok(walked), "{left:?}, {walked} walked");
            }
        }

        #[test]
        fn noise_never_panics((shape, version) in every_version(), bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(walked) = scan(shape, version, &bytes) {
                let left = decode(shape.key, version, &bytes);
                prop_assert!(left.is_err() || left == Ok(walked), "{left:?}, {walked} walked");
            }
        }
    }
}
