//! What went wrong with a call, in the form in which it crosses the wire.
//!
//! One exception breaks everything that was pipelined on a call, and whatever is broken keeps it. So
//! its size is bounded wherever it is made, on the way out as on the way in: see [`Exception::REASON`].

use std::borrow::Cow;
use std::fmt;
use std::rc::Rc;

/// The reason of a failed call or a broken reference. Cloning is cheap.
#[derive(Clone, PartialEq, Eq)]
pub struct Exception(Rc<Inner>);

#[derive(Clone, PartialEq, Eq)]
struct Inner {
    kind: ExceptionKind,
    reason: String,
    trace: String,
    details: Vec<Detail>,
}

/// How a caller may react.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[expect(
    clippy::exhaustive_enums,
    reason = "the protocol knows exactly these four"
)]
pub enum ExceptionKind {
    /// Trying again will give the same result.
    Failed,
    /// The callee lacks a resource at the moment; later it may work.
    Overloaded,
    /// A connection that the call needs is gone. The call may have run.
    Disconnected,
    /// The callee does not know this method.
    Unimplemented,
}

impl ExceptionKind {
    /// The kind in lower case, as it appears in messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Overloaded => "overloaded",
            Self::Disconnected => "disconnected",
            Self::Unimplemented => "unimplemented",
        }
    }
}

impl fmt::Display for ExceptionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something an application attached to an exception, for a receiver that knows the id.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Detail {
    /// What `data` means: an id that the applications agreed on.
    pub id: u64,
    /// The content, in a form that `id` defines.
    pub data: Vec<u8>,
}

impl Detail {
    /// A detail of the given meaning and content.
    #[must_use]
    pub const fn new(id: u64, data: Vec<u8>) -> Self {
        Self { id, data }
    }

    /// About how many bytes it takes.
    const fn weight(&self) -> usize {
        self.data.len() + 16
    }
}

/// What other implementations write in front of a reason that came from elsewhere.
const REMOTE_PREFIX: &str = "remote exception: ";

/// Stands where a text was cut.
const CUT: &str = " … (shortened)";

impl Exception {
    /// Most bytes of a reason: a longer one is cut there.
    pub const REASON: usize = 2 << 10;
    /// Most bytes of a trace: a longer one is cut there.
    pub const TRACE: usize = 4 << 10;
    /// Most bytes of all details together, 16 more for each counted: one that does not fit is left
    /// out.
    pub const DETAILS: usize = 4 << 10;

    /// An exception of a kind, with a reason for a person to read.
    pub fn new(kind: ExceptionKind, reason: impl Into<String>) -> Self {
        Self(Rc::new(Inner {
            kind,
            reason: cut(reason.into(), Self::REASON),
            trace: String::new(),
            details: Vec::new(),
        }))
    }

    /// A failure that will not go away by itself.
    pub fn failed(reason: impl Into<String>) -> Self {
        Self::new(ExceptionKind::Failed, reason)
    }

    /// A lack of resources.
    pub fn overloaded(reason: impl Into<String>) -> Self {
        Self::new(ExceptionKind::Overloaded, reason)
    }

    /// A lost connection.
    pub fn disconnected(reason: impl Into<String>) -> Self {
        Self::new(ExceptionKind::Disconnected, reason)
    }

    /// An unknown method.
    pub fn unimplemented(reason: impl Into<String>) -> Self {
        Self::new(ExceptionKind::Unimplemented, reason)
    }

    /// The same with a trace: where it came from, for a person to read.
    #[must_use]
    pub fn with_trace(self, trace: impl Into<String>) -> Self {
        self.edit(|inner| inner.trace = cut(trace.into(), Self::TRACE))
    }

    /// The same with one more detail, if it fits.
    #[must_use]
    pub fn with_detail(self, detail: Detail) -> Self {
        let all = self.details().iter().chain([&detail]);
        match all.map(Detail::weight).sum::<usize>() {
            0..=Self::DETAILS => self.edit(|inner| inner.details.push(detail)),
            _ => self,
        }
    }

    /// An exception as a peer sent it. Prefixes with which peers mark that a reason came from
    /// elsewhere are taken off, so that they do not pile up hop by hop.
    pub(crate) fn from_wire(kind: ExceptionKind, reason: &str, trace: &str) -> Self {
        let mut reason = reason;
        while let Some(rest) = reason.strip_prefix(REMOTE_PREFIX) {
            reason = rest;
        }
        Self(Rc::new(Inner {
            kind,
            reason: cut(reason, Self::REASON),
            trace: cut(trace, Self::TRACE),
            details: Vec::new(),
        }))
    }

    /// The same kind and reason with trace and details of another, whose consequence this is.
    pub(crate) fn with_context_of(self, cause: &Self) -> Self {
        self.edit(|inner| {
            inner.trace.clone_from(&cause.0.trace);
            inner.details.clone_from(&cause.0.details);
        })
    }

    /// The same as a vat passes it on that was called in between: one line more in the trace, as
    /// long as there is room.
    pub(crate) fn relayed(&self, by: &str) -> Self {
        let by = if by.is_empty() { "a vat" } else { by };
        let line = format!("passed on by {by}");
        let trace = self.trace();
        if trace.len() + 1 + line.len() > Self::TRACE {
            return self.clone();
        }
        let trace = match trace.is_empty() {
            true => line,
            false => format!("{trace}\n{line}"),
        };
        self.clone().with_trace(trace)
    }

    /// About how many bytes it takes in a message.
    pub(crate) fn weight(&self) -> usize {
        let details = self.details().iter().map(Detail::weight);
        self.reason().len() + self.trace().len() + details.sum::<usize>()
    }

    /// The same, or if it is larger its kind, the beginning of its reason, and details only if they
    /// take no more than half of the room: they may say what the kind cannot.
    pub(crate) fn shortened(&self, bytes: usize) -> Self {
        if self.weight() <= bytes {
            return self.clone();
        }
        let details: usize = self.details().iter().map(Detail::weight).sum();
        let (details, kept) = match details <= bytes / 2 {
            true => (details, self.details()),
            false => (0, &[][..]),
        };
        let reason = cut(self.reason(), bytes - details);
        let shortened = Self::new(self.kind(), reason);
        shortened.edit(|inner| inner.details.extend_from_slice(kept))
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> ExceptionKind {
        self.0.kind
    }

    /// The reason, for a person to read.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.0.reason
    }

    /// Where it came from; empty if nobody said.
    #[must_use]
    pub fn trace(&self) -> &str {
        &self.0.trace
    }

    /// What applications attached.
    #[must_use]
    pub fn details(&self) -> &[Detail] {
        &self.0.details
    }

    fn edit(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Rc::make_mut(&mut self.0));
        self
    }
}

/// The text, or as much of it as fits into so many bytes, with a sign that it goes on.
pub(crate) fn cut<'a>(text: impl Into<Cow<'a, str>>, bytes: usize) -> String {
    let text = text.into();
    if text.len() <= bytes {
        return text.into_owned();
    }
    let end = text.floor_char_boundary(bytes.saturating_sub(CUT.len()));
    let mut cut = text.get(..end).unwrap_or_default().to_owned();
    cut.push_str(CUT);
    cut
}

impl fmt::Debug for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exception")
            .field("kind", &self.0.kind)
            .field("reason", &self.0.reason)
            .field("trace", &self.0.trace)
            .field("details", &self.0.details.len())
            .finish()
    }
}

impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.kind, self.0.reason)
    }
}

impl std::error::Error for Exception {}

/// A fault found while building or reading a Cap'n Proto structure.
impl From<capnp::Error> for Exception {
    fn from(error: capnp::Error) -> Self {
        let kind = match error.kind {
            capnp::ErrorKind::Overloaded => ExceptionKind::Overloaded,
            capnp::ErrorKind::Disconnected => ExceptionKind::Disconnected,
            capnp::ErrorKind::Unimplemented => ExceptionKind::Unimplemented,
            _ => ExceptionKind::Failed,
        };
        Self::new(kind, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remote_prefixes_do_not_pile_up() {
        let seen = Exception::from_wire(
            ExceptionKind::Failed,
            "remote exception: remote exception: no such file",
            "",
        );
        assert_eq!(seen.reason(), "no such file");
    }

    #[test]
    fn texts_are_cut_between_characters_and_say_so() {
        let long = "ä".repeat(Exception::TRACE);
        let exception = Exception::failed(long.as_str()).with_trace(long.as_str());
        for (text, most) in [
            (exception.reason(), Exception::REASON),
            (exception.trace(), Exception::TRACE),
        ] {
            assert!((most - 2..=most).contains(&text.len()), "{}", text.len());
            assert!(text.ends_with("ä … (shortened)"));
        }
        let exact = "a".repeat(Exception::REASON);
        assert_eq!(Exception::failed(exact.as_str()).reason(), exact);
        let again = exception.shortened(100);
        assert_eq!(again.reason().len(), 100);
        let kind = Detail::new(7, vec![1]);
        let again = exception.with_detail(kind.clone()).shortened(100);
        assert!((99..=100).contains(&again.weight()), "{}", again.weight());
        assert_eq!(again.details(), [kind]);
    }

    #[test]
    fn details_that_do_not_fit_are_left_out() {
        let half = vec![0; Exception::DETAILS / 2 - 16];
        let exception = [1, 2, 3]
            .into_iter()
            .fold(Exception::failed("no"), |it, id| {
                it.with_detail(Detail::new(id, half.clone()))
            });
        let ids: Vec<u64> = exception.details().iter().map(|detail| detail.id).collect();
        assert_eq!(ids, [1, 2]);
    }

    #[test]
    fn details_survive_cloning_and_editing() {
        let first = Exception::overloaded("full").with_detail(Detail::new(7, vec![1]));
        let second = first.clone().with_trace("here");
        assert_eq!(first.trace(), "");
        assert_eq!(second.trace(), "here");
        assert_eq!(second.details(), first.details());
    }
}
