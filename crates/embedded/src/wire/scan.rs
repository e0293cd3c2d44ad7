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
    #[error("{0} bytes are left after its end")]
    Trailing(usize),
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

    /// Walks a whole body; nothing may be left after it.
    pub(crate) fn body(&mut self, shape: &Shape, version: i16) -> Result<(), Malformed> {
        self.fields(shape.fields, version, version >= shape.flexible)?;
        if self.bytes.is_empty() {
            Ok(())
        } else {
            Err(Malformed::Trailing(self.bytes.len()))
        }
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
