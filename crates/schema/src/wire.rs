//! Confluent's wire format: how the bytes on a topic say which schema they obey.

use bytes::{BufMut, Bytes, BytesMut};

use crate::violation::{Violation, ViolationKind};

/// Name of the header that holds the schema of a record's value in the header form.
pub const VALUE_SCHEMA_HEADER: &str = "__value_schema_id";
/// Name of the header that holds the schema of a record's key in the header form.
pub const KEY_SCHEMA_HEADER: &str = "__key_schema_id";
/// Bytes of the prefix: a zero and the id.
pub const PREFIX_BYTES: usize = 5;

const MAGIC_ID: u8 = 0;
const MAGIC_GUID: u8 = 1;

/// The id of a schema in a registry, 1 to 2^31 - 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SchemaId(pub i32);

impl std::fmt::Display for SchemaId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What names the schema of some content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SchemaRef {
    /// By its id in the registry.
    Id(SchemaId),
    /// By the registry's globally unique id (header form only).
    Guid([u8; 16]),
}

/// Content with the name of its schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Framed {
    /// The schema.
    pub schema: SchemaRef,
    /// The encoded value, without frame.
    pub content: Bytes,
}

/// Takes apart a record's value (or key). `header` is the value of [`VALUE_SCHEMA_HEADER`] (or [`KEY_SCHEMA_HEADER`])
/// if the record has it: the content is then all of `bytes`; else `bytes` begins with `0x00` and the id, big-endian.
///
/// # Errors
/// [`ViolationKind::Frame`] for bytes that are framed in neither way.
pub fn read(bytes: &Bytes, header: Option<&[u8]>) -> Result<Framed, Violation> {
    let frame = |message: String| Violation::new(ViolationKind::Frame, message);
    match header {
        Some([MAGIC_GUID, guid @ ..]) => {
            let guid = guid
                .try_into()
                .map_err(|_| frame("the schema header has no GUID of 16 bytes".to_owned()))?;
            Ok(Framed {
                schema: SchemaRef::Guid(guid),
                content: bytes.clone(),
            })
        }
        Some([MAGIC_ID, id @ ..]) => {
            let id = id
                .try_into()
                .map_err(|_| frame("the schema header has no id of 4 bytes".to_owned()))?;
            Ok(Framed {
                schema: SchemaRef::Id(SchemaId(i32::from_be_bytes(id))),
                content: bytes.clone(),
            })
        }
        Some(other) => Err(frame(format!(
            "the schema header begins with {:?}, not with 0 or 1",
            other.first()
        ))),
        None => match bytes.get(..PREFIX_BYTES) {
            Some([MAGIC_ID, id @ ..]) => {
                let id = id
                    .try_into()
                    .map_err(|_| frame("the prefix has no id of 4 bytes".to_owned()))?;
                let schema = SchemaRef::Id(SchemaId(i32::from_be_bytes(id)));
                Ok(Framed {
                    schema,
                    content: bytes.slice(PREFIX_BYTES..),
                })
            }
            Some([first, ..]) => {
                let message = format!(
                    "the first byte is {first}, not 0: no registry's client wrote this with a schema id"
                );
                Err(frame(message))
            }
            _ => Err(frame(format!(
                "{} bytes are too few for a schema id",
                bytes.len()
            ))),
        },
    }
}

/// The prefix for a schema id.
#[must_use]
pub fn prefix(id: SchemaId) -> [u8; PREFIX_BYTES] {
    let [a, b, c, d] = id.0.to_be_bytes();
    [MAGIC_ID, a, b, c, d]
}

/// Puts the prefix before encoded content.
#[must_use]
pub fn frame(id: SchemaId, content: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(PREFIX_BYTES + content.len());
    framed.put_slice(&prefix(id));
    framed.put_slice(content);
    framed.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_apart() {
        let check =
            |bytes: &'static [u8], header: Option<&[u8]>, expected: Option<(SchemaRef, &'static [u8])>| {
                let expected = expected.map(|(schema, content)| Framed {
                    schema,
                    content: Bytes::from_static(content),
                });
                assert_eq!(
                    read(&Bytes::from_static(bytes), header).ok(),
                    expected,
                    "{bytes:?} {header:?}"
                );
            };
        let id = |id| SchemaRef::Id(SchemaId(id));
        check(&[0, 0, 0, 1, 2, 9], None, Some((id(258), &[9])));
        check(&[0, 0, 0, 0, 7], None, Some((id(7), &[])));
        check(&[0, 0, 0, 7], None, None);
        check(&[1, 0, 0, 0, 7], None, None);
        check(b"{}", None, None);
        check(&[9], Some(&[0, 0, 0, 0, 7]), Some((id(7), &[9])));
        let guid = [1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
        check(
            &[9],
            Some(&guid),
            Some((
                SchemaRef::Guid([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]),
                &[9],
            )),
        );
        check(&[9], Some(&guid[..16]), None);
        check(&[9], Some(&[2]), None);
        check(&[9], Some(&[]), None);
        assert_eq!(&frame(SchemaId(258), &[9])[..], &[0, 0, 0, 1, 2, 9]);
    }
}
