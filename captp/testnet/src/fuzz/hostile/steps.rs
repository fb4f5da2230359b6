//! What the peers and the victim do.

use std::os::fd::OwnedFd;
use std::time::Duration;

use captp::{ConnId, Exception, ObjectKey};

use super::{HOARD, World};
use crate::fuzz::input::Input;
use crate::fuzz::wire::Known;

impl World {
    pub(super) fn step(&mut self, input: &mut Input<'_>) -> Result<(), String> {
        match input.below(32) {
            0..14 => self.messages(input),
            14 => self.raw(input),
            15 => self.descriptor(input)?,
            16 | 17 => self.read(input),
            18 => self.pass_time(input),
            19 => self.reconnect(input),
            20 => self.give_to_honest(input),
            21 => self.dialed(input),
            _ => self.act(input),
        }
        Ok(())
    }

    /// A hostile peer sends some messages at once.
    pub(super) fn messages(&mut self, input: &mut Input<'_>) {
        let Some(conn) = self.peer(input) else { return };
        let mut bytes = Vec::new();
        let mut known = self.known(conn);
        for _ in 0..=input.below(4) {
            bytes.extend(self.writer.message(input, &mut known));
        }
        self.feed(conn, &bytes, Vec::new());
    }

    fn raw(&mut self, input: &mut Input<'_>) {
        let Some(conn) = self.peer(input) else { return };
        let count = usize::from(input.byte());
        let bytes = input.take(count);
        self.feed(conn, bytes, Vec::new());
    }

    fn descriptor(&mut self, input: &mut Input<'_>) -> Result<(), String> {
        let Some(conn) = self.peer(input) else {
            return Ok(());
        };
        let count = input.below(4);
        let mut fds: Vec<OwnedFd> = Vec::new();
        for _ in 0..count {
            let (fd, _) = std::os::unix::net::UnixStream::pair().map_err(|e| e.to_string())?;
            fds.push(fd.into());
        }
        let bytes = self.writer.message(input, &mut self.known(conn));
        self.feed(conn, &bytes, fds);
        Ok(())
    }

    pub(super) fn known(&self, conn: ConnId) -> Known {
        let tables = self.victim.engine.tables(conn);
        tables.as_ref().map(Known::new).unwrap_or_default()
    }

    pub(super) fn feed(&mut self, conn: ConnId, bytes: &[u8], fds: Vec<OwnedFd>) {
        let (mut rest, mut fds) = (bytes, fds);
        while !rest.is_empty() {
            let taken = self
                .victim
                .engine
                .handle_bytes(conn, rest, std::mem::take(&mut fds));
            rest = rest.get(taken.max(1)..).unwrap_or_default();
            self.victim.collect();
        }
    }

    /// A hostile peer reads what was sent to it.
    pub(super) fn read(&mut self, input: &mut Input<'_>) {
        let index = input.below(self.peers.len());
        if let Some(peer) = self.peers.get_mut(index) {
            peer.unread.clear();
            self.victim
                .engine
                .poll_transmit(peer.conn, &mut peer.unread);
            peer.unread.clear();
        }
    }

    fn pass_time(&mut self, input: &mut Input<'_>) {
        self.now += Duration::from_secs(u64::from(input.byte() % 16));
        self.victim.engine.handle_time(self.now);
        self.honest.engine.handle_time(self.now);
    }

    /// A hostile peer's connection ends, in one way or another, and it connects again.
    fn reconnect(&mut self, input: &mut Input<'_>) {
        let index = input.below(self.peers.len());
        if self.peers.len() > 4 || input.one_in(2) {
            let peer = self.peers.swap_remove(index);
            match input.below(3) {
                0 => self.victim.engine.handle_closed(peer.conn, "reset"),
                1 => self.victim.engine.close(peer.conn, None),
                _ => {
                    let reason = Exception::failed("enough of it");
                    self.victim.engine.close(peer.conn, Some(reason));
                }
            }
            self.victim.collect();
        }
        let number = 2 + u8::try_from(input.below(2)).unwrap_or_default();
        let known = !input.one_in(4);
        self.open(number, known);
    }

    /// The victim tells the honest peer something, with references to whatever it has.
    fn give_to_honest(&mut self, input: &mut Input<'_>) {
        let caps = self.victim.some(input);
        let friend = self.victim.engine.bootstrap(self.link[0]);
        let promise = self.victim.engine.promise();
        self.victim.send(friend, caps, Some(promise));
        self.victim.engine.release(friend);
        self.victim.held.push(promise);
    }

    pub(super) fn dialed(&mut self, input: &mut Input<'_>) {
        let Some(request) = self.victim.dials.pop() else {
            return;
        };
        let result = match input.below(4) {
            0 => Err(Exception::failed("nobody is there")),
            1 => Ok(self.link[0]),
            // It need not be the one that was asked for.
            _ => self
                .peer(input)
                .ok_or_else(|| Exception::failed("nobody is there")),
        };
        self.victim.engine.dialed(request, result);
    }

    /// The victim does something.
    fn act(&mut self, input: &mut Input<'_>) {
        let vat = &mut self.victim;
        match input.below(12) {
            0 => {
                let Some(conn) = self.peer(input) else { return };
                let node = self.victim.engine.bootstrap(conn);
                self.victim.held.push(node);
            }
            1..4 => {
                let Some(to) = vat.any(input) else { return };
                let caps = vat.some(input);
                let promise = vat.engine.promise();
                vat.send(to, caps, Some(promise));
                vat.held.push(promise);
            }
            4 | 5 => vat.answer_one(input),
            6 => {
                let Some(to) = vat.any(input) else { return };
                let Some(call) = vat.waiting.pop() else {
                    return;
                };
                if input.one_in(2) {
                    let caps = call.params.caps().to_vec();
                    caps.iter().for_each(|node| vat.engine.retain(*node));
                    vat.held.extend(caps);
                }
                vat.engine.forward(to, call);
            }
            7 => {
                let promise = vat.engine.promise();
                vat.promises.push(promise);
            }
            8 => {
                let Some(to) = vat.any(input) else { return };
                let Some(promise) = vat.promises.pop() else {
                    return;
                };
                vat.resolve(promise, Ok(to));
                vat.held.push(promise);
            }
            9 => {
                let count = input.below(HOARD);
                let kept = vat.held.len().saturating_sub(count);
                let gone = vat.held.split_off(kept);
                vat.release_all(gone);
            }
            10 => {
                if let Some(node) = vat.any(input) {
                    vat.engine.cancel(node);
                }
            }
            _ => {
                if let Some(node) = vat.any(input) {
                    vat.engine.when_resolved(node, 1);
                }
                let object = vat.engine.object(ObjectKey(input.below(4) as u64));
                vat.held.push(object);
            }
        }
    }

    pub(super) fn peer(&self, input: &mut Input<'_>) -> Option<ConnId> {
        let index = input.below(self.peers.len());
        self.peers.get(index).map(|peer| peer.conn)
    }
}
