//! What a stream still has to send, in order, and how it is cut into system calls.

use std::{
    collections::VecDeque,
    fmt,
    io::IoSlice,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use super::MAX_DESCRIPTORS;

/// Messages to send. It remembers how far the first one is sent, so that a sender may stop anywhere.
#[derive(Default)]
pub(super) struct SendQueue {
    messages: VecDeque<Message>,
    /// Bytes of the first message that are sent already.
    sent_of_first: usize,
    /// Bytes not sent yet, of all messages.
    bytes: usize,
}

struct Message {
    bytes: Vec<u8>,
    /// To go with the first byte; empty afterwards.
    descriptors: Vec<OwnedFd>,
}

/// What to give to one system call.
pub(super) struct Batch<'a> {
    slices: [IoSlice<'a>; MAX_SLICES],
    count: usize,
    pub(super) descriptors: Vec<BorrowedFd<'a>>,
}

impl<'a> Batch<'a> {
    pub(super) fn slices(&self) -> &[IoSlice<'a>] {
        self.slices.get(..self.count).unwrap_or_default()
    }
}

/// Most pieces given to one system call.
const MAX_SLICES: usize = 64;

impl SendQueue {
    /// Adds a message at the end. One without bytes is nothing to send.
    pub(super) fn push(
        &mut self,
        bytes: Vec<u8>,
        descriptors: Vec<OwnedFd>,
    ) -> Result<(), QueueError> {
        if descriptors.len() > MAX_DESCRIPTORS {
            return Err(QueueError::TooManyDescriptors);
        }
        if bytes.is_empty() {
            return if descriptors.is_empty() {
                Ok(())
            } else {
                Err(QueueError::NoBytes)
            };
        }
        self.bytes += bytes.len();
        self.messages.push_back(Message { bytes, descriptors });
        Ok(())
    }

    /// Bytes not sent yet.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// What to send next: a message that has descriptors alone and from its first byte on, because
    /// its receiver tells by that to which message they belong; everything else together.
    pub(super) fn batch(&self) -> Batch<'_> {
        let mut batch = Batch {
            slices: [IoSlice::new(&[]); MAX_SLICES],
            count: 0,
            descriptors: Vec::new(),
        };
        let mut skip = self.sent_of_first;
        for (slot, message) in batch.slices.iter_mut().zip(&self.messages) {
            if !message.descriptors.is_empty() && batch.count > 0 {
                break;
            }
            *slot = IoSlice::new(message.bytes.get(skip..).unwrap_or_default());
            batch.count += 1;
            skip = 0;
            if !message.descriptors.is_empty() {
                batch.descriptors = message.descriptors.iter().map(AsFd::as_fd).collect();
                break;
            }
        }
        batch
    }

    /// Notes that so many bytes of the batch are sent, and with the first one its descriptors.
    pub(super) fn advance(&mut self, mut count: usize) {
        self.bytes = self.bytes.saturating_sub(count);
        while count > 0 {
            let Some(first) = self.messages.front_mut() else {
                return;
            };
            first.descriptors.clear();
            let rest = first.bytes.len().saturating_sub(self.sent_of_first);
            if count < rest {
                self.sent_of_first += count;
                return;
            }
            count -= rest;
            self.sent_of_first = 0;
            self.messages.pop_front();
        }
    }
}

impl fmt::Debug for SendQueue {
    /// Shows how much there is, never what: messages may contain secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} bytes in {} messages",
            self.bytes,
            self.messages.len()
        )
    }
}

/// Why a stream does not take a message for sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "deliberately closed")]
pub enum QueueError {
    /// Only inherited sockets and those shared with a sibling pass descriptors.
    #[error("this stream passes no descriptors")]
    NoDescriptors,
    /// More than [`MAX_DESCRIPTORS`].
    #[error("a message carries at most {MAX_DESCRIPTORS} descriptors")]
    TooManyDescriptors,
    /// Descriptors need at least one byte to travel with.
    #[error("a message with descriptors must have bytes")]
    NoBytes,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor() -> OwnedFd {
        rustix::event::eventfd(0, rustix::event::EventfdFlags::empty()).unwrap()
    }

    /// Lengths of the slices, and the number of descriptors.
    fn shape(queue: &SendQueue) -> (Vec<usize>, usize) {
        let batch = queue.batch();
        (
            batch.slices().iter().map(|slice| slice.len()).collect(),
            batch.descriptors.len(),
        )
    }

    #[test]
    fn messages_without_descriptors_are_sent_together() {
        let mut queue = SendQueue::default();
        for length in [3, 0, 5] {
            queue.push(vec![0; length], Vec::new()).unwrap();
        }
        assert_eq!(shape(&queue), (vec![3, 5], 0));
        queue.advance(4);
        assert_eq!(shape(&queue), (vec![4], 0));
        assert_eq!(queue.bytes(), 4);
        queue.advance(4);
        assert!(queue.is_empty());
    }

    #[test]
    fn a_message_with_descriptors_starts_alone_and_its_rest_goes_without_them() {
        let mut queue = SendQueue::default();
        queue.push(vec![0; 3], Vec::new()).unwrap();
        queue
            .push(vec![0; 5], vec![descriptor(), descriptor()])
            .unwrap();
        queue.push(vec![0; 7], Vec::new()).unwrap();
        assert_eq!(shape(&queue), (vec![3], 0));
        queue.advance(3);
        assert_eq!(shape(&queue), (vec![5], 2));
        queue.advance(1);
        assert_eq!(shape(&queue), (vec![4, 7], 0));
        queue.advance(11);
        assert_eq!(queue.bytes(), 0);
    }

    #[test]
    fn descriptors_need_bytes_and_have_a_limit() {
        let mut queue = SendQueue::default();
        assert_eq!(
            queue.push(Vec::new(), vec![descriptor()]),
            Err(QueueError::NoBytes)
        );
        let many = (0..17).map(|_| descriptor()).collect();
        assert_eq!(
            queue.push(vec![0], many),
            Err(QueueError::TooManyDescriptors)
        );
    }
}
