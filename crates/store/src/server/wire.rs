//! The bytes of records and leases. Numbers are LEB128, because most are small.

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_event::{TopicId, TopicName};
use evenkeel_flow::diversion::{Diversion, Lease, Phase, Process};

use crate::Place;
use crate::disk::codec::Fields;

/// Bytes of a number at most.
const NUMBER_BYTES_MAX: u32 = 10;

/// The format of a lease.
const LEASE_FORMAT: u8 = 1;

pub(super) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(u8::try_from(number & 0x7f).unwrap_or(0) | 0x80);
        number >>= 7;
    }
    out.push(u8::try_from(number).unwrap_or(0));
}

pub(super) fn number(fields: &mut Fields<'_>) -> Option<u64> {
    let mut number = 0_u64;
    for byte in 0..NUMBER_BYTES_MAX {
        let next = fields.u8()?;
        let bits = u64::from(next & 0x7f);
        let shifted = bits << (7 * byte);
        if shifted >> (7 * byte) != bits {
            return None;
        }
        number |= shifted;
        if next & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// A signed number, small ones short in both directions.
pub(super) fn put_signed(out: &mut Vec<u8>, number: i64) {
    put_number(
        out,
        (number.cast_unsigned() << 1) ^ (number >> 63).cast_unsigned(),
    );
}

pub(super) fn signed(fields: &mut Fields<'_>) -> Option<i64> {
    let folded = number(fields)?;
    Some((folded >> 1).cast_signed() ^ -((folded & 1).cast_signed()))
}

/// How many items follow, believed only when the bytes that are left can hold as many of at least `each` bytes.
pub(super) fn count(fields: &mut Fields<'_>, each: usize) -> Option<usize> {
    let count = usize::try_from(number(fields)?).ok()?;
    (count.checked_mul(each)? <= fields.rest().len()).then_some(count)
}

pub(super) fn put_diversion(out: &mut Vec<u8>, diversion: &Diversion) {
    put_number(out, diversion.epoch);
    out.push(match diversion.phase {
        Phase::Open => 0,
        Phase::Diverting => 1,
        Phase::Diverted => 2,
        Phase::Closing => 3,
    });
    out.extend_from_slice(&diversion.topic_id.0);
    put_signed(out, i64::from(diversion.partition_count));
    out.push(u8::from(diversion.drainer.is_some()));
    if let Some(drainer) = diversion.drainer {
        out.extend_from_slice(&drainer.0.to_le_bytes());
    }
    put_number(out, diversion.term);
}

pub(super) fn diversion(fields: &mut Fields<'_>) -> Option<Diversion> {
    let epoch = number(fields)?;
    let phase = match fields.u8()? {
        0 => Phase::Open,
        1 => Phase::Diverting,
        2 => Phase::Diverted,
        3 => Phase::Closing,
        _ => return None,
    };
    Some(Diversion {
        epoch,
        phase,
        topic_id: TopicId(fields.array()?),
        partition_count: i32::try_from(signed(fields)?).ok()?,
        drainer: match fields.u8()? {
            0 => None,
            _ => Some(Process(fields.u128()?)),
        },
        term: number(fields)?,
    })
}

pub(super) fn put_place(out: &mut Vec<u8>, place: &Place) {
    put_number(out, place.topic.as_str().len() as u64);
    out.extend_from_slice(place.topic.as_str().as_bytes());
    out.push(u8::from(place.partition.is_some()));
    put_signed(out, i64::from(place.partition.unwrap_or(0)));
}

fn place(fields: &mut Fields<'_>) -> Option<Place> {
    let length = count(fields, 1)?;
    let topic = std::str::from_utf8(fields.bytes(length)?).ok()?;
    let topic = TopicName::new(topic).ok()?;
    let is_known = fields.u8()? != 0;
    let partition = i32::try_from(signed(fields)?).ok()?;
    Some(Place {
        topic,
        partition: is_known.then_some(partition),
    })
}

pub(super) fn write_lease(lease: &Lease<Place>) -> Vec<u8> {
    let mut out = vec![LEASE_FORMAT];
    out.extend_from_slice(&lease.process.0.to_le_bytes());
    put_number(&mut out, lease.renewal);
    put_number(&mut out, lease.duration.as_secs());
    put_number(&mut out, u64::from(lease.duration.subsec_nanos()));
    put_number(&mut out, lease.acknowledged.len() as u64);
    for (place, epoch) in &lease.acknowledged {
        put_place(&mut out, place);
        put_number(&mut out, *epoch);
    }
    out
}

/// `None`: no lease in the format of this version.
pub(super) fn read_lease(bytes: &[u8]) -> Option<Lease<Place>> {
    let mut fields = Fields::new(bytes);
    if fields.u8()? != LEASE_FORMAT {
        return None;
    }
    let process = Process(fields.u128()?);
    let renewal = number(&mut fields)?;
    let secs = number(&mut fields)?;
    let nanos = u32::try_from(number(&mut fields)?)
        .ok()
        .filter(|nanos| *nanos < 1_000_000_000)?;
    let mut acknowledged = BTreeMap::new();
    for _ in 0..count(&mut fields, 4)? {
        acknowledged.insert(place(&mut fields)?, number(&mut fields)?);
    }
    fields.rest().is_empty().then_some(Lease {
        process,
        renewal,
        duration: Duration::new(secs, nanos),
        acknowledged,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        for expected in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut out = Vec::new();
            put_number(&mut out, expected);
            assert_eq!(number(&mut Fields::new(&out)), Some(expected));
        }
        for expected in [0, 1, -1, 63, -64, i64::MAX, i64::MIN] {
            let mut out = Vec::new();
            put_signed(&mut out, expected);
            assert_eq!(signed(&mut Fields::new(&out)), Some(expected));
        }
        for foreign in [&[0x80; 3][..], &[0xff; 10], &[0xff; 11]] {
            assert_eq!(number(&mut Fields::new(foreign)), None);
        }
    }

    #[test]
    fn counts_are_checked_against_what_is_left() {
        let mut out = Vec::new();
        put_number(&mut out, 1 << 40);
        assert_eq!(count(&mut Fields::new(&out), 4), None);
    }
}
