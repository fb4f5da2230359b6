//! Connections for a child that it has not taken yet: held while it is down, or on their way to it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use crate::net::{Full, Place, Room, Socket, Ticket};

/// How many connections from the network may wait for a child; more are closed at once. Each holds
/// a descriptor of the launcher.
const WAITING: usize = 64;
/// How many of them may be of one source, of which local callers are one.
const WAITING_OF_SOURCE: usize = 32;
/// How long a connection is held for a child that is down.
const HELD_FOR: Duration = Duration::from_secs(10);

/// A connected stream for a child, with what was read of it.
pub(crate) struct Incoming {
    pub(super) stream: OwnedFd,
    pub(super) head: Vec<u8>,
    /// The expose name it leads to, if it is a plain one.
    pub(super) plain: Option<String>,
    /// Its place among the connections at the launcher, until the child has it.
    pub(super) place: Option<Place>,
}

impl Incoming {
    /// A connection of which is known whom it is for. It is no longer one of those in a handshake:
    /// from here on it waits for the child, not the child for it.
    pub(crate) fn new(
        mut socket: Socket,
        head: Vec<u8>,
        plain: Option<String>,
    ) -> std::io::Result<Self> {
        socket.handshake_done();
        let (stream, place) = socket.into_parts()?;
        Ok(Self {
            stream,
            head,
            plain,
            place,
        })
    }
}

/// One that has room to wait in.
pub(crate) struct Waiting {
    pub(super) incoming: Incoming,
    pub(super) ticket: Ticket,
    since: Instant,
}

impl Waiting {
    fn is_fresh(&self) -> bool {
        self.since.elapsed() < HELD_FOR
    }
}

/// What waits for one child.
pub(crate) struct Queue {
    room: Room,
    held: RefCell<VecDeque<Waiting>>,
}

impl Queue {
    pub(crate) fn new() -> Self {
        Self {
            room: Room::new(WAITING, WAITING_OF_SOURCE),
            held: RefCell::default(),
        }
    }

    /// Lets a connection wait, if there is room; it is closed otherwise.
    pub(crate) fn enter(&self, incoming: Incoming) -> Result<Waiting, Full> {
        let ticket = self.room.enter(incoming.place.as_ref())?;
        Ok(Waiting {
            incoming,
            ticket,
            since: Instant::now(),
        })
    }

    /// Holds a connection until the child is up.
    pub(crate) fn hold(&self, waiting: Waiting) {
        self.held.borrow_mut().push_back(waiting);
    }

    /// The child is up: what was held for it.
    pub(crate) fn take_held(&self) -> impl Iterator<Item = Waiting> + use<> {
        let held = self.held.take();
        held.into_iter().filter(Waiting::is_fresh)
    }

    /// Closes the connections that were held too long.
    pub(crate) fn drop_stale(&self) {
        self.held.borrow_mut().retain(Waiting::is_fresh);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::net::{TcpListener, TcpSocket, TcpStream};

    use super::*;
    use crate::net::{Admission, AdmissionLimits};

    /// A caller from `127.0.0.<host>` that is let in at a listener, and its other end.
    async fn call(admission: &Admission, host: u8) -> (TcpStream, Option<Incoming>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let caller = TcpSocket::new_v4().unwrap();
        caller
            .bind((Ipv4Addr::new(127, 0, 0, host), 0).into())
            .unwrap();
        let caller = caller.connect(listener.local_addr().unwrap());
        let (caller, accepted) = tokio::join!(caller, listener.accept());
        let accepted = accepted.unwrap().0.into_std().unwrap();
        let socket = Socket::from_descriptor(accepted.into()).unwrap();
        let admitted = admission.admit(socket).ok();
        let incoming = admitted.map(|socket| Incoming::new(socket, Vec::new(), None).unwrap());
        (caller.unwrap(), incoming)
    }

    /// As many as are held, all of one source.
    async fn hold_all(queue: &Queue, admission: &Admission, host: u8) -> (usize, Option<Full>) {
        let mut held = 0;
        loop {
            let (_, incoming) = call(admission, host).await;
            let incoming = incoming.expect("a caller that is held is in no handshake");
            match queue.enter(incoming) {
                Ok(waiting) => queue.hold(waiting),
                Err(full) => return (held, Some(full)),
            }
            held += 1;
            assert!(held < 100, "no limit");
        }
    }

    #[tokio::test]
    async fn callers_held_for_a_child_are_in_no_handshake_and_leave_room_for_others() {
        // One at a time in a handshake: each of these has shown whom it wants.
        let limits = AdmissionLimits::default()
            .with_handshakes(1)
            .with_handshakes_per_source(1);
        let (queue, admission) = (Queue::new(), Admission::new(limits));
        let (held, full) = hold_all(&queue, &admission, 2).await;
        assert_eq!(held, WAITING_OF_SOURCE);
        assert_eq!(
            full.unwrap().to_string(),
            "32 connections from 127.0.0.2 wait for it already"
        );
        assert_eq!(hold_all(&queue, &admission, 3).await.0, WAITING_OF_SOURCE);
        let (held, full) = hold_all(&queue, &admission, 4).await;
        assert_eq!((held, full), (0, Some(Full::Network(WAITING))));
        // What goes to the child keeps its room until the child has it.
        let mut passing: Vec<_> = queue.take_held().collect();
        assert_eq!(passing.len(), WAITING);
        assert_eq!(hold_all(&queue, &admission, 4).await.0, 0);
        passing.truncate(WAITING - 1);
        assert_eq!(hold_all(&queue, &admission, 4).await.0, 1);
        drop(passing);
        assert_eq!(
            hold_all(&queue, &admission, 4).await.0,
            WAITING_OF_SOURCE - 1
        );
        // One that has waited too long goes, and so does one for which the child comes too late.
        let age = |queue: &Queue, index: usize| {
            queue.held.borrow_mut()[index].since -= HELD_FOR;
        };
        age(&queue, 0);
        queue.drop_stale();
        assert_eq!(queue.held.borrow().len(), WAITING_OF_SOURCE - 1);
        age(&queue, 0);
        assert_eq!(queue.take_held().count(), WAITING_OF_SOURCE - 2);
    }
}
