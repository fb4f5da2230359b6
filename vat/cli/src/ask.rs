//! Questions to who sits at the terminal.

use std::io::{BufRead as _, IsTerminal as _};

/// Whether somebody can be asked: the standard input is a terminal.
pub(crate) fn is_somebody_there() -> bool {
    std::io::stdin().is_terminal()
}

/// Asks a question that is answered with yes or no; no answer is a no.
pub(crate) fn agrees(question: &str) -> bool {
    anstream::eprint!("{question} [y/N] ");
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}
