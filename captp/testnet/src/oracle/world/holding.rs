//! Who holds what, and what that stands for.

use std::collections::BTreeSet;

use captp::NodeId;

use super::{Checked, Fate, Held, World};
use crate::descriptor;
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

    /// Whether this would make a circle, in a run without circles.
    pub(super) fn may_not(&self, from: Shadow, on: Shadow) -> bool {
        !self.setup.circles && self.depends(from, on)
    }

    /// Whether the engine may never say what this is: it is in an answer that does not come, or may
    /// go round in a circle.
    pub(super) fn is_vague(&self, shadow: Shadow) -> bool {
        let mut way = self.shadows.way(shadow);
        self.setup.circles || way.any(|at| self.fetched.contains(&at))
    }

    /// Whether links carry file descriptors.
    pub(in crate::oracle) const fn has_batches(&self) -> bool {
        self.setup.batches
    }

    pub(in crate::oracle) const fn has_descriptors(&self) -> bool {
        self.setup.descriptors
    }

    /// A descriptor that came with a reference must be the object's.
    pub(super) fn check_file(&self, vat: usize, node: NodeId, shadow: Shadow) -> Checked {
        let Some(there) = self.net.vats.get(vat) else {
            return Ok(());
        };
        let Some(came) = there.engine.fd(node) else {
            return Ok(());
        };
        let ever = match self.shadows.state(shadow) {
            State::Object { vat, life, key } => self.files.get(&(*vat, *life, *key)),
            State::Open(_) | State::Became(..) | State::Broken(_) => None,
        };
        let number = descriptor::number(&came);
        match ever {
            Some(files) if number.is_some_and(|number| files.ever.contains(&number)) => Ok(()),
            _ => Err(format!(
                "vat {vat}: a reference has the descriptor of another"
            )),
        }
    }

    /// The descriptor that a settled reference must have come with.
    pub(super) fn due_file(&self, state: &State) -> bool {
        match state {
            State::Object { vat, life, key } => {
                let files = self.files.get(&(*vat, *life, *key));
                files.is_some_and(|files| files.now.is_some())
            }
            State::Open(_) | State::Became(..) | State::Broken(_) => false,
        }
    }

    /// Whether what `from` will be depends on what `on` will be: a call to a promise that becomes
    /// the call's own result waits for ever, and no engine can know better. Such circles are not
    /// made here.
    pub(super) fn depends(&self, from: Shadow, on: Shadow) -> bool {
        let mut from = self.shadows.target(from);
        let mut seen = BTreeSet::new();
        while seen.insert(from) {
            if from == on {
                return true;
            }
            match self.waits_for(from) {
                Some(next) => from = self.shadows.target(next),
                None => return false,
            }
        }
        false
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
        let mut seen = BTreeSet::new();
        while let Some(next) = self.waits_for(at)
            && seen.insert(at)
        {
            at = next;
        }
        match self.shadows.state(at) {
            broken @ State::Broken(_) => broken,
            _ => self.shadows.state(shadow),
        }
    }
}
