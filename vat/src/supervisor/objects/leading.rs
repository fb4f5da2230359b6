//! Where the stable references of children lead, after what happened to the children.

use std::rc::Rc;

use super::tree::Tree;
use crate::core::Shared;
use crate::supervisor::{ChildId, ChildState};

impl Tree {
    /// Lets stable references lead to where their children are now.
    pub(super) fn lead(self: &Rc<Self>, vat: &Rc<Shared>) {
        let mut touched = self.touched.take();
        touched.extend(self.away.borrow().iter());
        touched.sort_unstable();
        touched.dedup();
        for id in touched {
            self.lead_one(vat, id);
        }
    }

    fn lead_one(&self, vat: &Rc<Shared>, id: ChildId) {
        let machine = self.machine.borrow();
        let state = machine.child(id).map(|child| child.state);
        let comes_back = machine.will_restart(id);
        drop(machine);
        let lead = self.with_child(id, |child| (child.service(), child.life()));
        let Some((Some(service), life)) = lead else {
            return;
        };
        let away = matches!(
            (state, comes_back),
            (Some(ChildState::Waiting(_) | ChildState::Starting(_)), _)
                | (Some(ChildState::Stopping), true)
        );
        match (state, life) {
            _ if away => service.wait(vat),
            (Some(ChildState::Running(_)), Some((reference, object))) => {
                service.open(vat, &reference, object);
            }
            (Some(ChildState::Stopping), _) => service.close(vat, "is being stopped"),
            (Some(_), _) => service.close(vat, "is stopped"),
            (None, _) => service.close(vat, "has ended and will not come back"),
        }
        if away {
            self.away.borrow_mut().insert(id);
        } else {
            self.away.borrow_mut().remove(&id);
        }
        if state.is_none() {
            let gone = self.children.borrow_mut().remove(&id);
            if let Some(gone) = gone {
                gone.bury(vat);
            }
        }
    }
}
