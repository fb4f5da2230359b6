//! Who holds what, and what that stands for.

use captp::NodeId;

use super::{Fate, Held, World};
use crate::oracle::script::Name;
use crate::oracle::shadow::{Fork, Shadow, State};

impl World {
    pub(super) fn hold(
        &mut self,
        name: Name,
        vat: usize,
        node: NodeId,
        shadow: Shadow,
        from: &[Fork],
    ) {
        let (stream, count) = match self.streams.get(&(vat, node)) {
            Some((stream, count)) => (*stream, *count),
            None => (self.shadows.stream(), 0),
        };
        self.streams.insert((vat, node), (stream, count + 1));
        for fork in from {
            self.shadows.join(stream, *fork);
        }
        let held = Held {
            vat,
            node,
            shadow,
            stream,
        };
        self.held.insert(name, held);
    }

    pub(super) fn let_go(&mut self, name: Name) -> Option<Held> {
        let held = self.held.remove(&name)?;
        let key = (held.vat, held.node);
        if let Some((_, count)) = self.streams.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                self.streams.remove(&key);
            }
        }
        Some(held)
    }

    /// Whether what `from` will be depends on what `on` will be: a call to a promise that becomes
    /// the call's own result waits for ever, and no engine can know better. Such circles are not
    /// made here.
    pub(super) fn depends(&self, from: Shadow, on: Shadow) -> bool {
        let mut from = self.shadows.target(from);
        loop {
            if from == on {
                return true;
            }
            match self.waits_for(from) {
                Some(next) => from = self.shadows.target(next),
                None => return false,
            }
        }
    }

    /// What must be decided before this reference inside an answer can be.
    fn waits_for(&self, shadow: Shadow) -> Option<Shadow> {
        let State::Open(Some(call)) = self.shadows.state(shadow) else {
            return None;
        };
        match self.calls.get(call)?.fate {
            Fate::Sent { to, .. } => Some(to),
            Fate::Arrived | Fate::Answered(..) | Fate::Failed(_) => None,
        }
    }

    /// What a reference stands for. What is inside the answer to a call that can never arrive is as
    /// broken as the call's target.
    pub(super) fn state(&self, shadow: Shadow) -> &State {
        let mut at = shadow;
        while let Some(next) = self.waits_for(at) {
            at = next;
        }
        match self.shadows.state(at) {
            broken @ State::Broken(_) => broken,
            _ => self.shadows.state(shadow),
        }
    }
}
