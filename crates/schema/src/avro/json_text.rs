//! A reader of JSON text (RFC 8259), value by value, without building a tree.

use std::borrow::Cow;

use crate::violation::{Violation, ViolationKind};

use super::program::Shape;

/// A place in a JSON text. Copy it to come back to that place.
#[derive(Debug, Clone, Copy)]
pub(super) struct JsonText<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> JsonText<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The next byte that is no white space.
    fn token(&mut self) -> Option<u8> {
        while let Some(byte) = self.byte() {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
            self.at += 1;
        }
        None
    }

    /// The shape of the next value, told by its first character.
    pub(super) fn shape(&mut self) -> Result<Shape, Violation> {
        match self.token() {
            Some(b'{') => Ok(Shape::Object),
            Some(b'[') => Ok(Shape::List),
            Some(b'"') => Ok(Shape::Text),
            Some(b't' | b'f') => Ok(Shape::Boolean),
            Some(b'n') => Ok(Shape::Null),
            Some(b'-' | b'0'..=b'9') => Ok(Shape::Number),
            _ => Err(self.bad("a value")),
        }
    }

    /// Takes an opening bracket. Gives false when the closing one follows at once, which is taken too.
    pub(super) fn open(&mut self, open: u8, close: u8) -> Result<bool, Violation> {
        self.expect(open)?;
        if self.token() == Some(close) {
            self.at += 1;
            return Ok(false);
        }
        Ok(true)
    }

    /// Takes a comma, or the closing bracket: true if another item follows.
    pub(super) fn more(&mut self, close: u8) -> Result<bool, Violation> {
        match self.token() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(byte) if byte == close => {
                self.at += 1;
                Ok(false)
            }
            _ => Err(self.bad(if close == b'}' {
                "a comma or }"
            } else {
                "a comma or ]"
            })),
        }
    }

    /// Takes a member's name and the colon.
    pub(super) fn key(&mut self) -> Result<Cow<'a, str>, Violation> {
        if self.token() != Some(b'"') {
            return Err(self.bad("a member's name in double quotes"));
        }
        let key = self.string()?;
        self.expect(b':')?;
        Ok(key)
    }

    pub(super) fn null(&mut self) -> Result<(), Violation> {
        self.word("null")
    }

    pub(super) fn boolean(&mut self) -> Result<bool, Violation> {
        if self.token() == Some(b't') {
            return self.word("true").map(|()| true);
        }
        self.word("false").map(|()| false)
    }

    /// A number as it is written.
    pub(super) fn number(&mut self) -> Result<&'a str, Violation> {
        self.token();
        let from = self.at;
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        match self.byte() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.byte() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.byte() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(self.text.get(from..self.at).unwrap_or_default())
    }

    fn digits(&mut self) -> Result<(), Violation> {
        let from = self.at;
        while let Some(b'0'..=b'9') = self.byte() {
            self.at += 1;
        }
        if self.at == from {
            Err(self.bad("a digit"))
        } else {
            Ok(())
        }
    }

    /// A string without its quotes; borrowed when nothing in it is escaped.
    pub(super) fn string(&mut self) -> Result<Cow<'a, str>, Violation> {
        self.expect(b'"')?;
        let from = self.at;
        let rest = self.text.as_bytes().get(from..).unwrap_or_default();
        let Some(length) = plain_length(rest) else {
            return Err(self.bad("the end of a string"));
        };
        self.at += length;
        let plain = self.text.get(from..self.at).unwrap_or_default();
        if self.byte() == Some(b'"') {
            self.at += 1;
            return Ok(Cow::Borrowed(plain));
        }
        self.escaped(plain.to_owned()).map(Cow::Owned)
    }

    fn escaped(&mut self, mut out: String) -> Result<String, Violation> {
        loop {
            match self.byte() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => out.push(self.escape()?),
                Some(0..=0x1f) => return Err(self.bad("no control character in a string")),
                Some(_) => {
                    let rest = self.text.get(self.at..).unwrap_or_default();
                    let end = rest.find(['"', '\\', '\n']).unwrap_or(rest.len());
                    let plain = rest.get(..end).unwrap_or_default();
                    let plain = plain.split(|c: char| c < ' ').next().unwrap_or_default();
                    out.push_str(plain);
                    self.at += plain.len();
                }
                None => return Err(self.bad("the end of a string")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Violation> {
        self.at += 1;
        let letter = self.byte();
        self.at += 1;
        Ok(match letter {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(),
            _ => return Err(self.bad("an escape that JSON knows")),
        })
    }

    fn unicode(&mut self) -> Result<char, Violation> {
        let first = self.hex()?;
        if !(0xd800..0xe000).contains(&first) {
            return char::from_u32(first).ok_or_else(|| self.bad("a character"));
        }
        let pair = self
            .text
            .get(self.at..)
            .is_some_and(|rest| rest.starts_with("\\u"));
        if first >= 0xdc00 || !pair {
            return Err(self.bad("a surrogate pair"));
        }
        self.at += 2;
        let second = self.hex()?;
        if !(0xdc00..0xe000).contains(&second) {
            return Err(self.bad("a surrogate pair"));
        }
        char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00))
            .ok_or_else(|| self.bad("a character"))
    }

    fn hex(&mut self) -> Result<u32, Violation> {
        let digits = self
            .text
            .get(self.at..self.at + 4)
            .filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        let value = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let value = value.ok_or_else(|| self.bad("four hexadecimal digits"))?;
        self.at += 4;
        Ok(value)
    }

    /// Refuses anything but white space after the value.
    pub(super) fn end(&mut self) -> Result<(), Violation> {
        match self.token() {
            None => Ok(()),
            Some(_) => Err(self.bad("nothing after the value")),
        }
    }

    fn expect(&mut self, wanted: u8) -> Result<(), Violation> {
        if self.token() == Some(wanted) {
            self.at += 1;
            return Ok(());
        }
        Err(self.bad(&char::from(wanted).to_string()))
    }

    fn word(&mut self, word: &str) -> Result<(), Violation> {
        self.token();
        if self
            .text
            .get(self.at..)
            .is_some_and(|rest| rest.starts_with(word))
        {
            self.at += word.len();
            return Ok(());
        }
        Err(self.bad(word))
    }

    #[cold]
    fn bad(&self, expected: &str) -> Violation {
        let found = match self.text.get(self.at..).and_then(|rest| rest.chars().next()) {
            Some(c) => format!("{c:?}"),
            None => "the end of the text".to_owned(),
        };
        Violation::new(
            ViolationKind::Json,
            format!("not JSON: expected {expected}, found {found} at byte {}", self.at),
        )
    }
}

/// Bytes before the first quote, backslash or control character; none when there is no such byte.
fn plain_length(bytes: &[u8]) -> Option<usize> {
    let words = bytes
        .chunks_exact(8)
        .map(|chunk| u64::from_le_bytes(chunk.try_into().unwrap_or_default()));
    let plain = 8 * words.take_while(|word| !has_special(*word)).count();
    let rest = bytes.get(plain..)?;
    let after = rest
        .iter()
        .position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f))?;
    Some(plain + after)
}

/// Whether one of eight bytes is a quote, a backslash or below 0x20: eight subtractions at once, where a borrow shows.
fn has_special(word: u64) -> bool {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES << 7;
    let zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let quote = zero(word ^ (ONES * 0x22));
    let backslash = zero(word ^ (ONES * 0x5c));
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (quote | backslash | control) & HIGHS != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_bytes_are_found_wherever_they_stand() {
        let plain = "aé😀\u{7f}~ !#[]z".repeat(3);
        assert_eq!(plain_length(plain.as_bytes()), None);
        for special in (0..0x20).chain([b'"', b'\\']) {
            for at in 0..=plain.len() {
                let mut bytes = plain.as_bytes().to_vec();
                bytes.insert(at, special);
                assert_eq!(plain_length(&bytes), Some(at), "{special} at {at}");
            }
        }
    }
}
