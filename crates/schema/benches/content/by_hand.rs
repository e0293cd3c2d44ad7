//! The scans that a careful person would write for these two schemas and no other. They make the same checks.

type Rest<'a> = Option<&'a [u8]>;

fn varint(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let mut bits = 0_u64;
    for (at, byte) in bytes.iter().take(10).enumerate() {
        bits |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            if (at > 0 && *byte == 0) || (at == 9 && *byte > 1) {
                return None;
            }
            return Some(((bits >> 1) as i64 ^ -((bits & 1) as i64), bytes.get(at + 1..)?));
        }
    }
    None
}

fn bytes(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = varint(bytes)?;
    rest.split_at_checked(usize::try_from(length).ok()?)
}

fn text(rest: &[u8]) -> Rest<'_> {
    let (text, rest) = bytes(rest)?;
    std::str::from_utf8(text).ok()?;
    Some(rest)
}

fn optional_text(rest: &[u8]) -> Rest<'_> {
    match varint(rest)? {
        (0, rest) => Some(rest),
        (1, rest) => text(rest),
        _ => None,
    }
}

fn int(rest: &[u8]) -> Rest<'_> {
    let (value, rest) = varint(rest)?;
    i32::try_from(value).ok()?;
    Some(rest)
}

/// At most 12 digits.
fn decimal(rest: &[u8]) -> Rest<'_> {
    let (unscaled, rest) = bytes(rest)?;
    let first = *unscaled.first()?;
    if unscaled.len() > 8 {
        return None;
    }
    let sign = if first >= 0x80 { -1_i64 } else { 0 };
    let value = unscaled
        .iter()
        .fold(sign, |value, byte| (value << 8) | i64::from(*byte));
    (value.unsigned_abs() < 1_000_000_000_000).then_some(rest)
}

fn scan_order(rest: &[u8]) -> Rest<'_> {
    let rest = text(rest)?;
    let rest = optional_text(rest)?;
    let rest = text(rest)?;
    let (_, rest) = varint(rest)?;
    let (currency, rest) = varint(rest)?;
    if !(0..3).contains(&currency) {
        return None;
    }
    let rest = decimal(rest)?;
    let rest = int(rest)?;
    let (gift, rest) = rest.split_first()?;
    if *gift > 1 {
        return None;
    }
    let rest = rest.get(8..)?;
    let rest = text(rest)?;
    let rest = text(rest)?;
    optional_text(rest)
}

fn scan_invoice(rest: &[u8]) -> Rest<'_> {
    let rest = text(rest)?;
    let rest = optional_text(rest)?;
    let mut rest = text(rest)?;
    loop {
        let (count, after) = varint(rest)?;
        rest = after;
        if count == 0 {
            return Some(rest);
        }
        if count < 0 {
            rest = varint(rest)?.1;
        }
        for _ in 0..count.unsigned_abs() {
            rest = text(rest)?;
            rest = text(rest)?;
            rest = int(rest)?;
            rest = decimal(rest)?;
        }
    }
}

pub(crate) fn order(bytes: &[u8]) -> bool {
    scan_order(bytes).is_some_and(<[u8]>::is_empty)
}

pub(crate) fn invoice(bytes: &[u8]) -> bool {
    scan_invoice(bytes).is_some_and(<[u8]>::is_empty)
}
