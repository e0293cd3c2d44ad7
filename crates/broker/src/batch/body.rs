//! The part of a record that does not depend on its place in a batch.

use super::build::{length, put_varint};

/// A record's key, value and headers as a batch holds them (KIP-98), made before it is known where the record goes, in
/// memory that is used again from record to record.
///
/// [`begin`](Self::begin), then as many headers as were told, then [`Builder::put_body`](super::Builder::put_body).
#[derive(Debug, Default)]
pub struct Body {
    bytes: Vec<u8>,
}

impl Body {
    /// Most bytes that are kept for the next record.
    const KEPT_BYTES_MAX: usize = 64 << 10;

    /// Begins a record that will have `header_count` headers.
    pub fn begin(&mut self, key: Option<&[u8]>, value: Option<&[u8]>, header_count: usize) {
        if self.bytes.capacity() > Self::KEPT_BYTES_MAX {
            self.bytes = Vec::new();
        }
        self.bytes.clear();
        put_field(&mut self.bytes, key);
        put_field(&mut self.bytes, value);
        put_varint(&mut self.bytes, length(header_count));
    }

    /// Adds a header behind the others.
    pub fn header(&mut self, name: &[u8], value: Option<&[u8]>) {
        put_header(&mut self.bytes, name, value);
    }

    /// Adds what [`put_header`] wrote before.
    pub fn raw_headers(&mut self, headers: &[u8]) {
        self.bytes.extend_from_slice(headers);
    }

    /// The record as far as it is made.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Appends a header as a record holds it.
pub fn put_header(out: &mut Vec<u8>, name: &[u8], value: Option<&[u8]>) {
    put_field(out, Some(name));
    put_field(out, value);
}

/// Appends a field behind its length; a length of -1 is null.
pub(super) fn put_field(out: &mut Vec<u8>, field: Option<&[u8]>) {
    match field {
        Some(bytes) => {
            put_varint(out, length(bytes.len()));
            out.extend_from_slice(bytes);
        }
        None => put_varint(out, -1),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Batch, Builder, Compression};
    use super::*;
    use evenkeel_event::clock::Timestamp;

    type Field<'bytes> = Option<&'bytes [u8]>;

    /// Both ways into a batch give the same bytes.
    #[test]
    fn a_body_is_what_a_record_has_wherever_it_stands() {
        let long = vec![b'x'; 20_000];
        let records: [(Field<'_>, Field<'_>); 4] = [
            (Some(b"key"), Some(b"value")),
            (None, Some(&long)),
            (Some(b""), None),
            (None, None),
        ];
        let headers = [
            evenkeel_event::Header::new("ce_id", "1"),
            evenkeel_event::Header {
                name: "none".to_owned(),
                value: None,
            },
        ];
        let (mut whole, mut parts) = (Builder::new(1 << 22), Builder::new(1 << 22));
        let mut body = Body::default();
        let now = Timestamp::from_millis(7);
        for (key, value) in records.into_iter().cycle().take(300) {
            whole.push(key, value, &headers, now).unwrap();
            body.begin(key, value, headers.len());
            let mut raw = Vec::new();
            put_header(&mut raw, b"ce_id", Some(b"1"));
            body.raw_headers(&raw);
            body.header(b"none", None);
            parts.put_body(&body, now).unwrap();
        }
        let finish = |builder: Builder| builder.finish(Compression::None).unwrap().unstamped().unwrap();
        let (whole, parts) = (finish(whole), finish(parts));
        assert_eq!(whole, parts);
        assert_eq!(
            Batch::read(parts).unwrap().open(1 << 30).unwrap().iter().count(),
            300
        );
    }

    #[test]
    fn a_body_that_does_not_fit_leaves_the_batch_as_it_was() {
        let mut builder = Builder::new(100);
        let mut body = Body::default();
        body.begin(None, Some(&[0; 20]), 0);
        let now = Timestamp::from_millis(1);
        builder.put_body(&body, now).unwrap();
        let before = builder.bytes();
        assert!(builder.put_body(&body, now).is_err());
        assert_eq!((builder.bytes(), builder.count()), (before, 1));
    }
}
