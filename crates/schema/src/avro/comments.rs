//! The Java library reads schema texts with comments in them; so do we.

use std::borrow::Cow;

/// The text with `/* */` and `//` comments outside strings turned to blanks; positions stay as they are.
pub(super) fn blanked(text: &str) -> Cow<'_, str> {
    if !text.contains("//") && !text.contains("/*") {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    let mut in_string = false;
    while let Some(c) = chars.next() {
        match (in_string, c, chars.peek()) {
            (true, '\\', _) => {
                out.push(c);
                out.extend(chars.next());
            }
            (_, '"', _) => {
                in_string = !in_string;
                out.push(c);
            }
            (false, '/', Some('/')) => {
                out.push(' ');
                while let Some(c) = chars.next_if(|c| *c != '\n') {
                    blank(&mut out, c);
                }
            }
            (false, '/', Some('*')) => block(&mut out, &mut chars),
            _ => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Blanks a block comment whose slash is already read. An unclosed one stays a slash, which is no JSON.
fn block(out: &mut String, chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    let mut rest = chars.clone();
    rest.next();
    let body: String = rest.collect();
    let Some(end) = body.find("*/") else {
        out.push('/');
        return;
    };
    out.push_str("  ");
    chars.next();
    let comment = body.get(..end + 2).unwrap_or_default();
    for c in comment.chars() {
        blank(out, c);
        chars.next();
    }
}

fn blank(out: &mut String, c: char) {
    out.push(if c == '\n' { '\n' } else { ' ' });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_outside_strings_are_blank() {
        let check = |text: &str, expected: &str| assert_eq!(blanked(text), expected, "{text}");
        check("\"int\" // why", "\"int\"       ");
        check("/* a\nb */\"int\"", "    \n    \"int\"");
        check(r#""a//b""#, r#""a//b""#);
        check(r#""a\"//b""#, r#""a\"//b""#);
        check("1 /* open", "1 /* open");
    }
}
