//! What must hold after every step, and at the end.

use std::os::fd::OwnedFd;
use std::time::Duration;

use captp::{ConnId, Transmit};

use super::vat::Vat;
use super::{HOARD, ROUNDS, World};

impl World {
    /// The honest link carries what there is, and everything is as it should be.
    pub(super) fn settle(&mut self) -> Result<(), String> {
        if self.victim.held.len() > HOARD {
            let gone = self.victim.held.drain(..HOARD / 2).collect();
            self.victim.release_all(gone);
        }
        self.victim.collect();
        self.check()?;
        self.pump()?;
        self.check()?;
        self.honest.engine.check()
    }

    fn pump(&mut self) -> Result<(), String> {
        for _ in 0..ROUNDS {
            let there = carry(
                &mut self.victim,
                self.link[0],
                &mut self.honest,
                self.link[1],
            );
            self.honest.let_go();
            let back = carry(
                &mut self.honest,
                self.link[1],
                &mut self.victim,
                self.link[0],
            );
            if !there && !back {
                return Ok(());
            }
        }
        Err("the victim and the honest vat do not come to rest".to_owned())
    }

    pub(super) fn check(&mut self) -> Result<(), String> {
        self.victim.engine.check()?;
        if self.victim.closed.contains(&self.link[0]) {
            return Err("the honest peer's connection was closed".to_owned());
        }
        if !self.honest.closed.is_empty() {
            return Err("the honest vat closed its connection to the victim".to_owned());
        }
        for conn in self.peers.iter().map(|peer| peer.conn) {
            self.check_limits(conn)?;
        }
        Ok(())
    }

    fn check_limits(&self, conn: ConnId) -> Result<(), String> {
        let Some(stats) = self.victim.engine.stats(conn) else {
            return Ok(());
        };
        let limits = &self.limits;
        let asked = stats.questions.saturating_sub(stats.waiting);
        for (what, is, most) in [
            (
                "unanswered calls",
                stats.answers - stats.returned,
                limits.answers,
            ),
            ("answers", stats.answers, limits.answers * 2),
            (
                "unanswered questions",
                asked.saturating_sub(stats.answered),
                limits.questions,
            ),
            ("questions", asked, limits.questions * 2),
            ("waiting", stats.waiting, limits.waiting_calls),
            ("exports", stats.exports, limits.exports),
            ("imports", stats.imports, limits.imports),
            ("embargoes", stats.embargoes, limits.embargoes),
            ("call bytes", stats.call_bytes, limits.call_bytes),
            ("kept bytes", stats.kept_bytes, limits.kept_bytes),
            (
                "outbound bytes",
                stats.outbound_bytes,
                limits.outbound_bytes,
            ),
        ] {
            if is > most {
                return Err(format!("{is} {what}, the limit is {most}"));
            }
        }
        Ok(())
    }

    /// The hostile peers go; the honest one is served, and then nothing is left.
    pub(super) fn finish(&mut self) -> Result<(), String> {
        for peer in std::mem::take(&mut self.peers) {
            self.victim.engine.handle_closed(peer.conn, "gone");
        }
        self.victim.collect();
        for _ in 0..8 {
            self.victim.let_go();
            self.settle()?;
        }
        let number = self.honest.send(self.greeter, Vec::new(), None);
        self.settle()?;
        if self.victim.waiting.len() != 1 {
            let waiting = self.victim.waiting.len();
            return Err(format!("{waiting} calls where the honest peer's is due"));
        }
        if let Some(call) = self.victim.waiting.pop() {
            self.victim.answer(call.answer, &[]);
        }
        self.settle()?;
        if !self.honest.returned.contains(&(number, true)) {
            return Err("the honest peer gets no answer".to_owned());
        }
        self.honest.engine.release(self.greeter);
        for _ in 0..8 {
            self.victim.let_go();
            self.honest.let_go();
            self.settle()?;
        }
        // Gifts whose taker never came.
        self.now += Duration::from_secs(3_600);
        self.victim.engine.handle_time(self.now);
        self.honest.engine.handle_time(self.now);
        self.settle()?;
        for (vat, conn) in [(&self.victim, self.link[0]), (&self.honest, self.link[1])] {
            if !vat.engine.is_drained(conn) {
                let stats = vat.engine.stats(conn);
                return Err(format!("left on the honest link: {stats:?}"));
            }
        }
        self.victim.engine.handle_closed(self.link[0], "the end");
        self.honest.engine.handle_closed(self.link[1], "the end");
        for vat in [&mut self.victim, &mut self.honest] {
            vat.collect();
            vat.let_go();
            if vat.engine.live_nodes() > 0 {
                return Err(format!("left:\n{}", vat.engine.dump()));
            }
        }
        Ok(())
    }
}

/// Everything that one has to say to the other. Whether that was anything.
fn carry(from: &mut Vat, out: ConnId, to: &mut Vat, into: ConnId) -> bool {
    from.collect();
    let mut transmit = Transmit::new();
    from.engine.poll_transmit(out, &mut transmit);
    let mut some = false;
    while let Some((run, fds)) = transmit.head() {
        some = true;
        let mut fds: Vec<OwnedFd> = fds.iter().filter_map(|fd| fd.try_clone().ok()).collect();
        let run = run.to_vec();
        transmit.advance(run.len());
        let mut rest = &run[..];
        while !rest.is_empty() {
            let taken = to.engine.handle_bytes(into, rest, std::mem::take(&mut fds));
            rest = rest.get(taken.max(1)..).unwrap_or_default();
            to.collect();
        }
    }
    some
}
