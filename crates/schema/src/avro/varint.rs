//! Avro's variable-length integers (specification, "Primitive Types" of the binary encoding), shortest form only.

/// Appends a zig-zag integer.
pub(super) fn put(out: &mut Vec<u8>, value: i64) {
    let mut bits = ((value << 1) ^ (value >> 63)) as u64;
    while bits >= 0x80 {
        out.push((bits as u8 & 0x7f) | 0x80);
        bits >>= 7;
    }
    out.push(bits as u8);
}

/// Why an integer cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bad {
    /// The bytes end within it.
    Truncated,
    /// More than 64 bits, or not the shortest form.
    Form,
}

/// Reads a zig-zag integer; gives it with the bytes after it.
#[inline]
pub(super) fn get(bytes: &[u8]) -> Result<(i64, &[u8]), Bad> {
    match bytes.split_first() {
        Some((&first, rest)) if first < 0x80 => {
            let bits = i64::from(first);
            Ok(((bits >> 1) ^ -(bits & 1), rest))
        }
        Some((&first, rest)) => get_long(first, rest),
        None => Err(Bad::Truncated),
    }
}

fn get_long(first: u8, mut rest: &[u8]) -> Result<(i64, &[u8]), Bad> {
    let mut bits = u64::from(first & 0x7f);
    for shift in (7..64).step_by(7) {
        let Some((&byte, after)) = rest.split_first() else {
            return Err(Bad::Truncated);
        };
        rest = after;
        bits |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            if byte == 0 || (shift == 63 && byte > 1) {
                return Err(Bad::Form);
            }
            return Ok(((bits >> 1) as i64 ^ -((bits & 1) as i64), rest));
        }
    }
    Err(Bad::Form)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_come_back() {
        let check = |value: i64, length: usize| {
            let mut out = Vec::new();
            put(&mut out, value);
            assert_eq!(out.len(), length, "{value}");
            assert_eq!(get(&out), Ok((value, &[][..])), "{value}");
            assert_eq!(get(&out[..length - 1]), Err(Bad::Truncated), "{value}");
        };
        check(0, 1);
        check(-64, 1);
        check(64, 2);
        check(-65, 2);
        check(i64::from(i32::MIN), 5);
        check(i64::MAX, 10);
        check(i64::MIN, 10);
    }

    #[test]
    fn longer_forms_are_refused() {
        assert_eq!(get(&[0x80, 0]), Err(Bad::Form));
        assert_eq!(
            get(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]),
            Err(Bad::Form)
        );
        assert_eq!(get(&[0xff; 11]), Err(Bad::Form));
    }
}
