//! Bytes of a program's output to lines of text.

/// Splits output into lines as it comes.
///
/// A line ends at a line feed; a carriage return before it is dropped. Bytes that are not UTF-8
/// become U+FFFD. A line of more than 8 KiB becomes several.
#[derive(Debug, Default)]
pub struct Lines {
    partial: Vec<u8>,
}

impl Lines {
    /// Takes in some bytes and hands each line that they complete to `line`.
    pub fn feed(&mut self, mut bytes: &[u8], mut line: impl FnMut(&str)) {
        while let Some((first, rest)) = bytes.split_first() {
            if *first == b'\n' {
                bytes = rest;
                self.end(&mut line);
                continue;
            }
            if self.partial.len() == MAX_LINE {
                self.cut(&mut line);
            }
            let room = MAX_LINE - self.partial.len();
            let end = bytes.iter().take(room).position(|byte| *byte == b'\n');
            let (taken, rest) = bytes.split_at(end.unwrap_or_else(|| room.min(bytes.len())));
            self.partial.extend_from_slice(taken);
            bytes = rest;
        }
    }

    /// Hands out what follows the last line feed, if there is anything.
    pub fn finish(&mut self, mut line: impl FnMut(&str)) {
        if !self.partial.is_empty() {
            self.end(&mut line);
        }
    }

    fn end(&mut self, line: &mut impl FnMut(&str)) {
        let text = self.partial.strip_suffix(b"\r").unwrap_or(&self.partial);
        line(&String::from_utf8_lossy(text));
        self.partial.clear();
    }

    /// Hands out a full line's worth, but keeps the beginning of a character that was cut.
    fn cut(&mut self, line: &mut impl FnMut(&str)) {
        let whole = match std::str::from_utf8(&self.partial) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Ok(_) | Err(_) => self.partial.len(),
        };
        let kept = self.partial.split_off(whole);
        line(&String::from_utf8_lossy(&self.partial));
        self.partial = kept;
    }
}

/// The longest line, in bytes.
const MAX_LINE: usize = 8192;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(parts: &[&[u8]]) -> Vec<String> {
        let (mut lines, mut out) = (Lines::default(), Vec::new());
        for part in parts {
            lines.feed(part, |line| out.push(line.to_owned()));
        }
        lines.finish(|line| out.push(line.to_owned()));
        out
    }

    #[test]
    fn lines_end_at_line_feeds_whatever_the_parts() {
        assert_eq!(
            split(&[b"one\ntw", b"o\r\n", b"\nthree"]),
            ["one", "two", "", "three"]
        );
        assert_eq!(split(&[b"a\r", b"\nb\rc\n"]), ["a", "b\rc"]);
        assert!(split(&[b""]).is_empty());
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        assert_eq!(
            split(&[b"a\xff\xfeb\n\xe2\x82"]),
            ["a\u{fffd}\u{fffd}b", "\u{fffd}"]
        );
    }

    #[test]
    fn a_character_across_two_parts_stays_whole() {
        assert_eq!(split(&[b"\xe2\x82", b"\xac\n"]), ["€"]);
    }

    #[test]
    fn long_lines_are_split_between_characters() {
        let text = "€".repeat(MAX_LINE);
        let lines = split(&[text.as_bytes(), b"\n"]);
        assert!(
            lines
                .iter()
                .all(|line| line.len() <= MAX_LINE && !line.contains('\u{fffd}'))
        );
        assert_eq!(lines.concat(), text);
        let exact = "x".repeat(MAX_LINE);
        assert_eq!(split(&[exact.as_bytes(), b"y\n"]), [exact.as_str(), "y"]);
        assert_eq!(split(&[exact.as_bytes(), b"\n"]), [exact.as_str()]);
    }

    proptest! {
        #[test]
        fn parts_do_not_change_lines(
            bytes in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..60),
            cuts in prop::collection::vec(0usize..60, 0..5),
        ) {
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let parts: Vec<_> = cuts.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
            prop_assert_eq!(split(&parts), split(&[&bytes]));
        }
    }
}
