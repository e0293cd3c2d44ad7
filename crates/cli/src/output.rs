//! How commands print: tables for people, JSON and YAML for programs. Data goes to stdout, the rest to stderr.

use std::borrow::Cow;
use std::io::{self, Write};

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use serde::Serialize;

/// The form of a command's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns.
    #[default]
    Table,
    /// One JSON document; one a line for streams.
    Json,
    /// YAML; what comes one after the other begins with --- each.
    Yaml,
}

/// A list that can be shown as a table.
pub(crate) trait Tabular: Serialize {
    /// The columns' names.
    const COLUMNS: &'static [&'static str];

    /// One row, as many cells as there are columns.
    fn cells(&self) -> Vec<String>;
}

/// Prints `rows` in `format`.
pub(crate) fn print_list<T: Tabular>(format: Format, rows: &[T]) -> Result<()> {
    match format {
        Format::Table => write_stdout(&table(T::COLUMNS, rows.iter().map(T::cells).collect())),
        Format::Json | Format::Yaml => print_document(format, &rows),
    }
}

/// Prints one document as JSON or YAML; as a table it is YAML, which reads well.
pub(crate) fn print_document(format: Format, document: &impl Serialize) -> Result<()> {
    let text = match format {
        Format::Json => {
            serde_json::to_string_pretty(document).context("the result cannot be written as JSON")? + "\n"
        }
        Format::Yaml | Format::Table => yaml(document).context("the result cannot be written as YAML")?,
    };
    write_stdout(&text)
}

/// By way of JSON, which is YAML: numbers of a `serde_json::Value` are known to its own writer alone.
fn yaml(document: &impl Serialize) -> Result<String> {
    let value: serde_norway::Value = serde_norway::from_str(&serde_json::to_string(document)?)?;
    Ok(serde_norway::to_string(&value)?)
}

/// Prints one line of a stream as JSON.
pub(crate) fn print_line(document: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string(document).context("a line cannot be written as JSON")?;
    write_stdout(&(text + "\n"))
}

/// Prints one of several documents as JSON or YAML, each of which can be read as it comes.
pub(crate) fn print_next(format: Format, document: &impl Serialize) -> Result<()> {
    match format {
        Format::Yaml => {
            let text = yaml(document).context("a document cannot be written as YAML")?;
            write_stdout(&format!("---\n{text}"))
        }
        Format::Json | Format::Table => print_line(document),
    }
}

/// Writes to stdout. A reader that went away (`| head`) ends the program quietly, as other tools do.
pub(crate) fn write_stdout(text: &str) -> Result<()> {
    match try_stdout(text) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => other.context("the result cannot be written to stdout"),
    }
}

/// Prints a receipt. One that nobody reads is an error: its reader was to know what became of the event.
pub(crate) fn print_receipt(receipt: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string(receipt).context("a receipt cannot be written as JSON")?;
    try_stdout(&(text + "\n")).context(
        "receipts cannot be written to stdout; events without one may be published: publish them again with the same ids",
    )
}

fn try_stdout(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())
}

/// Writes a line to stderr.
macro_rules! say {
    ($($text:tt)*) => {
        $crate::output::write_stderr(format_args!($($text)*))
    };
}
pub(crate) use say;

/// Writes a line to stderr. That its reader went away, or that its disk is full, never ends a command.
pub(crate) fn write_stderr(text: std::fmt::Arguments<'_>) {
    let text = text.to_string();
    let lines: Vec<_> = text.split('\n').map(printable).collect();
    // There is nobody to tell.
    writeln!(io::stderr(), "{}", lines.join("\n")).ok();
}

/// Text of events and their headers as a terminal may show it: what would move the cursor, end the line or turn its
/// direction is written as an escape.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    let is_harmful = |character: char| {
        let turns =
            matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        character.is_control() || turns
    };
    if !text.contains(is_harmful) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match is_harmful(character) {
            true => shown.extend(character.escape_default()),
            false => shown.push(character),
        }
    }
    Cow::Owned(shown)
}

fn table(columns: &[&str], rows: Vec<Vec<String>>) -> String {
    let header: Vec<String> = columns.iter().map(|name| name.to_uppercase()).collect();
    let cells = |row: Vec<String>| row.iter().map(|cell| printable(cell).into_owned()).collect();
    let all: Vec<Vec<String>> = std::iter::once(header)
        .chain(rows.into_iter().map(cells))
        .collect();
    let width = |column: usize| {
        all.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}", width = *width))
            .collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    };
    all.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_json_values_are_numbers_in_yaml() {
        let document = serde_json::json!({"id": 17, "price": 2.5, "text": "17"});
        assert_eq!(yaml(&document).unwrap(), "id: 17\nprice: 2.5\ntext: '17'\n");
    }

    #[test]
    fn foreign_text_moves_nothing_on_a_terminal() {
        let key = "a\u{1b}[2J\nb\u{9b}31m\u{202e}c";
        assert_eq!(printable(key), "a\\u{1b}[2J\\nb\\u{9b}31m\\u{202e}c");
        assert_eq!(table(&["key"], vec![vec![key.to_owned()]]).lines().count(), 2);
        assert!(matches!(printable("prix: 5 €, 寿司"), Cow::Borrowed(_)));
    }

    #[test]
    fn columns_are_aligned_by_characters() {
        let rows = vec![
            vec!["ä".to_owned(), "1".to_owned()],
            vec!["long".to_owned(), "2".to_owned()],
        ];
        assert_eq!(table(&["name", "n"], rows), "NAME  N\nä     1\nlong  2\n");
    }
}
