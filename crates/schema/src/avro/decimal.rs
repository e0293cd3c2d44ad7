//! Decimals as text and as the big-endian two's complement of their unscaled value. Never through a float.

/// Most digits of any decimal, whatever its schema's precision; conversion is quadratic beyond 38.
const DIGITS_MAX: usize = 1_200;

/// Digits that any i128 holds.
const SMALL_DIGITS_MAX: usize = 38;

/// A decimal type's shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Decimal {
    pub(super) precision: u32,
    pub(super) scale: u32,
    /// Bytes of the fixed it stands on; `None` on bytes.
    pub(super) size: Option<usize>,
}

/// Why a text is no value of a decimal type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bad {
    /// Not a decimal number.
    Form,
    /// More digits after the point than the scale, other than zeros.
    Scale,
    /// More digits than the precision.
    Precision,
}

impl Decimal {
    /// Appends the unscaled value of a number written as JSON writes numbers. On bytes, without the length.
    pub(super) fn put(&self, out: &mut Vec<u8>, text: &str) -> Result<(), Bad> {
        let number = Number::parse(text)?;
        let from = out.len();
        if let Some(value) = self.small(&number) {
            out.extend_from_slice(trimmed(&value?.to_be_bytes()));
            if let Some(size) = self.size {
                extend(out, from, size);
            }
            return Ok(());
        }
        let digits = self.unscaled(&number)?;
        match digits.parse::<i128>() {
            Ok(value) => {
                let value = if number.negative { -value } else { value };
                out.extend_from_slice(trimmed(&value.to_be_bytes()));
            }
            Err(_) if digits.is_empty() => out.push(0),
            Err(_) => put_large(out, &digits, number.negative),
        }
        if let Some(size) = self.size {
            extend(out, from, size);
        }
        Ok(())
    }

    /// The value times 10^scale, when no exponent is written and all of it surely fits 16 bytes: nearly always.
    fn small(&self, number: &Number<'_>) -> Option<Result<i128, Bad>> {
        let scale = self.scale as usize;
        if number.exponent != 0 || number.whole.len() + scale.max(number.fraction.len()) > SMALL_DIGITS_MAX {
            return None;
        }
        let (kept, rest) = number
            .fraction
            .split_at_checked(scale)
            .unwrap_or((number.fraction, ""));
        if rest.bytes().any(|digit| digit != b'0') {
            return Some(Err(Bad::Scale));
        }
        let digits = number.whole.bytes().chain(kept.bytes());
        let value = digits.fold(0_i128, |value, digit| value * 10 + i128::from(digit & 0xf));
        let value = value * 10_i128.pow(u32::try_from(scale - kept.len()).ok()?);
        if 10_i128
            .checked_pow(self.precision)
            .is_some_and(|bound| value >= bound)
        {
            return Some(Err(Bad::Precision));
        }
        Some(Ok(if number.negative { -value } else { value }))
    }

    /// Digits of the value times 10^scale.
    fn unscaled(&self, number: &Number<'_>) -> Result<String, Bad> {
        let mut digits: String = [number.whole, number.fraction].concat();
        let significant = digits.trim_start_matches('0').len();
        if significant == 0 {
            return Ok("0".to_owned());
        }
        let shift = i64::from(self.scale) + number.exponent
            - i64::try_from(number.fraction.len()).unwrap_or(i64::MAX / 4);
        if shift < 0 {
            let drop = usize::try_from(-shift).map_err(|_| Bad::Scale)?;
            let keep = digits.len().checked_sub(drop).ok_or(Bad::Scale)?;
            if digits.bytes().skip(keep).any(|digit| digit != b'0') {
                return Err(Bad::Scale);
            }
            digits.truncate(keep);
        } else {
            let zeros = usize::try_from(shift)
                .ok()
                .filter(|zeros| *zeros <= DIGITS_MAX)
                .ok_or(Bad::Precision)?;
            digits.extend(std::iter::repeat_n('0', zeros));
        }
        let digits = digits.trim_start_matches('0');
        if digits.len() > self.digits_max() {
            return Err(Bad::Precision);
        }
        Ok(digits.to_owned())
    }

    fn digits_max(&self) -> usize {
        (self.precision as usize).min(DIGITS_MAX)
    }

    /// Writes an unscaled value as text with `scale` digits after the point.
    pub(super) fn text(&self, bytes: &[u8]) -> Result<String, Bad> {
        let (negative, mut digits) = self.digits(bytes)?;
        let scale = self.scale as usize;
        if scale > 0 {
            if digits.len() <= scale {
                digits.insert_str(0, &"0".repeat(scale + 1 - digits.len()));
            }
            digits.insert(digits.len() - scale, '.');
        }
        if negative {
            digits.insert(0, '-');
        }
        Ok(digits)
    }

    /// Whether the bytes are a value of this type, without making text of them unless they are many.
    pub(super) fn holds(&self, bytes: &[u8]) -> bool {
        match small(bytes) {
            Some(value) => match 10_u128.checked_pow(self.precision) {
                Some(bound) => value.unsigned_abs() < bound,
                None => true,
            },
            None => self.digits(bytes).is_ok(),
        }
    }

    fn digits(&self, bytes: &[u8]) -> Result<(bool, String), Bad> {
        if let Some(value) = small(bytes) {
            let magnitude = value.unsigned_abs();
            let digits =
                u64::try_from(magnitude).map_or_else(|_| magnitude.to_string(), |small| small.to_string());
            if digits.len() > self.digits_max() {
                return Err(Bad::Precision);
            }
            return Ok((value < 0, digits));
        }
        let bytes = trimmed(bytes);
        // A byte holds more than 2.4 digits; so many bytes hold surely more digits than allowed.
        if bytes.is_empty() || bytes.len() / 2 > self.digits_max() {
            return Err(if bytes.is_empty() {
                Bad::Form
            } else {
                Bad::Precision
            });
        }
        let digits = large_digits(bytes);
        if digits.len() > self.digits_max() {
            return Err(Bad::Precision);
        }
        Ok((is_negative(bytes), digits))
    }
}

struct Number<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
    exponent: i64,
}

impl<'a> Number<'a> {
    fn parse(text: &'a str) -> Result<Self, Bad> {
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().map_err(|_| Bad::Form)?),
            None => (rest, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || (mantissa.ends_with('.')) || !digits(whole) || !digits(fraction) {
            return Err(Bad::Form);
        }
        if whole.len() + fraction.len() > 2 * DIGITS_MAX {
            return Err(Bad::Precision);
        }
        Ok(Self {
            negative,
            whole,
            fraction,
            exponent: i64::from(exponent),
        })
    }
}

/// The value of up to 16 bytes.
fn small(bytes: &[u8]) -> Option<i128> {
    let (first, _) = bytes.split_first()?;
    if bytes.len() > 16 {
        return None;
    }
    let sign = if *first >= 0x80 { -1_i128 } else { 0 };
    Some(
        bytes
            .iter()
            .fold(sign, |value, byte| (value << 8) | i128::from(*byte)),
    )
}

fn is_negative(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| *first >= 0x80)
}

/// Without leading bytes that only repeat the sign.
fn trimmed(mut bytes: &[u8]) -> &[u8] {
    while let [first, second, ..] = bytes {
        if (*first == 0 && *second < 0x80) || (*first == 0xff && *second >= 0x80) {
            bytes = bytes.get(1..).unwrap_or_default();
        } else {
            break;
        }
    }
    bytes
}

/// Repeats the sign in front until `size` bytes are there. The schema's precision fits its size.
fn extend(out: &mut Vec<u8>, from: usize, size: usize) {
    let have = out.len().saturating_sub(from);
    let sign = if out.get(from..).is_some_and(is_negative) {
        0xff
    } else {
        0
    };
    out.splice(from..from, std::iter::repeat_n(sign, size.saturating_sub(have)));
}

fn put_large(out: &mut Vec<u8>, digits: &str, negative: bool) {
    // Little-endian limbs of 32 bits, multiplied by ten per digit.
    let mut limbs: Vec<u32> = vec![0];
    for digit in digits.bytes() {
        let mut carry = u64::from(digit - b'0');
        for limb in &mut limbs {
            let value = u64::from(*limb) * 10 + carry;
            *limb = value as u32;
            carry = value >> 32;
        }
        if carry > 0 {
            limbs.push(carry as u32);
        }
    }
    let mut bytes: Vec<u8> = std::iter::once(0)
        .chain(limbs.iter().rev().flat_map(|limb| limb.to_be_bytes()))
        .collect();
    if negative {
        negate(&mut bytes);
    }
    out.extend_from_slice(trimmed(&bytes));
}

fn negate(bytes: &mut [u8]) {
    let mut carry = true;
    for byte in bytes.iter_mut().rev() {
        let (value, over) = (!*byte).overflowing_add(u8::from(carry));
        *byte = value;
        carry = over;
    }
}

fn large_digits(bytes: &[u8]) -> String {
    let mut magnitude: Vec<u8> = std::iter::once(if is_negative(bytes) { 0xff } else { 0 })
        .chain(bytes.iter().copied())
        .collect();
    if is_negative(bytes) {
        negate(&mut magnitude);
    }
    let mut groups = Vec::new();
    while magnitude.iter().any(|byte| *byte != 0) {
        let mut rest = 0_u64;
        for byte in &mut magnitude {
            let value = (rest << 8) | u64::from(*byte);
            *byte = (value / 1_000_000_000) as u8;
            rest = value % 1_000_000_000;
        }
        groups.push(rest);
    }
    let mut digits = groups.pop().unwrap_or_default().to_string();
    for group in groups.iter().rev() {
        digits.push_str(&format!("{group:09}"));
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(precision: u32, scale: u32) -> Decimal {
        Decimal {
            precision,
            scale,
            size: None,
        }
    }

    #[test]
    fn texts_become_bytes_and_come_back() {
        let check = |ty: Decimal, text: &str, bytes: &[u8], back: &str| {
            let mut out = Vec::new();
            assert_eq!(ty.put(&mut out, text), Ok(()), "{text}");
            assert_eq!(out, bytes, "{text}");
            assert!(ty.holds(&out), "{text}");
            assert_eq!(ty.text(&out).as_deref(), Ok(back), "{text}");
        };
        check(decimal(4, 2), "2.55", &[0, 0xff], "2.55");
        check(decimal(4, 2), "-2.55", &[0xff, 1], "-2.55");
        check(decimal(4, 2), "0", &[0], "0.00");
        check(decimal(4, 2), "-0.05", &[0xfb], "-0.05");
        check(decimal(4, 2), "1e1", &[3, 0xe8], "10.00");
        check(decimal(4, 2), "1.500000", &[0, 0x96], "1.50");
        check(decimal(4, 2), "+99.99", &[0x27, 0x0f], "99.99");
        check(decimal(3, 0), "128", &[0, 0x80], "128");
        check(
            Decimal {
                size: Some(4),
                ..decimal(4, 2)
            },
            "-0.01",
            &[0xff; 4],
            "-0.01",
        );
        check(
            decimal(60, 0),
            &format!("1{}", "0".repeat(40)),
            &{
                let mut bytes = vec![0x1d];
                bytes.extend(0x6329_f1c3_5ca4_bfab_b9f5_6100_0000_0000_u128.to_be_bytes());
                bytes
            },
            &format!("1{}", "0".repeat(40)),
        );
    }

    #[test]
    fn large_values_come_back() {
        for text in [
            "123456789012345678901234567890123456789012345678.90",
            "-123456789012345678901234567890123456789012345678.90",
            "-170141183460469231731687303715884105728.00",
        ] {
            let mut out = Vec::new();
            decimal(60, 2).put(&mut out, text).unwrap();
            assert!(decimal(60, 2).holds(&out));
            assert_eq!(decimal(60, 2).text(&out).as_deref(), Ok(text));
            assert!(!decimal(40, 2).holds(&out));
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let check =
            |ty: Decimal, text: &str, bad: Bad| assert_eq!(ty.put(&mut Vec::new(), text), Err(bad), "{text}");
        for text in [
            "", "-", "free", "1.", ".5", "1,5", "0x10", "1e", "--1", "NaN", "1 ",
        ] {
            check(decimal(9, 2), text, Bad::Form);
        }
        check(decimal(9, 2), "1.001", Bad::Scale);
        check(decimal(9, 2), "1e-3", Bad::Scale);
        check(decimal(9, 2), "1e-2000000000", Bad::Scale);
        check(decimal(4, 2), "100", Bad::Precision);
        check(decimal(4, 2), "1e2000000000", Bad::Precision);
        check(decimal(4, 2), &"1".repeat(3000), Bad::Precision);
        assert!(!decimal(2, 0).holds(&[100]));
        assert!(!decimal(2, 0).holds(&[]));
        assert_eq!(decimal(2, 0).text(&[]), Err(Bad::Form));
        assert_eq!(decimal(2, 0).text(&[1; 5000]), Err(Bad::Precision));
    }
}
