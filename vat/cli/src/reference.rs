//! How a reference is named on the command line, and how it is read from there.

use std::convert::Infallible;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use vat::sturdy::{SturdyRef, reference_file};
use zeroize::Zeroizing;

use crate::command_error::{CommandError, Kind};
use crate::environment::Environment;
use crate::keyring::{Keyring, Petname};

/// Where a reference is to be read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RefArg {
    /// A reference file.
    File(PathBuf),
    /// The standard input.
    Stdin,
    /// An open descriptor.
    Descriptor(u32),
    /// A petname.
    Petname(String),
}

/// A path as it can be typed into a shell.
pub(crate) fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+,:@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

impl FromStr for RefArg {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        if text == "-" {
            return Ok(Self::Stdin);
        }
        if let Some(name) = text.strip_prefix('@') {
            return Ok(Self::Petname(name.to_owned()));
        }
        // What is no number after `fd:` is a file of that name.
        if let Some(Ok(number)) = text.strip_prefix("fd:").map(str::parse) {
            return Ok(Self::Descriptor(number));
        }
        Ok(Self::File(PathBuf::from(text)))
    }
}

impl fmt::Display for RefArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Stdin => f.write_str("the standard input"),
            Self::Descriptor(number) => write!(f, "descriptor {number}"),
            Self::Petname(name) => write!(f, "@{name}"),
        }
    }
}

impl RefArg {
    /// Reads the reference.
    pub(crate) fn read(&self, environment: &Environment) -> Result<SturdyRef, CommandError> {
        let unreadable = |error: io::Error| {
            CommandError::new(
                Kind::Usage,
                format!("cannot read a reference from {self}: {error}"),
            )
        };
        match self {
            Self::File(path) => reference_file::read(path)
                .map_err(|error| CommandError::new(Kind::Usage, error.to_string())),
            Self::Stdin => self.parse(io::stdin().lock()).map_err(unreadable)?,
            Self::Descriptor(number) => {
                let file = File::open(format!("/proc/self/fd/{number}")).map_err(unreadable)?;
                self.parse(file).map_err(unreadable)?
            }
            Self::Petname(name) => {
                let name: Petname = name.parse().map_err(|error| {
                    CommandError::new(Kind::Usage, format!("{self} names no reference: {error}"))
                })?;
                Keyring::of(environment)?.read(&name)
            }
        }
    }

    /// One URI, and at most a line break after it: as in a reference file.
    fn parse(&self, source: impl Read) -> io::Result<Result<SturdyRef, CommandError>> {
        let longest = SturdyRef::MAX_URI_LEN + 3;
        let mut bytes = Zeroizing::new(Vec::with_capacity(longest));
        source.take(longest as u64).read_to_end(&mut bytes)?;
        let text = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let uri = std::str::from_utf8(text).unwrap_or_default();
        Ok(SturdyRef::parse(uri).map_err(|error| {
            CommandError::new(Kind::Usage, format!("{self} holds no reference: {error}"))
        }))
    }
}

#[cfg(test)]
mod tests {
    use vat::sturdy::{Identity, Seed, SwissNumber};

    use super::*;

    fn arg(text: &str) -> RefArg {
        let Ok(arg) = text.parse();
        arg
    }

    #[test]
    fn references_are_named_in_four_ways() {
        assert_eq!(arg("a.cap"), RefArg::File("a.cap".into()));
        assert_eq!(arg("-"), RefArg::Stdin);
        assert_eq!(arg("fd:7"), RefArg::Descriptor(7));
        assert_eq!(arg("fd:x"), RefArg::File("fd:x".into()));
        assert_eq!(arg("@home"), RefArg::Petname("home".into()));
    }

    #[test]
    fn a_stream_holds_one_uri_and_at_most_a_line_break() {
        let vat = Identity::from_seed(&Seed::from_bytes([1; 32])).id();
        let address = "127.0.0.1:7447".parse().unwrap();
        let reference = SturdyRef::new(vat, SwissNumber::from_bytes([2; 16]), [address]).unwrap();
        let uri = reference.to_uri_with_secret();
        for end in ["", "\n", "\r\n"] {
            let text = format!("{}{end}", *uri);
            let read = RefArg::Stdin.parse(text.as_bytes()).unwrap().unwrap();
            assert_eq!(read.vat(), vat);
        }
        for wrong in [format!("{}\n\n", *uri), format!(" {}", *uri), String::new()] {
            let error = RefArg::Stdin.parse(wrong.as_bytes()).unwrap().unwrap_err();
            assert_eq!(error.kind, Kind::Usage);
            assert!(!error.message.contains(&uri[6..40]), "{}", error.message);
        }
    }
}
