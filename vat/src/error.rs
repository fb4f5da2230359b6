//! Errors that travel with broken promises.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use captp::{Detail, Exception, ExceptionKind};

/// What vat operations give: a value, or the [`Error`] that broke it.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call failed or a promise broke.
///
/// Cheap to clone: one reason is passed to everything that was pipelined on a broken promise.
///
/// Only deliberate text crosses the border of a vat: what a program put into the error itself.
/// A panic's message and source positions stay in the vat; a caller elsewhere is told the kind and
/// a fixed sentence. For that reason there is no `From<E: std::error::Error>`.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

/// What sort of failure an [`Error`] is; callers decide by it what to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The callee refused or could not do it. Asking again the same way will fail again.
    Failed,
    /// A limit was reached; later it may work.
    Overloaded,
    /// The connection to the object is lost; a call that was on its way may have run or not.
    Disconnected,
    /// The object has no such method.
    Unimplemented,
    /// An object's `&mut self` method was called while another of its methods was on the stack.
    Reentrant,
    /// The caller took the call back.
    Cancelled,
    /// It took longer than was to be waited for; the call may have run, or may still run.
    TimedOut,
    /// The callee's turn panicked and was rolled back.
    Panicked,
    /// The object is dead: it died in a panic, or was ended.
    Dead,
    /// The reference was revoked, has expired or is used up: no call on it will succeed again,
    /// whatever the method. [`vat::pattern`](crate::pattern) says so.
    Revoked,
}

struct Inner {
    kind: ErrorKind,
    text: String,
    /// What callers in other vats are told instead of `text`.
    outside: Option<&'static str>,
    payload: Option<Arc<dyn Any + Send + Sync>>,
    details: Vec<(u64, Vec<u8>)>,
}

/// The detail that carries a kind Cap'n Proto has no word for, as one byte.
const KIND_DETAIL: u64 = 0xd1f2_7be0_5c1e_a9a3;

impl Error {
    /// An error of this kind with a text that callers, also in other vats, may read.
    pub fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self::build(kind, text.into(), None, None)
    }

    /// The callee refused or could not do it.
    pub fn failed(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::Failed, text)
    }

    /// A limit was reached.
    pub fn overloaded(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::Overloaded, text)
    }

    /// The connection is lost, or the vat has ended.
    pub fn disconnected(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::Disconnected, text)
    }

    /// There is no such method.
    pub fn unimplemented(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unimplemented, text)
    }

    /// Carries a program's own error: holders in the same vat take it back with
    /// [`downcast_ref`](Self::downcast_ref); in other vats its text is seen.
    pub fn of<E: std::error::Error + Send + Sync + 'static>(error: E) -> Self {
        Self::build(
            ErrorKind::Failed,
            error.to_string(),
            None,
            Some(Arc::new(error)),
        )
    }

    /// The same error with encoded data that crosses the wire with it; `id` says what it means.
    #[must_use]
    pub fn with_detail(self, id: u64, data: Vec<u8>) -> Self {
        let mut details = self.0.details.clone();
        details.push((id, data));
        Self(Arc::new(Inner {
            kind: self.0.kind,
            text: self.0.text.clone(),
            outside: self.0.outside,
            payload: self.0.payload.clone(),
            details,
        }))
    }

    /// What sort of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The program's own error inside, if it is one of this type.
    pub fn downcast_ref<E: 'static>(&self) -> Option<&E> {
        self.0.payload.as_ref()?.downcast_ref()
    }

    /// The encoded data with this id that travels with the error.
    pub fn detail(&self, id: u64) -> Option<&[u8]> {
        let (_, data) = self.0.details.iter().find(|(detail, _)| *detail == id)?;
        Some(data)
    }

    /// A text that may name sources and internals; other vats are told `outside` instead.
    pub(crate) fn internal(kind: ErrorKind, text: String, outside: &'static str) -> Self {
        Self::build(kind, text, Some(outside), None)
    }

    /// What is left of a panic that passed through a turn.
    #[cold]
    pub(crate) fn panicked(panic: &(dyn Any + Send)) -> Self {
        let text = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "a panic without a text".to_owned());
        Self::internal(
            ErrorKind::Panicked,
            text,
            "the callee's turn panicked and was rolled back",
        )
    }

    /// Whether both are one and the same error value.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    fn build(
        kind: ErrorKind,
        text: String,
        outside: Option<&'static str>,
        payload: Option<Arc<dyn Any + Send + Sync>>,
    ) -> Self {
        Self(Arc::new(Inner {
            kind,
            text,
            outside,
            payload,
            details: Vec::new(),
        }))
    }
}

impl ErrorKind {
    /// How it is said on the wire, and the byte that tells vats the exact kind.
    fn on_the_wire(self) -> (ExceptionKind, Option<u8>) {
        match self {
            Self::Failed => (ExceptionKind::Failed, None),
            Self::Overloaded => (ExceptionKind::Overloaded, None),
            Self::Disconnected => (ExceptionKind::Disconnected, None),
            Self::Unimplemented => (ExceptionKind::Unimplemented, None),
            Self::Reentrant => (ExceptionKind::Failed, Some(1)),
            Self::Cancelled => (ExceptionKind::Failed, Some(2)),
            Self::Panicked => (ExceptionKind::Failed, Some(3)),
            Self::Dead => (ExceptionKind::Disconnected, Some(4)),
            // As the C++ implementation says it.
            Self::TimedOut => (ExceptionKind::Overloaded, Some(5)),
            Self::Revoked => (ExceptionKind::Failed, Some(6)),
        }
    }

    fn from_the_wire(kind: ExceptionKind, exact: Option<u8>) -> Self {
        match (exact, kind) {
            (Some(1), ExceptionKind::Failed) => Self::Reentrant,
            (Some(2), ExceptionKind::Failed) => Self::Cancelled,
            (Some(3), ExceptionKind::Failed) => Self::Panicked,
            (Some(4), ExceptionKind::Disconnected) => Self::Dead,
            (Some(5), ExceptionKind::Overloaded) => Self::TimedOut,
            (Some(6), ExceptionKind::Failed) => Self::Revoked,
            (_, ExceptionKind::Overloaded) => Self::Overloaded,
            (_, ExceptionKind::Disconnected) => Self::Disconnected,
            (_, ExceptionKind::Unimplemented) => Self::Unimplemented,
            (_, _) => Self::Failed,
        }
    }
}

/// What callers in other vats are told.
impl From<&Error> for Exception {
    fn from(error: &Error) -> Self {
        let (kind, exact) = error.kind().on_the_wire();
        let text = error.0.outside.unwrap_or(&error.0.text);
        let exact = exact.map(|byte| Detail::new(KIND_DETAIL, vec![byte]));
        let details = error
            .0
            .details
            .iter()
            .map(|(id, data)| Detail::new(*id, data.clone()));
        details
            .chain(exact)
            .fold(Self::new(kind, text), Self::with_detail)
    }
}

impl From<Exception> for Error {
    fn from(exception: Exception) -> Self {
        let mut exact = None;
        let mut details = Vec::new();
        for detail in exception.details() {
            match detail.data.as_slice() {
                [byte] if detail.id == KIND_DETAIL => exact = Some(*byte),
                data => details.push((detail.id, data.to_vec())),
            }
        }
        let kind = ErrorKind::from_the_wire(exception.kind(), exact);
        let text = exception.reason().to_owned();
        Self(Arc::new(Inner {
            kind,
            text,
            outside: None,
            payload: None,
            details,
        }))
    }
}

/// A value that cannot be written or read. The text says where in the value.
impl From<crate::data::Error> for Error {
    fn from(error: crate::data::Error) -> Self {
        Self::failed(error.to_string())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.0.kind, self.0.text)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    fn over_the_wire(error: &Error) -> Error {
        Error::from(Exception::from(error))
    }

    #[test]
    fn every_kind_survives_the_way_to_another_vat() {
        let kinds = [
            ErrorKind::Failed,
            ErrorKind::Overloaded,
            ErrorKind::Disconnected,
            ErrorKind::Unimplemented,
            ErrorKind::Reentrant,
            ErrorKind::Cancelled,
            ErrorKind::Panicked,
            ErrorKind::Dead,
            ErrorKind::TimedOut,
            ErrorKind::Revoked,
        ];
        for kind in kinds {
            let there = over_the_wire(&Error::new(kind, "why"));
            assert_eq!((there.kind(), there.to_string().as_str()), (kind, "why"));
        }
    }

    #[test]
    fn a_peer_cannot_invent_kinds() {
        let odd = |kind, byte| {
            let detail = Detail::new(KIND_DETAIL, vec![byte]);
            Error::from(Exception::new(kind, "x").with_detail(detail)).kind()
        };
        assert_eq!(odd(ExceptionKind::Failed, 200), ErrorKind::Failed);
        assert_eq!(odd(ExceptionKind::Overloaded, 3), ErrorKind::Overloaded);
    }

    #[test]
    fn details_travel_and_the_programs_own_error_stays() {
        #[derive(Debug, thiserror::Error)]
        #[error("{have} is less than {want}")]
        struct Short {
            have: u64,
            want: u64,
        }
        let error = Error::of(Short { have: 1, want: 2 }).with_detail(7, vec![1, 2]);
        assert_eq!(error.downcast_ref::<Short>().unwrap().want, 2);
        let there = over_the_wire(&error);
        assert_eq!(there.to_string(), "1 is less than 2");
        assert_eq!(there.detail(7), Some(&[1, 2][..]));
        assert!(there.downcast_ref::<Short>().is_none());
    }

    #[test]
    fn internal_texts_stay_in_the_vat() {
        let here = Error::internal(ErrorKind::Reentrant, "at src/a.rs:1".into(), "busy");
        assert_eq!(here.to_string(), "at src/a.rs:1");
        assert_eq!(over_the_wire(&here).to_string(), "busy");
        let panicked = Error::panicked(&"secret");
        assert_eq!(panicked.to_string(), "secret");
        assert!(!over_the_wire(&panicked).to_string().contains("secret"));
    }

    #[test]
    fn errors_can_cross_threads() {
        fn crosses<T: Send + Sync>() {}
        crosses::<Error>();
    }
}
