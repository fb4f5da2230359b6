//! What fills the slots of a child: found once, put together at each of its starts.
//!
//! What a sibling exposes dies with the sibling's process. So a child gets what the sibling's
//! *present* life exposes, and waits for a sibling that is not ready. A child that runs on when its
//! sibling dies holds broken references until it is started again itself: `rest_for_one` does that.

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use super::child::Child;
use super::manifest::SlotName;
use crate::power::{ChildState, Grant};
use crate::prelude::*;

/// What fills one slot.
pub(crate) struct Supply {
    slot: SlotName,
    source: Supplier,
}

enum Supplier {
    /// Found when the launcher started.
    Opened { interface: u64, power: Ref },
    /// What another child exposes.
    Sibling {
        sibling: Rc<Child>,
        expose: SlotName,
    },
}

impl Supply {
    pub(crate) fn opened(slot: SlotName, interface: u64, power: Ref) -> Self {
        let source = Supplier::Opened { interface, power };
        Self { slot, source }
    }

    pub(crate) fn of_sibling(slot: SlotName, sibling: Rc<Child>, expose: SlotName) -> Self {
        let source = Supplier::Sibling { sibling, expose };
        Self { slot, source }
    }

    /// Waits for a sibling that is not ready, until `deadline`, `within` from the beginning of the
    /// start.
    async fn ready(&self, deadline: Instant, within: Duration) -> Result<(), Unsupplied> {
        let Supplier::Sibling { sibling, expose } = &self.source else {
            return Ok(());
        };
        let missing = |why| Unsupplied {
            slot: self.slot.clone(),
            route: format!("children.{}.{expose}", sibling.name()),
            sibling: sibling.path().to_owned(),
            state: sibling.state(),
            why,
        };
        match tokio::time::timeout_at(deadline, sibling.settled()).await {
            Ok(ChildState::Running) if self.now().is_some() => Ok(()),
            Ok(ChildState::Running) => Err(missing(Why::NotExposed)),
            Ok(_) => Err(missing(Why::NeverAgain)),
            Err(_) => Err(missing(Why::NotWithin(within))),
        }
    }

    /// The power as it is now; `None` of a sibling that is not ready.
    fn now(&self) -> Option<Grant> {
        let (interface, power) = match &self.source {
            Supplier::Opened { interface, power } => (*interface, power.clone()),
            Supplier::Sibling { sibling, expose } => {
                let exposed = sibling.exposed_now(expose.as_str())?;
                (exposed.interface, exposed.reference)
            }
        };
        Some(Grant {
            slot: self.slot.to_string(),
            interface,
            power,
        })
    }
}

/// All powers for one start, in the order of the routes.
///
/// # Cancel safety
/// Dropping the future changes nothing.
pub(super) async fn assemble(
    supplies: &[Supply],
    within: Duration,
) -> Result<Vec<Grant>, Unsupplied> {
    let deadline = Instant::now() + within;
    loop {
        for supply in supplies {
            supply.ready(deadline, within).await?;
        }
        // All at once: one that was ready at first may have ended while others were waited for.
        if let Some(grants) = supplies.iter().map(Supply::now).collect() {
            return Ok(grants);
        }
    }
}

/// A slot that could not be filled, and what was waited for.
#[derive(Debug)]
pub(super) struct Unsupplied {
    slot: SlotName,
    route: String,
    sibling: String,
    state: ChildState,
    why: Why,
}

#[derive(Debug)]
enum Why {
    NotWithin(Duration),
    NeverAgain,
    NotExposed,
}

impl fmt::Display for Unsupplied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            slot,
            route,
            sibling,
            state,
            why,
        } = self;
        write!(f, "slot {slot} ({route}): {sibling} ")?;
        match why {
            Why::NotWithin(limit) => {
                write!(f, "is not ready within {limit:?}; it {}", doing(*state))
            }
            Why::NeverAgain => write!(f, "{} and is not started again", doing(*state)),
            Why::NotExposed => f.write_str("does not expose it"),
        }
    }
}

fn doing(state: ChildState) -> &'static str {
    match state {
        ChildState::Starting => "is starting",
        ChildState::Running => "is running",
        ChildState::Waiting => "is waiting",
        ChildState::Stopping => "is stopping",
        ChildState::Ended => "has ended",
        ChildState::GaveUp => "was given up",
    }
}
