//! Keeps references out of the argument list, where every user of the machine can read them.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;

use crate::command_error::{CommandError, Kind};

const SCHEME: &[u8] = b"vat://";

/// Refuses a reference in any argument, without repeating it.
pub(crate) fn check(arguments: &[OsString]) -> Result<(), CommandError> {
    let has_uri = |argument: &OsString| {
        let bytes = argument.as_bytes();
        bytes
            .windows(SCHEME.len())
            .any(|window| window.eq_ignore_ascii_case(SCHEME))
    };
    let Some(at) = arguments.iter().skip(1).position(has_uri) else {
        return Ok(());
    };
    let message = format!(
        "argument {} contains a reference (vat://…); references are secrets, and other users can \
         read the arguments of a command",
        at + 1
    );
    Err(CommandError::new(Kind::Usage, message)
        .hint("name a reference file (guestbook.cap: one URI, mode 0600) instead")
        .hint("or pass the reference on the standard input and write `-`")
        .hint("or on an open descriptor, and write `fd:N`")
        .hint(
            "it may be in your shell's history now: ask who made it to revoke it and make another",
        ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(arguments: &[&str]) -> bool {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        check(&arguments).is_err()
    }

    #[test]
    fn references_are_refused_anywhere() {
        assert!(refused(&["vat", "call", "vat://x/y", "sign"]));
        assert!(refused(&["vat", "call", "a.cap", "send", "to=vat://x/y"]));
        assert!(refused(&[
            "vat",
            "call",
            "a.cap",
            "send",
            "{\"to\":\"VAT://x/y\"}"
        ]));
        assert!(!refused(&[
            "vat",
            "call",
            "a.cap",
            "sign",
            "text=a vat: empty"
        ]));
        assert!(!refused(&["vat"]));
    }

    #[test]
    fn the_message_does_not_repeat_the_reference() {
        let arguments = ["vat", "describe", "vat://secret@h:1/secret"].map(OsString::from);
        let error = check(&arguments).unwrap_err();
        let text = format!("{} {:?}", error.message, error.hints);
        assert!(
            text.contains("argument 2") && !text.contains("secret@"),
            "{text}"
        );
    }
}
