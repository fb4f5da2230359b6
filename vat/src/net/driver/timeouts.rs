//! How slow a peer may be.

use std::time::Duration;

/// How slow a peer may be. Each time ends the connection that exceeds it, and no other one; `None`
/// is without end. They are kept to within a quarter of the time. How much a peer may use says
/// [`captp::Limits`].
///
/// | Time | Default | [`sibling`](Self::sibling) | Enforced by | Beyond it |
/// |---|---|---|---|---|
/// | [`stall`](Self::stall) | 30 s | 30 s | the driver | abort |
/// | [`message`](Self::message) | 30 s behind 1 KiB/s | the same | the driver | abort |
/// | [`first_message`](Self::first_message) | 10 s | none | the driver | abort |
/// | [`idle`](Self::idle) | 120 s, 60 s where we called | none | the driver | closed without a word |
/// | [`HANDSHAKE_TIMEOUT`](crate::net::HANDSHAKE_TIMEOUT) | 5 s | no handshake | the stream | closed |
/// | [`KEEPALIVE`](crate::net::KEEPALIVE) of TCP | 15 s, and 3 times as long for an answer | the same | the kernel | lost |
/// | [`client_hello`](crate::net::client_hello) | 4 KiB, 5 s | no handshake | the launcher | closed |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// How long the peer may take nothing of what waits to be sent to it. Default 30 s.
    pub stall: Option<Duration>,
    /// How long the rest of a message that has arrived in part may stay behind a rate of 1 KiB a
    /// second. One that comes at that rate may take as long as it takes; what came faster earns
    /// nothing for later, so that no message may stop for longer than this. Default 30 s.
    pub message: Option<Duration>,
    /// How long it may take until the first message is complete. Default 10 s.
    pub first_message: Option<Duration>,
    /// How long a connection may stay on which nobody holds a reference and no call is under way.
    /// Default 120 s, and 60 s where we called, as the side that called loses nothing by closing; it
    /// is closed after once to twice the time.
    pub idle: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            stall: Some(Duration::from_secs(30)),
            message: Some(Duration::from_secs(30)),
            first_message: Some(Duration::from_secs(10)),
            idle: Some(Duration::from_secs(120)),
        }
    }
}

impl Timeouts {
    /// No limits.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            stall: None,
            message: None,
            first_message: None,
            idle: None,
        }
    }

    /// Towards a vat that we have called, which need not say anything before we do.
    #[must_use]
    pub fn caller() -> Self {
        Self {
            first_message: None,
            idle: Some(Duration::from_secs(60)),
            ..Self::default()
        }
    }

    /// Between launcher and child, and where a sibling has called: a child may be starting, or be busy
    /// with one turn, and the connection stays as long as both live, or the sibling wants it.
    #[must_use]
    pub fn sibling() -> Self {
        Self {
            first_message: None,
            idle: None,
            ..Self::default()
        }
    }

    /// Sets [`stall`](Self::stall).
    #[must_use]
    pub const fn with_stall(mut self, limit: Option<Duration>) -> Self {
        self.stall = limit;
        self
    }

    /// Sets [`message`](Self::message).
    #[must_use]
    pub const fn with_message(mut self, limit: Option<Duration>) -> Self {
        self.message = limit;
        self
    }

    /// Sets [`first_message`](Self::first_message).
    #[must_use]
    pub const fn with_first_message(mut self, limit: Option<Duration>) -> Self {
        self.first_message = limit;
        self
    }

    /// Sets [`idle`](Self::idle).
    #[must_use]
    pub const fn with_idle(mut self, limit: Option<Duration>) -> Self {
        self.idle = limit;
        self
    }
}
