//! A stream in memory, of which capnp-rpc has one end.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use futures::io::{AsyncRead, AsyncWrite};

/// One end of a stream in memory.
#[derive(Clone, Default)]
pub(crate) struct End(pub(crate) Rc<RefCell<Stream>>);

#[derive(Default)]
pub(crate) struct Stream {
    pub(crate) inward: VecDeque<u8>,
    pub(crate) outward: Vec<u8>,
    pub(crate) closed: bool,
    pub(crate) waker: Option<Waker>,
}

impl AsyncRead for End {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<std::io::Result<usize>> {
        let mut stream = self.0.borrow_mut();
        if stream.inward.is_empty() && !stream.closed {
            stream.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = into.len().min(stream.inward.len());
        for (to, from) in into.iter_mut().zip(stream.inward.drain(..count)) {
            *to = from;
        }
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for End {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.0.borrow_mut().outward.extend_from_slice(from);
        Poll::Ready(Ok(from.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
