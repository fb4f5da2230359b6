//! How an entry stands in the file: one line `<at>\t<name>\t<text>`, with escapes.
//!
//! A line that was torn by a crash is closed with [`TORN`] at the next start; it is no entry.

use vat::prelude::*;
use vat_examples::guestbook::Entry;

/// Ends a line that was torn by a crash.
pub(crate) const TORN: &str = "\0\n";

/// Refuses what is empty or longer than `limit` bytes.
pub(crate) fn check(what: &str, text: &str, limit: usize) -> Result<()> {
    match text.len() {
        0 => Err(Error::failed(format!("{what} is empty"))),
        n if n > limit => Err(Error::failed(format!(
            "{what} has {n} bytes; the limit is {limit}"
        ))),
        _ => Ok(()),
    }
}

/// The line of an entry, with its line end.
pub(crate) fn print(entry: &Entry) -> String {
    format!(
        "{}\t{}\t{}\n",
        entry.at,
        escape(&entry.name),
        escape(&entry.text)
    )
}

/// The entries in the complete lines among `bytes`, which stand in the file from `from` on; each
/// with the place where its line begins.
pub(crate) fn parse_from(from: u64, bytes: &[u8]) -> Vec<(u64, Entry)> {
    let mut at = from;
    let mut entries = Vec::new();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let text = String::from_utf8_lossy(line);
        let entry = text.strip_suffix('\n').and_then(parse);
        entries.extend(entry.map(|entry| (at, entry)));
        at += line.len() as u64;
    }
    entries
}

fn parse(line: &str) -> Option<Entry> {
    let (at, rest) = line.split_once('\t')?;
    let (name, text) = rest.split_once('\t')?;
    if text.ends_with('\0') {
        return None;
    }
    Some(Entry {
        name: unescape(name),
        text: unescape(text),
        at: at.parse().ok()?,
    })
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\0' => out.push_str("\\0"),
            other => out.push(other),
        }
    }
    out
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            out.push(character);
            continue;
        }
        match characters.next() {
            Some('t') => out.push('\t'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('0') => out.push('\0'),
            Some(other) => out.push(other),
            None => out.push('\\'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, text: &str) -> Entry {
        Entry {
            name: name.into(),
            text: text.into(),
            at: 7,
        }
    }

    fn parsed(text: &str) -> Vec<Entry> {
        let entries = parse_from(0, text.as_bytes());
        entries.into_iter().map(|(_, entry)| entry).collect()
    }

    #[test]
    fn lines_come_back_as_they_were_written() {
        let entries = [
            entry("Ann", "hello"),
            entry("B\tob", "a\nb\\n\\\r\0"),
            entry("\\", "\\t"),
        ];
        let text: String = entries.iter().map(print).collect();
        assert_eq!(parsed(&text), entries);
        let places: Vec<u64> = parse_from(7, text.as_bytes())
            .iter()
            .map(|(at, _)| *at)
            .collect();
        let second = 7 + print(&entries[0]).len() as u64;
        assert_eq!(places[..2], [7, second]);
    }

    #[test]
    fn a_torn_line_is_no_entry_and_harms_no_other() {
        let whole = print(&entry("Ann", "hello"));
        let next = print(&entry("Bob", "hi"));
        for cut in 1..next.len() {
            let mut file = format!("{whole}{}", &next[..cut]);
            assert_eq!(parsed(&file).len(), 1, "cut at {cut}");
            file.push_str(TORN);
            file.push_str(&next);
            assert_eq!(
                parsed(&file),
                [entry("Ann", "hello"), entry("Bob", "hi")],
                "cut at {cut}"
            );
        }
    }
}
